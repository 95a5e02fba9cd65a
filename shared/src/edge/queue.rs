//! Messages as SQS hands them to a function, and the part of its answer that says which of them come again.
//!
//! See <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>.

use serde::{Deserialize, Serialize};

/// A message.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// What the answer calls it by.
    pub message_id: String,
    /// What was sent.
    pub body: String,
}

/// One of `batchItemFailures` in the answer: a message that comes again.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failed {
    /// Its [`Record::message_id`].
    pub item_identifier: String,
}
