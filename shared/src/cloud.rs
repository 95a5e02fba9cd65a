//! How a function finds the cloud and the networks: the wiring that every `main` shares.

use aws_config::{BehaviorVersion, SdkConfig};

use crate::{
    edge::optional_variable,
    exchange::{Endpoints, NotLoopback},
};

/// The SDK's configuration from the Lambda environment (`AWS_ENDPOINT_URL` included).
pub async fn config() -> SdkConfig {
    aws_config::load_defaults(BehaviorVersion::latest()).await
}

/// The networks' pinned addresses, or the stand-in on loopback that `NETWORK_ENDPOINT` names.
///
/// # Errors
/// When `NETWORK_ENDPOINT` is set and is not on loopback.
pub fn endpoints() -> Result<Endpoints, NotLoopback> {
    optional_variable("NETWORK_ENDPOINT").map_or_else(|| Ok(Endpoints::pinned()), |base| Endpoints::loopback(&base))
}
