//! Leases while the network, the tables, the keys, the app credentials or the queue fail: before, during and after a
//! refresh, and while the present access token still works or once it is over.
//!
//! Whatever fails, the worker gets an access token that works or a 503 that says when to come back; the grant stands,
//! nobody is disconnected or mailed, and when all is well again there is a new access token without a person. What is
//! different from row to row is what the worker gets meanwhile, and how often the network is asked.

use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use sandbox::{
    faults::{Stopped, When},
    functions::Functions,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

use crate::{
    invocation::{context, event},
    leases::{newsdesk, whoami},
    support::{Person, Reply, World, minutes},
};

/// A fault that lasts until it is taken back.
const LASTING: u32 = 100_000;

/// What a worker who asks for a lease gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Given {
    /// A new access token.
    New,
    /// The one that it had before.
    Present,
    /// A 503 that says when to come back.
    Nothing,
}
use Given::{New, Nothing, Present};

/// The news desk at X, its owner, and a worker with the access token that it was given last.
struct Desk {
    world: World,
    alice: Person,
    worker: Person,
    present: Value,
}

impl Desk {
    async fn new() -> Self {
        let (world, alice, worker) = newsdesk().await;
        let present = worker.lease().await.expect(201);
        Self { world, alice, worker, present }
    }

    /// Lets time pass until the access token must be renewed: it works for two more minutes, or is over.
    async fn until_due(&self, usable: bool) {
        let end: Timestamp = self.present["expires_at"].as_str().unwrap().parse().unwrap();
        self.world.until(if usable { end - minutes(2) } else { end }).await.forget_calls().await;
    }

    async fn ask(&self) -> Given {
        self.read(&self.worker.lease().await).await
    }

    async fn read(&self, reply: &Reply) -> Given {
        if reply.status != StatusCode::CREATED {
            reply.refused(503, "unavailable");
            assert!(reply.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0), "{reply:?}");
            return Nothing;
        }
        let lease = reply.json();
        assert_eq!(whoami(&self.world, &lease).await.expect(200)["data"]["id"], "42");
        if lease["access_token"] == self.present["access_token"] { Present } else { New }
    }

    async fn requests(&self) -> u64 {
        self.world.calls("x/token").await
    }

    async fn strike(&self, target: &str, mode: &str, status: u16, times: u32) {
        let fault = json!({ "target": target, "mode": mode, "status": status, "times": times, "delay_ms": 11_000 });
        self.world.fault(fault).await;
    }

    async fn slow(&self, target: &str, delay_ms: u64, times: u32) {
        self.world.fault(json!({ "target": target, "mode": "slow", "delay_ms": delay_ms, "times": times })).await;
    }

    /// What the owner is told: the token's state, how many notices and how many mails.
    async fn told(&self) -> (Value, usize, usize) {
        self.world.sweep().await;
        let token = self.alice.get("/v1/profiles").await.expect(200)["items"][0]["tokens"][0].clone();
        let notices = self.alice.get("/v1/notices").await.expect(200)["items"].as_array().unwrap().len();
        (json!([token["state"], token["reason"]]), notices, self.world.mails().await.len())
    }

    /// Nobody is disconnected or told anything, and the grant stands.
    async fn is_unharmed(&self) -> bool {
        let revocations = self.world.calls("x/revoke").await;
        let live = self.world.sandbox.networks().grants("x", "newsdesk")[0].live;
        live && revocations == 0 && self.told().await == (json!(["active", null]), 0, 0)
    }

    /// Lets all be well, and time pass until there is a new access token.
    async fn recover(&mut self) {
        self.world.no_faults().await;
        assert!(self.is_unharmed().await, "{:?}", self.told().await);
        for _ in 0..10 {
            self.world.later(minutes(2)).await;
            self.world.sandbox.tick("spill-reader").await.unwrap();
            if self.ask().await == New {
                self.present = self.worker.lease().await.expect(201);
                assert!(self.is_unharmed().await, "{:?}", self.told().await);
                return;
            }
        }
        panic!("there is no new access token in twenty minutes");
    }
}

/// So many worlds at a time leave a machine with two cores time to answer well before anybody gives up.
const WORLDS: usize = 12;

/// Tries each case in a world of its own, side by side: they mostly wait.
async fn side_by_side<C, T>(cases: impl IntoIterator<Item = C>, test: impl Fn(Desk, C) -> T)
where
    T: Future<Output = ()> + Send + 'static,
{
    let mut running = JoinSet::new();
    for case in cases {
        if running.len() == WORLDS {
            running.join_next().await.unwrap().unwrap();
        }
        running.spawn(test(Desk::new().await, case));
    }
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }
}

// S52, S55, S65
#[tokio::test]
async fn whatever_the_network_answers_for_once_the_grant_lives_and_a_token_that_works_is_handed_out() {
    // given while the present access token works, and once it is over; and how often the network was asked in the end
    let rows = [
        ("slow", 503, New, New, 1),
        ("reset", 503, Present, Nothing, 2),
        ("garbage", 503, Present, Nothing, 2),
        ("throttle", 503, Present, Nothing, 2),
        ("status", 400, Present, Nothing, 2),
        ("status", 401, Present, Nothing, 2),
        ("status", 500, Present, Nothing, 2),
        ("status", 503, Present, Nothing, 2),
        ("status", 504, Present, Nothing, 2),
    ];
    let cases = rows.into_iter().flat_map(|(mode, status, usable, over, requests)| {
        [(mode, status, true, usable, requests), (mode, status, false, over, requests)]
    });
    side_by_side(cases, async |mut desk, (mode, status, usable, given, requests)| {
        let row = format!("{mode} {status}, usable: {usable}");
        desk.until_due(usable).await;
        desk.strike("x/token", mode, status, 1).await;
        for _ in 0..2 {
            assert_eq!(desk.ask().await, given, "{row}");
        }
        assert_eq!(desk.requests().await, 1, "{row}");
        desk.recover().await;
        assert_eq!(desk.requests().await, requests, "{row}");
    })
    .await;
}

// S52, S65
#[tokio::test]
async fn a_network_that_cannot_be_reached_leaves_everything_as_it_was() {
    side_by_side([(true, 201), (false, 503)], async |mut desk, (usable, status)| {
        let nobody = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
        let mut environment = desk.world.sandbox.environment().clone();
        environment.get_mut("leases").unwrap().insert("NETWORK_ENDPOINT".to_owned(), format!("http://{nobody}"));
        desk.until_due(usable).await;
        assert_eq!(lease_from_a_new_process(&desk, &environment).await["statusCode"], status);
        desk.recover().await;
        assert_eq!(
            desk.requests().await,
            1,
            "that nothing was sent is known: it is asked again as if for the first time"
        );
    })
    .await;
}

/// The answer of a process that knows nothing yet.
async fn lease_from_a_new_process(desk: &Desk, environment: &sandbox::functions::Environment) -> Value {
    let sandbox = &desk.world.sandbox;
    let process = Functions::wire(sandbox.aws_config(), environment, &sandbox.clock().clock()).unwrap();
    process.invoke("leases", order(&desk.world)).await.unwrap()
}

/// The event of a worker's request for a lease of the news desk.
fn order(world: &World) -> Value {
    let mut caller = context(world, "acme", "acme-worker");
    (caller["roles"], caller["scope"]) = (json!(""), json!("leases"));
    event("POST", "/v1/leases", &json!({ "use": "publish", "profile_id": "x_profile-42" }), &caller)
}

/// When a service begins to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Before,
    /// While the network is asked.
    During,
    After,
}
use Moment::{After, Before, During};

/// A service, and what is given when it fails for long: before, during and after a refresh; each while the present
/// access token works, and once it is over.
type Service = (&'static str, [(Given, Given); 3]);

const SERVICES: [Service; 6] = [
    ("dynamodb/Query", [(Nothing, Nothing), (New, New), (Nothing, Nothing)]),
    ("dynamodb/GetItem", [(Nothing, Nothing), (New, New), (Present, Present)]),
    ("dynamodb/UpdateItem", [(Present, Nothing), (Present, Nothing), (Present, Present)]),
    ("kms/*", [(Nothing, Nothing), (New, New), (Present, Present)]),
    ("secretsmanager/*", [(New, New), (New, New), (Present, Present)]),
    ("sqs/*", [(New, New), (New, New), (Present, Present)]),
];

const MODES: [(&str, u16); 4] = [("lost_reply", 503), ("reset", 503), ("status", 500), ("throttle", 503)];

/// Lets a service fail `times` at each moment; in the end the network was asked once for each expiry.
async fn survive(mut desk: Desk, (service, given): Service, (mode, status): (&str, u16), times: u32, usable: bool) {
    // with a copy of the app credentials, as in a process that has refreshed before
    desk.until_due(usable).await;
    desk.present = desk.worker.lease().await.expect(201);
    for (moment, (works, over)) in [Before, During, After].into_iter().zip(given) {
        let row = format!("{service} {mode} {times} times, {moment:?}, usable: {usable}");
        let given = match moment {
            // a call or two that fail are made again
            Before | During if times < LASTING => New,
            After if times < LASTING => Present,
            _ if usable => works,
            _ => over,
        };
        desk.until_due(usable).await;
        let strike = desk.strike(service, mode, status, times);
        let got = match moment {
            Before => {
                strike.await;
                desk.ask().await
            }
            During => {
                let strike = async {
                    let request = standing_at(&desk.world, "x/token").await;
                    strike.await;
                    request.resume();
                };
                tokio::join!(desk.ask(), strike).0
            }
            After => {
                let renewed = desk.worker.lease().await.expect(201);
                strike.await;
                desk.present = renewed;
                desk.ask().await
            }
        };
        assert_eq!(got, given, "{row}");
        if (moment, got == New) == (Before, false) {
            assert_eq!(desk.requests().await, 0, "{row}: what could not be kept was asked for");
        }
        desk.world.no_faults().await;
        match (moment, got) {
            (After, _) => {}
            (_, New) => desk.present = desk.worker.lease().await.expect(201),
            _ => desk.recover().await,
        }
        assert_eq!((desk.ask().await, desk.requests().await), (Present, 1), "{row}");
    }
    assert!(desk.is_unharmed().await, "{service} {mode}");
}

/// Lets calls come until one to `target`, which stands still.
async fn standing_at(world: &World, target: &str) -> Stopped {
    let mut stopped = world.sandbox.faults().stop_at(0, When::Before);
    while stopped.reached().await.target != target {
        let next = world.sandbox.faults().stop_at(0, When::Before);
        std::mem::replace(&mut stopped, next).resume();
    }
    stopped
}

// S49, S52, S64
#[tokio::test]
async fn a_service_that_fails_around_a_refresh_costs_no_token_and_no_second_request() {
    // each service with another mode; every one with every mode in the test below
    let cases = SERVICES.into_iter().zip(MODES.into_iter().cycle());
    let cases = cases.flat_map(|(service, mode)| [(service, mode, true), (service, mode, false)]);
    side_by_side(cases, async |desk, (service, mode, usable)| survive(desk, service, mode, LASTING, usable).await)
        .await;
}

// S49, S52, S64
#[tokio::test]
#[ignore = "every service in every mode, for once and for long: run by tests/run"]
async fn no_service_in_no_mode_costs_a_token_or_a_second_request() {
    let modes = MODES.into_iter().flat_map(|mode| [(mode, 1, true), (mode, LASTING, true), (mode, LASTING, false)]);
    let cases = modes.flat_map(|how| SERVICES.map(|service| (service, how)));
    side_by_side(cases, async |desk, (service, (mode, times, usable))| {
        survive(desk, service, mode, times, usable).await;
    })
    .await;
}

// S47, S52
#[tokio::test]
#[ignore = "takes 8 seconds: run by tests/run"]
async fn what_took_long_until_now_leaves_no_time_to_ask_the_network() {
    let mut desk = Desk::new().await;
    desk.until_due(false).await;
    desk.slow("secretsmanager/*", 3_500, 1).await;
    desk.slow("kms/*", 1_500, 2).await;
    desk.slow("dynamodb/UpdateItem", 1_500, 1).await;
    assert_eq!(desk.ask().await, Nothing);
    assert_eq!(desk.requests().await, 0);
    desk.recover().await;
}

// S52
#[tokio::test]
#[ignore = "takes 13 seconds: run by tests/run"]
async fn a_network_that_hangs_is_left_alone_from_the_moment_at_which_it_was_given_up() {
    let desk = Desk::new().await;
    desk.until_due(false).await;
    desk.slow("x/token", 60_000, 1).await;
    let reply = desk.worker.lease().await;
    assert_eq!(desk.read(&reply).await, Nothing);
    assert!(reply.header("retry-after").parse::<u32>().unwrap() >= 4, "{reply:?}");
    assert_eq!((desk.ask().await, desk.requests().await), (Nothing, 1));
}

// S64
#[tokio::test]
async fn a_process_that_has_just_started_asks_for_nothing_that_it_could_not_keep() {
    side_by_side(["kms/*", "secretsmanager/*", "dynamodb/*"], async |mut desk, service| {
        desk.until_due(false).await;
        desk.strike(service, "reset", 503, LASTING).await;
        let answer = lease_from_a_new_process(&desk, desk.world.sandbox.environment()).await;
        assert_eq!(answer["statusCode"], 503, "{service}: {answer}");
        assert!(answer["headers"]["retry-after"].is_string(), "{service}: {answer}");
        assert_eq!(desk.requests().await, 0, "{service}");
        desk.recover().await;
    })
    .await;
}

impl Desk {
    /// The answer of the network is lost for good: the same refresh token is sent once more when nothing else works, and
    /// refused. Only then its owner is told, and once.
    async fn lost_its_answer(&self) {
        self.world.no_faults().await;
        assert_eq!(self.requests().await, 1);
        assert!(self.is_unharmed().await);
        let mut refused = None;
        for _ in 0..5 {
            self.world.later(minutes(2)).await;
            self.world.sandbox.tick("spill-reader").await.unwrap();
            let reply = self.worker.lease().await;
            if reply.status == StatusCode::CONFLICT {
                refused = Some(reply);
                break;
            }
            self.read(&reply).await;
            assert!(self.is_unharmed().await);
        }
        refused.expect("the same refresh token is sent once more").refused(409, "no_valid_token");
        let told = (json!(["needs_reauth", "lost_answer"]), 1, 1);
        assert_eq!(self.told().await, told);
        for _ in 0..20 {
            self.world.later(minutes(60)).await;
            self.worker.lease().await.refused(409, "no_valid_token");
        }
        assert_eq!((self.requests().await, self.world.calls("x/revoke").await), (2, 0));
        assert_eq!(self.told().await, told);
    }
}

// S50, S52, S55
#[tokio::test]
async fn an_answer_that_was_lost_is_the_one_thing_that_needs_a_person() {
    side_by_side([(true, Present), (false, Nothing)], async |desk, (usable, given)| {
        desk.until_due(usable).await;
        desk.strike("x/token", "lost_reply", 503, 1).await;
        for _ in 0..3 {
            assert_eq!(desk.ask().await, given);
        }
        desk.lost_its_answer().await;
    })
    .await;
}

// S49, S50, S52
#[tokio::test]
async fn so_is_an_answer_that_neither_the_table_nor_the_queue_would_take() {
    let desk = Desk::new().await;
    desk.until_due(false).await;
    let fail = async {
        let request = standing_at(&desk.world, "x/token").await;
        desk.strike("dynamodb/UpdateItem", "reset", 503, LASTING).await;
        desk.strike("sqs/SendMessage", "reset", 503, LASTING).await;
        request.resume();
    };
    assert_eq!(tokio::join!(desk.ask(), fail).0, Nothing);
    desk.lost_its_answer().await;
}

// S52, S65
#[tokio::test]
async fn while_the_network_is_down_hundreds_of_leases_ask_it_seldom_and_ever_more_seldom() {
    const STEP: u32 = 40;
    let mut desk = Desk::new().await;
    desk.until_due(true).await;
    desk.strike("x/token", "status", 503, LASTING).await;
    let (mut asked, mut promised, mut given) = (Vec::new(), None, Vec::new());
    for _ in 0..250 {
        let before = desk.world.sandbox.faults().counts().get("x/token").copied();
        let now = desk.world.sandbox.clock().now();
        let reply = desk.world.invoke("leases", order(&desk.world)).await;
        if desk.world.sandbox.faults().counts().get("x/token").copied() != before {
            assert!(promised.is_none_or(|until| until <= now), "asked at {now}, and workers were told {promised:?}");
            asked.push(now);
        }
        if let Ok(seconds) = reply.header("retry-after").parse() {
            promised = Some(now + jiff::SignedDuration::from_secs(seconds));
        }
        given.push(reply.status.as_u16());
        desk.world.sandbox.clock().advance(STEP).unwrap();
    }
    let pauses: Vec<_> = asked.windows(2).map(|pair| pair[1].duration_since(pair[0]).as_secs()).collect();
    assert!(pauses.is_sorted_by(|one, next| *one <= next + i64::from(STEP)), "{pauses:?}");
    assert!(asked.len() < 25 && pauses.last().is_some_and(|pause| *pause >= 14 * 60), "{pauses:?}");
    let (handed_out, refused) = given.split_at(given.iter().position(|status| *status != 201).unwrap());
    assert!(handed_out.len() >= 2 && refused.iter().all(|status| *status == 503), "{given:?}");
    desk.recover().await;
    assert_eq!(desk.requests().await, asked.len() as u64 + 1);
}

// S52
#[tokio::test]
async fn a_dead_connection_is_not_tried_again() {
    let desk = Desk::new().await;
    let removed = json!({ "event": "revoke" });
    desk.world.door(Method::POST, "/_sandbox/networks/x/accounts/newsdesk", removed).await.expect(200);
    desk.until_due(false).await;
    for _ in 0..50 {
        desk.world.invoke("leases", order(&desk.world)).await.refused(409, "no_valid_token");
        desk.world.sandbox.clock().advance(60 * 60).unwrap();
    }
    assert_eq!(desk.requests().await, 1);
    assert_eq!(desk.told().await, (json!(["needs_reauth", "refresh_rejected"]), 1, 1));
}
