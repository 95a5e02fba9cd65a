//! A network as data and pure functions: build the request, read the answer, classify the error.
//!
//! Nothing here does I/O. A conversation with a network is a [`Talk`]: it asks one [`Request`] at
//! a time and is continued with the [`Answer`], until it is done or has failed with a [`Failure`]
//! that says what the answer *means*. [`crate::exchange`] carries talks out; tests feed them
//! answers by hand. A new network is one file that implements [`Provider`], and a row in
//! [`Network::provider`].

use std::{collections::BTreeMap, fmt};

use http::{HeaderMap, Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use url::Url;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::{
    apps::App,
    metrics::Metric,
    profile::{Kind, Network, ProfileId, TokenKind, is_account_id},
    token::Reason,
};

pub mod events;
mod facebook;
mod instagram;
mod meta;
mod token_response;
mod x;
mod youtube;

/// What is different from network to network.
///
/// Every URL that comes out of it is the network's own, pinned https address; the exchange alone
/// may put a loopback address in its place.
pub trait Provider: Sync {
    /// Whether the network supports PKCE (RFC 7636). Where it does, it is always used.
    fn supports_pkce(&self) -> bool;

    /// What it calls itself where it sends browsers back (RFC 9207 §2); `None` where it is not known to say it.
    fn issuer(&self) -> Option<&'static str>;

    /// What ends when a grant is revoked at the network.
    fn revocation_reach(&self) -> Reach;

    /// Whether a refresh token works once (RFC 6749 §10.4), so that a lost answer may have cost it.
    fn spends_refresh_tokens(&self) -> bool;

    /// Whether a connect without a refresh token has failed.
    fn requires_refresh_token(&self) -> bool;

    /// Where the browser is sent to sign in and consent.
    fn authorization_url(&self, authorization: &Authorization<'_>) -> Url;

    /// Turns the authorization code into the longest-lived grant that the network gives.
    fn redeem(&self, app: &App, redemption: Redemption) -> Talk<Grant>;

    /// Asks who signed in to connect a profile of `kind`, which profiles there are to choose from where
    /// [some are](Kind::is_chosen), and what the network says of the grant.
    fn identify(&self, app: &App, kind: Kind, grant: &Grant, now: Timestamp) -> Talk<Identity>;

    /// Asks how the credential of `profile` is: what the network says of it now, where it says anything. It fails as
    /// dead only when the network proves it.
    fn inspect(&self, app: &App, profile: &ProfileId, grant: &Grant, now: Timestamp) -> Talk<Terms>;

    /// Asks for new credentials of `profile` without a person (RFC 6749 §6); `None` where only a person can renew
    /// them. What stands for the refresh token is what the network takes for it: Instagram the access token itself,
    /// Facebook, for a Page, the access token of the person who administers it. What the network leaves out of its
    /// answer is left out of the grant: the old refresh token and the old scopes then still hold.
    fn refresh(
        &self,
        app: &App,
        profile: &ProfileId,
        refresh_token: &SecretString,
        now: Timestamp,
    ) -> Option<Talk<Grant>>;

    /// What it means that a credential died for `reason` so long after its owner had signed in.
    fn death(&self, reason: Reason, _lived: SignedDuration) -> Reason {
        reason
    }

    /// What an answer of the network's API means that somebody got with an access token; `Ok` where it
    /// says nothing against the token or the app, whatever became of the request.
    ///
    /// The answer may be told by a worker, so a death is a suspicion until the network confirms it.
    ///
    /// # Errors
    /// What the answer says of the token or the app.
    fn judge(&self, answer: &Answer, now: Timestamp) -> Result<(), Failure>;

    /// How to make what a request with an access token carries beside it; `None` where it carries nothing.
    fn params(&self) -> Option<Params>;

    /// Ends the grant at the network; done as well when the network says that it is dead already, or when it
    /// [has no way](Reach::Nothing) to end one.
    fn revoke(&self, app: &App, grant: &Grant, login: &str) -> Talk<()>;
}

impl Network {
    /// The network's own ways.
    #[must_use]
    pub fn provider(self) -> &'static dyn Provider {
        match self {
            Self::Facebook => &facebook::Facebook,
            Self::Instagram => &instagram::Instagram,
            Self::X => &x::X,
            Self::YouTube => &youtube::YouTube,
        }
    }

    /// The hosts that talks with this network reach; nothing else is ever contacted for it.
    #[must_use]
    pub fn hosts(self) -> &'static [&'static str] {
        match self {
            Self::Facebook => &["graph.facebook.com"],
            Self::Instagram => &["api.instagram.com", "graph.instagram.com"],
            Self::X => &["api.x.com"],
            Self::YouTube => &["accounts.google.com", "oauth2.googleapis.com", "www.googleapis.com"],
        }
    }
}

/// Makes the parameters that go with an access token at a time, by the names that the network gives them.
pub type Params = fn(&App, &SecretString, Timestamp) -> BTreeMap<&'static str, String>;

/// What a revocation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// This grant and nothing else.
    Grant,
    /// Everything that the same login has granted to the same app.
    Login,
    /// Nothing: the network has no way to end a grant but its owner's settings there.
    Nothing,
}

/// What a browser is sent to the network with.
pub struct Authorization<'a> {
    /// The app that asks.
    pub client_id: &'a str,
    /// The version of the Graph API, where the network is Meta's.
    pub graph_version: &'a str,
    /// Where the network sends the browser back to.
    pub redirect_uri: &'a str,
    /// RFC 6749 §4.1.1.
    pub state: &'a str,
    /// RFC 7636 §4.2, where the network supports it.
    pub code_challenge: Option<&'a str>,
    /// The profile kind that is connected.
    pub kind: Kind,
    /// The token that is asked for.
    pub token: TokenKind,
}

/// What an authorization code is redeemed with.
pub struct Redemption {
    /// The code, as the browser brought it.
    pub code: SecretString,
    /// The same as at the authorization request.
    pub redirect_uri: String,
    /// RFC 7636 §4.1, where a challenge was sent.
    pub code_verifier: Option<SecretString>,
    /// When it is redeemed; lifetimes count from here.
    pub now: Timestamp,
}

/// What the network says of a grant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// What was granted, which may be less than was asked for.
    pub scopes: Vec<String>,
    /// When the access token ends, if the network says.
    pub access_expires_at: Option<Timestamp>,
    /// When a person will be needed, if ever.
    pub expires_at: Option<Timestamp>,
    /// When the access token was given, where its age matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_at: Option<Timestamp>,
}

impl Terms {
    /// Whether they tell of other scopes than these; where they tell of none, nothing is known to have changed.
    #[must_use]
    pub fn changes(&self, scopes: &[String]) -> bool {
        !self.scopes.is_empty() && self.scopes != scopes
    }
}

/// The credentials that a network gave.
#[derive(Clone, Debug)]
pub struct Grant {
    /// RFC 6749 §1.4.
    pub access_token: SecretString,
    /// RFC 6749 §1.5, where the network gives one.
    pub refresh_token: Option<SecretString>,
    /// What is known of it.
    pub terms: Terms,
}

/// An account at a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its id at the network.
    pub external_id: String,
    /// Its name, as people know it.
    pub name: String,
    /// Whose sign-in granted it: revocation may end everything under this login.
    pub login: String,
}

impl Account {
    /// The account as the network describes it, its own login: `None` when its id could not stand in keys and paths.
    /// The name stands in pages and mails, so what is no text or is endless is left out of it.
    fn read(external_id: String, name: &str) -> Option<Self> {
        if !is_account_id(&external_id) {
            return None;
        }
        Some(Self { login: external_id.clone(), name: displayed(name, &external_id), external_id })
    }
}

/// A name from a network, fit for one line; `id` where nothing is left of it.
fn displayed(name: &str, id: &str) -> String {
    const NAME_LIMIT: usize = 200;
    let name: String = name.chars().filter(|c| !c.is_control()).take(NAME_LIMIT).collect();
    if name.trim().is_empty() { id.to_owned() } else { name }
}

/// A profile that whoever signed in administers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The profile that it would be.
    pub profile: ProfileId,
    /// Its name, as people know it.
    pub name: String,
    /// Why it cannot be connected, if it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hindrance: Option<Hindrance>,
}

/// Why a profile that somebody administers cannot be connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Hindrance {
    /// The person's role on it allows nothing that a token could be used for.
    RoleMissing,
}

/// Whose grant it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The account that signed in.
    pub account: Account,
    /// What is known of the grant now.
    pub terms: Terms,
    /// What there is to choose from, where the kind of profile [is chosen](Kind::is_chosen).
    pub candidates: Vec<Candidate>,
}

/// What a network's answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The authorization code was used, is too old, or belongs to another sign-in.
    #[error("the network did not accept the authorization code")]
    CodeRejected,
    /// The network proved that the credential is dead.
    #[error("the network says that the credential is dead: {0:?}")]
    Dead(Reason),
    /// The app's own credentials are wrong: an operator's problem, never the user's.
    #[error("the network did not accept the app's credentials")]
    AppRejected,
    /// The network wants to be left alone for a while.
    #[error("the network sets a limit for {} seconds ({:?})", .0.seconds, .0.reach)]
    Limited(Limit),
    /// A permission is missing.
    #[error("the network says that a permission is missing")]
    Forbidden,
    /// The network was never reached, or said that it is down: it did nothing.
    #[error("the network could not be reached or is down")]
    Unavailable,
    /// The request was sent and no answer came: the network may have carried it out.
    #[error("the network was asked and did not answer")]
    Unanswered,
    /// The network answered something that is no answer: where it was read.
    #[error("the network's answer to {0} could not be read")]
    Unreadable(&'static str),
    /// The network did not give the refresh token that it must give.
    #[error("the network gave no refresh token")]
    NoRefreshToken,
    /// Whoever signed in has no account of the kind that is wanted.
    #[error("whoever signed in at the network has no such account there")]
    NoAccount,
}

impl Failure {
    /// What an operator counts of it, whoever asked the network.
    #[must_use]
    pub fn metric(self) -> Option<Metric> {
        match self {
            Self::Unavailable | Self::Unanswered | Self::Unreadable(_) => Some(Metric::NetworkUnanswered),
            Self::AppRejected => Some(Metric::AppRejected),
            Self::Limited(Limit { reach: LimitReach::App, .. }) => Some(Metric::AppLimited),
            _ => None,
        }
    }
}

/// How long, and for what, a network wants to be left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What is limited.
    pub reach: LimitReach,
    /// How long, from the answer on.
    pub seconds: u32,
}

/// What a limit applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitReach {
    /// This token: its own limit, its user's or its Page's.
    Token,
    /// Every token of the app.
    App,
}

impl Failure {
    const fn limited(reach: LimitReach, seconds: u32) -> Self {
        Self::Limited(Limit { reach, seconds })
    }
}

/// A step of a conversation: something to ask, or the end.
pub enum Talk<T> {
    /// Ask this, and go on with the answer.
    Ask(Box<Request>, Continuation<T>),
    /// There is nothing more to ask.
    Done(T),
}

/// What comes after an answer.
pub type Continuation<T> = Box<dyn FnOnce(Answer) -> Result<Talk<T>, Failure> + Send>;

impl<T> Talk<T> {
    fn ask(request: Request, then: impl FnOnce(Answer) -> Result<Self, Failure> + Send + 'static) -> Self {
        Self::Ask(Box::new(request), Box::new(then))
    }
}

/// A request to a network.
pub struct Request {
    /// What it is for, in logs; never the URL, which may hold a secret.
    pub purpose: &'static str,
    /// RFC 9110 §9.
    pub method: Method,
    /// The pinned address, without parameters.
    pub url: Url,
    /// Parameters of the URL; the networks want some secrets there.
    pub query: Vec<(&'static str, SecretString)>,
    /// An `application/x-www-form-urlencoded` body.
    pub form: Vec<(&'static str, SecretString)>,
    /// How the request authenticates itself.
    pub authorization: Option<Credentials>,
    /// Whether it changes nothing at the network, so that it can be asked again.
    pub repeatable: bool,
}

/// An `Authorization` header.
pub enum Credentials {
    /// RFC 7617, with the client's id and secret (RFC 6749 §2.3.1).
    Basic(String, SecretString),
    /// RFC 6750 §2.1.
    Bearer(SecretString),
}

impl Request {
    fn new(purpose: &'static str, method: Method, url: Url) -> Self {
        Self { purpose, method, url, query: Vec::new(), form: Vec::new(), authorization: None, repeatable: false }
    }

    fn query(mut self, name: &'static str, value: impl Into<SecretString>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    fn form(mut self, name: &'static str, value: impl Into<SecretString>) -> Self {
        self.form.push((name, value.into()));
        self
    }

    fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    fn authorized(mut self, credentials: Credentials) -> Self {
        self.authorization = Some(credentials);
        self
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} {})", self.purpose, self.method, self.url)
    }
}

/// An answer from a network, bounded in size by the exchange.
pub struct Answer {
    /// RFC 9110 §15.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body, which may hold secrets.
    pub body: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({}, {} bytes)", self.status, self.body.len())
    }
}

impl Answer {
    /// Reads the body as JSON.
    fn read<T: DeserializeOwned>(&self, of: &'static str) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|_| Failure::Unreadable(of))
    }

    /// Reads the body as JSON if it is that, for errors that come in many shapes.
    fn read_error<T: DeserializeOwned + Default>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// An authorization request (RFC 6749 §4.1.1), with its challenge (RFC 7636 §4.3) where the network supports PKCE; the
/// networks separate scopes differently.
fn authorization_request(endpoint: Url, separator: &str, authorization: &Authorization<'_>) -> Url {
    let mut url = endpoint;
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", authorization.client_id)
        .append_pair("redirect_uri", authorization.redirect_uri)
        .append_pair("scope", &authorization.kind.scopes(authorization.token).join(separator))
        .append_pair("state", authorization.state);
    if let Some(challenge) = authorization.code_challenge {
        url.query_pairs_mut().append_pair("code_challenge", challenge).append_pair("code_challenge_method", "S256");
    }
    url
}

/// A pinned address; `path` is a constant of a network's file or made of checked parts.
fn pinned(host: &'static str, path: &str) -> Url {
    let mut url = Url::parse("https://pinned.invalid").expect("a constant URL");
    url.set_host(Some(host)).expect("a constant host");
    url.set_path(path);
    url
}
