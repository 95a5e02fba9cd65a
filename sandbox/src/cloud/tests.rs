//! The stand-ins as the AWS SDK sees them.

mod queues;
mod stops;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig};
use aws_sdk_dynamodb::{
    config::{Credentials, SharedCredentialsProvider},
    error::ProvideErrorMetadata,
    operation::get_item::GetItemOutput,
    types::{
        AttributeDefinition, AttributeValue, BillingMode, Delete, Get, KeySchemaElement, KeyType, KeysAndAttributes,
        Put, ReturnConsumedCapacity, ScalarAttributeType, TransactGetItem, TransactWriteItem,
    },
};
use aws_sdk_kms::{primitives::Blob, types::DataKeySpec};
use jiff::Timestamp;
use lettre::message::{Mailbox, MultiPart};

use super::*;
use crate::faults::{Fault, Mode};

const SENDER: &str = "tokenward@example.com";

struct World {
    cloud: Cloud,
    sdk: SdkConfig,
    faults: Faults,
    seconds: Arc<AtomicI64>,
}

impl World {
    async fn start() -> Self {
        Self::on(DataDir::memory()).await
    }

    async fn at(path: &Path) -> Self {
        Self::on(DataDir::at(path).unwrap()).await
    }

    async fn on(dir: DataDir) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let faults = Faults::default();
        let seconds = Arc::new(AtomicI64::new(1_800_000_000));
        let clock = Arc::clone(&seconds);
        let options = CloudOptions {
            dir,
            clock: Clock::from_fn(move || Timestamp::from_second(clock.load(Ordering::Relaxed)).unwrap()),
            faults: faults.clone(),
            secrets: [("tokenward/apps".to_owned(), "app-secret-canary".into())].into(),
            senders: vec![SENDER.to_owned()],
            configuration_sets: Vec::new(),
        };
        let (cloud, _) = Cloud::start(listener, options).await.unwrap();
        let sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static(REGION))
            .endpoint_url(endpoint)
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
                "id", "secret", None, None, "sandbox",
            )))
            .retry_config(RetryConfig::disabled())
            .build();
        Self { cloud, sdk, faults, seconds }
    }

    fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.sdk)
    }

    fn kms(&self) -> aws_sdk_kms::Client {
        aws_sdk_kms::Client::new(&self.sdk)
    }

    fn secrets_manager(&self) -> aws_sdk_secretsmanager::Client {
        aws_sdk_secretsmanager::Client::new(&self.sdk)
    }

    fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&self.sdk)
    }

    fn break_once(&self, target: &str, mode: Mode) {
        self.faults.put(Fault::once(target, mode));
    }

    async fn create_table(&self) {
        let attribute = AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::S);
        let key = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash);
        let create = self.dynamodb().create_table().table_name("Flows").billing_mode(BillingMode::PayPerRequest);
        create.attribute_definitions(attribute.build().unwrap()).key_schema(key.build().unwrap()).send().await.unwrap();
    }

    async fn put(&self, id: &str) -> Result<(), Option<String>> {
        let put = self.dynamodb().put_item().table_name("Flows").item("id", text(id));
        put.condition_expression("attribute_not_exists(id)").send().await.map(drop).map_err(|error| code(&error))
    }

    async fn get(&self, id: &str) -> GetItemOutput {
        let get = self.dynamodb().get_item().table_name("Flows").key("id", text(id)).consistent_read(true);
        get.send().await.unwrap()
    }

    /// Wraps a data key for a tenant under the first key.
    async fn wrap(&self, tenant: &str) -> Vec<u8> {
        let generate = self.kms().generate_data_key_without_plaintext().key_id("alias/tokenward");
        let wrapped = generate.key_spec(DataKeySpec::Aes256).encryption_context("tenant", tenant).send().await.unwrap();
        assert_eq!(wrapped.key_id(), Some(self.cloud.kms_key()));
        wrapped.ciphertext_blob.unwrap().into_inner()
    }

    async fn unwrap(&self, key: &str, tenant: &str, blob: &[u8]) -> Result<Vec<u8>, Option<String>> {
        let decrypt = self.kms().decrypt().key_id(key).encryption_context("tenant", tenant);
        let opened = decrypt.ciphertext_blob(Blob::new(blob)).send().await.map_err(|error| code(&error))?;
        Ok(opened.plaintext.unwrap().into_inner())
    }

    async fn mail(&self, from: &str, subject: &str) -> Result<String, Option<String>> {
        let to: Mailbox = "Alice <alice@acme.example>".parse().unwrap();
        let bodies = MultiPart::alternative_plain_html("Größe & <b>".to_owned(), "<p>Größe &amp; mehr</p>".to_owned());
        let message = lettre::Message::builder().from(from.parse().unwrap()).to(to).subject(subject);
        let message = message.multipart(bodies).unwrap().formatted();
        let message = aws_sdk_ses::types::RawMessage::builder().data(message.into());
        let send = aws_sdk_ses::Client::new(&self.sdk).send_raw_email().source(from);
        let send = send.destinations("alice@acme.example").raw_message(message.build().unwrap());
        send.send().await.map(|sent| sent.message_id).map_err(|error| code(&error))
    }

    async fn secret(&self, id: &str) -> Result<String, Option<String>> {
        let get = self.secrets_manager().get_secret_value().secret_id(id);
        get.send().await.map(|secret| secret.secret_string.unwrap()).map_err(|error| code(&error))
    }
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

/// The service's own name for what went wrong; `None` when there was no answer.
fn code(error: &impl ProvideErrorMetadata) -> Option<String> {
    error.code().map(str::to_owned)
}

#[expect(clippy::unnecessary_wraps, reason = "an expected value of `code`")]
fn refused(code: &str) -> Option<String> {
    Some(code.to_owned())
}

#[tokio::test]
async fn a_data_key_opens_under_its_own_key_and_context_alone() {
    let world = World::start().await;
    let blob = world.wrap("acme").await;
    let key = world.cloud.kms_key();
    let data_key = world.unwrap(key, "acme", &blob).await.unwrap();
    assert_eq!(data_key.len(), 32);
    assert_eq!(world.unwrap("alias/tokenward", "acme", &blob).await, Ok(data_key));
    assert_ne!(world.wrap("acme").await, blob);

    let other = world.kms().create_key().send().await.unwrap().key_metadata.unwrap();
    for (key, tenant, blob, error) in [
        (key, "globex", blob.as_slice(), "InvalidCiphertextException"),
        (key, "acme", &blob[1..], "InvalidCiphertextException"),
        (key, "acme", b"short", "InvalidCiphertextException"),
        (other.key_id(), "acme", &blob, "IncorrectKeyException"),
        ("alias/unknown", "acme", &blob, "NotFoundException"),
    ] {
        assert_eq!(world.unwrap(key, tenant, blob).await, Err(refused(error)), "{key} for {tenant}");
    }
}

#[tokio::test]
async fn a_wrapped_key_with_any_byte_changed_is_refused() {
    let world = World::start().await;
    let blob = world.wrap("acme").await;
    for at in 0..blob.len() {
        let mut tampered = blob.clone();
        tampered[at] ^= 1;
        let answer = world.unwrap(world.cloud.kms_key(), "acme", &tampered).await;
        assert_eq!(answer, Err(refused("InvalidCiphertextException")), "byte {at}");
    }
}

#[tokio::test]
async fn a_disabled_key_neither_wraps_nor_opens() {
    let world = World::start().await;
    let (kms, key) = (world.kms(), world.cloud.kms_key());
    let blob = world.wrap("acme").await;

    kms.disable_key().key_id(key).send().await.unwrap();
    assert_eq!(world.unwrap(key, "acme", &blob).await, Err(refused("DisabledException")));
    let wrap = kms.generate_data_key_without_plaintext().key_id(key).key_spec(DataKeySpec::Aes256);
    assert_eq!(code(&wrap.send().await.unwrap_err()), refused("DisabledException"));
    let described = kms.describe_key().key_id("alias/tokenward").send().await.unwrap().key_metadata.unwrap();
    assert_eq!((described.arn(), described.enabled()), (Some(key), false));

    kms.enable_key().key_id(key).send().await.unwrap();
    assert!(world.unwrap(key, "acme", &blob).await.is_ok());
}

#[tokio::test]
async fn a_parameter_that_the_stand_in_does_not_know_is_refused() {
    let world = World::start().await;
    let wrap = world.kms().generate_data_key_without_plaintext().key_id(world.cloud.kms_key());
    let wrap = wrap.key_spec(DataKeySpec::Aes256).grant_tokens("token");
    assert_eq!(code(&wrap.send().await.unwrap_err()), refused("ValidationException"));
    let unknown = world.secrets_manager().delete_secret().secret_id("tokenward/apps").send().await;
    assert_eq!(code(&unknown.unwrap_err()), refused("UnknownOperationException"));
}

#[tokio::test]
async fn a_secret_is_read_by_name_or_arn_in_its_current_version() {
    let world = World::start().await;
    assert_eq!(world.secret("tokenward/apps").await.unwrap(), "app-secret-canary");
    assert_eq!(world.secret("nowhere").await, Err(refused("ResourceNotFoundException")));

    let manager = world.secrets_manager();
    let create = || manager.create_secret().name("tokenward/more").secret_string("first").send();
    let arn = create().await.unwrap().arn.unwrap();
    assert_eq!(code(&create().await.unwrap_err()), refused("ResourceExistsException"));
    assert_eq!(world.secret(&arn).await.unwrap(), "first");
    manager.put_secret_value().secret_id(&arn).secret_string("second").send().await.unwrap();
    assert_eq!(world.secret("tokenward/more").await.unwrap(), "second");
}

#[tokio::test]
async fn a_mail_is_read_back_as_its_recipient_sees_it() {
    let world = World::start().await;
    world.mail(SENDER, "Zugang läuft ab").await.unwrap();
    world.seconds.fetch_add(31 * 86_400, Ordering::Relaxed);
    world.mail("Tokenward <Tokenward@example.com>", "Second").await.unwrap();

    let [first, second] = world.cloud.mailbox().try_into().unwrap();
    assert_eq!(first.to, ["alice@acme.example"]);
    assert_eq!(first.subject, "Zugang läuft ab");
    assert_eq!((first.text.trim_end(), first.html.trim_end()), ("Größe & <b>", "<p>Größe &amp; mehr</p>"));
    assert_eq!(second.sent_at, Timestamp::from_second(1_800_000_000 + 31 * 86_400).unwrap());
    assert_eq!(second.subject, "Second");
    assert!(world.cloud.raw_mailbox()[1].contains("\r\nSubject: Second\r\n"));
}

#[tokio::test]
async fn a_sender_that_is_not_verified_is_refused() {
    let world = World::start().await;
    assert_eq!(world.mail("mallory@example.com", "Hello").await, Err(refused("MessageRejected")));
    assert_eq!(world.cloud.mailbox(), []);
}

#[tokio::test]
async fn a_transaction_holds_together_and_tells_its_capacity() {
    let world = World::start().await;
    world.create_table().await;
    world.put("flow").await.unwrap();

    let put = |id: &str| Put::builder().table_name("Flows").item("id", text(id)).build().unwrap();
    let delete = Delete::builder().table_name("Flows").key("id", text("flow")).build().unwrap();
    let taken =
        Put::builder().table_name("Flows").item("id", text("flow")).condition_expression("attribute_not_exists(id)");
    let refused_write = world
        .dynamodb()
        .transact_write_items()
        .transact_items(TransactWriteItem::builder().put(put("other")).build())
        .transact_items(TransactWriteItem::builder().put(taken.build().unwrap()).build());
    assert_eq!(code(&refused_write.send().await.unwrap_err()), refused("TransactionCanceledException"));
    assert_eq!(world.get("other").await.item, None);

    let write = world
        .dynamodb()
        .transact_write_items()
        .transact_items(TransactWriteItem::builder().put(put("other")).build())
        .transact_items(TransactWriteItem::builder().delete(delete).build())
        .return_consumed_capacity(ReturnConsumedCapacity::Total);
    let units = write.send().await.unwrap().consumed_capacity()[0].capacity_units();
    assert_eq!(units, Some(4.0));
    assert!(world.get("other").await.item.is_some());
    assert_eq!(world.get("flow").await.item, None);
}

#[tokio::test]
async fn the_calls_seen_carry_whether_a_read_was_consistent() {
    let world = World::start().await;
    world.create_table().await;
    let dynamodb = world.dynamodb();
    world.faults.forget_calls();

    world.get("flow").await;
    dynamodb.get_item().table_name("Flows").key("id", text("flow")).send().await.unwrap();
    let query = dynamodb.query().table_name("Flows").key_condition_expression("id = :id");
    query.expression_attribute_values(":id", text("flow")).send().await.unwrap();
    let keys = KeysAndAttributes::builder().keys([("id".to_owned(), text("flow"))].into()).consistent_read(true);
    dynamodb.batch_get_item().request_items("Flows", keys.build().unwrap()).send().await.unwrap();
    let get = Get::builder().table_name("Flows").key("id", text("flow")).build().unwrap();
    let get = TransactGetItem::builder().get(get).build();
    dynamodb.transact_get_items().transact_items(get).send().await.unwrap();
    world.put("flow").await.unwrap();

    let seen: Vec<_> = world.faults.calls().into_iter().map(|call| (call.target, call.consistent)).collect();
    let expected = [
        ("dynamodb/GetItem", Some(true)),
        ("dynamodb/GetItem", Some(false)),
        ("dynamodb/Query", Some(false)),
        ("dynamodb/BatchGetItem", Some(true)),
        ("dynamodb/TransactGetItems", Some(true)),
        ("dynamodb/PutItem", None),
    ];
    assert_eq!(seen, expected.map(|(target, consistent)| (target.to_owned(), consistent)));
}

#[tokio::test]
async fn a_lost_reply_does_the_work_and_a_reset_does_not() {
    let world = World::start().await;
    world.create_table().await;

    world.break_once("dynamodb/PutItem", Mode::Reset);
    assert_eq!(world.put("flow").await, Err(None));
    assert_eq!(world.get("flow").await.item, None);
    world.break_once("dynamodb/PutItem", Mode::LostReply);
    assert_eq!(world.put("flow").await, Err(None));
    assert!(world.get("flow").await.item.is_some());
    assert_eq!(world.put("flow").await, Err(refused("ConditionalCheckFailedException")));

    world.break_once("ses/SendRawEmail", Mode::Reset);
    assert_eq!(world.mail(SENDER, "Hello").await, Err(None));
    assert_eq!(world.cloud.mailbox().len(), 0);
    world.break_once("ses/SendRawEmail", Mode::LostReply);
    assert_eq!(world.mail(SENDER, "Hello").await, Err(None));
    assert_eq!(world.cloud.mailbox().len(), 1);
}

#[tokio::test]
async fn each_service_throttles_once_in_its_own_words() {
    let world = World::start().await;
    world.create_table().await;
    let blob = world.wrap("acme").await;
    let key = world.cloud.kms_key();
    for target in
        ["dynamodb/PutItem", "kms/Decrypt", "secretsmanager/GetSecretValue", "ses/SendRawEmail", "sqs/SendMessage"]
    {
        world.break_once(target, Mode::Throttle);
    }
    assert_eq!(world.put("flow").await, Err(refused("ProvisionedThroughputExceededException")));
    assert_eq!(world.unwrap(key, "acme", &blob).await, Err(refused("ThrottlingException")));
    assert_eq!(world.secret("tokenward/apps").await, Err(refused("ThrottlingException")));
    assert_eq!(world.mail(SENDER, "Hello").await, Err(refused("Throttling")));
    assert_eq!(world.send("Hello").await, Err(refused("RequestThrottled")));

    world.put("flow").await.unwrap();
    world.unwrap(key, "acme", &blob).await.unwrap();
    world.secret("tokenward/apps").await.unwrap();
    world.mail(SENDER, "Hello").await.unwrap();
    world.send("Hello").await.unwrap();
}

#[tokio::test]
async fn the_sdk_itself_gets_over_one_throttled_call() {
    let mut world = World::start().await;
    let retry = RetryConfig::standard().with_initial_backoff(Duration::from_millis(1));
    world.sdk = world.sdk.into_builder().retry_config(retry).build();
    for target in ["secretsmanager/GetSecretValue", "ses/SendRawEmail"] {
        world.break_once(target, Mode::Throttle);
    }
    world.secret("tokenward/apps").await.unwrap();
    world.mail(SENDER, "Hello").await.unwrap();
    assert_eq!(world.faults.counts()["secretsmanager/GetSecretValue"], 2);
    assert_eq!(world.faults.counts()["ses/SendRawEmail"], 2);
}

#[tokio::test]
async fn a_restart_keeps_tables_keys_mails_and_messages() {
    let dir = tempfile::tempdir().unwrap();
    let before = World::at(dir.path()).await;
    before.create_table().await;
    before.put("flow").await.unwrap();
    let blob = before.wrap("acme").await;
    let key = before.cloud.kms_key().to_owned();
    let data_key = before.unwrap(&key, "acme", &blob).await.unwrap();
    before.mail(SENDER, "Hello").await.unwrap();
    let mails = before.cloud.mailbox();
    before.send("a sealed grant").await.unwrap();
    drop(before);

    let after = World::at(dir.path()).await;
    assert!(after.get("flow").await.item.is_some());
    assert_eq!(after.cloud.kms_key(), key);
    assert_eq!(after.unwrap(&key, "acme", &blob).await, Ok(data_key));
    assert_eq!(after.cloud.mailbox(), mails);
    assert_eq!(after.cloud.messages("SpillQueue"), ["a sealed grant"]);
}

// S39
#[tokio::test]
async fn no_secret_of_the_secrets_manager_is_ever_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::at(dir.path()).await;
    world.create_table().await;
    world.mail(SENDER, "Hello").await.unwrap();
    let put = world.secrets_manager().put_secret_value().secret_id("tokenward/apps").secret_string("put-secret-canary");
    put.send().await.unwrap();
    assert_eq!(world.secret("tokenward/apps").await.unwrap(), "put-secret-canary");

    let mut names = Vec::new();
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let path = file.unwrap().path();
        let found = std::fs::read(&path).unwrap().windows(13).any(|bytes| bytes == b"secret-canary");
        assert!(!found, "{} holds a secret", path.display());
        names.push(path.file_name().unwrap().to_owned());
    }
    assert!(["cloud.db", "kms.json", "mail.json"].iter().all(|file| names.iter().any(|name| name == file)));
}

#[tokio::test]
async fn a_dropped_cloud_frees_its_port() {
    let world = World::start().await;
    let address = world.sdk.endpoint_url().unwrap().trim_start_matches("http://").to_owned();
    drop(world);
    for _ in 0..100 {
        if TcpListener::bind(&address).await.is_ok() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{address} is still taken");
}
