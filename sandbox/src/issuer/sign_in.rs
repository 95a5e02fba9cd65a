//! Signing in at the issuer with a browser: authorization code with PKCE for one public client, the console.
//!
//! As real issuers do: a session of its own in a cookie, `prompt` heeded, `iss` in its answers (RFC 9207), a code good
//! once and for a minute (RFC 6749 §4.1.2), answers that another origin's script may read, and an end of the session.
//! A browser is only ever sent to the registered address; while that is in doubt, the answer is a page. Sessions and
//! codes are in memory: after a restart everybody signs in again.

use std::{
    collections::HashMap,
    sync::{MutexGuard, PoisonError},
};

use aws_lc_rs::digest;
use axum::{
    Form, Json, Router,
    extract::{Query, State},
    middleware,
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use cookie::{Cookie, SameSite};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::random::Random;
use url::form_urlencoded;

use super::{Issuer, LIFETIME, PEOPLE, Person};

/// The client of the console, which has no secret.
pub(crate) const CONSOLE: &str = "tokenward-console";

const COOKIE: &str = "issuer_session";
/// Of a code, in seconds.
const CODE_LIFETIME: i64 = 60;

/// The sessions of browsers and the codes under way.
#[derive(Default)]
pub(super) struct Desk {
    sessions: HashMap<String, &'static Person>,
    codes: HashMap<String, Code>,
}

struct Code {
    person: &'static Person,
    challenge: String,
    nonce: String,
    expires_at: i64,
}

/// An authorization request (`OpenID` Connect Core §3.1.2.1); what is missing is empty.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Asked {
    client_id: String,
    redirect_uri: String,
    response_type: String,
    scope: String,
    state: String,
    nonce: String,
    code_challenge: String,
    code_challenge_method: String,
    prompt: String,
}

#[derive(Deserialize)]
struct Answered {
    person: String,
    #[serde(flatten)]
    asked: Asked,
}

/// A token request (RFC 6749 §4.1.3, RFC 7636 §4.5).
#[derive(Default, Deserialize)]
#[serde(default)]
struct Redemption {
    grant_type: String,
    client_id: String,
    redirect_uri: String,
    code: String,
    code_verifier: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Ended {
    post_logout_redirect_uri: String,
}

/// What discovery says of signing in.
pub(super) fn endpoints(url: &str) -> Value {
    json!({
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
        "end_session_endpoint": format!("{url}/end-session"),
        "token_endpoint_auth_methods_supported": ["none"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
    })
}

pub(super) fn routes(issuer: &Issuer) -> Router {
    let readable = Router::new().route("/issuer/token", post(redeem)).layer(middleware::map_response(readable));
    let pages = Router::new().route("/issuer/authorize", get(ask).post(answer)).route("/issuer/end-session", get(end));
    pages.merge(readable).with_state(issuer.clone())
}

/// Lets scripts of every origin read an answer; no cookie is sent for it.
pub(super) async fn readable(mut response: Response) -> Response {
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

async fn ask(State(issuer): State<Issuer>, headers: HeaderMap, Query(asked): Query<Asked>) -> Response {
    if let Some(refused) = issuer.refuse(&asked) {
        return refused;
    }
    match (issuer.signed_in(&headers), &*asked.prompt) {
        (Some(person), prompt) if prompt != "login" => issuer.grant(&asked, person),
        (_, "none") => issuer.back(&asked, &[("error", "login_required")]),
        _ => page("Sign in", &who_are_you(&asked)),
    }
}

async fn answer(State(issuer): State<Issuer>, Form(Answered { person, asked }): Form<Answered>) -> Response {
    if let Some(refused) = issuer.refuse(&asked) {
        return refused;
    }
    let Some(person) = users().find(|user| user.name == person) else {
        return (StatusCode::BAD_REQUEST, page("Sign in", &who_are_you(&asked))).into_response();
    };
    let session = BASE64_URL_SAFE_NO_PAD.encode(Random::system().bytes::<16>());
    issuer.desk().sessions.insert(session.clone(), person);
    ([(header::SET_COOKIE, cookie(&session, None))], issuer.grant(&asked, person)).into_response()
}

async fn redeem(State(issuer): State<Issuer>, Form(redemption): Form<Redemption>) -> Response {
    match issuer.redeem(&redemption) {
        Ok(tokens) => ([(header::CACHE_CONTROL, "no-store")], Json(tokens)).into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response(),
    }
}

async fn end(State(issuer): State<Issuer>, headers: HeaderMap, Query(ended): Query<Ended>) -> Response {
    if let Some(session) = session(&headers) {
        issuer.desk().sessions.remove(&session);
    }
    let over = [(header::SET_COOKIE, cookie("", Some(cookie::time::Duration::ZERO)))];
    if ended.post_logout_redirect_uri == issuer.console {
        return (over, Redirect::to(&issuer.console)).into_response();
    }
    (over, page("Signed out", &html! { h1 { "Signed out" } p { "You can close this page." } })).into_response()
}

impl Issuer {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signed_in(&self, headers: &HeaderMap) -> Option<&'static Person> {
        self.desk().sessions.get(&session(headers)?).copied()
    }

    /// What is wrong with a request: told on a page while nobody knows where to send the browser, then to the client.
    fn refuse(&self, asked: &Asked) -> Option<Response> {
        if asked.client_id != CONSOLE || asked.redirect_uri != self.console {
            let body = html! {
                h1 { "This sign-in cannot go on" }
                p { "Who asks for it is not known here, or wants to return to an address that is not registered." }
            };
            return Some((StatusCode::BAD_REQUEST, page("This sign-in cannot go on", &body)).into_response());
        }
        let error = if asked.response_type != "code" {
            "unsupported_response_type"
        } else if !asked.scope.split(' ').any(|scope| scope == "openid") {
            "invalid_scope"
        } else if asked.code_challenge.is_empty() || asked.code_challenge_method != "S256" {
            "invalid_request"
        } else {
            return None;
        };
        Some(self.back(asked, &[("error", error)]))
    }

    fn grant(&self, asked: &Asked, person: &'static Person) -> Response {
        let code = Random::system().bytes::<32>();
        let code = BASE64_URL_SAFE_NO_PAD.encode(code);
        let kept = Code {
            person,
            challenge: asked.code_challenge.clone(),
            nonce: asked.nonce.clone(),
            expires_at: self.clock.now().as_second() + CODE_LIFETIME,
        };
        self.desk().codes.insert(code.clone(), kept);
        self.back(asked, &[("code", &code)])
    }

    /// Sends the browser back to the client.
    fn back(&self, asked: &Asked, answer: &[(&str, &str)]) -> Response {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(answer).append_pair("state", &asked.state).append_pair("iss", &self.url);
        Redirect::to(&format!("{}?{}", self.console, query.finish())).into_response()
    }

    fn redeem(&self, redemption: &Redemption) -> Result<Value, &'static str> {
        if redemption.grant_type != "authorization_code" {
            return Err("unsupported_grant_type");
        }
        if redemption.client_id != CONSOLE {
            return Err("invalid_client");
        }
        // whoever presents it, it is used up
        let code = self.desk().codes.remove(&redemption.code).ok_or("invalid_grant")?;
        let challenge = digest::digest(&digest::SHA256, redemption.code_verifier.as_bytes());
        let is_proven = BASE64_URL_SAFE_NO_PAD.encode(challenge) == code.challenge;
        let is_late = code.expires_at <= self.clock.now().as_second();
        if !is_proven || is_late || redemption.redirect_uri != self.console {
            return Err("invalid_grant");
        }
        Ok(json!({
            "access_token": self.access_token(code.person, CONSOLE),
            "id_token": self.id_token_for(code.person, CONSOLE, &code.nonce),
            "token_type": "Bearer",
            "expires_in": LIFETIME,
        }))
    }

    /// An ID token as a client gets it that signed somebody in.
    fn id_token_for(&self, person: &Person, client: &str, nonce: &str) -> String {
        let now = self.clock.now().as_second();
        self.encode(&json!({
            "iss": self.url,
            "sub": person.name,
            "aud": client,
            "nonce": nonce,
            "iat": now,
            "auth_time": now,
            "exp": now + LIFETIME,
        }))
    }
}

/// Everybody who uses pages: workers do not.
fn users() -> impl Iterator<Item = &'static Person> {
    PEOPLE.iter().filter(|person| !person.roles.is_empty())
}

fn session(headers: &HeaderMap) -> Option<String> {
    let fields = headers.get_all(header::COOKIE).iter().filter_map(|field| field.to_str().ok());
    let mut cookies = fields.flat_map(Cookie::split_parse).filter_map(Result::ok);
    cookies.find(|cookie| cookie.name() == COOKIE).map(|cookie| cookie.value().to_owned())
}

fn cookie(session: &str, max_age: Option<cookie::time::Duration>) -> String {
    let mut cookie = Cookie::build((COOKIE, session)).path("/issuer").http_only(true).same_site(SameSite::Lax).build();
    cookie.set_max_age(max_age);
    cookie.to_string()
}

fn who_are_you(asked: &Asked) -> Markup {
    let carried = serde_json::to_value(asked).unwrap_or_default();
    html! {
        h1 { "Who are you?" }
        p.soft { "This plays the identity provider of two organisations. A name is enough here." }
        form.row method="post" action="/issuer/authorize" {
            @for (name, value) in carried.as_object().into_iter().flatten() {
                input type="hidden" name=(name) value=(value.as_str().unwrap_or_default());
            }
            @for person in users() {
                button name="person" value=(person.name) title=(person.email) {
                    b { (person.name) } " " span.soft { (person.tenant) " · " (person.roles.join(", ").replace('_', " ")) }
                }
            }
        }
    }
}

fn page(title: &str, body: &Markup) -> Response {
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · Identity provider (sandbox)" }
                style { (PreEscaped(include_str!("../pages/style.css"))) }
            }
            body { main { (body) } }
        }
    };
    let headers: [(HeaderName, &str); 3] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    ];
    (headers, Html(document.into_string())).into_response()
}
