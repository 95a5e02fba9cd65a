//! A profile and its tokens on a card, with a button for what can be done.
//!
//! Which buttons there are follows from who owns what; whether the role allows it, the API alone decides.

use std::collections::BTreeMap;

use maud::{Markup, html};
use serde::Deserialize;
use shared::profile::{Kind, Switch, TokenKind};

use super::{capitalized, connectable, hidden, indefinite, moment};
use crate::issuer::Person;

#[derive(Deserialize)]
pub(super) struct Profile {
    id: String,
    kind: Kind,
    name: String,
    state: String,
    owners: Vec<String>,
    shared_with: SharedWith,
    tokens: Vec<Token>,
}

#[derive(Deserialize)]
struct SharedWith {
    users: Vec<String>,
    groups: Vec<String>,
    everybody: bool,
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
    connected_at: String,
    scopes: Vec<String>,
    missing_scopes: Vec<String>,
    allow: BTreeMap<String, bool>,
    uses: BTreeMap<String, String>,
}

pub(super) fn card(profile: &Profile, person: &Person) -> Markup {
    let mine = profile.owners.iter().any(|owner| owner == person.name);
    html! {
        section.card {
            h3 { (profile.name) " " (state(&profile.state)) }
            p.soft { (capitalized(indefinite(profile.kind))) " " (profile.kind.title()) ", " code { (profile.id) } }
            dl {
                dt { "Owners" }
                dd { @if profile.owners.is_empty() { "nobody: whoever can sign in to it at the network may claim it" }
                     @else { (profile.owners.join(", ")) } }
                dt { "Shared with" } dd { (shared_with(&profile.shared_with)) }
            }
            @for token in &profile.tokens { (token_block(profile, token, token.owner == person.name)) }
            (profile_buttons(profile, mine, person))
        }
    }
}

fn shared_with(SharedWith { users, groups, everybody }: &SharedWith) -> String {
    let everybody = everybody.then(|| "everybody in the role responder or manager".to_owned());
    let groups = groups.iter().map(|group| format!("the group {group}"));
    let names: Vec<_> = everybody.into_iter().chain(groups).chain(users.iter().cloned()).collect();
    if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
}

fn profile_buttons(profile: &Profile, mine: bool, person: &Person) -> Markup {
    let address = [("profile", &*profile.id)];
    let everybody = profile.shared_with.everybody;
    let has = |kind| profile.tokens.iter().any(|token| token.kind == kind && token.owner == person.name);
    html! {
        div.row {
            @for (_, token) in connectable().filter(|(kind, token)| *kind == profile.kind && !has(*token)) {
                form method="post" action="/console" {
                    (hidden(&address))
                    input type="hidden" name="token" value=(token.as_str());
                    button name="action" value="reauthenticate" {
                        @if mine { "Add a token" } @else { "Claim" } " " span.soft { (token.as_str()) }
                    }
                }
            }
            @if mine {
                form method="post" action="/console" {
                    (hidden(&address))
                    input type="hidden" name="to" value=(if everybody { "off" } else { "on" });
                    button role="switch" aria-checked=(everybody) name="action" value="share" {
                        "Shared with everybody: " b { (if everybody { "on" } else { "off" }) }
                    }
                }
                form method="post" action="/console" {
                    (hidden(&address))
                    button.danger name="action" value="give_up" { "Give up ownership" }
                }
            }
            @if mine || profile.owners.is_empty() {
                form method="post" action="/console" {
                    (hidden(&address))
                    button.danger name="action" value="delete_profile" { "Delete the profile" }
                }
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
                dt { "Signed in" } dd { (moment(&token.connected_at)) }
                dt { "A person is needed" }
                dd { @match &token.expires_at { Some(end) => (moment(end)), None => "not as long as it is renewed" } }
                dt { "Scopes" } dd { @if token.scopes.is_empty() { "none" } (codes(&token.scopes)) }
                @if !token.missing_scopes.is_empty() {
                    dt { "Missing scopes" }
                    dd { (codes(&token.missing_scopes)) @if mine { span.soft { "Reauthenticate, and grant them." } } }
                }
                dt { "Uses" }
                dd { @for (usage, readiness) in &token.uses {
                    span.use { (usage.replace('_', " ")) " " (state(readiness)) } " "
                } }
            }
            @if mine {
                div.row {
                    @for switch in switches(profile, token) {
                        (switch_form(&address, switch, token.allow.get(switch.as_str()) == Some(&true)))
                    }
                    form method="post" action="/console" {
                        (hidden(&[("profile", &profile.id), ("token", token.kind.as_str())]))
                        button name="action" value="reauthenticate" { "Reauthenticate" }
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

/// The switches that this token has, from the capability table.
fn switches(profile: &Profile, token: &Token) -> impl Iterator<Item = Switch> {
    profile.kind.capabilities(token.kind).iter().filter_map(|capability| capability.switch)
}

pub(super) fn state(state: &str) -> Markup {
    html! { span.state data-state=(state) { (state.replace('_', " ")) } }
}

fn codes(codes: &[String]) -> Markup {
    html! { @for one in codes { code { (one) } " " } }
}
