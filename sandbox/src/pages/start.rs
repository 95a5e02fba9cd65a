//! `/`: what this is, and what to try next.

use axum::{
    Form,
    body::Body,
    extract::{Query, State},
    response::{IntoResponse as _, Response},
};
use http::{Request, StatusCode, header};
use http_body_util::BodyExt as _;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{World, page};
use crate::{
    Parts,
    issuer::{PEOPLE, Person},
    networks::Network,
};

const DAY: u32 = 24 * 60 * 60;

/// What the browser brings back from a connect session that was begun from a shell.
#[derive(Default, Deserialize)]
pub(super) struct Returned {
    connect_session: Option<String>,
    completion_code: Option<String>,
    error: Option<String>,
}

/// As the API tells whoever began it.
#[derive(Default, Deserialize)]
struct Session {
    candidates: Vec<Candidate>,
}

/// A profile that can be selected, or the reason why not.
#[derive(Deserialize)]
struct Candidate {
    profile_id: String,
    name: String,
    reason: Option<String>,
}

pub(super) async fn show(State(parts): World, Query(returned): Query<Returned>) -> Response {
    let told = came_back(&parts, &returned).await;
    page(&parts, "Start", &start(&parts, &told)).into_response()
}

#[derive(Deserialize)]
pub(super) struct Later {
    days: u32,
}

/// Lets days pass and runs the sweep once.
pub(super) async fn later(State(parts): World, Form(Later { days }): Form<Later>) -> Response {
    if let Err(error) = parts.clock.advance(days.saturating_mul(DAY)) {
        return (StatusCode::BAD_REQUEST, error.to_string()).into_response();
    }
    let swept = parts.tick("expiry-sweep").await;
    let told = html! {
        @match &swept {
            Ok(summary) => {
                section.card.good role="status" {
                    h2 { (days) " days later" }
                    p { "The sweep ran. What it says of itself:" }
                    pre { (pretty(summary)) }
                    p { a href="/mail" { "Open the mailbox" } }
                }
            }
            Err(error) => {
                section.card.bad role="alert" { h2 { (days) " days later, and the sweep failed" } p { (error) } }
            }
        }
    };
    page(&parts, "Later", &start(&parts, &told)).into_response()
}

fn start(parts: &Parts, told: &Markup) -> Markup {
    html! {
        h1 { "Tokenward, on this machine" }
        p { "Tokenward keeps the access tokens of social profiles alive, safe and usable. Here it runs with a cloud, "
            "networks and an identity provider that are all stand-ins on this machine: no account anywhere is needed, and "
            "nothing leaves it. The functions, routes and tables are the deployed ones." }
        @for live in &parts.live {
            p { b { (live.network.title()) " is live: " } "what is connected there is a real account, by way of the app "
                code { (live.client_id) } ". Leave the clock alone meanwhile." }
        }
        (told)
        ol.steps {
            li { h2 { "Open the console and be somebody" }
                p { "Two organisations, every role, at an identity provider that asks for a name alone. Alice may connect accounts; "
                    "Carol may only look; Dora administers. " a href="/console" { "Open the console" } } }
            li { h2 { "Connect an account" }
                p { "The network is another site, " code { (parts.networks_url) } ", with a consent page of its own. You come back "
                    "to the console, which shows what can be done now, and the switches that an owner must turn on." } }
            li { h2 { "Use a token, as a worker does" }
                p { "A worker is a program. It leases an access token that works now, renewed first if it is due, and reports what "
                    "the network answered. " a href="#worker" { "Be a worker, in a shell" } } }
            li { h2 { "Let a month pass" }
                p { "A Facebook login ends after about 60 days. 31 days later the first warning is due; the sweep finds it." }
                form.row method="post" action="/later" {
                    button name="days" value="31" { "31 days later" }
                    button name="days" value="1" { "1 day later" }
                } }
            li { h2 { "Read the mail" }
                p { "The owner is told once, with a link that leads straight to reauthenticating. " a href="/mail" { "Open the mailbox" } } }
            li { h2 { "Reauthenticate" }
                p { "Follow the link, say who you are, approve: the token is as young as on the first day, and still has its "
                    "name and its switches. Signing in with another account is refused, and the page names both." } }
        }
        (doors(parts))
    }
}

fn doors(parts: &Parts) -> Markup {
    let url = &parts.url;
    html! {
        h2 { "From a shell" }
        h3 { "The same by the API" }
        pre { (sign_in_command(url, "alice")) "\n"
            "curl " (url) "/v1/connect-sessions -H \"authorization: Bearer $TOKEN\" -H 'content-type: application/json' \\\n"
            "  -d '{\"kind\":\"x_profile\",\"token\":\"interaction\",\"return_url\":\"" (url) "/\"}'\n"
            "curl " (url) "/v1/profiles -H \"authorization: Bearer $TOKEN\"" }
        p { "Open the " code { "connect_url" } " in a browser; this page then shows how to complete the session. Every route: "
            a href="/openapi.json" { "openapi.json" } "." }
        h3 #worker { "A worker" }
        pre { (sign_in_command(url, "acme-worker")) "\n"
            "LEASE=$(curl -s " (url) "/v1/leases -H \"authorization: Bearer $TOKEN\" -H 'content-type: application/json' \\\n"
            "  -d '{\"use\":\"publish\",\"profile_id\":\"x_profile-42\"}'); echo \"$LEASE\"\n"
            "ACCESS=$(echo \"$LEASE\" | " (ACCESS_TOKEN) ")\n"
            "curl " (parts.networks_url) "/api.x.com/2/tweets -H \"authorization: Bearer $ACCESS\" -H 'content-type: application/json' \\\n"
            "  -d '{\"text\":\"Hello from here\"}'" }
        p { "This needs the X account News Desk, connected by somebody. Let two hours pass and lease again: the access token is another one." }
        h3 { "Break something" }
        pre { "curl -X PUT " (url) "/_sandbox/faults -d '{\"target\":\"x/token\",\"mode\":\"lost_reply\"}'\n"
            "curl -X PUT " (url) "/_sandbox/faults -d '{\"target\":\"kms/Decrypt\",\"mode\":\"throttle\",\"times\":3}'\n"
            "curl -X PUT " (url) "/_sandbox/faults -d '{\"target\":\"facebook/me\",\"mode\":\"slow\",\"delay_ms\":11000}'\n"
            "curl " (url) "/_sandbox/networks/facebook/accounts/alice.meyer -d '{\"event\":\"password_changed\"}'\n"
            "curl " (url) "/_sandbox/networks/facebook/accounts/alice.meyer -d '{\"event\":\"role_lost\",\"page\":\"2001\"}'\n"
            "curl -X DELETE " (url) "/_sandbox/faults" }
        p { "Modes: " code { "slow" } ", " code { "lost_reply" } ", " code { "reset" } ", " code { "status" } ", "
            code { "garbage" } ", " code { "throttle" } ". Accounts, and what can happen to them:" }
        dl {
            @for network in Network::ALL {
                dt { (network.title()) " " code { (network.name()) } }
                dd { @for account in network.accounts() { code { (account.name) } " " }
                    span.soft { @for event in network.events() { code { (event) } " " } } }
            }
        }
        h3 { "Move time, look around" }
        pre { "curl " (url) "/_sandbox/clock -d '{\"advance_seconds\":2678400}'\n"
            "curl " (url) "/_sandbox/tick -d '{\"function\":\"expiry-sweep\"}'" }
        ul.links {
            @for (path, what) in [
                ("/_sandbox/people", "who can sign in"),
                ("/_sandbox/clock", "the time here"),
                ("/_sandbox/mail", "the mails as JSON"),
                ("/_sandbox/faults", "faults that wait to strike"),
                ("/_sandbox/calls", "calls to the cloud and the networks, counted"),
                ("/_sandbox/calls/list", "the same calls, one by one"),
                ("/_sandbox/environment", "the environment of every function"),
            ] { li { a href=(path) { (path) } " " span.soft { (what) } } }
        }
        p.soft { "AWS protocols are on " code { (parts.aws_endpoint) } ", networks and issuer on " code { (parts.networks_url) } "." }
    }
}

/// What a session that was begun from a shell came to.
async fn came_back(parts: &Parts, returned: &Returned) -> Markup {
    let Some(session) = &returned.connect_session else { return Markup::default() };
    let (name, Session { candidates }) = begun_by(parts, session).await.unwrap_or_default();
    html! {
        @match (&returned.completion_code, &returned.error) {
            // what is to be pasted into a shell is made of harmless characters alone
            (Some(code), _) if is_harmless(session) && is_harmless(code) => {
                section.card.good role="status" {
                    h2 { "Approved at the network" }
                    p { "Whoever began the session completes it, within ten minutes and with their own access token:" }
                    (choice(&candidates))
                    pre { (sign_in_command(&parts.url, name)) "\n"
                        "curl " (parts.url) "/v1/connect-sessions/" (session) "/complete "
                        "-H \"authorization: Bearer $TOKEN\" -H 'content-type: application/json' \\\n"
                        "  -d '" (brought(code, &candidates)) "'" }
                }
            }
            (None, Some(error)) => {
                section.card.bad role="alert" {
                    h2 { "Nothing was connected" }
                    p { "The session " code { (session) } " ended with the code " code { (error) } ". The words for people: " }
                    @if is_harmless(session) {
                        pre { (sign_in_command(&parts.url, name)) "\n"
                            "curl " (parts.url) "/v1/connect-sessions/" (session) " -H \"authorization: Bearer $TOKEN\"" }
                    }
                }
            }
            _ => { section.card.bad role="alert" { p { "This address is damaged: no session comes back like this." } } }
        }
    }
}

/// Whose session it is, and what the API tells them of it; the API tells nobody else.
async fn begun_by(parts: &Parts, session: &str) -> Option<(&'static str, Session)> {
    for Person { name, .. } in PEOPLE.iter().filter(|person| !person.roles.is_empty()) {
        let token = parts.networks.issuer().sign_in(name)?;
        let asking = Request::get(format!("{}/v1/connect-sessions/{session}", parts.url))
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(Body::empty())
            .ok()?;
        let answer = parts.gateway.answer(asking).await;
        if answer.status().is_success() {
            let body = answer.into_body().collect().await.ok()?.to_bytes();
            return Some((name, serde_json::from_slice(&body).ok()?));
        }
    }
    None
}

/// What there is to choose from, and what the command below makes of it.
fn choice(candidates: &[Candidate]) -> Markup {
    html! {
        @if !candidates.is_empty() {
            p { "There is something to choose: the command selects all that can be connected. Take out what is not wanted." }
            ul {
                @for Candidate { profile_id, name, reason } in candidates {
                    li { (name) " " code { (profile_id) }
                        @if let Some(reason) = reason { " " span.soft { "cannot be connected: " (in_words(reason)) } } }
                }
            }
        }
    }
}

/// The body that completes a session.
fn brought(code: &str, candidates: &[Candidate]) -> Value {
    let connectable = |candidate: &&Candidate| candidate.reason.is_none() && is_harmless(&candidate.profile_id);
    let mut brought = json!({ "completion_code": code });
    if !candidates.is_empty() {
        brought["selected"] = candidates.iter().filter(connectable).map(|candidate| &*candidate.profile_id).collect();
    }
    brought
}

/// Why a candidate cannot be selected.
fn in_words(reason: &str) -> String {
    match reason {
        "role_missing" => "the role on it allows nothing that a token is used for.".to_owned(),
        other => format!("{}.", other.replace('_', " ")),
    }
}

fn is_harmless(text: &str) -> bool {
    text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
}

/// Takes the access token out of an answer.
const ACCESS_TOKEN: &str = r#"sed 's/.*"access_token":"\([^"]*\)".*/\1/'"#;

fn sign_in_command(url: &str, person: &str) -> String {
    format!("TOKEN=$(curl -s {url}/_sandbox/sign-in -d '{{\"person\":\"{person}\"}}' | {ACCESS_TOKEN})")
}

fn pretty(summary: &Value) -> String {
    serde_json::to_string_pretty(summary).unwrap_or_default()
}
