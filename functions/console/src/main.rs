//! `GET /console`: the pages on which people manage their profiles.

use console::{Console, SignIn, routes};
use shared::{
    clock::Clock,
    edge::{self, Fatal, optional_variable, variable},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    edge::init_logging();
    let console = Console::new(&SignIn {
        issuer: variable("OIDC_ISSUER")?,
        token_origin: optional_variable("OIDC_TOKEN_ORIGIN"),
        client_id: variable("CONSOLE_CLIENT_ID")?,
        scope: variable("CONSOLE_SCOPE")?,
        roles_claim: variable("ROLES_CLAIM")?,
        groups_claim: variable("GROUPS_CLAIM")?,
    })?;
    edge::serve(routes(console, Clock::system())).await
}
