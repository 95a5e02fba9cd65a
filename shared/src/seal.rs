//! The envelope in which a secret is stored.
//!
//! A secret is sealed under the key of its tenant and bound to its [`Place`]: the associated data
//! names the tenant, the profile, the token, the field and the generation, so a row that was moved,
//! swapped, rolled back or copied to another field or tenant cannot be opened. The key is committed
//! to, so no envelope opens under two keys. Whatever is wrong, the answer is one and the same
//! [`Unsealable`], which tells an attacker nothing.
//!
//! # Format
//!
//! | Offset | Bytes | Content |
//! |-------:|------:|---------|
//! | 0  | 4  | magic `TKWD` |
//! | 4  | 1  | format version, 1 |
//! | 5  | 1  | suite, 1: HKDF-SHA-512, AES-256-GCM, key commitment |
//! | 6  | 4  | version of the tenant key, big-endian |
//! | 10 | 32 | salt, random for each message |
//! | 42 | 32 | commitment to the message key |
//! | 74 | 12 | IV, random for each message |
//! | 86 | n  | ciphertext, as long as the plaintext |
//! | 86 + n | 16 | authentication tag |
//!
//! The first 86 bytes are the header. With the 32 bytes of the tenant key as input keying material:
//!
//! ```text
//! prk         = HKDF-Extract(SHA-512, salt, tenant key)
//! message key = HKDF-Expand(prk, "tokenward/1/message-key", 32)
//! commitment  = HKDF-Expand(prk, "tokenward/1/commitment", 32)
//! associated  = header ‖ lp(tenant) ‖ lp(profile) ‖ lp(token) ‖ lp(field) ‖ lp(generation)
//! body        = AES-256-GCM(message key, IV, plaintext, associated)
//! lp(x)       = length of x in bytes, 8 bytes big-endian ‖ x
//! ```
//!
//! Names are UTF-8, the generation is 8 bytes big-endian. Whoever opens recomputes the commitment
//! and compares it in constant time before decrypting. A message key is never used twice, so AES-GCM's
//! limit on messages under one key is out of reach whatever the load. `tests/sealing` holds vectors and an
//! independent decryptor.

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    constant_time,
    hkdf::{HKDF_SHA512, KeyType, Prk, Salt},
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::random::Random;

/// Magic, format version and suite.
const PREAMBLE: &[u8] = b"TKWD\x01\x01";
const KEY_LEN: usize = 32;
const SALT_LEN: usize = 32;
const TAG_LEN: usize = 16;
const HEADER_LEN: usize = PREAMBLE.len() + size_of::<u32>() + SALT_LEN + KEY_LEN + NONCE_LEN;

/// Where a secret belongs; it opens there and nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The tenant, whose key seals.
    pub tenant: &'a str,
    /// The profile; empty while there is none yet, as in a connect session.
    pub profile: &'a str,
    /// The token, or the connect session that will bring one.
    pub token: &'a str,
    /// What is sealed, for example `refresh_token` or `code_verifier`.
    pub field: &'a str,
    /// How often this field was written: an older envelope does not open as a newer one.
    pub generation: u64,
}

impl Place<'_> {
    fn associated_with(&self, header: &[u8]) -> Vec<u8> {
        let generation = self.generation.to_be_bytes();
        let names = [self.tenant, self.profile, self.token, self.field].map(str::as_bytes);
        let mut associated = header.to_vec();
        for part in names.into_iter().chain([generation.as_slice()]) {
            associated.extend((part.len() as u64).to_be_bytes());
            associated.extend(part);
        }
        associated
    }
}

/// The secret does not open: it was tampered with, belongs elsewhere, or its key is gone.
///
/// Which of these it was is not told on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sealed secret cannot be opened")]
pub struct Unsealable;

/// A sealed secret, as stored.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sealed(#[serde(with = "serde_bytes")] Vec<u8>);

impl Sealed {
    /// The stored bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The version of the tenant key that opens this, read without any key and so not yet authenticated.
    ///
    /// # Errors
    /// These bytes are no envelope of a format that we know.
    pub fn key_version(&self) -> Result<u32, Unsealable> {
        Ok(Envelope::read(&self.0)?.key_version)
    }
}

impl From<Vec<u8>> for Sealed {
    fn from(stored: Vec<u8>) -> Self {
        Self(stored)
    }
}

impl From<Sealed> for Vec<u8> {
    fn from(sealed: Sealed) -> Self {
        sealed.0
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// The parts of a sealed secret.
struct Envelope<'a> {
    header: &'a [u8],
    key_version: u32,
    salt: &'a [u8; SALT_LEN],
    commitment: &'a [u8; KEY_LEN],
    iv: &'a [u8; NONCE_LEN],
    body: &'a [u8],
}

impl<'a> Envelope<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Unsealable> {
        let (header, body) = bytes.split_at_checked(HEADER_LEN).ok_or(Unsealable)?;
        let rest = header.strip_prefix(PREAMBLE).ok_or(Unsealable)?;
        let (key_version, rest) = rest.split_first_chunk().ok_or(Unsealable)?;
        let (salt, rest) = rest.split_first_chunk().ok_or(Unsealable)?;
        let (commitment, rest) = rest.split_first_chunk().ok_or(Unsealable)?;
        let (iv, _) = rest.split_first_chunk().ok_or(Unsealable)?;
        Ok(Self { header, key_version: u32::from_be_bytes(*key_version), salt, commitment, iv, body })
    }
}

/// One version of a tenant's key, unwrapped. It is zeroized when the last holder drops it.
pub struct TenantKey {
    version: u32,
    key: Zeroizing<Vec<u8>>,
}

impl TenantKey {
    /// Takes the 32 bytes of a key.
    ///
    /// # Errors
    /// The key has another length.
    pub fn new(version: u32, key: Zeroizing<Vec<u8>>) -> Result<Self, Unsealable> {
        if key.len() == KEY_LEN { Ok(Self { version, key }) } else { Err(Unsealable) }
    }

    /// Which of its tenant's keys this is; the first is 1.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Seals `plaintext` for `place`, under a fresh message key.
    ///
    /// # Panics
    /// The plaintext is longer than AES-GCM's 64 GiB.
    #[must_use]
    pub fn seal(&self, place: &Place<'_>, plaintext: &[u8], random: &Random) -> Sealed {
        let salt: [u8; SALT_LEN] = random.bytes();
        let iv: [u8; NONCE_LEN] = random.bytes();
        let (message_key, commitment) = self.derive(&salt);
        // sized once, so that growing leaves no copy of the plaintext behind
        let mut sealed = Vec::with_capacity(HEADER_LEN + plaintext.len() + TAG_LEN);
        sealed.extend(PREAMBLE);
        sealed.extend(self.version.to_be_bytes());
        sealed.extend(salt);
        sealed.extend(commitment.as_slice());
        sealed.extend(iv);
        let associated = Aad::from(place.associated_with(&sealed));
        sealed.extend(plaintext);
        let tag = message_key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(iv), associated, &mut sealed[HEADER_LEN..])
            .expect("a secret is shorter than 64 GiB");
        sealed.extend(tag.as_ref());
        Sealed(sealed)
    }

    /// Opens what was sealed for `place`.
    ///
    /// # Errors
    /// It was sealed under another key, for another place, or is not what was sealed.
    pub fn open(&self, place: &Place<'_>, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, Unsealable> {
        let envelope = Envelope::read(&sealed.0)?;
        let (message_key, commitment) = self.derive(envelope.salt);
        constant_time::verify_slices_are_equal(commitment.as_slice(), envelope.commitment).map_err(|_| Unsealable)?;
        let mut plaintext = Zeroizing::new(envelope.body.to_vec());
        let length = message_key
            .open_in_place(
                Nonce::assume_unique_for_key(*envelope.iv),
                Aad::from(place.associated_with(envelope.header)),
                &mut plaintext,
            )
            .map_err(|_| Unsealable)?
            .len();
        plaintext.truncate(length);
        Ok(plaintext)
    }

    /// The message key for this salt, and the commitment to it.
    fn derive(&self, salt: &[u8; SALT_LEN]) -> (LessSafeKey, Zeroizing<[u8; KEY_LEN]>) {
        let prk = Salt::new(HKDF_SHA512, salt).extract(&self.key);
        let message_key = expand(&prk, b"tokenward/1/message-key");
        let message_key = UnboundKey::new(&AES_256_GCM, message_key.as_slice()).expect("AES-256 takes 32 bytes");
        (LessSafeKey::new(message_key), expand(&prk, b"tokenward/1/commitment"))
    }
}

impl fmt::Debug for TenantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TenantKey(version {})", self.version)
    }
}

/// The length of everything that is derived, as the library wants to be told.
struct Derived;

impl KeyType for Derived {
    fn len(&self) -> usize {
        KEY_LEN
    }
}

fn expand(prk: &Prk, label: &[u8]) -> Zeroizing<[u8; KEY_LEN]> {
    let mut derived = Zeroizing::new([0; KEY_LEN]);
    prk.expand(&[label], Derived)
        .and_then(|okm| okm.fill(derived.as_mut_slice()))
        .expect("32 bytes are within HKDF's limit");
    derived
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, thread};

    use proptest::prelude::*;

    use super::*;

    const PLACE: Place<'static> =
        Place { tenant: "acme", profile: "prf_1", token: "tok_1", field: "refresh_token", generation: 7 };

    fn key(byte: u8) -> TenantKey {
        TenantKey::new(3, Zeroizing::new(vec![byte; KEY_LEN])).unwrap()
    }

    fn sealed() -> Sealed {
        key(1).seal(&PLACE, b"a secret", &Random::system())
    }

    #[test]
    fn what_was_sealed_opens_at_its_place() {
        assert_eq!(sealed().key_version(), Ok(3));
        assert_eq!(key(1).open(&PLACE, &sealed()).unwrap().as_slice(), b"a secret");
    }

    // S22
    #[test]
    fn a_secret_opens_at_no_other_place() {
        let sealed = sealed();
        for elsewhere in [
            Place { tenant: "globex", ..PLACE },
            Place { profile: "prf_2", ..PLACE },
            Place { token: "tok_2", ..PLACE },
            Place { field: "access_token", ..PLACE },
            Place { generation: 6, ..PLACE },
            Place { generation: 8, ..PLACE },
            Place { profile: "tok_1", token: "prf_1", ..PLACE },
            Place { profile: "prf_1tok_1", token: "", ..PLACE },
            Place { tenant: "acmeprf_1", profile: "", ..PLACE },
        ] {
            assert_eq!(key(1).open(&elsewhere, &sealed), Err(Unsealable), "{elsewhere:?}");
        }
    }

    // S21
    #[test]
    fn the_commitment_is_what_refuses_another_key() {
        let mut sealed = sealed();
        assert_eq!(key(2).open(&PLACE, &sealed), Err(Unsealable));
        // AES-GCM alone would let a tag be forged with which the same message opens under key 2 as well
        let envelope = Envelope::read(&sealed.0).unwrap();
        let (message_key, iv) = (key(2).derive(envelope.salt).0, Nonce::assume_unique_for_key(*envelope.iv));
        let associated = Aad::from(PLACE.associated_with(envelope.header));
        let tag_at = sealed.0.len() - TAG_LEN;
        let body = &mut sealed.0[HEADER_LEN..tag_at];
        let tag = message_key.seal_in_place_separate_tag(iv, associated, body).unwrap();
        sealed.0[tag_at..].copy_from_slice(tag.as_ref());
        assert_eq!(key(2).open(&PLACE, &sealed), Err(Unsealable));
    }

    // S23
    #[test]
    fn no_bit_can_be_flipped_and_no_byte_cut_off_or_added() {
        let genuine = sealed();
        for bit in 0..genuine.0.len() * 8 {
            let mut flipped = genuine.clone();
            flipped.0[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key(1).open(&PLACE, &flipped), Err(Unsealable), "bit {bit}");
        }
        for length in 0..genuine.0.len() {
            let cut = Sealed(genuine.0[..length].to_vec());
            assert_eq!(key(1).open(&PLACE, &cut), Err(Unsealable), "cut to {length}");
        }
        let longer = Sealed([genuine.as_bytes(), &[0]].concat());
        assert_eq!(key(1).open(&PLACE, &longer), Err(Unsealable));
    }

    // S24
    #[test]
    fn no_key_and_iv_pair_comes_twice_in_a_million_seals() {
        const SEALS: usize = 1_000_000;
        const THREADS: usize = 4;
        let (key, random) = (key(1), Random::system());
        // the commitment stands for the key, since both come of one salt: no key twice, so no pair twice
        let commitment = |_| *Envelope::read(&key.seal(&PLACE, b"", &random).0).unwrap().commitment;
        let seal = || (0..SEALS / THREADS).map(commitment).collect::<Vec<_>>();
        let commitments: HashSet<_> = thread::scope(|scope| {
            let sealing: Vec<_> = (0..THREADS).map(|_| scope.spawn(seal)).collect();
            sealing.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(commitments.len(), SEALS);
    }

    // S40
    #[test]
    fn a_key_does_not_show_itself() {
        assert_eq!(format!("{:?}", key(0xAB)), "TenantKey(version 3)");
    }

    #[test]
    fn a_key_of_another_length_is_refused() {
        for length in [0, 16, 31, 33, 64] {
            assert_eq!(TenantKey::new(1, Zeroizing::new(vec![0; length])).err(), Some(Unsealable), "{length} bytes");
        }
    }

    fn place(names: &[String; 4], generation: u64) -> Place<'_> {
        let [tenant, profile, token, field] = names;
        Place { tenant, profile, token, field, generation }
    }

    proptest! {
        // S22
        #[test]
        fn whatever_is_sealed_opens_at_its_own_place_alone(
            plaintext in prop::collection::vec(any::<u8>(), 0..300),
            names in prop::array::uniform4("[ab]{0,2}"),
            others in prop::array::uniform4("[ab]{0,2}"),
            generations in (0..3_u64, 0..3_u64),
        ) {
            let (here, there) = (place(&names, generations.0), place(&others, generations.1));
            let sealed = key(1).seal(&here, &plaintext, &Random::system());
            prop_assert_eq!(key(1).open(&here, &sealed), Ok(Zeroizing::new(plaintext)));
            prop_assert_eq!(key(1).open(&there, &sealed).is_ok(), here == there);
        }

        // S23
        #[test]
        fn hostile_bytes_are_one_uniform_error(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            preamble in any::<bool>(),
        ) {
            let hostile = if preamble { [PREAMBLE, &bytes].concat() } else { bytes };
            prop_assert_eq!(key(1).open(&PLACE, &Sealed(hostile)), Err(Unsealable));
        }
    }
}
