//! Events and requests that are made to be misread: odd events, and text that would be a line or a
//! header of its own.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Method;
use serde_json::{Value, json};
use tracing::Dispatch;

use crate::{
    estate::{Estate, ask},
    invocation::{context, event},
    support::Browser,
};

/// The event with another value at a place that it has.
fn with(mut event: Value, place: &str, value: Value) -> Value {
    *event.pointer_mut(place).unwrap_or_else(|| panic!("{place}")) = value;
    event
}

/// The event without what it has at a place.
fn without(mut event: Value, place: &str) -> Value {
    let (parent, name) = place.rsplit_once('/').unwrap();
    event.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name).unwrap();
    event
}

/// The event with one more field.
fn and(mut event: Value, name: &str, value: Value) -> Value {
    event[name] = value;
    event
}

async fn are_answered(estate: &Estate, cases: Vec<(u16, Value)>) {
    for (status, event) in cases {
        let shown: String = event.to_string().chars().take(2000).collect();
        let reply = estate.world.invoke("tokens", event).await;
        assert_eq!(reply.status.as_u16(), status, "{} to {shown}", reply.body);
        let kind = if reply.status.is_success() { "application/json" } else { "application/problem+json" };
        assert_eq!(reply.header("content-type"), kind, "{shown}");
    }
}

// S68
#[tokio::test]
async fn an_event_may_lack_fields_have_others_and_be_answered_all_the_same() {
    let estate = Estate::new().await;
    let caller = context(&estate.world, "acme", "alice");
    let get = || event("GET", "/v1/profiles/x_profile-42", &Value::Null, &caller);
    let begin = json!({ "kind": "x_profile", "token": "interaction", "return_url": estate.world.return_url() });
    let post = || event("POST", "/v1/connect-sessions", &begin, &caller);
    let in_base64 =
        |text: &str| and(with(post(), "/body", json!(STANDARD.encode(text))), "isBase64Encoded", json!(true));
    let jwt = json!({ "jwt": { "claims": { "sub": "alice", "tenant": "acme" }, "scopes": [] } });
    let cases = vec![
        (200, get()),
        (200, without(get(), "/headers")),
        (200, with(get(), "/headers", json!({}))),
        (200, and(get(), "cookies", json!([]))),
        (200, and(get(), "cookies", json!(["a=b", "c", "=", "", "\u{e9}=1", "a=b; c=d"]))),
        (200, and(get(), "queryStringParameters", json!({ "x": "1,2" }))),
        (200, and(get(), "queryStringParameters", Value::Null)),
        (200, and(get(), "pathParameters", json!({ "id": "x_profile-99" }))),
        (200, and(get(), "pathParameters", Value::Null)),
        (200, and(get(), "stageVariables", Value::Null)),
        (200, and(get(), "body", Value::Null)),
        (200, and(get(), "somethingNew", json!({ "deep": [1, null] }))),
        (200, without(get(), "/isBase64Encoded")),
        (200, without(get(), "/rawQueryString")),
        (200, with(get(), "/rawQueryString", Value::Null)),
        (200, without(get(), "/requestContext/domainName")),
        (200, with(get(), "/requestContext/timeEpoch", json!(-1))),
        // nobody was authorized
        (401, without(get(), "/requestContext/authorizer")),
        (401, with(get(), "/requestContext/authorizer", Value::Null)),
        (401, with(get(), "/requestContext/authorizer", json!({}))),
        (401, with(get(), "/requestContext/authorizer", jwt)),
        (401, with(get(), "/requestContext/authorizer/lambda", Value::Null)),
        // bodies
        (201, post()),
        (201, in_base64(&begin.to_string())),
        (400, in_base64("{}")),
        (400, with(in_base64(""), "/body", json!("%"))),
        (400, and(post(), "isBase64Encoded", json!(true))),
        (400, with(post(), "/body", json!(STANDARD.encode(begin.to_string())))),
        (400, with(post(), "/body", Value::Null)),
        (400, without(post(), "/body")),
        (415, with(post(), "/headers", json!({}))),
        // methods
        (405, with(get(), "/requestContext/http/method", json!("PUT"))),
        (405, with(get(), "/requestContext/http/method", json!("BREW"))),
        (405, with(get(), "/requestContext/http/method", json!("get"))),
    ];
    are_answered(&estate, cases).await;
}

// S68
#[tokio::test]
async fn an_odd_host_path_or_query_is_answered_all_the_same() {
    let estate = Estate::new().await;
    let caller = context(&estate.world, "acme", "alice");
    let get = || event("GET", "/v1/profiles", &Value::Null, &caller);
    let mut cases = Vec::new();
    for host in ["[", "a b", "a/../b", "user@evil.example:x", "\u{e9}", "evil.example:99999", ""] {
        cases.push((200, with(get(), "/headers/host", json!(host))));
        cases.push((200, with(without(get(), "/headers/host"), "/requestContext/domainName", json!(host))));
    }
    for scheme in ["", "::", "javascript", "https, http", "1"] {
        cases.push((200, with(get(), "/headers/x-forwarded-proto", json!(scheme))));
    }
    for path in ["/v1/profiles/x_profile-42", "/v1/profiles/x_profile%2D42", "v1/profiles"] {
        cases.push((200, with(get(), "/rawPath", json!(path))));
    }
    for path in [
        "",
        "/",
        ":80",
        "//",
        "@evil.example/",
        "/v1//profiles",
        "/v1/profiles/",
        "/v1/profiles/a b",
        "/v1/profiles/\u{20ac}",
        "/v1/profiles/x_profile-42?list=all",
        "/v1/profiles/x_profile-42#x",
        "/v1/profiles/\"<>\\^`{|}",
        "/v1/profiles/\r\n\t\0",
        "/v1/profiles/%",
        "/v1/profiles/%FF",
        "/v1/profiles/../../etc/passwd",
        "/v1/profiles/x_profile-42/..;/tokens",
        &format!("/{}", "x".repeat(100_000)),
    ] {
        cases.push((404, with(get(), "/rawPath", json!(path))));
    }
    cases.push((404, with(get(), "/rawPath", Value::Null)));
    cases.push((404, without(get(), "/rawPath")));
    cases.push((404, with(get(), "/rawQueryString", json!("x".repeat(100_000)))));
    for query in ["a b", "\"<>", "\u{20ac}", "#list", "\r\n", "\0", "%", "%FF", "&&=&"] {
        cases.push((400, with(get(), "/rawQueryString", json!(format!("list={query}")))));
        for (path, function) in [("/oauth/start", "oauth-start"), ("/oauth/callback/x", "oauth-callback")] {
            let event = event("GET", path, &Value::Null, &Value::Null);
            let event = with(event, "/rawQueryString", json!(format!("ticket={query}")));
            let reply = estate.world.invoke(function, event).await;
            assert!(reply.status.is_client_error(), "{reply:?}");
            assert!(reply.header("content-type").starts_with("text/html"), "{reply:?}");
        }
    }
    are_answered(&estate, cases).await;
}

/// What is logged on this thread, in the deployed format.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// S42
#[tokio::test]
async fn nothing_from_outside_forges_a_log_line_or_a_header() {
    let log = Log::default();
    let writer = log.clone();
    // with a single subscriber in the process, a place that another thread logs from first would stay silent here
    let _another = Dispatch::new(shared::edge::subscriber("test".to_owned(), io::sink));
    let _guard = tracing::subscriber::set_default(shared::edge::subscriber("test".to_owned(), move || writer.clone()));

    let estate = Estate::new().await;
    let world = &estate.world;
    let alice = world.person("alice").access_token().await;
    let forged = r#"{"level":"INFO","message":"forged"}"#;
    let hostile = format!("x\r\nx-forged: 1\r\n\r\n{forged}\n\u{1b}[31m\u{2028}");
    let encoded: String = url::form_urlencoded::byte_serialize(hostile.as_bytes()).collect();
    let header = json!({ "alg": "RS256", "kid": hostile });
    let token = format!("{}.e30.AAAA", STANDARD.encode(header.to_string()).trim_end_matches('='));
    let mut replies = vec![
        ask(world, Some(&token.replace('+', "-").replace('/', "_")), Method::GET, "/v1/profiles", &Value::Null).await,
    ];

    // every call to the tables fails, so that each request has something to log
    world.fault(json!({ "target": "dynamodb/*", "mode": "status", "status": 400, "times": 100_000 })).await;
    for path in [
        format!("/v1/profiles/{encoded}"),
        format!("/v1/profiles/x_profile-42/tokens/{encoded}"),
        format!("/v1/profiles?next={encoded}"),
        format!("/v1/profiles?{encoded}=1"),
        format!("/v1/connect-sessions/{encoded}"),
        "/v1/profiles/x_profile-42".to_owned(),
    ] {
        replies.push(ask(world, Some(&alice), Method::GET, &path, &Value::Null).await);
        replies.push(ask(world, Some(&alice), Method::DELETE, &path, &Value::Null).await);
    }
    for name in ["kind", "profile_id", "token", "return_url", &hostile] {
        let mut body = json!({ "token": "interaction", "return_url": world.return_url() });
        body[name] = json!(hostile);
        replies.push(ask(world, Some(&alice), Method::POST, "/v1/connect-sessions", &body).await);
    }
    for path in [
        format!("/oauth/start?ticket={encoded}"),
        format!("/oauth/start?{encoded}"),
        format!("/oauth/start?ticket={}.{}", "a".repeat(22), "b".repeat(43)),
        format!("/oauth/callback/{encoded}"),
        format!("/oauth/callback/x?state={encoded}&code={encoded}"),
        format!("/oauth/callback/x?state={}.{}&error={encoded}", "a".repeat(22), "b".repeat(43)),
        format!("/{encoded}"),
    ] {
        replies.push(Browser::new().get(&world.url(&path)).await);
    }

    for reply in &replies {
        assert!(reply.headers.keys().all(|name| !name.as_str().contains("forged")), "{reply:?}");
        assert!(reply.status.is_client_error() || reply.status.is_server_error(), "{reply:?}");
        assert!(!reply.body.contains(forged), "{}", reply.body);
    }
    let written = log.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let lines: Vec<Value> = String::from_utf8(written)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line:?} is no JSON")))
        .collect();
    let said = |message: &str| lines.iter().filter(|line| line["message"] == message).count();
    assert!(said("access token refused") == 1 && said("a request failed") > 3, "{lines:#?}");
    assert_eq!(said("forged"), 0, "{lines:#?}");
}
