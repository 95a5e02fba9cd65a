//! What a machine does so that tokens live: renewing ahead of their end, and asking how those are that die silently.

use serde_json::{Value, json};

use crate::support::{Person, World, days, minutes};

async fn instagram() -> (World, Person) {
    let world = World::start().await;
    let alice = world.person("alice");
    alice.connect("instagram_account", "acquisition", "harbour.kitchen").await;
    (world, alice)
}

const PHOTOS: &str = "instagram_account-17841400000000003";

async fn allow(person: &Person, profile: &str, on: bool) {
    let path = format!("/v1/profiles/{profile}/tokens/acquisition-alice");
    person.patch(&path, json!({ "allow": { "search_acquisition": on } })).await.expect(200);
}

// S56
#[tokio::test]
async fn an_instagram_token_is_renewed_ten_days_before_its_end_for_ever_and_nobody_hears_of_it() {
    let (world, alice) = instagram().await;
    for period in 1..=4 {
        world.forget_calls().await;
        world.later(days(49)).await.sweep().await;
        assert_eq!(world.calls("instagram/refresh").await, 0, "period {period}: not before");
        world.later(days(2)).await;
        for _ in 0..3 {
            world.later(minutes(5)).await.sweep().await;
        }
        assert_eq!(world.calls("instagram/refresh").await, 1, "period {period}: once");
    }
    let token = alice.get(&format!("/v1/profiles/{PHOTOS}")).await.expect(200)["tokens"][0].clone();
    assert_eq!((&token["state"], &token["expires_at"]), (&json!("active"), &Value::Null));
    assert_eq!(
        (world.mails().await.len(), alice.get("/v1/notices").await.expect(200)["items"].clone()),
        (0, json!([]))
    );
}

// S52
#[tokio::test]
async fn an_answer_of_instagram_that_was_lost_costs_nothing_and_it_is_asked_again() {
    for fault in [
        json!({ "mode": "lost_reply" }),
        json!({ "mode": "reset" }),
        json!({ "mode": "garbage" }),
        json!({ "mode": "throttle" }),
        json!({ "mode": "status", "status": 500 }),
    ] {
        let (world, alice) = instagram().await;
        world.later(days(51)).await;
        let mut once = fault.clone();
        (once["target"], once["times"]) = (json!("instagram/refresh"), json!(1));
        world.fault(once).await;
        world.sweep().await;
        let view = async || alice.get(&format!("/v1/profiles/{PHOTOS}")).await.expect(200)["tokens"][0].clone();
        assert!(view().await["expires_at"].is_string(), "{fault}: from now on it has an end");
        for _ in 0..5 {
            world.later(minutes(30)).await.sweep().await;
        }
        assert_eq!(view().await["expires_at"], Value::Null, "{fault}: until it is renewed");
        assert_eq!(world.mails().await.len(), 0, "{fault}");
        assert_eq!(world.calls("instagram/refresh").await, 2, "{fault}");
    }
}

#[tokio::test]
async fn a_token_of_meta_that_may_be_used_is_asked_about_at_least_daily_and_one_that_may_not_never() {
    let (world, alice) = instagram().await;
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    alice.connect_pages("alice.meyer", &["facebook_page-2001"]).await;
    world.forget_calls().await;
    let asked = async || {
        let (photos, facebook) = (world.calls("instagram/me").await, world.calls("facebook/debug_token").await);
        world.forget_calls().await;
        (photos, facebook)
    };
    world.later(days(1)).await.sweep().await;
    assert_eq!(asked().await, (0, 1), "a Page's token is used without a switch");

    allow(&alice, PHOTOS, true).await;
    allow(&alice, "facebook_user-1001", true).await;
    for day in 1..=3 {
        world.later(days(1)).await;
        for _ in 0..3 {
            world.sweep().await;
        }
        assert_eq!(asked().await, (1, 2), "day {day}");
    }
    allow(&alice, PHOTOS, false).await;
    allow(&alice, "facebook_user-1001", false).await;
    world.later(days(1)).await.sweep().await;
    assert_eq!(asked().await, (0, 1));
}

// S52
#[tokio::test]
async fn a_network_that_does_not_say_how_a_token_is_is_asked_again_within_hours_and_changes_nothing() {
    let (world, alice) = instagram().await;
    allow(&alice, PHOTOS, true).await;
    world.forget_calls().await;
    let down = json!({ "target": "instagram/me", "mode": "status", "status": 503, "times": 1_000_000 });
    world.fault(down).await;
    world.later(days(1)).await;
    for _ in 0..24 {
        world.sweep().await;
        world.later(minutes(30)).await;
    }
    let asked = world.calls("instagram/me").await;
    // each question is asked three times
    assert!((3 * 10..=3 * 13).contains(&asked), "about once an hour: {asked}");
    let view = alice.get(&format!("/v1/profiles/{PHOTOS}")).await.expect(200)["tokens"][0].clone();
    assert_eq!((&view["state"], world.mails().await.len()), (&json!("active"), 0));
    world.no_faults().await;
    world.later(minutes(70)).await;
    assert_eq!(world.sweep().await["inspected"], 1);
}

#[tokio::test]
async fn permissions_that_were_taken_back_are_noticed_and_the_token_stays() {
    let world = World::start().await;
    let alice = world.person("alice");
    let page = alice.connect_pages("alice.meyer", &["facebook_page-2001"]).await.remove(0);
    assert_eq!(page["tokens"][0]["missing_scopes"], json!([]));
    let worker = world.person("acme-worker");
    let publish = json!({ "use": "publish", "profile_id": "facebook_page-2001" });
    let lease = worker.post("/v1/leases", publish.clone()).await.expect(201);
    let permission = "graph.facebook.com/v26.0/1001/permissions/pages_manage_posts";
    let of_person = of_person(&world).await;
    let revoked = world
        .http
        .delete(format!("{}/{permission}", world.sandbox.networks_url()))
        .query(&[("access_token", &of_person["access_token"])])
        .query(&of_person["params"])
        .send()
        .await
        .unwrap();
    assert!(revoked.status().is_success(), "{}", revoked.text().await.unwrap());
    world.later(days(1)).await.sweep().await;
    let seen = alice.get("/v1/profiles/facebook_page-2001").await.expect(200)["tokens"][0].clone();
    assert_eq!((&seen["state"], &seen["missing_scopes"]), (&json!("active"), &json!(["pages_manage_posts"])), "{seen}");
    assert_eq!((&seen["uses"]["publish"], &seen["uses"]["reply"]), (&json!("missing_scope"), &json!("ready")));
    let refused = worker.post("/v1/leases", publish).await.refused(409, "no_valid_token");
    assert!(refused["detail"].as_str().unwrap().contains("did not grant"), "{refused}");
    assert_eq!(lease["network"], "facebook");
    assert_eq!(world.mails().await.len(), 0);
}

/// A lease of Alice Meyer's own access token at Facebook, which another of her sign-ins brought.
async fn of_person(world: &World) -> Value {
    let alice = world.person("alice");
    alice.connect("facebook_user", "interaction", "alice.meyer").await;
    let publish = json!({ "use": "publish", "profile_id": "facebook_user-1001" });
    world.person("acme-worker").post("/v1/leases", publish).await.expect(201)
}
