//! A token's row and what may be written into it: the conditions of `shared::store::renewals`, without a table.
//!
//! Refresh tokens, attempts and generations are small numbers. The clock is coarse: of every moment in the row only
//! is told whether it has passed, and [`super::world`] lets it pass.

use std::sync::LazyLock;

use jiff::{SignedDuration, Timestamp};
use shared::{
    grant::{GrantPlace, SealedGrant},
    network::Terms,
    renewal::{self, Fruitless, Next, QUIET, Refused, Renewal, Renewed},
    secret::SecretHash,
    token::{Happening, Reason, State},
};

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
const A_WHILE: SignedDuration = SignedDuration::from_secs(10);

/// A token's row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Row {
    /// How often its owner signed in again.
    pub(super) connected: u8,
    pub(super) fence: u8,
    pub(super) generation: u8,
    /// The refresh token of the grant.
    pub(super) present: u8,
    /// The refresh token that the grant answers.
    pub(super) answers: u8,
    pub(super) life: Life,
    pub(super) access: Access,
    pub(super) attempt: Option<Attempt>,
    pub(super) candidates: Vec<Answer>,
    pub(super) arrivals: u8,
    /// Whether nobody asks yet, after a failure.
    pub(super) resting: bool,
}

/// Whether the credential is dead, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Life {
    Living,
    Rejected,
    LostAnswer,
}

/// How good the access token still is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Access {
    Fresh,
    /// It works and is to be renewed.
    Ending,
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Attempt {
    /// The refresh token that it spends.
    pub(super) spends: u8,
    pub(super) stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Stage {
    /// Its owner is known by the fence: whatever moves that takes an attempt that runs away.
    Running {
        over: bool,
    },
    Orphaned {
        quiet: bool,
    },
    Unanswered,
}

/// A grant that the network answered to a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Answer {
    pub(super) attempt: u8,
    pub(super) answers: u8,
    /// The new refresh token.
    pub(super) brings: u8,
}

/// What became of an answer that was not committed.
pub(super) enum Kept {
    Candidate(Row),
    ThereAlready,
    Replaced,
}

impl Row {
    /// A row as a sign-in leaves it, a while later.
    pub(super) fn new() -> Self {
        Self {
            connected: 0,
            fence: 1,
            generation: 1,
            present: 0,
            answers: 0,
            life: Life::Living,
            access: Access::Ending,
            attempt: None,
            candidates: Vec::new(),
            arrivals: 0,
            resting: false,
        }
    }

    /// What whoever reads this does next; `None` when there is nothing to do, or nothing yet.
    pub(super) fn next(&self) -> Option<Next> {
        let renewal = self.renewal();
        let usable = self.life == Life::Living && self.access != Access::Over;
        let over = self.life != Life::Living && !renewal.may_revive(self.life.state());
        if over || (usable && self.access == Access::Fresh) {
            return None;
        }
        match renewal.next(fingerprint(self.present), true, usable.then_some(NOW + A_WHILE), NOW) {
            Next::Wait(_) | Next::Later(_) => None,
            next => Some(next),
        }
    }

    /// What whoever was refused does, having read this.
    pub(super) fn refused(&self, spent: u8, doubtful: bool) -> Refused {
        self.renewal().refused(fingerprint(spent), doubtful, Reason::RefreshRejected)
    }

    pub(super) fn begin(&self, held: &Self, spends: u8, tried: Option<u8>) -> Option<Self> {
        let mut row = self.if_unchanged(held)?;
        row.fence = held.fence + 1;
        if let Some(candidate) = tried {
            row.generation = row.fence;
            row.fence += 1;
            Answer { answers: row.answers, brings: row.present, .. } = held.candidate(candidate);
            row.forget(candidate);
        }
        row.attempt = Some(Attempt { spends, stage: Stage::Running { over: false } });
        Some(row)
    }

    pub(super) fn orphan(&self, held: &Self) -> Option<Self> {
        let mut row = self.if_unchanged(held)?;
        let running = |attempt: &Attempt| matches!(attempt.stage, Stage::Running { .. });
        let spends = self.attempt.filter(running)?.spends;
        row.attempt = Some(Attempt { spends, stage: Stage::Orphaned { quiet: false } });
        Some(row)
    }

    pub(super) fn end(&self, held: &Self, fruitless: Fruitless, spent: u8, doubtful: bool) -> Option<Self> {
        let mut row = self.if_unchanged(held)?;
        row.attempt = Renewal::after(fruitless, fingerprint(spent), doubtful).map(|after| {
            assert_eq!((&after.fingerprint, &after.stage), (fingerprint(spent), &renewal::Stage::Unanswered));
            Attempt { spends: spent, stage: Stage::Unanswered }
        });
        row.resting = true;
        Some(row)
    }

    pub(super) fn adopt(&self, held: &Self, candidate: u8) -> Option<Self> {
        let mut row = self.if_unchanged(held)?;
        row.fence = held.fence.max(candidate) + 1;
        row.forget(candidate);
        row.renew(held, held.candidate(candidate));
        Some(row)
    }

    pub(super) fn commit(&self, held: &Self, answer: Answer) -> Option<Self> {
        if self.fence != answer.attempt || self.generation >= answer.attempt {
            return None;
        }
        let mut row = self.clone();
        row.candidates.retain(|candidate| !held.candidates.contains(candidate));
        row.renew(held, answer);
        Some(row)
    }

    pub(super) fn keep(&self, held: &Self, answer: Answer) -> Kept {
        let kept = self.candidates.iter().any(|candidate| candidate.attempt == answer.attempt);
        if self.generation == answer.attempt || kept {
            return Kept::ThereAlready;
        }
        if self.connected != held.connected {
            return Kept::Replaced;
        }
        let mut row = self.clone();
        row.candidates.push(answer);
        row.candidates.sort_unstable();
        row.arrivals += 1;
        Kept::Candidate(row)
    }

    pub(super) fn die(&self, held: &Self, reason: Reason) -> Option<Self> {
        let mut row = self.if_unchanged(held).filter(|row| row.arrivals == held.arrivals)?;
        row.fence = held.fence + 1;
        row.attempt = None;
        row.resting = false;
        if let Some(state) = held.life.state().after(Happening::Died(reason)) {
            row.life = Life::of(state);
        }
        Some(row)
    }

    /// The owner signed in again; the network gave the refresh token `brings`.
    pub(super) fn sign_in(&self, held: &Self, brings: u8) -> Option<Self> {
        self.if_unchanged(held).filter(|row| row.arrivals == held.arrivals)?;
        let generation = held.fence + 1;
        let connected = held.connected + 1;
        Some(Self { connected, fence: generation, generation, present: brings, access: Access::Fresh, ..Self::new() })
    }

    fn if_unchanged(&self, held: &Self) -> Option<Self> {
        ((self.fence, self.generation) == (held.fence, held.generation)).then(|| self.clone())
    }

    fn renew(&mut self, held: &Self, answer: Answer) {
        self.generation = answer.attempt;
        self.present = answer.brings;
        self.answers = answer.answers;
        self.access = Access::Fresh;
        self.attempt = None;
        self.resting = false;
        if let Some(state) = held.life.state().after(Happening::Found) {
            self.life = Life::of(state);
        }
    }

    fn forget(&mut self, candidate: u8) {
        self.candidates.retain(|other| other.attempt != candidate);
    }

    pub(super) fn candidate(&self, attempt: u8) -> Answer {
        *self.candidates.iter().find(|candidate| candidate.attempt == attempt).unwrap()
    }

    /// This row as the product reads it.
    fn renewal(&self) -> Renewal {
        let when = |passed| if passed { NOW - A_WHILE } else { NOW + A_WHILE };
        let stage = |stage| match stage {
            Stage::Running { over } => renewal::Stage::Running { owner: String::new(), until: when(over) },
            Stage::Orphaned { quiet } => renewal::Stage::Orphaned { since: when(quiet) - QUIET },
            Stage::Unanswered => renewal::Stage::Unanswered,
        };
        Renewal {
            fence: self.fence.into(),
            generation: self.generation.into(),
            attempt: self.attempt.map(|attempt| renewal::Attempt {
                fingerprint: fingerprint(attempt.spends).clone(),
                stage: stage(attempt.stage),
            }),
            candidates: self.candidates.iter().map(|answer| (answer.attempt.into(), answer.renewed())).collect(),
            failures: 0,
            retry_at: self.resting.then(|| when(false)),
        }
    }
}

impl Answer {
    fn renewed(self) -> Renewed {
        static PLACE: LazyLock<GrantPlace> = LazyLock::new(|| {
            let [profile, token] = ["x_profile-42", "interaction-alice"];
            GrantPlace::of(&"acme".parse().unwrap(), &profile.parse().unwrap(), &token.parse().unwrap(), 0)
        });
        let secret = || vec![self.brings].into();
        let place = GrantPlace { generation: self.attempt.into(), ..PLACE.clone() };
        let grant = SealedGrant { place, access_token: secret(), refresh_token: Some(secret()) };
        Renewed { answers: fingerprint(self.answers).clone(), terms: Terms::default(), grant }
    }
}

impl Life {
    fn state(self) -> State {
        match self {
            Self::Living => State::Active,
            Self::Rejected => State::NeedsReauth { reason: Reason::RefreshRejected },
            Self::LostAnswer => State::NeedsReauth { reason: Reason::LostAnswer },
        }
    }

    fn of(state: State) -> Self {
        [Self::Living, Self::Rejected, Self::LostAnswer].into_iter().find(|life| life.state() == state).unwrap()
    }
}

/// What a row says of a refresh token.
fn fingerprint(refresh_token: u8) -> &'static SecretHash {
    static ALL: LazyLock<Vec<SecretHash>> =
        LazyLock::new(|| (0..u8::MAX).map(|number| SecretHash::of(&format!("rt{number}").into())).collect());
    &ALL[usize::from(refresh_token)]
}
