//! Faults on demand, and the list of calls seen, for the cloud and the networks alike.
//!
//! Every request to the AWS port and to the networks' port has a *target* such as
//! `dynamodb/UpdateItem` or `x/token`. It is counted, and if a fault waits for that target it
//! strikes: before the work (`status`, `reset`, `garbage`, `throttle`), after it (`lost_reply`),
//! or around it (`slow`).

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    response::{IntoResponse, Response},
};
use http::{Request, StatusCode, request::Parts};
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, task::JoinSet};
use tower::ServiceExt as _;

/// How a call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Answers rightly, after `delay_ms`.
    Slow,
    /// Does the work and drops the connection instead of answering.
    LostReply,
    /// Drops the connection before any work.
    Reset,
    /// Answers `status` without doing the work.
    Status,
    /// Answers 200 with a body that is no answer.
    Garbage,
    /// Answers as that service does when it throttles.
    Throttle,
}

/// A fault to come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// For example `x/token`, `dynamodb/UpdateItem`; `kms/*` means every call to KMS.
    pub target: String,
    /// What happens.
    pub mode: Mode,
    /// How many calls it strikes.
    #[serde(default = "once")]
    pub times: u32,
    /// The status for [`Mode::Status`].
    #[serde(default = "unavailable")]
    pub status: u16,
    /// The delay for [`Mode::Slow`], in milliseconds.
    #[serde(default)]
    pub delay_ms: u64,
}

fn once() -> u32 {
    1
}

fn unavailable() -> u16 {
    503
}

/// One request seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Call {
    /// For example `dynamodb/GetItem`.
    pub target: String,
    /// Whether a DynamoDB read asked for consistency; `None` for everything else. The embedded
    /// engine always reads consistently and would hide a missing flag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consistent: Option<bool>,
}

impl Call {
    /// A call that is no DynamoDB read.
    #[must_use]
    pub fn to(target: impl Into<String>) -> Self {
        Self { target: target.into(), consistent: None }
    }
}

/// The faults to come and the calls seen.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Fault>,
    calls: Vec<Call>,
    consumed: Consumed,
}

/// DynamoDB's capacity units, tables and indexes together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Consumed {
    /// Read units.
    pub read: f64,
    /// Write units; a transaction counts double, as DynamoDB counts it.
    pub write: f64,
}

impl Faults {
    /// Lets `fault` strike from now on; it replaces one for the same target.
    pub fn put(&self, fault: Fault) {
        let mut state = self.lock();
        state.waiting.retain(|other| other.target != fault.target);
        if fault.times > 0 {
            state.waiting.push(fault);
        }
    }

    /// The faults that have not struck yet.
    #[must_use]
    pub fn list(&self) -> Vec<Fault> {
        self.lock().waiting.clone()
    }

    /// Takes all faults back.
    pub fn clear(&self) {
        self.lock().waiting.clear();
    }

    /// Every call seen since the last reset, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    /// How often each target was called.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for call in &self.lock().calls {
            *counts.entry(call.target.clone()).or_default() += 1;
        }
        counts
    }

    /// The capacity that DynamoDB consumed since the last reset.
    #[must_use]
    pub fn consumed(&self) -> Consumed {
        self.lock().consumed
    }

    /// Counts what a call consumed.
    pub fn consume(&self, consumed: Consumed) {
        let mut state = self.lock();
        state.consumed.read += consumed.read;
        state.consumed.write += consumed.write;
    }

    /// Forgets the calls seen and what they consumed.
    pub fn forget_calls(&self) {
        let mut state = self.lock();
        state.calls.clear();
        state.consumed = Consumed::default();
    }

    fn strike(&self, call: Call) -> Option<Fault> {
        let mut state = self.lock();
        let service = call.target.split('/').next().unwrap_or_default();
        let at = state
            .waiting
            .iter()
            .position(|fault| fault.target == call.target || fault.target.strip_suffix("/*") == Some(service));
        state.calls.push(call);
        let at = at?;
        let fault = state.waiting[at].clone();
        state.waiting[at].times -= 1;
        if state.waiting[at].times == 0 {
            state.waiting.remove(at);
        }
        Some(fault)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a port needs to know to be faulty.
#[derive(Clone)]
pub struct Faulty {
    /// The faults to come.
    pub faults: Faults,
    /// Names a request; `None` is neither counted nor struck (a page's picture, say).
    pub name: fn(&Parts, &[u8]) -> Option<Call>,
    /// How this service says "slow down".
    pub throttled: fn(&Call) -> Response,
}

/// Put into a response's extensions to drop the connection instead of sending it.
#[derive(Clone, Copy, Debug)]
struct Drop;

impl Faulty {
    async fn answer(self, router: Router, request: Request<Body>) -> Result<Response, Infallible> {
        let (parts, body) = request.into_parts();
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => Bytes::new(),
        };
        let call = (self.name)(&parts, &body);
        let fault = call.clone().and_then(|call| self.faults.strike(call));
        let work = router.oneshot(Request::from_parts(parts, Body::from(body)));
        let Some(fault) = fault else { return work.await };
        match fault.mode {
            Mode::Slow => {
                tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
                work.await
            }
            Mode::LostReply => {
                work.await?;
                Ok(dropped())
            }
            Mode::Reset => Ok(dropped()),
            Mode::Status => {
                Ok(StatusCode::from_u16(fault.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE).into_response())
            }
            Mode::Garbage => Ok("<<< this is no answer >>>".into_response()),
            Mode::Throttle => {
                Ok(call.as_ref().map_or_else(|| StatusCode::TOO_MANY_REQUESTS.into_response(), self.throttled))
            }
        }
    }
}

fn dropped() -> Response {
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(Drop);
    response
}

/// Serves `router` on `listener` until the task is dropped, counting calls and applying faults; the
/// connections end with it.
pub async fn serve(listener: TcpListener, router: Router, faulty: Faulty) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Ok((stream, _)) = accepted else { continue };
        let (router, faulty) = (router.clone(), faulty.clone());
        let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
            let (router, faulty) = (router.clone(), faulty.clone());
            async move {
                let Ok(response) = faulty.answer(router, request.map(Body::new)).await;
                // an error closes the connection without an answer
                if response.extensions().get::<Drop>().is_some() { Err("dropped on purpose") } else { Ok(response) }
            }
        });
        connections.spawn(async move {
            // the other side closing early is no failure of ours
            let _closed = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
