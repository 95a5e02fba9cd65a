//! What the API shows of profiles and tokens.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;
use shared::{
    access::{Group, Sharing, Subject},
    health::ProfileState,
    ladder::Ladder,
    profile::{Kind, Network, ProfileId, TokenKind, Use},
    store::profiles::ProfileWithTokens,
    token::{Allow, Reason, State, Token, TokenId},
};
use utoipa::ToSchema;

use crate::profiles::Deleted;

/// One account at a network, as the caller sees it.
#[derive(Serialize, ToSchema)]
#[schema(as = Profile)]
pub(crate) struct ProfileView {
    /// `<kind>-<id at the network>`.
    #[schema(value_type = String, example = "x_profile-42")]
    id: ProfileId,
    kind: Kind,
    network: Network,
    /// The account's id at the network.
    external_id: String,
    /// The account's name when it was last connected.
    name: String,
    /// The subjects of its owners.
    #[schema(value_type = Vec<String>)]
    owners: Vec<Subject>,
    shared_with: SharedWith,
    state: ProfileState,
    tokens: Vec<TokenView>,
    /// The caller's tokens that ended with the ownership that this request gave up; in no other answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<Deleted>,
}

/// With whom a profile's owners share it: these may have it used on their behalf.
#[derive(Serialize, ToSchema)]
struct SharedWith {
    /// The subjects of people.
    #[schema(value_type = Vec<String>)]
    users: BTreeSet<Subject>,
    /// Groups, as the identity provider names them.
    #[schema(value_type = Vec<String>)]
    groups: BTreeSet<Group>,
    /// Everybody in the role responder or manager.
    everybody: bool,
}

impl From<Sharing> for SharedWith {
    fn from(Sharing { users, groups, everybody }: Sharing) -> Self {
        Self { users, groups, everybody }
    }
}

/// One user's credential for one profile.
#[derive(Serialize, ToSchema)]
#[schema(as = Token)]
pub(crate) struct TokenView {
    /// `<token kind>-<owner>`, unique within the profile.
    #[schema(value_type = String, example = "interaction-alice")]
    id: TokenId,
    token: TokenKind,
    /// The subject of its owner.
    #[schema(value_type = String)]
    owner: Subject,
    /// `active`, `expiring`, `cooling_down`, `expired` or `needs_reauth`.
    state: &'static str,
    /// Why it needs to be reauthenticated.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    /// Until when it is cooling down.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    cooling_until: Option<Timestamp>,
    /// When a person will be needed; null while a machine can renew it for ever.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// When its owner last signed in at the network for it.
    #[schema(value_type = String, format = DateTime)]
    connected_at: Timestamp,
    /// What the network granted.
    scopes: Vec<String>,
    /// What was asked for and not granted.
    missing_scopes: Vec<&'static str>,
    allow: Allow,
    /// For each use `ready`, or why not: `not_allowed`, `missing_scope`, `cooling_down`, `expired`,
    /// `needs_reauth`.
    #[schema(value_type = BTreeMap<String, String>)]
    uses: BTreeMap<Use, &'static str>,
}

impl ProfileView {
    pub(crate) fn of(seen: ProfileWithTokens, caller: &Subject, now: Timestamp, ladder: &Ladder) -> Self {
        let ProfileWithTokens { profile, tokens } = seen;
        Self {
            state: ProfileState::of(profile.owners.len(), &tokens, caller, now),
            network: profile.kind.network(),
            external_id: profile.profile.external_id().to_owned(),
            id: profile.profile,
            kind: profile.kind,
            name: profile.name,
            owners: profile.owners.into_iter().collect(),
            shared_with: profile.shared.into(),
            tokens: tokens.into_iter().map(|token| TokenView::of(token, now, ladder)).collect(),
            ended: None,
        }
    }
}

impl TokenView {
    pub(crate) fn of(token: Token, now: Timestamp, ladder: &Ladder) -> Self {
        let state = token.state_at(now);
        let capabilities = token.profile.kind().capabilities(token.token);
        let uses = capabilities.iter().map(|capability| {
            let answer = token.permits(capability, now).map_or_else(shared::token::Refusal::as_str, |()| "ready");
            (capability.usage, answer)
        });
        Self {
            id: token.id(),
            state: token.state_name(now, ladder),
            reason: if let State::NeedsReauth { reason } = state { Some(reason) } else { None },
            cooling_until: if let State::CoolingDown { cooling_until } = state { Some(cooling_until) } else { None },
            uses: uses.collect(),
            missing_scopes: token.missing_scopes(),
            token: token.token,
            owner: token.owner,
            expires_at: token.expires_at,
            connected_at: token.connected_at,
            scopes: token.scopes,
            allow: token.allow,
        }
    }
}
