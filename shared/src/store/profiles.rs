//! Profiles and their tokens.
//!
//! A profile and its tokens share a partition, so one strong query sees all of it. Attaching a
//! grant is one transaction over profile, token, connect session and whatever the new grant
//! replaces: either all of it happened or nothing did. Owner and switches are written only where
//! they are missing, so reauthenticating can never change them.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::AtomicU32},
};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::{
    Client,
    types::{AttributeValue, TransactWriteItem},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Change, DueCursor, Item, Spread, StoreError, by_account, client,
    flows::{Flows, Revocation, account_key, read_grant, sealed_fields},
    key_part, number,
    outbox::Recipient,
    read, text, transact, unavailable, value, write,
};
use crate::{
    access::{Person, Relation, Sharing, Subject, TenantId},
    connect::ConnectSession,
    grant::{GrantPlace, SealedGrant},
    ladder::Ladder,
    profile::{Kind, Network, ProfileId, Switch, TokenKind, Use},
    renewal::Renewal,
    token::{State, Token, TokenId},
};

/// One account in one tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Its id.
    pub profile: ProfileId,
    /// What sort of account it is.
    pub kind: Kind,
    /// Its name at the network, when it was last connected.
    pub name: String,
    /// Who owns it; nobody, when the last owner gave it up.
    #[serde(default)]
    pub owners: BTreeSet<Subject>,
    /// With whom they share it.
    #[serde(flatten)]
    pub shared: Sharing,
    /// How often somebody became an owner or signed in again; tells whether it is as it was when it was read. A list does
    /// not know it.
    #[serde(default)]
    pub(super) attached: u64,
}

impl Profile {
    /// How `person` stands to it.
    #[must_use]
    pub fn relation_to(&self, person: Person<'_>) -> Relation {
        person.relation_to(&self.owners, &self.shared)
    }
}

/// A profile and its tokens, without their secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileWithTokens {
    /// The profile.
    pub profile: Profile,
    /// Its tokens.
    pub tokens: Vec<Token>,
}

/// A page of profiles.
#[derive(Debug)]
pub struct Page {
    /// The profiles, by id.
    pub profiles: Vec<ProfileWithTokens>,
    /// Where the next page begins, if there is one.
    pub next: Option<ProfileId>,
}

/// What a row of the `due` index leads to, within its tenant; in the order in which whoever has several sees to them:
/// what becomes of a token may change acquisition, and both put something into outboxes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DueRow {
    /// A token whose time has done something to it.
    Token(ProfileId, TokenId),
    /// Settings whose ladder changed.
    Settings,
    /// The removal of a user that is not finished.
    Removal(Subject),
    /// Acquisition at a network, which may have got better or worse.
    Acquisition(Network),
    /// An outbox.
    Outbox(Recipient),
}

/// A token that may be leased, as an index knew it a moment ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pooled {
    /// Where its row is.
    pub key: TokenKey,
    /// What was known of it.
    pub state: State,
}

/// Where a token's row is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenKey {
    /// Whose it is.
    pub tenant: TenantId,
    /// The profile.
    pub profile: ProfileId,
    /// The token.
    pub token: TokenId,
}

/// A grant that nobody uses may be refreshed so many seconds too early or late: three days.
const IDLE_SLACK: u64 = 3 * 24 * 60 * 60;

/// A token with its sealed grant and what is known of refreshing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The token.
    pub token: Token,
    /// Its secrets.
    pub grant: SealedGrant,
    /// Its refreshing.
    pub renewal: Renewal,
    /// When the sweep will look at it, as far as the index knows.
    pub(super) due_at: Option<i64>,
    /// How many candidates it was ever given; tells whether there is one more than were read.
    pub(super) arrivals: u64,
    /// Nobody asks the network how it is before.
    pub(super) check_after: Option<Timestamp>,
}

impl Held {
    /// Whether the index has it come up by now; else whoever looked it up there was late.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.due_at.is_some_and(|at| at <= now.as_second())
    }
}

/// A token with the secret that it is given.
pub struct Attached<'a> {
    /// The token as it will be.
    pub token: &'a Token,
    /// The secret.
    pub grant: &'a SealedGrant,
    /// The token as it was read before, and the revocation of its grant where that ends nothing else. Whatever was
    /// known of refreshing that grant goes with it.
    pub replaced: Option<(&'a Held, Option<&'a Revocation>)>,
}

/// The Vault table.
#[derive(Clone, Debug)]
pub struct Vault {
    pub(super) client: Client,
    pub(super) table: String,
    pub(super) spread: Spread,
    /// How many lines of history this process has written.
    pub(super) lines: Arc<AtomicU32>,
}

impl Vault {
    /// The table with this name.
    #[must_use]
    pub fn new(aws: &SdkConfig, table: &str, spread: Spread) -> Self {
        Self { client: client(aws), table: table.to_owned(), spread, lines: Arc::default() }
    }

    /// A profile with its tokens, read strongly.
    ///
    /// # Errors
    /// When the table does not answer or a row cannot be read.
    pub async fn profile(&self, tenant: &TenantId, id: &ProfileId) -> Result<Option<ProfileWithTokens>, StoreError> {
        let rows = super::partition(&self.client, &self.table, partition(tenant, id)).await?;
        Ok(group(rows)?.pop())
    }

    /// The tenant's profiles in the order of their ids, after `after`, about `limit` rows of them.
    ///
    /// # Errors
    /// When the table does not answer or a row cannot be read.
    pub async fn profiles(&self, tenant: &TenantId, after: Option<&ProfileId>, limit: i32) -> Result<Page, StoreError> {
        // `#` ends a profile's id in the sort key and `$` is the character after it
        let from = after.map_or_else(|| "#".to_owned(), |id| format!("{id}$"));
        let mut rows = Vec::new();
        let mut start = None;
        loop {
            let answer = self
                .client
                .query()
                .table_name(&self.table)
                .index_name("by_tenant")
                .key_condition_expression("tenant = :tenant AND #item > :from")
                .expression_attribute_names("#item", "item")
                .expression_attribute_values(":tenant", text(tenant.as_str()))
                .expression_attribute_values(":from", text(&from))
                .limit(limit)
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(unavailable)?;
            rows.extend(answer.items.unwrap_or_default());
            start = answer.last_evaluated_key;
            // the page may end within a profile: it goes on until one is complete
            if start.is_none() || distinct_profiles(&rows) > 1 {
                break;
            }
        }
        let mut profiles = group(rows)?;
        let mut next = None;
        if start.is_some() {
            profiles.pop();
            next = profiles.last().map(|last| last.profile.profile.clone());
        }
        Ok(Page { profiles, next })
    }

    /// A token with its sealed grant, read strongly.
    ///
    /// # Errors
    /// When the table does not answer or the row cannot be read.
    pub async fn token(&self, key: &TokenKey) -> Result<Option<Held>, StoreError> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(token_key(key))).consistent_read(true);
        let item = get.send().await.map_err(unavailable)?.item;
        item.map(|item| read_held(&key.tenant, item)).transpose()
    }

    /// A profile and its tokens with their sealed grants, read strongly.
    ///
    /// # Errors
    /// When the table does not answer or a row cannot be read.
    pub async fn holdings(
        &self,
        tenant: &TenantId,
        id: &ProfileId,
    ) -> Result<Option<(Profile, Vec<Held>)>, StoreError> {
        let rows = super::partition(&self.client, &self.table, partition(tenant, id)).await?;
        let (tokens, profiles): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.contains_key("token"));
        let Some(profile) = profiles.into_iter().next() else { return Ok(None) };
        let tokens = tokens.into_iter().map(|row| read_held(tenant, row)).collect::<Result<_, _>>()?;
        Ok(Some((read(profile)?, tokens)))
    }

    /// The tokens of the tenant that may be leased for `usage` at `network`, as the index says, which may be behind.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn pool(&self, tenant: &TenantId, network: Network, usage: Use) -> Result<Vec<Pooled>, StoreError> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("pool")
            .key_condition_expression("#pool = :pool")
            .expression_attribute_names("#pool", "pool")
            .expression_attribute_values(":pool", text(pool_key(tenant, network, usage)));
        let rows: Vec<Item> =
            query.into_paginator().items().send().collect::<Result<_, _>>().await.map_err(unavailable)?;
        let pooled = |row: Item| Some(Pooled { key: token_key_of(&row)?, state: read(row).ok()? });
        Ok(rows.into_iter().filter_map(pooled).collect())
    }

    /// Where the tenant's tokens of this kind at `network` are, as the list's index says: what `pool` may not know yet.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn tokens_at(
        &self,
        tenant: &TenantId,
        network: Network,
        kind: TokenKind,
    ) -> Result<Vec<TokenKey>, StoreError> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("by_tenant")
            .key_condition_expression("tenant = :tenant")
            .filter_expression("attribute_exists(#token)")
            .expression_attribute_names("#token", "token")
            .expression_attribute_values(":tenant", text(tenant.as_str()));
        let rows: Vec<Item> =
            query.into_paginator().items().send().collect::<Result<_, _>>().await.map_err(unavailable)?;
        let mut keys: Vec<_> = rows.iter().filter_map(token_key_of).collect();
        keys.retain(|key| key.profile.kind().network() == network && key.token.kind() == kind);
        Ok(keys)
    }

    /// Makes profiles and tokens exist, or gives them their new secrets, and completes the session: all of it or
    /// nothing.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the session was completed meanwhile or a token changed.
    pub async fn attach(
        &self,
        flows: &Flows,
        session: &ConnectSession,
        attached: &[Attached<'_>],
        ladder: &Ladder,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut items = vec![flows.completing(session, now)?];
        for Attached { token, grant, replaced } in attached {
            let key = TokenKey { tenant: session.tenant.clone(), profile: token.profile.clone(), token: token.id() };
            let owner = AttributeValue::Ss(vec![token.owner.to_string()]);
            let profile = Change::new()
                .set("tenant", text(key.tenant.as_str()))
                .set("item", text(format!("{}#", key.profile)))
                .set("profile", value(&key.profile)?)
                .set("kind", value(&key.profile.kind())?)
                .set("name", text(&token.name))
                .add("owners", owner)
                .add("attached", number(1));
            items.push(profile.in_transaction(&self.table, profile_key(&key.tenant, &key.profile))?);
            items.push(self.attaching(&key, token, grant, *replaced, ladder)?);
            if let Some((before, revocation)) = replaced {
                items.extend(revocation.map(|revocation| flows.revoking(revocation, now)).transpose()?);
                items.extend(self.watching(&key, &before.token, now)?);
            }
        }
        transact(&self.client, items).await
    }

    /// The part of a transaction that writes a token with its new secret.
    pub(super) fn attaching(
        &self,
        key: &TokenKey,
        token: &Token,
        grant: &SealedGrant,
        replaced: Option<(&Held, Option<&Revocation>)>,
        ladder: &Ladder,
    ) -> Result<TransactWriteItem, StoreError> {
        let mut facts = write(token)?;
        let allow = facts.remove("allow").ok_or_else(|| super::unreadable("a token without switches"))?;
        let cleared = ["reason", "cooling_until", "expires_at", "access_expires_at", "given_at", "check_at"];
        let change = cleared
            .iter()
            .filter(|name| !facts.contains_key(**name))
            .fold(Change::new(), |change, name| change.remove(name));
        let account = account_key(key.profile.kind().network(), &token.app, &token.login);
        let change = change
            .set_all(facts)
            .set_if_missing("allow", allow)
            .set("tenant", text(key.tenant.as_str()))
            .set("item", text(format!("{}#{}", key.profile, key.token)))
            .set("account", text(account))
            .set("sealed", sealed_fields(grant))
            .set("fence", number(token.generation));
        let pool = pool_key(&key.tenant, key.profile.kind().network(), Use::SearchAcquisition);
        let pool = token.allow.search_acquisition.then(|| text(pool));
        let change = match replaced {
            Some((before, _)) => {
                let kept = Token { allow: before.token.allow, ..token.clone() };
                let change = change.when("allow", "=", value(&kept.allow)?);
                let change = change.when_is("due_at", before.due_at.map(number));
                super::renewals::forget(self.schedule_anew(change, key, before, &kept, ladder), before)
            }
            // one that comes from elsewhere may be allowed already
            None => self.schedule(change.put("pool", pool), key, token, ladder).when_missing("generation"),
        };
        change.in_transaction(&self.table, token_key(key))
    }

    /// Turns switches of a token that was read before; tells the token as it is then.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the token changed since it was read, or is gone.
    pub async fn allow(
        &self,
        key: &TokenKey,
        before: &Token,
        switches: &[(Switch, bool)],
        ladder: &Ladder,
        now: Timestamp,
    ) -> Result<Token, StoreError> {
        let network = key.profile.kind().network();
        let mut next = before.clone();
        let mut change = as_read(before)?;
        for (switch, on) in switches {
            change = change.set(&format!("allow.{}", switch.as_str()), AttributeValue::Bool(*on));
            next.allow.turn(*switch, *on);
            if *switch == Switch::SearchAcquisition {
                let pool = pool_key(&key.tenant, network, Use::SearchAcquisition);
                change = change.put("pool", on.then(|| text(pool)));
            }
        }
        // what may be used is looked after
        let change = self.schedule(change, key, &next, ladder);
        if !switches.iter().any(|(switch, _)| *switch == Switch::SearchAcquisition) {
            return read(change.carry_out(&self.client, &self.table, token_key(key)).await?);
        }
        let turned = change.in_transaction(&self.table, token_key(key))?;
        transact(&self.client, vec![turned, self.pooling(key, now)?]).await?;
        self.token(key).await?.map(|held| held.token).ok_or(StoreError::Conflict)
    }

    /// Deletes a token and leaves its grant to be revoked from `at` on.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the token changed since it was read.
    pub async fn delete_token(
        &self,
        flows: &Flows,
        key: &TokenKey,
        token: &Token,
        revocation: &Revocation,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let delete = Change::new()
            .when("generation", "=", number(token.generation))
            .delete_in_transaction(&self.table, token_key(key))?;
        let mut items = vec![delete, flows.revoking(revocation, at)?];
        if token.allow.search_acquisition {
            items.push(self.pooling(key, at)?);
        }
        transact(&self.client, items).await
    }

    /// Whether a token of any tenant lives on what this login granted to this app.
    ///
    /// The index only says where to look: each row that it names is read strongly.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn lives_on(&self, network: Network, app: &str, login: &str) -> Result<bool, StoreError> {
        for row in by_account(&self.client, &self.table, &account_key(network, app, login)).await? {
            let Some(key) = token_key_of(&row) else { continue };
            if self.token(&key).await?.is_some_and(|held| held.token.login == login && held.token.app == app) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Where to begin reading what is due.
    #[must_use]
    pub fn due_cursor(&self) -> DueCursor {
        DueCursor::new(self.spread)
    }

    /// The next rows that are due, and whose they are; `None` after the last.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn due(
        &self,
        cursor: &mut DueCursor,
        now: Timestamp,
    ) -> Result<Option<Vec<(TenantId, DueRow)>>, StoreError> {
        let rows = cursor.next(&self.client, &self.table, now).await?;
        Ok(rows.map(|rows| rows.iter().filter_map(due_row).collect()))
    }

    /// As [`Self::schedule`], for a row that stands in the index already. Moving it there costs as much as writing the
    /// row, so a row that is due for idleness alone may stand there a little off.
    pub(super) fn schedule_anew(
        &self,
        change: Change,
        key: &TokenKey,
        before: &Held,
        token: &Token,
        ladder: &Ladder,
    ) -> Change {
        let next = self.comes_up(key, token, ladder).map(Timestamp::as_second);
        let idle = token.expires_at.is_none() && token.inspect_at().is_none();
        let near = |(next, then): (i64, i64)| idle && next.abs_diff(then) < IDLE_SLACK;
        if next == before.due_at || next.zip(before.due_at).is_some_and(near) {
            return change;
        }
        self.schedule(change, key, token, ladder)
    }

    /// Lets the token's row come up in the `due` index when something will be due, or never.
    pub(super) fn schedule(&self, change: Change, key: &TokenKey, token: &Token, ladder: &Ladder) -> Change {
        let shard = self.spread.shard(&spread_key(key));
        let due_at = self.comes_up(key, token, ladder);
        change.put("due_shard", due_at.map(|_| text(shard))).put("due_at", due_at.map(|at| number(at.as_second())))
    }

    /// When the token's row comes up: a while after something is due, and never before.
    pub(super) fn comes_up(&self, key: &TokenKey, token: &Token, ladder: &Ladder) -> Option<Timestamp> {
        token.next_due(ladder).map(|at| self.spread.delayed(&spread_key(key), at))
    }
}

/// What decides where in the `due` index a token's row is.
fn spread_key(key: &TokenKey) -> String {
    format!("{}{}", partition(&key.tenant, &key.profile), key.token)
}

fn partition(tenant: &TenantId, profile: &ProfileId) -> String {
    format!("T#{tenant}#P#{profile}")
}

pub(super) fn profile_key(tenant: &TenantId, profile: &ProfileId) -> Item {
    super::row_key(partition(tenant, profile), "PROFILE")
}

pub(super) fn token_key(key: &TokenKey) -> Item {
    super::row_key(partition(&key.tenant, &key.profile), format!("TOKEN#{}", key.token))
}

/// Whose tokens can stand in for one another.
fn pool_key(tenant: &TenantId, network: Network, usage: Use) -> String {
    format!("{tenant}#{network}#{}", usage.as_str())
}

/// The row is as it was read in everything that its place in the `due` index follows from: whoever moves it there by
/// what was read long ago would let it come up too late.
pub(super) fn as_read(token: &Token) -> Result<Change, StoreError> {
    let at = |at: &Option<Timestamp>| at.as_ref().map(value).transpose();
    Ok(Change::new()
        .when("generation", "=", number(token.generation))
        .when("considered_at", "=", value(&token.considered_at)?)
        .when("allow", "=", value(&token.allow)?)
        .when_is("expires_at", at(&token.expires_at)?)
        .when_is("check_at", at(&token.check_at)?))
}

/// A token's row, whole.
pub(super) fn read_held(tenant: &TenantId, item: Item) -> Result<Held, StoreError> {
    let renewal = super::renewals::read_renewal(tenant, &item)?;
    let fields = item.get("sealed").cloned();
    let integer = |name: &str| item.get(name).and_then(|at| at.as_n().ok()).and_then(|at| at.parse::<i64>().ok());
    let (due_at, arrivals) = (integer("due_at"), integer("arrivals").unwrap_or_default().unsigned_abs());
    let check_after = key_part(&item, "check_after").and_then(|at| at.parse().ok());
    let token: Token = read(item)?;
    let place = GrantPlace::of_token(tenant, &token);
    let grant = read_grant(fields.as_ref(), place).ok_or_else(|| super::unreadable("a token without its grant"))?;
    Ok(Held { token, grant, renewal, due_at, arrivals, check_after })
}

fn due_row(item: &Item) -> Option<(TenantId, DueRow)> {
    let outbox = super::outbox::owner_of(item).map(|(tenant, to)| (tenant, DueRow::Outbox(to)));
    let removal = || super::ownership::removal_of(item).map(|(tenant, person)| (tenant, DueRow::Removal(person)));
    let settings = || super::settings::owner_of(item).map(|tenant| (tenant, DueRow::Settings));
    let watch = || super::acquisition::watched_by(item).map(|(tenant, network)| (tenant, DueRow::Acquisition(network)));
    let token = || token_key_of(item).map(|key| (key.tenant, DueRow::Token(key.profile, key.token)));
    outbox.or_else(removal).or_else(settings).or_else(watch).or_else(token)
}

/// The token that a row's key names.
pub(super) fn token_key_of(item: &Item) -> Option<TokenKey> {
    let (tenant, profile) = key_part(item, "pk")?.strip_prefix("T#")?.split_once("#P#")?;
    let token = key_part(item, "sk")?.strip_prefix("TOKEN#")?;
    Some(TokenKey { tenant: tenant.parse().ok()?, profile: profile.parse().ok()?, token: token.parse().ok()? })
}

fn distinct_profiles(rows: &[Item]) -> usize {
    rows.iter().filter_map(|row| key_part(row, "profile")).collect::<BTreeSet<_>>().len()
}

/// Puts rows together that are of one profile. A token whose profile row is not there (yet) in an
/// index is left out.
fn group(rows: Vec<Item>) -> Result<Vec<ProfileWithTokens>, StoreError> {
    let mut profiles: Vec<ProfileWithTokens> = Vec::new();
    for row in rows {
        if row.contains_key("token") {
            let token: Token = read(row)?;
            if let Some(last) = profiles.last_mut().filter(|last| last.profile.profile == token.profile) {
                last.tokens.push(token);
            }
        } else {
            profiles.push(ProfileWithTokens { profile: read(row)?, tokens: Vec::new() });
        }
    }
    Ok(profiles)
}
