//! The scheduled sweep: ages tokens, mails their owners, ends grants that nobody took over, finishes removals of users.
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
    connect::Ending,
    edge::Fatal,
    inspect::Inspected,
    mail::{Mailer, SendError},
    refresh::{Access, Refresher, Wanted},
    revoke::{GrantError, Revoked, Revoker},
    store::{
        StoreError,
        flows::{DueFlow, Flow, Revocation},
        outbox::{MAIL_INTERVAL, Notice, Outbox, Sending, Sent},
        profiles::{DueRow, Held, TokenKey},
    },
    token::{Ladder, State, Step, Token},
};

mod letter;

/// A sweep stops in time before Lambda stops it; what is left is due at the next.
const BUDGET: Duration = Duration::from_mins(3);
/// One mail holds at most so many entries: all of them are taken out in one transaction.
const LETTER_LIMIT: usize = 80;
/// Removals of users take no more of a sweep, so that a large one leaves time for everything else.
const REMOVING_LIMIT: Duration = Duration::from_mins(1);
/// When a mail that the mail service did not take is tried again.
const TRY_AGAIN: SignedDuration = SignedDuration::from_mins(5);
/// When a mail that the mail service refused is tried again; an operator has to act before.
const REFUSED_AGAIN: SignedDuration = SignedDuration::from_hours(1);

/// People of an organisation.
type People = BTreeSet<(TenantId, Subject)>;

/// Who is due for something.
#[derive(Default)]
struct Due {
    /// Their outboxes are looked at.
    outboxes: People,
    /// Their removal is not finished.
    removals: People,
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
        let due = self.age_tokens(&mut summary, deadline).await?;
        self.finish_removals(&due.removals, &mut summary, deadline).await;
        self.end_grants(&mut summary, deadline).await?;
        // last, so that one mail holds all that this sweep has to say to a person
        self.mail_outboxes(&due.outboxes, &mut summary, deadline).await;
        tracing::info!(summary = %serde_json::json!(summary), "swept");
        Ok(summary)
    }

    /// Ages the tokens that are due; tells whose outboxes and removals are due now.
    async fn age_tokens(&self, summary: &mut Summary, deadline: Deadline) -> Result<Due, StoreError> {
        let (vault, now) = (&self.revoker.vault, self.clock.now());
        let (mut cursor, mut due) = (vault.due_cursor(), Due::default());
        while let Some(rows) = vault.due(&mut cursor, now).await? {
            for row in rows {
                let key = match row {
                    DueRow::Token(key) => key,
                    DueRow::Outbox(tenant, person) => {
                        due.outboxes.insert((tenant, person));
                        continue;
                    }
                    DueRow::Removal(tenant, person) => {
                        due.removals.insert((tenant, person));
                        continue;
                    }
                };
                if deadline.left().is_zero() {
                    summary.unfinished = true;
                    return Ok(due);
                }
                match self.see_to(&key, summary, deadline, now).await {
                    Ok(Some(owner)) => {
                        due.outboxes.insert((key.tenant, owner));
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
    async fn finish_removals(&self, people: &People, summary: &mut Summary, deadline: Deadline) {
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
        let due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        // what its time has ended is not asked about: it has expired, whatever else the network would say of it
        let over = held.token.state_at(now).is_over();
        if !over && due(held.token.renew_at()) {
            match self.keep_alive(key, held, summary, deadline).await? {
                Kept::Renewed => return Ok(None),
                Kept::Dead(owner) => return Ok(Some(owner)),
                // what cannot be renewed grows older
                Kept::Unrenewed(seen) => held = *seen,
            }
        } else if !over && due(held.token.inspect_at()) {
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
        let (vault, ladder) = (&self.revoker.vault, Ladder::default());
        let Some(aged) = token.age(now, &ladder) else {
            // not due by our reading: the index was behind, or the ladder changed
            if token.next_due(&ladder).is_none_or(|at| at > now) {
                vault.reschedule(key, token, &ladder).await?;
            }
            return Ok(None);
        };
        vault.age(key, token, aged, &ladder, now).await?;
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
        let was_over = held.token.state_at(self.clock.now()).is_over();
        match self.refresher.access(key, held.clone(), Wanted::WhenDue, deadline).await? {
            Access::Good(seen, _) if seen.token.generation != before => {
                summary.renewed += 1;
                return Ok(Kept::Renewed);
            }
            Access::Over(seen) if !was_over => {
                summary.died += 1;
                return Ok(Kept::Dead(seen.token.owner));
            }
            Access::Gone => return Ok(Kept::Renewed),
            Access::Good(..) | Access::Over(_) | Access::Busy | Access::Later(_) => summary.unrenewed += 1,
        }
        let seen = self.revoker.vault.token(key).await?;
        Ok(seen.map_or(Kept::Renewed, |seen| Kept::Unrenewed(Box::new(seen))))
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
                if let Err(error) = self.end_grant(&id, summary, now).await {
                    summary.failed += 1;
                    tracing::error!(row = %id, %error, "a due flow failed");
                }
            }
        }
        Ok(())
    }

    async fn end_grant(&self, id: &str, summary: &mut Summary, now: Timestamp) -> Result<(), GrantError> {
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

    async fn mail_outboxes(&self, people: &People, summary: &mut Summary, deadline: Deadline) {
        let now = self.clock.now();
        for (tenant, person) in people {
            if deadline.left().is_zero() {
                summary.unfinished = true;
                return;
            }
            match self.mail(tenant, person, summary, now).await {
                // another sweep is at it
                Ok(()) | Err(StoreError::Conflict) => {}
                Err(error) => {
                    summary.failed += 1;
                    tracing::error!(%tenant, %error, "a due outbox failed");
                }
            }
        }
    }

    /// Mails what waits in a person's outbox, as one letter, at most once an hour.
    async fn mail(
        &self,
        tenant: &TenantId,
        person: &Subject,
        summary: &mut Summary,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let vault = &self.revoker.vault;
        let outbox = vault.outbox(tenant, person).await?;
        if let Some(sending) = &outbox.sending {
            if sending.is_lost(now) {
                tracing::warn!(%tenant, "a mail was begun and its end is not known");
                summary.unanswered += 1;
                vault.end_mail(tenant, person, sending, Sent::Unanswered, now).await?;
            }
            return Ok(());
        }
        let (wanted, stale) = self.still_true(tenant, &outbox).await?;
        // what did not fit is looked at by the next sweep
        let more = (outbox.entries.len() > LETTER_LIMIT).then_some(now);
        if wanted.is_empty() {
            return vault.rest_outbox(tenant, person, &outbox, &stale, more).await;
        }
        if let Some(again) = outbox.last_sent_at.map(|at| at + MAIL_INTERVAL).filter(|again| *again > now) {
            return vault.rest_outbox(tenant, person, &outbox, &stale, Some(again)).await;
        }
        let user = vault.user(tenant, person, false).await?;
        let Some(address) = user.email.clone().filter(|_| user.is_here()) else {
            tracing::warn!(%tenant, waiting = wanted.len(), "there is no address to write to");
            let all: Vec<_> = outbox.entries.iter().map(|(key, _)| key.clone()).take(LETTER_LIMIT).collect();
            return vault.rest_outbox(tenant, person, &outbox, &all, more).await;
        };
        let mut entries: Vec<_> = wanted.iter().map(|(key, _)| key.clone()).collect();
        entries.extend(stale);
        entries.truncate(LETTER_LIMIT);
        vault.begin_mail(tenant, person, &outbox, &entries, now).await?;
        let sending = Sending { since: now, entries };
        let notices: Vec<&Notice> = wanted.iter().map(|(_, notice)| *notice).collect();
        let letter = letter::write(&notices, &self.reauthenticate_url, now);
        match self.mailer.send(&address, &letter, now).await {
            Ok(()) => {
                summary.mailed += 1;
                vault.end_mail(tenant, person, &sending, Sent::Accepted, now).await
            }
            Err(error @ SendError::Unanswered(_)) => {
                tracing::error!(%tenant, error = chain(&error), "a mail was not answered; it is not sent again");
                summary.unanswered += 1;
                vault.end_mail(tenant, person, &sending, Sent::Unanswered, now).await
            }
            Err(error @ (SendError::Later(_) | SendError::Refused(_) | SendError::BadAddress)) => {
                tracing::error!(%tenant, error = chain(&error), "a mail was not taken; it is tried again");
                summary.postponed += 1;
                let wait = if matches!(error, SendError::Later(_)) { TRY_AGAIN } else { REFUSED_AGAIN };
                vault.take_back_mail(tenant, person, &sending, now + wait).await
            }
        }
    }

    /// The entries that are still true, the newest of each token and at most a letter's worth of
    /// them, and the keys of the others. What is said of a token that cannot be read waits.
    async fn still_true<'a>(
        &self,
        tenant: &TenantId,
        outbox: &'a Outbox,
    ) -> Result<(Vec<(String, &'a Notice)>, Vec<String>), StoreError> {
        let (mut wanted, mut stale): (Vec<(String, &Notice)>, Vec<String>) = (Vec::new(), Vec::new());
        // newest first
        for (key, notice) in outbox.entries.iter().rev().take(LETTER_LIMIT) {
            let said = wanted
                .iter()
                .any(|(_, other)| (&other.profile, &other.token_id) == (&notice.profile, &notice.token_id));
            match if said { Ok(false) } else { self.is_true(tenant, notice).await } {
                Ok(true) => wanted.push((key.clone(), notice)),
                Ok(false) => stale.push(key.clone()),
                Err(error @ StoreError::Unreadable(_)) => {
                    tracing::error!(%tenant, profile = %notice.profile, %error, "a token to be written of is broken");
                }
                Err(error) => return Err(error),
            }
        }
        Ok((wanted, stale))
    }

    /// Whether a token still is as the notice says: about to end then, ended then, or dead and not signed in for since.
    async fn is_true(&self, tenant: &TenantId, notice: &Notice) -> Result<bool, StoreError> {
        let key = TokenKey { tenant: tenant.clone(), profile: notice.profile.clone(), token: notice.token_id.clone() };
        let Some(Held { token, .. }) = self.revoker.vault.token(&key).await? else { return Ok(false) };
        Ok(match notice.step {
            Step::Warning { expires_at } => token.expires_at == Some(expires_at) && !token.state.is_over(),
            Step::Expired { expires_at } => token.expires_at == Some(expires_at) && token.state.is_over(),
            Step::Dead { reason, generation } => {
                token.generation == generation && token.state == State::NeedsReauth { reason }
            }
        })
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
