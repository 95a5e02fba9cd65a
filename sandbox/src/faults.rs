//! Faults on demand, and the list of calls seen, for the cloud and the networks alike.
//!
//! Every request to the AWS port and to the networks' port has a *target* such as
//! `dynamodb/UpdateItem` or `x/token`. It is counted, and if a fault waits for that target it
//! strikes: before the work (`status`, `reset`, `garbage`, `throttle`), instead of it (`answer`), after it
//! (`lost_reply`), or around it (`slow`). A test can also let any one call stand still ([`Faults::stop_at`]), to kill or to pause its
//! caller at that very moment.
//!
//! As with the real services, what a call asked for is done even when the caller hangs up meanwhile: a slow network
//! does late what nobody waits for any more.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    response::{IntoResponse, Response},
};
use http::{
    Request, StatusCode,
    header::{DATE, HeaderName, HeaderValue},
    request::Parts,
};
use http_body_util::{BodyExt as _, Collected};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::clock::Clock;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tower::ServiceExt as _;

mod stops;

use self::stops::Stop;
pub use self::stops::{Stopped, When};

/// How a call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Does the work and answers rightly, after `delay_ms`.
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
    /// Answers `status`, `headers` and `body` instead of doing the work: any response can be injected.
    Answer,
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
    /// The status for [`Mode::Status`], 503 where it is absent, and for [`Mode::Answer`], 200 where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The delay for [`Mode::Slow`], in milliseconds.
    #[serde(default)]
    pub delay_ms: u64,
    /// The header fields for [`Mode::Answer`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The body for [`Mode::Answer`]: text is sent as it is, anything else as JSON.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub body: Value,
}

/// Why a fault cannot be sent as an HTTP response.
#[derive(Debug, thiserror::Error)]
pub enum InvalidFault {
    /// Not a status.
    #[error("invalid status: {0}")]
    Status(#[from] http::status::InvalidStatusCode),
    /// Not a header field.
    #[error("invalid header field {0:?}")]
    Header(String),
    /// Headers or a body with a mode that sends none.
    #[error("headers and body belong to the mode \"answer\"")]
    NoAnswer,
}

impl Fault {
    /// A fault that strikes one call, with the defaults of its mode.
    #[must_use]
    pub fn once(target: impl Into<String>, mode: Mode) -> Self {
        let (target, times, headers) = (target.into(), once(), BTreeMap::new());
        Self { target, mode, times, status: None, delay_ms: 0, headers, body: Value::Null }
    }

    /// Checks that what it states can be sent.
    pub(crate) fn validate(&self) -> Result<(), InvalidFault> {
        self.status.map(StatusCode::from_u16).transpose()?;
        if self.mode != Mode::Answer && !(self.headers.is_empty() && self.body.is_null()) {
            return Err(InvalidFault::NoAnswer);
        }
        for (name, value) in &self.headers {
            if HeaderName::try_from(name).is_err() || HeaderValue::try_from(value).is_err() {
                return Err(InvalidFault::Header(name.clone()));
            }
        }
        Ok(())
    }

    fn status_or(&self, absent: StatusCode) -> StatusCode {
        self.status.map_or(absent, |status| StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE))
    }

    fn answer(&self) -> Response {
        let (body, kind) = match &self.body {
            Value::Null => (String::new(), None),
            Value::String(text) => (text.clone(), None),
            json => (json.to_string(), Some("application/json")),
        };
        let mut response = (self.status_or(StatusCode::OK), body).into_response();
        let stated = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in kind.map(|kind| ("content-type", kind)).into_iter().chain(stated) {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

fn once() -> u32 {
    1
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
    stops: Vec<Stop>,
    tremor: Option<Tremor>,
    calls: Vec<Call>,
    consumed: Consumed,
}

/// A fault that strikes one call in so many, of whatever target.
#[derive(Debug)]
struct Tremor {
    one_in: u64,
    modes: fn(&str) -> Option<Mode>,
    calls: u64,
}

impl Tremor {
    /// How this call goes wrong, if it does: as good as at random, and in every run alike.
    fn strike(&mut self, target: &str) -> Option<Fault> {
        let mode = (self.modes)(target)?;
        self.calls += 1;
        let mut mixed = self.calls.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let struck = (mixed ^ (mixed >> 27)).is_multiple_of(self.one_in);
        struck.then(|| Fault { status: Some(500), ..Fault::once(target, mode) })
    }
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

    /// From now on one call in `one_in` goes wrong, as `modes` says of its target; those of which it says nothing go
    /// well. 0 ends it.
    pub fn shake(&self, one_in: u32, modes: fn(target: &str) -> Option<Mode>) {
        let tremor = Tremor { one_in: one_in.into(), modes, calls: 0 };
        self.lock().tremor = (one_in > 0).then_some(tremor);
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

    /// Lets the call number `nth` from now on, counted from 0 over all targets, stand still before or after its
    /// work: its caller gets no answer until the [`Stopped`] is resumed, and none at all once it is dropped.
    pub fn stop_at(&self, nth: usize, when: When) -> Stopped {
        let (stop, stopped) = Stop::new(nth, when);
        self.lock().stops.push(stop);
        stopped
    }

    /// Counts the call, and says what strikes it.
    fn strike(&self, call: &Call) -> (Option<Fault>, Option<Stop>) {
        let mut state = self.lock();
        state.calls.push(call.clone());
        let service = call.target.split('/').next().unwrap_or_default();
        let struck = |fault: &Fault| fault.target == call.target || fault.target.strip_suffix("/*") == Some(service);
        let fault = state.waiting.iter_mut().find(|fault| struck(fault)).map(|fault| {
            fault.times -= 1;
            fault.clone()
        });
        state.waiting.retain(|fault| fault.times > 0);
        let fault = fault.or_else(|| state.tremor.as_mut()?.strike(&call.target));
        (fault, stops::next(&mut state.stops))
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
    /// The time, for whoever says when to come back.
    pub clock: Clock,
    /// How this service says "slow down".
    pub throttled: fn(&Call, Timestamp) -> Response,
}

/// Put into a response's extensions to drop the connection instead of sending it.
#[derive(Clone, Copy, Debug)]
struct Drop;

impl Faulty {
    /// Answers with the date of the sandbox, against which the networks' times to come back are read.
    async fn answer(self, router: Router, request: Request<Body>) -> Response {
        let mut response = self.work(router, request).await;
        let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&self.clock.now()).ok();
        if let Some(date) = date.and_then(|date| HeaderValue::try_from(date).ok()) {
            response.headers_mut().entry(DATE).or_insert(date);
        }
        response
    }

    async fn work(&self, router: Router, request: Request<Body>) -> Response {
        let (parts, body) = request.into_parts();
        // whoever hangs up in the middle of a request has asked for nothing
        let Ok(body) = body.collect().await.map(Collected::to_bytes) else { return dropped() };
        let call = (self.name)(&parts, &body);
        let work = router.oneshot(Request::from_parts(parts, Body::from(body)));
        let work = async { work.await.unwrap_or_else(|never: Infallible| match never {}) };
        let Some(call) = call else { return work.await };
        let (fault, stop) = self.faults.strike(&call);
        let work = self.strike(fault, &call, work);
        match stop {
            Some(stop) => stop.hold(call.clone(), work).await.unwrap_or_else(dropped),
            None => work.await,
        }
    }

    async fn strike(&self, fault: Option<Fault>, call: &Call, work: impl Future<Output = Response>) -> Response {
        let Some(fault) = fault else { return work.await };
        match fault.mode {
            Mode::Slow => {
                tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
                work.await
            }
            Mode::LostReply => {
                work.await;
                dropped()
            }
            Mode::Reset => dropped(),
            Mode::Status => fault.status_or(StatusCode::SERVICE_UNAVAILABLE).into_response(),
            Mode::Answer => fault.answer(),
            Mode::Garbage => "<<< this is no answer >>>".into_response(),
            Mode::Throttle => (self.throttled)(call, self.clock.now()),
        }
    }
}

fn dropped() -> Response {
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(Drop);
    response
}

/// Serves `router` on `listener` until the task is dropped, counting calls and applying faults; the connections and
/// the work under way end with it.
pub async fn serve(listener: TcpListener, router: Router, faulty: Faulty) {
    let mut tasks = JoinSet::new();
    let (hand_over, mut handed_over) = mpsc::unbounded_channel::<Pin<Box<dyn Future<Output = ()> + Send>>>();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(work) = handed_over.recv() => {
                tasks.spawn(work);
                continue;
            }
            Some(_) = tasks.join_next() => continue,
        };
        let Ok((stream, _)) = accepted else { continue };
        let (router, faulty, hand_over) = (router.clone(), faulty.clone(), hand_over.clone());
        let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
            let (answered, answer) = oneshot::channel();
            let work = faulty.clone().answer(router.clone(), request.map(Body::new));
            // no part of the connection, so that it goes on when the caller hangs up and nobody takes the answer
            let begun = hand_over.send(Box::pin(async move {
                answered.send(work.await).ok();
            }));
            async move {
                begun.map_err(|_| "the sandbox stops")?;
                let response = answer.await.map_err(|_| "the handler panicked")?;
                // an error closes the connection without an answer
                if response.extensions().get::<Drop>().is_some() { Err("dropped on purpose") } else { Ok(response) }
            }
        });
        tasks.spawn(async move {
            // the other side closing early is no failure of ours
            let _closed = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
