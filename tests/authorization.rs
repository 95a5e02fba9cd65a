//! What a network is asked, where browsers are sent, and what every answer on the way says of itself.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use reqwest::{Method, RequestBuilder, header};
use serde_json::{Value, json};
use url::Url;

use crate::support::{Landing, Person, Reply, SIGN_INS, World, parameter};

// S1
#[tokio::test]
async fn a_network_is_asked_for_a_code_and_nothing_else_is_taken_for_one() {
    let world = World::start().await;
    let alice = world.person("alice");
    for (network, kind, token, account) in SIGN_INS {
        let session = alice.begin(kind, token).await;
        let consent = alice.open(&session).await;
        assert_eq!(parameter(&consent, "response_type").as_deref(), Some("code"), "{consent}");
        assert_eq!(parameter(&consent, "response_mode"), None, "{consent}");
        let callback = alice.browser.decide(&consent, "approve", account).await;
        let state = parameter(&callback, "state").unwrap();

        // what an implicit or hybrid answer would bring
        for tokens in ["access_token=stolen&token_type=bearer", "id_token=stolen", "access_token=stolen&code="] {
            let implicit = world.url(&format!("/oauth/callback/{network}?state={state}&{tokens}"));
            alice.browser.get(&implicit).await.obstructed(400, "invalid_request");
        }
        assert_eq!(alice.look(&session).await["status"], "started", "the state was not used up");
        alice.browser.get(callback.as_str()).await.location();
    }
}

/// Begins, opens the link and returns the network's URL.
async fn authorization(person: &Person, kind: &str, token: &str, more: &str) -> Url {
    let session = person.begin(kind, token).await;
    person.browser.get(&format!("{}{more}", session.connect_url)).await.location()
}

// S12, S14
#[tokio::test]
async fn a_fresh_challenge_by_s256_goes_to_x_and_none_to_facebook() {
    let world = World::start().await;
    let alice = world.person("alice");
    let mut challenges = BTreeSet::new();
    for more in ["", "", "&code_challenge_method=plain&code_challenge=", "&pkce=off"] {
        let url = authorization(&alice, "x_profile", "interaction", more).await;
        assert_eq!(parameter(&url, "code_challenge_method").as_deref(), Some("S256"));
        assert_eq!(url.query_pairs().filter(|(name, _)| name.starts_with("code_challenge")).count(), 2);
        challenges.insert(parameter(&url, "code_challenge").unwrap());
    }
    assert_eq!(challenges.len(), 4, "one for each sign-in");
    assert!(challenges.iter().all(|challenge| challenge.len() == 43));
    let url = authorization(&alice, "facebook_user", "acquisition", "&code_challenge=x").await;
    assert!(url.query_pairs().all(|(name, _)| !name.starts_with("code_challenge")), "{url}");
}

// S14
#[tokio::test]
async fn a_sign_in_whose_verifier_was_taken_out_of_the_table_fails() {
    let world = World::start().await;
    let alice = world.person("alice");
    let session = alice.begin("x_profile", "interaction").await;
    let callback = alice.decide(&session, "approve", "newsdesk").await;
    let client = aws_sdk_dynamodb::Client::new(world.sandbox.aws_config());
    let update = client.update_item().table_name("Flows").key("id", AttributeValue::S(session.id.clone()));
    update.update_expression("REMOVE verifier").send().await.unwrap();
    assert_eq!(Landing(alice.browser.get(callback.as_str()).await.location()).error(), "code_rejected");
}

// S15
#[tokio::test]
async fn every_network_has_an_address_to_come_back_to_and_takes_no_answer_of_another() {
    let world = World::start().await;
    let alice = world.person("alice");
    for (network, kind, token, account) in SIGN_INS {
        let session = alice.begin(kind, token).await;
        let consent = alice.open(&session).await;
        let own = world.url(&format!("/oauth/callback/{network}"));
        assert_eq!(parameter(&consent, "redirect_uri").as_ref(), Some(&own));
        let callback = alice.browser.decide(&consent, "approve", account).await;
        assert!(callback.as_str().starts_with(&format!("{own}?")), "{callback}");
        world.forget_calls().await;
        for (other, status, code) in [
            (if network == "x" { "facebook" } else { "x" }, 404, "link_unknown"),
            ("myspace", 404, "unknown_network"),
            ("X", 404, "unknown_network"),
        ] {
            let mut crossed = callback.clone();
            crossed.set_path(&format!("/oauth/callback/{other}"));
            alice.browser.get(crossed.as_str()).await.obstructed(status, code);
        }
        assert_eq!(world.exchanges().await, 0);
        alice.complete(&Landing(alice.browser.get(callback.as_str()).await.location())).await.expect(200);
    }
}

#[tokio::test]
async fn a_network_that_is_not_known_cannot_be_connected() {
    let world = World::start().await;
    let alice = world.person("alice");
    let begin = json!({ "kind": "myspace_profile", "token": "interaction", "return_url": world.return_url() });
    alice.post("/v1/connect-sessions", begin).await.refused(400, "unknown_kind");
}

// S19
#[tokio::test]
async fn no_header_moves_where_a_browser_is_sent() {
    const FORGED: [(&str, &str); 6] = [
        ("host", "evil.example"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-port", "444"),
        ("forwarded", "host=evil.example;proto=https"),
        ("x-original-url", "https://evil.example/"),
    ];
    let world = World::start().await;
    let alice = world.person("alice");
    let send = async |request: RequestBuilder| {
        let forged = FORGED.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Reply::of(forged.send().await.unwrap()).await
    };

    let wanted = json!({ "kind": "x_profile", "token": "interaction", "return_url": world.return_url() });
    let request = world.http.post(world.url("/v1/connect-sessions")).bearer_auth(alice.access_token().await);
    let session = send(request.json(&wanted)).await.expect(201);
    let link = session["connect_url"].as_str().unwrap();
    assert!(link.starts_with(&world.url("/oauth/start?ticket=")), "{link}");

    let opened = send(world.http.get(link)).await;
    let consent = opened.location();
    assert_eq!(parameter(&consent, "redirect_uri"), Some(world.url("/oauth/callback/x")));
    let (cookie, attributes) = opened.header("set-cookie").split_once(';').unwrap();
    assert!(!attributes.contains("Domain"), "{attributes}");

    let callback = alice.browser.decide(&consent, "approve", "newsdesk").await;
    let landed = send(world.http.get(callback).header(header::COOKIE, cookie)).await.location();
    assert!(landed.as_str().starts_with(&format!("{}?connect_session=", world.return_url())), "{landed}");
}

// S11
#[tokio::test]
async fn every_answer_forbids_caches_referrers_and_scripts() {
    let world = World::start().await;
    let alice = world.person("alice");
    let session = alice.begin("x_profile", "interaction").await;
    let opened = alice.browser.get(&session.connect_url).await;
    let callback = alice.browser.decide(&opened.location(), "approve", "newsdesk").await;
    let mismatch = Reply::of(world.http.get(callback.clone()).send().await.unwrap()).await;
    let landed = alice.browser.get(callback.as_str()).await;
    let completed = alice.complete(&Landing(landed.location())).await;
    let denied = alice.begin("x_profile", "interaction").await;
    let denied = alice.decide(&denied, "deny", "newsdesk").await;
    let denied = alice.browser.get(denied.as_str()).await;
    for (outcome, reply) in [("completion_code", &landed), ("error", &denied)] {
        let location = reply.location();
        let names: Vec<_> = location.query_pairs().map(|(name, _)| name.into_owned()).collect();
        assert_eq!(names, ["connect_session", outcome], "the query of the callback is dropped");
        assert!(reply.body.is_empty());
    }
    let answers = [
        opened,
        mismatch,
        landed,
        completed,
        denied,
        alice.browser.get(&session.connect_url).await,
        alice.browser.get(callback.as_str()).await,
        alice.browser.get(&world.url("/oauth/start?ticket=x")).await,
        alice.browser.get(&world.url("/oauth/callback/myspace?code=x")).await,
        alice.browser.get(&world.url("/oauth/callback/x?code=x&code=y")).await,
        alice.get(&format!("/v1/connect-sessions/{}", session.id)).await,
        alice.get("/v1/profiles").await,
        alice.get("/v1/profiles/x_profile-1").await,
        alice.get("/v1/notices").await,
        alice.api(Method::POST, "/v1/connect-sessions", Value::Null).await,
        alice.browser.get(&world.url("/openapi.json")).await,
    ];
    for reply in answers {
        let told = format!("{} {:?}", reply.status, reply.headers);
        assert_eq!(reply.header("cache-control"), "no-store", "{told}");
        assert_eq!(reply.header("referrer-policy"), "no-referrer", "{told}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{told}");
        let policy = reply.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{told}");
        assert!(!policy.contains("unsafe") && !policy.contains("script-src"), "{told}");
        assert!(!reply.body.contains("<script"), "{told}");
    }
}

// S16
#[tokio::test]
async fn an_answer_that_names_another_issuer_is_refused_before_its_code_is_sent_anywhere() {
    let world = World::start().await;
    let alice = world.person("alice");
    for (network, kind, token, account) in SIGN_INS {
        let session = alice.begin(kind, token).await;
        let callback = alice.decide(&session, "approve", account).await;
        let named = parameter(&callback, "iss");
        assert_eq!(named.as_deref(), (network == "youtube").then_some("https://accounts.google.com"), "{network}");
        let pairs: Vec<_> = callback.query_pairs().into_owned().filter(|(name, _)| name != "iss").collect();
        let mut other = callback.clone();
        other.query_pairs_mut().clear().extend_pairs(pairs).append_pair("iss", "https://issuer.example");
        world.forget_calls().await;
        let landing = Landing(alice.browser.get(other.as_str()).await.location());
        assert_eq!((landing.error().as_str(), world.calls(&format!("{network}/token")).await), ("wrong_issuer", 0));
        let words = alice.look(&session).await["error"]["detail"].as_str().unwrap().to_owned();
        assert!(words.contains("did not come from"), "{words}");
    }
}
