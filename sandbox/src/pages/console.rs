//! `/console`: profiles and tokens as the API tells them, with a button for what can be done.

use axum::{
    Form,
    extract::{Query, State},
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Value, json};
use shared::profile::{Kind, Network, Switch, TokenKind};

use super::{
    Returned, SignedIn, World,
    api::{Api, Trouble},
    connect_buttons,
    departure::depart,
    moment, page, people_buttons, person, see, signing_in, signing_out, trouble, trouble_page,
};
use crate::{Parts, issuer::Person};

/// The return address of the sessions that begin here.
pub(super) fn address(parts: &Parts) -> String {
    format!("{}/console", parts.url)
}

#[derive(Deserialize)]
struct Profile {
    id: String,
    kind: String,
    name: String,
    state: String,
    #[serde(default)]
    tokens: Vec<Token>,
}

#[derive(Deserialize)]
struct Token {
    id: String,
    #[serde(rename = "token")]
    kind: TokenKind,
    owner: String,
    state: String,
    reason: Option<String>,
    cooling_until: Option<String>,
    expires_at: Option<String>,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    missing_scopes: Vec<String>,
    #[serde(default)]
    allow: serde_json::Map<String, Value>,
    #[serde(default)]
    uses: serde_json::Map<String, Value>,
}

#[derive(Deserialize)]
struct Notice {
    id: String,
    kind: String,
    profile_id: Option<String>,
    at: String,
    #[serde(default)]
    dismissed: bool,
}

/// How things stand, from `GET /v1/health`.
#[derive(Deserialize)]
struct Health {
    networks: Vec<NetworkHealth>,
}

#[derive(Deserialize)]
struct NetworkHealth {
    network: Network,
    acquisition: String,
    valid_tokens: u32,
    detail: Option<String>,
}

/// Why a session ended, from `GET /v1/connect-sessions/{id}`.
#[derive(Deserialize)]
struct Session {
    error: Option<Ending>,
}

#[derive(Deserialize)]
struct Ending {
    detail: String,
}

#[derive(Default, Deserialize)]
pub(super) struct Said {
    done: Option<Done>,
}

/// What the page says after a change.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Done {
    Connected,
    Switched,
    TokenDeleted,
    ProfileDeleted,
}

impl Done {
    fn words(self) -> &'static str {
        match self {
            Self::Connected => "Connected. The token is sealed and in use from now on.",
            Self::Switched => "The switch is set.",
            Self::TokenDeleted => {
                "The token is deleted here, and revoked at the network where nothing else lives on its grant."
            }
            Self::ProfileDeleted => "The profile is deleted, and its tokens with it.",
        }
    }
}

pub(super) async fn show(
    State(parts): World,
    SignedIn(signed_in): SignedIn,
    Query(returned): Query<Returned>,
    Query(said): Query<Said>,
) -> Response {
    let Some(person) = signed_in else { return who_are_you(&parts, &returned) };
    let api = Api { parts: &parts, person };
    if let (Some(session), Some(code)) = (&returned.connect_session, &returned.completion_code) {
        let code = json!({ "completion_code": code });
        return match api.post::<Value>(&["connect-sessions", session, "complete"], &code).await {
            Ok(_) => see("/console?done=connected").into_response(),
            Err(failure) => trouble_page(&parts, signed_in, &failure),
        };
    }
    let profiles = api.list::<Profile>(&["profiles"]).await;
    let notices = api.list::<Notice>(&["notices"]).await;
    let health = api.get::<Health>(&["health"]).await;
    let body = html! {
        h1 { "Console" }
        @if let Some(done) = said.done { section.card.good role="status" { p { (done.words()) } } }
        @if let (Some(session), Some(code)) = (&returned.connect_session, &returned.error) {
            (ended(&api, session, code).await)
        }
        @match &notices {
            Ok(items) => (notice_list(items)),
            Err(failure) => (trouble(failure)),
        }
        @match &health {
            Ok(health) => (acquisition(health)),
            Err(failure) => (trouble(failure)),
        }
        h2 { "Profiles" }
        @match &profiles {
            Ok(items) => {
                @if items.is_empty() { p { "Nothing is connected yet." } }
                @for profile in items { (profile_card(profile, person)) }
            }
            Err(failure) => (trouble(failure)),
        }
        h2 { "Connect" }
        (connect_buttons())
        h2 { "Signed in as " (person.name) }
        form.row method="post" action="/console" { button name="action" value="sign_out" { "Sign out" } }
    };
    page(&parts, signed_in, "Console", &body).into_response()
}

fn who_are_you(parts: &Parts, returned: &Returned) -> Response {
    let mut hidden = vec![("action", "sign_in")];
    for (name, value) in
        [("connect_session", &returned.connect_session), ("completion_code", &returned.completion_code)]
    {
        hidden.extend(value.as_deref().map(|value| (name, value)));
    }
    let body = html! {
        h1 { "Who are you?" }
        @if returned.completion_code.is_some() {
            p { "The account was approved at the network. Only the person who began can complete the connection." }
        }
        p.soft { "Here a name is enough. In a deployment, your identity provider asks." }
        section.card { (people_buttons("/console", &hidden, None)) }
    };
    page(parts, None, "Sign in", &body).into_response()
}

/// Why a session came back without a token, in the API's words.
async fn ended(api: &Api<'_>, session: &str, code: &str) -> Markup {
    let session = api.get::<Session>(&["connect-sessions", session]).await;
    html! {
        @match session {
            Ok(Session { error: Some(ending) }) => {
                section.card.bad role="alert" {
                    h2 { "Nothing was connected" }
                    p { (ending.detail) }
                    p.soft { "Code: " code { (code) } }
                }
            }
            Ok(Session { error: None }) => { section.card { p { "That session did not end: its address is not right." } } }
            Err(failure) => (trouble(&failure)),
        }
    }
}

fn notice_list(notices: &[Notice]) -> Markup {
    let pending: Vec<_> = notices.iter().filter(|notice| !notice.dismissed).collect();
    html! {
        @if !pending.is_empty() {
            h2 { "Notices" }
            @for notice in pending {
                form.card.line method="post" action="/console" {
                    span { b { (notice.kind.replace('_', " ")) } " "
                        @if let Some(profile) = &notice.profile_id { code { (profile) } " " }
                        span.soft { (moment(&notice.at)) } }
                    input type="hidden" name="notice" value=(notice.id);
                    button name="action" value="dismiss" { "Dismiss" }
                }
            }
        }
    }
}

fn acquisition(health: &Health) -> Markup {
    html! {
        @if !health.networks.is_empty() { h2 { "Acquisition" } }
        @for NetworkHealth { network, acquisition, valid_tokens, detail } in &health.networks {
            section.card {
                h3 { (network.title()) " " (state(acquisition)) }
                p { (valid_tokens) @if *valid_tokens == 1 { " token works and is allowed." } @else { " tokens work and are allowed." } }
                @if let Some(detail) = detail { p { (detail) } }
            }
        }
    }
}

fn profile_card(profile: &Profile, person: &Person) -> Markup {
    html! {
        section.card {
            h3 { (profile.name) " " (state(&profile.state)) }
            p.soft { code { (profile.id) } }
            @for token in &profile.tokens { (token_block(profile, token, token.owner == person.name)) }
            form.row method="post" action="/console" {
                input type="hidden" name="profile" value=(profile.id);
                button.danger name="action" value="delete_profile" { "Delete the profile" }
            }
        }
    }
}

fn token_block(profile: &Profile, token: &Token, mine: bool) -> Markup {
    let address = [("profile", &*profile.id), ("token", &*token.id)];
    html! {
        div.token {
            h4 { (capitalized(token.kind.as_str())) " token of " (token.owner) " " (state(&token.state)) }
            dl {
                @if let Some(reason) = &token.reason { dt { "Reason" } dd { (reason.replace('_', " ")) } }
                @if let Some(end) = &token.cooling_until { dt { "Cooling down until" } dd { (moment(end)) } }
                dt { "A person is needed" }
                dd { @match &token.expires_at { Some(end) => (moment(end)), None => "not as long as it is renewed" } }
                dt { "Scopes" } dd { (codes(&token.scopes)) }
                @if !token.missing_scopes.is_empty() { dt { "Missing scopes" } dd { (codes(&token.missing_scopes)) } }
                dt { "Uses" }
                dd { @for (usage, readiness) in &token.uses {
                    span.use { (usage.replace('_', " ")) " " (state(readiness.as_str().unwrap_or_default())) } " "
                } }
            }
            @if mine {
                div.row {
                    @for switch in switches(profile, token) {
                        (switch_form(&address, switch, token.allow.get(switch.as_str()) == Some(&Value::Bool(true))))
                    }
                    form method="get" action="/reauthenticate" {
                        (hidden(&address))
                        button { "Reauthenticate" }
                    }
                    form method="post" action="/console" {
                        (hidden(&address))
                        button.danger name="action" value="delete_token" { "Delete the token" }
                    }
                }
            }
        }
    }
}

fn switch_form(address: &[(&str, &str)], switch: Switch, on: bool) -> Markup {
    html! {
        form method="post" action="/console" {
            (hidden(address))
            input type="hidden" name="switch" value=(switch.as_str());
            input type="hidden" name="to" value=(if on { "off" } else { "on" });
            button role="switch" aria-checked=(on) name="action" value="allow" {
                (capitalized(&switch.as_str().replace('_', " "))) ": " b { (if on { "on" } else { "off" }) }
            }
        }
    }
}

fn hidden(fields: &[(&str, &str)]) -> Markup {
    html! { @for (name, value) in fields { input type="hidden" name=(name) value=(value); } }
}

/// The switches that this token has, from the capability table.
fn switches(profile: &Profile, token: &Token) -> Vec<Switch> {
    let kind: Option<Kind> = profile.kind.parse().ok();
    let capabilities = kind.map(|kind| kind.capabilities(token.kind)).unwrap_or_default();
    capabilities.iter().filter_map(|capability| capability.switch).collect()
}

fn state(state: &str) -> Markup {
    html! { span.state data-state=(state) { (state.replace('_', " ")) } }
}

fn codes(codes: &[String]) -> Markup {
    html! { @for one in codes { code { (one) } " " } }
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// What a form of the console asks for.
#[derive(Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub(super) enum Action {
    SignIn { person: String, connect_session: Option<String>, completion_code: Option<String>, then: Option<String> },
    SignOut,
    Connect { kind: String, token: String },
    Allow { profile: String, token: String, switch: String, to: String },
    DeleteToken { profile: String, token: String },
    DeleteProfile { profile: String },
    Dismiss { notice: String },
}

pub(super) async fn act(State(parts): World, SignedIn(signed_in): SignedIn, Form(action): Form<Action>) -> Response {
    let action = match action {
        Action::SignIn { person: name, connect_session, completion_code, then } => {
            let Some(person) = person(&name) else { return StatusCode::BAD_REQUEST.into_response() };
            return signing_in(person, after_sign_in(connect_session.zip(completion_code), then.as_deref()));
        }
        Action::SignOut => return signing_out(see("/console")),
        action => action,
    };
    let Some(person) = signed_in else { return see("/console").into_response() };
    let api = Api { parts: &parts, person };
    let answer = match action {
        Action::Connect { kind, token } => {
            let session = json!({ "kind": kind, "token": token, "return_url": address(&parts) });
            depart(&api, &session).await
        }
        action => perform(&api, action).await.map(|next| see(&next).into_response()),
    };
    match answer {
        Ok(answer) => answer,
        Err(failure) => trouble_page(&parts, signed_in, &failure),
    }
}

/// Back to the start page, or to the console with the session that waits to be completed.
fn after_sign_in(waiting: Option<(String, String)>, then: Option<&str>) -> Response {
    if then == Some("start") {
        return see("/").into_response();
    }
    let Some((session, code)) = waiting else { return see("/console").into_response() };
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("connect_session", &session)
        .append_pair("completion_code", &code)
        .finish();
    see(&format!("/console?{query}")).into_response()
}

/// Does what was asked through the API; the address to go on at.
async fn perform(api: &Api<'_>, action: Action) -> Result<String, Trouble> {
    let done = match action {
        Action::Allow { profile, token, switch, to } => {
            let change = json!({ "allow": { switch: to == "on" } });
            api.patch(&["profiles", &profile, "tokens", &token], &change).await?;
            "?done=switched"
        }
        Action::DeleteToken { profile, token } => {
            api.delete(&["profiles", &profile, "tokens", &token]).await?;
            "?done=token_deleted"
        }
        Action::DeleteProfile { profile } => {
            api.delete(&["profiles", &profile]).await?;
            "?done=profile_deleted"
        }
        Action::Dismiss { notice } => {
            api.post::<Value>(&["notices", &notice, "dismiss"], &json!({})).await?;
            ""
        }
        Action::SignIn { .. } | Action::SignOut | Action::Connect { .. } => "",
    };
    Ok(format!("/console{done}"))
}
