//! `tokenward export` and `tokenward import`: a tenant's tokens on their way to another deployment.
//!
//! What leaves is sealed to a recipient before it is written, record by record; in the clear it is nowhere but in this
//! process's memory. A token whose refresh token works once must not live in two places, because the first refresh in one
//! of them makes the other's a replay. So it is left out, or it is moved: it is taken out of the vault first and written
//! then. Whoever is cut off in between has lost it, and its owner signs in again; two live copies there never are. Refresh
//! tokens that work again and again go along as copies: deleting a token in one of the two places may then end it at
//! the network for both.
//!
//! # Format
//!
//! | Bytes | Content |
//! |------:|---------|
//! | 4  | magic `TKWX` |
//! | 1  | format version, 1 |
//! | 32 | encapsulated key |
//! | …  | records: length of the ciphertext, 4 bytes big-endian ‖ ciphertext |
//!
//! HPKE (RFC 9180) in base mode, with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and AES-256-GCM; `info` is the first five
//! bytes, the associated data is empty. The records are sealed in one context in their order, so none can be taken out,
//! doubled or moved. A record is a JSON object of one member: `export` first, then `profile` and `token`, and `end` last,
//! without which the file was cut off. A recipient is `tokenward-recipient-` and an identity `tokenward-identity-`, each
//! followed by its 32 bytes in base64url without padding.

use std::{
    fmt,
    io::{Read, Write},
    str::FromStr,
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use rustls::crypto::{
    aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256,
    hpke::{EncapsulatedSecret, Hpke, HpkeOpener, HpkePrivateKey, HpkePublicKey, HpkeSealer},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use shared::{
    access::TenantId,
    grant::{GrantPlace, SealedGrant},
    keys::{KeysError, TenantKeys},
    network::{Grant, Terms},
    store::{
        StoreError,
        profiles::{Held, Profile, TokenKey, Vault},
    },
    token::Token,
};
use zeroize::Zeroizing;

use crate::{OperatorError, Progress, deployment::Deployment};

const PREAMBLE: &[u8] = b"TKWX\x01";
const KEY_LEN: usize = 32;
const SUITE: &dyn Hpke = DH_KEM_X25519_HKDF_SHA256_AES_256;
/// No record is longer, in bytes.
const LONGEST: usize = 256 * 1024;
/// So many profiles are listed at once.
const PAGE: i32 = 100;
/// So often a row is looked at that changes under our hands.
const LOOKS: u32 = 3;

/// To whom an export is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient([u8; KEY_LEN]);

/// Opens what was sealed to its recipient.
pub struct Identity(HpkePrivateKey);

/// This is no recipient or identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no {0}: `tokenward identity` makes a pair of both")]
pub struct NoKey(&'static str);

const RECIPIENT: &str = "tokenward-recipient-";
const IDENTITY: &str = "tokenward-identity-";

fn key(text: &str, prefix: &str) -> Option<Zeroizing<Vec<u8>>> {
    let decoded = BASE64_URL_SAFE_NO_PAD.decode(text.trim().strip_prefix(prefix)?).ok()?;
    Some(Zeroizing::new(decoded)).filter(|key| key.len() == KEY_LEN)
}

impl FromStr for Recipient {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        let key = key(text, RECIPIENT).ok_or(NoKey("recipient"))?;
        key.as_slice().try_into().map(Self).map_err(|_| NoKey("recipient"))
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{RECIPIENT}{}", BASE64_URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl Identity {
    /// A new identity and its recipient.
    ///
    /// # Errors
    /// When the system has no entropy.
    pub fn new() -> Result<(Self, Recipient), OperatorError> {
        let (public, private) = SUITE.generate_key_pair().map_err(std::io::Error::other)?;
        let public = public.0.try_into().map_err(|_| OperatorError::Export("no pair of keys could be made"))?;
        Ok((Self(private), Recipient(public)))
    }

    /// Reads an identity.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(text: &SecretString) -> Result<Self, NoKey> {
        let key = key(text.expose_secret(), IDENTITY).ok_or(NoKey("identity"))?;
        Ok(Self(key.to_vec().into()))
    }

    /// The text that [`Identity::read`] reads.
    #[must_use]
    pub fn text(&self) -> SecretString {
        format!("{IDENTITY}{}", BASE64_URL_SAFE_NO_PAD.encode(self.0.secret_bytes())).into()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

/// What was exported or imported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transfer {
    /// Profiles: written out, or made.
    pub profiles: u64,
    /// Tokens: written out, or written in.
    pub tokens: u64,
    /// Tokens that were there already, with this sign-in or a newer one.
    pub there: u64,
    /// Tokens that were left out, as `profile token`, and why.
    pub left: Vec<(String, &'static str)>,
}

/// What a record says when it is written.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Written<'a> {
    Export { tenant: &'a TenantId, stage: &'a str, at: Timestamp },
    Profile(&'a Profile),
    Token { token: &'a Token, access_token: &'a str, refresh_token: Option<&'a str> },
    End { profiles: u64, tokens: u64 },
}

/// What a record says when it is read.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Record {
    Export { tenant: TenantId },
    Profile(Box<Profile>),
    Token { token: Box<Token>, access_token: SecretString, refresh_token: Option<SecretString> },
    End { profiles: u64, tokens: u64 },
}

/// Seals records and writes them on.
struct Sealing<'a> {
    sealer: Box<dyn HpkeSealer>,
    out: &'a mut dyn Write,
}

impl<'a> Sealing<'a> {
    fn begin(recipient: &Recipient, out: &'a mut dyn Write) -> Result<Self, OperatorError> {
        let public = HpkePublicKey(recipient.0.to_vec());
        let (encapsulated, sealer) =
            SUITE.setup_sealer(PREAMBLE, &public).map_err(|_| OperatorError::Export("the recipient is no key"))?;
        out.write_all(PREAMBLE)?;
        out.write_all(&encapsulated.0)?;
        Ok(Self { sealer, out })
    }

    fn write(&mut self, record: &Written<'_>) -> Result<(), OperatorError> {
        // sized once, so that growing leaves no copy behind
        let mut plaintext = Zeroizing::new(Vec::with_capacity(LONGEST));
        serde_json::to_writer(&mut *plaintext, record).map_err(std::io::Error::from)?;
        let sealed = self.sealer.seal(&[], &plaintext).map_err(std::io::Error::other)?;
        let length = u32::try_from(sealed.len()).map_err(std::io::Error::other)?;
        self.out.write_all(&length.to_be_bytes())?;
        Ok(self.out.write_all(&sealed)?)
    }
}

/// Reads records and opens them.
struct Opening<'a> {
    opener: Box<dyn HpkeOpener>,
    from: &'a mut dyn Read,
}

const CUT_OFF: OperatorError = OperatorError::Export("it was cut off; what came before was imported");

impl<'a> Opening<'a> {
    fn begin(identity: &Identity, from: &'a mut dyn Read) -> Result<Self, OperatorError> {
        let mut head = [0; PREAMBLE.len() + KEY_LEN];
        from.read_exact(&mut head).map_err(|_| OperatorError::Export("it is none"))?;
        let (preamble, encapsulated) = head.split_at(PREAMBLE.len());
        if preamble != PREAMBLE {
            return Err(OperatorError::Export("it is none, or of another version"));
        }
        let encapsulated = EncapsulatedSecret(encapsulated.to_vec());
        let opener = SUITE
            .setup_opener(&encapsulated, PREAMBLE, &identity.0)
            .map_err(|_| OperatorError::Export("it was damaged"))?;
        Ok(Self { opener, from })
    }

    fn next(&mut self) -> Result<Record, OperatorError> {
        let mut length = [0; size_of::<u32>()];
        self.from.read_exact(&mut length).map_err(|_| CUT_OFF)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > LONGEST {
            return Err(OperatorError::Export("it was damaged"));
        }
        let mut sealed = vec![0; length];
        self.from.read_exact(&mut sealed).map_err(|_| CUT_OFF)?;
        let opened = self.opener.open(&[], &sealed);
        let opened = opened.map_err(|_| OperatorError::Export("it is for another identity, or was damaged"))?;
        // serde's message may quote a secret, so it is dropped
        serde_json::from_slice(&Zeroizing::new(opened)).map_err(|_| OperatorError::Export("it is of another version"))
    }
}

/// Writes a tenant's profiles and tokens to `out`, sealed to `recipient`; with `moving` also those whose refresh token
/// works once, which are not here any more then.
///
/// # Errors
/// When a table or the key is out of reach, or `out` does not take it. What was moved by then is nowhere but in `out`.
pub async fn export(
    deployment: &Deployment,
    tenant: &TenantId,
    recipient: &Recipient,
    moving: bool,
    out: &mut dyn Write,
    progress: Progress<'_>,
) -> Result<Transfer, OperatorError> {
    let (vault, keys, mut transfer) = (deployment.vault(), deployment.keys(), Transfer::default());
    let mut sealing = Sealing::begin(recipient, out)?;
    sealing.write(&Written::Export { tenant, stage: &deployment.facts.stage, at: deployment.clock.now() })?;
    let mut after = None;
    loop {
        let page = vault.profiles(tenant, after.as_ref(), PAGE).await?;
        for listed in page.profiles {
            // the list's index may be a moment behind
            let Some((profile, tokens)) = vault.holdings(tenant, &listed.profile.profile).await? else { continue };
            sealing.write(&Written::Profile(&profile))?;
            transfer.profiles += 1;
            for held in tokens {
                let key = TokenKey { tenant: tenant.clone(), profile: profile.profile.clone(), token: held.token.id() };
                let name = format!("{} {}", key.profile, key.token);
                match take(&vault, &keys, &key, held, moving, deployment.clock.now()).await? {
                    Ok((token, Grant { access_token, refresh_token, .. })) => {
                        sealing.write(&Written::Token {
                            token: &token,
                            access_token: access_token.expose_secret(),
                            refresh_token: refresh_token.as_ref().map(SecretString::expose_secret),
                        })?;
                        transfer.tokens += 1;
                    }
                    Err(why) => transfer.left.push((name, why)),
                }
                progress(&format!("{} tokens exported", transfer.tokens));
            }
        }
        let Some(next) = page.next else { break };
        after = Some(next);
    }
    sealing.write(&Written::End { profiles: transfer.profiles, tokens: transfer.tokens })?;
    sealing.out.flush()?;
    Ok(transfer)
}

/// A token with its grant opened, out of the vault where it may be in one place alone; or why it is left.
async fn take(
    vault: &Vault,
    keys: &TenantKeys,
    key: &TokenKey,
    held: Held,
    moving: bool,
    now: Timestamp,
) -> Result<Result<(Token, Grant), &'static str>, OperatorError> {
    let once = key.profile.kind().network().provider().spends_refresh_tokens();
    if held.token.state_at(now).is_over() {
        return Ok(Err("its owner has to sign in again"));
    }
    if once && !moving {
        return Ok(Err("its refresh token works once: --move takes it along and ends it here"));
    }
    let grant = match held.grant.open(keys).await {
        Ok(grant) => grant,
        Err(KeysError::Unsealable(_)) => return Ok(Err("it does not open")),
        Err(error) => return Err(error.into()),
    };
    if once {
        if held.renewal.attempt.is_some() || !held.renewal.candidates.is_empty() {
            return Ok(Err("a refresh of it is not finished: run it again later"));
        }
        match vault.relinquish(key, &held, now).await {
            Ok(()) => {}
            Err(StoreError::Conflict) => return Ok(Err("it changed at this moment: run it again")),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Ok((held.token, grant)))
}

/// Reads what was exported and writes what is not here yet: never over a sign-in that is as new or newer. Repeating it
/// changes nothing more. The tokens become those of `tenant`, or of the tenant that they were exported from.
///
/// # Errors
/// When it is no export for this identity, a table or the key is out of reach, or the tenant was shredded.
pub async fn import(
    deployment: &Deployment,
    tenant: Option<&TenantId>,
    identity: &Identity,
    from: &mut dyn Read,
    progress: Progress<'_>,
) -> Result<Transfer, OperatorError> {
    let (vault, keys, mut transfer) = (deployment.vault(), deployment.keys(), Transfer::default());
    let apps = deployment.apps().all().await?;
    let mut opening = Opening::begin(identity, from)?;
    let Record::Export { tenant: exported } = opening.next()? else {
        return Err(OperatorError::Export("it does not begin with its tenant"));
    };
    let tenant = tenant.unwrap_or(&exported);
    let (mut profiles, mut tokens) = (0, 0);
    loop {
        match opening.next()? {
            Record::Export { .. } => return Err(OperatorError::Export("it begins twice")),
            Record::Profile(profile) => {
                profiles += 1;
                transfer.profiles += u64::from(vault.import_profile(tenant, &profile).await?);
            }
            Record::Token { token, access_token, refresh_token } => {
                tokens += 1;
                let known =
                    apps.iter().any(|app| app.network == token.profile.kind().network() && app.client_id == token.app);
                let grant = Grant { access_token, refresh_token, terms: Terms::default() };
                let key = TokenKey { tenant: tenant.clone(), profile: token.profile.clone(), token: token.id() };
                if !known {
                    let name = format!("{} {}", key.profile, key.token);
                    transfer.left.push((name, "the app that it was granted to is not in this deployment's secret"));
                } else if put(deployment, &vault, &keys, &key, &token, &grant).await? {
                    transfer.tokens += 1;
                } else {
                    transfer.there += 1;
                }
            }
            Record::End { profiles: all, tokens: of_all } if (all, of_all) == (profiles, tokens) => {
                return Ok(transfer);
            }
            Record::End { .. } => return Err(CUT_OFF),
        }
        progress(&format!("{} tokens imported", transfer.tokens));
    }
}

/// Writes a token if none is here with a sign-in as new; tells whether it was written.
async fn put(
    deployment: &Deployment,
    vault: &Vault,
    keys: &TenantKeys,
    key: &TokenKey,
    token: &Token,
    grant: &Grant,
) -> Result<bool, OperatorError> {
    let ladder = vault.settings(&key.tenant, true).await?.ladder;
    for look in 1..=LOOKS {
        let now = deployment.clock.now();
        let before = vault.token(key).await?;
        if before.as_ref().is_some_and(|before| before.token.connected_at >= token.connected_at) {
            return Ok(false);
        }
        // as for a sign-in: never a generation that this token had before
        let first = u64::try_from(now.as_second()).unwrap_or_default();
        let generation = before.as_ref().map_or(first, |before| first.max(before.renewal.fence + 1));
        let token = Token { generation, ..token.clone() };
        let sealed = SealedGrant::seal(keys, GrantPlace::of_token(&key.tenant, &token), grant).await?;
        match vault.import_token(key, &token, &sealed, before.as_ref(), &ladder, now).await {
            Ok(()) => return Ok(true),
            Err(StoreError::Conflict) if look < LOOKS => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back_as_they_were_written() {
        let (identity, recipient) = Identity::new().unwrap();
        assert_eq!(recipient.to_string().parse(), Ok(recipient.clone()));
        assert_eq!(Identity::read(&identity.text()).unwrap().text().expose_secret(), identity.text().expose_secret());
        assert_eq!(identity.text().expose_secret().parse::<Recipient>(), Err(NoKey("recipient")));
        for text in ["", "age1qqqq", "tokenward-recipient-", "tokenward-recipient-AAAA"] {
            assert_eq!(text.parse::<Recipient>(), Err(NoKey("recipient")), "{text:?}");
        }
    }

    #[test]
    fn an_export_opens_for_its_recipient_alone_and_in_one_piece() {
        let (identity, recipient) = Identity::new().unwrap();
        let mut written = Vec::new();
        let mut sealing = Sealing::begin(&recipient, &mut written).unwrap();
        sealing.write(&Written::End { profiles: 1, tokens: 2 }).unwrap();
        sealing.write(&Written::End { profiles: 3, tokens: 4 }).unwrap();
        let read = |identity: &Identity, bytes: &[u8]| {
            let mut bytes = bytes;
            let mut opening = Opening::begin(identity, &mut bytes)?;
            match (opening.next()?, opening.next()?) {
                (Record::End { profiles, .. }, Record::End { tokens, .. }) => Ok((profiles, tokens)),
                _ => Err(CUT_OFF),
            }
        };
        assert_eq!(read(&identity, &written).unwrap(), (1, 4));
        assert!(read(&Identity::new().unwrap().0, &written).is_err());
        for length in 0..written.len() {
            assert!(read(&identity, &written[..length]).is_err(), "cut to {length}");
        }
        for at in 0..written.len() {
            let mut flipped = written.clone();
            flipped[at] ^= 1;
            assert!(read(&identity, &flipped).is_err(), "byte {at}");
        }
        // the second record in the place of the first
        let head = PREAMBLE.len() + KEY_LEN;
        let half = head + (written.len() - head) / 2;
        let swapped = [&written[..head], &written[half..], &written[head..half]].concat();
        assert!(read(&identity, &swapped).is_err());
    }
}
