//! The cloud and the networks on one machine: what `cargo run -p sandbox` starts, and what tests
//! start on free ports.
//!
//! The functions are the deployed ones, run by their own routers; the routes, tables and
//! environment variables are those of `template.yaml`. Everything around them is a stand-in on
//! loopback: the gateway, the AWS services, the networks, an OIDC issuer, and a clock that can be
//! moved. So one address says "31 days later", and a person can watch a token age, the mail arrive
//! and its link work.
//!
//! ```no_run
//! # use sandbox::{Options, Sandbox};
//! # async fn example() -> Result<(), sandbox::StartError> {
//! let sandbox = Sandbox::start(Options::default()).await?;
//! println!("open {}/", sandbox.url());
//! # Ok(()) }
//! ```

pub mod clock;
pub mod cloud;
mod containers;
pub mod data;
mod doors;
pub mod faults;
pub mod functions;
pub mod gateway;
pub mod issuer;
pub mod live;
pub mod networks;
mod pages;
mod poller;
pub mod template;
mod tick;

use std::{
    collections::BTreeMap,
    fmt, io,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use axum::response::IntoResponse as _;
use http::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use shared::{edge::Fatal, random::Random};
use tokio::{net::TcpListener, task::JoinSet};

use crate::{
    clock::MovableClock,
    cloud::{Cloud, CloudOptions, REGION},
    data::DataDir,
    faults::{Faults, Faulty},
    functions::{Environment, Functions},
    gateway::{Gateway, Invocation},
    issuer::{AUDIENCE, CONSOLE, Issuer},
    live::LiveApp,
    networks::{App, Network, Networks},
    poller::Poller,
    template::Template,
};

const APPS_SECRET: &str = "tokenward/apps";
const SENDER: &str = "tokenward@sandbox.example";
const MAIL_EVENTS: &str = "tokenward-sandbox";

/// What a sandbox is started with.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The first of three ports: pages and API, networks, AWS protocols. 0 takes three free ones.
    pub port: u16,
    /// Where everything is kept that shall outlive the process.
    pub data: DataDir,
    /// The real apps at the networks that are reached instead of played.
    pub live: Vec<LiveApp>,
    /// Where browsers reach the API when that is not here: the origin of another gateway in front of the functions, such
    /// as `http://localhost:3000`.
    pub public_url: Option<String>,
    /// An address of this machine at which functions in containers reach the networks and the AWS protocols.
    pub containers: Option<IpAddr>,
}

/// Why a sandbox did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Somebody else listens there.
    #[error("port {0} is taken; the sandbox needs three ports in a row: choose others with --port")]
    PortTaken(u16),
    /// Three ports do not fit behind it.
    #[error("there are no three ports from {0} on; choose others with --port")]
    NoSuchPort(u16),
    /// The port cannot be listened on for another reason.
    #[error("cannot listen on port {0}")]
    Listen(u16, #[source] io::Error),
    /// Containers cannot be let in at this address.
    #[error("cannot listen at {0} for containers: it has to be an address of this machine, as Docker's bridge is")]
    Containers(IpAddr, #[source] io::Error),
    /// What an earlier run left in the data directory cannot be read.
    #[error("the data directory cannot be used")]
    Data(#[from] io::Error),
    /// The tables could not be made.
    #[error("the tables cannot be made")]
    Tables(#[source] Box<aws_sdk_dynamodb::Error>),
    /// The tables in the data directory are those of another version.
    #[error("the data directory is of another version: delete it, or choose another with --data")]
    OtherVersion,
    /// The functions did not accept their environment.
    #[error("the functions cannot be started")]
    Functions(#[source] Fatal),
}

/// The running sandbox; it stops when it is dropped.
pub struct Sandbox {
    parts: Arc<Parts>,
    serving: JoinSet<()>,
}

/// What doors and pages can reach.
struct Parts {
    url: String,
    public_url: String,
    networks_url: String,
    aws_endpoint: String,
    live: Vec<LiveApp>,
    clock: MovableClock,
    faults: Faults,
    cloud: Cloud,
    networks: Networks,
    environment: Environment,
    aws: SdkConfig,
    functions: Arc<Functions>,
    pollers: Vec<Arc<Poller>>,
    gateway: Gateway,
    template: &'static Template,
}

impl Sandbox {
    /// Starts everything. What was kept in `options.data` is there again.
    ///
    /// # Errors
    /// When a port is taken or what was kept cannot be read.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let Options { port, data, live, public_url, containers } = options;
        let [front, networks, aws] = ports(port)?;
        let (front, front_port) = listen(front).await?;
        let (networks, networks_port) = listen(networks).await?;
        let (aws, aws_port) = listen(aws).await?;
        let url = format!("http://localhost:{front_port}");
        let networks_url = format!("http://127.0.0.1:{networks_port}");
        let aws_endpoint = format!("http://127.0.0.1:{aws_port}");
        let public_url = public_url.unwrap_or_else(|| url.clone());
        let mut serving = JoinSet::new();
        if let Some(address) = containers {
            for port in [networks_port, aws_port] {
                let relayed = containers::relay(address, port).await;
                serving.spawn(relayed.map_err(|error| StartError::Containers(address, error))?);
            }
        }

        let clock = MovableClock::open(&data)?;
        let faults = Faults::default();
        let apps = apps(&public_url);
        let cloud = CloudOptions {
            dir: data.clone(),
            clock: clock.clock(),
            faults: faults.clone(),
            secrets: [(APPS_SECRET.to_owned(), document(&apps, &live))].into(),
            senders: vec![SENDER.to_owned()],
            configuration_sets: vec![MAIL_EVENTS.to_owned()],
        };
        let (cloud, mut mail_events) = Cloud::start(aws, cloud).await?;
        let console = format!("{url}/console");
        let options = networks::Options { dir: data, clock: clock.clock(), faults: faults.clone(), apps, console };
        let networks = Networks::start(networks, options)?;

        let template = Template::deployed();
        let aws = aws_config(&aws_endpoint);
        let dynamodb = aws_sdk_dynamodb::Client::new(&aws);
        let tables = |error| StartError::Tables(Box::new(error));
        template.create_tables(&dynamodb, "").await.map_err(tables)?;
        if !template.fits_tables(&dynamodb).await.map_err(tables)? {
            return Err(StartError::OtherVersion);
        }
        let kms_key = cloud.kms_key();
        let addresses =
            Addresses { url: &url, public_url: &public_url, networks_url: &networks_url, aws_endpoint: &aws_endpoint };
        let environment = environment(template, &addresses, kms_key, networks.issuer(), &live);
        // making the tables is nobody's call
        faults.forget_calls();
        let functions = Functions::wire(&aws, &environment, &clock.clock()).map_err(StartError::Functions)?;
        let functions = Arc::new(functions);
        let pollers = Poller::deployed(template, cloud.sqs(), invoking(&functions));
        let gateway = Gateway::new(template, &format!("localhost:{front_port}"), clock.clock(), invoking(&functions));

        let parts = Arc::new(Parts {
            url,
            public_url,
            networks_url,
            aws_endpoint,
            live,
            clock,
            faults,
            cloud,
            networks,
            environment,
            aws,
            functions,
            pollers,
            gateway,
            template,
        });
        let router = parts.gateway.routes().merge(doors::routes(&parts)).merge(pages::routes(&parts));
        let unstruck = Faulty {
            faults: parts.faults.clone(),
            name: |_, _| None,
            clock: parts.clock.clock(),
            throttled: |_, _| StatusCode::TOO_MANY_REQUESTS.into_response(),
        };
        serving.spawn(faults::serve(front, router, unstruck));
        let functions = Arc::clone(&parts.functions);
        serving.spawn(async move {
            // the rule of the template: bounces and complaints go to this function
            while let Some(event) = mail_events.recv().await {
                if let Err(error) = functions.invoke("provider-events", event).await {
                    tracing::error!(%error, "an event of the mail service was not taken");
                }
            }
        });
        for poller in &parts.pollers {
            let (poller, clock) = (Arc::clone(poller), parts.clock.clone());
            serving.spawn(async move { poller.run(&clock).await });
        }
        Ok(Self { parts, serving })
    }

    /// Where people and clients begin: `http://localhost:PORT`, without a trailing slash.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.parts.url
    }

    /// Where browsers reach the API, without a trailing slash: here, unless [`Options::public_url`] says otherwise.
    #[must_use]
    pub fn public_url(&self) -> &str {
        &self.parts.public_url
    }

    /// Where the networks and the issuer are: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn networks_url(&self) -> &str {
        &self.parts.networks_url
    }

    /// What `AWS_ENDPOINT_URL` would be set to.
    #[must_use]
    pub fn aws_endpoint(&self) -> &str {
        &self.parts.aws_endpoint
    }

    /// The clock that everything here goes by.
    #[must_use]
    pub fn clock(&self) -> &MovableClock {
        &self.parts.clock
    }

    /// The faults to come, and the calls seen.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.parts.faults
    }

    /// The AWS services.
    #[must_use]
    pub fn cloud(&self) -> &Cloud {
        &self.parts.cloud
    }

    /// The networks.
    #[must_use]
    pub fn networks(&self) -> &Networks {
        &self.parts.networks
    }

    /// The OIDC issuer that everybody signs in with.
    #[must_use]
    pub fn issuer(&self) -> &Issuer {
        self.parts.networks.issuer()
    }

    /// The environment variables of every function.
    #[must_use]
    pub fn environment(&self) -> &Environment {
        &self.parts.environment
    }

    /// The functions, for whoever wants to invoke one past the gateway.
    #[must_use]
    pub fn functions(&self) -> &Functions {
        &self.parts.functions
    }

    /// The HTTP API.
    #[must_use]
    pub fn gateway(&self) -> &Gateway {
        &self.parts.gateway
    }

    /// A configuration of the AWS SDK that leads to this sandbox, with no credentials to lose.
    #[must_use]
    pub fn aws_config(&self) -> &SdkConfig {
        &self.parts.aws
    }

    /// Invokes a function as its schedule does, and again with what it sent on, until nothing new is done; returns the
    /// summary of it all. One that has no schedule and works off a queue gets what is visible there now, and the summary
    /// is how many messages it has done and how many come again: `{"delivered":1,"kept":0}`.
    ///
    /// # Errors
    /// When the function fails.
    pub async fn tick(&self, function: &str) -> Result<Value, Fatal> {
        self.parts.tick(function).await
    }

    /// One tick as it is in the cloud: the function is invoked as its schedule does, once, and each message that it sends
    /// on is handed over `times` times, as a queue may do that promises at least once. Returns the summary of it
    /// all; what that made due comes with the next tick.
    ///
    /// # Errors
    /// When the function fails, or has no queue.
    pub async fn tick_once(&self, function: &str, times: usize) -> Result<Value, Fatal> {
        self.parts.tick_once(function, times).await
    }

    /// Hands a function what is visible in its queue now, and returns when all that was visible before is done or comes
    /// again.
    ///
    /// # Errors
    /// When no queue invokes the function.
    pub async fn deliver(&self, function: &str) -> Result<Value, Fatal> {
        self.parts.deliver(function).await
    }

    /// Stops, and returns when nobody listens on the first port any more.
    pub async fn stop(mut self) {
        self.serving.shutdown().await;
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox").field("url", &self.parts.url).finish_non_exhaustive()
    }
}

fn ports(first: u16) -> Result<[u16; 3], StartError> {
    match first {
        0 => Ok([0; 3]),
        first if first > u16::MAX - 2 => Err(StartError::NoSuchPort(first)),
        first => Ok([first, first + 1, first + 2]),
    }
}

async fn listen(port: u16) -> Result<(TcpListener, u16), StartError> {
    let listening = async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let port = listener.local_addr()?.port();
        Ok((listener, port))
    };
    listening.await.map_err(|error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => StartError::PortTaken(port),
        _ => StartError::Listen(port, error),
    })
}

/// Two apps a network, the first of which is used for connecting, with secrets that are made anew at every start. The
/// second at YouTube is in testing.
fn apps(public_url: &str) -> Vec<App> {
    let random = Random::system();
    let app = |network: Network, suffix: &str, in_testing: bool| App {
        network,
        client_id: format!("tokenward-sandbox-{}{suffix}", network.name()),
        client_secret: random.token(),
        consumer_secret: (network == Network::X).then(|| random.token()),
        redirect_uri: format!("{public_url}/oauth/callback/{}", network.name()),
        in_testing,
    };
    let both = |network| match network {
        Network::Youtube => [app(network, "", false), app(network, "-testing", true)],
        _ => [app(network, "", false), app(network, "-2", false)],
    };
    Network::ALL.into_iter().flat_map(both).collect()
}

/// The apps as an operator would write them into the secret: the real one of a live network, and for the others that
/// the product knows those of the stand-ins. One in testing connects nothing by itself.
fn document(apps: &[App], live: &[LiveApp]) -> SecretString {
    let entry = |network: &str, client_id: &str, client_secret: &SecretString| json!({ "network": network, "client_id": client_id, "client_secret": client_secret.expose_secret() });
    let played = |app: &&App| {
        let network = app.network.name().parse::<shared::profile::Network>();
        network.is_ok_and(|network| live.iter().all(|live| live.network != network))
    };
    let stand_ins = apps.iter().filter(played).map(|app| {
        let mut entry = entry(app.network.name(), &app.client_id, &app.client_secret);
        if app.in_testing {
            entry["tokens"] = json!([]);
        }
        if let Some(secret) = &app.consumer_secret {
            entry["consumer_secret"] = secret.expose_secret().into();
        }
        entry
    });
    let real = live.iter().map(|app| entry(app.network.as_str(), &app.client_id, &app.client_secret));
    real.chain(stand_ins).collect::<Value>().to_string().into()
}

fn aws_config(endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new("sandbox", "sandbox", None, None, "sandbox");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static(REGION))
        .endpoint_url(endpoint)
        // plain HTTP, and one pool: a client of its own for each service would load the certificate authorities anew
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

/// Where everything is.
struct Addresses<'a> {
    url: &'a str,
    public_url: &'a str,
    networks_url: &'a str,
    aws_endpoint: &'a str,
}

/// Gives every function the variables that the template gives it, with the sandbox's values.
fn environment(
    template: &Template,
    addresses: &Addresses<'_>,
    kms_key: &str,
    issuer: &Issuer,
    live: &[LiveApp],
) -> Environment {
    let Addresses { url, public_url, networks_url, aws_endpoint } = *addresses;
    let live = live.iter().map(|app| app.network.as_str()).collect::<Vec<_>>().join(",");
    let values: BTreeMap<&str, String> = [
        ("STAGE", "sandbox".to_owned()),
        ("PUBLIC_URL", public_url.to_owned()),
        ("RETURN_URLS", format!("{url}/,{url}/console")),
        ("REAUTHENTICATE_URL", format!("{url}/console")),
        ("MAIL_FROM", SENDER.to_owned()),
        ("MAIL_EVENTS", MAIL_EVENTS.to_owned()),
        ("OIDC_ISSUER", issuer.url().to_owned()),
        ("OIDC_AUDIENCE", AUDIENCE.to_owned()),
        ("OIDC_TOKEN_ORIGIN", networks_url.to_owned()),
        ("CONSOLE_CLIENT_ID", CONSOLE.to_owned()),
        ("CONSOLE_SCOPE", "openid".to_owned()),
        ("TENANT_CLAIM", "tenant".to_owned()),
        ("ROLES_CLAIM", "roles".to_owned()),
        ("GROUPS_CLAIM", "groups".to_owned()),
        ("GRAPH_VERSION", "v26.0".to_owned()),
        ("DUE_SHARDS", "4".to_owned()),
        // people see exact times
        ("DUE_JITTER_MINUTES", "0".to_owned()),
        ("VAULT_TABLE", "Vault".to_owned()),
        ("FLOWS_TABLE", "Flows".to_owned()),
        ("KEYS_TABLE", "Keys".to_owned()),
        ("KMS_KEY", kms_key.to_owned()),
        ("APPS_SECRET", APPS_SECRET.to_owned()),
        ("SPILL_QUEUE", format!("{aws_endpoint}/000000000000/SpillQueue")),
        ("DUE_QUEUE", format!("{aws_endpoint}/000000000000/DueQueue")),
    ]
    .into();
    let variables = |names: &BTreeMap<String, String>| {
        let known = names.keys().filter_map(|name| Some((name.clone(), values.get(name.as_str())?.clone())));
        let mut variables: BTreeMap<String, String> = known.collect();
        // whoever has apps speaks to the networks
        if variables.contains_key("APPS_SECRET") {
            variables.insert("NETWORK_ENDPOINT".to_owned(), networks_url.to_owned());
            if !live.is_empty() {
                variables.insert("NETWORK_ENDPOINT_EXCEPT".to_owned(), live.clone());
            }
        }
        variables
    };
    let of = template.functions.iter().map(|function| (function.name.clone(), variables(&function.environment)));
    of.collect()
}

fn invoking(functions: &Arc<Functions>) -> impl Fn(String, Value) -> Invocation + Send + Sync + 'static {
    let functions = Arc::clone(functions);
    move |function, event| {
        let functions = Arc::clone(&functions);
        Box::pin(async move { functions.invoke(&function, event).await })
    }
}
