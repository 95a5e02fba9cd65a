//! The apps: the OAuth clients registered at the networks, from one secret in Secrets Manager.
//!
//! The secret is a JSON document, a list of apps:
//! `[{"network":"x","client_id":"…","client_secret":"…","tokens":["interaction"]}, …]`. The first
//! app that is for a token is used to connect it; a token remembers its app by `client_id`, so
//! that another app can be put first without stranding what the older one granted. An app of X has
//! its `consumer_secret` beside these where its events are to be heard.

use std::{fmt, sync::Arc, time::Duration};

use aws_sdk_secretsmanager as secretsmanager;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::{
    clock::Clock,
    profile::{Network, TokenKind},
};

/// How long a copy of the secret is used before it is read again.
const FRESH: SignedDuration = SignedDuration::from_mins(5);
/// How often the secret is read at most because a network refused an app, so that one that is wrong at the
/// network is not read for every request.
const REREAD_PAUSE: SignedDuration = SignedDuration::from_mins(1);

/// An OAuth client (RFC 6749 §2.2).
#[derive(Clone)]
pub struct App {
    /// Where it is registered.
    pub network: Network,
    /// RFC 6749 §2.2.
    pub client_id: String,
    /// RFC 6749 §2.3.1.
    pub client_secret: SecretString,
    /// What the network signs events with, where that is another secret (X).
    pub consumer_secret: Option<SecretString>,
    /// The version of the Graph API to speak, where the network is Meta's.
    pub graph_version: String,
    /// Which tokens it connects.
    pub tokens: Vec<TokenKind>,
}

impl App {
    /// What the network signs its events to this app with.
    #[must_use]
    pub fn event_secret(&self) -> &SecretString {
        self.consumer_secret.as_ref().unwrap_or(&self.client_secret)
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "App({} {})", self.network, self.client_id)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    network: Network,
    client_id: String,
    client_secret: SecretString,
    #[serde(default)]
    consumer_secret: Option<SecretString>,
    #[serde(default = "both")]
    tokens: Vec<TokenKind>,
}

fn both() -> Vec<TokenKind> {
    TokenKind::ALL.to_vec()
}

/// Why there is no app to work with.
#[derive(Debug, thiserror::Error)]
pub enum AppsError {
    /// Secrets Manager did not answer and there is no copy.
    #[error("the app credentials cannot be read now")]
    Unavailable(#[source] Box<secretsmanager::Error>),
    /// There is no such secret: an operator has to act.
    #[error("there is no secret with the app credentials")]
    NoSecret(#[source] Box<secretsmanager::Error>),
    /// The secret is not the document that is described here.
    #[error("the secret with the app credentials is not the JSON document that is expected")]
    Malformed,
    /// No app is configured for this.
    #[error("no app is configured for {0}")]
    Missing(Network),
}

/// The configured apps, read from Secrets Manager and kept for five minutes.
#[derive(Clone)]
pub struct Apps {
    client: secretsmanager::Client,
    secret: Arc<str>,
    graph_version: Arc<str>,
    clock: Clock,
    kept: Arc<Mutex<Kept>>,
}

/// What this process knows of the secret.
#[derive(Default)]
struct Kept {
    copy: Option<Snapshot>,
    reread_at: Option<Timestamp>,
}

struct Snapshot {
    apps: Arc<[App]>,
    since: Timestamp,
}

impl Apps {
    /// The apps in the secret with this name or ARN.
    #[must_use]
    pub fn new(aws: &aws_config::SdkConfig, secret: &str, graph_version: &str, clock: Clock) -> Self {
        let timeouts = aws_config::timeout::TimeoutConfig::builder().operation_timeout(Duration::from_secs(4));
        let config = secretsmanager::config::Builder::from(aws)
            .timeout_config(timeouts.build())
            .retry_partition(secretsmanager::config::retry::RetryPartition::custom("apps").build());
        Self {
            client: secretsmanager::Client::from_conf(config.build()),
            secret: secret.into(),
            graph_version: graph_version.into(),
            clock,
            kept: Arc::default(),
        }
    }

    /// The app to connect a token of `network` with.
    ///
    /// # Errors
    /// When the secret cannot be read or has no such app.
    pub async fn for_connecting(&self, network: Network, token: TokenKind) -> Result<App, AppsError> {
        self.find(network, |app| app.tokens.contains(&token)).await
    }

    /// Every app of these networks, in the order of the secret.
    ///
    /// # Errors
    /// When the secret cannot be read.
    pub async fn of(&self, networks: &[Network]) -> Result<Vec<App>, AppsError> {
        let apps = self.all().await?;
        Ok(apps.iter().filter(|app| networks.contains(&app.network)).cloned().collect())
    }

    /// The app that a token came from.
    ///
    /// # Errors
    /// When the secret cannot be read or no longer has that app.
    pub async fn by_client_id(&self, network: Network, client_id: &str) -> Result<App, AppsError> {
        self.find(network, |app| app.client_id == client_id).await
    }

    /// Reads the secret once more for an app whose credentials the network refused: the app as it is now,
    /// if its client secret is another. It is read at most once a minute, whoever asks.
    ///
    /// # Errors
    /// When the secret cannot be read; the copy that there was is used on.
    pub async fn reread(&self, refused: &App) -> Result<Option<App>, AppsError> {
        let changed = |copy: &Snapshot| {
            let mut apps = copy.apps.iter().filter(|app| app.network == refused.network);
            let app = apps.find(|app| app.client_id == refused.client_id)?;
            let same = app.client_secret.expose_secret() == refused.client_secret.expose_secret();
            (!same).then(|| app.clone())
        };
        let now = self.clock.now();
        let mut kept = self.kept.lock().await;
        if let Some(app) = kept.copy.as_ref().and_then(changed) {
            return Ok(Some(app));
        }
        if kept.reread_at.is_some_and(|at| now.duration_since(at) < REREAD_PAUSE) {
            return Ok(None);
        }
        kept.reread_at = Some(now);
        let copy = Snapshot { apps: self.read().await?, since: now };
        Ok(changed(kept.copy.insert(copy)))
    }

    async fn find(&self, network: Network, wanted: impl Fn(&App) -> bool) -> Result<App, AppsError> {
        let apps = self.all().await?;
        let mut of_network = apps.iter().filter(|app| app.network == network);
        of_network.find(|app| wanted(app)).cloned().ok_or(AppsError::Missing(network))
    }

    /// Every app, in the order of the document.
    ///
    /// # Errors
    /// When the secret cannot be read.
    pub async fn all(&self) -> Result<Arc<[App]>, AppsError> {
        let now = self.clock.now();
        let mut kept = self.kept.lock().await;
        if let Some(copy) = kept.copy.as_ref().filter(|copy| now.duration_since(copy.since) < FRESH) {
            return Ok(Arc::clone(&copy.apps));
        }
        match self.read().await {
            Ok(apps) => {
                kept.copy = Some(Snapshot { apps: Arc::clone(&apps), since: now });
                Ok(apps)
            }
            // an older copy is better than none while Secrets Manager is down
            Err(AppsError::Unavailable(error)) => match &kept.copy {
                Some(copy) => {
                    tracing::warn!(%error, "using an older copy of the app credentials");
                    Ok(Arc::clone(&copy.apps))
                }
                None => Err(AppsError::Unavailable(error)),
            },
            Err(error) => Err(error),
        }
    }

    async fn read(&self) -> Result<Arc<[App]>, AppsError> {
        let answer = self.client.get_secret_value().secret_id(&*self.secret).send().await;
        let answer = answer.map_err(|error| match secretsmanager::Error::from(error) {
            missing @ secretsmanager::Error::ResourceNotFoundException(_) => AppsError::NoSecret(Box::new(missing)),
            other => AppsError::Unavailable(Box::new(other)),
        })?;
        let document = SecretString::from(answer.secret_string.ok_or(AppsError::Malformed)?);
        self.parse(&document)
    }

    fn parse(&self, document: &SecretString) -> Result<Arc<[App]>, AppsError> {
        // serde's message may quote a secret, so it is dropped
        let entries: Vec<Entry> = serde_json::from_str(document.expose_secret()).map_err(|_| AppsError::Malformed)?;
        let told = |secret: &SecretString| !secret.expose_secret().is_empty();
        let complete = |entry: &Entry| {
            !entry.client_id.is_empty() && told(&entry.client_secret) && entry.consumer_secret.iter().all(told)
        };
        if !entries.iter().all(complete) {
            return Err(AppsError::Malformed);
        }
        let graph_version = self.graph_version.to_string();
        let apps = entries.into_iter().map(|entry| App {
            network: entry.network,
            client_id: entry.client_id,
            client_secret: entry.client_secret,
            consumer_secret: entry.consumer_secret,
            graph_version: graph_version.clone(),
            tokens: entry.tokens,
        });
        Ok(apps.collect())
    }
}
