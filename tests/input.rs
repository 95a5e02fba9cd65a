//! What comes from outside and is not what a route takes: refused with a reason, never half understood.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    estate::Estate,
    support::{Reply, World},
};

const TOKEN: &str = "/v1/profiles/x_profile-42/tokens/interaction-alice";

// S36
#[tokio::test]
async fn a_body_is_what_the_route_takes_or_is_refused_with_the_reason() {
    let estate = Estate::new().await;
    let alice = estate.world.person("alice");
    let url = estate.world.return_url();
    let begin = "/v1/connect-sessions";
    let complete = format!("/v1/connect-sessions/{}/complete", estate.session.id);
    let complete = complete.as_str();
    let many: Vec<_> = (0..101).map(|number| format!("x_profile-{number}")).collect();
    let x = json!({ "kind": "x_profile", "token": "interaction", "return_url": url });
    let with = |name: &str, value: Value| {
        let mut body = x.clone();
        body[name] = value;
        body
    };
    for (method, path, body, status, code) in [
        // what is to be connected
        (Method::POST, begin, json!({}), 400, "invalid_request"),
        (Method::POST, begin, json!([]), 400, "invalid_request"),
        (Method::POST, begin, json!("x_profile"), 400, "invalid_request"),
        (Method::POST, begin, with("scope", json!("tweet.read")), 400, "invalid_request"),
        (Method::POST, begin, with("tenant", json!("acme")), 400, "invalid_request"),
        (Method::POST, begin, with("kind", Value::Null), 400, "invalid_request"),
        (Method::POST, begin, with("kind", json!(["x_profile"])), 400, "invalid_request"),
        (Method::POST, begin, with("token", json!(7)), 400, "invalid_request"),
        (Method::POST, begin, with("profile_id", json!("x_profile-42")), 400, "invalid_request"),
        (Method::POST, begin, with("kind", json!("myspace")), 400, "unknown_kind"),
        (Method::POST, begin, with("kind", json!("X_PROFILE")), 400, "unknown_kind"),
        (Method::POST, begin, with("token", json!("reading")), 400, "unsupported_token"),
        (Method::POST, begin, with("token", json!("")), 400, "unsupported_token"),
        (Method::POST, begin, with("token", json!("acquisition")), 400, "unsupported_token"),
        (
            Method::POST,
            begin,
            json!({ "profile_id": "x_profile-42#", "token": "interaction", "return_url": url }),
            404,
            "not_found",
        ),
        (
            Method::POST,
            begin,
            json!({ "profile_id": "x_profile-42", "token": "acquisition", "return_url": url }),
            400,
            "unsupported_token",
        ),
        // what the browser brought back
        (Method::POST, complete, json!({}), 400, "invalid_request"),
        (Method::POST, complete, json!({ "completion_code": 1 }), 400, "invalid_request"),
        (Method::POST, complete, json!({ "completion_code": estate.code, "state": "x" }), 400, "invalid_request"),
        (Method::POST, complete, json!({ "completion_code": estate.code, "selected": "all" }), 400, "invalid_request"),
        (Method::POST, complete, json!({ "completion_code": estate.code, "selected": [1] }), 400, "invalid_request"),
        (Method::POST, complete, json!({ "completion_code": estate.code, "selected": many }), 400, "invalid_request"),
        (
            Method::POST,
            complete,
            json!({ "completion_code": estate.code, "selected": ["x_profile-42"] }),
            400,
            "invalid_request",
        ),
        (Method::POST, complete, json!({ "completion_code": "" }), 403, "completion_code_rejected"),
        (
            Method::POST,
            complete,
            json!({ "completion_code": format!("{}0", estate.code) }),
            403,
            "completion_code_rejected",
        ),
        // switches
        (Method::PATCH, TOKEN, json!({}), 400, "invalid_request"),
        (Method::PATCH, TOKEN, json!({ "allow": {} }), 400, "invalid_request"),
        (Method::PATCH, TOKEN, json!({ "allow": true }), 400, "invalid_request"),
        (Method::PATCH, TOKEN, json!({ "allow": { "private_messages": null } }), 400, "invalid_request"),
        (Method::PATCH, TOKEN, json!({ "allow": { "private_messages": "yes" } }), 400, "invalid_request"),
        (
            Method::PATCH,
            TOKEN,
            json!({ "allow": { "private_messages": true, "publish": true } }),
            400,
            "invalid_request",
        ),
        (
            Method::PATCH,
            TOKEN,
            json!({ "allow": { "private_messages": true }, "owner": "bob" }),
            400,
            "invalid_request",
        ),
        (Method::PATCH, TOKEN, json!({ "allow": { "search_acquisition": true } }), 400, "invalid_request"),
    ] {
        let reply = alice.api(method.clone(), path, body.clone()).await;
        println!("{method} {path} {body}");
        reply.refused(status, code);
    }
    // the last of these is taken whole, which shows that nothing before it was taken in part
    let selected = json!({ "completion_code": estate.code, "selected": ["x_profile-43"] });
    assert_eq!(alice.post(complete, selected).await.expect(200)["profiles"][0]["id"], "x_profile-43");
    let token = alice.get("/v1/profiles/x_profile-42").await.expect(200)["tokens"][0].clone();
    assert_eq!(token["allow"], json!({ "search_acquisition": false, "private_messages": false }));
}

// S20
#[tokio::test]
async fn a_return_address_is_a_registered_one_to_the_letter() {
    let world = World::start().await;
    let alice = world.person("alice");
    let registered = world.url("/console");
    for other in [
        String::new(),
        world.sandbox.url().to_owned(),
        format!("{registered}/"),
        format!("{registered}?next=https://evil.example"),
        format!("{registered}#x"),
        format!("{registered}\r\nLocation: https://evil.example"),
        format!(" {registered}"),
        registered.replace("http://", "http://evil.example@"),
        registered.replace("http://", "http://evil.example\\@"),
        registered.replace("http:", ""),
        registered.replace("http:", "https:"),
        registered.replace("localhost", "127.0.0.1"),
        registered.replace("localhost", "LOCALHOST"),
        registered.replace("/console", "//console"),
        registered.replace("/console", "/./console"),
        registered.replace("/console", "/%63onsole"),
        "https://evil.example/".to_owned(),
        "javascript:alert(1)".to_owned(),
        "/console".to_owned(),
    ] {
        let body = json!({ "kind": "x_profile", "token": "interaction", "return_url": other });
        alice.post("/v1/connect-sessions", body).await.refused(400, "return_url_not_registered");
    }
    let body = json!({ "kind": "x_profile", "token": "interaction", "return_url": registered });
    alice.post("/v1/connect-sessions", body).await.expect(201);
}

/// Posts raw bytes to where a session begins.
async fn post(world: &World, content_type: Option<&str>, body: Vec<u8>) -> Reply {
    let bearer = world.person("alice").access_token().await;
    let mut request = world.http.post(world.url("/v1/connect-sessions")).bearer_auth(bearer).body(body);
    if let Some(content_type) = content_type {
        request = request.header("content-type", content_type);
    }
    Reply::of(request.send().await.unwrap()).await
}

// S36
#[tokio::test]
async fn a_body_that_is_no_json_is_refused_and_never_quoted() {
    let world = World::start().await;
    let good = json!({ "kind": "x_profile", "token": "interaction", "return_url": world.return_url() }).to_string();
    for body in [
        "",
        "{",
        "canary",
        "{\"kind\":\"canary",
        "null",
        "{'kind':'canary'}",
        "{\"token\":[\"canary\"]}",
        &good.replace('}', ",}"),
        &format!("{good}{good}"),
        &format!("{good} canary"),
        &good.replace("\"kind\"", "\"kind\":\"canary\",\"kind\""),
        &good.replace("x_profile", "x_profile\\ud800"),
        &"[".repeat(10_000),
        &"{\"kind\":".repeat(1_500),
        "1e999",
    ] {
        let problem = post(&world, Some("application/json"), body.into()).await.refused(400, "invalid_request");
        assert!(!problem.to_string().contains("canary"), "{problem}");
    }
    for bytes in [b"\xff\xfe{\0}\0".to_vec(), good.replace("x_profile", "x\0").into(), vec![0; 100]] {
        let reply = post(&world, Some("application/json"), bytes).await;
        assert_eq!(reply.status.as_u16(), 400, "{}", reply.body);
    }
    for (content_type, status) in [
        (None, 415),
        (Some(""), 415),
        (Some("text/plain"), 415),
        (Some("application/x-www-form-urlencoded"), 415),
        (Some("application/jsonx"), 415),
        (Some("application/problem+json"), 415),
        (Some("text/html, application/json"), 415),
        (Some("application/json"), 201),
        (Some("APPLICATION/JSON"), 201),
        (Some("application/json ; charset=utf-8"), 201),
    ] {
        let reply = post(&world, content_type, good.clone().into()).await;
        assert_eq!(reply.status.as_u16(), status, "{content_type:?}: {}", reply.body);
        if status == 415 {
            reply.refused(415, "unsupported_media_type");
        }
    }
}

// S36
#[tokio::test]
async fn bodies_and_header_fields_are_capped() {
    let world = World::start().await;
    let mut body = json!({ "kind": "x_profile", "token": "interaction", "return_url": world.return_url() }).to_string();
    body.push_str(&" ".repeat(16 * 1024 - body.len()));
    assert_eq!(post(&world, Some("application/json"), body.clone().into()).await.status.as_u16(), 201);
    for size in [16 * 1024 + 1, 100_000, 6_000_000] {
        let body = format!("{body}{}", " ".repeat(size - body.len()));
        post(&world, Some("application/json"), body.into()).await.refused(413, "body_too_large");
    }

    let alice = world.person("alice").access_token().await;
    for (count, status) in [(1, 200), (8, 431), (20, 431)] {
        let mut request = world.http.get(world.url("/v1/profiles")).bearer_auth(&alice);
        for number in 0..count {
            request = request.header(format!("x-{number}"), "v".repeat(2500));
        }
        let reply = Reply::of(request.send().await.unwrap()).await;
        assert_eq!(reply.status.as_u16(), status, "{count}: {}", reply.body);
        if status == 431 {
            reply.refused(431, "headers_too_large");
        }
    }
}

// S36
#[tokio::test]
async fn a_query_parameter_is_known_and_there_once() {
    let world = World::start().await;
    let alice = world.person("alice");
    for query in [
        "/v1/profiles?list=owned&list=all",
        "/v1/profiles?list=owned&list=owned",
        "/v1/profiles?list=owned&LIST=all",
        "/v1/profiles?list=owned&%6cist=all",
        "/v1/profiles?list=mine",
        "/v1/profiles?list=",
        "/v1/profiles?list",
        "/v1/profiles?list[]=owned",
        "/v1/profiles?limit=1000000",
        "/v1/profiles?next=",
        "/v1/profiles?next=x_profile",
        "/v1/profiles?next=x_profile-42%23",
        "/v1/profiles?next=%00",
        "/v1/profiles?next=%FF",
        "/v1/profiles?next=x_profile-42%0d%0aset-cookie:%20a=b",
        "/v1/profiles?next=x_profile-1&next=x_profile-2",
        "/v1/notices?list=all",
        "/v1/notices?next=",
        "/v1/notices?next=a%23b",
        "/v1/notices?next=a/b",
        "/v1/notices?next=a&next=b",
        "/v1/rules?next=",
        "/v1/rules?next=AAAAAAAAAAAAAAAAAAAAA%23",
        "/v1/rules?owner=alice",
    ] {
        alice.get(query).await.refused(400, "invalid_request");
    }
    for path in ["/v1/profiles?list=owned&next=x_profile-1", "/v1/profiles?", "/v1/notices?next=a"] {
        assert_eq!(alice.get(path).await.expect(200)["items"], json!([]), "{path}");
    }
}

#[tokio::test]
async fn a_path_leads_to_ones_own_token_or_nowhere() {
    let estate = Estate::new().await;
    let (alice, bob) = (estate.world.person("alice"), estate.world.person("bob"));
    let allow = json!({ "allow": { "private_messages": true } });
    bob.patch(TOKEN, allow.clone()).await.refused(403, "forbidden");
    bob.delete(TOKEN).await.refused(403, "forbidden");
    for path in [
        "/v1/profiles/x_profile-42/tokens/interaction-bob",
        "/v1/profiles/x_profile-42/tokens/acquisition-alice",
        "/v1/profiles/x_profile-42/tokens/interaction-",
        "/v1/profiles/x_profile-42/tokens/interaction",
        "/v1/profiles/x_profile-42/tokens/reading-alice",
        "/v1/profiles/x_profile-42/tokens/interaction-alice%23",
        "/v1/profiles/x_profile-42/tokens/interaction-alice%00",
        "/v1/profiles/x_profile-42/tokens/interaction-alice%2F..",
        "/v1/profiles/x_profile-99/tokens/interaction-alice",
        "/v1/profiles/x_profile-42%23TOKEN/tokens/interaction-alice",
        "/v1/profiles/facebook_user-1001/tokens/interaction-alice",
    ] {
        alice.patch(path, allow.clone()).await.refused(404, "not_found");
        alice.delete(path).await.refused(404, "not_found");
    }
    for path in
        ["/v1/profiles/%20", "/v1/profiles/x_profile-4%202", "/v1/profiles/X_PROFILE-42", "/v1/profiles/%E2%82%AC"]
    {
        alice.get(path).await.refused(404, "not_found");
        alice.delete(path).await.refused(404, "not_found");
    }
    for id in ["x", &"x".repeat(21), &"%2E".repeat(22), &"A".repeat(2000)] {
        alice.get(&format!("/v1/connect-sessions/{id}")).await.refused(404, "not_found");
        alice.post(&format!("/v1/notices/{id}/dismiss"), Value::Null).await.refused(404, "not_found");
        alice.delete(&format!("/v1/rules/{id}")).await.refused(404, "not_found");
    }
    assert_eq!(alice.get("/v1/profiles/x_profile-42").await.expect(200)["tokens"].as_array().unwrap().len(), 1);
}
