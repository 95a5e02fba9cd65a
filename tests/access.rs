//! Who gets what: tenants, roles, workers, tokens that are over, and secrets that nobody gets.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use reqwest::{Method, header::HeaderMap};
use sandbox::template::Template;
use serde_json::{Value, json};
use shared::{
    access::{Caller, Role},
    store::{Spread, profiles::Vault, users::User},
};

use crate::{
    estate::{Estate, ask, namesake},
    invocation::{context, event},
    openapi::{document, operations},
    support::{Browser, Reply, World, minutes},
};

// S30
#[tokio::test]
async fn every_route_has_a_row_in_the_matrix() {
    let rows = Estate::new().await.rows();
    let rows: BTreeSet<_> = rows.iter().map(|row| row.operation.to_owned()).collect();
    let described: BTreeSet<_> = operations(&document()).into_iter().map(|(operation, _)| operation).collect();
    assert_eq!(rows, described);
    let deployed = Template::deployed().routes.iter().filter(|route| !route.public);
    let deployed: BTreeSet<_> = deployed.map(|route| format!("{} {}", route.method, route.path)).collect();
    assert_eq!(rows, deployed);
}

// S30, S32, S33
#[tokio::test]
async fn what_a_route_answers_follows_from_the_callers_tenant_and_role() {
    let estate = Estate::new().await;
    let world = &estate.world;
    let before = estate.seen().await;
    let mut replies = Vec::new();

    // nobody, and whoever has no access token of a user
    let id_token = world.sandbox.issuer().id_token("alice").unwrap();
    let token = async |name: &str| world.person(name).access_token().await;
    let workers = [token("globex-worker").await, token("acme-worker").await];
    let outsiders = [token("erin").await, namesake(world, "alice", "globex")];
    let [reader, responder, alice] = [token("carol").await, token("bob").await, token("alice").await];
    for row in estate.rows() {
        for (bearer, status) in [(None, 401), (Some("x.y.z"), 403), (Some(&*id_token), 403)] {
            let reply = estate.ask(bearer, &row).await;
            assert_eq!(reply.status.as_u16(), status, "{} with {bearer:?}", row.operation);
            replies.push(reply);
        }
        let people = [&outsiders[0], &outsiders[1], &alice];
        for caller in if row.is_a_workers() { people.to_vec() } else { workers.iter().collect() } {
            replies.push(estate.ask(Some(caller), &row).await);
            replies.last().unwrap().refused(403, "forbidden");
        }
    }

    // others of this tenant and of another
    for row in estate.rows() {
        let [stranger, as_reader, as_responder, _] = row.answers;
        let outsiders = if row.is_a_workers() { &workers[..1] } else { &outsiders };
        let callers = outsiders.iter().map(|outsider| (outsider, stranger));
        for (caller, status) in callers.chain([(&reader, as_reader), (&responder, as_responder)]) {
            let reply = estate.ask(Some(caller), &row).await;
            assert_eq!(reply.status.as_u16(), status, "{}: {}", row.operation, reply.body);
            if outsiders.contains(caller) && status == 200 && row.operation.starts_with("GET") {
                // a list of theirs is empty, and their settings are their own
                assert_eq!(reply.json().get("items").unwrap_or(&json!([])), &json!([]), "{}", row.operation);
            }
            replies.push(reply);
        }
    }
    assert_eq!(estate.seen().await, before, "nobody else could change anything");

    // and all of it was there to be had
    for row in estate.rows() {
        let reply = estate.ask(Some(&token(row.by).await), &row).await;
        assert_eq!(reply.status.as_u16(), row.answers[3], "{}: {}", row.operation, reply.body);
        // a lease is the one answer with an access token
        if row.operation != "POST /v1/leases" {
            replies.push(reply);
        }
    }
    hold_no_secret(world, &replies);
}

// S30
#[tokio::test]
async fn nothing_that_a_caller_writes_names_the_tenant() {
    let estate = Estate::new().await;
    let erin = estate.world.person("erin").access_token().await;
    for row in estate.rows() {
        let outsider = estate.world.person(row.outsider()).access_token().await;
        for (name, value) in
            [("x-tenant", "acme"), ("tenant", "acme"), ("x-forwarded-user", "alice"), ("x-roles", "manager")]
        {
            let request = estate.world.http.request(row.method(), estate.world.url(&row.path)).bearer_auth(&outsider);
            let request = if row.body.is_null() { request } else { request.json(&row.body) };
            let reply = Reply::of(request.header(name, value).send().await.unwrap()).await;
            assert_eq!(reply.status.as_u16(), row.answers[0], "{} with {name}", row.operation);
        }
    }
    for path in
        ["/v1/profiles?tenant=acme", "/v1/rules?tenant=acme", "/v1/notices?tenant=acme", "/v1/notices?sub=alice"]
    {
        ask(&estate.world, Some(&erin), Method::GET, path, &Value::Null).await.refused(400, "invalid_request");
    }
    let url = estate.world.return_url();
    let body = json!({ "kind": "x_profile", "token": "interaction", "return_url": url, "tenant": "acme" });
    ask(&estate.world, Some(&erin), Method::POST, "/v1/connect-sessions", &body).await.refused(400, "invalid_request");
}

// S31
#[tokio::test]
async fn what_belongs_to_others_is_answered_like_what_does_not_exist() {
    let estate = Estate::new().await;
    let world = &estate.world;
    let nowhere = "A".repeat(22);
    let elsewhere = |path: &str| {
        path.replace("x_profile-42", "x_profile-99")
            .replace("facebook_user-1001", "facebook_user-9999")
            .replace("/v1/users/carol", "/v1/users/nobody")
            .replace(&estate.session.id, &nowhere)
            .replace(&estate.rule, &nowhere)
            .replace(&estate.lease, &nowhere)
            .replace(&estate.notice, &estate.notice.replace("alice", "nobody"))
    };
    let callers = [
        (world.person("erin").access_token().await, 0, false),
        (namesake(world, "alice", "globex"), 0, false),
        (world.person("carol").access_token().await, 1, false),
        (world.person("bob").access_token().await, 2, false),
        (world.person("globex-worker").access_token().await, 0, true),
    ];
    for (caller, column, worker) in &callers {
        let rows = estate.rows().into_iter().filter(|row| row.is_a_workers() == *worker);
        for row in rows.filter(|row| row.answers[*column] == 404) {
            let missing = elsewhere(&row.path);
            let body = elsewhere(&row.body.to_string()).parse().unwrap();
            assert!(missing != row.path || body != row.body, "{}", row.operation);
            let foreign = estate.ask(Some(caller), &row).await;
            let missing = ask(world, Some(caller), row.method(), &missing, &body).await;
            foreign.refused(404, "not_found");
            assert_eq!(foreign.body, missing.body, "{}", row.operation);
            assert_eq!(constant(&foreign), constant(&missing), "{}", row.operation);
        }
    }
}

/// The header fields that do not change from one answer to the next by themselves.
fn constant(reply: &Reply) -> HeaderMap {
    let mut headers = reply.headers.clone();
    headers.remove("date");
    headers.remove("apigw-requestid");
    headers
}

// S33, S34
#[tokio::test]
async fn no_answer_and_no_address_of_ours_holds_a_secret() {
    let world = World::start().await;
    let alice = world.person("alice");
    let mut replies = Vec::new();
    for (kind, token, account) in
        [("x_profile", "interaction", "newsdesk"), ("facebook_user", "acquisition", "alice.meyer")]
    {
        let wanted = json!({ "kind": kind, "token": token, "return_url": world.return_url() });
        let begun = alice.post("/v1/connect-sessions", wanted).await;
        let session = begun.expect(201);
        let connect_url = session["connect_url"].as_str().unwrap();
        let departure = alice.browser.get(connect_url).await;
        let callback = alice.browser.decide(&departure.location(), "approve", account).await;
        let carries = |secret: &String| callback.as_str().contains(secret.as_str());
        assert!(world.sandbox.networks().secrets_seen().iter().any(carries), "the network's own redirect has a code");
        let strange = Browser::new().get(callback.as_str()).await;
        let landing = alice.browser.get(callback.as_str()).await;
        let reused = alice.browser.get(callback.as_str()).await;
        let asked: BTreeSet<_> = landing.location().query_pairs().map(|(name, _)| name.into_owned()).collect();
        assert_eq!(asked, ["connect_session", "completion_code"].map(str::to_owned).into());
        let code: Vec<_> = landing.location().query_pairs().map(|(_, value)| value.into_owned()).collect();
        let path = format!("/v1/connect-sessions/{}", session["id"].as_str().unwrap());
        replies.extend([begun, departure, strange, landing, reused, alice.get(&path).await]);
        replies.push(alice.post(&format!("{path}/complete"), json!({ "completion_code": code[1] })).await);
        replies.push(alice.get(&path).await);
        replies.push(alice.browser.get(connect_url).await);
    }
    let denied = alice.begin("x_profile", "interaction").await;
    let callback = alice.decide(&denied, "deny", "newsdesk").await;
    replies.push(alice.browser.get(callback.as_str()).await);
    for path in ["/v1/profiles", "/v1/profiles/x_profile-42", "/v1/profiles/x_profile-42/tokens", "/openapi.json"] {
        replies.push(alice.get(path).await);
    }
    for path in ["/v1/profiles/x_profile-42", "/v1/profiles/facebook_user-1001"] {
        replies.push(alice.delete(path).await);
        assert_eq!(replies.last().unwrap().expect(200)["revocation"], "revoked");
    }
    hold_no_secret(&world, &replies);
}

// S34
#[test]
fn no_route_takes_a_token_in_its_address() {
    let document = document();
    let parameters = operations(&document)
        .into_iter()
        .flat_map(|(_, operation)| operation["parameters"].as_array().cloned().unwrap_or_default());
    let in_query: BTreeSet<_> = parameters
        .filter(|parameter| parameter["in"] != "path")
        .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(in_query, ["list", "next", "profile_id"].map(str::to_owned).into());
}

/// Makes sure that no answer of ours holds what the networks gave, got or share with us.
pub(crate) fn hold_no_secret(world: &World, replies: &[Reply]) {
    let secrets = world.sandbox.networks().secrets_seen();
    assert!(secrets.len() > 6, "nothing was minted, so nothing could be found");
    for reply in replies {
        let text = format!("{:?}\n{}", reply.headers, reply.body);
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{secret} is in {text}");
        }
    }
}

// S35
#[tokio::test]
async fn what_is_deleted_is_gone_at_once() {
    let estate = Estate::new().await;
    let world = &estate.world;
    let (alice, bob) = (world.person("alice"), world.person("bob"));
    alice.delete("/v1/profiles/x_profile-42/tokens/interaction-alice").await.expect(200);
    let token = "/v1/profiles/x_profile-42/tokens/interaction-alice";
    assert_eq!(bob.get("/v1/profiles/x_profile-42/tokens").await.expect(200)["items"], json!([]));
    alice.patch(token, json!({ "allow": { "private_messages": true } })).await.refused(404, "not_found");
    alice.delete(token).await.refused(404, "not_found");

    alice.delete("/v1/profiles/x_profile-42").await.expect(200);
    for path in ["/v1/profiles/x_profile-42", "/v1/profiles/x_profile-42/tokens"] {
        bob.get(path).await.refused(404, "not_found");
    }
    alice.delete("/v1/profiles/x_profile-42").await.refused(404, "not_found");
    let again = json!({ "profile_id": "x_profile-42", "token": "interaction", "return_url": world.return_url() });
    bob.post("/v1/connect-sessions", again).await.refused(404, "not_found");
    let listed = bob.get("/v1/profiles").await.expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "{listed}");
}

// S35
#[tokio::test]
async fn a_read_that_decides_is_strong_and_an_index_is_only_a_hint() {
    let estate = Estate::new().await;
    let world = &estate.world;
    let erin = world.person("erin");
    erin.connect("facebook_user", "acquisition", "alice.meyer").await;
    for row in estate.rows() {
        let person = world.person(row.by);
        world.forget_calls().await;
        assert!(person.api(row.method(), &row.path, row.body).await.status.is_success(), "{}", row.operation);
        let reads: Vec<_> =
            world.sandbox.faults().calls().into_iter().filter(|call| call.consistent.is_some()).collect();
        assert!(
            reads.iter().any(|call| call.consistent == Some(true)),
            "{}: whether the caller was removed",
            row.operation
        );
        let weak = |from: usize| reads[from..].iter().filter(|call| call.consistent == Some(false)).count();
        match row.operation {
            // what is only shown may be a moment old
            "GET /v1/profiles" | "GET /v1/notices" | "GET /v1/rules" | "GET /v1/health" | "GET /v1/history" => {}
            // two indexes tell where somebody may live on the same grant, and the row itself is read
            "DELETE /v1/profiles/{id}" => {
                let last = reads.iter().rposition(|call| call.consistent == Some(false)).unwrap();
                assert_eq!(weak(0), 2, "{reads:?}");
                assert!(
                    reads[last].target == "dynamodb/Query" && reads[last + 1].target == "dynamodb/GetItem",
                    "{reads:?}"
                );
            }
            // the index tells where something of the user's is, and each profile is read before anything ends
            "DELETE /v1/users/{sub}" => assert_eq!(weak(0), 1, "{reads:?}"),
            // whether the app is limited, and the ladder by which a state is named, may be known a moment late; they are
            // remembered for some seconds
            "POST /v1/leases" | "POST /v1/leases/{id}/report" => assert!(weak(0) <= 1, "{reads:?}"),
            operation => assert_eq!(weak(0), 0, "{operation}: {reads:?}"),
        }
    }
    assert!(world.sandbox.networks().grants("facebook", "alice.meyer").iter().any(|grant| grant.live));
}

// S38
#[tokio::test]
async fn a_kept_authorization_does_not_outlive_the_access_token() {
    let estate = Estate::new().await;
    let alice = estate.world.person("alice").access_token().await;
    let rows = estate.rows();
    estate.world.later(minutes(58)).await;
    assert_eq!(estate.ask(Some(&alice), &rows[0]).await.status.as_u16(), 200);
    estate.world.later(minutes(3)).await;
    for row in &rows {
        // the gateway still knows its authorizer's answer: its own refusal would be no problem document
        estate.ask(Some(&alice), row).await.refused(401, "unauthenticated");
    }
}

/// Removes somebody of acme.
pub(crate) async fn remove(world: &World, person: &str) {
    let update = world.dynamodb().update_item().table_name("Vault");
    update
        .key("pk", AttributeValue::S("T#acme".into()))
        .key("sk", AttributeValue::S(format!("USER#{person}")))
        .update_expression("SET removed_at = :now")
        .expression_attribute_values(":now", AttributeValue::S(world.sandbox.clock().now().to_string()))
        .send()
        .await
        .unwrap();
}

// S38
#[tokio::test]
async fn a_user_who_was_removed_is_refused_at_once() {
    let estate = Estate::new().await;
    let world = &estate.world;
    let before = estate.seen().await;
    let alice = world.person("alice").access_token().await;
    assert_eq!(estate.ask(Some(&alice), &estate.rows()[0]).await.status.as_u16(), 200);
    remove(world, "alice").await;
    for row in estate.rows().into_iter().filter(|row| !row.is_a_workers()) {
        estate.ask(Some(&alice), &row).await.refused(401, "unauthenticated");
    }
    world.person("dora").get("/v1/profiles").await.expect(200);

    // whoever signs in after it was let in again by the identity provider
    world.later(minutes(1)).await;
    assert_eq!(estate.seen().await, before);
}

#[tokio::test]
async fn a_persons_requests_are_remembered_with_one_write_an_hour() {
    let world = World::start().await;
    let alice = world.person("alice");
    let known = async || {
        let vault = Vault::new(world.sandbox.aws_config(), "Vault", Spread::new(4, 0));
        vault.user(&"acme".parse().unwrap(), &"alice".parse().unwrap(), true).await.unwrap()
    };
    assert!(!known().await.interacts(world.sandbox.clock().now()), "nobody has seen her");
    let mut written = Vec::new();
    for wait in [1, 1, 58, 1, 5] {
        world.later(minutes(wait)).await.forget_calls().await;
        alice.get("/v1/profiles").await.expect(200);
        written.push(world.calls("dynamodb/UpdateItem").await);
    }
    assert_eq!(written, [1, 0, 0, 1, 0]);
    let user = known().await;
    assert_eq!(user.email.as_deref(), Some("alice@acme.example"));
    assert_eq!(user.roles, [Role::Manager, Role::PowerAnalyst].into());
    assert!(user.interacts(world.sandbox.clock().now()));

    // other claims are news at once
    let administrator = namesake(&world, "alice", "acme");
    ask(&world, Some(&administrator), Method::GET, "/v1/profiles", &Value::Null).await.expect(200);
    assert_eq!(known().await.roles, [Role::Manager, Role::Administrator].into());

    // what only shows something does without; what changes something does not
    world.later(minutes(61)).await;
    world.fault(json!({ "target": "dynamodb/UpdateItem", "mode": "status", "status": 500, "times": 1000 })).await;
    alice.get("/v1/profiles").await.expect(200);
    let wanted = json!({ "kind": "x_profile", "token": "interaction", "return_url": world.return_url() });
    alice.post("/v1/connect-sessions", wanted).await.refused(503, "unavailable");
    assert!(world.rows("Flows").await.is_empty());
}

// S38
#[tokio::test]
async fn a_removal_is_not_forgotten_over_a_request_that_was_under_way() {
    let world = World::start().await;
    world.person("alice").get("/v1/profiles").await.expect(200);
    let vault = Vault::new(world.sandbox.aws_config(), "Vault", Spread::new(4, 0));
    let now = world.sandbox.clock().now();
    let caller = Caller {
        tenant: "acme".parse().unwrap(),
        subject: "alice".parse().unwrap(),
        email: None,
        roles: [Role::Manager].into(),
        groups: BTreeSet::new(),
        scope: BTreeSet::new(),
        issued_at: now,
    };
    let known = async || vault.user(&caller.tenant, &caller.subject, true).await.unwrap();
    let before = known().await;
    remove(&world, "alice").await;
    vault.remember(&caller, &before, now + minutes(1)).await.unwrap();
    let after = known().await;
    assert_eq!(after, User { removed_at: after.removed_at, ..before });
    assert!(after.removed_at.is_some() && !after.interacts(now + minutes(1)));
}

// S38, S38a
#[tokio::test]
async fn a_context_that_the_authorizer_would_not_give_is_no_caller() {
    let estate = Estate::new().await;
    let world = &estate.world;
    let good = context(world, "acme", "alice");
    let now = world.sandbox.clock().now().as_second();
    let mut contexts = vec![Value::Null, json!({})];
    for (name, value) in [
        ("exp", json!(now.to_string())),
        ("exp", json!((now - 1).to_string())),
        ("exp", json!("")),
        ("exp", json!("9".repeat(30))),
        ("exp", json!("never")),
        ("exp", json!(now + 60)),
        ("iat", Value::Null),
        ("tenant", Value::Null),
        ("tenant", json!("")),
        ("tenant", json!("acme#P#x_profile-42")),
        ("tenant", json!("globex/../acme")),
        ("tenant", json!("acme\u{0}")),
        ("tenant", json!("*")),
        ("sub", json!("")),
        ("sub", json!("alice\n")),
        ("sub", json!(["alice"])),
        ("roles", Value::Null),
        ("scope", Value::Null),
        ("groups", json!("newsroom")),
        ("groups", json!("")),
        ("groups", json!("[\"newsroom\", 7]")),
        ("groups", json!("[\"\"]")),
        ("groups", json!("[\"a\\n\"]")),
    ] {
        let mut changed = good.clone();
        changed[name] = value;
        contexts.push(changed);
    }
    for row in estate.rows() {
        for context in &contexts {
            let event = event(row.method().as_str(), &row.path, &row.body, context);
            world.invoke(row.function(), event).await.refused(401, "unauthenticated");
        }
    }
    world.invoke("tokens", event("GET", "/v1/profiles/x_profile-42", &Value::Null, &good)).await.expect(200);
    // a subject is encoded before it becomes part of a key
    for sub in ["alice#", "../alice", "ali", "ALICE", "alice%", "a.lice"] {
        let caller = context(world, "acme", sub);
        let notices = world.invoke("tokens", event("GET", "/v1/notices", &Value::Null, &caller)).await.expect(200);
        assert_eq!(notices["items"], json!([]), "{sub}");
    }
}

#[tokio::test]
async fn whoever_connects_an_account_too_becomes_a_co_owner_with_a_token_of_their_own() {
    let world = World::start().await;
    let (alice, bob) = (world.person("alice"), world.person("bob"));
    alice.connect("x_profile", "interaction", "newsdesk").await;
    alice
        .patch("/v1/profiles/x_profile-42/tokens/interaction-alice", json!({ "allow": { "private_messages": true } }))
        .await
        .expect(200);
    let before = bob.get("/v1/profiles/x_profile-42").await.expect(200);
    assert_eq!((&before["owners"], &before["state"]), (&json!(["alice"]), &json!("valid")));

    let shared = bob.connect("x_profile", "interaction", "newsdesk").await;
    assert_eq!((&shared["owners"], &shared["state"]), (&json!(["alice", "bob"]), &json!("valid")));
    let ids: Vec<_> = shared["tokens"].as_array().unwrap().iter().map(|token| &token["id"]).collect();
    assert_eq!(ids, ["interaction-alice", "interaction-bob"]);
    assert_eq!(shared["tokens"][0], before["tokens"][0], "Alice's is as it was");
    assert_eq!(shared["tokens"][1]["allow"], json!({ "search_acquisition": false, "private_messages": false }));
    assert_eq!(world.person("carol").get("/v1/profiles").await.expect(200)["items"].as_array().unwrap().len(), 1);

    // one's token goes, the other's stays; a co-owner can delete the profile
    let deleted = bob.delete("/v1/profiles/x_profile-42/tokens/interaction-bob").await.expect(200);
    assert_eq!(deleted["revocation"], "revoked");
    let left = alice.get("/v1/profiles/x_profile-42").await.expect(200);
    assert_eq!((&left["state"], left["tokens"].as_array().unwrap().len()), (&json!("valid"), 1));
    assert_eq!(bob.delete("/v1/profiles/x_profile-42").await.expect(200)["tokens"], json!(["interaction-alice"]));
}

#[tokio::test]
async fn lists_tell_apart_what_is_owned_and_what_nobody_owns() {
    let world = World::start().await;
    let (alice, bob) = (world.person("alice"), world.person("bob"));
    alice.connect("x_profile", "interaction", "newsdesk").await;
    bob.connect("x_profile", "interaction", "support").await;
    for (person, list, ids) in [
        (&alice, "", vec!["x_profile-42", "x_profile-43"]),
        (&alice, "?list=all", vec!["x_profile-42", "x_profile-43"]),
        (&alice, "?list=owned", vec!["x_profile-42"]),
        (&bob, "?list=owned", vec!["x_profile-43"]),
        (&bob, "?list=without_owners", vec![]),
    ] {
        let listed = person.get(&format!("/v1/profiles{list}")).await.expect(200);
        let seen: Vec<_> = listed["items"].as_array().unwrap().iter().map(|profile| profile["id"].clone()).collect();
        assert_eq!(seen, ids, "{list}");
    }
}
