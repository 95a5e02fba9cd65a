//! The AWS services on one loopback port, as the AWS SDK speaks to them (`AWS_ENDPOINT_URL`).
//!
//! DynamoDB is an embedded engine that keeps its protocol (`dynoxide`). KMS, Secrets Manager, SES and
//! SQS are *stand-ins*: just the operations that the product and its tests use, with the error
//! codes that AWS documents. They are not AWS. What keeps them honest is that one suite runs the
//! same adapter tests against them and against `moto`, and that a parameter they do not know is
//! refused rather than ignored.
//!
//! Every request has a target such as `kms/Decrypt`, is counted under it and can be made to fail
//! by it ([`crate::faults`]). Signatures are not checked: whoever reaches the loopback port may use
//! it. The tables, the master keys, the mails and the queues survive a restart on the same [`DataDir`]; the
//! secrets of the Secrets Manager are in memory alone, so no app secret is ever on disk.
//!
//! ```no_run
//! # use sandbox::{cloud::{Cloud, CloudOptions}, data::DataDir, faults::Faults};
//! # async fn example() -> std::io::Result<()> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8789").await?;
//! let (cloud, _mail_events) = Cloud::start(
//!     listener,
//!     CloudOptions {
//!         dir: DataDir::memory(),
//!         clock: shared::clock::Clock::system(),
//!         faults: Faults::default(),
//!         secrets: [("tokenward/apps".to_owned(), r#"{"x":"…"}"#.into())].into(),
//!         senders: vec!["tokenward@example.com".to_owned()],
//!         configuration_sets: vec!["tokenward".to_owned()],
//!     },
//! )
//! .await?;
//! println!("KMS_KEY={}", cloud.kms_key());
//! # Ok(()) }
//! ```

mod dynamodb;
mod kms;
mod secrets_manager;
mod ses;
pub(crate) mod sqs;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    io,
};

use aws_sdk_dynamodb::types::AttributeValue;
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    response::{IntoResponse, Response},
};
use dynoxide::Database;
use http::{StatusCode, header::CONTENT_TYPE, request::Parts};
use jiff::Timestamp;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use shared::clock::Clock;
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};

use self::{dynamodb::DynamoDb, kms::Kms, secrets_manager::SecretsManager, ses::Ses, sqs::Sqs};
use crate::{
    data::DataDir,
    faults::{self, Call, Faults, Faulty},
    template::Template,
};

pub use self::ses::Mail;

/// The region that all of this pretends to be in.
pub const REGION: &str = "eu-west-1";

/// The account that all of this pretends to belong to.
const ACCOUNT: &str = "000000000000";

/// What a cloud is made from.
#[derive(Debug)]
pub struct CloudOptions {
    /// Where tables, master keys, mails and queues are kept.
    pub dir: DataDir,
    /// The time that mails are stamped with, and that queues go by.
    pub clock: Clock,
    /// What shall go wrong, and where calls are counted.
    pub faults: Faults,
    /// Secrets that exist from the start, by name.
    pub secrets: BTreeMap<String, SecretString>,
    /// The addresses that SES has verified as senders.
    pub senders: Vec<String>,
    /// The configuration sets of SES: what becomes of mails that name one is told to the event bus.
    pub configuration_sets: Vec<String>,
}

/// The running cloud; it stops when it is dropped.
pub struct Cloud {
    kms_key: String,
    database: Database,
    ses: Ses,
    sqs: Sqs,
    _tasks: JoinSet<()>,
}

impl Cloud {
    /// Serves the AWS protocols on `listener`; what SES tells the event bus comes out beside the cloud.
    ///
    /// # Errors
    /// When what an earlier run left in the directory cannot be opened.
    pub async fn start(
        listener: TcpListener,
        options: CloudOptions,
    ) -> io::Result<(Self, mpsc::UnboundedReceiver<Value>)> {
        let CloudOptions { dir, clock, faults, secrets, senders, configuration_sets } = options;
        let (bus, mail_events) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let (kms, kms_key) = Kms::open(&dir)?;
        let ses = Ses::open(&dir, clock.clone(), &senders, configuration_sets, bus)?;
        let sqs = Sqs::open(&dir, clock.clone(), &Template::deployed().queues)?;
        let (dynamodb, database) = DynamoDb::start(&dir, &mut tasks).await?;
        let services = Services {
            faults: faults.clone(),
            dynamodb,
            kms,
            secrets_manager: SecretsManager::new(secrets),
            ses: ses.clone(),
            sqs: sqs.clone(),
        };
        let router = Router::new().fallback(answer).layer(DefaultBodyLimit::disable()).with_state(services);
        tasks.spawn(faults::serve(listener, router, Faulty { faults, name, clock, throttled }));
        Ok((Self { kms_key, database, ses, sqs, _tasks: tasks }, mail_events))
    }

    /// Every mail sent so far, the newest last.
    #[must_use]
    pub fn mailbox(&self) -> Vec<Mail> {
        self.ses.mailbox()
    }

    /// The same mails as they were sent, headers and encodings included.
    #[must_use]
    pub fn raw_mailbox(&self) -> Vec<String> {
        self.ses.raw_mailbox()
    }

    /// The bodies of the messages in a queue of the template, the oldest first, whether anybody works on them or not.
    #[must_use]
    pub fn messages(&self, queue: &str) -> Vec<String> {
        self.sqs.bodies(queue)
    }

    /// The queues, for the poller.
    pub(crate) fn sqs(&self) -> &Sqs {
        &self.sqs
    }

    /// Writes rows in bulk, as an import from S3 does: the indexes follow, and nothing is counted.
    ///
    /// # Errors
    /// When there is no such table or a row lacks its key; then none is written.
    pub fn import(
        &self,
        table: &str,
        rows: impl IntoIterator<Item = HashMap<String, AttributeValue>>,
    ) -> io::Result<()> {
        dynamodb::import(&self.database, table, rows)
    }

    /// The ARN of the key that exists from the start; `alias/tokenward` names it too.
    #[must_use]
    pub fn kms_key(&self) -> &str {
        &self.kms_key
    }
}

#[derive(Clone)]
struct Services {
    faults: Faults,
    dynamodb: DynamoDb,
    kms: Kms,
    secrets_manager: SecretsManager,
    ses: Ses,
    sqs: Sqs,
}

#[derive(Clone, Copy)]
enum Service {
    DynamoDb,
    Kms,
    SecretsManager,
    Ses,
    Sqs,
}

async fn answer(State(services): State<Services>, parts: Parts, body: Bytes) -> Response {
    match operation(&parts, &body) {
        Some((Service::DynamoDb, operation)) => {
            services.dynamodb.forward(&operation, parts, body, &services.faults).await
        }
        Some((Service::Kms, operation)) => json_answer(services.kms.answer(&operation, &body)),
        Some((Service::SecretsManager, operation)) => json_answer(services.secrets_manager.answer(&operation, &body)),
        Some((Service::Ses, operation)) => services.ses.answer(&operation, &body),
        Some((Service::Sqs, operation)) => services.sqs.answer(&operation, &body),
        None => Refusal::unknown_operation("").json(),
    }
}

/// Which operation of which service a request asks for: the JSON services say it in a header, SES
/// in the `Action` of its form.
fn operation(parts: &Parts, body: &[u8]) -> Option<(Service, String)> {
    let Some(target) = parts.headers.get("x-amz-target") else {
        let (_, action) = url::form_urlencoded::parse(body).find(|(name, _)| name == "Action")?;
        return Some((Service::Ses, action.into_owned()));
    };
    let (version, operation) = target.to_str().ok()?.split_once('.')?;
    let service = match version {
        "DynamoDB_20120810" => Service::DynamoDb,
        "TrentService" => Service::Kms,
        "secretsmanager" => Service::SecretsManager,
        "AmazonSQS" => Service::Sqs,
        _ => return None,
    };
    Some((service, operation.to_owned()))
}

fn name(parts: &Parts, body: &[u8]) -> Option<Call> {
    let (service, operation) = operation(parts, body)?;
    let (service, consistent) = match service {
        Service::DynamoDb => ("dynamodb", dynamodb::consistent(&operation, body)),
        Service::Kms => ("kms", None),
        Service::SecretsManager => ("secretsmanager", None),
        Service::Ses => ("ses", None),
        Service::Sqs => ("sqs", None),
    };
    Some(Call { target: format!("{service}/{operation}"), consistent })
}

fn throttled(call: &Call, _now: Timestamp) -> Response {
    match call.target.split('/').next() {
        Some("dynamodb") => {
            Refusal::new("ProvisionedThroughputExceededException", "The level of configured throughput was exceeded.")
                .json()
        }
        Some("ses") => Refusal::new("Throttling", "Maximum sending rate exceeded.").xml(),
        Some("sqs") => sqs::refused(&Refusal::new("RequestThrottled", "The request was denied due to throttling.")),
        _ => Refusal::new("ThrottlingException", "Rate exceeded").json(),
    }
}

/// An error as AWS reports it: always with status 400, since the stand-ins never fail by themselves.
#[derive(Debug)]
struct Refusal {
    code: &'static str,
    message: String,
}

impl Refusal {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    fn unknown_operation(operation: &str) -> Self {
        Self::new("UnknownOperationException", format!("the sandbox does not know the operation '{operation}'"))
    }

    fn json(&self) -> Response {
        json_response(StatusCode::BAD_REQUEST, &json!({ "__type": self.code, "message": self.message }))
    }

    fn xml(&self) -> Response {
        let error = maud::html! {
            ErrorResponse xmlns=(ses::NAMESPACE) {
                Error { Type { "Sender" } Code { (self.code) } Message { (self.message) } }
            }
        };
        (StatusCode::BAD_REQUEST, [(CONTENT_TYPE, "text/xml")], error.into_string()).into_response()
    }
}

fn json_answer(result: Result<Value, Refusal>) -> Response {
    match result {
        Ok(output) => json_response(StatusCode::OK, &output),
        Err(refusal) => refusal.json(),
    }
}

fn json_response(status: StatusCode, body: &Value) -> Response {
    (status, [(CONTENT_TYPE, "application/x-amz-json-1.1")], body.to_string()).into_response()
}

/// Reads the parameters of a JSON operation.
fn input<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::new("ValidationException", error.to_string()))
}
