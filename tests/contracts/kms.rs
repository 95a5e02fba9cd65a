//! The tenants' keys on KMS and the Keys table.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_kms::{error::ProvideErrorMetadata as _, primitives::Blob, types::DataKeySpec};
use secrecy::ExposeSecret as _;
use shared::{
    keys::{KeysConfig, KeysError, TenantKeys},
    random::Random,
    seal::{Place, Unsealable},
};

use super::{Engine, NOW, clock_at, on_each};

const PLACE: Place<'static> =
    Place { tenant: "acme", profile: "prf_1", token: "tok_1", field: "refresh_token", generation: 1 };

/// The keys as a process sees them that has just started.
fn keys(engine: &Engine, stage: &str, kms_key: &str) -> TenantKeys {
    let config = KeysConfig { table: engine.table("Keys"), kms_key: kms_key.to_owned(), stage: stage.to_owned() };
    TenantKeys::new(&engine.sdk, config, clock_at(NOW), Random::system())
}

async fn new_kms_key(engine: &Engine) -> String {
    engine.kms().create_key().send().await.unwrap().key_metadata.unwrap().arn.unwrap()
}

/// What the product says of a key of the stage `test`.
fn context(tenant: &str, version: u32) -> HashMap<String, String> {
    [("stage", "test".to_owned()), ("tenant", tenant.to_owned()), ("version", version.to_string())]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

async fn wrap(engine: &Engine, kms_key: &str, tenant: &str, version: u32) -> Blob {
    let generate = engine.kms().generate_data_key_without_plaintext().key_id(kms_key).key_spec(DataKeySpec::Aes256);
    let wrapped = generate.set_encryption_context(Some(context(tenant, version))).send().await.unwrap();
    wrapped.ciphertext_blob.unwrap()
}

async fn store(engine: &Engine, tenant: &str, version: u32, wrapped: Blob) {
    let put = engine.dynamodb().put_item().table_name(engine.table("Keys"));
    put.item("tenant", AttributeValue::S(tenant.to_owned()))
        .item("version", AttributeValue::N(version.to_string()))
        .item("wrapped", AttributeValue::B(wrapped))
        .item("created_at", AttributeValue::S(NOW.to_string()))
        .send()
        .await
        .unwrap();
}

async fn stored(engine: &Engine, tenant: &str, version: u32) -> Blob {
    let get = engine.dynamodb().get_item().table_name(engine.table("Keys"));
    let get = get.key("tenant", AttributeValue::S(tenant.to_owned()));
    let row = get.key("version", AttributeValue::N(version.to_string())).send().await.unwrap().item.unwrap();
    row["wrapped"].as_b().unwrap().clone()
}

#[tokio::test]
async fn what_one_process_sealed_another_one_opens_under_the_one_key_of_the_tenant() {
    on_each(async |engine| {
        let kms_key = new_kms_key(engine).await;
        let sealed = keys(engine, "test", &kms_key).seal(&PLACE, &"a secret".into()).await.unwrap();
        let other = keys(engine, "test", &kms_key);
        assert_eq!(other.open(&PLACE, &sealed).await.unwrap().expose_secret(), "a secret");
        assert_eq!(other.seal(&PLACE, &"another".into()).await.unwrap().key_version(), Ok(1));
        let rows = engine.dynamodb().scan().table_name(engine.table("Keys")).send().await.unwrap();
        assert_eq!(rows.count, 1);
    })
    .await;
}

#[tokio::test]
async fn the_newest_version_is_the_greatest_number_and_the_older_ones_still_open() {
    on_each(async |engine| {
        let kms_key = new_kms_key(engine).await;
        let old = keys(engine, "test", &kms_key).seal(&PLACE, &"a secret".into()).await.unwrap();
        // as text, 9 would be newer than 10
        for version in [10, 9] {
            store(engine, "acme", version, wrap(engine, &kms_key, "acme", version).await).await;
        }
        let keys = keys(engine, "test", &kms_key);
        let new = keys.seal(&PLACE, &"a secret".into()).await.unwrap();
        assert_eq!((old.key_version(), new.key_version()), (Ok(1), Ok(10)));
        for sealed in [old, new] {
            assert!(keys.open(&PLACE, &sealed).await.is_ok());
        }
    })
    .await;
}

// S25
#[tokio::test]
async fn a_wrapped_key_is_worthless_elsewhere() {
    on_each(async |engine| {
        let kms_key = new_kms_key(engine).await;
        keys(engine, "test", &kms_key).current("acme").await.unwrap();
        let wrapped = stored(engine, "acme", 1).await;
        store(engine, "globex", 1, wrapped.clone()).await;
        store(engine, "acme", 2, wrapped).await;
        for (stage, tenant, version) in [("test", "globex", 1), ("test", "acme", 2), ("prod", "acme", 1)] {
            let key = keys(engine, stage, &kms_key).version(tenant, version).await;
            assert!(matches!(key, Err(KeysError::Unsealable(Unsealable))), "{stage} {tenant} {version}: {key:?}");
        }
        // AWS documents IncorrectKeyException, which the stand-in answers; moto says AccessDeniedException
        let key = keys(engine, "test", &new_kms_key(engine).await).version("acme", 1).await;
        let refused = matches!(key, Err(KeysError::Unsealable(Unsealable)));
        assert!(refused || (engine.is_moto() && matches!(key, Err(KeysError::Refused(_)))), "{key:?}");
    })
    .await;
}

// S25
#[tokio::test]
async fn a_wrapped_key_that_was_tampered_with_is_no_key() {
    on_each(async |engine| {
        let kms_key = new_kms_key(engine).await;
        keys(engine, "test", &kms_key).current("acme").await.unwrap();
        let wrapped = stored(engine, "acme", 1).await.into_inner();
        // both engines begin with the id of the KMS key, and answer to another one as to any other KMS key
        for at in 36..wrapped.len() {
            let mut tampered = wrapped.clone();
            tampered[at] ^= 1;
            store(engine, "acme", 1, Blob::new(tampered)).await;
            let key = keys(engine, "test", &kms_key).current("acme").await;
            assert!(matches!(key, Err(KeysError::Unsealable(_))), "byte {at}: {key:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_kms_key_that_does_not_exist_is_an_operators_problem() {
    on_each(async |engine| {
        let unknown = new_kms_key(engine).await.replace(|c: char| c.is_ascii_digit(), "0");
        let key = keys(engine, "test", &unknown).current("acme").await;
        assert!(matches!(key, Err(KeysError::Refused(_))), "{key:?}");
    })
    .await;
}

#[tokio::test]
async fn a_disabled_kms_key_is_an_operators_problem_too() {
    on_each(async |engine| {
        if engine.is_moto() {
            // it disables no key by its ARN, and unwraps with a disabled key
            return;
        }
        let kms_key = new_kms_key(engine).await;
        keys(engine, "test", &kms_key).current("acme").await.unwrap();
        engine.kms().disable_key().key_id(&kms_key).send().await.unwrap();
        let key = keys(engine, "test", &kms_key).current("acme").await;
        assert!(matches!(key, Err(KeysError::Refused(_))), "{key:?}");
    })
    .await;
}

// S25
#[tokio::test]
async fn kms_unwraps_for_the_context_that_it_wrapped_for_and_says_why_not_otherwise() {
    on_each(async |engine| {
        let kms_key = new_kms_key(engine).await;
        let wrapped = wrap(engine, &kms_key, "acme", 1).await;
        assert_ne!(wrap(engine, &kms_key, "acme", 1).await, wrapped);
        let unwrap = async |tenant: &str, blob: Blob| {
            let decrypt = engine.kms().decrypt().key_id(&kms_key).set_encryption_context(Some(context(tenant, 1)));
            decrypt.ciphertext_blob(blob).send().await.map_err(|error| error.code().map(str::to_owned))
        };
        let key = unwrap("acme", wrapped.clone()).await.unwrap();
        assert_eq!(key.plaintext.unwrap().into_inner().len(), 32);
        assert_eq!(key.key_id.unwrap(), kms_key);
        let refused = Some("InvalidCiphertextException".to_owned());
        assert_eq!(unwrap("globex", wrapped).await.unwrap_err(), refused);
        assert_eq!(unwrap("acme", Blob::new(b"no ciphertext of KMS".as_slice())).await.unwrap_err(), refused);
    })
    .await;
}
