//! How things stand: a profile in the eyes of whoever looks, acquisition at a network, and what a token is used for.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    access::Subject,
    profile::{Capability, Network, Use},
    token::Token,
};

/// The state of a profile in the eyes of one caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProfileState {
    /// It works, and so does the caller's own token if there is one to expect.
    Valid,
    /// It works, but the caller's own token does not.
    ValidNotMine,
    /// No token of it works.
    Invalid,
    /// Nobody owns it; it can be claimed.
    NoOwner,
}

impl ProfileState {
    /// The state of a profile with these owners and tokens for `caller` at `now`.
    ///
    /// "Own token" is one that the caller has: whoever has none sees a profile that works as
    /// valid.
    pub fn of<'a>(
        owners: usize,
        tokens: impl IntoIterator<Item = &'a Token>,
        caller: &Subject,
        now: Timestamp,
    ) -> Self {
        if owners == 0 {
            return Self::NoOwner;
        }
        let (mut any, mut mine, mut mine_works) = (false, false, false);
        for token in tokens {
            let works = !token.state_at(now).is_over();
            any |= works;
            if token.owner == *caller {
                mine = true;
                mine_works |= works;
            }
        }
        match (any, mine && !mine_works) {
            (false, _) => Self::Invalid,
            (true, true) => Self::ValidNotMine,
            (true, false) => Self::Valid,
        }
    }
}

/// How acquisition at a network stands, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Colour {
    /// Two or more tokens acquire: when one ends, there is no gap.
    Green,
    /// One token acquires.
    Yellow,
    /// None does.
    Red,
}

impl Colour {
    /// The colour of a network at which so many tokens [acquire](acquires).
    #[must_use]
    pub fn of(valid_tokens: usize) -> Self {
        match valid_tokens {
            0 => Self::Red,
            1 => Self::Yellow,
            _ => Self::Green,
        }
    }

    /// The name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Green => "green",
            Self::Yellow => "yellow",
            Self::Red => "red",
        }
    }

    /// What follows from it and what to do, in words for people; `None` where nothing is to be done.
    #[must_use]
    pub fn consequence(self, network: Network) -> Option<String> {
        let network = network.title();
        match self {
            Self::Green => None,
            Self::Yellow => Some(format!(
                "Only one allowed token at {network} works. When it ends, acquisition stops, and posts are lost for good. \
                 Connect another account and allow it: two tokens at least are recommended, and more bring in more."
            )),
            Self::Red => Some(format!(
                "No allowed token at {network} works, so acquisition has stopped. Posts that appear until one works again \
                 are lost for good. Sign in again, or connect another account and allow it: two tokens at least are \
                 recommended."
            )),
        }
    }
}

/// Whether public posts come in by this token: it works and is allowed. One that rests for a while still counts, because
/// a limit passes by itself.
#[must_use]
pub fn acquires(token: &Token, now: Timestamp) -> bool {
    let mut capabilities = token.profile.kind().capabilities(token.token).iter();
    let capability = capabilities.find(|row| row.usage == Use::SearchAcquisition);
    capability.is_some_and(|capability| matches!(Standing::of(token, capability, true, now), Standing::Running))
}

/// What has become of a use of a token that its owner has to allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// The token works, is allowed, and a rule names it.
    Running,
    /// It waits for a rule.
    Allowed,
    /// Its owner has not allowed it, or the network has not granted what it takes.
    NotAllowed,
    /// Its owner has to sign in again.
    Expired,
}

impl Standing {
    /// How a token stands to `capability` at `now`, where `ruled` says whether a rule names it.
    #[must_use]
    pub fn of(token: &Token, capability: &Capability, ruled: bool, now: Timestamp) -> Self {
        let granted = capability.scopes.iter().all(|scope| token.scopes.iter().any(|granted| granted == scope));
        let allowed = granted && capability.switch.is_none_or(|switch| token.allow.permits(switch));
        match (token.state_at(now).is_over(), allowed, ruled) {
            (true, ..) => Self::Expired,
            (false, false, _) => Self::NotAllowed,
            (false, true, false) => Self::Allowed,
            (false, true, true) => Self::Running,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        profile::TokenKind,
        token::{Allow, Reason, State},
    };

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn token(owner: &str, state: State) -> Token {
        Token {
            profile: "facebook_user-1001".parse().unwrap(),
            name: "Alice Meyer".into(),
            token: TokenKind::Acquisition,
            owner: owner.parse().unwrap(),
            state,
            scopes: vec![],
            allow: Allow::default(),
            expires_at: None,
            access_expires_at: None,
            connected_at: NOW,
            given_at: None,
            check_at: None,
            considered_at: NOW,
            app: "app".into(),
            login: "1001".into(),
            generation: 1,
        }
    }

    #[test]
    fn a_profile_is_seen_as_the_product_says() {
        let (works, over) = (State::Active, State::Expired);
        for (owners, tokens, seen) in [
            (0, vec![token("bob", works)], ProfileState::NoOwner),
            (1, vec![], ProfileState::Invalid),
            (1, vec![token("alice", over)], ProfileState::Invalid),
            (1, vec![token("alice", works)], ProfileState::Valid),
            (2, vec![token("alice", over), token("bob", works)], ProfileState::ValidNotMine),
            (2, vec![token("alice", works), token("bob", over)], ProfileState::Valid),
            (1, vec![token("bob", works)], ProfileState::Valid),
        ] {
            assert_eq!(ProfileState::of(owners, &tokens, &"alice".parse().unwrap(), NOW), seen, "{tokens:?}");
        }
    }

    #[test]
    fn two_tokens_are_green_one_is_yellow_and_none_is_red() {
        for (valid, colour, worries) in
            [(0, Colour::Red, true), (1, Colour::Yellow, true), (2, Colour::Green, false), (50, Colour::Green, false)]
        {
            assert_eq!(Colour::of(valid), colour, "{valid}");
            assert_eq!(colour.consequence(Network::Facebook).is_some(), worries, "{valid}");
        }
        assert!(Colour::Green < Colour::Yellow && Colour::Yellow < Colour::Red, "from best to worst");
    }

    #[test]
    fn a_use_runs_when_the_token_works_is_allowed_and_a_rule_names_it() {
        use Standing::{Allowed, Expired, NotAllowed, Running};
        let resting = State::CoolingDown { cooling_until: NOW + jiff::SignedDuration::from_mins(5) };
        let dead = State::NeedsReauth { reason: Reason::RevokedByUser };
        for (state, granted, allowed, ruled, standing, counts) in [
            (State::Active, true, true, true, Running, true),
            (State::Active, true, true, false, Allowed, true),
            (State::Active, true, false, true, NotAllowed, false),
            (State::Active, false, true, true, NotAllowed, false),
            (resting, true, true, true, Running, true),
            (State::Expired, true, true, true, Expired, false),
            (dead, true, true, false, Expired, false),
        ] {
            let mut token = token("alice", state);
            token.scopes = if granted { vec!["pages_read_engagement".into()] } else { vec![] };
            token.allow.search_acquisition = allowed;
            let [capability] = token.profile.kind().capabilities(token.token) else { panic!("one capability") };
            assert_eq!(Standing::of(&token, capability, ruled, NOW), standing, "{token:?} {ruled}");
            assert_eq!(acquires(&token, NOW), counts, "{token:?}");
        }
        let ended = Token { expires_at: Some(NOW), ..token("alice", State::Active) };
        assert!(!acquires(&ended, NOW), "the sweep has not been there yet");
    }
}
