//! Leases: who gets which access token, what it costs, and that it works.

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::SignedDuration;
use reqwest::Method;
use sandbox::faults::{Stopped, When};
use serde_json::{Value, json};

use crate::support::{Person, Reply, Row, World, minutes};

pub(crate) mod apps;
mod gone;
mod idle;
mod outages;
mod pool;
mod reports;

/// A world in which alice has connected the news desk at X, and the worker of her organisation.
pub(crate) async fn newsdesk() -> (World, Person, Person) {
    let world = World::start().await;
    let alice = world.person("alice");
    alice.connect("x_profile", "interaction", "newsdesk").await;
    let worker = world.person("acme-worker");
    (world, alice, worker)
}

impl Person {
    /// Leases the news desk to publish.
    pub(crate) async fn lease(&self) -> Reply {
        self.post("/v1/leases", json!({ "use": "publish", "profile_id": "x_profile-42" })).await
    }

    /// What became of a lease.
    pub(crate) async fn report(&self, lease: &Value, report: Value) -> Value {
        let path = format!("/v1/leases/{}/report", lease["id"].as_str().unwrap());
        self.post(&path, report).await.expect(200)
    }
}

/// Where the news desk's token is, as Alice sees it.
const NEWSDESK: &str = "/v1/profiles/x_profile-42/tokens/interaction-alice";

/// The published state of a token, and the reason where there is one.
async fn state(person: &Person, path: &str) -> (String, Value) {
    let (profile, id) = path.split_once("/tokens/").unwrap();
    let profile = person.get(profile).await.expect(200);
    let token = profile["tokens"].as_array().unwrap().iter().find(|token| token["id"] == id).unwrap();
    (token["state"].as_str().unwrap().to_owned(), token["reason"].clone())
}

/// How often a person was told of anything: notices, and mails once the sweep has run.
async fn told(person: &Person) -> (usize, usize) {
    person.world.later(minutes(5)).await.sweep().await;
    let notices = person.get("/v1/notices").await.expect(200)["items"].as_array().unwrap().len();
    (notices, person.world.mails().await.len())
}

/// A token's row.
async fn row(world: &World, path: &str) -> Row {
    let (pk, sk) = keys(path);
    let get = world.dynamodb().get_item().table_name("Vault").key("pk", pk).key("sk", sk).consistent_read(true);
    get.send().await.unwrap().item.unwrap()
}

/// Changes an attribute of a token's row behind the product's back, or takes it away.
async fn tamper(world: &World, path: &str, name: &str, value: Option<AttributeValue>) {
    let (pk, sk) = keys(path);
    let update = world.dynamodb().update_item().table_name("Vault").key("pk", pk).key("sk", sk);
    let update = update.expression_attribute_names("#name", name);
    let update = match value {
        Some(value) => update.update_expression("SET #name = :value").expression_attribute_values(":value", value),
        None => update.update_expression("REMOVE #name"),
    };
    update.send().await.unwrap();
}

/// The key of the row of acme's token that has this path in the API.
fn keys(path: &str) -> (AttributeValue, AttributeValue) {
    let (profile, token) = path.trim_start_matches("/v1/profiles/").split_once("/tokens/").unwrap();
    (AttributeValue::S(format!("T#acme#P#{profile}")), AttributeValue::S(format!("TOKEN#{token}")))
}

/// Waits for the next call to `target`, which is done and stands still before its caller knows.
async fn done_at(world: &World, target: &str) -> Stopped {
    let faults = world.sandbox.faults();
    let mut stopped = faults.stop_at(0, When::After);
    loop {
        let call = stopped.reached().await;
        if call.target == target {
            return stopped;
        }
        let next = faults.stop_at(0, When::After);
        stopped.resume();
        stopped = next;
    }
}

/// What X says to whoever has this access token.
pub(crate) async fn whoami(world: &World, lease: &Value) -> Reply {
    whoami_at(world, "api.x.com/2/users/me", lease).await
}

/// Asks a network at `path` with a lease's access token, and with what goes beside it.
pub(crate) async fn whoami_at(world: &World, path: &str, lease: &Value) -> Reply {
    let url = format!("{}/{path}", world.sandbox.networks_url());
    let beside: Vec<_> =
        lease["params"].as_object().unwrap().iter().map(|(name, value)| (name, value.as_str())).collect();
    let request = world.http.request(Method::GET, url).query(&beside);
    Reply::of(request.bearer_auth(lease["access_token"].as_str().unwrap()).send().await.unwrap()).await
}

#[tokio::test]
async fn a_worker_gets_an_access_token_that_works() {
    let (world, _, worker) = newsdesk().await;
    let lease = worker.lease().await.expect(201);
    assert_eq!((&lease["profile_id"], &lease["token_id"]), (&json!("x_profile-42"), &json!("interaction-alice")));
    assert_eq!(
        (&lease["network"], &lease["token_type"], &lease["params"]),
        (&json!("x"), &json!("bearer"), &json!({}))
    );
    let end: jiff::Timestamp = lease["expires_at"].as_str().unwrap().parse().unwrap();
    let left = end.duration_since(world.sandbox.clock().now());
    assert!((minutes(119)..=minutes(120)).contains(&left), "{lease}");
    assert!(lease["scopes"].as_array().unwrap().contains(&json!("tweet.write")), "{lease}");
    assert_eq!(whoami(&world, &lease).await.expect(200)["data"]["id"], "42");
}

#[tokio::test]
async fn an_access_token_that_ends_is_renewed_first() {
    let (world, _, worker) = newsdesk().await;
    let first = worker.lease().await.expect(201);
    world.later(minutes(110)).await;
    assert_eq!(worker.lease().await.expect(201)["access_token"], first["access_token"]);
    for _ in 0..3 {
        world.later(minutes(118)).await.forget_calls().await;
        let renewed = worker.lease().await.expect(201);
        assert_eq!(world.calls("x/token").await, 1);
        assert_ne!(renewed["access_token"], first["access_token"]);
        assert_eq!(whoami(&world, &renewed).await.expect(200)["data"]["id"], "42");
        assert_eq!(worker.lease().await.expect(201)["access_token"], renewed["access_token"]);
    }
}

/// What a request costs: its answer, the units read and written, and the calls to KMS.
async fn cost(world: &World, request: impl Future<Output = Reply>) -> (Reply, f64, f64, u64) {
    world.forget_calls().await;
    let reply = request.await;
    let consumed = world.sandbox.faults().consumed();
    let kms = world.calls("kms/Decrypt").await + world.calls("kms/GenerateDataKeyWithoutPlaintext").await;
    (reply, consumed.read, consumed.write, kms)
}

#[tokio::test]
async fn a_warm_lease_costs_two_read_units_and_nothing_else() {
    let (world, alice, worker) = newsdesk().await;
    lengthen(&world, 1100).await;
    alice
        .patch("/v1/profiles/x_profile-42/tokens/interaction-alice", json!({ "allow": { "private_messages": true } }))
        .await
        .expect(200);
    let rule = json!({ "topic": "complaints", "use": "private_messages", "profile_ids": ["x_profile-42"] });
    let rule = alice.post("/v1/rules", rule).await.expect(201)["id"].clone();
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    let allow = json!({ "allow": { "search_acquisition": true } });
    alice.patch("/v1/profiles/facebook_user-1001/tokens/acquisition-alice", allow).await.expect(200);
    let search = json!({ "topic": "our name", "use": "search_acquisition", "network": "facebook" });
    let search = alice.post("/v1/rules", search).await.expect(201)["id"].clone();
    for order in [
        json!({ "use": "publish", "profile_id": "x_profile-42" }),
        json!({ "use": "publish", "profile_id": "x_profile-42", "acting_user": "alice" }),
        json!({ "use": "private_messages", "profile_id": "x_profile-42", "acting_user": "alice", "rule_id": rule }),
        json!({ "use": "search_acquisition", "network": "facebook", "rule_id": search }),
    ] {
        worker.post("/v1/leases", order.clone()).await.expect(201);
        let (reply, read, written, kms) = cost(&world, worker.post("/v1/leases", order.clone())).await;
        reply.expect(201);
        assert!(read <= 2.0, "{order}: {read} units read");
        assert_eq!((written, kms), (0.0, 0), "{order}");
    }
}

/// Makes the token's row about 2 KB, the size for which the figures are meant.
async fn lengthen(world: &World, by: usize) {
    tamper(world, NEWSDESK, "padding", Some(AttributeValue::S("x".repeat(by)))).await;
}

#[tokio::test]
async fn a_refresh_writes_at_most_nine_units() {
    let (world, _, worker) = newsdesk().await;
    lengthen(&world, 1100).await;
    for wait in [minutes(121), SignedDuration::from_hours(26)] {
        world.later(wait).await;
        let (reply, _, written, _) = cost(&world, worker.lease()).await;
        reply.expect(201);
        assert!(written <= 9.0, "{written} units after {wait}");
    }
}
