//! What everything answers while something that it needs is down, or hangs, and afterwards.

use reqwest::StatusCode;
use serde_json::{Value, json};
use shared::{
    access::{Subject, TenantId},
    store::{Spread, profiles::Vault},
};
use tokio::task::JoinSet;
use url::Url;

use crate::{
    estate::Estate,
    support::{Landing, Person, Reply, World, minutes},
};

/// An estate, and two people's browsers that are half-way.
struct Underway {
    estate: Estate,
    alice: Person,
    connect_url: String,
    callback: Url,
}

impl Underway {
    async fn new() -> Self {
        let estate = Estate::new().await;
        let alice = estate.world.person("alice");
        let connect_url = alice.begin("x_profile", "interaction").await.connect_url;
        let session = alice.begin("x_profile", "interaction").await;
        let callback = alice.decide(&session, "approve", "press").await;
        Self { estate, alice, connect_url, callback }
    }

    /// Asks for everything at once.
    async fn ask_everything(&self) -> Vec<(&'static str, Reply)> {
        let mut asking = JoinSet::new();
        for row in self.estate.rows() {
            let person = self.estate.world.person(row.by);
            asking.spawn(async move { (row.operation, person.api(row.method(), &row.path, row.body).await) });
        }
        for (operation, url) in [("start", self.connect_url.clone()), ("callback", self.callback.to_string())] {
            let browser = self.alice.browser.clone();
            asking.spawn(async move { (operation, browser.get(&url).await) });
        }
        asking.join_all().await
    }

    /// Everything works, one after the other.
    async fn works(&self) {
        for url in [self.connect_url.as_str(), self.callback.as_str()] {
            let reply = self.alice.browser.get(url).await;
            assert_eq!(reply.status, StatusCode::SEE_OTHER, "{}", reply.body);
            assert!(!reply.header("location").contains("error="), "{reply:?}");
        }
        for row in self.estate.rows() {
            let reply = self.estate.world.person(row.by).api(row.method(), &row.path, row.body).await;
            assert_eq!(reply.status.as_u16(), row.answers[3], "{}: {}", row.operation, reply.body);
        }
    }
}

// S64
#[tokio::test]
async fn an_outage_that_one_client_meets_takes_no_repetition_away_from_others() {
    let world = World::start().await;
    let vault = || Vault::new(world.sandbox.aws_config(), "Vault", Spread::new(1, 0));
    let (acme, nobody): (TenantId, Subject) = ("acme".parse().unwrap(), "nobody".parse().unwrap());
    let failing = json!({ "target": "dynamodb/GetItem", "mode": "status", "status": 500, "times": 100_000 });
    world.fault(failing.clone()).await;
    let met = vault();
    let mut asking = JoinSet::new();
    for _ in 0..100 {
        let (met, acme, nobody) = (met.clone(), acme.clone(), nobody.clone());
        asking.spawn(async move { met.user(&acme, &nobody, true).await.is_err() });
    }
    assert!(asking.join_all().await.into_iter().all(|failed| failed));
    world.no_faults().await;
    let mut once = failing;
    once["times"] = json!(1);
    world.fault(once).await;
    assert!(vault().user(&acme, &nobody, true).await.is_ok(), "it failed once and was not repeated");
}

fn is_unavailable(operation: &str, reply: &Reply) {
    println!("{operation}: {} {}", reply.status, reply.body);
    match operation {
        "start" | "callback" => reply.obstructed(503, "unavailable"),
        _ => drop(reply.refused(503, "unavailable")),
    }
    assert!(reply.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0), "{operation}: {reply:?}");
}

async fn lose_nothing_while_tables_are_down(mode: &str) {
    let underway = Underway::new().await;
    let world = &underway.estate.world;
    let before = underway.estate.seen().await;
    world.fault(json!({ "target": "dynamodb/*", "mode": mode, "status": 500, "times": 100_000 })).await;
    for (operation, reply) in underway.ask_everything().await {
        is_unavailable(operation, &reply);
    }
    world.no_faults().await;
    assert_eq!(underway.estate.seen().await, before, "{mode}");
    underway.works().await;
}

// S64
#[tokio::test]
async fn tables_that_are_down_open_nothing_and_lose_nothing() {
    tokio::join!(
        lose_nothing_while_tables_are_down("reset"),
        lose_nothing_while_tables_are_down("status"),
        lose_nothing_while_tables_are_down("throttle"),
        lose_nothing_while_tables_are_down("garbage"),
    );
}

/// Signs in while `target` is down at each step, and again while it is up; tells which of the
/// steps start, callback and completion did not need it.
async fn sign_in_through(target: &'static str, mode: &'static str) -> Vec<&'static str> {
    let world = World::start().await;
    let alice = world.person("alice");
    let session = alice.begin("x_profile", "interaction").await;
    let fault = json!({ "target": target, "mode": mode, "times": 100_000 });
    let mut unneeded = Vec::new();

    world.fault(fault.clone()).await;
    is_unavailable("start", &alice.browser.get(&session.connect_url).await);
    world.no_faults().await;
    let callback = alice.decide(&session, "approve", "newsdesk").await;

    world.fault(fault.clone()).await;
    is_unavailable("callback", &alice.browser.get(callback.as_str()).await);
    assert_eq!(world.calls("x/token").await, 0, "no code was exchanged that could not be kept");
    world.no_faults().await;
    let code = Landing(alice.browser.get(callback.as_str()).await.location()).code();

    let path = format!("/v1/connect-sessions/{}/complete", session.id);
    world.fault(fault).await;
    let mut reply = alice.post(&path, json!({ "completion_code": code })).await;
    if reply.status == StatusCode::OK {
        unneeded.push("complete");
    } else {
        is_unavailable("complete", &reply);
        world.no_faults().await;
        assert_eq!(alice.get("/v1/profiles").await.expect(200)["items"], json!([]));
        reply = alice.post(&path, json!({ "completion_code": code })).await;
    }
    assert_eq!(reply.expect(200)["profiles"][0]["state"], "valid");
    unneeded
}

// S64
#[tokio::test]
async fn a_sign_in_goes_on_where_it_was_when_the_keys_are_back() {
    let (reset, throttle) = tokio::join!(sign_in_through("kms/*", "reset"), sign_in_through("kms/*", "throttle"));
    assert_eq!((reset, throttle), (vec![], vec![]));
}

// S64
#[tokio::test]
async fn a_sign_in_goes_on_where_it_was_when_the_app_credentials_are_back() {
    let (reset, status) =
        tokio::join!(sign_in_through("secretsmanager/*", "reset"), sign_in_through("secretsmanager/*", "status"));
    assert_eq!((reset, status), (vec!["complete"], vec!["complete"]));
}

// S64
#[tokio::test]
async fn while_nobody_can_be_identified_nobody_is_let_in() {
    let estate = Estate::new().await;
    let before = estate.seen().await;
    for target in ["issuer/openid-configuration", "issuer/jwks"] {
        // new keys, which the authorizer must ask for, so that what it remembers is of no help
        estate.world.sandbox.issuer().rotate();
        estate.world.later(minutes(5)).await;
        let newcomer = estate.world.person("dora").access_token().await;
        estate.world.fault(json!({ "target": target, "mode": "status", "status": 500, "times": 100_000 })).await;
        for row in estate.rows() {
            let reply = estate.ask(Some(&newcomer), &row).await;
            assert!([403, 500].contains(&reply.status.as_u16()), "{}: {} {}", row.operation, reply.status, reply.body);
        }
        estate.world.no_faults().await;
    }
    estate.world.later(minutes(6)).await;
    assert_eq!(estate.world.person("dora").get("/v1/profiles").await.status, StatusCode::OK);
    assert_eq!(estate.seen().await[0], before[0]);
}

// S64, S66
#[tokio::test]
async fn what_the_api_needs_no_network_for_works_while_the_networks_hang() {
    let world = World::start().await;
    let people = ["alice", "bob", "dora"].map(|name| world.person(name));
    for person in &people {
        person.connect("x_profile", "interaction", "newsdesk").await;
    }
    for target in ["x/*", "facebook/*"] {
        world.fault(hang(target)).await;
    }
    assert_eq!(people[0].get("/v1/profiles").await.expect(200)["items"][0]["state"], "valid");
    let deleted = people[0].delete("/v1/profiles/x_profile-42").await.expect(200);
    assert_eq!((&deleted["revocation"], deleted["tokens"].as_array().unwrap().len()), (&json!("pending"), 3));
    people[1].get("/v1/profiles/x_profile-42").await.refused(404, "not_found");

    world.no_faults().await;
    world.later(minutes(30)).await;
    world.sweep().await;
    assert!(world.sandbox.networks().grants("x", "newsdesk").iter().all(|grant| !grant.live));
}

async fn not_wait_for_tables_that_hang() {
    let underway = Underway::new().await;
    let world = &underway.estate.world;
    let before = underway.estate.seen().await;
    world.fault(hang("dynamodb/*")).await;
    for (operation, reply) in underway.ask_everything().await {
        is_unavailable(operation, &reply);
    }
    world.no_faults().await;
    assert_eq!(underway.estate.seen().await, before);
}

async fn not_wait_for_writes_that_hang() {
    let underway = Underway::new().await;
    let world = &underway.estate.world;
    let before = underway.estate.seen().await;
    for operation in ["UpdateItem", "PutItem", "DeleteItem", "TransactWriteItems"] {
        world.fault(hang(&format!("dynamodb/{operation}"))).await;
    }
    for (operation, reply) in underway.ask_everything().await {
        // a lease that is not due writes nothing, and neither does a report that all is well
        if operation.starts_with("GET") || operation.contains("/v1/leases") {
            assert!(reply.status.is_success(), "{operation}: {}", reply.body);
        } else {
            is_unavailable(operation, &reply);
        }
    }
    world.no_faults().await;
    assert_eq!(underway.estate.seen().await, before);
    underway.works().await;
}

fn hang(target: &str) -> Value {
    json!({ "target": target, "mode": "slow", "delay_ms": 60_000, "times": 100_000 })
}

async fn not_wait_for_keys_that_hang() {
    let world = World::start().await;
    // a tenant each, so that neither has brought its key into the other's functions
    let (erin, worker) = (world.person("erin"), world.person("acme-worker"));
    world.person("alice").connect("x_profile", "interaction", "newsdesk").await;
    let begun = erin.begin("x_profile", "interaction").await;
    let landing = erin.approve(&erin.begin("facebook_user", "acquisition").await, "bob.stone").await;
    world.fault(hang("kms/*")).await;
    let lease = worker.post("/v1/leases", publish("x_profile-42"));
    let start = erin.browser.get(&begun.connect_url);
    let (start, complete, lease) = tokio::join!(start, erin.complete(&landing), lease);
    for (operation, reply) in [("start", start), ("complete", complete), ("lease", lease)] {
        is_unavailable(operation, &reply);
    }
    world.no_faults().await;
    erin.complete(&landing).await.expect(200);
    worker.post("/v1/leases", publish("x_profile-42")).await.expect(201);
}

fn publish(profile: &str) -> Value {
    json!({ "use": "publish", "profile_id": profile })
}

async fn not_wait_for_networks_that_hang() {
    let world = World::start().await;
    let (alice, worker) = (world.person("alice"), world.person("acme-worker"));
    alice.connect("x_profile", "interaction", "newsdesk").await;
    world.later(minutes(60)).await;
    alice.connect("x_profile", "interaction", "support").await;
    let lease = worker.post("/v1/leases", publish("x_profile-43")).await.expect(201);
    world.later(minutes(61)).await;
    let before = alice.get("/v1/profiles").await.expect(200);
    world.fault(hang("x/*")).await;
    world.forget_calls().await;
    let path = format!("/v1/leases/{}/report", lease["id"].as_str().unwrap());
    let (refreshing, waiting, works, report) = tokio::join!(
        worker.post("/v1/leases", publish("x_profile-42")),
        worker.post("/v1/leases", publish("x_profile-42")),
        worker.post("/v1/leases", publish("x_profile-43")),
        worker.post(&path, json!({ "outcome": "unauthorized" })),
    );
    for reply in [refreshing, waiting] {
        is_unavailable("lease", &reply);
    }
    assert_eq!(works.expect(201)["access_token"], lease["access_token"]);
    assert_eq!(report.expect(200)["effect"], "unconfirmed");
    assert_eq!(world.calls("x/token").await, 1);
    assert_eq!(alice.get("/v1/profiles").await.expect(200), before);
}

async fn not_wait_for_app_credentials_that_hang() {
    let world = World::start().await;
    let alice = world.person("alice");
    let begun = alice.begin("x_profile", "interaction").await;
    world.fault(hang("secretsmanager/*")).await;
    is_unavailable("start", &alice.browser.get(&begun.connect_url).await);
    world.no_faults().await;
    alice.approve(&begun, "newsdesk").await.code();
}

// S66
#[tokio::test]
async fn nothing_that_hangs_is_waited_for_beyond_the_budget() {
    tokio::join!(
        not_wait_for_tables_that_hang(),
        not_wait_for_writes_that_hang(),
        not_wait_for_keys_that_hang(),
        not_wait_for_app_credentials_that_hang(),
        not_wait_for_networks_that_hang(),
    );
}
