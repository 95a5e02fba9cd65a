//! How a profile stands, as the person who looks at it sees it.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{access::Subject, token::Token};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{Allow, State};

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn token(owner: &str, state: State) -> Token {
        Token {
            profile: "facebook_user-1001".parse().unwrap(),
            name: "Alice Meyer".into(),
            token: crate::profile::TokenKind::Acquisition,
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
}
