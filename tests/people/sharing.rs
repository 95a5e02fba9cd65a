//! Sharing: who sees it in their list, on whose behalf it is used, and what ends that.

use serde_json::{Value, json};

use super::{NEWSDESK, acting, listed, seen_as};
use crate::support::{Person, World, minutes};

/// A world in which everybody of acme was here, and alice has the news desk at X.
async fn newsroom() -> (World, Person) {
    let world = World::start().await;
    let alice = world.person("alice");
    alice.connect("x_profile", "interaction", "newsdesk").await;
    for name in ["bob", "carol", "dora"] {
        world.person(name).get("/v1/profiles").await.expect(200);
    }
    (world, alice)
}

async fn share(alice: &Person, with: Value) -> Value {
    alice.patch(NEWSDESK, json!({ "shared_with": with })).await.expect(200)["shared_with"].clone()
}

// S35
#[tokio::test]
async fn a_profile_is_used_on_behalf_of_those_it_is_shared_with_and_of_nobody_else() {
    let (world, alice) = newsroom().await;
    // bob is a responder and carol a reader, both at the service desk; dora is a manager, and of no group
    for (with, users, listing) in [
        (json!({ "users": [] }), &[][..], &[][..]),
        (json!({ "users": ["bob", "zoe"] }), &["bob"], &["bob"]),
        (json!({ "groups": ["service desk"] }), &["bob"], &["bob", "carol"]),
        (json!({ "users": [] }), &["bob"], &["bob", "carol"]),
        (json!({ "groups": ["service", "desk", "Service desk"] }), &[], &[]),
        (json!({ "everybody": true }), &["bob", "dora"], &["bob", "dora"]),
        (json!({ "users": ["carol"], "everybody": false }), &[], &["carol"]),
        (json!({ "users": [], "groups": [] }), &[], &[]),
    ] {
        share(&alice, with.clone()).await;
        for name in ["bob", "carol", "dora"] {
            let status = if users.contains(&name) { 201 } else { 403 };
            assert_eq!(acting(&world, name).await, status, "on behalf of {name} after {with}");
            let shared = listed(&world.person(name), "shared").await;
            assert_eq!(shared.len(), usize::from(listing.contains(&name)), "{name} after {with}");
        }
        assert_eq!(acting(&world, "alice").await, 201, "its owner");
        assert_eq!(listed(&alice, "shared").await, [] as [&str; 0], "it is her own");
    }
    assert_eq!(acting(&world, "zoe").await, 403, "nobody has seen her");
}

#[tokio::test]
async fn a_share_replaces_what_it_names_and_leaves_the_rest() {
    let (_, alice) = newsroom().await;
    for (with, after) in [
        (json!({ "users": ["bob"] }), json!({ "users": ["bob"], "groups": [], "everybody": false })),
        (
            json!({ "groups": ["a \"b\", c", "ä#"] }),
            json!({ "users": ["bob"], "groups": ["a \"b\", c", "ä#"], "everybody": false }),
        ),
        (json!({ "everybody": true }), json!({ "users": ["bob"], "groups": ["a \"b\", c", "ä#"], "everybody": true })),
        (
            json!({ "users": ["x#U#y", "dora", "dora"], "groups": [] }),
            json!({ "users": ["dora", "x#U#y"], "groups": [], "everybody": true }),
        ),
        (json!({ "users": [], "everybody": false }), json!({ "users": [], "groups": [], "everybody": false })),
    ] {
        assert_eq!(share(&alice, with.clone()).await, after, "{with}");
        assert_eq!(alice.get(NEWSDESK).await.expect(200)["shared_with"], after, "{with}");
        assert_eq!(alice.get("/v1/profiles").await.expect(200)["items"][0]["shared_with"], after, "{with}");
    }
    let session = alice.begin_again("x_profile-42", "interaction").await;
    share(&alice, json!({ "groups": ["kept"] })).await;
    let landing = alice.approve(&session, "newsdesk").await;
    let again = alice.complete(&landing).await.expect(200)["profiles"][0].clone();
    assert_eq!(again["shared_with"]["groups"], json!(["kept"]), "reauthenticating changes nothing of it");
}

#[tokio::test]
async fn whom_it_is_shared_with_may_not_manage_delete_or_share_it() {
    let (world, alice) = newsroom().await;
    share(&alice, json!({ "users": ["bob", "dora"], "everybody": true })).await;
    let token = format!("{NEWSDESK}/tokens/interaction-alice");
    for name in ["bob", "dora"] {
        let person = world.person(name);
        for (path, change) in [
            (NEWSDESK, json!({ "shared_with": { "users": ["carol"] } })),
            (NEWSDESK, json!({ "owner": false })),
            (&token, json!({ "allow": { "private_messages": true } })),
        ] {
            let problem = person.patch(path, change).await.refused(403, "forbidden");
            assert!(problem["detail"].as_str().unwrap().contains("own"), "{problem}");
        }
        person.delete(NEWSDESK).await.refused(403, "forbidden");
        person.delete(&token).await.refused(403, "forbidden");
    }
    assert_eq!(alice.get(NEWSDESK).await.expect(200)["tokens"][0]["allow"]["private_messages"], false);
}

// S35
#[tokio::test]
async fn acting_for_a_sharee_ends_with_the_share_the_group_the_role_the_day_and_the_owner() {
    let (world, alice) = newsroom().await;
    let share_again = async || {
        share(&alice, json!({ "groups": ["service desk"] })).await;
        seen_as(&world, "bob", &["responder"], &["service desk"]).await;
        assert_eq!(acting(&world, "bob").await, 201);
    };
    share_again().await;
    share(&alice, json!({ "groups": [] })).await;
    assert_eq!(acting(&world, "bob").await, 403, "the share ended");

    share_again().await;
    seen_as(&world, "bob", &["responder"], &["newsroom", "service", "desk"]).await;
    assert_eq!(acting(&world, "bob").await, 403, "he left the group");

    share_again().await;
    seen_as(&world, "bob", &["reader", "administrator"], &["service desk"]).await;
    assert_eq!(acting(&world, "bob").await, 403, "he lost the role");

    share_again().await;
    world.later(minutes(24 * 60 - 1)).await;
    assert_eq!(acting(&world, "bob").await, 201);
    world.later(minutes(1)).await;
    assert_eq!(acting(&world, "bob").await, 403, "nobody has seen him for a day");

    share_again().await;
    alice.patch(NEWSDESK, json!({ "owner": false })).await.expect(200);
    assert_eq!(acting(&world, "bob").await, 403, "nobody shares it any more");
    alice.connect("x_profile", "interaction", "newsdesk").await;
    assert_eq!(acting(&world, "bob").await, 403, "whoever claims it decides anew");
    share_again().await;
}

#[tokio::test]
async fn acquisition_goes_by_whom_each_profile_is_shared_with() {
    let (world, alice) = newsroom().await;
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    let path = "/v1/profiles/facebook_user-1001/tokens/acquisition-alice";
    alice.patch(path, json!({ "allow": { "search_acquisition": true } })).await.expect(200);
    let rule = json!({ "topic": "Floods", "use": "search_acquisition", "network": "facebook" });
    let rule = alice.post("/v1/rules", rule).await.expect(201)["id"].clone();
    let order = json!({ "use": "search_acquisition", "network": "facebook", "rule_id": rule, "acting_user": "bob" });
    let worker = world.person("acme-worker");
    for _ in 0..2 {
        worker.post("/v1/leases", order.clone()).await.refused(403, "forbidden");
        let profile = "/v1/profiles/facebook_user-1001";
        alice.patch(profile, json!({ "shared_with": { "groups": ["service desk"] } })).await.expect(200);
        worker.post("/v1/leases", order.clone()).await.expect(201);
        alice.patch(profile, json!({ "shared_with": { "groups": [] } })).await.expect(200);
    }
}

// S36
#[tokio::test]
async fn a_change_that_makes_no_sense_is_refused_and_changes_nothing() {
    let (_, alice) = newsroom().await;
    let many = |prefix: &str| (0..101).map(|number| format!("{prefix}{number}")).collect::<Vec<_>>();
    let before = share(&alice, json!({ "users": many("u")[1..], "groups": many("g")[1..] })).await;
    assert_eq!(before["users"].as_array().unwrap().len(), 100);
    for body in [
        json!({}),
        json!({ "owner": true }),
        json!({ "owner": null }),
        json!({ "owner": "no" }),
        json!({ "owner": false, "shared_with": { "everybody": true } }),
        json!({ "owner": false, "name": "x" }),
        json!({ "owners": [] }),
        json!({ "shared_with": {} }),
        json!({ "shared_with": [] }),
        json!({ "shared_with": { "everyone": true } }),
        json!({ "shared_with": { "everybody": "yes" } }),
        json!({ "shared_with": { "users": "bob" } }),
        json!({ "shared_with": { "users": [""] } }),
        json!({ "shared_with": { "users": ["bob\n"] } }),
        json!({ "shared_with": { "users": ["b".repeat(256)] } }),
        json!({ "shared_with": { "users": [7] } }),
        json!({ "shared_with": { "users": many("u") } }),
        json!({ "shared_with": { "groups": [""] } }),
        json!({ "shared_with": { "groups": ["a\u{0}b"] } }),
        json!({ "shared_with": { "groups": many("g") } }),
        json!({ "shared_with": { "users": ["bob"], "groups": many("g") } }),
    ] {
        alice.patch(NEWSDESK, body.clone()).await.refused(400, "invalid_request");
        let profile = alice.get(NEWSDESK).await.expect(200);
        assert_eq!((&profile["shared_with"], &profile["owners"]), (&before, &json!(["alice"])), "{body}");
    }
    let large = json!({ "shared_with": { "users": vec!["u".repeat(250); 100] } });
    alice.patch(NEWSDESK, large).await.refused(413, "body_too_large");
    alice.get("/v1/profiles?list=mine").await.refused(400, "invalid_request");
}
