//! The sweep: what it says, to whom and how often, what it ends, and what it leaves alone.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use reqwest::Method;
use sandbox::issuer::PEOPLE;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{Person, Row, World, minutes};

pub(crate) mod errands;
mod faults;
mod ladder;
mod letters;
mod repeats;
mod unattached;

/// When the first token of a profile ends.
fn end_of(profile: &Value) -> Timestamp {
    profile["tokens"][0]["expires_at"].as_str().unwrap().parse().unwrap()
}

/// Signs in at the network once more for a token that exists.
async fn reauthenticate(person: &Person, profile: &str, token: &str, account: &str) -> Value {
    let session = person.begin_again(profile, token).await;
    let landing = person.approve(&session, account).await;
    person.complete(&landing).await.expect(200)["profiles"][0].clone()
}

/// What a person was told in the product, newest first.
async fn notices(person: &Person) -> Vec<Value> {
    person.get("/v1/notices").await.expect(200)["items"].as_array().unwrap().clone()
}

/// Lets a call go wrong, so many times.
fn strike(world: &World, target: &str, mode: &str, status: u16, times: u32) {
    let fault = json!({ "target": target, "mode": mode, "status": status, "times": times, "delay_ms": 60_000 });
    world.sandbox.faults().put(serde_json::from_value(fault).unwrap());
}

/// How many mails `name` got.
async fn mails_to(world: &World, name: &str) -> usize {
    let starts = format!("{name}@");
    world.mails().await.iter().filter(|mail| mail["to"][0].as_str().unwrap().starts_with(&starts)).count()
}

/// Everything that is stored, by table and key.
async fn everything(world: &World) -> BTreeMap<String, Row> {
    let mut rows = BTreeMap::new();
    for table in ["Vault", "Flows"] {
        for row in world.rows(table).await {
            let part = |name: &str| row.get(name).and_then(|key| key.as_s().ok()).map_or("", String::as_str);
            rows.insert(format!("{table}|{}|{}|{}", part("pk"), part("sk"), part("id")), row);
        }
    }
    rows
}

/// Those of the rows whose key has `part` in it.
async fn rows_with(world: &World, part: &str) -> Vec<Row> {
    everything(world).await.into_iter().filter(|(key, _)| key.contains(part)).map(|(_, row)| row).collect()
}

/// The number in a row's attribute, 0 where there is none.
fn number(row: &Row, name: &str) -> i64 {
    row.get(name).map_or(0, |value| value.as_n().unwrap().parse().unwrap())
}

/// A sweep that may fail as a whole.
async fn try_to_sweep(world: &World) -> Option<Value> {
    let reply = world.door(Method::POST, "/_sandbox/tick", json!({ "function": "expiry-sweep" })).await;
    reply.status.is_success().then(|| reply.json())
}

/// Returns as soon as `target` was called so many times since the calls were forgotten.
async fn called(world: &World, target: &str, times: u64) {
    while world.sandbox.faults().counts().get(target).copied().unwrap_or_default() < times {
        tokio::task::yield_now().await;
    }
}

/// What a person was told so far: the mails, the mails that may have been sent, and the notices.
async fn told(world: &World, person: &Person) -> [i64; 3] {
    let name = &person.name;
    let tenant = PEOPLE.iter().find(|known| known.name == name).unwrap().tenant;
    let key = |part: String| AttributeValue::S(part);
    let get = world.dynamodb().get_item().table_name("Vault").key("pk", key(format!("T#{tenant}#O#{name}")));
    let outbox = get.key("sk", key("OUTBOX".to_owned())).send().await.unwrap().item;
    let count = |count: usize| i64::try_from(count).unwrap();
    [
        count(mails_to(world, name).await),
        outbox.map_or(0, |outbox| number(&outbox, "unanswered")),
        count(notices(person).await.len()),
    ]
}

/// Tries every case in a world of its own, side by side: they mostly wait for what is asked again.
async fn side_by_side<C, T>(cases: impl IntoIterator<Item = C>, test: impl Fn(World, C) -> T)
where
    T: Future<Output = ()> + Send + 'static,
{
    let mut running = JoinSet::new();
    for case in cases {
        running.spawn(test(World::start().await, case));
    }
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }
}

/// Sweeps until nothing waits any more: lost mails are given up after ten minutes, and there is one an hour.
async fn settle(world: &World) {
    for wait in [0, 11, 61] {
        world.later(minutes(wait)).await.sweep().await;
    }
}
