//! What is due in the table of connect sessions: sessions that nobody completed, revocations that are still to be made, and
//! networks' messages that a request could not do all of.

use jiff::Timestamp;
use shared::{
    clock::Deadline,
    connect::Ending,
    revoke::{GrantError, Revoked, Revoker},
    store::{
        StoreError,
        account_events::Received,
        flows::{DueFlow, Flow, Revocation},
    },
};

use crate::{Summary, Sweep};

impl Sweep {
    /// Does what is due for a row of the table of connect sessions: forgets it, or tries to end its grant.
    pub(crate) async fn end_grant(
        &self,
        id: &str,
        summary: &mut Summary,
        deadline: Deadline,
        now: Timestamp,
    ) -> Result<(), GrantError> {
        let revocation = match self.revoker.flows.take_due(id, now).await? {
            None => return Ok(()),
            Some(DueFlow::Revocation(revocation)) => *revocation,
            Some(DueFlow::Received(received)) => return Ok(self.go_on(&received, deadline, now).await?),
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

    /// Goes on with a network's message where a request could not come to its end.
    async fn go_on(&self, received: &Received, deadline: Deadline, now: Timestamp) -> Result<(), StoreError> {
        let Revoker { vault, flows, .. } = &self.revoker;
        let Ok(event) = &received.todo else { return Ok(()) };
        if vault.meet(event, deadline, now).await?.complete {
            flows.finish(received, now).await?;
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
