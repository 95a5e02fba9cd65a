//! What networks and the mail service tell without being asked.

use lambda_runtime::{LambdaEvent, service_fn};
use provider_events::{Function, ProviderEvents};
use shared::{
    apps::Apps,
    clock::Clock,
    cloud,
    edge::{self, Fatal, variable},
    exchange::Exchange,
    jwks::KeyRing,
    store::{Shards, flows::Flows, profiles::Vault},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    edge::init_logging();
    let (aws, clock) = (cloud::config()?, Clock::system());
    let shards = Shards::new(variable("DUE_SHARDS")?.parse()?);
    let function = Function::new(ProviderEvents {
        vault: Vault::new(&aws, &variable("VAULT_TABLE")?, shards),
        flows: Flows::new(&aws, &variable("FLOWS_TABLE")?, shards),
        apps: Apps::new(&aws, &variable("APPS_SECRET")?, &variable("GRAPH_VERSION")?, clock.clone()),
        exchange: Exchange::new(cloud::endpoints()?)?,
        google_keys: KeyRing::default(),
        public_url: variable("PUBLIC_URL")?,
        clock,
    });
    lambda_runtime::run(service_fn(|event: LambdaEvent<_>| function.invoke(event.payload))).await
}
