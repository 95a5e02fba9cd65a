//! The issuer's public keys: found by discovery and kept as [`KeyRing`] keeps them.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::{Client, StatusCode, redirect};
use serde::{Deserialize, de::DeserializeOwned};
use shared::jwks::{KeyRing, KeySet, Pausing, VerifyingKey, VerifyingKeys};
use url::{Host, Url};

/// For one request to the issuer; a fetch makes two.
const TIME_OUT: Duration = Duration::from_secs(3);
/// The longest document that is read from an issuer, in bytes.
const LONGEST_DOCUMENT: usize = 256 * 1024;

/// An `OpenID` Connect issuer and the keys that it signs with.
pub struct Issuer {
    url: String,
    http: Client,
    keys: KeyRing,
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
    #[error(transparent)]
    Pausing(#[from] Pausing),
}

/// The discovery document, as far as it matters here.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
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
        let mut http = Client::builder().redirect(redirect::Policy::none()).no_proxy().timeout(TIME_OUT);
        if parsed.scheme() == "http" {
            // plain HTTP on loopback needs no certificate authorities, and loading them is most of a client's cost
            http = http.tls_certs_only([]);
        }
        Ok(Self { url, http: http.build()?, keys: KeyRing::default() })
    }

    /// The issuer's name, as `iss` must say it.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The key with this id; `None` when the issuer has no such key.
    pub(crate) async fn key(&self, kid: &str, now: Timestamp) -> Result<Option<VerifyingKey>, IssuerError> {
        self.keys.key(kid, now, self.fetch()).await
    }

    async fn fetch(&self) -> Result<VerifyingKeys, IssuerError> {
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
        let by_kid = set.verifying_keys();
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
