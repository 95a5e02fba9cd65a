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
//! - A refresh token that works once and may have been spent is sent once more only when the access token
//!   that is at hand no longer works: the network may end everything when it sees a token twice. One that works
//!   again and again is just sent again.
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
    /// The number of the attempt that brought the present grant.
    pub generation: u64,
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
    /// What to do next with the refresh token `present`, which works once or, where it is not `single_use`, again and
    /// again, when the access token works until `usable_until`.
    #[must_use]
    pub fn next(
        &self,
        present: &SecretHash,
        single_use: bool,
        usable_until: Option<Timestamp>,
        now: Timestamp,
    ) -> Next {
        if let Some(until) = self.running_until(now) {
            return Next::Wait(until);
        }
        if let Some(answer) = self.answer_to(present) {
            return Next::Adopt(answer);
        }
        let spending = |attempt: &&Attempt| single_use && attempt.fingerprint == *present;
        let doubtful = match self.attempt.as_ref().filter(spending) {
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

    /// What to do when the network refuses the refresh token `present` for `reason`; the row was read again since.
    #[must_use]
    pub fn refused(&self, present: &SecretHash, doubtful: bool, reason: Reason) -> Refused {
        match (self.answer_to(present), self.candidates.last_key_value()) {
            (Some(answer), _) => Refused::Adopt(answer),
            (None, Some((newest, _))) => Refused::Try(*newest),
            (None, None) if doubtful => Refused::Dead(Reason::LostAnswer),
            (None, None) => Refused::Dead(reason),
        }
    }

    /// What is known of the attempt with `fingerprint` after it was fruitless.
    #[must_use]
    pub fn after(fruitless: Fruitless, fingerprint: &SecretHash, doubtful: bool) -> Option<Attempt> {
        // that the network did nothing now does not tell what it did before
        let unanswered = doubtful || fruitless == Fruitless::Unanswered;
        unanswered.then(|| Attempt { fingerprint: fingerprint.clone(), stage: Stage::Unanswered })
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
        self.running_until(now).is_some()
    }

    fn running_until(&self, now: Timestamp) -> Option<Timestamp> {
        match &self.attempt {
            Some(Attempt { stage: Stage::Running { until, .. }, .. }) if now < *until => Some(*until),
            _ => None,
        }
    }

    /// How long to wait after a failure that says nothing of its own, this one included.
    #[must_use]
    pub fn wait(&self) -> SignedDuration {
        (FIRST_WAIT * (1 << self.failures.min(8))).min(LONGEST_WAIT)
    }

    fn answer_to(&self, present: &SecretHash) -> Option<u64> {
        // where the network does not replace refresh tokens, an older grant answers the present one too
        let mut newer = self.candidates.range(self.generation + 1..);
        newer.rfind(|(_, candidate)| candidate.answers == *present).map(|(attempt, _)| *attempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{access::TenantId, grant::GrantPlace};

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn at(seconds: i64) -> Timestamp {
        NOW + SignedDuration::from_secs(seconds)
    }

    fn present() -> SecretHash {
        SecretHash::of(&"the present refresh token".into())
    }

    fn another() -> SecretHash {
        SecretHash::of(&"another refresh token".into())
    }

    /// Nothing is known but that there were attempts before.
    fn rested() -> Renewal {
        Renewal { fence: 5, ..Renewal::default() }
    }

    fn running(seconds: i64) -> Stage {
        Stage::Running { owner: "somebody".into(), until: at(seconds) }
    }

    fn orphaned(seconds: i64) -> Stage {
        Stage::Orphaned { since: at(seconds) }
    }

    impl Renewal {
        fn attempted(self, fingerprint: SecretHash, stage: Stage) -> Self {
            Self { attempt: Some(Attempt { fingerprint, stage }), ..self }
        }

        fn answered(mut self, attempt: u64, answers: SecretHash) -> Self {
            let tenant: TenantId = "acme".parse().unwrap();
            let (profile, token) = ("x_profile-42".parse().unwrap(), "interaction-alice".parse().unwrap());
            let place = GrantPlace::of(&tenant, &profile, &token, attempt);
            let grant = SealedGrant { place, access_token: vec![1].into(), refresh_token: Some(vec![2].into()) };
            self.candidates.insert(attempt, Renewed { answers, terms: Terms::default(), grant });
            self
        }

        fn resting(self, seconds: i64) -> Self {
            Self { retry_at: Some(at(seconds)), ..self }
        }
    }

    // S43, S44, S46
    #[test]
    fn whoever_needs_an_access_token_waits_for_others_looks_for_late_answers_and_asks_last() {
        let (ask, ask_again) = (Next::Ask { doubtful: false }, Next::Ask { doubtful: true });
        for (row, usable_for, next) in [
            (rested(), None, ask),
            (rested(), Some(100), ask),
            (rested().attempted(present(), running(1)), None, Next::Wait(at(1))),
            (rested().attempted(present(), running(1)).answered(4, present()), None, Next::Wait(at(1))),
            (rested().attempted(present(), running(0)), None, Next::Orphan),
            (rested().attempted(present(), running(0)), Some(100), Next::Orphan),
            (rested().attempted(present(), running(0)).answered(4, present()), None, Next::Adopt(4)),
            (rested().attempted(another(), running(0)), None, ask),
            (rested().attempted(present(), orphaned(0)), None, Next::Later(at(60))),
            (rested().attempted(present(), orphaned(-59)), None, Next::Later(at(1))),
            (rested().attempted(present(), orphaned(-60)), None, ask_again),
            (rested().attempted(present(), orphaned(-60)), Some(1), Next::Later(at(1))),
            (rested().attempted(present(), orphaned(-60)), Some(0), ask_again),
            (rested().attempted(present(), orphaned(-1)).answered(4, present()), None, Next::Adopt(4)),
            (rested().attempted(another(), orphaned(0)), None, ask),
            (rested().attempted(present(), Stage::Unanswered), None, ask_again),
            (rested().attempted(present(), Stage::Unanswered), Some(100), Next::Later(at(100))),
            (rested().attempted(another(), Stage::Unanswered), Some(100), ask),
            (rested().answered(3, present()).answered(4, present()), Some(100), Next::Adopt(4)),
            (rested().answered(3, present()).answered(4, another()), None, Next::Adopt(3)),
            (rested().answered(4, another()), None, ask),
            (Renewal { generation: 4, ..rested() }.answered(4, present()), None, ask),
            (Renewal { generation: 3, ..rested() }.answered(4, present()), None, Next::Adopt(4)),
            (rested().resting(30), None, Next::Later(at(30))),
            (rested().resting(0), None, ask),
            (rested().resting(30).answered(4, present()), None, Next::Adopt(4)),
            (rested().resting(30).attempted(present(), Stage::Unanswered), Some(100), Next::Later(at(100))),
            (rested().resting(200).attempted(present(), Stage::Unanswered), Some(100), Next::Later(at(200))),
        ] {
            let usable_until = usable_for.map(at);
            assert_eq!(row.next(&present(), true, usable_until, NOW), next, "{row:?}, usable for {usable_for:?} s");
        }
    }

    #[test]
    fn a_refresh_token_that_works_again_and_again_is_sent_again_without_a_doubt() {
        let ask = Next::Ask { doubtful: false };
        for (row, next) in [
            (rested().attempted(present(), running(1)), Next::Wait(at(1))),
            (rested().attempted(present(), running(0)), ask),
            (rested().attempted(present(), orphaned(0)), ask),
            (rested().attempted(present(), Stage::Unanswered), ask),
            (rested().attempted(present(), Stage::Unanswered).resting(30), Next::Later(at(30))),
        ] {
            assert_eq!(row.next(&present(), false, Some(at(100)), NOW), next, "{row:?}");
        }
    }

    // S51
    #[test]
    fn a_refused_refresh_token_is_dead_only_when_no_late_answer_is_left_to_try() {
        for (row, doubtful, refused) in [
            (rested().answered(3, present()).answered(4, another()), false, Refused::Adopt(3)),
            (rested().answered(3, present()), true, Refused::Adopt(3)),
            (rested().answered(3, another()).answered(4, another()), false, Refused::Try(4)),
            (rested().answered(3, another()), true, Refused::Try(3)),
            (rested(), true, Refused::Dead(Reason::LostAnswer)),
            (rested(), false, Refused::Dead(Reason::RefreshRejected)),
        ] {
            assert_eq!(
                row.refused(&present(), doubtful, Reason::RefreshRejected),
                refused,
                "{row:?}, doubtful: {doubtful}"
            );
        }
    }

    #[test]
    fn a_doubt_stays_until_the_network_answers() {
        for (fruitless, doubtful, doubt) in [
            (Fruitless::Untouched, false, false),
            (Fruitless::Untouched, true, true),
            (Fruitless::Unanswered, false, true),
            (Fruitless::Unanswered, true, true),
        ] {
            let unanswered = Attempt { fingerprint: present(), stage: Stage::Unanswered };
            let after = Renewal::after(fruitless, &present(), doubtful);
            assert_eq!(after, doubt.then_some(unanswered), "{fruitless:?}, doubtful: {doubtful}");
        }
    }

    #[test]
    fn only_a_token_whose_answer_was_lost_comes_back_to_life_and_only_by_an_answer() {
        let ended = |reason| State::NeedsReauth { reason };
        for (row, state, may_revive) in [
            (rested().answered(4, another()), ended(Reason::LostAnswer), true),
            (rested().attempted(present(), Stage::Unanswered), ended(Reason::LostAnswer), true),
            (rested(), ended(Reason::LostAnswer), false),
            (rested().answered(4, present()), ended(Reason::RefreshRejected), false),
            (rested().answered(4, present()), ended(Reason::RevokedByUser), false),
            (rested().answered(4, present()), State::Expired, false),
        ] {
            assert_eq!(row.may_revive(state), may_revive, "{row:?}, {state:?}");
        }
    }

    #[test]
    fn each_failure_doubles_the_wait_up_to_a_quarter_of_an_hour() {
        let wait = |failures| Renewal { failures, ..rested() }.wait().as_secs();
        assert_eq!([0, 1, 2, 7, 8, 9, u32::MAX].map(wait), [5, 10, 20, 640, 900, 900, 900]);
    }
}
