//! An hour without one of the services, in a deployment that has something to do: whoever asks is told what is wrong in
//! the API's own words, and once the service is back everything that came due is done, once.

use jiff::SignedDuration;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Person, Reply, World, days, minutes};

/// Facebook's long-lived tokens live so long.
const FACEBOOK: SignedDuration = SignedDuration::from_secs(5_183_944);

/// A deployment in which a warning falls due within the hour, an access token is over, a network is asked how a token
/// is, and a profile is to be deleted.
struct Night {
    world: World,
    alice: Person,
    worker: Person,
}

impl Night {
    async fn new() -> Self {
        let world = World::start().await;
        let (alice, worker) = (world.person("alice"), world.person("acme-worker"));
        alice.connect("facebook_user", "acquisition", "alice.meyer").await;
        let token = "/v1/profiles/facebook_user-1001/tokens/acquisition-alice";
        alice.patch(token, json!({ "allow": { "search_acquisition": true } })).await.expect(200);
        alice.connect("x_profile", "interaction", "newsdesk").await;
        alice.connect("x_profile", "interaction", "support").await;
        // the sweep has looked at everything just before
        world.later(FACEBOOK - days(30) - minutes(10)).await.sweep().await;
        assert_eq!(world.mails().await.len(), 0);
        Self { world, alice, worker }
    }

    async fn lease(&self) -> Reply {
        self.worker.post("/v1/leases", json!({ "use": "publish", "profile_id": "x_profile-42" })).await
    }

    /// What people and workers ask for meanwhile; each is done, or refused in a way that says to come back.
    async fn ask(&self) {
        let session =
            json!({ "kind": "instagram_account", "token": "acquisition", "return_url": self.world.return_url() });
        for (what, reply) in [
            ("lease", self.lease().await),
            ("list", self.alice.get("/v1/profiles").await),
            ("health", self.alice.get("/v1/health").await),
            ("connect", self.alice.post("/v1/connect-sessions", session).await),
            ("delete", self.alice.delete("/v1/profiles/x_profile-43").await),
        ] {
            let gone = what == "delete" && reply.status == 404;
            if !reply.status.is_success() && !gone {
                come_back(what, &reply);
            }
        }
    }

    /// Everything that came due is done.
    async fn is_caught_up(&self) -> bool {
        let revoked = self.world.sandbox.networks().grants("x", "support").iter().all(|grant| !grant.live);
        revoked && self.world.mails().await.len() == 1
    }
}

/// The API's own refusal, or, where nobody could be identified, the gateway's.
fn come_back(what: &str, reply: &Reply) {
    if reply.header("content-type") == "application/problem+json" {
        reply.refused(503, "unavailable");
        assert!(reply.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0), "{what}: {reply:?}");
    } else {
        assert_eq!(reply.status, 500, "{what}: {reply:?}");
        assert_eq!(reply.json(), json!({ "message": "Internal Server Error" }), "{what}");
    }
}

async fn an_hour_without(targets: &[&str]) {
    let night = Night::new().await;
    let world = &night.world;
    for target in targets {
        world.fault(json!({ "target": target, "mode": "status", "status": 503, "times": 1_000_000 })).await;
    }
    for tick in 0..12 {
        world.later(minutes(5)).await;
        // without its tables or its queue a tick fails, and says so to its schedule
        let swept = world.door(Method::POST, "/_sandbox/tick", json!({ "function": "expiry-sweep" })).await;
        assert!([200, 500].contains(&swept.status.as_u16()), "{targets:?}: {}", swept.body);
        if tick % 4 == 0 {
            night.ask().await;
        }
    }
    world.no_faults().await;
    let mut waited = 0;
    while !night.is_caught_up().await {
        assert!(waited < 36, "{targets:?}: three hours later not everything is done");
        world.later(minutes(5)).await.sweep().await;
        night.ask().await;
        waited += 1;
    }
    println!("{targets:?}: caught up {} minutes after", 5 * waited);

    // once, however often it was tried
    for _ in 0..3 {
        world.later(minutes(60)).await.sweep().await;
    }
    let mails = world.mails().await;
    assert_eq!(mails.len(), 1, "{targets:?}: {mails:?}");
    assert!(mails[0]["subject"].as_str().unwrap().contains("30 days"), "{}", mails[0]["subject"]);
    let lease = night.lease().await.expect(201);
    let me = format!("{}/api.x.com/2/users/me", world.sandbox.networks_url());
    let me = world.http.get(me).bearer_auth(lease["access_token"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(me.status(), 200, "{targets:?}: the token that was leased works");
    assert!(world.sandbox.networks().grants("x", "newsdesk").iter().all(|grant| grant.live), "no family was ended");
    let profiles = night.alice.get("/v1/profiles").await.expect(200);
    for profile in profiles["items"].as_array().unwrap() {
        assert_eq!(profile["state"], "valid", "{targets:?}: {profile}");
    }
    assert_eq!(left(world), Value::Null, "{targets:?}: nothing is left in a queue");
    night.alice.connect("instagram_account", "acquisition", "harbour.photos").await;
}

/// What lies in any queue.
fn left(world: &World) -> Value {
    let queues = ["SpillQueue", "SpilledForGood", "DueQueue", "DueForGood"];
    let left: Vec<_> = queues.iter().flat_map(|queue| world.sandbox.cloud().messages(queue)).collect();
    if left.is_empty() { Value::Null } else { json!(left) }
}

// S52, S61, S64, S65
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_hour_without_any_one_service_everything_that_came_due_is_done_once() {
    for targets in [
        &["dynamodb/*"][..],
        &["kms/*"],
        &["ses/*"],
        &["secretsmanager/*"],
        &["sqs/*"],
        &["x/*", "facebook/*"],
        &["issuer/*"],
    ] {
        Box::pin(an_hour_without(targets)).await;
    }
}
