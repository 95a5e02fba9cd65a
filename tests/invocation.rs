//! A function invoked past the gateway, with an event of the test's own making (payload format 2.0).

use reqwest::{
    StatusCode,
    header::{HeaderMap, HeaderName},
};
use serde_json::{Map, Value, json};

use crate::support::{Reply, World};

/// What the authorizer says of a manager who was admitted just now.
pub(crate) fn context(world: &World, tenant: &str, sub: &str) -> Value {
    let now = world.sandbox.clock().now().as_second();
    json!({
        "tenant": tenant,
        "sub": sub,
        "email": format!("{sub}@{tenant}.example"),
        "roles": "manager",
        "scope": "tokenward",
        "iat": now.to_string(),
        "exp": (now + 3600).to_string(),
    })
}

/// The event of a request; `context` is the authorizer's, or null on a public route.
pub(crate) fn event(method: &str, path: &str, body: &Value, context: &Value) -> Value {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let mut event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": { "host": "api.example", "x-forwarded-proto": "https", "user-agent": "tests" },
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "sandbox000",
            "domainName": "api.example",
            "domainPrefix": "api",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.7",
                "userAgent": "tests",
            },
            "requestId": "id",
            "routeKey": "$default",
            "stage": "$default",
            "time": "23/Nov/2026:12:00:00 +0000",
            "timeEpoch": 1_795_435_200_000_i64,
        },
        "isBase64Encoded": false,
    });
    if !context.is_null() {
        event["requestContext"]["authorizer"] = json!({ "lambda": context });
    }
    if !body.is_null() {
        event["headers"]["content-type"] = "application/json".into();
        event["body"] = body.to_string().into();
    }
    event
}

impl World {
    /// Invokes a function; the answer is its own, with nothing of the gateway's.
    pub(crate) async fn invoke(&self, function: &str, event: Value) -> Reply {
        let shown = event.to_string();
        let answer = self.sandbox.functions().invoke(function, event).await;
        let answer = answer.unwrap_or_else(|error| panic!("{function} failed with {error}: {shown}"));
        let fields = |name: &str| answer[name].as_object().cloned().unwrap_or_else(Map::new);
        let mut headers = HeaderMap::new();
        for (name, value) in fields("headers") {
            headers.insert(HeaderName::try_from(name).unwrap(), value.as_str().unwrap().try_into().unwrap());
        }
        Reply {
            url: self.url("/").parse().unwrap(),
            status: StatusCode::from_u16(answer["statusCode"].as_u64().unwrap().try_into().unwrap()).unwrap(),
            headers,
            body: answer["body"].as_str().unwrap_or_default().to_owned(),
        }
    }
}
