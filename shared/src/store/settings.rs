//! A tenant's settings, one row; and how a changed ladder reaches the rows that were scheduled by the old one.
//!
//! A row comes up in `due` when its next step is, by the ladder of the moment at which it was written. A rung that is new
//! may lie before that. So settings with a changed ladder become due themselves, a minute later, when whoever still
//! went by the old ones is done; the sweep then brings the tenant's tokens forward page by page and keeps in the same
//! row how far it came. A rung that is gone needs no pass: its rows come up too early, and are sent away again.

use jiff::{SignedDuration, Timestamp};

use super::{
    Change, Item, StoreError, key_part, number,
    profiles::{TokenKey, Vault, token_key_of},
    read, row_key, text, transact, unavailable, value, write,
};
use crate::{access::TenantId, ladder::Ladder, settings::Settings};

/// Nobody goes by settings that were read longer ago: no function that reads them from a request lives so long.
const SETTLED: SignedDuration = SignedDuration::from_mins(1);
/// How many tokens are looked at between two notes of how far it came.
const PAGE: i32 = 100;

/// How far a changed ladder has reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rescheduling {
    /// The ladder.
    pub ladder: Ladder,
    /// When it was set; another change begins anew.
    changed_at: Timestamp,
    /// The last item of the tenant that was looked at.
    after: Option<String>,
}

/// Some tokens of a tenant.
#[derive(Debug)]
pub struct TokenPage {
    /// Where they are.
    pub keys: Vec<TokenKey>,
    /// The last item of the page, if there are more after it.
    next: Option<String>,
}

impl Vault {
    /// The settings of a tenant. Strongly, they cost a unit; else half of one, and may be a moment old.
    ///
    /// # Errors
    /// When the table does not answer or the row cannot be read.
    pub async fn settings(&self, tenant: &TenantId, strongly: bool) -> Result<Settings, StoreError> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(key(tenant)));
        let answer = get.consistent_read(strongly).send().await.map_err(unavailable)?;
        answer.item.map_or_else(|| Ok(Settings::default()), read)
    }

    /// Sets `settings` in the place of those that were read `before`.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when others were set meanwhile.
    pub async fn put_settings(
        &self,
        tenant: &TenantId,
        before: &Settings,
        settings: &Settings,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let change = Change::new().when_is("changed_at", before.changed_at.as_ref().map(value).transpose()?);
        let row = write(settings)?;
        let change = ["privacy_url", "reauthenticate_url"]
            .into_iter()
            .filter(|name| !row.contains_key(*name))
            .fold(change, Change::remove)
            .set_all(row);
        let change = if settings.ladder == before.ladder {
            change
        } else {
            change
                .set("due_shard", text(self.spread.shard(&partition(tenant))))
                .set("due_at", number((now + SETTLED).as_second()))
                .remove("rescheduled")
        };
        // as a transaction, whose repetition after a lost answer is no conflict with itself
        transact(&self.client, vec![change.in_transaction(&self.table, key(tenant))?]).await
    }

    /// How far the tenant's changed ladder has reached, read strongly; `None` when it is everywhere, or not to be spread
    /// yet.
    ///
    /// # Errors
    /// When the table does not answer or the row cannot be read.
    pub async fn rescheduling(&self, tenant: &TenantId, now: Timestamp) -> Result<Option<Rescheduling>, StoreError> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(key(tenant))).consistent_read(true);
        let Some(row) = get.send().await.map_err(unavailable)?.item else { return Ok(None) };
        let due_at = row.get("due_at").and_then(|at| at.as_n().ok()?.parse::<i64>().ok());
        if due_at.is_none_or(|at| at > now.as_second()) {
            return Ok(None);
        }
        let after = key_part(&row, "rescheduled").map(str::to_owned);
        let Settings { ladder, changed_at, .. } = read(row)?;
        Ok(changed_at.map(|changed_at| Rescheduling { ladder, changed_at, after }))
    }

    /// The next tokens that a changed ladder has to reach, as the list's index says.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn tokens_after(&self, tenant: &TenantId, so_far: &Rescheduling) -> Result<TokenPage, StoreError> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("by_tenant")
            .key_condition_expression("tenant = :tenant AND #item > :after")
            .filter_expression("attribute_exists(expires_at)")
            .expression_attribute_names("#item", "item")
            .expression_attribute_values(":tenant", text(tenant.as_str()))
            // no item is so small
            .expression_attribute_values(":after", text(so_far.after.as_deref().unwrap_or("#")))
            .limit(PAGE);
        let answer = query.send().await.map_err(unavailable)?;
        let next = answer.last_evaluated_key.as_ref().and_then(|last| key_part(last, "item")).map(str::to_owned);
        let rows = answer.items.unwrap_or_default();
        Ok(TokenPage { keys: rows.iter().filter_map(token_key_of).collect(), next })
    }

    /// Lets a token come up earlier if the ladder says so.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the row changed since it was read: whoever changed it went by the new ladder.
    pub async fn bring_forward(&self, key: &TokenKey, ladder: &Ladder) -> Result<(), StoreError> {
        let Some(held) = self.token(key).await? else { return Ok(()) };
        let comes_up = self.comes_up(key, &held.token, ladder).map(Timestamp::as_second);
        match (comes_up, held.due_at) {
            (Some(comes_up), Some(known)) if comes_up < known => self.reschedule(key, &held.token, ladder).await,
            _ => Ok(()),
        }
    }

    /// Notes that the ladder has reached the tokens of a page.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when another sweep is at it, or the ladder changed again.
    pub async fn reached(&self, tenant: &TenantId, so_far: &Rescheduling, page: &TokenPage) -> Result<(), StoreError> {
        let change = Change::new().when("changed_at", "=", value(&so_far.changed_at)?);
        let change = change.when_is("rescheduled", so_far.after.as_ref().map(text));
        let change = match &page.next {
            Some(next) => change.set("rescheduled", text(next)),
            None => ["due_shard", "due_at", "rescheduled"].into_iter().fold(change, Change::remove),
        };
        change.carry_out(&self.client, &self.table, key(tenant)).await.map(drop)
    }
}

fn partition(tenant: &TenantId) -> String {
    format!("T#{tenant}")
}

fn key(tenant: &TenantId) -> Item {
    row_key(partition(tenant), "SETTINGS")
}

/// Whose settings a row's key names.
pub(super) fn owner_of(item: &Item) -> Option<TenantId> {
    (key_part(item, "sk") == Some("SETTINGS")).then_some(())?;
    key_part(item, "pk")?.strip_prefix("T#")?.parse().ok()
}
