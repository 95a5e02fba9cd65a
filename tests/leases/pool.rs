//! Acquisition leases: any token of the pool that may do it, under a rule, evenly.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::SignedDuration;
use reqwest::Method;
use serde_json::{Value, json};

use super::{row, tamper};
use crate::{
    access::remove,
    invocation::{context, event},
    support::{Person, Reply, World, days, minutes},
};

/// A tenant's tokens that search at Facebook, a rule that says what for, and its worker.
pub(super) struct Pool {
    pub(super) world: World,
    pub(super) worker: Person,
    rule: String,
}

impl Pool {
    /// Each of these people lets one of these accounts be used.
    pub(super) async fn of(members: &[(&str, &str)]) -> Self {
        let world = World::start().await;
        for (person, account) in members {
            join(&world.person(person), account).await;
        }
        let rule = rule_of(&world.person("alice")).await;
        Self { worker: world.person("acme-worker"), world, rule }
    }

    pub(super) fn order(&self) -> Value {
        json!({ "use": "search_acquisition", "network": "facebook", "rule_id": self.rule })
    }

    pub(super) async fn lease(&self) -> Reply {
        self.worker.post("/v1/leases", self.order()).await
    }

    /// A lease of this very token, which comes up sooner or later.
    pub(super) async fn lease_of(&self, path: &str) -> Value {
        for _ in 0..100 {
            let lease = self.lease().await.expect(201);
            if path_of(&lease) == path {
                return lease;
            }
        }
        panic!("{path} was never leased")
    }

    /// How often each token is leased, of so many times, and how far that is from even: Pearson's chi-square.
    async fn spread(&self, leases: u32, tokens: u32) -> (BTreeMap<String, u32>, f64) {
        let mut worker = context(&self.world, "acme", "acme-worker");
        worker["roles"] = json!("");
        worker["scope"] = json!("leases");
        let event = event("POST", "/v1/leases", &self.order(), &worker);
        let mut counts = BTreeMap::new();
        for _ in 0..leases {
            let lease = self.world.invoke("leases", event.clone()).await.expect(201);
            *counts.entry(path_of(&lease)).or_default() += 1;
        }
        let even = f64::from(leases) / f64::from(tokens);
        let chi_square = counts.values().map(|count| (f64::from(*count) - even).powi(2) / even).sum();
        (counts, chi_square)
    }
}

/// Connects an account for acquisition and allows searching with it; tells where its token is.
pub(super) async fn join(person: &Person, account: &str) -> String {
    let profile = person.connect("facebook_user", "acquisition", account).await;
    let path = format!("/v1/profiles/{}/tokens/acquisition-{}", profile["id"].as_str().unwrap(), person.name);
    allow(person, &path, true).await;
    path
}

async fn allow(person: &Person, path: &str, on: bool) {
    person.patch(path, json!({ "allow": { "search_acquisition": on } })).await.expect(200);
}

/// A rule to search at Facebook.
async fn rule_of(person: &Person) -> String {
    let rule = json!({ "topic": "Floods", "use": "search_acquisition", "network": "facebook" });
    person.post("/v1/rules", rule).await.expect(201)["id"].as_str().unwrap().to_owned()
}

/// Where the token of a lease is in the API.
pub(super) fn path_of(lease: &Value) -> String {
    format!("/v1/profiles/{}/tokens/{}", lease["profile_id"].as_str().unwrap(), lease["token_id"].as_str().unwrap())
}

/// Asks Facebook for a Page's posts with what a lease gave.
pub(super) async fn posts(world: &World, lease: &Value) -> Reply {
    let url = format!("{}/graph.facebook.com/v26.0/2001/posts", world.sandbox.networks_url());
    let request = world.http.request(Method::GET, url).query(&lease["params"]);
    Reply::of(request.bearer_auth(lease["access_token"].as_str().unwrap()).send().await.unwrap()).await
}

pub(super) const ALICE: (&str, &str) = ("alice", "alice.meyer");
pub(super) const BOB: (&str, &str) = ("bob", "bob.stone");
pub(super) const OF_ALICE: &str = "/v1/profiles/facebook_user-1001/tokens/acquisition-alice";
pub(super) const OF_BOB: &str = "/v1/profiles/facebook_user-1002/tokens/acquisition-bob";

#[tokio::test]
async fn facebook_takes_what_a_lease_gives_for_five_minutes_and_then_wants_another_proof() {
    let pool = Pool::of(&[ALICE]).await;
    let lease = pool.lease().await.expect(201);
    assert_eq!((&lease["network"], path_of(&lease).as_str()), (&json!("facebook"), OF_ALICE));
    let params: Vec<_> = lease["params"].as_object().unwrap().keys().collect();
    assert_eq!(params, ["appsecret_proof", "appsecret_time"]);
    assert_eq!(posts(&pool.world, &lease).await.expect(200)["data"].as_array().unwrap().len(), 2);

    let mut bare = lease.clone();
    bare["params"] = json!({});
    assert_eq!(posts(&pool.world, &bare).await.expect(400)["error"]["code"], 100, "the access token alone is nothing");
    pool.world.later(minutes(6)).await;
    assert_eq!(posts(&pool.world, &lease).await.expect(400)["error"]["code"], 100);
    let lease = pool.lease().await.expect(201);
    posts(&pool.world, &lease).await.expect(200);
}

#[tokio::test]
async fn a_search_needs_a_rule_that_is_about_it() {
    let pool = Pool::of(&[ALICE]).await;
    let [alice, erin] = ["alice", "erin"].map(|name| pool.world.person(name));
    alice.connect("x_profile", "interaction", "newsdesk").await;
    let messages = json!({ "topic": "Support", "use": "private_messages", "profile_ids": ["x_profile-42"] });
    let messages = alice.post("/v1/rules", messages).await.expect(201)["id"].clone();
    for (rule, status, code) in [
        (Value::Null, 400, "rule_required"),
        (messages, 400, "rule_required"),
        (json!("A".repeat(22)), 404, "not_found"),
        (json!("Floods"), 404, "not_found"),
        (json!(rule_of(&erin).await), 404, "not_found"),
    ] {
        let mut order = pool.order();
        order["rule_id"] = rule;
        pool.worker.post("/v1/leases", order).await.refused(status, code);
    }
    let chat = json!({ "use": "private_messages", "profile_id": "x_profile-42", "rule_id": pool.rule });
    pool.worker.post("/v1/leases", chat).await.refused(400, "rule_required");

    pool.lease().await.expect(201);
    alice.delete(&format!("/v1/rules/{}", pool.rule)).await.expect(200);
    pool.world.later(SignedDuration::from_secs(5)).await;
    pool.lease().await.refused(404, "not_found");
}

// S35
#[tokio::test]
async fn a_token_is_searched_with_from_the_moment_it_is_allowed_until_the_moment_it_is_not() {
    let pool = Pool::of(&[]).await;
    let alice = pool.world.person("alice");
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    for _ in 0..2 {
        pool.lease().await.refused(409, "no_valid_token");
        allow(&alice, OF_ALICE, true).await;
        pool.lease().await.expect(201);
        allow(&alice, OF_ALICE, false).await;
    }
}

#[tokio::test]
async fn who_gets_no_token_is_told_what_a_person_has_to_do() {
    let pool = Pool::of(&[]).await;
    let alice = pool.world.person("alice");
    let refused = async |advice: &str| {
        let problem = pool.lease().await.refused(409, "no_valid_token");
        assert!(problem["detail"].as_str().unwrap().contains(advice), "{advice}: {problem}");
    };
    refused("Connect one").await;
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    refused("allow it").await;
    allow(&alice, OF_ALICE, true).await;
    pool.lease().await.expect(201);

    let granted = row(&pool.world, OF_ALICE).await["scopes"].clone();
    let less = AttributeValue::L(vec![AttributeValue::S("public_profile".to_owned())]);
    tamper(&pool.world, OF_ALICE, "scopes", Some(less)).await;
    refused("did not grant").await;
    tamper(&pool.world, OF_ALICE, "scopes", Some(granted)).await;

    pool.world.later(days(61)).await;
    refused("works any more").await;
    pool.world.sweep().await;
    refused("works any more").await;
    alice.delete(OF_ALICE).await.expect(200);
    pool.world.later(minutes(1)).await;
    refused("Connect one").await;
}

// S35
#[tokio::test]
async fn who_signs_in_again_is_searched_with_at_once() {
    let pool = Pool::of(&[ALICE]).await;
    pool.world.later(days(61)).await.sweep().await;
    pool.lease().await.refused(409, "no_valid_token");
    let alice = pool.world.person("alice");
    let session = alice.begin_again("facebook_user-1001", "acquisition").await;
    let landing = alice.approve(&session, "alice.meyer").await;
    alice.complete(&landing).await.expect(200);
    pool.lease().await.expect(201);
}

/// Meta's limit of a user's token, as a worker reports it.
fn limited() -> Value {
    json!({ "outcome": "rate_limited", "http_status": 400, "body": { "error": { "code": 17 } } })
}

#[tokio::test]
async fn leases_are_spread_evenly_and_a_token_that_rests_gets_none() {
    let pool = Pool::of(&[ALICE, BOB, ("bob", "alice.meyer"), ("dora", "unknown.expiry")]).await;
    // by chance, with three degrees of freedom, it is above 45 less than once in a thousand million times
    let (counts, chi_square) = pool.spread(400, 4).await;
    assert!(counts.len() == 4 && chi_square < 45.0, "{counts:?}");

    let lease = pool.lease().await.expect(201);
    assert_eq!(pool.worker.report(&lease, limited()).await["effect"], "cooling_down");
    let (counts, chi_square) = pool.spread(150, 3).await;
    assert!(counts.len() == 3 && chi_square < 45.0 && !counts.contains_key(&path_of(&lease)), "{counts:?}");
}

#[tokio::test]
async fn while_every_token_rests_the_worker_is_told_when_the_first_is_back() {
    let pool = Pool::of(&[ALICE, BOB]).await;
    let rest = async || {
        let lease = pool.lease().await.expect(201);
        pool.worker.report(&lease, limited()).await;
        path_of(&lease)
    };
    let first = rest().await;
    pool.world.later(minutes(5)).await;
    assert_ne!(first, rest().await);

    let refused = pool.lease().await;
    refused.refused(429, "rate_limited");
    let seconds: i64 = refused.header("retry-after").parse().unwrap();
    assert!((540..=600).contains(&seconds), "{seconds}");
    pool.world.later(SignedDuration::from_secs(seconds)).await;
    for _ in 0..5 {
        assert_eq!(path_of(&pool.lease().await.expect(201)), first);
    }
}

#[tokio::test]
async fn an_allowed_token_that_the_index_does_not_know_yet_is_found() {
    let pool = Pool::of(&[ALICE]).await;
    tamper(&pool.world, OF_ALICE, "pool", None).await;
    assert_eq!(path_of(&pool.lease().await.expect(201)), OF_ALICE);
}

#[tokio::test]
async fn a_token_for_acquisition_is_leased_for_searching_alone() {
    let pool = Pool::of(&[ALICE]).await;
    for usage in ["publish", "reply"] {
        let order = json!({ "use": usage, "profile_id": "facebook_user-1001" });
        pool.worker.post("/v1/leases", order).await.refused(409, "no_valid_token");
        let order = json!({ "use": usage, "network": "facebook" });
        pool.worker.post("/v1/leases", order).await.refused(400, "invalid_request");
    }
}

// S36
#[tokio::test]
async fn an_order_that_makes_no_sense_is_refused_with_the_reason() {
    let pool = Pool::of(&[ALICE]).await;
    for (changed, status, code) in [
        (json!({ "network": null, "profile_id": "facebook_user-1001" }), 400, "invalid_request"),
        (json!({ "profile_id": "facebook_user-1001" }), 400, "invalid_request"),
        (json!({ "network": null }), 400, "invalid_request"),
        (json!({ "network": "myspace" }), 400, "unknown_network"),
        (json!({ "network": "x" }), 400, "rule_required"),
        (json!({ "use": "applaud" }), 400, "unsupported_use"),
        (json!({ "use": "comment" }), 400, "invalid_request"),
        (json!({ "use": null }), 400, "invalid_request"),
        (json!({ "acting_user": "" }), 400, "invalid_request"),
        (json!({ "acting_user": ["alice"] }), 400, "invalid_request"),
        (json!({ "tenant": "globex" }), 400, "invalid_request"),
    ] {
        let mut order = pool.order();
        for (name, value) in changed.as_object().unwrap() {
            order[name] = value.clone();
        }
        println!("{order}");
        pool.worker.post("/v1/leases", order).await.refused(status, code);
    }
    for profile in ["", "facebook_user", "facebook_user-", "facebook_user-1001#TOKEN", "myspace_user-1"] {
        let order = json!({ "use": "publish", "profile_id": profile });
        pool.worker.post("/v1/leases", order).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn on_a_persons_behalf_only_what_that_person_owns_is_used_and_only_while_they_may() {
    let pool = Pool::of(&[ALICE, BOB]).await;
    let (alice, bob) = (pool.world.person("alice"), pool.world.person("bob"));
    for (person, account) in [(&alice, "newsdesk"), (&bob, "newsdesk"), (&alice, "support")] {
        person.connect("x_profile", "interaction", account).await;
    }
    let orders = |user: &str| {
        let mut search = pool.order();
        search["acting_user"] = json!(user);
        [search, json!({ "use": "publish", "profile_id": "x_profile-43", "acting_user": user })]
    };
    let lease = async |order: &Value| pool.worker.post("/v1/leases", order.clone()).await;

    for _ in 0..6 {
        assert_eq!(path_of(&lease(&orders("bob")[0]).await.expect(201)), OF_BOB);
        let order = json!({ "use": "publish", "profile_id": "x_profile-42", "acting_user": "bob" });
        assert_eq!(lease(&order).await.expect(201)["token_id"], "interaction-bob", "one's own where there is one");
    }
    lease(&orders("bob")[1]).await.refused(403, "forbidden");
    for order in ["carol", "dora", "nobody", "erin", "Alice", "acme-worker"].iter().flat_map(|user| orders(user)) {
        println!("{order}");
        lease(&order).await.refused(403, "forbidden");
    }

    // who was not seen for a day is not known any more, until the next visit
    let alices = orders("alice");
    let all = async |status: u16| {
        for order in &alices {
            let reply = lease(order).await;
            assert_eq!(reply.status.as_u16(), status, "{order}: {}", reply.body);
        }
    };
    all(201).await;
    pool.world.later(minutes(24 * 60 + 1)).await;
    all(403).await;
    alice.get("/v1/profiles").await.expect(200);
    all(201).await;
    remove(&pool.world, "alice").await;
    all(403).await;
}

// S30, S31
#[tokio::test]
async fn one_tenants_pool_and_rules_are_nothing_to_another() {
    let pool = Pool::of(&[]).await;
    let [alice, erin] = ["alice", "erin"].map(|name| pool.world.person(name));
    join(&erin, "bob.stone").await;
    let worker = pool.world.person("globex-worker");
    worker.post("/v1/leases", pool.order()).await.refused(404, "not_found");
    pool.lease().await.refused(409, "no_valid_token");

    join(&alice, "alice.meyer").await;
    let order = json!({ "use": "search_acquisition", "network": "facebook", "rule_id": rule_of(&erin).await });
    for _ in 0..5 {
        assert_eq!(path_of(&pool.lease().await.expect(201)), OF_ALICE);
        assert_eq!(worker.post("/v1/leases", order.clone()).await.expect(201)["profile_id"], "facebook_user-1002");
    }
    let publish = |profile: &str| json!({ "use": "publish", "profile_id": profile });
    let foreign = pool.worker.post("/v1/leases", publish("facebook_user-1002")).await;
    foreign.refused(404, "not_found");
    assert_eq!(foreign.body, pool.worker.post("/v1/leases", publish("facebook_user-9999")).await.body);
}
