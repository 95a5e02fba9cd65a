//! Refreshing: one request an expiry, whoever asks, and nothing burnt, whatever is killed, paused or broken meanwhile.
//!
//! What is killed here is a process of its own ([`process::Process`]); what it asked the cloud and the network for stands
//! still at that moment ([`sandbox::faults::Faults::stop_at`]).

use std::sync::Arc;

use jiff::SignedDuration;
use sandbox::faults::{Stopped, When};
use serde_json::{Value, json};
use shared::{
    apps::Apps,
    exchange::{Endpoints, Exchange},
    keys::{KeysConfig, TenantKeys},
    random::Random,
    refresh::Refresher,
    spill::Spill,
    store::{
        Spread,
        profiles::{Held, TokenKey, Vault},
    },
};

use self::process::Process;
use crate::{
    leases::{newsdesk, whoami},
    support::{Person, Reply, World, minutes},
};

mod crashes;
mod crowds;
mod drops;
mod limits;
mod pauses;
mod process;
mod spills;

/// The calls of a lease that renews the token first, in a process that has just started: where each of these can be
/// the last thing that the process did. A new call is added here by name, with what becomes of the token then.
const CALLS: [&str; 12] = [
    // the profile with its tokens, and whether the app is paused
    "dynamodb/Query",
    "dynamodb/GetItem",
    // the key that opens the grant
    "dynamodb/Query",
    "kms/Decrypt",
    // the app, and whether it is paused by now
    "secretsmanager/GetSecretValue",
    "dynamodb/GetItem",
    // the key that seals the next one
    "dynamodb/Query",
    "kms/Decrypt",
    "dynamodb/UpdateItem",
    "x/token",
    "dynamodb/UpdateItem",
    // the count in the history
    "dynamodb/UpdateItem",
];

/// The call that writes an attempt down.
const BEGIN: usize = 8;
/// The request to the network.
const ASK: usize = 9;
/// The call that stores the network's answer.
const STORE: usize = 10;

/// Whether the present access token still works when a new one is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// It is over.
    Over,
    /// It works for three minutes more.
    Soon,
}

/// The news desk at X, whose token is alice's, and a worker that leases it.
struct Desk {
    world: World,
    alice: Person,
    worker: Person,
}

impl Desk {
    async fn new() -> Self {
        let (world, alice, worker) = newsdesk().await;
        Self { world, alice, worker }
    }

    /// Lets time pass until the access token must be renewed, and forgets the calls so far.
    async fn fall_due(&self, due: Due) {
        let end = self.held().await.token.access_expires_at.unwrap();
        let moment = match due {
            Due::Over => end,
            Due::Soon => end - minutes(3),
        };
        self.world.until(moment).await.forget_calls().await;
    }

    /// A process that stands still: X has renewed the token, and the process does not know it yet.
    async fn answered(&self, due: Due) -> (Process, Stopped) {
        self.fall_due(due).await;
        let mut process = Process::start(self).await;
        let stopped = process.stop_at(self, ASK, When::After).await;
        (process, stopped)
    }

    /// How often X was asked for a new access token since the calls were forgotten.
    async fn asked(&self) -> u64 {
        self.world.calls("x/token").await
    }

    fn vault(&self) -> Vault {
        Vault::new(self.world.sandbox.aws_config(), "Vault", Spread::new(4, 0))
    }

    /// The token as it is stored.
    async fn held(&self) -> Held {
        self.vault().token(&key()).await.unwrap().unwrap()
    }

    /// Leases as a worker does that comes back when it is told to, until something else than waiting helps.
    async fn patiently(&self) -> Reply {
        for _ in 0..10 {
            let reply = self.worker.lease().await;
            if reply.status != 503 {
                return reply;
            }
            let seconds = reply.header("retry-after").parse().unwrap();
            self.world.later(SignedDuration::from_secs(seconds)).await;
        }
        panic!("it never comes to an end");
    }

    /// Leases an access token that X takes.
    async fn works(&self) -> Value {
        let lease = self.patiently().await.expect(201);
        assert!(self.is_known_to_x(&lease).await, "X does not take what was leased");
        lease
    }

    async fn is_known_to_x(&self, lease: &Value) -> bool {
        whoami(&self.world, lease).await.status == 200
    }

    /// The state of the token as its owner sees it, and the reason.
    async fn state(&self) -> (String, Option<String>) {
        let profile = self.alice.get("/v1/profiles/x_profile-42").await.expect(200);
        let text = |name: &str| profile["tokens"][0][name].as_str().map(str::to_owned);
        (text("state").unwrap(), text("reason"))
    }

    async fn is_active(&self) -> bool {
        self.state().await == ("active".to_owned(), None)
    }

    /// The token is over for no other reason than that an answer was lost, its owner is told so once, and signing in again helps.
    async fn is_lost_and_told(&self) {
        assert_eq!(self.state().await, ("needs_reauth".to_owned(), Some("lost_answer".to_owned())));
        let before = self.world.mails().await.len();
        for _ in 0..2 {
            self.world.later(minutes(61)).await.sweep().await;
        }
        assert_eq!(self.world.mails().await.len(), before + 1);
        self.alice.connect("x_profile", "interaction", "newsdesk").await;
        self.works().await;
    }

    /// A refresher that knows nothing yet, at these networks.
    fn refresher(&self, networks: &str) -> Refresher {
        let (aws, clock, random) =
            (self.world.sandbox.aws_config(), self.world.sandbox.clock().clock(), Random::system());
        let environment = &self.world.sandbox.environment()["leases"];
        let variable = |name: &str| environment[name].clone();
        let keys = KeysConfig { table: variable("KEYS_TABLE"), kms_key: variable("KMS_KEY"), stage: variable("STAGE") };
        Refresher {
            vault: self.vault(),
            keys: Arc::new(TenantKeys::new(aws, keys, clock.clone(), random.clone())),
            apps: Apps::new(aws, &variable("APPS_SECRET"), &variable("GRAPH_VERSION"), clock.clone()),
            exchange: Exchange::new(Endpoints::loopback(networks).unwrap()).unwrap(),
            spill: Spill::new(aws, &variable("SPILL_QUEUE")),
            clock,
            random,
            lease: leases::REFRESH_LEASE,
        }
    }
}

/// Where alice's token at the news desk is.
fn key() -> TokenKey {
    let [tenant, profile, token] = ["acme", "x_profile-42", "interaction-alice"];
    TokenKey { tenant: tenant.parse().unwrap(), profile: profile.parse().unwrap(), token: token.parse().unwrap() }
}

/// A lease of the news desk, to publish.
fn order() -> Value {
    json!({ "use": "publish", "profile_id": "x_profile-42" })
}

/// An attempt may run so long.
const LEASE: SignedDuration = leases::REFRESH_LEASE.saturating_add(SignedDuration::from_secs(1));
