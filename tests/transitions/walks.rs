//! Random walks through the front door, at every network: what the API shows of a token changes only as it is drawn.

use std::{cell::RefCell, collections::BTreeSet};

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};
use serde_json::{Value, json};

use super::{Cause, causes};
use crate::support::{Landing, Person, World, minutes};

/// How many walks there are at each network, and how long they are.
const WALKS: u32 = 12;
const SHORTEST: usize = 8;
const LONGEST: usize = 20;

/// What happens.
#[derive(Clone, Debug)]
enum Act {
    /// A worker wants an access token.
    Lease,
    /// The worker reports what the network answered: a status, and the code and subcode of Meta.
    Report(u16, u32, u32),
    /// The sweep runs.
    Sweep,
    /// So many minutes pass.
    Wait(i64),
    /// Something happens to the account at its network.
    Happens(&'static str),
    /// Everything that is asked of the network goes wrong so often.
    Fault(&'static str, u32),
    /// Everything goes right again.
    NoFaults,
    /// The owner signs in again, for which all goes right again.
    SignIn,
    /// The owner turns the switch, where there is one.
    Allow(bool),
    /// The owner deletes the token.
    Delete,
}

/// What a worker may claim, rightly or wrongly.
fn report() -> impl Strategy<Value = Act> {
    let answers = [
        (200, 0, 0),
        (401, 190, 460),
        (400, 190, 463),
        (403, 200, 0),
        (429, 17, 0),
        (429, 32, 0),
        (402, 4, 0),
        (503, 2, 0),
    ];
    prop::sample::select(answers.to_vec()).prop_map(|(status, code, subcode)| Act::Report(status, code, subcode))
}

/// What is over sooner or later by itself: the network was not reached, is down, or wants less.
fn transient() -> impl Strategy<Value = Act> {
    let modes = prop::sample::select(vec!["status", "reset", "throttle"]);
    prop_oneof![
        3 => Just(Act::Lease),
        3 => report(),
        3 => Just(Act::Sweep),
        3 => prop::sample::select(vec![2, 16, 70, 12 * 60, 24 * 60]).prop_map(Act::Wait),
        3 => (modes, 1..20_u32).prop_map(|(mode, times)| Act::Fault(mode, times)),
        1 => Just(Act::NoFaults),
    ]
}

/// Everything.
fn anything() -> impl Strategy<Value = Act> {
    let modes = prop::sample::select(vec!["status", "reset", "throttle", "garbage", "lost_reply"]);
    let events = prop::sample::select(vec!["revoke", "revoke", "password_changed", "restore"]);
    prop_oneof![
        2 => Just(Act::Lease),
        3 => report(),
        5 => Just(Act::Sweep),
        5 => prop::sample::select(vec![2, 70, 24 * 60, 24 * 60, 12 * 24 * 60, 31 * 24 * 60]).prop_map(Act::Wait),
        4 => events.prop_map(Act::Happens),
        1 => (modes, 1..4_u32).prop_map(|(mode, times)| Act::Fault(mode, times)),
        1 => Just(Act::NoFaults),
        2 => Just(Act::SignIn),
        1 => any::<bool>().prop_map(Act::Allow),
        1 => Just(Act::Delete),
    ]
}

/// What an act may be the cause of.
fn may_cause(act: &Act) -> &'static [Cause] {
    match act {
        Act::Lease => &[Cause::Death, Cause::Found],
        // with the lease that it is about
        Act::Report(..) => &[Cause::Limit, Cause::Death, Cause::Found],
        Act::Sweep => &[Cause::Limit, Cause::Time, Cause::Death, Cause::Found],
        Act::Wait(_) => &[Cause::Time],
        Act::SignIn => &[Cause::SignIn],
        Act::Happens(_) | Act::Fault(..) | Act::NoFaults | Act::Allow(_) | Act::Delete => &[],
    }
}

/// Where a walk leads through.
#[derive(Clone, Copy, Debug)]
struct Path {
    network: &'static str,
    kind: &'static str,
    token: &'static str,
    account: &'static str,
    profile: &'static str,
    /// What is leased, and the switch that it needs.
    usage: &'static str,
    switch: Option<&'static str>,
}

impl Path {
    fn token(&self) -> String {
        format!("/v1/profiles/{}/tokens/{}-alice", self.profile, self.token)
    }
}

struct Walk {
    path: Path,
    world: World,
    alice: Person,
    worker: Person,
    order: Value,
    lease: Option<Value>,
}

impl Walk {
    async fn begin(path: Path) -> Self {
        let world = World::start().await;
        let (alice, worker) = (world.person("alice"), world.person("acme-worker"));
        let order = if path.usage == "search_acquisition" {
            let rule = json!({ "topic": "floods", "use": path.usage, "network": path.network });
            let rule = alice.post("/v1/rules", rule).await.expect(201)["id"].clone();
            json!({ "use": path.usage, "network": path.network, "rule_id": rule })
        } else {
            json!({ "use": path.usage, "profile_id": path.profile })
        };
        let walk = Self { path, world, alice, worker, order, lease: None };
        assert!(walk.sign_in().await);
        walk.allow(true).await;
        walk
    }

    /// Signs in at the network; tells whether a token came of it.
    async fn sign_in(&self) -> bool {
        self.world.no_faults().await;
        let session = self.alice.begin(self.path.kind, self.path.token).await;
        let callback = self.alice.decide(&session, "approve", self.path.account).await;
        let reply = self.alice.browser.get(callback.as_str()).await;
        let landing = Landing(reply.location());
        if landing.0.query_pairs().all(|(name, _)| name != "completion_code") {
            return false;
        }
        let chosen = [self.path.profile];
        let selected: &[&str] = if self.path.kind == "facebook_page" { &chosen } else { &[] };
        let reply = self.alice.complete_with(&landing, selected).await;
        reply.status.is_success()
    }

    async fn allow(&self, on: bool) {
        if let Some(switch) = self.path.switch {
            self.alice.patch(&self.path.token(), json!({ "allow": { switch: on } })).await;
        }
    }

    /// The token as the API shows it, if it is there.
    async fn shown(&self) -> Option<Value> {
        let profile = self.alice.get(&format!("/v1/profiles/{}", self.path.profile)).await.expect(200);
        profile["tokens"].as_array().unwrap().first().cloned()
    }

    /// Lets it happen; tells whether somebody signed in.
    async fn take(&mut self, act: &Act) -> bool {
        match act {
            Act::Lease => {
                let reply = self.worker.post("/v1/leases", self.order.clone()).await;
                assert!([201, 409, 429, 503].contains(&reply.status.as_u16()), "{} {}", reply.status, reply.body);
                self.lease = reply.status.is_success().then(|| reply.json()).or(self.lease.take());
            }
            Act::Report(status, code, subcode) => {
                if self.lease.is_none() {
                    let reply = self.worker.post("/v1/leases", self.order.clone()).await;
                    self.lease = reply.status.is_success().then(|| reply.json());
                }
                let Some(lease) = &self.lease else { return false };
                let body = json!({ "error": { "message": "words", "code": code, "error_subcode": subcode } });
                let report = json!({ "outcome": "failed", "http_status": status, "body": body });
                let path = format!("/v1/leases/{}/report", lease["id"].as_str().unwrap());
                let reply = self.worker.post(&path, report).await;
                assert!([200, 404, 429, 503].contains(&reply.status.as_u16()), "{} {}", reply.status, reply.body);
            }
            Act::Sweep => drop(self.world.sweep().await),
            Act::Wait(wait) => drop(self.world.later(minutes(*wait)).await),
            Act::Happens(event) => {
                self.world.happens(self.path.network, self.path.account, json!({ "event": event })).await;
            }
            Act::Fault(mode, times) => {
                let target = format!("{}/*", self.path.network);
                self.world.fault(json!({ "target": target, "mode": mode, "times": times })).await;
            }
            Act::NoFaults => self.world.no_faults().await,
            Act::SignIn => return self.sign_in().await,
            Act::Allow(on) => self.allow(*on).await,
            Act::Delete => drop(self.alice.delete(&self.path.token()).await),
        }
        false
    }
}

/// The name of a shown token's state as it is drawn, and the reason of a death.
fn name(token: &Value) -> (&str, Option<&str>) {
    match token["state"].as_str().unwrap() {
        "expiring" => ("active", None),
        state => (state, token["reason"].as_str()),
    }
}

/// What must be true of a token that was there before `act` and after it, by name.
fn judge(act: &Act, signed_in: bool, was: &Value, is: &Value) -> Vec<(&'static str, bool)> {
    let (from, to) = (name(was), name(is));
    let drawn = causes(from, to.0).iter().any(|cause| may_cause(act).contains(cause));
    // who was there before is signed in for again
    let stays = from.0 == to.0 && (from.1 == to.1 || signed_in);
    vec![
        ("the transition is drawn", stays || drawn),
        ("whoever signs in has a token that works", !signed_in || to.0 == "active"),
        ("there are scopes", !is["scopes"].as_array().unwrap().is_empty()),
        ("it is the same token", was["id"] == is["id"] && was["owner"] == is["owner"]),
        ("its owner alone turns switches", matches!(act, Act::Allow(_)) || was["allow"] == is["allow"]),
        ("a sign-in alone is one", signed_in || was["connected_at"] == is["connected_at"]),
    ]
}

/// The changes of state that were met.
type Met = RefCell<BTreeSet<(String, String)>>;

/// Walks on, and looks after every step.
async fn walk(path: Path, acts: &[Act], met: &Met) -> Result<Walk, TestCaseError> {
    let mut walk = Walk::begin(path).await;
    let mut before = walk.shown().await;
    for act in acts {
        let signed_in = walk.take(act).await;
        let after = walk.shown().await;
        match (&before, &after) {
            (Some(was), Some(is)) => {
                for (rule, holds) in judge(act, signed_in, was, is) {
                    prop_assert!(holds, "{}: {:?} made of {} {}", rule, act, was, is);
                }
                met.borrow_mut().insert((name(was).0.to_owned(), name(is).0.to_owned()));
            }
            (Some(_), None) => prop_assert!(matches!(act, Act::Delete), "{:?} deleted it", act),
            (None, Some(is)) => {
                prop_assert!(signed_in, "{:?} made a token", act);
                prop_assert!(
                    is["allow"].as_object().unwrap().values().all(|on| *on == false),
                    "a new one allows nothing"
                );
            }
            (None, None) => {}
        }
        before = after;
    }
    Ok(walk)
}

/// Walks everywhere on this path; proptest tells the shortest way to what is wrong.
fn walks(path: Path) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = Config { cases: WALKS, failure_persistence: None, max_shrink_iters: 100, ..Config::default() };
    let runner = || TestRunner::new_with_rng(config.clone(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let met = Met::default();
    let judged =
        runner().run(&vec(anything(), SHORTEST..LONGEST), |acts| runtime.block_on(walk(path, &acts, &met)).map(drop));
    let judged = judged.map_err(|failed| failed.to_string());
    judged.unwrap_or_else(|failed| panic!("{path:?}: {failed}"));
    let rests = ("active".to_owned(), "cooling_down".to_owned());
    assert!(met.borrow().contains(&rests), "too little happens: {met:?}");

    let judged = runner().run(&vec(transient(), SHORTEST..LONGEST), |acts| {
        runtime.block_on(async {
            let walk = walk(path, &acts, &met).await?;
            let token = walk.shown().await.unwrap();
            prop_assert!(["active", "cooling_down"].contains(&name(&token).0), "{} was disconnected", token);
            let notices = walk.alice.get("/v1/notices").await.expect(200)["items"].clone();
            prop_assert_eq!((walk.world.mails().await, notices), (Vec::new(), json!([])));
            Ok(())
        })
    });
    let judged = judged.map_err(|failed| failed.to_string());
    judged.unwrap_or_else(|failed| panic!("{path:?}: {failed}"));
}

// S52
#[test]
fn every_walk_at_x_goes_as_it_is_drawn_and_what_passes_disconnects_nobody() {
    walks(Path {
        network: "x",
        kind: "x_profile",
        token: "interaction",
        account: "newsdesk",
        profile: "x_profile-42",
        usage: "publish",
        switch: Some("private_messages"),
    });
}

const FACEBOOK_PROFILE: Path = Path {
    network: "facebook",
    kind: "facebook_user",
    token: "acquisition",
    account: "alice.meyer",
    profile: "facebook_user-1001",
    usage: "search_acquisition",
    switch: Some("search_acquisition"),
};

// S52
#[test]
fn every_walk_of_a_facebook_profile_goes_as_it_is_drawn_and_what_passes_disconnects_nobody() {
    walks(FACEBOOK_PROFILE);
}

#[tokio::test]
async fn what_time_has_ended_is_expired_also_where_the_network_says_so_before_the_sweep_does() {
    let month = Act::Wait(31 * 24 * 60);
    let walk = walk(FACEBOOK_PROFILE, &[Act::Lease, month.clone(), month, Act::Sweep], &Met::default()).await.unwrap();
    assert_eq!(walk.shown().await.unwrap()["state"], "expired");
}

// S52
#[test]
fn every_walk_of_a_facebook_page_goes_as_it_is_drawn_and_what_passes_disconnects_nobody() {
    walks(Path {
        network: "facebook",
        kind: "facebook_page",
        token: "interaction",
        account: "alice.meyer",
        profile: "facebook_page-2001",
        usage: "publish",
        switch: Some("private_messages"),
    });
}

// S52
#[test]
fn every_walk_at_instagram_goes_as_it_is_drawn_and_what_passes_disconnects_nobody() {
    walks(Path {
        network: "instagram",
        kind: "instagram_account",
        token: "acquisition",
        account: "harbour.kitchen",
        profile: "instagram_account-17841400000000003",
        usage: "search_acquisition",
        switch: Some("search_acquisition"),
    });
}

// S52
#[test]
fn every_walk_at_youtube_goes_as_it_is_drawn_and_what_passes_disconnects_nobody() {
    walks(Path {
        network: "youtube",
        kind: "youtube_channel",
        token: "interaction",
        account: "harbour.tv",
        profile: "youtube_channel-UC_harbour_tv_0000000001",
        usage: "reply",
        switch: None,
    });
}
