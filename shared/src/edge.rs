//! HTTP in and out: the caller, problem documents, limits, and how a function is served.
//!
//! A handler sees typed input or is not called: the caller comes from the authorizer's verified
//! context and is refused when it is missing or over; bodies are bounded and unknown fields
//! refused. A failure is logged once, here, with its source; the answer has a stable code and
//! public words, and never the source.

use std::{env, fmt, io, time::Duration};

use axum::{
    Router, body,
    extract::{DefaultBodyLimit, Request},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue, header};
use lambda_http::{
    Adapter, LambdaEvent, aws_lambda_events::apigw::ApiGatewayV2httpRequest, request::LambdaRequest, service_fn,
};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;
use tower::Service as _;
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, MakeWriter,
        format::{Format, Json as JsonLines, JsonFields, Writer},
    },
    registry::LookupSpan,
};

use crate::{
    clock::{Clock, Deadline},
    metrics,
};

mod error;
mod extract;
mod prefetch;
pub mod queue;

pub use error::{ApiError, Code, Problem};
pub use extract::{Body, Json, Path, Query, Within, caller_of};
pub use prefetch::refuse_prefetch;

/// No body that a route wants is larger.
const BODY_LIMIT: usize = 16 * 1024;
/// No request that a route wants has more in its header fields.
const HEADER_LIMIT: usize = 16 * 1024;
/// API Gateway waits 30 seconds; whoever is slower has failed and says so.
const BUDGET: Duration = Duration::from_secs(25);

/// Why a function cannot start or run.
pub type Fatal = lambda_http::Error;

/// Structured logs and metrics on standard output; the metrics are of the stage that `STAGE` names.
///
/// # Panics
/// When logging was set up before.
pub fn init_logging() {
    let stage = optional_variable("STAGE").unwrap_or_else(|| "none".to_owned());
    let subscriber = subscriber(stage, io::stdout);
    tracing::subscriber::set_global_default(subscriber).expect("logging is set up once, by main");
}

/// Structured logs, one JSON object a line, so that no value can forge a line. Each carries the span that it was written
/// in: the Lambda runtime's names the request and the X-Ray trace, so that logs and traces meet.
pub fn subscriber<W>(stage: String, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let logs = Format::default().json().flatten_event(true).with_current_span(true).with_span_list(false);
    tracing_subscriber::fmt()
        .fmt_fields(JsonFields::new())
        .event_format(Lines { logs, stage })
        .with_max_level(tracing::Level::INFO)
        .with_writer(writer)
        .finish()
}

/// What is logged as JSON, and what is counted in the form that CloudWatch counts.
struct Lines {
    logs: Format<JsonLines>,
    stage: String,
}

impl<S: Subscriber + for<'s> LookupSpan<'s>> FormatEvent<S, JsonFields> for Lines {
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        match metrics::line(event, &self.stage) {
            Some(line) => writeln!(writer, "{line}"),
            None => self.logs.format_event(context, writer, event),
        }
    }
}

/// The value of an environment variable.
///
/// # Errors
/// When it is missing or empty, naming it.
#[expect(clippy::disallowed_methods, reason = "the one place where the environment enters")]
pub fn variable(name: &str) -> Result<String, Fatal> {
    match env::var(name) {
        Ok(value) if !value.is_empty() => Ok(value),
        _ => Err(format!("the environment variable {name} is missing").into()),
    }
}

/// The value of an environment variable that may be missing.
#[must_use]
pub fn optional_variable(name: &str) -> Option<String> {
    variable(name).ok()
}

/// Puts what every HTTP function has around its routes: limits, time budget, security headers.
pub fn around(routes: Router, clock: Clock) -> Router {
    routes
        .fallback(|| async { ApiError::new(Code::NotFound, "There is no such route; see /openapi.json.") })
        .method_not_allowed_fallback(|| async {
            ApiError::new(Code::MethodNotAllowed, "The route does not take this method; see /openapi.json.")
        })
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::from_fn(move |request, next| guard(clock.clone(), request, next)))
}

async fn guard(clock: Clock, mut request: Request, next: Next) -> Response {
    let size: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let deadline = Deadline::after(BUDGET);
    request.extensions_mut().insert(clock);
    request.extensions_mut().insert(deadline);
    let mut response = if size > HEADER_LIMIT {
        ApiError::new(Code::HeadersTooLarge, "The header fields of the request are larger than 16 KB.").into_response()
    } else {
        match tokio::time::timeout(deadline.left(), next.run(request)).await {
            Ok(response) => response,
            Err(_) => ApiError::new(Code::Unavailable, "It took too long. Nothing is lost: try again.")
                .retry_after(5)
                .into_response(),
        }
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    let policy = HeaderName::from_static("content-security-policy");
    headers.entry(policy).or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    response
}

/// Runs an HTTP function until the environment is shut down.
///
/// # Errors
/// When the Lambda runtime cannot be reached.
pub async fn serve(routes: Router) -> Result<(), Fatal> {
    lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| invoke(&routes, event.payload))).await
}

/// One invocation of an HTTP function: the event as API Gateway sends it (payload format 2.0) in,
/// the answer as API Gateway takes it out.
///
/// # Errors
/// When the event is not of that format.
pub async fn invoke(routes: &Router, event: Value) -> Result<Value, Fatal> {
    let mut event: ApiGatewayV2httpRequest = serde_json::from_value(event)?;
    smooth(&mut event);
    let event = LambdaEvent::new(LambdaRequest::ApiGatewayV2(event), lambda_http::Context::default());
    // a router is always ready, and the adapter need not outlive its call
    let answer = Adapter::from(routes.clone()).call(event);
    match answer.await {
        Ok(answer) => Ok(serde_json::to_value(answer)?),
        Err(never) => match never {},
    }
}

/// What cannot stand in a query as it is.
const ODD_IN_QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>');
/// What would not stay a part of the path. `rawPath` comes decoded, but not from everybody: `%` stays.
const ODD_IN_PATH: &AsciiSet = &ODD_IN_QUERY.add(b'?').add(b'\\').add(b'^').add(b'`').add(b'{').add(b'|').add(b'}');

/// The conversion to a request panics at a host, a path, a query or a body that makes no sense. Here
/// such an event becomes one that can be answered; nobody reads the host.
fn smooth(event: &mut ApiGatewayV2httpRequest) {
    event.headers.remove(header::HOST);
    event.request_context.domain_name = None;
    let path = event.raw_path.take().unwrap_or_default();
    let query = event.raw_query_string.take().unwrap_or_default();
    if path.len() + query.len() > HEADER_LIMIT {
        // no route is so long
        event.raw_path = Some("/".to_owned());
    } else {
        let slash = if path.starts_with('/') { "" } else { "/" };
        event.raw_path = Some(format!("{slash}{}", utf8_percent_encode(&path, ODD_IN_PATH)));
        event.raw_query_string = Some(utf8_percent_encode(&query, ODD_IN_QUERY).to_string());
    }
    if event.is_base64_encoded && event.body.as_ref().is_some_and(|body| STANDARD.decode(body).is_err()) {
        event.body = None;
    }
}

/// An empty answer that leads the browser elsewhere and drops the query of where it was.
///
/// # Errors
/// When the address cannot stand in a header.
pub fn see_other(location: &str) -> Result<Response, http::Error> {
    Response::builder().status(http::StatusCode::SEE_OTHER).header(header::LOCATION, location).body(body::Body::empty())
}
