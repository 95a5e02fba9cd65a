//! Keeping a rotating grant alive: who may ask the network, and what is known of the asking.
//!
//! A refresh token is spent by using it, so everything that may happen to a refresh is written down
//! where the next reader finds it, and this module says, without any I/O, what that reader may do.
//! The invariants:
//!
//! - Each request to the network belongs to an attempt with a number of its own, the *fence*. The
//!   grant that an attempt brings is sealed for that number and becomes the generation of the token.
//!   An attempt commits only while its fence is the newest and the generation is the one it began with.
//! - An attempt is written down before its request is sent, with the fingerprint of the refresh token
//!   that it spends. While it may be running nobody else asks.
//! - An attempt whose holder vanished may have left its answer in the spill queue. It is marked
//!   *orphaned* first, by a write, which shows that the table works; only after [`QUIET`] more, in which
//!   the queue is read several times, is the same refresh token sent again.
//! - A refresh token that may have been spent is sent once more only when the access token that is at
//!   hand no longer works: the network may end everything when it sees a token twice.
//! - An answer that came too late to be committed is a *candidate*. The one that answers the present
//!   refresh token is adopted; any other is tried when the present one is refused.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    grant::SealedGrant,
    network::Terms,
    secret::SecretHash,
    token::{Reason, State},
};

/// For so long an orphaned attempt is left alone. The spill queue is read at least every 30 seconds.
pub const QUIET: SignedDuration = SignedDuration::from_secs(60);
/// The first wait after a failure; it doubles with each further one.
const FIRST_WAIT: SignedDuration = SignedDuration::from_secs(5);
/// The longest wait after a failure.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_mins(15);

/// What a token's row says of refreshing it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renewal {
    /// The number of the newest attempt, never below the generation.
    pub fence: u64,
    /// What is known of the last request, if its end is not known or it did not end well.
    pub attempt: Option<Attempt>,
    /// Answers that came too late to be committed, by the attempt that brought them.
    pub candidates: BTreeMap<u64, Renewed>,
    /// How often asking failed since it last went well.
    pub failures: u32,
    /// Nobody asks before.
    pub retry_at: Option<Timestamp>,
}

/// A request to the network with a refresh token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The refresh token that it spends.
    pub fingerprint: SecretHash,
    /// How far it is known to have come.
    #[serde(flatten)]
    pub stage: Stage,
}

/// How far an attempt is known to have come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Stage {
    /// Somebody is at it.
    Running {
        /// Who: recognises a write whose answer was lost.
        owner: String,
        /// Until then at the latest.
        until: Timestamp,
        /// Whether an earlier request with the same refresh token was not answered.
        doubtful: bool,
    },
    /// Whoever was at it has vanished.
    Orphaned {
        /// When that was noticed.
        since: Timestamp,
    },
    /// The request was sent and no answer came.
    Unanswered,
}

/// An answer of the network to a refresh, sealed for the attempt that brought it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// The refresh token that it answers.
    pub answers: SecretHash,
    /// What the network said of it.
    pub terms: Terms,
    /// The new grant; its generation is the attempt.
    pub grant: SealedGrant,
}

/// What whoever needs a new access token does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Somebody is at it; look again, until then.
    Wait(Timestamp),
    /// This candidate is the network's answer to the present refresh token.
    Adopt(u64),
    /// Write down that whoever was at it has vanished.
    Orphan,
    /// Not before then.
    Later(Timestamp),
    /// Ask the network.
    Ask {
        /// Whether an earlier request with this refresh token was not answered: this is the one retry.
        doubtful: bool,
    },
}

/// How a request ended that brought no grant, where the network did not refuse the refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fruitless {
    /// The network did nothing: the refresh token is as it was.
    Untouched,
    /// It was sent and not answered: the refresh token may be spent.
    Unanswered,
}

/// What to do when the network refused the present refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// This candidate answers it: it was spent by an attempt that went well.
    Adopt(u64),
    /// Try this candidate, the newest.
    Try(u64),
    /// It is dead.
    Dead(Reason),
}

impl Renewal {
    /// What to do next with the refresh token `present`, when the access token works until `usable_until`.
    #[must_use]
    pub fn next(&self, present: &SecretHash, usable_until: Option<Timestamp>, now: Timestamp) -> Next {
        if let Some(Attempt { stage: Stage::Running { until, .. }, .. }) = &self.attempt
            && now < *until
        {
            return Next::Wait(*until);
        }
        if let Some(answer) = self.answer_to(present) {
            return Next::Adopt(answer);
        }
        let doubtful = match self.attempt.as_ref().filter(|attempt| attempt.fingerprint == *present) {
            Some(Attempt { stage: Stage::Running { .. }, .. }) => return Next::Orphan,
            Some(Attempt { stage: Stage::Orphaned { since }, .. }) if now < *since + QUIET => {
                return Next::Later(*since + QUIET);
            }
            Some(_) => true,
            None => false,
        };
        let held_back = usable_until.filter(|end| doubtful && now < *end);
        match self.retry_at.into_iter().chain(held_back).max() {
            Some(at) if now < at => Next::Later(at),
            _ => Next::Ask { doubtful },
        }
    }

    /// What to do when the network refuses the refresh token `present`; the row was read again since.
    #[must_use]
    pub fn refused(&self, present: &SecretHash, doubtful: bool) -> Refused {
        match (self.answer_to(present), self.candidates.last_key_value()) {
            (Some(answer), _) => Refused::Adopt(answer),
            (None, Some((newest, _))) => Refused::Try(*newest),
            (None, None) if doubtful => Refused::Dead(Reason::LostAnswer),
            (None, None) => Refused::Dead(Reason::RefreshRejected),
        }
    }

    /// What is known of the attempt with `fingerprint` after it was fruitless.
    #[must_use]
    pub fn after(fruitless: Fruitless, fingerprint: &SecretHash, doubtful: bool) -> Option<Attempt> {
        // that the network did nothing now does not tell what it did before
        let unanswered = doubtful || fruitless == Fruitless::Unanswered;
        unanswered.then(|| Attempt { fingerprint: fingerprint.clone(), stage: Stage::Unanswered })
    }

    /// The candidates that are worthless once an answer to `present` is committed: it proves that `present` was the living one.
    pub fn outlived<'a>(&'a self, present: &'a SecretHash) -> impl Iterator<Item = u64> + 'a {
        self.candidates.iter().filter(|(_, candidate)| candidate.answers != *present).map(|(attempt, _)| *attempt)
    }

    /// Whether a token in `state` may come back to life without a person: its answer was lost and may yet be found.
    #[must_use]
    pub fn may_revive(&self, state: State) -> bool {
        let lost = matches!(state, State::NeedsReauth { reason: Reason::LostAnswer });
        lost && (self.attempt.is_some() || !self.candidates.is_empty())
    }

    /// Whether somebody is at it.
    #[must_use]
    pub fn is_running(&self, now: Timestamp) -> bool {
        matches!(&self.attempt, Some(Attempt { stage: Stage::Running { until, .. }, .. }) if now < *until)
    }

    /// How long to wait after a failure that says nothing of its own, this one included.
    #[must_use]
    pub fn wait(&self) -> SignedDuration {
        (FIRST_WAIT * (1 << self.failures.min(8))).min(LONGEST_WAIT)
    }

    fn answer_to(&self, present: &SecretHash) -> Option<u64> {
        let answers = self.candidates.iter().rev().find(|(_, candidate)| candidate.answers == *present);
        answers.map(|(attempt, _)| *attempt)
    }
}
