//! Addresses that are not written to any more: the mail service said that mail to them comes back for good, or that
//! whoever reads it complained.
//!
//! Each tenant has its own. A mail carries its tenant, so what comes of it is known to that tenant alone: who else
//! writes to an address is nobody's business, and a complaint about one organisation does not silence another. A row is
//! known by the hash of its address and does not hold it. It is lifted when an administrator sets the address anew, and
//! means nothing to a person whose address changed.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Item, StoreError, key_part, profiles::Vault, put_in_transaction, read, row_key, text, transact, unavailable, write,
};
use crate::access::TenantId;

/// Why an address is not written to: mail to it comes back for good, or its reader does not want it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// Mail to it comes back for good.
    Bounced,
    /// Whoever reads it does not want it.
    Complained,
}

/// An address that is not written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppression {
    /// Why.
    pub reason: Trouble,
    /// When the mail service said so.
    pub since: Timestamp,
}

/// Those of a tenant.
#[derive(Clone, Debug, Default)]
pub struct Suppressions(BTreeMap<String, Suppression>);

impl Suppressions {
    /// What is known against an address, whatever the case of its letters.
    #[must_use]
    pub fn of(&self, address: &str) -> Option<Suppression> {
        self.0.get(&hash(address)).copied()
    }
}

impl Vault {
    /// The addresses that a tenant does not write to, read strongly.
    ///
    /// # Errors
    /// When the table does not answer or a row cannot be read.
    pub async fn suppressions(&self, tenant: &TenantId) -> Result<Suppressions, StoreError> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
            .expression_attribute_values(":pk", text(partition(tenant)))
            .expression_attribute_values(":prefix", text(PREFIX))
            .consistent_read(true);
        let rows: Vec<Item> =
            query.into_paginator().items().send().collect::<Result<_, _>>().await.map_err(unavailable)?;
        let named = |row: Item| {
            let hash = key_part(&row, "sk").and_then(|sk| sk.strip_prefix(PREFIX)).unwrap_or_default().to_owned();
            Ok((hash, read(row)?))
        };
        Ok(Suppressions(rows.into_iter().map(named).collect::<Result<_, StoreError>>()?))
    }

    /// What is known against one address.
    ///
    /// # Errors
    /// When the table does not answer or the row cannot be read.
    pub async fn suppression(&self, tenant: &TenantId, address: &str) -> Result<Option<Suppression>, StoreError> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(key(tenant, address)));
        get.send().await.map_err(unavailable)?.item.map(read).transpose()
    }

    /// Writes to `address` no more because of a mail that was sent at `sent_at`; one that an administrator has set
    /// since is written to.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn suppress(
        &self,
        tenant: &TenantId,
        address: &str,
        suppression: Suppression,
        sent_at: Timestamp,
    ) -> Result<bool, StoreError> {
        let settings = self.settings(tenant, true).await?;
        if settings.administers(address) && settings.changed_at.is_some_and(|changed| sent_at < changed) {
            return Ok(false);
        }
        let mut row = write(&suppression)?;
        row.extend(key(tenant, address));
        transact(&self.client, vec![put_in_transaction(&self.table, row)?]).await?;
        Ok(true)
    }

    /// Writes to these addresses again.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn lift(&self, tenant: &TenantId, addresses: &[String]) -> Result<(), StoreError> {
        let suppressions = self.suppressions(tenant).await?;
        for address in addresses {
            if suppressions.of(address).is_some() {
                let delete = self.client.delete_item().table_name(&self.table).set_key(Some(key(tenant, address)));
                delete.send().await.map_err(unavailable)?;
            }
        }
        Ok(())
    }
}

const PREFIX: &str = "SUPPRESSED#";

fn partition(tenant: &TenantId) -> String {
    format!("T#{tenant}")
}

fn key(tenant: &TenantId, address: &str) -> Item {
    row_key(partition(tenant), format!("{PREFIX}{}", hash(address)))
}

fn hash(address: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, address.trim().to_lowercase().as_bytes()))
}
