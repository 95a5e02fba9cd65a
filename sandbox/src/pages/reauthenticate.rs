//! `/reauthenticate?profile=…&token=…`: where the links in mails lead.
//!
//! Opening it changes nothing: a mail scanner that follows links begins no session. A person says
//! who they are, and only then a connect session for the named profile begins.

use axum::{
    Form,
    extract::{Query, State},
    response::{IntoResponse as _, Response},
};
use maud::html;
use serde::Deserialize;

use super::{
    SignedIn, World,
    api::Api,
    departure::{Wish, depart},
    page, people_buttons, person, see, signing_in, trouble_page,
};

#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    profile: String,
    #[serde(default)]
    token: String,
}

pub(super) async fn ask(
    State(parts): World,
    SignedIn(signed_in): SignedIn,
    Query(Wanted { profile, token }): Query<Wanted>,
) -> Response {
    let hidden = [("profile", &*profile), ("token", &*token)];
    let body = html! {
        h1 { "Reauthenticate" }
        @if profile.is_empty() || token.is_empty() {
            p { "This address names no profile. Open the link of a mail, or reauthenticate from the "
                a href="/console" { "console" } "." }
        } @else {
            p { "The " (kind_of(&token)) " token of " code { (profile) } " needs its owner to sign in again at the network. "
                "Its identity and its switches stay as they are." }
            section.card {
                h2 { "Who are you?" }
                p.soft { "Here a name is enough. In a deployment, your identity provider asks." }
                (people_buttons("/reauthenticate", &hidden, signed_in))
            }
        }
    };
    page(&parts, signed_in, "Reauthenticate", &body).into_response()
}

#[derive(Deserialize)]
pub(super) struct Begin {
    person: String,
    profile: String,
    token: String,
}

pub(super) async fn begin(State(parts): World, Form(Begin { person: name, profile, token }): Form<Begin>) -> Response {
    let Some(person) = person(&name) else { return see("/reauthenticate").into_response() };
    let answer = depart(&Api { parts: &parts, person }, Wish::Profile(&profile), kind_of(&token)).await;
    let answer = answer.unwrap_or_else(|failure| trouble_page(&parts, Some(person), &failure));
    signing_in(person, answer)
}

/// The kind of a token that is given by its kind or by its id, `<kind>-<owner>`.
fn kind_of(token: &str) -> &str {
    token.split('-').next().unwrap_or_default()
}
