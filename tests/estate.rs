//! A tenant in which there is one of everything, and a row for every route that asks for it.

use reqwest::{Method, StatusCode};
use sandbox::template::Template;
use serde_json::{Value, json};

use crate::support::{Reply, Session, World, days};

/// What Alice of acme has: a profile at each network with a token, a notice, a rule, a session that
/// waits to be completed, and a lease that her organisation's worker has.
pub(crate) struct Estate {
    pub(crate) world: World,
    pub(crate) session: Session,
    pub(crate) code: String,
    pub(crate) notice: String,
    pub(crate) rule: String,
    pub(crate) lease: String,
}

/// The administrator of Alice's organisation.
const ADMINISTRATOR: &str = "dora";
/// The worker of Alice's organisation.
const WORKER: &str = "acme-worker";

/// A request for something that is Alice's, and the statuses that others get for it.
pub(crate) struct Row {
    /// Who is meant to ask for it: Alice, or the worker or an administrator of her organisation.
    pub(crate) by: &'static str,
    /// As the OpenAPI document writes it.
    pub(crate) operation: &'static str,
    pub(crate) path: String,
    pub(crate) body: Value,
    /// What somebody of the same sort of another tenant, a reader, a responder, and whoever is meant are answered.
    pub(crate) answers: [u16; 4],
}

impl Row {
    pub(crate) fn method(&self) -> Method {
        let (method, _) = self.operation.split_once(' ').unwrap();
        method.parse().unwrap()
    }

    /// The function that answers.
    pub(crate) fn function(&self) -> &'static str {
        let deployed = |method: &str, path: &str| format!("{method} {path}") == self.operation;
        let mut routes = Template::deployed().routes.iter();
        &routes.find(|route| deployed(&route.method, &route.path)).unwrap().function
    }

    /// Whether a worker asks for it, and no person may.
    pub(crate) fn is_a_workers(&self) -> bool {
        self.by == WORKER
    }

    /// Who of another tenant is most like whoever is meant.
    pub(crate) fn outsider(&self) -> &'static str {
        if self.is_a_workers() { "globex-worker" } else { "erin" }
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
        let rule = json!({ "topic": "Support", "use": "private_messages", "profile_ids": ["x_profile-42"] });
        let rule = alice.post("/v1/rules", rule).await.expect(201)["id"].as_str().unwrap().to_owned();
        let publish = json!({ "use": "publish", "profile_id": "x_profile-42" });
        let lease = world.person(WORKER).post("/v1/leases", publish).await.expect(201);
        let lease = lease["id"].as_str().unwrap().to_owned();
        world.person("carol").get("/v1/profiles").await.expect(200);
        let session = alice.begin("x_profile", "interaction").await;
        let code = alice.approve(&session, "support").await.code();
        Self { world, session, code, notice, rule, lease }
    }

    /// One row a route at least, in an order in which those who are meant can go through all of them.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let row = |operation, path: &str, body, answers| {
            let path = path.to_owned();
            Row { by: "alice", operation, path, body, answers }
        };
        let (id, notice) = (&self.session.id, &self.notice);
        let again =
            json!({ "profile_id": "x_profile-42", "token": "interaction", "return_url": self.world.return_url() });
        let share = json!({ "shared_with": { "users": ["zoe"], "groups": ["newsroom"] } });
        let allow = json!({ "allow": { "private_messages": true } });
        let complete = json!({ "completion_code": self.code });
        let rule = format!("/v1/rules/{}", self.rule);
        let private = json!({ "topic": "Floods", "use": "private_messages", "profile_ids": ["x_profile-42"] });
        let topic = json!({ "topic": "Complaints" });
        let publish = json!({ "use": "publish", "profile_id": "x_profile-42" });
        let report = format!("/v1/leases/{}/report", self.lease);
        let published = json!({ "outcome": "succeeded", "http_status": 201 });
        let settings = json!({ "ladder_days": [30, 1], "administrators": ["ops@acme.example"], "privacy_url": null,
            "reauthenticate_url": null });
        let token = "/v1/profiles/x_profile-42/tokens/interaction-alice";
        vec![
            row("GET /v1/profiles", "/v1/profiles", Value::Null, [200, 200, 200, 200]),
            row("GET /v1/profiles/{id}", "/v1/profiles/x_profile-42", Value::Null, [404, 200, 200, 200]),
            row("GET /v1/profiles/{id}/tokens", "/v1/profiles/x_profile-42/tokens", Value::Null, [404, 200, 200, 200]),
            row("PATCH /v1/profiles/{id}", "/v1/profiles/x_profile-42", share, [404, 403, 403, 200]),
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
            row("GET /v1/rules", "/v1/rules", Value::Null, [200, 200, 200, 200]),
            row("POST /v1/rules", "/v1/rules", private, [404, 403, 403, 201]),
            row("PATCH /v1/rules/{id}", &rule, topic, [404, 403, 403, 200]),
            row("DELETE /v1/rules/{id}", &rule, Value::Null, [404, 403, 403, 200]),
            row("GET /v1/health", "/v1/health", Value::Null, [200, 200, 200, 200]),
            Row { by: ADMINISTRATOR, ..row("GET /v1/history", "/v1/history", Value::Null, [200, 403, 403, 200]) },
            Row { by: ADMINISTRATOR, ..row("GET /v1/settings", "/v1/settings", Value::Null, [200, 403, 403, 200]) },
            Row { by: ADMINISTRATOR, ..row("PUT /v1/settings", "/v1/settings", settings, [200, 403, 403, 200]) },
            Row { by: WORKER, ..row("POST /v1/leases", "/v1/leases", publish, [404, 403, 403, 201]) },
            Row { by: WORKER, ..row("POST /v1/leases/{id}/report", &report, published, [404, 403, 403, 200]) },
            row("DELETE /v1/profiles/{id}/tokens/{token}", token, Value::Null, [404, 403, 403, 200]),
            row("DELETE /v1/profiles/{id}", "/v1/profiles/facebook_user-1001", Value::Null, [404, 403, 403, 200]),
            row(
                "PATCH /v1/profiles/{id}",
                "/v1/profiles/x_profile-42",
                json!({ "owner": false }),
                [404, 403, 403, 200],
            ),
            Row { by: "dora", ..row("DELETE /v1/users/{sub}", "/v1/users/carol", Value::Null, [404, 403, 403, 200]) },
        ]
    }

    /// Asks for a row with an access token, or with none.
    pub(crate) async fn ask(&self, bearer: Option<&str>, row: &Row) -> Reply {
        ask(&self.world, bearer, row.method(), &row.path, &row.body).await
    }

    /// Everything of Alice's, as she sees it.
    pub(crate) async fn seen(&self) -> Vec<String> {
        let mut seen = Vec::new();
        for path in ["/v1/profiles", "/v1/notices", "/v1/rules", &format!("/v1/connect-sessions/{}", self.session.id)] {
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
