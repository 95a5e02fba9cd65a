//! How things stand, as people see it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    capacity::more_like,
    support::{Person, World, days},
};

const SEARCH: &str = "search_acquisition";

/// Turns the switch of a person's acquisition token.
async fn allow(person: &Person, profile: &str, on: bool) {
    let path = format!("/v1/profiles/{profile}/tokens/acquisition-{}", person.name);
    person.patch(&path, json!({ "allow": { SEARCH: on } })).await.expect(200);
}

async fn health(person: &Person) -> Value {
    person.get("/v1/health").await.expect(200)
}

/// The colour of the only network and how many tokens it has.
async fn colour(person: &Person) -> (String, u64) {
    let health = health(person).await;
    let [network] = health["networks"].as_array().unwrap().as_slice() else { panic!("one network: {health}") };
    assert_eq!(network["network"], "facebook");
    assert_eq!(network["detail"].is_null(), network["acquisition"] == "green", "{network}");
    (network["acquisition"].as_str().unwrap().to_owned(), network["valid_tokens"].as_u64().unwrap())
}

#[tokio::test]
async fn a_network_is_green_with_two_tokens_yellow_with_one_and_red_with_none() {
    let world = World::start().await;
    let (alice, bob) = (world.person("alice"), world.person("bob"));
    assert_eq!(health(&alice).await["networks"], json!([]), "nothing is acquired, and nothing is missing");
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    assert_eq!(colour(&alice).await, ("red".into(), 0), "a token that nobody allowed acquires nothing");
    allow(&alice, "facebook_user-1001", true).await;
    assert_eq!(colour(&alice).await, ("yellow".into(), 1));
    world.later(days(20)).await;
    bob.connect("facebook_user", "acquisition", "bob.stone").await;
    assert_eq!(colour(&alice).await, ("yellow".into(), 1));
    let bobs = bob.get("/v1/profiles?list=owned").await.expect(200)["items"][0]["id"].as_str().unwrap().to_owned();
    allow(&bob, &bobs, true).await;
    for name in ["alice", "bob", "carol", "dora"] {
        assert_eq!(colour(&world.person(name)).await, ("green".into(), 2), "{name}");
    }
    assert_eq!(health(&world.person("erin")).await["networks"], json!([]), "another organisation");

    // time, a switch and a deletion take away what was there
    world.later(days(41)).await;
    assert_eq!(colour(&alice).await, ("yellow".into(), 1), "the sweep has not been there yet");
    allow(&bob, &bobs, false).await;
    assert_eq!(colour(&alice).await, ("red".into(), 0));
    for (person, profile) in [(&bob, &*bobs), (&alice, "facebook_user-1001")] {
        person.delete(&format!("/v1/profiles/{profile}")).await.expect(200);
    }
    assert_eq!(health(&alice).await["networks"], json!([]));
    let rule = json!({ "topic": "Floods", "use": SEARCH, "network": "facebook" });
    world.person("dora").post("/v1/rules", rule).await.expect(201);
    assert_eq!(colour(&alice).await, ("red".into(), 0), "a rule wants what nothing brings");
}

#[tokio::test]
async fn whoever_looks_sees_their_own_tokens_and_what_each_is_used_for() {
    let world = World::start().await;
    let (alice, bob, dora) = (world.person("alice"), world.person("bob"), world.person("dora"));
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    alice.connect("x_profile", "interaction", "newsdesk").await;
    bob.connect("x_profile", "interaction", "newsdesk").await;
    let uses = async |person: &Person| -> Vec<(String, String)> {
        let health = health(person).await;
        let uses = health["own_tokens"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        uses.map(|one| (text(&one["use"]), text(&one["state"]))).collect()
    };
    let of = |search: &str, messages: &str| {
        vec![(SEARCH.to_owned(), search.to_owned()), ("private_messages".to_owned(), messages.to_owned())]
    };
    assert_eq!(uses(&alice).await, of("not_allowed", "not_allowed"));
    allow(&alice, "facebook_user-1001", true).await;
    assert_eq!(uses(&alice).await, of("allowed", "not_allowed"));
    let messages = json!({ "allow": { "private_messages": true } });
    alice.patch("/v1/profiles/x_profile-42/tokens/interaction-alice", messages).await.expect(200);
    for rule in [
        json!({ "topic": "Floods", "use": SEARCH, "network": "facebook" }),
        json!({ "topic": "Support", "use": "private_messages", "profile_ids": ["x_profile-42"] }),
    ] {
        dora.post("/v1/rules", rule).await.expect(201);
    }
    assert_eq!(uses(&alice).await, of("running", "running"));
    assert_eq!(uses(&bob).await, [("private_messages".to_owned(), "not_allowed".to_owned())]);
    world.later(days(61)).await;
    assert_eq!(uses(&alice).await, of("expired", "running"));

    let seen = health(&alice).await["profiles"].clone();
    let counts = ["valid", "valid_not_mine", "invalid", "no_owner"].map(|state| seen[state].as_u64().unwrap());
    assert_eq!(counts, [1, 0, 1, 0]);
    assert!(seen["detail"].as_str().unwrap().contains("without author information"), "{seen}");
}

#[tokio::test]
async fn a_tenant_with_thousands_of_profiles_costs_no_more_than_the_bound() {
    let world = World::start().await;
    let alice = world.person("alice");
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    allow(&alice, "facebook_user-1001", true).await;
    let small = health(&alice).await;
    assert_eq!((&small["complete"], &small["profiles"]["valid"]), (&json!(true), &json!(1)));

    let rows = world.rows("Vault").await;
    let row = |sort: &str| rows.iter().find(|row| row["sk"].as_s().unwrap().starts_with(sort)).unwrap();
    let login = row("TOKEN#")["login"].clone();
    let profiles = (100_000..106_000).map(|id| {
        let mut profile = row("PROFILE").clone();
        for name in ["pk", "item", "profile"] {
            let text = profile[name].as_s().unwrap().replace(login.as_s().unwrap(), &id.to_string());
            profile.insert(name.to_owned(), aws_sdk_dynamodb::types::AttributeValue::S(text));
        }
        profile
    });
    let mut token = row("TOKEN#").clone();
    token.remove("pool");
    world.sandbox.cloud().import("Vault", profiles.chain(more_like(&token, 100_000, 6_000, &[]))).unwrap();
    world.forget_calls().await;
    let large = alice.api(Method::GET, "/v1/health", Value::Null).await.expect(200);
    assert_eq!(large["complete"], false);
    assert!(large["profiles"]["valid"].as_u64().unwrap() > 1_000, "{}", large["profiles"]);
    assert_eq!(large["networks"], small["networks"], "the colours do not depend on how much was counted");
    assert!(world.calls("dynamodb/Query").await < 20);
}
