//! The test harness: a world, the people in it, and their browsers.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use aws_sdk_dynamodb::types::AttributeValue;
use cookie::Cookie;
use jiff::{SignedDuration, Timestamp};
use reqwest::{Method, StatusCode, header, redirect};
use sandbox::{Options, Sandbox, data::DataDir};
use serde_json::{Value, json};
use url::Url;

/// A sign-in for each network: the network, a kind of profile, a token that it has, and an account.
pub(crate) const SIGN_INS: [(&str, &str, &str, &str); 4] = [
    ("x", "x_profile", "interaction", "newsdesk"),
    ("facebook", "facebook_user", "acquisition", "alice.meyer"),
    ("instagram", "instagram_account", "acquisition", "harbour.photos"),
    ("youtube", "youtube_channel", "interaction", "harbour.tv"),
];

/// A sandbox, and a client that follows no redirects.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) http: reqwest::Client,
}

/// A row of a table.
pub(crate) type Row = HashMap<String, AttributeValue>;

/// An answer, read whole.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) url: Url,
    pub(crate) status: StatusCode,
    pub(crate) headers: header::HeaderMap,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) async fn of(response: reqwest::Response) -> Self {
        let (url, status, headers) = (response.url().clone(), response.status(), response.headers().clone());
        Self { url, status, headers, body: response.text().await.unwrap() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{} is no JSON: {}", self.status, self.body))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Where it leads the browser.
    pub(crate) fn location(&self) -> Url {
        assert_eq!(self.status, StatusCode::SEE_OTHER, "{}", self.body);
        self.url.join(self.header("location")).unwrap()
    }

    /// The JSON, after making sure of the status.
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.json()
    }

    /// Makes sure that it is a problem document with this status and code.
    pub(crate) fn refused(&self, status: u16, code: &str) -> Value {
        let problem = self.expect(status);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!((&problem["code"], &problem["status"]), (&json!(code), &json!(status)), "{problem}");
        assert!(!problem["detail"].as_str().unwrap().is_empty(), "{problem}");
        problem
    }

    /// Makes sure that it is a page for people with this status and code.
    pub(crate) fn obstructed(&self, status: u16, code: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        assert!(self.header("content-type").starts_with("text/html"), "{:?}", self.headers);
        assert!(self.body.contains(&format!("<code>{code}</code>")), "{}", self.body);
    }
}

impl World {
    /// A new world in memory.
    pub(crate) async fn start() -> Self {
        Self::at(DataDir::memory()).await
    }

    /// A world that keeps what happens in it.
    pub(crate) async fn at(data: DataDir) -> Self {
        let sandbox = Sandbox::start(Options { data, ..Options::default() }).await.unwrap();
        Self { sandbox: Arc::new(sandbox), http: client() }
    }

    pub(crate) fn person(&self, name: &str) -> Person {
        Person { world: self.clone(), name: name.to_owned(), browser: Browser::new() }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.sandbox.url())
    }

    /// One of the operator's return addresses.
    pub(crate) fn return_url(&self) -> String {
        self.url("/")
    }

    /// Asks at a door of the sandbox.
    pub(crate) async fn door(&self, method: Method, path: &str, body: Value) -> Reply {
        let mut request = self.http.request(method, self.url(path));
        if !body.is_null() {
            request = request.json(&body);
        }
        Reply::of(request.send().await.unwrap()).await
    }

    /// Lets time pass.
    pub(crate) async fn later(&self, duration: SignedDuration) -> &Self {
        let seconds = duration.as_secs();
        self.door(Method::POST, "/_sandbox/clock", json!({ "advance_seconds": seconds })).await.expect(200);
        self
    }

    /// Lets time pass until just after `moment`.
    pub(crate) async fn until(&self, moment: Timestamp) -> &Self {
        let wait = moment.duration_since(self.sandbox.clock().now());
        assert!(wait.is_positive(), "{moment} is over");
        self.later(wait + SignedDuration::from_secs(1)).await
    }

    /// The tables, past the product.
    pub(crate) fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(self.sandbox.aws_config())
    }

    /// Every row of a table.
    pub(crate) async fn rows(&self, table: &str) -> Vec<Row> {
        // without a limit the engine reads all that is left for each page
        let scan = self.dynamodb().scan().table_name(table).consistent_read(true).limit(500);
        let pages = scan.into_paginator().items().send();
        pages.collect::<Result<_, _>>().await.unwrap()
    }

    /// Runs the sweep and tells its summary.
    pub(crate) async fn sweep(&self) -> Value {
        self.door(Method::POST, "/_sandbox/tick", json!({ "function": "expiry-sweep" })).await.expect(200)
    }

    /// Something happens to an account at its network.
    pub(crate) async fn happens(&self, network: &str, account: &str, event: Value) {
        let door = format!("/_sandbox/networks/{network}/accounts/{account}");
        let reply = self.door(Method::POST, &door, event).await;
        assert!(reply.status.is_success(), "{}", reply.body);
    }

    /// All mails so far.
    pub(crate) async fn mails(&self) -> Vec<Value> {
        let mails = self.door(Method::GET, "/_sandbox/mail", Value::Null).await.expect(200);
        mails["items"].as_array().unwrap().clone()
    }

    /// Lets something go wrong.
    pub(crate) async fn fault(&self, fault: Value) {
        let reply = self.door(Method::PUT, "/_sandbox/faults", fault).await;
        assert!(reply.status.is_success(), "{}", reply.body);
    }

    /// Lets everything go right again.
    pub(crate) async fn no_faults(&self) {
        let reply = self.door(Method::DELETE, "/_sandbox/faults", Value::Null).await;
        assert!(reply.status.is_success(), "{}", reply.body);
    }

    /// How often `target` was called since the last reset.
    pub(crate) async fn calls(&self, target: &str) -> u64 {
        let calls = self.door(Method::GET, "/_sandbox/calls", Value::Null).await.expect(200);
        calls[target].as_u64().unwrap_or_default()
    }

    /// How often a code was sent to a network since the last reset.
    pub(crate) async fn exchanges(&self) -> u64 {
        self.calls("x/token").await + self.calls("facebook/token").await
    }

    pub(crate) async fn forget_calls(&self) {
        let reply = self.door(Method::DELETE, "/_sandbox/calls", Value::Null).await;
        assert!(reply.status.is_success(), "{}", reply.body);
    }
}

/// The value of a parameter in the query of `url`.
pub(crate) fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(other, _)| other == name).map(|(_, value)| value.into_owned())
}

/// A client that follows no redirects, so that a test sees each of them.
#[expect(clippy::disallowed_methods, reason = "the tests' own client")]
pub(crate) fn client() -> reqwest::Client {
    // everything is plain HTTP on loopback: no certificate authorities are loaded
    let http = reqwest::Client::builder().tls_certs_only([]);
    http.redirect(redirect::Policy::none()).no_proxy().build().unwrap()
}

pub(crate) fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

pub(crate) fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

/// Somebody who signs in at the sandbox's identity provider, with a browser.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) world: World,
    pub(crate) name: String,
    pub(crate) browser: Browser,
}

/// A connect session as its maker sees it.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) connect_url: String,
}

/// What the browser brought back to the return address.
#[derive(Clone, Debug)]
pub(crate) struct Landing(pub(crate) Url);

impl Landing {
    pub(crate) fn session(&self) -> String {
        parameter(&self.0, "connect_session").unwrap_or_else(|| panic!("no session in {}", self.0))
    }

    pub(crate) fn code(&self) -> String {
        parameter(&self.0, "completion_code").unwrap_or_else(|| panic!("no completion code in {}", self.0))
    }

    pub(crate) fn error(&self) -> String {
        parameter(&self.0, "error").unwrap_or_else(|| panic!("no error in {}", self.0))
    }
}

impl Person {
    /// An access token, fresh from the identity provider.
    pub(crate) async fn access_token(&self) -> String {
        let reply = self.world.door(Method::POST, "/_sandbox/sign-in", json!({ "person": self.name })).await;
        reply.expect(200)["access_token"].as_str().unwrap().to_owned()
    }

    /// Asks the API.
    pub(crate) async fn api(&self, method: Method, path: &str, body: Value) -> Reply {
        let request = self.world.http.request(method, self.world.url(path)).bearer_auth(self.access_token().await);
        let request = if body.is_null() { request } else { request.json(&body) };
        Reply::of(request.send().await.unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.api(Method::GET, path, Value::Null).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.api(Method::DELETE, path, Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Reply {
        self.api(Method::POST, path, body).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Reply {
        self.api(Method::PUT, path, body).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Reply {
        self.api(Method::PATCH, path, body).await
    }

    async fn session(&self, mut body: Value) -> Session {
        body["return_url"] = json!(self.world.return_url());
        let session = self.post("/v1/connect-sessions", body).await.expect(201);
        let text = |name: &str| session[name].as_str().unwrap().to_owned();
        Session { id: text("id"), connect_url: text("connect_url") }
    }

    /// Begins to connect any account of a kind.
    pub(crate) async fn begin(&self, kind: &str, token: &str) -> Session {
        self.session(json!({ "kind": kind, "token": token })).await
    }

    /// Begins to reauthenticate a profile.
    pub(crate) async fn begin_again(&self, profile: &str, token: &str) -> Session {
        self.session(json!({ "profile_id": profile, "token": token })).await
    }

    /// Opens the link: where the network asks for consent.
    pub(crate) async fn open(&self, session: &Session) -> Url {
        self.browser.get(&session.connect_url).await.location()
    }

    /// Opens the link and decides as `account`: where the network sends the browser back to.
    pub(crate) async fn decide(&self, session: &Session, decision: &str, account: &str) -> Url {
        self.browser.decide(&self.open(session).await, decision, account).await
    }

    /// A session as the API shows it to this person.
    pub(crate) async fn look(&self, session: &Session) -> Value {
        self.get(&format!("/v1/connect-sessions/{}", session.id)).await.expect(200)
    }

    /// Opens the link and approves at the network as `account`.
    pub(crate) async fn approve(&self, session: &Session, account: &str) -> Landing {
        let callback = self.decide(session, "approve", account).await;
        Landing(self.browser.get(callback.as_str()).await.location())
    }

    /// Completes what the browser brought back, with what is chosen from the session's candidates.
    pub(crate) async fn complete_with(&self, landing: &Landing, selected: &[&str]) -> Reply {
        let path = format!("/v1/connect-sessions/{}/complete", landing.session());
        self.post(&path, json!({ "completion_code": landing.code(), "selected": selected })).await
    }

    /// Connects Facebook Pages that `account` administers.
    pub(crate) async fn connect_pages(&self, account: &str, pages: &[&str]) -> Vec<Value> {
        let session = self.begin("facebook_page", "interaction").await;
        let landing = self.approve(&session, account).await;
        let connected = self.complete_with(&landing, pages).await.expect(200);
        connected["profiles"].as_array().unwrap().clone()
    }

    /// Signs in again for a profile.
    pub(crate) async fn reauthenticate(&self, profile: &str, token: &str, account: &str) -> Value {
        let session = self.begin_again(profile, token).await;
        let landing = self.approve(&session, account).await;
        self.complete(&landing).await.expect(200)["profiles"][0].clone()
    }

    /// Completes what the browser brought back.
    pub(crate) async fn complete(&self, landing: &Landing) -> Reply {
        let path = format!("/v1/connect-sessions/{}/complete", landing.session());
        self.post(&path, json!({ "completion_code": landing.code() })).await
    }

    /// The whole of it: the profile that came of it.
    pub(crate) async fn connect(&self, kind: &str, token: &str, account: &str) -> Value {
        let session = self.begin(kind, token).await;
        let landing = self.approve(&session, account).await;
        self.complete(&landing).await.expect(200)["profiles"][0].clone()
    }
}

/// A browser: cookies by host, and nothing followed by itself.
#[derive(Clone)]
pub(crate) struct Browser {
    http: reqwest::Client,
    cookies: Arc<Mutex<BTreeMap<(String, String), String>>>,
}

impl Browser {
    pub(crate) fn new() -> Self {
        Self { http: client(), cookies: Arc::default() }
    }

    pub(crate) async fn get(&self, url: &str) -> Reply {
        self.send(Method::GET, url, None).await
    }

    pub(crate) async fn post(&self, url: &str, form: &[(&str, &str)]) -> Reply {
        self.send(Method::POST, url, Some(form)).await
    }

    /// Answers a network's consent page; tells where the network sends the browser.
    pub(crate) async fn decide(&self, consent: &Url, decision: &str, account: &str) -> Url {
        assert_eq!(self.get(consent.as_str()).await.status, StatusCode::OK, "the consent page of {consent}");
        let asked: Vec<(String, String)> = consent.query_pairs().into_owned().collect();
        let mut form: Vec<(&str, &str)> = asked.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        form.retain(|(name, _)| *name != "scope");
        form.extend([("decision", decision), ("account", account)]);
        if let Some((_, scope)) = asked.iter().find(|(name, _)| name == "scope") {
            form.push(("asked", scope));
        }
        let scopes: Vec<&str> =
            asked.iter().filter(|(name, _)| name == "scope").flat_map(|(_, scope)| scope.split([' ', ','])).collect();
        form.extend(scopes.into_iter().map(|scope| ("scope", scope)));
        let mut page = consent.clone();
        page.set_query(None);
        self.post(page.as_str(), &form).await.location()
    }

    /// The cookies for a host, as pairs.
    pub(crate) fn cookies(&self, host: &str) -> Vec<(String, String)> {
        let cookies = self.cookies.lock().unwrap();
        let of_host = cookies.iter().filter(|((of, _), _)| of == host);
        of_host.map(|((_, name), value)| (name.clone(), value.clone())).collect()
    }

    async fn send(&self, method: Method, url: &str, form: Option<&[(&str, &str)]>) -> Reply {
        let url = Url::parse(url).unwrap();
        let host = url.host_str().unwrap().to_owned();
        let mut request = self.http.request(method, url);
        let cookies = self.cookies(&host).iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
        if !cookies.is_empty() {
            request = request.header(header::COOKIE, cookies.join("; "));
        }
        if let Some(form) = form {
            request = request.form(form);
        }
        let reply = Reply::of(request.send().await.unwrap()).await;
        for line in reply.headers.get_all(header::SET_COOKIE) {
            let cookie = Cookie::parse(line.to_str().unwrap().to_owned()).unwrap();
            let key = (host.clone(), cookie.name().to_owned());
            let over = cookie.max_age().is_some_and(cookie::time::Duration::is_zero);
            let mut cookies = self.cookies.lock().unwrap();
            if over {
                cookies.remove(&key)
            } else {
                cookies.insert(key, cookie.value().to_owned())
            };
        }
        reply
    }
}
