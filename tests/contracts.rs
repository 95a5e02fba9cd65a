//! One suite for the adapters, run against two engines: the sandbox's stand-ins and `moto`.
//!
//! A stand-in that is written beside the code that it stands in for can drift into wishful
//! thinking. `moto` is written by others who read the same documentation of AWS, so what both
//! answer alike is probably no wish. Neither is AWS: where one is known not to do as AWS
//! documents, the case says so beside it and holds the other alone to it.

mod dynamodb;
mod engine;
mod flows;
mod kms;
mod outbox;
mod ownership;
mod renewals;
mod secrets_manager;
mod ses;
mod sqs;
mod stale;
mod tenant;
mod vault;

use jiff::{SignedDuration, Timestamp};
use shared::{
    access::{Subject, TenantId},
    clock::Clock,
    connect::{ConnectSession, Granted, Status},
    grant::{GrantPlace, SealedGrant},
    ladder::Ladder,
    network::{Account, Terms},
    profile::{Kind, ProfileId, Switch, TokenKind},
    random::Random,
    seal::Sealed,
    secret::{LinkSecret, SecretHash, SessionId},
    store::{
        Spread, StoreError,
        flows::{Departure, Flows, Revocation},
        profiles::{Attached, DueRow, Held, TokenKey, Vault},
    },
    token::{Allow, State, Token, TokenId},
};

use engine::{Engine, on_each};

/// When everything begins here.
pub(crate) const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
const APP: &str = "tokenward-app";

fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

fn subject(name: &str) -> Subject {
    name.parse().unwrap()
}

fn profile(id: &str) -> ProfileId {
    id.parse().unwrap()
}

fn clock_at(now: Timestamp) -> Clock {
    Clock::from_fn(move || now)
}

fn some_hash() -> SecretHash {
    SecretHash::of(&Random::system().token())
}

/// A token's row as the index leads to it.
fn due_token(key: &TokenKey) -> (TenantId, DueRow) {
    (key.tenant.clone(), DueRow::Token(key.profile.clone(), key.token.clone()))
}

/// The tables of one engine, through our adapters.
pub(crate) struct Store {
    pub(crate) vault: Vault,
    pub(crate) flows: Flows,
}

impl Store {
    fn of(engine: &Engine) -> Self {
        Self::sharded(engine, 4)
    }

    fn sharded(engine: &Engine, shards: u16) -> Self {
        Self::spread(engine, Spread::new(shards, 0))
    }

    fn spread(engine: &Engine, spread: Spread) -> Self {
        Self {
            vault: Vault::new(&engine.sdk, &engine.table("Vault"), spread),
            flows: Flows::new(&engine.sdk, &engine.table("Flows"), spread),
        }
    }

    /// A session whose browser is at the network.
    async fn started(&self, tenant: &str, person: &str, kind: Kind) -> ConnectSession {
        let session = session(tenant, person, kind);
        self.flows.begin(&session).await.unwrap();
        self.flows.depart(&session, departure(some_hash()), NOW).await.unwrap();
        self.flows.find(&session.id).await.unwrap().unwrap().session
    }

    /// A session that waits to be completed, with the grant of the account `id`.
    pub(crate) async fn authorized(&self, tenant: &str, person: &str, kind: Kind, id: &str) -> ConnectSession {
        let session = self.started(tenant, person, kind).await;
        self.flows.consume(&session, &some_hash(), NOW).await.unwrap();
        let grant = sealed_grant(GrantPlace::unattached(&session.tenant, &session.id));
        self.flows.park(&session, &granted(id), &grant, &some_hash(), NOW).await.unwrap();
        self.flows.find(&session.id).await.unwrap().unwrap().session
    }

    /// A connected token that ends in 60 days.
    async fn connected(&self, tenant: &str, person: &str, kind: Kind, id: &str) -> (TokenKey, Token) {
        let session = self.authorized(tenant, person, kind, id).await;
        let (key, token) = token_of(&session, id, 1);
        let grant = sealed_grant(GrantPlace::of_token(&key.tenant, &token));
        self.attach(&session, &token, &grant, None, NOW).await.unwrap();
        (key, token)
    }

    /// Attaches one token, in the place of what was read before.
    pub(crate) async fn attach(
        &self,
        session: &ConnectSession,
        token: &Token,
        grant: &SealedGrant,
        replaced: Option<(&Held, Option<&Revocation>)>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let attached = [Attached { token, grant, replaced }];
        self.vault.attach(&self.flows, session, &attached, &Ladder::default(), now).await
    }

    /// Turns the switch for search acquisition of a token on.
    async fn allow_search(&self, key: &TokenKey) {
        let before = self.vault.token(key).await.unwrap().unwrap().token;
        let switches = [(Switch::SearchAcquisition, true)];
        self.vault.allow(key, &before, &switches, &Ladder::default(), NOW).await.unwrap();
    }

    /// Turns the switch for private messages of a token as it is now.
    async fn allow(&self, key: &TokenKey, on: bool) -> Result<Token, StoreError> {
        let before = self.vault.token(key).await?.ok_or(StoreError::Conflict)?.token;
        self.vault.allow(key, &before, &[(Switch::PrivateMessages, on)], &Ladder::default(), NOW).await
    }
}

fn session(tenant_name: &str, person: &str, kind: Kind) -> ConnectSession {
    let random = Random::system();
    let id = SessionId::new(&random);
    ConnectSession {
        tenant: tenant(tenant_name),
        subject: subject(person),
        kind,
        token: TokenKind::Interaction,
        wanted: None,
        return_url: "https://app.example/done".to_owned(),
        status: Status::Pending,
        expires_at: NOW + minutes(10),
        ticket: LinkSecret::new(id.clone(), &random).hash(),
        oauth_state: None,
        browser: None,
        redirect_uri: None,
        app: None,
        completion: None,
        granted: None,
        ending: None,
        id,
    }
}

fn departure(oauth_state: SecretHash) -> Departure {
    Departure {
        oauth_state,
        browser: some_hash(),
        verifier: Some(Sealed::from(b"a sealed verifier".to_vec())),
        redirect_uri: "https://api.example/oauth/callback/x".to_owned(),
        app: APP.to_owned(),
    }
}

fn granted(id: &str) -> Granted {
    let account = Account { external_id: id.to_owned(), name: "News Desk".to_owned(), login: id.to_owned() };
    let terms = Terms { scopes: vec!["tweet.read".to_owned()], ..Terms::default() };
    Granted { account, terms, candidates: Vec::new() }
}

pub(crate) fn sealed_grant(place: GrantPlace) -> SealedGrant {
    SealedGrant {
        access_token: Sealed::from(format!("access of {place:?}").into_bytes()),
        refresh_token: Some(Sealed::from(vec![0, 159, 146, 150])),
        place,
    }
}

/// The token that completing `session` makes.
pub(crate) fn token_of(session: &ConnectSession, id: &str, generation: u64) -> (TokenKey, Token) {
    let profile = ProfileId::new(session.kind, id).unwrap();
    let token = Token {
        profile: profile.clone(),
        name: "News Desk".to_owned(),
        token: session.token,
        owner: session.subject.clone(),
        state: State::Active,
        scopes: vec!["tweet.read".to_owned()],
        allow: Allow::default(),
        expires_at: Some(NOW + days(60)),
        access_expires_at: None,
        connected_at: NOW,
        given_at: None,
        check_at: None,
        considered_at: NOW,
        app: APP.to_owned(),
        login: id.to_owned(),
        generation,
    };
    let key =
        TokenKey { tenant: session.tenant.clone(), profile, token: TokenId::new(session.token, &session.subject) };
    (key, token)
}
