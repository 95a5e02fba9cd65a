//! What becomes of a sign-in that goes wrong: a typed answer, true words, and nothing left behind.

use std::fmt::Write as _;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use shared::profile::Kind;
use url::Url;

use crate::support::{Landing, Person, Reply, SIGN_INS, Session, World, minutes};

/// How a network fails, and what the person is told.
fn failures() -> [(Value, &'static str); 6] {
    [
        (json!({ "mode": "status", "status": 500 }), "network_unavailable"),
        (json!({ "mode": "status", "status": 429 }), "rate_limited"),
        (json!({ "mode": "throttle" }), "rate_limited"),
        (json!({ "mode": "garbage" }), "network_refused"),
        (json!({ "mode": "lost_reply" }), "network_unavailable"),
        (json!({ "mode": "reset" }), "network_unavailable"),
    ]
}

/// Lets `target` go wrong for as long as nobody takes it back.
async fn break_down(world: &World, target: &str, failure: &Value) {
    let mut fault = failure.clone();
    fault["target"] = json!(target);
    fault["times"] = json!(100);
    world.fault(fault).await;
}

fn live_grants(world: &World, network: &str, account: &str) -> usize {
    world.sandbox.networks().grants(network, account).iter().filter(|grant| grant.live).count()
}

/// The rows that are still to be done: parked grants and revocations.
async fn left_to_do(world: &World) -> usize {
    let client = aws_sdk_dynamodb::Client::new(world.sandbox.aws_config());
    let rows = client.scan().table_name("Flows").send().await.unwrap().items.unwrap();
    rows.iter().filter(|row| row.contains_key("due_at") || row.contains_key("sealed")).count()
}

/// Comes back from the network and makes sure that the session failed with `code` and words that name the network.
async fn fails(person: &Person, session: &Session, callback: &Url, code: &str) -> Value {
    let landing = Landing(person.browser.get(callback.as_str()).await.location());
    assert_eq!((landing.session(), landing.error()), (session.id.clone(), code.to_owned()));
    let look = person.look(session).await;
    assert_eq!((&look["status"], &look["error"]["code"]), (&json!("failed"), &json!(code)), "{look}");
    let words = look["error"]["detail"].as_str().unwrap();
    let kind: Kind = look["kind"].as_str().unwrap().parse().unwrap();
    let title = kind.network().title();
    assert!(words.contains(&format!("{title} ")) && words.ends_with('.'), "{words}");
    if code == "rate_limited" {
        assert!(words.contains("about 15 minutes"), "it says when to come back: {words}");
    }
    let path = format!("/v1/connect-sessions/{}/complete", session.id);
    let refused = person.post(&path, json!({ "completion_code": "x" })).await.refused(409, "conflict");
    assert_eq!(refused["detail"], look["error"]["detail"], "the same words");
    person.browser.get(callback.as_str()).await.obstructed(409, "link_used");
    look
}

async fn profiles(person: &Person) -> Vec<Value> {
    person.get("/v1/profiles").await.expect(200)["items"].as_array().unwrap().clone()
}

// S8, S67
#[tokio::test]
async fn whatever_the_token_endpoint_of_x_answers_the_sign_in_ends_in_a_typed_error_after_one_request() {
    let world = World::start().await;
    let alice = world.person("alice");
    for (failure, code) in failures() {
        let session = alice.begin("x_profile", "interaction").await;
        let callback = alice.decide(&session, "approve", "newsdesk").await;
        break_down(&world, "x/token", &failure).await;
        world.forget_calls().await;
        fails(&alice, &session, &callback, code).await;
        assert_eq!(world.calls("x/token").await, 1, "a code is never sent twice: {failure}");
        assert_eq!(world.calls("x/me").await, 0);
        world.no_faults().await;
    }
    assert_eq!((profiles(&alice).await.len(), left_to_do(&world).await), (0, 0));
    alice.connect("x_profile", "interaction", "newsdesk").await;
}

// S8, S67
#[tokio::test]
async fn a_grant_whose_account_x_does_not_tell_is_revoked_by_the_sweep() {
    let world = World::start().await;
    let alice = world.person("alice");
    for (failure, code) in failures() {
        let session = alice.begin("x_profile", "interaction").await;
        let callback = alice.decide(&session, "approve", "newsdesk").await;
        break_down(&world, "x/me", &failure).await;
        fails(&alice, &session, &callback, code).await;
        world.no_faults().await;
    }
    assert_eq!((profiles(&alice).await.len(), left_to_do(&world).await), (0, 6));
    assert_eq!(live_grants(&world, "x", "newsdesk"), 6);
    assert_eq!(world.sweep().await["revoked"], 6);
    assert_eq!((live_grants(&world, "x", "newsdesk"), left_to_do(&world).await), (0, 0));
}

// S8, S67
#[tokio::test]
async fn whatever_facebook_answers_the_sign_in_ends_in_a_typed_error_and_no_other_token_dies_of_it() {
    let world = World::start().await;
    let alice = world.person("alice");
    let living = alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    world.forget_calls().await;
    let mut seen = String::new();
    for target in ["facebook/token", "facebook/long_lived_token", "facebook/debug_token", "facebook/me"] {
        for (failure, code) in failures() {
            let session = alice.begin("facebook_user", "interaction").await;
            let callback = alice.decide(&session, "approve", "alice.meyer").await;
            break_down(&world, target, &failure).await;
            let look = fails(&alice, &session, &callback, code).await;
            world.no_faults().await;
            writeln!(seen, "{target} {failure}: {}", look["error"]).unwrap();
        }
    }
    assert_eq!(profiles(&alice).await, [living], "{seen}");
    world.sweep().await;
    assert_eq!(world.calls("facebook/permissions").await, 0, "revoking would end the living token too");
    assert_eq!(left_to_do(&world).await, 0);
    let deleted = alice.delete("/v1/profiles/facebook_user-1001").await.expect(200);
    assert_eq!(deleted["revocation"], "revoked", "the living token lived until now");
}

// S66
#[tokio::test]
async fn a_network_that_never_answers_is_given_up_before_the_gateway_gives_up() {
    let hangs = async |target: &str, (_, kind, token, account): (&str, &str, &str, &str)| {
        let world = World::start().await;
        let alice = world.person("alice");
        let session = alice.begin(kind, token).await;
        let callback = alice.decide(&session, "approve", account).await;
        break_down(&world, target, &json!({ "mode": "slow", "delay_ms": 60_000 })).await;
        fails(&alice, &session, &callback, "network_unavailable").await;
    };
    let [x, facebook, ..] = SIGN_INS;
    tokio::join!(
        hangs("x/token", x),
        hangs("x/me", x),
        hangs("facebook/token", facebook),
        hangs("facebook/me", facebook)
    );
}

// S8
#[tokio::test]
async fn a_denied_consent_ends_the_session_and_consumes_the_state() {
    let world = World::start().await;
    let alice = world.person("alice");
    for (_, kind, token, account) in SIGN_INS {
        let session = alice.begin(kind, token).await;
        let callback = alice.decide(&session, "deny", account).await;
        fails(&alice, &session, &callback, "access_denied").await;
    }
    assert_eq!((profiles(&alice).await.len(), left_to_do(&world).await), (0, 0));
}

#[tokio::test]
async fn x_without_a_refresh_token_is_refused_and_its_grant_revoked() {
    let world = World::start().await;
    let alice = world.person("alice");
    let session = alice.begin("x_profile", "interaction").await;
    let consent = alice.open(&session).await;
    let asked: Vec<(String, String)> = consent.query_pairs().into_owned().collect();
    let mut form: Vec<(&str, &str)> = asked.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    form.retain(|(name, _)| *name != "scope");
    let scope = asked.iter().find_map(|(name, value)| (name == "scope").then_some(value.as_str())).unwrap();
    form.extend([("asked", scope), ("decision", "approve"), ("account", "newsdesk"), ("scope", "tweet.write")]);
    let mut page = consent.clone();
    page.set_query(None);
    let callback = alice.browser.post(page.as_str(), &form).await.location();
    fails(&alice, &session, &callback, "missing_refresh_token").await;
    assert_eq!(world.sweep().await["revoked"], 1);
    assert_eq!((live_grants(&world, "x", "newsdesk"), profiles(&alice).await.len()), (0, 0));
}

#[tokio::test]
async fn reauthenticating_with_another_account_names_both_and_changes_nothing() {
    let world = World::start().await;
    let (alice, erin) = (world.person("alice"), world.person("erin"));
    let cases = [
        ("x_profile", "interaction", "newsdesk", ["News Desk", "(42)"], "support", ["Support", "(43)"], "x"),
        (
            "facebook_user",
            "acquisition",
            "alice.meyer",
            ["Alice Meyer", "(1001)"],
            "bob.stone",
            ["Bob Stone", "(1002)"],
            "facebook",
        ),
    ];
    for (kind, token, account, own, other, foreign, network) in cases {
        let before = alice.connect(kind, token, account).await;
        let profile = before["id"].as_str().unwrap();
        let session = alice.begin_again(profile, token).await;
        let callback = alice.decide(&session, "approve", other).await;
        let look = fails(&alice, &session, &callback, "foreign_account").await;
        let words = look["error"]["detail"].as_str().unwrap();
        assert!(own.iter().chain(&foreign).all(|name| words.contains(name)), "{words}");
        assert_eq!(alice.get(&format!("/v1/profiles/{profile}")).await.expect(200), before);

        // what the other account granted is ended, and nothing else
        assert_eq!(world.sweep().await["revoked"], 1);
        assert_eq!((live_grants(&world, network, other), live_grants(&world, network, account)), (0, 1));
    }
    assert_eq!(profiles(&alice).await.len(), 2);

    // the other account's login is in use elsewhere
    erin.connect("facebook_user", "acquisition", "bob.stone").await;
    let session = alice.begin_again("facebook_user-1001", "acquisition").await;
    let callback = alice.decide(&session, "approve", "bob.stone").await;
    fails(&alice, &session, &callback, "foreign_account").await;
    let summary = world.sweep().await;
    assert_eq!((&summary["revoked"], &summary["shared"]), (&json!(0), &json!(1)), "{summary}");
    assert_eq!(live_grants(&world, "facebook", "bob.stone"), 2);
}

#[tokio::test]
async fn the_right_account_reauthenticates_and_the_grant_that_it_replaces_is_ended_at_x() {
    let world = World::start().await;
    let alice = world.person("alice");
    let before = alice.connect("x_profile", "interaction", "newsdesk").await;
    let session = alice.begin_again("x_profile-42", "interaction").await;
    assert_eq!(alice.look(&session).await["profile_id"], "x_profile-42");
    let landing = alice.approve(&session, "newsdesk").await;
    let after = alice.complete(&landing).await.expect(200)["profiles"][0].clone();
    assert_eq!((&after["id"], &after["owners"]), (&before["id"], &before["owners"]));
    world.sweep().await;
    let grants = world.sandbox.networks().grants("x", "newsdesk");
    assert_eq!(grants.iter().map(|grant| grant.live).collect::<Vec<_>>(), [false, true]);
}

#[tokio::test]
async fn a_grant_that_nobody_completes_is_forgotten_and_revoked_where_that_ends_nothing_else() {
    let world = World::start().await;
    let (alice, erin) = (world.person("alice"), world.person("erin"));
    let living = erin.connect("facebook_user", "acquisition", "bob.stone").await;
    let mut abandoned = Vec::new();
    for (kind, token, account) in [
        ("x_profile", "interaction", "newsdesk"),
        ("facebook_user", "acquisition", "alice.meyer"),
        ("facebook_user", "interaction", "alice.meyer"),
        ("facebook_user", "acquisition", "bob.stone"),
    ] {
        let session = alice.begin(kind, token).await;
        let landing = alice.approve(&session, account).await;
        abandoned.push((session, landing));
    }
    world.later(minutes(9)).await;
    assert_eq!(world.sweep().await["abandoned"], 0, "there is time left");
    world.later(minutes(2)).await;
    let summary = world.sweep().await;
    assert_eq!((&summary["abandoned"], &summary["failed"]), (&json!(4), &json!(0)), "{summary}");
    assert_eq!(live_grants(&world, "x", "newsdesk"), 0);
    assert_eq!(live_grants(&world, "facebook", "alice.meyer"), 0, "the last of them ended the login's grant");
    assert_eq!(live_grants(&world, "facebook", "bob.stone"), 2, "erin's token lives on it");
    assert_eq!(erin.get("/v1/profiles/facebook_user-1002").await.expect(200), living);
    assert_eq!(left_to_do(&world).await, 0);
    for (session, landing) in &abandoned {
        let look = alice.look(session).await;
        assert_eq!((&look["status"], &look["error"]["code"]), (&json!("failed"), &json!("session_expired")));
        alice.complete(landing).await.refused(409, "conflict");
    }
    assert_eq!(profiles(&alice).await.len(), 0);
    assert_eq!(world.sweep().await["abandoned"], 0);
}

#[tokio::test]
async fn a_revocation_stays_due_until_the_network_says_that_it_is_done() {
    let world = World::start().await;
    let alice = world.person("alice");
    for (kind, token, account, network, target) in [
        ("x_profile", "interaction", "newsdesk", "x", "x/revoke"),
        ("facebook_user", "acquisition", "alice.meyer", "facebook", "facebook/permissions"),
    ] {
        let session = alice.begin(kind, token).await;
        alice.approve(&session, account).await;
        world.later(minutes(11)).await;
        let mut faults = failures().to_vec();
        // RFC 7009 §2.2: the client needs no more of X's answer than its status
        faults.retain(|(fault, _)| network == "facebook" || fault["mode"] != "garbage");
        for (failure, _) in faults.iter().filter(|(fault, _)| fault["mode"] != "lost_reply") {
            break_down(&world, target, failure).await;
            assert_eq!(world.sweep().await["unrevoked"], 1, "{failure}");
            world.no_faults().await;
            assert_eq!((live_grants(&world, network, account), left_to_do(&world).await), (1, 1));
            world.later(minutes(24 * 60)).await;
        }
        assert_eq!(world.sweep().await["revoked"], 1);
        assert_eq!((live_grants(&world, network, account), left_to_do(&world).await), (0, 0));
    }
}

/// Comes back from X while `target` fails from the moment at which X is asked whose grant it is.
async fn come_back_while_failing(world: &World, person: &Person, callback: &Url, target: &str) -> Reply {
    world.forget_calls().await;
    world.fault(json!({ "target": "x/me", "mode": "slow", "delay_ms": 2_000 })).await;
    let coming_back = {
        let (browser, callback) = (person.browser.clone(), callback.clone());
        tokio::spawn(async move { browser.get(callback.as_str()).await })
    };
    while world.calls("x/me").await == 0 {
        tokio::task::yield_now().await;
    }
    break_down(world, target, &json!({ "mode": "status", "status": 500 })).await;
    coming_back.await.unwrap()
}

// S64
#[tokio::test]
async fn a_grant_that_cannot_be_stored_is_revoked_at_once() {
    let world = World::start().await;
    let alice = world.person("alice");
    let session = alice.begin("x_profile", "interaction").await;
    let callback = alice.decide(&session, "approve", "newsdesk").await;
    let reply = come_back_while_failing(&world, &alice, &callback, "dynamodb/UpdateItem").await;
    reply.obstructed(503, "unavailable");
    assert_eq!(live_grants(&world, "x", "newsdesk"), 0);
    world.no_faults().await;
    world.later(minutes(11)).await;
    assert_eq!(alice.look(&session).await["status"], "expired");
    assert_eq!((profiles(&alice).await.len(), left_to_do(&world).await), (0, 0));
}

// S64
#[tokio::test]
async fn a_grant_of_the_wrong_account_that_cannot_be_left_for_the_sweep_is_revoked_at_once() {
    let world = World::start().await;
    let alice = world.person("alice");
    let profile = alice.connect("x_profile", "interaction", "newsdesk").await;
    let session = alice.begin_again("x_profile-42", "interaction").await;
    let callback = alice.decide(&session, "approve", "support").await;
    let reply = come_back_while_failing(&world, &alice, &callback, "dynamodb/TransactWriteItems").await;
    reply.obstructed(503, "unavailable");
    assert_eq!((live_grants(&world, "x", "support"), live_grants(&world, "x", "newsdesk")), (0, 1));
    world.no_faults().await;
    assert_eq!(profiles(&alice).await, [profile]);
}

#[tokio::test]
async fn a_session_whose_app_was_taken_away_says_that_the_operator_has_to_act() {
    let world = World::start().await;
    let alice = world.person("alice");
    let session = alice.begin("x_profile", "interaction").await;
    let callback = alice.decide(&session, "approve", "newsdesk").await;
    let client = aws_sdk_dynamodb::Client::new(world.sandbox.aws_config());
    let update = client.update_item().table_name("Flows").key("id", AttributeValue::S(session.id.clone()));
    let gone = update.update_expression("SET #app = :gone").expression_attribute_names("#app", "app");
    gone.expression_attribute_values(":gone", AttributeValue::S("gone".to_owned())).send().await.unwrap();
    alice.browser.get(callback.as_str()).await.obstructed(500, "misconfigured");
    assert_eq!(alice.look(&session).await["status"], "started", "the page can be reloaded when it is mended");
}
