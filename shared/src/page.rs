//! Pages for people: why a sign-in cannot go on, and what to do next; what became of a deletion.
//!
//! A page has no script, no picture and no link to anywhere that a stranger chose; its style is
//! allowed by hash. What came from outside is escaped by the template or not shown at all.

use aws_lc_rs::digest;
use axum::response::{IntoResponse, Response};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderValue, StatusCode, header};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::edge::{ApiError, Code};

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5b6675;--paper:#f6f7f9;--card:#fff;--line:#e1e5ea;--mark:#b3541e}\
@media(prefers-color-scheme:dark){:root{--ink:#e8ecf1;--soft:#9aa6b4;--paper:#12161c;--card:#1a2028;--line:#2b333d;--mark:#f0a36b}}\
*{box-sizing:border-box}\
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.5rem;background:var(--paper);color:var(--ink);\
font:17px/1.55 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}\
main{width:100%;max-width:34rem;background:var(--card);border:1px solid var(--line);border-top:4px solid var(--mark);\
border-radius:12px;padding:2rem 2rem 1.5rem}\
h1{margin:0 0 .75rem;font-size:1.45rem;line-height:1.25;text-wrap:balance}\
p{margin:0 0 1rem}\
.next{font-weight:600}\
footer{margin-top:1.5rem;padding-top:.9rem;border-top:1px solid var(--line);color:var(--soft);font-size:.85rem}\
code{font-family:ui-monospace,SFMono-Regular,Menlo,monospace;font-size:.95em}";

/// Why a sign-in cannot go on, where there is no session to lead back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The link is of no session, or of none any more.
    LinkUnknown,
    /// The link was opened before.
    LinkUsed,
    /// The link's ten minutes are over.
    LinkExpired,
    /// The browser is not the one that started.
    BrowserMismatch,
    /// The request is not one that a network or Tokenward sends.
    InvalidRequest,
    /// There is no such network.
    UnknownNetwork,
    /// A part of the product is down.
    Unavailable,
    /// The operator has something to mend.
    Misconfigured,
}

impl Obstacle {
    /// What a failure means for the person who signs in; it is written down here, once.
    #[must_use]
    pub fn from_failure(error: impl Into<ApiError>) -> Self {
        let error = error.into();
        error.log();
        match error.code() {
            Code::Unavailable => Self::Unavailable,
            // a link is used up by one conditional write: somebody else's came first
            Code::Conflict => Self::LinkUsed,
            _ => Self::Misconfigured,
        }
    }

    /// Stable, for programs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::LinkUnknown => "link_unknown",
            Self::LinkUsed => "link_used",
            Self::LinkExpired => "link_expired",
            Self::BrowserMismatch => "browser_mismatch",
            Self::InvalidRequest => "invalid_request",
            Self::UnknownNetwork => "unknown_network",
            Self::Unavailable => "unavailable",
            Self::Misconfigured => "misconfigured",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::LinkUnknown | Self::UnknownNetwork => StatusCode::NOT_FOUND,
            Self::LinkUsed => StatusCode::CONFLICT,
            Self::LinkExpired => StatusCode::GONE,
            Self::BrowserMismatch => StatusCode::FORBIDDEN,
            Self::InvalidRequest => StatusCode::BAD_REQUEST,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Misconfigured => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What happened, in a line; what it means; what to do next.
    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::LinkUnknown => (
                "This link is not known",
                "It may be cut off, or so old that it was forgotten. Nothing was connected.",
                "Go back to where you began and start again.",
            ),
            Self::LinkUsed => (
                "This link was used already",
                "Each sign-in link works once, so that nobody can use yours a second time. If you reloaded the page, your \
                 sign-in may well have worked.",
                "Go back to where you began: if the account is not there, start again.",
            ),
            Self::LinkExpired => (
                "This link is too old",
                "Sign-in links work for ten minutes. Nothing was connected.",
                "Go back to where you began and start again.",
            ),
            Self::BrowserMismatch => (
                "This sign-in was begun in another browser",
                "Tokenward takes a sign-in back only in the browser that began it, so that nobody can connect an account in \
                 your name. The cookie that proves it is missing here: it may be blocked, or the link came from somebody else.",
                "If you began this yourself, start again in this browser with cookies allowed. If you did not, close this page.",
            ),
            Self::InvalidRequest => (
                "This request makes no sense",
                "Something in the address is missing, repeated or damaged. Nothing was connected.",
                "Go back to where you began and start again.",
            ),
            Self::UnknownNetwork => (
                "This network is not known here",
                "The address names a network that cannot be connected.",
                "Go back to where you began and start again.",
            ),
            Self::Unavailable => (
                "This does not work just now",
                "A part of Tokenward does not answer. Nothing is lost and nothing was connected.",
                "Reload this page in a minute.",
            ),
            Self::Misconfigured => (
                "The operator has to mend something",
                "The app for this network is not set up rightly. It is not your fault, and nothing was connected.",
                "Tell your operator what is written below.",
            ),
        }
    }
}

impl IntoResponse for Obstacle {
    fn into_response(self) -> Response {
        let (title, meaning, next) = self.words();
        let body = html! {
            h1 { (title) }
            p { (meaning) }
            p.next { (next) }
            footer { "Code: " code { (self.code()) } }
        };
        let mut response = respond(self.status(), title, &body);
        if self == Self::Unavailable {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
        }
        response
    }
}

/// A page with this title and body.
pub fn respond(status: StatusCode, title: &str, body: &Markup) -> Response {
    let mut response = (status, page(title, body).into_string()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    if let Ok(policy) = HeaderValue::from_str(&policy()) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

fn page(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex";
                title { (title) " · Tokenward" }
                style { (PreEscaped(STYLE)) }
            }
            body { main { (body) } }
        }
    }
}

fn policy() -> String {
    let hash = STANDARD.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}
