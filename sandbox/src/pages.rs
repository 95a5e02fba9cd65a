//! The sandbox's own pages for people: a start page and a mailbox. Everything else that people see is the console.

mod mail;
mod start;

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    response::{Html, IntoResponse},
    routing::get,
};
use http::{HeaderName, header};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::Parts;

/// Scripts are nowhere needed, and mails may bring none.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'; base-uri 'self'";

type World = State<Arc<Parts>>;

pub(crate) fn routes(parts: &Arc<Parts>) -> Router {
    Router::new()
        .route("/", get(start::show))
        .route("/later", axum::routing::post(start::later))
        .route("/mail", get(mail::show))
        .with_state(Arc::clone(parts))
}

fn page(parts: &Parts, title: &str, body: &Markup) -> impl IntoResponse + use<> {
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
                        "It is " b { (parts.clock.now().strftime("%-d %B %Y, %H:%M UTC").to_string()) } " here."
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
