//! Calls that stand still, for tests that kill or pause a caller at a moment of their choice.

use axum::response::Response;
use tokio::sync::{oneshot, watch};

use super::Call;

/// Where a call stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Nothing that it asks for is done yet.
    Before,
    /// Everything that it asks for is done, and its caller does not know.
    After,
}

/// A call that stands still once it comes.
///
/// Dropping it is what a killed caller looks like: the connection closes without an answer, and a call that stood
/// before its work never does it. Resuming it is what a paused caller looks like when it wakes.
#[derive(Debug)]
#[must_use = "a call stands still for as long as this is kept"]
pub struct Stopped {
    reached: watch::Receiver<Option<Call>>,
    resume: oneshot::Sender<()>,
}

impl Stopped {
    /// The call, as soon as it stands still; waits for ever for one that never comes.
    pub async fn reached(&self) -> Call {
        let mut reached = self.reached.clone();
        let call = reached.wait_for(Option::is_some).await.ok().and_then(|call| call.clone());
        match call {
            Some(call) => call,
            None => std::future::pending().await,
        }
    }

    /// Lets the call go on, or pass by if it has not come yet.
    pub fn resume(self) {
        // nobody listens where the call never came
        self.resume.send(()).ok();
    }
}

/// The sandbox's end of a [`Stopped`].
#[derive(Debug)]
pub(super) struct Stop {
    /// How many calls pass before it.
    calls_left: usize,
    when: When,
    reached: watch::Sender<Option<Call>>,
    resumed: oneshot::Receiver<()>,
}

impl Stop {
    pub(super) fn new(nth: usize, when: When) -> (Self, Stopped) {
        let (reached, to_be_reached) = watch::channel(None);
        let (resume, resumed) = oneshot::channel();
        (Self { calls_left: nth, when, reached, resumed }, Stopped { reached: to_be_reached, resume })
    }

    /// Does the work and answers it as told; `None` closes the connection.
    pub(super) async fn hold(self, call: Call, work: impl Future<Output = Response>) -> Option<Response> {
        match self.when {
            When::Before => {
                self.reached.send_replace(Some(call));
                self.resumed.await.ok()?;
                Some(work.await)
            }
            When::After => {
                let response = work.await;
                self.reached.send_replace(Some(call));
                self.resumed.await.ok()?;
                Some(response)
            }
        }
    }
}

/// The stop that the call coming now is for. Those that nobody waits for any more are forgotten.
pub(super) fn next(stops: &mut Vec<Stop>) -> Option<Stop> {
    stops.retain(|stop| !stop.reached.is_closed());
    let at = stops.iter().position(|stop| stop.calls_left == 0);
    let stop = at.map(|at| stops.remove(at));
    for stop in stops {
        stop.calls_left = stop.calls_left.saturating_sub(1);
    }
    stop
}
