//! The reader of the spill queue.

use lambda_runtime::{LambdaEvent, service_fn};
use shared::{
    clock::Clock,
    cloud,
    edge::{self, Fatal, variable},
    store::{Spread, flows::Flows, profiles::Vault},
};
use spill_reader::SpillReader;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    edge::init_logging();
    let aws = cloud::config()?;
    let spread = Spread::new(variable("DUE_SHARDS")?.parse()?, variable("DUE_JITTER_MINUTES")?.parse()?);
    let reader = SpillReader {
        vault: Vault::new(&aws, &variable("VAULT_TABLE")?, spread),
        flows: Flows::new(&aws, &variable("FLOWS_TABLE")?, spread),
        clock: Clock::system(),
    };
    let reader = &reader;
    lambda_runtime::run(service_fn(|event: LambdaEvent<serde_json::Value>| reader.invoke(event.payload))).await
}
