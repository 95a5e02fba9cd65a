//! How a function finds the cloud and the networks: the wiring that every `main` shares.

use aws_config::{BehaviorVersion, Region, SdkConfig, environment::EnvironmentVariableCredentialsProvider};
use aws_sdk_dynamodb::config::SharedCredentialsProvider;

use crate::{
    edge::{Fatal, optional_variable, variable},
    exchange::Endpoints,
};

/// The SDK's configuration from the environment that Lambda gives every function: region, credentials, and
/// `AWS_ENDPOINT_URL` where the cloud is a stand-in.
///
/// The SDK's own chain would look in profiles, containers and machines as well, where a function has nothing: 700
/// kilobytes to load at every cold start.
///
/// # Errors
/// When Lambda's environment is not there.
pub fn config() -> Result<SdkConfig, Fatal> {
    let credentials = EnvironmentVariableCredentialsProvider::new();
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(variable("AWS_REGION")?))
        .credentials_provider(SharedCredentialsProvider::new(credentials));
    Ok(match optional_variable("AWS_ENDPOINT_URL") {
        Some(url) => config.endpoint_url(url).build(),
        None => config.build(),
    })
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
