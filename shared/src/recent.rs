//! What changes rarely, remembered for a few seconds, so that what runs often reads what it must and nothing more.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

/// For so long something is remembered.
const KEPT: SignedDuration = SignedDuration::from_secs(5);
/// So much is remembered at most.
const CAPACITY: usize = 1_000;

/// A memory of what was read last under a key.
pub struct Recent<K, V>(Mutex<HashMap<K, (Timestamp, V)>>);

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Recent<K, V> {
    /// What was read under `key` a moment ago, or what `read` reads now. That there is nothing is not remembered: it
    /// may have been made since.
    ///
    /// # Errors
    /// What `read` failed with.
    pub async fn get<E>(
        &self,
        key: K,
        now: Timestamp,
        read: impl Future<Output = Result<Option<V>, E>>,
    ) -> Result<Option<V>, E> {
        let fresh = |since: Timestamp| (SignedDuration::ZERO..KEPT).contains(&now.duration_since(since));
        let remembered = {
            let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            kept.get(&key).filter(|(since, _)| fresh(*since)).map(|(_, value)| value.clone())
        };
        if let Some(value) = remembered {
            return Ok(Some(value));
        }
        let Some(value) = read.await? else { return Ok(None) };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, (since, _)| fresh(*since));
        if kept.len() < CAPACITY {
            kept.insert(key, (now, value.clone()));
        }
        Ok(Some(value))
    }

    /// Forgets what was read under `key`: it is known to have changed.
    pub fn forget(&self, key: &K) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}
