//! Rules: the second step of acquisition, from the first to the last.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Person, World, minutes};

fn search(topic: &str) -> Value {
    json!({ "topic": topic, "use": "search_acquisition", "network": "facebook" })
}

fn messages(profiles: &[&str]) -> Value {
    json!({ "topic": "Support", "use": "private_messages", "profile_ids": profiles })
}

/// Creates a rule and tells where it is.
async fn created(person: &Person, rule: Value) -> String {
    let rule = person.post("/v1/rules", rule).await.expect(201);
    format!("/v1/rules/{}", rule["id"].as_str().unwrap())
}

async fn listed(person: &Person) -> Vec<Value> {
    person.get("/v1/rules").await.expect(200)["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_rule_is_created_seen_by_everybody_edited_and_deleted() {
    let world = World::start().await;
    let alice = world.person("alice");
    for account in ["newsdesk", "support"] {
        alice.connect("x_profile", "interaction", account).await;
    }
    let rule = alice.post("/v1/rules", messages(&["x_profile-43", "x_profile-42", "x_profile-43"])).await.expect(201);
    assert_eq!(rule["profile_ids"], json!(["x_profile-42", "x_profile-43"]));
    assert_eq!((&rule["topic"], &rule["owner"]), (&json!("Support"), &json!("alice")));
    assert_eq!(rule["created_at"].as_str(), Some(&*world.sandbox.clock().now().to_string()));
    for name in ["alice", "bob", "carol", "dora"] {
        assert_eq!(listed(&world.person(name)).await.as_slice(), std::slice::from_ref(&rule), "{name}");
    }
    assert_eq!(listed(&world.person("erin")).await, [] as [Value; 0]);

    // what is left out stays as it is, and time and owner always do
    world.later(minutes(5)).await;
    let path = format!("/v1/rules/{}", rule["id"].as_str().unwrap());
    let mut expected = rule.clone();
    for change in
        [json!({ "topic": "Complaints" }), json!({ "profile_ids": ["x_profile-43"] }), json!({ "topic": "Praise" })]
    {
        for (field, value) in change.as_object().unwrap() {
            expected[field] = value.clone();
        }
        assert_eq!(alice.patch(&path, change).await.expect(200), expected);
    }
    assert_eq!(listed(&alice).await.as_slice(), std::slice::from_ref(&expected));

    let search = alice.post("/v1/rules", search("Floods")).await.expect(201);
    assert_eq!(alice.delete(&path).await.expect(200), expected);
    assert_eq!(listed(&alice).await, [search]);
    for gone in [alice.delete(&path).await, alice.patch(&path, json!({ "topic": "Again" })).await] {
        gone.refused(404, "not_found");
    }
}

#[tokio::test]
async fn power_analysts_have_their_own_rules_and_administrators_all_of_them() {
    let world = World::start().await;
    let [alice, bob, carol, dora] = ["alice", "bob", "carol", "dora"].map(|name| world.person(name));
    for person in [&bob, &carol] {
        person.post("/v1/rules", search("Floods")).await.refused(403, "forbidden");
    }
    let (of_alice, of_dora) = (created(&alice, search("Floods")).await, created(&dora, search("Storms")).await);
    for (person, path) in [(&bob, &of_alice), (&carol, &of_alice), (&alice, &of_dora)] {
        person.patch(path, json!({ "topic": "Mine" })).await.refused(403, "forbidden");
        person.delete(path).await.refused(403, "forbidden");
    }
    let edited = dora.patch(&of_alice, json!({ "topic": "Floods and storms" })).await.expect(200);
    assert_eq!((&edited["topic"], &edited["owner"]), (&json!("Floods and storms"), &json!("alice")));
    alice.patch(&of_alice, json!({ "topic": "Floods" })).await.expect(200);
    dora.delete(&of_alice).await.expect(200);
    assert_eq!(listed(&alice).await.len(), 1);
}

// S31
#[tokio::test]
async fn a_rule_of_others_is_answered_like_one_that_does_not_exist() {
    let world = World::start().await;
    let (alice, erin, frank) = (world.person("alice"), world.person("erin"), world.person("frank"));
    erin.connect("x_profile", "interaction", "newsdesk").await;
    let path = created(&erin, messages(&["x_profile-42"])).await;
    let missing = format!("/v1/rules/{}", "A".repeat(22));
    for (method, body) in [(Method::PATCH, json!({ "topic": "Mine" })), (Method::DELETE, Value::Null)] {
        let foreign = alice.api(method.clone(), &path, body.clone()).await;
        foreign.refused(404, "not_found");
        assert_eq!(foreign.body, alice.api(method, &missing, body).await.body);
    }
    let foreign = alice.post("/v1/rules", messages(&["x_profile-42"])).await;
    foreign.refused(404, "not_found");
    assert_eq!(foreign.body, alice.post("/v1/rules", messages(&["x_profile-99"])).await.body);

    alice.connect("x_profile", "interaction", "support").await;
    let own = created(&alice, messages(&["x_profile-43"])).await;
    for stranger in ["x_profile-42", "x_profile-99"] {
        let widened = json!({ "topic": "More", "profile_ids": ["x_profile-43", stranger] });
        alice.patch(&own, widened).await.refused(404, "not_found");
    }
    let rules = listed(&alice).await;
    assert_eq!((rules.len(), &rules[0]["topic"]), (1, &json!("Support")));
    assert_eq!(listed(&frank).await.len(), 1);
}

// S36
#[tokio::test]
async fn a_rule_that_makes_no_sense_is_refused_with_the_reason() {
    let world = World::start().await;
    let alice = world.person("alice");
    alice.connect("x_profile", "interaction", "newsdesk").await;
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    let of_search = created(&alice, search("Floods")).await;
    let of_messages = created(&alice, messages(&["x_profile-42"])).await;
    let before = listed(&alice).await;
    let with = |mut rule: Value, field: &str, value: Value| {
        rule[field] = value;
        rule
    };
    let without = |mut rule: Value, field: &str| {
        rule.as_object_mut().unwrap().remove(field);
        rule
    };
    let many: Vec<String> = (0..101).map(|number| format!("x_profile-{number}")).collect();
    for (rule, status, code) in [
        (without(search("x"), "topic"), 400, "invalid_request"),
        (without(search("x"), "use"), 400, "invalid_request"),
        (without(search("x"), "network"), 400, "invalid_request"),
        (without(messages(&[]), "profile_ids"), 400, "invalid_request"),
        (with(search("x"), "id", json!("A".repeat(22))), 400, "invalid_request"),
        (with(search("x"), "owner", json!("bob")), 400, "invalid_request"),
        (with(search("x"), "tenant", json!("globex")), 400, "invalid_request"),
        (search(""), 400, "invalid_request"),
        (search(" "), 400, "invalid_request"),
        (search("a\nb"), 400, "invalid_request"),
        (search(&"x".repeat(201)), 400, "invalid_request"),
        (with(search("x"), "topic", json!(7)), 400, "invalid_request"),
        (with(search("x"), "network", json!("myspace")), 400, "unknown_network"),
        (with(search("x"), "network", json!("x")), 400, "unsupported_use"),
        (with(search("x"), "profile_ids", json!(["x_profile-42"])), 400, "invalid_request"),
        (with(messages(&["x_profile-42"]), "network", json!("x")), 400, "invalid_request"),
        (with(search("x"), "use", json!("publish")), 400, "unsupported_use"),
        (with(search("x"), "use", json!("Search_Acquisition")), 400, "unsupported_use"),
        (with(search("x"), "use", json!("private_messages")), 400, "invalid_request"),
        (messages(&[]), 400, "invalid_request"),
        (with(messages(&[]), "profile_ids", json!(many)), 400, "invalid_request"),
        (with(messages(&[]), "profile_ids", json!("x_profile-42")), 400, "invalid_request"),
        (messages(&["facebook_user-1001"]), 400, "unsupported_use"),
        (messages(&["x_profile-42#TOKEN"]), 404, "not_found"),
    ] {
        println!("{rule}");
        alice.post("/v1/rules", rule).await.refused(status, code);
    }
    for (path, change, status, code) in [
        (&of_search, json!({}), 400, "invalid_request"),
        (&of_search, json!({ "topic": null }), 400, "invalid_request"),
        (&of_search, json!({ "topic": "" }), 400, "invalid_request"),
        (&of_search, json!({ "topic": "y", "use": "private_messages" }), 400, "invalid_request"),
        (&of_search, json!({ "topic": "y", "network": "x" }), 400, "unsupported_use"),
        (&of_search, json!({ "topic": "y", "profile_ids": ["x_profile-42"] }), 400, "invalid_request"),
        (&of_messages, json!({ "topic": "y", "network": "facebook" }), 400, "invalid_request"),
        (&of_messages, json!({ "topic": "y", "profile_ids": [] }), 400, "invalid_request"),
        (&of_messages, json!({ "topic": "y", "owner": "alice" }), 400, "invalid_request"),
    ] {
        println!("{path} {change}");
        alice.patch(path, change).await.refused(status, code);
    }
    assert_eq!(listed(&alice).await, before);
}

#[tokio::test]
async fn an_answer_that_was_lost_on_the_way_makes_no_second_rule() {
    let world = World::start().await;
    let alice = world.person("alice");
    world.fault(json!({ "target": "dynamodb/PutItem", "mode": "lost_reply", "times": 1 })).await;
    let rule = alice.post("/v1/rules", search("Floods")).await.expect(201);
    assert_eq!(listed(&alice).await, [rule]);
}
