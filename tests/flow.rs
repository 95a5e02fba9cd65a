//! The rules of a sign-in: what binds it to a person, a browser, a tab and a moment.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use reqwest::header;
use secrecy::SecretString;
use serde_json::json;
use shared::secret::SecretHash;
use url::Url;

use crate::support::{Landing, Reply, SIGN_INS, Session, World, minutes, parameter};

fn with(url: &Url, name: &str, value: &str) -> Url {
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().filter(|(other, _)| other != name).collect();
    let mut changed = url.clone();
    changed.query_pairs_mut().clear().extend_pairs(pairs).append_pair(name, value);
    changed
}

/// Everything that the row of a session holds, one after the other.
async fn row(world: &World, session: &Session) -> Option<Vec<u8>> {
    fn write(value: &AttributeValue, all: &mut Vec<u8>) {
        match value {
            AttributeValue::S(text) | AttributeValue::N(text) => all.extend_from_slice(text.as_bytes()),
            AttributeValue::B(bytes) => all.extend_from_slice(bytes.as_ref()),
            AttributeValue::M(fields) => fields.iter().for_each(|(name, value)| {
                all.extend_from_slice(name.as_bytes());
                write(value, all);
            }),
            AttributeValue::L(values) => values.iter().for_each(|value| write(value, all)),
            _ => {}
        }
        all.push(b'\n');
    }
    let item = attributes(world, session).await?;
    let mut all = Vec::new();
    write(&AttributeValue::M(item), &mut all);
    Some(all)
}

async fn attributes(world: &World, session: &Session) -> Option<HashMap<String, AttributeValue>> {
    let client = aws_sdk_dynamodb::Client::new(world.sandbox.aws_config());
    let get = client.get_item().table_name("Flows").key("id", AttributeValue::S(session.id.clone()));
    get.consistent_read(true).send().await.unwrap().item
}

fn holds(row: &[u8], secret: &str) -> bool {
    row.windows(secret.len()).any(|window| window == secret.as_bytes())
}

// S2, S13
#[tokio::test]
async fn the_row_of_a_sign_in_holds_no_ticket_state_cookie_verifier_or_completion_code() {
    let world = World::start().await;
    let alice = world.person("alice");
    let session = alice.begin("x_profile", "interaction").await;
    let ticket = parameter(&Url::parse(&session.connect_url).unwrap(), "ticket").unwrap();
    let consent = alice.open(&session).await;
    let state = parameter(&consent, "state").unwrap();
    let (_, cookie) = alice.browser.cookies("localhost").pop().unwrap();
    let at_network = row(&world, &session).await.unwrap();
    assert!(holds(&at_network, "verifier"), "it is there, sealed");

    let callback = alice.browser.decide(&consent, "approve", "newsdesk").await;
    let landing = Landing(alice.browser.get(callback.as_str()).await.location());
    let back = row(&world, &session).await.unwrap();
    assert!(!holds(&back, "verifier"), "it is gone when it was used");

    // X has seen the verifier: it is the secret that the challenge is the hash of
    let challenge = parameter(&consent, "code_challenge").unwrap();
    let seen = world.sandbox.networks().secrets_seen();
    let hashed = |secret: &String| SecretHash::of(&SecretString::from(secret.as_str())).as_str() == challenge;
    let verifier = seen.into_iter().find(hashed).expect("X was shown the verifier");
    assert_eq!(verifier.len(), 43, "256 bits");
    for link in [ticket, state, landing.code()] {
        let (id, secret) = link.split_once('.').unwrap();
        assert_eq!((id, secret.len()), (session.id.as_str(), 43), "256 bits");
        assert!(holds(&back, id) && !holds(&at_network, secret) && !holds(&back, secret));
    }
    for secret in [cookie, verifier] {
        assert!(!holds(&at_network, &secret) && !holds(&back, &secret));
    }
}

// S4
#[tokio::test]
async fn every_step_is_over_after_ten_minutes_whatever_the_table_still_holds() {
    let world = World::start().await;
    let alice = world.person("alice");

    let unopened = alice.begin("x_profile", "interaction").await;
    let gone = alice.begin("x_profile", "interaction").await;
    let callback = alice.decide(&gone, "approve", "newsdesk").await;
    let returned = alice.begin("facebook_user", "acquisition").await;
    let landing = alice.approve(&returned, "alice.meyer").await;
    world.later(minutes(10)).await;
    world.forget_calls().await;

    alice.browser.get(&unopened.connect_url).await.obstructed(410, "link_expired");
    assert_eq!(Landing(alice.browser.get(callback.as_str()).await.location()).error(), "session_expired");
    alice.complete(&landing).await.refused(410, "session_expired");
    assert_eq!(world.exchanges().await, 0);
    for (session, status) in [(&unopened, "expired"), (&gone, "failed"), (&returned, "expired")] {
        assert!(row(&world, session).await.is_some(), "the table has not removed it");
        assert_eq!(alice.look(session).await["status"], status);
    }
    assert_eq!(alice.get("/v1/profiles").await.expect(200)["items"], json!([]));

    // a step has ten minutes of its own
    let slow = alice.begin("facebook_user", "acquisition").await;
    world.later(minutes(9)).await;
    let callback = alice.decide(&slow, "approve", "alice.meyer").await;
    world.later(minutes(9)).await;
    let landing = Landing(alice.browser.get(callback.as_str()).await.location());
    world.later(minutes(9)).await;
    alice.complete(&landing).await.expect(200);
}

// S5
#[tokio::test]
async fn a_sign_in_comes_back_only_in_the_browser_that_began_it() {
    let world = World::start().await;
    let (alice, bob) = (world.person("alice"), world.person("bob"));
    for (_, kind, token, account) in SIGN_INS {
        let session = alice.begin(kind, token).await;
        let opened = alice.browser.get(&session.connect_url).await;
        let cookie = opened.header("set-cookie");
        assert!(cookie.starts_with(&format!("__Host-flow-{}=", session.id)), "{cookie}");
        let attributes: BTreeSet<&str> = cookie.split("; ").skip(1).collect();
        let wanted = ["Path=/", "Max-Age=600", "Secure", "HttpOnly", "SameSite=Lax"];
        assert_eq!(attributes, BTreeSet::from(wanted), "a __Host- cookie has no Domain");
        let callback = alice.browser.decide(&opened.location(), "approve", account).await;
        world.forget_calls().await;

        // a browser without cookies, one with a flow of its own, and one that knows the cookie's name
        let other = bob.begin(kind, token).await;
        bob.open(&other).await;
        let forged = format!("__Host-flow-{}={}", session.id, "A".repeat(43));
        for stranger in [
            Reply::of(world.http.get(callback.clone()).send().await.unwrap()).await,
            bob.browser.get(callback.as_str()).await,
            Reply::of(world.http.get(callback.clone()).header(header::COOKIE, forged).send().await.unwrap()).await,
        ] {
            stranger.obstructed(403, "browser_mismatch");
        }
        assert_eq!(world.exchanges().await, 0);
        assert_eq!(alice.look(&session).await["status"], "started");

        let landed = alice.browser.get(callback.as_str()).await;
        assert!(landed.header("set-cookie").contains("Max-Age=0"), "the cookie is taken back");
        alice.complete(&Landing(landed.location())).await.expect(200);
    }
}

// S6
#[tokio::test]
async fn whoever_lures_another_person_into_a_link_gains_nothing() {
    let world = World::start().await;
    let (alice, bob) = (world.person("alice"), world.person("bob"));
    let session = alice.begin("x_profile", "interaction").await;

    // bob opens alice's link and consents: the code is in his browser, the session is hers
    let landing = bob.approve(&session, "newsdesk").await;
    bob.complete(&landing).await.refused(404, "not_found");
    let path = format!("/v1/connect-sessions/{}/complete", session.id);
    let made_up = format!("{}.{}", session.id, "A".repeat(43));
    for code in [made_up.as_str(), "", "no code", landing.session().as_str()] {
        let reply = alice.post(&path, json!({ "completion_code": code })).await;
        reply.refused(403, "completion_code_rejected");
    }
    let look = alice.get(&format!("/v1/connect-sessions/{}", session.id)).await;
    assert_eq!(look.json()["status"], "authorized");
    let (_, secret) = landing.code().split_once('.').map(|(id, secret)| (id.to_owned(), secret.to_owned())).unwrap();
    assert!(!look.body.contains(&secret), "its maker never sees the code");
    for person in [&alice, &bob] {
        assert_eq!(person.get("/v1/profiles").await.expect(200)["items"], json!([]));
    }
}

// S6, S7
#[tokio::test]
async fn a_session_is_completed_by_its_maker_once_and_seen_by_nobody_else() {
    let world = World::start().await;
    let (alice, bob, erin) = (world.person("alice"), world.person("bob"), world.person("erin"));
    let session = alice.begin("x_profile", "interaction").await;
    let path = format!("/v1/connect-sessions/{}/complete", session.id);
    let early = json!({ "completion_code": format!("{}.{}", session.id, "A".repeat(43)) });
    alice.post(&path, early).await.refused(409, "not_authorized_yet");
    let landing = alice.approve(&session, "newsdesk").await;
    for stranger in [&bob, &erin] {
        stranger.complete(&landing).await.refused(404, "not_found");
        stranger.get(&format!("/v1/connect-sessions/{}", session.id)).await.refused(404, "not_found");
    }
    alice.complete(&landing).await.expect(200);
    alice.complete(&landing).await.refused(409, "already_completed");
    assert_eq!(alice.look(&session).await["status"], "completed");
}

// S7
#[tokio::test]
async fn a_link_works_once() {
    let world = World::start().await;
    let (alice, bob) = (world.person("alice"), world.person("bob"));
    let session = alice.begin("x_profile", "interaction").await;
    let callback = alice.decide(&session, "approve", "newsdesk").await;
    for browser in [&alice.browser, &bob.browser] {
        browser.get(&session.connect_url).await.obstructed(409, "link_used");
    }
    let landing = Landing(alice.browser.get(callback.as_str()).await.location());
    alice.browser.get(callback.as_str()).await.obstructed(409, "link_used");
    alice.complete(&landing).await.expect(200);
    alice.browser.get(&session.connect_url).await.obstructed(409, "link_used");
    alice.browser.get(callback.as_str()).await.obstructed(409, "link_used");
}

// S7
#[tokio::test]
async fn a_link_that_is_of_no_session_leads_nowhere() {
    let world = World::start().await;
    let alice = world.person("alice");
    let session = alice.begin("x_profile", "interaction").await;
    let (id, secret) = (session.id.as_str(), "A".repeat(43));
    for (link, status, code) in [
        (format!("ticket={id}.{secret}"), 404, "link_unknown"),
        (format!("ticket={}.{secret}", "A".repeat(22)), 404, "link_unknown"),
        (format!("ticket={id}"), 404, "link_unknown"),
        ("ticket=".to_owned(), 404, "link_unknown"),
        ("ticket=%00%ff%0d%0aSet-Cookie:%20a=b".to_owned(), 404, "link_unknown"),
        (format!("ticket={id}.{secret}&ticket={id}.{secret}"), 400, "invalid_request"),
        ("state=x".to_owned(), 400, "invalid_request"),
        (String::new(), 400, "invalid_request"),
    ] {
        let reply = alice.browser.get(&world.url(&format!("/oauth/start?{link}"))).await;
        reply.obstructed(status, code);
        assert_eq!(reply.header("set-cookie"), "", "{link}");
    }
    alice.approve(&session, "newsdesk").await;
}

// S8
#[tokio::test]
async fn an_error_of_the_network_uses_the_state_up_and_is_not_repeated() {
    let world = World::start().await;
    let alice = world.person("alice");
    for (network, kind, token, account) in SIGN_INS {
        for (error, told) in [
            ("<script>alert(1)</script>", "network_refused"),
            ("a\r\nSet-Cookie: a=b", "network_refused"),
            ("temporarily_unavailable", "network_unavailable"),
            ("admin_policy_enforced", "access_denied"),
        ] {
            let session = alice.begin(kind, token).await;
            let callback = alice.decide(&session, "approve", account).await;
            let state = parameter(&callback, "state").unwrap();
            let mut failed = Url::parse(&world.url(&format!("/oauth/callback/{network}"))).unwrap();
            let described =
                [("state", state.as_str()), ("error", error), ("error_description", "<b>\u{202e}words</b>")];
            failed.query_pairs_mut().extend_pairs(described);
            world.forget_calls().await;
            let reply = alice.browser.get(failed.as_str()).await;
            let landing = Landing(reply.location());
            assert_eq!(landing.error(), told, "{error}");
            assert!(reply.body.is_empty() && reply.header("set-cookie").starts_with("__Host-flow-"));

            // a code that comes later finds the state used up
            alice.browser.get(callback.as_str()).await.obstructed(409, "link_used");
            assert_eq!(world.exchanges().await, 0);
            let seen = alice.look(&session).await;
            assert_eq!((&seen["status"], &seen["error"]["code"]), (&json!("failed"), &json!(told)));
            let shown = format!("{} {seen}", landing.0);
            assert!(["script", "words", "Cookie"].iter().all(|word| !shown.contains(word)), "{shown}");
        }
    }
}

// S9
#[tokio::test]
async fn a_parameter_that_comes_twice_is_refused_and_uses_nothing_up() {
    let world = World::start().await;
    let alice = world.person("alice");
    for (_, kind, token, account) in SIGN_INS {
        let session = alice.begin(kind, token).await;
        let callback = alice.decide(&session, "approve", account).await;
        let (code, state) = (parameter(&callback, "code").unwrap(), parameter(&callback, "state").unwrap());
        world.forget_calls().await;
        for (name, value) in [
            ("code", code.as_str()),
            ("code", "another"),
            ("state", state.as_str()),
            ("state", "another"),
            ("error", "access_denied"),
        ] {
            let mut twice = callback.clone();
            twice.query_pairs_mut().append_pair(name, value);
            alice.browser.get(twice.as_str()).await.obstructed(400, "invalid_request");
        }
        let mut issuers = callback.clone();
        issuers.query_pairs_mut().append_pair("iss", "https://a.example").append_pair("iss", "https://b.example");
        alice.browser.get(issuers.as_str()).await.obstructed(400, "invalid_request");
        assert_eq!(world.exchanges().await, 0);
        assert!(parameter(&alice.browser.get(callback.as_str()).await.location(), "completion_code").is_some());
    }
}

// S10, S12
#[tokio::test]
async fn parallel_tabs_never_cross() {
    let world = World::start().await;
    let alice = world.person("alice");
    let (left, right) = (alice.begin("x_profile", "interaction").await, alice.begin("x_profile", "interaction").await);
    let (at_left, at_right) = (alice.open(&left).await, alice.open(&right).await);
    let (first, second) = (
        alice.browser.decide(&at_left, "approve", "newsdesk").await,
        alice.browser.decide(&at_right, "approve", "support").await,
    );
    let (right_landing, left_landing) = (
        Landing(alice.browser.get(second.as_str()).await.location()),
        Landing(alice.browser.get(first.as_str()).await.location()),
    );
    assert_eq!((left_landing.session(), right_landing.session()), (left.id.clone(), right.id.clone()));
    let path = format!("/v1/connect-sessions/{}/complete", left.id);
    let crossed = alice.post(&path, json!({ "completion_code": right_landing.code() })).await;
    crossed.refused(403, "completion_code_rejected");
    for (landing, profile) in [(left_landing, "x_profile-42"), (right_landing, "x_profile-43")] {
        assert_eq!(alice.complete(&landing).await.expect(200)["profiles"][0]["id"], profile);
    }
}

// S10, S12
#[tokio::test]
async fn a_code_that_is_injected_into_another_tabs_sign_in_is_worth_nothing() {
    let world = World::start().await;
    let (alice, bob) = (world.person("alice"), world.person("bob"));
    let (hers, his) = (alice.begin("x_profile", "interaction").await, bob.begin("x_profile", "interaction").await);
    let (callback, stolen) =
        (alice.decide(&hers, "approve", "newsdesk").await, bob.decide(&his, "approve", "support").await);
    let injected = with(&callback, "code", &parameter(&stolen, "code").unwrap());
    assert_eq!(Landing(alice.browser.get(injected.as_str()).await.location()).error(), "code_rejected");
    assert_eq!(alice.look(&hers).await["error"]["code"], "code_rejected");
}
