//! Whom an answer of a network concerns: the credential, a person, the app. Each answer is injected at the stand-in, as
//! the network's documents or reports of it describe it, and the token is what a person sees afterwards.

use reqwest::{StatusCode, header};
use serde_json::{Value, json};

use crate::{
    leases::apps::rewrite_apps,
    support::{Landing, Person, Reply, World, days, minutes, parameter},
};

async fn token_of(person: &Person, profile: &str) -> Value {
    person.get(&format!("/v1/profiles/{profile}")).await.expect(200)["tokens"][0].clone()
}

/// Asserts that nothing ended, and that no mail or notice went out.
async fn assert_unharmed(person: &Person, profile: &str, case: &str) {
    let token = token_of(person, profile).await;
    assert_eq!((&token["state"], &token["reason"]), (&json!("active"), &Value::Null), "{case}: {token}");
    assert_eq!(person.world.mails().await, Vec::<Value>::new(), "{case}");
    assert_eq!(person.get("/v1/notices").await.expect(200)["items"], json!([]), "{case}");
}

// S41, S52, S78
#[tokio::test]
async fn a_wrong_facebook_secret_ends_no_token_and_notifies_no_owner() {
    let world = World::start().await;
    let alice = world.person("alice");
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    let token = "/v1/profiles/facebook_user-1001/tokens/acquisition-alice";
    alice.patch(token, json!({ "allow": { "search_acquisition": true } })).await.expect(200);
    alice.connect_pages("alice.meyer", &["facebook_page-2001"]).await;
    rewrite_apps(&world, |apps| {
        for app in apps.iter_mut().filter(|app| app["network"] == "facebook") {
            app["client_secret"] = json!("wrong");
        }
    })
    .await;
    world.later(minutes(25 * 60)).await;
    for _ in 0..3 {
        world.sweep().await;
        world.later(minutes(70)).await;
    }
    assert_ne!(world.calls("facebook/debug_token").await, 0);
    for profile in ["facebook_user-1001", "facebook_page-2001"] {
        assert_unharmed(&alice, profile, "a wrong secret").await;
    }
}

// S49, S53, S79
#[tokio::test]
async fn no_odd_field_of_a_good_answer_costs_a_refreshed_grant() {
    const SCOPE: &str = "users.read tweet.read offline.access dm.read dm.write tweet.write media.write";
    let answer = |field: &str, value: Value| {
        let mut body = json!({ "token_type": "bearer", "expires_in": 7200, "access_token": "access-in-hand",
            "refresh_token": "refresh-in-hand", "scope": SCOPE });
        body[field] = value;
        body
    };
    for body in [
        answer("expires_in", json!("7200")),
        answer("expires_in", json!(7200.0)),
        answer("expires_in", json!(-1)),
        answer("expires_in", json!(4_294_967_296_u64)),
        answer("expires_in", Value::Null),
        answer("scope", Value::Null),
        answer("scope", json!(SCOPE.split(' ').collect::<Vec<_>>())),
        answer("scope", json!(7)),
        answer("token_type", json!({})),
        json!(format!("\u{feff}{}", answer("token_type", json!("bearer")))),
    ] {
        let world = World::start().await;
        world.person("alice").connect("x_profile", "interaction", "newsdesk").await;
        world.later(minutes(3 * 60)).await;
        world.fault(json!({ "target": "x/token", "mode": "answer", "body": body })).await;
        let lease = world.person("acme-worker").lease().await.expect(201);
        assert_eq!(lease["access_token"], "access-in-hand", "{body}");
        assert_eq!(token_of(&world.person("alice"), "x_profile-42").await["state"], "active", "{body}");
    }
}

// S78
#[tokio::test]
async fn a_policy_of_googles_customer_ends_a_token_with_one_notice() {
    for error in ["admin_policy_enforced", "policy_enforced", "access_denied"] {
        let world = World::start().await;
        let alice = world.person("alice");
        alice.connect("youtube_channel", "interaction", "harbour.tv").await;
        world.later(minutes(3 * 60)).await;
        let refusal = json!({ "error": error, "error_description": "Account restricted" });
        let fault = json!({ "target": "youtube/token", "mode": "answer", "status": 400, "times": 9, "body": refusal });
        world.fault(fault).await;
        let profile = alice.get("/v1/profiles").await.expect(200)["items"][0]["id"].as_str().unwrap().to_owned();
        let lease = json!({ "use": "comment", "profile_id": profile });
        world.person("acme-worker").post("/v1/leases", lease).await.refused(409, "no_valid_token");
        let token = token_of(&alice, &profile).await;
        assert_eq!((&token["state"], &token["reason"]), (&json!("needs_reauth"), &json!("policy")), "{error}: {token}");
        for _ in 0..3 {
            world.later(days(1)).await.sweep().await;
        }
        let mails = world.mails().await;
        assert_eq!(mails.len(), 1, "{error}: {mails:#?}");
        assert!(mails[0]["text"].as_str().unwrap().contains("A policy of your organisation"), "{mails:#?}");
    }
}

/// Requests a page as a browser does ahead of a navigation, with its cookies.
async fn prefetch(person: &Person, url: &str, mark: (&str, &str)) -> Reply {
    let host = reqwest::Url::parse(url).unwrap().host_str().unwrap().to_owned();
    let cookies: Vec<_> = person.browser.cookies(&host).iter().map(|(name, value)| format!("{name}={value}")).collect();
    let request = person.world.http.get(url).header(mark.0, mark.1).header(header::COOKIE, cookies.join("; "));
    Reply::of(request.send().await.unwrap()).await
}

// S3, S77
#[tokio::test]
async fn a_prefetched_link_or_callback_consumes_nothing() {
    let world = World::start().await;
    let alice = world.person("alice");
    for mark in [
        ("sec-purpose", "prefetch"),
        ("sec-purpose", "prefetch;prerender"),
        ("purpose", "prefetch"),
        ("x-moz", "prefetch"),
    ] {
        let assert_refused = |reply: &Reply| {
            assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{mark:?}: {}", reply.body);
            assert_eq!(reply.header("cache-control"), "no-store");
            assert_eq!(reply.header("set-cookie"), "");
        };
        let session = alice.begin("x_profile", "interaction").await;
        assert_refused(&prefetch(&alice, &session.connect_url, mark).await);
        let callback = alice.decide(&session, "approve", "newsdesk").await;
        let exchanges = world.exchanges().await;
        assert_refused(&prefetch(&alice, callback.as_str(), mark).await);
        assert_eq!(world.exchanges().await, exchanges, "{mark:?}");
        let landing = Landing(alice.browser.get(callback.as_str()).await.location());
        alice.complete(&landing).await.expect(200);
    }
}

// S8
#[tokio::test]
async fn an_error_of_facebooks_dialog_ends_the_session_and_is_not_repeated() {
    let world = World::start().await;
    let alice = world.person("alice");
    let session = alice.begin("facebook_user", "acquisition").await;
    let consent = alice.open(&session).await;
    let state = parameter(&consent, "state").unwrap();
    let mut callback = reqwest::Url::parse(&world.url("/oauth/callback/facebook")).unwrap();
    callback
        .query_pairs_mut()
        .append_pair("error_code", "1349003")
        .append_pair("error_message", "<b>secret words</b>")
        .append_pair("state", &state);
    let landing = Landing(alice.browser.get(callback.as_str()).await.location());
    assert_eq!(landing.session(), session.id);
    assert!(!landing.error().is_empty());
    let seen = alice.look(&session).await;
    assert_eq!(seen["status"], "failed", "{seen}");
    assert!(!landing.0.as_str().contains("secret") && !seen.to_string().contains("secret words"), "{seen}");
}

// S78
#[tokio::test]
async fn a_page_whose_token_is_proved_dead_and_that_answers_code_10_is_lost() {
    let world = World::start().await;
    let alice = world.person("alice");
    alice.connect_pages("alice.meyer", &["facebook_page-2001"]).await;
    let code_10 = json!({ "error": { "code": 10, "type": "OAuthException", "message":
        "(#10) This endpoint requires the 'pages_read_engagement' permission or the 'Page Public Content Access' feature" } });
    let fault = json!({ "target": "facebook/page", "mode": "answer", "status": 403, "times": 99, "body": code_10 });
    world.fault(fault).await;
    // a permission that is missing at the derivation alone ends nothing
    world.later(minutes(21 * 60)).await.sweep().await;
    assert_unharmed(&alice, "facebook_page-2001", "the Page's token lives").await;
    world.happens("facebook", "alice.meyer", json!({ "event": "role_lost", "page": "2001" })).await;
    world.later(minutes(21 * 60)).await.sweep().await;
    let token = token_of(&alice, "facebook_page-2001").await;
    assert_eq!((&token["state"], &token["reason"]), (&json!("needs_reauth"), &json!("role_lost")), "{token}");
}
