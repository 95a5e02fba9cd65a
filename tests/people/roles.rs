//! Who may do what, role by role: every route of the description, for somebody who owns nothing of what is asked for.

use shared::access::Role;

use super::token_of;
use crate::{
    estate::Estate,
    openapi::{document, operations},
};

/// The roles in which a stranger is not refused; a route that is not here has no rule yet.
fn admitted(operation: &str) -> &'static [Role] {
    match operation {
        "GET /v1/profiles"
        | "GET /v1/profiles/{id}"
        | "GET /v1/profiles/{id}/tokens"
        | "GET /v1/notices"
        | "GET /v1/rules"
        // of others, there are none
        | "GET /v1/health"
        | "POST /v1/notices/{id}/dismiss"
        | "GET /v1/connect-sessions/{id}"
        | "POST /v1/connect-sessions/{id}/complete" => &Role::ALL,
        "POST /v1/connect-sessions" => &[Role::Responder, Role::Manager],
        "POST /v1/rules" => &[Role::PowerAnalyst, Role::Administrator],
        "GET /v1/history" | "GET /v1/settings" | "PUT /v1/settings" => &[Role::Administrator],
        "PATCH /v1/rules/{id}" | "DELETE /v1/rules/{id}" | "DELETE /v1/users/{sub}" => &[Role::Administrator],
        "PATCH /v1/profiles/{id}"
        | "DELETE /v1/profiles/{id}"
        | "PATCH /v1/profiles/{id}/tokens/{token}"
        | "DELETE /v1/profiles/{id}/tokens/{token}"
        // programs alone
        | "POST /v1/leases"
        | "POST /v1/leases/{id}/report" => &[],
        operation => panic!("who may {operation}?"),
    }
}

// S30
#[tokio::test]
async fn every_route_admits_a_stranger_in_the_roles_that_the_product_names_and_in_no_other() {
    for (operation, _) in operations(&document()) {
        admitted(&operation);
    }
    for role in Role::ALL {
        let estate = Estate::new().await;
        let stranger = token_of(&estate.world, "zoe", &[role.as_str()], &[]);
        for row in estate.rows() {
            let reply = estate.ask(Some(&stranger), &row).await;
            if admitted(row.operation).contains(&role) {
                let own = reply.status.is_success() || reply.status.as_u16() == 404;
                assert!(own, "{role:?} {}: {}", row.operation, reply.body);
            } else {
                let problem = reply.refused(403, "forbidden");
                let words = problem["detail"].as_str().unwrap();
                let says_what = ["role", "own", "analyst", "scope"].iter().any(|word| words.contains(word));
                assert!(says_what, "{role:?} {}: {words}", row.operation);
            }
        }
    }
}
