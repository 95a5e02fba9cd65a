//! `POST /v1/leases` and `POST /v1/leases/{id}/report`.

use std::sync::Arc;

use leases::{Leases, Memory, REFRESH_LEASE, routes};
use shared::{
    apps::Apps,
    clock::Clock,
    cloud,
    edge::{self, Fatal, variable},
    exchange::Exchange,
    keys::{KeysConfig, TenantKeys},
    random::Random,
    refresh::Refresher,
    spill::Spill,
    store::{Spread, profiles::Vault},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    edge::init_logging();
    let (aws, clock, random) = (cloud::config()?, Clock::system(), Random::system());
    let keys = KeysConfig { table: variable("KEYS_TABLE")?, kms_key: variable("KMS_KEY")?, stage: variable("STAGE")? };
    let spread = Spread::new(variable("DUE_SHARDS")?.parse()?, variable("DUE_JITTER_MINUTES")?.parse()?);
    let refresher = Refresher {
        vault: Vault::new(&aws, &variable("VAULT_TABLE")?, spread),
        keys: Arc::new(TenantKeys::new(&aws, keys, clock.clone(), random.clone())),
        apps: Apps::new(&aws, &variable("APPS_SECRET")?, &variable("GRAPH_VERSION")?, clock.clone()),
        exchange: Exchange::new(cloud::endpoints()?)?,
        spill: Spill::new(&aws, &variable("SPILL_QUEUE")?),
        clock,
        random,
        lease: REFRESH_LEASE,
    };
    edge::serve(routes(Leases { refresher, recent: Memory::default() })).await
}
