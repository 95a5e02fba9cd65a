//! What a month costs by AWS's list prices, counted or on paper.
//!
//! Prices are those of us-east-1 for on-demand use in November 2026, without free tiers and discounts:
//! <https://aws.amazon.com/dynamodb/pricing/on-demand/>, and the pages of Lambda, SQS, KMS, SES, EventBridge, CloudWatch
//! and Secrets Manager beside it.

use std::fmt;

/// What was used of the services in a month.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    pub(super) read_units: f64,
    pub(super) write_units: f64,
    pub(super) queue_requests: f64,
    pub(super) key_requests: f64,
    pub(super) secret_requests: f64,
    pub(super) mails: f64,
    pub(super) invocations: f64,
    /// Memory times time, in gigabytes and seconds.
    pub(super) gigabyte_seconds: f64,
    /// What the tables hold, in gigabytes.
    pub(super) stored: f64,
    /// What the functions log, in gigabytes.
    pub(super) logged: f64,
}

/// Dollars for one unit of each.
const PRICES: Usage = Usage {
    read_units: 0.125e-6,
    write_units: 0.625e-6,
    queue_requests: 0.40e-6,
    key_requests: 0.03e-4,
    secret_requests: 0.05e-4,
    mails: 0.10e-3,
    invocations: 0.20e-6,
    gigabyte_seconds: 16.6667e-6,
    // with the backups of the last 35 days
    stored: 0.25 + 0.20,
    logged: 0.50,
};

/// What a deployment costs that nobody uses: a key, a secret, some 40 alarms, a dashboard and 30 metrics.
pub(super) const STANDING: f64 = 1.0 + 0.4 + 4.0 + 3.0 + 9.0;

impl Usage {
    fn each(self) -> [f64; 10] {
        let Self { read_units, write_units, queue_requests, key_requests, secret_requests, .. } = self;
        let Self { mails, invocations, gigabyte_seconds, stored, logged, .. } = self;
        [
            read_units,
            write_units,
            queue_requests,
            key_requests,
            secret_requests,
            mails,
            invocations,
            gigabyte_seconds,
            stored,
            logged,
        ]
    }

    /// Dollars a month, without what stands whatever is used.
    pub(super) fn dollars(self) -> f64 {
        self.each().into_iter().zip(PRICES.each()).map(|(used, price)| used * price).sum()
    }

    /// Dollars for the tables alone.
    pub(super) fn tables(self) -> f64 {
        self.read_units * PRICES.read_units + self.write_units * PRICES.write_units + self.stored * PRICES.stored
    }
}

/// What happens to tokens in a month.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Events {
    pub(super) tokens: f64,
    pub(super) renewed: f64,
    pub(super) inspected: f64,
    /// Warnings and ends.
    pub(super) steps: f64,
    pub(super) mails: f64,
}

impl Events {
    /// What a month brings to so many tokens, mixed as the simulation mixes them: of 20, eight are renewed monthly (X,
    /// YouTube), six every 50 days (Instagram), six end after 60 days with six steps (Facebook), and one of these is asked
    /// after every 20 hours and some.
    pub(super) fn on_paper(tokens: f64) -> Self {
        let share = tokens / 20.0;
        let steps = share * 6.0 * 6.0 / 2.0;
        Self {
            tokens,
            renewed: share * (8.0 + 6.0 * 30.0 / 50.0),
            inspected: share * 30.0 * 24.0 / 20.0,
            steps,
            mails: steps,
        }
    }

    /// What they use of the services, by what one of each was counted to use, and a tick every five minutes.
    pub(super) fn usage(self) -> Usage {
        let Self { tokens, renewed, inspected, steps, mails } = self;
        let ticks = 30.0 * 24.0 * 12.0;
        let rows = renewed + inspected + steps + mails;
        // ten rows of one tenant go in a message, where one tenant has as many; here few do
        let messages = rows;
        Usage {
            read_units: ticks * 4.0 + renewed * 5.0 + inspected * 5.0 + steps * 4.0 + mails * 6.0,
            write_units: renewed * 9.0 + inspected * 4.0 + steps * 16.0 + mails * 10.0,
            // sent ten at a time; received and deleted each; and an empty queue is asked for twenty seconds at a time by five pollers
            queue_requests: messages * (0.1 + 0.2) + ticks * 75.0,
            key_requests: renewed + inspected,
            secret_requests: ticks / 3.0,
            mails,
            invocations: ticks + messages / 10.0,
            // a row waits 100 ms for tables and networks, in a function of 256 MB
            gigabyte_seconds: (ticks + rows) * 0.1 * 0.25,
            stored: tokens * 5e-6,
            logged: (ticks + rows) * 1e-6,
        }
    }
}

/// Dollars as people read them.
pub(super) struct Dollars(pub(super) f64);

impl fmt::Display for Dollars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = if self.0 < 100.0 { format!("${:.2}", self.0) } else { format!("${:.0}", self.0) };
        f.pad(&text)
    }
}

impl Usage {
    /// So many times as much; what is stored stays.
    pub(super) fn times(self, factor: f64) -> Self {
        Self {
            read_units: self.read_units * factor,
            write_units: self.write_units * factor,
            queue_requests: self.queue_requests * factor,
            key_requests: self.key_requests * factor,
            secret_requests: self.secret_requests * factor,
            mails: self.mails * factor,
            invocations: self.invocations * factor,
            gigabyte_seconds: self.gigabyte_seconds * factor,
            stored: self.stored,
            logged: self.logged * factor,
        }
    }

    /// With what cannot be counted here taken from `paper`: how long functions run in the cloud, and what they log.
    pub(super) fn with_machines_of(self, paper: Self) -> Self {
        let Self { invocations, gigabyte_seconds, logged, .. } = paper;
        Self { invocations, gigabyte_seconds, logged, ..self }
    }
}
