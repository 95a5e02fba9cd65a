//! What the network sent the browser back with (RFC 6749 §4.1.2).

use std::borrow::Cow;

use secrecy::SecretString;
use shared::{
    connect::Ending,
    network::Failure,
    profile::{Kind, Network},
    secret::LinkSecret,
};

/// The answer to an authorization request.
pub(crate) struct Answer {
    /// Which flow it is for.
    pub(crate) state: LinkSecret,
    /// The code, or why there is none.
    pub(crate) outcome: Result<SecretString, Refusal>,
    /// Who says that it answered (RFC 9207 §2).
    issuer: Option<String>,
}

/// Why a network gave no code (RFC 6749 §4.1.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The person, or an administrator at the network, said no.
    Denied,
    /// The network cannot do it now.
    Unavailable,
    /// The app is not registered, configured or allowed as this request needs it: the operator's to fix.
    App,
    /// Anything else.
    Other,
}

impl Refusal {
    fn named(error: &str) -> Self {
        match error {
            "access_denied" | "user_denied" | "admin_policy_enforced" => Self::Denied,
            "temporarily_unavailable" | "server_error" => Self::Unavailable,
            // RFC 6749 §4.1.2.1, and Google's: <https://support.google.com/cloud/answer/15549257>
            "unauthorized_client"
            | "unsupported_response_type"
            | "invalid_scope"
            | "invalid_client"
            | "deleted_client"
            | "org_internal"
            | "redirect_uri_mismatch" => Self::App,
            _ => Self::Other,
        }
    }

    /// How the session ends; nothing that the network wrote is repeated.
    pub(crate) fn ending(self, kind: Kind) -> Ending {
        match self {
            Self::Denied => Ending::denied(kind),
            Self::Unavailable => Ending::from_failure(Failure::Unavailable, kind),
            Self::App => Ending::from_failure(Failure::AppRejected, kind),
            Self::Other => Ending::from_failure(Failure::Unreadable("sign-in"), kind),
        }
    }
}

impl Answer {
    /// Reads the query; `None` when a parameter that counts is missing, damaged or there twice.
    pub(crate) fn read(query: &str) -> Option<Self> {
        let only = |name: &str| {
            let mut values = url::form_urlencoded::parse(query.as_bytes()).filter(|(other, _)| other == name);
            let value = values.next().map(|(_, value)| value);
            values.next().is_none().then_some(value)
        };
        let (state, code, error, issuer) = (only("state")??, only("code")?, only("error")?, only("iss")?);
        // Facebook's dialog may report an error of its own without `error`
        // <https://github.com/jaredhanson/passport-facebook/issues/255>
        let failed = url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "error_code");
        let outcome = match (code, error) {
            (Some(code), None) => Ok(crate::bounded(&code)?),
            (None, Some(error)) => Err(Refusal::named(&error)),
            (None, None) if failed => Err(Refusal::Other),
            _ => return None,
        };
        let issuer = issuer.map(Cow::into_owned);
        Some(Self { state: LinkSecret::parse(&state)?, outcome, issuer })
    }

    /// Whether it may be an answer of `network`. Who names another issuer, or one where the network is not known to name
    /// itself, is refused (RFC 9207 §2.4): it could be another network's answer. No network here promises to name itself
    /// always.
    pub(crate) fn may_be_of(&self, network: Network) -> bool {
        self.issuer.is_none() || self.issuer.as_deref() == network.provider().issuer()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> String {
        format!("{}.{}", "a".repeat(22), "b".repeat(43))
    }

    // S9
    #[test]
    fn a_parameter_that_is_there_twice_is_refused() {
        let state = state();
        for query in [
            format!("state={state}&code=1&code=2"),
            format!("state={state}&state={state}&code=1"),
            format!("state={state}&code=1&iss=a&iss=b"),
            format!("state={state}&error=access_denied&error=x"),
            format!("state={state}&code=1&error=access_denied"),
            format!("state={state}"),
            "code=1".to_owned(),
            format!("state={state}&code="),
            format!("state={state}&code={}", "x".repeat(5000)),
            String::new(),
        ] {
            assert!(Answer::read(&query).is_none(), "{query}");
        }
        assert!(Answer::read(&format!("state={state}&code=1&iss=a")).is_some());
    }

    // S16
    #[test]
    fn an_issuer_that_is_named_is_the_networks_own_to_the_letter() {
        let names = |issuer: &str| Answer::read(&format!("state={}&code=1{issuer}", state())).unwrap();
        let google = "&iss=https%3A%2F%2Faccounts.google.com";
        for network in Network::ALL {
            assert!(names("").may_be_of(network), "{network} does not promise to name itself");
            assert_eq!(names(google).may_be_of(network), network == Network::YouTube, "{network}");
            for other in [
                "&iss=",
                "&iss=https%3A%2F%2Faccounts.google.com%2F",
                "&iss=accounts.google.com",
                "&iss=https%3A%2F%2Fevil.example",
            ] {
                assert!(!names(other).may_be_of(network), "{network}: {other}");
            }
        }
    }

    #[test]
    fn a_refusal_is_understood_and_not_repeated() {
        for (error, refusal) in [
            ("access_denied", Refusal::Denied),
            ("admin_policy_enforced", Refusal::Denied),
            ("server_error", Refusal::Unavailable),
            ("unauthorized_client", Refusal::App),
            ("invalid_scope", Refusal::App),
            ("org_internal", Refusal::App),
            ("deleted_client", Refusal::App),
            ("<script>", Refusal::Other),
        ] {
            let answer = Answer::read(&format!("state={}&error={error}&error_description=<b>", state())).unwrap();
            assert_eq!(answer.outcome.err(), Some(refusal));
            assert!(!refusal.ending(Kind::XProfile).detail.contains('<'));
        }
        let facebook = format!("state={}&error_code=1349003&error_message=%3Cscript%3E#_=_", state());
        assert_eq!(Answer::read(&facebook).unwrap().outcome.err(), Some(Refusal::Other));
    }
}
