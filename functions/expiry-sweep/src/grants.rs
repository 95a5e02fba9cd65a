//! Grants that belong to nobody any more: connect sessions that nobody completed, and revocations that are still to be made.

use jiff::Timestamp;
use shared::{
    connect::Ending,
    revoke::{GrantError, Revoked},
    store::{
        StoreError,
        flows::{DueFlow, Flow, Revocation},
    },
};

use crate::{Summary, Sweep};

impl Sweep {
    /// Does what is due for a row of the table of connect sessions: forgets it, or tries to end its grant.
    pub(crate) async fn end_grant(&self, id: &str, summary: &mut Summary, now: Timestamp) -> Result<(), GrantError> {
        let revocation = match self.revoker.flows.take_due(id, now).await? {
            None => return Ok(()),
            Some(DueFlow::Revocation(revocation)) => *revocation,
            Some(DueFlow::Session(flow)) => match self.abandon(*flow, now).await? {
                Some(revocation) => {
                    summary.abandoned += 1;
                    revocation
                }
                None => return Ok(()),
            },
        };
        match self.revoker.carry_out(&revocation, now).await? {
            Revoked::Done => summary.revoked += 1,
            Revoked::Shared => summary.shared += 1,
            Revoked::Impossible => summary.impossible += 1,
            Revoked::Later => summary.unrevoked += 1,
        }
        Ok(())
    }

    /// Forgets a session that nobody completed in time; its grant becomes a revocation.
    async fn abandon(&self, flow: Flow, now: Timestamp) -> Result<Option<Revocation>, StoreError> {
        let Flow { session, grant: Some(grant), .. } = flow else { return Ok(None) };
        let (Some(granted), Some(app)) = (&session.granted, &session.app) else { return Ok(None) };
        let revocation = Revocation::new(session.kind.network(), app, &granted.account.login, grant);
        match self.revoker.flows.end(&session, &Ending::expired(), Some(&revocation), now).await {
            Ok(()) => Ok(Some(revocation)),
            // it was completed at the last moment
            Err(StoreError::Conflict) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
