//! The scheduled expiry sweep.

use std::sync::Arc;

use expiry_sweep::{Memory, REFRESH_LEASE, Sweep};
use lambda_runtime::{LambdaEvent, service_fn};
use shared::{
    apps::Apps,
    clock::Clock,
    cloud,
    connect::ReturnUrls,
    due::DueQueue,
    edge::{self, Fatal, variable},
    exchange::Exchange,
    keys::{KeysConfig, TenantKeys},
    mail::Mailer,
    random::Random,
    refresh::Refresher,
    revoke::Revoker,
    spill::Spill,
    store::{Spread, flows::Flows, profiles::Vault},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    edge::init_logging();
    let (aws, clock, random) = (cloud::config()?, Clock::system(), Random::system());
    let spread = Spread::new(variable("DUE_SHARDS")?.parse()?, variable("DUE_JITTER_MINUTES")?.parse()?);
    let keys = KeysConfig { table: variable("KEYS_TABLE")?, kms_key: variable("KMS_KEY")?, stage: variable("STAGE")? };
    let revoker = Revoker {
        vault: Vault::new(&aws, &variable("VAULT_TABLE")?, spread),
        flows: Flows::new(&aws, &variable("FLOWS_TABLE")?, spread),
        keys: Arc::new(TenantKeys::new(&aws, keys, clock.clone(), random.clone())),
        apps: Apps::new(&aws, &variable("APPS_SECRET")?, &variable("GRAPH_VERSION")?, clock.clone()),
        exchange: Exchange::new(cloud::endpoints()?)?,
    };
    let spill = Spill::new(&aws, &variable("SPILL_QUEUE")?);
    let sweep = Sweep {
        refresher: Refresher::beside(&revoker, spill, clock.clone(), random, REFRESH_LEASE),
        revoker,
        due: DueQueue::new(&aws, &variable("DUE_QUEUE")?),
        mailer: Mailer::new(&aws, &variable("MAIL_FROM")?, &variable("MAIL_EVENTS")?)?,
        reauthenticate_url: variable("REAUTHENTICATE_URL")?,
        return_urls: ReturnUrls::parse(&variable("RETURN_URLS")?)?,
        recent: Memory::default(),
        clock,
    };
    lambda_runtime::run(service_fn(|event: LambdaEvent<_>| sweep.invoke(event.payload))).await
}
