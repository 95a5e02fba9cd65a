//! The description of the API: what is published, what is deployed, and what is really answered.

use std::{collections::BTreeSet, fs, path::Path};

use sandbox::template::Template;
use serde_json::{Value, json};
use utoipa::openapi::OpenApi;

use crate::{
    estate::{Estate, ask},
    support::{World, days},
};

/// What each function says of its own routes. The first brings what is said of the API as a whole.
fn parts() -> [(&'static str, OpenApi); 2] {
    [("tokens", tokens::openapi()), ("leases", leases::openapi())]
}

fn json_of(part: &OpenApi) -> Value {
    serde_json::to_value(part).unwrap()
}

/// The parts put together: what `/openapi.json` answers.
pub(crate) fn document() -> Value {
    let whole = parts().into_iter().map(|(_, part)| part).reduce(OpenApi::merge_from).unwrap();
    json_of(&whole)
}

/// Every operation as `METHOD /path`, and its description.
pub(crate) fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        item.as_object()
            .unwrap()
            .iter()
            .map(move |(method, operation)| (format!("{} {path}", method.to_uppercase()), operation))
    });
    operations.collect()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how the golden file is renewed")]
fn a_change_of_the_api_is_seen() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../functions/tokens/openapi.json");
    let now = format!("{}\n", serde_json::to_string_pretty(&document()).unwrap());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &now).unwrap();
    }
    let then = fs::read_to_string(&golden).unwrap();
    let differs = then.lines().zip(now.lines()).find(|(then, now)| then != now);
    assert!(
        then == now,
        "the API changed, first at {differs:?}. If that is meant, renew functions/tokens/openapi.json with \
         UPDATE_GOLDEN=1 cargo test --workspace --test main openapi, and read its diff as a client would"
    );
}

#[test]
fn the_document_is_sound() {
    let document = document();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."), "{}", document["openapi"]);
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"").skip(1) {
        let reference = reference.split('"').next().unwrap();
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference} leads nowhere");
    }
    let mut ids = BTreeSet::new();
    for (name, operation) in operations(&document) {
        assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{name} has the id of another");
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let in_path: Vec<_> = parameters
            .iter()
            .filter(|parameter| parameter["in"] == "path" && parameter["required"] == true)
            .map(|parameter| format!("{{{}}}", parameter["name"].as_str().unwrap()))
            .collect();
        let named: Vec<_> = name.split('/').filter(|part| part.starts_with('{')).collect();
        assert_eq!(in_path, named, "{name}");
    }
    let scheme = document["security"][0].as_object().unwrap().keys().next().unwrap();
    assert_eq!(document["components"]["securitySchemes"][scheme]["scheme"], "bearer");
}

#[test]
fn what_is_described_is_what_is_deployed() {
    for (function, part) in parts() {
        let part = json_of(&part);
        let described: BTreeSet<_> = operations(&part).into_iter().map(|(name, _)| name).collect();
        let deployed = Template::deployed().routes.iter().filter(|route| route.function == function && !route.public);
        let deployed: BTreeSet<_> = deployed.map(|route| format!("{} {}", route.method, route.path)).collect();
        assert_eq!(described, deployed, "{function}");
    }
}

#[test]
fn a_name_means_the_same_in_every_part() {
    let whole = document();
    for (function, part) in parts() {
        for (name, schema) in json_of(&part)["components"]["schemas"].as_object().unwrap() {
            assert_eq!(*schema, whole["components"]["schemas"][name], "{function} describes another {name}");
        }
    }
}

#[test]
fn every_operation_can_answer_with_a_problem() {
    for (name, operation) in operations(&document()) {
        for status in ["4XX", "5XX"] {
            let schema = &operation["responses"][status]["content"]["application/problem+json"]["schema"];
            assert_eq!(schema["$ref"], "#/components/schemas/Problem", "{name} {status}");
        }
    }
}

#[tokio::test]
async fn anybody_can_read_the_document() {
    let world = World::start().await;
    let reply = world.door(reqwest::Method::GET, "/openapi.json", Value::Null).await;
    assert_eq!(reply.expect(200), document());
    assert_eq!(reply.header("content-type"), "application/json");
}

/// Makes sure that a value is of the form that a schema describes, and has nothing beside it.
fn fits(document: &Value, schema: &Value, value: &Value, place: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        return fits(document, document.pointer(&reference[1..]).unwrap(), value, place);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let choice = choices.iter().find(|choice| (choice["type"] == "null") == value.is_null());
        return fits(document, choice.unwrap_or_else(|| panic!("{place}: {value}")), value, place);
    }
    let kinds = schema["type"].as_array().cloned().unwrap_or_else(|| vec![schema["type"].clone()]);
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(kinds.contains(&json!(kind)), "{place} is of type {kind}: {schema}");
    if let Some(known) = schema["enum"].as_array() {
        assert!(known.contains(value), "{place} is {value}");
    }
    match value {
        Value::String(text) if schema["format"] == "date-time" => {
            assert!(text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok(), "{place} is {text}");
        }
        Value::Array(items) => {
            for item in items {
                fits(document, &schema["items"], item, &format!("{place}[]"));
            }
        }
        Value::Object(fields) => {
            for required in schema["required"].as_array().into_iter().flatten() {
                assert!(fields.contains_key(required.as_str().unwrap()), "{place} has no {required}");
            }
            for (name, field) in fields {
                let schema = schema["properties"].get(name).or_else(|| schema.get("additionalProperties"));
                let schema = schema.unwrap_or_else(|| panic!("{place}.{name} is not described"));
                fits(document, schema, field, &format!("{place}.{name}"));
            }
        }
        _ => {}
    }
}

#[tokio::test]
async fn every_answer_is_of_the_form_that_is_described() {
    let document = document();
    let operations = operations(&document);
    let estate = Estate::new().await;
    for row in estate.rows() {
        let (_, operation) = operations.iter().find(|(name, _)| name == row.operation).unwrap();
        let refused = estate.ask(Some("x"), &row).await.status.as_u16();
        assert_eq!(refused, 403, "the gateway's own form");
        for person in [row.outsider(), row.by] {
            let reply = estate.world.person(person).api(row.method(), &row.path, row.body.clone()).await;
            let status = reply.status.as_u16();
            let range = if status < 400 { status.to_string() } else { format!("{}XX", status / 100) };
            let schema = &operation["responses"][range]["content"][reply.header("content-type")]["schema"];
            assert!(schema.is_object(), "{} answered {status} as {}", row.operation, reply.header("content-type"));
            fits(&document, schema, &reply.json(), row.operation);
        }
    }
}

#[tokio::test]
async fn the_shapes_are_those_that_clients_rely_on() {
    let world = World::start().await;
    let alice = world.person("alice");
    let wanted = json!({ "kind": "x_profile", "token": "interaction", "return_url": world.return_url() });
    let begun = alice.post("/v1/connect-sessions", wanted).await.expect(201);
    let id = begun["id"].as_str().unwrap();
    assert!(begun["connect_url"].as_str().unwrap().starts_with(&world.url("/oauth/start?ticket=")), "{begun}");
    let expected = json!({
        "id": id,
        "connect_url": begun["connect_url"],
        "expires_at": begun["expires_at"],
        "status": "pending",
        "kind": "x_profile",
        "token": "interaction",
        "candidates": [],
        "privacy_url": null,
    });
    assert_eq!(begun, expected);
    let mut seen = expected;
    seen.as_object_mut().unwrap().remove("connect_url");
    assert_eq!(alice.get(&format!("/v1/connect-sessions/{id}")).await.expect(200), seen, "the link is told once");

    let profile = alice.connect("x_profile", "interaction", "newsdesk").await;
    let token = &profile["tokens"][0];
    let expected = json!({
        "id": "x_profile-42",
        "kind": "x_profile",
        "network": "x",
        "external_id": "42",
        "name": profile["name"],
        "owners": ["alice"],
        "shared_with": { "users": [], "groups": [], "everybody": false },
        "state": "valid",
        "tokens": [{
            "id": "interaction-alice",
            "token": "interaction",
            "owner": "alice",
            "state": "active",
            "expires_at": null,
            "connected_at": token["connected_at"],
            "scopes": token["scopes"],
            "missing_scopes": [],
            "allow": { "search_acquisition": false, "private_messages": false },
            "uses": { "private_messages": "not_allowed", "publish": "ready", "reply": "ready" },
        }],
    });
    assert_eq!(profile, expected);
    assert!(
        !profile["name"].as_str().unwrap().is_empty() && token["scopes"].as_array().unwrap().len() == 7,
        "{profile}"
    );
    assert_eq!(alice.get("/v1/profiles").await.expect(200), json!({ "items": [profile], "next": null }));
    let tokens = alice.get("/v1/profiles/x_profile-42/tokens").await.expect(200);
    assert_eq!(tokens, json!({ "items": [token], "next": null }));

    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    world.later(days(45)).await;
    world.sweep().await;
    let notices = alice.get("/v1/notices").await.expect(200);
    let notice = &notices["items"][0];
    let mut expected = json!({
        "id": notice["id"],
        "kind": "token_expiring",
        "profile_id": "facebook_user-1001",
        "token_id": "acquisition-alice",
        "name": "Alice Meyer",
        "owner": "alice",
        "days_left": 15,
        "expires_at": notice["expires_at"],
        "at": notice["at"],
        "dismissed": false,
    });
    assert_eq!(notices, json!({ "items": [expected], "next": null }));
    expected["dismissed"] = json!(true);
    let path = format!("/v1/notices/{}/dismiss", notice["id"].as_str().unwrap());
    assert_eq!(alice.post(&path, Value::Null).await.expect(200), expected);

    for (of, owner) in [
        (json!({ "use": "search_acquisition", "network": "facebook" }), "dora"),
        (json!({ "use": "private_messages", "profile_ids": ["x_profile-42"] }), "alice"),
    ] {
        let mut body = of.clone();
        body["topic"] = json!("Floods");
        let rule = world.person(owner).post("/v1/rules", body.clone()).await.expect(201);
        (body["id"], body["owner"], body["created_at"]) =
            (rule["id"].clone(), json!(owner), rule["created_at"].clone());
        assert_eq!(rule, body);
    }

    let problem = alice.get("/v1/profiles/x_profile-99").await.refused(404, "not_found");
    let expected = json!({
        "type": "urn:tokenward:problem:not_found",
        "title": "Not found",
        "status": 404,
        "code": "not_found",
        "detail": problem["detail"],
    });
    assert_eq!(problem, expected);
    let token = alice.access_token().await;
    let refused = ask(&world, Some(&token), reqwest::Method::PATCH, "/v1/profiles/x/tokens/y", &Value::Null).await;
    assert_eq!(refused.header("content-type"), "application/problem+json");
}
