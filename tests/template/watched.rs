//! What somebody is told of: alarms, and the dashboard.

use std::{collections::BTreeSet, sync::LazyLock};

use serde_json::{Value, json};
use shared::{
    metrics::{self, Metric},
    profile::Network,
};

use super::{Deployment, many, target};
use crate::architecture::{production_code, rust_files};

/// The numbers of ours that somebody is told of, whatever else is watched.
const TOLD: [Metric; 16] = [
    Metric::GrantsLost,
    Metric::FoundDead,
    Metric::AcquisitionRed,
    Metric::AppRejected,
    Metric::AppLimited,
    Metric::NetworkUnanswered,
    Metric::LeasesUnavailable,
    Metric::Sweeps,
    Metric::SweepsUnfinished,
    Metric::SweepFailed,
    Metric::SweepUnanswered,
    Metric::SweepPostponed,
    Metric::SweepUnrevoked,
    Metric::AuthorizerUnavailable,
    Metric::KeysUnavailable,
    Metric::KeysRefused,
];

/// The metrics of AWS that are used, and the dimensions that they come with (each service's page in its documentation).
const OF_AWS: [(&str, &[&str], &[&str]); 5] = [
    ("AWS/Lambda", &["Errors", "Throttles", "Duration"], &["FunctionName"]),
    ("AWS/SQS", &["ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"], &["QueueName"]),
    ("AWS/ApiGateway", &["Count", "4xx", "5xx", "Latency"], &["ApiId"]),
    ("AWS/DynamoDB", &["ReadThrottleEvents", "WriteThrottleEvents"], &["TableName"]),
    ("AWS/DynamoDB", &["SystemErrors"], &["TableName", "Operation"]),
];

/// The longest that an alarm may stay silent about what it is for, in seconds.
const LONGEST_SILENCE: u64 = 3 * 60 * 60;
/// Of a function's time-out, in thousandths, what its invocations may take.
const NEARLY: u64 = 850;

/// What an alarm looks at: namespace, name and dimensions of each metric.
fn looked_at(alarm: &Value) -> Vec<(&str, &str, &[Value])> {
    let single = (!alarm["MetricName"].is_null()).then_some(alarm).into_iter();
    let of_many = alarm["Metrics"].as_array().into_iter().flatten().map(|metric| &metric["MetricStat"]["Metric"]);
    single
        .chain(of_many.filter(|metric| !metric.is_null()))
        .map(|metric| {
            let word = |name: &str| metric[name].as_str().unwrap_or_default();
            (word("Namespace"), word("MetricName"), many(&metric["Dimensions"]))
        })
        .collect()
}

/// Whether a dimension is of this resource: by reference, or by the name that the resource has.
fn is_of(deployment: &Deployment, dimension: &Value, resource: &str) -> bool {
    let value = &dimension["Value"];
    target(value) == resource
        || deployment.resource(resource)["Properties"]["FunctionName"] == *value && !value.is_null()
}

/// The alarms about a metric of a resource.
fn about<'a>(deployment: &'a Deployment, namespace: &'a str, metric: &'a str, resource: &'a str) -> Vec<&'a Value> {
    let alarms = deployment.all("AWS::CloudWatch::Alarm").map(|(_, alarm)| alarm);
    let looks = |alarm: &&Value| {
        looked_at(alarm).into_iter().any(|(of, name, dimensions)| {
            of == namespace && name == metric && dimensions.iter().any(|one| is_of(deployment, one, resource))
        })
    };
    alarms.filter(looks).collect()
}

pub(super) fn is_watched(deployment: &Deployment, namespace: &str, metric: &str, resource: &str) -> bool {
    !about(deployment, namespace, metric, resource).is_empty()
}

pub(super) fn functions(deployment: &Deployment) -> Vec<String> {
    let mut broken = Vec::new();
    for (function, properties) in deployment.all("AWS::Lambda::Function") {
        for (metric, most) in
            [("Errors", 1), ("Throttles", 1), ("Duration", properties["Timeout"].as_u64().unwrap_or_default() * NEARLY)]
        {
            let alarms = about(deployment, "AWS/Lambda", metric, function);
            if !alarms.iter().any(|alarm| alarm["Threshold"].as_u64() == Some(most)) {
                broken.push(format!("nobody is told of {metric} of {function} from {most} on: add it to alarms.yaml"));
            }
        }
    }
    broken
}

pub(super) fn numbers(deployment: &Deployment) -> Vec<String> {
    let mut broken = Vec::new();
    for metric in TOLD {
        let name = name(metric);
        let mut alarms = deployment.all("AWS::CloudWatch::Alarm");
        if !alarms.any(|(_, alarm)| alarm["Namespace"] == metrics::NAMESPACE && alarm["MetricName"] == name) {
            broken.push(format!("nobody is told of {name}"));
        }
    }
    for metric in ["5xx", "Latency"] {
        if !is_watched(deployment, "AWS/ApiGateway", metric, "Api") {
            broken.push(format!("nobody is told of the API's {metric}"));
        }
    }
    // silence is what this one is about
    let sweeps = &deployment.resource("SweepSilent")["Properties"];
    let silent = sweeps["ComparisonOperator"] == "LessThanThreshold" && sweeps["TreatMissingData"] == "breaching";
    if !silent || sweeps["MetricName"] != name(Metric::Sweeps) {
        broken.push(format!("nobody is told when no sweep runs: {sweeps}"));
    }
    broken
}

pub(super) fn tables(deployment: &Deployment) -> Vec<String> {
    let mut broken = Vec::new();
    for (table, _) in deployment.all("AWS::DynamoDB::Table") {
        for metric in ["ReadThrottleEvents", "WriteThrottleEvents", "SystemErrors"] {
            if !is_watched(deployment, "AWS/DynamoDB", metric, table) {
                broken.push(format!("nobody is told of {metric} of {table}"));
            }
        }
    }
    broken
}

pub(super) fn alarms(deployment: &Deployment) -> Vec<String> {
    let mut broken = Vec::new();
    let mut names = BTreeSet::new();
    for (id, alarm) in deployment.all("AWS::CloudWatch::Alarm") {
        let told = json!([{ "Ref": "Topic" }]);
        if alarm["AlarmActions"] != told || alarm["OKActions"] != told || alarm["ActionsEnabled"] == false {
            broken.push(format!("{id} tells nobody, or not when it is over"));
        }
        if !["breaching", "notBreaching"].contains(&alarm["TreatMissingData"].as_str().unwrap_or_default()) {
            broken.push(format!("{id} does not say what no data means"));
        }
        let (words, section) = alarm["AlarmDescription"]
            .as_str()
            .and_then(|words| words.rsplit_once(" OPERATIONS.md#"))
            .unwrap_or_default();
        let is_anchor =
            |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-';
        if words.split_inclusive(". ").count() < 2 || section.is_empty() || !section.chars().all(is_anchor) {
            broken.push(format!("{id} does not say what it means, what to do, and where that is written: {words:?}"));
        }
        let name = alarm["AlarmName"]["Fn::Sub"].as_str().unwrap_or_default();
        if !name.starts_with("tokenward-${Stage}-") || !names.insert(name) {
            broken.push(format!("{id} has the name of another or none of this stage: {name:?}"));
        }
        let period = alarm["Period"].as_u64().or_else(|| alarm["Metrics"][1]["MetricStat"]["Period"].as_u64());
        let silence = period.zip(alarm["EvaluationPeriods"].as_u64()).map(|(period, times)| period * times);
        if silence.is_none_or(|silence| silence > LONGEST_SILENCE) {
            broken.push(format!("{id} takes too long: {silence:?} seconds"));
        }
    }
    for (id, policy) in deployment.all("AWS::SNS::TopicPolicy") {
        let statement = &policy["PolicyDocument"]["Statement"][0];
        let account = &statement["Condition"]["StringEquals"]["aws:SourceAccount"];
        if statement["Principal"]["Service"] != "cloudwatch.amazonaws.com" || target(account) != "AWS::AccountId" {
            broken.push(format!("{id} lets others than this account's alarms speak"));
        }
    }
    broken
}

/// What is wrong with a metric that something looks at.
fn wrong(namespace: &str, metric: &str, dimensions: &[&str]) -> Option<String> {
    let named = || format!("{namespace} {metric} {dimensions:?}");
    if namespace != metrics::NAMESPACE {
        let known =
            OF_AWS.iter().any(|(of, names, with)| *of == namespace && names.contains(&metric) && *with == dimensions);
        return (!known).then(|| format!("AWS has no such metric: {}", named()));
    }
    let declared = serde_json::from_value::<Metric>(json!(metric)).ok();
    let of_ours = declared.is_some_and(|metric| {
        dimensions == [metrics::STAGE] || metric.is_by_network() && dimensions == [metrics::STAGE, metrics::NETWORK]
    });
    if !of_ours {
        return Some(format!("there is no such metric: {}", named()));
    }
    (!is_written(metric)).then(|| format!("nobody writes this metric: {}", named()))
}

/// Whether the functions record this metric.
fn is_written(metric: &str) -> bool {
    static CODE: LazyLock<String> = LazyLock::new(|| {
        let files = ["shared/src", "functions"].into_iter().flat_map(rust_files);
        files.filter(|file| !file.ends_with("shared/src/metrics.rs")).map(|file| production_code(&file)).collect()
    });
    let used = format!("Metric::{metric}");
    CODE.split(&used).skip(1).any(|rest| !rest.starts_with(char::is_alphanumeric))
}

pub(super) fn metrics(deployment: &Deployment) -> Vec<String> {
    let mut broken = Vec::new();
    for (id, alarm) in deployment.all("AWS::CloudWatch::Alarm") {
        if looked_at(alarm).is_empty() {
            broken.push(format!("{id} looks at nothing"));
        }
        for (namespace, metric, dimensions) in looked_at(alarm) {
            let names: Vec<_> = dimensions.iter().filter_map(|dimension| dimension["Name"].as_str()).collect();
            broken.extend(wrong(namespace, metric, &names).map(|wrong| format!("{id}: {wrong}")));
            let resources = dimensions.iter().filter(|dimension| dimension["Name"] != "Operation");
            let there = |dimension: &Value| {
                dimension["Value"] == json!({ "Ref": "Stage" })
                    || deployment.resources.iter().any(|(id, _)| is_of(deployment, dimension, id))
            };
            for dimension in resources.filter(|dimension| !there(dimension)) {
                broken.push(format!("{id} looks at something that is not deployed: {dimension}"));
            }
        }
    }
    broken
}

pub(super) fn dashboard(deployment: &Deployment) -> Vec<String> {
    let mut broken = Vec::new();
    let mut seen = 0;
    for (id, dashboard) in deployment.all("AWS::CloudWatch::Dashboard") {
        let body = dashboard["DashboardBody"]["Fn::Sub"].as_str().unwrap_or_default();
        let Ok(body) = serde_json::from_str::<Value>(body) else {
            broken.push(format!("{id} is not JSON"));
            continue;
        };
        for line in body["widgets"].as_array().into_iter().flatten().flat_map(|one| many(&one["properties"]["metrics"]))
        {
            let words: Vec<_> = many(line).iter().filter_map(Value::as_str).collect();
            let [namespace, metric, dimensions @ ..] = &words[..] else { continue };
            let (names, values): (Vec<_>, Vec<_>) = dimensions.chunks(2).map(|pair| (pair[0], pair[1])).unzip();
            broken.extend(wrong(namespace, metric, &names).map(|wrong| format!("{id}: {wrong}")));
            for (name, value) in names.iter().zip(values) {
                let there = match *name {
                    metrics::STAGE => value == "${Stage}",
                    metrics::NETWORK => value.parse::<Network>().is_ok(),
                    "FunctionName" => {
                        let mut functions = deployment.all("AWS::Lambda::Function");
                        functions.any(|(id, function)| shown_as(id, function) == *value)
                    }
                    _ => {
                        let resource = value.trim_start_matches("${").trim_end_matches('}');
                        !deployment.resource(resource).is_null()
                    }
                };
                if !there {
                    broken.push(format!("{id} shows something that is not deployed: {line}"));
                }
            }
            seen += 1;
        }
    }
    if seen < 50 {
        broken.push(format!("the dashboard shows {seen} lines and hardly the picture of a night"));
    }
    for (function, properties) in deployment.all("AWS::Lambda::Function") {
        let name = shown_as(function, properties);
        let mut dashboards = deployment.all("AWS::CloudWatch::Dashboard");
        if !dashboards.any(|(_, board)| board["DashboardBody"].to_string().contains(&format!("{name}\\\""))) {
            broken.push(format!("{function} is not on the dashboard"));
        }
    }
    broken
}

/// What the dashboard calls a function: the name that the template gives it, or the parameter of its own id.
fn shown_as(id: &str, function: &Value) -> String {
    let name = function["FunctionName"]["Fn::Sub"].as_str();
    name.map_or_else(|| format!("${{{id}}}"), str::to_owned)
}

fn name(metric: Metric) -> String {
    json!(metric).as_str().unwrap().to_owned()
}
