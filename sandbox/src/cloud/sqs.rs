//! A stand-in for SQS: standard queues, as many as the template deploys.
//!
//! Every wait that SQS counts in seconds (visibility, retention) goes by the sandbox's clock. Messages come in the
//! order in which they were sent, which SQS does not promise; at least once is promised, and so a message that was
//! received and not deleted comes again.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};

use axum::response::Response;
use http::{
    StatusCode,
    header::{HeaderName, HeaderValue},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::{clock::Clock, random::Random};
use tokio::sync::watch;

use super::{ACCOUNT, REGION, Refusal, input, json_response};
use crate::{
    data::{DataDir, Saved},
    template::Queue,
};

/// What SQS takes of a body, in bytes.
const BODY_LIMIT: usize = 1_048_576;
const BATCH_LIMIT: u32 = 10;
const BATCH_ID_LIMIT: usize = 80;
const LONGEST_WAIT: u32 = 20;
const LONGEST_VISIBILITY: u32 = 43_200;
const QUERY_ERROR: HeaderName = HeaderName::from_static("x-amzn-query-error");

#[derive(Clone)]
pub(crate) struct Sqs {
    clock: Clock,
    queues: Arc<[Queue]>,
    /// The messages of each queue, the oldest first.
    messages: Saved<BTreeMap<String, Vec<Message>>>,
    arrivals: watch::Sender<()>,
}

/// A message, from its sending until it is deleted.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) body: String,
    sent_at: Timestamp,
    first_received_at: Option<Timestamp>,
    receives: u32,
    visible_at: Timestamp,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct SendMessage {
    queue_url: String,
    message_body: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct SendMessageBatch {
    queue_url: String,
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Entry {
    id: String,
    message_body: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct GetQueueAttributes {
    queue_url: String,
    #[serde(default)]
    attribute_names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ReceiveMessage {
    queue_url: String,
    #[serde(default = "one")]
    max_number_of_messages: u32,
    visibility_timeout: Option<u32>,
    #[serde(default)]
    wait_time_seconds: u32,
    #[serde(default)]
    message_system_attribute_names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct DeleteMessage {
    queue_url: String,
    receipt_handle: String,
}

fn one() -> u32 {
    1
}

impl Message {
    /// The handle of the latest receipt; earlier ones delete nothing.
    pub(crate) fn receipt_handle(&self) -> String {
        format!("{}#{}", self.id, self.receives)
    }

    pub(crate) fn md5(&self) -> String {
        format!("{:x}", md5::compute(&self.body))
    }

    /// What SQS tells about a message besides its body.
    pub(crate) fn attributes(&self) -> BTreeMap<String, String> {
        let first_received_at = self.first_received_at.unwrap_or(self.visible_at);
        [
            ("ApproximateFirstReceiveTimestamp", first_received_at.as_millisecond().to_string()),
            ("ApproximateReceiveCount", self.receives.to_string()),
            ("SenderId", ACCOUNT.to_owned()),
            ("SentTimestamp", self.sent_at.as_millisecond().to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

impl Sqs {
    pub(crate) fn open(dir: &DataDir, clock: Clock, queues: &[Queue]) -> io::Result<Self> {
        let messages = Saved::open(dir, "queues.json", BTreeMap::new)?;
        Ok(Self { clock, queues: Arc::from(queues), messages, arrivals: watch::Sender::default() })
    }

    pub(crate) fn answer(&self, operation: &str, body: &[u8]) -> Response {
        let answer = match operation {
            "SendMessage" => input(body).and_then(|request| self.send(request)),
            "SendMessageBatch" => input(body).and_then(|request| self.send_batch(request)),
            "GetQueueAttributes" => input(body).and_then(|request| self.describe(&request)),
            "ReceiveMessage" => input(body).and_then(|request| self.hand_out(&request)),
            "DeleteMessage" => input(body).and_then(|request| self.discard(&request)),
            _ => Err(Refusal::unknown_operation(operation)),
        };
        match answer {
            Ok(output) => json_response(StatusCode::OK, &output),
            Err(refusal) => refused(&refusal),
        }
    }

    /// The bodies of the messages in a queue, whether anybody works on them or not.
    pub(super) fn bodies(&self, queue: &str) -> Vec<String> {
        let now = self.clock.now();
        self.messages.change(|messages| {
            self.settle(messages, now);
            messages.get(queue).into_iter().flatten().map(|message| message.body.clone()).collect()
        })
    }

    /// Hands out what is visible, at most `count`, and hides it for the queue's own time or another.
    pub(crate) fn receive(&self, queue: &str, count: u32, visibility: Option<u32>) -> Vec<Message> {
        let now = self.clock.now();
        let Some(deployed) = self.queues.iter().find(|deployed| deployed.name == queue) else { return Vec::new() };
        let hidden = SignedDuration::from_secs(visibility.unwrap_or(deployed.visibility_timeout).into());
        self.messages.change(|messages| {
            self.settle(messages, now);
            let waiting = messages.entry(queue.to_owned()).or_default();
            let visible = waiting.iter_mut().filter(|message| message.visible_at <= now);
            let received = visible.take(count.try_into().unwrap_or(usize::MAX)).map(|message| {
                message.receives += 1;
                message.first_received_at.get_or_insert(now);
                message.visible_at = now + hidden;
                message.clone()
            });
            received.collect()
        })
    }

    /// Deletes the message of this receipt, if it is the latest.
    pub(crate) fn delete(&self, queue: &str, receipt_handle: &str) {
        self.messages.change(|messages| {
            if let Some(waiting) = messages.get_mut(queue) {
                waiting.retain(|message| message.receipt_handle() != receipt_handle);
            }
        });
    }

    /// When the next message of a queue is visible.
    pub(crate) fn next_visible(&self, queue: &str) -> Option<Timestamp> {
        self.messages.read(|messages| messages.get(queue)?.iter().map(|message| message.visible_at).min())
    }

    /// Changes whenever something is sent.
    pub(crate) fn arrivals(&self) -> watch::Receiver<()> {
        self.arrivals.subscribe()
    }

    fn send(&self, request: SendMessage) -> Result<Value, Refusal> {
        let SendMessage { queue_url, message_body: body } = request;
        let queue = self.queue(&queue_url)?;
        check(&body)?;
        let message = self.message(body);
        let output = json!({ "MessageId": message.id, "MD5OfMessageBody": message.md5() });
        self.keep(queue, vec![message]);
        Ok(output)
    }

    /// An entry that would be refused by itself is refused by itself.
    fn send_batch(&self, SendMessageBatch { queue_url, entries }: SendMessageBatch) -> Result<Value, Refusal> {
        let queue = self.queue(&queue_url)?;
        let harmless = |id: &str| {
            let known = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
            !id.is_empty() && id.len() <= BATCH_ID_LIMIT && id.bytes().all(known)
        };
        let ids: BTreeSet<_> = entries.iter().map(|entry| entry.id.as_str()).collect();
        let limit = usize::try_from(BATCH_LIMIT).unwrap_or(usize::MAX);
        for (refused, code, message) in [
            (
                entries.is_empty(),
                "EmptyBatchRequest",
                "There should be at least one SendMessageBatchRequestEntry in the request.",
            ),
            (entries.len() > limit, "TooManyEntriesInBatchRequest", "Maximum number of entries per request are 10."),
            (
                ids.len() < entries.len(),
                "BatchEntryIdsNotDistinct",
                "Two or more batch entries in the request have the same Id.",
            ),
            (
                !ids.iter().all(|id| harmless(id)),
                "InvalidBatchEntryId",
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.",
            ),
            (
                entries.iter().map(|entry| entry.message_body.len()).sum::<usize>() > BODY_LIMIT,
                "BatchRequestTooLong",
                "Batch requests cannot be longer than 1048576 bytes.",
            ),
        ] {
            if refused {
                return Err(Refusal::new(code, message));
            }
        }
        let (mut sent, mut successful, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        for Entry { id, message_body } in entries {
            if let Err(refusal) = check(&message_body) {
                failed.push(json!({ "Id": id, "SenderFault": true, "Code": refusal.code, "Message": refusal.message }));
                continue;
            }
            let message = self.message(message_body);
            successful.push(json!({ "Id": id, "MessageId": message.id, "MD5OfMessageBody": message.md5() }));
            sent.push(message);
        }
        self.keep(queue, sent);
        Ok(json!({ "Successful": successful, "Failed": failed }))
    }

    fn message(&self, body: String) -> Message {
        let now = self.clock.now();
        Message { id: message_id(), body, sent_at: now, first_received_at: None, receives: 0, visible_at: now }
    }

    fn keep(&self, queue: &Queue, sent: Vec<Message>) {
        self.messages.change(|messages| messages.entry(queue.name.clone()).or_default().extend(sent));
        self.arrivals.send_replace(());
    }

    /// How much is in a queue, the one thing that is told of it here.
    fn describe(&self, request: &GetQueueAttributes) -> Result<Value, Refusal> {
        let queue = self.queue(&request.queue_url)?;
        let now = self.clock.now();
        let (visible, hidden): (Vec<bool>, Vec<bool>) = self.messages.change(|messages| {
            self.settle(messages, now);
            let there = messages.get(&queue.name).into_iter().flatten();
            there.map(|message| message.visible_at <= now).partition(|visible| *visible)
        });
        let mut attributes = json!({});
        for name in &request.attribute_names {
            attributes[name] = match name.as_str() {
                "ApproximateNumberOfMessages" => json!(visible.len().to_string()),
                "ApproximateNumberOfMessagesNotVisible" => json!(hidden.len().to_string()),
                _ => return Err(Refusal::new("InvalidAttributeName", format!("Unknown Attribute {name}."))),
            };
        }
        Ok(json!({ "Attributes": attributes }))
    }

    fn hand_out(&self, request: &ReceiveMessage) -> Result<Value, Refusal> {
        let queue = self.queue(&request.queue_url)?;
        for (name, value, allowed) in [
            ("MaxNumberOfMessages", request.max_number_of_messages, 1..=BATCH_LIMIT),
            ("WaitTimeSeconds", request.wait_time_seconds, 0..=LONGEST_WAIT),
            ("VisibilityTimeout", request.visibility_timeout.unwrap_or_default(), 0..=LONGEST_VISIBILITY),
        ] {
            if !allowed.contains(&value) {
                let (least, most) = allowed.into_inner();
                let reason = format!("must be between {least} and {most}, if provided");
                return Err(invalid(&format!("Value {value} for parameter {name} is invalid. Reason: {reason}.")));
            }
        }
        let wanted = |name: &str| request.message_system_attribute_names.iter().any(|one| one == "All" || one == name);
        let received = self.receive(&queue.name, request.max_number_of_messages, request.visibility_timeout);
        let told = received.iter().map(|message| {
            let mut attributes = message.attributes();
            attributes.retain(|name, _| wanted(name));
            json!({
                "MessageId": message.id,
                "ReceiptHandle": message.receipt_handle(),
                "MD5OfBody": message.md5(),
                "Body": message.body,
                "Attributes": attributes,
            })
        });
        Ok(json!({ "Messages": told.collect::<Vec<_>>() }))
    }

    /// Whatever is gone already, or was received again since, is left as it is.
    fn discard(&self, request: &DeleteMessage) -> Result<Value, Refusal> {
        let queue = self.queue(&request.queue_url)?;
        if !request.receipt_handle.contains('#') {
            let message =
                format!("The input receipt handle \"{}\" is not a valid receipt handle.", request.receipt_handle);
            return Err(Refusal::new("ReceiptHandleIsInvalid", message));
        }
        self.delete(&queue.name, &request.receipt_handle);
        Ok(json!({}))
    }

    /// The queue of a URL; the host of the URL is whichever led here.
    fn queue(&self, url: &str) -> Result<&Queue, Refusal> {
        let name = url.rsplit_once(&format!("/{ACCOUNT}/")).map(|(_, name)| name);
        let queue = self.queues.iter().find(|queue| Some(queue.name.as_str()) == name);
        queue.ok_or_else(|| Refusal::new(NO_SUCH_QUEUE, "The specified queue does not exist."))
    }

    /// Takes away what was kept long enough, and moves what was handed out often enough and is about to be again.
    fn settle(&self, messages: &mut BTreeMap<String, Vec<Message>>, now: Timestamp) {
        for queue in self.queues.iter() {
            let kept = SignedDuration::from_secs(queue.message_retention_period.into());
            let Some(waiting) = messages.get_mut(&queue.name) else { continue };
            waiting.retain(|message| now.duration_since(message.sent_at) < kept);
            if let Some(redrive) = &queue.redrive_policy {
                let given_up =
                    |message: &mut Message| message.receives >= redrive.max_receive_count && message.visible_at <= now;
                let moved: Vec<_> = waiting.extract_if(.., given_up).collect();
                messages.entry(redrive.dead_letters.clone()).or_default().extend(moved);
            }
        }
    }
}

/// The ARN of a queue, as an event names it.
pub(crate) fn arn(queue: &str) -> String {
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}")
}

const NO_SUCH_QUEUE: &str = "QueueDoesNotExist";

/// SQS spoke XML once, and tells the SDKs the error's name of that time in a header.
pub(super) fn refused(refusal: &Refusal) -> Response {
    let of_old = match refusal.code {
        NO_SUCH_QUEUE => "AWS.SimpleQueueService.NonExistentQueue".to_owned(),
        code if code.contains("Batch") => format!("AWS.SimpleQueueService.{code}"),
        code => code.to_owned(),
    };
    let mut response = refusal.json();
    if let Ok(value) = HeaderValue::try_from(format!("{of_old};Sender")) {
        response.headers_mut().insert(QUERY_ERROR, value);
    }
    response
}

fn check(body: &str) -> Result<(), Refusal> {
    let allowed =
        |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    if body.is_empty() {
        return Err(Refusal::new("MissingParameter", "The request must contain the parameter MessageBody."));
    }
    if body.len() > BODY_LIMIT {
        let reason = format!("Message must be shorter than {BODY_LIMIT} bytes.");
        return Err(invalid(&format!("One or more parameters are invalid. Reason: {reason}")));
    }
    if !body.chars().all(allowed) {
        return Err(Refusal::new("InvalidMessageContents", "The message contains characters outside the allowed set."));
    }
    Ok(())
}

fn invalid(message: &str) -> Refusal {
    Refusal::new("InvalidParameterValue", message)
}

/// A UUID, as SQS names messages.
fn message_id() -> String {
    let mut bytes = Random::system().bytes::<16>();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = hex::encode(bytes);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
