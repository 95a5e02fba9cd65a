//! Who may do what: roles, the key, routes, throttles, logs, traces.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Deployment, many, target, texts};

/// What can be called by anybody on the internet.
const OPEN_ROUTES: [&str; 12] = [
    "GET /console",
    "GET /console/assets/{release}/{file}",
    "GET /console/configuration.json",
    "GET /data-deletion/{code}",
    "GET /events/x",
    "GET /oauth/callback/{network}",
    "GET /oauth/start",
    "GET /openapi.json",
    "POST /events/google/risc",
    "POST /events/meta/data-deletion",
    "POST /events/meta/deauthorize",
    "POST /events/x",
];

/// The actions that know no resource (AWS's Service Authorization Reference), so that `*` is all that can be said: those of
/// X-Ray, for functions, and those of SES that read how the account stands, for the operator.
const WITHOUT_RESOURCE: [&[&str]; 2] = [
    &["xray:PutTelemetryRecords", "xray:PutTraceSegments"],
    &["ses:GetAccountSendingEnabled", "ses:GetIdentityVerificationAttributes", "ses:GetSendQuota"],
];

/// What a route may name as its method; anything else stands for several.
const METHODS: [&str; 7] = ["get", "put", "post", "delete", "options", "head", "patch"];

pub(super) fn roles(deployment: &Deployment) -> Vec<String> {
    let mut broken = Vec::new();
    let mut taken = BTreeSet::new();
    for (function, properties) in deployment.all("AWS::Lambda::Function") {
        let role = target(&properties["Role"]);
        if !taken.insert(role) {
            broken.push(format!("{function} has the role of another function: {role}"));
        }
        let trusted = &deployment.resource(role)["Properties"]["AssumeRolePolicyDocument"]["Statement"];
        if many(trusted).len() != 1 || trusted[0]["Principal"] != json!({ "Service": "lambda.amazonaws.com" }) {
            broken.push(format!("{function}: {role} can be taken on by others than Lambda: {trusted}"));
        }
    }
    for (role, properties) in deployment.all("AWS::IAM::Role") {
        if !properties["ManagedPolicyArns"].is_null() {
            broken.push(format!("{role} has policies that others write: {}", properties["ManagedPolicyArns"]));
        }
        if many(&properties["Policies"]).iter().all(|policy| policy["PolicyDocument"].is_null()) {
            broken.push(format!("{role} allows nothing"));
        }
    }
    broken
}

/// Every statement of every policy, whoever wrote it: in a role, a key, a topic, a queue.
fn all_statements(deployment: &Deployment) -> Vec<(&str, &Value, &Value)> {
    fn gather<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
        match value {
            Value::Object(members) if members.contains_key("Effect") => found.push(value),
            Value::Object(members) => members.values().for_each(|member| gather(member, found)),
            Value::Array(values) => values.iter().for_each(|value| gather(value, found)),
            _ => {}
        }
    }
    let mut all = Vec::new();
    for (id, resource) in &deployment.resources {
        let mut found = Vec::new();
        gather(resource, &mut found);
        all.extend(found.into_iter().map(|statement| (id.as_str(), &resource["Type"], statement)));
    }
    all
}

pub(super) fn statements(deployment: &Deployment) -> Vec<String> {
    let mut broken = Vec::new();
    for (id, kind, statement) in all_statements(deployment) {
        let (actions, resources) = (texts(&statement["Action"]), texts(&statement["Resource"]));
        // in a key's policy the resource "*" is the key
        let of_key = *kind == "AWS::KMS::Key";
        let any_resource = resources == ["*"] && (of_key || WITHOUT_RESOURCE.iter().any(|known| actions == *known));
        let wild = |words: &[&str]| words.iter().any(|word| word.contains('*'));
        if actions.is_empty() || wild(&actions) || (wild(&resources) && !any_resource) {
            broken.push(format!("{id} allows too much: {statement}"));
        }
        let trusts = kind == "AWS::IAM::Role" && !statement["Principal"].is_null();
        if resources.is_empty() && !trusts {
            broken.push(format!("{id} names no resource: {statement}"));
        }
        if wild(&texts(&statement["Principal"])) {
            broken.push(format!("{id} lets anybody: {statement}"));
        }
    }
    // the ARN of who calls may leave open which stage or authorizer of the API it is: SAM writes it so
    for (id, permission) in deployment.all("AWS::Lambda::Permission") {
        let by_api = permission["Principal"] == "apigateway.amazonaws.com" && !permission["SourceArn"].is_null();
        // a rule for events of AWS's own services, which nobody else can send
        let rule = deployment.resource(target(&permission["SourceArn"]));
        let by_rule = permission["Principal"] == "events.amazonaws.com"
            && rule["Type"] == "AWS::Events::Rule"
            && many(&rule["Properties"]["EventPattern"]["source"])
                .iter()
                .all(|source| source.as_str().is_some_and(|source| source.starts_with("aws.")));
        let pool = &deployment.resource(target(&permission["SourceArn"]))["Type"];
        let by_pool = permission["Principal"] == "cognito-idp.amazonaws.com" && pool == "AWS::Cognito::UserPool";
        if permission["Action"] != "lambda:InvokeFunction" || !(by_api || by_rule || by_pool) {
            broken
                .push(format!("{id} lets others than the API, our rules and our pool invoke a function: {permission}"));
        }
    }
    broken
}

pub(super) fn key(deployment: &Deployment) -> Vec<String> {
    let mut broken = Vec::new();
    for (id, kind, statement) in all_statements(deployment) {
        let uses = |action: &&str| action.starts_with("kms:Decrypt") || action.starts_with("kms:Generate");
        let actions = texts(&statement["Action"]);
        let in_role = *kind == "AWS::IAM::Role" && actions.iter().any(|action| action.starts_with("kms:"));
        if !in_role && !actions.iter().any(uses) {
            continue;
        }
        let condition = &statement["Condition"];
        if condition["StringEquals"]["kms:EncryptionContext:stage"] != json!({ "Ref": "Stage" }) {
            broken.push(format!("{id} uses the key for any stage: {statement}"));
        }
        let context = &condition["ForAllValues:StringEquals"]["kms:EncryptionContextKeys"];
        if in_role && *context != json!(["stage", "tenant", "version"]) {
            broken.push(format!("{id} uses the key with more than identifiers: {statement}"));
        }
        if in_role && statement["Resource"] != json!({ "Fn::GetAtt": ["Key", "Arn"] }) {
            broken.push(format!("{id} uses another key: {statement}"));
        }
    }
    broken
}

/// Each route of the API: its name, and what it demands.
fn all_routes(deployment: &Deployment) -> Vec<(String, &Value)> {
    let mut routes = Vec::new();
    for (_, api) in deployment.all("AWS::ApiGatewayV2::Api") {
        for (path, methods) in api["Body"]["paths"].as_object().into_iter().flatten() {
            for (method, operation) in methods.as_object().into_iter().flatten() {
                routes.push((format!("{} {path}", method.to_uppercase()), operation));
            }
        }
    }
    routes
}

pub(super) fn routes(deployment: &Deployment) -> Vec<String> {
    let mut broken = Vec::new();
    let mut open = BTreeSet::new();
    for (route, operation) in all_routes(deployment) {
        let (method, _) = route.split_once(' ').unwrap();
        if !METHODS.contains(&method.to_lowercase().as_str()) {
            broken.push(format!("{route} takes methods that nobody named"));
        }
        if operation["security"] != json!([{ "Caller": [] }]) {
            open.insert(route);
        }
    }
    if open != OPEN_ROUTES.map(str::to_owned).into() {
        broken.push(format!("these routes are open: {open:?}"));
    }
    for (id, api) in deployment.all("AWS::ApiGatewayV2::Api") {
        let scheme = &api["Body"]["components"]["securitySchemes"]["Caller"]["x-amazon-apigateway-authorizer"];
        let header = scheme["identitySource"] == json!(["$request.header.Authorization"]);
        if scheme["type"] != "request" || !header || !scheme["authorizerUri"].to_string().contains("\"Authorizer\"") {
            broken.push(format!("{id}: whoever calls is not asked by the authorizer: {scheme}"));
        }
    }
    broken
}

pub(super) fn throttles(deployment: &Deployment) -> Vec<String> {
    let mut broken = Vec::new();
    let limits = |settings: &Value| {
        let limit = |name: &str| settings[name].as_u64().filter(|limit| *limit > 0);
        Some((limit("ThrottlingBurstLimit")?, limit("ThrottlingRateLimit")?))
    };
    for (id, stage) in deployment.all("AWS::ApiGatewayV2::Stage") {
        let Some((burst, rate)) = limits(&stage["DefaultRouteSettings"]) else {
            broken.push(format!("{id} does not throttle"));
            continue;
        };
        for (route, _) in all_routes(deployment).iter().filter(|(route, _)| OPEN_ROUTES.contains(&route.as_str())) {
            let own = limits(&stage["RouteSettings"][route]);
            if own.is_none_or(|(own_burst, own_rate)| own_burst >= burst || own_rate >= rate) {
                broken.push(format!("{route} is open to the internet and not throttled by itself"));
            }
        }
    }
    broken
}

pub(super) fn logs(deployment: &Deployment) -> Vec<String> {
    let mut broken = Vec::new();
    let mut taken = BTreeSet::new();
    let mut written = |who: &str, group: &str, broken: &mut Vec<String>| {
        if deployment.resource(group)["Type"] != "AWS::Logs::LogGroup" || !taken.insert(group.to_owned()) {
            broken.push(format!("{who} has no log group of its own"));
        }
    };
    for (function, properties) in deployment.all("AWS::Lambda::Function") {
        written(function, target(&properties["LoggingConfig"]["LogGroup"]), &mut broken);
        // what is JSON already stays as it is: the metrics among the lines
        if properties["LoggingConfig"]["LogFormat"] != "JSON" {
            broken.push(format!("{function} does not log JSON"));
        }
        if properties["Environment"]["Variables"]["STAGE"] != json!({ "Ref": "Stage" }) {
            broken.push(format!("{function} does not know of which stage its metrics are"));
        }
    }
    for (id, stage) in deployment.all("AWS::ApiGatewayV2::Stage") {
        let access = &stage["AccessLogSettings"];
        written(id, target(&access["DestinationArn"]), &mut broken);
        let format = access["Format"].as_str().unwrap_or_default();
        // the query of a callback holds `code` and `state`; a path may hold what was meant for a query
        let secretive = ["$context.path", "querystring", "$context.authorizer.claims", "header"];
        if !format.contains("$context.routeKey") || secretive.iter().any(|word| format.contains(word)) {
            broken.push(format!("{id} logs too little or too much: {format}"));
        }
    }
    for (group, properties) in deployment.all("AWS::Logs::LogGroup") {
        if properties["RetentionInDays"] != json!({ "Ref": "LogRetention" }) {
            broken.push(format!("{group} is kept for ever"));
        }
    }
    broken
}

pub(super) fn traces(deployment: &Deployment) -> Vec<String> {
    let mut broken = Vec::new();
    for (function, properties) in deployment.all("AWS::Lambda::Function") {
        if properties["TracingConfig"]["Mode"] != "Active" {
            broken.push(format!("{function} is not traced"));
        }
        let role = target(&properties["Role"]);
        let mut statements = all_statements(deployment).into_iter().filter(|(id, ..)| *id == role);
        if !statements.any(|(_, _, statement)| texts(&statement["Action"]) == WITHOUT_RESOURCE[0]) {
            broken.push(format!("{function} may not write its traces"));
        }
    }
    broken
}
