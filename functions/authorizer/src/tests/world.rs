//! An authorizer, the issuer that it trusts, and a clock, all in the hands of a test.
#![expect(clippy::disallowed_methods, reason = "an issuer signs with randomness, and nothing here depends on it")]

use std::{
    cell::RefCell,
    convert::Infallible,
    io,
    sync::{
        Arc, LazyLock, Mutex, Once,
        atomic::{AtomicI64, Ordering},
    },
};

use aws_lc_rs::{
    encoding::AsDer,
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{self, EcdsaKeyPair, KeyPair, RsaEncoding, RsaKeyPair},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::{Value, json};
use shared::clock::Clock;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{Authorizer, Issuer, Terms};

/// When every story begins: 2026-01-01.
pub(crate) const NOW: i64 = 1_767_225_600;
pub(crate) const AUDIENCE: &str = "tokenward";

pub(crate) struct World {
    pub(crate) authorizer: Authorizer,
    pub(crate) issuer: TestIssuer,
    /// What the issuer signs with at first; its id is `one`.
    pub(crate) key: SigningKey,
    now: Arc<AtomicI64>,
}

impl World {
    pub(crate) async fn start() -> Self {
        keep_log();
        let issuer = TestIssuer::start().await;
        let key = SigningKey::new("one", 0);
        issuer.publishes([&key.jwk]);
        let now = Arc::new(AtomicI64::new(NOW));
        let hands = Arc::clone(&now);
        let authorizer = Authorizer {
            issuer: Issuer::new(issuer.url.clone()).unwrap(),
            terms: Terms {
                audience: AUDIENCE.into(),
                tenant_claim: "tenant".into(),
                roles_claim: "roles".into(),
                groups_claim: "groups".into(),
            },
            clock: Clock::from_fn(move || Timestamp::from_second(hands.load(Ordering::SeqCst)).unwrap()),
        };
        Self { authorizer, issuer, key, now }
    }

    /// What this test has logged so far.
    #[expect(clippy::unused_self, reason = "the log begins with the world")]
    pub(crate) fn log(&self) -> String {
        LOG.with_borrow(|log| String::from_utf8(log.clone()).unwrap())
    }

    pub(crate) fn later(&self, seconds: i64) {
        self.now.fetch_add(seconds, Ordering::SeqCst);
    }

    /// A good header with `changes`; `null` takes a field away.
    pub(crate) fn header(&self, changes: &Value) -> Value {
        with(json!({ "alg": "RS256", "typ": "JWT", "kid": self.key.kid }), changes)
    }

    /// Good claims with `changes`; `null` takes a claim away.
    pub(crate) fn claims(&self, changes: &Value) -> Value {
        let claims = json!({
            "iss": self.issuer.url,
            "sub": "alice",
            "aud": AUDIENCE,
            "client_id": "sandbox",
            "token_use": "access",
            "scope": "tokenward",
            "email": "alice@acme.example",
            "roles": ["manager", "power_analyst"],
            "tenant": "acme",
            "iat": NOW,
            "nbf": NOW,
            "exp": NOW + 3600,
            "jti": "1",
        });
        with(claims, changes)
    }

    pub(crate) fn token(&self, changes: &Value) -> String {
        self.key.sign(&self.header(&json!({})), &self.claims(changes))
    }

    /// A token that differs from a good one in its key alone, and that lasts.
    pub(crate) fn token_of(&self, key: &SigningKey) -> String {
        key.sign(&self.header(&json!({ "kid": key.kid })), &self.claims(&json!({ "exp": NOW + 48 * 3600 })))
    }

    pub(crate) async fn ask(&self, token: &str) -> Value {
        self.authorizer.invoke(event(token)).await.unwrap()
    }

    pub(crate) async fn accepts(&self, token: &str, why: &str) {
        assert_eq!(self.ask(token).await["isAuthorized"], true, "{why}");
    }

    pub(crate) async fn refuses(&self, token: &str, why: &str) {
        assert_eq!(self.ask(token).await, json!({ "isAuthorized": false }), "{why}");
    }

    pub(crate) async fn fails(&self, token: &str, why: &str) {
        let answer = self.authorizer.invoke(event(token)).await;
        assert!(answer.is_err(), "{why}: {answer:?}");
    }
}

/// What the gateway sends: the fields of a REQUEST event of payload format 2.0.
pub(crate) fn event(token: &str) -> Value {
    let authorization = format!("Bearer {token}");
    json!({
        "version": "2.0",
        "type": "REQUEST",
        "routeArn": "arn:aws:execute-api:eu-west-1:123456789012:abc/$default/GET/v1/notices",
        "identitySource": [authorization],
        "routeKey": "GET /v1/notices",
        "rawPath": "/v1/notices",
        "rawQueryString": "",
        "headers": { "authorization": authorization, "host": "api.example" },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abc",
            "http": { "method": "GET", "path": "/v1/notices", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.7", "userAgent": "t" },
            "requestId": "id",
            "stage": "$default",
            "timeEpoch": NOW * 1000,
        },
    })
}

fn with(mut object: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        object[name] = value.clone();
    }
    object.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    object
}

pub(crate) fn encode(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

pub(crate) fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", encode(header), encode(claims))
}

pub(crate) fn hs256(unsigned: &str, secret: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), unsigned.as_bytes());
    format!("{unsigned}.{}", URL_SAFE_NO_PAD.encode(tag))
}

/// One of three RSA keys, made once for all tests.
pub(crate) struct SigningKey {
    pub(crate) kid: &'static str,
    pub(crate) jwk: Value,
    pair: &'static RsaKeyPair,
}

impl SigningKey {
    pub(crate) fn other(kid: &'static str) -> Self {
        Self::new(kid, 1)
    }

    pub(crate) fn third(kid: &'static str) -> Self {
        Self::new(kid, 2)
    }

    fn new(kid: &'static str, number: usize) -> Self {
        static PAIRS: LazyLock<[RsaKeyPair; 3]> =
            LazyLock::new(|| std::array::from_fn(|_| RsaKeyPair::generate(KeySize::Rsa2048).unwrap()));
        let pair = &PAIRS[number];
        let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (n, e) = (pair.public_key().modulus(), pair.public_key().exponent());
        let (n, e) = (number(n.big_endian_without_leading_zero()), number(e.big_endian_without_leading_zero()));
        let jwk = json!({ "kty": "RSA", "kid": kid, "alg": "RS256", "use": "sig", "n": n, "e": e });
        Self { kid, jwk, pair }
    }

    /// Signs with RS256, whatever the header says.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_by(&signature::RSA_PKCS1_SHA256, header, claims)
    }

    pub(crate) fn sign_by(&self, algorithm: &'static dyn RsaEncoding, header: &Value, claims: &Value) -> String {
        let unsigned = unsigned(header, claims);
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(algorithm, &SystemRandom::new(), unsigned.as_bytes(), &mut signature).unwrap();
        format!("{unsigned}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The `SubjectPublicKeyInfo`.
    pub(crate) fn public_der(&self) -> Vec<u8> {
        self.pair.public_key().as_der().unwrap().as_ref().to_vec()
    }

    pub(crate) fn public_pem(&self) -> String {
        let base64 = STANDARD.encode(self.public_der());
        let lines: Vec<&str> = base64.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }

    pub(crate) fn pkcs1(&self) -> Vec<u8> {
        self.pair.public_key().as_ref().to_vec()
    }
}

/// A P-256 key.
pub(crate) struct EllipticKey {
    kid: &'static str,
    pair: EcdsaKeyPair,
}

impl EllipticKey {
    pub(crate) fn new(kid: &'static str) -> Self {
        Self { kid, pair: EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap() }
    }

    pub(crate) fn jwk(&self) -> Value {
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        json!({ "kty": "EC", "crv": "P-256", "kid": self.kid, "x": x, "y": y })
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let unsigned = unsigned(header, claims);
        let signature = self.pair.sign(&SystemRandom::new(), unsigned.as_bytes()).unwrap();
        format!("{unsigned}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// How the issuer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Up,
    /// 503 to everything.
    Down,
    /// 200 and no JSON.
    Garbage,
    /// The keys have moved, says a 302.
    Redirect,
    /// Documents that begin with 256 KB of nothing.
    Endless,
    /// Discovery names another issuer.
    AnotherIssuer,
    /// The keys are on a host of another name, without TLS.
    KeysInCleartextElsewhere,
}

struct Published {
    keys: Vec<Value>,
    health: Health,
    requests: usize,
    fetches: usize,
}

/// An issuer on loopback that counts what it is asked.
pub(crate) struct TestIssuer {
    pub(crate) url: String,
    published: Arc<Mutex<Published>>,
    server: JoinHandle<()>,
}

impl TestIssuer {
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/issuer", listener.local_addr().unwrap());
        let published = Published { keys: Vec::new(), health: Health::Up, requests: 0, fetches: 0 };
        let published = Arc::new(Mutex::new(published));
        let server = tokio::spawn(serve(listener, url.clone(), Arc::clone(&published)));
        Self { url, published, server }
    }

    pub(crate) fn publishes<'a>(&self, keys: impl IntoIterator<Item = &'a Value>) {
        self.published.lock().unwrap().keys = keys.into_iter().cloned().collect();
    }

    pub(crate) fn breaks(&self, health: Health) {
        self.published.lock().unwrap().health = health;
    }

    /// How often the key set was asked for.
    pub(crate) fn fetches(&self) -> usize {
        self.published.lock().unwrap().fetches
    }

    /// How often anything was asked for.
    pub(crate) fn requests(&self) -> usize {
        self.published.lock().unwrap().requests
    }
}

impl Drop for TestIssuer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, url: String, published: Arc<Mutex<Published>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (url, published) = (url.clone(), Arc::clone(&published));
        let answer = service_fn(move |request: Request<Incoming>| {
            let answer = published.lock().unwrap().answer(&url, request.uri().path());
            async { Ok::<_, Infallible>(answer) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}

impl Published {
    fn answer(&mut self, url: &str, path: &str) -> Response<Full<Bytes>> {
        self.requests += 1;
        match self.health {
            Health::Down => return respond(503, ""),
            Health::Garbage => return respond(200, "<html>"),
            Health::Up
            | Health::Redirect
            | Health::Endless
            | Health::AnotherIssuer
            | Health::KeysInCleartextElsewhere => {}
        }
        let padding = if self.health == Health::Endless { " ".repeat(256 * 1024) } else { String::new() };
        if path == "/issuer/.well-known/openid-configuration" {
            let issuer = if self.health == Health::AnotherIssuer { "https://evil.example" } else { url };
            let jwks_uri = match self.health {
                Health::KeysInCleartextElsewhere => format!("{}/jwks", url.replace("127.0.0.1", "localhost")),
                Health::Redirect => format!("{url}/moved"),
                _ => format!("{url}/jwks"),
            };
            return respond(200, &format!("{padding}{}", json!({ "issuer": issuer, "jwks_uri": jwks_uri })));
        }
        if path == "/issuer/jwks" {
            self.fetches += 1;
            return respond(200, &format!("{padding}{}", json!({ "keys": self.keys })));
        }
        let mut moved = respond(302, "");
        moved.headers_mut().insert("location", format!("{url}/jwks").parse().unwrap());
        moved
    }
}

fn respond(status: u16, body: &str) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::from(body.to_owned())).unwrap()
}

thread_local! {
    static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Keeps what is logged as JSON lines, each test thread its own. The subscriber is the process's,
/// because one that belongs to a thread may miss call sites that another thread met first.
fn keep_log() {
    static SUBSCRIBER: Once = Once::new();
    SUBSCRIBER.call_once(|| {
        let lines = tracing_subscriber::fmt().json().with_max_level(tracing::Level::INFO).with_writer(|| ThreadLog);
        tracing::subscriber::set_global_default(lines.finish()).unwrap();
    });
    LOG.take();
}

struct ThreadLog;

impl io::Write for ThreadLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.with_borrow_mut(|log| log.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
