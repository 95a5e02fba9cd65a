//! The networks on a free port, a clock to move, and an app that is registered with all of them.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use jiff::Timestamp;
use reqwest::{Client, RequestBuilder, StatusCode, header::HeaderMap, redirect::Policy};
use sandbox::{
    data::DataDir,
    faults::Faults,
    networks::{App, Network, Networks, Options},
};
use serde_json::Value;
use shared::clock::Clock;
use tokio::net::TcpListener;
use url::Url;

pub(crate) const CLIENT_ID: &str = "the-newsroom";
/// The app at YouTube that is not published yet.
pub(crate) const TESTING_CLIENT_ID: &str = "the-newsroom-in-testing";
pub(crate) const CLIENT_SECRET: &str = "correct-horse-battery-staple";
pub(crate) const REDIRECT_URI: &str = "https://app.example/oauth/callback";
/// Where the issuer sends people back to.
pub(crate) const CONSOLE_URL: &str = "https://app.example/console";
/// The verifier and the challenge of RFC 7636, appendix B.
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

pub(crate) struct World {
    pub(crate) networks: Networks,
    pub(crate) faults: Faults,
    http: Client,
    base: String,
    now: Arc<AtomicI64>,
}

/// An answer with its JSON, or null where there is none.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) location: Option<Url>,
    pub(crate) text: String,
    pub(crate) json: Value,
}

impl Answer {
    /// The parameters that the browser carries back to the app.
    pub(crate) fn carried(&self) -> BTreeMap<String, String> {
        let location = self.location.as_ref().expect("the browser is sent back");
        assert!(location.as_str().starts_with(REDIRECT_URI), "{location}");
        location.query_pairs().into_owned().collect()
    }

    pub(crate) fn string(&self, field: &str) -> String {
        self.json[field].as_str().unwrap_or_else(|| panic!("{field} in {self:?}")).to_owned()
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(DataDir::memory()).await
    }

    pub(crate) async fn start_at(path: &Path) -> Self {
        Self::with(DataDir::at(path).expect("a directory for the test")).await
    }

    #[expect(clippy::disallowed_methods, reason = "a browser and an app with nothing of the product in between")]
    async fn with(dir: DataDir) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        // 2026-11-23 10:20:00 UTC
        let now = Arc::new(AtomicI64::new(1_795_429_200));
        let ticking = Arc::clone(&now);
        let clock = Clock::from_fn(move || {
            Timestamp::from_second(ticking.load(Ordering::SeqCst)).expect("the tests stay in the calendar")
        });
        let registered = |client_id: &str, network, in_testing| App {
            network,
            client_id: client_id.into(),
            client_secret: CLIENT_SECRET.into(),
            consumer_secret: None,
            redirect_uri: REDIRECT_URI.into(),
            in_testing,
        };
        let faults = Faults::default();
        let mut apps = Network::ALL.map(|network| registered(CLIENT_ID, network, false)).to_vec();
        apps.push(registered(TESTING_CLIENT_ID, Network::Youtube, true));
        let options = Options { dir, clock, faults: faults.clone(), apps, console: CONSOLE_URL.to_owned() };
        let networks = Networks::start(listener, options).expect("a start");
        let http = Client::builder().redirect(Policy::none()).no_proxy().build().expect("a client");
        Self { networks, faults, http, base, now }
    }

    pub(crate) fn now(&self) -> i64 {
        self.now.load(Ordering::SeqCst)
    }

    pub(crate) fn later(&self, seconds: i64) {
        self.now.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) fn happens(&self, network: Network, account: &str, event: &str) {
        self.networks.event(network.name(), account, event).expect("an event that exists");
    }

    pub(crate) fn get(&self, path: &str, query: &[(&str, &str)]) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.base)).query(query)
    }

    pub(crate) fn post(&self, path: &str, form: &[(&str, &str)]) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.base)).form(form)
    }

    pub(crate) fn post_json(&self, path: &str, body: &Value) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.base)).json(body)
    }

    pub(crate) fn delete(&self, path: &str, query: &[(&str, &str)]) -> RequestBuilder {
        self.http.delete(format!("{}{path}", self.base)).query(query)
    }
}

pub(crate) async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.expect("an answer");
    let status = response.status();
    let location = response
        .headers()
        .get("location")
        .map(|to| Url::parse(to.to_str().expect("a printable location")).expect("a location that is a URL"));
    let headers = response.headers().clone();
    let text = response.text().await.expect("a body");
    let json = serde_json::from_str(&text).unwrap_or_default();
    Answer { status, headers, location, text, json }
}

/// `fields` with some of them replaced, or taken out where the replacement is empty.
pub(crate) fn but<'a>(fields: &[(&'a str, &'a str)], changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let kept = fields.iter().filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
    kept.chain(changes.iter().filter(|(_, value)| !value.is_empty())).copied().collect()
}

/// Code and subcode of a Graph error, zero where there is none.
pub(crate) fn error(answer: &Answer) -> (u64, u64) {
    assert!(answer.json["error"]["fbtrace_id"].is_string(), "{answer:?}");
    assert_eq!(answer.json["error"]["type"], "OAuthException");
    let number = |field| answer.json["error"][field].as_u64().unwrap_or_default();
    (number("code"), number("error_subcode"))
}
