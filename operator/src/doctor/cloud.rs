//! What is seen at AWS: tables, key, secret, mail, queues.

use std::{collections::BTreeSet, error::Error};

use aws_sdk_dynamodb::{
    error::{ProvideErrorMetadata, SdkError},
    types::{PointInTimeRecoveryStatus, TableDescription, TimeToLiveStatus},
};
use aws_sdk_kms::types::{DataKeySpec, KeyState};
use aws_sdk_ses::types::VerificationStatus;
use aws_sdk_sqs::types::QueueAttributeName;
use shared::{apps::AppsError, profile::Network, profile::TokenKind};

use super::Finding;
use crate::deployment::{Deployment, Facts};

/// An account that mails no more a day is still in the sandbox of SES.
const SANDBOX_QUOTA: f64 = 200.0;

/// What a table must be (`template.yaml`).
struct Expected {
    about: &'static str,
    name: fn(&Facts) -> &str,
    keys: &'static [&'static str],
    indexes: &'static [&'static str],
    expires: bool,
    kept: bool,
}

const TABLES: [Expected; 3] = [
    Expected {
        about: "table vault",
        name: |facts| &facts.vault_table,
        keys: &["pk", "sk"],
        indexes: &["by_account", "by_tenant", "due", "pool"],
        expires: true,
        kept: true,
    },
    Expected {
        about: "table flows",
        name: |facts| &facts.flows_table,
        keys: &["id"],
        indexes: &["by_account", "due"],
        expires: true,
        kept: false,
    },
    Expected {
        about: "table keys",
        name: |facts| &facts.keys_table,
        keys: &["tenant", "version"],
        indexes: &[],
        expires: false,
        kept: true,
    },
];

const DEPLOY: &str = "Deploy template.yaml again: it makes and sets the tables as they have to be.";

/// Why an answer is missing; with the code, because "not allowed" and "not there" are mended differently.
fn why<E>(error: &SdkError<E>) -> String
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error.as_service_error().and_then(ProvideErrorMetadata::code) {
        Some(code) => format!("AWS says {code}"),
        None => "AWS does not answer".to_owned(),
    }
}

/// Whether the tables are there, as the code needs them, and safe.
pub(super) async fn tables(deployment: &Deployment) -> Vec<Finding> {
    let dynamodb = aws_sdk_dynamodb::Client::new(&deployment.aws);
    let mut findings = Vec::new();
    for expected in TABLES {
        let (about, name) = (expected.about, (expected.name)(&deployment.facts));
        let described = match dynamodb.describe_table().table_name(name).send().await {
            Ok(answer) => answer.table,
            Err(error) => {
                findings.push(Finding::problem(about, format!("{name}: {}", why(&error)), DEPLOY));
                continue;
            }
        };
        let Some(table) = described else { continue };
        let wrong = expected.differs(&table);
        findings.push(match wrong {
            Some(wrong) => Finding::problem(about, format!("{name} {wrong}"), DEPLOY),
            None => Finding::well(about, format!("{name} is there with its keys and indexes")),
        });
        if expected.kept && table.deletion_protection_enabled == Some(false) {
            findings.push(Finding::warning(about, format!("{name} can be deleted by mistake"), DEPLOY));
        }
        if expected.expires {
            let asked = dynamodb.describe_time_to_live().table_name(name).send().await;
            let on = asked.map(|answer| answer.time_to_live_description);
            findings.push(match on {
                Ok(Some(ttl)) if ttl.time_to_live_status == Some(TimeToLiveStatus::Enabled) => {
                    Finding::well(about, "what is over is deleted by TTL")
                }
                Ok(_) => Finding::warning(about, format!("{name} has no TTL: what is over stays and costs"), DEPLOY),
                Err(error) => Finding::unknown(about, format!("whether TTL is on: {}", why(&error))),
            });
        }
        if expected.kept {
            let asked = dynamodb.describe_continuous_backups().table_name(name).send().await;
            let on = asked.map(|answer| {
                let described = answer.continuous_backups_description?.point_in_time_recovery_description?;
                described.point_in_time_recovery_status
            });
            findings.push(match on {
                Ok(Some(PointInTimeRecoveryStatus::Enabled)) => {
                    Finding::well(about, "it can be restored to any second")
                }
                Ok(_) => Finding::problem(about, format!("{name} cannot be restored: recovery is off"), DEPLOY),
                Err(error) => Finding::unknown(about, format!("whether it can be restored: {}", why(&error))),
            });
        }
    }
    findings
}

impl Expected {
    /// What is not as it has to be.
    fn differs(&self, table: &TableDescription) -> Option<String> {
        let keys: Vec<_> = table.key_schema().iter().map(|key| key.attribute_name.as_str()).collect();
        if keys != self.keys {
            return Some(format!("has the keys {keys:?} and not {:?}", self.keys));
        }
        let there: BTreeSet<_> =
            table.global_secondary_indexes().iter().filter_map(|index| index.index_name()).collect();
        let missing: Vec<_> = self.indexes.iter().filter(|index| !there.contains(**index)).collect();
        (!missing.is_empty()).then(|| format!("lacks the indexes {missing:?}"))
    }
}

/// Whether the key wraps and unwraps for this stage, and for no other.
pub(super) async fn key(deployment: &Deployment) -> Vec<Finding> {
    let (about, kms, id) = ("key", aws_sdk_kms::Client::new(&deployment.aws), deployment.facts.kms_key.as_str());
    let mut findings = Vec::new();
    match kms.describe_key().key_id(id).send().await {
        Ok(answer) => {
            let state = answer.key_metadata.and_then(|key| key.key_state);
            findings.push(match state {
                Some(KeyState::Enabled) => Finding::well(about, "it is enabled"),
                Some(KeyState::Disabled) => {
                    let mend = "Enable it in KMS. Until then nothing can be opened but what is in memory.";
                    Finding::problem(about, "it is disabled", mend)
                }
                Some(KeyState::PendingDeletion) => {
                    let mend = "Cancel its deletion in KMS now: with the key every token is lost for good.";
                    Finding::problem(about, "it is about to be deleted", mend)
                }
                other => Finding::unknown(about, format!("its state is {other:?}")),
            });
        }
        Err(error) => findings.push(Finding::unknown(about, format!("its state: {}", why(&error)))),
    }
    findings.push(match kms.get_key_rotation_status().key_id(id).send().await {
        Ok(answer) if answer.key_rotation_enabled => Finding::well(about, "KMS rotates it every year"),
        Ok(_) => Finding::warning(about, "KMS does not rotate it", DEPLOY),
        Err(error) => Finding::unknown(about, format!("whether KMS rotates it: {}", why(&error))),
    });
    findings.push(round(&kms, id, &deployment.facts.stage).await);
    findings
}

/// Wraps a key that is thrown away, and unwraps it: here, and as another stage.
async fn round(kms: &aws_sdk_kms::Client, id: &str, stage: &str) -> Finding {
    let about = "key";
    let context =
        |stage: &str| [("stage", stage), ("tenant", "-"), ("version", "0")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    let made = kms
        .generate_data_key_without_plaintext()
        .key_id(id)
        .key_spec(DataKeySpec::Aes256)
        .set_encryption_context(Some(context(stage).into()))
        .send()
        .await;
    let mend = "Look at the key's policy and at your own: the output OperatorPolicy is what you need.";
    let wrapped = match made {
        Ok(made) => made.ciphertext_blob,
        Err(error) => {
            return Finding::problem(about, format!("it wraps nothing for stage {stage}: {}", why(&error)), mend);
        }
    };
    let unwrap = async |stage: &str| {
        let decrypt = kms.decrypt().key_id(id).set_ciphertext_blob(wrapped.clone());
        decrypt.set_encryption_context(Some(context(stage).into())).send().await
    };
    if let Err(error) = unwrap(stage).await {
        return Finding::problem(about, format!("it does not unwrap what it wrapped: {}", why(&error)), mend);
    }
    match unwrap(&format!("not-{stage}")).await {
        Err(SdkError::ServiceError(_)) => Finding::well(about, format!("it works for stage {stage} and for no other")),
        Err(error) => Finding::unknown(about, format!("whether it works for another stage: {}", why(&error))),
        Ok(_) => Finding::problem(about, "it unwraps for another stage what was wrapped for this one", mend),
    }
}

/// Whether there is an app for every network.
pub(super) async fn apps(deployment: &Deployment) -> Vec<Finding> {
    let about = "apps";
    let apps = match deployment.apps().all().await {
        Ok(apps) => apps,
        Err(AppsError::Unavailable(_)) => {
            return vec![Finding::unknown(about, "Secrets Manager does not answer, or not you")];
        }
        Err(error) => {
            let mend = "Write the document that the README describes into the secret (output AppsSecret).";
            return vec![Finding::problem(about, error.to_string(), mend)];
        }
    };
    let mend = "Register an app at the network and add it to the secret, if you use the network.";
    Network::ALL
        .into_iter()
        .map(|network| {
            let of_network: Vec<_> = apps.iter().filter(|app| app.network == network).collect();
            let connecting = |kind: TokenKind| of_network.iter().find(|app| app.tokens.contains(&kind));
            match (connecting(TokenKind::Acquisition), connecting(TokenKind::Interaction)) {
                (None, None) => Finding::warning(about, format!("none connects {}", network.title()), mend),
                (Some(one), Some(other)) if one.client_id != other.client_id => {
                    Finding::well(about, format!("{}: acquisition has an app of its own", network.title()))
                }
                _ => Finding::well(about, format!("{}: {}", network.title(), count(of_network.len(), "app"))),
            }
        })
        .collect()
}

/// Whether mails leave.
pub(super) async fn mail(deployment: &Deployment) -> Vec<Finding> {
    let (about, ses, sender) = ("mail", aws_sdk_ses::Client::new(&deployment.aws), deployment.facts.mail_from.as_str());
    let domain = sender.split_once('@').map_or(sender, |(_, domain)| domain);
    let asked = ses.get_identity_verification_attributes().identities(sender).identities(domain).send().await;
    let mut findings = vec![match asked {
        Ok(answer) => {
            let verified = |identity: &str| {
                let attributes = answer.verification_attributes().get(identity);
                attributes.is_some_and(|known| *known.verification_status() == VerificationStatus::Success)
            };
            if verified(sender) || verified(domain) {
                Finding::well(about, format!("{sender} may send"))
            } else {
                let mend = "Verify the address or its domain as an identity of SES in this region.";
                Finding::problem(about, format!("neither {sender} nor its domain is verified"), mend)
            }
        }
        Err(error) => Finding::unknown(about, format!("whether {sender} may send: {}", why(&error))),
    }];
    findings.push(match ses.get_account_sending_enabled().send().await {
        Ok(answer) if answer.enabled => Finding::well(about, "sending is not paused"),
        Ok(_) => {
            let mend = "Look into SES why it was paused (bounces, complaints), and enable sending again.";
            Finding::problem(about, "sending is paused for this account", mend)
        }
        Err(error) => Finding::unknown(about, format!("whether sending is paused: {}", why(&error))),
    });
    findings.push(match ses.get_send_quota().send().await {
        Ok(quota) if quota.max24_hour_send <= SANDBOX_QUOTA => {
            let says = format!(
                "{} mails a day: SES is in its sandbox and reaches verified addresses alone",
                quota.max24_hour_send
            );
            Finding::warning(about, says, "Ask for production access in SES.")
        }
        Ok(quota) => {
            Finding::well(about, format!("{} of {} mails sent today", quota.sent_last24_hours, quota.max24_hour_send))
        }
        Err(error) => Finding::unknown(about, format!("how many mails may be sent: {}", why(&error))),
    });
    findings
}

const SPILLED: &str = "Find out in the log of spill-reader why, then move the messages back with an SQS redrive.";
const UNDONE: &str = "Find out in the log of expiry-sweep why, then move the messages back with an SQS redrive.";
const MISSED: &str = "The scheduler could not invoke expiry-sweep. Look why (role, throttles), then purge them: later ticks made up for it.";

/// Whether something waits that should not.
pub(super) async fn queues(deployment: &Deployment) -> Vec<Finding> {
    let sqs = aws_sdk_sqs::Client::new(&deployment.aws);
    let facts = &deployment.facts;
    let mut findings = Vec::new();
    for (about, queue, what, given_up) in [
        ("spill queue", &facts.spill_queue, "new grant", None),
        ("spilled", &facts.spilled_for_good, "new grant", Some(SPILLED)),
        ("due queue", &facts.due_queue, "errand", None),
        ("due for good", &facts.due_for_good, "errand", Some(UNDONE)),
        ("missed ticks", &facts.missed_ticks, "tick", Some(MISSED)),
    ] {
        let count_of = QueueAttributeName::ApproximateNumberOfMessages;
        let asked = sqs.get_queue_attributes().queue_url(queue).attribute_names(count_of.clone()).send().await;
        let waiting = asked.map(|answer| answer.attributes().and_then(|all| all.get(&count_of)?.parse::<u64>().ok()));
        findings.push(match waiting {
            Ok(Some(0)) => Finding::well(about, "empty"),
            Ok(Some(waiting)) => {
                let waits = "They are worked off within minutes; if not, look at the function's errors.";
                given_up.map_or_else(
                    || Finding::warning(about, format!("{} waiting", count(waiting, what)), waits),
                    |mend| Finding::problem(about, format!("{} given up", count(waiting, what)), mend),
                )
            }
            Ok(None) => Finding::unknown(about, "AWS does not say how many wait"),
            Err(error) => Finding::unknown(about, format!("how many wait: {}", why(&error))),
        });
    }
    findings
}

fn count(number: impl TryInto<u64>, of: &str) -> String {
    match number.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {of}"),
        number => format!("{number} {of}s"),
    }
}
