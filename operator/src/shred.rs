//! `tokenward shred`: a tenant's keys are destroyed, and with them everything that they sealed.
//!
//! Two horizons follow, and both are told. What processes hold in memory is gone a quarter of an hour later; the backups
//! of the Keys table are over after seven days, and until then whoever may restore them could bring the keys back. What
//! the keys sealed is then bytes that nobody opens, wherever a copy of it lies. The tenant's rows go as well, because
//! the sweep would go on mailing people about tokens that are no more. A process may write one more row with a key that
//! it still holds: the command is repeated after the first horizon.
//!
//! At the networks nothing ends by this: whoever wants that deletes the profiles first.

use jiff::{SignedDuration, Timestamp};
use shared::{access::TenantId, keys::HARD_LIMIT, store::walk::Walk};

use crate::{OperatorError, Progress, deployment::Deployment};

/// How long the Keys table can be restored to an earlier moment (`template.yaml`).
pub const BACKUPS_KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What is left of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remains {
    /// How many versions of its key were destroyed now.
    pub keys: usize,
    /// How many rows were deleted now.
    pub rows: usize,
    /// From when on no process holds a key of it.
    pub unreadable_from: Timestamp,
    /// Until when a backup of the Keys table holds them.
    pub backups_until: Timestamp,
}

/// Shreds a tenant. Repeating it finishes what was cut off.
///
/// # Errors
/// When a table does not answer; repeat it then.
pub async fn shred(
    deployment: &Deployment,
    tenant: &TenantId,
    progress: Progress<'_>,
) -> Result<Remains, OperatorError> {
    let shredded = deployment.keys().shred(tenant.as_str()).await?;
    let (vault, flows, mut rows) = (deployment.vault(), deployment.flows(), 0);
    let mut walk = Walk::default();
    while let Some(erased) = flows.erase(tenant, &mut walk).await? {
        rows += erased;
    }
    let mut walk = Walk::default();
    while let Some(erased) = vault.erase(tenant, &mut walk).await? {
        rows += erased;
        progress(&format!("{rows} rows deleted"));
    }
    Ok(Remains {
        keys: shredded.destroyed,
        rows,
        unreadable_from: shredded.at + HARD_LIMIT,
        backups_until: shredded.at + BACKUPS_KEPT,
    })
}
