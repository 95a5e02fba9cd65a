//! What is to be said to somebody: notices in the product, and an outbox that is mailed.
//!
//! A person is told of their own tokens, and a tenant's administrators, as one recipient, of all of them.
//! A step of a token, its notice and its outbox entry are written in one transaction, under keys
//! that name the step, so that nothing is said twice whatever is retried. A mail is *pending*,
//! then *sending* (a conditional write, before the mail service is asked), then sent: an answer
//! that never came counts as sent and is counted, because a second mail is worse than a late one.

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Change, Item, StoreError, key_part, number, partition,
    profiles::{TokenKey, Vault, as_read, token_key},
    put_in_transaction, read,
    renewals::state_name,
    row_key, text, transact, unavailable, value, write,
};
use crate::{
    access::{Subject, TenantId},
    health::Colour,
    history::{Event, What},
    ladder::Ladder,
    profile::{Network, ProfileId, TokenKind},
    settings::Settings,
    token::{Aged, Step, Token, TokenId},
};

/// A recipient gets at most one mail in this time.
pub const MAIL_INTERVAL: SignedDuration = SignedDuration::from_hours(1);
/// A mail that was begun and not heard of for so long counts as sent.
const SENDING_LIMIT: SignedDuration = SignedDuration::from_mins(10);
/// How long a notice is shown.
const NOTICE_KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);

/// To whom something is said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recipient {
    /// One person.
    Person(Subject),
    /// The tenant's administrators, all of them at once.
    Administrators,
}

/// Something that somebody is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Its id among the recipient's notices.
    pub id: String,
    /// What it is about.
    #[serde(flatten)]
    pub about: About,
    /// When it was written.
    pub at: Timestamp,
    /// Whether it was put aside.
    #[serde(default)]
    pub dismissed: bool,
    /// Whether the administrators are mailed the same: a person who is one of them is not mailed it twice.
    #[serde(default)]
    pub to_administrators: bool,
}

/// What a notice is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "about", rename_all = "snake_case")]
pub enum About {
    /// Something happened to a token.
    Token(OfToken),
    /// Acquisition at a network got worse.
    Acquisition {
        /// The network.
        network: Network,
        /// How it stands now.
        colour: Colour,
    },
}

/// What happened to a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfToken {
    /// What happened.
    #[serde(flatten)]
    pub step: Step,
    /// The profile.
    pub profile: ProfileId,
    /// The profile's name.
    pub name: String,
    /// What the token is for.
    pub token: TokenKind,
    /// The token.
    pub token_id: TokenId,
    /// Whose it is.
    pub owner: Subject,
}

impl About {
    /// Whether a newer notice of `other` says all that is left to say of this.
    #[must_use]
    pub fn is_superseded_by(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Token(this), Self::Token(other)) => {
                (&this.profile, &this.token_id) == (&other.profile, &other.token_id)
            }
            (Self::Acquisition { network: this, .. }, Self::Acquisition { network: other, .. }) => this == other,
            (Self::Token(_), Self::Acquisition { .. }) | (Self::Acquisition { .. }, Self::Token(_)) => false,
        }
    }
}

/// A recipient's outbox.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outbox {
    /// When the last mail went out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sent_at: Option<Timestamp>,
    /// Since when a mail is being sent, and what is in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sending: Option<Sending>,
    /// How often something was put into it; tells whether it is as it was when it was read.
    #[serde(default)]
    pub arrivals: u64,
    /// How many mails were begun whose end is not known.
    #[serde(default)]
    pub unanswered: u64,
    /// When it is to be looked at, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<i64>,
    /// What waits to be mailed, with the sort keys.
    #[serde(skip)]
    pub entries: Vec<(String, Notice)>,
}

impl Outbox {
    /// Whether it is to be looked at by now; else whoever looked it up in the index was late.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.due_at.is_some_and(|at| at <= now.as_second())
    }
}

/// A mail that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sending {
    /// Since when.
    pub since: Timestamp,
    /// The sort keys of the entries in it.
    pub entries: Vec<String>,
}

impl Sending {
    /// Whether nobody can be waiting for its answer any more.
    #[must_use]
    pub fn is_lost(&self, now: Timestamp) -> bool {
        self.since + SENDING_LIMIT <= now
    }
}

/// How a mail went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The mail service took it.
    Accepted,
    /// Nobody knows: it may have been sent.
    Unanswered,
}

impl Vault {
    /// Writes down what time did to a token, and tells its owner and the administrators: all of it, once.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the row changed since it was read.
    pub async fn age(
        &self,
        key: &TokenKey,
        token: &Token,
        aged: Aged,
        settings: &Settings,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let next = Token { state: aged.state, considered_at: now, ..token.clone() };
        // whatever ended meanwhile stays ended
        let change = as_read(token)?.when("state", "=", state_name(token.state)?).set("considered_at", value(&now)?);
        let change = if next.state == token.state { change } else { change.set_all(write(&next.state)?) };
        let change = self.schedule(change, key, &next, &settings.ladder);
        let mut items = vec![change.in_transaction(&self.table, token_key(key))?];
        if let Some((step, at)) = aged.step {
            items.extend(self.telling_of(key, token, step, at, settings, now)?);
        }
        if aged.state.is_over() {
            items.extend(self.watching(key, token, now)?);
        }
        transact(&self.client, items).await
    }

    /// Lets a row that came up too early come up again when it is due.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the row changed since it was read.
    pub async fn reschedule(&self, key: &TokenKey, token: &Token, ladder: &Ladder) -> Result<(), StoreError> {
        let change = self.schedule(as_read(token)?, key, token, ladder);
        change.carry_out(&self.client, &self.table, token_key(key)).await.map(drop)
    }

    /// What tells a token's owner and the administrators of `step`, which was due at `at`: for the transaction that changes the token's row.
    ///
    /// A step of the ladder carries its own moment, so its key is the same whoever writes it. A death has none but
    /// the one at which it was found: it is told once because the change of the row beside it is conditional on that
    /// generation's being alive.
    pub(super) fn telling_of(
        &self,
        key: &TokenKey,
        token: &Token,
        step: Step,
        at: Timestamp,
        settings: &Settings,
        now: Timestamp,
    ) -> Result<Vec<TransactWriteItem>, StoreError> {
        let of_token = OfToken {
            step,
            profile: key.profile.clone(),
            name: token.name.clone(),
            token: token.token,
            token_id: key.token.clone(),
            owner: token.owner.clone(),
        };
        let notice = Notice {
            id: notice_id(key, step, at),
            about: About::Token(of_token),
            at: now,
            dismissed: false,
            to_administrators: !settings.administrators.is_empty(),
        };
        let mut items = self.telling(&key.tenant, &Recipient::Person(token.owner.clone()), &notice)?;
        items.extend(self.telling(&key.tenant, &Recipient::Administrators, &notice)?);
        let (what, reason) = match step {
            Step::Warning { .. } => (What::Warned, None),
            Step::Expired { .. } => (What::Expired, None),
            Step::Dead { reason, .. } => (What::Died, Some(reason)),
        };
        let event = Event { reason, ..Event::new(what, now).to_token(&key.profile, &key.token) };
        items.push(self.recording(&key.tenant, &event)?);
        Ok(items)
    }

    /// What shows a notice to a recipient and has it mailed, for a transaction. Administrators of whom there is no
    /// address are shown it alone.
    pub(super) fn telling(
        &self,
        tenant: &TenantId,
        to: &Recipient,
        notice: &Notice,
    ) -> Result<Vec<TransactWriteItem>, StoreError> {
        let row = write(notice)?;
        let mut shown = row.clone();
        shown.extend(row_key(format!("T#{tenant}"), notice_sort_key(to, &notice.id)));
        shown.insert("ttl".to_owned(), number((notice.at + NOTICE_KEPT).as_second()));
        let mut items = vec![put_in_transaction(&self.table, shown)?];
        if *to != Recipient::Administrators || notice.to_administrators {
            let mut mailed = row;
            mailed.extend(row_key(outbox_partition(tenant, to), format!("ENTRY#{}", notice.id)));
            let head = Change::new()
                .add("arrivals", number(1))
                .set("due_shard", text(self.spread.shard(&outbox_partition(tenant, to))))
                .set("due_at", number(notice.at.as_second()));
            items.push(put_in_transaction(&self.table, mailed)?);
            items.push(head.in_transaction(&self.table, outbox_key(tenant, to))?);
        }
        Ok(items)
    }

    /// A recipient's outbox, read strongly.
    ///
    /// # Errors
    /// When the table does not answer or a row cannot be read.
    pub async fn outbox(&self, tenant: &TenantId, to: &Recipient) -> Result<Outbox, StoreError> {
        let (mut outbox, mut entries) = (Outbox::default(), Vec::new());
        for row in partition(&self.client, &self.table, outbox_partition(tenant, to)).await? {
            match key_part(&row, "sk").map(str::to_owned) {
                Some(sk) if sk.starts_with("ENTRY#") => match read(row) {
                    Ok(notice) => entries.push((sk, notice)),
                    // it stays for an operator to mend, and keeps nothing else from being mailed
                    Err(error) => tracing::error!(%tenant, row = %sk, %error, "an entry of an outbox is broken"),
                },
                _ => outbox = read(row)?,
            }
        }
        outbox.entries = entries;
        Ok(outbox)
    }

    /// Begins a mail with these entries: from here on nobody else sends them.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when another mail is under way or went out meanwhile.
    pub async fn begin_mail(
        &self,
        tenant: &TenantId,
        to: &Recipient,
        outbox: &Outbox,
        entries: &[String],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let sending = Sending { since: now, entries: entries.to_vec() };
        let last_sent_at = outbox.last_sent_at.as_ref().map(value).transpose()?;
        let change = Change::new().when_missing("sending").when_is("last_sent_at", last_sent_at);
        let change = change.set("sending", value(&sending)?).set("due_at", number((now + SENDING_LIMIT).as_second()));
        // as a transaction, whose repetition after a lost answer is no conflict with itself
        transact(&self.client, vec![change.in_transaction(&self.table, outbox_key(tenant, to))?]).await
    }

    /// Ends the mail that was begun at `since`: its entries are gone.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when somebody else ended it.
    pub async fn end_mail(
        &self,
        tenant: &TenantId,
        to: &Recipient,
        sending: &Sending,
        sent: Sent,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let head = Change::new()
            .when("sending.since", "=", value(&sending.since)?)
            .remove("sending")
            .set("last_sent_at", value(&sending.since)?)
            // whatever came meanwhile is mailed when the interval is over
            .set("due_at", number((sending.since + MAIL_INTERVAL).max(now).as_second()));
        let head = match sent {
            Sent::Accepted => head,
            Sent::Unanswered => head.add("unanswered", number(1)),
        };
        let mut items = vec![head.in_transaction(&self.table, outbox_key(tenant, to))?];
        for entry in &sending.entries {
            items.push(Change::new().delete_in_transaction(&self.table, row_key(outbox_partition(tenant, to), entry))?);
        }
        transact(&self.client, items).await
    }

    /// Takes back a mail that certainly was not sent; it is tried again at `again`.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when somebody else ended it.
    pub async fn take_back_mail(
        &self,
        tenant: &TenantId,
        to: &Recipient,
        sending: &Sending,
        again: Timestamp,
    ) -> Result<(), StoreError> {
        let change = Change::new()
            .when("sending.since", "=", value(&sending.since)?)
            .remove("sending")
            .set("due_at", number(again.as_second()));
        change.carry_out(&self.client, &self.table, outbox_key(tenant, to)).await.map(drop)
    }

    /// Lets the outbox rest: until `again`, or until something is put into it.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when something was put into it or a mail was begun meanwhile.
    pub async fn rest_outbox(
        &self,
        tenant: &TenantId,
        to: &Recipient,
        outbox: &Outbox,
        stale: &[String],
        again: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let head = Change::new()
            .when_missing("sending")
            .when("arrivals", "=", number(outbox.arrivals))
            .put("due_at", again.map(|at| number(at.as_second())));
        let head = if again.is_none() { head.remove("due_shard") } else { head };
        let mut items = vec![head.in_transaction(&self.table, outbox_key(tenant, to))?];
        for entry in stale {
            items.push(Change::new().delete_in_transaction(&self.table, row_key(outbox_partition(tenant, to), entry))?);
        }
        transact(&self.client, items).await
    }

    /// A recipient's notices, newest first, before `before`.
    ///
    /// # Errors
    /// When the table does not answer or a row cannot be read.
    pub async fn notices(
        &self,
        tenant: &TenantId,
        to: &Recipient,
        before: Option<&str>,
        limit: i32,
    ) -> Result<(Vec<Notice>, Option<String>), StoreError> {
        let prefix = notice_sort_key(to, "");
        let start = before.map(|id| row_key(format!("T#{tenant}"), notice_sort_key(to, id)));
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
            .expression_attribute_values(":pk", text(format!("T#{tenant}")))
            .expression_attribute_values(":prefix", text(prefix))
            .scan_index_forward(false)
            .set_exclusive_start_key(start)
            .limit(limit)
            .send()
            .await
            .map_err(unavailable)?;
        let more = answer.last_evaluated_key.is_some();
        let notices: Vec<Notice> = answer.items.unwrap_or_default().into_iter().map(read).collect::<Result<_, _>>()?;
        let next = notices.last().filter(|_| more).map(|notice| notice.id.clone());
        Ok((notices, next))
    }

    /// Puts a notice aside; tells it as it is then, or `None` when there is none.
    ///
    /// # Errors
    /// When the table does not answer or the row cannot be read.
    pub async fn dismiss(&self, tenant: &TenantId, to: &Recipient, id: &str) -> Result<Option<Notice>, StoreError> {
        let key = row_key(format!("T#{tenant}"), notice_sort_key(to, id));
        let change = Change::new().when_exists("pk").set("dismissed", AttributeValue::Bool(true));
        match change.carry_out(&self.client, &self.table, key).await {
            Ok(item) => read(item).map(Some),
            Err(StoreError::Conflict) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Names the step: the moment at which it was due, the profile and the token, and of a death the generation that died.
fn notice_id(key: &TokenKey, step: Step, at: Timestamp) -> String {
    let step = match step {
        Step::Warning { .. } => "warning".to_owned(),
        Step::Expired { .. } => "expired".to_owned(),
        Step::Dead { generation, .. } => format!("dead-{generation}"),
    };
    format!("{:011}_{}_{}_{step}", at.as_second(), key.profile, key.token)
}

/// No subject is encoded as `*`.
pub(super) fn notice_prefix(to: &Recipient) -> String {
    match to {
        Recipient::Person(person) => format!("NOTICE#{}#", person.encoded()),
        Recipient::Administrators => "NOTICE#*#".to_owned(),
    }
}

fn notice_sort_key(to: &Recipient, id: &str) -> String {
    notice_prefix(to) + id
}

pub(super) fn outbox_partition(tenant: &TenantId, to: &Recipient) -> String {
    match to {
        Recipient::Person(person) => format!("T#{tenant}#O#{person}"),
        Recipient::Administrators => format!("T#{tenant}#ADMINISTRATORS"),
    }
}

fn outbox_key(tenant: &TenantId, to: &Recipient) -> Item {
    row_key(outbox_partition(tenant, to), "OUTBOX")
}

/// Whose outbox a row's key names.
pub(super) fn owner_of(item: &Item) -> Option<(TenantId, Recipient)> {
    let partition = key_part(item, "pk")?.strip_prefix("T#").filter(|_| key_part(item, "sk") == Some("OUTBOX"))?;
    if let Some((tenant, person)) = partition.split_once("#O#") {
        return Some((tenant.parse().ok()?, Recipient::Person(person.parse().ok()?)));
    }
    Some((partition.strip_suffix("#ADMINISTRATORS")?.parse().ok()?, Recipient::Administrators))
}
