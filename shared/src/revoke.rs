//! Ending a grant at its network, and nothing else with it.
//!
//! A revocation is a row before anything is asked, and is deleted only when the network has ended
//! the grant or when something else is found to live on it. Where revoking reaches further than
//! the grant itself, whatever else the same login granted to the same app in any tenant is looked
//! for first, connect sessions that wait to be completed included.

use std::sync::Arc;

use jiff::Timestamp;

use crate::{
    apps::{Apps, AppsError},
    exchange::Exchange,
    keys::{KeysError, TenantKeys},
    network::{Failure, Reach},
    store::{
        StoreError,
        flows::{Flows, Revocation},
        profiles::Vault,
    },
};

/// What came of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// The network has ended the grant.
    Done,
    /// Something else lives on the same grant, so it was left alone.
    Shared,
    /// The network has no way to end it: that is left to its owner's settings there.
    Impossible,
    /// The network could not be asked; it will be tried again.
    Later,
}

/// Why a grant could not be worked on.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// A table does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The tenant's key cannot be had.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The app cannot be had.
    #[error(transparent)]
    Apps(#[from] AppsError),
}

impl GrantError {
    /// Whether something that this takes is down: the same may go well a moment later.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(
            self,
            Self::Store(StoreError::Unavailable(_))
                | Self::Keys(KeysError::Unavailable(_))
                | Self::Apps(AppsError::Unavailable(_))
        )
    }
}

/// What ending grants takes.
#[derive(Clone)]
pub struct Revoker {
    /// Where tokens that may live on the same grant are.
    pub vault: Vault,
    /// Where revocations are.
    pub flows: Flows,
    /// Opens the grant.
    pub keys: Arc<TenantKeys>,
    /// The app that it was granted to.
    pub apps: Apps,
    /// Asks the network.
    pub exchange: Exchange,
}

impl Revoker {
    /// Tries a revocation; whatever happens, its row says what is left to do.
    ///
    /// # Errors
    /// When it could not be tried; its row stays due.
    pub async fn carry_out(&self, revocation: &Revocation, now: Timestamp) -> Result<Revoked, GrantError> {
        let of = &revocation.of;
        let provider = of.network.provider();
        if provider.revocation_reach() == Reach::Nothing {
            self.flows.settle(revocation).await?;
            return Ok(Revoked::Impossible);
        }
        if provider.revocation_reach() == Reach::Login
            && (self.flows.waits_on(of.network, &of.app, &of.login).await?
                || self.vault.lives_on(of.network, &of.app, &of.login).await?)
        {
            self.flows.settle(revocation).await?;
            return Ok(Revoked::Shared);
        }
        let app = self.apps.by_client_id(of.network, &of.app).await?;
        let grant = revocation.grant.open(&self.keys).await?;
        match self.exchange.run(of.network, provider.revoke(&app, &grant, &of.login)).await {
            Ok(()) | Err(Failure::Dead(_)) => {
                self.flows.settle(revocation).await?;
                Ok(Revoked::Done)
            }
            Err(failure) => {
                tracing::warn!(network = %of.network, attempts = of.attempts, %failure, "a grant is still to be revoked");
                self.flows.put_off(revocation, now).await?;
                Ok(Revoked::Later)
            }
        }
    }
}
