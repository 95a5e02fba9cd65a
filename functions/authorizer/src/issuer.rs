//! The issuer's public keys: found by discovery, kept, fetched again when that may help.
//!
//! A key that is not known asks the issuer at once, but not more than once in [`PAUSE`], so that
//! tokens with made-up key ids cannot be turned into load on the issuer; all keys are fetched
//! anew when they are older than [`FRESH`], which is how a retired key goes. While the issuer is
//! down the keys at hand serve until they are older than [`LAST_RESORT`]; after that there are no
//! keys, which is an error and never a yes. One request asks, the others wait for its answer.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use reqwest::{Client, StatusCode, redirect};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::sync::Mutex;
use url::{Host, Url};

/// Seconds between two requests to an issuer while some keys are at hand.
const PAUSE: i64 = 30;
/// Seconds between two requests while there are none: soon, but one at a time.
const PAUSE_WITHOUT_KEYS: i64 = 1;
/// Seconds for which keys are used without asking.
const FRESH: i64 = 6 * 60 * 60;
/// Seconds for which keys are used while the issuer does not answer.
const LAST_RESORT: i64 = 24 * 60 * 60;
/// For one request to the issuer; a fetch makes two.
const TIME_OUT: Duration = Duration::from_secs(3);
/// The longest document that is read from an issuer, in bytes.
const LONGEST_DOCUMENT: usize = 256 * 1024;

/// An `OpenID` Connect issuer and the keys that it signs with.
pub struct Issuer {
    url: String,
    http: Client,
    keys: Mutex<Keys>,
}

/// Why an issuer or its keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// The issuer's URL is not `https`, nor `http` on a loopback address.
    #[error("an issuer is an https URL without query or fragment")]
    Address,
    /// The issuer did not answer in time, or TLS failed.
    #[error("the issuer does not answer")]
    Unreachable(#[from] reqwest::Error),
    /// The issuer answered something else than 200; redirects are not followed.
    #[error("the issuer answered {0}")]
    Status(StatusCode),
    /// A document longer than 256 KB.
    #[error("the issuer's document is too long")]
    TooLong,
    /// Not the JSON that discovery (`OpenID` Connect Discovery §3) or RFC 7517 asks for.
    #[error("the issuer's document cannot be read")]
    Unreadable(#[from] serde_json::Error),
    /// The discovery document is about another issuer, or its keys lie in an unsafe place.
    #[error("the discovery document names another issuer or an unsafe jwks_uri")]
    Discovery,
    /// The key set has no key that tokens could be verified with.
    #[error("the issuer publishes no usable key")]
    NoKeys,
    /// There are no keys at hand and the issuer failed just now.
    #[error("the issuer failed a moment ago")]
    Pausing,
}

/// A public key and the one algorithm that it verifies.
#[derive(Clone)]
pub(crate) struct VerifyingKey {
    pub(crate) algorithm: Algorithm,
    pub(crate) key: DecodingKey,
}

/// The discovery document, as far as it matters here.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// A key set (RFC 7517 §5); each key is read by itself, so that an odd one spoils no other.
#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

#[derive(Default)]
struct Keys {
    by_kid: HashMap<String, VerifyingKey>,
    fetched_at: Option<Timestamp>,
    asked_at: Option<Timestamp>,
}

impl Issuer {
    /// The issuer whose `iss` is exactly `url`. Nothing is fetched yet.
    ///
    /// # Errors
    /// [`IssuerError::Address`] unless `url` is `https`, or `http` on a loopback address;
    /// [`IssuerError::Unreachable`] when the machine has no certificate authorities to trust.
    #[expect(clippy::disallowed_methods, reason = "an issuer is the operator's choice, not one of the pinned networks")]
    pub fn new(url: String) -> Result<Self, IssuerError> {
        let parsed = Url::parse(&url).map_err(|_| IssuerError::Address)?;
        let bare = parsed.query().is_none() && parsed.fragment().is_none() && parsed.username().is_empty();
        if !bare || !(parsed.scheme() == "https" || is_loopback_http(&parsed)) {
            return Err(IssuerError::Address);
        }
        let http = Client::builder().redirect(redirect::Policy::none()).no_proxy().timeout(TIME_OUT).build()?;
        Ok(Self { url, http, keys: Mutex::default() })
    }

    /// The issuer's name, as `iss` must say it.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The key with this id; `None` when the issuer has no such key.
    pub(crate) async fn key(&self, kid: &str, now: Timestamp) -> Result<Option<VerifyingKey>, IssuerError> {
        let mut keys = self.keys.lock().await;
        if keys.should_be_fetched_for(kid, now) {
            keys.asked_at = Some(now);
            match self.fetch().await {
                Ok(by_kid) => {
                    keys.by_kid = by_kid;
                    keys.fetched_at = Some(now);
                }
                Err(error) if keys.are_younger_than(LAST_RESORT, now) => {
                    tracing::warn!(?error, "keeping the issuer's earlier keys");
                }
                Err(error) => return Err(error),
            }
        }
        if !keys.are_younger_than(LAST_RESORT, now) {
            return Err(IssuerError::Pausing);
        }
        Ok(keys.by_kid.get(kid).cloned())
    }

    async fn fetch(&self) -> Result<HashMap<String, VerifyingKey>, IssuerError> {
        let base = self.url.trim_end_matches('/');
        let document =
            Url::parse(&format!("{base}/.well-known/openid-configuration")).map_err(|_| IssuerError::Address)?;
        let discovery: Discovery = self.get(document.clone()).await?;
        let jwks_uri = Url::parse(&discovery.jwks_uri)
            .ok()
            .filter(|uri| {
                discovery.issuer == self.url && (uri.scheme() == "https" || uri.origin() == document.origin())
            })
            .ok_or(IssuerError::Discovery)?;
        let set: KeySet = self.get(jwks_uri).await?;
        let by_kid: HashMap<_, _> = set.keys.into_iter().filter_map(verifying_key).collect();
        if by_kid.is_empty() {
            return Err(IssuerError::NoKeys);
        }
        Ok(by_kid)
    }

    async fn get<T: DeserializeOwned>(&self, url: Url) -> Result<T, IssuerError> {
        let mut response = self.http.get(url).send().await?;
        if response.status() != StatusCode::OK {
            return Err(IssuerError::Status(response.status()));
        }
        let mut document = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if document.len() + chunk.len() > LONGEST_DOCUMENT {
                return Err(IssuerError::TooLong);
            }
            document.extend_from_slice(&chunk);
        }
        Ok(serde_json::from_slice(&document)?)
    }
}

impl Keys {
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

/// Cleartext never leaves the machine.
fn is_loopback_http(url: &Url) -> bool {
    let is_loopback = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url.scheme() == "http" && is_loopback
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
