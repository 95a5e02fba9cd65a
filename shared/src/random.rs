//! Randomness, as a value that is handed in.
//!
//! Every secret that we mint (states, verifiers, tickets, salts) is drawn here, and from nowhere
//! else: in production from the operating system through AWS-LC, in a test from whatever makes the
//! test reproducible.

use std::{fmt, sync::Arc};

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use secrecy::SecretString;
use zeroize::Zeroizing;

type Fill = dyn Fn(&mut [u8]) + Send + Sync;

/// Draws random bytes.
#[derive(Clone)]
pub struct Random(Arc<Fill>);

impl Random {
    /// AWS-LC's generator, seeded by the operating system.
    ///
    /// # Panics
    /// Drawing from it panics where the system has no entropy: nothing could be kept secret then.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place where randomness enters")]
    pub fn system() -> Self {
        let system = SystemRandom::new();
        Self(Arc::new(move |bytes| system.fill(bytes).expect("the system has entropy")))
    }

    /// A source that repeats itself, for vectors and tests.
    pub fn from_fn(fill: impl Fn(&mut [u8]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(fill))
    }

    /// Overwrites `bytes` with random ones.
    pub fn fill(&self, bytes: &mut [u8]) {
        (self.0)(bytes);
    }

    /// `N` random bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// A new secret: 256 random bits in 43 characters that need no escaping in a URL, a cookie or a
    /// header (base64url without padding, RFC 4648 §5).
    #[must_use]
    pub fn token(&self) -> SecretString {
        BASE64_URL_SAFE_NO_PAD.encode(Zeroizing::new(self.bytes::<32>())).into()
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_token_is_43_url_safe_characters_and_never_the_same() {
        let random = Random::system();
        let tokens: HashSet<String> = (0..1000).map(|_| random.token().expose_secret().to_owned()).collect();
        assert_eq!(tokens.len(), 1000);
        for token in tokens {
            assert_eq!(token.len(), 43);
            assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{token}");
        }
    }
}
