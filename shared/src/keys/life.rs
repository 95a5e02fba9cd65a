//! What happens to a tenant's keys in their life: rotated, and destroyed.
//!
//! Versions only ever grow, and every new one is a conditional write, so of two who rotate at the same time one wins
//! and both have the winner's. A process that holds the older key takes the new one up within
//! [`SOFT_LIMIT`](super::SOFT_LIMIT); until then it seals under the older one, which still opens.
//!
//! Shredding writes a tombstone above the versions first and then destroys these: from the tombstone on nobody can
//! make the tenant a key, so no row appears behind the back of whoever destroys them. A shredding that was cut off is
//! finished by repeating it. What processes hold in memory is gone within [`HARD_LIMIT`](super::HARD_LIMIT), what the
//! table's backups hold after their seven days.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;

use super::{KeysError, Row, TenantKeys, held::Wanted};
use crate::seal::Unsealable;

/// What the table says of a tenant's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The number of the newest key or, where the tenant was shredded, of the tombstone.
    pub newest: u32,
    /// When that was written.
    pub since: Timestamp,
    /// Whether the tenant was shredded and not opened again.
    pub shredded: bool,
    /// The versions that open, the newest last.
    pub versions: Vec<u32>,
}

/// What came of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotated {
    /// From now on this version seals.
    To(u32),
    /// The tenant has no key yet; its first secret brings one.
    NoKey,
}

/// What is left of a shredded tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shredded {
    /// How many versions were destroyed now; 0 when it had been done before.
    pub destroyed: usize,
    /// When the tenant was shredded, which repeating does not move.
    pub at: Timestamp,
}

impl TenantKeys {
    /// What the table says of this tenant; `None` where it has no key.
    ///
    /// # Errors
    /// When the table does not answer or a row cannot be read.
    pub async fn standing(&self, tenant: &str) -> Result<Option<Standing>, KeysError> {
        let rows = self.rows(tenant).await?;
        let Some(newest) = rows.last() else { return Ok(None) };
        Ok(Some(Standing {
            newest: newest.version,
            since: newest.created_at,
            shredded: newest.is_tombstone(),
            versions: rows.iter().filter(|row| !row.is_tombstone()).map(|row| row.version).collect(),
        }))
    }

    /// Every tenant that has a key or had one.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn tenants(&self) -> Result<BTreeSet<String>, KeysError> {
        let scan = self.dynamodb.scan().table_name(&self.config.table).projection_expression("tenant");
        let mut rows = scan.consistent_read(true).into_paginator().items().send();
        let mut tenants = BTreeSet::new();
        while let Some(row) = rows.next().await {
            if let Some(AttributeValue::S(tenant)) = row.map_err(KeysError::new)?.remove("tenant") {
                tenants.insert(tenant);
            }
        }
        Ok(tenants)
    }

    /// Makes the tenant's next version, and proves before it is stored that KMS unwraps it: a version that did not open
    /// would keep the tenant from sealing. With `reopen` a shredded tenant gets a key again; what it had stays lost.
    ///
    /// # Errors
    /// [`KeysError::Shredded`] without `reopen`; otherwise as [`TenantKeys::current`]. The older version then seals on.
    pub async fn rotate(&self, tenant: &str, reopen: bool) -> Result<Rotated, KeysError> {
        let Some(newest) = self.read(tenant, Wanted::Newest).await? else { return Ok(Rotated::NoKey) };
        if newest.is_tombstone() && !reopen {
            return Err(KeysError::Shredded);
        }
        let version = newest.version.checked_add(1).ok_or(Unsealable)?;
        let row = self.make(tenant, version).await?;
        self.unwrap(row.clone()).await?;
        if !self.store(&row).await? {
            // somebody else was faster: theirs is the next version, if it is one
            let winner = self.read(tenant, Wanted::Newest).await?;
            if winner.is_some_and(|winner| winner.is_tombstone()) {
                return Err(KeysError::Shredded);
            }
        }
        self.held().forget(tenant);
        Ok(Rotated::To(version))
    }

    /// Destroys every key of the tenant, for good. Repeating it finishes what was cut off and changes nothing more.
    ///
    /// # Errors
    /// When the table does not answer; repeat it then.
    pub async fn shred(&self, tenant: &str) -> Result<Shredded, KeysError> {
        let tombstone = loop {
            let newest = self.read(tenant, Wanted::Newest).await?;
            if let Some(tombstone) = newest.as_ref().filter(|newest| newest.is_tombstone()) {
                break tombstone.clone();
            }
            let version = newest.map_or(0, |newest| newest.version).checked_add(1).ok_or(Unsealable)?;
            let created_at = self.clock.now();
            let tombstone = Row { tenant: tenant.to_owned(), version, wrapped: None, created_at, shredded: true };
            if self.store(&tombstone).await? {
                break tombstone;
            }
        };
        self.held().forget(tenant);
        let mut destroyed = 0;
        let below = |row: &Row| row.version < tombstone.version && !row.is_tombstone();
        for row in self.rows(tenant).await?.into_iter().filter(below) {
            let delete = self
                .dynamodb
                .delete_item()
                .table_name(&self.config.table)
                .key("tenant", AttributeValue::S(row.tenant))
                .key("version", AttributeValue::N(row.version.to_string()));
            delete.send().await.map_err(KeysError::new)?;
            destroyed += 1;
        }
        Ok(Shredded { destroyed, at: tombstone.created_at })
    }

    /// Every row of a tenant, the newest last, read strongly.
    async fn rows(&self, tenant: &str) -> Result<Vec<Row>, KeysError> {
        let query = self
            .dynamodb
            .query()
            .table_name(&self.config.table)
            .consistent_read(true)
            .key_condition_expression("tenant = :tenant")
            .expression_attribute_values(":tenant", AttributeValue::S(tenant.to_owned()));
        let rows: Vec<_> =
            query.into_paginator().items().send().collect::<Result<_, _>>().await.map_err(KeysError::new)?;
        Ok(rows.into_iter().map(serde_dynamo::from_item).collect::<Result<_, _>>().map_err(|_| Unsealable)?)
    }
}
