//! What a tenant has as a whole: settings, acquisition at a network, history.

use jiff::Timestamp;
use shared::{
    access::TenantId,
    connect::ReturnUrls,
    grant::GrantPlace,
    health::Colour,
    history::{Event, What},
    network::Terms,
    profile::{Kind, Network, TokenKind},
    renewal::Renewed,
    secret::SecretHash,
    settings::{Settings, Wanted},
    store::{
        StoreError,
        outbox::{About, Recipient},
        profiles::{DueRow, TokenKey, Vault},
        renewals::{Beginning, Stepped},
    },
    token::Reason,
};

use super::{NOW, Store, days, due_token, minutes, on_each, profile, sealed_grant, subject, tenant, token_of};

async fn all_due(vault: &Vault, now: Timestamp) -> Vec<(TenantId, DueRow)> {
    let (mut cursor, mut found) = (vault.due_cursor(), Vec::new());
    while let Some(rows) = vault.due(&mut cursor, now).await.unwrap() {
        found.extend(rows);
    }
    found
}

/// The settings with this ladder in the place of `before`.
fn with_ladder(before: &Settings, ladder_days: &[u16], now: Timestamp) -> Settings {
    let wanted = Wanted { ladder_days: ladder_days.to_vec(), ..Wanted::default() };
    before.changed(wanted, &ReturnUrls::parse("https://app.example/").unwrap(), now).unwrap()
}

/// A token that acquires.
async fn acquiring(store: &Store, person: &str, id: &str) -> TokenKey {
    let mut session = store.authorized("acme", person, Kind::FacebookUser, id).await;
    session.token = TokenKind::Acquisition;
    let (key, mut token) = token_of(&session, id, 1);
    token.scopes = vec!["pages_read_engagement".into()];
    let grant = sealed_grant(GrantPlace::of_token(&key.tenant, &token));
    store.attach(&session, &token, &grant, None, NOW).await.unwrap();
    store.allow_search(&key).await;
    key
}

#[tokio::test]
async fn settings_that_were_read_before_others_were_set_are_not_written() {
    on_each(async |engine| {
        let vault = Store::of(engine).vault;
        let acme = tenant("acme");
        let first = vault.settings(&acme, true).await.unwrap();
        assert_eq!(first, Settings::default());
        let one = with_ladder(&first, &[10], NOW);
        vault.put_settings(&acme, &first, &one, NOW).await.unwrap();
        let late = vault.put_settings(&acme, &first, &with_ladder(&first, &[20], NOW), NOW).await;
        assert!(matches!(late, Err(StoreError::Conflict)), "{late:?}");
        assert_eq!(vault.settings(&acme, true).await.unwrap(), one);
        assert_eq!(vault.settings(&tenant("globex"), true).await.unwrap(), first);
    })
    .await;
}

#[tokio::test]
async fn a_changed_ladder_is_due_once_and_brings_forward_what_it_has_to() {
    on_each(async |engine| {
        let store = Store::of(engine);
        let vault = &store.vault;
        let acme = tenant("acme");
        let (key, _) = store.connected("acme", "alice", Kind::XProfile, "42").await;
        let first = vault.settings(&acme, true).await.unwrap();
        let longer = with_ladder(&first, &[45, 30], NOW);
        vault.put_settings(&acme, &first, &longer, NOW).await.unwrap();
        assert_eq!(all_due(vault, NOW).await, []);
        assert_eq!(all_due(vault, NOW + minutes(1)).await, [(acme.clone(), DueRow::Settings)]);

        let so_far = vault.rescheduling(&acme, NOW + days(2)).await.unwrap().unwrap();
        let page = vault.tokens_after(&acme, &so_far).await.unwrap();
        assert_eq!(page.keys, std::slice::from_ref(&key));
        vault.bring_forward(&key, &so_far.ladder).await.unwrap();
        vault.reached(&acme, &so_far, &page).await.unwrap();
        assert_eq!(vault.rescheduling(&acme, NOW + days(2)).await.unwrap(), None);
        assert_eq!(all_due(vault, NOW + days(15)).await, [due_token(&key)], "45 days before its end");

        // a ladder with fewer rungs leaves it where it is, and settings without another ladder are not due
        let shorter = with_ladder(&longer, &[30], NOW + days(1));
        vault.put_settings(&acme, &longer, &shorter, NOW + days(1)).await.unwrap();
        let so_far = vault.rescheduling(&acme, NOW + days(2)).await.unwrap().unwrap();
        vault.bring_forward(&key, &so_far.ladder).await.unwrap();
        assert_eq!(all_due(vault, NOW + days(15)).await.len(), 2);
        let page = vault.tokens_after(&acme, &so_far).await.unwrap();
        vault.reached(&acme, &so_far, &page).await.unwrap();
        vault.put_settings(&acme, &shorter, &with_ladder(&shorter, &[30], NOW + days(2)), NOW + days(2)).await.unwrap();
        assert_eq!(vault.rescheduling(&acme, NOW + days(2)).await.unwrap(), None);
    })
    .await;
}

// S56, S59
#[tokio::test]
async fn acquisition_that_got_worse_is_told_once_whoever_looks() {
    on_each(async |engine| {
        let store = Store::of(engine);
        let vault = &store.vault;
        let acme = tenant("acme");
        let (alice, bob) = (acquiring(&store, "alice", "1001").await, acquiring(&store, "bob", "1002").await);
        let look = async |after: i64| {
            vault.look_at_acquisition(&acme, Network::Facebook, true, NOW + minutes(after)).await.unwrap()
        };
        let watched = (acme.clone(), DueRow::Acquisition(Network::Facebook));
        assert!(!all_due(vault, NOW).await.contains(&watched), "the index may be behind");
        assert!(all_due(vault, NOW + minutes(1)).await.contains(&watched));
        assert_eq!(look(1).await.recipients, [], "from red to green");
        assert_eq!(vault.told_colour(&acme, Network::Facebook).await.unwrap(), Colour::Green);

        let die = async |key: &TokenKey| {
            let held = vault.token(key).await.unwrap().unwrap();
            vault.die(key, &held, Reason::RevokedByUser, NOW + minutes(2)).await.unwrap();
        };
        die(&alice).await;
        let person = |name: &str| Recipient::Person(subject(name));
        assert_eq!(look(2).await.recipients, [person("alice"), person("bob"), Recipient::Administrators]);
        assert_eq!(look(2).await.recipients, [], "it was told");
        die(&bob).await;
        assert_eq!([look(3).await.recipients.len(), look(3).await.recipients.len()], [3, 0]);
        let outbox = vault.outbox(&acme, &Recipient::Administrators).await.unwrap();
        let colours = outbox.entries.iter().filter_map(|(_, notice)| match &notice.about {
            About::Acquisition { colour, .. } => Some(*colour),
            About::Token(_) => None,
        });
        assert_eq!(colours.collect::<Vec<_>>(), [Colour::Yellow, Colour::Red]);
    })
    .await;
}

#[tokio::test]
async fn what_makes_acquisition_better_by_itself_is_seen_so_that_the_next_loss_is_told() {
    on_each(async |engine| {
        let store = Store::of(engine);
        let vault = &store.vault;
        let acme = tenant("acme");
        let key = acquiring(&store, "alice", "1001").await;
        let stands = async |after: i64| {
            vault.look_at_acquisition(&acme, Network::Facebook, true, NOW + minutes(after)).await.unwrap();
            vault.told_colour(&acme, Network::Facebook).await.unwrap()
        };
        let read = async || vault.token(&key).await.unwrap().unwrap();
        assert_eq!(stands(1).await, Colour::Yellow);

        // permissions that the network took away and gave back
        for (scope, colour) in [("public_profile", Colour::Red), ("pages_read_engagement", Colour::Yellow)] {
            let terms = Terms { scopes: vec![scope.into()], ..Terms::default() };
            vault.learn(&key, &read().await, &terms, None).await.unwrap();
            assert_eq!(stands(2).await, colour, "{scope}");
        }

        // an answer that was lost and found
        let fingerprint = SecretHash::of(&"r1".into());
        let beginning = Beginning { owner: "a", fingerprint: &fingerprint, until: NOW + minutes(9), tried: None };
        let Stepped::Done(begun) = vault.begin_refresh(&key, &read().await, beginning).await.unwrap() else {
            panic!("it was not begun")
        };
        vault.die(&key, &begun, Reason::LostAnswer, NOW + minutes(3)).await.unwrap();
        assert_eq!(stands(3).await, Colour::Red);
        let place = GrantPlace::of(&key.tenant, &key.profile, &key.token, begun.renewal.fence);
        let renewed = Renewed { answers: fingerprint.clone(), terms: Terms::default(), grant: sealed_grant(place) };
        vault.place(&key, &begun, &renewed).await.unwrap();
        vault.adopt(&key, &read().await, begun.renewal.fence).await.unwrap();
        assert_eq!(stands(4).await, Colour::Yellow);
    })
    .await;
}

#[tokio::test]
async fn the_history_is_read_newest_first_page_by_page_and_counts_what_happens_often() {
    on_each(async |engine| {
        let vault = Store::of(engine).vault;
        let acme = tenant("acme");
        let (x, facebook) = (profile("x_profile-42"), profile("facebook_user-1001"));
        for (number, of) in [&x, &facebook, &x, &facebook, &x].into_iter().enumerate() {
            let at = NOW + minutes(i64::try_from(number).unwrap());
            let event = Event::new(What::ProfileDeleted, at).by(&subject("auth0|alice#1")).to_profile(of);
            vault.record(&acme, &event).await;
        }
        let key = TokenKey { tenant: acme.clone(), profile: x.clone(), token: "interaction-alice".parse().unwrap() };
        for failed in [false, true, false] {
            vault.count(&key, What::Leased, Some(&subject("worker")), failed, NOW + minutes(7)).await;
        }
        let all = vault.history(&acme, None, None, 100).await.unwrap().0;
        assert_eq!(all.len(), 6);
        assert!(all.is_sorted_by(|(newer, _), (older, _)| newer > older));
        let counted = all.iter().find(|(_, event)| event.event == What::Leased).unwrap();
        assert_eq!((counted.1.times, counted.1.failures), (Some(3), Some(1)));
        for (of, many) in [(None, 6), (Some(&x), 4), (Some(&facebook), 2)] {
            let (mut seen, mut before): (Vec<String>, Option<String>) = (Vec::new(), None);
            loop {
                let (page, next) = vault.history(&acme, of, before.as_deref(), 2).await.unwrap();
                seen.extend(page.into_iter().map(|(id, _)| id));
                match next {
                    Some(next) => before = Some(next),
                    None => break,
                }
            }
            assert_eq!(seen.len(), many, "{of:?}");
        }
        assert_eq!(vault.history(&tenant("globex"), None, None, 100).await.unwrap(), (vec![], None));
    })
    .await;
}
