//! The sandbox from outside: its ports, its doors, its pages, and what outlives a restart.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod pages;

use std::{collections::BTreeMap, path::Path, process::Command};

use reqwest::{Client, Method, StatusCode, redirect::Policy};
use sandbox::{Options, Sandbox, StartError, data::DataDir, live::LiveApp};
use serde_json::{Value, json};
use url::Url;

#[expect(clippy::disallowed_methods, reason = "a browser with nothing of the product in between")]
fn browser() -> Client {
    Client::builder().redirect(Policy::none()).no_proxy().build().unwrap()
}

async fn start() -> Sandbox {
    Sandbox::start(Options::default()).await.unwrap()
}

async fn start_at(path: &Path) -> Sandbox {
    Sandbox::start(Options { data: DataDir::at(path).unwrap(), ..Options::default() }).await.unwrap()
}

async fn knock(sandbox: &Sandbox, method: Method, door: &str, body: &Value) -> (StatusCode, Value) {
    let url = format!("{}/_sandbox/{door}", sandbox.url());
    let answer = browser().request(method, url).body(body.to_string()).send().await.unwrap();
    let status = answer.status();
    (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
}

async fn page(sandbox: &Sandbox, path: &str) -> String {
    browser().get(format!("{}{path}", sandbox.url())).send().await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn a_taken_port_is_named_and_so_is_the_way_out() {
    let first = start().await;
    let port = first.url().rsplit(':').next().unwrap().parse().unwrap();
    let error = Sandbox::start(Options { port, ..Options::default() }).await.unwrap_err();
    assert!(matches!(error, StartError::PortTaken(taken) if taken == port), "{error:?}");
    assert!(error.to_string().contains(&port.to_string()) && error.to_string().contains("--port"), "{error}");
}

#[tokio::test]
async fn three_ports_must_fit_behind_the_first() {
    let error = Sandbox::start(Options { port: 65_534, ..Options::default() }).await.unwrap_err();
    assert!(matches!(error, StartError::NoSuchPort(65_534)), "{error:?}");
}

#[tokio::test]
async fn tables_of_another_version_are_named_and_so_is_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let before = start_at(dir.path()).await;
    let dynamodb = aws_sdk_dynamodb::Client::new(before.aws_config());
    let drop = aws_sdk_dynamodb::types::DeleteGlobalSecondaryIndexAction::builder().index_name("pool").build().unwrap();
    let drop = aws_sdk_dynamodb::types::GlobalSecondaryIndexUpdate::builder().delete(drop).build();
    dynamodb.update_table().table_name("Vault").global_secondary_index_updates(drop).send().await.unwrap();
    before.stop().await;
    let error =
        Sandbox::start(Options { data: DataDir::at(dir.path()).unwrap(), ..Options::default() }).await.unwrap_err();
    assert!(matches!(error, StartError::OtherVersion), "{error:?}");
    assert!(error.to_string().contains("delete it"), "{error}");
}

#[tokio::test]
async fn a_restart_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let before = start_at(dir.path()).await;
    let later = before.clock().advance(2_678_400).unwrap();
    let alice = before.issuer().sign_in("alice").unwrap();
    let wish = json!({ "kind": "x_profile", "token": "interaction", "return_url": format!("{}/", before.url()) });
    let session = browser()
        .post(format!("{}/v1/connect-sessions", before.url()))
        .bearer_auth(alice)
        .header("content-type", "application/json")
        .body(wish.to_string());
    let session: Value = serde_json::from_str(&session.send().await.unwrap().text().await.unwrap()).unwrap();
    before.stop().await;

    let after = start_at(dir.path()).await;

    assert!(after.clock().now() >= later);
    let alice = after.issuer().sign_in("alice").unwrap();
    let address = format!("{}/v1/connect-sessions/{}", after.url(), session["id"].as_str().unwrap());
    let found = browser().get(address).bearer_auth(alice).send().await.unwrap();
    assert_eq!(found.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_door_refuses_what_it_does_not_understand_and_says_why() {
    let sandbox = start().await;
    for (method, door, body) in [
        (Method::POST, "sign-in", json!({ "person": "mallory" })),
        (Method::POST, "sign-in", json!({ "person": "alice", "role": "manager" })),
        (Method::POST, "clock", json!({ "advance_seconds": -1 })),
        (Method::POST, "clock", json!({ "advance_days": 1 })),
        (Method::POST, "tick", json!({ "function": "tokens" })),
        (Method::PUT, "faults", json!({ "target": "x/tokens", "mode": "slow" })),
        (Method::PUT, "faults", json!({ "target": "x/token", "mode": "sluggish" })),
        (Method::PUT, "faults", json!({ "target": "x/token", "mode": "slow", "delay": 5 })),
        (Method::PUT, "faults", json!({ "target": "x/token", "mode": "status", "status": 42 })),
        (Method::PUT, "faults", json!({ "target": "x/token", "mode": "answer", "status": 1000 })),
        (Method::PUT, "faults", json!({ "target": "x/token", "mode": "answer", "headers": { "a b": "c" } })),
        (Method::PUT, "faults", json!({ "target": "x/token", "mode": "answer", "headers": { "a": "b\r\nc: d" } })),
        (Method::PUT, "faults", json!({ "target": "x/token", "mode": "status", "body": "words" })),
        (Method::POST, "networks/x/accounts/newsdesk", json!({ "event": "exploded" })),
        (Method::POST, "networks/x/accounts/newsdesk", json!({ "event": "role_lost", "page": "2001" })),
        (Method::POST, "networks/facebook/accounts/alice.meyer", json!({ "event": "role_lost" })),
        (Method::POST, "networks/facebook/accounts/alice.meyer", json!({ "event": "role_lost", "page": 2001 })),
        (Method::POST, "networks/facebook/accounts/alice.meyer", json!({ "event": "revoke", "page": "2001" })),
        (Method::POST, "networks/youtube/accounts/harbour.tv", json!({ "event": "role_lost", "page": "2001" })),
        (Method::POST, "networks/x/accounts/nobody", json!({ "event": "revoke" })),
        (Method::POST, "networks/myspace/accounts/newsdesk", json!({ "event": "revoke" })),
    ] {
        let (status, answer) = knock(&sandbox, method, door, &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{door} {body}");
        assert!(answer["error"].as_str().is_some_and(|reason| !reason.is_empty()), "{door} {body}: {answer}");
    }
}

#[tokio::test]
async fn faults_are_put_listed_and_taken_back() {
    let sandbox = start().await;
    let fault = json!({ "target": "kms/Decrypt", "mode": "throttle", "times": 3 });
    let put = json!({ "target": "kms/Decrypt", "mode": "throttle", "times": 3, "delay_ms": 0 });
    assert_eq!(knock(&sandbox, Method::PUT, "faults", &fault).await, (StatusCode::OK, put.clone()));
    assert_eq!(knock(&sandbox, Method::GET, "faults", &Value::Null).await.1, json!({ "items": [put] }));
    knock(&sandbox, Method::DELETE, "faults", &Value::Null).await;
    assert_eq!(knock(&sandbox, Method::GET, "faults", &Value::Null).await.1, json!({ "items": [] }));
}

#[tokio::test]
async fn any_response_is_injected_instead_of_the_work() {
    let sandbox = start().await;
    let url = format!("{}/api.x.com/2/users/me", sandbox.networks_url());
    let json_body = json!({ "title": "Client Forbidden", "reason": "client-not-enrolled" });
    for (fault, status, body, kind) in [
        (json!({ "status": 403, "body": json_body }), 403, json_body.to_string(), "application/json"),
        (json!({ "body": "\u{feff}words" }), 200, "\u{feff}words".to_owned(), "text/plain; charset=utf-8"),
        (json!({ "status": 204, "headers": { "content-type": "text/html" } }), 204, String::new(), "text/html"),
    ] {
        let mut fault = fault;
        (fault["target"], fault["mode"], fault["times"]) = (json!("x/me"), json!("answer"), json!(2));
        assert_eq!(knock(&sandbox, Method::PUT, "faults", &fault).await.0, StatusCode::OK, "{fault}");
        for _ in 0..2 {
            let answer = browser().get(&url).send().await.unwrap();
            assert_eq!((answer.status().as_u16(), &answer.headers()["content-type"]), (status, &kind.parse().unwrap()));
            assert_eq!(answer.bytes().await.unwrap(), body.as_bytes());
        }
    }
    let works = browser().get(&url).send().await.unwrap();
    assert_eq!(works.status(), StatusCode::UNAUTHORIZED, "no token");
}

#[tokio::test]
async fn calls_are_counted_from_the_start_and_listed_with_their_consistency() {
    let sandbox = start().await;
    assert_eq!(knock(&sandbox, Method::GET, "calls", &Value::Null).await.1, json!({}));
    sandbox.tick("expiry-sweep").await.unwrap();
    let (_, counts) = knock(&sandbox, Method::GET, "calls", &Value::Null).await;
    assert!(counts["dynamodb/Query"].as_u64().is_some_and(|queries| queries > 0), "{counts}");
    let (_, list) = knock(&sandbox, Method::GET, "calls/list", &Value::Null).await;
    let mut items = list["items"].as_array().unwrap().iter();
    let query = items.find(|call| call["target"] == "dynamodb/Query").unwrap();
    assert!(query["consistent"].is_boolean(), "{list}");
    knock(&sandbox, Method::DELETE, "calls", &Value::Null).await;
    assert_eq!(knock(&sandbox, Method::GET, "calls", &Value::Null).await.1, json!({}));
}

#[tokio::test]
async fn a_queue_is_worked_off_by_the_same_door_as_the_schedule() {
    let sandbox = start().await;
    let ticked = knock(&sandbox, Method::POST, "tick", &json!({ "function": "spill-reader" })).await;
    assert_eq!(ticked, (StatusCode::OK, json!({ "delivered": 0, "kept": 0 })));
}

#[tokio::test]
async fn the_clock_moves_by_its_door() {
    let sandbox = start().await;
    let (_, before) = knock(&sandbox, Method::GET, "clock", &Value::Null).await;
    let (_, after) = knock(&sandbox, Method::POST, "clock", &json!({ "advance_seconds": 2_678_400 })).await;
    let parsed = |answer: &Value| answer["now"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!(parsed(&after).duration_since(parsed(&before)) >= jiff::SignedDuration::from_hours(31 * 24));
}

#[tokio::test]
async fn a_role_is_lost_by_its_door() {
    let sandbox = start().await;
    let lost = json!({ "event": "role_lost", "page": "2001" });
    let happened = knock(&sandbox, Method::POST, "networks/facebook/accounts/alice.meyer", &lost).await;
    assert_eq!(happened, (StatusCode::OK, json!({ "grants": [], "told": [] })));
}

#[tokio::test]
async fn every_network_is_found_and_counted_under_the_targets_that_can_be_struck() {
    let sandbox = start().await;
    for (path, target) in [
        ("www.facebook.com/v26.0/dialog/oauth", "facebook/authorize"),
        ("graph.facebook.com/v26.0/me/accounts", "facebook/accounts"),
        ("graph.facebook.com/v26.0/2001", "facebook/page"),
        ("www.instagram.com/oauth/authorize", "instagram/authorize"),
        ("api.instagram.com/oauth/access_token", "instagram/token"),
        ("graph.instagram.com/access_token", "instagram/long-lived"),
        ("graph.instagram.com/refresh_access_token", "instagram/refresh"),
        ("graph.instagram.com/v26.0/me", "instagram/me"),
        ("accounts.google.com/o/oauth2/v2/auth", "youtube/authorize"),
        ("oauth2.googleapis.com/token", "youtube/token"),
        ("oauth2.googleapis.com/revoke", "youtube/revoke"),
        ("oauth2.googleapis.com/tokeninfo", "youtube/tokeninfo"),
        ("www.googleapis.com/youtube/v3/channels", "youtube/channels"),
    ] {
        let fault = json!({ "target": target, "mode": "status", "status": 418 });
        assert_eq!(knock(&sandbox, Method::PUT, "faults", &fault).await.0, StatusCode::OK, "{target}");
        let struck = browser().get(format!("{}/{path}", sandbox.networks_url())).send().await.unwrap();
        assert_eq!(struck.status(), StatusCode::IM_A_TEAPOT, "{path}");
        assert_eq!(sandbox.faults().counts()[target], 1, "{target}");
    }
}

/// Where somebody who begins to connect an account is sent.
async fn departs(sandbox: &Sandbox, kind: &str, token: &str) -> Url {
    let alice = sandbox.issuer().sign_in("alice").unwrap();
    let wish = json!({ "kind": kind, "token": token, "return_url": format!("{}/", sandbox.url()) });
    let asking = browser().post(format!("{}/v1/connect-sessions", sandbox.url())).bearer_auth(alice).json(&wish);
    let session: Value = serde_json::from_str(&asking.send().await.unwrap().text().await.unwrap()).unwrap();
    let connect_url = session["connect_url"].as_str().unwrap();
    let ticket = connect_url.strip_prefix(sandbox.public_url()).unwrap();
    let start = browser().get(format!("{}{ticket}", sandbox.url())).send().await.unwrap();
    Url::parse(start.headers()["location"].to_str().unwrap()).unwrap()
}

// S18
#[tokio::test]
async fn a_live_network_is_reached_with_the_real_app_and_every_other_stays_on_this_machine() {
    let app =
        LiveApp { network: shared::profile::Network::X, client_id: "real".into(), client_secret: "secret".into() };
    let sandbox = Sandbox::start(Options { live: vec![app], ..Options::default() }).await.unwrap();

    let to_x = departs(&sandbox, "x_profile", "interaction").await;
    assert_eq!((to_x.scheme(), to_x.host_str(), to_x.path()), ("https", Some("x.com"), "/i/oauth2/authorize"));
    let asked: BTreeMap<_, _> = to_x.query_pairs().into_owned().collect();
    assert_eq!(asked["client_id"], "real");
    assert_eq!(asked["redirect_uri"], format!("{}/oauth/callback/x", sandbox.url()));
    let to_facebook = departs(&sandbox, "facebook_user", "acquisition").await;
    assert!(
        to_facebook.as_str().starts_with(&format!("{}/www.facebook.com/", sandbox.networks_url())),
        "{to_facebook}"
    );

    for (function, given) in sandbox.environment() {
        let told = given.get("NETWORK_ENDPOINT_EXCEPT").map(String::as_str);
        assert_eq!(told, given.contains_key("NETWORK_ENDPOINT").then_some("x"), "{function}");
    }
    let store = aws_sdk_secretsmanager::Client::new(sandbox.aws_config());
    let secret = store.get_secret_value().secret_id("tokenward/apps").send().await.unwrap().secret_string.unwrap();
    let apps: Vec<Value> = serde_json::from_str(&secret).unwrap();
    let of_x: Vec<_> = apps.iter().filter(|app| app["network"] == "x").collect();
    assert_eq!(of_x, [&json!({ "network": "x", "client_id": "real", "client_secret": "secret" })]);
    assert!(apps.iter().any(|app| app["network"] == "facebook"), "the others keep theirs");
    assert!(page(&sandbox, "/").await.contains("X is live"));
}

#[test]
fn a_live_network_without_credentials_is_a_mistake_that_names_them() {
    for (name, set, said) in [
        ("x", None, "set TOKENWARD_LIVE_X_CLIENT_ID and TOKENWARD_LIVE_X_CLIENT_SECRET"),
        ("facebook", Some("TOKENWARD_LIVE_FACEBOOK_CLIENT_ID"), "set TOKENWARD_LIVE_FACEBOOK_CLIENT_SECRET"),
        ("myspace", None, "there is no network \"myspace\""),
    ] {
        let mut sandbox = Command::new(env!("CARGO_BIN_EXE_sandbox"));
        sandbox.args(["--live", name]).env_clear().envs(set.map(|variable| (variable, "an-id")));
        let ended = sandbox.output().unwrap();
        let words = String::from_utf8(ended.stderr).unwrap();
        assert_eq!((ended.status.code(), words.contains(said)), (Some(2), true), "{words}");
    }
}

#[tokio::test]
async fn browsers_reach_the_functions_by_another_gateway_that_is_named() {
    let there = Some("http://localhost:3000".to_owned());
    let sandbox = Sandbox::start(Options { public_url: there, ..Options::default() }).await.unwrap();
    assert_eq!(sandbox.public_url(), "http://localhost:3000");
    let departure = departs(&sandbox, "x_profile", "interaction").await;
    let asked: BTreeMap<_, _> = departure.query_pairs().into_owned().collect();
    assert_eq!(asked["redirect_uri"], "http://localhost:3000/oauth/callback/x");
    let consent = browser().get(departure).send().await.unwrap();
    assert_eq!(consent.status(), 200, "the network knows the redirect URI");
}

#[tokio::test]
async fn functions_in_containers_reach_the_networks_and_the_cloud_but_not_the_pages() {
    let bridge = "127.0.0.2";
    let containers = Some(bridge.parse().unwrap());
    let sandbox = Sandbox::start(Options { containers, ..Options::default() }).await.unwrap();
    let outside = |url: &str| url.replace("127.0.0.1", bridge).replace("localhost", bridge);
    let issuer = outside(&format!("{}/.well-known/openid-configuration", sandbox.issuer().url()));
    assert_eq!(browser().get(issuer).send().await.unwrap().status(), 200);
    let config = sandbox.aws_config().to_builder().endpoint_url(outside(sandbox.aws_endpoint())).build();
    let tables = aws_sdk_dynamodb::Client::new(&config).list_tables().send().await.unwrap();
    assert!(tables.table_names().contains(&"Vault".to_owned()), "{tables:?}");
    assert!(browser().get(outside(sandbox.url())).send().await.is_err());
}

#[test]
fn containers_are_let_in_at_a_private_address_alone_and_another_gateway_is_an_origin() {
    for (option, value, said) in [
        ("--containers", "203.0.113.7", "is no private address"),
        ("--containers", "0.0.0.0", "is no private address"),
        ("--containers", "localhost", "is no private address"),
        ("--public-url", "http://localhost:3000/", "is no origin"),
        ("--public-url", "localhost:3000", "is no origin"),
    ] {
        let ended = Command::new(env!("CARGO_BIN_EXE_sandbox")).args([option, value]).output().unwrap();
        let words = String::from_utf8(ended.stderr).unwrap();
        assert!(words.contains(said), "{words}");
        assert_eq!(ended.status.code(), Some(2), "{words}");
    }
}

#[tokio::test]
async fn the_environment_is_told_by_logical_id_as_sam_local_takes_it() {
    let sandbox = start().await;
    let (_, told) = knock(&sandbox, Method::GET, "environment", &Value::Null).await;
    assert_eq!(told["OauthStart"], json!(sandbox.environment()["oauth-start"]));
    let told: Vec<_> = told.as_object().unwrap().keys().map(|id| id.to_lowercase()).collect();
    let names = sandbox.environment().keys().map(|name| name.replace('-', ""));
    assert_eq!(told, names.collect::<Vec<_>>(), "the name of a function without its hyphens");
}

#[tokio::test]
async fn every_function_is_given_the_variables_that_the_template_names() {
    let sandbox = start().await;
    for function in &sandbox::template::Template::deployed().functions {
        let given = &sandbox.environment()[&function.name];
        let missing: Vec<_> = function.environment.keys().filter(|name| !given.contains_key(*name)).collect();
        assert!(missing.is_empty(), "{}: {missing:?}", function.name);
    }
}
