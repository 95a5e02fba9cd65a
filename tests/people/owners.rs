//! Owners come and go: a profile that somebody leaves works for the others, and one that everybody left can be claimed.

use serde_json::{Value, json};

use super::{NEWSDESK, before_it_writes, listed};
use crate::support::{Person, World, days, minutes};

const FACEBOOK: &str = "/v1/profiles/facebook_user-1001";

/// A profile as somebody sees it: its state, its owners, and whose tokens it has.
async fn seen(person: &Person, path: &str) -> (String, Value, Vec<String>) {
    let profile = person.get(path).await.expect(200);
    let tokens = profile["tokens"].as_array().unwrap();
    let tokens = tokens.iter().map(|token| token["owner"].as_str().unwrap().to_owned()).collect();
    (profile["state"].as_str().unwrap().to_owned(), profile["owners"].clone(), tokens)
}

/// Whom the sweep writes to, now.
async fn mailed(world: &World) -> Vec<String> {
    let before = world.mails().await.len();
    world.sweep().await;
    let mails = world.mails().await.split_off(before);
    let mut people: Vec<_> = mails.iter().map(|mail| mail["to"][0].as_str().unwrap().to_owned()).collect();
    people.sort();
    people
}

async fn claim(person: &Person, profile: &str, token: &str, account: &str) -> Value {
    let session = person.begin_again(profile, token).await;
    let landing = person.approve(&session, account).await;
    person.complete(&landing).await.expect(200)["profiles"][0].clone()
}

#[tokio::test]
async fn two_people_leave_a_profile_one_after_the_other_and_a_third_claims_it() {
    let world = World::start().await;
    let [alice, bob, dora] = ["alice", "bob", "dora"].map(|name| world.person(name));
    for person in [&alice, &bob] {
        person.connect("facebook_user", "acquisition", "alice.meyer").await;
    }
    let path = format!("{FACEBOOK}/tokens/acquisition-alice");
    alice.patch(&path, json!({ "allow": { "search_acquisition": true } })).await.expect(200);
    world.later(days(31)).await;
    assert_eq!(mailed(&world).await, ["alice@acme.example", "bob@acme.example"]);
    alice.patch(FACEBOOK, json!({ "shared_with": { "users": ["carol"], "everybody": true } })).await.expect(200);
    assert_eq!(listed(&dora, "shared").await, ["facebook_user-1001"]);

    // one leaves: what is hers ends, and the other's lives on the same login at Facebook
    let left = alice.patch(FACEBOOK, json!({ "owner": false })).await.expect(200);
    assert_eq!((&left["owners"], &left["ended"]["tokens"]), (&json!(["bob"]), &json!(["acquisition-alice"])));
    assert_eq!(left["ended"]["revocation"], "shared");
    let warning = left["ended"]["warnings"][0].as_str().unwrap();
    assert!(warning.contains("the last valid token that acquisition at Facebook lived on"), "{left}");
    for person in [&alice, &bob, &dora] {
        assert_eq!(seen(person, FACEBOOK).await, ("valid".into(), json!(["bob"]), vec!["bob".into()]));
    }
    let lists = async |person: &Person| {
        let mut lists = [0; 3];
        for (at, list) in ["owned", "shared", "without_owners"].into_iter().enumerate() {
            lists[at] = listed(person, list).await.len();
        }
        lists
    };
    assert_eq!((lists(&alice).await, lists(&bob).await, lists(&dora).await), ([0, 1, 0], [1, 0, 0], [0, 1, 0]));
    for change in [json!({ "owner": false }), json!({ "shared_with": { "everybody": false } })] {
        alice.patch(FACEBOOK, change).await.refused(403, "forbidden");
    }
    world.later(days(15)).await;
    assert_eq!(mailed(&world).await, ["bob@acme.example"]);

    // the other leaves too: nobody owns it, nothing works, it is shared with nobody, and nobody is written to
    let left = bob.patch(FACEBOOK, json!({ "owner": false })).await.expect(200);
    assert_eq!((&left["state"], &left["ended"]["revocation"]), (&json!("no_owner"), &json!("revoked")));
    assert!(world.sandbox.networks().grants("facebook", "alice.meyer").iter().all(|grant| !grant.live));
    for person in [&alice, &bob, &dora] {
        assert_eq!(seen(person, FACEBOOK).await, ("no_owner".into(), json!([]), vec![]));
        assert_eq!(lists(person).await, [0, 0, 1]);
    }
    let shared = dora.get(FACEBOOK).await.expect(200)["shared_with"].clone();
    assert_eq!(shared, json!({ "users": [], "groups": [], "everybody": false }));
    bob.delete(FACEBOOK).await.refused(403, "forbidden");
    world.later(days(15)).await;
    assert_eq!(mailed(&world).await, [] as [&str; 0]);

    // a third claims it: the same profile with a token and switches of her own
    let claimed = claim(&dora, "facebook_user-1001", "acquisition", "alice.meyer").await;
    assert_eq!(claimed["tokens"][0]["allow"]["search_acquisition"], false);
    for person in [&alice, &bob, &dora] {
        assert_eq!(seen(person, FACEBOOK).await, ("valid".into(), json!(["dora"]), vec!["dora".into()]));
    }
    assert_eq!((lists(&alice).await, lists(&dora).await), ([0, 0, 0], [1, 0, 0]));
    world.later(days(31)).await;
    assert_eq!(mailed(&world).await, ["dora@acme.example"]);
}

#[tokio::test]
async fn whoever_claims_or_reauthenticates_touches_nobody_elses_token() {
    let world = World::start().await;
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| world.person(name));
    let before = alice.connect("x_profile", "interaction", "newsdesk").await["tokens"][0].clone();
    let again = json!({ "profile_id": "x_profile-42", "token": "interaction", "return_url": world.return_url() });
    carol.post("/v1/connect-sessions", again).await.refused(403, "forbidden");

    // with another account nothing is stored
    let session = bob.begin_again("x_profile-42", "interaction").await;
    assert_eq!(bob.approve(&session, "support").await.error(), "foreign_account");
    assert_eq!(seen(&bob, NEWSDESK).await, ("valid".into(), json!(["alice"]), vec!["alice".into()]));

    // with the profile's own he is a co-owner, and the other's token, grant and switches are as they were
    let session = bob.begin_again("x_profile-42", "interaction").await;
    let landing = bob.approve(&session, "newsdesk").await;
    alice.complete(&landing).await.refused(404, "not_found");
    let claimed = bob.complete(&landing).await.expect(200)["profiles"][0].clone();
    assert_eq!((&claimed["owners"], &claimed["tokens"][0]), (&json!(["alice", "bob"]), &before));
    let live = world.sandbox.networks().grants("x", "newsdesk").iter().filter(|grant| grant.live).count();
    assert_eq!(live, 2);

    // co-owners have equal rights: either may share it, leave it, or delete it
    for owner in [&bob, &alice] {
        owner.patch(NEWSDESK, json!({ "shared_with": { "users": [owner.name] } })).await.expect(200);
    }
    alice
        .patch(&format!("{NEWSDESK}/tokens/interaction-bob"), json!({ "allow": { "private_messages": true } }))
        .await
        .refused(403, "forbidden");
    assert_eq!(bob.delete(NEWSDESK).await.expect(200)["tokens"], json!(["interaction-alice", "interaction-bob"]));
}

#[tokio::test]
async fn a_profile_without_owners_can_be_deleted_by_a_manager_alone() {
    let world = World::start().await;
    let [alice, bob, dora] = ["alice", "bob", "dora"].map(|name| world.person(name));
    alice.connect("x_profile", "interaction", "newsdesk").await;
    dora.delete(NEWSDESK).await.refused(403, "forbidden");
    let left = alice.patch(NEWSDESK, json!({ "owner": false })).await.expect(200);
    assert_eq!(left["ended"]["revocation"], "revoked");
    bob.delete(NEWSDESK).await.refused(403, "forbidden");
    assert_eq!(dora.delete(NEWSDESK).await.expect(200)["tokens"], json!([]));
    alice.get(NEWSDESK).await.refused(404, "not_found");
    alice.patch(NEWSDESK, json!({ "owner": false })).await.refused(404, "not_found");
}

// S37
#[tokio::test]
async fn what_a_renewal_brings_while_its_owner_leaves_is_revoked_as_well() {
    let world = World::start().await;
    let alice = world.person("alice");
    alice.connect("x_profile", "interaction", "newsdesk").await;
    world.later(minutes(121)).await;
    world.fault(json!({ "target": "x/token", "mode": "slow", "delay_ms": 700, "times": 1 })).await;
    let worker = world.person("acme-worker");
    let leasing = tokio::spawn(async move { worker.lease().await });
    while world.calls("x/token").await < 2 {
        tokio::task::yield_now().await;
    }
    alice.patch(NEWSDESK, json!({ "owner": false })).await.expect(200);
    leasing.await.unwrap().refused(409, "no_valid_token");
    world.door(reqwest::Method::POST, "/_sandbox/tick", json!({ "function": "spill-reader" })).await.expect(200);
    world.later(minutes(5)).await.sweep().await;
    assert!(world.sandbox.networks().grants("x", "newsdesk").iter().all(|grant| !grant.live));
    assert_eq!(seen(&alice, NEWSDESK).await, ("no_owner".into(), json!([]), vec![]));
}

// S35
#[tokio::test]
async fn whoever_leaves_while_they_sign_in_leaves_nothing_behind() {
    let world = World::start().await;
    let [alice, bob] = ["alice", "bob"].map(|name| world.person(name));
    for person in [&alice, &bob] {
        person.connect("facebook_user", "acquisition", "alice.meyer").await;
    }
    for owners in [json!(["bob"]), json!([])] {
        let leaver = if owners == json!([]) { &bob } else { &alice };
        let session = leaver.begin_again("facebook_user-1001", "interaction").await;
        let landing = leaver.approve(&session, "alice.meyer").await;
        let request = {
            let leaver = leaver.clone();
            async move { leaver.patch(FACEBOOK, json!({ "owner": false })).await }
        };
        let (leaving, stopped) = before_it_writes(&world, request).await;
        leaver.complete(&landing).await.expect(200);
        stopped.resume();
        let ended = leaving.await.unwrap().expect(200)["ended"]["tokens"].clone();
        assert_eq!(ended.as_array().unwrap().len(), 2, "{ended}");
        let left = alice.get(FACEBOOK).await.expect(200);
        let holders: Vec<_> = left["tokens"].as_array().unwrap().iter().map(|token| token["owner"].clone()).collect();
        assert_eq!((&left["owners"], json!(holders)), (&owners, owners.clone()));
    }
    assert!(world.sandbox.networks().grants("facebook", "alice.meyer").iter().all(|grant| !grant.live));
}

// S35
#[tokio::test]
async fn a_profile_that_is_claimed_while_it_is_deleted_stays() {
    let world = World::start().await;
    let [alice, bob, dora] = ["alice", "bob", "dora"].map(|name| world.person(name));
    alice.connect("x_profile", "interaction", "newsdesk").await;
    alice.patch(NEWSDESK, json!({ "owner": false })).await.expect(200);
    let session = bob.begin_again("x_profile-42", "interaction").await;
    let landing = bob.approve(&session, "newsdesk").await;
    let (deleting, stopped) = before_it_writes(&world, async move { dora.delete(NEWSDESK).await }).await;
    bob.complete(&landing).await.expect(200);
    stopped.resume();
    deleting.await.unwrap().refused(409, "conflict");
    assert_eq!(seen(&alice, NEWSDESK).await, ("valid".into(), json!(["bob"]), vec!["bob".into()]));
}
