//! What is kept: tables, the key, the secret, queues.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Deployment, target, watched};

/// Days that a table can be set back to; whether rows end by themselves; whether it refuses to be deleted.
const TABLES: [(&str, Option<u64>, bool, bool); 3] = [
    ("Vault", Some(35), true, true),
    // connect sessions of ten minutes, and what is still to be revoked: there is nothing to go back to
    ("Flows", None, true, false),
    // a tenant is shredded here: what was deleted must be gone within a week
    ("Keys", Some(7), false, true),
];
/// What DynamoDB does where no number of days is said.
const DEFAULT_DAYS: u64 = 35;
/// The longest that SQS keeps a message, in seconds.
const FOURTEEN_DAYS: u64 = 14 * 24 * 60 * 60;

pub(super) fn tables(deployment: &Deployment) -> Vec<String> {
    let mut broken = Vec::new();
    for (table, properties) in deployment.all("AWS::DynamoDB::Table") {
        let Some((_, days, ends, protected)) = TABLES.iter().find(|(name, ..)| *name == table) else {
            broken.push(format!("nobody decided how {table} is kept"));
            continue;
        };
        let recovery = &properties["PointInTimeRecoverySpecification"];
        let back = (recovery["PointInTimeRecoveryEnabled"] == true)
            .then(|| recovery["RecoveryPeriodInDays"].as_u64().unwrap_or(DEFAULT_DAYS));
        if back != *days {
            broken.push(format!("{table} can be set back {back:?} days and not {days:?}"));
        }
        if (properties["TimeToLiveSpecification"] == json!({ "AttributeName": "ttl", "Enabled": true })) != *ends {
            broken.push(format!("{table}: whether rows end is wrong"));
        }
        if (properties["DeletionProtectionEnabled"] == true) != *protected {
            broken.push(format!("{table}: whether it can be deleted is wrong"));
        }
        if properties["SSESpecification"]["SSEEnabled"] != true {
            broken.push(format!("{table} is not encrypted by a key of the account"));
        }
    }
    broken
}

/// What outlives its stack, because nothing brings it back.
pub(super) fn kept(deployment: &Deployment) -> Vec<String> {
    let mut broken = Vec::new();
    let irreplaceable =
        ["AWS::DynamoDB::Table", "AWS::KMS::Key", "AWS::SecretsManager::Secret", "AWS::Cognito::UserPool"];
    for (id, resource) in &deployment.resources {
        let grants = ["SpillQueue", "SpilledForGood"].contains(&id.as_str());
        let kind = resource["Type"].as_str().unwrap_or_default();
        let stays = resource["DeletionPolicy"] == "RetainExceptOnCreate" && resource["UpdateReplacePolicy"] == "Retain";
        if (irreplaceable.contains(&kind) || grants) && !stays {
            broken.push(format!("{id} goes with its stack"));
        }
    }
    for (key, properties) in deployment.all("AWS::KMS::Key") {
        if properties["EnableKeyRotation"] != true || properties["PendingWindowInDays"].as_u64() < Some(30) {
            broken.push(format!("{key} is not rotated, or is gone too soon after a mistake"));
        }
    }
    broken
}

/// The queues that messages end up in when nothing else could be done with them.
fn dead_letter_queues(deployment: &Deployment) -> BTreeSet<&str> {
    fn gather<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(members) => {
                found.insert(target(&value["deadLetterTargetArn"]));
                found.insert(target(&value["DeadLetterConfig"]["Arn"]));
                found.insert(target(&value["DestinationConfig"]["OnFailure"]["Destination"]));
                members.values().for_each(|member| gather(member, found));
            }
            Value::Array(values) => values.iter().for_each(|value| gather(value, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    deployment.resources.iter().for_each(|(_, resource)| gather(resource, &mut found));
    found.remove("");
    found
}

pub(super) fn queues(deployment: &Deployment) -> Vec<String> {
    let mut broken = Vec::new();
    let dead = dead_letter_queues(deployment);
    for (queue, properties) in deployment.all("AWS::SQS::Queue") {
        if properties["SqsManagedSseEnabled"] != true {
            broken.push(format!("{queue} is not encrypted"));
        }
        if !dead.contains(queue) && target(&properties["RedrivePolicy"]["deadLetterTargetArn"]).is_empty() {
            broken.push(format!("{queue}: what nobody can do anything with comes for ever"));
        }
    }
    for (id, source) in deployment.all("AWS::Lambda::EventSourceMapping") {
        let queue = target(&source["EventSourceArn"]);
        let function = &deployment.resource(target(&source["FunctionName"]))["Properties"];
        let hidden = deployment.resource(queue)["Properties"]["VisibilityTimeout"].as_u64().unwrap_or(30);
        if function["Timeout"].as_u64().is_none_or(|timeout| timeout > hidden) {
            broken.push(format!("{queue} hands messages out again while they are worked off"));
        }
        if source["FunctionResponseTypes"] != json!(["ReportBatchItemFailures"]) {
            broken.push(format!("{id}: one message that fails brings all of its batch back"));
        }
        if !watched::is_watched(deployment, "AWS/SQS", "ApproximateAgeOfOldestMessage", queue) {
            broken.push(format!("nobody is told when messages grow old in {queue}"));
        }
    }
    for (id, schedule) in deployment.all("AWS::Scheduler::Schedule") {
        if target(&schedule["Target"]["DeadLetterConfig"]["Arn"]).is_empty() {
            broken.push(format!("what {id} could not deliver leaves no trace"));
        }
    }
    broken
}

pub(super) fn dead_letters(deployment: &Deployment) -> Vec<String> {
    let mut broken = Vec::new();
    for queue in dead_letter_queues(deployment) {
        let properties = &deployment.resource(queue)["Properties"];
        if properties["MessageRetentionPeriod"].as_u64() != Some(FOURTEEN_DAYS) {
            broken.push(format!("{queue} forgets before anybody had time to look"));
        }
        if !watched::is_watched(deployment, "AWS/SQS", "ApproximateNumberOfMessagesVisible", queue) {
            broken.push(format!("nobody is told when something is in {queue}: add an alarm to alarms.yaml"));
        }
    }
    broken
}
