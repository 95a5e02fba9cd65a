//! Time: an attempt outlives whoever runs it, and none is begun that cannot be ended.

use std::time::Duration;

use jiff::SignedDuration;
use sandbox::template::Template;
use shared::{
    clock::Deadline,
    refresh::{Access, NEEDED, Wanted},
    renewal::QUIET,
    revoke::GrantError,
};

use super::{Desk, Due, key};

/// What a refresher answers that has so much time left.
async fn with(desk: &Desk, left: Duration) -> Result<Access, GrantError> {
    let refresher = desk.refresher(desk.world.sandbox.networks_url());
    refresher.access(&key(), desk.held().await, Wanted::WhenDue, Deadline::after(left)).await
}

// S47
#[tokio::test]
async fn no_refresh_is_begun_without_enough_time_left() {
    let desk = Desk::new().await;
    let short = NEEDED.saturating_sub(Duration::from_millis(1));
    for due in [Due::Soon, Due::Over] {
        desk.fall_due(due).await;
        let before = desk.held().await;
        let access = with(&desk, short).await.unwrap();
        match due {
            Due::Soon => assert!(matches!(access, Access::Good(..)), "the present access token works"),
            Due::Over => assert!(matches!(access, Access::Busy)),
        }
        assert_eq!((desk.held().await, desk.asked().await), (before, 0));
        assert!(matches!(with(&desk, NEEDED * 2).await.unwrap(), Access::Good(..)));
        assert_eq!(desk.asked().await, 1);
    }
}

// S47
#[test]
fn an_attempt_outlives_whoever_runs_it() {
    let function = |name: &str| Template::deployed().functions.iter().find(|function| function.name == name).unwrap();
    for (name, lease) in [("leases", leases::REFRESH_LEASE), ("expiry-sweep", expiry_sweep::REFRESH_LEASE)] {
        let lives = SignedDuration::from_secs(function(name).timeout.into());
        assert!(lease > lives, "{name} lives {lives} and leases {lease}");
        assert!(lives > SignedDuration::try_from(NEEDED).unwrap(), "{name} has no time to refresh");
    }
}

// S47, S49
#[test]
fn a_spilled_answer_is_read_twice_before_anybody_asks_again() {
    let queue = Template::deployed().queues.iter().find(|queue| queue.name == "SpillQueue").unwrap();
    let hidden = SignedDuration::from_secs(queue.visibility_timeout.into());
    assert!(hidden * 2 <= QUIET, "a message is hidden for {hidden}");
}
