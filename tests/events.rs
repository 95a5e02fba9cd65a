//! The samples in `events/`: what AWS sends for every route and trigger, through each function's real entry.
//!
//! `events/expected.json` says what the answer to each holds at least. They are written for a sandbox on its usual port
//! in which alice has connected three profiles, and the word `ACCESS_TOKEN` stands for hers; the authorizer alone reads
//! it. The same files go through the Lambda runtime interface emulator with the release binaries (`tests/rie/run.py`),
//! and through `sam local invoke` in containers (`tests/sam/invoke.py`).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use sandbox::template::{Route, Template};
use serde_json::{Map, Value};

use crate::support::World;

#[tokio::test]
async fn every_sample_is_answered_as_expected() {
    let world = World::start().await;
    let alice = world.person("alice");
    for (kind, token, account) in [
        ("x_profile", "interaction", "newsdesk"),
        ("x_profile", "interaction", "support"),
        ("facebook_user", "acquisition", "alice.meyer"),
    ] {
        alice.connect(kind, token, account).await;
    }
    let (url, access_token) = (world.sandbox.url(), alice.access_token().await);

    let mut surprises = Vec::new();
    for (name, expected) in expected() {
        let sample = sample(&name).replace("http://localhost:8787", url).replace("ACCESS_TOKEN", &access_token);
        let event = serde_json::from_str(&sample).unwrap();
        let answer = world.sandbox.functions().invoke(function(&name), event).await;
        let answer = answer.unwrap_or_else(|error| panic!("{name}: {error}"));
        // a route that is not there is a 404 as well, and never the one that was meant
        let routed = !answer["body"].as_str().unwrap_or_default().contains("no such route");
        if !routed || expected.iter().any(|(member, value)| answer[member] != *value) {
            surprises.push(format!("{name} is not answered with {expected:?} but {answer}"));
        }
    }
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}

#[test]
fn every_route_and_trigger_has_a_sample_and_every_sample_an_expectation() {
    assert_eq!(samples(), expected().into_keys().collect());
    let sampled: BTreeSet<_> = http_samples().into_iter().map(|(_, event)| text(&event["routeKey"])).collect();
    let routes = Template::deployed().routes.iter().map(route_key).collect();
    assert_eq!(sampled, routes, "routes with a sample, and routes of the template");
    let sampled: BTreeSet<_> = samples().iter().map(|name| function(name).to_owned()).collect();
    let functions = Template::deployed().functions.iter().map(|function| function.name.clone()).collect();
    assert_eq!(sampled, functions, "functions with a sample, and functions of the template");
}

#[test]
fn a_sample_is_sent_to_the_function_and_with_the_caller_that_its_route_has() {
    for (name, event) in http_samples() {
        let route = Template::deployed().routes.iter().find(|route| route_key(route) == event["routeKey"]).unwrap();
        assert_eq!(function(&name), route.function, "{name}");
        let caller = &event["requestContext"]["authorizer"]["lambda"]["sub"];
        assert_eq!(caller.is_null(), route.public, "{name}: {caller}");
        assert_eq!(event["rawPath"], path(route, &event["pathParameters"]), "{name}");
        for (field, value) in [("path", &event["rawPath"]), ("method", &Value::from(route.method.as_str()))] {
            assert_eq!(event["requestContext"]["http"][field], *value, "{name}: {field}");
        }
        assert_eq!(event["requestContext"]["routeKey"], event["routeKey"], "{name}");
    }
}

/// The samples that are HTTP requests to a route: those of payload format 2.0, but for the authorizer's.
fn http_samples() -> Vec<(String, Value)> {
    let events = samples().into_iter().map(|name| (name.clone(), serde_json::from_str(&sample(&name)).unwrap()));
    events.filter(|(name, event): &(_, Value)| event["version"] == "2.0" && function(name) != "authorizer").collect()
}

fn route_key(Route { method, path, .. }: &Route) -> String {
    format!("{method} {path}")
}

/// The path of a request to `route` with these `pathParameters`.
fn path(route: &Route, parameters: &Value) -> String {
    let parameters = parameters.as_object().into_iter().flatten();
    parameters.fold(route.path.clone(), |path, (name, value)| path.replace(&format!("{{{name}}}"), &text(value)))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// `tokens/begin-x.json` is an event of `tokens`.
fn function(name: &str) -> &str {
    name.split('/').next().unwrap_or_default()
}

fn samples() -> BTreeSet<String> {
    let directories = fs::read_dir(events()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let files = directories.flat_map(|directory| fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()));
    files.map(|file| file.strip_prefix(events()).unwrap().to_str().unwrap().to_owned()).collect()
}

fn expected() -> BTreeMap<String, Map<String, Value>> {
    serde_json::from_str(&sample("expected.json")).unwrap()
}

fn sample(name: &str) -> String {
    fs::read_to_string(events().join(name)).unwrap_or_else(|error| panic!("events/{name}: {error}"))
}

fn events() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../events"))
}
