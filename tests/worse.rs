//! Acquisition that gets worse: who is told, and that it is once; and what administrators are told of everything.

use reqwest::Method;
use serde_json::{Value, json};
use shared::{
    store::{Spread, profiles::TokenKey, profiles::Vault},
    token::Reason,
};

use crate::sweep::errands::ByHand;
use crate::{
    capacity::more_like,
    support::{Person, World, days, minutes},
};

const FACEBOOK: &str = "facebook_user-1001";

/// Connects an acquisition token of a person and allows it; tells the profile.
async fn acquire(person: &Person, account: &str) -> String {
    let profile = person.connect("facebook_user", "acquisition", account).await["id"].as_str().unwrap().to_owned();
    allow(person, &profile, true).await;
    profile
}

async fn allow(person: &Person, profile: &str, on: bool) {
    let path = format!("/v1/profiles/{profile}/tokens/acquisition-{}", person.name);
    person.patch(&path, json!({ "allow": { "search_acquisition": on } })).await.expect(200);
}

/// Signs in again for a person's acquisition token.
async fn renew(person: &Person, profile: &str, account: &str) {
    let session = person.begin_again(profile, "acquisition").await;
    let landing = person.approve(&session, account).await;
    person.complete(&landing).await.expect(200);
}

/// The network says that a person's acquisition token is dead.
async fn die(world: &World, person: &Person, profile: &str) {
    let vault = Vault::new(world.sandbox.aws_config(), "Vault", Spread::new(4, 0));
    let key = TokenKey {
        tenant: "acme".parse().unwrap(),
        profile: profile.parse().unwrap(),
        token: format!("acquisition-{}", person.name).parse().unwrap(),
    };
    let held = vault.token(&key).await.unwrap().unwrap();
    vault.die(&key, &held, Reason::RevokedByUser, world.sandbox.clock().now()).await.unwrap();
}

/// Makes addresses the administrators' of acme.
async fn appoint(world: &World, addresses: &[&str]) {
    let settings = json!({ "ladder_days": [30, 15, 7, 3, 1], "administrators": addresses });
    world.person("dora").put("/v1/settings", settings).await.expect(200);
}

async fn kinds(person: &Person) -> Vec<String> {
    let notices = person.get("/v1/notices").await.expect(200);
    notices["items"].as_array().unwrap().iter().map(|notice| notice["kind"].as_str().unwrap().to_owned()).collect()
}

/// The mails whose subject has these words, as their recipients.
async fn mailed(world: &World, words: &str) -> Vec<Value> {
    let mails = world.mails().await.into_iter();
    mails.filter(|mail| mail["subject"].as_str().unwrap().contains(words)).map(|mail| mail["to"].clone()).collect()
}

/// Lets an hour pass and sweeps, twice: whatever is to be mailed is mailed.
async fn settle(world: &World) {
    for _ in 0..2 {
        world.later(minutes(61)).await.sweep().await;
    }
}

// S56, S59
#[tokio::test]
async fn each_change_for_the_worse_is_told_once_to_owners_and_administrators_and_none_for_the_better() {
    let world = World::start().await;
    let (alice, bob, carol, dora) =
        (world.person("alice"), world.person("bob"), world.person("carol"), world.person("dora"));
    appoint(&world, &["ops@acme.example", "chief@acme.example"]).await;
    acquire(&alice, "alice.meyer").await;
    let bobs = acquire(&bob, "bob.stone").await;
    settle(&world).await;
    assert_eq!((world.mails().await.len(), kinds(&dora).await.len()), (0, 0), "from red to green nobody is told");

    let (yellow, red) = ("lives on one token", "has stopped");
    let told = async |words: &str| mailed(&world, words).await.len();
    die(&world, &alice, FACEBOOK).await;
    settle(&world).await;
    assert_eq!((told(yellow).await, told(red).await), (3, 0), "alice, bob and the administrators");
    let people = json!(["ops@acme.example", "chief@acme.example"]);
    assert!(mailed(&world, yellow).await.contains(&people), "in one mail");
    assert_eq!(kinds(&bob).await, ["acquisition_yellow"]);
    assert_eq!(kinds(&alice).await, ["acquisition_yellow", "token_needs_reauth"]);
    assert_eq!(kinds(&dora).await, ["acquisition_yellow", "token_needs_reauth"], "an administrator sees the tenant's");
    assert!(kinds(&carol).await.is_empty());

    allow(&bob, &bobs, false).await;
    settle(&world).await;
    assert_eq!((told(yellow).await, told(red).await), (3, 3));
    renew(&alice, FACEBOOK, "alice.meyer").await;
    settle(&world).await;
    assert_eq!((told(yellow).await, told(red).await), (3, 3), "from red to yellow nobody is told");
    allow(&bob, &bobs, true).await;
    settle(&world).await;
    assert_eq!((told(yellow).await, told(red).await), (3, 3));

    // the next time is another time; what falls to red at once is red alone
    bob.delete(&format!("/v1/profiles/{bobs}")).await.expect(200);
    settle(&world).await;
    assert_eq!((told(yellow).await, told(red).await), (5, 3), "bob has nothing there any more");
    die(&world, &alice, FACEBOOK).await;
    for _ in 0..3 {
        settle(&world).await;
    }
    assert_eq!((told(yellow).await, told(red).await), (5, 5));

    let notices = dora.get("/v1/notices").await.expect(200);
    let newest = &notices["items"][0];
    assert_eq!((&newest["kind"], &newest["network"]), (&json!("acquisition_red"), &json!("facebook")), "{newest}");
    assert!(newest["detail"].as_str().unwrap().contains("lost for good") && newest["profile_id"].is_null());
    let path = format!("/v1/notices/{}/dismiss", newest["id"].as_str().unwrap());
    bob.api(Method::POST, &path, json!({})).await.refused(404, "not_found");
    assert_eq!(dora.post(&path, json!({})).await.expect(200)["dismissed"], true);
    assert_eq!(dora.get("/v1/notices").await.expect(200)["items"][0]["dismissed"], true);
}

// S59
#[tokio::test]
async fn sweeps_that_look_at_once_tell_it_once() {
    let world = World::start().await;
    let (alice, dora) = (world.person("alice"), world.person("dora"));
    appoint(&world, &["ops@acme.example"]).await;
    acquire(&alice, "alice.meyer").await;
    settle(&world).await;
    die(&world, &alice, FACEBOOK).await;
    world.later(minutes(61)).await;
    let sweep = ByHand::of(&world);
    sweep.dispatch().await;
    let messages = sweep.sent();
    let work = || sweep.deliver(&messages);
    let swept = tokio::join!(work(), work(), work(), work());
    for summary in [swept.0, swept.1, swept.2, swept.3] {
        assert_eq!(summary["failed"], 0);
    }
    settle(&world).await;
    assert_eq!(mailed(&world, "has stopped").await.len(), 2, "alice and the administrators");
    assert_eq!(kinds(&dora).await, ["acquisition_red", "token_needs_reauth"]);
}

#[tokio::test]
async fn when_time_takes_the_last_token_the_same_letter_says_that_acquisition_has_stopped() {
    let world = World::start().await;
    let alice = world.person("alice");
    acquire(&alice, "alice.meyer").await;
    settle(&world).await;
    world.later(days(61)).await;
    let summary = world.sweep().await;
    assert_eq!((&summary["expired"], &summary["worsened"], &summary["mailed"]), (&json!(1), &json!(1), &json!(1)));
    let subject = world.mails().await[0]["subject"].as_str().unwrap().to_owned();
    assert_eq!(
        subject,
        "Acquisition at Facebook has stopped; Alice Meyer (Facebook profile): sign in again, access ended"
    );
}

// S52
#[tokio::test]
async fn a_limit_or_an_outage_changes_no_colour_and_mails_nobody() {
    let world = World::start().await;
    let alice = world.person("alice");
    acquire(&alice, "alice.meyer").await;
    let rule = json!({ "topic": "Floods", "use": "search_acquisition", "network": "facebook" });
    let rule = alice.post("/v1/rules", rule).await.expect(201);
    settle(&world).await;
    let worker = world.person("acme-worker");
    let lease = json!({ "use": "search_acquisition", "network": "facebook", "rule_id": rule["id"] });
    let lease = worker.post("/v1/leases", lease).await.expect(201);
    let report = format!("/v1/leases/{}/report", lease["id"].as_str().unwrap());
    worker.post(&report, json!({ "outcome": "rate_limited" })).await.expect(200);
    world.fault(json!({ "target": "facebook/me", "mode": "status", "status": 503, "times": 9 })).await;
    worker.post(&report, json!({ "outcome": "unauthorized" })).await.expect(200);
    settle(&world).await;
    assert_eq!((world.mails().await.len(), kinds(&alice).await.len()), (0, 0));
    assert_eq!(alice.get("/v1/health").await.expect(200)["networks"][0]["acquisition"], "yellow");
}

// S57, S59
#[tokio::test]
async fn many_owners_are_told_in_portions_and_each_once() {
    let world = World::start().await;
    let alice = world.person("alice");
    acquire(&alice, "alice.meyer").await;
    settle(&world).await;
    let rows = world.rows("Vault").await;
    let row = |sort: &str| rows.iter().find(|row| row["sk"].as_s().unwrap().starts_with(sort)).unwrap();
    // sixty people with a token that they have not allowed
    let names: Vec<String> = (0..60).map(|name| format!("person-{name}")).collect();
    let mut token = row("TOKEN#").clone();
    token.remove("pool");
    let off = aws_sdk_dynamodb::types::AttributeValue::Bool(false);
    let allow = [("search_acquisition".to_owned(), off.clone()), ("private_messages".to_owned(), off)];
    token.insert("allow".to_owned(), aws_sdk_dynamodb::types::AttributeValue::M(allow.into()));
    world.sandbox.cloud().import("Vault", more_like(&token, 5_000, 60, &names)).unwrap();
    die(&world, &alice, FACEBOOK).await;
    for _ in 0..3 {
        world.later(minutes(5)).await.sweep().await;
    }
    let told: Vec<_> = world.rows("Vault").await;
    let told = told.iter().filter(|row| row["sk"].as_s().unwrap().starts_with("NOTICE#"));
    let mut keys: Vec<_> = told.map(|row| row["sk"].as_s().unwrap().clone()).collect();
    keys.retain(|key| key.contains("acquisition_facebook_red"));
    assert_eq!(keys.len(), 62, "sixty, alice, and the administrators");
    let arrivals = world.rows("Vault").await;
    let outboxes = arrivals.iter().filter(|row| row["pk"].as_s().unwrap().contains("#O#person-"));
    assert!(outboxes.filter_map(|row| row.get("arrivals")).all(|arrivals| arrivals.as_n().unwrap() == "1"));
}

// S59
#[tokio::test]
async fn administrators_read_of_every_token_and_whose_it_is_and_an_owner_among_them_once() {
    let world = World::start().await;
    let (alice, dora) = (world.person("alice"), world.person("dora"));
    appoint(&world, &["ops@acme.example", "DORA@acme.example"]).await;
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    dora.connect("facebook_user", "acquisition", "bob.stone").await;
    world.later(days(31)).await;
    let summary = world.sweep().await;
    assert_eq!((&summary["warned"], &summary["mailed"]), (&json!(2), &json!(2)), "{summary}");
    let mails = world.mails().await;
    let administrators = json!(["ops@acme.example", "DORA@acme.example"]);
    let theirs: Vec<_> = mails.iter().filter(|mail| mail["to"] == administrators).collect();
    let [digest] = theirs[..] else { panic!("one digest: {mails:#?}") };
    for part in ["text", "html"] {
        let part = digest[part].as_str().unwrap();
        for name in ["alice@acme.example", "dora@acme.example"] {
            assert!(part.contains(&format!("The access by {name} that reads public posts")), "{part}");
        }
    }
    assert!(mails.iter().all(|mail| mail["to"] != json!(["dora@acme.example"])), "not a second time: {mails:#?}");
    assert_eq!(
        kinds(&dora).await,
        ["token_expiring", "token_expiring"],
        "hers, and what the tenant is told of alice's"
    );
    assert_eq!(kinds(&alice).await, ["token_expiring"]);

    // the same tick again, an hour, a day: no step is said twice
    for wait in [0, 5, 61, 24 * 60] {
        world.later(minutes(wait)).await.sweep().await;
    }
    assert_eq!(world.mails().await.len(), 2);
}

// S59, S61
#[tokio::test]
async fn the_administrators_mail_is_late_or_unanswered_like_any_other() {
    let world = World::start().await;
    let alice = world.person("alice");
    appoint(&world, &["ops@acme.example"]).await;
    let profile = alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    let end: jiff::Timestamp = profile["tokens"][0]["expires_at"].as_str().unwrap().parse().unwrap();
    let theirs = async || {
        let mails = world.mails().await;
        mails.iter().filter(|mail| mail["to"] == json!(["ops@acme.example"])).count()
    };
    for (left, mode, at_once, at_last) in [(30, "throttle", 0, 1), (15, "lost_reply", 2, 2)] {
        world.until(end - days(left)).await;
        // both mails of the sweep meet it
        world.fault(json!({ "target": "ses/SendRawEmail", "mode": mode, "times": 2 })).await;
        world.sweep().await;
        assert_eq!(theirs().await, at_once, "{mode}");
        for wait in [10, 61, 61] {
            world.later(minutes(wait)).await.sweep().await;
        }
        assert_eq!(theirs().await, at_last, "{mode}");
    }
    assert_eq!(world.mails().await.len(), 4);
}

#[tokio::test]
async fn what_was_not_mailed_to_administrators_is_mailed_to_an_owner_who_became_one() {
    let world = World::start().await;
    let alice = world.person("alice");
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    world.fault(json!({ "target": "ses/SendRawEmail", "mode": "throttle", "times": 1 })).await;
    world.later(days(31)).await.sweep().await;
    appoint(&world, &["alice@acme.example"]).await;
    world.later(minutes(5)).await.sweep().await;
    assert_eq!(world.mails().await.len(), 1);
}

#[tokio::test]
async fn a_deletion_warns_when_acquisition_lived_on_that_token_alone_in_the_whole_organisation() {
    let world = World::start().await;
    let (alice, bob) = (world.person("alice"), world.person("bob"));
    acquire(&alice, "alice.meyer").await;
    let bobs = acquire(&bob, "bob.stone").await;
    let token = |profile: &str, name: &str| format!("/v1/profiles/{profile}/tokens/acquisition-{name}");
    let deleted = bob.delete(&token(&bobs, "bob")).await.expect(200);
    assert_eq!(deleted["warnings"], json!([]), "alice's is left");
    let deleted = alice.delete(&format!("/v1/profiles/{FACEBOOK}")).await.expect(200);
    let [warning] = deleted["warnings"].as_array().unwrap().as_slice() else { panic!("one warning: {deleted}") };
    assert!(
        warning.as_str().unwrap().contains("the last valid token that acquisition at Facebook lived on"),
        "{warning}"
    );

    // what works for nothing is missed by nobody
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    assert_eq!(alice.delete(&token(FACEBOOK, "alice")).await.expect(200)["warnings"], json!([]));
}

#[tokio::test]
async fn an_administrator_pages_through_both_kinds_of_notices_and_sees_each_once() {
    let world = World::start().await;
    let (alice, dora) = (world.person("alice"), world.person("dora"));
    dora.connect("facebook_user", "acquisition", "bob.stone").await;
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    let rows = world.rows("Vault").await;
    let token = rows.iter().find(|row| row["sk"].as_s().unwrap() == "TOKEN#acquisition-alice").unwrap();
    world.sandbox.cloud().import("Vault", more_like(token, 5_000, 119, &[])).unwrap();
    world.later(days(31)).await.sweep().await;
    let (mut seen, mut query) = (Vec::new(), String::new());
    loop {
        let page = dora.get(&format!("/v1/notices{query}")).await.expect(200);
        seen.extend(page["items"].as_array().unwrap().iter().map(|notice| notice["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        query = format!("?next={next}");
    }
    assert_eq!(seen.len(), 121);
    assert!(seen.is_sorted_by(|newer, older| newer > older), "each once");
}
