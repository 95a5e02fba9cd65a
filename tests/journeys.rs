//! Whole stories, in order, through HTTP alone.

use reqwest::Method;
use sandbox::data::DataDir;
use serde_json::{Value, json};
use url::Url;

use crate::support::{Landing, World, days, parameter};

/// The link in a mail's text.
fn link(mail: &Value) -> String {
    let text = mail["text"].as_str().unwrap();
    let word = text.split_whitespace().find(|word| word.starts_with("http"));
    word.unwrap_or_else(|| panic!("no link in {text}")).to_owned()
}

#[tokio::test]
async fn a_person_connects_is_warned_reauthenticates_and_deletes() {
    let world = World::start().await;
    let alice = world.person("alice");

    // connects both
    let x = alice.connect("x_profile", "interaction", "newsdesk").await;
    assert_eq!((&x["id"], &x["state"], &x["owners"]), (&json!("x_profile-42"), &json!("valid"), &json!(["alice"])));
    let facebook = alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    assert_eq!(facebook["id"], "facebook_user-1001");
    assert_eq!(facebook["tokens"][0]["state"], "active");
    assert_eq!(facebook["tokens"][0]["uses"]["search_acquisition"], "not_allowed");

    // turns a switch
    let path = "/v1/profiles/facebook_user-1001/tokens/acquisition-alice";
    let token = alice.patch(path, json!({ "allow": { "search_acquisition": true } })).await.expect(200);
    assert_eq!(token["uses"]["search_acquisition"], "ready");

    // 31 days later there is one mail, and only one, to the owner
    world.later(days(31)).await;
    for _ in 0..3 {
        world.sweep().await;
    }
    let mails = world.mails().await;
    assert_eq!(mails.len(), 1, "{mails:#?}");
    assert_eq!(mails[0]["to"], json!(["alice@acme.example"]));
    let seen = alice.get("/v1/profiles/facebook_user-1001").await.expect(200);
    assert_eq!(seen["tokens"][0]["state"], "expiring");
    let notices = alice.get("/v1/notices").await.expect(200);
    assert_eq!(notices["items"].as_array().unwrap().len(), 1);
    assert_eq!(notices["items"][0]["kind"], "token_expiring");
    assert_eq!(notices["items"][0]["days_left"], 29);

    // its link names what to reauthenticate, for the console to begin it (tests/console follows it with a browser)
    let link = Url::parse(&link(&mails[0])).unwrap();
    let named = |name| parameter(&link, name).unwrap();
    assert_eq!(alice.browser.get(link.as_str()).await.status.as_u16(), 200);
    assert_eq!((&*named("profile"), &*named("token")), ("facebook_user-1001", "acquisition"));
    alice.reauthenticate(&named("profile"), &named("token"), "alice.meyer").await;

    // the profile keeps its id, owner and switches
    let again = alice.get("/v1/profiles/facebook_user-1001").await.expect(200);
    assert_eq!((&again["id"], &again["owners"]), (&facebook["id"], &facebook["owners"]));
    let (before, after) = (&seen["tokens"][0], &again["tokens"][0]);
    assert_eq!((&after["id"], &after["allow"]), (&before["id"], &before["allow"]));
    assert_eq!(after["state"], "active");
    assert!(after["expires_at"].as_str() > before["expires_at"].as_str());
    world.sweep().await;
    assert_eq!(world.mails().await.len(), 1, "an improvement mails nobody");

    // deletes: revoked upstream
    let deleted = alice.delete("/v1/profiles/facebook_user-1001").await.expect(200);
    assert_eq!(deleted["revocation"], "revoked", "{deleted}");
    assert!(world.sandbox.networks().grants("facebook", "alice.meyer").iter().all(|grant| !grant.live));
    let deleted = alice.delete("/v1/profiles/x_profile-42/tokens/interaction-alice").await.expect(200);
    assert_eq!(deleted["revocation"], "revoked", "{deleted}");
    assert!(world.sandbox.networks().grants("x", "newsdesk").iter().all(|grant| !grant.live));
    alice.get("/v1/profiles/facebook_user-1001").await.refused(404, "not_found");
}

#[tokio::test]
async fn killing_and_restarting_in_the_middle_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let data = || DataDir::at(directory.path()).unwrap();

    // killed with a token kept, and with a browser back from the network but not completed
    let world = World::at(data()).await;
    let alice = world.person("alice");
    let kept = alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    let session = alice.begin("x_profile", "interaction").await;
    let landing = alice.approve(&session, "newsdesk").await;
    world.later(days(0)).await;
    drop((alice, world));

    let world = World::at(data()).await;
    let alice = world.person("alice");
    assert_eq!(alice.get("/v1/profiles/facebook_user-1001").await.expect(200), kept);
    let path = format!("/v1/connect-sessions/{}/complete", session.id);
    let connected = alice.post(&path, json!({ "completion_code": landing.code() })).await.expect(200);
    assert_eq!(connected["profiles"][0]["id"], "x_profile-42");
    world.later(days(31)).await;
    world.sweep().await;
    drop((alice, world));

    // the mail, the moved clock and the grant at the network are there after another restart
    let world = World::at(data()).await;
    let alice = world.person("alice");
    assert_eq!(world.mails().await.len(), 1);
    world.sweep().await;
    assert_eq!(world.mails().await.len(), 1);
    let seen = alice.get("/v1/profiles/facebook_user-1001").await.expect(200);
    assert_eq!(seen["tokens"][0]["state"], "expiring");
    assert_eq!(alice.delete("/v1/profiles/x_profile-42").await.expect(200)["revocation"], "revoked");
}

// S31
#[tokio::test]
async fn two_tenants_connect_the_same_account_and_see_nothing_of_each_other() {
    let world = World::start().await;
    let (alice, erin) = (world.person("alice"), world.person("erin"));
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    let theirs = erin.connect("facebook_user", "acquisition", "alice.meyer").await;
    assert_eq!(theirs["owners"], json!(["erin"]));
    let listed = alice.get("/v1/profiles").await.expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(listed["items"][0]["owners"], json!(["alice"]));

    // one deletes: the other's grant is the same at the network and must live
    let deleted = alice.delete("/v1/profiles/facebook_user-1001").await.expect(200);
    assert_eq!(deleted["revocation"], "shared");
    assert!(world.sandbox.networks().grants("facebook", "alice.meyer").iter().any(|grant| grant.live));
    assert_eq!(erin.get("/v1/profiles/facebook_user-1001").await.expect(200)["state"], "valid");
    // the last one ends it
    assert_eq!(erin.delete("/v1/profiles/facebook_user-1001").await.expect(200)["revocation"], "revoked");
    assert!(world.sandbox.networks().grants("facebook", "alice.meyer").iter().all(|grant| !grant.live));
}

// S3
#[tokio::test]
async fn fifty_parallel_callbacks_with_one_state_make_one_exchange_and_one_connection() {
    let world = World::start().await;
    let alice = world.person("alice");
    let session = alice.begin("x_profile", "interaction").await;
    let consent = alice.browser.get(&session.connect_url).await.location();
    let callback = alice.browser.decide(&consent, "approve", "newsdesk").await;
    world.forget_calls().await;

    let callbacks: Vec<_> = (0..50)
        .map(|_| {
            let (browser, url) = (alice.browser.clone(), callback.clone());
            tokio::spawn(async move { browser.get(url.as_str()).await })
        })
        .collect();
    let mut landed = Vec::new();
    for callback in callbacks {
        let reply = callback.await.unwrap();
        match reply.status.as_u16() {
            303 => landed.push(Landing(reply.location())),
            _ => reply.obstructed(409, "link_used"),
        }
    }
    assert_eq!(landed.len(), 1);
    assert_eq!(world.calls("x/token").await, 1);
    assert_eq!(alice.complete(&landed[0]).await.expect(200)["profiles"].as_array().unwrap().len(), 1);
    assert_eq!(
        alice.api(Method::GET, "/v1/profiles", Value::Null).await.expect(200)["items"].as_array().unwrap().len(),
        1
    );
}
