//! `GET /oauth/start`: sends the browser to the network.

use oauth_start::{Start, routes};
use shared::{
    apps::Apps,
    clock::Clock,
    cloud,
    edge::{self, Fatal, variable},
    keys::{KeysConfig, TenantKeys},
    random::Random,
    store::{Spread, flows::Flows},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    edge::init_logging();
    let (aws, clock, random) = (cloud::config()?, Clock::system(), Random::system());
    let keys = KeysConfig { table: variable("KEYS_TABLE")?, kms_key: variable("KMS_KEY")?, stage: variable("STAGE")? };
    edge::serve(routes(Start {
        flows: Flows::new(&aws, &variable("FLOWS_TABLE")?, Spread::new(1, 0)),
        keys: TenantKeys::new(&aws, keys, clock.clone(), random.clone()),
        apps: Apps::new(&aws, &variable("APPS_SECRET")?, &variable("GRAPH_VERSION")?, clock.clone()),
        endpoints: cloud::endpoints()?,
        public_url: variable("PUBLIC_URL")?,
        clock,
        random,
    }))
    .await
}
