//! Refreshing, as it stands in a token's row: of those who saw the same row one is first, and nothing that a network
//! granted is lost.

use jiff::Timestamp;
use shared::{
    grant::GrantPlace,
    ladder::Ladder,
    network::Terms,
    profile::Kind,
    renewal::{Attempt, Renewed, Stage},
    secret::SecretHash,
    settings::Settings,
    store::{
        StoreError,
        flows::Revocation,
        outbox::Recipient,
        profiles::{Held, TokenKey, Vault},
        renewals::{Beginning, Placed, Stepped},
    },
    token::{Reason, State},
};

use super::{NOW, Store, days, minutes, on_each, sealed_grant, subject, tenant, token_of};

/// The fingerprint of a refresh token.
pub(super) fn print(name: &str) -> SecretHash {
    SecretHash::of(&name.into())
}

pub(super) async fn read(vault: &Vault, key: &TokenKey) -> Held {
    vault.token(key).await.unwrap().unwrap()
}

/// Begins an attempt with the refresh token `spent`, from the row as it was `seen`.
async fn begin(vault: &Vault, key: &TokenKey, seen: &Held, owner: &str, spent: &str) -> Stepped {
    let fingerprint = print(spent);
    let beginning = Beginning { owner, fingerprint: &fingerprint, until: NOW + minutes(1), tried: None };
    vault.begin_refresh(key, seen, beginning).await.unwrap()
}

/// The row after the step was taken.
pub(super) fn done(stepped: Stepped) -> Held {
    match stepped {
        Stepped::Done(held) => *held,
        Stepped::Changed(seen) => panic!("the row was {seen:?}"),
    }
}

/// What the network answered to the attempt that `held` began with the refresh token `spent`.
pub(super) fn answer(key: &TokenKey, held: &Held, spent: &str) -> Renewed {
    let place = GrantPlace::of(&key.tenant, &key.profile, &key.token, held.renewal.fence);
    let terms = Terms { access_expires_at: Some(NOW + minutes(120)), ..Terms::default() };
    Renewed { answers: print(spent), terms, grant: sealed_grant(place) }
}

fn is_owner(held: &Held, name: &str) -> bool {
    matches!(&held.renewal.attempt, Some(Attempt { stage: Stage::Running { owner, .. }, .. }) if owner == name)
}

#[tokio::test]
async fn of_those_who_saw_the_same_row_one_asks_the_network() {
    on_each(async |engine| {
        let store = Store::of(engine);
        let (key, _) = store.connected("acme", "alice", Kind::XProfile, "42").await;
        let seen = read(&store.vault, &key).await;
        let first = done(begin(&store.vault, &key, &seen, "a", "r1").await);
        assert_eq!((first.renewal.fence, first.token.generation), (seen.renewal.fence + 1, seen.token.generation));
        let Stepped::Changed(Some(now)) = begin(&store.vault, &key, &seen, "b", "r1").await else {
            panic!("two ask at once")
        };
        assert!(is_owner(&now, "a"), "{now:?}");
        // the SDK repeats a write whose answer was lost
        assert_eq!(done(begin(&store.vault, &key, &seen, "a", "r1").await), first);
    })
    .await;
}

// S45, S46
#[tokio::test]
async fn an_attempt_that_is_not_the_newest_cannot_commit_and_its_answer_is_kept() {
    on_each(async |engine| {
        let store = Store::of(engine);
        let vault = &store.vault;
        let (key, _) = store.connected("acme", "alice", Kind::XProfile, "42").await;
        let paused = done(begin(vault, &key, &read(vault, &key).await, "a", "r1").await);
        let newest = done(begin(vault, &key, &paused, "b", "r1").await);

        let late = answer(&key, &paused, "r1");
        for _ in 0..2 {
            let Placed::Kept(row) = vault.place(&key, &paused, &late).await.unwrap() else { panic!("it committed") };
            assert!(is_owner(&row, "b"), "{row:?}");
            assert_eq!(row.renewal.candidates.get(&paused.renewal.fence), Some(&late));
        }
        let winning = answer(&key, &newest, "r1");
        for _ in 0..2 {
            let placed = vault.place(&key, &newest, &winning).await.unwrap();
            let Placed::Committed(row) = placed else { panic!("the newest is {placed:?}") };
            assert_eq!((row.token.generation, &row.grant), (newest.renewal.fence, &winning.grant));
            assert_eq!(row.token.access_expires_at, Some(NOW + minutes(120)));
            assert_eq!(row.renewal.attempt, None);
            assert!(
                row.renewal.candidates.contains_key(&paused.renewal.fence),
                "either of the two may be the living one"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn candidates_of_older_refresh_tokens_go_when_the_present_one_has_proved_to_live() {
    on_each(async |engine| {
        let store = Store::of(engine);
        let vault = &store.vault;
        let (key, _) = store.connected("acme", "alice", Kind::XProfile, "42").await;
        let paused = done(begin(vault, &key, &read(vault, &key).await, "a", "r1").await);
        let second = done(begin(vault, &key, &paused, "b", "r1").await);
        vault.place(&key, &second, &answer(&key, &second, "r1")).await.unwrap();
        vault.place(&key, &paused, &answer(&key, &paused, "r1")).await.unwrap();
        let third = done(begin(vault, &key, &read(vault, &key).await, "c", "r2").await);
        let Placed::Committed(row) = vault.place(&key, &third, &answer(&key, &third, "r2")).await.unwrap() else {
            panic!("the newest did not commit")
        };
        assert!(row.renewal.candidates.is_empty(), "{row:?}");
    })
    .await;
}

// S46
#[tokio::test]
async fn a_late_answer_to_the_present_refresh_token_is_adopted_and_ends_other_attempts() {
    on_each(async |engine| {
        let store = Store::of(engine);
        let vault = &store.vault;
        let (key, _) = store.connected("acme", "alice", Kind::XProfile, "42").await;
        let paused = done(begin(vault, &key, &read(vault, &key).await, "a", "r1").await);
        let other = done(begin(vault, &key, &paused, "b", "r1").await);
        let late = answer(&key, &paused, "r1");
        vault.place(&key, &paused, &late).await.unwrap();
        let row = done(vault.adopt(&key, &read(vault, &key).await, paused.renewal.fence).await.unwrap());
        assert_eq!((row.token.generation, &row.grant), (paused.renewal.fence, &late.grant));
        assert!(row.renewal.fence > other.renewal.fence && row.renewal.candidates.is_empty(), "{row:?}");
        let placed = vault.place(&key, &other, &answer(&key, &other, "r1")).await.unwrap();
        assert!(matches!(placed, Placed::Kept(_)), "{placed:?}");
    })
    .await;
}

// S54
#[tokio::test]
async fn writes_to_other_fields_do_not_defeat_a_commit_and_are_not_undone_by_it() {
    on_each(async |engine| {
        let store = Store::of(engine);
        let vault = &store.vault;
        let (key, _) = store.connected("acme", "alice", Kind::XProfile, "42").await;
        let begun = done(begin(vault, &key, &read(vault, &key).await, "a", "r1").await);
        store.allow(&key, true).await.unwrap();
        vault.limit(&key, &begun, NOW + minutes(15)).await.unwrap();
        let scopes = vec!["tweet.write".to_owned()];
        let terms = Terms { scopes: scopes.clone(), ..Terms::default() };
        done(vault.learn(&key, &read(vault, &key).await, &terms, None).await.unwrap());
        assert!(vault.begin_check(&key, &begun, NOW, NOW + minutes(1)).await.unwrap());
        let token = read(vault, &key).await.token;
        let warned = token.age(NOW + days(30), &Ladder::default()).unwrap();
        vault.age(&key, &token, warned, &Settings::default(), NOW + days(30)).await.unwrap();

        let placed = vault.place(&key, &begun, &answer(&key, &begun, "r1")).await.unwrap();
        let Placed::Committed(row) = placed else { panic!("{placed:?}") };
        assert!(row.token.allow.private_messages);
        assert_eq!(row.token.state, State::CoolingDown { cooling_until: NOW + minutes(15) });
        assert_eq!((row.token.scopes, row.token.considered_at), (scopes, NOW + days(30)));
    })
    .await;
}

#[tokio::test]
async fn an_answer_for_a_token_that_is_gone_or_was_signed_in_for_anew_is_nobodys() {
    on_each(async |engine| {
        let store = Store::of(engine);
        let Store { vault, flows } = &store;
        let (key, _) = store.connected("acme", "alice", Kind::XProfile, "42").await;
        let begun = done(begin(vault, &key, &read(vault, &key).await, "a", "r1").await);
        let late = answer(&key, &begun, "r1");

        let session = store.authorized("acme", "alice", Kind::XProfile, "42").await;
        let (_, mut token) = token_of(&session, "42", begun.renewal.fence + 1);
        token.connected_at = NOW + minutes(5);
        let grant = sealed_grant(GrantPlace::of_token(&key.tenant, &token));
        store.attach(&session, &token, &grant, Some((&begun, None)), NOW).await.unwrap();
        assert!(matches!(vault.place(&key, &begun, &late).await.unwrap(), Placed::Replaced));
        let row = read(vault, &key).await;
        assert_eq!((&row.grant, row.renewal.attempt, row.renewal.candidates.len()), (&grant, None, 0));

        let revocation = Revocation::new(shared::profile::Network::X, "app", "42", grant);
        vault.delete_token(flows, &key, &token, &revocation, NOW).await.unwrap();
        assert!(matches!(vault.place(&key, &begun, &late).await.unwrap(), Placed::Replaced));
        assert!(vault.token(&key).await.unwrap().is_none());
    })
    .await;
}

// S46
#[tokio::test]
async fn a_sign_in_overlooks_no_answer_that_came_since_it_read_the_token() {
    on_each(async |engine| {
        let store = Store::of(engine);
        let vault = &store.vault;
        let (key, _) = store.connected("acme", "alice", Kind::XProfile, "42").await;
        let first = done(begin(vault, &key, &read(vault, &key).await, "a", "r1").await);
        let before = done(begin(vault, &key, &first, "b", "r1").await);
        let placed = vault.place(&key, &first, &answer(&key, &first, "r1")).await.unwrap();
        assert!(matches!(placed, Placed::Kept(_)));

        let session = store.authorized("acme", "alice", Kind::XProfile, "42").await;
        let (_, token) = token_of(&session, "42", before.renewal.fence + 1);
        let grant = sealed_grant(GrantPlace::of_token(&key.tenant, &token));
        let attach = async |before: &Held| store.attach(&session, &token, &grant, Some((before, None)), NOW).await;
        assert!(matches!(attach(&before).await, Err(StoreError::Conflict)));
        attach(&read(vault, &key).await).await.unwrap();
        let row = read(vault, &key).await;
        assert_eq!((&row.grant, row.renewal.candidates.len()), (&grant, 0));
    })
    .await;
}

// S51, S59
#[tokio::test]
async fn a_death_waits_for_a_candidate_that_came_meanwhile_and_is_told_once() {
    on_each(async |engine| {
        let store = Store::of(engine);
        let vault = &store.vault;
        let (key, _) = store.connected("acme", "alice", Kind::XProfile, "42").await;
        let paused = done(begin(vault, &key, &read(vault, &key).await, "a", "r1").await);
        let begun = done(begin(vault, &key, &paused, "b", "r1").await);
        let Placed::Kept(kept) = vault.place(&key, &paused, &answer(&key, &paused, "r0")).await.unwrap() else {
            panic!("an older attempt committed")
        };
        let died = vault.die(&key, &begun, Reason::RefreshRejected, NOW).await;
        assert!(matches!(died, Err(StoreError::Conflict)), "a candidate came: {died:?}");

        vault.die(&key, &kept, Reason::RefreshRejected, NOW).await.unwrap();
        assert!(vault.die(&key, &kept, Reason::RefreshRejected, NOW).await.is_err());
        let row = read(vault, &key).await;
        assert_eq!(row.token.state, State::NeedsReauth { reason: Reason::RefreshRejected });
        let outbox = vault.outbox(&tenant("acme"), &Recipient::Person(subject("alice"))).await.unwrap();
        assert_eq!(outbox.entries.len(), 1);
        let placed = vault.place(&key, &begun, &answer(&key, &begun, "r1")).await.unwrap();
        assert!(
            matches!(placed, Placed::Kept(_)),
            "an attempt that ran on commits to no token that is over: {placed:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_lost_answer_that_is_found_revives_the_token() {
    on_each(async |engine| {
        let store = Store::of(engine);
        let vault = &store.vault;
        let (key, _) = store.connected("acme", "alice", Kind::XProfile, "42").await;
        let paused = done(begin(vault, &key, &read(vault, &key).await, "a", "r1").await);
        vault.die(&key, &paused, Reason::LostAnswer, NOW).await.unwrap();
        vault.place(&key, &paused, &answer(&key, &paused, "r1")).await.unwrap();
        let row = read(vault, &key).await;
        assert!(row.token.state.is_over() && row.renewal.may_revive(row.token.state), "{row:?}");
        let row = done(vault.adopt(&key, &row, paused.renewal.fence).await.unwrap());
        assert_eq!((row.token.state, row.token.generation), (State::Active, paused.renewal.fence));
    })
    .await;
}

#[tokio::test]
async fn an_attempt_ends_with_what_is_known_of_it_and_whoever_vanished_is_marked() {
    on_each(async |engine| {
        let store = Store::of(engine);
        let vault = &store.vault;
        let (key, _) = store.connected("acme", "alice", Kind::XProfile, "42").await;
        let begun = done(begin(vault, &key, &read(vault, &key).await, "a", "r1").await);
        let orphan = async |held: &Held, now: Timestamp| vault.orphan_refresh(&key, held, now).await.unwrap();
        let marked = done(orphan(&begun, NOW + minutes(1)).await);
        let stage = |held: &Held| held.renewal.attempt.as_ref().map(|attempt| attempt.stage.clone());
        assert_eq!(stage(&marked), Some(Stage::Orphaned { since: NOW + minutes(1) }));
        assert!(matches!(orphan(&begun, NOW + minutes(9)).await, Stepped::Changed(Some(_))), "it was marked before");

        let again = done(begin(vault, &key, &marked, "b", "r1").await);
        let unanswered = Attempt { fingerprint: print("r1"), stage: Stage::Unanswered };
        let (kept, later) = (Some(&unanswered), NOW + minutes(3));
        let ended = done(vault.end_refresh(&key, &again, kept, later, NOW).await.unwrap());
        assert_eq!((stage(&ended), ended.renewal.failures), (Some(Stage::Unanswered), 1));
        assert_eq!(ended.renewal.retry_at, Some(later));
        assert!(matches!(vault.end_refresh(&key, &begun, None, later, NOW).await.unwrap(), Stepped::Changed(Some(_))));
    })
    .await;
}
