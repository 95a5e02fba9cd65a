//! What networks tell without being asked: that a person took back what an app was granted, or wants to be forgotten.
//!
//! Whoever is on the internet can send such a message, so nothing in it is read before its signature holds. The
//! signature also tells the app, and an event is about one login of that one app and nobody else. It speaks of what had
//! been granted when it happened: whoever signed in since is not meant, so that a message from before does no harm
//! however often it comes.

use aws_lc_rs::hmac;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::{
    apps::App,
    profile::Network,
    token::{Reason, Token},
};

pub mod google;
pub mod meta;
pub mod x;

/// A network's clock may be ahead of ours by so much.
const LEEWAY: SignedDuration = SignedDuration::from_mins(1);

/// What happened to all that a login had granted to an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountEvent {
    /// Where.
    pub network: Network,
    /// The app, by its `client_id`.
    pub app: String,
    /// The login, by its id at the network.
    pub login: String,
    /// When it happened.
    pub at: Timestamp,
    /// What becomes of the tokens.
    #[serde(flatten)]
    pub fate: Fate,
}

/// What becomes of the tokens that a network's message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fate", rename_all = "snake_case")]
pub enum Fate {
    /// They are dead.
    Dead {
        /// Why.
        reason: Reason,
    },
    /// They go, with everything that is known of the person.
    Erased,
}

impl AccountEvent {
    /// Whether it is about `token`: what this login had granted to this app by then.
    #[must_use]
    pub fn concerns(&self, token: &Token) -> bool {
        let granted = (token.profile.kind().network(), &token.app, &token.login);
        granted == (self.network, &self.app, &self.login) && token.connected_at <= self.at
    }
}

/// Why a message is not taken for a network's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// It is not of the form that the network sends.
    #[error("it is not of the form that the network sends")]
    Malformed,
    /// It names another algorithm than the network signs with.
    #[error("it names another algorithm")]
    Algorithm,
    /// Nobody who may say it has signed it.
    #[error("its signature does not hold")]
    Signature,
    /// The key that it names is not the network's.
    #[error("it names a key that is not the network's")]
    UnknownKey,
    /// It is not the network's.
    #[error("it has another issuer")]
    Issuer,
    /// It is for no app that is registered here.
    #[error("it is for another app")]
    Audience,
    /// It would have happened later.
    #[error("it is from the future")]
    Future,
}

/// The first of `apps` with whose secret `message` was signed: HMAC-SHA256, compared in constant time.
fn signer<'a>(
    apps: &'a [App],
    secret: fn(&App) -> &SecretString,
    message: &[u8],
    signature: &[u8],
) -> Result<&'a App, Distrust> {
    let signed = |app: &&App| hmac::verify(&key(secret(app)), message, signature).is_ok();
    apps.iter().find(signed).ok_or(Distrust::Signature)
}

fn key(secret: &SecretString) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes())
}

/// Seconds since the epoch that are not in the future.
fn past(seconds: i64, now: Timestamp) -> Result<Timestamp, Distrust> {
    let at = Timestamp::from_second(seconds).map_err(|_| Distrust::Malformed)?;
    if at <= now + LEEWAY { Ok(at) } else { Err(Distrust::Future) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::TokenKind;

    pub(super) fn app(network: Network, client_id: &str, client_secret: &str) -> App {
        App {
            network,
            client_id: client_id.into(),
            client_secret: client_secret.into(),
            consumer_secret: None,
            graph_version: "v26.0".into(),
            tokens: TokenKind::ALL.to_vec(),
        }
    }

    // S69
    #[test]
    fn an_event_is_about_one_login_of_one_app_and_about_nobody_who_signed_in_since() {
        let at = Timestamp::constant(1_800_000_000, 0);
        let event = AccountEvent {
            network: Network::Facebook,
            app: "1".into(),
            login: "1001".into(),
            at,
            fate: Fate::Dead { reason: Reason::AppRemoved },
        };
        for (profile, app, login, connected, concerned) in [
            ("facebook_user-1001", "1", "1001", -1, true),
            ("facebook_page-2001", "1", "1001", 0, true),
            ("facebook_user-1001", "1", "1001", 1, false),
            ("facebook_user-1001", "2", "1001", -1, false),
            ("facebook_user-1001", "1", "1002", -1, false),
            ("instagram_account-1001", "1", "1001", -1, false),
        ] {
            let connected_at = at + SignedDuration::from_secs(connected);
            let token = serde_json::json!({
                "profile": profile, "name": "", "token": "interaction", "owner": "alice", "state": "active", "scopes": [],
                "allow": { "search_acquisition": false, "private_messages": false }, "connected_at": connected_at,
                "considered_at": connected_at, "app": app, "login": login, "generation": 1,
            });
            let token: Token = serde_json::from_value(token).unwrap();
            assert_eq!(event.concerns(&token), concerned, "{profile} {app} {login} {connected}");
        }
    }
}
