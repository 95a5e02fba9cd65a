//! Lets a changed ladder reach the tokens that were scheduled by the old one.

use shared::{
    access::TenantId,
    clock::Deadline,
    store::{StoreError, settings::TokenPage},
};

use crate::{Summary, Sweep};

impl Sweep {
    /// Goes through the tenant's tokens, from where the last sweep stopped. One that fails is passed by: it comes up
    /// when its old step is due.
    pub(crate) async fn reschedule(
        &self,
        tenant: &TenantId,
        summary: &mut Summary,
        deadline: Deadline,
    ) -> Result<(), StoreError> {
        let vault = &self.revoker.vault;
        while let Some(so_far) = vault.rescheduling(tenant, self.clock.now()).await? {
            if deadline.left().is_zero() {
                summary.unfinished = true;
                return Ok(());
            }
            let page: TokenPage = vault.tokens_after(tenant, &so_far).await?;
            for key in &page.keys {
                match vault.bring_forward(key, &so_far.ladder).await {
                    Ok(()) | Err(StoreError::Conflict) => {}
                    Err(error @ StoreError::Unavailable(_)) => return Err(error),
                    Err(error) => {
                        summary.failed += 1;
                        tracing::error!(%tenant, profile = %key.profile, %error, "a token was not rescheduled");
                    }
                }
            }
            vault.reached(tenant, &so_far, &page).await?;
        }
        Ok(())
    }
}
