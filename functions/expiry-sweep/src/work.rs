//! Works errands off: reads each row that they name, does what is due for it, and passes by what is not due any more.
//!
//! A row that cannot be read fails alone and is left to whoever mends it: its message is done, because the row comes again
//! with every tick. Where something is down, the message comes again by itself, sooner than the next tick; what is down
//! for longer than a few of these times leaves it in `DueForGood`, for somebody to see.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use jiff::Timestamp;
use shared::{
    access::{Subject, TenantId},
    clock::Deadline,
    due::Errand,
    edge::queue::{Failed, Record},
    profile::{Network, TokenKind},
    revoke::{GrantError, Revoker},
    settings::Settings,
    store::{
        StoreError,
        outbox::Recipient,
        profiles::{DueRow, TokenKey},
    },
};

use crate::{ROW, Summary, Sweep, Worked};

/// What came of an errand.
#[derive(Default)]
struct Outcome {
    summary: Summary,
    /// Something was down: it comes again.
    comes_again: bool,
}

impl Outcome {
    /// Counts a failure and logs it, once; a row that somebody else had first is done.
    fn note(&mut self, row: &str, tenant: Option<&TenantId>, done: Result<(), GrantError>) {
        let Err(error) = done else { return };
        if matches!(error, GrantError::Store(StoreError::Conflict)) {
            return;
        }
        self.summary.failed += 1;
        self.comes_again |= error.is_outage();
        let tenant = tenant.map(tracing::field::display);
        tracing::error!(tenant, row, %error, "a due row failed");
    }

    /// Whether there is time for another row; what is not begun stays due.
    fn has_time(&mut self, deadline: Deadline) -> bool {
        let time = deadline.left() >= ROW;
        self.summary.unfinished |= !time;
        time
    }
}

impl Sweep {
    /// Works off a batch of messages, all of them at once.
    pub(crate) async fn work(&self, records: &[Record], deadline: Deadline) -> Worked {
        let outcomes = join_all(records.iter().map(|record| self.run(record, deadline))).await;
        let mut worked = Worked::default();
        for (record, outcome) in records.iter().zip(outcomes) {
            worked.summary += outcome.summary;
            if outcome.comes_again {
                worked.batch_item_failures.push(Failed { item_identifier: record.message_id.clone() });
            }
        }
        worked
    }

    async fn run(&self, Record { message_id, body }: &Record, deadline: Deadline) -> Outcome {
        match Errand::read(body) {
            Ok(Errand::Vault { tenant, rows }) => self.see_to_rows(&tenant, rows, deadline).await,
            Ok(Errand::Flows(ids)) => self.see_to_flows(&ids, deadline).await,
            Err(error) => {
                tracing::error!(message = %message_id, %error, "another version of this function may know what it says");
                Outcome { comes_again: true, ..Outcome::default() }
            }
        }
    }

    /// One row after the other: tokens first, then what may have changed by them, outboxes last.
    async fn see_to_rows(&self, tenant: &TenantId, rows: Vec<DueRow>, deadline: Deadline) -> Outcome {
        let (mut outcome, mut rows) = (Outcome::default(), BTreeSet::from_iter(rows));
        while let Some(row) = rows.pop_first() {
            if !outcome.has_time(deadline) {
                break;
            }
            let (summary, now) = (&mut outcome.summary, self.clock.now());
            let (name, done) = match row {
                DueRow::Token(profile, token) => {
                    let key = TokenKey { tenant: tenant.clone(), profile, token };
                    let told = self.see_to_token(&key, summary, deadline, now).await;
                    // it may have been the last that acquisition lived on
                    if matches!(told, Ok(Some(_))) && key.token.kind() == TokenKind::Acquisition {
                        rows.insert(DueRow::Acquisition(key.profile.kind().network()));
                    }
                    (key.profile.to_string(), told.map(drop))
                }
                DueRow::Settings => {
                    let spread = self.reschedule(tenant, summary, limit(deadline)).await;
                    ("settings".to_owned(), spread.map_err(GrantError::from))
                }
                DueRow::Removal(person) => {
                    ("removal".to_owned(), self.finish_removal(tenant, &person, summary, limit(deadline)).await)
                }
                DueRow::Acquisition(network) => {
                    let looked = self.look_at_acquisition(tenant, network, summary, limit(deadline), now).await;
                    (format!("acquisition at {network}"), looked)
                }
                DueRow::Outbox(to) => {
                    let mailed = self.mail(tenant, &to, summary, now).await;
                    ("outbox".to_owned(), mailed.map_err(GrantError::from))
                }
            };
            outcome.note(&name, Some(tenant), done);
        }
        outcome
    }

    /// Looks whether acquisition got worse, and tells it.
    async fn look_at_acquisition(
        &self,
        tenant: &TenantId,
        network: Network,
        summary: &mut Summary,
        limit: Deadline,
        now: Timestamp,
    ) -> Result<(), GrantError> {
        let mailed = !self.settings(tenant, now).await?.administrators.is_empty();
        loop {
            let told = self.revoker.vault.look_at_acquisition(tenant, network, mailed, now).await?;
            summary.worsened += u32::from(told.recipients.contains(&Recipient::Administrators));
            if !told.more {
                return Ok(());
            }
            if limit.left().is_zero() {
                summary.unfinished = true;
                return Ok(());
            }
        }
    }

    /// Goes on where the removal of a user was cut off.
    async fn finish_removal(
        &self,
        tenant: &TenantId,
        person: &Subject,
        summary: &mut Summary,
        limit: Deadline,
    ) -> Result<(), GrantError> {
        let Revoker { vault, flows, .. } = &self.revoker;
        let Some(removal) = vault.removal(tenant, person).await? else { return Ok(()) };
        let began = self.clock.now();
        if vault.pursue(flows, &removal, limit, began).await?.complete {
            vault.finish(&removal, began).await?;
            summary.removed += 1;
        } else {
            summary.unfinished = true;
        }
        Ok(())
    }

    async fn see_to_flows(&self, ids: &[String], deadline: Deadline) -> Outcome {
        let mut outcome = Outcome::default();
        for id in ids {
            if !outcome.has_time(deadline) {
                break;
            }
            let done = self.end_grant(id, &mut outcome.summary, limit(deadline), self.clock.now()).await;
            outcome.note(id, None, done);
        }
        outcome
    }

    /// The tenant's settings; read once, however many of its rows are due.
    pub(crate) async fn settings(&self, tenant: &TenantId, now: Timestamp) -> Result<Settings, StoreError> {
        let read = async { self.revoker.vault.settings(tenant, false).await.map(Some) };
        Ok(self.recent.get(tenant.clone(), now, read).await?.unwrap_or_default())
    }
}

/// Until when a row is gone on with that may take any time: the next row needs some as well.
fn limit(deadline: Deadline) -> Deadline {
    Deadline::after(deadline.left().saturating_sub(ROW))
}
