//! A process that is killed at each of its calls, before and after the call did its work: whoever reads next finds what is
//! true, and the account works again by itself wherever the network still honours anything.

use sandbox::faults::When;

use shared::renewal::QUIET;

use super::{ASK, BEGIN, CALLS, Desk, Due, LEASE, STORE, process::Process};

/// What becomes of a token whose refresh was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Nothing was begun: the next lease renews it.
    Untouched,
    /// An attempt was begun that never reached X: X is asked when that is certain, or nothing else is left to try.
    Taken,
    /// X renewed it and the answer is gone: X is asked once more when nothing else is left to try, and refuses.
    Lost,
    /// It was renewed.
    Renewed,
}

fn fate(call: usize, when: When) -> Fate {
    match (call, when) {
        (BEGIN, When::After) | (ASK, When::Before) => Fate::Taken,
        (..=BEGIN, _) => Fate::Untouched,
        (ASK, When::After) | (STORE, When::Before) => Fate::Lost,
        _ => Fate::Renewed,
    }
}

/// A lease that does not wait, of an access token that X takes.
async fn leases_at_once(desk: &Desk) {
    let lease = desk.worker.lease().await.expect(201);
    assert!(desk.is_known_to_x(&lease).await);
}

/// Lets a process renew the token, kills it at a call, and comes back to the token.
async fn survive(desk: &Desk, due: Due, call: usize, when: When) {
    let fate = fate(call, when);
    println!("killed {when:?} call {call}, {}: {fate:?}", CALLS[call]);
    let mails = desk.world.mails().await.len();
    desk.fall_due(due).await;
    let mut process = Process::start(desk).await;
    let stopped = process.stop_at(desk, call, when).await;
    drop(process);
    drop(stopped);
    let asked = desk.asked().await;
    assert!(desk.is_active().await);
    match due {
        Due::Over => drop(desk.world.later(LEASE).await),
        Due::Soon => {
            let until = desk.held().await.token.usable_until().unwrap();
            // no lease fails while the present access token works, however often somebody looks
            leases_at_once(desk).await;
            for _ in 0..3 {
                desk.world.later(LEASE).await;
                leases_at_once(desk).await;
            }
            assert!(desk.is_active().await);
            if matches!(fate, Fate::Taken | Fate::Lost) {
                assert_eq!(desk.asked().await, asked, "a refresh token that may be spent is left alone");
                desk.world.until(until).await;
            }
        }
    }
    if fate == Fate::Lost {
        desk.patiently().await.refused(409, "no_valid_token");
        assert_eq!(desk.asked().await, asked + 1, "the one retry");
        desk.is_lost_and_told().await;
        return;
    }
    desk.works().await;
    assert_eq!(desk.asked().await, asked + u64::from(fate != Fate::Renewed));
    assert!(desk.is_active().await);
    desk.world.sweep().await;
    assert_eq!(desk.world.mails().await.len(), mails, "nobody is told what passes by itself");
}

/// Kills a process at these calls, one after the other; the last refresh has to be as good as the first.
async fn survive_all(due: Due, calls: impl IntoIterator<Item = usize>) {
    let desk = Desk::new().await;
    for call in calls {
        for when in [When::Before, When::After] {
            survive(&desk, due, call, when).await;
        }
    }
    desk.fall_due(Due::Over).await;
    desk.works().await;
    assert_eq!(desk.asked().await, 1);
}

// S48
#[tokio::test]
async fn the_calls_of_a_refresh_are_known_by_name() {
    let desk = Desk::new().await;
    desk.fall_due(Due::Over).await;
    let answer = Process::start(&desk).await.lease(&desk, 1).await;
    let calls = desk.world.sandbox.faults().calls();
    assert_eq!(calls.iter().map(|call| call.target.as_str()).collect::<Vec<_>>(), CALLS);
    assert!(desk.is_known_to_x(&answer[0].lease()).await);
}

// S48, S50
#[tokio::test]
async fn a_process_killed_at_the_network_or_at_the_store_leaves_what_is_true() {
    survive_all(Due::Over, [ASK, STORE]).await;
}

// S48, S50
#[tokio::test]
async fn a_process_killed_at_the_network_stops_nobody_while_the_present_access_token_works() {
    survive_all(Due::Soon, [ASK]).await;
}

// S48, S50
#[tokio::test]
#[ignore = "a process for each call and twice: run by tests/run"]
async fn a_process_killed_at_any_call_leaves_what_is_true() {
    survive_all(Due::Over, 0..CALLS.len()).await;
}

// S48, S50
#[tokio::test]
#[ignore = "a process for each call and twice: run by tests/run"]
async fn a_process_killed_at_any_call_stops_nobody_while_the_present_access_token_works() {
    survive_all(Due::Soon, 0..CALLS.len()).await;
}

// S50
#[tokio::test]
async fn a_retry_that_was_killed_too_is_tried_again() {
    let desk = Desk::new().await;
    desk.fall_due(Due::Over).await;
    for _ in 0..2 {
        let mut process = Process::start(&desk).await;
        let stopped = process.stop_at(&desk, ASK, When::Before).await;
        drop(process);
        drop(stopped);
        desk.world.later(LEASE).await;
        desk.worker.lease().await.refused(503, "unavailable");
        desk.world.later(QUIET).await;
    }
    desk.works().await;
    assert!(desk.is_active().await);
    assert_eq!(desk.asked().await, 3, "of which two never came through");
}
