//! The keys that are held unwrapped: which, how many, how long.

use std::{collections::HashMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use super::{CAPACITY, HARD_LIMIT};
use crate::seal::TenantKey;

/// Which of a tenant's keys is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Wanted {
    /// The one to seal with.
    Newest,
    /// One to open with.
    Version(u32),
}

/// The keys in memory. A key that leaves is zeroized as soon as nobody uses it any more.
#[derive(Default)]
pub(super) struct Held(HashMap<(String, Wanted), HeldKey>);

struct HeldKey {
    key: Arc<TenantKey>,
    since: Timestamp,
}

impl HeldKey {
    /// A clock that was set back makes a key old, never young.
    fn is_within(&self, limit: SignedDuration, now: Timestamp) -> bool {
        (SignedDuration::ZERO..limit).contains(&now.duration_since(self.since))
    }
}

impl Held {
    pub(super) fn get(
        &mut self,
        tenant: &str,
        wanted: Wanted,
        now: Timestamp,
        limit: SignedDuration,
    ) -> Option<Arc<TenantKey>> {
        self.forget_the_old(now);
        let held = |wanted| self.0.get(&(tenant.to_owned(), wanted)).filter(|held| held.is_within(limit, now));
        let found = match wanted {
            Wanted::Newest => held(wanted),
            Wanted::Version(version) => {
                held(wanted).or_else(|| held(Wanted::Newest).filter(|newest| newest.key.version() == version))
            }
        };
        found.map(|held| Arc::clone(&held.key))
    }

    pub(super) fn put(&mut self, tenant: &str, wanted: Wanted, key: Arc<TenantKey>, since: Timestamp) {
        self.forget_the_old(since);
        let place = (tenant.to_owned(), wanted);
        if self.0.len() >= CAPACITY && !self.0.contains_key(&place) {
            let oldest = self.0.iter().min_by_key(|(_, held)| held.since).map(|(place, _)| place.clone());
            oldest.map(|oldest| self.0.remove(&oldest));
        }
        self.0.insert(place, HeldKey { key, since });
    }

    pub(super) fn forget(&mut self, tenant: &str) {
        self.0.retain(|(holder, _), _| holder != tenant);
    }

    fn forget_the_old(&mut self, now: Timestamp) {
        self.0.retain(|_, held| held.is_within(HARD_LIMIT, now));
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::{super::SOFT_LIMIT, *};

    fn key(version: u32) -> Arc<TenantKey> {
        Arc::new(TenantKey::new(version, Zeroizing::new(vec![1; 32])).unwrap())
    }

    fn after(minutes: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)
    }

    // S26
    #[test]
    fn no_more_than_the_capacity_is_held_and_the_oldest_goes_first() {
        let mut held = Held::default();
        let first = key(1);
        held.put("first", Wanted::Newest, Arc::clone(&first), after(0));
        for tenant in 0..CAPACITY {
            held.put(&tenant.to_string(), Wanted::Newest, key(1), after(1));
        }
        assert_eq!(held.0.len(), CAPACITY);
        assert!(held.get("first", Wanted::Newest, after(1), SOFT_LIMIT).is_none());
        assert!(held.get("0", Wanted::Newest, after(1), SOFT_LIMIT).is_some());
        assert_eq!(Arc::strong_count(&first), 1, "whoever still uses a key keeps it, the cache does not");
    }

    // S26
    #[test]
    fn a_key_past_the_hard_limit_is_dropped_when_any_other_is_asked_for() {
        let mut held = Held::default();
        let old = key(1);
        held.put("acme", Wanted::Newest, Arc::clone(&old), after(0));
        for (minutes, kept) in [(4, true), (14, true), (15, false)] {
            assert!(held.get("globex", Wanted::Newest, after(minutes), SOFT_LIMIT).is_none());
            assert_eq!(Arc::strong_count(&old) == 2, kept, "after {minutes} minutes");
        }
    }

    // S26
    #[test]
    fn a_clock_that_is_set_back_makes_no_key_live_longer() {
        let mut held = Held::default();
        held.put("acme", Wanted::Newest, key(1), after(60));
        assert!(held.get("acme", Wanted::Newest, after(59), HARD_LIMIT).is_none());
        assert!(held.0.is_empty());
    }

    #[test]
    fn the_newest_key_also_serves_whoever_names_its_version() {
        let mut held = Held::default();
        held.put("acme", Wanted::Newest, key(2), after(0));
        for (version, there) in [(1, false), (2, true), (3, false)] {
            let found = held.get("acme", Wanted::Version(version), after(0), SOFT_LIMIT);
            assert_eq!(found.is_some(), there, "version {version}");
        }
    }
}
