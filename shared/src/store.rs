//! The tables, one file an aggregate.
//!
//! Everything that must hold together is one conditional write or one transaction; natural ids
//! make duplicates impossible by key. An index is a hint: whoever acts on what an index says reads
//! the row itself first, strongly. Keys are built in this module alone, from types that cannot
//! reach into another key.

use std::{collections::HashMap, time::Duration};

use aws_config::{SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_lc_rs::digest;
use aws_sdk_dynamodb::{
    Client,
    config::{Builder, retry::RetryPartition},
    error::SdkError,
    operation::{transact_write_items::TransactWriteItemsError, update_item::UpdateItemError},
    primitives::Blob,
    types::{AttributeValue, Delete, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, de::DeserializeOwned};

use crate::seal::Sealed;

pub mod account_events;
pub mod acquisition;
pub mod flows;
pub mod history;
pub mod outbox;
pub mod ownership;
pub mod profiles;
pub mod pauses;
pub mod renewals;
pub mod reseal;
pub mod restore;
pub mod rules;
pub mod settings;
pub mod suppressions;
pub mod transfer;
pub mod users;
pub mod walk;

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else was first: the row is not as it was when it was read.
    #[error("the row changed meanwhile")]
    Conflict,
    /// The table did not answer, or is throttled.
    #[error("the table did not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A row is not of the form that this version writes.
    #[error("a row could not be read")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

type Item = HashMap<String, AttributeValue>;

/// How `due` is spread: its rows over shards, and those of tokens over a time as well, so that what was connected in
/// one hour does not fall due in one hour for ever.
///
/// A key always falls on the same shard while their number stays the same, and always has the same delay while the
/// jitter does.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    shards: u16,
    jitter: SignedDuration,
}

impl Spread {
    /// Over this many shards, at least one; and a token's row comes up at most so many minutes after it is due.
    #[must_use]
    pub fn new(shards: u16, jitter_minutes: u16) -> Self {
        Self { shards: shards.max(1), jitter: SignedDuration::from_mins(jitter_minutes.into()) }
    }

    /// The shard of `key`.
    fn shard(self, key: &str) -> String {
        let [high, low, ..] = hash(key);
        (u16::from_be_bytes([high, low]) % self.shards).to_string()
    }

    /// When the row of a token comes up that is due at `at`: later by a share of the jitter that its key decides, and
    /// never before.
    fn delayed(self, key: &str, at: Timestamp) -> Timestamp {
        let [_, _, share @ ..] = hash(key);
        let seconds = (i128::from(u32::from_be_bytes(share)) * i128::from(self.jitter.as_secs())) >> u32::BITS;
        at + SignedDuration::from_secs(seconds.try_into().unwrap_or_default())
    }

    /// Every shard.
    fn shards(self) -> impl Iterator<Item = String> {
        (0..self.shards).map(|shard| shard.to_string())
    }
}

fn hash(key: &str) -> [u8; 6] {
    let hash = digest::digest(&digest::SHA256, key.as_bytes());
    hash.as_ref().first_chunk().copied().unwrap_or_default()
}

/// At most so long is waited before a call to a table is repeated for the first time: tables answer within milliseconds.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// A DynamoDB client that answers, or fails, well within a function's budget.
///
/// What it may spend on repetitions is its own: the SDK would share that with every other client of the process, and
/// whoever meets an outage would take a single repetition away from all the others.
fn client(aws: &SdkConfig) -> Client {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(1))
        .operation_attempt_timeout(Duration::from_secs(2))
        .operation_timeout(Duration::from_secs(5));
    let config = Builder::from(aws)
        .timeout_config(timeouts.build())
        .retry_config(RetryConfig::standard().with_max_attempts(3).with_initial_backoff(FIRST_PAUSE))
        .retry_partition(RetryPartition::custom("store").build());
    Client::from_conf(config.build())
}

fn unavailable<E, R>(error: SdkError<E, R>) -> StoreError
where
    SdkError<E, R>: std::error::Error + Send + Sync + 'static,
{
    StoreError::Unavailable(Box::new(error))
}

fn unreadable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Unreadable(error.into())
}

fn read<T: DeserializeOwned>(item: Item) -> Result<T, StoreError> {
    serde_dynamo::from_item(item).map_err(unreadable)
}

fn write<T: Serialize>(row: &T) -> Result<Item, StoreError> {
    serde_dynamo::to_item(row).map_err(unreadable)
}

fn value<T: Serialize>(value: &T) -> Result<AttributeValue, StoreError> {
    serde_dynamo::to_attribute_value(value).map_err(unreadable)
}

fn text(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

fn number(number: impl Into<i128>) -> AttributeValue {
    AttributeValue::N(number.into().to_string())
}

fn binary(sealed: &Sealed) -> AttributeValue {
    AttributeValue::B(Blob::new(sealed.as_bytes()))
}

fn sealed(attribute: Option<&AttributeValue>) -> Option<Sealed> {
    Some(attribute?.as_b().ok()?.as_ref().to_vec().into())
}

/// What came of a conditional write of one row.
enum Written {
    /// It was carried out; the row as it is now.
    Done(Item),
    /// A condition did not hold; the row as it is, if there is one.
    Refused(Option<Item>),
}

/// A change of one row: what is set and removed, and under which condition.
#[derive(Clone, Default)]
struct Change {
    set: Vec<String>,
    add: Vec<String>,
    delete: Vec<String>,
    remove: Vec<String>,
    conditions: Vec<String>,
    names: HashMap<String, String>,
    values: Item,
}

impl Change {
    fn new() -> Self {
        Self::default()
    }

    fn set(mut self, name: &str, to: AttributeValue) -> Self {
        let (name, value) = (self.name(name), self.value(to));
        self.set.push(format!("{name} = {value}"));
        self
    }

    fn set_if_missing(mut self, name: &str, to: AttributeValue) -> Self {
        let (name, value) = (self.name(name), self.value(to));
        self.set.push(format!("{name} = if_not_exists({name}, {value})"));
        self
    }

    /// Sets it, or removes it where there is nothing to set.
    fn put(self, name: &str, to: Option<AttributeValue>) -> Self {
        match to {
            Some(to) => self.set(name, to),
            None => self.remove(name),
        }
    }

    /// Sets every attribute of `row`.
    fn set_all(self, row: Item) -> Self {
        row.into_iter().fold(self, |change, (name, value)| change.set(&name, value))
    }

    fn add(mut self, name: &str, what: AttributeValue) -> Self {
        let (name, value) = (self.name(name), self.value(what));
        self.add.push(format!("{name} {value}"));
        self
    }

    /// Takes members out of a set.
    fn take(mut self, name: &str, members: AttributeValue) -> Self {
        let (name, value) = (self.name(name), self.value(members));
        self.delete.push(format!("{name} {value}"));
        self
    }

    fn remove(mut self, name: &str) -> Self {
        let name = self.name(name);
        self.remove.push(name);
        self
    }

    fn when(mut self, name: &str, comparison: &str, to: AttributeValue) -> Self {
        let (name, value) = (self.name(name), self.value(to));
        self.conditions.push(format!("{name} {comparison} {value}"));
        self
    }

    fn when_contains(mut self, name: &str, member: AttributeValue) -> Self {
        let (name, value) = (self.name(name), self.value(member));
        self.conditions.push(format!("contains({name}, {value})"));
        self
    }

    /// So many members are in a set.
    fn when_counts(mut self, name: &str, members: usize) -> Self {
        let (name, value) = (self.name(name), self.value(AttributeValue::N(members.to_string())));
        self.conditions.push(format!("size({name}) = {value}"));
        self
    }

    fn when_exists(mut self, name: &str) -> Self {
        let name = self.name(name);
        self.conditions.push(format!("attribute_exists({name})"));
        self
    }

    /// It is as it was read: this, or not there where nothing was.
    fn when_is(self, name: &str, read: Option<AttributeValue>) -> Self {
        match read {
            Some(read) => self.when(name, "=", read),
            None => self.when_missing(name),
        }
    }

    fn when_missing(mut self, name: &str) -> Self {
        let name = self.name(name);
        self.conditions.push(format!("attribute_not_exists({name})"));
        self
    }

    fn name(&mut self, name: &str) -> String {
        name.split('.')
            .map(|part| {
                let alias = format!("#{part}");
                self.names.insert(alias.clone(), part.to_owned());
                alias
            })
            .collect::<Vec<_>>()
            .join(".")
    }

    fn value(&mut self, value: AttributeValue) -> String {
        let alias = format!(":v{}", self.values.len());
        self.values.insert(alias.clone(), value);
        alias
    }

    fn condition(&self) -> Option<String> {
        (!self.conditions.is_empty()).then(|| self.conditions.join(" AND "))
    }

    fn expression(&self) -> String {
        [("SET", &self.set), ("ADD", &self.add), ("DELETE", &self.delete), ("REMOVE", &self.remove)]
            .into_iter()
            .filter(|(_, clauses)| !clauses.is_empty())
            .map(|(verb, clauses)| format!("{verb} {}", clauses.join(", ")))
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn values(self) -> (HashMap<String, String>, Option<Item>) {
        (self.names, (!self.values.is_empty()).then_some(self.values))
    }

    /// Carries the change out by itself, and tells the row as it is then.
    async fn carry_out(self, client: &Client, table: &str, key: Item) -> Result<Item, StoreError> {
        match self.attempt(client, table, key).await? {
            Written::Done(row) => Ok(row),
            Written::Refused(_) => Err(StoreError::Conflict),
        }
    }

    /// Carries the change out by itself if its conditions hold, and tells the row either way.
    async fn attempt(self, client: &Client, table: &str, key: Item) -> Result<Written, StoreError> {
        let (expression, condition) = (self.expression(), self.condition());
        let (names, values) = self.values();
        let answer = client
            .update_item()
            .table_name(table)
            .set_key(Some(key))
            .update_expression(expression)
            .set_condition_expression(condition)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(values)
            .return_values(aws_sdk_dynamodb::types::ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match answer {
            Ok(answer) => Ok(Written::Done(answer.attributes.unwrap_or_default())),
            Err(SdkError::ServiceError(error)) => match error.err() {
                UpdateItemError::ConditionalCheckFailedException(refused) => {
                    Ok(Written::Refused(refused.item().cloned()))
                }
                _ => Err(unavailable(SdkError::ServiceError(error))),
            },
            Err(error) => Err(unavailable(error)),
        }
    }

    fn in_transaction(self, table: &str, key: Item) -> Result<TransactWriteItem, StoreError> {
        let (expression, condition) = (self.expression(), self.condition());
        let (names, values) = self.values();
        let update = Update::builder()
            .table_name(table)
            .set_key(Some(key))
            .update_expression(expression)
            .set_condition_expression(condition)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(values)
            .build()
            .map_err(unreadable)?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    /// Deletes the row under the change's conditions.
    fn delete_in_transaction(self, table: &str, key: Item) -> Result<TransactWriteItem, StoreError> {
        let condition = self.condition();
        let (names, values) = self.values();
        let delete = Delete::builder()
            .table_name(table)
            .set_key(Some(key))
            .set_condition_expression(condition)
            .set_expression_attribute_names((!names.is_empty()).then_some(names))
            .set_expression_attribute_values(values)
            .build()
            .map_err(unreadable)?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }
}

/// Writes a whole new row in a transaction, whatever was there.
fn put_in_transaction(table: &str, item: Item) -> Result<TransactWriteItem, StoreError> {
    let put = Put::builder().table_name(table).set_item(Some(item)).build().map_err(unreadable)?;
    Ok(TransactWriteItem::builder().put(put).build())
}

/// Writes a whole new row in a transaction, if there is none.
fn put_if_missing(table: &str, item: Item, key: &str) -> Result<TransactWriteItem, StoreError> {
    let put = Put::builder().table_name(table).set_item(Some(item));
    let put = put.condition_expression(format!("attribute_not_exists({key})")).build().map_err(unreadable)?;
    Ok(TransactWriteItem::builder().put(put).build())
}

/// Does all of it or nothing. A repetition by the SDK is recognised by its token and done once.
async fn transact(client: &Client, items: Vec<TransactWriteItem>) -> Result<(), StoreError> {
    match client.transact_write_items().set_transact_items(Some(items)).send().await {
        Ok(_) => Ok(()),
        Err(SdkError::ServiceError(error))
            if matches!(
                error.err(),
                TransactWriteItemsError::TransactionCanceledException(cancelled)
                    if cancelled.cancellation_reasons().iter().any(|reason| {
                        matches!(reason.code(), Some("ConditionalCheckFailed" | "TransactionConflict"))
                    })
            ) =>
        {
            Err(StoreError::Conflict)
        }
        Err(error) => Err(unavailable(error)),
    }
}

/// Where a reader of the `due` index goes on: shard by shard, page by page.
///
/// Rows that fail stay due and are passed by, so that they never stand in the way of others.
#[derive(Debug)]
pub struct DueCursor {
    shards: std::vec::IntoIter<String>,
    shard: Option<String>,
    start: Option<Item>,
}

/// How many due rows are read at once.
const DUE_PAGE: i32 = 100;

impl DueCursor {
    fn new(spread: Spread) -> Self {
        let mut shards = spread.shards().collect::<Vec<_>>().into_iter();
        let shard = shards.next();
        Self { shards, shard, start: None }
    }

    /// The keys of the next rows that are due at `now`; `None` when every shard was read.
    async fn next(&mut self, client: &Client, table: &str, now: Timestamp) -> Result<Option<Vec<Item>>, StoreError> {
        let Some(shard) = &self.shard else { return Ok(None) };
        let answer = client
            .query()
            .table_name(table)
            .index_name("due")
            .key_condition_expression("due_shard = :shard AND due_at <= :now")
            .expression_attribute_values(":shard", text(shard))
            .expression_attribute_values(":now", number(now.as_second()))
            .limit(DUE_PAGE)
            .set_exclusive_start_key(self.start.take())
            .send()
            .await
            .map_err(unavailable)?;
        self.start = answer.last_evaluated_key;
        if self.start.is_none() {
            self.shard = self.shards.next();
        }
        Ok(Some(answer.items.unwrap_or_default()))
    }
}

/// Every row of a partition of the Vault table, read strongly.
async fn partition(client: &Client, table: &str, pk: String) -> Result<Vec<Item>, StoreError> {
    let query = client
        .query()
        .table_name(table)
        .key_condition_expression("pk = :pk")
        .expression_attribute_values(":pk", text(pk))
        .consistent_read(true);
    query.into_paginator().items().send().collect::<Result<_, _>>().await.map_err(unavailable)
}

/// The keys of the rows that lie under an account, as the index says.
async fn by_account(client: &Client, table: &str, account: &str) -> Result<Vec<Item>, StoreError> {
    let query = client
        .query()
        .table_name(table)
        .index_name("by_account")
        .key_condition_expression("account = :account")
        .expression_attribute_values(":account", text(account));
    query.into_paginator().items().send().collect::<Result<_, _>>().await.map_err(unavailable)
}

/// Whether `text` can be the id of a notice or of a line of history: nothing that reaches into another key.
#[must_use]
pub fn is_row_id(text: &str) -> bool {
    let harmless = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.');
    !text.is_empty() && text.len() <= 1000 && text.bytes().all(harmless)
}

/// The key of a row of the Vault table.
fn row_key(pk: impl Into<String>, sk: impl Into<String>) -> Item {
    Item::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

fn key_part<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUE: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn key(number: usize) -> String {
        format!("T#acme#P#facebook_user-{number}#acquisition-alice")
    }

    // S63
    #[test]
    fn of_a_million_that_are_due_at_once_every_minute_gets_its_share_and_none_comes_up_early() {
        let spread = Spread::new(4, 180);
        let mut minutes = [0_u32; 180];
        for number in 0..1_000_000 {
            let late = spread.delayed(&key(number), DUE).duration_since(DUE);
            assert!(!late.is_negative() && late < SignedDuration::from_mins(180), "{number} comes up {late} late");
            minutes[usize::try_from(late.as_mins()).unwrap()] += 1;
        }
        let (least, most) = (minutes.iter().min().unwrap(), minutes.iter().max().unwrap());
        // 5,556 on average
        assert!((5_200..5_900).contains(least) && (5_200..5_900).contains(most), "{least} to {most} in a minute");
    }

    // S63
    #[test]
    fn a_key_always_has_the_same_delay_and_none_where_there_is_no_jitter() {
        for number in 0..1_000 {
            let key = key(number);
            let later = DUE + SignedDuration::from_hours(24);
            let delay = |at| Spread::new(4, 180).delayed(&key, at).duration_since(at);
            assert_eq!(delay(DUE), delay(later), "{key}");
            assert_eq!(Spread::new(16, 180).delayed(&key, DUE).duration_since(DUE), delay(DUE), "{key}");
            assert_eq!(Spread::new(4, 0).delayed(&key, DUE), DUE, "{key}");
        }
    }

    #[test]
    fn no_number_of_shards_loses_a_key() {
        for count in [0, 1, 4, 256] {
            let spread = Spread::new(count, 0);
            let shards: Vec<_> = spread.shards().collect();
            assert_eq!(shards.len(), usize::from(count.max(1)));
            assert!((0..100).all(|number| shards.contains(&spread.shard(&key(number)))), "{count}");
        }
    }
}
