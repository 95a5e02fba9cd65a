//! A stand-in for the Secrets Manager: named texts with a current version, in memory alone.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ACCOUNT, REGION, Refusal, input};

/// AWS ends the ARN of a secret with six random characters; here they are always these.
const ARN_SUFFIX: &str = "-000000";

#[derive(Clone)]
pub(super) struct SecretsManager(Arc<Mutex<BTreeMap<String, Version>>>);

struct Version {
    id: String,
    secret: SecretString,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct CreateSecret {
    name: String,
    secret_string: SecretString,
    client_request_token: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct PutSecretValue {
    secret_id: String,
    secret_string: SecretString,
    client_request_token: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct GetSecretValue {
    secret_id: String,
}

impl SecretsManager {
    pub(super) fn new(secrets: BTreeMap<String, SecretString>) -> Self {
        let current = |secret| Version { id: "00000000-0000-0000-0000-000000000000".to_owned(), secret };
        let versions = secrets.into_iter().map(|(name, secret)| (name, current(secret)));
        Self(Arc::new(Mutex::new(versions.collect())))
    }

    pub(super) fn answer(&self, operation: &str, body: &[u8]) -> Result<Value, Refusal> {
        let mut secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match operation {
            "CreateSecret" => {
                let CreateSecret { name, secret_string, client_request_token } = input(body)?;
                if secrets.contains_key(&name) {
                    return Err(Refusal::new("ResourceExistsException", format!("The secret {name} already exists.")));
                }
                let answer = json!({ "ARN": arn(&name), "Name": name, "VersionId": client_request_token });
                secrets.insert(name, Version { id: client_request_token, secret: secret_string });
                Ok(answer)
            }
            "PutSecretValue" => {
                let PutSecretValue { secret_id, secret_string, client_request_token } = input(body)?;
                let name = local_name(&secret_id);
                let version = secrets.get_mut(name).ok_or_else(not_found)?;
                *version = Version { id: client_request_token, secret: secret_string };
                Ok(json!({ "ARN": arn(name), "Name": name, "VersionId": version.id, "VersionStages": ["AWSCURRENT"] }))
            }
            "GetSecretValue" => {
                let GetSecretValue { secret_id } = input(body)?;
                let name = local_name(&secret_id);
                let version = secrets.get(name).ok_or_else(not_found)?;
                Ok(json!({
                    "ARN": arn(name),
                    "Name": name,
                    "VersionId": version.id,
                    "VersionStages": ["AWSCURRENT"],
                    "SecretString": version.secret.expose_secret(),
                }))
            }
            _ => Err(Refusal::unknown_operation(operation)),
        }
    }
}

fn arn_prefix() -> String {
    format!("arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:")
}

fn arn(name: &str) -> String {
    format!("{}{name}{ARN_SUFFIX}", arn_prefix())
}

/// The name in a `SecretId`, which is a name or an ARN.
fn local_name(secret_id: &str) -> &str {
    let named = secret_id.strip_prefix(&arn_prefix()).and_then(|named| named.strip_suffix(ARN_SUFFIX));
    named.unwrap_or(secret_id)
}

fn not_found() -> Refusal {
    Refusal::new("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
}
