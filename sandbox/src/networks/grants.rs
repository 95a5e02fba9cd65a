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
            app.consumer_secret.iter().for_each(|secret| self.secrets.note(secret.expose_secret()));
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

/// What a person agreed to.
pub(super) struct Consent {
    pub(super) account: &'static Account,
    pub(super) scopes: Vec<String>,
    /// The only Pages that it is about (Facebook); `None` means all of them, also those to come.
    pub(super) pages: Option<Vec<String>>,
    /// Whether the app may come back without the person (Google).
    pub(super) offline: bool,
    /// Whether the app is in testing, so that nothing of it lives longer than seven days (Google).
    pub(super) testing: bool,
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
    pub(super) pages: Option<Vec<String>>,
    #[serde(default)]
    pub(super) offline: bool,
    #[serde(default)]
    pub(super) testing: bool,
    /// Epoch seconds.
    pub(super) consented_at: i64,
    /// When the person's data was closed to the app (Facebook), where that was before its time; epoch seconds.
    pub(super) data_closed_at: Option<i64>,
    pub(super) ended: Option<Ending>,
}

impl Grant {
    pub(super) fn account(&self) -> Option<&'static Account> {
        self.network.account(&self.account)
    }

    /// Whether it was given with the login `id` of `network`. Two accounts with one id have one login.
    fn is_of(&self, network: Network, id: &str) -> bool {
        self.network == network && self.account().is_some_and(|account| account.id == id)
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
    /// Calls the API, for about sixty days (Facebook, Instagram).
    LongLived,
    /// Is exchanged for an access token, and for the next refresh token where these are used up (X).
    Refresh,
}

/// A token, known by its hash.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Token {
    pub(super) grant: GrantId,
    pub(super) good_for: Use,
    /// The Page as which it acts (Facebook).
    pub(super) page: Option<String>,
    /// Epoch seconds.
    pub(super) issued_at: i64,
    /// Epoch seconds; `None` is never.
    pub(super) expires_at: Option<i64>,
    /// A refresh token that has been exchanged.
    pub(super) spent: bool,
}

impl Token {
    /// A token that is issued now and lives `lifetime` seconds.
    pub(super) fn living(grant: GrantId, good_for: Use, now: i64, lifetime: i64) -> Self {
        Self { grant, good_for, page: None, issued_at: now, expires_at: Some(now + lifetime), spent: false }
    }

    pub(super) fn expired(&self, now: i64) -> bool {
        self.expires_at.is_some_and(|end| now >= end)
    }
}

/// Every grant, code and token of every network.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Book {
    grants: Vec<Grant>,
    codes: BTreeMap<String, Code>,
    tokens: BTreeMap<String, Token>,
    /// Logins, by id, that have to settle something with the network first.
    held: BTreeSet<(Network, String)>,
    /// Logins, by id, for which every app counts as not published yet.
    #[serde(default)]
    testing: BTreeSet<(Network, String)>,
    /// Ids of persons and the Pages on which they have no role any more (Facebook).
    #[serde(default)]
    lost_roles: BTreeSet<(String, String)>,
}

impl Book {
    /// Writes down a consent. Whoever signs in to consent settles a checkpoint on the way.
    pub(super) fn consent(&mut self, app: &App, consent: Consent, now: i64) -> GrantId {
        let Consent { account, scopes, pages, offline, testing } = consent;
        self.held.remove(&(app.network, account.id.to_owned()));
        self.grants.push(Grant {
            network: app.network,
            client_id: app.client_id.clone(),
            account: account.name.to_owned(),
            scopes,
            pages,
            offline,
            testing,
            consented_at: now,
            data_closed_at: None,
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

    /// Moves the end of the token `secret`.
    pub(super) fn end_token_at(&mut self, secret: &str, expires_at: i64) {
        if let Some(token) = self.tokens.get_mut(&sha256(secret)) {
            token.expires_at = Some(expires_at);
        }
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

    /// How many grants are in force.
    pub(super) fn living(&self, network: Network) -> usize {
        self.grants.iter().filter(|grant| grant.network == network && grant.ended.is_none()).count()
    }

    /// Ends a grant. The first reason stays.
    pub(super) fn end(&mut self, id: GrantId, why: Ending) {
        self.grants[id.0].ended.get_or_insert(why);
    }

    /// Ends every grant of the login `id`, or those to one app.
    pub(super) fn end_all(&mut self, network: Network, id: &str, client_id: Option<&str>, why: Ending) {
        for grant in self.grants.iter_mut().filter(|grant| grant.is_of(network, id)) {
            if client_id.is_none_or(|client_id| client_id == grant.client_id) {
                grant.ended.get_or_insert(why);
            }
        }
    }

    /// Takes `scope` out of what the login `id` granted to the app `client_id`.
    pub(super) fn withdraw(&mut self, network: Network, id: &str, client_id: &str, scope: &str) {
        let of_app = |grant: &&mut Grant| grant.is_of(network, id) && grant.client_id == client_id;
        for grant in self.grants.iter_mut().filter(of_app) {
            grant.scopes.retain(|granted| granted != scope);
        }
    }

    /// The apps that the login `id` ever let in.
    pub(super) fn let_in(&self, network: Network, id: &str) -> BTreeSet<String> {
        self.grants.iter().filter(|grant| grant.is_of(network, id)).map(|grant| grant.client_id.clone()).collect()
    }

    /// Whether a grant lives that the login `id` gave to the app `client_id`.
    pub(super) fn knows(&self, network: Network, id: &str, client_id: &str) -> bool {
        let living = |grant: &Grant| grant.is_of(network, id) && grant.client_id == client_id && grant.ended.is_none();
        self.grants.iter().any(living)
    }

    /// Of the living refresh tokens for the app and the login of `grant`, leaves the newest `most`.
    pub(super) fn crowd_out(&mut self, grant: GrantId, most: usize, now: i64) {
        let grants = &self.grants;
        let Grant { network, client_id, .. } = &grants[grant.0];
        let Some(account) = grants[grant.0].account() else { return };
        let beside = |token: &&mut Token| {
            let of = &grants[token.grant.0];
            let same = of.is_of(*network, account.id) && of.client_id == *client_id && of.ended.is_none();
            same && token.good_for == Use::Refresh && !token.expired(now)
        };
        let mut living: Vec<_> = self.tokens.values_mut().filter(beside).collect();
        living.sort_by_key(|token| (token.issued_at, token.grant.0));
        let excess = living.len().saturating_sub(most);
        for oldest in living.into_iter().take(excess) {
            oldest.expires_at = Some(now);
        }
    }

    /// Lets the access tokens of the login `id`, or those for one Page, run out now.
    pub(super) fn expire(&mut self, network: Network, id: &str, page: Option<&str>, now: i64) {
        for token in self.tokens.values_mut() {
            let concerned = self.grants[token.grant.0].is_of(network, id) && token.good_for != Use::Refresh;
            if concerned && !token.expired(now) && page.is_none_or(|page| token.page.as_deref() == Some(page)) {
                token.expires_at = Some(now);
            }
        }
    }

    /// Closes the data of the login `id` to every app, until the person consents again.
    pub(super) fn close_data(&mut self, network: Network, id: &str, now: i64) {
        for grant in self.grants.iter_mut().filter(|grant| grant.is_of(network, id)) {
            grant.data_closed_at.get_or_insert(now);
        }
    }

    pub(super) fn hold(&mut self, network: Network, id: &str) {
        self.held.insert((network, id.to_owned()));
    }

    pub(super) fn holds(&self, grant: &Grant) -> bool {
        grant.account().is_some_and(|account| self.held.contains(&(grant.network, account.id.to_owned())))
    }

    pub(super) fn test(&mut self, network: Network, id: &str) {
        self.testing.insert((network, id.to_owned()));
    }

    pub(super) fn tests(&self, network: Network, id: &str) -> bool {
        self.testing.contains(&(network, id.to_owned()))
    }

    /// The person with this id has no role on `page` any more.
    pub(super) fn lose_role(&mut self, id: &str, page: &str) {
        self.lost_roles.insert((id.to_owned(), page.to_owned()));
    }

    pub(super) fn lost_role(&self, grant: &Grant, page: &str) -> bool {
        grant.account().is_some_and(|account| self.lost_roles.contains(&(account.id.to_owned(), page.to_owned())))
    }

    /// Takes back what can be taken back: what ended stays ended.
    pub(super) fn restore(&mut self, network: Network, id: &str) {
        let of_login = (network, id.to_owned());
        self.held.remove(&of_login);
        self.testing.remove(&of_login);
        if network == Network::Facebook {
            self.lost_roles.retain(|(person, _)| person != id);
        }
    }
}
