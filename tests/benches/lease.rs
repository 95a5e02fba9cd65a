//! A warm lease beside a bare `GetItem` of the row that it hands out: `cargo bench -p tests --bench lease`.
//!
//! Both go to the same table on loopback through the same SDK, turn by turn in one run, so that what the machine does
//! meanwhile happens to both. A lease is measured from the event that API Gateway sends to the answer that it gets. Times
//! on loopback say little; the ratio says what a lease costs above the one read that it cannot do without.
#![expect(clippy::unwrap_used, reason = "a bench that goes wrong ends")]

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::json;

use crate::{
    invocation::{context, event},
    support::World,
};

#[path = "../invocation.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod invocation;
#[path = "../support.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod support;

const WARM_UP: usize = 500;
const TURNS: usize = 5_000;

#[tokio::main]
async fn main() {
    let world = World::start().await;
    world.person("alice").connect("x_profile", "interaction", "newsdesk").await;
    let mut worker = context(&world, "acme", "acme-worker");
    (worker["roles"], worker["scope"]) = (json!(""), json!("leases"));
    let order = event("POST", "/v1/leases", &json!({ "use": "publish", "profile_id": "x_profile-42" }), &worker);
    let key = |text: &str| AttributeValue::S(text.to_owned());
    let row = world.dynamodb().get_item().table_name("Vault").consistent_read(true);
    let row = row.key("pk", key("T#acme#P#x_profile-42")).key("sk", key("TOKEN#interaction-alice"));

    let (mut reads, mut leases) = (Vec::with_capacity(TURNS), Vec::with_capacity(TURNS));
    for turn in 0..WARM_UP + TURNS {
        let (row, order) = (row.clone(), order.clone());
        let (found, read) = timed(row.send()).await;
        assert!(found.unwrap().item.is_some());
        let (answer, lease) = timed(Box::pin(world.sandbox.functions().invoke("leases", order))).await;
        assert_eq!(answer.unwrap()["statusCode"], 201);

        if turn >= WARM_UP {
            reads.push(read);
            leases.push(lease);
        }
    }
    assert_eq!(world.calls("x/token").await, 1, "the code was redeemed, and nothing renewed since");

    println!("{TURNS} turns        p50        p99");
    for (name, times) in [("GetItem", &mut reads), ("warm lease", &mut leases)] {
        times.sort_unstable();
        println!("{name:<10} {:>7.0} µs {:>7.0} µs", micros(percentile(times, 50)), micros(percentile(times, 99)));
    }
    let ratio = |percent| percentile(&leases, percent).div_duration_f64(percentile(&reads, percent));
    println!("ratio      {:>10.2} {:>10.2}", ratio(50), ratio(99));
}

#[expect(clippy::disallowed_methods, reason = "a bench measures")]
async fn timed<T>(answer: impl Future<Output = T>) -> (T, Duration) {
    let began = Instant::now();
    (answer.await, began.elapsed())
}

/// Of times in order.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
