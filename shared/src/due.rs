//! The queue between a tick of the sweep and those who work off what it found due.
//!
//! A message is an errand: it names rows and holds nothing of them. Whoever takes it reads each row itself, strongly, and
//! finds there whether anything is left to do. The rows stay due until then, so an errand that is lost costs the time
//! until the next tick, and one that comes twice, late or after the row is gone changes nothing.

use std::time::Duration;

use aws_config::{SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_sqs::{
    Client,
    config::retry::RetryPartition,
    types::{QueueAttributeName, SendMessageBatchRequestEntry},
};
use serde::{Deserialize, Serialize};

use crate::{access::TenantId, store::profiles::DueRow};

/// How many rows an errand names at most.
pub const ROWS: usize = 10;
/// How many messages SQS takes in one call.
pub const MESSAGES: usize = 10;

/// Rows that are due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Errand {
    /// Of the table of profiles and tokens, all of one tenant: its settings are read once, its key is unwrapped once.
    Vault {
        /// Whose they are.
        tenant: TenantId,
        /// The rows.
        rows: Vec<DueRow>,
    },
    /// Of the table of connect sessions and revocations, by their ids; the rows say whose they are.
    Flows(Vec<String>),
}

/// The queue did not do it.
#[derive(Debug, thiserror::Error)]
#[error("the queue of due rows did not answer, or did not take all")]
pub struct QueueDown(#[source] Box<dyn std::error::Error + Send + Sync>);

/// A message that is no errand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is no errand of the sweep")]
pub struct NoErrand;

impl Errand {
    /// How many rows it names.
    #[must_use]
    pub fn rows(&self) -> usize {
        match self {
            Self::Vault { rows, .. } => rows.len(),
            Self::Flows(ids) => ids.len(),
        }
    }

    /// Reads a message of the queue.
    ///
    /// # Errors
    /// When it is none that [`DueQueue::send`] wrote.
    pub fn read(message: &str) -> Result<Self, NoErrand> {
        serde_json::from_str(message).map_err(|_| NoErrand)
    }
}

/// The queue of due rows, to write to.
#[derive(Clone, Debug)]
pub struct DueQueue {
    client: Client,
    queue: String,
}

impl DueQueue {
    /// The queue with this URL.
    #[must_use]
    pub fn new(aws: &SdkConfig, queue: &str) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(1))
            .operation_attempt_timeout(Duration::from_secs(2))
            .operation_timeout(Duration::from_secs(5));
        let config = aws_sdk_sqs::config::Builder::from(aws)
            .timeout_config(timeouts.build())
            .retry_config(RetryConfig::standard().with_max_attempts(3))
            .retry_partition(RetryPartition::custom("due").build());
        Self { client: Client::from_conf(config.build()), queue: queue.to_owned() }
    }

    /// How many messages wait that nobody has begun, about.
    ///
    /// # Errors
    /// When the queue does not answer.
    pub async fn waiting(&self) -> Result<u32, QueueDown> {
        let name = QueueAttributeName::ApproximateNumberOfMessages;
        let asking = self.client.get_queue_attributes().queue_url(&self.queue).attribute_names(name.clone());
        let answer = asking.send().await.map_err(|error| QueueDown(error.into()))?;
        let waiting = answer.attributes.as_ref().and_then(|attributes| attributes.get(&name));
        let waiting = waiting.ok_or_else(|| QueueDown("it does not say how much waits".into()))?;
        waiting.parse().map_err(|error: std::num::ParseIntError| QueueDown(error.into()))
    }

    /// Sends errands, [`MESSAGES`] in a call. Sending one twice does no harm.
    ///
    /// # Errors
    /// When the queue does not answer or does not take all of them; those before are sent.
    pub async fn send(&self, errands: &[Errand]) -> Result<(), QueueDown> {
        for errands in errands.chunks(MESSAGES) {
            let mut call = self.client.send_message_batch().queue_url(&self.queue);
            for (at, errand) in errands.iter().enumerate() {
                let body = serde_json::to_string(errand).map_err(|error| QueueDown(error.into()))?;
                let entry = SendMessageBatchRequestEntry::builder().id(at.to_string()).message_body(body).build();
                call = call.entries(entry.map_err(|error| QueueDown(error.into()))?);
            }
            let answer = call.send().await.map_err(|error| QueueDown(error.into()))?;
            if let Some(refused) = answer.failed.first() {
                return Err(QueueDown(refused.code.clone().into()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &str) -> String {
        format!(r#"{{"vault":{{"tenant":"acme","rows":[{rows}]}}}}"#)
    }

    #[test]
    fn an_errand_is_read_as_it_was_written() {
        let all = r#"{"token":["x_profile-42","interaction-alice"]},"settings",{"removal":"bob"},{"acquisition":"facebook"},{"outbox":{"person":"alice"}},{"outbox":"administrators"}"#;
        for (message, count) in [(rows(all), 6), (r#"{"flows":["s1","revoke#acme#x#t#1"]}"#.to_owned(), 2)] {
            let errand = Errand::read(&message).unwrap();
            assert_eq!(errand.rows(), count);
            assert_eq!(serde_json::to_string(&errand).unwrap(), message);
        }
    }

    #[test]
    fn what_reaches_into_another_tenant_or_makes_no_sense_is_no_errand() {
        for message in [
            "",
            "[]",
            "{}",
            r#"{"flows":"s1"}"#,
            r#"{"flows":["s1"],"vault":{"tenant":"acme","rows":[]}}"#,
            r#"{"vault":{"tenant":"acme"}}"#,
            r#"{"vault":{"tenant":"acme","rows":[],"secret":"x"}}"#,
            r#"{"vault":{"tenant":"acme#P#x_profile-42","rows":[]}}"#,
            &rows(r#"{"token":["globex#P#x_profile-42","interaction-alice"]}"#),
            &rows(r#"{"token":["x_profile-42","interaction-a#b"]}"#),
            &rows(r#"{"token":["x_profile-42"]}"#),
            &rows(r#"{"outbox":{"person":""}}"#),
            &rows(r#"{"outbox":"everybody"}"#),
            &rows(r#"{"acquisition":"myspace"}"#),
            &rows(r#""keys""#),
        ] {
            assert_eq!(Errand::read(message), Err(NoErrand), "{message}");
        }
    }
}
