//! A process that runs the functions, as one of many machines does, and can be killed.
//!
//! It is this test binary once more, with the one test [`child`] chosen, wired from the environment as a function's `main`
//! is. Orders come and answers go over a connection, a JSON line each. Its clock stands where it was told last.

use std::{
    env,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use jiff::Timestamp;
use sandbox::{
    faults::{Stopped, When},
    functions::{Environment, Functions},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::{
    clock::Clock,
    cloud,
    edge::{optional_variable, variable},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Mutex,
};

use super::{CALLS, Desk, order};
use crate::invocation::{context, event};

const PARENT: &str = "REFRESH_TEST_PARENT";
const FUNCTIONS: &str = "REFRESH_TEST_FUNCTIONS";

/// What a process is told: the time, and what to do then, all of it at once.
#[derive(Serialize, Deserialize)]
struct Order {
    /// Epoch seconds.
    now: i64,
    leases: Vec<Value>,
}

/// What a process answered to one lease.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    pub(super) status_code: u16,
    body: String,
}

impl Answer {
    /// The lease, after making sure that it is one.
    pub(super) fn lease(&self) -> Value {
        assert_eq!(self.status_code, 201, "{}", self.body);
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A process. Dropping it kills it (`SIGKILL`).
pub(super) struct Process {
    child: Child,
    orders: OwnedWriteHalf,
    answers: Lines<BufReader<OwnedReadHalf>>,
}

impl Process {
    pub(super) async fn start(desk: &Desk) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (_, module) = module_path!().split_once("::").unwrap();
        let sandbox = &desk.world.sandbox;
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", &format!("{module}::child"), "--ignored", "--nocapture"])
            .env(PARENT, listener.local_addr().unwrap().to_string())
            .env(FUNCTIONS, serde_json::to_string(sandbox.environment()).unwrap())
            .env("AWS_ENDPOINT_URL", sandbox.aws_endpoint())
            .env("AWS_REGION", sandbox::cloud::REGION)
            .env("AWS_ACCESS_KEY_ID", "sandbox")
            .env("AWS_SECRET_ACCESS_KEY", "sandbox")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let (answers, orders) = stream.into_split();
        Self { child, orders, answers: BufReader::new(answers).lines() }
    }

    /// Begins so many leases of the news desk at once.
    pub(super) async fn begin(&mut self, desk: &Desk, leases: usize) {
        let mut caller = context(&desk.world, "acme", "acme-worker");
        (caller["scope"], caller["roles"]) = ("leases".into(), "".into());
        let lease = event("POST", "/v1/leases", &order(), &caller);
        let order = Order { now: desk.world.sandbox.clock().now().as_second(), leases: vec![lease; leases] };
        let line = serde_json::to_string(&order).unwrap() + "\n";
        self.orders.write_all(line.as_bytes()).await.unwrap();
    }

    /// Tells it the time.
    pub(super) async fn tell_time(&mut self, desk: &Desk) {
        self.begin(desk, 0).await;
    }

    /// The next answer to a lease that was begun.
    pub(super) async fn answer(&mut self) -> Answer {
        let line = self.answers.next_line().await.unwrap().unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Begins a lease and lets it stand still at a call.
    pub(super) async fn stop_at(&mut self, desk: &Desk, call: usize, when: When) -> Stopped {
        let stopped = desk.world.sandbox.faults().stop_at(call, when);
        self.begin(desk, 1).await;
        tokio::select! {
            reached = stopped.reached() => assert_eq!(reached.target, CALLS[call]),
            answer = self.answer() => panic!("{} {}", answer.status_code, answer.body),
        }
        stopped
    }

    /// Begins so many leases at once and waits for all of them.
    pub(super) async fn lease(&mut self, desk: &Desk, leases: usize) -> Vec<Answer> {
        self.begin(desk, leases).await;
        let mut answers = Vec::new();
        for _ in 0..leases {
            answers.push(self.answer().await);
        }
        answers
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[tokio::test]
#[ignore = "the process that other tests start; by itself it does nothing"]
async fn child() {
    let Some(parent) = optional_variable(PARENT) else { return };
    let environment: Environment = serde_json::from_str(&variable(FUNCTIONS).unwrap()).unwrap();
    let now = Arc::new(AtomicI64::new(0));
    let told = Arc::clone(&now);
    let clock = Clock::from_fn(move || Timestamp::from_second(told.load(Ordering::SeqCst)).unwrap());
    let functions = Arc::new(Functions::wire(&cloud::config().unwrap(), &environment, &clock).unwrap());
    let (orders, answers) = TcpStream::connect(parent).await.unwrap().into_split();
    let (mut orders, answers) = (BufReader::new(orders).lines(), Arc::new(Mutex::new(answers)));
    while let Some(order) = orders.next_line().await.unwrap() {
        let order: Order = serde_json::from_str(&order).unwrap();
        now.store(order.now, Ordering::SeqCst);
        for lease in order.leases {
            let (functions, answers) = (Arc::clone(&functions), Arc::clone(&answers));
            tokio::spawn(async move {
                let answer = functions.invoke("leases", lease).await.unwrap().to_string() + "\n";
                answers.lock().await.write_all(answer.as_bytes()).await.unwrap();
            });
        }
    }
}
