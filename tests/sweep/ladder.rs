//! The ladder before a token's end, as its owner hears of it.

use aws_sdk_dynamodb::types::AttributeValue;
use reqwest::Method;
use serde_json::json;

use super::{end_of, mails_to, notices, reauthenticate, rows_with};
use crate::support::{World, days, minutes};

// S59
#[tokio::test]
async fn every_step_is_said_once_and_to_the_owner_alone() {
    let world = World::start().await;
    let (alice, bob) = (world.person("alice"), world.person("bob"));
    let end = end_of(&alice.connect("facebook_user", "acquisition", "alice.meyer").await);
    world.sweep().await;
    assert_eq!(world.mails().await.len(), 0, "a first connect mails nobody");

    for (said, (left, words, kind, state)) in (1..).zip([
        (30, "ends in 30 days", "token_expiring", "expiring"),
        (15, "ends in 15 days", "token_expiring", "expiring"),
        (7, "ends in 7 days", "token_expiring", "expiring"),
        (3, "ends in 3 days", "token_expiring", "expiring"),
        (1, "ends within a day", "token_expiring", "expiring"),
        (0, "ended", "token_expired", "expired"),
    ]) {
        world.until(end - days(left)).await;
        for _ in 0..3 {
            world.sweep().await;
        }
        let mails = world.mails().await;
        assert_eq!(mails.len(), said, "{left} days before: {mails:#?}");
        let mail = &mails[said - 1];
        assert_eq!(mail["to"], json!(["alice@acme.example"]));
        let subject = mail["subject"].as_str().unwrap();
        assert!(subject.contains("Alice Meyer") && subject.contains(words), "{subject}");
        for part in ["text", "html"] {
            let part = mail[part].as_str().unwrap().replace("&amp;", "&");
            let link = format!("{}?profile=facebook_user-1001&token=acquisition", world.url("/console"));
            assert!(part.contains(words) && part.contains(&link), "{part}");
        }

        let notices = notices(&alice).await;
        assert_eq!(notices.len(), said);
        let newest = &notices[0];
        assert_eq!((&newest["kind"], &newest["days_left"]), (&json!(kind), &json!(left)), "{newest}");
        assert_eq!(newest["profile_id"], "facebook_user-1001");
        assert_eq!(newest["token_id"], "acquisition-alice");
        let seen = alice.get("/v1/profiles/facebook_user-1001").await.expect(200);
        assert_eq!(seen["tokens"][0]["state"], state);
    }
    world.later(days(90)).await.sweep().await;
    assert_eq!(world.mails().await.len(), 6, "what is over is not spoken of again");

    // notices are their owner's
    assert!(super::notices(&bob).await.is_empty());
    let told = super::notices(&alice).await;
    assert!(told.is_sorted_by(|newer, older| newer["at"].as_str() > older["at"].as_str()), "newest first: {told:#?}");
    let path = format!("/v1/notices/{}/dismiss", told[2]["id"].as_str().unwrap());
    bob.api(Method::POST, &path, json!({})).await.refused(404, "not_found");
    let dismissed = alice.api(Method::POST, &path, json!({})).await.expect(200);
    assert_eq!((&dismissed["id"], &dismissed["dismissed"]), (&told[2]["id"], &json!(true)));
    let after = super::notices(&alice).await;
    let put_aside: Vec<_> = after.iter().map(|notice| notice["dismissed"] == true).collect();
    assert_eq!(put_aside, [false, false, true, false, false, false]);
}

// S59
#[tokio::test]
async fn of_several_steps_that_were_passed_only_the_newest_speaks() {
    let world = World::start().await;
    let alice = world.person("alice");
    for (mails, (after, words)) in (1..).zip([(58, "ends in 2 days"), (70, "ended")]) {
        alice.connect("facebook_user", "acquisition", "alice.meyer").await;
        world.later(days(after)).await.sweep().await;
        world.later(minutes(90)).await.sweep().await;
        let sent = world.mails().await;
        assert_eq!(sent.len(), mails, "{sent:#?}");
        assert!(sent[mails - 1]["subject"].as_str().unwrap().contains(words), "{sent:#?}");
        assert_eq!(notices(&alice).await.len(), mails);
    }
}

#[tokio::test]
async fn what_is_due_for_a_person_comes_in_one_mail_with_the_most_urgent_first() {
    let world = World::start().await;
    let alice = world.person("alice");
    let over = alice.connect("facebook_user", "interaction", "bob.stone").await;
    world.later(days(20)).await;
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    alice.connect("facebook_user", "interaction", "alice.meyer").await;
    alice.connect("facebook_user", "acquisition", "unknown.expiry").await;
    world.until(end_of(&over)).await.sweep().await;
    world.later(minutes(90)).await.sweep().await;

    let mails = world.mails().await;
    assert_eq!(mails.len(), 1, "{mails:#?}");
    assert_eq!(mails[0]["subject"], "4 connections need you to sign in again");
    let text = mails[0]["text"].as_str().unwrap();
    let place = |link: &str| text.find(link).unwrap_or_else(|| panic!("no {link} in {text}"));
    let over = place("profile=facebook_user-1002&token=interaction");
    for link in [
        "profile=facebook_user-1001&token=acquisition",
        "profile=facebook_user-1001&token=interaction",
        "profile=facebook_user-1003&token=acquisition",
    ] {
        assert!(over < place(link), "{text}");
    }
}

#[tokio::test]
async fn a_person_gets_a_mail_an_hour_at_most_and_the_rest_in_the_next() {
    let world = World::start().await;
    let alice = world.person("alice");
    let first = end_of(&alice.connect("facebook_user", "acquisition", "alice.meyer").await);
    world.later(minutes(20)).await;
    alice.connect("facebook_user", "acquisition", "bob.stone").await;
    let third = end_of(&alice.connect("facebook_user", "interaction", "bob.stone").await);

    world.until(first - days(30)).await.sweep().await;
    assert_eq!(world.mails().await.len(), 1);
    world.until(third - days(30)).await.sweep().await;
    world.later(minutes(30)).await.sweep().await;
    assert_eq!(world.mails().await.len(), 1, "the hour is not over");
    assert_eq!(notices(&alice).await.len(), 3, "in the product it is said at once");
    world.later(minutes(11)).await.sweep().await;
    world.later(minutes(120)).await.sweep().await;
    let mails = world.mails().await;
    assert_eq!(mails.len(), 2, "{mails:#?}");
    assert_eq!(mails[1]["subject"], "2 connections will soon need you to sign in again");
    assert!(!mails[1]["text"].as_str().unwrap().contains("facebook_user-1001"), "it was in the first mail");
}

#[tokio::test]
async fn what_was_settled_while_it_waited_is_not_mailed() {
    let world = World::start().await;
    let alice = world.person("alice");
    let first = end_of(&alice.connect("facebook_user", "acquisition", "alice.meyer").await);
    world.later(minutes(20)).await;
    alice.connect("facebook_user", "acquisition", "unknown.expiry").await;
    let third = end_of(&alice.connect("facebook_user", "interaction", "bob.stone").await);
    world.until(first - days(30)).await.sweep().await;
    world.until(third - days(30)).await.sweep().await;
    assert_eq!((world.mails().await.len(), rows_with(&world, "|ENTRY#").await.len()), (1, 2));

    reauthenticate(&alice, "facebook_user-1003", "acquisition", "unknown.expiry").await;
    alice.delete("/v1/profiles/facebook_user-1002/tokens/interaction-alice").await.expect(200);
    world.later(minutes(61)).await.sweep().await;
    assert_eq!((world.mails().await.len(), rows_with(&world, "|ENTRY#").await.len()), (1, 0));
}

#[tokio::test]
async fn a_first_connect_near_its_end_mails_nobody_until_the_next_step() {
    let world = World::start().await;
    let alice = world.person("alice");
    let session = alice.begin("facebook_user", "acquisition").await;
    let landing = alice.approve(&session, "alice.meyer").await;
    let end = world.sandbox.clock().now() + days(5);
    let update = world.dynamodb().update_item().table_name("Flows").key("id", AttributeValue::S(session.id));
    let update = update.update_expression("SET granted.terms.expires_at = :end");
    update.expression_attribute_values(":end", AttributeValue::S(end.to_string())).send().await.unwrap();

    let connected = alice.complete(&landing).await.expect(200)["profiles"][0].clone();
    assert_eq!((connected["tokens"][0]["state"].as_str(), end_of(&connected)), (Some("expiring"), end));
    world.later(days(1)).await.sweep().await;
    assert_eq!((world.mails().await.len(), notices(&alice).await.len()), (0, 0));
    world.until(end - days(3)).await.sweep().await;
    assert_eq!((world.mails().await.len(), notices(&alice).await.len()), (1, 1));
}

#[tokio::test]
async fn a_token_that_a_machine_keeps_alive_mails_nobody() {
    let world = World::start().await;
    let alice = world.person("alice");
    alice.connect("x_profile", "interaction", "newsdesk").await;
    for _ in 0..4 {
        world.later(days(100)).await.sweep().await;
    }
    assert_eq!((world.mails().await.len(), notices(&alice).await.len()), (0, 0));
    let seen = alice.get("/v1/profiles/x_profile-42").await.expect(200);
    assert_eq!((&seen["tokens"][0]["state"], &seen["tokens"][0]["expires_at"]), (&json!("active"), &json!(null)));
}

#[tokio::test]
async fn people_of_two_tenants_hear_of_their_own_tokens_alone() {
    let world = World::start().await;
    let people = ["alice", "bob", "erin", "dora"].map(|name| world.person(name));
    let [alice, bob, erin, dora] = &people;
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    bob.connect("facebook_user", "interaction", "alice.meyer").await;
    erin.connect("facebook_user", "acquisition", "alice.meyer").await;
    world.later(days(31)).await.sweep().await;
    // dora has no token, and sees as an administrator what her own organisation is told
    for (person, told, mails) in [
        (alice, &["acquisition-alice"][..], 1),
        (bob, &["interaction-bob"], 1),
        (erin, &["acquisition-erin"], 1),
        (dora, &["interaction-bob", "acquisition-alice"], 0),
    ] {
        assert_eq!(mails_to(&world, &person.name).await, mails, "{}", person.name);
        let ids: Vec<_> = notices(person).await.iter().map(|notice| notice["token_id"].clone()).collect();
        assert_eq!(ids, told);
    }
}

#[tokio::test]
async fn a_person_without_an_address_is_told_in_the_product_alone() {
    let world = World::start().await;
    let alice = world.person("alice");
    let end = end_of(&alice.connect("facebook_user", "acquisition", "alice.meyer").await);
    let [user] = &rows_with(&world, "|USER#alice|").await[..] else { panic!("one user") };
    let update = world.dynamodb().update_item().table_name("Vault").update_expression("REMOVE email");
    update.key("pk", user["pk"].clone()).key("sk", user["sk"].clone()).send().await.unwrap();

    world.until(end - days(30)).await.sweep().await;
    world.later(minutes(90)).await.sweep().await;
    assert_eq!((world.mails().await.len(), notices(&alice).await.len()), (0, 1));
    // an address that is known later gets what comes later
    alice.connect("x_profile", "interaction", "newsdesk").await;
    world.later(minutes(90)).await.sweep().await;
    assert_eq!(world.mails().await.len(), 0);
    world.until(end - days(15)).await.sweep().await;
    assert_eq!((mails_to(&world, "alice").await, notices(&alice).await.len()), (1, 2));
}
