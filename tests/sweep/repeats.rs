//! Sweeps that are repeated, run side by side, fail half way or are killed, and rows that are broken.

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use jiff::Timestamp;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{
    called, end_of, errands::ByHand, everything, mails_to, notices, reauthenticate, rows_with, settle, side_by_side,
    strike, told,
};
use crate::support::{Person, Row, World, days, minutes};

const FACEBOOK: [&str; 3] = ["alice.meyer", "bob.stone", "unknown.expiry"];
const TRANSACTIONS: &str = "dynamodb/TransactWriteItems";

/// Each person connects every account at Facebook, for one token.
async fn connect_all(world: &World, people: [&str; 2], token: &str) -> [Person; 2] {
    let people = people.map(|name| world.person(name));
    for person in &people {
        for account in FACEBOOK {
            person.connect("facebook_user", token, account).await;
        }
    }
    people
}

/// How many links to `profile` there are in the mails to a person.
async fn links(world: &World, person: &Person, profile: &str) -> usize {
    let mails = world.mails().await;
    let to = mails.iter().filter(|mail| mail["to"][0].as_str().unwrap().starts_with(&format!("{}@", person.name)));
    to.map(|mail| mail["text"].as_str().unwrap().matches(&format!("profile={profile}&")).count()).sum()
}

// S56
#[tokio::test]
async fn the_same_tick_three_times_changes_nothing_more() {
    let world = World::start().await;
    let (alice, erin) = (world.person("alice"), world.person("erin"));
    let first = end_of(&alice.connect("facebook_user", "acquisition", "alice.meyer").await);
    world.later(minutes(20)).await;
    let second = end_of(&alice.connect("facebook_user", "acquisition", "bob.stone").await);
    erin.connect("facebook_user", "interaction", "bob.stone").await;
    world.until(first - days(30)).await.sweep().await;
    alice.connect("x_profile", "interaction", "support").await;
    let session = erin.begin("x_profile", "interaction").await;
    erin.approve(&session, "newsdesk").await;
    strike(&world, "x/revoke", "status", 503, 1000);
    assert_eq!(alice.delete("/v1/profiles/x_profile-43").await.expect(200)["revocation"], "pending");

    // due: a token that is mailed at once, one that waits for the hour, a session that nobody completed, a revocation
    world.until(second - days(30) + minutes(1)).await;
    let summary = world.sweep().await;
    let of = |name: &str| summary[name].as_u64().unwrap();
    assert_eq!([of("warned"), of("mailed"), of("abandoned"), of("unrevoked")], [2, 1, 1, 2], "{summary}");
    let (rows, mails) = (everything(&world).await, world.mails().await);
    assert_eq!(rows.keys().filter(|key| key.contains("|ENTRY#")).count(), 1);
    for _ in 0..2 {
        let summary = world.sweep().await;
        let idle = summary.as_object().unwrap().values().all(|count| *count == 0 || *count == false);
        assert!(idle, "{summary}");
        assert_eq!(everything(&world).await, rows);
        assert_eq!(world.mails().await, mails);
    }
}

// S57
#[tokio::test]
async fn a_sweep_whose_storage_fails_in_the_middle_goes_on_with_the_rest_and_then_with_what_failed() {
    let world = World::start().await;
    let [alice, erin] = connect_all(&world, ["alice", "erin"], "acquisition").await;
    world.later(days(31)).await;
    let sweep = ByHand::of(&world);
    sweep.dispatch().await;
    let messages = sweep.sent();
    assert_eq!(messages.len(), 2, "one for each organisation");
    world.forget_calls().await;
    let (first, ()) = tokio::join!(sweep.deliver(&messages[..1]), async {
        called(&world, TRANSACTIONS, 2).await;
        // the SDK asks three times
        strike(&world, TRANSACTIONS, "reset", 0, 3);
    });
    assert_eq!((&first["warned"], &first["failed"]), (&json!(2), &json!(1)), "{first}");
    assert_eq!(first["batchItemFailures"], json!([{ "itemIdentifier": "0" }]), "it comes again");
    let second = sweep.deliver(&messages[1..]).await;
    assert_eq!((&second["warned"], &second["batchItemFailures"]), (&json!(3), &json!([])), "{second}");
    let summary = world.sweep().await;
    assert_eq!((&summary["warned"], &summary["failed"]), (&json!(1), &json!(0)), "{summary}");
    settle(&world).await;
    for person in [&alice, &erin] {
        assert_eq!(notices(person).await.len(), 3);
        for profile in ["facebook_user-1001", "facebook_user-1002", "facebook_user-1003"] {
            assert_eq!(links(&world, person, profile).await, 1, "{profile} of {}", person.name);
        }
    }
}

/// Runs a sweep and drops it after so many calls; tells whether it ended before.
async fn survives(world: &World, calls: usize) -> bool {
    world.sandbox.faults().forget_calls();
    let seen = async {
        while world.sandbox.faults().calls().len() < calls {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        summary = world.sandbox.tick("expiry-sweep") => summary.is_ok(),
        () = seen => false,
    }
}

// S57, S59
#[tokio::test]
async fn killed_after_any_of_its_calls_a_sweep_goes_on_where_it_was_and_says_everything_once() {
    let world = World::start().await;
    let people = ["alice", "erin"].map(|name| world.person(name));
    let mut end = world.sandbox.clock().now();
    // the first calls only ask what is due
    for (calls, left) in (4..).zip([30, 15, 7, 3, 1, 0].into_iter().cycle()) {
        if left == 30 {
            for person in &people {
                end = end_of(&person.connect("facebook_user", "acquisition", "alice.meyer").await);
            }
        }
        world.until(end - days(left) + minutes(1)).await;
        let mut before = Vec::new();
        for person in &people {
            before.push(told(&world, person).await);
        }
        let survived = survives(&world, calls).await;
        settle(&world).await;
        for (person, [mails, unanswered, notices]) in people.iter().zip(before) {
            let [mails_now, unanswered_now, notices_now] = told(&world, person).await;
            let name = &person.name;
            assert_eq!(notices_now, notices + 1, "{name}, killed after {calls} calls");
            assert!(mails_now <= mails + 1, "{name}, killed after {calls} calls, got {} mails", mails_now - mails);
            assert!(
                mails_now + unanswered_now > mails + unanswered,
                "{name}, killed after {calls} calls, was neither written nor was it counted"
            );
            assert!(!survived || mails_now == mails + 1, "{name} got no mail of a whole sweep");
        }
        if survived {
            assert!(calls > 20, "a sweep of two tokens and two mails takes more than {calls} calls");
            return;
        }
    }
}

// S57, S59
#[tokio::test]
async fn killed_after_any_of_its_calls_a_sweep_tells_owners_and_administrators_of_a_loss_once() {
    let world = World::start().await;
    let (alice, dora) = (world.person("alice"), world.person("dora"));
    let settings = json!({ "ladder_days": [1], "administrators": ["ops@acme.example"] });
    dora.put("/v1/settings", settings).await.expect(200);
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    let token = "/v1/profiles/facebook_user-1001/tokens/acquisition-alice";
    alice.patch(token, json!({ "allow": { "search_acquisition": true } })).await.expect(200);
    for calls in 4.. {
        settle(&world).await;
        // a day of warning, then the end of the only token that acquires
        let end = end_of(&reauthenticate(&alice, "facebook_user-1001", "acquisition", "alice.meyer").await);
        world.until(end - days(1)).await.sweep().await;
        let mails = [mails_to(&world, "alice").await, mails_to(&world, "ops").await];
        world.until(end + minutes(1)).await;
        let survived = survives(&world, calls).await;
        settle(&world).await;
        for person in [&alice, &dora] {
            let mut newest = notices(person).await;
            newest.retain(|notice| notice["at"].as_str().unwrap().parse::<Timestamp>().unwrap() > end);
            let mut kinds: Vec<_> = newest.iter().map(|notice| notice["kind"].clone()).collect();
            kinds.sort_by_key(Value::to_string);
            assert_eq!(kinds, ["acquisition_red", "token_expired"], "{}, killed after {calls} calls", person.name);
        }
        for (name, mails) in ["alice", "ops"].into_iter().zip(mails) {
            let more = mails_to(&world, name).await - mails;
            assert!(more <= 2, "{name} got {more} mails of two things, killed after {calls} calls");
            assert!(!survived || more == 1, "{name} got {more} mails of a whole sweep");
        }
        if survived {
            assert!(calls > 20, "it takes more than {calls} calls");
            return;
        }
    }
}

// S59
#[tokio::test]
async fn sweeps_that_run_at_once_say_everything_once() {
    let world = World::start().await;
    let people = connect_all(&world, ["alice", "erin"], "interaction").await;
    world.later(days(31)).await;
    let sweep = ByHand::of(&world);
    tokio::join!(sweep.dispatch(), sweep.dispatch(), sweep.dispatch(), sweep.dispatch());
    let messages = sweep.sent();
    assert!(messages.len() >= 8, "two organisations, four times: {messages:#?}");
    let work = || sweep.deliver(&messages);
    let summaries: [Value; 4] = tokio::join!(work(), work(), work(), work()).into();
    let sum = |name: &str| summaries.iter().map(|summary| summary[name].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("warned"), sum("failed")), (6, 0), "{summaries:#?}");
    settle(&world).await;
    for person in &people {
        assert_eq!(notices(person).await.len(), 3);
        for profile in ["facebook_user-1001", "facebook_user-1002", "facebook_user-1003"] {
            assert_eq!(links(&world, person, profile).await, 1, "{profile} of {}", person.name);
        }
    }
}

// S59
#[tokio::test]
async fn a_write_whose_answer_was_lost_says_nothing_twice() {
    // how many transactions are done first, how many answers are lost then, and what Alice is told at last; the SDK asks
    // three times, and then only who was cut off between the beginning of a mail and the mail cannot know whether it went
    let cases = [(0, 1, [1, 0, 1]), (0, 3, [1, 0, 1]), (1, 2, [1, 0, 1]), (1, 3, [0, 1, 1]), (2, 3, [1, 0, 1])];
    side_by_side(cases, async |world, (done, lost, expected)| {
        let alice = world.person("alice");
        alice.connect("facebook_user", "acquisition", "alice.meyer").await;
        world.later(days(31)).await.forget_calls().await;
        let ((), summary) = tokio::join!(
            async {
                called(&world, TRANSACTIONS, done).await;
                strike(&world, TRANSACTIONS, "lost_reply", 0, lost);
            },
            world.sweep(),
        );
        settle(&world).await;
        assert_eq!(told(&world, &alice).await, expected, "{lost} lost after {done}: {summary}");
    })
    .await;
}

/// Changes a row past the product.
async fn break_row(world: &World, row: &Row, expression: &str) {
    let update = world.dynamodb().update_item().table_name("Vault").update_expression(expression);
    let update = update.key("pk", row["pk"].clone()).key("sk", row["sk"].clone());
    let update = if expression.contains(":x") {
        update.expression_attribute_values(":x", AttributeValue::S("x".to_owned()))
    } else {
        update
    };
    update.send().await.unwrap();
}

// S58
#[tokio::test]
async fn a_broken_row_fails_alone_and_is_left_as_it_is() {
    let world = World::start().await;
    let [alice, bob] = connect_all(&world, ["alice", "bob"], "acquisition").await;
    alice.connect("x_profile", "interaction", "newsdesk").await;
    alice.connect("x_profile", "interaction", "support").await;
    strike(&world, "x/revoke", "status", 503, 2);
    for profile in ["x_profile-42", "x_profile-43"] {
        assert_eq!(alice.delete(&format!("/v1/profiles/{profile}")).await.expect(200)["revocation"], "pending");
    }
    for (row, expression) in [
        ("P#facebook_user-1001|TOKEN#acquisition-alice|", "REMOVE sealed"),
        ("P#facebook_user-1001|TOKEN#acquisition-bob|", "REMOVE considered_at"),
        ("P#facebook_user-1002|TOKEN#acquisition-alice|", "SET scopes = :x"),
        ("P#facebook_user-1002|TOKEN#acquisition-bob|", "SET expires_at = :x"),
    ] {
        let [row] = &rows_with(&world, row).await[..] else { panic!("one row {row}") };
        break_row(&world, row, expression).await;
    }
    let [revocation] = &rows_with(&world, "|revoke#acme#x_profile-42").await[..] else { panic!("one revocation") };
    let update = world.dynamodb().update_item().table_name("Flows").key("id", revocation["id"].clone());
    update.update_expression("REMOVE sealed").send().await.unwrap();
    let broken = ["P#facebook_user-1001|TOKEN", "P#facebook_user-1002|TOKEN", "|revoke#acme#x_profile-42"];
    let mut before = Vec::new();
    for row in broken {
        before.extend(rows_with(&world, row).await);
    }

    world.later(days(31)).await;
    let summary = world.sweep().await;
    assert_eq!((&summary["failed"], &summary["warned"], &summary["revoked"]), (&json!(5), &json!(2), &json!(1)));
    let summary = world.sweep().await;
    assert_eq!((&summary["failed"], &summary["warned"], &summary["revoked"]), (&json!(5), &json!(0), &json!(0)));
    for person in [&alice, &bob] {
        assert_eq!(links(&world, person, "facebook_user-1003").await, 1);
        assert_eq!((mails_to(&world, &person.name).await, notices(person).await.len()), (1, 1));
    }
    let mut after = Vec::new();
    for row in broken {
        after.extend(rows_with(&world, row).await);
    }
    assert_eq!(after, before);
}

// S58
#[tokio::test]
async fn more_broken_rows_than_a_page_stand_in_nobodys_way() {
    let world = World::start().await;
    let alice = world.person("alice");
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    let [row] = &rows_with(&world, "|TOKEN#").await[..] else { panic!("one token") };
    let broken = (0..120).map(|at| {
        let mut row = row.clone();
        let pk = row["pk"].as_s().unwrap().replace("1001", &format!("{}", 5_000 + at));
        row.insert("pk".to_owned(), AttributeValue::S(pk));
        row.insert("due_at".to_owned(), AttributeValue::N("1".to_owned()));
        row.remove("sealed");
        WriteRequest::builder().put_request(PutRequest::builder().set_item(Some(row)).build().unwrap()).build()
    });
    let broken: Vec<_> = broken.collect();
    for batch in broken.chunks(25) {
        world.dynamodb().batch_write_item().request_items("Vault", batch.to_vec()).send().await.unwrap();
    }
    world.later(days(31)).await;
    let summary = world.sweep().await;
    assert_eq!((&summary["failed"], &summary["warned"], &summary["mailed"]), (&json!(120), &json!(1), &json!(1)));
}

// S58
#[tokio::test]
async fn an_entry_that_is_broken_or_speaks_of_a_broken_token_keeps_nothing_else_from_being_mailed() {
    let world = World::start().await;
    let alice = world.person("alice");
    let first = end_of(&alice.connect("facebook_user", "acquisition", "alice.meyer").await);
    world.later(minutes(20)).await;
    for account in FACEBOOK {
        alice.connect("facebook_user", "interaction", account).await;
    }
    world.until(first - days(30)).await.sweep().await;
    world.later(minutes(21)).await.sweep().await;
    assert_eq!((world.mails().await.len(), rows_with(&world, "|ENTRY#").await.len()), (1, 3));
    for row in ["facebook_user-1001_interaction-alice_warning", "P#facebook_user-1002|TOKEN#"] {
        let rows = rows_with(&world, row).await;
        let row = rows.iter().find(|row| !row["sk"].as_s().unwrap().starts_with("NOTICE#")).unwrap();
        break_row(&world, row, "SET expires_at = :x").await;
    }
    world.later(minutes(61)).await.sweep().await;
    world.later(minutes(61)).await.sweep().await;
    let mails = world.mails().await;
    assert_eq!(mails.len(), 2, "{mails:#?}");
    assert!(mails[1]["text"].as_str().unwrap().contains("profile=facebook_user-1003&token=interaction"));
    assert_eq!(rows_with(&world, "|ENTRY#").await.len(), 2, "what is broken waits to be mended");
    // and the product still opens
    assert_eq!(alice.get("/v1/profiles/facebook_user-1003").await.status, StatusCode::OK);
    reauthenticate(&alice, "facebook_user-1003", "interaction", "unknown.expiry").await;
}
