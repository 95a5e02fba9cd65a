//! A tenant's history, a row for each line, in the order of time.
//!
//! What the sweep and the networks do to a token is written in the transaction that does it. What a person does is written
//! just after it was done: a process that vanishes in between loses that line and nothing else, and a table that
//! fails is told in the log.

use std::sync::atomic::Ordering;

use aws_sdk_dynamodb::types::TransactWriteItem;
use jiff::Timestamp;

use super::{
    Change, Item, StoreError, key_part, number,
    profiles::{TokenKey, Vault},
    put_in_transaction, read, row_key, text, unavailable, value, write,
};
use crate::{
    access::{Subject, TenantId},
    history::{Event, KEPT, What, day_of},
    profile::ProfileId,
};

const PREFIX: &str = "HISTORY#";
/// Numbers of lines begin anew after this.
const SEQUENCES: u32 = 999_999;
/// So many lines are looked at for a page of those of one profile.
const LOOKS: i32 = 500;

impl Vault {
    /// Writes a line of what was done; one that cannot be written is logged, because what was done stays done.
    pub async fn record(&self, tenant: &TenantId, event: &Event) {
        let written = async {
            let sequence = self.lines.fetch_add(1, Ordering::Relaxed) % SEQUENCES + 1;
            let row = line(tenant, event, sequence)?;
            let put = self.client.put_item().table_name(&self.table).set_item(Some(row));
            put.send().await.map(drop).map_err(unavailable)
        };
        if let Err(error) = written.await {
            tracing::error!(%tenant, event = %serde_json::json!(event), %error, "a line of the history is lost");
        }
    }

    /// Counts something that happens often to a token, by `by` the last time; a count that fails is logged.
    pub async fn count(&self, key: &TokenKey, what: What, by: Option<&Subject>, failed: bool, now: Timestamp) {
        let event = Event::new(what, day_of(now)).to_token(&key.profile, &key.token);
        let counted = async {
            let mut row = write(&event)?;
            row.extend(by.map(|by| ("by".to_owned(), text(by.as_str()))));
            let change = Change::new()
                .set_all(row)
                .set("ttl", number((event.at + KEPT).as_second()))
                .add("times", number(1))
                .add("failures", number(u8::from(failed)));
            change.carry_out(&self.client, &self.table, line_key(&key.tenant, &id_of(&event, 0))).await
        };
        if let Err(error) = counted.await {
            tracing::error!(tenant = %key.tenant, profile = %key.profile, %error, "the history misses a count");
        }
    }

    /// A line for the transaction that does what it says.
    pub(super) fn recording(&self, tenant: &TenantId, event: &Event) -> Result<TransactWriteItem, StoreError> {
        put_in_transaction(&self.table, line(tenant, event, 0)?)
    }

    /// The lines of a tenant, newest first, before `before`, with their ids; of one profile if it is named. Where lines of
    /// others are many, a page may have few or none and yet be followed by another.
    ///
    /// # Errors
    /// When the table does not answer or a row cannot be read.
    pub async fn history(
        &self,
        tenant: &TenantId,
        profile: Option<&ProfileId>,
        before: Option<&str>,
        limit: i32,
    ) -> Result<(Vec<(String, Event)>, Option<String>), StoreError> {
        let mut query = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
            .expression_attribute_values(":pk", text(format!("T#{tenant}")))
            .expression_attribute_values(":prefix", text(PREFIX))
            .scan_index_forward(false)
            .set_exclusive_start_key(before.map(|id| line_key(tenant, id)))
            .limit(limit);
        if let Some(profile) = profile {
            query = query
                .filter_expression("profile_id = :profile")
                .expression_attribute_values(":profile", value(profile)?)
                .limit(LOOKS);
        }
        let answer = query.send().await.map_err(unavailable)?;
        let id = |row: &Item| key_part(row, "sk").and_then(|sk| sk.strip_prefix(PREFIX)).map(str::to_owned);
        let next = answer.last_evaluated_key.as_ref().and_then(id);
        let lines = answer.items.unwrap_or_default().into_iter();
        let lines = lines.map(|row| Ok((id(&row).unwrap_or_default(), read(row)?)));
        Ok((lines.collect::<Result<_, StoreError>>()?, next))
    }
}

fn line(tenant: &TenantId, event: &Event, sequence: u32) -> Result<Item, StoreError> {
    let mut row = write(event)?;
    row.extend(line_key(tenant, &id_of(event, sequence)));
    row.insert("ttl".to_owned(), number((event.at + KEPT).as_second()));
    Ok(row)
}

/// Names the moment, what happened, and to what. A clock tells seconds: what one process writes in one of them is
/// numbered.
fn id_of(event: &Event, sequence: u32) -> String {
    let Event { at, profile_id, token_id, rule_id, network, .. } = event;
    let parts = [
        Some(format!("{:011}{sequence:06}", at.as_second())),
        serde_json::to_value(event.event).ok().and_then(|name| name.as_str().map(str::to_owned)),
        profile_id.as_ref().map(ToString::to_string),
        token_id.as_ref().map(ToString::to_string),
        rule_id.as_ref().map(ToString::to_string),
        network.as_ref().map(ToString::to_string),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("_")
}

fn line_key(tenant: &TenantId, id: &str) -> Item {
    row_key(format!("T#{tenant}"), format!("{PREFIX}{id}"))
}
