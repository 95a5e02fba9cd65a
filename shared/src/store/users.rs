//! What is remembered of a person: where to write to, and whether they were removed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Change, Item, StoreError, profiles::Vault, read, row_key, text, unavailable, value};
use crate::access::{Caller, Subject, TenantId};

/// A person, as last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Where notices are mailed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// When an administrator removed the person: access tokens from before are not taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_at: Option<Timestamp>,
}

impl Vault {
    /// What is remembered of a person; strongly read when it decides about access.
    ///
    /// # Errors
    /// When the table does not answer or the row cannot be read.
    pub async fn user(&self, tenant: &TenantId, subject: &Subject, strongly: bool) -> Result<User, StoreError> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(key(tenant, subject)));
        let answer = get.consistent_read(strongly).send().await.map_err(unavailable)?;
        answer.item.map_or_else(|| Ok(User::default()), read)
    }

    /// Remembers where the caller is written to.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn remember(&self, caller: &Caller, now: Timestamp) -> Result<(), StoreError> {
        let change = Change::new()
            .set("seen_at", value(&now)?)
            .set("subject", text(caller.subject.as_str()))
            .put("email", caller.email.as_ref().map(text));
        change.carry_out(&self.client, &self.table, key(&caller.tenant, &caller.subject)).await.map(drop)
    }
}

fn key(tenant: &TenantId, subject: &Subject) -> Item {
    row_key(format!("T#{tenant}"), format!("USER#{}", subject.encoded()))
}
