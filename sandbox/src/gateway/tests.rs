use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use lambda_http::{
    RequestExt as _, aws_lambda_events::apigw::ApiGatewayV2CustomAuthorizerV2Request, request::LambdaRequest,
};

use super::*;

/// A gateway before functions that answer with the event that they were given.
struct World {
    gateway: Gateway,
    now: Arc<AtomicI64>,
    authorized: Arc<AtomicUsize>,
}

impl World {
    fn new() -> Self {
        let now = Arc::new(AtomicI64::new(1_795_429_200));
        let authorized = Arc::new(AtomicUsize::new(0));
        let (clock, counter) = (Arc::clone(&now), Arc::clone(&authorized));
        let clock = Clock::from_fn(move || Timestamp::from_second(clock.load(Ordering::Relaxed)).unwrap());
        let gateway = Gateway::new(Template::deployed(), "localhost:8787", clock, move |function, event| {
            if function == AUTHORIZER {
                counter.fetch_add(1, Ordering::Relaxed);
            }
            Box::pin(async move { function_of_the_test(&function, &event) })
        });
        Self { gateway, now, authorized }
    }

    async fn ask(&self, request: http::request::Builder) -> (StatusCode, Value) {
        self.send(request.body(Body::empty()).unwrap()).await
    }

    async fn send(&self, request: Request) -> (StatusCode, Value) {
        let response = self.gateway.answer(request).await;
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    fn later(&self, seconds: i64) {
        self.now.fetch_add(seconds, Ordering::Relaxed);
    }

    fn times_authorized(&self) -> usize {
        self.authorized.load(Ordering::Relaxed)
    }
}

fn function_of_the_test(function: &str, event: &Value) -> Result<Value, Fatal> {
    if function != AUTHORIZER {
        let fails = event["rawPath"] == "/v1/notices";
        let answer = json!({ "statusCode": 200, "headers": {}, "cookies": [], "body": event.to_string() });
        return if fails { Err("on purpose".into()) } else { Ok(answer) };
    }
    let asked: ApiGatewayV2CustomAuthorizerV2Request = serde_json::from_value(event.clone())?;
    match &*asked.identity_source.unwrap_or_default()[0] {
        "Bearer down" => Err("the issuer is down".into()),
        "Bearer panic" => panic!("a defect"),
        bearer => Ok(json!({ "isAuthorized": bearer == "Bearer good", "context": { "tenant": "acme" } })),
    }
}

fn get(path: &str) -> http::request::Builder {
    Request::get(path)
}

fn signed_in(path: &str) -> http::request::Builder {
    get(path).header("authorization", "Bearer good")
}

#[tokio::test]
async fn a_request_becomes_the_event_of_payload_format_2() {
    let request = Request::patch("/v1/profiles/x_profile%2D42/tokens/interaction-alice?a=1&b=%C3%A9&a=2")
        .header("Authorization", "Bearer good")
        .header("Content-Type", "application/json; charset=utf-8")
        .header("X-Twice", "one")
        .header("X-Twice", "two")
        .header("Cookie", "a=1; b=2")
        .header("User-Agent", "curl/8")
        .body(Body::from(r#"{"allow":{}}"#))
        .unwrap();

    let (status, mut event) = World::new().send(request).await;

    assert_eq!(status, StatusCode::OK);
    assert!(event["requestContext"]["requestId"].take().is_string());
    let path = "/v1/profiles/x_profile-42/tokens/interaction-alice";
    assert_eq!(
        event,
        json!({
            "version": "2.0",
            "routeKey": "PATCH /v1/profiles/{id}/tokens/{token}",
            "rawPath": path,
            "rawQueryString": "a=1&b=%C3%A9&a=2",
            "cookies": ["a=1", "b=2"],
            "headers": {
                "authorization": "Bearer good",
                "content-type": "application/json; charset=utf-8",
                "user-agent": "curl/8",
                "x-forwarded-for": "127.0.0.1",
                "x-forwarded-proto": "http",
                "x-twice": "one,two",
            },
            "queryStringParameters": { "a": "1,2", "b": "é" },
            "pathParameters": { "id": "x_profile-42", "token": "interaction-alice" },
            "requestContext": {
                "accountId": "000000000000",
                "apiId": "sandbox000",
                "authorizer": { "lambda": { "tenant": "acme" } },
                "domainName": "localhost:8787",
                "domainPrefix": "localhost:8787",
                "http": {
                    "method": "PATCH",
                    "path": path,
                    "protocol": "HTTP/1.1",
                    "sourceIp": "127.0.0.1",
                    "userAgent": "curl/8",
                },
                "requestId": null,
                "routeKey": "PATCH /v1/profiles/{id}/tokens/{token}",
                "stage": "$default",
                "time": "23/Nov/2026:10:20:00 +0000",
                "timeEpoch": 1_795_429_200_000_i64,
            },
            "body": r#"{"allow":{}}"#,
            "isBase64Encoded": false,
        })
    );
}

#[tokio::test]
async fn the_runtime_reads_the_event_back_as_the_request_that_it_was() {
    let (_, event) = World::new().ask(signed_in("/v1/profiles/x_profile-42?next=a%2Fb").header("cookie", "a=1")).await;
    let request: http::Request<lambda_http::Body> = serde_json::from_value::<LambdaRequest>(event).unwrap().into();
    assert_eq!(request.method(), Method::GET);
    assert_eq!(request.uri().path(), "/v1/profiles/x_profile-42");
    assert_eq!(request.uri().query(), Some("next=a%2Fb"));
    assert_eq!(request.headers()["cookie"], "a=1");
    assert_eq!(request.path_parameters().first("id"), Some("x_profile-42"));
}

#[tokio::test]
async fn a_body_is_text_or_base64_by_its_content_type_alone() {
    let world = World::new();
    for (content_type, body, base64) in [
        (Some("application/json"), "{}", false),
        (Some("TEXT/plain; charset=utf-8"), "{}", false),
        (Some("application/x-www-form-urlencoded"), "e30=", true),
        (Some("application/octet-stream"), "e30=", true),
        (None, "e30=", true),
    ] {
        let mut request = Request::post("/v1/connect-sessions").header("authorization", "Bearer good");
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let (_, event) = world.send(request.body(Body::from("{}")).unwrap()).await;
        assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!(body), &json!(base64)), "{content_type:?}");
    }
}

#[tokio::test]
async fn what_never_reaches_a_function_is_answered_as_api_gateway_does() {
    let world = World::new();
    let put = Request::put("/v1/profiles").header("authorization", "Bearer good");
    for (request, status, message) in [
        (get("/v1/profiles"), StatusCode::UNAUTHORIZED, "Unauthorized"),
        (get("/v1/profiles").header("authorization", ""), StatusCode::UNAUTHORIZED, "Unauthorized"),
        (get("/v1/profiles").header("authorization", "Bearer bad"), StatusCode::FORBIDDEN, "Forbidden"),
        (
            get("/v1/profiles").header("authorization", "Bearer down"),
            StatusCode::INTERNAL_SERVER_ERROR,
            "Internal Server Error",
        ),
        (
            get("/v1/profiles").header("authorization", "Bearer panic"),
            StatusCode::INTERNAL_SERVER_ERROR,
            "Internal Server Error",
        ),
        (signed_in("/v1/notices"), StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
        (signed_in("/v1/nothing"), StatusCode::NOT_FOUND, "Not Found"),
        (signed_in("/v1/profiles/"), StatusCode::NOT_FOUND, "Not Found"),
        (put, StatusCode::NOT_FOUND, "Not Found"),
    ] {
        let asked = format!("{request:?}");
        assert_eq!(world.ask(request).await, (status, json!({ "message": message })), "{asked}");
    }
}

#[tokio::test]
async fn head_is_not_get() {
    let request = Request::head("/openapi.json").body(Body::empty()).unwrap();
    assert_eq!(World::new().gateway.answer(request).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_body_of_more_than_ten_megabytes_is_refused() {
    let body = Body::from(vec![b'x'; BODY_LIMIT + 1]);
    let request = Request::post("/v1/connect-sessions").header("authorization", "Bearer good").body(body).unwrap();
    let refused = (StatusCode::PAYLOAD_TOO_LARGE, json!({ "message": "Request Entity Too Large" }));
    assert_eq!(World::new().send(request).await, refused);
}

#[tokio::test]
async fn an_authorization_is_asked_for_once_in_300_seconds_whatever_the_route() {
    let world = World::new();
    world.ask(signed_in("/v1/profiles")).await;
    world.later(299);
    world.ask(signed_in("/v1/profiles/x_profile-42")).await;
    assert_eq!(world.times_authorized(), 1);
    world.later(1);
    world.ask(signed_in("/v1/profiles")).await;
    assert_eq!(world.times_authorized(), 2);
    world.gateway.forget_authorizations();
    world.ask(signed_in("/v1/profiles")).await;
    assert_eq!(world.times_authorized(), 3);
}

#[tokio::test]
async fn a_refusal_is_kept_too_and_a_failure_is_not() {
    let world = World::new();
    for (bearer, times) in [("Bearer bad", 1), ("Bearer down", 2)] {
        let before = world.times_authorized();
        for _ in 0..2 {
            world.ask(get("/v1/profiles").header("authorization", bearer)).await;
        }
        assert_eq!(world.times_authorized() - before, times, "{bearer}");
    }
}

#[tokio::test]
async fn a_public_route_asks_nobody() {
    let world = World::new();
    let (status, event) = world.ask(get("/oauth/callback/x?code=c&state=s")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(event["requestContext"]["authorizer"], Value::Null);
    assert_eq!(world.times_authorized(), 0);
}

#[tokio::test]
async fn a_function_that_takes_too_long_is_not_waited_for() {
    let answer = integrate("tokens", Box::pin(std::future::pending()), Duration::ZERO).await;
    assert_eq!(answer.unwrap_err().into_response().status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[test]
fn cookies_and_bytes_of_an_answer_arrive_as_they_were_meant() {
    let answer = json!({
        "statusCode": 303,
        "headers": { "location": "/console" },
        "cookies": ["a=1; HttpOnly", "b=2"],
        "body": "aGk=",
        "isBase64Encoded": true,
    });
    let response = into_response(serde_json::from_value(answer).unwrap()).unwrap();
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(response.headers()["location"], "/console");
    assert_eq!(response.headers().get_all("set-cookie").iter().collect::<Vec<_>>(), ["a=1; HttpOnly", "b=2"]);
}
