//! Putting what is stored under its tenant's newest key, row by row.
//!
//! A grant is sealed anew for the very place that it had, and written only if the row still holds the bytes that were
//! opened. So a newer generation is never overwritten, and since neither fence nor attempt is touched, a refresh under
//! way neither notices nor waits.

use super::{
    Change, Item, StoreError,
    flows::{Flows, read_flow, read_revocation, sealed_fields},
    key_part, number,
    profiles::{Held, TokenKey, Vault, token_key},
    renewals::candidate_name,
    text,
    walk::Walk,
};
use crate::{access::TenantId, grant::SealedGrant};

/// A grant as it was read, and the same sealed anew.
pub type Resealed<'a> = (&'a SealedGrant, SealedGrant);

impl Held {
    /// Every grant that the row holds: the present one, and the answers that came late.
    pub fn grants(&self) -> impl Iterator<Item = &SealedGrant> {
        let candidates = self.renewal.candidates.values().map(|candidate| &candidate.grant);
        std::iter::once(&self.grant).chain(candidates)
    }
}

impl Vault {
    /// Writes grants of a token's row that were sealed anew.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when one of them is not there any more as it was read: look again.
    pub async fn reseal(&self, key: &TokenKey, before: &Held, resealed: &[Resealed<'_>]) -> Result<(), StoreError> {
        let change = Change::new().when("generation", "=", number(before.token.generation));
        let change = resealed.iter().fold(change, |change, (read, anew)| {
            let name = if *read == &before.grant {
                "sealed".to_owned()
            } else {
                format!("{}.sealed", candidate_name(read.place.generation))
            };
            change.when(&name, "=", sealed_fields(read)).set(&name, sealed_fields(anew))
        });
        change.carry_out(&self.client, &self.table, token_key(key)).await.map(drop)
    }
}

impl Flows {
    /// The next grants of a tenant that wait to be attached or revoked, by their rows' ids; `None` after the last.
    ///
    /// # Errors
    /// When the table does not answer or a row cannot be read.
    pub async fn waiting(
        &self,
        tenant: &TenantId,
        walk: &mut Walk,
    ) -> Result<Option<Vec<(String, SealedGrant)>>, StoreError> {
        let Some(rows) = self.of_tenant(tenant, walk).await? else { return Ok(None) };
        let waiting = |row: Item| {
            let id = key_part(&row, "id").unwrap_or_default().to_owned();
            if !row.contains_key("sealed") {
                return Ok(None);
            }
            let grant =
                if row.contains_key("status") { read_flow(row)?.grant } else { Some(read_revocation(row)?.grant) };
            Ok(grant.map(|grant| (id, grant)))
        };
        rows.into_iter().filter_map(|row| waiting(row).transpose()).collect::<Result<_, _>>().map(Some)
    }

    /// Writes a waiting grant that was sealed anew.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it does not wait any more.
    pub async fn reseal(&self, id: &str, (read, anew): &Resealed<'_>) -> Result<(), StoreError> {
        let change = Change::new().when("sealed", "=", sealed_fields(read)).set("sealed", sealed_fields(anew));
        let key = Item::from([("id".to_owned(), text(id))]);
        change.carry_out(&self.client, &self.table, key).await.map(drop)
    }
}
