//! The scheduled sweep: ages tokens, mails their owners, ends grants that nobody took over.
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
    mail::{Mailer, SendError},
    recent::Recent,
    refresh::{Access, Refresher, Wanted},
    revoke::{GrantError, Revoked, Revoker},
    settings::Settings,
    store::{
        StoreError,
        flows::{DueFlow, Flow, Revocation},
        outbox::{MAIL_INTERVAL, Notice, Outbox, Sending, Sent},
        profiles::{DueRow, Held, TokenKey},
    },
    token::{State, Step, Token},
};

mod letter;
mod reschedule;

/// A sweep stops in time before Lambda stops it; what is left is due at the next.
const BUDGET: Duration = Duration::from_mins(3);
/// One mail holds at most so many entries: all of them are taken out in one transaction.
const LETTER_LIMIT: usize = 80;
/// When a mail that the mail service did not take is tried again.
const TRY_AGAIN: SignedDuration = SignedDuration::from_mins(5);
/// When a mail that the mail service refused is tried again; an operator has to act before.
const REFUSED_AGAIN: SignedDuration = SignedDuration::from_hours(1);

/// What is due besides tokens.
#[derive(Default)]
struct Due {
    outboxes: BTreeSet<(TenantId, Subject)>,
    settings: BTreeSet<TenantId>,
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

/// The settings of tenants, remembered for a few seconds.
pub type Memory = Recent<TenantId, Settings>;

/// What one sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Tokens whose owners were warned.
    pub warned: u32,
    /// Tokens that ended.
    pub expired: u32,
    /// Grants that nobody used for long and that were refreshed.
    pub renewed: u32,
    /// Such grants that could not be refreshed now; they stay due.
    pub unrenewed: u32,
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
    /// Grants that were ended at the network.
    pub revoked: u32,
    /// Grants that were left alone because something else lives on them.
    pub shared: u32,
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
        self.spread_ladders(&due, &mut summary, deadline).await;
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
                    DueRow::Outbox(tenant, person) => {
                        due.outboxes.insert((tenant, person));
                        continue;
                    }
                    DueRow::Settings(tenant) => {
                        due.settings.insert(tenant);
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

    /// Does what is due for one token; tells whom something was told.
    async fn see_to(
        &self,
        key: &TokenKey,
        summary: &mut Summary,
        deadline: Deadline,
        now: Timestamp,
    ) -> Result<Option<Subject>, GrantError> {
        let Some(held) = self.revoker.vault.token(key).await? else { return Ok(None) };
        if !held.token.state.is_over() && held.token.idle_at().is_some_and(|at| at <= now) {
            return self.keep_alive(key, held, summary, deadline).await;
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
        let ladder = self.settings(&key.tenant, now).await?.ladder;
        let Some(aged) = token.age(now, &ladder) else {
            // not due by our reading: the index was behind, or the ladder changed
            vault.reschedule(key, token, &ladder).await?;
            return Ok(None);
        };
        vault.age(key, token, aged, &ladder, now).await?;
        Ok(aged.step.map(|(step, _)| step))
    }

    /// Refreshes a grant that nobody used for long; its network would end it otherwise.
    async fn keep_alive(
        &self,
        key: &TokenKey,
        held: Held,
        summary: &mut Summary,
        deadline: Deadline,
    ) -> Result<Option<Subject>, GrantError> {
        let generation = held.token.generation;
        match self.refresher.access(key, held, Wanted::WhenDue, deadline).await? {
            Access::Good(held, _) if held.token.generation != generation => summary.renewed += 1,
            Access::Good(..) | Access::Busy | Access::Later(_) => summary.unrenewed += 1,
            Access::Over(held) => {
                summary.died += 1;
                return Ok(Some(held.token.owner));
            }
            Access::Gone => {}
        }
        Ok(None)
    }

    /// The tenant's settings; read once, however many of its rows are due.
    async fn settings(&self, tenant: &TenantId, now: Timestamp) -> Result<Settings, StoreError> {
        let read = async { self.revoker.vault.settings(tenant, false).await.map(Some) };
        Ok(self.recent.get(tenant.clone(), now, read).await?.unwrap_or_default())
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

    async fn mail_outboxes(&self, due: &Due, summary: &mut Summary, deadline: Deadline) {
        let now = self.clock.now();
        for (tenant, person) in &due.outboxes {
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
        let Some(address) = user.email.filter(|_| user.removed_at.is_none()) else {
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
        let settings = self.settings(tenant, now).await?;
        let link = settings.reauthenticate_at(&self.return_urls, &self.reauthenticate_url);
        let letter = letter::write(&notices, link, now);
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
