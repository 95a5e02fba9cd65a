//! `cargo run -p sandbox -- [--port 8787] [--data DIR] [--live NETWORK]… [--public-url URL] [--containers ADDRESS]`: everything
//! on this machine, until Ctrl-C.

use std::{
    error::Error,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use sandbox::{Options, Sandbox, data::DataDir, live::LiveApp};
use shared::edge::optional_variable;
use url::Url;

const USAGE: &str = "\
Tokenward on this machine: the product, a cloud and the networks, without an account anywhere.

usage: cargo run -p sandbox -- [--port PORT] [--data DIR] [--live NETWORK]… [--public-url URL] [--containers ADDRESS]

  --port PORT           the first of three ports in a row: pages and API, networks, AWS protocols (8787)
  --data DIR            where everything is kept; delete it to begin again (.sandbox)
  --live NETWORK        reach this network with an app of your own (TOKENWARD_LIVE_<NETWORK>_CLIENT_ID and
                        TOKENWARD_LIVE_<NETWORK>_CLIENT_SECRET) instead of its stand-in; may be repeated
  --public-url URL      where browsers reach the API when that is not here: the origin of another gateway in front of
                        the functions, such as http://localhost:3000 for `sam local start-api`
  --containers ADDRESS  a private address of this machine at which functions in containers reach the networks and the
                        AWS protocols, such as 172.17.0.1, Docker's bridge
  --help                this text
";

/// As the schedule in template.yaml.
const SWEEP_EVERY: Duration = Duration::from_mins(5);

struct Arguments {
    port: u16,
    data: PathBuf,
    live: Vec<LiveApp>,
    public_url: Option<String>,
    containers: Option<IpAddr>,
}

enum Wish {
    Run(Arguments),
    Help,
}

fn wish(mut arguments: impl Iterator<Item = String>) -> Result<Wish, String> {
    let mut wanted =
        Arguments { port: 8787, data: PathBuf::from(".sandbox"), live: Vec::new(), public_url: None, containers: None };
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{name} needs a value"));
        match name.as_str() {
            "--port" => {
                let port = value()?;
                wanted.port = port.parse().ok().filter(|port| *port > 0).ok_or(format!("{port:?} is no port"))?;
            }
            "--data" => wanted.data = value()?.into(),
            "--live" => {
                let app = LiveApp::from_environment(&value()?, optional_variable);
                wanted.live.push(app.map_err(|error| error.to_string())?);
            }
            "--public-url" => {
                let url = value()?;
                let origin = Url::parse(&url).ok().filter(|parsed| parsed.origin().ascii_serialization() == url);
                wanted.public_url = Some(origin.map(|_| url.clone()).ok_or(format!("{url:?} is no origin"))?);
            }
            "--containers" => {
                // whoever reaches it may use everything, so at least it is no address of the internet
                let address = value()?;
                let private = address.parse().ok().filter(Ipv4Addr::is_private);
                wanted.containers = Some(private.ok_or(format!("{address:?} is no private address"))?.into());
            }
            "--help" | "-h" => return Ok(Wish::Help),
            _ => return Err(format!("{name:?} is not known here")),
        }
    }
    Ok(Wish::Run(wanted))
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match wish(std::env::args().skip(1)) {
        Ok(Wish::Run(arguments)) => arguments,
        Ok(Wish::Help) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(mistake) => {
            eprint!("{mistake}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    tracing_subscriber::fmt().compact().with_max_level(tracing::Level::WARN).with_writer(std::io::stderr).init();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("The sandbox stopped: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(Arguments { port, data, live, public_url, containers }: Arguments) -> Result<(), Box<dyn Error>> {
    let dir = DataDir::at(&data)?;
    let options = Options { port, data: dir, live: live.clone(), public_url, containers };
    let sandbox = Sandbox::start(options).await?;
    println!("{}", banner(sandbox.url(), &data.display().to_string()));
    for LiveApp { network, client_id, .. } in &live {
        println!("  {network} is the live network, with your app {client_id}: it has to know the redirect URI");
        println!("         {}/oauth/callback/{network}\n", sandbox.public_url());
    }
    tokio::select! {
        () = keep_schedule(&sandbox) => {}
        stopping = tokio::signal::ctrl_c() => stopping?,
    }
    sandbox.stop().await;
    println!("\nStopped. Start it again and everything is where you left it.");
    Ok(())
}

async fn keep_schedule(sandbox: &Sandbox) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        if let Err(error) = sandbox.tick("expiry-sweep").await {
            tracing::error!(%error, "the sweep failed");
        }
    }
}

fn banner(url: &str, data: &str) -> String {
    format!(
        r#"
  Tokenward is running on this machine, without an account anywhere.

  Open   {url}/          what this is, and what to try next
         {url}/console   profiles and tokens
         {url}/mail      every mail that was sent

  Or try it from a shell:
    curl {url}/_sandbox/people
    curl {url}/_sandbox/sign-in -d '{{"person":"alice"}}'
    curl {url}/_sandbox/clock -d '{{"advance_seconds":2678400}}'
    curl {url}/_sandbox/tick -d '{{"function":"expiry-sweep"}}'

  Kept in {data}. Ctrl-C stops it.
"#
    )
}

fn with_causes(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        words.push_str(": ");
        words.push_str(&next.to_string());
        cause = next.source();
    }
    words
}
