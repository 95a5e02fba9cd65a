//! The authorizer of the HTTP API: who is calling, read from a verified access token.
use authorizer::{Authorizer, Issuer, Terms};
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;
use shared::{clock::Clock, edge};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), edge::Fatal> {
    edge::init_logging();
    let authorizer = Authorizer {
        issuer: Issuer::new(edge::variable("OIDC_ISSUER")?)?,
        terms: Terms {
            audience: edge::variable("OIDC_AUDIENCE")?,
            tenant_claim: edge::variable("TENANT_CLAIM")?,
            roles_claim: edge::variable("ROLES_CLAIM")?,
            groups_claim: edge::variable("GROUPS_CLAIM")?,
        },
        clock: Clock::system(),
    };
    let answer = async |event: LambdaEvent<Value>| authorizer.invoke(event.payload).await.map_err(edge::Fatal::from);
    lambda_runtime::run(service_fn(answer)).await
}
