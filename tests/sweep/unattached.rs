//! Grants that belong to nobody: they are ended at the network, and nothing else with them.

use serde_json::{Value, json};

use super::{everything, rows_with, strike};
use crate::support::{Person, World, days, minutes};

fn live(world: &World, network: &str, account: &str) -> Vec<bool> {
    world.sandbox.networks().grants(network, account).iter().map(|grant| grant.live).collect()
}

/// Signs in at the network, and never completes.
async fn abandon(person: &Person, kind: &str, token: &str, account: &str) -> String {
    let session = person.begin(kind, token).await;
    person.approve(&session, account).await;
    session.id
}

async fn assert_forgotten(world: &World, person: &Person, session: &str) {
    let seen = person.get(&format!("/v1/connect-sessions/{session}")).await.expect(200);
    assert_eq!((&seen["status"], &seen["error"]["code"]), (&json!("failed"), &json!("session_expired")));
    let [row] = &rows_with(world, &format!("Flows|||{session}")).await[..] else { panic!("one session") };
    assert!(!row.contains_key("sealed") && !row.contains_key("due_at"), "{row:?}");
}

fn counts<const N: usize>(summary: &Value, names: [&str; N]) -> [u64; N] {
    names.map(|name| summary[name].as_u64().unwrap())
}

#[tokio::test]
async fn a_grant_that_nobody_took_over_in_ten_minutes_is_revoked() {
    let world = World::start().await;
    let alice = world.person("alice");
    for (kind, token, network, account) in
        [("x_profile", "interaction", "x", "newsdesk"), ("facebook_user", "acquisition", "facebook", "alice.meyer")]
    {
        let session = abandon(&alice, kind, token, account).await;
        world.later(minutes(9)).await.sweep().await;
        assert_eq!(live(&world, network, account), [true], "there is a minute left");
        let summary = world.later(minutes(2)).await.sweep().await;
        assert_eq!(counts(&summary, ["abandoned", "revoked", "shared"]), [1, 1, 0], "{summary}");
        assert_eq!(live(&world, network, account), [false]);
        assert_forgotten(&world, &alice, &session).await;
        assert!(rows_with(&world, "|revoke#").await.is_empty());
        let summary = world.later(minutes(5)).await.sweep().await;
        assert_eq!(counts(&summary, ["abandoned", "revoked", "shared"]), [0, 0, 0]);
    }
    assert!(world.mails().await.is_empty());
}

#[tokio::test]
async fn at_facebook_a_grant_is_left_alone_while_something_else_lives_on_the_login() {
    let world = World::start().await;
    let (alice, erin) = (world.person("alice"), world.person("erin"));

    // another tenant's token
    erin.connect("facebook_user", "acquisition", "alice.meyer").await;
    let session = abandon(&alice, "facebook_user", "acquisition", "alice.meyer").await;
    let summary = world.later(minutes(11)).await.sweep().await;
    assert_eq!(counts(&summary, ["abandoned", "revoked", "shared"]), [1, 0, 1], "{summary}");
    assert_forgotten(&world, &alice, &session).await;
    assert_eq!(erin.get("/v1/profiles/facebook_user-1001").await.expect(200)["state"], "valid");
    assert_eq!(world.calls("facebook/permissions").await, 0);

    // another sign-in that waits to be completed, by whomever
    abandon(&alice, "facebook_user", "acquisition", "bob.stone").await;
    world.later(minutes(6)).await;
    let later = erin.begin("facebook_user", "acquisition").await;
    let landing = erin.approve(&later, "bob.stone").await;
    let summary = world.later(minutes(5)).await.sweep().await;
    assert_eq!(counts(&summary, ["abandoned", "revoked", "shared"]), [1, 0, 1], "{summary}");
    erin.complete(&landing).await.expect(200);
    assert_eq!(world.calls("facebook/permissions").await, 0);

    // when the last is gone, so is the grant
    for profile in ["facebook_user-1001", "facebook_user-1002"] {
        assert_eq!(erin.delete(&format!("/v1/profiles/{profile}")).await.expect(200)["revocation"], "revoked");
    }
    assert_eq!(world.calls("facebook/permissions").await, 2);
}

#[tokio::test]
async fn of_several_abandoned_grants_of_a_login_the_last_ends_them_all() {
    let world = World::start().await;
    let (alice, erin) = (world.person("alice"), world.person("erin"));
    for person in [&alice, &erin] {
        abandon(person, "facebook_user", "interaction", "alice.meyer").await;
    }
    world.forget_calls().await;
    let summary = world.later(minutes(11)).await.sweep().await;
    assert_eq!(counts(&summary, ["abandoned", "revoked", "shared"]), [2, 1, 1], "{summary}");
    assert!(!live(&world, "facebook", "alice.meyer").contains(&true));
    // an index is a hint: the rows that it names are read strongly
    let reads: Vec<_> =
        world.sandbox.faults().calls().into_iter().filter(|call| call.target.ends_with("/GetItem")).collect();
    assert!(reads.iter().all(|read| read.consistent == Some(true)) && reads.len() > 2, "{reads:?}");
}

// S52
#[tokio::test]
async fn a_revocation_is_tried_again_in_growing_pauses_until_the_network_is_back() {
    let world = World::start().await;
    let alice = world.person("alice");
    for (kind, token, account, profile, target, mode, status) in [
        ("x_profile", "interaction", "newsdesk", "x_profile-42", "x/revoke", "status", 503),
        ("facebook_user", "acquisition", "bob.stone", "facebook_user-1002", "facebook/permissions", "throttle", 503),
    ] {
        let network = target.split('/').next().unwrap();
        alice.connect(kind, token, account).await;
        strike(&world, target, mode, status, 1000);
        let deleted = alice.delete(&format!("/v1/profiles/{profile}")).await.expect(200);
        assert_eq!(deleted["revocation"], "pending", "{deleted}");
        alice.get(&format!("/v1/profiles/{profile}")).await.refused(404, "not_found");

        let mut tried_after = Vec::new();
        for tick in 1..=16 {
            world.forget_calls().await;
            world.later(minutes(5)).await.sweep().await;
            if world.calls(target).await > 0 {
                tried_after.push(tick * 5);
            }
        }
        assert_eq!(tried_after, [5, 15, 35, 75], "minutes after the first, at {network}");
        assert_eq!(live(&world, network, account), [true]);
        assert_eq!(rows_with(&world, "|revoke#").await.len(), 1);

        world.no_faults().await;
        let summary = world.later(days(1)).await.sweep().await;
        assert_eq!(counts(&summary, ["revoked", "unrevoked"]), [1, 0], "{summary}");
        assert_eq!(live(&world, network, account), [false]);
        assert!(everything(&world).await.keys().all(|key| !key.contains("revoke#")));
    }
    assert!(world.mails().await.is_empty());
}
