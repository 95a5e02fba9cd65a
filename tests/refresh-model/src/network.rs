//! The network: which refresh tokens it gave, and which of them it still takes.

/// How a network treats a refresh token that was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Policy {
    /// X: it is spent, and using it again ends everything that came from the same sign-in.
    EndsTheFamily,
    /// It is spent, and refused when it is used again.
    Refuses,
    /// It works on, beside the new one.
    KeepsTheOld,
    /// It works on, and there is no new one, as at `YouTube`.
    NeverRotates,
}

/// What the network knows. Refresh tokens are numbers, in the order in which they were given.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Network {
    policy: Policy,
    /// By refresh token: the sign-in that it comes from, and whether it was used.
    given: Vec<(usize, bool)>,
    /// By sign-in.
    families: Vec<Family>,
    /// Refresh tokens of requests that are still on their way though nobody waits for the answer.
    pub(super) wandering: Vec<u8>,
}

/// What became of a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Family {
    Living,
    /// The person took the permission back.
    Revoked,
    /// A refresh token was used twice.
    Reused,
}

impl Network {
    pub(super) fn new(policy: Policy) -> Self {
        Self { policy, given: vec![(0, false)], families: vec![Family::Living], wandering: Vec::new() }
    }

    /// Asks with a refresh token; tells the one that takes its place.
    pub(super) fn ask(&mut self, token: u8) -> Option<u8> {
        let (family, used) = self.given[usize::from(token)];
        if !self.honours(token) {
            if used && self.policy == Policy::EndsTheFamily && self.families[family] == Family::Living {
                self.families[family] = Family::Reused;
            }
            return None;
        }
        self.given[usize::from(token)].1 = true;
        Some(if self.policy == Policy::NeverRotates { token } else { self.give(family) })
    }

    /// Whether it would renew the grant for this refresh token.
    pub(super) fn honours(&self, token: u8) -> bool {
        let (family, used) = self.given[usize::from(token)];
        let works_on = matches!(self.policy, Policy::KeepsTheOld | Policy::NeverRotates);
        self.families[family] == Family::Living && (works_on || !used)
    }

    /// Refresh tokens of the newest sign-in that it takes.
    pub(super) fn honoured(&self) -> impl Iterator<Item = u8> {
        let newest = (0..).zip(&self.given).filter(|(_, (family, _))| *family == self.families.len() - 1);
        newest.map(|(token, _)| token).filter(|token| self.honours(*token))
    }

    /// What became of the newest sign-in.
    pub(super) fn family(&self) -> Family {
        self.families[self.families.len() - 1]
    }

    /// Whether the refresh token comes from the newest sign-in.
    pub(super) fn is_of_newest(&self, token: u8) -> bool {
        self.given[usize::from(token)].0 == self.families.len() - 1
    }

    /// The person signs in again.
    pub(super) fn sign_in(&mut self) -> u8 {
        self.families.push(Family::Living);
        self.give(self.families.len() - 1)
    }

    /// The person takes the permission back; whether that changes anything.
    pub(super) fn revoke(&mut self) -> bool {
        let newest = self.families.len() - 1;
        let living = self.families[newest] == Family::Living;
        self.families[newest] = if living { Family::Revoked } else { self.families[newest] };
        living
    }

    fn give(&mut self, family: usize) -> u8 {
        self.given.push((family, false));
        u8::try_from(self.given.len() - 1).unwrap()
    }
}
