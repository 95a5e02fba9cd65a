//! What is counted while people and workers do what they do, in the form in which CloudWatch reads it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};
use shared::{
    edge::subscriber,
    metrics::{self, Metric},
};
use tracing::{Dispatch, subscriber::DefaultGuard};

use crate::support::{World, days, minutes};

/// What is logged on this thread, in the deployed format.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// What was counted since it was looked at last: metric and network, and the sum.
    fn counted(&self) -> BTreeMap<(String, String), u64> {
        let written = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut sums = BTreeMap::new();
        for line in String::from_utf8(written).unwrap().lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            if line.get("_aws").is_none() {
                continue;
            }
            let network = line[metrics::NETWORK].as_str().unwrap_or_default();
            for metric in metrics_of(&line) {
                *sums.entry((metric.clone(), network.to_owned())).or_default() += line[&metric].as_u64().unwrap();
            }
        }
        sums
    }
}

/// The metrics of a line that CloudWatch takes as one: the specification's rules, and that nothing else is in it.
fn metrics_of(line: &Value) -> Vec<String> {
    assert!(line["_aws"]["Timestamp"].as_i64().is_some_and(|at| at > 1_700_000_000_000), "milliseconds: {line}");
    let [directive] = &line["_aws"]["CloudWatchMetrics"].as_array().unwrap()[..] else { panic!("{line}") };
    assert_eq!(directive["Namespace"], metrics::NAMESPACE);
    let mut members = BTreeSet::from(["_aws".to_owned()]);
    for set in directive["Dimensions"].as_array().unwrap() {
        for name in set.as_array().unwrap().iter().map(|name| name.as_str().unwrap()) {
            assert!(line[name].as_str().is_some_and(|value| !value.is_empty()), "{name} in {line}");
            members.insert(name.to_owned());
        }
    }
    let mut names = Vec::new();
    for metric in directive["Metrics"].as_array().unwrap() {
        let declared: Metric = serde_json::from_value(metric["Name"].clone()).unwrap();
        assert_eq!(metric["Unit"], declared.unit());
        names.push(metric["Name"].as_str().unwrap().to_owned());
    }
    members.extend(names.iter().cloned());
    assert_eq!(line.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>(), members, "nothing else is told");
    names
}

/// What is written on this thread from now on.
fn listen() -> (Log, (Dispatch, DefaultGuard)) {
    let log = Log::default();
    let writer = log.clone();
    // with a single subscriber in the process, a place that another thread logs from first would stay silent here
    let another = Dispatch::new(subscriber("test".to_owned(), io::sink));
    let listening = tracing::subscriber::set_default(subscriber("test".to_owned(), move || writer.clone()));
    (log, (another, listening))
}

/// A metric of a network; of none where its name is empty.
fn of(metric: &str, network: &str) -> (String, String) {
    (metric.to_owned(), network.to_owned())
}

// S39
#[tokio::test]
async fn what_happens_to_a_token_is_counted_by_network_and_tells_of_nobody() {
    let (log, _listening) = listen();
    let world = World::start().await;
    world.person("alice").connect("x_profile", "interaction", "newsdesk").await;
    let worker = world.person("acme-worker");
    let lease = async || worker.post("/v1/leases", json!({ "use": "publish", "profile_id": "x_profile-42" })).await;
    log.counted();

    lease().await.expect(201);
    let seen = log.counted();
    assert_eq!(seen.get(&of("Leased", "x")), Some(&1), "{seen:?}");
    assert!(seen.contains_key(&of("LeaseLatency", "x")) && !seen.contains_key(&of("Refreshed", "x")));

    world.later(minutes(180)).await;
    lease().await.expect(201);
    let seen = log.counted();
    assert_eq!(seen.get(&of("Refreshed", "x")), Some(&1), "{seen:?}");
    assert!(seen.contains_key(&of("RefreshLatency", "x")), "{seen:?}");

    world.later(minutes(180)).await;
    world.fault(json!({ "target": "x/token", "mode": "status", "status": 503, "times": 100 })).await;
    lease().await.refused(503, "unavailable");
    let seen = log.counted();
    for metric in ["RefreshesFailed", "NetworkUnanswered", "LeasesUnavailable"] {
        assert_eq!(seen.get(&of(metric, "x")), Some(&1), "{seen:?}");
    }

    world.no_faults().await;
    world.later(minutes(30)).await;
    world.fault(json!({ "target": "kms/Decrypt", "mode": "status", "status": 500, "times": 100 })).await;
    lease().await.refused(503, "unavailable");
    let seen = log.counted();
    assert!(seen.get(&of("KeysUnavailable", "")).is_some_and(|times| *times >= 1), "{seen:?}");

    world.no_faults().await;
    world.happens("x", "newsdesk", json!({ "event": "revoke" })).await;
    lease().await.refused(409, "no_valid_token");
    let seen = log.counted();
    assert_eq!(seen.get(&of("FoundDead", "x")), Some(&1), "{seen:?}");
    assert_eq!(seen.get(&of("LeasesWithoutToken", "x")), Some(&1), "{seen:?}");

    world.sweep().await;
    let seen = log.counted();
    // a tick of the sandbox is as many as it takes until nothing is left to do
    assert!(seen.get(&of("Sweeps", "")).is_some_and(|ticks| *ticks >= 1), "{seen:?}");
    assert_eq!(seen.get(&of("SweepMailed", "")), Some(&1), "its owner is told: {seen:?}");
    assert_eq!(seen.get(&of("SweepFailed", "")), Some(&0), "a zero is a number too: {seen:?}");
}

// S49
#[tokio::test]
async fn a_grant_that_is_spilled_put_back_or_lost_is_counted() {
    let (log, _listening) = listen();
    let world = World::start().await;
    world.person("alice").connect("x_profile", "interaction", "newsdesk").await;
    let worker = world.person("acme-worker");
    let publish = json!({ "use": "publish", "profile_id": "x_profile-42" });
    let storing_fails = |target: &str| json!({ "target": target, "mode": "status", "status": 500, "times": 1000 });

    for (failing, counted) in [
        (&["dynamodb/UpdateItem"][..], "GrantsSpilled"),
        (&["dynamodb/UpdateItem", "sqs/SendMessage"][..], "GrantsLost"),
    ] {
        world.later(minutes(180)).await;
        world.forget_calls().await;
        world.fault(json!({ "target": "x/token", "mode": "slow", "delay_ms": 1500, "times": 1 })).await;
        log.counted();
        let meanwhile = async {
            // X is asked by now, and answers in a moment
            while world.calls("x/token").await == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            for target in failing {
                world.fault(storing_fails(target)).await;
            }
        };
        let (answer, ()) = tokio::join!(worker.post("/v1/leases", publish.clone()), meanwhile);
        answer.refused(503, "unavailable");
        world.no_faults().await;
        assert_eq!(log.counted().get(&of(counted, "x")), Some(&1), "{counted}");

        world.later(minutes(1)).await;
        world.sandbox.tick("spill-reader").await.unwrap();
        let put_back = log.counted().get(&of("GrantsPlaced", "x")).copied();
        assert_eq!(put_back, (counted == "GrantsSpilled").then_some(1));
    }
}

#[tokio::test]
async fn acquisition_that_stops_is_counted_once() {
    let (log, _listening) = listen();
    let world = World::start().await;
    let alice = world.person("alice");
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    let token = "/v1/profiles/facebook_user-1001/tokens/acquisition-alice";
    alice.patch(token, json!({ "allow": { "search_acquisition": true } })).await.expect(200);
    world.later(minutes(2)).await.sweep().await;
    log.counted();

    world.happens("facebook", "alice.meyer", json!({ "event": "revoke" })).await;
    world.later(days(1)).await.sweep().await;
    let seen = log.counted();
    assert_eq!(seen.get(&of("FoundDead", "facebook")), Some(&1), "{seen:?}");
    assert_eq!(seen.get(&of("AcquisitionRed", "facebook")), Some(&1), "{seen:?}");
    world.later(days(1)).await.sweep().await;
    assert!(!log.counted().contains_key(&of("AcquisitionRed", "facebook")), "it is told once");
}
