//! Forty-five days of a large deployment, tick by tick.
//!
//! Tokens are loaded in bulk, of every age, and then nothing happens but the schedule: every five minutes a tick, whose
//! messages are each delivered twice, while one call in a hundred to the cloud and to the networks goes wrong. In the end
//! everything that had to happen has happened once: each token was renewed, asked after, warned of and ended as its time
//! came, no refresh token was burnt, and nobody was written to twice about the same thing.
//!
//! What was used is counted in the services' own units and printed as a table, with what a month of it costs, beside the
//! same on paper for deployments of other sizes: `cargo bench -p tests --bench simulation -- 1000000`.
#![expect(clippy::cast_precision_loss, reason = "no count of it is near the 52 bits that are exact")]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use jiff::{SignedDuration, Timestamp};
use sandbox::{faults::Mode, networks::Network};
use serde_json::Value;

use crate::support::World;

mod costs;
mod population;

use costs::{Dollars, Events, STANDING, Usage};
use population::{Loaded, TENANT};

/// How often the schedule ticks.
const TICK: SignedDuration = SignedDuration::from_mins(5);
const TICKS_A_DAY: usize = 24 * 12;
/// The steps of the first ladder, in days before the end, and the end.
const STEPS: [i64; 6] = [30, 15, 7, 3, 1, 0];

/// What was counted.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    days: usize,
    tokens: usize,
    /// How many rows each tick found due.
    due: Vec<u64>,
    events: Events,
    used: Usage,
    /// What the summaries say, added up.
    summary: BTreeMap<String, u64>,
}

/// Runs `days` days with `tokens` tokens, and tells what happened; progress goes to the standard error.
#[expect(clippy::disallowed_methods, reason = "it is told how long it takes, and nothing depends on it")]
pub(crate) async fn run(tokens: usize, days: usize) -> Counted {
    let (world, began) = (World::start().await, Instant::now());
    let tokens = tokens - tokens % TENANT;
    let loaded = population::load(&world, tokens, |loaded| {
        if loaded % 1_000 == 0 {
            eprint!("\r{loaded} of {tokens} tokens are loaded");
        }
    })
    .await;
    eprintln!(" after {:.0?}", began.elapsed());

    let start = world.sandbox.clock().now();
    let mut counted = Counted { days, tokens, ..Counted::default() };
    counted.catch_up(&world).await;
    let faults = world.sandbox.faults().clone();
    faults.forget_calls();
    faults.shake(100, failing);
    let began = Instant::now();
    for day in 1..=days {
        for _ in 0..TICKS_A_DAY {
            world.sandbox.clock().advance(u32::try_from(TICK.as_secs()).unwrap()).unwrap();
            // a tick that fails is made up for by the next
            let summary = world.sandbox.tick_once("expiry-sweep", 2).await.unwrap_or_default();
            counted.add(&summary);
        }
        counted.count(&faults.counts(), faults.consumed());
        faults.forget_calls();
        let left = began.elapsed().mul_f64((days - day) as f64 / day as f64);
        eprint!("\rday {day} of {days}, about {left:.0?} left   ");
    }
    eprintln!(" {tokens} tokens, {days} days: {:.0?}", began.elapsed());
    faults.shake(0, failing);
    counted.verify(&world, &loaded, start).await;
    counted
}

/// How a call goes wrong. An answer of X that is lost costs the token that it was for, as the product says; here nobody
/// is to be signed in for again, so the networks fail without having done anything.
fn failing(target: &str) -> Option<Mode> {
    match target.split_once('/')? {
        ("dynamodb" | "kms", _) => Some(Mode::LostReply),
        ("sqs" | "secretsmanager", _) => Some(Mode::Status),
        ("ses", _) => Some(Mode::Throttle),
        ("x" | "facebook" | "instagram" | "youtube", _) => Some(Mode::Reset),
        _ => None,
    }
}

impl Counted {
    /// Works off what fell due while tokens were loaded, which is no tick's.
    async fn catch_up(&mut self, world: &World) {
        while self.due.pop() != Some(0) {
            self.add(&world.sandbox.tick_once("expiry-sweep", 1).await.unwrap());
        }
    }

    fn add(&mut self, summary: &Value) {
        for (name, value) in summary.as_object().into_iter().flatten() {
            *self.summary.entry(name.clone()).or_default() += value.as_u64().unwrap_or(0);
        }
        self.due.push(summary["dispatched"].as_u64().unwrap_or_default());
    }

    fn count(&mut self, calls: &BTreeMap<String, u64>, consumed: sandbox::faults::Consumed) {
        let to = |service: &str| -> f64 {
            calls.iter().filter(|(target, _)| target.starts_with(service)).map(|(_, times)| *times as f64).sum()
        };
        self.used.read_units += consumed.read;
        self.used.write_units += consumed.write;
        self.used.queue_requests += to("sqs/");
        self.used.key_requests += to("kms/");
        self.used.secret_requests += to("secretsmanager/");
        self.used.mails += to("ses/");
    }

    fn said(&self, name: &str) -> u64 {
        self.summary.get(name).copied().unwrap_or_default()
    }

    /// Everything that had to happen has happened, once.
    async fn verify(&mut self, world: &World, loaded: &[Loaded], start: Timestamp) {
        let end = world.sandbox.clock().now();
        let due = |expires_at: Timestamp| {
            let step = move |days: &i64| expires_at - SignedDuration::from_hours(24 * days);
            STEPS.iter().map(step).filter(|at| (start..=end - TICK).contains(at)).count()
        };
        let steps: usize = loaded.iter().filter_map(|token| token.expires_at).map(due).sum();
        let rows = world.rows("Vault").await;
        self.used.stored = rows.len() as f64 * 1.5e-6;
        let of =
            |prefix: &str| rows.iter().filter(|row| row["sk"].as_s().unwrap().starts_with(prefix)).collect::<Vec<_>>();
        let notices = of("NOTICE#p").len();
        assert!(
            notices >= steps && notices <= steps + loaded.len() / 100,
            "{notices} steps were told, {steps} were due"
        );
        assert_eq!(self.said("warned") + self.said("expired"), notices as u64, "each step is told once");
        assert_eq!(self.said("died"), 0, "nothing died");
        for network in Network::ALL {
            let of_network = loaded.iter().filter(|token| token.network == network).count();
            let living = world.sandbox.networks().living_grants(network);
            // the model's own was revoked, where it could be
            assert!(
                (of_network..=of_network + 1).contains(&living),
                "{living} grants of {of_network} at {network:?} live"
            );
        }
        let states: BTreeMap<_, usize> = of("TOKEN#").iter().fold(BTreeMap::new(), |mut states, row| {
            *states.entry(row["state"].as_s().unwrap().clone()).or_default() += 1;
            states
        });
        let over = loaded.iter().filter(|token| token.expires_at.is_some_and(|at| at < end - TICK)).count();
        assert_eq!(states.get("expired").copied().unwrap_or_default(), over, "{states:?}");
        assert_eq!(states.get("needs_reauth"), None, "{states:?}");

        let mails = world.sandbox.cloud().mailbox();
        let distinct: BTreeSet<_> = mails.iter().map(|mail| (mail.to.clone(), mail.text.clone())).collect();
        assert_eq!(distinct.len(), mails.len(), "nobody is written to twice about the same");
        assert!(mails.len() <= notices, "{} mails for {notices} steps", mails.len());
        self.events = Events {
            tokens: loaded.len() as f64,
            renewed: self.said("renewed") as f64,
            inspected: self.said("inspected") as f64,
            steps: notices as f64,
            mails: mails.len() as f64,
        };
    }

    /// The most rows that a tick found due, and how many on average.
    fn peak(&self) -> (u64, f64) {
        let rows: u64 = self.due.iter().sum();
        (self.due.iter().max().copied().unwrap_or_default(), rows as f64 / self.due.len().max(1) as f64)
    }

    /// The most rows that a tick found due, but for one tick in so many.
    fn most_but(&self, one_in: usize) -> u64 {
        let mut due = self.due.clone();
        due.sort_unstable_by(|one, other| other.cmp(one));
        due.get(due.len() / one_in).copied().unwrap_or_default()
    }

    /// The table that people read: what was counted, and other sizes on paper.
    pub(crate) fn table(&self) -> String {
        let month = 30.0 / self.days as f64;
        let mut lines = vec![format!(
            "{:>16} {:>12} {:>12} {:>12} {:>12} {:>10} {:>10} {:>10} {:>10}",
            "tokens", "due rows", "reads", "writes", "SQS", "KMS", "mails", "tables", "a month"
        )];
        let mut line = |name: String, rows: f64, used: Usage| {
            let Usage { read_units, write_units, queue_requests, key_requests, mails, .. } = used;
            let (tables, all) = (Dollars(used.tables()), Dollars(used.dollars() + STANDING));
            lines.push(format!(
                "{name:>16} {rows:>12.0} {read_units:>12.0} {write_units:>12.0} {queue_requests:>12.0} {key_requests:>10.0} \
                 {mails:>10.0} {tables:>10} {all:>10}"
            ));
        };
        let rows = |events: &Events| events.renewed + events.inspected + events.steps + events.mails;
        let paper = |tokens: f64| (rows(&Events::on_paper(tokens)), Events::on_paper(tokens).usage());
        let counted = self.used.times(month);
        let (peak, mean) = self.peak();
        line(
            format!("{} counted", self.tokens),
            mean * 30.0 * TICKS_A_DAY as f64,
            counted.with_machines_of(paper(self.tokens as f64).1),
        );
        let (due, used) = paper(self.tokens as f64);
        line(format!("{} on paper", self.tokens), due, used);
        for size in [1e3, 1e4, 1e5, 1e6, 1e7, 1e8] {
            let (due, used) = paper(size);
            line(format!("{size:.0}"), due, used);
        }
        let usual = self.most_but(1_000);
        lines.push(format!(
            "rows found due by a tick: {mean:.1} on average, {usual} at most but for one tick in a thousand, {peak} at most"
        ));
        lines.join("\n")
    }
}

impl Counted {
    /// Asserts that no tick found many more rows due than the others, and that what was used is near what is on paper.
    pub(crate) fn assert_bounds(&self) {
        // one tick in a thousand may find more: what failed just before comes again there
        let (mean, usual) = (self.peak().1, self.most_but(1_000));
        assert!(usual as f64 <= 2.0 * mean, "{usual} rows were due at a tick, {mean:.1} on average");
        let peak = self.peak().0;
        assert!(peak as f64 <= 2.5 * mean, "at most {peak} rows were due at a tick, {mean:.1} on average");
        let month = 30.0 / self.days as f64;
        let on_paper = Events::on_paper(self.tokens as f64).usage();
        // the second delivery of a message reads its rows and writes nothing
        for (name, used, paper, most) in [
            ("read units", self.used.read_units, on_paper.read_units, 1.6),
            ("write units", self.used.write_units, on_paper.write_units, 1.2),
        ] {
            let ratio = used * month / paper;
            assert!(ratio < most, "{name}: {ratio:.2} times what is on paper");
        }
    }
}

// S56, S57, S59, S62, S63
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute or two: run by tests/run"]
async fn for_a_day_everything_happens_once_to_20_000_tokens_although_messages_come_twice_and_calls_fail() {
    let counted = run(20_000, 1).await;
    println!("{}", counted.table());
    counted.assert_bounds();
}
