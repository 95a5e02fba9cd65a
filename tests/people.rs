//! Who a profile is for: owners who come and go, people it is shared with, and people who are removed.

use reqwest::Method;
use sandbox::faults::{Stopped, When};
use serde_json::{Value, json};

use crate::{
    estate::ask,
    support::{Person, World},
};

mod owners;
mod removal;
mod roles;
mod sharing;

/// Where the news desk's profile at X is.
const NEWSDESK: &str = "/v1/profiles/x_profile-42";

/// The ids in one of a person's lists of profiles.
async fn listed(person: &Person, list: &str) -> Vec<String> {
    let listed = person.get(&format!("/v1/profiles?list={list}")).await.expect(200);
    listed["items"].as_array().unwrap().iter().map(|profile| profile["id"].as_str().unwrap().to_owned()).collect()
}

/// Leases the news desk on somebody's behalf, to publish: the status.
async fn acting(world: &World, user: &str) -> u16 {
    let order = json!({ "use": "publish", "profile_id": "x_profile-42", "acting_user": user });
    let reply = world.person("acme-worker").post("/v1/leases", order).await;
    if reply.status.is_client_error() {
        reply.refused(403, "forbidden");
    }
    reply.status.as_u16()
}

/// A request that stands still before what it writes at last is written, while others go on.
async fn before_it_writes<T: Send + 'static>(
    world: &World,
    request: impl Future<Output = T> + Send + 'static,
) -> (tokio::task::JoinHandle<T>, Stopped) {
    let faults = world.sandbox.faults();
    let mut stopped = faults.stop_at(0, When::Before);
    let request = tokio::spawn(request);
    while stopped.reached().await.target != "dynamodb/TransactWriteItems" {
        let next = faults.stop_at(0, When::Before);
        stopped.resume();
        stopped = next;
    }
    (request, stopped)
}

/// Signs somebody of acme in with these roles and groups, and lets them look at their profiles once.
async fn seen_as(world: &World, sub: &str, roles: &[&str], groups: &[&str]) {
    let token = token_of(world, sub, roles, groups);
    ask(world, Some(&token), Method::GET, "/v1/profiles", &Value::Null).await.expect(200);
}

/// An access token of somebody of acme in these roles and groups.
pub(crate) fn token_of(world: &World, sub: &str, roles: &[&str], groups: &[&str]) -> String {
    let issuer = world.sandbox.issuer();
    let now = world.sandbox.clock().now().as_second();
    issuer.sign(json!({
        "iss": issuer.url(), "sub": sub, "email": format!("{sub}@acme.example"), "tenant": "acme", "roles": roles,
        "groups": groups, "aud": "tokenward", "client_id": "tests", "token_use": "access", "scope": "tokenward",
        "iat": now, "nbf": now, "exp": now + 3600,
    }))
}
