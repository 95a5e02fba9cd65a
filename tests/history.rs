//! Who did what to which token.

use serde_json::{Value, json};

use crate::support::{Person, World, days, minutes};

async fn lines(person: &Person, query: &str) -> Vec<Value> {
    person.get(&format!("/v1/history{query}")).await.expect(200)["items"].as_array().unwrap().clone()
}

/// What happened, oldest first, and who did it.
fn deeds(lines: &[Value]) -> Vec<(String, Option<String>)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    lines.iter().rev().map(|line| (text(&line["event"]).unwrap(), text(&line["by"]))).collect()
}

fn by<'a>(who: &'a str, events: &[&'a str]) -> Vec<(String, Option<String>)> {
    events.iter().map(|event| ((*event).to_owned(), (!who.is_empty()).then(|| who.to_owned()))).collect()
}

#[tokio::test]
async fn the_history_tells_who_did_what_and_what_happened_by_itself() {
    let world = World::start().await;
    let (alice, dora, worker) = (world.person("alice"), world.person("dora"), world.person("acme-worker"));
    let facebook = "/v1/profiles/facebook_user-1001";
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    let token = format!("{facebook}/tokens/acquisition-alice");
    alice.patch(&token, json!({ "allow": { "search_acquisition": true } })).await.expect(200);
    world.later(days(31)).await.sweep().await;
    let session = alice.begin_again("facebook_user-1001", "acquisition").await;
    let landing = alice.approve(&session, "alice.meyer").await;
    alice.complete(&landing).await.expect(200);
    world.later(days(61)).await.sweep().await;
    alice.delete(facebook).await.expect(200);
    let told = lines(&dora, "").await;
    let mut expected = by("alice", &["connected", "allowed"]);
    expected.extend(by("", &["warned"]));
    expected.extend(by("alice", &["reauthenticated"]));
    expected.extend(by("", &["acquisition_worsened", "expired"]));
    expected.extend(by("alice", &["token_deleted", "profile_deleted"]));
    let mut seen = deeds(&told);
    seen[4..6].sort();
    assert_eq!(seen, expected);
    let allowed = &told[told.len() - 2];
    assert_eq!(allowed["allow"], json!({ "search_acquisition": true }));
    assert_eq!(
        (&allowed["profile_id"], &allowed["token_id"]),
        (&json!("facebook_user-1001"), &json!("acquisition-alice"))
    );

    // what happens often is summed up, a line for each token and day
    world.later(days(1)).await;
    alice.connect("x_profile", "interaction", "newsdesk").await;
    let rule =
        dora.post("/v1/rules", json!({ "topic": "A", "use": "private_messages", "profile_ids": ["x_profile-42"] }));
    let rule = format!("/v1/rules/{}", rule.await.expect(201)["id"].as_str().unwrap());
    dora.patch(&rule, json!({ "topic": "B" })).await.expect(200);
    dora.delete(&rule).await.expect(200);
    let settings = dora.get("/v1/settings").await.expect(200);
    dora.put("/v1/settings", settings).await.expect(200);
    for (wait, outcome) in [(1, "succeeded"), (125, "succeeded"), (125, "failed")] {
        world.later(minutes(wait)).await;
        let lease =
            worker.post("/v1/leases", json!({ "use": "publish", "profile_id": "x_profile-42" })).await.expect(201);
        let report = format!("/v1/leases/{}/report", lease["id"].as_str().unwrap());
        worker.post(&report, json!({ "outcome": outcome })).await.expect(200);
    }
    let of_x = lines(&dora, "?profile_id=x_profile-42").await;
    let sum = |event: &str, name: &str| -> u64 {
        let of = of_x.iter().filter(|line| line["event"] == event);
        of.map(|line| line[name].as_u64().unwrap()).sum()
    };
    assert_eq!((sum("leased", "times"), sum("leased", "failures"), sum("refreshed", "times")), (3, 1, 2), "{of_x:#?}");
    let leased = of_x.iter().find(|line| line["event"] == "leased").unwrap();
    assert_eq!((&leased["by"], &leased["token_id"]), (&json!("acme-worker"), &json!("interaction-alice")));
    assert!(of_x.iter().all(|line| line["profile_id"] == "x_profile-42"));
    let doras: Vec<_> = lines(&dora, "").await.into_iter().filter(|line| line["by"] == "dora").collect();
    assert_eq!(deeds(&doras), by("dora", &["rule_created", "rule_changed", "rule_deleted", "settings_changed"]));

    // nobody else sees it, and another organisation has its own
    for name in ["alice", "bob", "carol"] {
        world.person(name).get("/v1/history").await.refused(403, "forbidden");
    }
    assert_eq!(lines(&world.person("erin"), "").await, [] as [Value; 0]);
    for query in ["?profile_id=nobody", "?next=a%23b", "?list=all"] {
        dora.get(&format!("/v1/history{query}")).await.refused(400, "invalid_request");
    }
}

#[tokio::test]
async fn a_long_history_comes_in_pages_newest_first() {
    let world = World::start().await;
    let dora = world.person("dora");
    let settings = dora.get("/v1/settings").await.expect(200);
    for _ in 0..60 {
        dora.put("/v1/settings", settings.clone()).await.expect(200);
    }
    let (mut seen, mut query) = (Vec::new(), String::new());
    loop {
        let page = dora.get(&format!("/v1/history{query}")).await.expect(200);
        seen.extend(page["items"].as_array().unwrap().iter().map(|line| line["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        query = format!("?next={next}");
    }
    assert_eq!(seen.len(), 60);
    assert!(seen.is_sorted_by(|newer, older| newer > older));
}

#[tokio::test]
async fn a_line_that_cannot_be_written_stops_nobody_and_a_line_is_kept_for_400_days() {
    let world = World::start().await;
    let (alice, dora) = (world.person("alice"), world.person("dora"));
    alice.connect("x_profile", "interaction", "newsdesk").await;
    let rows = world.rows("Vault").await;
    let line = rows.iter().find(|row| row["sk"].as_s().unwrap().starts_with("HISTORY#")).unwrap();
    let until = world.sandbox.clock().now().as_second() + 400 * 24 * 60 * 60;
    let ttl: i64 = line["ttl"].as_n().unwrap().parse().unwrap();
    assert!((until - 60..=until).contains(&ttl), "{ttl}");

    world.fault(json!({ "target": "dynamodb/PutItem", "mode": "status", "status": 500, "times": 9 })).await;
    alice.delete("/v1/profiles/x_profile-42/tokens/interaction-alice").await.expect(200);
    world.no_faults().await;
    assert_eq!(deeds(&lines(&dora, "").await), by("alice", &["connected"]));
}
