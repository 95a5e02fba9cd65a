//! Which deployment is meant: what its stack says of itself, and a way to its services.
//!
//! A stack's description (`aws cloudformation describe-stacks`) names everything at once, its parameters and what it
//! made, so that no variable has to be copied by hand and no two of them can be of different stacks. The region is that of
//! the key in it. The sandbox tells the same by its environment door.

use std::collections::BTreeMap;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use shared::{
    apps::Apps,
    clock::Clock,
    keys::{KeysConfig, TenantKeys},
    random::Random,
    store::{Spread, flows::Flows, profiles::Vault},
};
use url::Url;

use crate::web;

/// Why the deployment could not be found.
#[derive(Debug, thiserror::Error)]
pub enum NoDeployment {
    /// The document is not what `describe-stacks` writes.
    #[error(
        "this is no description of one stack: write it with `aws cloudformation describe-stacks --stack-name NAME`"
    )]
    NoStack,
    /// A parameter or an output is missing.
    #[error("the stack is none of Tokenward, or of another version: {0}")]
    Incomplete(#[source] serde_json::Error),
    /// The key's ARN names no region.
    #[error("KmsKey is no ARN, so the region is not known")]
    NoRegion,
    /// The sandbox is reached on this machine alone.
    #[error("a sandbox has an address on loopback, such as http://localhost:8787")]
    NotLoopback,
    /// The sandbox does not answer.
    #[error("no sandbox answers at {0}: start one with `cargo run -p sandbox`")]
    NoSandbox(Url),
}

/// What a stack says of itself; the names are those of `template.yaml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Facts {
    /// Part of every encryption context.
    pub stage: String,
    /// Origin under which browsers reach the API.
    pub public_url: String,
    /// Where browsers may be sent back to.
    pub return_urls: String,
    /// Sender of all mails.
    pub mail_from: String,
    /// Whose access tokens are accepted.
    pub oidc_issuer: String,
    /// Version of Meta's Graph API.
    pub graph_version: String,
    /// Over how many partitions the due rows are spread.
    pub due_shards: String,
    /// Over how many minutes tokens' rows come up that are due at once.
    pub due_jitter_minutes: String,
    /// Table with profiles and tokens.
    pub vault_table: String,
    /// Table with connect sessions in flight.
    pub flows_table: String,
    /// Table with the wrapped tenant keys.
    pub keys_table: String,
    /// Key that wraps the tenant keys.
    pub kms_key: String,
    /// Secret with the OAuth clients.
    pub apps_secret: String,
    /// Queue of the grants that could not be stored.
    pub spill_queue: String,
    /// Queue of those that could not be put back.
    pub spilled_for_good: String,
    /// Queue of the rows that are due.
    pub due_queue: String,
    /// Queue of those that failed again and again.
    pub due_for_good: String,
    /// Queue of the ticks that could not be delivered.
    pub missed_ticks: String,
}

/// A deployment that can be worked on.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// What its stack says.
    pub facts: Facts,
    /// The way to its services.
    pub aws: SdkConfig,
    /// The time by which it goes.
    pub clock: Clock,
    /// The time on this machine, by which requests are signed.
    pub machine: Clock,
}

impl Deployment {
    /// The deployment of this stack, through the credentials that the AWS tools would find.
    ///
    /// # Errors
    /// When the document does not describe one stack of Tokenward.
    pub async fn of_stack(description: &str) -> Result<Self, NoDeployment> {
        let facts = Facts::of_stack(description)?;
        let region =
            facts.kms_key.split(':').nth(3).filter(|region| !region.is_empty()).ok_or(NoDeployment::NoRegion)?;
        let config = aws_config::defaults(BehaviorVersion::latest()).region(Region::new(region.to_owned()));
        Ok(Self { aws: config.load().await, facts, clock: Clock::system(), machine: Clock::system() })
    }

    /// The sandbox at this address.
    ///
    /// # Errors
    /// When none answers there.
    pub async fn of_sandbox(address: &Url) -> Result<Self, NoDeployment> {
        if !web::is_loopback(address) {
            return Err(NoDeployment::NotLoopback);
        }
        let ask = async |path: &str| {
            let door = address.join(path).map_err(|_| NoDeployment::NotLoopback)?;
            let answer = web::get(&door).await.ok().filter(|answer| answer.status == 200);
            let answer = answer.and_then(|answer| serde_json::from_slice(&answer.body).ok());
            answer.ok_or_else(|| NoDeployment::NoSandbox(address.clone()))
        };
        let environment: Value = ask("/_sandbox/environment").await?;
        let (facts, endpoint) = Facts::of_sandbox(&environment)?;
        let time: Value = ask("/_sandbox/clock").await?;
        let machine = Clock::system();
        let sandbox: Option<Timestamp> = time["now"].as_str().and_then(|now| now.parse().ok());
        let ahead = sandbox.unwrap_or_else(|| machine.now()).duration_since(machine.now());
        let clock = {
            let machine = machine.clone();
            Clock::from_fn(move || machine.now() + ahead)
        };
        let credentials = Credentials::new("sandbox", "sandbox", None, None, "sandbox");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("eu-west-1"))
            .endpoint_url(endpoint)
            .credentials_provider(SharedCredentialsProvider::new(credentials));
        Ok(Self { facts, aws: config.build(), clock, machine })
    }

    /// The tenants' keys.
    #[must_use]
    pub fn keys(&self) -> TenantKeys {
        let Facts { keys_table, kms_key, stage, .. } = self.facts.clone();
        let config = KeysConfig { table: keys_table, kms_key, stage };
        TenantKeys::new(&self.aws, config, self.clock.clone(), Random::system())
    }

    /// Profiles and tokens.
    #[must_use]
    pub fn vault(&self) -> Vault {
        Vault::new(&self.aws, &self.facts.vault_table, self.spread())
    }

    /// Connect sessions and revocations.
    #[must_use]
    pub fn flows(&self) -> Flows {
        Flows::new(&self.aws, &self.facts.flows_table, self.spread())
    }

    /// The OAuth clients.
    #[must_use]
    pub fn apps(&self) -> Apps {
        Apps::new(&self.aws, &self.facts.apps_secret, &self.facts.graph_version, self.clock.clone())
    }

    fn spread(&self) -> Spread {
        let Facts { due_shards, due_jitter_minutes, .. } = &self.facts;
        Spread::new(due_shards.parse().unwrap_or(1), due_jitter_minutes.parse().unwrap_or(0))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    stacks: Vec<Stack>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Stack {
    #[serde(default)]
    parameters: Vec<Parameter>,
    #[serde(default)]
    outputs: Vec<Output>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Parameter {
    parameter_key: String,
    parameter_value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Output {
    output_key: String,
    output_value: String,
}

impl Facts {
    fn of_stack(description: &str) -> Result<Self, NoDeployment> {
        let Described { stacks } = serde_json::from_str(description).map_err(|_| NoDeployment::NoStack)?;
        let [Stack { parameters, outputs }] = <[Stack; 1]>::try_from(stacks).map_err(|_| NoDeployment::NoStack)?;
        let parameters = parameters.into_iter().map(|one| (one.parameter_key, one.parameter_value));
        let outputs = outputs.into_iter().map(|one| (one.output_key, one.output_value));
        let mut named: BTreeMap<String, String> = parameters.chain(outputs).collect();
        if let Some(domain) = named.get("DomainName").filter(|domain| !domain.is_empty()) {
            named.insert("PublicUrl".to_owned(), format!("https://{domain}"));
        }
        Self::read(named)
    }

    /// From the environment of the sandbox's functions, and where its AWS protocols are.
    fn of_sandbox(environment: &Value) -> Result<(Self, String), NoDeployment> {
        let functions = environment.as_object().into_iter().flat_map(|functions| functions.values());
        let variables = functions.filter_map(Value::as_object).flatten();
        let mut named: BTreeMap<String, String> =
            variables.filter_map(|(name, value)| Some((pascal(name), value.as_str()?.to_owned()))).collect();
        let queue = named.get("SpillQueue").and_then(|queue| Url::parse(queue).ok()).ok_or(NoDeployment::NoStack)?;
        for name in ["SpilledForGood", "DueForGood", "MissedTicks"] {
            let beside = queue.join(name).map_err(|_| NoDeployment::NoStack)?;
            named.insert(name.to_owned(), beside.into());
        }
        Ok((Self::read(named)?, queue.origin().ascii_serialization()))
    }

    fn read(named: BTreeMap<String, String>) -> Result<Self, NoDeployment> {
        let named = named.into_iter().map(|(name, value)| (name, Value::String(value))).collect();
        serde_json::from_value(Value::Object(named)).map_err(NoDeployment::Incomplete)
    }
}

/// `VAULT_TABLE` is `VaultTable` in the template.
fn pascal(name: &str) -> String {
    let word =
        |word: &str| word.get(..1).map_or_else(String::new, |first| format!("{first}{}", word[1..].to_lowercase()));
    name.split('_').map(word).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn description() -> Value {
        let parameters = [
            ("Stage", "production"),
            ("PublicUrl", "https://tokens.example"),
            ("ReturnUrls", "https://app.example/"),
            ("MailFrom", "tokens@example"),
            ("OidcIssuer", "https://login.example"),
            ("GraphVersion", "v26.0"),
            ("DueShards", "4"),
            ("DueJitterMinutes", "180"),
        ];
        let outputs = [
            ("VaultTable", "t-Vault"),
            ("FlowsTable", "t-Flows"),
            ("KeysTable", "t-Keys"),
            ("KmsKey", "arn:aws:kms:eu-north-1:111122223333:key/1"),
            ("AppsSecret", "arn:aws:secretsmanager:eu-north-1:111122223333:secret:apps"),
            ("SpillQueue", "https://sqs.example/1/t-Spill"),
            ("SpilledForGood", "https://sqs.example/1/t-Good"),
            ("DueQueue", "https://sqs.example/1/t-Due"),
            ("DueForGood", "https://sqs.example/1/t-DueForGood"),
            ("MissedTicks", "https://sqs.example/1/t-MissedTicks"),
        ];
        json!({ "Stacks": [{
            "StackName": "tokenward",
            "Parameters": parameters.map(|(name, value)| json!({ "ParameterKey": name, "ParameterValue": value })),
            "Outputs": outputs.map(|(name, value)| json!({ "OutputKey": name, "OutputValue": value, "Description": "…" })),
        }] })
    }

    #[tokio::test]
    async fn a_stack_names_its_tables_and_its_region() {
        let deployment = Deployment::of_stack(&description().to_string()).await.unwrap();
        assert_eq!(deployment.facts.vault_table, "t-Vault");
        assert_eq!(deployment.aws.region().map(AsRef::as_ref), Some("eu-north-1"));
    }

    #[test]
    fn what_is_missing_in_a_stack_is_named() {
        let mut incomplete = description();
        incomplete["Stacks"][0]["Outputs"][0]["OutputKey"] = json!("Other");
        let error = Facts::of_stack(&incomplete.to_string()).unwrap_err().to_string();
        assert!(error.contains("VaultTable"), "{error}");
        for other in ["", "{}", r#"{"Stacks":[]}"#] {
            assert!(matches!(Facts::of_stack(other), Err(NoDeployment::NoStack)), "{other}");
        }
    }
}
