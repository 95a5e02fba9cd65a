//! The trigger of the Cognito user pool: what the pool knows of a caller becomes what the authorizer reads.

use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;
use shared::edge::{self, Fatal, variable};
use token_claims::TokenClaims;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    edge::init_logging();
    let trigger = TokenClaims {
        tenant_claim: variable("TENANT_CLAIM")?,
        roles_claim: variable("ROLES_CLAIM")?,
        groups_claim: variable("GROUPS_CLAIM")?,
    };
    let answer = async |event: LambdaEvent<Value>| trigger.invoke(event.payload).map_err(Fatal::from);
    lambda_runtime::run(service_fn(answer)).await
}
