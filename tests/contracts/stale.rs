//! Whoever read a token's row a while ago undoes nothing that happened since.

use jiff::Timestamp;
use shared::{
    ladder::Ladder,
    network::Terms,
    profile::{Kind, Switch, TokenKind},
    settings::Settings,
    store::{
        StoreError,
        profiles::{Held, TokenKey},
        renewals::{Beginning, Placed, Stepped},
    },
    token::{Reason, State, Token},
};

use super::{
    NOW, Store, days, due_token, minutes, on_each,
    renewals::{answer, done, print, read},
    sealed_grant, token_of,
};

/// A connected token for acquisition, which is looked after once searching with it is allowed.
async fn acquisition(store: &Store, kind: Kind) -> (TokenKey, Held) {
    let mut session = store.authorized("acme", "alice", kind, "17").await;
    session.token = TokenKind::Acquisition;
    let (key, token) = token_of(&session, "17", 1);
    let token = match kind {
        Kind::InstagramAccount => Token { expires_at: None, access_expires_at: Some(NOW + days(60)), ..token },
        _ => token,
    };
    let grant = sealed_grant(shared::grant::GrantPlace::of_token(&key.tenant, &token));
    store.attach(&session, &token, &grant, None, NOW).await.unwrap();
    let held = read(&store.vault, &key).await;
    (key, held)
}

async fn allow(store: &Store, key: &TokenKey) {
    let before = read(&store.vault, key).await.token;
    let on = [(Switch::SearchAcquisition, true)];
    store.vault.allow(key, &before, &on, &Ladder::default(), NOW).await.unwrap();
}

/// Whether the sweep sees to it by then.
async fn comes_up(store: &Store, key: &TokenKey, by: Timestamp) -> bool {
    let mut cursor = store.vault.due_cursor();
    while let Some(rows) = store.vault.due(&mut cursor, by).await.unwrap() {
        if rows.contains(&due_token(key)) {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn a_token_that_died_while_the_sweep_considered_it_stays_dead() {
    on_each(async |engine| {
        let store = Store::of(engine);
        let vault = &store.vault;
        let (key, token) = store.connected("acme", "alice", Kind::FacebookUser, "1001").await;
        vault.die(&key, &read(vault, &key).await, Reason::PasswordChanged, NOW).await.unwrap();
        let dead = read(vault, &key).await;
        for passed in [30, 60] {
            let now = NOW + days(passed);
            let aged = token.age(now, &Ladder::default()).unwrap();
            let late = vault.age(&key, &token, aged, &Settings::default(), now).await;
            assert!(matches!(late, Err(StoreError::Conflict)), "after {passed} days: {late:?}");
        }
        assert_eq!(read(vault, &key).await, dead);
    })
    .await;
}

#[tokio::test]
async fn what_has_ended_does_not_die_as_well() {
    on_each(async |engine| {
        let store = Store::of(engine);
        let vault = &store.vault;
        let (key, token) = store.connected("acme", "alice", Kind::FacebookUser, "1001").await;
        let asked = read(vault, &key).await;
        let now = NOW + days(60);
        let aged = token.age(now, &Ladder::default()).unwrap();
        vault.age(&key, &token, aged, &Settings::default(), now).await.unwrap();
        let died = vault.die(&key, &asked, Reason::Expired, now).await;
        assert!(matches!(died, Err(StoreError::Conflict)), "{died:?}");
        assert_eq!(read(vault, &key).await.token.state, State::Expired);
    })
    .await;
}

#[tokio::test]
async fn a_limit_is_not_shortened_by_whoever_did_not_see_it() {
    on_each(async |engine| {
        let store = Store::of(engine);
        let vault = &store.vault;
        let (key, _) = store.connected("acme", "alice", Kind::XProfile, "42").await;
        let rest = async |seen: &Held, wait| vault.limit(&key, seen, NOW + minutes(wait)).await.unwrap();
        let resting = done(rest(&read(vault, &key).await, 5).await);
        done(rest(&resting, 60).await);
        assert!(matches!(rest(&resting, 15).await, Stepped::Changed(Some(_))));

        // nor does the sweep, that has a warning to give
        let until = State::CoolingDown { cooling_until: NOW + minutes(60) };
        let now = NOW + days(30);
        let aged = resting.token.age(now, &Ladder::default()).unwrap();
        vault.age(&key, &resting.token, aged, &Settings::default(), now).await.unwrap();
        assert_eq!(read(vault, &key).await.token.state, until);
    })
    .await;
}

#[tokio::test]
async fn a_token_that_was_just_allowed_is_looked_after_whatever_else_is_written() {
    on_each(async |engine| {
        let store = Store::of(engine);
        let vault = &store.vault;
        let tomorrow = NOW + days(1);
        let (key, seen) = acquisition(&store, Kind::FacebookUser).await;
        allow(&store, &key).await;
        let terms = Terms { scopes: vec!["public_profile".to_owned()], ..Terms::default() };
        assert!(matches!(vault.learn(&key, &seen, &terms, None).await.unwrap(), Stepped::Changed(Some(_))));
        let late = vault.reschedule(&key, &seen.token, &Ladder::default()).await;
        assert!(matches!(late, Err(StoreError::Conflict)), "{late:?}");
        assert!(comes_up(&store, &key, tomorrow).await);

        let session = store.authorized("acme", "alice", Kind::FacebookUser, "17").await;
        let token = Token { generation: 2, ..seen.token.clone() };
        let grant = sealed_grant(shared::grant::GrantPlace::of_token(&key.tenant, &token));
        let attach = async |seen: &Held| store.attach(&session, &token, &grant, Some((seen, None)), NOW).await;
        assert!(matches!(attach(&seen).await, Err(StoreError::Conflict)), "it was allowed since");
        attach(&read(vault, &key).await).await.unwrap();
        assert!(comes_up(&store, &key, tomorrow).await);
    })
    .await;
}

// S54
#[tokio::test]
async fn a_token_that_is_allowed_while_it_is_renewed_is_looked_after() {
    on_each(async |engine| {
        let store = Store::of(engine);
        let vault = &store.vault;
        let (key, seen) = acquisition(&store, Kind::InstagramAccount).await;
        let spent = print("r1");
        let beginning = Beginning { owner: "a", fingerprint: &spent, until: NOW + minutes(1), tried: None };
        let begun = done(vault.begin_refresh(&key, &seen, beginning).await.unwrap());
        allow(&store, &key).await;
        let mut renewed = answer(&key, &begun, "r1");
        renewed.terms.access_expires_at = Some(NOW + days(60));
        assert!(matches!(vault.place(&key, &begun, &renewed).await.unwrap(), Placed::Committed(_)));
        assert!(comes_up(&store, &key, NOW + days(1)).await);
    })
    .await;
}
