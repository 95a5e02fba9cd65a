//! The scheduled sweep: renews, inspects and ages tokens, watches acquisition, mails people, ends grants that nobody took
//! over, finishes removals of users.
//!
//! What is due is found by index, so the cost follows the due rows and not the stored ones. Each
//! row is done by itself: one that fails is logged, stays due and stands in nobody's way. Running
//! the same sweep again changes nothing more, because every change is conditional on the row as
//! it was read.

use std::{collections::BTreeSet, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use shared::{
    access::{Subject, TenantId},
    clock::{Clock, Deadline},
    connect::{Ending, ReturnUrls},
    edge::Fatal,
    inspect::Inspected,
    mail::Mailer,
    profile::{Network, TokenKind},
    recent::Recent,
    refresh::{Access, Refresher, Wanted},
    revoke::{GrantError, Revoked, Revoker},
    settings::Settings,
    store::{
        StoreError,
        account_events::Received,
        flows::{DueFlow, Flow, Revocation},
        outbox::Recipient,
        profiles::{DueRow, Held, TokenKey},
    },
    token::{Step, Token},
};

mod letter;
mod mailing;
mod reschedule;

/// A sweep stops in time before Lambda stops it; what is left is due at the next.
const BUDGET: Duration = Duration::from_mins(3);
/// Removals of users take no more of a sweep, so that a large one leaves time for everything else.
const REMOVING_LIMIT: Duration = Duration::from_mins(1);

/// What is due besides tokens.
#[derive(Default)]
struct Due {
    outboxes: BTreeSet<(TenantId, Recipient)>,
    removals: BTreeSet<(TenantId, Subject)>,
    settings: BTreeSet<TenantId>,
    acquisition: BTreeSet<(TenantId, Network)>,
}

/// An attempt to refresh may run so long: longer than this function lives.
pub const REFRESH_LEASE: SignedDuration = SignedDuration::from_secs(245);

/// Everything that this function can reach; the same list as its IAM statements.
pub struct Sweep {
    /// The tables, the keys, the apps and the networks, to end grants.
    pub revoker: Revoker,
    /// The same, and the spill queue, to keep grants alive.
    pub refresher: Refresher,
    /// Writes to people.
    pub mailer: Mailer,
    /// The page that signs a person in and begins reauthenticating a profile.
    pub reauthenticate_url: String,
    /// The pages that a tenant may choose instead.
    pub return_urls: ReturnUrls,
    /// What was read a moment ago and changes rarely.
    pub recent: Memory,
    /// The time.
    pub clock: Clock,
}

/// What came of renewing a token.
enum Kept {
    /// There is a new access token, or no token any more.
    Renewed,
    /// Its owner is told.
    Dead(Subject),
    /// Not now: the token as it is.
    Unrenewed(Box<Held>),
}

/// The settings of tenants, remembered for a few seconds.
pub type Memory = Recent<TenantId, Settings>;

/// What one sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Tokens whose owners were warned.
    pub warned: u32,
    /// Tokens that ended.
    pub expired: u32,
    /// Tokens that were renewed: nobody had used them for long, or they would have ended.
    pub renewed: u32,
    /// Such tokens that could not be renewed now; they stay due.
    pub unrenewed: u32,
    /// Tokens of which their network said that they are in order.
    pub inspected: u32,
    /// Tokens of which their network did not say how they are; it is asked again within hours.
    pub uninspected: u32,
    /// Tokens that their network said are dead.
    pub died: u32,
    /// Networks at which acquisition got worse.
    pub worsened: u32,
    /// Mails that the mail service took.
    pub mailed: u32,
    /// Mails that may have been sent: no answer came.
    pub unanswered: u32,
    /// Mails that are tried again later.
    pub postponed: u32,
    /// Connect sessions that nobody completed.
    pub abandoned: u32,
    /// Users whose removal is finished.
    pub removed: u32,
    /// Grants that were ended at the network.
    pub revoked: u32,
    /// Grants that were left alone because something else lives on them.
    pub shared: u32,
    /// Grants that the network has no way to end.
    pub impossible: u32,
    /// Grants that the network could not be asked to end.
    pub unrevoked: u32,
    /// Rows that failed; they stay due.
    pub failed: u32,
    /// Whether the time ran out before the end.
    pub unfinished: bool,
}

impl Due {
    /// Somebody was told something of a token: it is mailed, and may have been the last that acquisition lived on.
    fn told(&mut self, key: &TokenKey, owner: Subject) {
        self.outboxes.insert((key.tenant.clone(), Recipient::Person(owner)));
        if key.token.kind() == TokenKind::Acquisition {
            self.acquisition.insert((key.tenant.clone(), key.profile.kind().network()));
        }
    }
}

impl Sweep {
    /// One invocation: whatever the schedule sends in, the [`Summary`] out.
    ///
    /// # Errors
    /// When the tables cannot be asked what is due; the schedule tries again.
    pub async fn invoke(&self, _event: serde_json::Value) -> Result<serde_json::Value, Fatal> {
        Ok(serde_json::to_value(self.run().await?)?)
    }

    /// Does what is due.
    ///
    /// # Errors
    /// When the tables cannot be asked what is due.
    pub async fn run(&self) -> Result<Summary, StoreError> {
        let deadline = Deadline::after(BUDGET);
        let mut summary = Summary::default();
        let mut due = self.age_tokens(&mut summary, deadline).await?;
        self.spread_ladders(&due, &mut summary, deadline).await;
        self.finish_removals(&due.removals, &mut summary, deadline).await;
        self.look_at_acquisition(&mut due, &mut summary, deadline).await;
        self.end_grants(&mut summary, deadline).await?;
        // last, so that one mail holds all that this sweep has to say to a person
        self.mail_outboxes(&due, &mut summary, deadline).await;
        tracing::info!(summary = %serde_json::json!(summary), "swept");
        Ok(summary)
    }

    /// Ages the tokens that are due; tells what else is due now.
    async fn age_tokens(&self, summary: &mut Summary, deadline: Deadline) -> Result<Due, StoreError> {
        let (vault, now) = (&self.revoker.vault, self.clock.now());
        let (mut cursor, mut due) = (vault.due_cursor(), Due::default());
        while let Some(rows) = vault.due(&mut cursor, now).await? {
            for row in rows {
                let key = match row {
                    DueRow::Token(key) => key,
                    DueRow::Outbox(tenant, recipient) => {
                        due.outboxes.insert((tenant, recipient));
                        continue;
                    }
                    DueRow::Removal(tenant, person) => {
                        due.removals.insert((tenant, person));
                        continue;
                    }
                    DueRow::Settings(tenant) => {
                        due.settings.insert(tenant);
                        continue;
                    }
                    DueRow::Acquisition(tenant, network) => {
                        due.acquisition.insert((tenant, network));
                        continue;
                    }
                };
                if deadline.left().is_zero() {
                    summary.unfinished = true;
                    return Ok(due);
                }
                match self.see_to(&key, summary, deadline, now).await {
                    Ok(Some(owner)) => {
                        // an outbox too many is looked at in vain
                        let settings = self.settings(&key.tenant, now).await;
                        if settings.map_or(true, |settings| !settings.administrators.is_empty()) {
                            due.outboxes.insert((key.tenant.clone(), Recipient::Administrators));
                        }
                        due.told(&key, owner);
                    }
                    Ok(None) | Err(GrantError::Store(StoreError::Conflict)) => {}
                    Err(error) => {
                        summary.failed += 1;
                        tracing::error!(tenant = %key.tenant, profile = %key.profile, %error, "a due token failed");
                    }
                }
            }
        }
        Ok(due)
    }

    /// Goes on where removals of users were cut off. Their grants are due at once: this sweep ends them too.
    async fn finish_removals(&self, people: &BTreeSet<(TenantId, Subject)>, summary: &mut Summary, deadline: Deadline) {
        let limit = Deadline::after(deadline.left().min(REMOVING_LIMIT));
        for (tenant, person) in people {
            match self.finish_removal(tenant, person, limit).await {
                Ok(true) => summary.removed += 1,
                Ok(false) => summary.unfinished = true,
                // the user was removed anew
                Err(StoreError::Conflict) => {}
                Err(error) => {
                    summary.failed += 1;
                    tracing::error!(%tenant, %error, "the removal of a user failed");
                }
            }
        }
    }

    /// Whether the removal of this user is finished.
    async fn finish_removal(&self, tenant: &TenantId, person: &Subject, limit: Deadline) -> Result<bool, StoreError> {
        let Revoker { vault, flows, .. } = &self.revoker;
        let Some(removal) = vault.removal(tenant, person).await? else { return Ok(true) };
        let began = self.clock.now();
        let pass = vault.pursue(flows, &removal, limit, began).await?;
        if pass.complete {
            vault.finish(&removal, began).await?;
        }
        Ok(pass.complete)
    }

    /// Does what is due for one token; tells whom something was told.
    async fn see_to(
        &self,
        key: &TokenKey,
        summary: &mut Summary,
        deadline: Deadline,
        now: Timestamp,
    ) -> Result<Option<Subject>, GrantError> {
        let Some(mut held) = self.revoker.vault.token(key).await? else { return Ok(None) };
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

    /// The tenant's settings; read once, however many of its rows are due.
    async fn settings(&self, tenant: &TenantId, now: Timestamp) -> Result<Settings, StoreError> {
        let read = async { self.revoker.vault.settings(tenant, false).await.map(Some) };
        Ok(self.recent.get(tenant.clone(), now, read).await?.unwrap_or_default())
    }

    /// Looks whether acquisition got worse where it may have; adds whom that was told to those who are mailed.
    async fn look_at_acquisition(&self, due: &mut Due, summary: &mut Summary, deadline: Deadline) {
        let (vault, now) = (&self.revoker.vault, self.clock.now());
        for (tenant, network) in std::mem::take(&mut due.acquisition) {
            let mut more = true;
            while more {
                if deadline.left().is_zero() {
                    summary.unfinished = true;
                    return;
                }
                let looked = async {
                    let mailed = !self.settings(&tenant, now).await?.administrators.is_empty();
                    vault.look_at_acquisition(&tenant, network, mailed, now).await
                };
                match looked.await {
                    Ok(told) => {
                        summary.worsened += u32::from(told.recipients.contains(&Recipient::Administrators));
                        due.outboxes.extend(told.recipients.into_iter().map(|recipient| (tenant.clone(), recipient)));
                        more = told.more;
                    }
                    // it changed meanwhile, or another sweep is at it: it stays due
                    Err(StoreError::Conflict) => more = false,
                    Err(error) => {
                        summary.failed += 1;
                        more = false;
                        tracing::error!(%tenant, %network, %error, "acquisition could not be looked at");
                    }
                }
            }
        }
    }

    async fn spread_ladders(&self, due: &Due, summary: &mut Summary, deadline: Deadline) {
        for tenant in &due.settings {
            match self.reschedule(tenant, summary, deadline).await {
                // another sweep is at it, or the ladder changed again
                Ok(()) | Err(StoreError::Conflict) => {}
                Err(error) => {
                    summary.failed += 1;
                    tracing::error!(%tenant, %error, "a changed ladder has not reached all tokens");
                }
            }
        }
    }

    async fn end_grants(&self, summary: &mut Summary, deadline: Deadline) -> Result<(), StoreError> {
        let (flows, now) = (&self.revoker.flows, self.clock.now());
        let mut cursor = flows.due_cursor();
        while let Some(ids) = flows.due(&mut cursor, now).await? {
            for id in ids {
                if deadline.left().is_zero() {
                    summary.unfinished = true;
                    return Ok(());
                }
                if let Err(error) = self.end_grant(&id, summary, deadline, now).await {
                    summary.failed += 1;
                    tracing::error!(row = %id, %error, "a due flow failed");
                }
            }
        }
        Ok(())
    }

    async fn end_grant(
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
