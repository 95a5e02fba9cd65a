//! `tokenward restore`: what a backup has and the deployment has lost is brought back.
//!
//! The backup is a table that DynamoDB restored beside the deployment's own. Only rows that are missing are written, so
//! whatever went on since the backup stays. Tokens whose refresh token works once come back held: they are over as
//! `restored`, their refresh token is not in the row any more, and their owners are asked to sign in again. What the
//! history says was deleted on purpose stays deleted, and a shredded tenant stays shredded. Where the history is lost too,
//! nothing tells a deletion from a loss: read the list before you say `--apply`.

use std::collections::BTreeMap;

use shared::{
    access::TenantId,
    store::{
        StoreError,
        restore::{BackedUp, Deletions, Kept, Restored},
        walk::Walk,
    },
};

use crate::{OperatorError, Progress, deployment::Deployment};

/// What came, or would come, of restoring.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restoring {
    /// Profiles and tokens that are brought back, as `tenant profile [token]`, and whether they are held.
    pub brought: Vec<(String, bool)>,
    /// Rows of other kinds that are brought back: settings, rules, people, history.
    pub others: u64,
    /// Rows that are there.
    pub there: u64,
    /// Rows that were deleted on purpose.
    pub deleted: u64,
    /// Rows of tenants that were shredded.
    pub shredded: u64,
    /// Rows of the backup that cannot be read.
    pub unreadable: u64,
}

/// Brings back what is missing of `only` or of every tenant; without `apply` it only says what it would do.
///
/// # Errors
/// When a table does not answer; what was brought back stays, and repeating it goes on.
pub async fn restore(
    deployment: &Deployment,
    from: &str,
    only: Option<&TenantId>,
    apply: bool,
    progress: Progress<'_>,
) -> Result<Restoring, OperatorError> {
    let (vault, keys) = (deployment.vault(), deployment.keys());
    let mut restoring = Restoring::default();
    // what is known of a tenant: nothing where it was shredded
    let mut tenants: BTreeMap<TenantId, Option<Deletions>> = BTreeMap::new();
    let mut walk = Walk::default();
    while let Some(rows) = vault.backed_up(from, &mut walk).await? {
        for row in rows.iter().filter(|row| only.is_none_or(|only| row.tenant == *only)) {
            if !tenants.contains_key(&row.tenant) {
                let standing = keys.standing(row.tenant.as_str()).await?;
                let shredded = standing.is_some_and(|standing| standing.shredded);
                let known = if shredded { None } else { Some(vault.deletions(&row.tenant).await?) };
                tenants.insert(row.tenant.clone(), known);
            }
            let Some(deletions) = tenants.get(&row.tenant).and_then(Option::as_ref) else {
                restoring.shredded += 1;
                continue;
            };
            if deletions.name(row) {
                restoring.deleted += 1;
                continue;
            }
            let restored =
                if apply { vault.restore(row, deployment.clock.now()).await } else { vault.would_restore(row).await };
            match restored {
                Ok(restored) => restoring.count(row, restored),
                Err(StoreError::Unreadable(_)) => restoring.unreadable += 1,
                Err(error) => return Err(error.into()),
            }
            progress(&format!("{} rows brought back", restoring.brought.len() as u64 + restoring.others));
        }
    }
    Ok(restoring)
}

impl Restoring {
    fn count(&mut self, row: &BackedUp, restored: Restored) {
        let named = match &row.kept {
            Kept::Profile(profile) => format!("{} {profile}", row.tenant),
            Kept::Token(key) => format!("{} {} {}", row.tenant, key.profile, key.token),
            Kept::Other(_) => String::new(),
        };
        match restored {
            Restored::There => self.there += 1,
            Restored::Missing | Restored::Held if named.is_empty() => self.others += 1,
            Restored::Missing => self.brought.push((named, false)),
            Restored::Held => self.brought.push((named, true)),
        }
    }
}
