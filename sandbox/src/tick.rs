//! A tick: what is done in the minutes after a schedule has invoked its function, at once.
//!
//! The function of a schedule sends on what it finds due, and works it off when the queue hands it over; what that made
//! due comes with the next tick. Here it is all one step: rounds are made until one does nothing new, so that after a tick
//! the mail is in the mailbox.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use shared::edge::Fatal;

use crate::{Parts, cloud::REGION, poller::Poller};

/// More rounds than anything takes: a removal ends grants, a death worsens acquisition, and both are mailed.
const ROUNDS: usize = 8;
/// What is told of rows that stay due: it is found in every round anew, and the last one knows what is left.
const STAYS_DUE: [&str; 3] = ["failed", "unfinished", "unrenewed"];

impl Parts {
    /// Invokes a function as its schedule does, and hands over what it sent on; one that has no schedule gets what waits
    /// for it.
    pub(crate) async fn tick(&self, function: &str) -> Result<Value, Fatal> {
        if !self.template.schedules.iter().any(|scheduled| scheduled == function) {
            return self.deliver(function).await;
        }
        let poller = self.poller(function);
        // whatever is sent on is delivered here, and nobody else takes it away meanwhile
        let turn = match poller {
            Some(poller) => Some(poller.turn().await),
            None => None,
        };
        let mut ticked = Map::new();
        for _ in 0..ROUNDS {
            let mut answers = vec![self.functions.invoke(function, self.scheduled(function)).await?];
            if let Some(turn) = &turn {
                answers.extend(turn.deliver().await.1);
            }
            let round = answers.into_iter().fold(Map::new(), add);
            let anew = |(name, count): (&String, &Value)| is_done(name) && *count != json!(0);
            let rests = !round.iter().any(anew);
            ticked.retain(|name, _| !STAYS_DUE.contains(&name.as_str()));
            ticked = add(ticked, Value::Object(round));
            if rests {
                break;
            }
        }
        Ok(Value::Object(ticked))
    }

    /// One tick as it is in the cloud: the function is invoked as its schedule does, once, and each message that it sends
    /// on is handed over `times` times at once.
    pub(crate) async fn tick_once(&self, function: &str, times: usize) -> Result<Value, Fatal> {
        let poller = self.poller(function).ok_or_else(|| format!("no queue invokes {function}"))?;
        let turn = poller.turn().await;
        let dispatched = self.functions.invoke(function, self.scheduled(function)).await?;
        let (_, answers) = turn.deliver_times(times).await;
        Ok(Value::Object(answers.into_iter().fold(add(Map::new(), dispatched), add)))
    }

    /// Hands a function what waits for it.
    pub(crate) async fn deliver(&self, function: &str) -> Result<Value, Fatal> {
        let poller = self.poller(function).ok_or_else(|| format!("no queue invokes {function}"))?;
        Ok(json!(poller.deliver().await))
    }

    fn poller(&self, function: &str) -> Option<&Arc<Poller>> {
        self.pollers.iter().find(|poller| poller.function() == function)
    }

    /// The event that `EventBridge` Scheduler sends where the schedule names no input.
    fn scheduled(&self, function: &str) -> Value {
        json!({
            "version": "0",
            "id": "00000000-0000-0000-0000-000000000000",
            "detail-type": "Scheduled Event",
            "source": "aws.scheduler",
            "account": "000000000000",
            "time": self.clock.now(),
            "region": REGION,
            "resources": [format!("arn:aws:scheduler:{REGION}:000000000000:schedule/default/tokenward-sandbox-{function}")],
            "detail": "{}",
        })
    }
}

/// Whether a count is of what was done, and not of what was found.
fn is_done(name: &str) -> bool {
    !STAYS_DUE.contains(&name) && !["dispatched", "waiting"].contains(&name)
}

/// Adds what one invocation counted to what others did.
fn add(mut sum: Map<String, Value>, answer: Value) -> Map<String, Value> {
    let Value::Object(counts) = answer else { return sum };
    for (name, count) in counts {
        let so_far = sum.get(&name).unwrap_or(&Value::Null);
        let together = match (so_far, &count) {
            (_, Value::Number(more)) => json!(so_far.as_u64().unwrap_or_default() + more.as_u64().unwrap_or_default()),
            (_, Value::Bool(more)) => json!(so_far.as_bool().unwrap_or_default() || *more),
            // which messages come again
            _ => continue,
        };
        sum.insert(name, together);
    }
    sum
}
