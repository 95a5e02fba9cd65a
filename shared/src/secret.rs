//! Secrets in links: a ticket, a `state`, a completion code.
//!
//! Each is `<session id>.<secret>`: the id finds the row, the secret proves the right to it, and
//! the row keeps only the secret's SHA-256, so that a reader of the table cannot use a link. The
//! value itself is a [`SecretString`]: no `Display`, no `Serialize`, a redacted `Debug`, zeroized.

use std::fmt;

use aws_lc_rs::{constant_time, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use cookie::Cookie;
use http::{HeaderMap, HeaderValue, header};
use jiff::SignedDuration;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::random::Random;

/// The id of a connect session: 128 random bits, base64url.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct SessionId(String);

/// Text that is no session id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no session id")]
pub struct NoSessionId;

impl SessionId {
    /// A new id.
    #[must_use]
    pub fn new(random: &Random) -> Self {
        Self(URL_SAFE_NO_PAD.encode(random.bytes::<16>()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for SessionId {
    type Error = NoSessionId;

    fn try_from(text: String) -> Result<Self, NoSessionId> {
        let base64url = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        (text.len() == 22 && text.bytes().all(base64url)).then_some(Self(text)).ok_or(NoSessionId)
    }
}

/// A link's secret, together with the session that it belongs to.
#[derive(Debug)]
pub struct LinkSecret {
    /// The session.
    pub id: SessionId,
    secret: SecretString,
}

/// What a row keeps of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretHash(String);

impl SecretHash {
    /// The hash of `secret`: SHA-256, base64url.
    #[must_use]
    pub fn of(secret: &SecretString) -> Self {
        let hash = digest::digest(&digest::SHA256, secret.expose_secret().as_bytes());
        Self(URL_SAFE_NO_PAD.encode(hash))
    }

    /// What a SHA-256 that was made elsewhere is written as.
    #[must_use]
    pub fn from_digest(digest: &digest::Digest) -> Self {
        Self(URL_SAFE_NO_PAD.encode(digest))
    }

    /// Whether `secret` is the one that was hashed, compared in constant time.
    #[must_use]
    pub fn matches(&self, secret: &SecretString) -> bool {
        constant_time::verify_slices_are_equal(self.0.as_bytes(), Self::of(secret).0.as_bytes()).is_ok()
    }

    /// The hash as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl LinkSecret {
    /// A new secret of 256 bits for the session `id`.
    #[must_use]
    pub fn new(id: SessionId, random: &Random) -> Self {
        Self { id, secret: random.token() }
    }

    /// Reads `<id>.<secret>`; `None` when it is not of that form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.split_once('.')?;
        let base64url = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        if secret.len() != 43 || !secret.bytes().all(base64url) {
            return None;
        }
        Some(Self { id: SessionId::try_from(id.to_owned()).ok()?, secret: secret.into() })
    }

    /// What the row keeps.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(&self.secret)
    }

    /// Whether the row's hash is this secret's.
    #[must_use]
    pub fn is(&self, hash: Option<&SecretHash>) -> bool {
        hash.is_some_and(|hash| hash.matches(&self.secret))
    }

    /// The text to put into the link.
    #[must_use]
    pub fn expose(&self) -> String {
        format!("{}.{}", self.id, self.secret.expose_secret())
    }
}

/// The cookie that binds a flow to the browser that started it.
///
/// Its name holds the session, so that tabs never cross; `__Host-` ties it to this host alone
/// (RFC 6265bis §4.1.3.2).
#[derive(Debug)]
pub struct FlowCookie(LinkSecret);

impl FlowCookie {
    /// A new cookie for the session `id`.
    #[must_use]
    pub fn new(id: SessionId, random: &Random) -> Self {
        Self(LinkSecret::new(id, random))
    }

    /// What the row keeps.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        self.0.hash()
    }

    /// Whether the browser that sent these header fields has the cookie that was hashed.
    #[must_use]
    pub fn is_in(headers: &HeaderMap, id: &SessionId, hash: Option<&SecretHash>) -> bool {
        let (name, Some(hash)) = (Self::name(id), hash) else { return false };
        let lines = headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
        lines
            .flat_map(Cookie::split_parse)
            .flatten()
            .any(|cookie| cookie.name() == name && hash.matches(&SecretString::from(cookie.value())))
    }

    /// Gives the cookie to the browser for so long.
    pub fn set(&self, headers: &mut HeaderMap, age: SignedDuration) {
        Self::write(headers, &self.0.id, self.0.secret.expose_secret(), age);
    }

    /// Takes the cookie of the session `id` back.
    pub fn take_back(headers: &mut HeaderMap, id: &SessionId) {
        Self::write(headers, id, "", SignedDuration::ZERO);
    }

    fn write(headers: &mut HeaderMap, id: &SessionId, value: &str, age: SignedDuration) {
        let line =
            format!("{}={value}; Path=/; Max-Age={}; Secure; HttpOnly; SameSite=Lax", Self::name(id), age.as_secs());
        if let Ok(line) = HeaderValue::try_from(line) {
            headers.append(header::SET_COOKIE, line);
        }
    }

    fn name(id: &SessionId) -> String {
        format!("__Host-flow-{id}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_secret_is_read_back_and_only_its_own_hash_matches() {
        let random = Random::system();
        let id = SessionId::new(&random);
        let (link, other) = (LinkSecret::new(id.clone(), &random), LinkSecret::new(id, &random));
        let read = LinkSecret::parse(&link.expose()).unwrap();
        assert!(read.is(Some(&link.hash())));
        assert!(!read.is(Some(&other.hash())));
        assert!(!read.is(None));
    }

    #[test]
    fn what_is_no_link_secret_is_not_read() {
        let good = format!("{}.{}", "a".repeat(22), "b".repeat(43));
        assert!(LinkSecret::parse(&good).is_some());
        for text in
            ["", ".", "a.b", &good[1..], &good[..good.len() - 1], &good.replace('b', "é"), &good.replace('.', "#")]
        {
            assert!(LinkSecret::parse(text).is_none(), "{text:?}");
        }
    }

    // S40
    #[test]
    fn a_link_secret_is_not_shown_by_debug() {
        let random = Random::system();
        let link = LinkSecret::new(SessionId::new(&random), &random);
        let shown = format!("{link:?}");
        let (_, secret) = link.expose().split_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        assert!(!shown.contains(&secret), "{shown}");
    }

    // S2
    #[test]
    fn a_state_has_256_bits_and_is_kept_hashed() {
        let random = Random::system();
        let link = LinkSecret::new(SessionId::new(&random), &random);
        let (_, secret) = link.expose().split_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.decode(&secret).unwrap().len(), 32);
        assert!(!link.hash().as_str().contains(&secret));
    }
}
