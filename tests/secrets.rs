//! Canaries: everything secret that a story brings forth is searched for in everything that comes
//! out of it.
//!
//! The networks of the sandbox remember each code, token, verifier and app secret that they minted
//! or received; these must be nowhere. The links' own secrets (tickets, states, completion codes,
//! cookies) and people's access tokens are given to whom they belong, and must be nowhere else.

mod search;
mod types;

use std::{
    fs, io,
    sync::{Arc, Mutex},
};

use aws_sdk_dynamodb::types::AttributeValue;
use reqwest::{Method, header};
use sandbox::{data::DataDir, template::Template};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use shared::random::Random;
use tracing_subscriber::{filter::Targets, fmt::format::FmtSpan, layer::SubscriberExt as _};
use url::Url;

use crate::support::{Browser, Person, Reply, World, days, minutes};
use search::{Place, search};

/// All of ours, and of the libraries whatever an operator could switch on to look for a fault.
const LEVELS: &str = "debug,shared=trace,oauth_start=trace,oauth_callback=trace,tokens=trace,expiry_sweep=trace,\
    authorizer=trace,sandbox=trace,main=trace";

const NETWORK_TARGETS: [&str; 8] = [
    "x/token",
    "x/me",
    "x/revoke",
    "facebook/token",
    "facebook/long_lived_token",
    "facebook/debug_token",
    "facebook/me",
    "facebook/permissions",
];

const AWS_TARGETS: [&str; 7] = [
    "dynamodb/GetItem",
    "dynamodb/PutItem",
    "dynamodb/UpdateItem",
    "dynamodb/Query",
    "dynamodb/TransactWriteItems",
    "kms/Decrypt",
    "secretsmanager/GetSecretValue",
];

/// Where the log is written to.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A moment at which something can go wrong.
#[derive(Clone, Copy, PartialEq)]
enum Moment {
    Beginning,
    ComingBack,
    Completing,
    Deleting,
}

/// Two people at work, and all that comes out of it.
struct Story {
    world: World,
    alice: Person,
    replies: Vec<Place>,
    /// What must be nowhere at all, besides what the networks saw.
    canaries: Vec<String>,
    /// What its receiver alone may have.
    links: Vec<String>,
}

impl Story {
    fn new(world: World) -> Self {
        let alice = world.person("alice");
        Self { world, alice, replies: Vec::new(), canaries: Vec::new(), links: Vec::new() }
    }

    fn canary(&mut self) -> String {
        let canary = Random::system().token().expose_secret().to_owned();
        self.canaries.push(canary.clone());
        canary
    }

    fn hear(&mut self, of: &str, reply: Reply) -> Reply {
        for name in ["ticket", "state", "completion_code"] {
            let location = Url::parse(reply.header("location")).ok();
            let found = location.iter().flat_map(Url::query_pairs).find(|(other, _)| other == name);
            self.links.extend(found.and_then(|(_, value)| Some(value.split_once('.')?.1.to_owned())));
        }
        for line in reply.headers.get_all(header::SET_COOKIE) {
            let value = line.to_str().unwrap().split(['=', ';']).nth(1).unwrap();
            self.links.extend((value.len() >= 16).then(|| value.to_owned()));
        }
        let content = format!("{:?}\n{}", reply.headers, reply.body);
        self.replies.push(Place::new(format!("the answer {} to {of}", reply.status), content));
        reply
    }

    async fn api_as(&mut self, person: &Person, method: Method, path: &str, body: Value) -> Reply {
        let token = person.access_token().await;
        self.links.push(token.clone());
        let request = self.world.http.request(method.clone(), self.world.url(path)).bearer_auth(token);
        let request = if body.is_null() { request } else { request.json(&body) };
        let reply = Reply::of(request.send().await.unwrap()).await;
        self.hear(&format!("{method} {path}"), reply)
    }

    async fn api(&mut self, method: Method, path: &str, body: Value) -> Reply {
        let alice = self.alice.clone();
        self.api_as(&alice, method, path, body).await
    }

    async fn browse(&mut self, url: &str) -> Reply {
        let reply = self.alice.browser.get(url).await;
        self.hear("a browser", reply)
    }

    async fn begin(&mut self, mut what: Value) -> Reply {
        what["return_url"] = json!(self.world.return_url());
        let begun = self.api(Method::POST, "/v1/connect-sessions", what).await;
        if begun.status.is_success() {
            let ticket = begun.json()["connect_url"].as_str().unwrap().split_once("ticket=").unwrap().1.to_owned();
            self.links.push(ticket.split_once('.').unwrap().1.to_owned());
        }
        begun
    }

    /// From the link to the network and back, as far as it goes; the answer to the callback.
    async fn sign_in(&mut self, what: Value, decision: &str, account: &str, failing: Option<Value>) -> Option<Reply> {
        let begun = self.begin(what).await;
        let connect_url =
            begun.status.is_success().then(|| begun.json()["connect_url"].as_str().unwrap().to_owned())?;
        let departed = self.browse(&connect_url).await;
        let consent = departed.status.is_redirection().then(|| departed.location())?;
        let callback = self.alice.browser.decide(&consent, decision, account).await;
        if let Some(fault) = failing {
            self.world.fault(fault).await;
        }
        Some(self.browse(callback.as_str()).await)
    }

    async fn complete(&mut self, landed: &Reply, failing: Option<Value>) -> Option<Reply> {
        let landing = landed.status.is_redirection().then(|| landed.location())?;
        let query =
            |name: &str| landing.query_pairs().find(|(other, _)| other == name).map(|(_, value)| value.into_owned());
        let (session, code) = (query("connect_session")?, query("completion_code")?);
        if let Some(fault) = failing {
            self.world.fault(fault).await;
        }
        let path = format!("/v1/connect-sessions/{session}/complete");
        Some(self.api(Method::POST, &path, json!({ "completion_code": code })).await)
    }

    /// The whole of it, with something that goes wrong on the way.
    async fn connect_while(&mut self, network: &str, target: &str, mode: &str, moment: Moment) {
        // three times: the SDK and the exchange ask again
        let fault = json!({ "target": target, "mode": mode, "times": 3 });
        let at = |wanted: Moment| (moment == wanted).then(|| fault.clone());
        if let Some(fault) = at(Moment::Beginning) {
            self.world.fault(fault).await;
        }
        let (what, account, profile) = match network {
            "x" => (json!({ "kind": "x_profile", "token": "interaction" }), "newsdesk", "x_profile-42"),
            _ => (json!({ "kind": "facebook_user", "token": "acquisition" }), "alice.meyer", "facebook_user-1001"),
        };
        if let Some(landed) = self.sign_in(what, "approve", account, at(Moment::ComingBack)).await {
            self.complete(&landed, at(Moment::Completing)).await;
        }
        if let Some(fault) = at(Moment::Deleting) {
            self.world.fault(fault).await;
        }
        self.api(Method::GET, "/v1/profiles", Value::Null).await;
        self.api(Method::DELETE, &format!("/v1/profiles/{profile}"), Value::Null).await;
        self.world.no_faults().await;
    }

    /// What a person or an attacker does wrong.
    async fn mistakes(&mut self) {
        let x = json!({ "kind": "x_profile", "token": "interaction" });
        self.sign_in(x.clone(), "deny", "newsdesk", None).await.unwrap();

        // another browser, twice the same, with parameters doubled and forged
        let begun = self.begin(x.clone()).await.expect(201);
        let departed = self.browse(begun["connect_url"].as_str().unwrap()).await;
        let callback = self.alice.browser.decide(&departed.location(), "approve", "newsdesk").await;
        let stranger = Browser::new().get(callback.as_str()).await;
        self.hear("another browser", stranger).obstructed(403, "browser_mismatch");
        let forged = self.canary();
        for (name, value) in [("code", forged.as_str()), ("state", &forged), ("error", &forged)] {
            let mut doubled = callback.clone();
            doubled.query_pairs_mut().append_pair(name, value);
            self.browse(doubled.as_str()).await;
        }
        let mut unknown = callback.clone();
        let state = format!("{}.{}", "a".repeat(22), self.canary());
        let pairs = [("code", self.canary()), ("state", state), ("error_description", self.canary())];
        unknown.query_pairs_mut().clear().extend_pairs(pairs);
        self.browse(unknown.as_str()).await;
        let landed = self.browse(callback.as_str()).await;
        assert!(self.browse(callback.as_str()).await.status.is_client_error());

        // a wrong completion code, somebody else, a second time
        let session = begun["id"].as_str().unwrap().to_owned();
        let path = format!("/v1/connect-sessions/{session}/complete");
        let wrong = json!({ "completion_code": format!("{session}.{}", self.canary()) });
        self.api(Method::POST, &path, wrong.clone()).await;
        let bob = self.world.person("bob");
        self.api_as(&bob, Method::POST, &path, wrong).await.refused(404, "not_found");
        self.complete(&landed, None).await.unwrap().expect(200);
        self.complete(&landed, None).await.unwrap().refused(409, "already_completed");

        // another account than the profile's
        let again = json!({ "profile_id": "x_profile-42", "token": "interaction" });
        let other = self.sign_in(again, "approve", "press", None).await.unwrap();
        assert!(other.header("location").contains("error=foreign_account"), "{}", other.header("location"));

        // no access token, and what is none
        for bearer in [self.canary(), format!("{}.{}.{}", self.canary(), self.canary(), self.canary())] {
            let request = self.world.http.get(self.world.url("/v1/profiles")).bearer_auth(bearer);
            let reply = Reply::of(request.send().await.unwrap()).await;
            assert!(self.hear("a forged token", reply).status.is_client_error());
        }
        let ticket = format!("{}.{}", "a".repeat(22), self.canary());
        self.browse(&self.world.url(&format!("/oauth/start?ticket={ticket}"))).await;
    }

    /// The operator breaks the document with the app secrets and mends it again.
    async fn broken_apps(&mut self) {
        let secrets = aws_sdk_secretsmanager::Client::new(self.world.sandbox.aws_config());
        let document =
            secrets.get_secret_value().secret_id("tokenward/apps").send().await.unwrap().secret_string.unwrap();
        let canary = self.canary();
        for broken in [
            document.replacen("client_secret\":\"", &format!("client_secret\":\"{canary}"), 1).replacen("}]", "", 1),
            format!("[{{\"network\":\"{canary}\"}}]"),
            format!("[{{\"network\":\"x\",\"client_id\":\"x\",\"client_secret\":\"s\",\"{canary}\":1}}]"),
            canary.clone(),
        ] {
            secrets.put_secret_value().secret_id("tokenward/apps").secret_string(broken).send().await.unwrap();
            self.world.later(minutes(6)).await;
            let x = json!({ "kind": "x_profile", "token": "interaction" });
            assert!(self.sign_in(x, "approve", "newsdesk", None).await.is_none());
        }
        secrets.put_secret_value().secret_id("tokenward/apps").secret_string(document).send().await.unwrap();
        self.world.later(minutes(6)).await;
    }

    /// A token ages, mails fail and arrive, and its owner brings it back.
    async fn ageing(&mut self) {
        let facebook = json!({ "kind": "facebook_user", "token": "acquisition" });
        let landed = self.sign_in(facebook, "approve", "alice.meyer", None).await.unwrap();
        self.complete(&landed, None).await.unwrap().expect(200);
        self.world.later(days(31)).await;
        for mode in ["garbage", "throttle", "status", "lost_reply"] {
            self.world.fault(json!({ "target": "ses/SendRawEmail", "mode": mode })).await;
            self.sweep().await;
            self.world.later(days(15)).await;
        }
        self.sweep().await;
        for (event, account) in
            [("password_changed", "alice.meyer"), ("checkpoint", "alice.meyer"), ("revoke", "newsdesk")]
        {
            let network = if account == "newsdesk" { "x" } else { "facebook" };
            let path = format!("/_sandbox/networks/{network}/accounts/{account}");
            let reply = self.world.door(Method::POST, &path, json!({ "event": event })).await;
            self.hear(&path, reply);
        }
        let again = json!({ "profile_id": "facebook_user-1001", "token": "acquisition" });
        let landed = self.sign_in(again, "approve", "alice.meyer", None).await.unwrap();
        self.complete(&landed, None).await.unwrap().expect(200);
    }

    async fn sweep(&mut self) {
        let reply = self.world.door(Method::POST, "/_sandbox/tick", json!({ "function": "expiry-sweep" })).await;
        self.hear("the sweep", reply);
    }

    /// Everything that can be looked at without a secret.
    async fn look_around(&mut self) {
        for path in [
            "/v1/profiles",
            "/v1/profiles/facebook_user-1001",
            "/v1/profiles/facebook_user-1001/tokens",
            "/v1/notices",
            "/v1/health",
            "/openapi.json",
        ] {
            self.api(Method::GET, path, Value::Null).await;
        }
        let dora = self.world.person("dora");
        for path in ["/v1/history", "/v1/settings", "/v1/notices"] {
            self.api_as(&dora, Method::GET, path, Value::Null).await.expect(200);
        }
        for path in ["people", "clock", "mail", "faults", "calls", "calls/list", "environment"] {
            let reply = self.world.door(Method::GET, &format!("/_sandbox/{path}"), Value::Null).await;
            self.hear(path, reply);
        }
        for path in ["/", "/mail", "/console", "/console/configuration.json"] {
            self.browse(&self.world.url(path)).await;
        }
    }
}

fn mails(world: &World) -> Vec<Place> {
    let cloud = world.sandbox.cloud();
    let raw = cloud.raw_mailbox().into_iter();
    let decoded = cloud.mailbox().into_iter().map(|mail| format!("{}\n{}\n{}", mail.subject, mail.text, mail.html));
    raw.chain(decoded).map(|mail| Place::new("a mail", mail)).collect()
}

async fn rows(world: &World) -> Vec<Place> {
    let dynamodb = aws_sdk_dynamodb::Client::new(world.sandbox.aws_config());
    let mut places = Vec::new();
    for table in &Template::deployed().tables {
        let rows = dynamodb.scan().table_name(&table.name).send().await.unwrap();
        assert_eq!(rows.last_evaluated_key, None, "{} is larger than a page", table.name);
        for row in rows.items.unwrap() {
            let mut content = Vec::new();
            let keys = row.keys().cloned().collect::<Vec<_>>().join(" ");
            flatten(&AttributeValue::M(row), &mut content);
            places.push(Place::new(format!("a row of {} ({keys})", table.name), content));
        }
    }
    places
}

fn flatten(value: &AttributeValue, into: &mut Vec<u8>) {
    match value {
        AttributeValue::M(map) => {
            for (name, value) in map {
                into.extend(name.bytes());
                flatten(value, into);
            }
        }
        AttributeValue::L(list) => list.iter().for_each(|value| flatten(value, into)),
        AttributeValue::B(bytes) => into.extend(bytes.as_ref()),
        AttributeValue::S(text) | AttributeValue::N(text) => into.extend(text.bytes()),
        other => into.extend(format!("{other:?}").bytes()),
    }
    into.push(b'\n');
}

fn files(directory: &std::path::Path) -> Vec<Place> {
    let files = fs::read_dir(directory).unwrap().map(|file| file.unwrap().path());
    files.map(|path| Place::new(path.display().to_string(), fs::read(&path).unwrap())).collect()
}

// S33, S34, S39
#[tokio::test]
async fn nothing_secret_is_in_any_log_answer_page_mail_row_or_file() {
    let log = Log::default();
    let writer = log.clone();
    let lines = tracing_subscriber::fmt::layer()
        .with_span_events(FmtSpan::FULL)
        .with_ansi(false)
        .with_writer(move || writer.clone());
    let listener = tracing_subscriber::registry().with(LEVELS.parse::<Targets>().unwrap()).with(lines);
    // all of the sandbox runs on the thread of this test
    let _listening = tracing::subscriber::set_default(listener);
    let directory = tempfile::tempdir().unwrap();
    let mut story = Story::new(World::at(DataDir::at(directory.path()).unwrap()).await);

    for target in NETWORK_TARGETS {
        let network = target.split('/').next().unwrap();
        let moment = if target.ends_with("revoke") || target.ends_with("permissions") {
            Moment::Deleting
        } else {
            Moment::ComingBack
        };
        for mode in ["status", "garbage", "lost_reply", "throttle"] {
            story.connect_while(network, target, mode, moment).await;
        }
    }
    for target in AWS_TARGETS {
        for moment in [Moment::Beginning, Moment::ComingBack, Moment::Completing, Moment::Deleting] {
            // nothing is held any more of what was read before
            story.world.later(minutes(20)).await;
            story.connect_while("x", target, "garbage", moment).await;
        }
        story.connect_while("facebook", target, "status", Moment::ComingBack).await;
        story.sweep().await;
    }
    story.mistakes().await;
    story.broken_apps().await;
    story.ageing().await;
    story.sweep().await;
    story.look_around().await;

    let mut nowhere = story.world.sandbox.networks().secrets_seen();
    nowhere.append(&mut story.canaries);
    let (mails, rows, files) = (mails(&story.world), rows(&story.world).await, files(directory.path()));
    let planted = Random::system().token().expose_secret().to_owned();
    tracing::trace!(planted, "the log is listened to");
    let log = Place::new("the log", log.0.lock().unwrap().clone());

    // there is something to be found, and something to find it in
    assert_eq!(search(&[planted], [&log]).len(), 1);
    assert!(String::from_utf8_lossy(&log.content).contains("a sign-in failed"));
    let counted = [nowhere.len(), story.links.len(), mails.len(), rows.len(), files.len(), story.replies.len()];
    assert!(counted.iter().zip([150, 150, 2, 20, 5, 300]).all(|(found, least)| *found >= least), "{counted:?}");

    let kept = || mails.iter().chain(&rows).chain(&files).chain([&log]);
    assert_eq!(search(&nowhere, kept().chain(&story.replies)), Vec::<String>::new());
    assert_eq!(search(&story.links, kept()), Vec::<String>::new());
}
