//! The deployment as CloudFormation gets it: SAM's own translator transforms `template.yaml`, so that what SAM adds by itself
//! (roles, permissions, event sources) is looked at like what is written there.
//!
//! A rule names what breaks it, of whatever is deployed: a function, a queue, a table or a route that comes later is held to it
//! without a word here. Each rule is shown to bite by edits of the transformed template that it must not let pass.

mod access;
mod data;
mod edits;
mod parameters;
mod pool;
mod watched;

use std::{collections::BTreeSet, fs, process::Command, sync::LazyLock};

use serde_json::{Map, Value};

use crate::architecture::{root, text};

/// Says what breaks a rule, in words that name it; nothing where nothing does.
type Rule = fn(&Deployment) -> Vec<String>;

static TRANSFORMED: LazyLock<Value> = LazyLock::new(transform);

/// What is deployed.
struct Deployment {
    template: Value,
    /// Logical id and resource; those of nested stacks too, with what they are given in the place of their parameters.
    resources: Vec<(String, Value)>,
}

impl Deployment {
    fn of(template: Value) -> Self {
        let mut resources = Vec::new();
        for (id, resource) in template["Resources"].as_object().unwrap() {
            let given = resource["Properties"]["Parameters"].as_object();
            for (inner, nested) in resource["Template"]["Resources"].as_object().into_iter().flatten() {
                resources.push((inner.clone(), with_parameters(nested, given.unwrap())));
            }
            let mut own = resource.clone();
            own.as_object_mut().unwrap().remove("Template");
            resources.push((id.clone(), own));
        }
        Self { template, resources }
    }

    /// The resources of a type: logical id and properties.
    fn all<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let of_kind = self.resources.iter().filter(move |(_, resource)| resource["Type"] == kind);
        of_kind.map(|(id, resource)| (id.as_str(), &resource["Properties"]))
    }

    fn resource(&self, id: &str) -> &Value {
        self.resources.iter().find(|(other, _)| other == id).map_or(&Value::Null, |(_, resource)| resource)
    }
}

fn transform() -> Value {
    let home = root();
    let python = home.join("target/tools/bin/python");
    assert!(fs::exists(&python).unwrap(), "{} is missing: run tests/run once, it installs the tools", python.display());
    let script = home.join("tests/template/transform.py");
    let answer = Command::new(python).arg(script).arg(&home).output().unwrap();
    let complaint = String::from_utf8_lossy(&answer.stderr);
    assert!(answer.status.success(), "template.yaml cannot be transformed (tests/run installs the tools): {complaint}");
    serde_json::from_slice(&answer.stdout).unwrap()
}

/// The value with what a nested stack is given instead of its parameters.
fn with_parameters(value: &Value, given: &Map<String, Value>) -> Value {
    match value {
        Value::Object(members) => match value["Ref"].as_str().and_then(|name| given.get(name)) {
            Some(given) => given.clone(),
            None => members
                .iter()
                .map(|(name, value)| (name.clone(), with_parameters(value, given)))
                .collect::<Map<_, _>>()
                .into(),
        },
        Value::Array(values) => values.iter().map(|value| with_parameters(value, given)).collect(),
        other => other.clone(),
    }
}

/// The logical id that a `Ref` or `Fn::GetAtt` names.
fn target(value: &Value) -> &str {
    value["Ref"].as_str().or_else(|| value["Fn::GetAtt"][0].as_str()).unwrap_or_default()
}

/// One or many, as CloudFormation has it.
fn many(value: &Value) -> &[Value] {
    value.as_array().map_or_else(|| std::slice::from_ref(value), Vec::as_slice)
}

/// Every text in it, however deep.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::Object(members) => members.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

fn hold(rules: &[Rule]) {
    let deployment = Deployment::of(TRANSFORMED.clone());
    let broken: Vec<_> = rules.iter().flat_map(|rule| rule(&deployment)).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

// S70
#[test]
fn every_function_has_a_role_of_its_own_without_wildcards() {
    hold(&[access::roles, access::statements]);
}

// S70
#[test]
fn the_key_is_used_for_this_stage_and_with_identifiers_alone() {
    hold(&[access::key]);
}

// S71
#[test]
fn every_route_is_authorised_but_an_explicit_list() {
    hold(&[access::routes]);
}

// S72
#[test]
fn whoever_calls_is_throttled_and_open_routes_are_throttled_by_themselves() {
    hold(&[access::throttles]);
}

// S72
#[test]
fn logs_are_kept_as_long_as_the_operator_says_and_hold_no_query() {
    hold(&[access::logs]);
}

// S72
#[test]
fn what_is_stored_is_encrypted_backed_up_and_hard_to_delete() {
    hold(&[data::tables, data::kept]);
}

// S72
#[test]
fn a_message_that_nobody_could_do_anything_with_is_kept_and_somebody_is_told() {
    hold(&[data::queues, data::dead_letters]);
}

// S72
#[test]
fn somebody_is_told_of_everything_that_fails() {
    hold(&[watched::functions, watched::numbers, watched::tables]);
}

#[test]
fn an_alarm_names_a_section_that_is_there() {
    let (alarms, operations) = (text(&root().join("alarms.yaml")), text(&root().join("OPERATIONS.md")));
    let slug = |heading: &str| heading.trim_start_matches(['#', ' ']).to_lowercase().replace(' ', "-");
    let sections: BTreeSet<_> = operations.lines().filter(|line| line.starts_with('#')).map(slug).collect();
    let named: BTreeSet<_> = alarms
        .split("OPERATIONS.md#")
        .skip(1)
        .map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().unwrap_or_default().to_owned())
        .collect();
    assert!(named.len() > 20, "{named:?}");
    assert_eq!(named.difference(&sections).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn an_alarm_says_what_it_means_and_what_to_do_and_tells_its_end() {
    hold(&[watched::alarms]);
}

#[test]
fn alarms_and_dashboard_name_metrics_that_somebody_writes() {
    hold(&[watched::metrics, watched::dashboard]);
}

#[test]
fn every_function_is_traced_and_may_say_so() {
    hold(&[access::traces]);
}

#[test]
fn every_parameter_is_described_grouped_and_bounded() {
    hold(&[parameters::parameters, parameters::nested, parameters::contradictions]);
}

#[test]
fn a_domain_of_its_own_is_the_one_way_in() {
    hold(&[parameters::domain]);
}

// S38
#[test]
fn a_user_pool_is_made_where_no_identity_provider_is_named_and_lets_in_whom_an_administrator_says() {
    hold(&[pool::optional, pool::people, pool::agreed]);
}
