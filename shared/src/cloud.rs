//! How a function finds the cloud and the networks: the wiring that every `main` shares.

use aws_config::{BehaviorVersion, SdkConfig};

use crate::{
    edge::{Fatal, optional_variable},
    exchange::Endpoints,
};

/// The SDK's configuration from the Lambda environment (`AWS_ENDPOINT_URL` included).
pub async fn config() -> SdkConfig {
    aws_config::load_defaults(BehaviorVersion::latest()).await
}

/// The networks' pinned addresses, or the stand-in on loopback that `NETWORK_ENDPOINT` names for all but those that
/// `NETWORK_ENDPOINT_EXCEPT` lists.
///
/// # Errors
/// When `NETWORK_ENDPOINT` is set and is not on loopback, or the list names something else than a network.
pub fn endpoints() -> Result<Endpoints, Fatal> {
    let Some(base) = optional_variable("NETWORK_ENDPOINT") else { return Ok(Endpoints::pinned()) };
    let live = optional_variable("NETWORK_ENDPOINT_EXCEPT").unwrap_or_default();
    Ok(Endpoints::loopback(&base)?.except(&live)?)
}
