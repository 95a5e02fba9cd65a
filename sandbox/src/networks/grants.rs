//! The book of consents that every network keeps: who let which app do what, and which codes and
//! tokens came of it.
//!
//! Codes and tokens are looked up by their SHA-256 and belong to a grant; whatever ends the grant
//! ends them all. Each exchange is one change of the book, so that of two racing requests with the
//! same code only one succeeds.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aws_lc_rs::digest;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use shared::{clock::Clock, random::Random};

use super::{Account, App, GrantView, Network};
use crate::data::Saved;

/// What the handlers of every network share.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) book: Saved<Book>,
    pub(super) apps: Arc<[App]>,
    pub(super) rotated: RotatedSecrets,
    pub(super) clock: Clock,
    pub(super) secrets: SecretsSeen,
}

impl Desk {
    /// The current time in epoch seconds.
    pub(super) fn now(&self) -> i64 {
        self.clock.now().as_second()
    }

    pub(super) fn app(&self, network: Network, client_id: &str) -> Option<&App> {
        self.apps.iter().find(|app| app.network == network && app.client_id == client_id)
    }

    /// The app, if `client_secret` is its own.
    pub(super) fn authenticate(&self, network: Network, client_id: &str, client_secret: &str) -> Option<&App> {
        self.app(network, client_id).filter(|app| self.client_secret(app).expose_secret() == client_secret)
    }

    /// What the app authenticates with by now.
    pub(super) fn client_secret(&self, app: &App) -> SecretString {
        self.rotated.of(app).unwrap_or_else(|| app.client_secret.clone())
    }

    /// Gives the app another secret and says whether there is such an app.
    pub(super) fn rotate(&self, network: Network, client_id: &str, client_secret: SecretString) -> bool {
        let Some(app) = self.app(network, client_id) else { return false };
        self.secrets.note(client_secret.expose_secret());
        self.rotated.put(app, client_secret);
        true
    }

    /// A new secret of `N` random bytes, noted as seen.
    pub(super) fn mint<const N: usize>(&self, encode: impl FnOnce(&[u8]) -> String) -> String {
        let secret = encode(&Random::system().bytes::<N>());
        self.secrets.note(&secret);
        secret
    }

    pub(super) fn see_client_secrets(&self) {
        for app in self.apps.iter() {
            self.secrets.note(app.client_secret.expose_secret());
        }
    }
}

/// SHA-256 in unpadded base64url: how secrets are kept, and how PKCE's S256 compares.
pub(super) fn sha256(secret: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, secret.as_bytes()))
}

/// Client secrets that replace those that apps were registered with, by network and client id.
#[derive(Clone, Default)]
pub(super) struct RotatedSecrets(Arc<Mutex<BTreeMap<(Network, String), SecretString>>>);

impl RotatedSecrets {
    fn of(&self, app: &App) -> Option<SecretString> {
        self.lock().get(&(app.network, app.client_id.clone())).cloned()
    }

    fn put(&self, app: &App, client_secret: SecretString) {
        self.lock().insert((app.network, app.client_id.clone()), client_secret);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Network, String), SecretString>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Secrets in the clear, in memory alone.
#[derive(Clone, Default)]
pub(super) struct SecretsSeen(Arc<Mutex<BTreeSet<String>>>);

impl SecretsSeen {
    /// Remembers `secret`. Anything shorter than 16 characters is nobody's secret, and would be
    /// found everywhere by a search.
    pub(super) fn note(&self, secret: &str) {
        if secret.len() >= 16 {
            self.lock().insert(secret.to_owned());
        }
    }

    pub(super) fn all(&self) -> Vec<String> {
        self.lock().iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a grant stands in the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GrantId(usize);

/// One consent of one account to one app, with everything minted from it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Grant {
    pub(super) network: Network,
    pub(super) client_id: String,
    /// The account's name.
    account: String,
    pub(super) scopes: Vec<String>,
    /// Epoch seconds.
    pub(super) consented_at: i64,
    pub(super) ended: Option<Ending>,
}

impl Grant {
    pub(super) fn account(&self) -> Option<&'static Account> {
        self.network.account(&self.account)
    }

    pub(super) fn allows(&self, scope: &str) -> bool {
        self.scopes.iter().any(|granted| granted == scope)
    }
}

impl From<&Grant> for GrantView {
    fn from(grant: &Grant) -> Self {
        Self { live: grant.ended.is_none(), client_id: grant.client_id.clone(), scopes: grant.scopes.clone() }
    }
}

/// Why a grant is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ending {
    /// The person removed the app, or the app itself revoked.
    Removed,
    /// The person has a new password.
    PasswordChanged,
    /// A code or refresh token was presented a second time.
    Replayed,
}

/// An authorization code.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Code {
    pub(super) grant: GrantId,
    pub(super) redirect_uri: String,
    /// The `code_challenge`, where the network supports PKCE.
    pub(super) challenge: Option<String>,
    /// Epoch seconds.
    pub(super) expires_at: i64,
    pub(super) used: bool,
}

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Use {
    /// Calls the network's API.
    Access,
    /// Calls the API, for about sixty days (Facebook).
    LongLived,
    /// Is exchanged for an access token and the next refresh token (X).
    Refresh,
}

/// A token, known by its hash.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Token {
    pub(super) grant: GrantId,
    pub(super) good_for: Use,
    /// Epoch seconds.
    pub(super) issued_at: i64,
    /// Epoch seconds.
    pub(super) expires_at: i64,
    /// A refresh token that has been exchanged.
    pub(super) spent: bool,
}

impl Token {
    pub(super) fn expired(&self, now: i64) -> bool {
        now >= self.expires_at
    }
}

/// Every grant, code and token of every network.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Book {
    grants: Vec<Grant>,
    codes: BTreeMap<String, Code>,
    tokens: BTreeMap<String, Token>,
    /// Accounts that have to settle something with the network first.
    held: BTreeSet<(Network, String)>,
}

impl Book {
    /// Writes down a consent. Whoever signs in to consent settles a checkpoint on the way.
    pub(super) fn consent(&mut self, app: &App, account: &Account, scopes: Vec<String>, now: i64) -> GrantId {
        self.release(app.network, account.name);
        self.grants.push(Grant {
            network: app.network,
            client_id: app.client_id.clone(),
            account: account.name.to_owned(),
            scopes,
            consented_at: now,
            ended: None,
        });
        GrantId(self.grants.len() - 1)
    }

    pub(super) fn keep_code(&mut self, secret: &str, code: Code) {
        self.codes.insert(sha256(secret), code);
    }

    /// The code `secret`, if it was given to the app `client_id` of `network`.
    pub(super) fn code(&mut self, network: Network, client_id: &str, secret: &str) -> Option<&mut Code> {
        let code = self.codes.get_mut(&sha256(secret))?;
        let grant = &self.grants[code.grant.0];
        (grant.network == network && grant.client_id == client_id).then_some(code)
    }

    pub(super) fn keep_token(&mut self, secret: &str, token: Token) {
        self.tokens.insert(sha256(secret), token);
    }

    /// The token `secret` of `network`, with its grant.
    pub(super) fn token(&self, network: Network, secret: &str) -> Option<(&Token, &Grant)> {
        let token = self.tokens.get(&sha256(secret))?;
        let grant = self.grant(token.grant);
        (grant.network == network).then_some((token, grant))
    }

    /// Marks the refresh token `secret` as exchanged.
    pub(super) fn spend(&mut self, secret: &str) {
        if let Some(token) = self.tokens.get_mut(&sha256(secret)) {
            token.spent = true;
        }
    }

    pub(super) fn grant(&self, id: GrantId) -> &Grant {
        &self.grants[id.0]
    }

    pub(super) fn grants_of(&self, network: Network, account: &str) -> impl Iterator<Item = &Grant> {
        self.grants.iter().filter(move |grant| grant.network == network && grant.account == account)
    }

    /// Ends a grant. The first reason stays.
    pub(super) fn end(&mut self, id: GrantId, why: Ending) {
        self.grants[id.0].ended.get_or_insert(why);
    }

    /// Ends every grant of an account, or those to one app.
    pub(super) fn end_all(&mut self, network: Network, account: &str, client_id: Option<&str>, why: Ending) {
        for grant in &mut self.grants {
            let concerned = grant.network == network && grant.account == account;
            if concerned && client_id.is_none_or(|client_id| client_id == grant.client_id) {
                grant.ended.get_or_insert(why);
            }
        }
    }

    pub(super) fn hold(&mut self, network: Network, account: &str) {
        self.held.insert((network, account.to_owned()));
    }

    pub(super) fn release(&mut self, network: Network, account: &str) {
        self.held.remove(&(network, account.to_owned()));
    }

    pub(super) fn holds(&self, grant: &Grant) -> bool {
        self.held.contains(&(grant.network, grant.account.clone()))
    }
}
