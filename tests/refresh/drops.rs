//! A refresh that is dropped wherever it waits: whoever reads next finds what is true.

use std::{future::poll_fn, pin::Pin, task::Poll, time::Duration};

use shared::{
    clock::Deadline,
    refresh::{Access, Wanted},
};

use super::{Desk, Due, LEASE, key};

/// Polls `future` at most `polls` times, then drops it.
async fn polled<F: Future + Unpin>(mut future: F, polls: usize) -> Option<F::Output> {
    let mut left = polls;
    poll_fn(|context| {
        left -= 1;
        match Pin::new(&mut future).poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

// S50
#[tokio::test]
async fn a_refresh_that_is_dropped_wherever_it_waits_leaves_what_is_true() {
    let desk = Desk::new().await;
    let (mut renewed, mut lost) = (0, 0);
    for polls in 1.. {
        desk.fall_due(Due::Over).await;
        let refresher = desk.refresher(desk.world.sandbox.networks_url());
        let (key, held) = (key(), desk.held().await);
        let access = refresher.access(&key, held, Wanted::WhenDue, Deadline::after(Duration::from_secs(25)));
        let finished = polled(Box::pin(access), polls).await;
        assert!(desk.is_active().await);
        if let Some(access) = finished {
            assert!(matches!(access, Ok(Access::Good(..))));
            desk.works().await;
            assert_eq!(desk.asked().await, 1);
            break;
        }
        desk.world.later(LEASE).await;
        let reply = desk.patiently().await;
        match desk.asked().await {
            1 => {
                renewed += 1;
                assert!(desk.is_known_to_x(&reply.expect(201)).await, "dropped after {polls} polls");
                assert!(desk.is_active().await);
            }
            2 => {
                lost += 1;
                reply.refused(409, "no_valid_token");
                desk.is_lost_and_told().await;
            }
            asked => panic!("dropped after {polls} polls, and X was asked {asked} times"),
        }
    }
    println!("renewed after {renewed} drops, lost after {lost}");
    assert!(renewed > lost, "{renewed} renewed, {lost} lost");
}
