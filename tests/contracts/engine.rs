//! The two engines, each with the tables of the deployment and a KMS key of its own.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_kms::config::{Credentials, SharedCredentialsProvider};
use sandbox::{
    cloud::{Cloud, CloudOptions, REGION},
    data::DataDir,
    faults::Faults,
    template::Template,
};
use serde_json::Value;
use tokio::{net::TcpListener, sync::Semaphore};

use super::{NOW, clock_at};
use crate::support::client;

/// Where it is told what becomes of mails.
pub(super) const MAIL_EVENTS: &str = "tokenward";

/// The address that mail may be sent from.
pub(super) const SENDER: &str = "tokenward@example.com";

/// Something that speaks the protocols of AWS.
pub(super) struct Engine {
    pub(super) sdk: SdkConfig,
    /// Sets apart the tests that share a `moto`.
    prefix: String,
    serving: Serving,
}

enum Serving {
    StandIns(Box<Cloud>),
    Moto(Arc<Moto>),
}

/// Runs `case` against the stand-ins, then against `moto`; what it prints names the one that fails.
pub(super) async fn on_each(case: impl AsyncFn(&Engine)) {
    // moto is one interpreter: more tests at once only wait for each other there, until their requests time out
    static AT_ONCE: Semaphore = Semaphore::const_new(2);
    eprintln!("on the stand-ins");
    Box::pin(case(&Engine::stand_ins().await)).await;
    // held while it waits, so that the process serves all tests
    let moto = Moto::running();
    let _permit = AT_ONCE.acquire().await.unwrap();
    eprintln!("on moto");
    Box::pin(case(&Engine::moto(moto).await)).await;
}

impl Engine {
    async fn stand_ins() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let options = CloudOptions {
            dir: DataDir::memory(),
            clock: clock_at(NOW),
            faults: Faults::default(),
            secrets: [].into(),
            senders: vec![SENDER.to_owned()],
            configuration_sets: vec![MAIL_EVENTS.to_owned()],
        };
        Self::at(&url, Serving::StandIns(Box::new(Cloud::start(listener, options).await.unwrap().0))).await
    }

    async fn moto(moto: Arc<Moto>) -> Self {
        let engine = Self::at(&moto.url, Serving::Moto(Arc::clone(&moto))).await;
        let ses = aws_sdk_ses::Client::new(&engine.sdk);
        ses.verify_email_identity().email_address(SENDER).send().await.unwrap();
        engine
    }

    async fn at(url: &str, serving: Serving) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let credentials = Credentials::new("id", "secret", None, None, "test");
        let sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static(REGION))
            .endpoint_url(url)
            // plain HTTP: no certificate authorities are loaded
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build();
        let engine = Self { sdk, prefix: format!("test{}-", STARTED.fetch_add(1, Ordering::Relaxed)), serving };
        Template::deployed().create_tables(&engine.dynamodb(), &engine.prefix).await.unwrap();
        engine
    }

    pub(super) fn is_moto(&self) -> bool {
        matches!(self.serving, Serving::Moto(_))
    }

    /// A name that no other test uses on this engine.
    pub(super) fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// What the table of the template is called here.
    pub(super) fn table(&self, logical_id: &str) -> String {
        self.name(logical_id)
    }

    pub(super) fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.sdk)
    }

    pub(super) fn kms(&self) -> aws_sdk_kms::Client {
        aws_sdk_kms::Client::new(&self.sdk)
    }

    pub(super) fn secrets_manager(&self) -> aws_sdk_secretsmanager::Client {
        aws_sdk_secretsmanager::Client::new(&self.sdk)
    }

    pub(super) fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&self.sdk)
    }

    /// The URL of the queue `SpillQueue`, which nobody but this test uses.
    pub(super) async fn spill_queue(&self) -> String {
        match &self.serving {
            Serving::StandIns(_) => format!("{}/000000000000/SpillQueue", self.sdk.endpoint_url().unwrap()),
            Serving::Moto(_) => {
                let create = self.sqs().create_queue().queue_name(self.name("SpillQueue"));
                create.send().await.unwrap().queue_url.unwrap()
            }
        }
    }

    /// Every mail that was sent to `address`, as it was sent.
    pub(super) async fn mails_to(&self, address: &str) -> Vec<String> {
        match &self.serving {
            Serving::StandIns(cloud) => {
                let mails = cloud.mailbox().into_iter().zip(cloud.raw_mailbox());
                mails.filter(|(mail, _)| mail.to == [address]).map(|(_, raw)| raw).collect()
            }
            Serving::Moto(moto) => {
                let url = format!("{}/moto-api/data.json", moto.url);
                let seen: Value = client().get(url).send().await.unwrap().json().await.unwrap();
                let mails = seen["ses"]["RawMessage"].as_array().unwrap().iter();
                // moto adds the addresses of the header to the destinations, which AWS does not
                let ours = mails.filter(|mail| mail["destinations"].as_array().unwrap().iter().all(|to| to == address));
                ours.map(|mail| mail["raw_data"].as_str().unwrap().to_owned()).collect()
            }
        }
    }
}

/// A process of `moto` on a port of its own; it ends with the last test that uses it.
struct Moto {
    url: String,
    process: Child,
}

impl Moto {
    /// The process that other tests use at this moment, or a new one.
    fn running() -> Arc<Self> {
        static RUNNING: Mutex<Weak<Moto>> = Mutex::new(Weak::new());
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        running.upgrade().unwrap_or_else(|| {
            let moto = Arc::new(Self::start());
            *running = Arc::downgrade(&moto);
            moto
        })
    }

    fn start() -> Self {
        let home = env!("CARGO_MANIFEST_DIR");
        let python = format!("{home}/../target/tools/bin/python");
        assert!(fs::exists(&python).unwrap(), "{python} is missing: run tests/run once, it installs the tools");
        let mut process = Command::new(python)
            .arg(format!("{home}/contracts/serve_moto.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut url).unwrap();
        let moto = Self { url: url.trim_end().to_owned(), process };
        assert!(!moto.url.is_empty(), "moto does not start: run tests/run once, it installs the tools");
        moto
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let ended = self.process.kill().and_then(|()| self.process.wait());
        if let Err(error) = ended {
            eprintln!("moto could not be ended: {error}");
        }
    }
}
