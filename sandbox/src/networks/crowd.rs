//! Consents by the thousand, for simulations: what a sign-in leaves at a network, without anybody signing in.

use jiff::Timestamp;
use secrecy::SecretString;

use super::{
    Network, Networks, UnknownApp, UnknownEvent, facebook, find,
    grants::{Consent, Token, Use},
    instagram, meta, x, youtube,
};

/// What an app holds after a sign-in.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Calls the network's API.
    pub access_token: SecretString,
    /// Brings the next access token, where the network has such a thing.
    pub refresh_token: Option<SecretString>,
}

/// Why an account could not consent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoConsent {
    /// No such account.
    #[error(transparent)]
    Account(#[from] UnknownEvent),
    /// No such app.
    #[error(transparent)]
    App(#[from] UnknownApp),
}

impl Networks {
    /// Lets `account` have consented at `since` to all `scopes` for the app, which has redeemed its code and, where there
    /// are such, asked for a token that lives long.
    ///
    /// # Errors
    /// When there is no such account or app.
    pub fn consented(
        &self,
        network: &str,
        account: &str,
        client_id: &str,
        scopes: &[String],
        since: Timestamp,
    ) -> Result<Credentials, NoConsent> {
        let name = network;
        let (network, account) = find(network, account)?;
        let unknown = || UnknownApp { network: name.to_owned(), client_id: client_id.to_owned() };
        let app = self.desk.app(network, client_id).ok_or_else(unknown)?;
        let (access, refresh, since) = (mint(self, network), mint(self, network), since.as_second());
        let consent = Consent { account, scopes: scopes.to_vec(), pages: None, offline: true, testing: app.in_testing };
        let (good_for, lifetime, renewed) = match network {
            Network::X => (Use::Access, x::ACCESS_LIFETIME, Some(x::REFRESH_LIFETIME)),
            Network::Youtube => (Use::Access, youtube::ACCESS_LIFETIME, Some(youtube::UNUSED_LIFETIME)),
            Network::Facebook | Network::Instagram => (Use::LongLived, meta::LONG_LIFETIME, None),
        };
        self.desk.book.change(|book| {
            let grant = book.consent(app, consent, since);
            book.keep_token(&access, Token::living(grant, good_for, since, lifetime));
            if let Some(lifetime) = renewed {
                book.keep_token(&refresh, Token::living(grant, Use::Refresh, since, lifetime));
            }
        });
        Ok(Credentials { access_token: access.into(), refresh_token: renewed.map(|_| refresh.into()) })
    }

    /// How many grants of any account are in force.
    #[must_use]
    pub fn living_grants(&self, network: Network) -> usize {
        self.desk.book.read(|book| book.living(network))
    }
}

fn mint(networks: &Networks, network: Network) -> String {
    match network {
        Network::X => x::mint(&networks.desk),
        Network::Facebook => facebook::mint(&networks.desk),
        Network::Instagram => instagram::mint(&networks.desk),
        Network::Youtube => youtube::mint_refresh(&networks.desk),
    }
}
