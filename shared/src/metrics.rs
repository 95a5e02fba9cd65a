//! What an operator watches, as numbers: lines of the log that CloudWatch counts.
//!
//! A number that is [recorded](record) becomes a line in CloudWatch's [embedded metric format]: no service is called, nobody
//! waits for it, and a function needs no permission but to log. Alarms and the dashboard in `alarms.yaml` name what is
//! declared here, and a test holds them to it.
//!
//! A number is of the stage, and of a network where there is one. Never of a tenant, a person or a token: each
//! combination is a metric of its own that is paid for, and whose token it was is nobody's business here. The line beside it
//! in the log tells that.
//!
//! [embedded metric format]: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tracing::{
    Event,
    field::{Field, Visit},
};

use crate::profile::Network;

/// The namespace of all metrics.
pub const NAMESPACE: &str = "Tokenward";
/// The dimension that every metric has.
pub const STAGE: &str = "Stage";
/// The dimension that those of a network have besides.
pub const NETWORK: &str = "Network";
/// The target of the events that are metrics.
const TARGET: &str = "tokenward::metrics";

/// Everything that is counted or measured; the name in CloudWatch is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Metric {
    /// Access tokens that were leased.
    Leased,
    /// Leases that were refused because every token rests.
    LeasesCooling,
    /// Leases that were refused because no token may be used; a person has to act.
    LeasesWithoutToken,
    /// Leases that something out of reach or another's refresh kept from being answered.
    LeasesUnavailable,
    /// How long leases took, refreshes included.
    LeaseLatency,
    /// Grants that were renewed and stored.
    Refreshed,
    /// Refreshes that brought nothing.
    RefreshesFailed,
    /// How long the network took to answer a refresh.
    RefreshLatency,
    /// Questions that the network did not answer, or not so that anybody could read it.
    NetworkUnanswered,
    /// Tokens that were found dead.
    FoundDead,
    /// Times at which the network refused the app's credentials.
    AppRejected,
    /// Times at which the network limited the whole app.
    AppLimited,
    /// Sign-ins that the network let fail.
    SignInsFailed,
    /// New grants that the table did not take and the spill queue did.
    GrantsSpilled,
    /// Spilled grants that were put where they belong.
    GrantsPlaced,
    /// New grants that could be kept nowhere.
    GrantsLost,
    /// Tenants of which acquisition was found to hang on a single token.
    AcquisitionYellow,
    /// Tenants of which acquisition was found to have stopped.
    AcquisitionRed,
    /// Questions to the authorizer that it could not answer because the issuer's keys cannot be had.
    AuthorizerUnavailable,
    /// Tenant keys that could not be had because KMS or the table does not answer.
    KeysUnavailable,
    /// Tenant keys that KMS or the table refused.
    KeysRefused,
    /// Ticks that found what is due and sent it on.
    Sweeps,
    /// Invocations of the sweep that left something for the next tick.
    SweepsUnfinished,
    /// Tokens whose owners a sweep warned.
    SweepWarned,
    /// Tokens that a sweep saw end.
    SweepExpired,
    /// Tokens that a sweep renewed.
    SweepRenewed,
    /// Tokens that a sweep could not renew.
    SweepUnrenewed,
    /// Tokens of which a sweep learned that they are dead.
    SweepDied,
    /// Tokens of which their network did not tell a sweep how they are.
    SweepUninspected,
    /// Grants that a sweep ended at the network.
    SweepRevoked,
    /// Grants that a sweep could not end at the network.
    SweepUnrevoked,
    /// Mails that a sweep handed over.
    SweepMailed,
    /// Mails of a sweep that may have been sent: no answer came.
    SweepUnanswered,
    /// Mails that a sweep left for later.
    SweepPostponed,
    /// Rows that failed in a sweep.
    SweepFailed,
}

impl Metric {
    /// Whether it is counted by network; the others are of the stage as a whole.
    #[must_use]
    pub fn is_by_network(self) -> bool {
        !matches!(
            self,
            Self::AuthorizerUnavailable
                | Self::KeysUnavailable
                | Self::KeysRefused
                | Self::Sweeps
                | Self::SweepsUnfinished
                | Self::SweepWarned
                | Self::SweepExpired
                | Self::SweepRenewed
                | Self::SweepUnrenewed
                | Self::SweepDied
                | Self::SweepUninspected
                | Self::SweepRevoked
                | Self::SweepUnrevoked
                | Self::SweepMailed
                | Self::SweepUnanswered
                | Self::SweepPostponed
                | Self::SweepFailed
        )
    }

    /// In CloudWatch's words.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::LeaseLatency | Self::RefreshLatency => "Milliseconds",
            _ => "Count",
        }
    }
}

/// Records these numbers as of `now`, at a network where there is one.
pub fn record(now: Timestamp, network: Option<Network>, values: impl IntoIterator<Item = (Metric, u64)>) {
    let values: Vec<_> = values.into_iter().collect();
    debug_assert!(values.iter().all(|(metric, _)| metric.is_by_network() == network.is_some()), "{values:?}");
    if !values.is_empty() {
        let (at, network, values) = (now.as_millisecond(), network.map(Network::as_str), json!(values));
        tracing::info!(target: TARGET, at, network, %values);
    }
}

/// The line that CloudWatch reads, if the event is of [`record`].
pub(crate) fn line(event: &Event<'_>, stage: &str) -> Option<Value> {
    if event.metadata().target() != TARGET {
        return None;
    }
    let mut recorded = Recorded::default();
    event.record(&mut recorded);
    let mut line = Map::from_iter([(STAGE.to_owned(), stage.into())]);
    let mut dimensions = vec![json!([STAGE])];
    if let Some(network) = recorded.network {
        line.insert(NETWORK.to_owned(), network.into());
        dimensions.push(json!([STAGE, NETWORK]));
    }
    let mut metrics = Vec::new();
    for (metric, value) in recorded.values {
        line.insert(json!(metric).as_str()?.to_owned(), value.into());
        metrics.push(json!({ "Name": metric, "Unit": metric.unit() }));
    }
    let directive = json!({ "Namespace": NAMESPACE, "Dimensions": dimensions, "Metrics": metrics });
    line.insert("_aws".to_owned(), json!({ "Timestamp": recorded.at, "CloudWatchMetrics": [directive] }));
    Some(Value::Object(line))
}

/// What an event of [`record`] says.
#[derive(Default)]
struct Recorded {
    at: i64,
    network: Option<String>,
    values: Vec<(Metric, u64)>,
}

impl Visit for Recorded {
    fn record_i64(&mut self, field: &Field, value: i64) {
        if field.name() == "at" {
            self.at = value;
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "network" {
            self.network = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "values" {
            self.values = serde_json::from_str(&format!("{value:?}")).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;
    use crate::edge;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written of `story`, in the deployed format.
    fn written(story: impl FnOnce()) -> Vec<Value> {
        let log = Log::default();
        let writer = log.clone();
        tracing::subscriber::with_default(edge::subscriber("staging".to_owned(), move || writer.clone()), story);
        let lines = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_number_is_a_line_in_the_embedded_metric_format_as_of_the_moment_that_is_handed_in() {
        let now = Timestamp::constant(1_800_000_000, 0);
        let lines = written(|| {
            record(now, Some(Network::X), [(Metric::Refreshed, 1), (Metric::RefreshLatency, 240)]);
            record(now, None, [(Metric::Sweeps, 1)]);
            record(now, None, []);
        });
        let of_x = json!({
            "_aws": {
                "Timestamp": 1_800_000_000_000_i64,
                "CloudWatchMetrics": [{
                    "Namespace": "Tokenward",
                    "Dimensions": [["Stage"], ["Stage", "Network"]],
                    "Metrics": [
                        { "Name": "Refreshed", "Unit": "Count" },
                        { "Name": "RefreshLatency", "Unit": "Milliseconds" },
                    ],
                }],
            },
            "Stage": "staging",
            "Network": "x",
            "Refreshed": 1,
            "RefreshLatency": 240,
        });
        assert_eq!(lines.len(), 2, "nothing to count is no line: {lines:#?}");
        assert_eq!(lines[0], of_x);
        assert_eq!(lines[1]["_aws"]["CloudWatchMetrics"][0]["Dimensions"], json!([["Stage"]]));
    }

    #[test]
    fn a_line_of_the_log_names_the_request_and_the_trace_that_it_belongs_to() {
        let lines = written(|| {
            // as the Lambda runtime opens it around each invocation
            let span = tracing::info_span!("Lambda runtime invoke", requestId = "r-1", xrayTraceId = "Root=1-2-3");
            span.in_scope(|| tracing::info!(answer = 42, "said"));
        });
        assert_eq!(lines[0]["message"], "said");
        assert_eq!(lines[0]["span"]["requestId"], "r-1");
        assert_eq!(lines[0]["span"]["xrayTraceId"], "Root=1-2-3");
    }
}
