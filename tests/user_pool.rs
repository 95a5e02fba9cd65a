//! Callers of the Cognito user pool: what its trigger answers to an event, in a token as Cognito signs it, at the API.
//!
//! The events are those of `events/token-claims`; that Cognito itself is not here is the one thing that is not tried.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    estate::ask,
    support::{Reply, World},
};

/// The access token that Cognito signs for an event: its own claims (it writes no `aud`), and what the trigger adds.
async fn signed(world: &World, event: Value) -> String {
    let (issuer, now) = (world.sandbox.issuer(), world.sandbox.clock().now().as_second());
    let client = event["callerContext"]["clientId"].clone();
    let scopes: Vec<_> = event["request"]["scopes"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let mut claims = json!({
        "iss": issuer.url(),
        "sub": event["userName"].as_str().or(client.as_str()),
        "client_id": client,
        "token_use": "access",
        "version": 2,
        "scope": scopes.join(" "),
        "iat": now,
        "exp": now + 3600,
    });
    let answer = world.sandbox.functions().invoke("token-claims", event).await.unwrap();
    let added = &answer["response"]["claimsAndScopeOverrideDetails"]["accessTokenGeneration"]["claimsToAddOrOverride"];
    claims.as_object_mut().unwrap().extend(added.as_object().unwrap().clone());
    issuer.sign(claims)
}

fn person() -> Value {
    serde_json::from_str(include_str!("../events/token-claims/person.json")).unwrap()
}

fn worker(scopes: &[&str]) -> Value {
    let mut event: Value = serde_json::from_str(include_str!("../events/token-claims/worker.json")).unwrap();
    event["request"]["scopes"] = json!(scopes);
    event
}

async fn lease(world: &World, token: &str) -> Reply {
    let order = json!({ "use": "publish", "profile_id": "x_profile-42" });
    ask(world, Some(token), Method::POST, "/v1/leases", &order).await
}

// S38
#[tokio::test]
async fn a_person_of_the_user_pool_manages_the_profiles_of_their_organisation() {
    let world = World::start().await;
    world.person("bob").connect("x_profile", "interaction", "newsdesk").await;
    let get = async |token: &str| ask(&world, Some(token), Method::GET, "/v1/profiles", &Value::Null).await;
    let token = signed(&world, person()).await;
    assert_eq!(get(&token).await.expect(200)["items"][0]["id"], "x_profile-42");
    // a manager is no administrator
    ask(&world, Some(&token), Method::GET, "/v1/settings", &Value::Null).await.refused(403, "forbidden");

    let mut elsewhere = person();
    elsewhere["request"]["userAttributes"]["custom:tenant"] = json!("globex");
    assert_eq!(get(&signed(&world, elsewhere).await).await.expect(200)["items"], json!([]));

    let mut nowhere = person();
    nowhere["request"]["userAttributes"].as_object_mut().unwrap().remove("custom:tenant");
    assert_eq!(get(&signed(&world, nowhere).await).await.status, 403);
}

// S32, S38
#[tokio::test]
async fn a_worker_of_the_user_pool_leases_for_the_organisation_that_its_client_may_work_for() {
    let world = World::start().await;
    let alice = world.person("alice");
    alice.connect("x_profile", "interaction", "newsdesk").await;
    let of = async |scopes: &[&str]| signed(&world, worker(scopes)).await;
    let acme = of(&["tokenward/leases", "tenants/acme"]).await;
    lease(&world, &acme).await.expect(201);
    ask(&world, Some(&acme), Method::GET, "/v1/profiles", &Value::Null).await.refused(403, "forbidden");

    lease(&world, &of(&["tokenward/leases", "tenants/globex"]).await).await.refused(404, "not_found");
    // the scope of another resource server is not ours, whatever it is called
    lease(&world, &of(&["tokenward/other", "billing/leases", "tenants/acme"]).await).await.refused(403, "forbidden");
    for scopes in
        [&["tokenward/leases"][..], &["tokenward/leases", "tenants/acme", "tenants/globex"], &["tenants/acme"]]
    {
        assert_eq!(lease(&world, &of(scopes).await).await.status, 403, "{scopes:?}");
    }
}
