//! A process that stands still in the middle of a refresh and wakes when others have gone on: it cannot commit, and what it
//! brings is kept for as long as it may be the living grant.

use std::time::Duration;

use sandbox::faults::{Stopped, When};
use serde_json::{Value, json};
use shared::{
    clock::Deadline,
    refresh::{Access, Wanted},
    renewal::QUIET,
    store::profiles::Held,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::{ASK, Desk, Due, LEASE, key, process::Process};

/// A desk with a process that stands still: X has renewed the token, and the process does not know it yet. Its time is over,
/// and somebody has noticed.
async fn paused() -> (Desk, Process, Stopped) {
    let desk = Desk::new().await;
    let (process, stopped) = desk.answered(Due::Over).await;
    desk.world.later(LEASE).await;
    desk.worker.lease().await.refused(503, "unavailable");
    (desk, process, stopped)
}

/// A network on loopback that answers every request with this. X cannot be had to take a spent refresh token twice.
async fn network(status: u16, answer: Value) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let body = answer.to_string();
    let answer = format!("HTTP/1.1 {status} \r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // the request is small: it comes in one piece
            assert_ne!(stream.read(&mut [0; 4096]).await.unwrap(), 0);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    base
}

/// Refreshes the token at another network once that may be done.
async fn refresh_at(desk: &Desk, network: &str) -> Access {
    desk.world.later(QUIET).await;
    let refresher = desk.refresher(network);
    let deadline = Deadline::after(Duration::from_secs(25));
    refresher.access(&key(), desk.held().await, Wanted::WhenDue, deadline).await.unwrap()
}

/// The token as soon as it has a candidate.
async fn candidate(desk: &Desk) -> Held {
    loop {
        let held = desk.held().await;
        if !held.renewal.candidates.is_empty() {
            return held;
        }
    }
}

// S46
#[tokio::test]
async fn an_answer_that_comes_late_is_committed_while_nobody_else_has_asked() {
    let (desk, mut process, stopped) = paused().await;
    stopped.resume();
    let brought = process.answer().await.lease();
    assert_eq!(desk.works().await["access_token"], brought["access_token"]);
    assert_eq!(desk.asked().await, 1);
}

// S45, S46
#[tokio::test]
async fn an_answer_that_comes_after_another_attempt_began_is_kept_and_adopted() {
    let (desk, mut process, stopped) = paused().await;
    desk.world.later(QUIET).await;
    let mut other = Process::start(&desk).await;
    let never_asks = other.stop_at(&desk, ASK, When::Before).await;
    let before = desk.held().await;
    stopped.resume();
    let kept = tokio::select! {
        kept = candidate(&desk) => kept,
        answer = process.answer() => panic!("it did not wait for the other one: {}", answer.status_code),
    };
    assert_eq!((kept.token, kept.grant, kept.renewal.attempt), (before.token, before.grant, before.renewal.attempt));

    drop(other);
    drop(never_asks);
    desk.world.later(LEASE).await;
    process.tell_time(&desk).await;
    let adopted = desk.works().await;
    assert_eq!(process.answer().await.lease()["access_token"], adopted["access_token"]);
    assert_eq!(desk.asked().await, 2, "once by each process, the second of which never came through");
    assert!(desk.held().await.renewal.candidates.is_empty());
}

// S46
#[tokio::test]
async fn an_answer_that_comes_after_the_token_was_given_up_revives_it() {
    let (desk, mut process, stopped) = paused().await;
    let refuses = json!({
        "error": "invalid_request",
        "error_description": "Value passed for the token was invalid.",
    });
    let refuses = network(400, refuses).await;
    assert!(matches!(refresh_at(&desk, &refuses).await, Access::Over(_)));
    assert_eq!(desk.state().await, ("needs_reauth".to_owned(), Some("lost_answer".to_owned())));
    desk.worker.lease().await.refused(409, "no_valid_token");

    stopped.resume();
    let brought = process.answer().await.lease();
    assert!(desk.is_known_to_x(&brought).await);
    assert!(desk.is_active().await);
    desk.world.sweep().await;
    assert!(desk.world.mails().await.is_empty(), "it is true no more");
    desk.fall_due(Due::Over).await;
    desk.works().await;
}

// S45, S46
#[tokio::test]
async fn an_answer_that_comes_after_another_was_committed_is_tried_when_that_one_is_refused() {
    let (desk, mut process, stopped) = paused().await;
    let grants = json!({
        "token_type": "bearer",
        "expires_in": 7200,
        "access_token": "the-access-token-of-the-other",
        "refresh_token": "the-refresh-token-of-the-other",
        "scope": "tweet.read users.read tweet.write media.write dm.read dm.write offline.access",
    });
    let grants = network(200, grants).await;
    let Access::Good(committed, _) = refresh_at(&desk, &grants).await else { panic!("it was not renewed") };

    stopped.resume();
    assert_eq!(process.answer().await.lease()["access_token"], "the-access-token-of-the-other");
    let held = desk.held().await;
    assert_eq!((held.token, held.grant), (committed.token, committed.grant));
    assert_eq!(held.renewal.candidates.len(), 1);

    desk.fall_due(Due::Over).await;
    desk.works().await;
    assert_eq!(desk.asked().await, 2, "X knows nothing of the other's refresh token, and takes the one that was kept");
    assert!(desk.held().await.renewal.candidates.is_empty());
    assert!(desk.is_active().await);
}
