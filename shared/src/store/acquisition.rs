//! Acquisition at a network, as a whole tenant has it, and who is told when it gets worse.
//!
//! A row for each tenant and network holds the colour that was told last. Whatever may change the colour marks the row as
//! due in the same transaction: a token dies or ends, is allowed or not, is deleted, is signed in for again. The sweep
//! then reads the tokens, and writes the new colour together with what it tells, conditional on the marks that it saw; so
//! a change is told once, and one that came meanwhile is looked at again.
//!
//! The tokens are found by the index `pool`, which may be a moment behind. What changes who is in it therefore marks the
//! row for a minute later: a token that was allowed a moment ago must not be missed.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::TransactWriteItem;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Change, Item, StoreError, key_part, number,
    outbox::{About, Notice, Recipient},
    profiles::{TokenKey, Vault},
    read, row_key, text, transact, unavailable, value,
};
use crate::{
    access::{Subject, TenantId},
    health::{Colour, acquires},
    history::{Event, What},
    metrics::{self, Metric},
    profile::{Network, TokenKind, Use},
    token::Token,
};

/// So many tokens are read to say how a network stands: far more than change its colour.
const LOOKS: usize = 100;
/// An index that is looked at after this time has what was written before.
const SETTLED: SignedDuration = SignedDuration::from_mins(1);
/// So many owners are told in one transaction.
const OWNERS: usize = 25;

/// What is known of acquisition at a network.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Watch {
    /// The colour that was told last; it begins as red, of which nobody is told.
    #[serde(default = "nothing_yet")]
    pub told: Colour,
    /// Who is being told of it, where these are many.
    #[serde(default)]
    telling: Option<Telling>,
    /// How often it may have changed.
    #[serde(default)]
    changes: u64,
    /// When it is to be looked at, in seconds since 1970.
    due_at: Option<i64>,
}

fn nothing_yet() -> Colour {
    Colour::Red
}

/// A change for the worse that is being told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Telling {
    at: Timestamp,
    /// The last owner who was told.
    after: Option<Subject>,
}

/// What came of looking at a [`Watch`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Who was told that it got worse.
    pub recipients: Vec<Recipient>,
    /// Whether there is more to look at.
    pub more: bool,
}

impl Vault {
    /// The tenant's tokens by which public posts of `network` come in. The index says where to look, and each row is read
    /// strongly; a token that was allowed a moment ago may be missing.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn acquirers(
        &self,
        tenant: &TenantId,
        network: Network,
        now: Timestamp,
    ) -> Result<Vec<Token>, StoreError> {
        let pool = self.pool(tenant, network, Use::SearchAcquisition).await?;
        let mut acquirers = Vec::new();
        for hint in pool.into_iter().take(LOOKS) {
            match self.token(&hint.key).await {
                Ok(held) => acquirers.extend(held.map(|held| held.token).filter(|token| acquires(token, now))),
                // it cannot be used, and keeps nobody from seeing the others
                Err(StoreError::Unreadable(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(acquirers)
    }

    /// Looks at acquisition at a network if it is due: keeps its colour, and tells the owners of its tokens and the
    /// administrators if it got worse. `mailed` says whether the administrators are written to.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it changed meanwhile, or another sweep is at it: it stays due.
    pub async fn look_at_acquisition(
        &self,
        tenant: &TenantId,
        network: Network,
        mailed: bool,
        now: Timestamp,
    ) -> Result<Told, StoreError> {
        let key = watch_key(tenant, network);
        let get = self.client.get_item().table_name(&self.table).set_key(Some(key.clone())).consistent_read(true);
        let Some(row) = get.send().await.map_err(unavailable)?.item else { return Ok(Told::default()) };
        let watch: Watch = read(row)?;
        if watch.due_at.is_none_or(|due| due > now.as_second()) {
            return Ok(Told::default());
        }
        if let Some(telling) = watch.telling.clone() {
            return self.tell(tenant, network, &watch, watch.told, telling, mailed).await;
        }
        let colour = Colour::of(self.acquirers(tenant, network, now).await?.len());
        if colour > watch.told {
            let telling = Telling { at: now, after: None };
            return self.tell(tenant, network, &watch, colour, telling, mailed).await;
        }
        let change = watch.unchanged()?.set("told", value(&colour)?).remove("due_shard").remove("due_at");
        transact(&self.client, vec![change.in_transaction(&self.table, key)?]).await?;
        Ok(Told::default())
    }

    /// Tells the next owners, and first of all the administrators, that a network has this colour now.
    async fn tell(
        &self,
        tenant: &TenantId,
        network: Network,
        watch: &Watch,
        colour: Colour,
        telling: Telling,
        mailed: bool,
    ) -> Result<Told, StoreError> {
        let (owners, more) = self.owners_at(tenant, network, telling.after.as_ref()).await?;
        let notice = Notice {
            id: format!("{:011}_acquisition_{network}_{}", telling.at.as_second(), colour.as_str()),
            about: About::Acquisition { network, colour },
            at: telling.at,
            dismissed: false,
            to_administrators: mailed,
        };
        let mut recipients: Vec<_> = owners.iter().cloned().map(Recipient::Person).collect();
        if telling.after.is_none() {
            recipients.push(Recipient::Administrators);
        }
        // whoever told some of it looks again afterwards, because it may have changed since it began
        let in_one_go = watch.telling.is_none() && !more;
        let change = watch.unchanged()?.set("told", value(&colour)?);
        let change = match owners.last().filter(|_| more) {
            Some(last) => change.set("telling", value(&Telling { after: Some(last.clone()), at: telling.at })?),
            None => change.remove("telling"),
        };
        let change = if in_one_go { change.remove("due_shard").remove("due_at") } else { change };
        let mut items = vec![change.in_transaction(&self.table, watch_key(tenant, network))?];
        if watch.telling.is_none() {
            let event = Event::new(What::AcquisitionWorsened, notice.at);
            let event = Event { network: Some(network), colour: Some(colour), ..event };
            items.push(self.recording(tenant, &event)?);
        }
        for recipient in &recipients {
            items.extend(self.telling(tenant, recipient, &notice)?);
        }
        transact(&self.client, items).await?;
        if watch.telling.is_none() {
            let worse = if colour == Colour::Red { Metric::AcquisitionRed } else { Metric::AcquisitionYellow };
            metrics::record(telling.at, Some(network), [(worse, 1)]);
        }
        Ok(Told { recipients, more: !in_one_go })
    }

    /// The colour that was told last of a network, read strongly.
    ///
    /// # Errors
    /// When the table does not answer or the row cannot be read.
    pub async fn told_colour(&self, tenant: &TenantId, network: Network) -> Result<Colour, StoreError> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(watch_key(tenant, network)));
        let row = get.consistent_read(true).send().await.map_err(unavailable)?.item;
        Ok(row.map(read::<Watch>).transpose()?.map_or(Colour::Red, |watch| watch.told))
    }

    /// Marks acquisition at the network of `token` as changed, if posts come or came in by it: for the transaction that
    /// changes whether it works.
    pub(super) fn watching(
        &self,
        key: &TokenKey,
        token: &Token,
        now: Timestamp,
    ) -> Result<Option<TransactWriteItem>, StoreError> {
        if !token.allow.search_acquisition {
            return Ok(None);
        }
        let mark = self.mark(key).set_if_missing("due_at", number(now.as_second()));
        mark.in_transaction(&self.table, watch_key(&key.tenant, key.profile.kind().network())).map(Some)
    }

    /// The same for the transaction that changes whether it is allowed, or there.
    pub(super) fn pooling(&self, key: &TokenKey, now: Timestamp) -> Result<TransactWriteItem, StoreError> {
        let mark = self.mark(key).set("due_at", number((now + SETTLED).as_second()));
        mark.in_transaction(&self.table, watch_key(&key.tenant, key.profile.kind().network()))
    }

    fn mark(&self, TokenKey { tenant, profile, .. }: &TokenKey) -> Change {
        let shard = self.spread.shard(&format!("T#{tenant}#{}", profile.kind().network()));
        Change::new().add("changes", number(1)).set("due_shard", text(shard))
    }

    /// The owners of the tenant's acquisition tokens at a network, in order, after `after`, and whether there are more.
    async fn owners_at(
        &self,
        tenant: &TenantId,
        network: Network,
        after: Option<&Subject>,
    ) -> Result<(Vec<Subject>, bool), StoreError> {
        let mut owners = BTreeSet::new();
        for key in self.tokens_at(tenant, network, TokenKind::Acquisition).await? {
            match self.token(&key).await {
                Ok(held) => owners.extend(held.map(|held| held.token.owner)),
                Err(StoreError::Unreadable(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let mut rest = owners.into_iter().filter(|owner| after.is_none_or(|after| owner > after));
        let page = rest.by_ref().take(OWNERS).collect();
        Ok((page, rest.next().is_some()))
    }
}

impl Watch {
    /// What every change is conditional on: the row as it was read.
    fn unchanged(&self) -> Result<Change, StoreError> {
        let change = Change::new().when("changes", "=", number(self.changes)).when_exists("due_at");
        Ok(change.when_is("telling", self.telling.as_ref().map(value).transpose()?))
    }
}

fn watch_key(tenant: &TenantId, network: Network) -> Item {
    row_key(format!("T#{tenant}"), format!("ACQUISITION#{network}"))
}

/// Which tenant and network a row's key names.
pub(super) fn watched_by(item: &Item) -> Option<(TenantId, Network)> {
    let network = key_part(item, "sk")?.strip_prefix("ACQUISITION#")?;
    Some((key_part(item, "pk")?.strip_prefix("T#")?.parse().ok()?, network.parse().ok()?))
}
