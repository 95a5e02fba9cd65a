//! Sealing, end to end: the format against an independent decryptor, the tenants' keys against KMS and DynamoDB.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    io::Write as _,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_kms::{
    config::{
        ConfigBag, Credentials, Intercept, RuntimeComponents, SharedCredentialsProvider,
        interceptors::BeforeTransmitInterceptorContextRef, retry::RetryConfig,
    },
    error::BoxError,
    primitives::Blob,
    types::DataKeySpec,
};
use jiff::Timestamp;
use sandbox::{
    cloud::{Cloud, CloudOptions},
    data::DataDir,
    faults::{Fault, Faults, Mode},
    template::Template,
};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::{
    clock::Clock,
    keys::{KeysConfig, KeysError, TenantKeys},
    random::Random,
    seal::{Place, Sealed, TenantKey, Unsealable},
};
use tokio::net::TcpListener;
use zeroize::Zeroizing;

const PLACE: Place<'static> =
    Place { tenant: "acme", profile: "prf_1", token: "tok_1", field: "refresh_token", generation: 1 };

/// One entry of `sealing/vectors.json`, which was written by a sealer in Python.
#[derive(Deserialize)]
struct Vector {
    name: String,
    #[serde(with = "hex::serde")]
    key: Vec<u8>,
    key_version: u32,
    #[serde(with = "hex::serde")]
    salt: [u8; 32],
    #[serde(with = "hex::serde")]
    iv: [u8; 12],
    place: Value,
    plaintext: String,
    #[serde(with = "hex::serde")]
    sealed: Vec<u8>,
}

impl Vector {
    fn all() -> Vec<Self> {
        serde_json::from_str(include_str!("sealing/vectors.json")).unwrap()
    }

    fn key(&self) -> TenantKey {
        TenantKey::new(self.key_version, Zeroizing::new(self.key.clone())).unwrap()
    }

    fn place(&self) -> Place<'_> {
        let name = |name| self.place[name].as_str().unwrap();
        Place {
            tenant: name("tenant"),
            profile: name("profile"),
            token: name("token"),
            field: name("field"),
            generation: self.place["generation"].as_u64().unwrap(),
        }
    }
}

/// What `sealing/open.py` makes of it; `None` when it refuses.
fn opened_by_python(key: &[u8], place: &Value, sealed: &[u8]) -> Option<String> {
    let home = env!("CARGO_MANIFEST_DIR");
    let python = format!("{home}/../target/tools/bin/python");
    assert!(fs::exists(&python).unwrap(), "{python} is missing: run tests/run once, it installs the tools");
    let mut decryptor = Command::new(python)
        .arg(format!("{home}/sealing/open.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let asked = json!({ "key": hex::encode(key), "place": place, "sealed": hex::encode(sealed) });
    decryptor.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
    let answer = decryptor.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&answer.stderr);
    assert!(answer.status.success() || complaint.starts_with("cannot be opened"), "{complaint}");
    answer.status.success().then(|| String::from_utf8(answer.stdout).unwrap())
}

// S21
#[test]
fn the_vectors_are_sealed_and_opened_to_the_byte() {
    for vector in Vector::all() {
        let (salt, iv) = (vector.salt, vector.iv);
        let random = Random::from_fn(move |bytes| bytes.copy_from_slice(if bytes.len() == 32 { &salt } else { &iv }));
        let sealed = vector.key().seal(&vector.place(), vector.plaintext.as_bytes(), &random);
        assert_eq!(hex::encode(sealed.as_bytes()), hex::encode(&vector.sealed), "{}", vector.name);
        let opened = vector.key().open(&vector.place(), &Sealed::from(vector.sealed.clone()));
        assert_eq!(opened.unwrap().as_slice(), vector.plaintext.as_bytes(), "{}", vector.name);
    }
}

// S21
#[test]
fn an_independent_decryptor_opens_what_was_sealed() {
    for vector in Vector::all() {
        let sealed = vector.key().seal(&vector.place(), vector.plaintext.as_bytes(), &Random::system());
        let opened = opened_by_python(&vector.key, &vector.place, sealed.as_bytes());
        assert_eq!(opened.as_ref(), Some(&vector.plaintext), "{}", vector.name);
    }
}

// S21, S22
#[test]
fn an_independent_decryptor_refuses_another_key_and_another_place() {
    let vector = Vector::all().swap_remove(0);
    assert_eq!(opened_by_python(&[9; 32], &vector.place, &vector.sealed), None);
    let mut elsewhere = vector.place.clone();
    elsewhere["generation"] = json!(2);
    assert_eq!(opened_by_python(&vector.key, &elsewhere, &vector.sealed), None);
}

/// KMS and the tables in the sandbox, and a clock to move.
struct World {
    cloud: Cloud,
    sdk: SdkConfig,
    faults: Faults,
    seconds: Arc<AtomicI64>,
    kms_requests: KmsRequests,
}

impl World {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("eu-west-1"))
            .endpoint_url(format!("http://{}", listener.local_addr().unwrap()))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new("id", "secret", None, None, "test")))
            .retry_config(RetryConfig::disabled())
            .build();
        let (faults, seconds) = (Faults::default(), Arc::new(AtomicI64::new(1_800_000_000)));
        let options = CloudOptions {
            dir: DataDir::memory(),
            clock: clock(&seconds),
            faults: faults.clone(),
            secrets: [].into(),
            senders: Vec::new(),
            configuration_sets: Vec::new(),
        };
        let (cloud, _) = Cloud::start(listener, options).await.unwrap();
        let world = Self { cloud, sdk, faults, seconds, kms_requests: KmsRequests::default() };
        Template::deployed().create_tables(&world.dynamodb(), "").await.unwrap();
        world
    }

    fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.sdk)
    }

    fn kms(&self) -> aws_sdk_kms::Client {
        let config = aws_sdk_kms::config::Builder::from(&self.sdk).interceptor(self.kms_requests.clone());
        aws_sdk_kms::Client::from_conf(config.build())
    }

    /// The keys as a process sees them that has just started.
    fn keys(&self) -> TenantKeys {
        self.keys_of("test", self.cloud.kms_key())
    }

    fn keys_of(&self, stage: &str, kms_key: &str) -> TenantKeys {
        let config = KeysConfig { table: "Keys".to_owned(), kms_key: kms_key.to_owned(), stage: stage.to_owned() };
        TenantKeys::with_clients(self.dynamodb(), self.kms(), config, clock(&self.seconds), Random::system())
    }

    fn later(&self, minutes: i64) {
        self.seconds.fetch_add(minutes * 60, Ordering::Relaxed);
    }

    fn down(&self, target: &str, mode: Mode) {
        self.faults.put(Fault { times: u32::MAX, ..Fault::once(target, mode) });
    }

    fn fail_once(&self, target: &str, mode: Mode) {
        self.faults.put(Fault { delay_ms: 1_000, ..Fault::once(target, mode) });
    }

    fn calls(&self, target: &str) -> u64 {
        self.faults.counts().get(target).copied().unwrap_or_default()
    }

    async fn wrapped(&self, tenant: &str, version: u32) -> Blob {
        let row = self.dynamodb().get_item().table_name("Keys").set_key(Some(row_key(tenant, version)));
        match row.send().await.unwrap().item.unwrap().remove("wrapped") {
            Some(AttributeValue::B(wrapped)) => wrapped,
            other => panic!("a wrapped key is bytes, not {other:?}"),
        }
    }

    async fn store(&self, tenant: &str, version: u32, wrapped: Blob) {
        let mut row = row_key(tenant, version);
        row.insert("wrapped".to_owned(), AttributeValue::B(wrapped));
        row.insert("created_at".to_owned(), AttributeValue::S("2026-11-22T00:00:00Z".to_owned()));
        self.dynamodb().put_item().table_name("Keys").set_item(Some(row)).send().await.unwrap();
    }
}

fn row_key(tenant: &str, version: u32) -> HashMap<String, AttributeValue> {
    let tenant = ("tenant".to_owned(), AttributeValue::S(tenant.to_owned()));
    [tenant, ("version".to_owned(), AttributeValue::N(version.to_string()))].into()
}

fn clock(seconds: &Arc<AtomicI64>) -> Clock {
    let seconds = Arc::clone(seconds);
    Clock::from_fn(move || Timestamp::from_second(seconds.load(Ordering::Relaxed)).unwrap())
}

/// The bodies that the SDK sends to KMS, as they leave.
#[derive(Clone, Debug, Default)]
struct KmsRequests(Arc<Mutex<Vec<Value>>>);

impl Intercept for KmsRequests {
    fn name(&self) -> &'static str {
        "KmsRequests"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = serde_json::from_slice(context.request().body().bytes().unwrap())?;
        self.0.lock().unwrap().push(body);
        Ok(())
    }
}

#[tokio::test]
async fn what_one_process_sealed_another_one_opens() {
    let world = World::start().await;
    let sealed = world.keys().seal(&PLACE, &"a secret".into()).await.unwrap();
    assert_eq!(world.keys().open(&PLACE, &sealed).await.unwrap().expose_secret(), "a secret");
    let elsewhere = Place { tenant: "globex", ..PLACE };
    assert!(matches!(world.keys().open(&elsewhere, &sealed).await, Err(KeysError::Unsealable(_))));
}

#[tokio::test]
async fn many_first_seals_at_once_make_one_key() {
    let world = World::start().await;
    let sealing: Vec<_> = (0..20)
        .map(|_| {
            let keys = world.keys();
            tokio::spawn(async move { keys.seal(&PLACE, &"a secret".into()).await.unwrap() })
        })
        .collect();
    for sealed in sealing {
        assert!(world.keys().open(&PLACE, &sealed.await.unwrap()).await.is_ok());
    }
    let rows = world.dynamodb().scan().table_name("Keys").send().await.unwrap();
    assert_eq!(rows.count, 1);
}

#[tokio::test]
async fn the_loser_of_a_race_for_the_first_key_takes_the_winners() {
    let world = World::start().await;
    world.fail_once("dynamodb/PutItem", Mode::Slow);
    let slow = world.keys();
    let losing = tokio::spawn(async move { slow.seal(&PLACE, &"a secret".into()).await });
    while world.calls("dynamodb/PutItem") == 0 && !losing.is_finished() {
        tokio::task::yield_now().await;
    }
    let won = world.keys().seal(&PLACE, &"a secret".into()).await.unwrap();
    let lost = losing.await.unwrap().unwrap();
    assert_eq!(world.calls("kms/GenerateDataKeyWithoutPlaintext"), 2);
    for sealed in [won, lost] {
        assert!(world.keys().open(&PLACE, &sealed).await.is_ok());
    }
}

#[tokio::test]
async fn a_first_key_whose_storing_was_not_confirmed_is_the_key() {
    let world = World::start().await;
    world.fail_once("dynamodb/PutItem", Mode::LostReply);
    assert!(matches!(world.keys().current("acme").await, Err(KeysError::Unavailable(_))));
    let sealed = world.keys().seal(&PLACE, &"a secret".into()).await.unwrap();
    assert!(world.keys().open(&PLACE, &sealed).await.is_ok());
    assert_eq!(world.calls("kms/GenerateDataKeyWithoutPlaintext"), 1);
}

#[tokio::test]
async fn a_newer_version_seals_and_the_older_one_still_opens() {
    let world = World::start().await;
    let keys = world.keys();
    let old = keys.seal(&PLACE, &"a secret".into()).await.unwrap();
    let made = world
        .kms()
        .generate_data_key_without_plaintext()
        .key_id(world.cloud.kms_key())
        .key_spec(DataKeySpec::Aes256)
        .encryption_context("stage", "test")
        .encryption_context("tenant", "acme")
        .encryption_context("version", "2");
    world.store("acme", 2, made.send().await.unwrap().ciphertext_blob.unwrap()).await;
    world.later(5);
    let new = keys.seal(&PLACE, &"a secret".into()).await.unwrap();
    assert_eq!((old.key_version(), new.key_version()), (Ok(1), Ok(2)));
    for sealed in [old, new] {
        assert!(keys.open(&PLACE, &sealed).await.is_ok());
        assert!(world.keys().open(&PLACE, &sealed).await.is_ok());
    }
}

// S25
#[tokio::test]
async fn every_call_names_the_kms_key_and_its_context_holds_identifiers_only() {
    let world = World::start().await;
    world.keys().seal(&PLACE, &"a secret".into()).await.unwrap();
    let requests = world.kms_requests.0.lock().unwrap().clone();
    assert_eq!(requests.len(), 2, "one makes the key, one unwraps it");
    for request in requests {
        assert_eq!(request["KeyId"], world.cloud.kms_key());
        assert_eq!(request["EncryptionContext"], json!({ "stage": "test", "tenant": "acme", "version": "1" }));
    }
}

// S25
#[tokio::test]
async fn a_wrapped_key_is_worthless_to_another_tenant_version_stage_or_kms_key() {
    let world = World::start().await;
    world.keys().current("acme").await.unwrap();
    let wrapped = world.wrapped("acme", 1).await;
    world.store("globex", 1, wrapped.clone()).await;
    world.store("acme", 2, wrapped).await;
    let other_kms_key = world.kms().create_key().send().await.unwrap().key_metadata.unwrap().key_id;
    for (keys, tenant, version) in [
        (world.keys(), "globex", 1),
        (world.keys(), "acme", 2),
        (world.keys_of("prod", world.cloud.kms_key()), "acme", 1),
        (world.keys_of("test", &other_kms_key), "acme", 1),
    ] {
        let key = keys.version(tenant, version).await;
        assert!(matches!(key, Err(KeysError::Unsealable(Unsealable))), "{keys:?}: {tenant} {version}: {key:?}");
    }
}

// S23
#[tokio::test]
async fn whatever_bit_is_flipped_the_error_is_the_same() {
    let world = World::start().await;
    let keys = world.keys();
    let sealed = keys.seal(&PLACE, &"a secret".into()).await.unwrap();
    let mut answers = BTreeSet::new();
    for bit in 0..sealed.as_bytes().len() * 8 {
        let mut flipped = sealed.as_bytes().to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        answers.insert(format!("{:?}", keys.open(&PLACE, &Sealed::from(flipped)).await.unwrap_err()));
    }
    assert_eq!(answers, BTreeSet::from(["Unsealable(Unsealable)".to_owned()]));
}

// S26
#[tokio::test]
async fn a_key_is_held_for_five_minutes_and_then_asked_for_again() {
    let world = World::start().await;
    let keys = world.keys();
    let sealed = keys.seal(&PLACE, &"a secret".into()).await.unwrap();
    for (minutes, unwrapped) in [(0, 1), (4, 1), (1, 2), (4, 2), (1, 3)] {
        world.later(minutes);
        keys.seal(&PLACE, &"a secret".into()).await.unwrap();
        keys.open(&PLACE, &sealed).await.unwrap();
        assert_eq!(world.calls("kms/Decrypt"), unwrapped);
    }
    let reads = world.faults.calls().into_iter().filter(|call| call.target == "dynamodb/Query");
    assert!(reads.into_iter().all(|call| call.consistent == Some(true)));
}

// S26, S29
#[tokio::test]
async fn a_held_key_outlives_an_outage_for_fifteen_minutes_and_no_longer() {
    for down in ["kms/Decrypt", "dynamodb/Query"] {
        let world = World::start().await;
        let keys = world.keys();
        let sealed = keys.seal(&PLACE, &"a secret".into()).await.unwrap();
        world.down(down, Mode::Status);
        for (minutes, readable) in [(5, true), (9, true), (1, false)] {
            world.later(minutes);
            let opened = keys.open(&PLACE, &sealed).await;
            assert_eq!(opened.is_ok(), readable, "{down}: {opened:?}");
        }
    }
}

// S26, S29
#[tokio::test]
async fn a_key_that_was_deleted_or_disabled_does_not_outlive_the_next_question() {
    let world = World::start().await;
    let keys = world.keys();
    let sealed = keys.seal(&PLACE, &"a secret".into()).await.unwrap();
    world.later(5);
    world.kms().disable_key().key_id(world.cloud.kms_key()).send().await.unwrap();
    assert!(matches!(keys.open(&PLACE, &sealed).await, Err(KeysError::Refused(_))));
    world.down("kms/Decrypt", Mode::Status);
    assert!(matches!(keys.open(&PLACE, &sealed).await, Err(KeysError::Unavailable(_))), "refused once is not held");
    world.faults.clear();

    world.kms().enable_key().key_id(world.cloud.kms_key()).send().await.unwrap();
    assert!(keys.open(&PLACE, &sealed).await.is_ok());

    world.later(5);
    let shred = world.dynamodb().delete_item().table_name("Keys").set_key(Some(row_key("acme", 1)));
    shred.send().await.unwrap();
    assert!(matches!(keys.open(&PLACE, &sealed).await, Err(KeysError::Unsealable(_))));
}

// S64
#[tokio::test]
async fn whatever_is_down_the_answer_is_unavailable_and_nothing_is_lost() {
    let world = World::start().await;
    for target in ["dynamodb/Query", "kms/GenerateDataKeyWithoutPlaintext", "dynamodb/PutItem", "kms/Decrypt"] {
        for mode in [Mode::Status, Mode::Reset, Mode::Garbage, Mode::Throttle] {
            world.down(target, mode);
            let key = world.keys().current("acme").await;
            assert!(matches!(key, Err(KeysError::Unavailable(_))), "{target} {mode:?}: {key:?}");
            assert!(!format!("{key:?}").contains("this is no answer"), "an error holds no raw answer: {key:?}");
            world.faults.clear();
        }
    }
    assert!(world.keys().seal(&PLACE, &"a secret".into()).await.is_ok());
}

// S25
#[tokio::test]
async fn a_wrapped_key_that_was_tampered_with_is_no_key() {
    let world = World::start().await;
    world.keys().current("acme").await.unwrap();
    world.store("acme", 1, Blob::new(b"no ciphertext of KMS".as_slice())).await;
    assert!(matches!(world.keys().current("acme").await, Err(KeysError::Unsealable(_))));
}
