//! What an operator is asked, and the domain.

use serde_json::{Value, json};

use super::{Deployment, many};

pub(super) fn parameters(deployment: &Deployment) -> Vec<String> {
    let mut broken = Vec::new();
    let interface = &deployment.template["Metadata"]["AWS::CloudFormation::Interface"];
    let groups = many(&interface["ParameterGroups"]);
    let parameters = deployment.template["Parameters"].as_object().unwrap();
    for (name, parameter) in parameters {
        if parameter["Description"].as_str().is_none_or(|words| words.len() < 20) {
            broken.push(format!("{name} is not described"));
        }
        let bounds = ["AllowedPattern", "AllowedValues", "MinValue", "MinLength"];
        if bounds.iter().all(|bound| parameter[*bound].is_null()) {
            broken.push(format!("{name} takes anything"));
        }
        let asked = groups.iter().flat_map(|group| many(&group["Parameters"])).filter(|other| *other == name).count();
        if asked != 1 || interface["ParameterLabels"][name]["default"].as_str().is_none_or(str::is_empty) {
            broken.push(format!("{name} stands in {asked} groups, or has no label"));
        }
    }
    let retention = many(&deployment.template["Parameters"]["LogRetention"]["AllowedValues"]);
    if retention.len() < 2 || retention.iter().any(|days| days.as_u64().is_none_or(|days| days == 0)) {
        broken.push("logs can be kept for ever".to_owned());
    }
    broken
}

/// A nested stack's parameter has the name of what it is given, so that its text reads as if it stood here.
pub(super) fn nested(deployment: &Deployment) -> Vec<String> {
    let mut broken = Vec::new();
    for (stack, properties) in deployment.all("AWS::CloudFormation::Stack") {
        for (name, given) in properties["Parameters"].as_object().into_iter().flatten() {
            if super::target(given) != name {
                broken.push(format!("{stack}: {name} is something else: {given}"));
            }
        }
        let template = &deployment.template["Resources"][stack]["Template"];
        let wanted = template["Parameters"].as_object().map_or(0, serde_json::Map::len);
        if wanted != properties["Parameters"].as_object().map_or(0, serde_json::Map::len) {
            broken.push(format!("{stack} is not given what it wants"));
        }
    }
    broken
}

pub(super) fn domain(deployment: &Deployment) -> Vec<String> {
    let mut broken = Vec::new();
    for (id, domain) in deployment.all("AWS::ApiGatewayV2::DomainName") {
        for configuration in many(&domain["DomainNameConfigurations"]) {
            if configuration["SecurityPolicy"] != "TLS_1_2" {
                broken.push(format!("{id} speaks old TLS"));
            }
        }
    }
    for (id, resource) in &deployment.resources {
        let kind = resource["Type"].as_str().unwrap_or_default();
        let of_domain = ["AWS::ApiGatewayV2::DomainName", "AWS::ApiGatewayV2::ApiMapping", "AWS::Route53::RecordSet"];
        if of_domain.contains(&kind) && resource["Condition"].is_null() {
            broken.push(format!("{id} is made without a domain"));
        }
    }
    for (id, api) in deployment.all("AWS::ApiGatewayV2::Api") {
        let closed =
            &api["Body"]["servers"][0]["x-amazon-apigateway-endpoint-configuration"]["disableExecuteApiEndpoint"];
        if *closed != json!({ "Fn::If": ["HasDomain", true, false] }) {
            broken.push(format!("{id} has a second way in beside its domain"));
        }
    }
    let address = json!({ "Fn::If": ["HasDomain", { "Fn::Sub": "https://${DomainName}" }, { "Ref": "PublicUrl" }] });
    for (function, properties) in deployment.all("AWS::Lambda::Function") {
        let url = &properties["Environment"]["Variables"]["PUBLIC_URL"];
        if !url.is_null() && *url != json!({ "Fn::Sub": ["${Url}", { "Url": address }] }) {
            broken.push(format!("{function} calls itself something else than its domain: {url}"));
        }
    }
    broken
}

/// Parameters that contradict each other are refused before anything is made.
pub(super) fn contradictions(deployment: &Deployment) -> Vec<String> {
    let mut broken = Vec::new();
    let rules = &deployment.template["Rules"];
    for (rule, asserted) in [("WithDomain", 2), ("WithoutDomain", 2), ("WithIssuer", 2), ("WithoutIssuer", 1)] {
        if rules[rule]["Assertions"].as_array().map_or(0, Vec::len) != asserted
            || rules[rule]["RuleCondition"] == Value::Null
        {
            broken.push(format!("parameters that contradict each other are taken: {rule}"));
        }
    }
    broken
}
