//! The spill queue's reader: puts answers of networks where they belong that could not be stored when they came.
//!
//! A message is the only copy of a grant, so it leaves the queue only when the grant is in a table: committed, kept as a
//! candidate, or left to be revoked because its token is gone or was signed in for anew. Doing it twice changes nothing.
//! Nothing is opened here; this function cannot read a secret.

use serde::{Deserialize, Serialize};
use shared::{
    clock::Clock,
    edge::{
        Fatal,
        queue::{Failed, Record},
    },
    metrics::{self, Metric},
    network::Reach,
    spill::Spilled,
    store::{
        StoreError,
        flows::{Flows, Revocation},
        profiles::Vault,
        renewals::Placed,
    },
};

/// Everything that this function can reach; the same list as its IAM statements.
pub struct SpillReader {
    /// The tokens.
    pub vault: Vault,
    /// Where a grant is left to be revoked.
    pub flows: Flows,
    /// The time.
    pub clock: Clock,
}

/// Messages as SQS hands them to a function.
#[derive(Deserialize)]
struct Batch {
    #[serde(rename = "Records")]
    records: Vec<Record>,
}

/// Which messages stay in the queue (`ReportBatchItemFailures`).
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    batch_item_failures: Vec<Failed>,
}

impl SpillReader {
    /// One invocation: a batch of messages in, those out that are to be tried again.
    ///
    /// # Errors
    /// When the event is no batch of messages.
    pub async fn invoke(&self, event: serde_json::Value) -> Result<serde_json::Value, Fatal> {
        let batch: Batch = serde_json::from_value(event)?;
        let mut kept = Kept::default();
        for Record { message_id, body } in batch.records {
            let Ok(spilled) = Spilled::read(&body) else {
                tracing::error!(message = %message_id, "a message of the spill queue cannot be read; it stays there");
                kept.batch_item_failures.push(Failed { item_identifier: message_id });
                continue;
            };
            match self.put_back(&spilled).await {
                Ok(what) => {
                    tracing::warn!(tenant = %spilled.key.tenant, profile = %spilled.key.profile, "{what}");
                    let network = spilled.key.profile.kind().network();
                    metrics::record(self.clock.now(), Some(network), [(Metric::GrantsPlaced, 1)]);
                }
                Err(error) => {
                    tracing::error!(tenant = %spilled.key.tenant, profile = %spilled.key.profile, %error,
                        "a spilled grant cannot be stored yet");
                    kept.batch_item_failures.push(Failed { item_identifier: message_id });
                }
            }
        }
        Ok(serde_json::to_value(kept)?)
    }

    async fn put_back(&self, spilled: &Spilled) -> Result<&'static str, StoreError> {
        let Spilled { key, connected_at, renewed, .. } = spilled;
        let held = self.vault.token(key).await?.filter(|held| held.token.connected_at == *connected_at);
        let placed = match &held {
            Some(held) => self.vault.place(key, held, renewed).await?,
            None => Placed::Replaced,
        };
        match placed {
            Placed::Committed(_) => Ok("a spilled grant is the token's now"),
            Placed::Kept(_) => Ok("a spilled grant is kept as a candidate"),
            Placed::Replaced => self.let_go(spilled).await,
        }
    }

    /// The grant is nobody's: it is left to be revoked where that ends nothing else.
    async fn let_go(&self, spilled: &Spilled) -> Result<&'static str, StoreError> {
        let network = spilled.key.profile.kind().network();
        if network.provider().revocation_reach() != Reach::Grant {
            return Ok("a spilled grant is nobody's any more");
        }
        let grant = spilled.renewed.grant.clone();
        let revocation = Revocation::new(network, &spilled.app, &spilled.login, grant);
        self.flows.leave(&revocation, self.clock.now()).await?;
        Ok("a spilled grant is nobody's any more and will be revoked")
    }
}
