//! Many leases at once, in several processes, of a token that must be renewed: X is asked once.

use std::collections::BTreeSet;

use reqwest::StatusCode;
use sandbox::faults::{Call, When};
use serde_json::Value;
use tokio::task::JoinSet;

use super::{BEGIN, Desk, Due, process::Process};
use crate::support::Reply;

const PROCESSES: usize = 4;
const LEASES: usize = 50;

/// Leases in every process at once: the access tokens that were handed out, and how many leases were told to come back.
async fn crowd(desk: &Desk, processes: &mut [Process]) -> (BTreeSet<String>, usize) {
    for process in &mut *processes {
        process.begin(desk, LEASES).await;
    }
    let (mut tokens, mut postponed) = (BTreeSet::new(), 0);
    for process in processes {
        for _ in 0..LEASES {
            let answer = process.answer().await;
            if answer.status_code == StatusCode::SERVICE_UNAVAILABLE.as_u16() {
                postponed += 1;
            } else {
                tokens.insert(token(&answer.lease()));
            }
        }
    }
    (tokens, postponed)
}

fn token(lease: &Value) -> String {
    lease["access_token"].as_str().unwrap().to_owned()
}

async fn ask_once_a_round(rounds: usize) {
    let desk = Desk::new().await;
    let mut processes = Vec::new();
    for _ in 0..PROCESSES {
        processes.push(Process::start(&desk).await);
    }
    let mut present = token(&desk.works().await);
    for round in 0..rounds {
        let due = if round % 2 == 0 { Due::Over } else { Due::Soon };
        desk.fall_due(due).await;
        let (mut tokens, mut postponed) = crowd(&desk, &mut processes).await;
        if desk.asked().await == 0 {
            // the machine was so slow that nobody had the time left that a refresh needs: a clear 503, and nothing sent
            assert!(due == Due::Soon || postponed == PROCESSES * LEASES, "round {round}: {tokens:?}");
            (tokens, postponed) = crowd(&desk, &mut processes).await;
        }
        assert_eq!(desk.asked().await, 1, "round {round}");
        assert!(postponed < PROCESSES * LEASES / 2, "round {round}: {postponed} came too early");
        if due == Due::Soon {
            assert_eq!(postponed, 0, "round {round}: the present access token works");
            tokens.remove(&present);
        }
        let renewed = token(&desk.works().await);
        assert_ne!(renewed, present, "round {round}");
        assert!(tokens.iter().all(|token| *token == renewed), "round {round}: {} access tokens", tokens.len());
        assert_eq!(desk.asked().await, 1, "round {round}");
        present = renewed;
    }
}

// S43
#[tokio::test]
async fn two_hundred_leases_in_four_processes_make_one_request_an_expiry() {
    ask_once_a_round(2).await;
}

// S43
#[tokio::test]
#[ignore = "fifty rounds take long: run by tests/run"]
async fn two_hundred_leases_in_four_processes_make_one_request_an_expiry_fifty_times() {
    ask_once_a_round(50).await;
}

// S44
#[tokio::test]
async fn whoever_comes_second_takes_what_the_first_brought() {
    let desk = Desk::new().await;
    desk.fall_due(Due::Over).await;
    let mut second = Process::start(&desk).await;
    let stopped = second.stop_at(&desk, BEGIN, When::Before).await;
    let first = desk.works().await;
    stopped.resume();
    assert_eq!(token(&second.answer().await.lease()), token(&first));
    assert_eq!(desk.asked().await, 1);
}

/// Returns when so many have read the token once more: nobody else reads a row by itself and strongly.
async fn all_have_looked_again(desk: &Desk, leases: usize) {
    let strong_read = Call { consistent: Some(true), ..Call::to("dynamodb/GetItem") };
    while desk.world.sandbox.faults().calls().iter().filter(|call| **call == strong_read).count() < leases {
        tokio::task::yield_now().await;
    }
}

// S44
#[tokio::test]
async fn those_who_wait_take_what_another_brings() {
    let desk = Desk::new().await;
    let (mut first, stopped) = desk.answered(Due::Over).await;
    let mut waiting = JoinSet::new();
    for _ in 0..5 {
        let worker = desk.worker.clone();
        waiting.spawn(async move { worker.lease().await });
    }
    tokio::select! {
        () = all_have_looked_again(&desk, waiting.len()) => {}
        early = waiting.join_next() => panic!("somebody did not wait: {early:?}"),
    }
    stopped.resume();
    let brought = token(&first.answer().await.lease());
    let taken: Vec<Reply> = waiting.join_all().await;
    assert!(taken.iter().all(|reply| token(&reply.expect(201)) == brought));
    assert_eq!(desk.asked().await, 1);
}
