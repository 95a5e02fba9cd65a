//! Leases while something that they need is down: what works goes on working, and the rest says so.

use serde_json::{Value, json};

use super::{
    NEWSDESK, newsdesk,
    pool::{ALICE, Pool},
    state, told, whoami,
};
use crate::support::{Reply, World, minutes};

async fn down(world: &World, target: &str, mode: &str) {
    world.fault(json!({ "target": target, "mode": mode, "status": 500, "times": 100_000 })).await;
}

fn says_come_back(reply: &Reply) {
    reply.refused(503, "unavailable");
    assert!(reply.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0), "{reply:?}");
    assert!(!reply.body.contains("access_token"), "{reply:?}");
}

// S65
#[tokio::test]
async fn an_access_token_that_works_is_leased_while_its_network_is_down_until_its_last_minute() {
    for mode in ["status", "reset", "garbage"] {
        let (world, alice, worker) = newsdesk().await;
        let lease = worker.lease().await.expect(201);
        down(&world, "x/*", mode).await;
        world.forget_calls().await;
        for (wait, asks) in [(60, false), (54, false), (2, true), (2, true)] {
            world.later(minutes(wait)).await;
            assert_eq!(worker.lease().await.expect(201)["access_token"], lease["access_token"], "{mode}");
            assert_eq!(world.calls("x/token").await > 0, asks, "it is renewed in its last five minutes: {mode}");
        }
        world.later(minutes(2)).await;
        says_come_back(&worker.lease().await);
        assert_eq!(state(&alice, NEWSDESK).await, ("active".to_owned(), Value::Null), "{mode}");
        assert_eq!(told(&alice).await, (0, 0), "{mode}");

        world.no_faults().await;
        world.later(minutes(16)).await;
        let renewed = worker.lease().await.expect(201);
        whoami(&world, &renewed).await.expect(200);
    }
}

// S65
#[tokio::test]
async fn facebooks_tokens_are_leased_while_facebook_is_down() {
    let pool = Pool::of(&[ALICE]).await;
    down(&pool.world, "facebook/*", "reset").await;
    pool.world.forget_calls().await;
    pool.lease().await.expect(201);
    let counts = pool.world.sandbox.faults().counts();
    assert!(counts.keys().all(|target| !target.starts_with("facebook/")), "{counts:?}");
}

// S64
#[tokio::test]
async fn while_kms_is_down_a_function_that_knows_no_key_opens_nothing_and_one_that_does_goes_on() {
    for mode in ["reset", "throttle"] {
        let (world, _, worker) = newsdesk().await;
        down(&world, "kms/*", mode).await;
        says_come_back(&worker.lease().await);
        world.no_faults().await;
        let lease = worker.lease().await.expect(201);
        down(&world, "kms/*", mode).await;
        assert_eq!(worker.lease().await.expect(201)["access_token"], lease["access_token"], "{mode}");
        let report = json!({ "outcome": "succeeded" });
        assert_eq!(worker.report(&lease, report).await["effect"], "none", "{mode}");
    }
}

// S64
#[tokio::test]
async fn while_secrets_manager_is_down_only_what_needs_an_app_waits() {
    let (world, _, worker) = newsdesk().await;
    let pool = Pool::of(&[ALICE]).await;
    for world in [&world, &pool.world] {
        down(world, "secretsmanager/*", "status").await;
    }
    // nothing at X goes with an access token
    whoami(&world, &worker.lease().await.expect(201)).await.expect(200);
    says_come_back(&pool.lease().await);
    world.later(minutes(121)).await.forget_calls().await;
    says_come_back(&worker.lease().await);
    assert_eq!(world.calls("x/token").await, 0);

    for world in [&world, &pool.world] {
        world.no_faults().await;
    }
    pool.lease().await.expect(201);
    whoami(&world, &worker.lease().await.expect(201)).await.expect(200);
}

// S64
#[tokio::test]
async fn the_spill_queue_is_missed_by_nobody_while_the_tables_work() {
    let (world, _, worker) = newsdesk().await;
    down(&world, "sqs/*", "status").await;
    world.later(minutes(121)).await;
    whoami(&world, &worker.lease().await.expect(201)).await.expect(200);
}

async fn say_that_tables_are_down(target: &str, mode: &str) {
    let (world, alice, worker) = newsdesk().await;
    let pool = Pool::of(&[ALICE]).await;
    let lease = worker.lease().await.expect(201);
    world.later(minutes(121)).await;
    for world in [&world, &pool.world] {
        down(world, target, mode).await;
        world.forget_calls().await;
    }
    let path = format!("/v1/leases/{}/report", lease["id"].as_str().unwrap());
    let report = worker.post(&path, json!({ "outcome": "unauthorized" }));
    let (lease, search, report) = tokio::join!(worker.lease(), pool.lease(), report);
    // a report needs no query
    let replies = if target == "dynamodb/Query" { vec![lease, search] } else { vec![lease, search, report] };
    replies.iter().for_each(says_come_back);
    assert_eq!(world.calls("x/token").await, 0, "{target}");
    for world in [&world, &pool.world] {
        world.no_faults().await;
    }
    assert_eq!(told(&alice).await, (0, 0));
    whoami(&world, &worker.lease().await.expect(201)).await.expect(200);
    pool.lease().await.expect(201);
}

// S64
#[tokio::test]
async fn while_tables_are_down_leases_and_reports_say_so_and_change_nothing() {
    tokio::join!(
        say_that_tables_are_down("dynamodb/Query", "status"),
        say_that_tables_are_down("dynamodb/GetItem", "reset"),
        say_that_tables_are_down("dynamodb/*", "throttle"),
    );
}
