//! Reports: what a network answered to a worker makes a token rest; whatever would do more is asked of the network first.

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp, fmt::rfc2822::DateTimePrinter};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    NEWSDESK,
    apps::rewrite_apps,
    newsdesk,
    pool::{ALICE, BOB, OF_ALICE, OF_BOB, Pool, join, path_of, posts},
    row, state, tamper, told, whoami,
};
use crate::{
    access::hold_no_secret,
    support::{Reply, Row, World, minutes},
};

/// A report of an answer that has just this status and body.
fn answered(status: u16, body: impl Into<Value>) -> Value {
    json!({ "outcome": "failed", "http_status": status, "body": body.into() })
}

/// A report of an error of the Graph API.
fn graph_error(code: u32, subcode: u32) -> Value {
    answered(400, json!({ "error": { "message": "Error", "code": code, "error_subcode": subcode } }))
}

/// What the network will answer when it is asked how the token is.
async fn network_says(world: &World, target: &str, mode: &str, status: u16) {
    world.fault(json!({ "target": target, "mode": mode, "status": status, "times": 3 })).await;
}

/// A token's row but for when the network may be asked about it again.
async fn lasting(world: &World, path: &str) -> Row {
    let mut row = row(world, path).await;
    for name in ["check_after", "check_at", "due_at"] {
        row.remove(name);
    }
    row
}

/// How long a reply says to wait, in seconds.
fn retry_after(reply: &Reply) -> i64 {
    reply.header("retry-after").parse().unwrap()
}

/// Makes sure that `moment` is so many seconds from now, give or take what the test itself took.
fn is_in(world: &World, moment: &Value, seconds: i64) {
    let moment: Timestamp = moment.as_str().unwrap().parse().unwrap();
    let left = moment.duration_since(world.sandbox.clock().now()).as_secs();
    assert!((seconds - 60..=seconds).contains(&left), "{left} of {seconds}");
}

#[tokio::test]
async fn a_limit_of_x_lets_the_token_rest_until_x_says_that_it_is_over() {
    let (world, alice, worker) = newsdesk().await;
    let lease = worker.lease().await.expect(201);
    let now = world.sandbox.clock().now();
    let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&now).unwrap();
    let mut report = answered(429, json!({ "title": "Too Many Requests" }));
    report["headers"] = json!({ "Date": date, "X-Rate-Limit-Reset": (now.as_second() + 300).to_string() });
    let taken = worker.report(&lease, report.clone()).await;
    assert_eq!((&taken["effect"], &taken["state"]), (&json!("cooling_down"), &json!("cooling_down")));
    is_in(&world, &taken["retry_at"], 300);
    assert_eq!(state(&alice, NEWSDESK).await.0, "cooling_down");
    let refused = worker.lease().await;
    refused.refused(429, "rate_limited");
    assert!((240..=300).contains(&retry_after(&refused)), "{refused:?}");

    // what says less does not shorten it
    report["headers"] = json!({ "date": date, "x-rate-limit-reset": (now.as_second() + 60).to_string() });
    is_in(&world, &worker.report(&lease, report).await["retry_at"], 300);
    world.later(SignedDuration::from_secs(301)).await;
    assert_eq!(worker.lease().await.expect(201)["access_token"], lease["access_token"]);
    assert_eq!(state(&alice, NEWSDESK).await.0, "active");

    let taken = worker.report(&lease, answered(429, Value::Null)).await;
    is_in(&world, &taken["retry_at"], 15 * 60);
    assert_eq!(world.calls("x/me").await, 1, "X was asked at the sign-in alone");
    assert_eq!(told(&alice).await, (0, 0));
}

#[tokio::test]
async fn a_limit_of_meta_lets_the_token_rest_as_long_as_meta_estimates_and_no_longer_than_six_hours() {
    let pool = Pool::of(&[ALICE]).await;
    let usage = |minutes: u32| json!({ "1001": [{ "estimated_time_to_regain_access": minutes }] }).to_string();
    for (code, estimate, seconds) in
        [(17, None, 15 * 60), (80_001, Some(20), 20 * 60), (80_001, Some(0), 15 * 60), (80_001, Some(900), 6 * 3600)]
    {
        let lease = pool.lease().await.expect(201);
        let mut report = graph_error(code, 0);
        if let Some(minutes) = estimate {
            report["headers"] = json!({ "X-Business-Use-Case-Usage": usage(minutes) });
        }
        let taken = pool.worker.report(&lease, report).await;
        assert_eq!(taken["effect"], "cooling_down", "{code}");
        is_in(&pool.world, &taken["retry_at"], seconds);
        let refused = pool.lease().await;
        refused.refused(429, "rate_limited");
        assert!((seconds - 60..=seconds).contains(&retry_after(&refused)), "{refused:?}");
        pool.world.later(SignedDuration::from_secs(seconds + 1)).await;
    }
    pool.lease().await.expect(201);
}

// S52
#[tokio::test]
async fn one_workers_wrong_report_disconnects_nobody_and_mails_nobody() {
    let (world, alice, worker) = newsdesk().await;
    let lease = worker.lease().await.expect(201);
    let before = lasting(&world, NEWSDESK).await;
    world.forget_calls().await;
    for report in [
        answered(401, json!({ "title": "Unauthorized" })),
        answered(403, "Forbidden"),
        answered(402, Value::Null),
        json!({ "outcome": "unauthorized" }),
        json!({ "outcome": "forbidden" }),
    ] {
        for checks in [1, 1] {
            let taken = worker.report(&lease, report.clone()).await;
            assert_eq!((&taken["effect"], &taken["state"]), (&json!("unconfirmed"), &json!("active")), "{report}");
            assert_eq!(world.calls("x/me").await, checks, "at most once a minute: {report}");
        }
        assert_eq!(world.calls("x/token").await, 0, "a token that works is not refreshed: {report}");
        world.later(SignedDuration::from_secs(61)).await.forget_calls().await;
    }
    assert_eq!(lasting(&world, NEWSDESK).await, before);
    assert_eq!(worker.lease().await.expect(201)["access_token"], lease["access_token"]);
    assert_eq!(told(&alice).await, (0, 0));

    let pool = Pool::of(&[ALICE]).await;
    let lease = pool.lease().await.expect(201);
    let before = lasting(&pool.world, OF_ALICE).await;
    for (code, subcode) in [(190, 460), (190, 458), (102, 0), (4, 0), (10, 0), (200, 0), (101, 0)] {
        let taken = pool.worker.report(&lease, graph_error(code, subcode)).await;
        assert_eq!(taken["effect"], "unconfirmed", "{code}/{subcode}");
        pool.world.later(SignedDuration::from_secs(61)).await;
    }
    assert_eq!(lasting(&pool.world, OF_ALICE).await, before);
    pool.lease().await.expect(201);
    assert_eq!(told(&pool.world.person("alice")).await, (0, 0));
}

// S52
#[tokio::test]
async fn what_the_network_cannot_confirm_now_changes_nothing() {
    let (world, alice, worker) = newsdesk().await;
    let lease = worker.lease().await.expect(201);
    let before = lasting(&world, NEWSDESK).await;
    for (mode, status) in
        [("status", 503), ("status", 500), ("reset", 503), ("lost_reply", 503), ("garbage", 503), ("status", 404)]
    {
        network_says(&world, "x/me", mode, status).await;
        let taken = worker.report(&lease, answered(401, Value::Null)).await;
        assert_eq!((&taken["effect"], &taken["state"]), (&json!("unconfirmed"), &json!("active")), "{mode} {status}");
        world.no_faults().await;
        world.later(SignedDuration::from_secs(61)).await;
    }
    assert_eq!(lasting(&world, NEWSDESK).await, before);
    assert_eq!(told(&alice).await, (0, 0));
}

#[tokio::test]
async fn a_grant_that_was_taken_back_ends_and_its_owner_is_told_once() {
    let (world, alice, worker) = newsdesk().await;
    let lease = worker.lease().await.expect(201);
    world.sandbox.networks().event("x", "newsdesk", "revoke").unwrap();
    let taken = worker.report(&lease, answered(401, Value::Null)).await;
    assert_eq!((&taken["effect"], &taken["state"]), (&json!("needs_reauth"), &json!("needs_reauth")));
    assert_eq!(state(&alice, NEWSDESK).await, ("needs_reauth".to_owned(), json!("refresh_rejected")));
    worker.lease().await.refused(409, "no_valid_token");

    for _ in 0..3 {
        let taken = worker.report(&lease, answered(401, Value::Null)).await;
        assert_eq!((&taken["effect"], &taken["state"]), (&json!("unconfirmed"), &json!("needs_reauth")));
        assert_eq!(told(&alice).await, (1, 1));
        world.later(minutes(61)).await;
    }
    assert_eq!(world.mails().await[0]["to"], json!(["alice@acme.example"]));
}

#[tokio::test]
async fn what_meta_confirms_ends_the_token_with_metas_own_reason() {
    for (event, reported, reason) in [
        ("password_changed", graph_error(190, 460), "password_changed"),
        ("revoke", graph_error(190, 0), "app_removed"),
        ("checkpoint", json!({ "outcome": "unauthorized" }), "checkpoint"),
    ] {
        let pool = Pool::of(&[ALICE, BOB]).await;
        let alice = pool.world.person("alice");
        let lease = pool.lease_of(OF_ALICE).await;
        pool.world.sandbox.networks().event("facebook", "alice.meyer", event).unwrap();
        assert_eq!(pool.worker.report(&lease, reported).await["effect"], "needs_reauth", "{event}");
        assert_eq!(state(&alice, OF_ALICE).await, ("needs_reauth".to_owned(), json!(reason)));
        assert_eq!(told(&alice).await, (1, 1), "{event}");
        for _ in 0..5 {
            assert_ne!(path_of(&pool.lease().await.expect(201)), OF_ALICE, "{event}");
        }
    }
}

#[tokio::test]
async fn an_access_token_that_died_before_its_time_is_replaced_while_the_grant_lives() {
    let (world, alice, worker) = newsdesk().await;
    let lease = worker.lease().await.expect(201);
    world.forget_calls().await;
    network_says(&world, "x/me", "status", 401).await;
    let taken = worker.report(&lease, answered(401, Value::Null)).await;
    assert_eq!((&taken["effect"], &taken["state"]), (&json!("refreshed"), &json!("active")));
    world.no_faults().await;
    let renewed = worker.lease().await.expect(201);
    assert_ne!(renewed["access_token"], lease["access_token"]);
    assert_eq!(whoami(&world, &renewed).await.expect(200)["data"]["id"], "42");
    assert_eq!(world.calls("x/token").await, 1);

    // who still has the older one has nothing to say of this one
    world.later(minutes(2)).await.forget_calls().await;
    for report in [answered(401, Value::Null), answered(429, Value::Null)] {
        let taken = worker.report(&lease, report).await;
        assert_eq!((&taken["effect"], &taken["state"]), (&json!("outdated"), &json!("active")));
    }
    assert_eq!((world.calls("x/me").await, world.calls("x/token").await), (0, 0));
    assert_eq!(told(&alice).await, (0, 0));
}

#[tokio::test]
async fn a_report_of_what_was_leased_before_the_last_refresh_or_sign_in_is_outdated() {
    let (world, alice, worker) = newsdesk().await;
    let mut leases = vec![worker.lease().await.expect(201)];
    world.later(minutes(121)).await;
    leases.push(worker.lease().await.expect(201));
    let session = alice.begin_again("x_profile-42", "interaction").await;
    let landing = alice.approve(&session, "newsdesk").await;
    alice.complete(&landing).await.expect(200);
    for lease in &leases {
        assert_eq!(worker.report(lease, answered(401, Value::Null)).await["effect"], "outdated");
    }
    let newest = worker.lease().await.expect(201);
    assert_eq!(worker.report(&newest, answered(429, Value::Null)).await["effect"], "cooling_down");
}

#[tokio::test]
async fn a_limit_of_the_whole_app_that_the_network_confirms_pauses_the_app_everywhere_and_no_other_app() {
    let pool = Pool::of(&[ALICE, BOB]).await;
    let world = &pool.world;
    let lease = pool.lease().await.expect(201);
    network_says(world, "facebook/debug_token", "throttle", 503).await;
    let taken = pool.worker.report(&lease, graph_error(4, 0)).await;
    assert_eq!((&taken["effect"], &taken["state"]), (&json!("app_paused"), &json!("active")));
    is_in(world, &taken["retry_at"], 15 * 60);
    world.no_faults().await;
    let refused = pool.lease().await;
    refused.refused(429, "rate_limited");
    assert!((840..=900).contains(&retry_after(&refused)), "{refused:?}");

    rewrite_apps(world, |apps| apps.reverse()).await;
    // longer than the copies that are in use
    world.later(minutes(6)).await;
    join(&world.person("dora"), "unknown.expiry").await;
    for _ in 0..5 {
        let lease = pool.lease().await.expect(201);
        assert_eq!(lease["token_id"], "acquisition-dora");
        posts(world, &lease).await.expect(200);
    }
    world.later(minutes(10)).await;
    for path in [OF_ALICE, OF_BOB] {
        pool.lease_of(path).await;
    }
}

#[tokio::test]
async fn when_x_wants_to_be_paid_its_app_is_paused_for_an_hour() {
    let (world, alice, worker) = newsdesk().await;
    let lease = worker.lease().await.expect(201);
    network_says(&world, "x/me", "status", 402).await;
    let taken = worker.report(&lease, answered(402, json!({ "title": "CreditsDepleted" }))).await;
    assert_eq!((&taken["effect"], &taken["state"]), (&json!("app_paused"), &json!("active")));
    worker.lease().await.refused(429, "rate_limited");
    world.no_faults().await;
    world.later(minutes(61)).await;
    worker.lease().await.expect(201);
    assert_eq!(told(&alice).await, (0, 0));
}

#[tokio::test]
async fn permissions_that_the_network_says_are_gone_are_gone_here_too() {
    let pool = Pool::of(&[ALICE]).await;
    let lease = pool.lease().await.expect(201);
    // Meta has taken one back since, which the sandbox's Facebook cannot: there is one more here than there
    let granted = row(&pool.world, OF_ALICE).await["scopes"].as_l().unwrap().clone();
    let more = [granted.clone(), vec![AttributeValue::S("pages_messaging".to_owned())]].concat();
    tamper(&pool.world, OF_ALICE, "scopes", Some(AttributeValue::L(more))).await;
    let taken = pool.worker.report(&lease, graph_error(200, 0)).await;
    assert_eq!((&taken["effect"], &taken["state"]), (&json!("scopes_changed"), &json!("active")));
    assert_eq!(row(&pool.world, OF_ALICE).await["scopes"], AttributeValue::L(granted));
    pool.lease().await.expect(201);
    assert_eq!(told(&pool.world.person("alice")).await, (0, 0));
}

#[tokio::test]
async fn an_answer_that_says_nothing_of_the_token_changes_nothing() {
    let (world, _, worker) = newsdesk().await;
    let lease = worker.lease().await.expect(201);
    let before = row(&world, NEWSDESK).await;
    world.forget_calls().await;
    for report in [
        json!({ "outcome": "succeeded" }),
        json!({ "outcome": "unavailable" }),
        json!({ "outcome": "failed" }),
        json!({ "outcome": "succeeded", "http_status": 201, "headers": {}, "body": { "data": { "id": "1" } } }),
        // the network's answer counts for more than the worker's view of it
        json!({ "outcome": "unauthorized", "http_status": 200 }),
        answered(400, json!({ "errors": [{ "message": "text is too long" }] })),
        answered(404, Value::Null),
        answered(500, "<html>Internal Server Error</html>"),
        answered(502, json!(["not", { "what": "anybody" }, "expected"])),
        answered(503, 7),
        answered(599, "\u{0}\u{202e}"),
        answered(100, Value::Null),
    ] {
        let taken = worker.report(&lease, report.clone()).await;
        assert_eq!(taken, json!({ "effect": "none", "state": "active" }), "{report}");
    }
    assert_eq!(row(&world, NEWSDESK).await, before);
    assert_eq!((world.calls("x/me").await, world.calls("x/token").await), (0, 0));
}

// S36
#[tokio::test]
async fn a_report_that_makes_no_sense_is_refused() {
    let (world, _, worker) = newsdesk().await;
    let lease = worker.lease().await.expect(201);
    let before = row(&world, NEWSDESK).await;
    let path = format!("/v1/leases/{}/report", lease["id"].as_str().unwrap());
    let with = |name: &str, value: Value| {
        let mut report = answered(429, Value::Null);
        report[name] = value;
        report
    };
    for (report, status, code) in [
        (json!({}), 400, "invalid_request"),
        (json!({ "outcome": "dead" }), 400, "invalid_request"),
        (with("http_status", json!(99)), 400, "invalid_request"),
        (with("http_status", json!(1000)), 400, "invalid_request"),
        (with("http_status", json!(65_536)), 400, "invalid_request"),
        (with("http_status", json!("429")), 400, "invalid_request"),
        (with("headers", json!({ "a b": "c" })), 400, "invalid_request"),
        (with("headers", json!({ "": "c" })), 400, "invalid_request"),
        (with("headers", json!({ "date": "a\r\nb: c" })), 400, "invalid_request"),
        (with("headers", json!({ "date": ["today"] })), 400, "invalid_request"),
        (with("token", json!("42")), 400, "invalid_request"),
        (with("body", json!("x".repeat(20_000))), 413, "body_too_large"),
        (with("headers", json!({ "x-filler": "x".repeat(20_000) })), 413, "body_too_large"),
    ] {
        worker.post(&path, report).await.refused(status, code);
    }
    let many: Value = (0..600).map(|number| (format!("x-{number}"), json!("1"))).collect();
    assert_eq!(worker.report(&lease, with("headers", many)).await["effect"], "cooling_down", "nobody reads them");
    world.later(minutes(16)).await;
    let mut after = row(&world, NEWSDESK).await;
    for name in ["state", "cooling_until"] {
        after.remove(name);
    }
    assert_eq!(after, before.into_iter().filter(|(name, _)| name != "state").collect());
}

// S31
#[tokio::test]
async fn a_lease_that_never_was_or_is_of_others_or_of_what_is_gone_is_not_found() {
    let (world, alice, worker) = newsdesk().await;
    let lease = worker.lease().await.expect(201);
    let id = lease["id"].as_str().unwrap();
    let report = async |id: &str| {
        let path = format!("/v1/leases/{id}/report");
        worker.post(&path, answered(401, Value::Null)).await
    };
    let turned: String = id.chars().rev().collect();
    let cut = &id[..id.len() - 1];
    let longer = format!("{id}A");
    let endless = "A".repeat(5_000);
    for id in ["x", "x_profile-42", "A".repeat(200).as_str(), &turned, cut, &longer, &endless, "..%2f..", "%00"] {
        report(id).await.refused(404, "not_found");
    }
    let path = format!("/v1/leases/{id}/report");
    let foreign = world.person("globex-worker").post(&path, answered(401, Value::Null)).await;
    foreign.refused(404, "not_found");
    assert_eq!(foreign.body, report("x").await.body);
    assert_eq!(alice.post(&path, answered(401, Value::Null)).await.expect(403)["code"], "forbidden");

    report(id).await.expect(200);
    alice.delete(NEWSDESK).await.expect(200);
    report(id).await.refused(404, "not_found");
}

// S33
#[tokio::test]
async fn the_answer_to_a_report_holds_no_secret() {
    let (world, _, worker) = newsdesk().await;
    let mut replies = Vec::new();
    for report in [answered(200, Value::Null), answered(401, Value::Null), answered(429, Value::Null)] {
        let lease = worker.lease().await.expect(201);
        let path = format!("/v1/leases/{}/report", lease["id"].as_str().unwrap());
        let mut echoing = report;
        echoing["body"] = json!({ "access_token": lease["access_token"] });
        echoing["headers"] = json!({ "authorization": format!("Bearer {}", lease["access_token"].as_str().unwrap()) });
        network_says(&world, "x/me", "status", 401).await;
        replies.push(worker.post(&path, echoing).await);
        replies.last().unwrap().expect(200);
        let unknown = json!({ "outcome": "failed", "access_token": lease["access_token"] });
        replies.push(worker.api(Method::POST, &path, unknown).await);
        replies.last().unwrap().refused(400, "invalid_request");
    }
    hold_no_secret(&world, &replies);
}
