//! The way out when the table fails after a network has answered: a queue that keeps the sealed answer.
//!
//! Whatever is sent is sealed already, for its own tenant, token and attempt. The queue is read at least every 30
//! seconds, and each message is kept until it is placed (see [`crate::store::renewals`]).

use std::time::Duration;

use aws_config::{SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_sqs::{Client, config::retry::RetryPartition};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    access::TenantId,
    grant::{GrantPlace, SealedGrant},
    network::Terms,
    profile::ProfileId,
    renewal::Renewed,
    secret::SecretHash,
    store::profiles::TokenKey,
    token::TokenId,
};

/// How long sending an answer may take.
pub const LIMIT: Duration = Duration::from_secs(3);

/// An answer that could not be stored, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spilled {
    /// The token that it is of.
    pub key: TokenKey,
    /// When that token's owner had last signed in: a later sign-in has replaced what is here.
    pub connected_at: Timestamp,
    /// The app that it was granted to.
    pub app: String,
    /// The login that granted it.
    pub login: String,
    /// The answer.
    pub renewed: Renewed,
}

/// Why an answer could not be sent.
#[derive(Debug, thiserror::Error)]
#[error("the spill queue did not take it")]
pub struct NotSpilled(#[source] Box<dyn std::error::Error + Send + Sync>);

/// A message that is no spilled answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is no spilled answer")]
pub struct NoAnswer;

/// The spill queue, to write to.
#[derive(Clone, Debug)]
pub struct Spill {
    client: Client,
    queue: String,
}

impl Spill {
    /// The queue with this URL.
    #[must_use]
    pub fn new(aws: &SdkConfig, queue: &str) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(1))
            .operation_attempt_timeout(Duration::from_secs(1))
            .operation_timeout(LIMIT);
        let config = aws_sdk_sqs::config::Builder::from(aws)
            .timeout_config(timeouts.build())
            .retry_config(RetryConfig::standard().with_max_attempts(3))
            .retry_partition(RetryPartition::custom("spill").build());
        Self { client: Client::from_conf(config.build()), queue: queue.to_owned() }
    }

    /// Sends an answer to be placed later. Sending it twice does no harm.
    ///
    /// # Errors
    /// When the queue does not answer.
    pub async fn send(&self, spilled: &Spilled) -> Result<(), NotSpilled> {
        let body = spilled.to_message().map_err(|error| NotSpilled(error.into()))?;
        let sending = self.client.send_message().queue_url(&self.queue).message_body(body);
        sending.send().await.map(drop).map_err(|error| NotSpilled(error.into()))
    }
}

/// A message of the queue. Bytes are base64: the queue takes text.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    tenant: TenantId,
    profile: ProfileId,
    token: TokenId,
    attempt: u64,
    connected_at: Timestamp,
    app: String,
    login: String,
    answers: SecretHash,
    terms: Terms,
    access_token: String,
    refresh_token: Option<String>,
}

impl Spilled {
    fn to_message(&self) -> Result<String, serde_json::Error> {
        let Self { key, connected_at, app, login, renewed } = self;
        let encode = |sealed: &crate::seal::Sealed| STANDARD.encode(sealed.as_bytes());
        serde_json::to_string(&Message {
            tenant: key.tenant.clone(),
            profile: key.profile.clone(),
            token: key.token.clone(),
            attempt: renewed.grant.place.generation,
            connected_at: *connected_at,
            app: app.clone(),
            login: login.clone(),
            answers: renewed.answers.clone(),
            terms: renewed.terms.clone(),
            access_token: encode(&renewed.grant.access_token),
            refresh_token: renewed.grant.refresh_token.as_ref().map(encode),
        })
    }

    /// Reads a message of the queue.
    ///
    /// # Errors
    /// When it is none that [`Spill::send`] wrote.
    pub fn read(message: &str) -> Result<Self, NoAnswer> {
        let message: Message = serde_json::from_str(message).map_err(|_| NoAnswer)?;
        let decode = |text: &str| STANDARD.decode(text).map(Into::into).map_err(|_| NoAnswer);
        let grant = SealedGrant {
            place: GrantPlace::of(&message.tenant, &message.profile, &message.token, message.attempt),
            access_token: decode(&message.access_token)?,
            refresh_token: message.refresh_token.as_deref().map(decode).transpose()?,
        };
        Ok(Self {
            key: TokenKey { tenant: message.tenant, profile: message.profile, token: message.token },
            connected_at: message.connected_at,
            app: message.app,
            login: message.login,
            renewed: Renewed { answers: message.answers, terms: message.terms, grant },
        })
    }
}
