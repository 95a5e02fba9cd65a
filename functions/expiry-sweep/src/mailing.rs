//! Mails what waits in outboxes, as one letter each, at most once an hour.
//!
//! A person is written to at the address that the identity provider told, the administrators of a tenant at those of its
//! settings, all of them in one mail. Whoever is both is not written to twice: what the administrators are mailed as well
//! is left out of the person's own letter.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use shared::{
    access::{Subject, TenantId},
    mail::{Letter, SendError},
    settings::Settings,
    store::{
        StoreError,
        outbox::{About, MAIL_INTERVAL, Notice, OfToken, Outbox, Recipient, Sending, Sent},
        profiles::{Held, TokenKey},
    },
    token::{State, Step},
};

use crate::{
    Summary, Sweep,
    letter::{self, Reader},
};

/// One mail holds at most so many entries: all of them are taken out in one transaction.
const LETTER_LIMIT: usize = 80;
/// When a mail that the mail service did not take is tried again.
const TRY_AGAIN: SignedDuration = SignedDuration::from_mins(5);
/// When a mail that the mail service refused is tried again; an operator has to act before.
const REFUSED_AGAIN: SignedDuration = SignedDuration::from_hours(1);

/// Entries that are mailed, with their keys.
type Entries<'a> = Vec<(String, &'a Notice)>;

impl Sweep {
    /// Mails what waits in an outbox, as one letter, at most once an hour.
    pub(crate) async fn mail(
        &self,
        tenant: &TenantId,
        to: &Recipient,
        summary: &mut Summary,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (vault, settings) = (&self.revoker.vault, self.settings(tenant, now).await?);
        let outbox = vault.outbox(tenant, to).await?;
        if !outbox.is_due(now) {
            return Ok(());
        }
        if let Some(sending) = &outbox.sending {
            if sending.is_lost(now) {
                tracing::warn!(%tenant, "a mail was begun and its end is not known");
                summary.unanswered += 1;
                vault.end_mail(tenant, to, sending, Sent::Unanswered, now).await?;
            }
            return Ok(());
        }
        if outbox.entries.is_empty() && outbox.arrivals == 0 {
            return Ok(());
        }
        let (mut wanted, mut stale) = self.still_true(tenant, &outbox).await?;
        // what did not fit is looked at by the next sweep
        let more = (outbox.entries.len() > LETTER_LIMIT).then_some(now);
        if wanted.is_empty() {
            return vault.rest_outbox(tenant, to, &outbox, &stale, more).await;
        }
        if let Some(again) = outbox.last_sent_at.map(|at| at + MAIL_INTERVAL).filter(|again| *again > now) {
            return vault.rest_outbox(tenant, to, &outbox, &stale, Some(again)).await;
        }
        let addresses = self.addresses(tenant, to, &settings).await?;
        if addresses.is_empty() {
            tracing::warn!(%tenant, waiting = wanted.len(), "there is no address to write to");
            let all: Vec<_> = outbox.entries.iter().map(|(key, _)| key.clone()).take(LETTER_LIMIT).collect();
            return vault.rest_outbox(tenant, to, &outbox, &all, more).await;
        }
        if matches!(to, Recipient::Person(_)) && addresses.iter().any(|address| settings.administers(address)) {
            let twice = wanted.extract_if(.., |(_, notice)| notice.to_administrators);
            stale.extend(twice.map(|(key, _)| key));
            if wanted.is_empty() {
                return vault.rest_outbox(tenant, to, &outbox, &stale, more).await;
            }
        }
        let mut entries: Vec<_> = wanted.iter().map(|(key, _)| key.clone()).collect();
        entries.extend(stale);
        entries.truncate(LETTER_LIMIT);
        let whose = match to {
            Recipient::Person(_) => None,
            Recipient::Administrators => Some(self.owners(tenant, &wanted).await?),
        };
        vault.begin_mail(tenant, to, &outbox, &entries, now).await?;
        let sending = Sending { since: now, entries };
        let notices: Vec<&Notice> = wanted.iter().map(|(_, notice)| *notice).collect();
        let link = settings.reauthenticate_at(&self.return_urls, &self.reauthenticate_url);
        let reader = whose.as_ref().map_or(Reader::Owner, Reader::Administrators);
        let letter = letter::write(&notices, reader, link, now);
        match self.send(tenant, &addresses, &letter, now).await {
            Ok(()) => {
                summary.mailed += 1;
                vault.end_mail(tenant, to, &sending, Sent::Accepted, now).await
            }
            Err(error @ SendError::Unanswered(_)) => {
                tracing::error!(%tenant, error = chain(&error), "a mail was not answered; it is not sent again");
                summary.unanswered += 1;
                vault.end_mail(tenant, to, &sending, Sent::Unanswered, now).await
            }
            Err(error @ (SendError::Later(_) | SendError::Refused(_) | SendError::BadAddress)) => {
                tracing::error!(%tenant, error = chain(&error), "a mail was not taken; it is tried again");
                summary.postponed += 1;
                let wait = if matches!(error, SendError::Later(_)) { TRY_AGAIN } else { REFUSED_AGAIN };
                vault.take_back_mail(tenant, to, &sending, now + wait).await
            }
        }
    }

    /// Sends a letter; to each address by itself where the mail service refuses all of them together, so that one that
    /// cannot be written to stands in nobody's way. It went out if one of them got it.
    async fn send(
        &self,
        tenant: &TenantId,
        addresses: &[String],
        letter: &Letter,
        now: Timestamp,
    ) -> Result<(), SendError> {
        let mut sent = self.mailer.send(tenant, addresses, letter, now).await;
        if addresses.len() == 1 || !matches!(sent, Err(SendError::Refused(_) | SendError::BadAddress)) {
            return sent;
        }
        // one that may have got it outweighs all that did not: nobody is written to twice
        let known = |sent: &Result<(), SendError>| match sent {
            Ok(()) => 2,
            Err(SendError::Unanswered(_)) => 1,
            Err(_) => 0,
        };
        for address in addresses {
            let one = self.mailer.send(tenant, std::slice::from_ref(address), letter, now).await;
            if let Err(error) = &one {
                tracing::error!(%tenant, error = chain(error), "one of several addresses was not written to");
            }
            if known(&one) >= known(&sent) {
                sent = one;
            }
        }
        sent
    }

    /// Where a recipient is written to: nowhere, if nobody said, or if the mail service said not to.
    async fn addresses(
        &self,
        tenant: &TenantId,
        to: &Recipient,
        settings: &Settings,
    ) -> Result<Vec<String>, StoreError> {
        let mut addresses = match to {
            Recipient::Administrators => settings.administrators.clone(),
            Recipient::Person(person) => {
                let user = self.revoker.vault.user(tenant, person, false).await?;
                user.email.clone().filter(|_| user.is_here()).into_iter().collect()
            }
        };
        if !addresses.is_empty() {
            let suppressions = self.revoker.vault.suppressions(tenant).await?;
            addresses.retain(|address| suppressions.of(address).is_none());
        }
        Ok(addresses)
    }

    /// How administrators know the people whose tokens are written of: by their addresses where there are any.
    async fn owners(&self, tenant: &TenantId, wanted: &Entries<'_>) -> Result<BTreeMap<Subject, String>, StoreError> {
        let mut owners = BTreeMap::new();
        for (_, notice) in wanted {
            let About::Token(OfToken { owner, .. }) = &notice.about else { continue };
            if !owners.contains_key(owner) {
                let email = self.revoker.vault.user(tenant, owner, false).await?.email;
                owners.insert(owner.clone(), email.unwrap_or_else(|| owner.to_string()));
            }
        }
        Ok(owners)
    }

    /// The entries that are still true, the newest of each thing and at most a letter's worth of
    /// them, and the keys of the others. What is said of a token that cannot be read waits.
    async fn still_true<'a>(
        &self,
        tenant: &TenantId,
        outbox: &'a Outbox,
    ) -> Result<(Entries<'a>, Vec<String>), StoreError> {
        let (mut wanted, mut stale): (Entries<'a>, Vec<String>) = (Vec::new(), Vec::new());
        // newest first
        for (key, notice) in outbox.entries.iter().rev().take(LETTER_LIMIT) {
            let said = wanted.iter().any(|(_, newer)| notice.about.is_superseded_by(&newer.about));
            match if said { Ok(false) } else { self.is_true(tenant, notice).await } {
                Ok(true) => wanted.push((key.clone(), notice)),
                Ok(false) => stale.push(key.clone()),
                Err(error @ StoreError::Unreadable(_)) => {
                    tracing::error!(%tenant, notice = %notice.id, %error, "what is to be written of is broken");
                }
                Err(error) => return Err(error),
            }
        }
        Ok((wanted, stale))
    }

    /// Whether things still are as the notice says: a token about to end then, ended then, or dead and not signed in for
    /// since; acquisition as bad as it was told.
    async fn is_true(&self, tenant: &TenantId, notice: &Notice) -> Result<bool, StoreError> {
        let vault = &self.revoker.vault;
        let of = match &notice.about {
            About::Token(of) => of,
            About::Acquisition { network, colour } => {
                return Ok(vault.told_colour(tenant, *network).await? == *colour);
            }
        };
        let key = TokenKey { tenant: tenant.clone(), profile: of.profile.clone(), token: of.token_id.clone() };
        let Some(Held { token, .. }) = vault.token(&key).await? else { return Ok(false) };
        Ok(match of.step {
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
