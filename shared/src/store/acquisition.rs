//! Acquisition at a network, as a whole tenant has it.

use jiff::Timestamp;

use super::{StoreError, profiles::Vault};
use crate::{access::TenantId, health::acquires, profile::Network, profile::Use, token::Token};

/// So many tokens are read to say how a network stands: far more than change its colour.
const LOOKS: usize = 100;

impl Vault {
    /// The tenant's tokens by which public posts of `network` come in. The index says where to look, and each row is read
    /// strongly; a token that was allowed a moment ago may be missing.
    ///
    /// # Errors
    /// When the table does not answer or a row cannot be read.
    pub async fn acquirers(
        &self,
        tenant: &TenantId,
        network: Network,
        now: Timestamp,
    ) -> Result<Vec<Token>, StoreError> {
        let pool = self.pool(tenant, network, Use::SearchAcquisition).await?;
        let mut acquirers = Vec::new();
        for hint in pool.into_iter().filter(|hint| !hint.state.is_over()).take(LOOKS) {
            match self.token(&hint.key).await {
                Ok(held) => acquirers.extend(held.map(|held| held.token).filter(|token| acquires(token, now))),
                // it cannot be used, and keeps nobody from seeing the others
                Err(StoreError::Unreadable(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(acquirers)
    }
}
