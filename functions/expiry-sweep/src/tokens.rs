//! What is due for a token: it is renewed, its network is asked how it is, or it grows older.

use jiff::Timestamp;
use shared::{
    access::Subject,
    clock::Deadline,
    inspect::Inspected,
    refresh::{Access, Wanted},
    revoke::GrantError,
    store::{
        StoreError,
        profiles::{Held, TokenKey},
    },
    token::{Step, Token},
};

use crate::{Summary, Sweep};

/// What came of renewing a token.
enum Kept {
    /// There is a new access token, or no token any more.
    Renewed,
    /// Its owner is told.
    Dead(Subject),
    /// Not now: the token as it is.
    Unrenewed(Box<Held>),
}

impl Sweep {
    /// Does what is due for one token; tells whom something was told.
    pub(crate) async fn see_to_token(
        &self,
        key: &TokenKey,
        summary: &mut Summary,
        deadline: Deadline,
        now: Timestamp,
    ) -> Result<Option<Subject>, GrantError> {
        let held = self.revoker.vault.token(key).await?.filter(|held| held.is_due(now));
        let Some(mut held) = held else { return Ok(None) };
        // what its time has ended is not asked about: it has expired, whatever else the network would say of it
        let over = held.token.state_at(now).is_over();
        let due = |at: Option<Timestamp>| !over && at.is_some_and(|at| at <= now);
        if due(held.token.renew_at()) {
            match self.keep_alive(key, held, summary, deadline).await? {
                Kept::Renewed => return Ok(None),
                Kept::Dead(owner) => return Ok(Some(owner)),
                // what cannot be renewed grows older
                Kept::Unrenewed(seen) => held = *seen,
            }
        } else if due(held.token.inspect_at()) {
            match self.refresher.inspect(key, &held, deadline).await? {
                Inspected::Dead(seen) => {
                    summary.died += 1;
                    return Ok(Some(seen.token.owner));
                }
                Inspected::Renewed => summary.renewed += 1,
                Inspected::Well | Inspected::ScopesChanged => summary.inspected += 1,
                Inspected::Resting | Inspected::AppPaused(_) | Inspected::Unknown(_) => summary.uninspected += 1,
                Inspected::Changed => {}
            }
            match self.revoker.vault.token(key).await? {
                Some(seen) => held = seen,
                None => return Ok(None),
            }
        }
        let step = self.age(key, &held.token, now).await?;
        match step {
            None => return Ok(None),
            Some(Step::Warning { .. }) => summary.warned += 1,
            Some(Step::Expired { .. }) => summary.expired += 1,
            Some(Step::Dead { .. }) => summary.died += 1,
        }
        Ok(Some(held.token.owner))
    }

    /// Ages one token; tells the step of which its owner was told.
    async fn age(&self, key: &TokenKey, token: &Token, now: Timestamp) -> Result<Option<Step>, StoreError> {
        let vault = &self.revoker.vault;
        let settings = self.settings(&key.tenant, now).await?;
        let Some(aged) = token.age(now, &settings.ladder) else {
            // not due by our reading: the index was behind, or the ladder changed
            if token.next_due(&settings.ladder).is_none_or(|at| at > now) {
                vault.reschedule(key, token, &settings.ladder).await?;
            }
            return Ok(None);
        };
        vault.age(key, token, aged, &settings, now).await?;
        Ok(aged.step.map(|(step, _)| step))
    }

    /// Renews what a machine renews before its time is over: a grant that nobody used for long, or one that ends.
    async fn keep_alive(
        &self,
        key: &TokenKey,
        held: Held,
        summary: &mut Summary,
        deadline: Deadline,
    ) -> Result<Kept, GrantError> {
        let before = held.token.generation;
        match self.refresher.access(key, held.clone(), Wanted::WhenDue, deadline).await? {
            Access::Good(seen, _) if seen.token.generation != before => {
                summary.renewed += 1;
                return Ok(Kept::Renewed);
            }
            Access::Over(seen) if seen.token.state.is_over() => {
                summary.died += 1;
                return Ok(Kept::Dead(seen.token.owner));
            }
            Access::Gone => return Ok(Kept::Renewed),
            Access::Good(..) | Access::Over(_) | Access::Busy | Access::Later(_) => summary.unrenewed += 1,
        }
        let seen = self.revoker.vault.token(key).await?;
        Ok(seen.map_or(Kept::Renewed, |seen| Kept::Unrenewed(Box::new(seen))))
    }
}
