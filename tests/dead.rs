//! A token that its network said is dead: its owner is told, once, and at once.

use jiff::Timestamp;
use serde_json::{Value, json};
use shared::{
    settings::Settings,
    store::{
        Spread, StoreError,
        profiles::{TokenKey, Vault},
    },
    token::{Aged, Happening, Reason, Step, Token},
};

use crate::support::{Person, World, days, minutes};

const X: (&str, &str) = ("x_profile-42", "interaction-alice");
const FACEBOOK: (&str, &str) = ("facebook_user-1001", "acquisition-alice");

/// A world in which Alice has a token at each network.
async fn connected() -> (World, Person) {
    let world = World::start().await;
    let alice = world.person("alice");
    alice.connect("x_profile", "interaction", "newsdesk").await;
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    (world, alice)
}

/// A token's row as somebody reads it.
async fn read(world: &World, (profile, token): (&str, &str)) -> (Vault, TokenKey, Token) {
    let vault = Vault::new(world.sandbox.aws_config(), "Vault", Spread::new(4, 0));
    let [tenant, profile, token] = ["acme", profile, token];
    let key =
        TokenKey { tenant: tenant.parse().unwrap(), profile: profile.parse().unwrap(), token: token.parse().unwrap() };
    let row = vault.token(&key).await.unwrap().unwrap().token;
    (vault, key, row)
}

/// Writes down that the network said that a token, as it was read, is dead.
async fn die((vault, key, row): &(Vault, TokenKey, Token), reason: Reason, now: Timestamp) -> Result<(), StoreError> {
    let state = row.state.after(Happening::Died(reason)).unwrap();
    let step = Step::Dead { reason, generation: row.generation };
    vault.age(key, row, Aged { state, step: Some((step, now)) }, &Settings::default(), now).await
}

/// The token is found dead now.
async fn found_dead(world: &World, whose: (&str, &str), reason: Reason) {
    die(&read(world, whose).await, reason, world.sandbox.clock().now()).await.unwrap();
}

async fn notices(person: &Person) -> Vec<Value> {
    person.get("/v1/notices").await.expect(200)["items"].as_array().unwrap().clone()
}

// S59
#[tokio::test]
async fn a_token_that_was_found_dead_is_told_to_its_owner_at_once_and_once() {
    let (world, alice) = connected().await;
    let row = read(&world, X).await;
    world.later(minutes(1)).await;
    let now = world.sandbox.clock().now();
    die(&row, Reason::RevokedByUser, now).await.unwrap();
    assert!(
        matches!(die(&row, Reason::RevokedByUser, now).await, Err(StoreError::Conflict)),
        "somebody else found it too"
    );

    let told = notices(&alice).await;
    let expected = json!([{
        "id": told[0]["id"],
        "kind": "token_needs_reauth",
        "profile_id": "x_profile-42",
        "token_id": "interaction-alice",
        "name": told[0]["name"],
        "owner": "alice",
        "reason": "revoked_by_user",
        "at": now,
        "dismissed": false,
    }]);
    assert_eq!(json!(told), expected);
    let dismissed = alice.post(&format!("/v1/notices/{}/dismiss", told[0]["id"].as_str().unwrap()), json!({})).await;
    assert_eq!(dismissed.expect(200)["dismissed"], true);
    let token = &alice.get("/v1/profiles/x_profile-42").await.expect(200)["tokens"][0];
    assert_eq!((&token["state"], &token["reason"]), (&json!("needs_reauth"), &json!("revoked_by_user")));

    for wait in [1, 5, 120, 100 * 24 * 60] {
        world.later(minutes(wait)).await.sweep().await;
        let mails = world.mails().await;
        let of_x: Vec<_> =
            mails.iter().filter(|mail| mail["text"].as_str().unwrap().contains("x_profile-42")).collect();
        let [mail] = of_x[..] else { panic!("one mail after {wait} minutes: {of_x:#?}") };
        assert_eq!(mail["to"], json!(["alice@acme.example"]));
        assert!(mail["subject"].as_str().unwrap().ends_with("(X profile): sign in again, access no longer works"));
        let link = format!("{}?profile=x_profile-42&token=interaction", world.url("/console"));
        for part in ["text", "html"] {
            let part = mail[part].as_str().unwrap().replace("&amp;", "&");
            assert!(part.contains("At X the permission was taken back") && part.contains(&link), "{part}");
        }
    }
}

#[tokio::test]
async fn who_signed_in_again_meanwhile_is_not_mailed_and_the_next_death_is_told_again() {
    let (world, alice) = connected().await;
    for episode in 1..=2 {
        found_dead(&world, X, Reason::LostAnswer).await;
        let session = alice.begin_again(X.0, "interaction").await;
        let landing = alice.approve(&session, "newsdesk").await;
        alice.complete(&landing).await.expect(200);
        world.later(minutes(5)).await.sweep().await;
        assert_eq!((notices(&alice).await.len(), world.mails().await.len()), (episode, 0));
    }
    found_dead(&world, X, Reason::LostAnswer).await;
    world.sweep().await;
    let mails = world.mails().await;
    assert_eq!((notices(&alice).await.len(), mails.len()), (3, 1));
    assert!(mails[0]["text"].as_str().unwrap().contains("Nobody did anything wrong"), "{mails:#?}");
}

#[tokio::test]
async fn a_death_within_an_hour_of_a_mail_waits_for_it_and_takes_the_place_of_the_warning() {
    let (world, alice) = connected().await;
    // a warning at 30 days and, within the hour, the death of the same token and of another
    world.later(days(31)).await.sweep().await;
    assert_eq!(world.mails().await.len(), 1);
    found_dead(&world, FACEBOOK, Reason::PasswordChanged).await;
    found_dead(&world, X, Reason::RefreshRejected).await;
    world.later(minutes(30)).await.sweep().await;
    assert_eq!((world.mails().await.len(), notices(&alice).await.len()), (1, 3), "in the product it is said at once");
    world.later(minutes(31)).await.sweep().await;
    let mails = world.mails().await;
    assert_eq!(mails.len(), 2);
    assert_eq!(mails[1]["subject"], "2 connections need you to sign in again");

    // what is dead does not end once more
    world.later(days(60)).await.sweep().await;
    assert_eq!((world.mails().await.len(), notices(&alice).await.len()), (2, 3));
}

#[tokio::test]
async fn a_warning_that_was_not_mailed_yet_is_not_mailed_when_the_token_is_dead() {
    let (world, alice) = connected().await;
    world.fault(json!({ "target": "ses/SendRawEmail", "mode": "throttle", "times": 1 })).await;
    world.later(days(31)).await.sweep().await;
    found_dead(&world, FACEBOOK, Reason::Checkpoint).await;
    world.later(minutes(5)).await.sweep().await;
    let mails = world.mails().await;
    assert_eq!((mails.len(), notices(&alice).await.len()), (1, 2));
    let text = mails[0]["text"].as_str().unwrap();
    assert!(text.contains("log in there first") && !text.contains("ends in"), "{text}");
}
