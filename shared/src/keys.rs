//! The tenants' keys: made and unwrapped by KMS, stored wrapped, held in memory for minutes.
//!
//! Each tenant has its own key, in versions; the newest seals, every one still opens. The table holds
//! nothing but what KMS wrapped, and KMS unwraps it for the stage, tenant and version alone that it was
//! made for, so a row copied to another tenant is worthless.
//!
//! Two invariants bound what is held unwrapped. Never more than [`CAPACITY`] keys; and none older than
//! [`HARD_LIMIT`]: after that time a tenant whose keys were deleted is unreadable everywhere. A key
//! past [`SOFT_LIMIT`] is asked for again, and serves on only while nobody can be asked.

use std::{
    collections::HashMap,
    error::Error,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_config::{SdkConfig, timeout::TimeoutConfig};
use aws_sdk_dynamodb::{config::retry::RetryPartition, operation::put_item::PutItemError, types::AttributeValue};
use aws_sdk_kms::{
    error::{ProvideErrorMetadata, SdkError},
    operation::decrypt::DecryptError,
    primitives::Blob,
    types::DataKeySpec,
};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    clock::Clock,
    metrics::{self, Metric},
    random::Random,
    seal::{Place, Sealed, TenantKey, Unsealable},
};

mod held;
mod life;

use held::{Held, Wanted};
pub use life::{Rotated, Shredded, Standing};

/// After this time a key is asked for again.
pub const SOFT_LIMIT: SignedDuration = SignedDuration::from_mins(5);
/// After this time a key is forgotten, whatever else is down.
pub const HARD_LIMIT: SignedDuration = SignedDuration::from_mins(15);
/// How many unwrapped keys are held at most.
pub const CAPACITY: usize = 1_000;

/// The version of a tenant's first key.
const FIRST: u32 = 1;

/// Where keys are kept and what wraps them.
#[derive(Clone, Debug)]
pub struct KeysConfig {
    /// The table of the wrapped keys.
    pub table: String,
    /// The KMS key that wraps them: id, ARN or alias.
    pub kms_key: String,
    /// The deployment's stage; a key that was made in one stage is worthless in another.
    pub stage: String,
}

/// Why there is no key, or why a secret does not open.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// KMS or the table does not answer. Later it may: nothing is lost.
    #[error("the tenant's key is out of reach for now")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// KMS or the table refuses: the KMS key is disabled, say, or a permission is missing. An operator has to act.
    #[error("the tenant's key is refused")]
    Refused(#[source] Box<dyn Error + Send + Sync>),
    /// The secret or its wrapped key was tampered with or moved, or the tenant's key was deleted.
    #[error(transparent)]
    Unsealable(#[from] Unsealable),
    /// The tenant was shredded: its keys are gone for good, and it gets no new one before an operator opens it again.
    #[error("the tenant was shredded: what it had sealed is gone for good")]
    Shredded,
}

impl KeysError {
    /// Keeps of an SDK's error its source alone: the rest of it holds the raw answer.
    fn new<E>(error: SdkError<E>) -> Self
    where
        E: Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let refused = match &error {
            SdkError::ServiceError(answer) => {
                let throttled =
                    answer.err().code().is_some_and(|code| code.contains("Throttl") || code.contains("Exceeded"));
                !throttled && answer.raw().status().is_client_error()
            }
            _ => false,
        };
        let source = error.into_source().unwrap_or_else(Into::into);
        if refused { Self::Refused(source) } else { Self::Unavailable(source) }
    }
}

/// The keys of all tenants.
pub struct TenantKeys {
    dynamodb: aws_sdk_dynamodb::Client,
    kms: aws_sdk_kms::Client,
    config: KeysConfig,
    clock: Clock,
    random: Random,
    held: Mutex<Held>,
}

impl TenantKeys {
    /// Reaches the table and KMS, each well within a function's budget; holds no key yet.
    #[must_use]
    pub fn new(aws: &SdkConfig, config: KeysConfig, clock: Clock, random: Random) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(1))
            .operation_attempt_timeout(Duration::from_secs(2))
            .operation_timeout(Duration::from_secs(5))
            .build();
        let dynamodb = aws_sdk_dynamodb::config::Builder::from(aws)
            .timeout_config(timeouts.clone())
            .retry_partition(RetryPartition::custom("keys").build());
        let kms = aws_sdk_kms::config::Builder::from(aws)
            .timeout_config(timeouts)
            .retry_partition(RetryPartition::custom("kms").build());
        let dynamodb = aws_sdk_dynamodb::Client::from_conf(dynamodb.build());
        Self::with_clients(dynamodb, aws_sdk_kms::Client::from_conf(kms.build()), config, clock, random)
    }

    /// Reaches the table and KMS through these clients; holds no key yet.
    #[must_use]
    pub fn with_clients(
        dynamodb: aws_sdk_dynamodb::Client,
        kms: aws_sdk_kms::Client,
        config: KeysConfig,
        clock: Clock,
        random: Random,
    ) -> Self {
        Self { dynamodb, kms, config, clock, random, held: Mutex::default() }
    }

    /// Seals `secret` for `place` under the newest key of its tenant.
    ///
    /// # Errors
    /// As [`TenantKeys::current`].
    pub async fn seal(&self, place: &Place<'_>, secret: &SecretString) -> Result<Sealed, KeysError> {
        Ok(self.sealer(place.tenant).await?.seal(place, secret))
    }

    /// The tenant's newest key in hand: whoever will have to seal what cannot be asked for twice takes it before
    /// asking, and holds it until it is sealed.
    ///
    /// # Errors
    /// As [`TenantKeys::current`].
    pub async fn sealer(&self, tenant: &str) -> Result<Sealer, KeysError> {
        Ok(Sealer { key: self.current(tenant).await?, random: self.random.clone() })
    }

    /// Opens what was sealed for `place`, under whichever version of the key.
    ///
    /// # Errors
    /// As [`TenantKeys::version`]; or it was not sealed for this place.
    pub async fn open(&self, place: &Place<'_>, sealed: &Sealed) -> Result<SecretString, KeysError> {
        let key = self.version(place.tenant, sealed.key_version()?).await?;
        let plaintext = key.open(place, sealed)?;
        Ok(str::from_utf8(&plaintext).map_err(|_| Unsealable)?.into())
    }

    /// The key to seal with: the tenant's newest, made now if it is the first.
    ///
    /// # Errors
    /// KMS or the table is out of reach or refuses, or the stored key was tampered with.
    pub async fn current(&self, tenant: &str) -> Result<Arc<TenantKey>, KeysError> {
        self.key(tenant, Wanted::Newest).await
    }

    /// The key to open with.
    ///
    /// # Errors
    /// As [`TenantKeys::current`]; [`KeysError::Unsealable`] when there is no such version (any more).
    pub async fn version(&self, tenant: &str, version: u32) -> Result<Arc<TenantKey>, KeysError> {
        self.key(tenant, Wanted::Version(version)).await
    }

    async fn key(&self, tenant: &str, wanted: Wanted) -> Result<Arc<TenantKey>, KeysError> {
        let asked = self.clock.now();
        if let Some(key) = self.held().get(tenant, wanted, asked, SOFT_LIMIT) {
            return Ok(key);
        }
        match self.fetch(tenant, wanted).await {
            Ok(key) => {
                let key = Arc::new(key);
                self.held().put(tenant, wanted, Arc::clone(&key), asked);
                Ok(key)
            }
            Err(KeysError::Unavailable(source)) => {
                metrics::record(asked, None, [(Metric::KeysUnavailable, 1)]);
                let stale = self.held().get(tenant, wanted, self.clock.now(), HARD_LIMIT);
                stale.ok_or(KeysError::Unavailable(source))
            }
            Err(gone) => {
                if let KeysError::Refused(_) = gone {
                    metrics::record(asked, None, [(Metric::KeysRefused, 1)]);
                }
                self.held().forget(tenant);
                Err(gone)
            }
        }
    }

    async fn fetch(&self, tenant: &str, wanted: Wanted) -> Result<TenantKey, KeysError> {
        let stored = match (self.read(tenant, wanted).await?, wanted) {
            (None, Wanted::Newest) => {
                self.store(&self.make(tenant, FIRST).await?).await?;
                // whoever else made the first one at this moment: what is stored now is the tenant's key
                self.read(tenant, wanted).await?
            }
            // the row that a shredded tenant is left with stands above its versions
            (None, Wanted::Version(_)) => self.read(tenant, Wanted::Newest).await?.filter(Row::is_tombstone),
            (stored, _) => stored,
        };
        self.unwrap(stored.ok_or(Unsealable)?).await
    }

    async fn read(&self, tenant: &str, wanted: Wanted) -> Result<Option<Row>, KeysError> {
        let query = self.dynamodb.query().table_name(&self.config.table).consistent_read(true);
        let query = query.expression_attribute_values(":tenant", AttributeValue::S(tenant.to_owned()));
        let query = match wanted {
            Wanted::Newest => query.key_condition_expression("tenant = :tenant").scan_index_forward(false).limit(1),
            Wanted::Version(version) => query
                .key_condition_expression("tenant = :tenant AND version = :version")
                .expression_attribute_values(":version", AttributeValue::N(version.to_string())),
        };
        let rows = query.send().await.map_err(KeysError::new)?.items.unwrap_or_default();
        Ok(rows.into_iter().next().map(serde_dynamo::from_item).transpose().map_err(|_| Unsealable)?)
    }

    /// A new key for this version, wrapped and not stored yet.
    async fn make(&self, tenant: &str, version: u32) -> Result<Row, KeysError> {
        let made = self
            .kms
            .generate_data_key_without_plaintext()
            .key_id(&self.config.kms_key)
            .key_spec(DataKeySpec::Aes256)
            .set_encryption_context(Some(self.context(tenant, version)))
            .send()
            .await
            .map_err(KeysError::new)?;
        let wrapped = made.ciphertext_blob.ok_or_else(|| KeysError::Unavailable("KMS made no key".into()))?;
        let wrapped = Some(wrapped.into_inner());
        Ok(Row { tenant: tenant.to_owned(), version, wrapped, created_at: self.clock.now(), shredded: false })
    }

    /// Stores a row if its version is nobody's yet; tells whether it is stored.
    async fn store(&self, row: &Row) -> Result<bool, KeysError> {
        let put = self
            .dynamodb
            .put_item()
            .table_name(&self.config.table)
            .set_item(Some(serde_dynamo::to_item(row).expect("a row is strings, numbers and bytes")))
            .condition_expression("attribute_not_exists(tenant)")
            .send()
            .await;
        match put {
            Err(lost) if lost.as_service_error().is_some_and(PutItemError::is_conditional_check_failed_exception) => {
                Ok(false)
            }
            put => put.map(|_| true).map_err(KeysError::new),
        }
    }

    async fn unwrap(&self, row: Row) -> Result<TenantKey, KeysError> {
        let wrapped = match row.wrapped {
            Some(wrapped) => wrapped,
            None if row.shredded => return Err(KeysError::Shredded),
            None => return Err(Unsealable.into()),
        };
        let decrypted = self
            .kms
            .decrypt()
            .key_id(&self.config.kms_key)
            .set_encryption_context(Some(self.context(&row.tenant, row.version)))
            .ciphertext_blob(Blob::new(wrapped))
            .send()
            .await
            .map_err(|error| match error.as_service_error() {
                Some(DecryptError::InvalidCiphertextException(_) | DecryptError::IncorrectKeyException(_)) => {
                    Unsealable.into()
                }
                _ => KeysError::new(error),
            })?;
        let key = decrypted.plaintext.ok_or_else(|| KeysError::Unavailable("KMS unwrapped no key".into()))?;
        // the very allocation that the SDK filled, so that zeroizing leaves no copy
        Ok(TenantKey::new(row.version, Zeroizing::new(key.into_inner()))?)
    }

    /// What a wrapped key is bound to. KMS logs it in the clear: identifiers only.
    fn context(&self, tenant: &str, version: u32) -> HashMap<String, String> {
        [("stage", self.config.stage.clone()), ("tenant", tenant.to_owned()), ("version", version.to_string())]
            .map(|(name, value)| (name.to_owned(), value))
            .into()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A tenant's key in hand. Sealing with it cannot fail.
pub struct Sealer {
    key: Arc<TenantKey>,
    random: Random,
}

impl Sealer {
    /// Seals `secret` for `place`, which is one of the tenant that the key is of.
    #[must_use]
    pub fn seal(&self, place: &Place<'_>, secret: &SecretString) -> Sealed {
        self.key.seal(place, secret.expose_secret().as_bytes(), &self.random)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

impl fmt::Debug for TenantKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantKeys").field("config", &self.config).finish_non_exhaustive()
    }
}

/// One version of a tenant's key, as the table holds it, or the tombstone of a shredded tenant: a version without a key,
/// above all that there were, so that whoever asks for the newest finds it and no number is ever used twice.
#[derive(Clone, Serialize, Deserialize)]
struct Row {
    tenant: String,
    version: u32,
    #[serde(with = "serde_bytes", default, skip_serializing_if = "Option::is_none")]
    wrapped: Option<Vec<u8>>,
    created_at: Timestamp,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    shredded: bool,
}

impl Row {
    fn is_tombstone(&self) -> bool {
        self.shredded
    }
}
