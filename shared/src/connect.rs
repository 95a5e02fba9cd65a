//! A connect session: one sign-in at a network, from the link to the profile.
//!
//! The steps are drawn in [`Status`]: nothing skips one and none is taken twice, because each is
//! one conditional write on the row (see [`crate::store`]). The browser that started it, the
//! user who began it and the network that answers must all be the ones in the row. Until it is
//! completed the grant is *unattached*: sealed, expiring, and belonging to nobody.

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    access::{Subject, TenantId},
    network::{Account, Candidate, Failure, Hindrance, Terms},
    profile::{Kind, Network, ProfileId, TokenKind},
    secret::{SecretHash, SessionId},
};

/// How long each step of a connect session may take.
pub const STEP_LIMIT: SignedDuration = SignedDuration::from_mins(10);

/// How far a connect session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Its link was not opened yet.
    Pending,
    /// The browser is at the network.
    Started,
    /// The browser came back; the code is being exchanged.
    Redeeming,
    /// The grant is kept, unattached, until the session is completed.
    Authorized,
    /// Profile and token exist.
    Completed,
    /// It ended without a token; `error` says why.
    Failed,
}

/// Why a connect session ended without a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ending {
    /// Stable, for programs.
    pub code: EndingCode,
    /// What happened and what to do next, for people.
    pub detail: String,
}

/// The stable codes of a connect session that ended without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndingCode {
    /// The person, or an administrator at the network, said no.
    AccessDenied,
    /// The person signed in with another account than the profile's.
    ForeignAccount,
    /// The network did not take its code back.
    CodeRejected,
    /// The network gave no refresh token.
    MissingRefreshToken,
    /// The app is limited at the network.
    RateLimited,
    /// The network could not be reached or did not answer.
    NetworkUnavailable,
    /// The network does not accept the app's own credentials.
    AppRejected,
    /// The person did not grant what it takes to see whose account it is.
    PermissionMissing,
    /// The person who signed in has no account of this kind.
    NoAccount,
    /// Somebody else than the network answered.
    WrongIssuer,
    /// The network refused for another reason, or its answer made no sense.
    NetworkRefused,
    /// A part of the product was down.
    Unavailable,
    /// Its time was over.
    SessionExpired,
}

impl EndingCode {
    /// The name in URLs and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccessDenied => "access_denied",
            Self::ForeignAccount => "foreign_account",
            Self::CodeRejected => "code_rejected",
            Self::MissingRefreshToken => "missing_refresh_token",
            Self::RateLimited => "rate_limited",
            Self::NetworkUnavailable => "network_unavailable",
            Self::AppRejected => "app_rejected",
            Self::PermissionMissing => "permission_missing",
            Self::NoAccount => "no_account",
            Self::WrongIssuer => "wrong_issuer",
            Self::NetworkRefused => "network_refused",
            Self::Unavailable => "unavailable",
            Self::SessionExpired => "session_expired",
        }
    }
}

impl Ending {
    /// The person said no.
    #[must_use]
    pub fn denied(kind: Kind) -> Self {
        let network = kind.network().title();
        Self::new(
            EndingCode::AccessDenied,
            format!(
                "{network} says that access was not granted, so nothing was connected. Start again and approve it."
            ),
        )
    }

    /// The account signed in is not the profile's.
    #[must_use]
    pub fn foreign_account(signed_in: &Account, kind: Kind, wanted: &str, wanted_id: &str) -> Self {
        Self::new(
            EndingCode::ForeignAccount,
            format!(
                "You signed in at {network} as {name} ({id}), and this profile is {wanted} ({wanted_id}). Nothing was \
                 changed. Sign out at {network}, start again, and sign in as {wanted}.",
                network = kind.network().title(),
                name = signed_in.name,
                id = signed_in.external_id,
            ),
        )
    }

    /// The answer names another issuer than the network.
    #[must_use]
    pub fn wrong_issuer(kind: Kind) -> Self {
        let network = kind.network().title();
        Self::new(
            EndingCode::WrongIssuer,
            format!("The answer to the sign-in did not come from {network}. Nothing was connected. Start again."),
        )
    }

    /// Whoever signed in does not administer the profile, or did not share it.
    fn not_offered(wanted: &Wanted, signed_in: &Account) -> Self {
        let kind = wanted.profile.kind();
        Self::new(
            EndingCode::ForeignAccount,
            format!(
                "You signed in at {network} as {name} ({id}), and the {kind} {wanted} ({wanted_id}) was not among those that \
                 you administer and shared. Nothing was changed. Start again, sign in as somebody who administers it, and \
                 share it.",
                network = kind.network().title(),
                name = signed_in.name,
                id = signed_in.external_id,
                kind = kind.title(),
                wanted = wanted.name,
                wanted_id = wanted.profile.external_id(),
            ),
        )
    }

    /// Whoever signed in may not do with the profile what a token is for.
    fn hindered(hindrance: Hindrance, wanted: &Wanted, signed_in: &Account) -> Self {
        let Hindrance::RoleMissing = hindrance;
        Self::new(
            EndingCode::PermissionMissing,
            format!(
                "You signed in as {}, whose role on {} allows nothing that a token is used for. Nothing was changed. Have a \
                 fuller role given to you, or let somebody sign in who has one.",
                signed_in.name, wanted.name
            ),
        )
    }

    /// What the network's answer means for the person who signs in.
    #[must_use]
    pub fn from_failure(failure: Failure, kind: Kind) -> Self {
        let network = kind.network().title();
        let (code, detail) = match failure {
            Failure::CodeRejected => (
                EndingCode::CodeRejected,
                format!("{network} did not accept its own sign-in code: it was too old or used already. Start again."),
            ),
            Failure::NoRefreshToken => (
                EndingCode::MissingRefreshToken,
                format!(
                    "{network} gave no refresh token, so the connection would have died within hours. Nothing was \
                     connected. Start again and grant everything that is asked for."
                ),
            ),
            Failure::Limited(limit) => (
                EndingCode::RateLimited,
                format!(
                    "{network} limits the app for now. Nothing was connected. Come back in about {} minutes.",
                    limit.seconds.div_ceil(60)
                ),
            ),
            Failure::Unavailable | Failure::Unanswered => (
                EndingCode::NetworkUnavailable,
                format!("{network} did not answer in time. Nothing was connected. Try again in a few minutes."),
            ),
            Failure::AppRejected => (
                EndingCode::AppRejected,
                format!(
                    "{network} did not accept the app's own credentials. Tell your operator; this is not your fault."
                ),
            ),
            Failure::Forbidden => (
                EndingCode::PermissionMissing,
                format!(
                    "{network} was not allowed to tell whose account it is. Nothing was connected. Start again and grant \
                     everything that is asked for."
                ),
            ),
            Failure::NoAccount => (
                EndingCode::NoAccount,
                format!(
                    "Whoever signed in at {network} has no {} there. Nothing was connected. Start again and sign in with \
                     an account that has one.",
                    kind.title()
                ),
            ),
            Failure::Dead(_) | Failure::Unreadable(_) => (
                EndingCode::NetworkRefused,
                format!("{network} did not confirm the sign-in. Nothing was connected. Start again."),
            ),
        };
        Self::new(code, detail)
    }

    /// A part of the product was down.
    #[must_use]
    pub fn unavailable() -> Self {
        Self::new(
            EndingCode::Unavailable,
            "Tokenward could not keep the connection just now. Nothing was connected. Try again in a few minutes."
                .to_owned(),
        )
    }

    /// The session's time was over.
    #[must_use]
    pub fn expired() -> Self {
        Self::new(EndingCode::SessionExpired, "The sign-in took longer than ten minutes. Start again.".to_owned())
    }

    fn new(code: EndingCode, detail: String) -> Self {
        Self { code, detail }
    }
}

/// A connect session, without its sealed secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectSession {
    /// Its id.
    pub id: SessionId,
    /// Whose organisation began it.
    pub tenant: TenantId,
    /// Who began it, and alone can complete it.
    pub subject: Subject,
    /// What is connected.
    pub kind: Kind,
    /// Which token is asked for.
    pub token: TokenKind,
    /// The profile that must be reauthenticated, and its name; `None` connects any account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<Wanted>,
    /// One of the operator's return addresses.
    pub return_url: String,
    /// How far it has come.
    pub status: Status,
    /// When the present step must be over.
    pub expires_at: Timestamp,
    /// The hash of the link's ticket.
    pub ticket: SecretHash,
    /// The hash of `state` (RFC 6749 §10.12).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth_state: Option<SecretHash>,
    /// The hash of the cookie that binds it to a browser.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub browser: Option<SecretHash>,
    /// The `redirect_uri` that the network was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_uri: Option<String>,
    /// The `client_id` of the app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// The hash of the completion code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion: Option<SecretHash>,
    /// Who signed in, and what the network granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted: Option<Granted>,
    /// Why it ended without a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
}

/// The profile that a session is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// The profile.
    pub profile: ProfileId,
    /// Its name, to name it on the page that refuses another account.
    pub name: String,
}

/// Who signed in, and what the network granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// The account.
    pub account: Account,
    /// The terms.
    pub terms: Terms,
    /// The profiles to choose from, where the kind [is chosen](Kind::is_chosen).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
}

impl ConnectSession {
    /// Whether its present step is over by our clock, whatever the table's TTL does.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at <= now
    }

    /// When the person signed in at the network, of a session that waits to be completed.
    #[must_use]
    pub fn signed_in_at(&self) -> Timestamp {
        self.expires_at - STEP_LIMIT
    }

    /// Why what was granted cannot be used for this session, if so.
    #[must_use]
    pub fn refuses(&self, granted: &Granted) -> Option<Ending> {
        let Granted { account, candidates, .. } = granted;
        let Some(wanted) = &self.wanted else {
            let nothing = self.kind.is_chosen() && candidates.is_empty();
            return nothing.then(|| Ending::from_failure(Failure::NoAccount, self.kind));
        };
        if !self.kind.is_chosen() {
            return (wanted.profile.external_id() != account.external_id)
                .then(|| Ending::foreign_account(account, self.kind, &wanted.name, wanted.profile.external_id()));
        }
        match candidates.iter().find(|candidate| candidate.profile == wanted.profile) {
            Some(candidate) => candidate.hindrance.map(|hindrance| Ending::hindered(hindrance, wanted, account)),
            None => Some(Ending::not_offered(wanted, account)),
        }
    }

    /// The return address with what came of it.
    #[must_use]
    pub fn return_to(&self, outcome: &Outcome) -> String {
        let separator = if self.return_url.contains('?') { '&' } else { '?' };
        let (name, value) = match outcome {
            Outcome::CompletionCode(code) => ("completion_code", code.expose_secret()),
            Outcome::Error(code) => ("error", code.as_str()),
        };
        format!("{}{separator}connect_session={}&{name}={value}", self.return_url, self.id)
    }
}

/// Where a network sends browsers back to: its own for every network, and made of what the operator
/// set, never of a header.
#[must_use]
pub fn redirect_uri(public_url: &str, network: Network) -> String {
    format!("{public_url}/oauth/callback/{network}")
}

/// What the browser brings back to the return address.
pub enum Outcome {
    /// The session can be completed with it.
    CompletionCode(SecretString),
    /// The session ended.
    Error(EndingCode),
}

/// The return addresses that the operator registered, compared exactly.
#[derive(Clone, Debug)]
pub struct ReturnUrls(Vec<String>);

/// A return address that cannot be registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} cannot be a return address: it must be https (http on localhost alone), without user, fragment or white space"
)]
pub struct BadReturnUrl(String);

impl ReturnUrls {
    /// Reads a comma-separated list.
    ///
    /// # Errors
    /// When one of them is not an absolute `https` URL (`http` on `localhost` and loopback
    /// addresses) that is written as a browser would write it.
    pub fn parse(list: &str) -> Result<Self, BadReturnUrl> {
        let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let checked = entries
            .map(|entry| if registrable(entry) { Ok(entry.to_owned()) } else { Err(BadReturnUrl(entry.to_owned())) });
        Ok(Self(checked.collect::<Result<_, _>>()?))
    }

    /// Whether `url` is one of them, to the letter.
    #[must_use]
    pub fn contains(&self, url: &str) -> bool {
        self.0.iter().any(|registered| registered == url)
    }
}

fn registrable(text: &str) -> bool {
    let Ok(url) = url::Url::parse(text) else { return false };
    let local = match url.host() {
        Some(url::Host::Domain(domain)) => domain == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let secure = url.scheme() == "https" || (url.scheme() == "http" && local);
    // a URL that is not in its normal form could be read differently by somebody else
    secure && url.as_str() == text && url.username().is_empty() && url.password().is_none() && url.fragment().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn urls() -> ReturnUrls {
        ReturnUrls::parse("https://app.example/done, http://localhost:8787/console").unwrap()
    }

    // S20
    #[test]
    fn only_a_registered_return_address_is_accepted_and_to_the_letter() {
        assert!(urls().contains("https://app.example/done"));
        for other in [
            "https://app.example/done/",
            "https://app.example/done?x=1",
            "https://app.example/done#x",
            "https://app.example//done",
            "https://app.example/done\r\nLocation: https://evil.example",
            "https://app.example\\@evil.example/done",
            "https://app.example@evil.example/done",
            "//app.example/done",
            "HTTPS://app.example/done",
            "http://app.example/done",
            "",
        ] {
            assert!(!urls().contains(other), "{other:?}");
        }
    }

    // S20
    #[test]
    fn an_operator_cannot_register_an_ambiguous_or_insecure_address() {
        for bad in [
            "http://app.example/",
            "http://localhost.evil.example/",
            "https://app.example",
            "https://user@app.example/",
            "https://app.example/#x",
            "https://app.example\\evil/",
            "https://APP.example/",
            "javascript:alert(1)",
            "/console",
        ] {
            assert!(ReturnUrls::parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        // S20
        #[test]
        fn no_variation_of_a_registered_address_is_accepted(
            at in 0..24_usize,
            insert in prop::sample::select(vec!["//", "\\", "@", "\r\n", "%0d%0a", "..", "?", "#", "evil.example", "\u{202e}", "\t"]),
        ) {
            let mut varied = "https://app.example/done".to_owned();
            varied.insert_str(at, insert);
            prop_assert!(!urls().contains(&varied));
        }

        // S20
        #[test]
        fn nothing_arbitrary_is_accepted(text in ".{0,60}") {
            prop_assert!(!urls().contains(&text));
        }
    }
}
