//! What is broken for a while proves nothing: no token changes its state, nothing is deleted, and nobody is mailed.

use serde_json::{Value, json};

use super::{everything, mails_to, rows_with, side_by_side, strike, try_to_sweep};
use crate::support::{Person, World, days, minutes};

const X: (&str, &str, &str) = ("x_profile-42", "interaction", "newsdesk");
const FACEBOOK: (&str, &str, &str) = ("facebook_user-1001", "acquisition", "alice.meyer");

/// A world in which Alice has a token at each network and has been warned of one.
async fn warned(world: &World) -> Person {
    let alice = world.person("alice");
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    world.later(days(31)).await;
    alice.connect("x_profile", "interaction", "newsdesk").await;
    world.sweep().await;
    assert_eq!(mails_to(world, "alice").await, 1);
    alice
}

/// What must not change: the profiles as Alice sees them, her mails, and the grants at the networks.
async fn standing(world: &World, alice: &Person) -> (Value, usize, [bool; 2]) {
    let live = |network, account| world.sandbox.networks().grants(network, account)[0].live;
    (
        alice.get("/v1/profiles").await.expect(200),
        world.mails().await.len(),
        [live("x", "newsdesk"), live("facebook", "alice.meyer")],
    )
}

/// Tries to reauthenticate; tells where it ended.
async fn try_again(alice: &Person, (profile, token, account): (&str, &str, &str)) -> String {
    let session = alice.begin_again(profile, token).await;
    let consent = alice.browser.get(&session.connect_url).await;
    if consent.status != 303 {
        return consent.status.to_string();
    }
    let callback = alice.browser.decide(&consent.location(), "approve", account).await;
    let landed = alice.browser.get(callback.as_str()).await;
    if landed.status == 303 { landed.location().to_string() } else { landed.status.to_string() }
}

// S52
#[tokio::test]
async fn whatever_a_network_answers_for_a_while_the_token_that_was_to_be_renewed_stays_as_it_was() {
    let cases: [(_, &[&str]); 3] = [
        (X, &["x/token", "x/me"]),
        (FACEBOOK, &["facebook/token", "facebook/long_lived_token", "facebook/debug_token"]),
        (FACEBOOK, &["facebook/me"]),
    ];
    side_by_side(cases, async |world, (whose, targets)| {
        let alice = warned(&world).await;
        let before = standing(&world, &alice).await;
        for target in targets {
            for (mode, status) in [("status", 500), ("status", 503), ("throttle", 0), ("garbage", 0), ("lost_reply", 0)]
            {
                strike(&world, target, mode, status, 3);
                let landed = try_again(&alice, whose).await;
                assert!(landed.contains("&error="), "{mode} {status} at {target}: {landed}");
                world.no_faults().await;
                world.later(minutes(1)).await.sweep().await;
                assert_eq!(standing(&world, &alice).await, before, "{mode} {status} at {target}");
            }
        }
        assert!(rows_with(&world, "|revoke#").await.is_empty(), "what was granted in vain is revoked");
        assert!(!try_again(&alice, whose).await.contains("error"), "and then it works");
    })
    .await;
}

// S52
#[tokio::test]
async fn while_keys_or_tables_are_out_of_reach_connecting_and_sweeping_change_nothing() {
    let cases = [("kms/*", "status", false), ("dynamodb/Query", "throttle", true), ("dynamodb/*", "status", true)];
    side_by_side(cases, async |world, (target, mode, sweeps)| {
        let alice = warned(&world).await;
        // keys that were unwrapped before are forgotten by now
        world.later(minutes(60)).await.sweep().await;
        let (before, rows) = (standing(&world, &alice).await, everything(&world).await);
        strike(&world, target, mode, 503, 1000);
        if sweeps {
            assert_eq!(try_to_sweep(&world).await, None, "it fails as a whole, and the next tick tries again");
        } else {
            assert_eq!(try_again(&alice, X).await, "503 Service Unavailable");
        }
        world.no_faults().await;
        assert_eq!(standing(&world, &alice).await, before, "{target}");
        let kept = everything(&world).await;
        assert_eq!(rows.iter().find(|(key, row)| kept.get(*key) != Some(row)), None, "{target}");
    })
    .await;
}

// S52
#[tokio::test]
async fn a_revocation_waits_for_keys_and_tables_as_it_waits_for_its_network() {
    side_by_side(
        [("kms/*", "reset"), ("kms/*", "throttle"), ("dynamodb/GetItem", "status")],
        async |world, (target, mode)| {
            let alice = warned(&world).await;
            let session = alice.begin("x_profile", "interaction").await;
            alice.approve(&session, "support").await;
            world.later(minutes(60)).await;
            strike(&world, target, mode, 500, 1000);
            let summary = world.sweep().await;
            assert!(summary["revoked"] == 0 && summary["failed"] != 0, "{target} {mode}: {summary}");
            world.no_faults().await;
            let summary = world.sweep().await;
            assert_eq!((&summary["revoked"], &summary["failed"]), (&json!(1), &json!(0)), "{target} {mode}: {summary}");
            assert!(!world.sandbox.networks().grants("x", "support")[0].live);
            assert_eq!(mails_to(&world, "alice").await, 1);
        },
    )
    .await;
}

// S52
#[tokio::test]
async fn what_takes_too_long_proves_nothing_either() {
    side_by_side(["facebook/me", "x/revoke", "facebook/permissions", "ses/SendRawEmail"], async |world, target| {
        let alice = warned(&world).await;
        let before = standing(&world, &alice).await;
        let abandoned = [
            ("x/revoke", "x_profile", "interaction", "support"),
            ("facebook/permissions", "facebook_user", "interaction", "bob.stone"),
        ];
        if let Some((_, kind, token, account)) = abandoned.into_iter().find(|(of, ..)| *of == target) {
            let session = alice.begin(kind, token).await;
            alice.approve(&session, account).await;
            world.later(minutes(11)).await;
        }
        strike(&world, target, "slow", 0, 3);
        match target {
            "facebook/me" => {
                let landed = try_again(&alice, FACEBOOK).await;
                assert!(landed.contains("&error=network_unavailable"), "{landed}");
            }
            "ses/SendRawEmail" => {
                let summary = world.later(days(15)).await.sweep().await;
                assert_eq!((&summary["warned"], &summary["unanswered"]), (&json!(1), &json!(1)), "{summary}");
            }
            _ => {
                let summary = world.sweep().await;
                assert_eq!((&summary["unrevoked"], &summary["failed"]), (&json!(1), &json!(0)), "{summary}");
            }
        }
        world.no_faults().await;
        world.later(minutes(15)).await.sweep().await;
        assert_eq!(standing(&world, &alice).await, before, "{target}");
    })
    .await;
}
