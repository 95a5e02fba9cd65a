//! A stand-in for KMS: symmetric keys that wrap data keys under an encryption context.
//!
//! The master keys lie readable in `kms.json`. That is what makes this a stand-in: it shows that
//! the product names its key and repeats its encryption context, not that the tokens of a sandbox
//! are safe from whoever owns its directory.
//!
//! A ciphertext blob is the key's id (36 bytes), a nonce (12), and AES-256-GCM of the data key,
//! with the id and the sorted encryption context as associated data. So a blob opens under its own
//! key and context only, and every flipped bit is an `InvalidCiphertextException`.

use std::{collections::BTreeMap, io};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    error::Unspecified,
    rand,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{ACCOUNT, REGION, Refusal, input};
use crate::data::{DataDir, Saved};

const ALIAS: &str = "alias/tokenward";

const KEY_ID_LEN: usize = 36;

#[derive(Clone)]
pub(super) struct Kms(Saved<Keyring>);

#[derive(Default, Serialize, Deserialize)]
struct Keyring {
    keys: BTreeMap<String, MasterKey>,
    aliases: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct MasterKey {
    /// 32 bytes in Base64.
    material: String,
    enabled: bool,
}

type EncryptionContext = BTreeMap<String, String>;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct CreateKey {
    #[serde(default, rename = "Description")]
    _description: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct NamedKey {
    key_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct GenerateDataKey {
    key_id: String,
    #[serde(default)]
    encryption_context: EncryptionContext,
    key_spec: KeySpec,
}

#[derive(Deserialize)]
enum KeySpec {
    #[serde(rename = "AES_256")]
    Aes256,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Decrypt {
    key_id: Option<String>,
    ciphertext_blob: String,
    #[serde(default)]
    encryption_context: EncryptionContext,
}

impl Kms {
    /// Opens the keys in `dir`, and answers the ARN of the one that always exists.
    pub(super) fn open(dir: &DataDir) -> io::Result<(Self, String)> {
        let kms = Self(Saved::open(dir, "kms.json", Keyring::default)?);
        let first = kms.0.read(|ring| ring.aliases.get(ALIAS).cloned());
        let id = match first {
            Some(id) => id,
            None => kms.0.change(Keyring::create_first).map_err(io::Error::other)?,
        };
        Ok((kms, arn(&id)))
    }

    pub(super) fn answer(&self, operation: &str, body: &[u8]) -> Result<Value, Refusal> {
        match operation {
            "CreateKey" => {
                let CreateKey { .. } = input(body)?;
                self.0.change(|ring| {
                    let id = ring.create()?;
                    Ok(ring.metadata(&id))
                })
            }
            "DescribeKey" => {
                let NamedKey { key_id } = input(body)?;
                self.0.read(|ring| Ok(ring.metadata(&ring.find(&key_id)?)))
            }
            // the stand-in's keys are never rotated by themselves, and say what the template asks for
            "GetKeyRotationStatus" => {
                let NamedKey { key_id } = input(body)?;
                self.0.read(|ring| Ok(json!({ "KeyId": ring.find(&key_id)?, "KeyRotationEnabled": true })))
            }
            "EnableKey" => self.enable(body, true),
            "DisableKey" => self.enable(body, false),
            "GenerateDataKeyWithoutPlaintext" => self.0.read(|ring| ring.generate_data_key(&input(body)?)),
            "Decrypt" => self.0.read(|ring| ring.decrypt(&input(body)?)),
            _ => Err(Refusal::unknown_operation(operation)),
        }
    }

    fn enable(&self, body: &[u8], enabled: bool) -> Result<Value, Refusal> {
        let NamedKey { key_id } = input(body)?;
        self.0.change(|ring| {
            let id = ring.find(&key_id)?;
            if let Some(key) = ring.keys.get_mut(&id) {
                key.enabled = enabled;
            }
            Ok(json!({}))
        })
    }
}

impl Keyring {
    fn create_first(&mut self) -> Result<String, Unspecified> {
        let id = self.create()?;
        self.aliases.insert(ALIAS.to_owned(), id.clone());
        Ok(id)
    }

    fn create(&mut self) -> Result<String, Unspecified> {
        let id = random_key_id()?;
        let material = BASE64_STANDARD.encode(random::<32>()?);
        self.keys.insert(id.clone(), MasterKey { material, enabled: true });
        Ok(id)
    }

    /// Finds the id of the key that an id, an alias or the ARN of either names.
    fn find(&self, name: &str) -> Result<String, Refusal> {
        let local = name.strip_prefix(&format!("arn:aws:kms:{REGION}:{ACCOUNT}:")).unwrap_or(name);
        let id = self.aliases.get(local).map_or(local, String::as_str);
        let id = id.strip_prefix("key/").unwrap_or(id);
        if !self.keys.contains_key(id) {
            return Err(Refusal::new("NotFoundException", format!("Key '{name}' does not exist")));
        }
        Ok(id.to_owned())
    }

    fn enabled(&self, id: &str) -> Result<RandomizedNonceKey, Refusal> {
        let Some(key) = self.keys.get(id) else { return Err(invalid_ciphertext()) };
        if !key.enabled {
            return Err(Refusal::new("DisabledException", format!("{} is disabled.", arn(id))));
        }
        let material = BASE64_STANDARD.decode(&key.material).map_err(|_| Unspecified)?;
        Ok(RandomizedNonceKey::new(&AES_256_GCM, &material)?)
    }

    fn generate_data_key(&self, request: &GenerateDataKey) -> Result<Value, Refusal> {
        let KeySpec::Aes256 = request.key_spec;
        let id = self.find(&request.key_id)?;
        let master = self.enabled(&id)?;
        let mut data_key = random::<32>()?.to_vec();
        let nonce = master.seal_in_place_append_tag(bound_to(&id, &request.encryption_context), &mut data_key)?;
        let blob = [id.as_bytes(), nonce.as_ref(), &data_key].concat();
        Ok(json!({ "KeyId": arn(&id), "CiphertextBlob": BASE64_STANDARD.encode(blob) }))
    }

    fn decrypt(&self, request: &Decrypt) -> Result<Value, Refusal> {
        let named = request.key_id.as_ref().map(|name| self.find(name)).transpose()?;
        let blob = BASE64_STANDARD.decode(&request.ciphertext_blob).map_err(|_| invalid_ciphertext())?;
        let (id, sealed) = blob.split_at_checked(KEY_ID_LEN).ok_or_else(invalid_ciphertext)?;
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN).ok_or_else(invalid_ciphertext)?;
        let id = str::from_utf8(id).map_err(|_| invalid_ciphertext())?;
        let master = self.enabled(id)?;
        if named.is_some_and(|named| named != id) {
            return Err(Refusal::new(
                "IncorrectKeyException",
                "The key ID in the request does not identify a CMK that can perform this operation.",
            ));
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce)?;
        let mut sealed = sealed.to_vec();
        let data_key = master
            .open_in_place(nonce, bound_to(id, &request.encryption_context), &mut sealed)
            .map_err(|_| invalid_ciphertext())?;
        Ok(json!({
            "KeyId": arn(id),
            "Plaintext": BASE64_STANDARD.encode(data_key),
            "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        }))
    }

    fn metadata(&self, id: &str) -> Value {
        let enabled = self.keys.get(id).is_some_and(|key| key.enabled);
        json!({ "KeyMetadata": {
            "AWSAccountId": ACCOUNT,
            "KeyId": id,
            "Arn": arn(id),
            "Enabled": enabled,
            "KeyState": if enabled { "Enabled" } else { "Disabled" },
            "KeySpec": "SYMMETRIC_DEFAULT",
            "KeyUsage": "ENCRYPT_DECRYPT",
        } })
    }
}

/// The associated data of a blob; JSON of a sorted map is one canonical text a context.
fn bound_to(id: &str, context: &EncryptionContext) -> Aad<Vec<u8>> {
    Aad::from(json!([id, context]).to_string().into_bytes())
}

fn random_key_id() -> Result<String, Unspecified> {
    let hex = hex::encode(random::<16>()?);
    Ok([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}

#[expect(clippy::disallowed_methods, reason = "the keys of a stand-in, which no test needs to foresee")]
fn random<const N: usize>() -> Result<[u8; N], Unspecified> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes)?;
    Ok(bytes)
}

fn arn(id: &str) -> String {
    format!("arn:aws:kms:{REGION}:{ACCOUNT}:key/{id}")
}

fn invalid_ciphertext() -> Refusal {
    Refusal::new("InvalidCiphertextException", "")
}

impl From<Unspecified> for Refusal {
    fn from(_: Unspecified) -> Self {
        Self::new("KMSInternalException", "The cryptographic library failed.")
    }
}
