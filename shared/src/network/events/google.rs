//! Google's security events (RISC, Cross-Account Protection): a signed token (RFC 8417) that somebody's tokens or
//! account ended.
//!
//! The keys are Google's own, found where Google says. An event does not end (`exp` is not looked at), and names one
//! account by `sub`. What ends with it is told at [`SecurityEvent::verify`]; what proves nothing about a grant ends
//! nothing.
//! Source: <https://developers.google.com/identity/protocols/risc>

use std::collections::{BTreeMap, HashSet};

use http::Method;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;

use super::{
    super::{Failure, Request, Talk, pinned},
    AccountEvent, Distrust, Fate, past,
};
use crate::{
    apps::App,
    jwks::{KeySet, VerifyingKey, VerifyingKeys},
    profile::{Network, is_account_id},
    token::Reason,
};

/// As `iss` says it, but for a slash at its end.
const ISSUER: &str = "https://accounts.google.com";
/// Where an event's kind is named.
const SCHEMA: &str = "https://schemas.openid.net/secevent/";

#[derive(Deserialize)]
struct Configuration {
    issuer: String,
    jwks_uri: String,
}

/// Asks Google for the keys that it signs security events with.
#[must_use]
pub fn keys() -> Talk<VerifyingKeys> {
    let url = pinned("accounts.google.com", "/.well-known/risc-configuration");
    let request = Request::new("google risc configuration", Method::GET, url).repeatable();
    Talk::ask(request, |answer| {
        let unreadable = Failure::Unreadable("google risc configuration");
        if !answer.status.is_success() {
            return Err(unreadable);
        }
        let Configuration { issuer, jwks_uri } = answer.read("google risc configuration")?;
        if !is_google(&issuer) {
            return Err(unreadable);
        }
        // the exchange reaches it at a pinned host or not at all
        let jwks_uri = jwks_uri.parse().map_err(|_| unreadable)?;
        let request = Request::new("google risc keys", Method::GET, jwks_uri).repeatable();
        Ok(Talk::ask(request, |answer| {
            let keys = answer.read::<KeySet>("google risc keys")?.verifying_keys();
            if keys.is_empty() { Err(Failure::Unreadable("google risc keys")) } else { Ok(Talk::Done(keys)) }
        }))
    })
}

fn is_google(issuer: &str) -> bool {
    issuer.strip_suffix('/').unwrap_or(issuer) == ISSUER
}

/// A security event as it came: nothing is believed yet.
pub struct SecurityEvent<'a> {
    compact: &'a str,
    /// The key that it names.
    pub kid: String,
}

/// What a security event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Names this very event.
    pub jti: String,
    /// The kinds of events in it, for the log.
    pub kinds: Vec<String>,
    /// What ends, for each app of ours that it is about.
    pub events: Vec<AccountEvent>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    iat: i64,
    jti: String,
    events: BTreeMap<String, Event>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

#[derive(Default, Deserialize)]
struct Event {
    #[serde(default)]
    subject: Subject,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Subject {
    #[serde(rename = "subject_type")]
    form: String,
    iss: String,
    sub: String,
}

impl<'a> SecurityEvent<'a> {
    /// Takes a compact token apart.
    ///
    /// # Errors
    /// When it is none, or names an algorithm that is not Google's.
    pub fn read(compact: &'a str) -> Result<Self, Distrust> {
        let header = jsonwebtoken::decode_header(compact).map_err(|_| Distrust::Malformed)?;
        if header.alg != Algorithm::RS256 {
            return Err(Distrust::Algorithm);
        }
        if header.crit.is_some() {
            return Err(Distrust::Malformed);
        }
        Ok(Self { compact, kid: header.kid.ok_or(Distrust::Malformed)? })
    }

    /// What it says to `apps`, once the signature holds.
    ///
    /// Of the kinds of events, `tokens-revoked` proves that the grant is dead and `account-disabled` that its account
    /// has to be seen to first. `token-revoked` names a refresh token by its hash and no account, so nothing can be
    /// proven by it; `sessions-revoked` and `account-credential-change-required` end no grant, nor do
    /// `account-enabled` and `verification`.
    ///
    /// # Errors
    /// Why it is not taken for Google's, or not for ours.
    pub fn verify(&self, key: &VerifyingKey, apps: &[App], now: Timestamp) -> Result<Told, Distrust> {
        if key.algorithm != Algorithm::RS256 {
            return Err(Distrust::Algorithm);
        }
        let mut signature_only = Validation::new(Algorithm::RS256);
        signature_only.required_spec_claims = HashSet::new();
        signature_only.validate_exp = false;
        signature_only.validate_aud = false;
        // the signature first: a payload that nobody signed is not told apart from one that cannot be read
        let signed = jsonwebtoken::decode::<serde_json::Value>(self.compact, &key.key, &signature_only);
        let signed = signed.map_err(|_| Distrust::Signature)?.claims;
        let claims = Claims::deserialize(signed).map_err(|_| Distrust::Malformed)?;
        if !is_google(&claims.iss) {
            return Err(Distrust::Issuer);
        }
        let meant: Vec<&App> = apps.iter().filter(|app| claims.aud.names(&app.client_id)).collect();
        if meant.is_empty() {
            return Err(Distrust::Audience);
        }
        let at = past(claims.iat, now)?;
        if claims.jti.is_empty() {
            return Err(Distrust::Malformed);
        }
        let mut events = Vec::new();
        for (kind, Event { subject }) in &claims.events {
            let Some(fate) = fate(kind) else { continue };
            let known = matches!(&*subject.form, "iss-sub" | "iss_sub") && is_google(&subject.iss);
            if !known || !is_account_id(&subject.sub) {
                return Err(Distrust::Malformed);
            }
            events.extend(meant.iter().map(|app| AccountEvent {
                network: Network::YouTube,
                app: app.client_id.clone(),
                login: subject.sub.clone(),
                at,
                fate,
            }));
        }
        let kinds = claims.events.into_keys().map(|kind| kind.chars().take(120).collect()).collect();
        Ok(Told { jti: claims.jti, kinds, events })
    }
}

impl Audience {
    fn names(&self, client_id: &str) -> bool {
        match self {
            Self::One(one) => one == client_id,
            Self::Several(several) => several.iter().any(|one| one == client_id),
        }
    }
}

fn fate(kind: &str) -> Option<Fate> {
    let reason = match kind.strip_prefix(SCHEMA)? {
        "oauth/event-type/tokens-revoked" => Reason::RevokedByUser,
        "risc/event-type/account-disabled" => Reason::Checkpoint,
        _ => return None,
    };
    Some(Fate::Dead { reason })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::tests::app, *};

    const NOW: Timestamp = Timestamp::constant(1_795_600_000, 0);
    /// The modulus of a key that was thrown away.
    const MODULUS: &str = concat!(
        "13Uhk_EAZJ6VFFoGceViYelbXdF4Zo3bYVBZewx9_clKT3GbF29eqdeH-IYRcYLJrvHuMe4a6maZFjXhyGY4-Ej2CjKnyQiQoJ_9",
        "lR7RsZNHaGnaiI9c8DXXctzf-7wwklqGzqoz5kpTSEIRNfwVSDXPz1GoHxdypctL-0sRipQCjgH4ya1TvLMzkW-EGb6nx48F4_WF",
        "qbctS5vvGFpB_JJ1AteLNtn0rdNJq-hRPIns-bzHqYwo9fulxWfo2h2vLbD4zGsoNss6AKInKCWGav3MImrnnPN_EauSDUSP-e0q",
        "bTz-fobLKY7iJC6-MwJmJ4UaS2hqdYREJyTWHeTTdQ",
    );
    /// Signed with Python's `cryptography` by that key: of the account 100000000000000000001, at 1795599990, for `first.apps`,
    /// `second.apps` and an app of somebody else, `tokens-revoked` and `sessions-revoked`.
    const REVOKED: &str = concat!(
        "eyJhbGciOiJSUzI1NiIsImtpZCI6InJpc2MtMSIsInR5cCI6InNlY2V2ZW50K2p3dCJ9.eyJpc3MiOiJodHRwczovL2FjY291bnR",
        "zLmdvb2dsZS5jb20vIiwiYXVkIjpbImZpcnN0LmFwcHMiLCJzZWNvbmQuYXBwcyIsInNvbWVib2R5LWVsc2VzIl0sImlhdCI6MTc",
        "5NTU5OTk5MCwianRpIjoiNzU2RTY5NzE3NTY1IiwiZXZlbnRzIjp7Imh0dHBzOi8vc2NoZW1hcy5vcGVuaWQubmV0L3NlY2V2ZW5",
        "0L29hdXRoL2V2ZW50LXR5cGUvdG9rZW5zLXJldm9rZWQiOnsic3ViamVjdCI6eyJzdWJqZWN0X3R5cGUiOiJpc3Mtc3ViIiwiaXN",
        "zIjoiaHR0cHM6Ly9hY2NvdW50cy5nb29nbGUuY29tLyIsInN1YiI6IjEwMDAwMDAwMDAwMDAwMDAwMDAwMSJ9fSwiaHR0cHM6Ly9",
        "zY2hlbWFzLm9wZW5pZC5uZXQvc2VjZXZlbnQvcmlzYy9ldmVudC10eXBlL3Nlc3Npb25zLXJldm9rZWQiOnsic3ViamVjdCI6eyJ",
        "zdWJqZWN0X3R5cGUiOiJpc3Mtc3ViIiwiaXNzIjoiaHR0cHM6Ly9hY2NvdW50cy5nb29nbGUuY29tLyIsInN1YiI6IjEwMDAwMDA",
        "wMDAwMDAwMDAwMDAwMSJ9fX19.P7YJFq6U-fa8JYcQqpH8FPDf-ltNG2zhpYEHOKp-LQLyVPRr09Kkd7Iho1ZkoRGgzZL1IK29G_",
        "cJnWnvvd46bRkcpj8EFJV53NvFoCpeoWbrofs1LMnzhizhqSndL8Cl0jp8y2dcJ1X1XMLHuvpe-BDmrORK3TwCwi6oJQowNVVx0I",
        "dXAK17l8nfD1yaaXoTNu_UvdqCkA0lXaXzIo9I7A1FLQ8yjzqPZU-SogugFkj-kxk_adkTTPfltmER316-HbYJaqnWbVXa-RfG1_",
        "NmfuqrPCbamoMH7m1564AtK8ZNggB0oMzSCLhpJJ4A4_cOrmT9Y_pd2_KrtnFjcvUUQA",
    );

    fn key() -> VerifyingKey {
        let jwk = json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": "risc-1", "e": "AQAB", "n": MODULUS });
        let keys = KeySet::deserialize(json!({ "keys": [jwk] })).unwrap().verifying_keys();
        keys.into_values().next().unwrap()
    }

    fn told(token: &str, apps: &[&str], now: Timestamp) -> Result<Told, Distrust> {
        let apps: Vec<_> = apps.iter().map(|id| app(Network::YouTube, id, "secret")).collect();
        SecurityEvent::read(token)?.verify(&key(), &apps, now)
    }

    // S69
    #[test]
    fn a_security_event_ends_what_it_proves_dead_for_each_app_of_ours_that_it_names() {
        assert_eq!(SecurityEvent::read(REVOKED).map(|event| event.kid), Ok("risc-1".to_owned()));
        let event = |app: &str| AccountEvent {
            network: Network::YouTube,
            app: app.to_owned(),
            login: "100000000000000000001".to_owned(),
            at: Timestamp::constant(1_795_599_990, 0),
            fate: Fate::Dead { reason: Reason::RevokedByUser },
        };
        for (ours, expected) in [
            (&["first.apps"][..], vec![event("first.apps")]),
            (&["third.apps", "second.apps", "first.apps"], vec![event("second.apps"), event("first.apps")]),
        ] {
            let told = told(REVOKED, ours, NOW).unwrap();
            assert_eq!((told.jti.as_str(), told.kinds.len()), ("756E69717565", 2));
            assert_eq!(told.events, expected, "{ours:?}");
        }
        // an event does not end, however late it comes
        let much_later = NOW + jiff::SignedDuration::from_hours(24 * 365);
        assert!(told(REVOKED, &["first.apps"], much_later).is_ok());
    }

    // S69
    #[test]
    fn whatever_google_did_not_sign_for_us_is_refused() {
        let [header, claims, signature] = <[_; 3]>::try_from(REVOKED.split('.').collect::<Vec<_>>()).unwrap();
        let other = |part: &str| part.replacen(['A', 'a'], "b", 1);
        let (of_ours, before) = (&["first.apps"][..], Timestamp::constant(1_795_599_000, 0));
        for (token, ours, now, why) in [
            (REVOKED.to_owned(), &["third.apps"][..], NOW, Distrust::Audience),
            (REVOKED.to_owned(), &[], NOW, Distrust::Audience),
            (REVOKED.to_owned(), of_ours, before, Distrust::Future),
            (format!("{header}.{}.{signature}", other(claims)), of_ours, NOW, Distrust::Signature),
            (format!("{header}.{claims}.{}", other(signature)), of_ours, NOW, Distrust::Signature),
            (format!("{header}.{claims}."), of_ours, NOW, Distrust::Signature),
            (format!("{header}.{claims}"), of_ours, NOW, Distrust::Malformed),
            (String::new(), of_ours, NOW, Distrust::Malformed),
            (claims.to_owned(), of_ours, NOW, Distrust::Malformed),
        ] {
            assert_eq!(told(&token, ours, now), Err(why), "{token}");
        }
        let apps = [app(Network::YouTube, "first.apps", "secret")];
        let another = VerifyingKey { algorithm: Algorithm::RS384, ..key() };
        assert_eq!(SecurityEvent::read(REVOKED).unwrap().verify(&another, &apps, NOW), Err(Distrust::Algorithm));
    }
}
