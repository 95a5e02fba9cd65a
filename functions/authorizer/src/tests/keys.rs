//! When the issuer's keys are fetched, how long they serve, and what happens without them.

use serde_json::json;

use super::{
    HOUR, MINUTE,
    world::{Health, NOW, SigningKey, World},
};
use crate::Issuer;

// S38
#[tokio::test]
async fn keys_are_fetched_once_and_kept() {
    let world = World::start().await;
    for _ in 0..3 {
        world.accepts(&world.token(&json!({})), "a known key").await;
    }
    assert_eq!(world.issuer.fetches(), 1);
}

// S38
#[tokio::test]
async fn requests_at_the_same_time_share_one_fetch() {
    let world = World::start().await;
    let token = world.token(&json!({}));
    let answers = tokio::join!(world.ask(&token), world.ask(&token), world.ask(&token), world.ask(&token));
    for answer in [answers.0, answers.1, answers.2, answers.3] {
        assert_eq!(answer["isAuthorized"], true);
    }
    assert_eq!(world.issuer.fetches(), 1);
}

// S38
#[tokio::test]
async fn a_new_key_is_picked_up_and_the_retired_one_refused() {
    let world = World::start().await;
    let (old, new) = (world.token(&json!({})), SigningKey::other("two"));
    world.accepts(&old, "before the rotation").await;
    world.later(MINUTE);
    world.issuer.publishes([&world.key.jwk, &new.jwk]);
    world.accepts(&world.token_of(&new), "the new key").await;
    world.accepts(&old, "the old key, still published").await;
    world.later(MINUTE);
    world.issuer.publishes([&new.jwk]);
    world.refuses(&world.token_of(&SigningKey::third("three")), "a key that makes it ask again").await;
    world.refuses(&old, "the retired key").await;
    world.accepts(&world.token_of(&new), "the new key").await;
}

// S38
#[tokio::test]
async fn a_retired_key_is_refused_after_six_hours_at_the_latest() {
    let world = World::start().await;
    let token = world.token(&json!({ "exp": NOW + 24 * HOUR }));
    world.accepts(&token, "published").await;
    world.issuer.publishes([&SigningKey::other("two").jwk]);
    world.later(6 * HOUR - 1);
    world.accepts(&token, "retired, not noticed yet").await;
    world.later(1);
    world.refuses(&token, "noticed").await;
}

// S38
#[tokio::test]
async fn made_up_key_ids_ask_the_issuer_once_in_thirty_seconds() {
    let world = World::start().await;
    world.accepts(&world.token(&json!({})), "a known key").await;
    world.later(30);
    for kid in ["a", "b", "c", "d"] {
        world.refuses(&world.token_of(&SigningKey::third(kid)), kid).await;
    }
    assert_eq!(world.issuer.fetches(), 2);
    world.later(29);
    world.refuses(&world.token_of(&SigningKey::third("e")), "too soon").await;
    assert_eq!(world.issuer.fetches(), 2);
    world.later(1);
    world.refuses(&world.token_of(&SigningKey::third("f")), "after the pause").await;
    assert_eq!(world.issuer.fetches(), 3);
}

// S38
#[tokio::test]
async fn a_second_rotation_within_thirty_seconds_is_picked_up_after_the_pause() {
    let world = World::start().await;
    let (second, third) = (SigningKey::other("two"), SigningKey::third("three"));
    world.accepts(&world.token(&json!({})), "the first key").await;
    world.later(30);
    world.issuer.publishes([&second.jwk]);
    world.accepts(&world.token_of(&second), "the second key").await;
    world.later(10);
    world.issuer.publishes([&third.jwk]);
    world.refuses(&world.token_of(&third), "the third key, within the pause").await;
    world.later(20);
    world.accepts(&world.token_of(&third), "the third key, after the pause").await;
    world.refuses(&world.token_of(&second), "the second key, retired").await;
}

// S38
#[tokio::test]
async fn while_the_issuer_is_down_its_keys_serve_for_a_day_and_then_nobody_gets_in() {
    let world = World::start().await;
    let token = world.token(&json!({ "exp": NOW + 48 * HOUR }));
    world.accepts(&token, "the issuer is up").await;
    world.issuer.breaks(Health::Down);
    world.later(24 * HOUR - 1);
    world.accepts(&token, "a day, all but a second").await;
    world.refuses(&world.token_of(&SigningKey::other("two")), "a key that was never seen").await;
    let counted = || world.log().matches("AuthorizerUnavailable").count();
    assert_eq!(counted(), 0, "an operator is told of nothing that callers do not feel");
    world.later(1);
    world.fails(&token, "a day").await;
    assert_eq!(counted(), 1);
    world.issuer.breaks(Health::Up);
    world.later(1);
    world.accepts(&token, "the issuer is back").await;
}

// S38
#[tokio::test]
async fn without_any_key_the_authorizer_fails_and_recovers() {
    let world = World::start().await;
    let token = world.token(&json!({}));
    for health in [
        Health::Down,
        Health::Garbage,
        Health::Redirect,
        Health::Endless,
        Health::AnotherIssuer,
        Health::KeysInCleartextElsewhere,
    ] {
        world.issuer.breaks(health);
        world.fails(&token, &format!("{health:?}")).await;
        let asked = world.issuer.requests();
        world.fails(&token, "within the same second").await;
        assert_eq!(world.issuer.requests(), asked, "one request at a time: {health:?}");
        world.later(1);
    }
    world.issuer.breaks(Health::Up);
    world.issuer.publishes([]);
    world.fails(&token, "an empty key set").await;
    world.later(1);
    world.issuer.publishes([&world.key.jwk]);
    world.accepts(&token, "the issuer is back").await;
}

#[test]
fn an_issuer_is_https_or_on_this_machine() {
    for (url, is_issuer) in [
        ("https://login.example", true),
        ("https://login.example/pool/", true),
        ("http://127.0.0.1:8788/issuer", true),
        ("http://[::1]:8788", true),
        ("http://localhost", true),
        ("http://login.example", false),
        ("http://127.0.0.1.evil.example", false),
        ("https://login.example?tenant=1", false),
        ("https://login.example#x", false),
        ("https://user@login.example", false),
        ("ftp://login.example", false),
        ("login.example", false),
        ("", false),
    ] {
        assert_eq!(Issuer::new(url.to_owned()).is_ok(), is_issuer, "{url}");
    }
}
