//! Grants that nobody uses: the sweep keeps them alive, and finds out those that are dead.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{NEWSDESK, newsdesk, state, whoami};
use crate::support::{days, minutes};

#[tokio::test]
async fn a_grant_that_nobody_used_for_a_month_is_refreshed_and_its_owner_hears_nothing() {
    let (world, alice, worker) = newsdesk().await;
    world.later(days(29)).await.forget_calls().await;
    assert_eq!(world.sweep().await["renewed"], 0, "it is used enough");
    for _ in 0..8 {
        world.later(days(31)).await.forget_calls().await;
        let summary = world.sweep().await;
        assert_eq!((&summary["renewed"], &summary["unrenewed"], &summary["failed"]), (&json!(1), &json!(0), &json!(0)));
        assert_eq!(world.sweep().await["renewed"], 0);
        assert_eq!(world.calls("x/token").await, 1);
    }
    // two thirds of a year: X would have ended it after half a year
    world.forget_calls().await;
    whoami(&world, &worker.lease().await.expect(201)).await.expect(200);
    assert_eq!(world.calls("x/token").await, 0, "what the sweep got is what is leased");
    assert_eq!(alice.get("/v1/notices").await.expect(200)["items"], json!([]));
    assert!(world.mails().await.is_empty());
}

#[tokio::test]
async fn a_grant_that_is_leased_now_and_then_is_left_to_the_leases() {
    let (world, _, worker) = newsdesk().await;
    for _ in 0..4 {
        world.later(days(20)).await;
        worker.lease().await.expect(201);
        world.forget_calls().await;
        assert_eq!(world.sweep().await["renewed"], 0);
        assert_eq!(world.calls("x/token").await, 0);
    }
}

// S52
#[tokio::test]
async fn while_the_network_is_down_an_idle_grant_waits_for_the_next_sweep() {
    let (world, alice, worker) = newsdesk().await;
    world.later(days(31)).await;
    for mode in ["status", "reset", "throttle"] {
        world.fault(json!({ "target": "x/token", "mode": mode, "status": 503, "times": 100 })).await;
        let summary = world.sweep().await;
        assert_eq!((&summary["unrenewed"], &summary["renewed"], &summary["died"]), (&json!(1), &json!(0), &json!(0)));
        world.later(minutes(20)).await;
    }
    world.no_faults().await;
    assert_eq!(world.sweep().await["renewed"], 1);
    whoami(&world, &worker.lease().await.expect(201)).await.expect(200);
    assert_eq!(state(&alice, NEWSDESK).await, ("active".to_owned(), Value::Null));
    assert_eq!(alice.get("/v1/notices").await.expect(200)["items"], json!([]));
    assert!(world.mails().await.is_empty());
}

// S59
#[tokio::test]
async fn an_idle_grant_that_its_network_refuses_is_dead_and_its_owner_is_told_once() {
    let (world, alice, worker) = newsdesk().await;
    world.sandbox.networks().event("x", "newsdesk", "revoke").unwrap();
    world.later(days(31)).await;
    let summary = world.sweep().await;
    assert_eq!((&summary["died"], &summary["renewed"], &summary["mailed"]), (&json!(1), &json!(0), &json!(1)));
    assert_eq!(state(&alice, NEWSDESK).await, ("needs_reauth".to_owned(), json!("refresh_rejected")));
    worker.lease().await.refused(409, "no_valid_token");
    world.forget_calls().await;
    for _ in 0..3 {
        world.later(SignedDuration::from_hours(2)).await;
        let summary = world.sweep().await;
        assert_eq!((&summary["died"], &summary["mailed"], &summary["failed"]), (&json!(0), &json!(0), &json!(0)));
    }
    assert_eq!(world.calls("x/token").await, 0, "what is dead is not asked for again");
    let notices = alice.get("/v1/notices").await.expect(200);
    assert_eq!(notices["items"].as_array().unwrap().len(), 1, "{notices}");
    assert_eq!(world.mails().await.len(), 1);
}
