//! `GET /data-deletion/{code}`: what became of a deletion, for the person who asked for it at the network.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use jiff::Timestamp;
use maud::{Markup, html};
use shared::{
    edge::{ApiError, Path},
    page::{self, Obstacle},
    secret::SecretHash,
};

use crate::ProviderEvents;

pub(crate) async fn look(State(events): State<Arc<ProviderEvents>>, code: Result<Path<String>, ApiError>) -> Response {
    let Ok(Path(code)) = code else { return unknown() };
    let id = SecretHash::of(&code.into());
    match events.flows.received(&id).await {
        Ok(Some(received)) => {
            page::respond(StatusCode::OK, title(&received.todo), &words(received.received_at, &received.todo))
        }
        Ok(None) => unknown(),
        Err(error) => Obstacle::from_failure(error).into_response(),
    }
}

fn title<T>(todo: &Result<T, Timestamp>) -> &'static str {
    match todo {
        Ok(_) => "Your data is being deleted",
        Err(_) => "Your data was deleted",
    }
}

fn words<T>(asked_at: Timestamp, todo: &Result<T, Timestamp>) -> Markup {
    html! {
        h1 { (title(todo)) }
        p { "On " (day(asked_at)) " the network told Tokenward that you want your data deleted." }
        @match todo {
            Ok(_) => {
                p { "There is more of it than could be deleted at once. The rest goes by itself, within minutes." }
                p.next { "Reload this page later to see whether it is done." }
            }
            Err(done_at) => {
                p { "It was done on " (day(*done_at)) ": the access that you had granted, your account's name at the network, "
                    "and what was told about it are gone." }
            }
        }
        p { "What stays is a history of which access existed and when it ended. It has ids and no names, and each line "
            "is deleted after 400 days. A sign-in that was not finished is forgotten within a day; backups of the "
            "database are overwritten within 35 days." }
        p { "If you connect the account again, it is kept again." }
    }
}

fn unknown() -> Response {
    let title = "No deletion is known by this code";
    let body = html! {
        h1 { (title) }
        p { "It may be cut off, or the deletion was so long ago that it was forgotten." }
        p.next { "Open the link exactly as the network shows it." }
    };
    page::respond(StatusCode::NOT_FOUND, title, &body)
}

fn day(at: Timestamp) -> String {
    at.strftime("%-d %B %Y, %H:%M UTC").to_string()
}
