//! Lambda's part between a queue and its function: takes batches of messages, invokes the function with them, and
//! deletes those that it has done.
//!
//! It works whenever something is sent, a message becomes visible again or the clock is moved. What a failing function
//! leaves undone stays in the queue and comes again after the visibility time-out.

use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{
    sync::{Mutex, MutexGuard},
    task::JoinSet,
    time,
};

use crate::{
    clock::MovableClock,
    cloud::{
        REGION,
        sqs::{self, Message, Sqs},
    },
    gateway::Invocation,
    template::{Delivery, Template},
};

/// So many invocations run at the same time, as many as Lambda begins with.
const AT_ONCE: usize = 5;

type Invoke = dyn Fn(String, Value) -> Invocation + Send + Sync;

/// The event source of one function.
pub(crate) struct Poller {
    delivery: Delivery,
    /// The function is stopped then.
    time_limit: Duration,
    sqs: Sqs,
    invoke: Arc<Invoke>,
    /// One round at a time, so that whoever waited for a round of its own finds everything done that came before.
    turn: Mutex<()>,
}

/// The right to hand messages over, which one has at a time.
pub(crate) struct Turn<'a> {
    poller: &'a Poller,
    _turn: MutexGuard<'a, ()>,
}

/// What became of the messages of a round.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Delivered {
    /// The function has done them.
    delivered: usize,
    /// They come again.
    kept: usize,
}

/// What a function answers that reports its failures.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Report {
    batch_item_failures: Option<Vec<Failure>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    item_identifier: String,
}

impl Poller {
    /// A poller for each queue that the template lets a function work off; `invoke` runs the functions.
    pub(crate) fn deployed(
        template: &Template,
        sqs: &Sqs,
        invoke: impl Fn(String, Value) -> Invocation + Send + Sync + 'static,
    ) -> Vec<Arc<Self>> {
        let invoke: Arc<Invoke> = Arc::new(invoke);
        let time_limit = |name: &str| {
            let function = template.functions.iter().find(|function| function.name == name);
            Duration::from_secs(function.map_or(3, |function| function.timeout).into())
        };
        let poller = |delivery: &Delivery| Self {
            delivery: delivery.clone(),
            time_limit: time_limit(&delivery.function),
            sqs: sqs.clone(),
            invoke: Arc::clone(&invoke),
            turn: Mutex::default(),
        };
        template.deliveries.iter().map(poller).map(Arc::new).collect()
    }

    /// The function that it invokes.
    pub(crate) fn function(&self) -> &str {
        &self.delivery.function
    }

    /// Works for ever.
    pub(crate) async fn run(&self, clock: &MovableClock) {
        let (mut arrivals, mut moves) = (self.sqs.arrivals(), clock.moves());
        loop {
            self.deliver().await;
            let next = self.sqs.next_visible(&self.delivery.queue).map(|at| at.duration_since(clock.now()));
            let hidden = next.map_or(Duration::MAX, |hidden| hidden.try_into().unwrap_or_default());
            tokio::select! {
                Ok(()) = arrivals.changed() => {}
                Ok(()) = moves.changed() => {}
                () = time::sleep(hidden) => {}
            }
        }
    }

    /// Hands over what is visible now.
    pub(crate) async fn deliver(&self) -> Delivered {
        self.turn().await.deliver().await.0
    }

    /// Waits until nobody else hands anything over.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        Turn { poller: self, _turn: self.turn.lock().await }
    }

    /// What the function answers to a batch; nothing where it fails or takes too long.
    async fn invoke(&self, batch: &[Message]) -> Option<Value> {
        let records: Vec<_> = batch.iter().map(|message| self.record(message)).collect();
        // a task of its own, as it is a machine of its own: invocations share no thread, and a panic ends this one alone
        let mut running = JoinSet::new();
        running.spawn((self.invoke)(self.function().to_owned(), json!({ "Records": records })));
        match time::timeout(self.time_limit, running.join_next()).await {
            Ok(Some(Ok(Ok(answer)))) => return Some(answer),
            Ok(Some(Ok(Err(error)))) => tracing::warn!(function = self.function(), %error, "the messages come again"),
            Ok(Some(Err(_)) | None) => tracing::warn!(function = self.function(), "a panic; the messages come again"),
            Err(_) => tracing::warn!(function = self.function(), "the function took too long; the messages come again"),
        }
        None
    }

    /// The messages that the answer does not report as failed. An answer that cannot be understood, or names a message
    /// that is not of the batch, reports them all.
    fn done<'a>(&self, batch: &'a [Message], answer: &Value) -> Vec<&'a Message> {
        if !self.delivery.function_response_types.iter().any(|kind| kind == "ReportBatchItemFailures") {
            return batch.iter().collect();
        }
        let Ok(report) = Option::<Report>::deserialize(answer) else { return Vec::new() };
        let failures = report.unwrap_or_default().batch_item_failures.unwrap_or_default();
        let failed = |message: &&Message| failures.iter().any(|failure| failure.item_identifier == message.id);
        let (failed, done): (Vec<_>, Vec<_>) = batch.iter().partition(failed);
        let unknown = failures.iter().any(|failure| failed.iter().all(|message| message.id != failure.item_identifier));
        if unknown { Vec::new() } else { done }
    }

    fn record(&self, message: &Message) -> Value {
        json!({
            "messageId": message.id,
            "receiptHandle": message.receipt_handle(),
            "body": message.body,
            "attributes": message.attributes(),
            "messageAttributes": {},
            "md5OfBody": message.md5(),
            "eventSource": "aws:sqs",
            "eventSourceARN": sqs::arn(&self.delivery.queue),
            "awsRegion": REGION,
        })
    }
}

impl Turn<'_> {
    /// Hands over what is visible, until nothing is; tells what became of it, and what the function answered.
    pub(crate) async fn deliver(&self) -> (Delivered, Vec<Value>) {
        self.deliver_times(1).await
    }

    /// The same, and every batch `times` times, as SQS may do: what counts is the last answer. A batch waits for no other.
    pub(crate) async fn deliver_times(&self, times: usize) -> (Delivered, Vec<Value>) {
        let Poller { delivery, sqs, .. } = self.poller;
        let (mut round, mut answers) = (Delivered::default(), Vec::new());
        let receive =
            || Some(sqs.receive(&delivery.queue, delivery.batch_size, None)).filter(|batch| !batch.is_empty());
        let deliver = async |batch: Vec<Message>| {
            let mut earlier = Vec::new();
            for _ in 1..times {
                earlier.extend(self.poller.invoke(&batch).await);
            }
            let last = self.poller.invoke(&batch).await;
            (batch, earlier, last)
        };
        // a message that comes again within this call, or is sent by what was delivered, is delivered too
        while let Some(first) = receive() {
            let batches = std::iter::once(first).chain(std::iter::from_fn(receive));
            let mut deliveries = pin!(stream::iter(batches).map(deliver).buffer_unordered(AT_ONCE));
            while let Some((batch, earlier, last)) = deliveries.next().await {
                let done = last.as_ref().map(|answer| self.poller.done(&batch, answer)).unwrap_or_default();
                for message in &done {
                    sqs.delete(&delivery.queue, &message.receipt_handle());
                }
                round.delivered += done.len();
                round.kept += batch.len() - done.len();
                answers.extend(earlier.into_iter().chain(last));
            }
        }
        (round, answers)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::sync::mpsc;

    use super::*;
    use crate::data::DataDir;

    const HIDDEN_SECONDS: u32 = 30;

    struct World {
        sqs: Sqs,
        clock: MovableClock,
        poller: Arc<Poller>,
        /// The bodies of each invocation.
        invocations: mpsc::UnboundedReceiver<Vec<String>>,
    }

    /// A world in which the function answers `answer` to a batch.
    fn world(answer: impl Fn(&Value) -> Result<Value, &'static str> + Send + Sync + 'static) -> World {
        let (tell, invocations) = mpsc::unbounded_channel();
        let clock = MovableClock::open(&DataDir::memory()).unwrap();
        let template = Template::deployed();
        let sqs = Sqs::open(&DataDir::memory(), clock.clock(), &template.queues).unwrap();
        let pollers = Poller::deployed(template, &sqs, move |function, event| {
            assert_eq!(function, "spill-reader");
            let records = event["Records"].as_array().unwrap();
            tell.send(records.iter().map(|record| record["body"].as_str().unwrap().to_owned()).collect()).unwrap();
            let answer = answer(&event);
            Box::pin(async move { Ok(answer?) })
        });
        let poller = pollers.into_iter().find(|poller| poller.function() == "spill-reader").unwrap();
        World { sqs, clock, poller, invocations }
    }

    impl World {
        fn send(&self, body: &str) {
            let request = json!({ "QueueUrl": "http://localhost/000000000000/SpillQueue", "MessageBody": body });
            assert!(self.sqs.answer("SendMessage", request.to_string().as_bytes()).status().is_success());
        }
    }

    fn round(delivered: usize, kept: usize) -> Delivered {
        Delivered { delivered, kept }
    }

    /// A world in which a message fails whose body is `bad`.
    fn world_with_bad_messages() -> World {
        world(|event| {
            let bad = event["Records"].as_array().unwrap().iter().filter(|record| record["body"] == "bad");
            let failures: Vec<_> = bad.map(|record| json!({ "itemIdentifier": record["messageId"] })).collect();
            Ok(json!({ "batchItemFailures": failures }))
        })
    }

    #[tokio::test]
    async fn what_is_done_is_deleted_and_what_failed_comes_again_when_it_is_visible() {
        let world = world_with_bad_messages();
        for body in ["good", "bad", "fine"] {
            world.send(body);
        }
        assert_eq!(world.poller.deliver().await, round(2, 1));
        assert_eq!(world.poller.deliver().await, round(0, 0), "it is hidden");
        world.clock.advance(HIDDEN_SECONDS).unwrap();
        assert_eq!(world.poller.deliver().await, round(0, 1));
    }

    #[tokio::test]
    async fn a_batch_holds_ten_messages_at_most() {
        let mut world = world_with_bad_messages();
        for number in 0..12 {
            world.send(&number.to_string());
        }
        assert_eq!(world.poller.deliver().await, round(12, 0));
        let batches = [world.invocations.recv().await.unwrap().len(), world.invocations.recv().await.unwrap().len()];
        assert_eq!(batches, [10, 2]);
    }

    #[tokio::test]
    async fn an_answer_is_read_as_lambda_reads_it() {
        for (answer, (delivered, kept)) in [
            (Ok(Value::Null), (1, 0)),
            (Ok(json!({})), (1, 0)),
            (Ok(json!({ "batchItemFailures": null })), (1, 0)),
            (Ok(json!({ "batchItemFailures": [] })), (1, 0)),
            (Ok(json!({ "batchItemFailures": [{ "itemIdentifier": "nobody" }] })), (0, 1)),
            (Ok(json!({ "batchItemFailures": [{ "itemIdentifier": "" }] })), (0, 1)),
            (Ok(json!({ "batchItemFailures": [{ "id": "misspelt" }] })), (0, 1)),
            (Ok(json!("done")), (0, 1)),
            (Err("it is broken"), (0, 1)),
        ] {
            let given = answer.clone();
            let world = world(move |_| given.clone());
            world.send("a message");
            assert_eq!(world.poller.deliver().await, round(delivered, kept), "{answer:?}");
        }
    }

    #[tokio::test]
    async fn an_event_looks_as_lambda_makes_it() {
        let seen = Arc::new(Mutex::new(Value::Null));
        let see = Arc::clone(&seen);
        let world = world(move |event| {
            see.lock().unwrap().clone_from(event);
            Ok(Value::Null)
        });
        world.send("hello");
        world.poller.deliver().await;
        let event = seen.lock().unwrap();
        let [record] = &event["Records"].as_array().unwrap()[..] else { panic!("{event}") };
        for (field, value) in [
            ("body", json!("hello")),
            ("md5OfBody", json!("5d41402abc4b2a76b9719d911017c592")),
            ("eventSource", json!("aws:sqs")),
            ("eventSourceARN", json!("arn:aws:sqs:eu-west-1:000000000000:SpillQueue")),
            ("awsRegion", json!("eu-west-1")),
            ("messageAttributes", json!({})),
        ] {
            assert_eq!(record[field], value, "{field}");
        }
        assert_eq!(record["attributes"]["ApproximateReceiveCount"], "1");
        assert_eq!(record["messageId"].as_str().unwrap().len(), 36);
    }

    #[tokio::test]
    async fn it_works_by_itself_when_something_is_sent_and_when_the_clock_is_moved() {
        let mut world = world_with_bad_messages();
        let (poller, clock) = (Arc::clone(&world.poller), world.clock.clone());
        let running = tokio::spawn(async move { poller.run(&clock).await });
        world.send("bad");
        assert_eq!(world.invocations.recv().await.unwrap(), ["bad"]);
        world.clock.advance(HIDDEN_SECONDS).unwrap();
        assert_eq!(world.invocations.recv().await.unwrap(), ["bad"]);
        running.abort();
    }
}
