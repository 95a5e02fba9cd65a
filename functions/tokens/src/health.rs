//! How things stand, as the caller sees it.
//!
//! The work is bounded, however much a tenant has: so many rows are counted and no more, and the answer says when there
//! would have been more. The colours do not depend on that, because what they need is found by an index of its own.

use std::{collections::BTreeSet, sync::Arc};

use axum::{Json as Answer, extract::State};
use jiff::Timestamp;
use serde::Serialize;
use shared::{
    access::Caller,
    edge::{ApiError, Problem},
    health::{Colour, ProfileState, Standing},
    profile::{Network, ProfileId, TokenKind, Use},
    rule::RuleOf,
    store::profiles::ProfileWithTokens,
    token::{Token, TokenId},
};
use utoipa::ToSchema;

use crate::{Admitted, Tokens};

/// How many rows of profiles and tokens, and how many rules, are read at once.
const PAGE: i32 = 500;
/// So many pages of each are read at most.
const PAGES: usize = 10;

/// How things stand.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    /// The networks at which the organisation has an acquisition token or a rule.
    networks: Vec<NetworkHealth>,
    profiles: ProfileCounts,
    /// What the caller's own tokens are used for, where it takes an owner's permission.
    own_tokens: Vec<TokenUse>,
    /// Whether everything was counted; false for an organisation with thousands of profiles or rules.
    complete: bool,
}

/// How acquisition at a network stands.
#[derive(Serialize, ToSchema)]
struct NetworkHealth {
    network: Network,
    acquisition: Colour,
    /// How many tokens work and are allowed; at most 100 are counted.
    valid_tokens: usize,
    /// What follows and what to do; null where nothing is to be done.
    #[schema(required)]
    detail: Option<String>,
}

/// How many profiles are in which state, as the caller sees them.
#[derive(Default, Serialize, ToSchema)]
struct ProfileCounts {
    valid: u32,
    /// They work, but the caller's own token does not.
    valid_not_mine: u32,
    invalid: u32,
    no_owner: u32,
    /// What follows and what to do; null where nothing is to be done.
    #[schema(required)]
    detail: Option<String>,
}

/// What has become of a use of a token.
#[derive(Serialize, ToSchema)]
struct TokenUse {
    #[schema(value_type = String)]
    profile_id: ProfileId,
    #[schema(value_type = String)]
    token_id: TokenId,
    #[serde(rename = "use")]
    usage: Use,
    /// `running`: it works, is allowed, and a rule names it; `allowed`: no rule yet; `not_allowed`; `expired`.
    state: Standing,
}

/// Tells how things stand.
#[utoipa::path(get, operation_id = "get_health", path = "/v1/health", responses(
    (status = 200, body = Health, description = "Colours, counts, and what the caller's tokens are used for"),
    Problem,
))]
pub(crate) async fn look(
    State(tokens): State<Arc<Tokens>>,
    Admitted(caller): Admitted,
) -> Result<Answer<Health>, ApiError> {
    let now = tokens.clock.now();
    let (ruled, all_rules) = tokens.ruled(&caller).await?;
    let mut seen =
        Seen { caller, ruled, now, networks: BTreeSet::new(), profiles: ProfileCounts::default(), own: vec![] };
    let all_profiles = tokens.look_at_profiles(&mut seen).await?;
    let Seen { caller, ruled, networks: connected, mut profiles, own: own_tokens, .. } = seen;

    let mut networks = Vec::new();
    for network in Network::ALL {
        let valid_tokens = tokens.vault.acquirers(&caller.tenant, network, now).await?.len();
        if valid_tokens > 0 || connected.contains(&network) || ruled.networks.contains(&network) {
            let acquisition = Colour::of(valid_tokens);
            networks.push(NetworkHealth {
                network,
                acquisition,
                valid_tokens,
                detail: acquisition.consequence(network),
            });
        }
    }
    profiles.detail = (profiles.invalid > 0).then(|| INVALID.to_owned());
    Ok(Answer(Health { networks, profiles, own_tokens, complete: all_rules && all_profiles }))
}

/// What it means that a profile is invalid.
const INVALID: &str = "An invalid profile has no token that works: nothing is published or answered as it, and its private \
                       messages are not read. A Page without a valid interaction token still yields posts, but without \
                       author information. One of its owners has to sign in again.";

/// What the rules of an organisation name.
#[derive(Default)]
struct Ruled {
    networks: BTreeSet<Network>,
    profiles: BTreeSet<ProfileId>,
}

impl Ruled {
    fn names(&self, token: &Token, usage: Use) -> bool {
        match usage {
            Use::SearchAcquisition => self.networks.contains(&token.profile.kind().network()),
            _ => self.profiles.contains(&token.profile),
        }
    }
}

/// What was found so far.
struct Seen {
    caller: Caller,
    ruled: Ruled,
    now: Timestamp,
    /// Where there is an acquisition token.
    networks: BTreeSet<Network>,
    profiles: ProfileCounts,
    own: Vec<TokenUse>,
}

impl Seen {
    fn add(&mut self, ProfileWithTokens { profile, tokens }: &ProfileWithTokens) {
        let count = match ProfileState::of(profile.owners.len(), tokens, &self.caller.subject, self.now) {
            ProfileState::Valid => &mut self.profiles.valid,
            ProfileState::ValidNotMine => &mut self.profiles.valid_not_mine,
            ProfileState::Invalid => &mut self.profiles.invalid,
            ProfileState::NoOwner => &mut self.profiles.no_owner,
        };
        *count += 1;
        for token in tokens {
            if token.token == TokenKind::Acquisition {
                self.networks.insert(profile.kind.network());
            }
            if token.owner != self.caller.subject {
                continue;
            }
            let behind_a_switch = profile.kind.capabilities(token.token).iter().filter(|row| row.switch.is_some());
            self.own.extend(behind_a_switch.map(|row| TokenUse {
                profile_id: token.profile.clone(),
                token_id: token.id(),
                usage: row.usage,
                state: Standing::of(token, row, self.ruled.names(token, row.usage), self.now),
            }));
        }
    }
}

impl Tokens {
    /// What the organisation's rules name, and whether these are all of them.
    async fn ruled(&self, caller: &Caller) -> Result<(Ruled, bool), ApiError> {
        let (mut ruled, mut after) = (Ruled::default(), None);
        for _ in 0..PAGES {
            let (page, next) = self.vault.rules(&caller.tenant, after.as_ref(), PAGE).await?;
            for rule in page {
                match rule.of {
                    RuleOf::SearchAcquisition { network } => drop(ruled.networks.insert(network)),
                    RuleOf::PrivateMessages { profile_ids } => ruled.profiles.extend(profile_ids),
                }
            }
            after = next;
            if after.is_none() {
                return Ok((ruled, true));
            }
        }
        Ok((ruled, false))
    }

    /// Looks at the organisation's profiles; tells whether these are all of them.
    async fn look_at_profiles(&self, seen: &mut Seen) -> Result<bool, ApiError> {
        let mut after = None;
        for _ in 0..PAGES {
            let page = self.vault.profiles(&seen.caller.tenant, after.as_ref(), PAGE).await?;
            page.profiles.iter().for_each(|profile| seen.add(profile));
            after = page.next;
            if after.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
