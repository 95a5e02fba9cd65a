//! Who a profile belongs to, in the Vault table: shares, partings, removals.

use std::collections::BTreeSet;

use shared::{
    access::{Group, Sharing, Subject},
    clock::Deadline,
    profile::{Kind, Network},
    store::{
        StoreError,
        flows::Revocation,
        ownership::{Removal, Share},
        profiles::{DueRow, Profile, TokenKey},
    },
    token::TokenId,
};

use super::{APP, Engine, NOW, Store, minutes, on_each, subject, tenant};

fn people(names: &[&str]) -> BTreeSet<Subject> {
    names.iter().map(|name| subject(name)).collect()
}

impl Store {
    async fn profile_of(&self, key: &TokenKey) -> Profile {
        self.vault.profile(&key.tenant, &key.profile).await.unwrap().unwrap().profile
    }

    async fn shared(&self, key: &TokenKey, by: &str, share: &Share) -> Option<Profile> {
        self.vault.share(&key.tenant, &key.profile, &subject(by), share).await.unwrap()
    }
}

#[tokio::test]
async fn an_owner_and_nobody_else_says_with_whom_a_profile_is_shared() {
    on_each(async |engine: &Engine| {
        let store = Store::of(engine);
        let (key, _) = store.connected("acme", "alice", Kind::XProfile, "42").await;
        let group = Group::try_from("a b, \"c\"".to_owned()).unwrap();
        let share = Share { users: Some(people(&["bob", "x#U#y"])), groups: Some([group].into()), everybody: None };
        assert_eq!(store.shared(&key, "bob", &share).await, None);
        let elsewhere = TokenKey { tenant: tenant("globex"), ..key.clone() };
        assert_eq!(store.shared(&elsewhere, "alice", &share).await, None);
        assert_eq!(store.vault.profile(&elsewhere.tenant, &elsewhere.profile).await.unwrap(), None);

        let shared = store.shared(&key, "alice", &share).await.unwrap().shared;
        assert_eq!((Some(&shared.users), Some(&shared.groups)), (share.users.as_ref(), share.groups.as_ref()));
        let everybody = Share { everybody: Some(true), ..Share::default() };
        let after = store.shared(&key, "alice", &everybody).await.unwrap().shared;
        assert_eq!((&after.users, &after.groups, after.everybody), (&shared.users, &shared.groups, true));
        let listed = store.vault.profiles(&key.tenant, None, 10).await.unwrap();
        assert_eq!(listed.profiles[0].profile.shared, after, "the list tells it too");
        let nobody = Share { users: Some([].into()), groups: Some([].into()), everybody: Some(false) };
        assert_eq!(store.shared(&key, "alice", &nobody).await.unwrap().shared, Sharing::default());
    })
    .await;
}

#[tokio::test]
async fn with_an_ownership_the_tokens_end_and_with_the_last_one_the_shares() {
    on_each(async |engine: &Engine| {
        let store = Store::of(engine);
        let (key, _) = store.connected("acme", "alice", Kind::XProfile, "42").await;
        let (theirs, _) = store.connected("acme", "bob", Kind::XProfile, "42").await;
        let share = Share { users: Some(people(&["carol"])), ..Share::default() };
        store.shared(&key, "alice", &share).await.unwrap();
        let give_up = async |person: &str| {
            store.vault.give_up(&store.flows, &key.tenant, &key.profile, &subject(person), NOW).await.unwrap()
        };
        assert!(give_up("carol").await.is_none());

        let parted = give_up("alice").await.unwrap();
        assert_eq!((parted.tokens, parted.unowned), (vec![key.token.clone()], false));
        assert_eq!(store.vault.token(&key).await.unwrap(), None);
        assert!(store.flows.take_due(&parted.revocations[0].id, NOW).await.unwrap().is_some());
        let left = store.profile_of(&key).await;
        assert_eq!((left.owners, left.shared.users), (people(&["bob"]), people(&["carol"])));
        assert!(give_up("alice").await.is_none());

        assert!(give_up("bob").await.unwrap().unowned);
        assert_eq!(store.vault.token(&theirs).await.unwrap(), None);
        let left = store.profile_of(&key).await;
        assert_eq!((left.owners, left.shared), (people(&[]), Sharing::default()));

        // somebody claims it while a manager deletes what nobody owns, and signs in again while it is deleted
        let unowned = store.profile_of(&key).await;
        store.connected("acme", "dora", Kind::XProfile, "42").await;
        let owned = store.profile_of(&key).await;
        let again = TokenKey { token: TokenId::new(key.token.kind(), &subject("dora")), ..key.clone() };
        let held = store.vault.token(&again).await.unwrap().unwrap();
        let revocation = Revocation::new(Network::X, APP, "42", held.grant.clone());
        store.vault.delete_token(&store.flows, &again, &held.token, &revocation, NOW).await.unwrap();
        store.connected("acme", "dora", Kind::XProfile, "42").await;
        for before in [unowned, owned] {
            let deleted = store.vault.delete_profile(&key.tenant, &before).await;
            assert!(matches!(deleted, Err(StoreError::Conflict)), "{before:?}");
        }
        let now = store.profile_of(&key).await;
        assert_eq!(now.owners, people(&["dora"]));
        store.vault.delete_profile(&key.tenant, &now).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_removal_is_due_until_a_pass_that_began_late_enough_found_nothing_more() {
    on_each(async |engine: &Engine| {
        let store = Store::of(engine);
        let Store { vault, flows } = &store;
        let person = "auth0|a#U#b";
        let (key, _) = store.connected("acme", person, Kind::XProfile, "42").await;
        let (other, _) = store.connected("globex", person, Kind::XProfile, "42").await;
        let (shared, _) = store.connected("acme", "bob", Kind::XProfile, "43").await;
        store.shared(&shared, "bob", &Share { users: Some(people(&[person])), ..Share::default() }).await.unwrap();
        let due = async |now| {
            let (mut cursor, mut rows) = (vault.due_cursor(), Vec::new());
            while let Some(page) = vault.due(&mut cursor, now).await.unwrap() {
                rows.extend(page);
            }
            rows
        };
        let removal = Removal { tenant: tenant("acme"), subject: subject(person), removed_at: NOW + minutes(1) };
        vault.remove_user(&removal).await.unwrap();
        assert_eq!(
            vault.user(&removal.tenant, &removal.subject, true).await.unwrap().removed_at,
            Some(NOW + minutes(1))
        );
        assert_eq!(vault.removal(&removal.tenant, &removal.subject).await.unwrap(), Some(removal.clone()));
        let row = (tenant("acme"), DueRow::Removal(subject(person)));
        assert_eq!(due(NOW + minutes(1)).await, []);
        assert_eq!(due(NOW + minutes(2)).await, [row]);

        // no time: nothing happens, and that is what it says
        let none = Deadline::after(std::time::Duration::ZERO);
        let pass = vault.pursue(flows, &removal, none, NOW).await.unwrap();
        assert_eq!((pass.complete, pass.tokens, pass.owned, pass.shared), (false, 0, 0, 0));
        assert!(vault.token(&key).await.unwrap().is_some());

        let minute = || Deadline::after(std::time::Duration::from_mins(1));
        let pass = vault.pursue(flows, &removal, minute(), NOW).await.unwrap();
        assert_eq!((pass.complete, pass.tokens, pass.owned, pass.unowned, pass.shared), (true, 1, 1, 1, 1));
        assert!(flows.take_due(&pass.revocations[0].id, NOW).await.unwrap().is_some());
        assert_eq!(vault.token(&key).await.unwrap(), None);
        assert_eq!(store.profile_of(&key).await.owners, people(&[]));
        let left = store.profile_of(&shared).await;
        assert_eq!((left.owners, left.shared.users), (people(&["bob"]), people(&[])));
        assert!(vault.token(&other).await.unwrap().is_some(), "the namesake of another organisation");

        vault.finish(&removal, NOW + minutes(1)).await.unwrap();
        assert_eq!(due(NOW + minutes(2)).await.len(), 1, "the index may have been behind");
        let pass = vault.pursue(flows, &removal, minute(), NOW).await.unwrap();
        assert_eq!((pass.complete, pass.tokens, pass.owned, pass.shared), (true, 0, 0, 0));

        // removed anew meanwhile: the older pass proves nothing
        let again = Removal { removed_at: NOW + minutes(9), ..removal.clone() };
        vault.remove_user(&again).await.unwrap();
        assert!(matches!(vault.finish(&removal, NOW + minutes(9)).await, Err(StoreError::Conflict)));
        vault.finish(&again, NOW + minutes(10)).await.unwrap();
        assert_eq!(due(NOW + minutes(60)).await, []);
    })
    .await;
}
