//! Stand-ins for the networks' OAuth and for an OIDC issuer, on one loopback port.
//!
//! The hosts of the real world are the first segment of the path: `/api.x.com/2/oauth2/token`
//! answers as `https://api.x.com/2/oauth2/token` does, quirks included, as far as an app that
//! connects accounts can tell. Nothing here was compared with the live services; it follows their
//! documentation and what others saw of them.
//!
//! Invariant: a code or token is kept as its SHA-256 only, so that nothing that is saved could be
//! presented again. What was minted or received in the clear is remembered in memory alone, for
//! tests that search logs and answers for it ([`Networks::secrets_seen`]).

mod consent;
mod crowd;
mod facebook;
mod fields;
mod grants;
mod instagram;
mod meta;
mod told;
mod x;
mod youtube;

use std::{fmt, io, sync::Arc};

use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, request::Parts};
use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use shared::clock::Clock;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    data::{DataDir, Saved},
    faults::{self, Call, Faults, Faulty},
    issuer::Issuer,
};
pub use crowd::{Credentials, NoConsent};
pub use told::Message;

use grants::{Book, Desk, Ending, RotatedSecrets, SecretsSeen};

/// A network that the sandbox plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// X, formerly Twitter.
    X,
    /// Facebook.
    Facebook,
    /// Instagram, by its own login.
    Instagram,
    /// YouTube, by Google's login.
    Youtube,
}

impl Network {
    /// Every network of the sandbox.
    pub const ALL: [Self; 4] = [Self::X, Self::Facebook, Self::Instagram, Self::Youtube];

    /// As it stands in paths and targets.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::X => "x",
            Self::Facebook => "facebook",
            Self::Instagram => "instagram",
            Self::Youtube => "youtube",
        }
    }

    /// As people write it.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::X => "X",
            Self::Facebook => "Facebook",
            Self::Instagram => "Instagram",
            Self::Youtube => "YouTube",
        }
    }

    /// The people and brands that have an account there.
    #[must_use]
    pub fn accounts(self) -> &'static [Account] {
        match self {
            Self::X => x::ACCOUNTS,
            Self::Facebook => facebook::ACCOUNTS,
            Self::Instagram => instagram::ACCOUNTS,
            Self::Youtube => youtube::ACCOUNTS,
        }
    }

    fn account_names(self) -> String {
        list(self.accounts().iter().map(|account| account.name))
    }

    /// The names of what can happen to an account there.
    pub fn events(self) -> impl Iterator<Item = &'static str> {
        Event::ALL.into_iter().filter(move |event| event.happens_at(self)).map(Event::name)
    }

    fn account(self, name: &str) -> Option<&'static Account> {
        self.accounts().iter().find(|account| account.name == name)
    }
}

/// An account at a network, able to sign in and to consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Account {
    /// The login, and the choice on the consent page.
    pub name: &'static str,
    /// The network's own id of its login; at Google several channels may have one.
    pub id: &'static str,
    /// What the network displays.
    pub title: &'static str,
}

/// An OAuth app as it was registered with a network.
#[derive(Clone, Debug)]
pub struct App {
    /// Where it is registered.
    pub network: Network,
    /// Its public id.
    pub client_id: String,
    /// What it authenticates with.
    pub client_secret: SecretString,
    /// What the network signs its webhooks with, where that is another secret (X).
    pub consumer_secret: Option<SecretString>,
    /// The only address to which the network sends a browser back.
    pub redirect_uri: String,
    /// Not published yet: what is granted to it ends after seven days (Google).
    pub in_testing: bool,
}

/// What the networks are started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where grants and the issuer's keys are kept.
    pub dir: DataDir,
    /// Decides what has expired.
    pub clock: Clock,
    /// Faults to come, and the calls seen.
    pub faults: Faults,
    /// The apps that are registered.
    pub apps: Vec<App>,
    /// Where the console is, which is registered with the issuer.
    pub console: String,
}

/// One consent, as the network's own settings page would list it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GrantView {
    /// False once it was revoked by anybody, or died of a new password or a replayed token.
    pub live: bool,
    /// The app it was given to.
    pub client_id: String,
    /// What was granted, which may be less than what was asked for.
    pub scopes: Vec<String>,
}

/// No app with that client id is registered with that network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{network} has no app {client_id:?} here")]
pub struct UnknownApp {
    /// Where it was looked for.
    pub network: String,
    /// What was looked for.
    pub client_id: String,
}

/// An event was told to an account, and something of it does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownEvent {
    /// No such network.
    #[error("there is no network {0:?} here, only {known}", known = list(Network::ALL.map(Network::name)))]
    Network(String),
    /// No such account at that network.
    #[error("{} has no account {account:?} here, only {}", .network.title(), .network.account_names())]
    Account {
        /// Where it was looked for.
        network: Network,
        /// What was looked for.
        account: String,
    },
    /// Nothing that can happen to an account there.
    #[error("there is no event {event:?} here, only {}", list(.network.events()))]
    Event {
        /// Where the account is.
        network: Network,
        /// What was told.
        event: String,
    },
    /// The event is about a Page, and the account has no role on that one.
    #[error("{event} needs a Page on which {account} has a role: {}", list(facebook::administered_by(account)))]
    Page {
        /// Whose Pages were looked through.
        account: &'static str,
        /// What was told.
        event: &'static str,
    },
    /// The event is about no Page.
    #[error("{0} is about no Page")]
    NoPage(&'static str),
}

fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().collect::<Vec<_>>().join(", ")
}

/// What happens to an account without the app's doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// The person removes the app in the network's settings.
    Revoke,
    /// The same, and the network tells the app.
    Deauthorize,
    /// The person removes the app and asks for their data to be deleted; the network tells the app (Meta).
    DataDeletion,
    /// The network closes the account and tells the app (Google).
    AccountDisabled,
    /// The person sets a new password. What X does then is not documented; here every grant ends,
    /// as at Facebook. At Google nothing ends.
    PasswordChanged,
    /// The network wants the person to sign in and settle something first.
    Checkpoint,
    /// The checkpoint is settled, roles are given back, the app is published. What ended stays ended.
    Restore,
    /// The access tokens, or those for one Page, end before their time.
    Expired,
    /// The person was away for so long that the app may not see their data any more.
    DataAccessExpired,
    /// The person is taken off a Page.
    RoleLost,
    /// From now on apps count as not published for this person.
    AppInTesting,
}

impl Event {
    const ALL: [Self; 11] = [
        Self::Revoke,
        Self::Deauthorize,
        Self::DataDeletion,
        Self::AccountDisabled,
        Self::PasswordChanged,
        Self::Checkpoint,
        Self::Restore,
        Self::Expired,
        Self::DataAccessExpired,
        Self::RoleLost,
        Self::AppInTesting,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Revoke => "revoke",
            Self::Deauthorize => "deauthorize",
            Self::DataDeletion => "data_deletion",
            Self::AccountDisabled => "account_disabled",
            Self::PasswordChanged => "password_changed",
            Self::Checkpoint => "checkpoint",
            Self::Restore => "restore",
            Self::Expired => "expired",
            Self::DataAccessExpired => "data_access_expired",
            Self::RoleLost => "role_lost",
            Self::AppInTesting => "app_in_testing",
        }
    }

    fn happens_at(self, network: Network) -> bool {
        match self {
            Self::DataAccessExpired | Self::RoleLost => network == Network::Facebook,
            Self::DataDeletion => matches!(network, Network::Facebook | Network::Instagram),
            Self::AppInTesting | Self::AccountDisabled => network == Network::Youtube,
            Self::Revoke
            | Self::Deauthorize
            | Self::PasswordChanged
            | Self::Checkpoint
            | Self::Restore
            | Self::Expired => true,
        }
    }

    /// The Page that it is about, if the account has a role there.
    fn page<'a>(self, account: &'static Account, page: Option<&'a str>) -> Result<Option<&'a str>, UnknownEvent> {
        let known = |page: &str| facebook::administered_by(account.name).any(|own| own == page);
        match (self, page) {
            (Self::RoleLost | Self::Expired, Some(page)) if known(page) => Ok(Some(page)),
            (Self::RoleLost, _) | (Self::Expired, Some(_)) => {
                Err(UnknownEvent::Page { account: account.name, event: self.name() })
            }
            (_, Some(_)) => Err(UnknownEvent::NoPage(self.name())),
            (_, None) => Ok(None),
        }
    }
}

/// The networks and the issuer, at work until dropped.
pub struct Networks {
    desk: Desk,
    issuer: Issuer,
    serving: JoinHandle<()>,
}

impl Networks {
    /// Serves every network and the issuer on `listener`.
    ///
    /// # Errors
    /// When what was saved cannot be read, or the listener has no address.
    pub fn start(listener: TcpListener, options: Options) -> io::Result<Self> {
        let Options { dir, clock, faults, apps, console } = options;
        let desk = Desk {
            book: Saved::open(&dir, "networks.json", Book::default)?,
            apps: Arc::from(apps),
            rotated: RotatedSecrets::default(),
            clock: clock.clone(),
            secrets: SecretsSeen::default(),
        };
        desk.see_client_secrets();
        let issuer = Issuer::open(&dir, format!("http://{}/issuer", listener.local_addr()?), console, clock.clone())?;
        let networks = x::routes().merge(facebook::routes()).merge(instagram::routes()).merge(youtube::routes());
        let router = networks.with_state(desk.clone()).merge(told::routes(&issuer)).merge(issuer.routes());
        let serving = tokio::spawn(faults::serve(listener, router, Faulty { faults, name, clock, throttled }));
        Ok(Self { desk, issuer, serving })
    }

    /// The issuer that people and workers of the sandbox sign in with.
    #[must_use]
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// Lets something happen to an account: `revoke`, `password_changed`, `checkpoint`, `restore`, `expired`, and what
    /// else happens at that network alone.
    ///
    /// # Errors
    /// When the network, the account or the event does not exist; the error lists those that do.
    pub fn event(&self, network: &str, account: &str, event: &str) -> Result<(), UnknownEvent> {
        self.event_at(network, account, event, None)
    }

    /// Lets something happen to an account that is about a Page: `role_lost` always is, `expired` may be.
    ///
    /// # Errors
    /// As for [`Self::event`], and when the account has no role on the Page, or the event is not about one.
    pub fn event_at(&self, network: &str, account: &str, event: &str, page: Option<&str>) -> Result<(), UnknownEvent> {
        let (network, account) = find(network, account)?;
        let event = find_event(network, event)?;
        let page = event.page(account, page)?;
        let (id, now) = (account.id, self.desk.now());
        self.desk.book.change(|book| match event {
            Event::Revoke | Event::Deauthorize | Event::DataDeletion | Event::AccountDisabled => {
                book.end_all(network, id, None, Ending::Removed);
            }
            Event::PasswordChanged if network == Network::Youtube => {}
            Event::PasswordChanged => book.end_all(network, id, None, Ending::PasswordChanged),
            Event::Checkpoint => book.hold(network, id),
            Event::Restore => book.restore(network, id),
            Event::Expired => book.expire(network, id, page, now),
            Event::DataAccessExpired => book.close_data(network, id, now),
            Event::RoleLost => page.into_iter().for_each(|page| book.lose_role(id, page)),
            Event::AppInTesting => book.test(network, id),
        });
        Ok(())
    }

    /// What the network tells the apps that `account` ever let in, when this happens to it: nothing, of most that can.
    ///
    /// # Errors
    /// When the network, the account or the event does not exist.
    pub fn messages(&self, network: &str, account: &str, event: &str) -> Result<Vec<Message>, UnknownEvent> {
        let (network, account) = find(network, account)?;
        let event = find_event(network, event)?;
        Ok(told::messages(&self.desk, &self.issuer, network, account, event))
    }

    /// Replaces the secret of an app, as its developer does in the network's own console: whoever presents the old
    /// one is refused. A restart brings the old one back.
    ///
    /// # Errors
    /// When the network or the app does not exist.
    pub fn rotate_app_secret(&self, network: &str, client_id: &str, new: SecretString) -> Result<(), UnknownApp> {
        let known = Network::ALL.into_iter().find(|known| known.name() == network);
        let rotated = known.is_some_and(|network| self.desk.rotate(network, client_id, new));
        rotated.then_some(()).ok_or_else(|| UnknownApp { network: network.to_owned(), client_id: client_id.to_owned() })
    }

    /// Every consent that `account` ever gave, oldest first; nothing for an account that does not exist.
    #[must_use]
    pub fn grants(&self, network: &str, account: &str) -> Vec<GrantView> {
        let Ok((network, account)) = find(network, account) else { return Vec::new() };
        self.desk.book.read(|book| book.grants_of(network, account.name).map(GrantView::from).collect())
    }

    /// Every code, token, verifier and client secret that was minted or received since the start,
    /// in the clear: what must not be found in any log, page, mail or row.
    #[must_use]
    pub fn secrets_seen(&self) -> Vec<String> {
        self.desk.secrets.all()
    }
}

impl Drop for Networks {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl fmt::Debug for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Networks").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

fn find(network: &str, account: &str) -> Result<(Network, &'static Account), UnknownEvent> {
    let network = Network::ALL
        .into_iter()
        .find(|known| known.name() == network)
        .ok_or_else(|| UnknownEvent::Network(network.to_owned()))?;
    let known =
        network.account(account).ok_or_else(|| UnknownEvent::Account { network, account: account.to_owned() })?;
    Ok((network, known))
}

fn find_event(network: Network, event: &str) -> Result<Event, UnknownEvent> {
    let known = |known: &Event| known.name() == event && known.happens_at(network);
    Event::ALL.into_iter().find(known).ok_or_else(|| UnknownEvent::Event { network, event: event.to_owned() })
}

fn name(parts: &Parts, body: &[u8]) -> Option<Call> {
    let path = parts.uri.path().trim_start_matches('/');
    let (host, path) = path.split_once('/')?;
    let target = match host {
        "x.com" | "api.x.com" => x::target(path)?,
        "www.facebook.com" | "graph.facebook.com" => {
            facebook::target(path, parts.uri.query().unwrap_or_default(), body)?
        }
        "www.instagram.com" | "api.instagram.com" | "graph.instagram.com" => instagram::target(path)?,
        "accounts.google.com" | "oauth2.googleapis.com" | "www.googleapis.com" => youtube::target(path)?,
        "issuer" => Issuer::target(path)?,
        _ => return None,
    };
    Some(Call::to(target))
}

fn throttled(call: &Call, now: Timestamp) -> Response {
    match call.target.split('/').next() {
        Some("x") => x::throttled(now),
        Some("facebook") => facebook::throttled(&call.target),
        Some("instagram") => instagram::throttled(&call.target),
        Some("youtube") => youtube::throttled(&call.target),
        _ => StatusCode::TOO_MANY_REQUESTS.into_response(),
    }
}
