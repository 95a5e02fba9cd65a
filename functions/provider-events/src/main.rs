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
    store::{Spread, flows::Flows, profiles::Vault},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    edge::init_logging();
    let (aws, clock) = (cloud::config()?, Clock::system());
    let spread = Spread::new(variable("DUE_SHARDS")?.parse()?, variable("DUE_JITTER_MINUTES")?.parse()?);
    let function = Function::new(ProviderEvents {
        vault: Vault::new(&aws, &variable("VAULT_TABLE")?, spread),
        flows: Flows::new(&aws, &variable("FLOWS_TABLE")?, spread),
        apps: Apps::new(&aws, &variable("APPS_SECRET")?, &variable("GRAPH_VERSION")?, clock.clone()),
        exchange: Exchange::new(cloud::endpoints()?)?,
        google_keys: KeyRing::default(),
        public_url: variable("PUBLIC_URL")?,
        clock,
    });
    lambda_runtime::run(service_fn(|event: LambdaEvent<_>| function.invoke(event.payload))).await
}
