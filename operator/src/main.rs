//! The command `tokenward`: what a person types, what the person reads, and the exit code.

use std::{
    io::{self, BufReader, BufWriter, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use operator::{
    deployment::{Deployment, NoDeployment},
    doctor::{self, Verdict},
    reseal, restore, shred,
    transfer::{self, Identity, NoKey, Recipient},
};
use secrecy::{ExposeSecret as _, SecretString};
use shared::{
    access::TenantId,
    keys::{HARD_LIMIT, KeysError, Rotated, SOFT_LIMIT},
};
use url::Url;

/// Looks after a deployment of Tokenward: checks it, rotates and destroys keys, moves and restores tokens.
///
/// Exit codes: 0 all is well; 1 it was done, and something needs you; 2 it could not be done.
#[derive(Parser)]
#[command(
    name = "tokenward",
    version,
    after_help = "Which deployment is meant, `--stack` says: a file that \
    `aws cloudformation describe-stacks --stack-name NAME > stack.json` wrote. Credentials are found as the AWS tools \
    find them (AWS_PROFILE, single sign-on); attach the stack's OperatorPolicy to them.\n\n\
    To try it: cargo run -p sandbox, and then cargo run -p operator -- --sandbox http://localhost:8787 doctor"
)]
struct Arguments {
    #[command(flatten)]
    of: Of,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
#[group(multiple = false)]
struct Of {
    /// The stack's description, as `aws cloudformation describe-stacks` writes it
    #[arg(long, value_name = "FILE", default_value = "stack.json", global = true)]
    stack: PathBuf,
    /// A sandbox on this machine instead
    #[arg(long, value_name = "URL", global = true)]
    sandbox: Option<Url>,
}

#[derive(Subcommand)]
enum Command {
    /// Says what is wrong with the deployment and what to do; changes nothing
    Doctor,
    /// Makes a new version of a tenant's key; what the older ones sealed still opens
    RotateKeys {
        #[command(flatten)]
        whose: Whose,
        /// Give a shredded tenant a key again; what it had stays lost
        #[arg(long, requires = "tenant")]
        reopen: bool,
    },
    /// Puts what is stored under the newest key; goes on where it was cut off
    Reseal {
        #[command(flatten)]
        whose: Whose,
        /// At most so many rows a second
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        rate: u32,
    },
    /// Destroys a tenant's keys and everything that it stored, for good
    Shred {
        /// The tenant
        #[arg(long)]
        tenant: TenantId,
        /// The tenant's name once more, for scripts; otherwise you are asked to type it
        #[arg(long, value_name = "TENANT")]
        yes_shred: Option<String>,
    },
    /// Makes a key pair for an export: the identity on standard output, its recipient on standard error
    Identity,
    /// Writes a tenant's profiles and tokens to standard output, sealed to a recipient
    Export {
        /// The tenant
        #[arg(long)]
        tenant: TenantId,
        /// To whom it is sealed; `tokenward identity` makes one
        #[arg(long)]
        recipient: Recipient,
        /// Take along tokens whose refresh token works once (X). They end here as they are written: keep the file until it
        /// is imported, or their owners have to sign in again
        #[arg(long = "move")]
        moving: bool,
    },
    /// Reads an export from standard input and writes what is not here yet
    Import {
        /// The identity that it was sealed to
        #[arg(long, value_name = "FILE")]
        identity: PathBuf,
        /// Another tenant than the one that it was exported from
        #[arg(long)]
        tenant: Option<TenantId>,
    },
    /// Brings back what is missing from a table that was restored from a backup
    ///
    /// Nothing that is there is overwritten. Tokens whose refresh token works once (X) come back held: their owners are asked
    /// to sign in again. Without --apply it only lists what it would do. Where the history is lost too, nothing tells what
    /// was deleted on purpose from what was lost: read the list first.
    Restore {
        /// The restored table; its name is the Vault table's with `-restored` behind it, unless you say another
        #[arg(long, value_name = "TABLE")]
        from: Option<String>,
        /// Of this tenant alone
        #[arg(long)]
        tenant: Option<TenantId>,
        /// Do it
        #[arg(long)]
        apply: bool,
    },
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Whose {
    /// Of this tenant
    #[arg(long)]
    tenant: Option<TenantId>,
    /// Of every tenant that has a key
    #[arg(long)]
    all: bool,
}

/// Why the command ended with 2.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Operator(#[from] operator::OperatorError),
    #[error(transparent)]
    Deployment(#[from] NoDeployment),
    #[error("{0} cannot be read: {1}")]
    File(PathBuf, #[source] io::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Key(#[from] NoKey),
    #[error("nothing was done: what you typed is not the tenant's name")]
    NotConfirmed,
    #[error("this is not for a terminal: send it to a file")]
    Terminal,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(failed) => {
            eprintln!("tokenward: {failed}");
            ExitCode::from(2)
        }
    }
}

/// Does it; tells whether all is well.
async fn run(Arguments { of, command }: Arguments) -> Result<bool, Failed> {
    if let Command::Identity = command {
        return identity();
    }
    let deployment = of.deployment().await?;
    let watched = io::stderr().is_terminal();
    let mut progress = |how_far: &str| {
        if watched {
            eprint!("\r{how_far}\x1b[K");
        }
    };
    let well = match command {
        Command::Doctor => examine(&deployment).await,
        Command::RotateKeys { whose, reopen } => rotate(&deployment, whose, reopen).await?,
        Command::Reseal { whose, rate } => {
            let mut well = true;
            for tenant in whose.tenants(&deployment).await? {
                let pass = reseal::reseal(&deployment, &tenant, rate, &mut progress).await?;
                well &= pass.older.is_empty();
                let reseal::Pass { newest, resealed, current, older, closed } = pass;
                finish(watched);
                println!("{tenant}: version {newest}; {resealed} rows resealed, {current} were under it already");
                for (version, rows) in older {
                    println!("{tenant}: {rows} rows are still under version {version}; run it again");
                }
                if closed > 0 {
                    println!("{tenant}: {closed} of these do not open: their owners have to sign in again");
                }
                warn_of_a_young_key(&deployment, &tenant).await?;
            }
            well
        }
        Command::Shred { tenant, yes_shred } => {
            confirm(&tenant, yes_shred)?;
            let remains = shred::shred(&deployment, &tenant, &mut progress).await?;
            finish(watched);
            println!("{tenant}: {} keys destroyed, {} rows deleted", remains.keys, remains.rows);
            println!("what it had is unreadable for every process from {}", remains.unreadable_from);
            println!("and for whoever may restore the Keys table from {}", remains.backups_until);
            println!("run it again after the first of these moments, to delete what was written meanwhile");
            println!("to let the tenant begin anew: tokenward rotate-keys --tenant {tenant} --reopen");
            true
        }
        Command::Identity => true,
        Command::Export { tenant, recipient, moving } => {
            if io::stdout().is_terminal() {
                return Err(Failed::Terminal);
            }
            let mut out = BufWriter::new(io::stdout().lock());
            let exported = transfer::export(&deployment, &tenant, &recipient, moving, &mut out, &mut progress).await?;
            out.flush()?;
            finish(watched);
            eprintln!("{} profiles and {} tokens exported", exported.profiles, exported.tokens);
            left(&exported)
        }
        Command::Import { identity, tenant } => {
            let text = std::fs::read_to_string(&identity).map(SecretString::from);
            let identity = Identity::read(&text.map_err(|error| Failed::File(identity, error))?)?;
            let mut from = BufReader::new(io::stdin().lock());
            let imported = transfer::import(&deployment, tenant.as_ref(), &identity, &mut from, &mut progress).await?;
            finish(watched);
            let transfer::Transfer { profiles, tokens, there, .. } = &imported;
            println!("{profiles} profiles and {tokens} tokens imported; {there} tokens were there, as new or newer");
            left(&imported)
        }
        Command::Restore { from, tenant, apply } => {
            let from = from.unwrap_or_else(|| format!("{}-restored", deployment.facts.vault_table));
            let restoring = restore::restore(&deployment, &from, tenant.as_ref(), apply, &mut progress).await?;
            finish(watched);
            report(&restoring, apply);
            restoring.unreadable == 0
        }
    };
    Ok(well)
}

fn identity() -> Result<bool, Failed> {
    if io::stdout().is_terminal() {
        return Err(Failed::Terminal);
    }
    let (identity, recipient) = Identity::new()?;
    println!("{}", identity.text().expose_secret());
    eprintln!("{recipient}");
    Ok(true)
}

async fn examine(deployment: &Deployment) -> bool {
    let findings = doctor::examine(deployment).await;
    for finding in &findings {
        println!("{finding}");
    }
    println!("{}", doctor::NOT_LOOKED_AT);
    findings.iter().all(|finding| finding.verdict < Verdict::Warning)
}

async fn rotate(deployment: &Deployment, whose: Whose, reopen: bool) -> Result<bool, Failed> {
    let (keys, all, mut well) = (deployment.keys(), whose.all, true);
    for tenant in whose.tenants(deployment).await? {
        match keys.rotate(tenant.as_str(), reopen).await {
            Ok(Rotated::To(version)) => println!("{tenant}: version {version} seals from now on"),
            Ok(Rotated::NoKey) => {
                println!("{tenant}: has no key yet: nothing was ever connected, or it is another name");
                well = false;
            }
            Err(KeysError::Shredded) if all => println!("{tenant}: was shredded, and stays so"),
            Err(error) => return Err(operator::OperatorError::from(error).into()),
        }
    }
    let minutes = SOFT_LIMIT.as_mins();
    println!("every process has it within {minutes} minutes; `tokenward reseal` then brings along what is stored");
    Ok(well)
}

/// A process may seal under the version before for as long as it may hold it.
async fn warn_of_a_young_key(deployment: &Deployment, tenant: &TenantId) -> Result<(), Failed> {
    let standing = deployment.keys().standing(tenant.as_str()).await.map_err(operator::OperatorError::from)?;
    let settled = standing.map(|standing| standing.since + HARD_LIMIT);
    if let Some(settled) = settled.filter(|settled| deployment.clock.now() < *settled) {
        println!("{tenant}: processes may still seal under an older version until {settled}; run it again then");
    }
    Ok(())
}

/// Lets the person type the tenant's name.
fn ask_for(tenant: &TenantId) -> io::Result<String> {
    eprintln!(
        "This destroys every key, token, rule and setting of {tenant}, for good. At the networks nothing ends by it."
    );
    eprint!("Type the tenant's name to go on: ");
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

fn confirm(tenant: &TenantId, typed: Option<String>) -> Result<(), Failed> {
    let typed = typed.map_or_else(|| ask_for(tenant), Ok)?;
    if typed == tenant.as_str() { Ok(()) } else { Err(Failed::NotConfirmed) }
}

/// Says what was left out; tells whether that is nothing.
fn left(transfer: &transfer::Transfer) -> bool {
    for (token, why) in &transfer.left {
        eprintln!("left out: {token}: {why}");
    }
    transfer.left.is_empty()
}

fn report(restoring: &restore::Restoring, apply: bool) {
    for (what, held) in &restoring.brought {
        println!("{what}{}", if *held { "   held: its owner has to sign in again" } else { "" });
    }
    let restore::Restoring { brought, others, there, deleted, shredded, unreadable } = restoring;
    let verb = if apply { "were brought back" } else { "would be brought back" };
    println!("{} profiles and tokens and {others} other rows {verb}; {there} rows are there", brought.len());
    println!("{deleted} rows were deleted on purpose, {shredded} are of shredded tenants, {unreadable} cannot be read");
    if !apply {
        println!("nothing was changed: say --apply to do it");
    }
}

/// Leaves the line of the progress.
fn finish(watched: bool) {
    if watched {
        eprint!("\r\x1b[K");
    }
}

impl Of {
    async fn deployment(self) -> Result<Deployment, Failed> {
        if let Some(address) = &self.sandbox {
            return Ok(Deployment::of_sandbox(address).await?);
        }
        let description = std::fs::read_to_string(&self.stack).map_err(|error| Failed::File(self.stack, error))?;
        Ok(Deployment::of_stack(&description).await?)
    }
}

impl Whose {
    async fn tenants(self, deployment: &Deployment) -> Result<Vec<TenantId>, Failed> {
        if let Some(tenant) = self.tenant {
            return Ok(vec![tenant]);
        }
        let keys = deployment.keys();
        let mut tenants = Vec::new();
        for tenant in keys.tenants().await.map_err(operator::OperatorError::from)? {
            let standing = keys.standing(&tenant).await.map_err(operator::OperatorError::from)?;
            if standing.is_some_and(|standing| !standing.shredded) {
                tenants.extend(tenant.parse());
            }
        }
        Ok(tenants)
    }
}
