//! Notices and outboxes in the Vault table.

use std::collections::BTreeSet;

use jiff::Timestamp;
use shared::{
    access::TenantId,
    ladder::Ladder,
    profile::Kind,
    settings::Settings,
    store::{
        StoreError,
        outbox::{About, MAIL_INTERVAL, Recipient, Sending, Sent},
        profiles::{DueRow, TokenKey, Vault},
    },
    token::{State, Step, Token},
};

use super::{NOW, Store, days, due_token, minutes, on_each, subject, tenant};

async fn all_due(vault: &Vault, now: Timestamp) -> Vec<(TenantId, DueRow)> {
    let (mut cursor, mut found) = (vault.due_cursor(), Vec::new());
    while let Some(rows) = vault.due(&mut cursor, now).await.unwrap() {
        found.extend(rows);
    }
    found
}

/// Lets `token` age until `now`, as it was read.
async fn age(vault: &Vault, key: &TokenKey, token: &Token, now: Timestamp) -> Result<(), StoreError> {
    let settings = Settings::default();
    vault.age(key, token, token.age(now, &settings.ladder).unwrap(), &settings, now).await
}

// S56, S59
#[tokio::test]
async fn a_step_of_a_token_is_told_once_however_often_it_is_found_due() {
    on_each(async |engine| {
        let store = Store::of(engine);
        let vault = &store.vault;
        let (key, token) = store.connected("acme", "alice", Kind::XProfile, "42").await;
        let first = NOW + days(30);
        assert_eq!(all_due(vault, first - minutes(1)).await, []);
        assert_eq!(all_due(vault, first).await, [due_token(&key)]);

        age(vault, &key, &token, first).await.unwrap();
        assert!(matches!(age(vault, &key, &token, first).await, Err(StoreError::Conflict)));
        let (tenant, alice) = (tenant("acme"), Recipient::Person(subject("alice")));
        let outbox = vault.outbox(&tenant, &alice).await.unwrap();
        assert_eq!((outbox.entries.len(), outbox.arrivals), (1, 1));
        let About::Token(of) = &outbox.entries[0].1.about else { panic!("it is about a token") };
        assert_eq!(of.step, Step::Warning { expires_at: first + days(30) });
        let (notices, more) = vault.notices(&tenant, &alice, None, 100).await.unwrap();
        assert_eq!((notices, more), (vec![outbox.entries[0].1.clone()], None));
        assert_eq!(all_due(vault, first).await, [(tenant, DueRow::Outbox(alice))], "the token is not due any more");

        let aged = vault.token(&key).await.unwrap().unwrap().token;
        age(vault, &key, &aged, NOW + days(60)).await.unwrap();
        let ended = vault.token(&key).await.unwrap().unwrap().token;
        assert_eq!(ended.state, State::Expired);
        assert_eq!(ended.next_due(&Ladder::default()), None);
    })
    .await;
}

// S59
#[tokio::test]
async fn a_mail_is_begun_by_one_alone_and_takes_its_entries_out() {
    on_each(async |engine| {
        let store = Store::of(engine);
        let vault = &store.vault;
        for id in ["42", "43"] {
            let (key, token) = store.connected("acme", "alice", Kind::XProfile, id).await;
            age(vault, &key, &token, NOW + days(30)).await.unwrap();
        }
        let (tenant, alice, now) = (tenant("acme"), Recipient::Person(subject("alice")), NOW + days(30));
        let outbox = async || vault.outbox(&tenant, &alice).await.unwrap();
        let entries = |outbox: &shared::store::outbox::Outbox| -> Vec<String> {
            outbox.entries.iter().map(|(key, _)| key.clone()).collect()
        };

        let before = outbox().await;
        let all = entries(&before);
        assert_eq!(all.len(), 2);
        vault.begin_mail(&tenant, &alice, &before, &all[..1], now).await.unwrap();
        let again = vault.begin_mail(&tenant, &alice, &before, &all, now).await;
        assert!(matches!(again, Err(StoreError::Conflict)));
        let sending = Sending { since: now, entries: all[..1].to_vec() };
        assert_eq!(outbox().await.sending, Some(sending.clone()));

        // not taken: everything is as before
        vault.take_back_mail(&tenant, &alice, &sending, now + minutes(5)).await.unwrap();
        assert_eq!((outbox().await.sending, entries(&outbox().await)), (None, all.clone()));
        assert_eq!(all_due(vault, now + minutes(4)).await, []);
        assert_eq!(all_due(vault, now + minutes(5)).await.len(), 1);

        // taken
        vault.begin_mail(&tenant, &alice, &before, &all[..1], now).await.unwrap();
        vault.end_mail(&tenant, &alice, &sending, Sent::Unanswered, now).await.unwrap();
        let ended = vault.end_mail(&tenant, &alice, &sending, Sent::Accepted, now).await;
        assert!(matches!(ended, Err(StoreError::Conflict)), "somebody else ended it");
        let after = outbox().await;
        assert_eq!((entries(&after), after.unanswered), (all[1..].to_vec(), 1));
        let again = vault.begin_mail(&tenant, &alice, &before, &all[1..], now).await;
        assert!(matches!(again, Err(StoreError::Conflict)), "a mail went out meanwhile");
        assert_eq!(all_due(vault, now + MAIL_INTERVAL - minutes(1)).await, []);
        assert_eq!(all_due(vault, now + MAIL_INTERVAL).await.len(), 1);

        // nothing left to say
        let arrived = shared::store::outbox::Outbox { arrivals: 1, ..after.clone() };
        let resting = vault.rest_outbox(&tenant, &alice, &arrived, &all[1..], None).await;
        assert!(matches!(resting, Err(StoreError::Conflict)), "something was put into it meanwhile");
        vault.rest_outbox(&tenant, &alice, &after, &all[1..], None).await.unwrap();
        assert_eq!(entries(&outbox().await), Vec::<String>::new());
        assert_eq!(all_due(vault, now + days(20)).await.len(), 2, "the tokens' next steps, not the outbox");
    })
    .await;
}

#[tokio::test]
async fn notices_come_newest_first_page_by_page_and_can_be_put_aside() {
    on_each(async |engine| {
        let store = Store::of(engine);
        let vault = &store.vault;
        for (id, owner) in [("41", "alice"), ("42", "alice"), ("43", "alice"), ("44", "alice.b"), ("45", "bob")] {
            let (key, token) = store.connected("acme", owner, Kind::XProfile, id).await;
            let later = days(30) + minutes(id.parse().unwrap());
            age(vault, &key, &token, NOW + later).await.unwrap();
        }
        let (tenant, alice) = (tenant("acme"), Recipient::Person(subject("alice")));
        let all = vault.notices(&tenant, &alice, None, 100).await.unwrap().0;
        let ids: Vec<_> = all.iter().map(|notice| notice.id.clone()).collect();
        assert_eq!(ids.len(), 3);
        assert!(ids.is_sorted_by(|newer, older| newer > older), "{ids:?}");
        for limit in 1..=4 {
            let (mut seen, mut before): (Vec<String>, Option<String>) = (Vec::new(), None);
            loop {
                let (page, next) = vault.notices(&tenant, &alice, before.as_deref(), limit).await.unwrap();
                seen.extend(page.into_iter().map(|notice| notice.id));
                match next {
                    Some(next) => before = Some(next),
                    None => break,
                }
            }
            assert_eq!(seen, ids, "with pages of {limit}");
        }

        assert!(vault.dismiss(&tenant, &alice, &ids[1]).await.unwrap().unwrap().dismissed);
        let dismissed = vault.notices(&tenant, &alice, None, 100).await.unwrap().0;
        let dismissed: BTreeSet<_> =
            dismissed.iter().filter(|notice| notice.dismissed).map(|notice| &notice.id).collect();
        assert_eq!(dismissed, [&ids[1]].into());
        assert_eq!(
            vault.dismiss(&tenant, &Recipient::Person(subject("bob")), &ids[1]).await.unwrap(),
            None,
            "it is not bob's"
        );
    })
    .await;
}
