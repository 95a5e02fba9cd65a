//! What is deleted, disallowed or signed in for anew: leases follow at once.

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    NEWSDESK, done_at, newsdesk,
    pool::{ALICE, Pool},
    state, told,
};
use crate::support::{days, minutes};

// S35
#[tokio::test]
async fn what_was_deleted_is_not_leased_any_more() {
    let (world, alice, worker) = newsdesk().await;
    worker.lease().await.expect(201);
    alice.delete(NEWSDESK).await.expect(200);
    worker.lease().await.refused(409, "no_valid_token");
    alice.connect("x_profile", "interaction", "newsdesk").await;
    worker.lease().await.expect(201);
    alice.delete("/v1/profiles/x_profile-42").await.expect(200);
    worker.lease().await.refused(404, "not_found");

    let pool = Pool::of(&[ALICE]).await;
    pool.lease().await.expect(201);
    pool.world.person("alice").delete("/v1/profiles/facebook_user-1001").await.expect(200);
    pool.lease().await.refused(409, "no_valid_token");
    assert_eq!(world.sandbox.networks().grants("x", "newsdesk").iter().filter(|grant| grant.live).count(), 0);
}

// S35
#[tokio::test]
async fn private_messages_are_leased_from_the_moment_they_are_allowed_until_the_moment_they_are_not() {
    let (_, alice, worker) = newsdesk().await;
    let rule = json!({ "topic": "Support", "use": "private_messages", "profile_ids": ["x_profile-42"] });
    let rule = alice.post("/v1/rules", rule).await.expect(201)["id"].clone();
    let order = json!({ "use": "private_messages", "profile_id": "x_profile-42", "rule_id": rule });
    for _ in 0..2 {
        worker.post("/v1/leases", order.clone()).await.refused(409, "no_valid_token");
        alice.patch(NEWSDESK, json!({ "allow": { "private_messages": true } })).await.expect(200);
        worker.post("/v1/leases", order.clone()).await.expect(201);
        alice.patch(NEWSDESK, json!({ "allow": { "private_messages": false } })).await.expect(200);
    }
    worker.lease().await.expect(201);
    let ruleless = json!({ "use": "private_messages", "profile_id": "x_profile-42" });
    worker.post("/v1/leases", ruleless).await.refused(400, "rule_required");
}

// S35
#[tokio::test]
async fn who_signs_in_again_is_leased_at_once_with_the_new_grant_alone() {
    let (world, alice, worker) = newsdesk().await;
    let before = worker.lease().await.expect(201);
    world.sandbox.networks().event("x", "newsdesk", "revoke").unwrap();
    worker.report(&before, json!({ "outcome": "unauthorized" })).await;
    worker.lease().await.refused(409, "no_valid_token");
    let session = alice.begin_again("x_profile-42", "interaction").await;
    let landing = alice.approve(&session, "newsdesk").await;
    alice.complete(&landing).await.expect(200);
    let after = worker.lease().await.expect(201);
    assert_ne!(after["access_token"], before["access_token"]);
    super::whoami(&world, &after).await.expect(200);
}

// S35
#[tokio::test]
async fn the_row_that_a_lease_comes_from_is_read_strongly_each_time() {
    let (world, _, worker) = newsdesk().await;
    let pool = Pool::of(&[ALICE]).await;
    let publish = json!({ "use": "publish", "profile_id": "x_profile-42" });
    let (strong, weak) = (Some(true), Some(false));
    for (world, worker, order, expected) in [
        // the profile with its tokens, and whether the app is limited
        (&world, &worker, publish, vec![("dynamodb/Query", strong), ("dynamodb/GetItem", weak)]),
        // the rule, the pool, the token, and whether the app is limited
        (
            &pool.world,
            &pool.worker,
            pool.order(),
            vec![
                ("dynamodb/GetItem", weak),
                ("dynamodb/Query", weak),
                ("dynamodb/GetItem", strong),
                ("dynamodb/GetItem", weak),
            ],
        ),
    ] {
        worker.post("/v1/leases", order.clone()).await.expect(201);
        // what is remembered for some seconds is read anew
        world.later(minutes(1)).await.forget_calls().await;
        worker.post("/v1/leases", order).await.expect(201);
        let calls = world.sandbox.faults().calls();
        let reads: Vec<_> = calls.iter().map(|call| (call.target.as_str(), call.consistent)).collect();
        assert_eq!(reads, expected);
    }
}

// S37
#[tokio::test]
async fn a_grant_that_comes_while_its_token_is_deleted_is_revoked_as_well() {
    let (world, alice, worker) = newsdesk().await;
    world.later(minutes(121)).await.forget_calls().await;
    let leasing = tokio::spawn(async move { worker.lease().await });
    let renewed = done_at(&world, "x/token").await;
    // X knows nothing of the older refresh token any more, and says so as RFC 7009 wants it: it is revoked
    world.fault(json!({ "target": "x/revoke", "mode": "status", "status": 200, "times": 1 })).await;
    let deleted = alice.delete("/v1/profiles/x_profile-42").await.expect(200);
    assert_eq!(deleted["revocation"], "revoked");
    let live = || world.sandbox.networks().grants("x", "newsdesk").iter().filter(|grant| grant.live).count();
    assert_eq!(live(), 1, "the new one");
    renewed.resume();
    leasing.await.unwrap().refused(409, "no_valid_token");

    world.door(Method::POST, "/_sandbox/tick", json!({ "function": "spill-reader" })).await.expect(200);
    world.later(minutes(5)).await.sweep().await;
    assert_eq!((live(), world.calls("x/revoke").await), (0, 2));
    assert_eq!(world.sandbox.cloud().messages("SpillQueue"), [] as [String; 0]);
    assert_eq!(world.rows("Flows").await.iter().filter(|row| row.contains_key("due_at")).count(), 0);
    alice.get("/v1/profiles/x_profile-42").await.refused(404, "not_found");
}

// S35, S37
#[tokio::test]
async fn a_grant_that_comes_after_its_owner_signed_in_again_is_revoked_and_the_newer_one_stays() {
    let (world, alice, worker) = newsdesk().await;
    world.later(minutes(121)).await;
    let leasing = tokio::spawn({
        let worker = worker.clone();
        async move { worker.lease().await }
    });
    let renewed = done_at(&world, "x/token").await;
    let session = alice.begin_again("x_profile-42", "interaction").await;
    let landing = alice.approve(&session, "newsdesk").await;
    alice.complete(&landing).await.expect(200);
    renewed.resume();
    let lease = leasing.await.unwrap().expect(201);
    super::whoami(&world, &lease).await.expect(200);

    world.door(Method::POST, "/_sandbox/tick", json!({ "function": "spill-reader" })).await.expect(200);
    world.later(minutes(5)).await.sweep().await;
    let grants = world.sandbox.networks().grants("x", "newsdesk");
    assert_eq!(grants.iter().map(|grant| grant.live).collect::<Vec<_>>(), [false, true], "{grants:?}");
    assert_eq!(state(&alice, NEWSDESK).await, ("active".to_owned(), Value::Null));
    super::whoami(&world, &worker.lease().await.expect(201)).await.expect(200);
    world.later(days(1)).await;
    super::whoami(&world, &worker.lease().await.expect(201)).await.expect(200);
    assert_eq!(told(&alice).await, (0, 0));
}
