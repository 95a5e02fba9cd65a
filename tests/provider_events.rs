//! What networks and the mail service tell: who is believed, whose tokens end, and who is not written to any more.

use std::collections::BTreeMap;

use reqwest::{Method, StatusCode};
use sandbox::networks::Message;
use serde_json::{Value, json};

use crate::support::{Person, Reply, Row, World, days, minutes};

mod addresses;

/// The state and the reason of a profile's first token.
async fn state(person: &Person, profile: &str) -> (String, String) {
    let seen = person.get(&format!("/v1/profiles/{profile}")).await.expect(200);
    let text = |name: &str| seen["tokens"][0][name].as_str().unwrap_or_default().to_owned();
    (text("state"), text("reason"))
}

/// What the network would tell each app now, if this happened.
fn messages(world: &World, network: &str, account: &str, event: &str) -> Vec<Message> {
    world.sandbox.networks().messages(network, account, event).unwrap()
}

/// Lets something happen at the network, which tells the apps; how they took it.
async fn tell(world: &World, network: &str, account: &str, event: &str) -> Vec<Value> {
    let door = format!("/_sandbox/networks/{network}/accounts/{account}");
    let reply = world.door(Method::POST, &door, json!({ "event": event })).await.expect(200);
    reply["told"].as_array().unwrap().clone()
}

async fn post(world: &World, message: &Message) -> Reply {
    let request = world.http.post(world.url(&message.path)).header("content-type", message.content_type);
    let request = message.headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
    Reply::of(request.body(message.body.clone()).send().await.unwrap()).await
}

/// Everything that is stored of tokens and people, by key.
async fn vault(world: &World) -> BTreeMap<String, Row> {
    let key = |row: &Row| format!("{}|{}", row["pk"].as_s().unwrap(), row["sk"].as_s().unwrap());
    world.rows("Vault").await.into_iter().map(|row| (key(&row), row)).collect()
}

// S30, S69
#[tokio::test]
async fn an_app_that_was_removed_has_no_living_token_of_that_login_anywhere_and_each_owner_is_mailed_once() {
    let world = World::start().await;
    let (alice, erin) = (world.person("alice"), world.person("erin"));
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    alice.connect_pages("alice.meyer", &["facebook_page-2001"]).await;
    erin.connect("facebook_user", "acquisition", "alice.meyer").await;
    alice.connect("x_profile", "interaction", "newsdesk").await;

    let told = tell(&world, "facebook", "alice.meyer", "deauthorize").await;
    assert_eq!(told.iter().map(|told| &told["status"]).collect::<Vec<_>>(), [200]);
    let dead = ("needs_reauth".to_owned(), "app_removed".to_owned());
    for (person, profile) in
        [(&alice, "facebook_user-1001"), (&alice, "facebook_page-2001"), (&erin, "facebook_user-1001")]
    {
        assert_eq!(state(person, profile).await, dead, "{profile}");
    }
    assert_eq!(state(&alice, "x_profile-42").await.0, "active", "of another network");

    let again = messages(&world, "facebook", "alice.meyer", "deauthorize").remove(0);
    for _ in 0..3 {
        world.sweep().await;
        post(&world, &again).await.expect(200);
    }
    let mut mailed: Vec<_> = world.mails().await.iter().map(|mail| mail["to"][0].clone()).collect();
    mailed.sort_by_key(ToString::to_string);
    assert_eq!(mailed, ["alice@acme.example", "erin@globex.example"]);

    world.later(minutes(1)).await;
    alice.reauthenticate("facebook_user-1001", "acquisition", "alice.meyer").await;
    post(&world, &again).await.expect(200);
    assert_eq!(state(&alice, "facebook_user-1001").await.0, "active", "it is from before");
    assert_eq!(state(&erin, "facebook_user-1001").await, dead);
}

#[tokio::test]
async fn x_and_google_and_instagram_tell_too() {
    let world = World::start().await;
    let alice = world.person("alice");
    for (network, kind, token, account, event, reason) in [
        ("x", "x_profile", "interaction", "newsdesk", "deauthorize", "revoked_by_user"),
        ("instagram", "instagram_account", "acquisition", "harbour.photos", "deauthorize", "app_removed"),
        ("youtube", "youtube_channel", "interaction", "harbour.tv", "deauthorize", "revoked_by_user"),
        ("youtube", "youtube_channel", "interaction", "harbour.radio", "account_disabled", "checkpoint"),
    ] {
        let profile = alice.connect(kind, token, account).await["id"].as_str().unwrap().to_owned();
        let told = tell(&world, network, account, event).await;
        let taken = if network == "youtube" { 202 } else { 200 };
        assert_eq!(told.iter().map(|told| &told["status"]).collect::<Vec<_>>(), [taken], "{network}: {told:?}");
        assert_eq!(state(&alice, &profile).await, ("needs_reauth".to_owned(), reason.to_owned()), "{network} {event}");
    }
}

// S69
#[tokio::test]
async fn whoever_wants_to_be_forgotten_is_and_can_see_it() {
    let world = World::start().await;
    let (alice, dora) = (world.person("alice"), world.person("dora"));
    let profile = alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    let name = profile["name"].as_str().unwrap();
    alice.connect_pages("alice.meyer", &["facebook_page-2001"]).await;
    alice.connect("x_profile", "interaction", "newsdesk").await;
    world.later(days(31)).await.sweep().await;
    let told_of = |(key, row): (&String, &Row)| key.contains("NOTICE#") && format!("{row:?}").contains(name);
    assert!(vault(&world).await.iter().any(told_of));

    let told = tell(&world, "facebook", "alice.meyer", "data_deletion").await;
    assert_eq!(told[0]["status"], 200, "{told:?}");
    let confirmed: Value = serde_json::from_str(told[0]["body"].as_str().unwrap()).unwrap();
    let code = confirmed["confirmation_code"].as_str().unwrap();
    assert_eq!((code.len(), &confirmed["url"]), (43, &json!(world.url(&format!("/data-deletion/{code}")))));

    for gone in ["facebook_user-1001", "facebook_page-2001"] {
        alice.get(&format!("/v1/profiles/{gone}")).await.refused(404, "not_found");
    }
    assert_eq!(state(&alice, "x_profile-42").await.0, "active");
    let rows = vault(&world).await;
    assert!(!format!("{rows:?}").contains(name), "no row has the name: {rows:#?}");
    let history = dora.get("/v1/history").await.expect(200).to_string();
    assert_eq!(history.matches(r#""event":"erased""#).count(), 2, "{history}");
    assert!(!history.contains(name));
    let flows = world.rows("Flows").await;
    let kept = flows.iter().find(|row| row["id"].as_s().unwrap().starts_with("event#")).unwrap();
    assert!(!kept.contains_key("login") && !kept.contains_key("due_at"), "{kept:?}");

    let page = async |code: &str| {
        Reply::of(world.http.get(world.url(&format!("/data-deletion/{code}"))).send().await.unwrap()).await
    };
    let seen = page(code).await;
    assert_eq!(seen.status, StatusCode::OK);
    assert!(seen.body.contains("Your data was deleted") && seen.body.contains("noindex"), "{}", seen.body);
    assert_eq!(page(&code.replace(&code[..4], "AAAA")).await.status, StatusCode::NOT_FOUND);

    world.later(minutes(1)).await;
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    assert_eq!(state(&alice, "facebook_user-1001").await.0, "active", "whoever signs in again is kept again");
}

// S50, S64
#[tokio::test]
async fn what_a_request_could_not_finish_the_sweep_does_and_the_page_says_so_meanwhile() {
    let world = World::start().await;
    let alice = world.person("alice");
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    let fault = json!({ "target": "dynamodb/TransactWriteItems", "mode": "status", "status": 500, "times": 3 });
    world.fault(fault).await;
    let message = messages(&world, "facebook", "alice.meyer", "data_deletion").remove(0);
    post(&world, &message).await.refused(503, "unavailable");
    world.no_faults().await;
    assert_eq!(state(&alice, "facebook_user-1001").await.0, "active");

    world.later(minutes(2)).await.sweep().await;
    alice.get("/v1/profiles/facebook_user-1001").await.refused(404, "not_found");
    let confirmed = post(&world, &message).await.expect(200);
    let page = Reply::of(world.http.get(confirmed["url"].as_str().unwrap()).send().await.unwrap()).await;
    assert!(page.body.contains("Your data was deleted"), "{}", page.body);
}

// S30, S36, S67, S69
#[tokio::test]
async fn what_is_forged_or_damaged_or_of_somebody_else_changes_nothing() {
    let world = World::start().await;
    let alice = world.person("alice");
    for (kind, token, account) in [
        ("facebook_user", "acquisition", "alice.meyer"),
        ("instagram_account", "acquisition", "harbour.photos"),
        ("x_profile", "interaction", "newsdesk"),
        ("youtube_channel", "interaction", "harbour.tv"),
    ] {
        alice.connect(kind, token, account).await;
    }
    let before = vault(&world).await;
    let first = |network: &str, account: &str, event: &str| messages(&world, network, account, event).remove(0);
    let genuine = [
        first("facebook", "alice.meyer", "deauthorize"),
        first("instagram", "harbour.photos", "data_deletion"),
        first("x", "newsdesk", "deauthorize"),
        first("youtube", "harbour.tv", "deauthorize"),
    ];
    let swap = |text: &str| text.replacen(['A', 'a'], "b", 1);
    for message in &genuine {
        let body = &message.body;
        let mut damaged = vec![
            String::new(),
            body[..body.len() - 1].to_owned(),
            body[..body.len() / 2].to_owned(),
            format!("{body}{body}"),
            format!("{body}&{body}"),
            "x".repeat(20_000),
            body.chars().rev().collect(),
        ];
        if let Some((head, tail)) = body.split_once('.') {
            damaged.extend([
                format!("{}.{tail}", swap(head)),
                format!("{head}.{}", swap(tail)),
                format!("{head}."),
                format!(".{tail}"),
            ]);
        }
        for body in damaged.into_iter().filter(|damaged| damaged != body) {
            let refused = post(&world, &Message { body: body.clone(), ..message.clone() }).await;
            assert!(refused.status.is_client_error(), "{} {body}: {}", message.path, refused.status);
        }
        // what Meta signed for one of its two addresses is as good at the other: it is of the same person
        let same_sender = |other: &&Message| other.path.split('/').nth(2) == message.path.split('/').nth(2);
        for other in genuine.iter().filter(|other| !same_sender(other)) {
            let refused = post(&world, &Message { body: other.body.clone(), ..message.clone() }).await;
            assert!(refused.status.is_client_error(), "{} at {}", other.path, message.path);
        }
    }
    let unsigned = Message { headers: Vec::new(), ..genuine[2].clone() };
    post(&world, &unsigned).await.refused(403, "sender_not_proven");
    let as_json = Message { content_type: "application/json", ..genuine[0].clone() };
    post(&world, &as_json).await.refused(415, "unsupported_media_type");

    // signed by somebody, and not by the network
    let issuer = world.sandbox.issuer();
    let now = world.sandbox.clock().now().as_second();
    let subject =
        json!({ "subject_type": "iss-sub", "iss": "https://accounts.google.com/", "sub": "100000000000000000001" });
    let events =
        json!({ "https://schemas.openid.net/secevent/oauth/event-type/tokens-revoked": { "subject": subject } });
    let google = "https://accounts.google.com/";
    for (iss, aud, at, code) in [
        (issuer.url(), "tokenward-sandbox-youtube", now, "invalid_issuer"),
        ("https://accounts.google.com.evil.example/", "tokenward-sandbox-youtube", now, "invalid_issuer"),
        (google, "somebody-else", now, "invalid_audience"),
        (google, "tokenward-sandbox-x", now, "invalid_audience"),
        (google, "tokenward-sandbox-youtube", now + 120, "invalid_request"),
    ] {
        let body = issuer.sign(json!({ "iss": iss, "aud": aud, "iat": at, "jti": "1", "events": events }));
        let refused = post(&world, &Message { body, ..genuine[3].clone() }).await;
        assert_eq!(refused.expect(400)["err"], code, "{iss} {aud}");
    }
    for (header, code) in
        [(r#"{"alg":"none","kid":"1"}"#, "invalid_request"), (r#"{"alg":"HS256","kid":"1"}"#, "invalid_key")]
    {
        use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
        let (_, rest) = genuine[3].body.split_once('.').unwrap();
        let body = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header));
        let refused = post(&world, &Message { body, ..genuine[3].clone() }).await;
        assert_eq!(refused.expect(400)["err"], code, "{header}");
    }

    // a challenge signs nothing that could be an event
    let event = r#"{"data":{"filter":{"user_id":"42"},"event_type":"oauth.revoke"}}"#;
    let asked = world.http.get(world.url("/events/x")).query(&[("crc_token", event)]).send().await.unwrap();
    Reply::of(asked).await.refused(400, "invalid_request");
    assert_eq!(vault(&world).await, before);
}
