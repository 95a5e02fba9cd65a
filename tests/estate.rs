//! A tenant in which there is one of everything, and a row for every route that asks for it.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Reply, Session, World, days};

/// What Alice of acme has: a profile at each network with a token, a notice, and a session that
/// waits to be completed.
pub(crate) struct Estate {
    pub(crate) world: World,
    pub(crate) session: Session,
    pub(crate) code: String,
    pub(crate) notice: String,
}

/// A request for something that is Alice's, and the statuses that others get for it.
pub(crate) struct Row {
    /// As the OpenAPI document writes it.
    pub(crate) operation: &'static str,
    pub(crate) path: String,
    pub(crate) body: Value,
    /// What somebody of another tenant, a reader, a responder, and Alice herself are answered.
    pub(crate) answers: [u16; 4],
}

impl Row {
    pub(crate) fn method(&self) -> Method {
        let (method, _) = self.operation.split_once(' ').unwrap();
        method.parse().unwrap()
    }
}

impl Estate {
    pub(crate) async fn new() -> Self {
        let world = World::start().await;
        let alice = world.person("alice");
        alice.connect("facebook_user", "acquisition", "alice.meyer").await;
        world.later(days(31)).await;
        world.sweep().await;
        alice.connect("x_profile", "interaction", "newsdesk").await;
        let notices = alice.get("/v1/notices").await.expect(200);
        let notice = notices["items"][0]["id"].as_str().unwrap().to_owned();
        let session = alice.begin("x_profile", "interaction").await;
        let code = alice.approve(&session, "support").await.code();
        Self { world, session, code, notice }
    }

    /// One row a route at least, in an order in which Alice can go through all of them.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let row = |operation, path: &str, body, answers| Row { operation, path: path.to_owned(), body, answers };
        let (id, notice) = (&self.session.id, &self.notice);
        let again =
            json!({ "profile_id": "x_profile-42", "token": "interaction", "return_url": self.world.return_url() });
        let allow = json!({ "allow": { "private_messages": true } });
        let complete = json!({ "completion_code": self.code });
        let token = "/v1/profiles/x_profile-42/tokens/interaction-alice";
        vec![
            row("GET /v1/profiles", "/v1/profiles", Value::Null, [200, 200, 200, 200]),
            row("GET /v1/profiles/{id}", "/v1/profiles/x_profile-42", Value::Null, [404, 200, 200, 200]),
            row("GET /v1/profiles/{id}/tokens", "/v1/profiles/x_profile-42/tokens", Value::Null, [404, 200, 200, 200]),
            row("PATCH /v1/profiles/{id}/tokens/{token}", token, allow, [404, 403, 403, 200]),
            row("POST /v1/connect-sessions", "/v1/connect-sessions", again, [404, 403, 201, 201]),
            row(
                "GET /v1/connect-sessions/{id}",
                &format!("/v1/connect-sessions/{id}"),
                Value::Null,
                [404, 404, 404, 200],
            ),
            row(
                "POST /v1/connect-sessions/{id}/complete",
                &format!("/v1/connect-sessions/{id}/complete"),
                complete,
                [404, 404, 404, 200],
            ),
            row("GET /v1/notices", "/v1/notices", Value::Null, [200, 200, 200, 200]),
            row(
                "POST /v1/notices/{id}/dismiss",
                &format!("/v1/notices/{notice}/dismiss"),
                Value::Null,
                [404, 404, 404, 200],
            ),
            row("DELETE /v1/profiles/{id}/tokens/{token}", token, Value::Null, [404, 403, 403, 200]),
            row("DELETE /v1/profiles/{id}", "/v1/profiles/facebook_user-1001", Value::Null, [404, 403, 403, 200]),
        ]
    }

    /// Asks for a row with an access token, or with none.
    pub(crate) async fn ask(&self, bearer: Option<&str>, row: &Row) -> Reply {
        ask(&self.world, bearer, row.method(), &row.path, &row.body).await
    }

    /// Everything of Alice's, as she sees it.
    pub(crate) async fn seen(&self) -> Vec<String> {
        let mut seen = Vec::new();
        for path in ["/v1/profiles", "/v1/notices", &format!("/v1/connect-sessions/{}", self.session.id)] {
            let reply = self.world.person("alice").get(path).await;
            assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
            seen.push(reply.body);
        }
        seen
    }
}

/// Asks the API with any access token, or with none.
pub(crate) async fn ask(world: &World, bearer: Option<&str>, method: Method, path: &str, body: &Value) -> Reply {
    let mut request = world.http.request(method, world.url(path));
    if let Some(bearer) = bearer {
        request = request.bearer_auth(bearer);
    }
    if !body.is_null() {
        request = request.json(body);
    }
    Reply::of(request.send().await.unwrap()).await
}

/// An access token of somebody who is called as somebody of another tenant is.
pub(crate) fn namesake(world: &World, sub: &str, tenant: &str) -> String {
    let issuer = world.sandbox.issuer();
    let now = world.sandbox.clock().now().as_second();
    issuer.sign(json!({
        "iss": issuer.url(), "sub": sub, "email": format!("{sub}@{tenant}.example"), "tenant": tenant,
        "roles": ["manager", "administrator"], "aud": "tokenward", "client_id": "tests", "token_use": "access", "scope": "tokenward",
        "iat": now, "nbf": now, "exp": now + 3600,
    }))
}
