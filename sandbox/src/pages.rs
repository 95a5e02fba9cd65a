//! The pages for people: a start page, a mailbox, and the least console that lets one connect,
//! watch and reauthenticate.
//!
//! They are a client like any other: who is signed in is a name in a cookie, an access token is
//! minted for each request, and everything that they show or change goes through the HTTP API by
//! way of the gateway ([`api`]). What the API refuses is shown with its own words.

mod api;
mod console;
mod departure;
mod mail;
mod profile;
mod reauthenticate;
mod sessions;
mod start;

use std::{convert::Infallible, sync::Arc};

use axum::{
    Router,
    extract::{FromRequestParts, State},
    response::{Html, IntoResponse, Redirect, Response},
    routing::get,
};
use cookie::{Cookie, SameSite};
use http::{HeaderName, header, request::Parts as RequestParts};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde::Deserialize;
use shared::profile::{Kind, TokenKind};

use self::api::Trouble;
use crate::{
    Parts,
    issuer::{PEOPLE, Person},
};

const COOKIE: &str = "sandbox_person";

/// Scripts are nowhere needed, and mails may bring none.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'; base-uri 'self'";

type World = State<Arc<Parts>>;

pub(crate) fn routes(parts: &Arc<Parts>) -> Router {
    Router::new()
        .route("/", get(start::show))
        .route("/later", axum::routing::post(start::later))
        .route("/console", get(console::show).post(console::act))
        .route("/console/choose", axum::routing::post(sessions::choose))
        .route("/reauthenticate", get(reauthenticate::ask).post(reauthenticate::begin))
        .route("/mail", get(mail::show))
        .with_state(Arc::clone(parts))
}

/// The person that the browser is signed in as.
struct SignedIn(Option<&'static Person>);

impl<S: Sync> FromRequestParts<S> for SignedIn {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut RequestParts, _state: &S) -> Result<Self, Infallible> {
        let fields = parts.headers.get_all(header::COOKIE).iter().filter_map(|field| field.to_str().ok());
        let mut cookies = fields.flat_map(Cookie::split_parse).filter_map(Result::ok);
        Ok(Self(cookies.find(|cookie| cookie.name() == COOKIE).and_then(|cookie| person(cookie.value()))))
    }
}

fn person(name: &str) -> Option<&'static Person> {
    PEOPLE.iter().find(|person| person.name == name)
}

/// Everybody who uses pages: workers do not.
fn users() -> impl Iterator<Item = &'static Person> {
    PEOPLE.iter().filter(|person| !person.roles.is_empty())
}

/// Makes the browser remember `person`, on top of an answer.
fn signing_in(person: &Person, answer: impl IntoResponse) -> Response {
    let cookie = Cookie::build((COOKIE, person.name)).path("/").http_only(true).same_site(SameSite::Lax).build();
    ([(header::SET_COOKIE, cookie.to_string())], answer).into_response()
}

fn signing_out(answer: impl IntoResponse) -> Response {
    let cookie = Cookie::build((COOKIE, "")).path("/").http_only(true).same_site(SameSite::Lax);
    let cookie = cookie.max_age(cookie::time::Duration::ZERO).build();
    ([(header::SET_COOKIE, cookie.to_string())], answer).into_response()
}

/// What the browser brings back from a connect session.
#[derive(Default, Deserialize)]
struct Returned {
    connect_session: Option<String>,
    completion_code: Option<String>,
    error: Option<String>,
}

impl Returned {
    const SESSION: &str = "connect_session";
    const CODE: &str = "completion_code";

    /// The same, to be carried on.
    fn pairs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let fields =
            [(Self::SESSION, &self.connect_session), (Self::CODE, &self.completion_code), ("error", &self.error)];
        fields.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }
}

/// What can be connected: a kind, and which of its tokens.
fn connectable() -> impl Iterator<Item = (Kind, TokenKind)> {
    let pairs = Kind::ALL.into_iter().flat_map(|kind| TokenKind::ALL.map(|token| (kind, token)));
    pairs.filter(|(kind, token)| !kind.capabilities(*token).is_empty())
}

/// Buttons that begin to connect an account.
fn connect_buttons() -> Markup {
    html! {
        div.row {
            @for (kind, token) in connectable() {
                form method="post" action="/console" {
                    (hidden(&[("kind", kind.as_str()), ("token", token.as_str())]))
                    button name="action" value="connect" {
                        "Connect " (indefinite(kind)) " " (kind.title()) " " span.soft { (token.as_str()) }
                    }
                }
            }
        }
    }
}

fn hidden(fields: &[(&str, &str)]) -> Markup {
    html! { @for (name, value) in fields { input type="hidden" name=(name) value=(value); } }
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn indefinite(kind: Kind) -> &'static str {
    match kind {
        Kind::InstagramAccount | Kind::XProfile => "an",
        Kind::FacebookUser | Kind::FacebookPage | Kind::YouTubeChannel => "a",
    }
}

/// One button a person; whoever is signed in comes first.
fn people_buttons(action: &str, hidden: &[(&str, &str)], signed_in: Option<&Person>) -> Markup {
    let is_me = |person: &Person| signed_in == Some(person);
    let mut people: Vec<_> = users().collect();
    people.sort_by_key(|person| !is_me(person));
    html! {
        form.row method="post" action=(action) {
            (self::hidden(hidden))
            @for person in people {
                button.main[is_me(person)] name="person" value=(person.name) title=(person.email) {
                    b { (person.name) } " " span.soft { (person.tenant) " · " (person.roles.join(", ").replace('_', " ")) }
                }
            }
        }
    }
}

/// A failure in the API's own words.
fn trouble(trouble: &Trouble) -> Markup {
    html! {
        section.card.bad role="alert" {
            h2 { (trouble.title) }
            p { (trouble.detail) }
            @if let Some(seconds) = trouble.retry_after { p { "It is worth another try in " (wait(seconds)) "." } }
            p.soft { "The API answered " (trouble.status.as_u16()) @if let Some(code) = &trouble.code { ", code " code { (code) } } "." }
        }
    }
}

/// A time to wait, as people say it.
fn wait(seconds: u64) -> String {
    match seconds {
        0 | 1 => "a second".to_owned(),
        2..=90 => format!("{seconds} seconds"),
        _ => format!("{} minutes", seconds.div_ceil(60)),
    }
}

/// A page that shows nothing but a failure.
fn trouble_page(parts: &Parts, signed_in: Option<&Person>, failure: &Trouble) -> Response {
    let body = html! {
        h1 { "That did not work" }
        (trouble(failure))
        p { a href="/console" { "Back to the console" } }
    };
    (failure.status, page(parts, signed_in, "That did not work", &body)).into_response()
}

fn page(parts: &Parts, signed_in: Option<&Person>, title: &str, body: &Markup) -> impl IntoResponse + use<> {
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · Tokenward sandbox" }
                style { (PreEscaped(include_str!("pages/style.css"))) }
            }
            body {
                header {
                    nav {
                        a.brand href="/" { "Tokenward" }
                        a href="/console" { "Console" }
                        a href="/mail" { "Mail" }
                    }
                    p.soft {
                        "It is " b { (parts.clock.now().strftime("%-d %B %Y, %H:%M UTC").to_string()) } " here. "
                        @match signed_in {
                            Some(person) => { "You are " b { (person.name) } " of " (person.tenant) "." }
                            None => { "Nobody is signed in." }
                        }
                    }
                }
                main { (body) }
            }
        }
    };
    let headers: [(HeaderName, &str); 3] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    (headers, Html(document.into_string()))
}

/// An instant as people read it.
fn moment(instant: &str) -> String {
    let instant: Result<jiff::Timestamp, _> = instant.parse();
    instant.map(|instant| instant.strftime("%-d %B %Y, %H:%M UTC").to_string()).unwrap_or_default()
}

/// Leads the browser to a page after a change, so that reloading does not repeat it.
fn see(path: &str) -> Redirect {
    Redirect::to(path)
}
