//! Connect sessions in flight, the revocations that are still to be made, and what networks told
//! ([`super::account_events`]).
//!
//! A session's row is found by its id; the secrets of its links are there hashed. Each step is one
//! conditional write that names the step before, the secret's hash and the time, so that it is
//! taken once or not at all. A grant that nobody took over becomes a *revocation*: a row of its
//! own that is deleted only when the network has ended the grant, or when another token is found
//! to live on it.

use aws_config::SdkConfig;
use aws_sdk_dynamodb::{
    Client,
    types::{AttributeValue, TransactWriteItem},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Change, DueCursor, Item, Spread, StoreError, Written,
    account_events::{Received, is_received, read_received},
    binary, by_account, client, key_part, number, put_in_transaction, read, sealed, text, transact, unavailable, value,
    write,
};
use crate::{
    access::TenantId,
    connect::{ConnectSession, Ending, Granted, STEP_LIMIT, Status},
    grant::{GrantPlace, SealedGrant},
    network::Reach,
    profile::Network,
    seal::Sealed,
    secret::{SecretHash, SessionId},
};

/// A connect session with its sealed secrets.
#[derive(Clone, Debug)]
pub struct Flow {
    /// The session.
    pub session: ConnectSession,
    /// The sealed PKCE verifier, while the browser is at the network.
    pub verifier: Option<Sealed>,
    /// The unattached grant, while the session waits for its completion.
    pub grant: Option<SealedGrant>,
}

/// What a session learns when its browser is sent to the network.
pub struct Departure {
    /// The hash of `state`.
    pub oauth_state: SecretHash,
    /// The hash of the cookie.
    pub browser: SecretHash,
    /// The sealed verifier, where the network supports PKCE.
    pub verifier: Option<Sealed>,
    /// What the network was told.
    pub redirect_uri: String,
    /// The app's `client_id`.
    pub app: String,
}

/// A grant that is still to be ended at the network.
#[derive(Clone, Debug)]
pub struct Revocation {
    /// Its row.
    pub id: String,
    /// The facts that name the grant.
    pub of: RevocationOf,
    /// The grant.
    pub grant: SealedGrant,
}

/// Which grant a revocation is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevocationOf {
    /// Whose it was.
    pub tenant: TenantId,
    /// Where it is.
    pub network: Network,
    /// Which app it was granted to.
    pub app: String,
    /// Which login granted it.
    pub login: String,
    /// How often it was tried.
    #[serde(default)]
    pub attempts: u32,
    profile: String,
    token: String,
    generation: u64,
}

/// A row that is due.
#[derive(Debug)]
pub enum DueFlow {
    /// A session whose grant nobody took over.
    Session(Box<Flow>),
    /// A revocation to be tried again.
    Revocation(Box<Revocation>),
    /// A network's message that is not followed to its end.
    Received(Box<Received>),
}

/// The table of connect sessions and revocations.
#[derive(Clone, Debug)]
pub struct Flows {
    pub(super) client: Client,
    pub(super) table: String,
    pub(super) spread: Spread,
}

/// `<network>#<app>#<login>`: whose tokens live and die together at some networks.
pub(super) fn account_key(network: Network, app: &str, login: &str) -> String {
    format!("{network}#{app}#{login}")
}

impl Flows {
    /// The table with this name.
    #[must_use]
    pub fn new(aws: &SdkConfig, table: &str, spread: Spread) -> Self {
        Self { client: client(aws), table: table.to_owned(), spread }
    }

    /// Keeps a new session.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn begin(&self, session: &ConnectSession) -> Result<(), StoreError> {
        let mut item = write(session)?;
        item.insert("ttl".to_owned(), ttl(session.expires_at));
        let put = self.client.put_item().table_name(&self.table).set_item(Some(item));
        put.send().await.map_err(unavailable)?;
        Ok(())
    }

    /// The session with this id, read strongly.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn find(&self, id: &SessionId) -> Result<Option<Flow>, StoreError> {
        match self.get(id.as_str()).await? {
            Some(item) if item.contains_key("status") => read_flow(item).map(Some),
            _ => Ok(None),
        }
    }

    /// The browser leaves for the network: the ticket is used up.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the ticket was used or its time is over.
    pub async fn depart(
        &self,
        session: &ConnectSession,
        departure: Departure,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let expires_at = now + STEP_LIMIT;
        let change = Change::new()
            .when("status", "=", value(&Status::Pending)?)
            .when("ticket", "=", text(session.ticket.as_str()))
            .when("expires_at", ">", value(&now)?)
            .set("status", value(&Status::Started)?)
            .set("expires_at", value(&expires_at)?)
            .set("ttl", ttl(expires_at))
            .set("oauth_state", text(departure.oauth_state.as_str()))
            .set("browser", text(departure.browser.as_str()))
            .put("verifier", departure.verifier.as_ref().map(binary))
            .set("redirect_uri", text(departure.redirect_uri))
            .set("app", text(departure.app));
        self.step(change, session, |row| key_part(row, "oauth_state") == Some(departure.oauth_state.as_str())).await
    }

    /// The browser is back with `state`: it is used up, once.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it was used, is of another browser, or its time is over.
    pub async fn consume(
        &self,
        session: &ConnectSession,
        attempt: &SecretHash,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (Some(oauth_state), Some(browser)) = (&session.oauth_state, &session.browser) else {
            return Err(StoreError::Conflict);
        };
        let change = Change::new()
            .when("status", "=", value(&Status::Started)?)
            .when("oauth_state", "=", text(oauth_state.as_str()))
            .when("browser", "=", text(browser.as_str()))
            .when("expires_at", ">", value(&now)?)
            .set("status", value(&Status::Redeeming)?)
            .set("attempt", text(attempt.as_str()))
            .remove("verifier");
        self.step(change, session, |row| key_part(row, "attempt") == Some(attempt.as_str())).await
    }

    /// Keeps the grant unattached until the session is completed.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the session is not waiting for it.
    pub async fn park(
        &self,
        session: &ConnectSession,
        granted: &Granted,
        grant: &SealedGrant,
        completion: &SecretHash,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let expires_at = now + STEP_LIMIT;
        let (network, app) = (session.kind.network(), session.app.as_deref().unwrap_or_default());
        // it is looked for by its login only where revoking another grant would end it too
        let shared = network.provider().revocation_reach() == Reach::Login;
        let account = shared.then(|| text(account_key(network, app, &granted.account.login)));
        let change = Change::new()
            .when("status", "=", value(&Status::Redeeming)?)
            .set("status", value(&Status::Authorized)?)
            .set("expires_at", value(&expires_at)?)
            // kept until it is attached or revoked: no TTL
            .remove("ttl")
            .set("due_shard", text(self.spread.shard(session.id.as_str())))
            .set("due_at", number(expires_at.as_second()))
            .put("account", account)
            .set("granted", value(granted)?)
            .set("completion", text(completion.as_str()))
            .set("sealed", sealed_fields(grant));
        self.step(change, session, |row| key_part(row, "completion") == Some(completion.as_str())).await
    }

    /// Ends the session without a token; what the network granted meanwhile is to be revoked.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the session went on meanwhile.
    pub async fn end(
        &self,
        session: &ConnectSession,
        ending: &Ending,
        revocation: Option<&Revocation>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let change = Change::new()
            .when("status", "=", value(&session.status)?)
            .when("expires_at", "=", value(&session.expires_at)?)
            .set("status", value(&Status::Failed)?)
            .set("ending", value(ending)?)
            .set("ttl", ttl(now));
        let change = UNATTACHED.iter().fold(change, |change, name| change.remove(name));
        let mut items = vec![change.in_transaction(&self.table, key(session.id.as_str()))?];
        if let Some(revocation) = revocation {
            items.push(self.revoking(revocation, now)?);
        }
        transact(&self.client, items).await
    }

    /// The part of a transaction that completes the session.
    pub(super) fn completing(&self, session: &ConnectSession, now: Timestamp) -> Result<TransactWriteItem, StoreError> {
        let completion = session.completion.as_ref().ok_or(StoreError::Conflict)?;
        let change = Change::new()
            .when("status", "=", value(&Status::Authorized)?)
            .when("completion", "=", text(completion.as_str()))
            .when("expires_at", ">", value(&now)?)
            .set("status", value(&Status::Completed)?)
            .set("ttl", ttl(now));
        let change = UNATTACHED.iter().fold(change, |change, name| change.remove(name));
        change.in_transaction(&self.table, key(session.id.as_str()))
    }

    /// The part of a transaction that leaves a grant to be revoked from `at` on.
    pub(super) fn revoking(&self, revocation: &Revocation, at: Timestamp) -> Result<TransactWriteItem, StoreError> {
        let mut item = write(&revocation.of)?;
        item.insert("id".to_owned(), text(&revocation.id));
        item.insert("due_shard".to_owned(), text(self.spread.shard(&revocation.id)));
        item.insert("due_at".to_owned(), number(at.as_second()));
        item.insert("sealed".to_owned(), sealed_fields(&revocation.grant));
        put_in_transaction(&self.table, item)
    }

    /// Leaves a grant to be revoked.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn leave(&self, revocation: &Revocation, at: Timestamp) -> Result<(), StoreError> {
        transact(&self.client, vec![self.revoking(revocation, at)?]).await
    }

    /// The network has ended the grant, or another token lives on it: nothing is left to do.
    ///
    /// # Errors
    /// When the table does not answer; the revocation will be tried again.
    pub async fn settle(&self, revocation: &Revocation) -> Result<(), StoreError> {
        let delete = self.client.delete_item().table_name(&self.table).set_key(Some(key(&revocation.id)));
        delete.send().await.map_err(unavailable)?;
        Ok(())
    }

    /// The network could not be asked: try again later, each time a little later than before.
    ///
    /// # Errors
    /// When the table does not answer; the revocation stays due.
    pub async fn put_off(&self, revocation: &Revocation, now: Timestamp) -> Result<(), StoreError> {
        let minutes = 5_i64.saturating_mul(1 << revocation.of.attempts.min(8)).min(24 * 60);
        let again = now + SignedDuration::from_mins(minutes);
        let change = Change::new()
            .when_exists("id")
            .set("attempts", number(revocation.of.attempts.saturating_add(1)))
            .set("due_at", number(again.as_second()));
        match change.carry_out(&self.client, &self.table, key(&revocation.id)).await {
            // somebody else settled it
            Ok(_) | Err(StoreError::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Where to begin reading what is due.
    #[must_use]
    pub fn due_cursor(&self) -> DueCursor {
        DueCursor::new(self.spread)
    }

    /// The ids of the next rows that are due; `None` after the last.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn due(&self, cursor: &mut DueCursor, now: Timestamp) -> Result<Option<Vec<String>>, StoreError> {
        let rows = cursor.next(&self.client, &self.table, now).await?;
        let ids = |rows: Vec<Item>| rows.iter().filter_map(|row| key_part(row, "id").map(str::to_owned)).collect();
        Ok(rows.map(ids))
    }

    /// A row that was found due, read strongly; `None` when it is gone or no longer due.
    ///
    /// # Errors
    /// When the table does not answer or the row cannot be read.
    pub async fn take_due(&self, id: &str, now: Timestamp) -> Result<Option<DueFlow>, StoreError> {
        let Some(item) = self.get(id).await? else { return Ok(None) };
        let due_at = item.get("due_at").and_then(|at| at.as_n().ok()).and_then(|at| at.parse::<i64>().ok());
        if due_at.is_none_or(|at| at > now.as_second()) {
            return Ok(None);
        }
        if item.contains_key("status") {
            return Ok(Some(DueFlow::Session(Box::new(read_flow(item)?))));
        }
        if is_received(id) {
            return Ok(Some(DueFlow::Received(Box::new(read_received(item)?))));
        }
        Ok(Some(DueFlow::Revocation(Box::new(read_revocation(item)?))))
    }

    /// Whether a grant of this login waits to be attached in any tenant.
    ///
    /// The index only says where to look: each row that it names is read strongly.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn waits_on(&self, network: Network, app: &str, login: &str) -> Result<bool, StoreError> {
        let account = account_key(network, app, login);
        for row in by_account(&self.client, &self.table, &account).await? {
            let Some(id) = key_part(&row, "id") else { continue };
            if self.get(id).await?.is_some_and(|row| key_part(&row, "account") == Some(&account)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) async fn get(&self, id: &str) -> Result<Option<Item>, StoreError> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(key(id))).consistent_read(true);
        Ok(get.send().await.map_err(unavailable)?.item)
    }

    /// Takes a step. The SDK repeats a write whose answer was lost and then finds the step taken;
    /// `mine` tells from the row whether it was this one.
    async fn step(
        &self,
        change: Change,
        session: &ConnectSession,
        mine: impl FnOnce(&Item) -> bool,
    ) -> Result<(), StoreError> {
        match change.attempt(&self.client, &self.table, key(session.id.as_str())).await? {
            Written::Refused(row) if !row.as_ref().is_some_and(mine) => Err(StoreError::Conflict),
            Written::Done(_) | Written::Refused(_) => Ok(()),
        }
    }
}

impl Revocation {
    /// The revocation of `grant`. Its id names the grant, which is left once however often it is asked.
    #[must_use]
    pub fn new(network: Network, app: &str, login: &str, grant: SealedGrant) -> Self {
        let GrantPlace { tenant, profile, token, generation } = grant.place.clone();
        let id = format!("revoke#{tenant}#{profile}#{token}#{generation}");
        let of = RevocationOf {
            tenant,
            network,
            app: app.to_owned(),
            login: login.to_owned(),
            attempts: 0,
            profile,
            token,
            generation,
        };
        Self { id, of, grant }
    }
}

/// What a session has only while a grant waits in it.
const UNATTACHED: [&str; 5] = ["sealed", "verifier", "due_shard", "due_at", "account"];

/// How long the row of a session that is over can still be looked at.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

fn ttl(over: Timestamp) -> AttributeValue {
    number((over + KEPT).as_second())
}

fn key(id: &str) -> Item {
    Item::from([("id".to_owned(), text(id))])
}

/// The sealed secrets of a grant as one attribute.
pub(super) fn sealed_fields(grant: &SealedGrant) -> AttributeValue {
    let mut fields = Item::from([("access_token".to_owned(), binary(&grant.access_token))]);
    if let Some(refresh_token) = &grant.refresh_token {
        fields.insert("refresh_token".to_owned(), binary(refresh_token));
    }
    AttributeValue::M(fields)
}

/// Reads what [`sealed_fields`] wrote.
pub(super) fn read_grant(fields: Option<&AttributeValue>, place: GrantPlace) -> Option<SealedGrant> {
    let fields = fields?.as_m().ok()?;
    Some(SealedGrant {
        place,
        access_token: sealed(fields.get("access_token"))?,
        refresh_token: sealed(fields.get("refresh_token")),
    })
}

pub(super) fn read_flow(item: Item) -> Result<Flow, StoreError> {
    let (fields, verifier) = (item.get("sealed").cloned(), sealed(item.get("verifier")));
    let session: ConnectSession = read(item)?;
    let grant = read_grant(fields.as_ref(), GrantPlace::unattached(&session.tenant, &session.id));
    Ok(Flow { session, verifier, grant })
}

pub(super) fn read_revocation(item: Item) -> Result<Revocation, StoreError> {
    let fields = item.get("sealed").cloned();
    let id = key_part(&item, "id").unwrap_or_default().to_owned();
    let of: RevocationOf = read(item)?;
    let place = GrantPlace {
        tenant: of.tenant.clone(),
        profile: of.profile.clone(),
        token: of.token.clone(),
        generation: of.generation,
    };
    let grant = read_grant(fields.as_ref(), place);
    let grant = grant.ok_or_else(|| super::unreadable("a revocation without its grant"))?;
    Ok(Revocation { id, of, grant })
}
