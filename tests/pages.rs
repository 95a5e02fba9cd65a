//! Facebook Pages: several in one sign-in, chosen from those that the person administers.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    leases::whoami_at,
    support::{Landing, World, days, minutes},
};

#[tokio::test]
async fn a_person_chooses_among_all_pages_and_sees_why_some_cannot_be_connected() {
    let world = World::start().await;
    let alice = world.person("alice");
    let session = alice.begin("facebook_page", "interaction").await;
    let landing = alice.approve(&session, "alice.meyer").await;
    let seen = alice.look(&session).await;
    let candidates: Vec<_> = seen["candidates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|candidate| (candidate["profile_id"].as_str().unwrap().to_owned(), candidate["reason"].clone()))
        .collect();
    let page = |id: u32, reason: Value| (format!("facebook_page-{id}"), reason);
    assert_eq!(
        candidates,
        [
            page(2001, Value::Null),
            page(2002, Value::Null),
            page(2003, json!("role_missing")),
            page(2004, json!("role_missing")),
        ]
    );
    assert_eq!(alice.get("/v1/profiles").await.expect(200)["items"], json!([]), "nothing exists yet");

    for (selected, status, code) in [
        (vec![], 400, "invalid_request"),
        (vec!["facebook_page-9999"], 400, "invalid_request"),
        (vec!["facebook_user-1001"], 400, "invalid_request"),
        (vec!["facebook_page-2001", "facebook_page-2003"], 409, "not_connectable"),
    ] {
        alice.complete_with(&landing, &selected).await.refused(status, code);
    }
    alice.complete(&landing).await.refused(400, "invalid_request");
    assert_eq!(alice.get("/v1/profiles").await.expect(200)["items"], json!([]), "all that was selected, or nothing");

    let connected = alice.complete_with(&landing, &["facebook_page-2002", "facebook_page-2001"]).await.expect(200);
    let ids: Vec<_> = connected["profiles"].as_array().unwrap().iter().map(|profile| &profile["id"]).collect();
    assert_eq!(ids, ["facebook_page-2001", "facebook_page-2002"]);
    assert_eq!(alice.look(&session).await["candidates"], json!([]), "it is chosen");
    alice.complete_with(&landing, &["facebook_page-2001"]).await.refused(409, "already_completed");

    // each Page has a token of its own, and it works there
    let worker = world.person("acme-worker");
    for id in ["2001", "2002"] {
        let order = json!({ "use": "publish", "profile_id": format!("facebook_page-{id}") });
        let lease = worker.post("/v1/leases", order).await.expect(201);
        assert!(lease["params"]["appsecret_proof"].is_string(), "{lease}");
        let answer = whoami_at(&world, &format!("graph.facebook.com/v26.0/{id}"), &lease).await;
        assert_eq!(answer.expect(200)["id"], id);
    }
}

#[tokio::test]
async fn a_long_list_of_pages_is_read_to_its_end() {
    let world = World::start().await;
    let alice = world.person("alice");
    let session = alice.begin("facebook_page", "interaction").await;
    let landing = alice.approve(&session, "pat.agency").await;
    let candidates = alice.look(&session).await["candidates"].as_array().unwrap().clone();
    assert_eq!(candidates.len(), 8);
    let ids: Vec<_> = candidates.iter().map(|candidate| candidate["profile_id"].as_str().unwrap()).collect();
    let connected = alice.complete_with(&landing, &ids).await.expect(200);
    assert_eq!(connected["profiles"].as_array().unwrap().len(), 8);
}

#[tokio::test]
async fn whoever_administers_no_page_is_told_so_and_nothing_is_kept() {
    let world = World::start().await;
    let alice = world.person("alice");
    let session = alice.begin("facebook_page", "interaction").await;
    let callback = alice.decide(&session, "approve", "unknown.expiry").await;
    let landing = Landing(alice.browser.get(callback.as_str()).await.location());
    assert_eq!(landing.error(), "no_account");
    let words = alice.look(&session).await["error"]["detail"].as_str().unwrap().to_owned();
    assert!(words.contains("has no Facebook Page there"), "{words}");
}

#[tokio::test]
async fn a_page_is_reauthenticated_by_whoever_administers_it_and_by_nobody_else() {
    let world = World::start().await;
    let alice = world.person("alice");
    alice.connect_pages("alice.meyer", &["facebook_page-2001"]).await;
    let session = alice.begin_again("facebook_page-2001", "interaction").await;
    let callback = alice.decide(&session, "approve", "pat.agency").await;
    assert_eq!(Landing(alice.browser.get(callback.as_str()).await.location()).error(), "foreign_account");
    let words = alice.look(&session).await["error"]["detail"].as_str().unwrap().to_owned();
    assert!(words.contains("Pat") && words.contains("was not among those"), "it names both: {words}");

    // another administrator of the same Page makes a co-owner of who signs in
    let bob = world.person("bob");
    let session = bob.begin_again("facebook_page-2001", "interaction").await;
    let landing = bob.approve(&session, "bob.stone").await;
    assert_eq!(bob.look(&session).await["candidates"], json!([]), "there is nothing to choose");
    let profile = bob.complete(&landing).await.expect(200)["profiles"][0].clone();
    assert_eq!((&profile["owners"], profile["tokens"].as_array().unwrap().len()), (&json!(["alice", "bob"]), 2));
}

// S37
#[tokio::test]
async fn deleting_a_page_leaves_the_other_pages_of_the_same_person_alone() {
    let world = World::start().await;
    let alice = world.person("alice");
    alice.connect_pages("alice.meyer", &["facebook_page-2001", "facebook_page-2002"]).await;
    assert_eq!(alice.delete("/v1/profiles/facebook_page-2001").await.expect(200)["revocation"], "shared");
    let worker = world.person("acme-worker");
    let order = json!({ "use": "publish", "profile_id": "facebook_page-2002" });
    worker.post("/v1/leases", order.clone()).await.expect(201);
    assert_eq!(alice.delete("/v1/profiles/facebook_page-2002").await.expect(200)["revocation"], "revoked");
    assert!(!world.sandbox.networks().grants("facebook", "alice.meyer")[0].live);
}

// S52, S64
#[tokio::test]
async fn pages_whose_tokens_cannot_be_had_now_can_be_chosen_again() {
    let world = World::start().await;
    let alice = world.person("alice");
    let session = alice.begin("facebook_page", "interaction").await;
    let landing = alice.approve(&session, "alice.meyer").await;
    for (fault, status, code) in [
        (json!({ "target": "facebook/page", "mode": "status", "status": 503 }), 503, "unavailable"),
        (json!({ "target": "facebook/page", "mode": "reset" }), 503, "unavailable"),
        (json!({ "target": "facebook/debug_token", "mode": "throttle" }), 429, "rate_limited"),
        (json!({ "target": "facebook/page", "mode": "garbage" }), 409, "not_connectable"),
    ] {
        let mut lasting = fault;
        lasting["times"] = json!(1_000);
        world.fault(lasting).await;
        alice.complete_with(&landing, &["facebook_page-2001"]).await.refused(status, code);
        world.no_faults().await;
    }
    alice.complete_with(&landing, &["facebook_page-2001"]).await.expect(200);
}

#[tokio::test]
async fn a_page_token_that_the_network_refuses_is_derived_again_once() {
    let world = World::start().await;
    let alice = world.person("alice");
    alice.connect_pages("alice.meyer", &["facebook_page-2001"]).await;
    let worker = world.person("acme-worker");
    let order = json!({ "use": "publish", "profile_id": "facebook_page-2001" });
    let lease = worker.post("/v1/leases", order.clone()).await.expect(201);
    world.happens("facebook", "alice.meyer", json!({ "event": "expired", "page": "2001" })).await;
    let refused = json!({ "outcome": "unauthorized", "http_status": 400,
        "body": { "error": { "code": 190, "error_subcode": 463 } } });
    assert_eq!(worker.report(&lease, refused).await["effect"], "refreshed");
    let renewed = worker.post("/v1/leases", order).await.expect(201);
    assert_ne!(renewed["access_token"], lease["access_token"]);
    let answer = whoami_at(&world, "graph.facebook.com/v26.0/2001", &renewed).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    world.later(minutes(5)).await.sweep().await;
    assert_eq!(world.mails().await.len(), 0);
}

#[tokio::test]
async fn pages_that_nobody_chose_in_time_are_forgotten_and_their_grant_revoked() {
    let world = World::start().await;
    let alice = world.person("alice");
    let session = alice.begin("facebook_page", "interaction").await;
    let landing = alice.approve(&session, "alice.meyer").await;
    world.later(minutes(11)).await;
    alice.complete_with(&landing, &["facebook_page-2001"]).await.refused(410, "session_expired");
    assert_eq!(world.sweep().await["revoked"], 1);
    assert!(!world.sandbox.networks().grants("facebook", "alice.meyer")[0].live);
    world.later(days(1)).await.sweep().await;
    assert_eq!(world.mails().await.len(), 0);
}
