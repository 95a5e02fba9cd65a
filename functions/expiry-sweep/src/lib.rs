//! The scheduled sweep: renews, inspects and ages tokens, watches acquisition, mails people, ends grants that nobody took
//! over, finishes removals of users.
//!
//! Two events invoke it. The schedule's makes it *dispatch* what is due: rows are found by index, so the cost follows the
//! due rows and not the stored ones, and sent on in errands of a few rows. A batch of such errands makes it *work* them off,
//! many invocations side by side. Rows are due in the index until they are done, so whatever is lost on the way comes with
//! the next tick, and nobody has to be told that it was done.
//!
//! Each row is done by itself: one that fails is logged, stays due and stands in nobody's way. Doing it again changes
//! nothing more, because every change is conditional on the row as it was read.

use std::{ops::AddAssign, time::Duration};

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::{
    access::TenantId,
    clock::{Clock, Deadline},
    connect::ReturnUrls,
    due::DueQueue,
    edge::{
        Fatal,
        queue::{Failed, Record},
    },
    mail::Mailer,
    metrics::{self, Metric},
    recent::Recent,
    refresh::{NEEDED, Refresher},
    revoke::Revoker,
    settings::Settings,
};

mod dispatch;
mod grants;
mod letter;
mod mailing;
mod reschedule;
mod tokens;
mod work;

pub use dispatch::BACKLOG;

/// How long an invocation works: a little shorter than Lambda lets it live.
pub const LIFE: Duration = Duration::from_secs(45);
/// What must be left of that before a row is begun: a refresh, and what is read and written around it.
pub const ROW: Duration = NEEDED.saturating_add(Duration::from_secs(5));
/// An attempt to refresh may run so long: longer than this function lives.
pub const REFRESH_LEASE: SignedDuration = SignedDuration::from_secs(50);

/// Everything that this function can reach; the same list as its IAM statements.
pub struct Sweep {
    /// The tables, the keys, the apps and the networks, to end grants.
    pub revoker: Revoker,
    /// The same, and the spill queue, to keep grants alive.
    pub refresher: Refresher,
    /// What is due, on its way from those who find it to those who do it.
    pub due: DueQueue,
    /// Writes to people.
    pub mailer: Mailer,
    /// The page that signs a person in and begins reauthenticating a profile.
    pub reauthenticate_url: String,
    /// The pages that a tenant may choose instead.
    pub return_urls: ReturnUrls,
    /// What was read a moment ago and changes rarely.
    pub recent: Memory,
    /// The time.
    pub clock: Clock,
}

/// The settings of tenants, remembered for a few seconds.
pub type Memory = Recent<TenantId, Settings>;

/// Why the sweep was invoked.
#[derive(Deserialize)]
#[serde(untagged)]
enum Event {
    /// By its schedule.
    Tick {
        #[serde(rename = "detail-type")]
        _kind: Scheduled,
    },
    /// By the queue, with errands.
    Errands {
        #[serde(rename = "Records")]
        records: Vec<Record>,
    },
}

#[derive(Deserialize)]
enum Scheduled {
    #[serde(rename = "Scheduled Event")]
    Event,
}

/// Which messages come again (`ReportBatchItemFailures`), and, for whoever invokes it by hand, what became of the others.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Worked {
    batch_item_failures: Vec<Failed>,
    #[serde(flatten)]
    summary: Summary,
}

/// What one invocation did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Rows that were due and sent on.
    pub dispatched: u32,
    /// Messages of earlier ticks that waited still; if they were too many, nothing was sent.
    pub waiting: u32,
    /// Tokens whose owners were warned.
    pub warned: u32,
    /// Tokens that ended.
    pub expired: u32,
    /// Tokens that were renewed: nobody had used them for long, or they would have ended.
    pub renewed: u32,
    /// Such tokens that could not be renewed now; they stay due.
    pub unrenewed: u32,
    /// Tokens of which their network said that they are in order.
    pub inspected: u32,
    /// Tokens of which their network did not say how they are; it is asked again within hours.
    pub uninspected: u32,
    /// Tokens that their network said are dead.
    pub died: u32,
    /// Networks at which acquisition got worse.
    pub worsened: u32,
    /// Mails that the mail service took.
    pub mailed: u32,
    /// Mails that may have been sent: no answer came.
    pub unanswered: u32,
    /// Mails that are tried again later.
    pub postponed: u32,
    /// Connect sessions that nobody completed.
    pub abandoned: u32,
    /// Users whose removal is finished.
    pub removed: u32,
    /// Grants that were ended at the network.
    pub revoked: u32,
    /// Grants that were left alone because something else lives on them.
    pub shared: u32,
    /// Grants that the network has no way to end.
    pub impossible: u32,
    /// Grants that the network could not be asked to end.
    pub unrevoked: u32,
    /// Rows that failed; they stay due.
    pub failed: u32,
    /// Whether there was more to do than time; it stays due.
    pub unfinished: bool,
}

impl AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        let Self {
            dispatched,
            waiting,
            warned,
            expired,
            renewed,
            unrenewed,
            inspected,
            uninspected,
            died,
            worsened,
            mailed,
            unanswered,
            postponed,
            abandoned,
            removed,
            revoked,
            shared,
            impossible,
            unrevoked,
            failed,
            unfinished,
        } = other;
        self.dispatched += dispatched;
        self.waiting += waiting;
        self.warned += warned;
        self.expired += expired;
        self.renewed += renewed;
        self.unrenewed += unrenewed;
        self.inspected += inspected;
        self.uninspected += uninspected;
        self.died += died;
        self.worsened += worsened;
        self.mailed += mailed;
        self.unanswered += unanswered;
        self.postponed += postponed;
        self.abandoned += abandoned;
        self.removed += removed;
        self.revoked += revoked;
        self.shared += shared;
        self.impossible += impossible;
        self.unrevoked += unrevoked;
        self.failed += failed;
        self.unfinished |= unfinished;
    }
}

impl Summary {
    /// What is watched of it.
    fn counts(&self, ticked: bool) -> [(Metric, u64); 14] {
        [
            (Metric::Sweeps, ticked.into()),
            (Metric::SweepsUnfinished, self.unfinished.into()),
            (Metric::SweepWarned, self.warned.into()),
            (Metric::SweepExpired, self.expired.into()),
            (Metric::SweepRenewed, self.renewed.into()),
            (Metric::SweepUnrenewed, self.unrenewed.into()),
            (Metric::SweepDied, self.died.into()),
            (Metric::SweepUninspected, self.uninspected.into()),
            (Metric::SweepRevoked, self.revoked.into()),
            (Metric::SweepUnrevoked, self.unrevoked.into()),
            (Metric::SweepMailed, self.mailed.into()),
            (Metric::SweepUnanswered, self.unanswered.into()),
            (Metric::SweepPostponed, self.postponed.into()),
            (Metric::SweepFailed, self.failed.into()),
        ]
    }
}

impl Sweep {
    /// One invocation: the schedule's event or messages in, the [`Summary`] and which messages come again out.
    ///
    /// # Errors
    /// When the event is neither, or when what is due cannot be found or sent on; the next tick tries again.
    pub async fn invoke(&self, event: Value) -> Result<Value, Fatal> {
        let deadline = Deadline::after(LIFE);
        let event: Event =
            serde_json::from_value(event).map_err(|_| "the event is neither the schedule's nor one of a queue")?;
        let ticked = matches!(event, Event::Tick { .. });
        let worked = match event {
            Event::Tick { .. } => Worked { summary: self.dispatch(deadline).await?, ..Worked::default() },
            Event::Errands { records } => self.work(&records, deadline).await,
        };
        tracing::info!(summary = %serde_json::json!(worked.summary), "swept");
        metrics::record(self.clock.now(), None, worked.summary.counts(ticked));
        Ok(serde_json::to_value(worked)?)
    }
}
