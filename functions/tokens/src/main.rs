//! Connect sessions, profiles, tokens, rules and notices.

use std::sync::Arc;

use shared::{
    apps::Apps,
    clock::Clock,
    cloud,
    connect::ReturnUrls,
    edge::{self, Fatal, variable},
    exchange::Exchange,
    keys::{KeysConfig, TenantKeys},
    random::Random,
    store::{Spread, flows::Flows, profiles::Vault},
};
use tokens::{Tokens, routes};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    edge::init_logging();
    let (aws, clock, random) = (cloud::config()?, Clock::system(), Random::system());
    let spread = Spread::new(variable("DUE_SHARDS")?.parse()?, variable("DUE_JITTER_MINUTES")?.parse()?);
    let keys = KeysConfig { table: variable("KEYS_TABLE")?, kms_key: variable("KMS_KEY")?, stage: variable("STAGE")? };
    edge::serve(routes(Tokens {
        vault: Vault::new(&aws, &variable("VAULT_TABLE")?, spread),
        flows: Flows::new(&aws, &variable("FLOWS_TABLE")?, spread),
        keys: Arc::new(TenantKeys::new(&aws, keys, clock.clone(), random.clone())),
        apps: Apps::new(&aws, &variable("APPS_SECRET")?, &variable("GRAPH_VERSION")?, clock.clone()),
        exchange: Exchange::new(cloud::endpoints()?)?,
        public_url: variable("PUBLIC_URL")?,
        return_urls: ReturnUrls::parse(&variable("RETURN_URLS")?)?,
        clock,
        random,
    }))
    .await
}
