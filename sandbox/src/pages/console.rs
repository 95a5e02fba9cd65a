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
use shared::profile::Network;

use super::{
    Returned, SignedIn, World,
    api::{Api, Trouble},
    connect_buttons,
    departure::{Wish, depart},
    moment, page, people_buttons, person,
    profile::{self, Profile, state},
    see, sessions, signing_in, signing_out, trouble, trouble_page,
};
use crate::Parts;

#[derive(Deserialize)]
struct Notice {
    id: String,
    kind: String,
    /// The profile's.
    name: Option<String>,
    network: Option<Network>,
    detail: Option<String>,
    days_left: Option<i64>,
    reason: Option<String>,
    at: String,
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

/// Which profiles to show.
#[derive(Default, Deserialize)]
pub(super) struct Listed {
    #[serde(default)]
    list: List,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum List {
    #[default]
    All,
    Owned,
    Shared,
    WithoutOwners,
}

impl List {
    const ALL: [Self; 4] = [Self::All, Self::Owned, Self::Shared, Self::WithoutOwners];

    /// As the API names it.
    fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Owned => "owned",
            Self::Shared => "shared",
            Self::WithoutOwners => "without_owners",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::All => "All",
            Self::Owned => "Owned by you",
            Self::Shared => "Shared with you",
            Self::WithoutOwners => "Without owners",
        }
    }

    /// What is said when there is none.
    fn none(self) -> &'static str {
        match self {
            Self::All => "Nothing is connected yet.",
            Self::Owned => "You own no profile.",
            Self::Shared => "Nobody shares a profile with you.",
            Self::WithoutOwners => "Every profile has an owner.",
        }
    }
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
    Shared,
    Unshared,
}

impl Done {
    fn words(self) -> &'static str {
        match self {
            Self::Connected => "Connected. What the network granted is sealed, and in use from now on.",
            Self::Switched => "The switch is set.",
            Self::Shared => {
                "The profile is shared: everybody in the role responder or manager may have it used for them."
            }
            Self::Unshared => "The profile is no longer shared with everybody.",
        }
    }
}

/// What the API tells of tokens that ended.
#[derive(Deserialize)]
struct Ended {
    tokens: Vec<String>,
    revocation: String,
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct GivenUp {
    ended: Ended,
}

impl Ended {
    /// The words after `what` was done.
    fn told(&self, what: &str) -> Markup {
        let at_the_network = match &*self.revocation {
            "revoked" => "What the network had granted is revoked there.",
            "pending" => "The network has not revoked what it had granted yet; this is tried again until it is done.",
            "shared" => "What the network had granted was left alone there, because another token lives on it.",
            "impossible" => {
                "The network has no way to revoke what it had granted: only the settings of the account there end it."
            }
            other => other,
        };
        html! {
            section.card.good role="status" {
                h2 { (what) }
                @if !self.tokens.is_empty() { p { (at_the_network) } }
                @for warning in &self.warnings { p { b { (warning) } } }
            }
        }
    }
}

pub(super) async fn show(
    State(parts): World,
    SignedIn(signed_in): SignedIn,
    Query(returned): Query<Returned>,
    Query(Said { done }): Query<Said>,
    Query(Listed { list }): Query<Listed>,
) -> Response {
    let Some(person) = signed_in else { return who_are_you(&parts, &returned) };
    let api = Api { parts: &parts, person };
    let told = match returned {
        Returned { connect_session: Some(session), completion_code: Some(code), .. } => {
            return sessions::finish(&api, session, code).await;
        }
        Returned { connect_session: Some(session), error: Some(code), .. } => {
            sessions::ended(&api, &session, &code).await
        }
        _ => html! { @if let Some(done) = done { section.card.good role="status" { p { (done.words()) } } } },
    };
    console(&api, list, &told).await
}

async fn console(api: &Api<'_>, list: List, told: &Markup) -> Response {
    let person = api.person;
    let profiles = api.list::<Profile>(&["profiles"], &[("list", list.name())]).await;
    let notices = api.list::<Notice>(&["notices"], &[]).await;
    let health = api.get::<Health>(&["health"]).await;
    let body = html! {
        h1 { "Console" }
        (told)
        @match &notices {
            Ok(items) => (notice_list(items)),
            Err(failure) => (trouble(failure)),
        }
        @match &health {
            Ok(health) => (acquisition(health)),
            Err(failure) => (trouble(failure)),
        }
        h2 { "Profiles" }
        p.lists {
            @for one in List::ALL {
                a href=(format!("/console?list={}", one.name())) aria-current=[(one == list).then_some("page")] { (one.title()) }
                " "
            }
        }
        @match &profiles {
            Ok(items) => {
                @if items.is_empty() { p { (list.none()) } }
                @for profile in items { (profile::card(profile, person)) }
            }
            Err(failure) => (trouble(failure)),
        }
        h2 { "Connect" }
        (connect_buttons())
        h2 { "Signed in as " (person.name) }
        p { (person.roles.join(", ").replace('_', " "))
            @if !person.groups.is_empty() { "; in the group " (person.groups.join(", ")) } }
        form.row method="post" action="/console" { button name="action" value="sign_out" { "Sign out" } }
    };
    page(api.parts, Some(person), "Console", &body).into_response()
}

fn who_are_you(parts: &Parts, returned: &Returned) -> Response {
    let hidden: Vec<_> = [("action", "sign_in")].into_iter().chain(returned.pairs()).collect();
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

fn notice_list(notices: &[Notice]) -> Markup {
    let pending: Vec<_> = notices.iter().filter(|notice| !notice.dismissed).collect();
    html! {
        @if !pending.is_empty() {
            h2 { "Notices" }
            @for notice in pending {
                form.card.line method="post" action="/console" {
                    span { b { (notice.name.as_deref().or(notice.network.map(Network::title)).unwrap_or_default()) }
                        ", " (notice.kind.replace('_', " "))
                        @if let Some(reason) = &notice.reason { ": " (reason.replace('_', " ")) }
                        @if let Some(days) = notice.days_left { ", days left: " (days) }
                        " " span.soft { (moment(&notice.at)) }
                        @if let Some(detail) = &notice.detail { br; span.soft { (detail) } } }
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

/// What a form of the console asks for.
#[derive(Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub(super) enum Action {
    SignIn {
        person: String,
        then: Option<String>,
        #[serde(flatten)]
        returned: Returned,
    },
    SignOut,
    Connect {
        kind: String,
        token: String,
    },
    /// Also claims, where `token` is the first.
    Reauthenticate {
        profile: String,
        token: String,
    },
    Allow {
        profile: String,
        token: String,
        switch: String,
        to: String,
    },
    Share {
        profile: String,
        to: String,
    },
    GiveUp {
        profile: String,
    },
    DeleteToken {
        profile: String,
        token: String,
    },
    DeleteProfile {
        profile: String,
    },
    Dismiss {
        notice: String,
    },
}

pub(super) async fn act(State(parts): World, SignedIn(signed_in): SignedIn, Form(action): Form<Action>) -> Response {
    let action = match action {
        Action::SignIn { person: name, then, returned } => {
            let Some(person) = person(&name) else { return StatusCode::BAD_REQUEST.into_response() };
            return signing_in(person, after_sign_in(&returned, then.as_deref()));
        }
        Action::SignOut => return signing_out(see("/console")),
        action => action,
    };
    let Some(person) = signed_in else { return see("/console").into_response() };
    let answer = perform(&Api { parts: &parts, person }, action).await;
    answer.unwrap_or_else(|failure| trouble_page(&parts, signed_in, &failure))
}

/// Back to the start page, or to the console with the session that came back.
fn after_sign_in(returned: &Returned, then: Option<&str>) -> Response {
    if then == Some("start") {
        return see("/").into_response();
    }
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(returned.pairs()).finish();
    see(&format!("/console?{query}")).into_response()
}

/// Does what was asked through the API. What it tells of an end is shown at once; other changes lead to a page that can
/// be reloaded.
async fn perform(api: &Api<'_>, action: Action) -> Result<Response, Trouble> {
    let (what, ended): (_, Ended) = match action {
        Action::Connect { kind, token } => return depart(api, Wish::Kind(&kind), &token).await,
        Action::Reauthenticate { profile, token } => return depart(api, Wish::Profile(&profile), &token).await,
        Action::Allow { profile, token, switch, to } => {
            let change = json!({ "allow": { switch: to == "on" } });
            api.patch::<Value>(&["profiles", &profile, "tokens", &token], &change).await?;
            return Ok(see("/console?done=switched").into_response());
        }
        Action::Share { profile, to } => {
            let on = to == "on";
            let change = json!({ "shared_with": { "everybody": on } });
            api.patch::<Value>(&["profiles", &profile], &change).await?;
            return Ok(see(if on { "/console?done=shared" } else { "/console?done=unshared" }).into_response());
        }
        Action::Dismiss { notice } => {
            api.post::<Value>(&["notices", &notice, "dismiss"], &json!({})).await?;
            return Ok(see("/console").into_response());
        }
        Action::SignIn { .. } | Action::SignOut => return Ok(see("/console").into_response()),
        Action::GiveUp { profile } => {
            let given_up: GivenUp = api.patch(&["profiles", &profile], &json!({ "owner": false })).await?;
            ("You gave the profile up, and your tokens of it ended", given_up.ended)
        }
        Action::DeleteToken { profile, token } => {
            ("The token is deleted", api.delete(&["profiles", &profile, "tokens", &token]).await?)
        }
        Action::DeleteProfile { profile } => {
            ("The profile is deleted, and its tokens with it", api.delete(&["profiles", &profile]).await?)
        }
    };
    Ok(console(api, List::All, &ended.told(what)).await)
}
