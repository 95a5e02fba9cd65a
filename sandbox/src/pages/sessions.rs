//! Connect sessions that came back from the network: what they ended with, and their completion.
//!
//! Where one sign-in can connect several profiles, a form asks which. What the API refuses is said above the same form,
//! still ticked, so that nobody signs in twice for a slip.

use axum::{
    Form,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Value, json};
use shared::profile::Kind;

use super::{
    Returned, SignedIn, World,
    api::{Api, Trouble},
    moment, page, see, trouble, trouble_page,
};

#[derive(Deserialize)]
pub(super) struct Session {
    kind: Kind,
    expires_at: String,
    #[serde(default)]
    pub(super) candidates: Vec<Candidate>,
    error: Option<Ending>,
}

/// A profile that can be selected, or the reason why not.
#[derive(Deserialize)]
pub(super) struct Candidate {
    pub(super) profile_id: String,
    pub(super) name: String,
    pub(super) reason: Option<String>,
}

#[derive(Deserialize)]
struct Ending {
    detail: String,
}

pub(super) async fn look(api: &Api<'_>, session: &str) -> Result<Session, Trouble> {
    api.get(&["connect-sessions", session]).await
}

/// Completes a session that came back, after asking what is to be connected where there is something to choose.
pub(super) async fn finish(api: &Api<'_>, session: String, code: String) -> Response {
    let choice = Choice { session, code, selected: Vec::new() };
    match look(api, &choice.session).await {
        Ok(session) if !session.candidates.is_empty() => choice.ask(api, &session, None),
        Ok(_) => choice.complete(api).await,
        Err(failure) => trouble_page(api.parts, Some(api.person), &failure),
    }
}

/// What was ticked in the form.
pub(super) async fn choose(
    State(parts): World,
    SignedIn(signed_in): SignedIn,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let Some(person) = signed_in else { return see("/console").into_response() };
    let mut choice = Choice::default();
    for (name, value) in fields {
        match &*name {
            Returned::SESSION => choice.session = value,
            Returned::CODE => choice.code = value,
            "selected" => choice.selected.push(value),
            _ => {}
        }
    }
    choice.complete(&Api { parts: &parts, person }).await
}

/// A session that came back with its code, and what of it is to be connected.
#[derive(Default)]
struct Choice {
    session: String,
    code: String,
    /// Nothing as long as nobody was asked.
    selected: Vec<String>,
}

impl Choice {
    async fn complete(&self, api: &Api<'_>) -> Response {
        let mut brought = json!({ "completion_code": self.code });
        if !self.selected.is_empty() {
            brought["selected"] = json!(self.selected);
        }
        match api.post::<Value>(&["connect-sessions", &self.session, "complete"], &brought).await {
            Ok(_) => see("/console?done=connected").into_response(),
            Err(failure) => match look(api, &self.session).await {
                Ok(session) if !session.candidates.is_empty() => self.ask(api, &session, Some(&failure)),
                _ => trouble_page(api.parts, Some(api.person), &failure),
            },
        }
    }

    fn ask(&self, api: &Api<'_>, session: &Session, refused: Option<&Trouble>) -> Response {
        let title = format!("Which {}s?", session.kind.title());
        let body = html! {
            h1 { (title) }
            @if let Some(failure) = refused { (trouble(failure)) }
            (self.form(session))
        };
        let status = refused.map_or(StatusCode::OK, |failure| failure.status);
        (status, page(api.parts, Some(api.person), &title, &body)).into_response()
    }

    fn form(&self, session: &Session) -> Markup {
        let connectable = session.candidates.iter().any(|candidate| candidate.reason.is_none());
        html! {
            @if connectable {
                p { "Each one that you tick is connected with a token of its own, all of them or none." }
            } @else {
                p { "Whoever signed in can connect none of these. Have the role on one of them changed at the network, or sign "
                    "in there as somebody else." }
            }
            form.card method="post" action="/console/choose" {
                input type="hidden" name=(Returned::SESSION) value=(self.session);
                input type="hidden" name=(Returned::CODE) value=(self.code);
                @for Candidate { profile_id, name, reason } in &session.candidates {
                    label.pick {
                        input type="checkbox" name="selected" value=(profile_id) disabled[reason.is_some()]
                            checked[self.selected.contains(profile_id)];
                        span {
                            b { (name) } " " code.soft { (profile_id) }
                            @if let Some(reason) = reason { br; span.soft { "Cannot be connected: " (in_words(reason)) } }
                        }
                    }
                }
                @if connectable { div.row { button.main { "Connect what is ticked" } } }
            }
            p.soft { "The sign-in waits until " (moment(&session.expires_at)) "; after that, sign in at the network again. "
                a href="/console" { "Back to the console" } }
        }
    }
}

/// Why a candidate cannot be selected.
pub(super) fn in_words(reason: &str) -> String {
    match reason {
        "role_missing" => "the role on it allows nothing that a token is used for.".to_owned(),
        other => format!("{}.", other.replace('_', " ")),
    }
}

/// Why a session came back without a token, in the API's words.
pub(super) async fn ended(api: &Api<'_>, session: &str, code: &str) -> Markup {
    html! {
        @match look(api, session).await {
            Ok(Session { error: Some(ending), .. }) => {
                section.card.bad role="alert" {
                    h2 { "Nothing was connected" }
                    p { (ending.detail) }
                    p.soft { "Code: " code { (code) } }
                }
            }
            Ok(_) => { section.card { p { "That session did not end: its address is not right." } } }
            Err(failure) => (trouble(&failure)),
        }
    }
}
