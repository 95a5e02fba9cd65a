//! Public keys that somebody else publishes (RFC 7517): read, kept, fetched again when that may help.
//!
//! A key that is not known is asked for at once, but not more than once in half a minute, so that tokens with made-up
//! key ids cannot be turned into load on whoever publishes the keys; all keys are fetched anew when they are older than
//! six hours, which is how a retired key goes. While nobody answers the keys at hand serve until they are a day old;
//! after that there are no keys, which is an error and never a yes. One request asks, the others wait for its answer.

use std::{collections::HashMap, fmt};

use jiff::Timestamp;
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;

/// Seconds between two requests while some keys are at hand.
const PAUSE: i64 = 30;
/// Seconds between two requests while there are none: soon, but one at a time.
const PAUSE_WITHOUT_KEYS: i64 = 1;
/// Seconds for which keys are used without asking.
const FRESH: i64 = 6 * 60 * 60;
/// Seconds for which keys are used while nobody answers.
const LAST_RESORT: i64 = 24 * 60 * 60;

/// A public key and the one algorithm that it verifies.
#[derive(Clone)]
pub struct VerifyingKey {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// The key.
    pub key: DecodingKey,
}

/// A key set (RFC 7517 §5) as it was fetched; each key is read by itself, so that an odd one spoils no other.
#[derive(Deserialize)]
pub struct KeySet {
    keys: Vec<Value>,
}

impl KeySet {
    /// The keys that tokens may be signed with, by their ids.
    #[must_use]
    pub fn verifying_keys(self) -> VerifyingKeys {
        self.keys.into_iter().filter_map(verifying_key).collect()
    }
}

/// Keys by their ids.
pub type VerifyingKeys = HashMap<String, VerifyingKey>;

/// There are no keys at hand, and whoever publishes them failed a moment ago.
#[derive(Debug, thiserror::Error)]
#[error("whoever publishes the keys failed a moment ago")]
pub struct Pausing;

/// The keys of one issuer, kept.
#[derive(Default)]
pub struct KeyRing(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    by_kid: VerifyingKeys,
    fetched_at: Option<Timestamp>,
    asked_at: Option<Timestamp>,
}

impl KeyRing {
    /// The key with this id; `None` when the issuer has no such key. `fetch` asks the issuer, if it has to be asked.
    ///
    /// # Errors
    /// What `fetch` failed with, or [`Pausing`], when there are no keys to go by.
    pub async fn key<E: From<Pausing> + fmt::Debug>(
        &self,
        kid: &str,
        now: Timestamp,
        fetch: impl Future<Output = Result<VerifyingKeys, E>>,
    ) -> Result<Option<VerifyingKey>, E> {
        let mut kept = self.0.lock().await;
        if kept.should_be_fetched_for(kid, now) {
            kept.asked_at = Some(now);
            match fetch.await {
                Ok(by_kid) => {
                    kept.by_kid = by_kid;
                    kept.fetched_at = Some(now);
                }
                Err(error) if kept.are_younger_than(LAST_RESORT, now) => {
                    tracing::warn!(?error, "keeping the issuer's earlier keys");
                }
                Err(error) => return Err(error),
            }
        }
        if !kept.are_younger_than(LAST_RESORT, now) {
            return Err(Pausing.into());
        }
        Ok(kept.by_kid.get(kid).cloned())
    }
}

impl Kept {
    fn should_be_fetched_for(&self, kid: &str, now: Timestamp) -> bool {
        let pause = if self.are_younger_than(LAST_RESORT, now) { PAUSE } else { PAUSE_WITHOUT_KEYS };
        let answered = self.by_kid.contains_key(kid) && self.are_younger_than(FRESH, now);
        !answered && !is_within(pause, self.asked_at, now)
    }

    fn are_younger_than(&self, seconds: i64, now: Timestamp) -> bool {
        is_within(seconds, self.fetched_at, now)
    }
}

/// Whether `event` happened less than so many seconds ago.
fn is_within(seconds: i64, event: Option<Timestamp>, now: Timestamp) -> bool {
    event.is_some_and(|event| now.duration_since(event).as_secs() < seconds)
}

/// A key of the set with its id, if it is one that tokens may be signed with: RSA for RS256 or
/// P-256 for ES256, meant for signatures. A set may hold others; they are passed over.
fn verifying_key(key: Value) -> Option<(String, VerifyingKey)> {
    let jwk = Jwk::deserialize(key).ok()?;
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        _ => return None,
    };
    let common = &jwk.common;
    let verifies = common.key_algorithm.is_none_or(|algorithm| algorithm == named)
        && common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature)
        && common.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    let key = DecodingKey::from_jwk(&jwk).ok().filter(|_| verifies)?;
    Some((jwk.common.key_id?, VerifyingKey { algorithm, key }))
}
