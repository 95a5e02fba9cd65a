//! What administrators set: who may, what is taken, and from when on it counts.

use serde_json::{Value, json};

use crate::support::{World, days, minutes};

/// Settings that anybody may have, with `field` set to `value`.
fn with(field: &str, value: Value) -> Value {
    let mut settings = json!({ "ladder_days": [30, 15, 7, 3, 1], "administrators": [], "privacy_url": null,
        "reauthenticate_url": null });
    settings[field] = value;
    settings
}

/// When the only token of the world comes up, as the index knows it.
async fn due_at(world: &World) -> i64 {
    let rows = world.rows("Vault").await;
    let token = rows.iter().find(|row| row["sk"].as_s().unwrap().starts_with("TOKEN#")).unwrap();
    token["due_at"].as_n().unwrap().parse().unwrap()
}

// S31, S36
#[tokio::test]
async fn administrators_set_for_their_own_organisation_and_nobody_else_sees_it() {
    let world = World::start().await;
    let (dora, erin) = (world.person("dora"), world.person("erin"));
    let first = dora.get("/v1/settings").await.expect(200);
    assert_eq!(first, with("administrators", json!([])));

    let mut wanted = with("administrators", json!(["ops@acme.example", "dora@acme.example"]));
    wanted["ladder_days"] = json!([1, 60, 14]);
    wanted["privacy_url"] = json!("https://acme.example/privacy");
    wanted["reauthenticate_url"] = json!(world.url("/console"));
    let mut expected = wanted.clone();
    expected["ladder_days"] = json!([60, 14, 1]);
    assert_eq!(dora.put("/v1/settings", wanted.clone()).await.expect(200), expected);
    assert_eq!(dora.get("/v1/settings").await.expect(200), expected);
    assert_eq!(erin.get("/v1/settings").await.expect(200), first, "another organisation's are its own");
    for name in ["alice", "bob", "carol"] {
        let person = world.person(name);
        person.get("/v1/settings").await.refused(403, "forbidden");
        person.put("/v1/settings", wanted.clone()).await.refused(403, "forbidden");
    }

    for (field, value, code) in [
        ("ladder_days", json!([]), "invalid_request"),
        ("ladder_days", json!([0]), "invalid_request"),
        ("ladder_days", json!([400]), "invalid_request"),
        ("ladder_days", json!([7, 7]), "invalid_request"),
        ("ladder_days", json!((1..=11).collect::<Vec<_>>()), "invalid_request"),
        ("ladder_days", json!(["30"]), "invalid_request"),
        ("administrators", json!(["ops"]), "invalid_request"),
        ("administrators", json!(["ops@acme.example", "OPS@acme.example"]), "invalid_request"),
        ("privacy_url", json!("http://acme.example/"), "invalid_request"),
        ("privacy_url", json!("https://user@acme.example/"), "invalid_request"),
        ("reauthenticate_url", json!("https://evil.example/"), "return_url_not_registered"),
        ("tenant", json!("globex"), "invalid_request"),
    ] {
        dora.put("/v1/settings", with(field, value)).await.refused(400, code);
    }
    assert_eq!(dora.get("/v1/settings").await.expect(200), expected, "what was refused changed nothing");
}

#[tokio::test]
async fn a_changed_ladder_reaches_what_was_connected_before_and_says_nothing_of_the_past() {
    let world = World::start().await;
    let (alice, dora) = (world.person("alice"), world.person("dora"));
    let profile = alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    let end: jiff::Timestamp = profile["tokens"][0]["expires_at"].as_str().unwrap().parse().unwrap();
    world.until(end - days(30)).await.sweep().await;
    assert_eq!(world.mails().await.len(), 1);

    // 28 days are left: 29 and 40 are past and never speak, 25 and 15 will
    world.until(end - days(28)).await;
    assert_eq!(due_at(&world).await, (end - days(15)).as_second());
    dora.put("/v1/settings", with("ladder_days", json!([40, 29, 25, 15]))).await.expect(200);
    world.sweep().await;
    assert_eq!(due_at(&world).await, (end - days(15)).as_second(), "whoever goes by the old ladder may still be at it");
    for _ in 0..3 {
        world.later(minutes(1)).await.sweep().await;
    }
    assert_eq!(due_at(&world).await, (end - days(25)).as_second());
    assert_eq!(world.mails().await.len(), 1, "nothing is said of the past");
    for (left, mails) in [(25, 2), (15, 3), (7, 3), (3, 3)] {
        world.until(end - days(left)).await.sweep().await;
        assert_eq!(world.mails().await.len(), mails, "{left} days left");
    }

    // what everybody sees goes by it too
    let state = async || alice.get("/v1/profiles/facebook_user-1001").await.expect(200)["tokens"][0]["state"].clone();
    assert_eq!(state().await, "expiring");
    dora.put("/v1/settings", with("ladder_days", json!([1]))).await.expect(200);
    assert_eq!(state().await, "active");
}

// S57
#[tokio::test]
async fn a_ladder_spreads_page_by_page_and_goes_on_where_a_sweep_stopped() {
    let world = World::start().await;
    let (alice, dora) = (world.person("alice"), world.person("dora"));
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    let rows = world.rows("Vault").await;
    let token = rows.iter().find(|row| row["sk"].as_s().unwrap().starts_with("TOKEN#")).unwrap();
    world.sandbox.cloud().import("Vault", crate::capacity::more_like(token, 5_000, 249, &[])).unwrap();
    let before = due_at(&world).await;
    let late = async || {
        let rows = world.rows("Vault").await;
        let due = rows.iter().filter(|row| row["sk"].as_s().unwrap().starts_with("TOKEN#"));
        due.filter(|row| row["due_at"].as_n().unwrap() == &before.to_string()).count()
    };
    dora.put("/v1/settings", with("ladder_days", json!([50, 30]))).await.expect(200);
    world.later(minutes(1)).await;
    // the second page cannot be noted: the next sweep goes on after the first
    world.forget_calls().await;
    tokio::select! {
        summary = world.sandbox.tick("expiry-sweep") => panic!("it was not killed: {summary:?}"),
        () = async {
            while late().await > 100 { tokio::task::yield_now().await; }
        } => {}
    }
    let left = late().await;
    assert!((1..=100).contains(&left), "{left} of 250");
    world.forget_calls().await;
    world.sweep().await;
    assert_eq!(late().await, 0);
    let read = world.calls("dynamodb/GetItem").await;
    assert!(read < 160, "what was reached before is not gone through again: {read} reads");
    world.forget_calls().await;
    world.later(minutes(5)).await.sweep().await;
    assert!(world.calls("dynamodb/GetItem").await < 3, "and that was all");
}

// S20
#[tokio::test]
async fn a_mail_leads_where_the_organisation_says_if_the_operator_registered_it() {
    let world = World::start().await;
    let (alice, dora) = (world.person("alice"), world.person("dora"));
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    dora.put("/v1/settings", with("reauthenticate_url", json!(world.url("/")))).await.expect(200);
    world.later(days(31)).await.sweep().await;
    let mails = world.mails().await;
    let text = mails[0]["text"].as_str().unwrap();
    let link = format!("{}?profile=facebook_user-1001&token=acquisition", world.url("/"));
    assert!(text.contains(&link), "{text}");
}

#[tokio::test]
async fn the_privacy_statement_comes_with_a_session() {
    let world = World::start().await;
    let (alice, dora) = (world.person("alice"), world.person("dora"));
    let wanted = json!({ "kind": "x_profile", "token": "interaction", "return_url": world.return_url() });
    let begun = alice.post("/v1/connect-sessions", wanted.clone()).await.expect(201);
    assert_eq!(begun["privacy_url"], Value::Null);
    let statement = "https://acme.example/privacy";
    dora.put("/v1/settings", with("privacy_url", json!(statement))).await.expect(200);
    let begun = alice.post("/v1/connect-sessions", wanted).await.expect(201);
    assert_eq!(begun["privacy_url"], statement);
    let seen = alice.get(&format!("/v1/connect-sessions/{}", begun["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(seen["privacy_url"], statement);
}
