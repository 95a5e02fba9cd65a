//! The doors below `/_sandbox`: sign in without a password, move the clock, run the sweep, break
//! something, and look at what happened.
//!
//! They exist on loopback alone and are no part of the product. Bodies are JSON whatever their
//! content type says, so that `curl -d` is enough; what is not understood is refused with the
//! reason in `error`, never ignored.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::{delete, get, post, put},
};
use http::StatusCode;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{Parts, faults::Fault, issuer::PEOPLE, template::Template};

/// What a fault can be put on.
const TARGETS: &[(&str, &[&str])] = &[
    ("x", &["authorize", "token", "me", "revoke", "tweets"]),
    (
        "facebook",
        &["authorize", "token", "long_lived_token", "debug_token", "me", "permissions", "accounts", "page", "posts"],
    ),
    ("instagram", &["authorize", "token", "long-lived", "refresh", "me"]),
    ("youtube", &["authorize", "token", "revoke", "tokeninfo", "channels", "risc-configuration", "certs"]),
    ("issuer", &["openid-configuration", "jwks", "authorize", "token", "end-session"]),
    ("dynamodb", &[]),
    ("kms", &[]),
    ("secretsmanager", &[]),
    ("ses", &[]),
    ("sqs", &[]),
];

/// The functions that are invoked by a schedule or for a queue.
const TICKED: &[&str] = &["expiry-sweep", "spill-reader"];

type World = State<Arc<Parts>>;

pub(crate) fn routes(parts: &Arc<Parts>) -> Router {
    Router::new()
        .route("/_sandbox/sign-in", post(sign_in))
        .route("/_sandbox/people", get(async || items(PEOPLE)))
        .route("/_sandbox/clock", get(time).post(advance))
        .route("/_sandbox/tick", post(tick))
        .route("/_sandbox/mail", get(mail))
        .route("/_sandbox/faults", put(put_fault).get(list_faults).delete(clear_faults))
        .route("/_sandbox/calls", get(count_calls).delete(forget_calls))
        .route("/_sandbox/calls/list", get(list_calls))
        .route("/_sandbox/networks/{network}/accounts/{account}", post(happen))
        .route("/_sandbox/environment", get(environment))
        .route("/_sandbox/authorizer-cache", delete(forget_authorizations))
        .with_state(Arc::clone(parts))
}

/// Why a door did not do what it was asked.
struct Refused(StatusCode, String);

impl Refused {
    fn bad(reason: &impl ToString) -> Self {
        Self(StatusCode::BAD_REQUEST, reason.to_string())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

type Answer = Result<Json<Value>, Refused>;

fn items<T: serde::Serialize>(items: T) -> Json<Value> {
    Json(json!({ "items": items }))
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| Refused::bad(&error))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignIn {
    person: String,
}

async fn sign_in(State(parts): World, body: Bytes) -> Answer {
    let SignIn { person } = read(&body)?;
    let token = parts.networks.issuer().sign_in(&person).ok_or_else(|| {
        let names: Vec<_> = PEOPLE.iter().map(|person| person.name).collect();
        Refused::bad(&format!("there is no {person:?} here, only {}", names.join(", ")))
    })?;
    Ok(Json(json!({ "access_token": token })))
}

async fn time(State(parts): World) -> Json<Value> {
    Json(json!({ "now": parts.clock.now() }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_seconds: u32,
}

async fn advance(State(parts): World, body: Bytes) -> Answer {
    let Advance { advance_seconds } = read(&body)?;
    let now = parts.clock.advance(advance_seconds).map_err(|error| Refused::bad(&error))?;
    Ok(Json(json!({ "now": now })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tick {
    function: String,
}

async fn tick(State(parts): World, body: Bytes) -> Answer {
    let Tick { function } = read(&body)?;
    if !TICKED.contains(&&*function) {
        let ticked = TICKED.join(", ");
        return Err(Refused::bad(&format!("no schedule and no queue invokes {function:?}, only {ticked}")));
    }
    let summary = parts.tick(&function).await;
    summary.map(Json).map_err(|error| Refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

async fn mail(State(parts): World) -> Json<Value> {
    items(parts.cloud.mailbox())
}

async fn put_fault(State(parts): World, body: Bytes) -> Result<Json<Fault>, Refused> {
    let fault: Fault = read(&body)?;
    if !is_target(&fault.target) {
        return Err(Refused::bad(&format!("there is no target {:?}; there are {}", fault.target, targets())));
    }
    fault.validate().map_err(|error| Refused::bad(&error))?;
    parts.faults.put(fault.clone());
    Ok(Json(fault))
}

fn is_target(target: &str) -> bool {
    let Some((service, operation)) = target.split_once('/') else { return false };
    TARGETS.iter().any(|(known, operations)| {
        let aws = operations.is_empty() && operation.chars().all(|c| c.is_ascii_alphabetic()) && !operation.is_empty();
        *known == service && (operation == "*" || aws || operations.contains(&operation))
    })
}

fn targets() -> String {
    let known = TARGETS.iter().map(|(service, operations)| match operations {
        [] => format!("{service}/<operation>"),
        _ => operations.iter().map(|operation| format!("{service}/{operation}")).collect::<Vec<_>>().join(", "),
    });
    known.chain(["<service>/*".to_owned()]).collect::<Vec<_>>().join(", ")
}

async fn list_faults(State(parts): World) -> Json<Value> {
    items(parts.faults.list())
}

async fn clear_faults(State(parts): World) -> StatusCode {
    parts.faults.clear();
    StatusCode::NO_CONTENT
}

async fn count_calls(State(parts): World) -> Json<Value> {
    Json(json!(parts.faults.counts()))
}

async fn list_calls(State(parts): World) -> Json<Value> {
    items(parts.faults.calls())
}

async fn forget_calls(State(parts): World) -> StatusCode {
    parts.faults.forget_calls();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Happening {
    event: String,
    page: Option<String>,
}

/// Answers with what the network now lists for the account, and how the apps took what it told them.
async fn happen(State(parts): World, Path((network, account)): Path<(String, String)>, body: Bytes) -> Answer {
    let Happening { event, page } = read(&body)?;
    let happened = parts.networks.event_at(&network, &account, &event, page.as_deref());
    happened.map_err(|error| Refused::bad(&error))?;
    let mut told = Vec::new();
    for message in parts.networks.messages(&network, &account, &event).map_err(|error| Refused::bad(&error))? {
        let (path, answer) = (message.path.clone(), message.deliver(&parts.gateway).await);
        told.push(json!({ "path": path, "status": answer.0, "body": answer.1 }));
    }
    Ok(Json(json!({ "grants": parts.networks.grants(&network, &account), "told": told })))
}

/// By logical id, as `sam local` takes it for `--env-vars`.
async fn environment(State(parts): World) -> Json<Value> {
    let functions = Template::deployed().functions.iter();
    Json(functions.map(|function| (function.logical_id.clone(), json!(parts.environment[&function.name]))).collect())
}

async fn forget_authorizations(State(parts): World) -> StatusCode {
    parts.gateway.forget_authorizations();
    StatusCode::NO_CONTENT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_on_a_target_that_cannot_be_called_is_a_mistake() {
        for target in [
            "x/token",
            "x/*",
            "facebook/long_lived_token",
            "instagram/long-lived",
            "dynamodb/UpdateItem",
            "kms/*",
            "issuer/jwks",
        ] {
            assert!(is_target(target), "{target}");
        }
        for target in ["", "x", "x/", "x/tokens", "kms/", "kms/a/b", "myspace/token", "*/*", "*"] {
            assert!(!is_target(target), "{target}");
        }
    }
}
