//! Callers that are killed, paused, or gone before the answer.

use tokio::task::JoinHandle;

use super::*;
use crate::faults::When;

type Putting = JoinHandle<Result<(), Option<String>>>;

async fn world() -> Arc<World> {
    let world = World::start().await;
    world.create_table().await;
    Arc::new(world)
}

fn putting(world: &Arc<World>, id: &'static str) -> Putting {
    let world = Arc::clone(world);
    tokio::spawn(async move { world.put(id).await })
}

async fn kill(putting: Putting) {
    putting.abort();
    assert!(putting.await.unwrap_err().is_cancelled());
}

async fn is_there(world: &World, id: &str) -> bool {
    world.get(id).await.item.is_some()
}

#[tokio::test]
async fn a_call_stands_still_before_its_work_and_a_killed_caller_has_done_nothing() {
    let world = world().await;
    let stopped = world.faults.stop_at(1, When::Before);
    world.put("first").await.unwrap();
    let second = putting(&world, "second");
    assert_eq!(stopped.reached().await, Call::to("dynamodb/PutItem"));
    world.put("third").await.unwrap();
    kill(second).await;
    drop(stopped);
    let there = [is_there(&world, "first").await, is_there(&world, "second").await, is_there(&world, "third").await];
    assert_eq!(there, [true, false, true]);
}

#[tokio::test]
async fn a_call_stands_still_after_its_work_and_a_killed_caller_undoes_nothing() {
    let world = world().await;
    let stopped = world.faults.stop_at(0, When::After);
    let first = putting(&world, "first");
    stopped.reached().await;
    kill(first).await;
    drop(stopped);
    assert!(is_there(&world, "first").await);
}

#[tokio::test]
async fn whoever_was_not_killed_sees_the_connection_close() {
    for (when, done) in [(When::Before, false), (When::After, true)] {
        let world = world().await;
        let stopped = world.faults.stop_at(0, when);
        let first = putting(&world, "first");
        stopped.reached().await;
        drop(stopped);
        assert_eq!(first.await.unwrap(), Err(None));
        assert_eq!(is_there(&world, "first").await, done, "{when:?}");
    }
}

#[tokio::test]
async fn a_paused_caller_goes_on_as_if_nothing_had_been() {
    for when in [When::Before, When::After] {
        let world = world().await;
        let stopped = world.faults.stop_at(0, when);
        let first = putting(&world, "first");
        stopped.reached().await;
        assert_eq!(is_there(&world, "first").await, when == When::After);
        stopped.resume();
        assert_eq!(first.await.unwrap(), Ok(()));
        assert!(is_there(&world, "first").await);
    }
}

#[tokio::test]
async fn a_stop_that_nobody_waits_for_any_more_stops_nobody() {
    let world = world().await;
    drop(world.faults.stop_at(0, When::Before));
    world.faults.stop_at(1, When::Before).resume();
    for id in ["first", "second"] {
        world.put(id).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_slow_service_was_asked_for_is_done_though_nobody_waits() {
    let world = world().await;
    let target = "dynamodb/PutItem".to_owned();
    world.faults.put(Fault { delay_ms: 20, ..Fault::once(target, Mode::Slow) });
    world.faults.forget_calls();
    let first = putting(&world, "first");
    while world.faults.calls().is_empty() {
        tokio::task::yield_now().await;
    }
    kill(first).await;
    while !is_there(&world, "first").await {}
}
