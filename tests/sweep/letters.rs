//! A mail that the mail service does not take, may have taken, or that nobody finished sending.

use std::net::SocketAddr;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::json;
use shared::mail::{Letter, Mailer, SendError};
use tokio::net::{TcpListener, TcpSocket};

use super::{called, end_of, mails_to, notices, number, reauthenticate, rows_with, strike};
use crate::{
    capacity::more_like,
    support::{World, days, minutes},
};

// S59, S61
#[tokio::test]
async fn a_mail_that_was_refused_is_only_late_and_one_that_was_not_answered_is_not_sent_again() {
    let world = World::start().await;
    let alice = world.person("alice");
    let mut end = end_of(&alice.connect("facebook_user", "acquisition", "alice.meyer").await);
    let (mut mails, mut unanswered) = (0, 0);
    // how the service fails, what the sweep says of it, and how many mails there are at once, ten minutes and two hours later
    for (days_before, mode, status, counted, [at_once, soon, at_last]) in [
        (30, "throttle", 0, "postponed", [0, 1, 1]),
        (15, "status", 503, "postponed", [0, 1, 1]),
        (7, "status", 400, "postponed", [0, 0, 1]),
        (3, "status", 500, "unanswered", [0, 0, 0]),
        (1, "lost_reply", 0, "unanswered", [1, 1, 1]),
        (0, "reset", 0, "unanswered", [0, 0, 0]),
        (30, "garbage", 0, "unanswered", [0, 0, 0]),
    ] {
        world.until(end - days(days_before)).await;
        strike(&world, "ses/SendRawEmail", mode, status, 1);
        let summary = world.sweep().await;
        assert_eq!((&summary[counted], &summary["mailed"]), (&json!(1), &json!(0)), "{mode} {status}: {summary}");
        for _ in 0..2 {
            world.sweep().await;
        }
        assert_eq!(mails_to(&world, "alice").await, mails + at_once, "{mode} {status}, at once");
        world.later(minutes(10)).await.sweep().await;
        assert_eq!(mails_to(&world, "alice").await, mails + soon, "{mode} {status}, soon");
        world.later(minutes(110)).await.sweep().await;
        assert_eq!(mails_to(&world, "alice").await, mails + at_last, "{mode} {status}, at last");
        assert!(rows_with(&world, "|ENTRY#").await.is_empty(), "{mode} {status}");
        mails += at_last;
        unanswered += i64::from(counted == "unanswered");
        let [outbox] = &rows_with(&world, "|OUTBOX|").await[..] else { panic!("one outbox") };
        assert_eq!(number(outbox, "unanswered"), unanswered, "{mode} {status}");
        if days_before == 0 {
            end = end_of(&reauthenticate(&alice, "facebook_user-1001", "acquisition", "alice.meyer").await);
        }
    }
    assert_eq!(notices(&alice).await.len(), 7, "in the product each step is said, whatever becomes of the mail");
}

// S61
#[tokio::test]
async fn a_mail_service_that_is_not_even_reached_has_sent_nothing_and_one_that_hangs_up_may_have() {
    let world = World::start().await;
    let mail_through = async |service: SocketAddr| {
        let aws = world.sandbox.aws_config().to_builder().endpoint_url(format!("http://{service}")).build();
        let mailer = Mailer::new(&aws, "tokens@example.org", "tokenward").unwrap();
        let [subject, text, html] = ["Sign in again", "", ""].map(str::to_owned);
        mailer
            .send(
                &"acme".parse().unwrap(),
                &["alice@acme.example".to_owned()],
                &Letter { subject, text, html },
                world.sandbox.clock().now(),
            )
            .await
    };

    let nobody_listens = TcpSocket::new_v4().unwrap();
    nobody_listens.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let sent = mail_through(nobody_listens.local_addr().unwrap()).await;
    assert!(matches!(sent, Err(SendError::Later(_))), "{sent:?}");

    let hangs_up = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = hangs_up.local_addr().unwrap();
    let (sent, ()) = tokio::join!(mail_through(address), async { drop(hangs_up.accept().await.unwrap()) });
    assert!(matches!(sent, Err(SendError::Unanswered(_))), "{sent:?}");
}

// S57, S59
#[tokio::test]
async fn a_sweep_that_was_killed_while_it_mailed_is_counted_and_its_mail_not_sent_again() {
    let world = World::start().await;
    let alice = world.person("alice");
    let end = end_of(&alice.connect("facebook_user", "acquisition", "alice.meyer").await);
    world.until(end - days(30)).await;
    strike(&world, "ses/SendRawEmail", "slow", 503, 1);
    world.forget_calls().await;
    tokio::select! {
        summary = world.sandbox.tick("expiry-sweep") => panic!("it was not killed: {summary:?}"),
        () = called(&world, "ses/SendRawEmail", 1) => {}
    }
    for wait in [0, 9] {
        world.later(minutes(wait)).await;
        let summary = world.sweep().await;
        assert_eq!((&summary["mailed"], &summary["unanswered"]), (&json!(0), &json!(0)), "it may still be under way");
    }
    let summary = world.later(minutes(2)).await.sweep().await;
    assert_eq!((&summary["mailed"], &summary["unanswered"]), (&json!(0), &json!(1)));
    world.later(minutes(120)).await.sweep().await;
    assert_eq!(mails_to(&world, "alice").await, 0);
    world.until(end - days(15)).await.sweep().await;
    assert_eq!(mails_to(&world, "alice").await, 1, "the next step is mailed as ever");
}

// S59
#[tokio::test]
async fn what_does_not_fit_into_a_letter_comes_in_the_next_and_what_is_settled_in_none() {
    let world = World::start().await;
    let alice = world.person("alice");
    let end = end_of(&alice.connect("facebook_user", "acquisition", "alice.meyer").await);
    let [row] = &rows_with(&world, "|TOKEN#").await[..] else { panic!("one token") };
    world.sandbox.cloud().import("Vault", more_like(row, 5_000, 169, &[])).unwrap();

    let letters = async || -> Vec<usize> {
        let mails = world.mails().await;
        mails.iter().map(|mail| mail["text"].as_str().unwrap().matches("Sign in again: ").count()).collect()
    };
    world.until(end - days(30)).await.sweep().await;
    for _ in 0..3 {
        world.later(minutes(61)).await.sweep().await;
    }
    assert_eq!(letters().await, [80, 80, 10]);

    world.until(end - days(15)).await.sweep().await;
    assert_eq!((letters().await.len(), rows_with(&world, "|ENTRY#").await.len()), (4, 90));
    let mut renewed = row.clone();
    renewed.insert("expires_at".to_owned(), AttributeValue::S((end + days(60)).to_string()));
    world.sandbox.cloud().import("Vault", more_like(&renewed, 5_000, 169, &[]).chain([renewed.clone()])).unwrap();
    for _ in 0..2 {
        world.later(minutes(61)).await.sweep().await;
    }
    assert_eq!((letters().await.len(), rows_with(&world, "|ENTRY#").await.len()), (4, 0));
}
