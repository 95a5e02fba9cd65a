//! API Gateway's part: an HTTP request becomes the event that the function would get, and the
//! function's answer becomes the HTTP response.
//!
//! The routes are those of `template.yaml`, and nothing else reaches a function. A route that is
//! not public asks the authorizer first and keeps its answer for 300 seconds by the caller's
//! `Authorization` header alone, as an HTTP API with simple responses does: an authorizer whose
//! answer depended on the route, or a handler that did not look at `exp`, would be found out here.
//! Payload format 2.0 as it is observed, which is not all documented: `rawPath` is decoded, names
//! of headers are in lower case, and only `text/*` and three application types count as text.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{RawPathParams, Request},
    response::{IntoResponse, Response},
    routing::{MethodFilter, on},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};
use http_body_util::{BodyExt as _, Limited};
use jiff::{SignedDuration, Timestamp};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use shared::{clock::Clock, edge::Fatal, random::Random};
use tower::ServiceExt as _;
use url::form_urlencoded;

use crate::{
    cloud::REGION,
    template::{Route, Template},
};

const API: &str = "sandbox000";
const ACCOUNT: &str = "000000000000";
const AUTHORIZER: &str = "authorizer";
/// As `ReauthorizeEvery` in the template.
const AUTHORIZATION_KEPT: SignedDuration = SignedDuration::from_mins(5);
/// The quotas of HTTP APIs.
const BODY_LIMIT: usize = 10 * 1024 * 1024;
const INTEGRATION_LIMIT: Duration = Duration::from_secs(30);

/// An invocation under way.
pub type Invocation = Pin<Box<dyn Future<Output = Result<Value, Fatal>> + Send>>;

type Invoke = dyn Fn(String, Value) -> Invocation + Send + Sync;

/// The HTTP API of the deployment.
#[derive(Clone)]
pub struct Gateway {
    api: Arc<Api>,
    router: Router,
}

struct Api {
    domain: String,
    clock: Clock,
    random: Random,
    invoke: Box<Invoke>,
    verdicts: Mutex<HashMap<String, (Timestamp, Verdict)>>,
}

/// What the authorizer answers, in the form of simple responses.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    is_authorized: bool,
    #[serde(default)]
    context: Map<String, Value>,
}

/// What a function answers, in payload format 2.0.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status_code: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    cookies: Vec<String>,
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

/// What API Gateway says without, or instead of, the function.
#[derive(Clone, Copy, Debug)]
enum Refusal {
    Unauthorized,
    Forbidden,
    NotFound,
    TooLarge,
    Failed,
    TimedOut,
}

impl Gateway {
    /// Serves the routes of `template` under `domain`, and lets `invoke` run the functions: a name
    /// and an event in, the function's answer out.
    ///
    /// # Panics
    /// When the template has a route whose method or path is not one, or has it twice.
    #[must_use]
    pub fn new(
        template: &Template,
        domain: &str,
        clock: Clock,
        invoke: impl Fn(String, Value) -> Invocation + Send + Sync + 'static,
    ) -> Self {
        let api = Arc::new(Api {
            domain: domain.to_owned(),
            clock,
            random: Random::system(),
            invoke: Box::new(invoke),
            verdicts: Mutex::default(),
        });
        let mut router = Router::new();
        for route in &template.routes {
            let method = route.method.parse().ok().and_then(|method: Method| MethodFilter::try_from(method).ok());
            let (api, path, route) = (Arc::clone(&api), route.path.clone(), Arc::new(route.clone()));
            let answer = move |params: RawPathParams, request: Request| async move {
                api.answer(&route, &params, request).await.unwrap_or_else(Refusal::into_response)
            };
            router = router.route(&path, on(method.expect("the template names methods of HTTP"), answer));
        }
        let router =
            router.method_not_allowed_fallback(async || Refusal::NotFound).fallback(async || Refusal::NotFound);
        Self { api, router }
    }

    /// The routes, and the answer to everything that is none.
    pub(crate) fn routes(&self) -> Router {
        self.router.clone()
    }

    /// Answers a request without a network in between.
    pub async fn answer(&self, request: Request) -> Response {
        match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// Forgets what the authorizer said so far.
    pub fn forget_authorizations(&self) {
        self.api.verdicts().clear();
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("domain", &self.api.domain).finish_non_exhaustive()
    }
}

impl Api {
    async fn answer(&self, route: &Route, params: &RawPathParams, request: Request) -> Result<Response, Refusal> {
        let (parts, body) = request.into_parts();
        // axum lets a GET route answer HEAD too
        if parts.method.as_str() != route.method {
            return Err(Refusal::NotFound);
        }
        let body = Limited::new(body, BODY_LIMIT).collect().await.map_err(|_| Refusal::TooLarge)?.to_bytes();
        let mut event = self.event(route, params, &parts);
        if !route.public {
            let context = self.authorize(&parts, &event).await?;
            event["requestContext"]["authorizer"] = json!({ "lambda": context });
        }
        put_body(&mut event, &parts, &body);
        let request_id = event["requestContext"]["requestId"].as_str().unwrap_or_default().to_owned();
        let answer = self.invoke(&route.function, event).await?;
        let answer = serde_json::from_value(answer).map_err(|error| failed(&route.function, &error))?;
        let mut response = into_response(answer).ok_or_else(|| failed(&route.function, &"it is no HTTP response"))?;
        if let Ok(request_id) = HeaderValue::try_from(request_id) {
            response.headers_mut().insert("apigw-requestid", request_id);
        }
        Ok(response)
    }

    /// The event, before anybody was authorized and without the body.
    fn event(&self, route: &Route, params: &RawPathParams, parts: &Parts) -> Value {
        let now = self.clock.now();
        let path = percent_decode_str(parts.uri.path()).decode_utf8_lossy();
        let query = parts.uri.query().unwrap_or_default();
        let route_key = format!("{} {}", route.method, route.path);
        let headers = headers(parts);
        let user_agent = headers.get("user-agent").cloned().unwrap_or_default();
        let mut event = json!({
            "version": "2.0",
            "routeKey": route_key,
            "rawPath": path,
            "rawQueryString": query,
            "headers": headers,
            "requestContext": {
                "accountId": ACCOUNT,
                "apiId": API,
                "domainName": self.domain,
                "domainPrefix": self.domain.split('.').next(),
                "http": {
                    "method": route.method,
                    "path": path,
                    "protocol": "HTTP/1.1",
                    "sourceIp": "127.0.0.1",
                    "userAgent": user_agent,
                },
                "requestId": BASE64_STANDARD.encode(self.random.bytes::<12>()),
                "routeKey": route_key,
                "stage": "$default",
                "time": now.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string(),
                "timeEpoch": now.as_millisecond(),
            },
            "isBase64Encoded": false,
        });
        let cookies = cookies(parts);
        if !cookies.is_empty() {
            event["cookies"] = cookies.into();
        }
        let query = joined(form_urlencoded::parse(query.as_bytes()));
        if !query.is_empty() {
            event["queryStringParameters"] = json!(query);
        }
        let params: BTreeMap<&str, &str> = params.iter().collect();
        if !params.is_empty() {
            event["pathParameters"] = json!(params);
        }
        event
    }

    /// The verified context of the caller.
    async fn authorize(&self, parts: &Parts, event: &Value) -> Result<Map<String, Value>, Refusal> {
        let identity = event["headers"]["authorization"].as_str().filter(|identity| !identity.is_empty());
        let identity = identity.ok_or(Refusal::Unauthorized)?;
        let verdict = if let Some(verdict) = self.remembered(identity) {
            verdict
        } else {
            let answer = self.invoke(AUTHORIZER, authorizer_event(parts, event, identity)).await;
            let verdict: Verdict = serde_json::from_value(answer.map_err(|_| Refusal::Failed)?)
                .map_err(|error| failed(AUTHORIZER, &error))?;
            let until = self.clock.now() + AUTHORIZATION_KEPT;
            self.verdicts().insert(identity.to_owned(), (until, verdict.clone()));
            verdict
        };
        if verdict.is_authorized { Ok(verdict.context) } else { Err(Refusal::Forbidden) }
    }

    fn remembered(&self, identity: &str) -> Option<Verdict> {
        let now = self.clock.now();
        let mut verdicts = self.verdicts();
        verdicts.retain(|_, (until, _)| now < *until);
        verdicts.get(identity).map(|(_, verdict)| verdict.clone())
    }

    fn verdicts(&self) -> MutexGuard<'_, HashMap<String, (Timestamp, Verdict)>> {
        self.verdicts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn invoke(&self, function: &str, event: Value) -> Result<Value, Refusal> {
        integrate(function, (self.invoke)(function.to_owned(), event), INTEGRATION_LIMIT).await
    }
}

/// Runs a function to its end, whatever becomes of the client, as Lambda does; waits `limit` for it.
async fn integrate(function: &str, invocation: Invocation, limit: Duration) -> Result<Value, Refusal> {
    match tokio::time::timeout(limit, tokio::spawn(invocation)).await {
        Ok(Ok(Ok(answer))) => Ok(answer),
        Ok(Ok(Err(error))) => Err(failed(function, &error)),
        Ok(Err(panic)) => Err(failed(function, &panic)),
        Err(_) => Err(Refusal::TimedOut),
    }
}

fn failed(function: &str, error: &dyn fmt::Display) -> Refusal {
    tracing::error!(function, %error, "a function failed");
    Refusal::Failed
}

/// The header fields in lower case, repeated ones joined; cookies stand elsewhere.
fn headers(parts: &Parts) -> BTreeMap<String, String> {
    let fields = parts.headers.iter().filter(|(name, _)| **name != header::COOKIE);
    let mut headers = joined(fields.map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()))));
    for (name, value) in [("x-forwarded-for", "127.0.0.1"), ("x-forwarded-proto", "http")] {
        headers.insert(name.to_owned(), value.to_owned());
    }
    headers
}

fn cookies(parts: &Parts) -> Vec<String> {
    let fields = parts.headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    fields.flat_map(|field| field.split(';')).map(|cookie| cookie.trim().to_owned()).collect()
}

fn joined<N: AsRef<str>, V: AsRef<str>>(pairs: impl Iterator<Item = (N, V)>) -> BTreeMap<String, String> {
    let mut joined: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in pairs {
        joined
            .entry(name.as_ref().to_owned())
            .and_modify(|values| {
                values.push(',');
                values.push_str(value.as_ref());
            })
            .or_insert_with(|| value.as_ref().to_owned());
    }
    joined
}

fn put_body(event: &mut Value, parts: &Parts, body: &Bytes) {
    if body.is_empty() {
        return;
    }
    match std::str::from_utf8(body) {
        Ok(text) if is_text(parts) => event["body"] = text.into(),
        _ => {
            event["body"] = BASE64_STANDARD.encode(body).into();
            event["isBase64Encoded"] = true.into();
        }
    }
}

fn is_text(parts: &Parts) -> bool {
    let content_type =
        parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type.starts_with("text/")
        || matches!(&*media_type, "application/json" | "application/xml" | "application/javascript")
}

fn authorizer_event(parts: &Parts, event: &Value, identity: &str) -> Value {
    let mut asking = event.clone();
    let method = parts.method.as_str();
    let path = event["rawPath"].as_str().unwrap_or_default();
    asking["type"] = "REQUEST".into();
    asking["routeArn"] = format!("arn:aws:execute-api:{REGION}:{ACCOUNT}:{API}/$default/{method}{path}").into();
    asking["identitySource"] = json!([identity]);
    if let Some(fields) = asking.as_object_mut() {
        fields.remove("isBase64Encoded");
    }
    asking
}

fn into_response(answer: Answer) -> Option<Response> {
    let body = answer.body.unwrap_or_default();
    let body = if answer.is_base64_encoded { BASE64_STANDARD.decode(body).ok()? } else { body.into_bytes() };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(answer.status_code).ok()?;
    for (name, value) in answer.headers {
        response.headers_mut().append(HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?);
    }
    for cookie in answer.cookies {
        response.headers_mut().append(header::SET_COOKIE, HeaderValue::try_from(cookie).ok()?);
    }
    Some(response)
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, message) = match self {
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "Unauthorized"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "Forbidden"),
            Self::NotFound => (StatusCode::NOT_FOUND, "Not Found"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large"),
            Self::Failed => (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
            Self::TimedOut => (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
        };
        (status, axum::Json(json!({ "message": message }))).into_response()
    }
}

#[cfg(test)]
mod tests;
