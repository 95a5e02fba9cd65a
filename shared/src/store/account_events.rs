//! What networks told of somebody's account: a row for each message, and what it does to tokens.
//!
//! The row is there before anything is done, and due, so that what a request does not come to the end of the sweep goes
//! on with; and it stays after all is done, so that the same message a second time does nothing and is answered the
//! same. Nothing of the person is in it any more then.
//!
//! The index names the tokens of every tenant that live on a grant; each row is read strongly and must really be of
//! that grant, and from before the event.

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::{
    Change, Item, StoreError, by_account,
    flows::{Flows, account_key},
    key_part, number,
    outbox::{Recipient, notice_prefix, outbox_partition},
    ownership,
    profiles::{Held, TokenKey, Vault, profile_key, token_key, token_key_of},
    read, row_key, text, transact, unavailable, value, write,
};
use crate::{
    access::TenantId,
    clock::Deadline,
    history::{Event, KEPT, What},
    network::events::{AccountEvent, Fate},
    secret::SecretHash,
};

/// A request does what a message says at once; if it is cut off, the sweep goes on after this time.
const SWEEP_TAKES_OVER: SignedDuration = SignedDuration::from_mins(1);
/// A token may be refreshed at the very moment that it ends: then it is looked at again, so often.
const TRIES: u32 = 3;

/// A message that was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its row.
    pub id: String,
    /// When it was.
    pub received_at: Timestamp,
    /// What is left to be done, or when all of it was done.
    pub todo: Result<AccountEvent, Timestamp>,
}

/// What came of pursuing a message for a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pursued {
    /// How many tokens it ended.
    pub tokens: u32,
    /// Whether it came to the end, and nothing failed on the way.
    pub complete: bool,
}

#[derive(Deserialize)]
struct Row {
    id: String,
    received_at: Timestamp,
    #[serde(default)]
    finished_at: Option<Timestamp>,
}

impl Flows {
    /// Writes down that a message came, once; tells what is known of it.
    ///
    /// # Errors
    /// When the table does not answer or the row cannot be read.
    pub async fn receive(&self, id: &SecretHash, event: &AccountEvent, now: Timestamp) -> Result<Received, StoreError> {
        let id = row_id(id);
        let mut row = write(event)?;
        row.insert("received_at".to_owned(), value(&now)?);
        row.insert("due_shard".to_owned(), text(self.spread.shard(&id)));
        row.insert("due_at".to_owned(), number((now + SWEEP_TAKES_OVER).as_second()));
        let change = Change::new().when_missing("id").set_all(row);
        match change.attempt(&self.client, &self.table, key(&id)).await? {
            super::Written::Done(row) | super::Written::Refused(Some(row)) => read_received(row),
            super::Written::Refused(None) => Err(StoreError::Conflict),
        }
    }

    /// A message, by what it is known by, read strongly.
    ///
    /// # Errors
    /// When the table does not answer or the row cannot be read.
    pub async fn received(&self, id: &SecretHash) -> Result<Option<Received>, StoreError> {
        self.get(&row_id(id)).await?.map(read_received).transpose()
    }

    /// All that the message says is done.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn finish(&self, received: &Received, now: Timestamp) -> Result<(), StoreError> {
        let gone = ["due_shard", "due_at", "login", "app"];
        let change = gone.iter().fold(Change::new().when_missing("finished_at"), |change, name| change.remove(name));
        let change = change.set("finished_at", value(&now)?).set("ttl", number((now + KEPT).as_second()));
        match change.carry_out(&self.client, &self.table, key(&received.id)).await {
            // somebody else came to the end
            Ok(_) | Err(StoreError::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Whether this row of the Flows table is a message's.
pub(super) fn is_received(id: &str) -> bool {
    id.starts_with(PREFIX)
}

pub(super) fn read_received(row: Item) -> Result<Received, StoreError> {
    let Row { id, received_at, finished_at } = read(row.clone())?;
    let todo = match finished_at {
        Some(finished_at) => Err(finished_at),
        None => Ok(read(row)?),
    };
    Ok(Received { id, received_at, todo })
}

impl Vault {
    /// Lets the tokens that an event is about meet their fate, until the deadline. Doing it again does nothing more.
    ///
    /// A token whose row cannot be read fails alone, and keeps the event from being finished.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn meet(&self, event: &AccountEvent, deadline: Deadline, now: Timestamp) -> Result<Pursued, StoreError> {
        let mut pursued = Pursued { tokens: 0, complete: true };
        let account = account_key(event.network, &event.app, &event.login);
        for row in by_account(&self.client, &self.table, &account).await? {
            let Some(key) = token_key_of(&row) else { continue };
            if deadline.left().is_zero() {
                return Ok(Pursued { complete: false, ..pursued });
            }
            match self.meet_one(event, &key, now).await {
                Ok(ended) => pursued.tokens += u32::from(ended),
                Err(error @ (StoreError::Unreadable(_) | StoreError::Conflict)) => {
                    tracing::error!(tenant = %key.tenant, profile = %key.profile, %error, "a token is still to end");
                    pursued.complete = false;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(pursued)
    }

    async fn meet_one(&self, event: &AccountEvent, key: &TokenKey, now: Timestamp) -> Result<bool, StoreError> {
        let mut tries = 0;
        loop {
            let Some(held) = self.token(key).await?.filter(|held| event.concerns(&held.token)) else {
                return Ok(false);
            };
            let met = match event.fate {
                Fate::Dead { .. } if held.token.state.is_over() => return Ok(false),
                Fate::Dead { reason } => self.die(key, &held, reason, now).await,
                Fate::Erased => self.forget_token(key, &held, now).await,
            };
            tries += 1;
            match met {
                Err(StoreError::Conflict) if tries < TRIES => {}
                met => return met.map(|()| true),
            }
        }
    }

    /// Deletes a token and what was said of it; with the last token its profile goes too. A line of the history stays,
    /// which has ids alone. There is nothing to revoke: the network has ended the grant, or the person would not ask
    /// there.
    async fn forget_token(&self, key: &TokenKey, held: &Held, now: Timestamp) -> Result<(), StoreError> {
        for recipient in [Recipient::Person(held.token.owner.clone()), Recipient::Administrators] {
            self.unsay(key, &recipient).await?;
        }
        let Some((profile, tokens)) = self.holdings(&key.tenant, &key.profile).await? else {
            return Err(StoreError::Conflict);
        };
        let gone = Change::new().when("generation", "=", number(held.token.generation));
        let gone = gone.when("connected_at", "=", value(&held.token.connected_at)?);
        let mut items = vec![gone.delete_in_transaction(&self.table, token_key(key))?];
        if tokens.iter().all(|other| other.token.id() == key.token) {
            let profile_row = profile_key(&key.tenant, &key.profile);
            items.push(ownership::as_read(&profile).delete_in_transaction(&self.table, profile_row)?);
        }
        if held.token.allow.search_acquisition {
            items.push(self.pooling(key, now)?);
        }
        let event = Event::new(What::Erased, now).to_token(&key.profile, &key.token);
        items.push(self.recording(&key.tenant, &event)?);
        transact(&self.client, items).await
    }

    /// Deletes what a recipient was told of a token, and what waits to be mailed of it: it has the profile's name.
    async fn unsay(&self, key: &TokenKey, recipient: &Recipient) -> Result<(), StoreError> {
        let shown = (tenant_partition(&key.tenant), notice_prefix(recipient));
        let waiting = (outbox_partition(&key.tenant, recipient), "ENTRY#".to_owned());
        for (pk, prefix) in [shown, waiting] {
            let query = self
                .client
                .query()
                .table_name(&self.table)
                .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
                .filter_expression("#profile = :profile AND token_id = :token")
                .projection_expression("pk, sk")
                .expression_attribute_names("#profile", "profile")
                .expression_attribute_values(":pk", text(&pk))
                .expression_attribute_values(":prefix", text(prefix))
                .expression_attribute_values(":profile", value(&key.profile)?)
                .expression_attribute_values(":token", value(&key.token)?)
                .consistent_read(true);
            let rows: Vec<Item> =
                query.into_paginator().items().send().collect::<Result<_, _>>().await.map_err(unavailable)?;
            for row in rows {
                let Some(sk) = key_part(&row, "sk") else { continue };
                let delete = self.client.delete_item().table_name(&self.table).set_key(Some(row_key(&pk, sk)));
                delete.send().await.map_err(unavailable)?;
            }
        }
        Ok(())
    }
}

const PREFIX: &str = "event#";

fn row_id(id: &SecretHash) -> String {
    format!("{PREFIX}{}", id.as_str())
}

fn key(id: &str) -> Item {
    Item::from([("id".to_owned(), AttributeValue::S(id.to_owned()))])
}

fn tenant_partition(tenant: &TenantId) -> String {
    format!("T#{tenant}")
}
