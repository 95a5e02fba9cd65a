//! When a token's owner is warned of its end.
//!
//! The ladder is a tenant's setting, and a changed one counts from now: each rung knows since when it stands there, and
//! speaks of no moment before. A new rung says nothing of the tokens that are past it already, one that stays misses
//! nothing, and one that is taken away is silent at once.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// The rungs that every tenant begins with, in days before the end.
const FIRST: [u16; 5] = [30, 15, 7, 3, 1];
/// A ladder has so many rungs at most.
const MOST: usize = 10;
/// Nobody is warned longer before.
const LONGEST: u16 = 365;

/// When a token's owner is warned: so many days before its end, largest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ladder(Vec<Rung>);

/// One warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Rung {
    days: u16,
    since: Timestamp,
}

/// Days that are no ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a ladder has 1 to {MOST} different numbers of days, each from 1 to {LONGEST}")]
pub struct BadLadder;

impl Default for Ladder {
    fn default() -> Self {
        Self(FIRST.map(|days| Rung { days, since: Timestamp::UNIX_EPOCH }).to_vec())
    }
}

impl Ladder {
    /// The ladder with these rungs, set in the place of this one at `now`.
    ///
    /// # Errors
    /// When they are none, too many, too long or there twice.
    pub fn changed(&self, days: &[u16], now: Timestamp) -> Result<Self, BadLadder> {
        let distinct: BTreeSet<u16> = days.iter().copied().collect();
        let fits = (1..=MOST).contains(&days.len()) && distinct.len() == days.len();
        if !fits || !distinct.iter().all(|days| (1..=LONGEST).contains(days)) {
            return Err(BadLadder);
        }
        let rung = |days| self.0.iter().find(|rung| rung.days == days).copied().unwrap_or(Rung { days, since: now });
        Ok(Self(distinct.into_iter().rev().map(rung).collect()))
    }

    /// The days of its rungs, largest first.
    #[must_use]
    pub fn days(&self) -> Vec<u16> {
        self.0.iter().map(|rung| rung.days).collect()
    }

    /// The moments at which it speaks of a token that ends at `end`.
    pub(crate) fn warnings(&self, end: Timestamp) -> impl Iterator<Item = Timestamp> + '_ {
        self.0
            .iter()
            .map(move |rung| (rung.since, end - days_of(rung.days)))
            .filter(|(since, at)| at > since)
            .map(|(_, at)| at)
    }

    /// Whether `now` is within its first warning of `end`.
    pub(crate) fn warns(&self, end: Timestamp, now: Timestamp) -> bool {
        self.0.first().is_some_and(|rung| end - days_of(rung.days) <= now)
    }
}

fn days_of(days: u16) -> SignedDuration {
    SignedDuration::from_hours(24 * i64::from(days))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    #[test]
    fn a_ladder_has_a_few_rungs_of_whole_days_and_stands_largest_first() {
        let many: Vec<u16> = (1..=11).collect();
        for (days, ladder) in [
            (&[1, 30, 7][..], Some(vec![30, 7, 1])),
            (&[365], Some(vec![365])),
            (&many[..10], Some((1..=10).rev().collect())),
            (&many, None),
            (&[], None),
            (&[0], None),
            (&[366], None),
            (&[7, 7], None),
        ] {
            let changed = Ladder::default().changed(days, NOW);
            assert_eq!(changed.ok().map(|changed| changed.days()), ladder, "{days:?}");
        }
    }

    #[test]
    fn a_rung_speaks_of_what_comes_after_it_was_set_and_a_rung_that_stays_of_all() {
        let changed = Ladder::default().changed(&[45, 15, 10, 7], NOW).unwrap();
        for (days_left, spoken) in [
            (60, vec![45, 15, 10, 7]),
            (45, vec![15, 10, 7]),
            // 15 and 7 stood there before: they are not forgotten while nobody looked
            (12, vec![15, 10, 7]),
            (9, vec![15, 7]),
        ] {
            let end = NOW + days_of(days_left);
            let moments: Vec<_> = changed.warnings(end).collect();
            let expected: Vec<_> = spoken.into_iter().map(|days| end - days_of(days)).collect();
            assert_eq!(moments, expected, "{days_left} days left");
        }
        let back = changed.changed(&[45], NOW + days_of(1)).unwrap().changed(&[45, 15], NOW + days_of(2)).unwrap();
        assert_eq!(back.warnings(NOW + days_of(16)).count(), 0, "a rung that was away is new again");
    }
}
