//! Networks that are reached instead of played: whoever has an app of their own at a network points the sandbox at it.
//!
//! The product then speaks to that network at its pinned addresses and to all others on loopback, and the secret holds
//! the real app in place of the stand-in's. So what an earlier run connected at the stand-in is never sent to the
//! live network, nor the other way round: its app is not there.

use secrecy::SecretString;
use shared::profile::Network;

/// A real app at a network.
#[derive(Clone, Debug)]
pub struct LiveApp {
    /// Where it is registered.
    pub network: Network,
    /// Its public id.
    pub client_id: String,
    /// What it authenticates with.
    pub client_secret: SecretString,
}

/// Why a network cannot be reached live.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LiveError {
    /// The product does not know it.
    #[error("there is no network {0:?} to be live with, only {known}", known = Network::ALL.map(Network::as_str).join(", "))]
    Network(String),
    /// The environment does not say which app to use.
    #[error("--live {network} needs the credentials of your app: set {}", .missing.join(" and "))]
    Credentials {
        /// Which network was wished for.
        network: Network,
        /// The variables that are missing or empty.
        missing: Vec<String>,
    },
}

impl LiveApp {
    /// The app at the network with this name, from `TOKENWARD_LIVE_<NETWORK>_CLIENT_ID` and `…_CLIENT_SECRET`.
    ///
    /// # Errors
    /// When the product knows no such network, or a variable is missing; the error names it.
    pub fn from_environment(name: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Self, LiveError> {
        let network: Network = name.parse().map_err(|_| LiveError::Network(name.to_owned()))?;
        let names = ["CLIENT_ID", "CLIENT_SECRET"]
            .map(|part| format!("TOKENWARD_LIVE_{}_{part}", network.as_str().to_ascii_uppercase()));
        let values = names.clone().map(|name| variable(&name).filter(|value| !value.is_empty()));
        match values {
            [Some(client_id), Some(client_secret)] => {
                Ok(Self { network, client_id, client_secret: client_secret.into() })
            }
            values => {
                let missing = names.into_iter().zip(values).filter(|(_, value)| value.is_none());
                Err(LiveError::Credentials { network, missing: missing.map(|(name, _)| name).collect() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn an_app_is_read_from_its_two_variables_or_what_is_missing_is_named() {
        const ID: (&str, &str) = ("TOKENWARD_LIVE_X_CLIENT_ID", "an-id");
        const SECRET: (&str, &str) = ("TOKENWARD_LIVE_X_CLIENT_SECRET", "a-secret");
        let read = |set: &[(&str, &str)]| {
            let of = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            LiveApp::from_environment("x", of)
        };
        let app = read(&[ID, SECRET]).unwrap();
        assert_eq!(
            (app.network, &*app.client_id, app.client_secret.expose_secret()),
            (Network::X, "an-id", "a-secret")
        );
        for (set, missing) in [
            (&[ID][..], &[SECRET.0][..]),
            (&[SECRET], &[ID.0]),
            (&[ID, (SECRET.0, "")], &[SECRET.0]),
            (&[], &[ID.0, SECRET.0]),
        ] {
            let missing = missing.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(read(set).unwrap_err(), LiveError::Credentials { network: Network::X, missing });
        }
    }
}
