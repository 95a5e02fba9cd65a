//! E-mail through SES.
//!
//! The message is built by a mail library, as text and HTML side by side. The SDK never repeats a
//! send: an answer that was lost is told as [`SendError::Unanswered`], because whoever asked must
//! decide whether a second mail is better than none.

use std::time::{Duration, SystemTime};

use aws_config::{SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_ses::{
    Client,
    config::Builder,
    error::{ProvideErrorMetadata as _, SdkError},
    primitives::Blob,
    types::{MessageTag, RawMessage},
};
use jiff::Timestamp;
use lettre::{
    Message,
    message::{Mailbox, MultiPart},
};

use crate::access::TenantId;

/// The tag of a mail that names the tenant that it is sent for. A tenant's id is made of what a tag may hold.
pub const TENANT_TAG: &str = "tenant";

/// What a person is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The subject line.
    pub subject: String,
    /// For readers of plain text.
    pub text: String,
    /// For everybody else.
    pub html: String,
}

/// Why a mail was not sent, or may have been.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// An address is none.
    #[error("an address cannot be written to")]
    BadAddress,
    /// SES could not be reached, is throttled or down, and has not taken it: try again later.
    #[error("the mail service does not take it now")]
    Later(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// SES refuses it: an operator has to act.
    #[error("the mail service refuses it")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nobody knows whether it was sent.
    #[error("the mail service did not answer")]
    Unanswered(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Sends mail from one fixed address.
#[derive(Clone, Debug)]
pub struct Mailer {
    client: Client,
    from: Mailbox,
    events: String,
}

/// A sender's address that is none.
#[derive(Debug, thiserror::Error)]
#[error("the sender's address is not an e-mail address")]
pub struct BadSender;

impl Mailer {
    /// Sends from `from`, for example `Tokenward <tokens@example.org>`; what becomes of a mail is told as the
    /// configuration set `events` says.
    ///
    /// # Errors
    /// When `from` is no address.
    pub fn new(aws: &SdkConfig, from: &str, events: &str) -> Result<Self, BadSender> {
        let timeouts =
            TimeoutConfig::builder().connect_timeout(Duration::from_secs(2)).operation_timeout(Duration::from_secs(8));
        let config = Builder::from(aws).timeout_config(timeouts.build()).retry_config(RetryConfig::disabled());
        let from = from.parse().map_err(|_| BadSender)?;
        Ok(Self { client: Client::from_conf(config.build()), from, events: events.to_owned() })
    }

    /// Sends `letter` for `tenant` to `addresses`, who see each other, dated `now`.
    ///
    /// # Errors
    /// Why it was not sent, or may have been.
    pub async fn send(
        &self,
        tenant: &TenantId,
        addresses: &[String],
        letter: &Letter,
        now: Timestamp,
    ) -> Result<(), SendError> {
        let to: Vec<Mailbox> = addresses
            .iter()
            .map(|address| address.parse())
            .collect::<Result<_, _>>()
            .map_err(|_| SendError::BadAddress)?;
        let builder = Message::builder().from(self.from.clone());
        let message = to
            .iter()
            .fold(builder, |builder, to| builder.to(to.clone()))
            .subject(&letter.subject)
            .date(SystemTime::from(now))
            .multipart(MultiPart::alternative_plain_html(letter.text.clone(), letter.html.clone()))
            .map_err(|error| SendError::Refused(Box::new(error)))?;
        let raw = RawMessage::builder().data(Blob::new(message.formatted())).build();
        let raw = raw.map_err(|error| SendError::Refused(Box::new(error)))?;
        let tag = MessageTag::builder().name(TENANT_TAG).value(tenant.as_str()).build();
        let tag = tag.map_err(|error| SendError::Refused(Box::new(error)))?;
        let sending = self
            .client
            .send_raw_email()
            .source(self.from.email.to_string())
            .set_destinations(Some(to.iter().map(|to| to.email.to_string()).collect()))
            .raw_message(raw)
            .configuration_set_name(&self.events)
            .tags(tag)
            .send();
        match sending.await {
            Ok(_) => Ok(()),
            Err(error) => Err(classify(error)),
        }
    }
}

/// Whether not even the connection came about, so that nothing can have been sent.
fn never_connected(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<hyper_util::client::legacy::Error>())
        .any(hyper_util::client::legacy::Error::is_connect)
}

fn classify(error: SdkError<aws_sdk_ses::operation::send_raw_email::SendRawEmailError>) -> SendError {
    match &error {
        SdkError::ConstructionFailure(_) => SendError::Refused(Box::new(error)),
        SdkError::DispatchFailure(failure) if failure.is_user() => SendError::Refused(Box::new(error)),
        SdkError::DispatchFailure(_) if never_connected(&error) => SendError::Later(Box::new(error)),
        SdkError::ServiceError(answer) => {
            let throttled = answer.err().code().is_some_and(|code| code.contains("Throttl"));
            let status = answer.raw().status();
            if throttled || status.as_u16() == 503 {
                SendError::Later(Box::new(error))
            } else if status.is_client_error() {
                SendError::Refused(Box::new(error))
            } else {
                // a success that cannot be read may be one all the same
                SendError::Unanswered(Box::new(error))
            }
        }
        _ => SendError::Unanswered(Box::new(error)),
    }
}
