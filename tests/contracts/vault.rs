//! Profiles, tokens and users in the Vault table.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use shared::{
    access::Caller,
    connect::Status,
    grant::GrantPlace,
    ladder::Ladder,
    profile::{Kind, Network, Switch},
    store::{Spread, StoreError, flows::Revocation, profiles::TokenKey, users::User},
};

use super::{APP, Engine, NOW, Store, days, minutes, on_each, profile, sealed_grant, subject, tenant, token_of};

/// The attributes of every row that an index holds of a tenant.
async fn indexed(engine: &Engine, tenant: &str) -> Vec<BTreeSet<String>> {
    let query = engine.dynamodb().query().table_name(engine.table("Vault")).index_name("by_tenant");
    let query = query.key_condition_expression("tenant = :tenant");
    let query = query.expression_attribute_values(":tenant", AttributeValue::S(tenant.to_owned()));
    let rows = query.send().await.unwrap().items.unwrap();
    rows.into_iter().map(|row| row.into_keys().collect()).collect()
}

#[tokio::test]
async fn completing_makes_profile_token_and_session_at_once_or_nothing() {
    on_each(async |engine| {
        let store = Store::of(engine);
        let Store { vault, flows } = &store;
        let session = store.authorized("acme", "alice", Kind::XProfile, "42").await;
        let (key, token) = token_of(&session, "42", 1);
        let grant = sealed_grant(GrantPlace::of_token(&key.tenant, &token));
        let attach = async |now: Timestamp| store.attach(&session, &token, &grant, None, now).await;

        assert!(matches!(attach(NOW + minutes(10)).await, Err(StoreError::Conflict)), "its time was over");
        assert_eq!(vault.profile(&key.tenant, &key.profile).await.unwrap(), None);

        attach(NOW).await.unwrap();
        let seen = vault.profile(&key.tenant, &key.profile).await.unwrap().unwrap();
        assert_eq!(seen.profile.owners, [subject("alice")].into());
        assert_eq!(seen.tokens, std::slice::from_ref(&token));
        let held = vault.token(&key).await.unwrap().unwrap();
        assert_eq!((&held.token, &held.grant, held.renewal.fence), (&token, &grant, token.generation));
        let completed = flows.find(&session.id).await.unwrap().unwrap();
        assert_eq!((completed.session.status, completed.grant), (Status::Completed, None));

        assert!(matches!(attach(NOW).await, Err(StoreError::Conflict)), "it was completed before");
    })
    .await;
}

#[tokio::test]
async fn a_new_secret_replaces_the_one_that_was_read_and_leaves_owner_and_switches_alone() {
    on_each(async |engine| {
        let store = Store::of(engine);
        let Store { vault, flows } = &store;
        let (key, before) = store.connected("acme", "alice", Kind::XProfile, "42").await;
        store.allow(&key, true).await.unwrap();

        let session = store.authorized("acme", "alice", Kind::XProfile, "42").await;
        let (_, token) = token_of(&session, "42", 2);
        let grant = sealed_grant(GrantPlace::of_token(&key.tenant, &token));
        let old = Revocation::new(Network::X, APP, "42", sealed_grant(GrantPlace::of_token(&key.tenant, &before)));
        let read = vault.token(&key).await.unwrap().unwrap();
        let attach = async |generation: u64| {
            let mut read = read.clone();
            read.token.generation = generation;
            store.attach(&session, &token, &grant, Some((&read, Some(&old))), NOW).await
        };
        assert!(matches!(attach(7).await, Err(StoreError::Conflict)), "another generation was read");
        assert!(flows.take_due(&old.id, NOW).await.unwrap().is_none());

        attach(1).await.unwrap();
        let after = vault.token(&key).await.unwrap().unwrap();
        assert_eq!((after.token.generation, after.token.allow.private_messages), (2, true));
        assert_eq!(after.grant, grant);
        assert!(flows.take_due(&old.id, NOW).await.unwrap().is_some(), "what was replaced is to be revoked");
        let profile = vault.profile(&key.tenant, &key.profile).await.unwrap().unwrap().profile;
        assert_eq!(profile.owners, [subject("alice")].into());
    })
    .await;
}

// S33
#[tokio::test]
async fn a_list_has_everything_but_the_sealed_bytes() {
    on_each(async |engine| {
        let store = Store::of(engine);
        let (key, token) = store.connected("acme", "alice", Kind::XProfile, "42").await;
        store.connected("globex", "erin", Kind::XProfile, "42").await;
        let rows = indexed(engine, "acme").await;
        assert_eq!(rows.len(), 2);
        assert!(rows.iter().all(|row| !row.contains("sealed")), "{rows:?}");
        let page = store.vault.profiles(&key.tenant, None, 100).await.unwrap();
        assert_eq!(page.profiles[0].tokens, [token]);
        assert_eq!((page.profiles.len(), page.next), (1, None));
    })
    .await;
}

#[tokio::test]
async fn a_list_is_complete_and_in_order_whatever_its_page_size() {
    on_each(async |engine| {
        let store = Store::of(engine);
        // `7` and `70`: where a page begins must not depend on what follows an id
        let ids = ["7", "70", "8", "81"];
        for id in ids {
            for person in ["alice", "bob"] {
                store.connected("acme", person, Kind::XProfile, id).await;
            }
        }
        for limit in 1..=13 {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let page = store.vault.profiles(&tenant("acme"), after.as_ref(), limit).await.unwrap();
                for found in &page.profiles {
                    assert_eq!(found.tokens.len(), 2, "{} with pages of {limit}", found.profile.profile);
                    assert_eq!(found.profile.owners, [subject("alice"), subject("bob")].into());
                }
                seen.extend(page.profiles.into_iter().map(|found| found.profile.profile));
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            let expected = ids.map(|id| profile(&format!("x_profile-{id}")));
            assert_eq!(seen, expected, "with pages of {limit}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_switch_is_turned_where_there_is_a_token_and_nowhere_else() {
    on_each(async |engine| {
        let store = Store::of(engine);
        let (key, _) = store.connected("acme", "alice", Kind::XProfile, "42").await;
        for on in [true, false] {
            let token = store.allow(&key, on).await.unwrap();
            assert_eq!((token.allow.private_messages, token.allow.search_acquisition), (on, false));
        }
        let token = store.vault.token(&key).await.unwrap().unwrap().token;
        let elsewhere = TokenKey { tenant: tenant("globex"), ..key };
        let switches = [(Switch::PrivateMessages, true)];
        let allowed = store.vault.allow(&elsewhere, &token, &switches, &Ladder::default(), NOW).await;
        assert!(matches!(allowed, Err(StoreError::Conflict)), "{allowed:?}");
        assert_eq!(store.vault.profile(&elsewhere.tenant, &elsewhere.profile).await.unwrap(), None);
    })
    .await;
}

// S37
#[tokio::test]
async fn a_token_is_deleted_together_with_leaving_its_revocation() {
    on_each(async |engine| {
        let store = Store::of(engine);
        let Store { vault, flows } = &store;
        let (key, token) = store.connected("acme", "alice", Kind::FacebookUser, "1001").await;
        let (other, _) = store.connected("globex", "erin", Kind::FacebookUser, "1001").await;
        let revocation = |token| {
            Revocation::new(Network::Facebook, APP, "1001", sealed_grant(GrantPlace::of_token(&key.tenant, token)))
        };

        let newer = shared::token::Token { generation: 2, ..token.clone() };
        let deleted = vault.delete_token(flows, &key, &newer, &revocation(&newer), NOW).await;
        assert!(matches!(deleted, Err(StoreError::Conflict)), "another generation was read");
        assert!(flows.take_due(&revocation(&newer).id, NOW).await.unwrap().is_none());

        vault.delete_token(flows, &key, &token, &revocation(&token), NOW).await.unwrap();
        assert_eq!(vault.token(&key).await.unwrap(), None);
        assert!(flows.take_due(&revocation(&token).id, NOW).await.unwrap().is_some());
        assert!(vault.lives_on(Network::Facebook, APP, "1001").await.unwrap(), "globex lives on it");
        assert!(!vault.lives_on(Network::X, APP, "1001").await.unwrap());

        let theirs = vault.token(&other).await.unwrap().unwrap().token;
        vault.delete_token(flows, &other, &theirs, &revocation(&theirs), NOW).await.unwrap();
        assert!(!vault.lives_on(Network::Facebook, APP, "1001").await.unwrap());

        let profile = vault.profile(&key.tenant, &key.profile).await.unwrap().unwrap().profile;
        vault.delete_profile(&key.tenant, &profile).await.unwrap();
        assert_eq!(vault.profile(&key.tenant, &key.profile).await.unwrap(), None);
        assert!(vault.profile(&other.tenant, &other.profile).await.unwrap().is_some());
    })
    .await;
}

#[tokio::test]
async fn a_person_is_remembered_by_the_newest_address() {
    on_each(async |engine| {
        let vault = Store::of(engine).vault;
        let caller = |email: Option<&str>| Caller {
            tenant: tenant("acme"),
            subject: subject("auth0|alice#1"),
            email: email.map(str::to_owned),
            roles: BTreeSet::new(),
            groups: BTreeSet::new(),
            scope: BTreeSet::new(),
            issued_at: NOW,
        };
        let user = async || vault.user(&tenant("acme"), &subject("auth0|alice#1"), true).await.unwrap();
        assert_eq!(user().await, User::default());
        for email in [Some("alice@acme.example"), Some("a.meyer@acme.example"), None] {
            vault.remember(&caller(email), &user().await, NOW).await.unwrap();
            assert_eq!(user().await.email.as_deref(), email);
        }
    })
    .await;
}

// S63
#[tokio::test]
async fn what_was_connected_at_one_moment_falls_due_over_the_jitter_and_never_before_its_time() {
    on_each(async |engine| {
        let store = Store::spread(engine, Spread::new(4, 180));
        for id in 0..60 {
            store.connected("acme", "alice", Kind::XProfile, &(9_000 + id).to_string()).await;
        }
        let due = async |after: i64| {
            let (mut cursor, mut count) = (store.vault.due_cursor(), 0);
            while let Some(rows) = store.vault.due(&mut cursor, NOW + days(30) + minutes(after)).await.unwrap() {
                count += rows.len();
            }
            count
        };
        assert_eq!(due(-1).await, 0);
        let by_the_hour = [due(60).await, due(120).await, due(180).await];
        let [first, second, third] = by_the_hour;
        assert_eq!(third, 60);
        for of_hour in [first, second - first, third - second] {
            assert!((10..=30).contains(&of_hour), "{by_the_hour:?}");
        }
        // a row that came up, and one that was brought forward, keeps its delay
        let (key, token) = store.connected("acme", "alice", Kind::XProfile, "42").await;
        let due_at = async || store.vault.token(&key).await.unwrap().unwrap();
        let before = due_at().await;
        store.vault.reschedule(&key, &token, &Ladder::default()).await.unwrap();
        store.vault.bring_forward(&key, &Ladder::default()).await.unwrap();
        assert_eq!(due_at().await, before);
    })
    .await;
}
