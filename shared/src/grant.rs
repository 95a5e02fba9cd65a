//! A grant at rest: each secret sealed for its own place.
//!
//! A grant is sealed for a tenant, a profile, a token and a generation, field by field, so a row
//! that was moved, swapped or rolled back cannot be opened as another. The place travels with the
//! sealed grant, because a grant that waits for its revocation lies elsewhere than where it was
//! sealed for; a wrong place only means that it does not open.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    access::TenantId,
    keys::{KeysError, Sealer, TenantKeys},
    network::{Grant, Terms},
    profile::ProfileId,
    seal::{Place, Sealed, Unsealable},
    secret::SessionId,
    token::{Token, TokenId},
};

/// What a grant was sealed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantPlace {
    /// The organisation, whose key sealed it.
    pub tenant: TenantId,
    /// The profile, or `-` while it is unattached.
    pub profile: String,
    /// The token, or the connect session while it is unattached.
    pub token: String,
    /// The token's generation.
    pub generation: u64,
}

impl GrantPlace {
    /// The place of an unattached grant.
    #[must_use]
    pub fn unattached(tenant: &TenantId, session: &SessionId) -> Self {
        Self { tenant: tenant.clone(), profile: "-".to_owned(), token: session.to_string(), generation: 0 }
    }

    /// The place of a token's grant.
    #[must_use]
    pub fn of(tenant: &TenantId, profile: &ProfileId, token: &TokenId, generation: u64) -> Self {
        Self { tenant: tenant.clone(), profile: profile.to_string(), token: token.to_string(), generation }
    }

    /// The place of the grant that `token` has now.
    #[must_use]
    pub fn of_token(tenant: &TenantId, token: &Token) -> Self {
        Self::of(tenant, &token.profile, &token.id(), token.generation)
    }

    fn field<'a>(&'a self, field: &'a str) -> Place<'a> {
        Place {
            tenant: self.tenant.as_str(),
            profile: &self.profile,
            token: &self.token,
            field,
            generation: self.generation,
        }
    }
}

/// A sealed grant and what it was sealed for.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedGrant {
    /// What it was sealed for.
    pub place: GrantPlace,
    /// The sealed access token.
    pub access_token: Sealed,
    /// The sealed refresh token, if there is one.
    pub refresh_token: Option<Sealed>,
}

impl fmt::Debug for SealedGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedGrant({:?})", self.place)
    }
}

impl SealedGrant {
    /// Seals `grant` for `place`.
    ///
    /// # Errors
    /// When the tenant's key cannot be had now.
    pub async fn seal(keys: &TenantKeys, place: GrantPlace, grant: &Grant) -> Result<Self, KeysError> {
        Ok(Self::seal_with(&keys.sealer(place.tenant.as_str()).await?, place, grant))
    }

    /// Seals `grant` for `place` with a key that is in hand.
    #[must_use]
    pub fn seal_with(sealer: &Sealer, place: GrantPlace, grant: &Grant) -> Self {
        let access_token = sealer.seal(&place.field("access_token"), &grant.access_token);
        let refresh_token = grant.refresh_token.as_ref().map(|token| sealer.seal(&place.field("refresh_token"), token));
        Self { place, access_token, refresh_token }
    }

    /// The oldest key that is needed to open it, read without any key and so not yet authenticated.
    ///
    /// # Errors
    /// When it is no sealed grant.
    pub fn key_version(&self) -> Result<u32, Unsealable> {
        let access_token = self.access_token.key_version()?;
        let refresh_token = self.refresh_token.as_ref().map(Sealed::key_version).transpose()?;
        Ok(refresh_token.map_or(access_token, |version| version.min(access_token)))
    }

    /// Opens it. What the network said of it is kept elsewhere, in the row.
    ///
    /// # Errors
    /// When the tenant's key cannot be had now, or the grant does not belong where it lies.
    pub async fn open(&self, keys: &TenantKeys) -> Result<Grant, KeysError> {
        let access_token = keys.open(&self.place.field("access_token"), &self.access_token).await?;
        let refresh_token = match &self.refresh_token {
            Some(sealed) => Some(keys.open(&self.place.field("refresh_token"), sealed).await?),
            None => None,
        };
        Ok(Grant { access_token, refresh_token, terms: Terms::default() })
    }
}

/// Seals the PKCE verifier of a connect session.
///
/// # Errors
/// When the tenant's key cannot be had now.
pub async fn seal_verifier(
    keys: &TenantKeys,
    tenant: &TenantId,
    session: &SessionId,
    verifier: &SecretString,
) -> Result<Sealed, KeysError> {
    debug_assert!(!verifier.expose_secret().is_empty());
    keys.seal(&GrantPlace::unattached(tenant, session).field("code_verifier"), verifier).await
}

/// Opens the PKCE verifier of a connect session.
///
/// # Errors
/// When the tenant's key cannot be had now, or the verifier belongs to another session.
pub async fn open_verifier(
    keys: &TenantKeys,
    tenant: &TenantId,
    session: &SessionId,
    sealed: &Sealed,
) -> Result<SecretString, KeysError> {
    keys.open(&GrantPlace::unattached(tenant, session).field("code_verifier"), sealed).await
}
