//! X's webhook: the challenge that proves that an app listens here, and the event that a person revoked the app.
//!
//! Both are HMAC-SHA256 with the app's consumer secret, a challenge over whatever the caller asks for. So that nobody can
//! have an event of their own making signed by way of a challenge, only what can be no event is answered: a challenge
//! has no brace.
//! Sources: <https://docs.x.com/x-api/webhooks/introduction>, <https://docs.x.com/x-api/activity/introduction>. X does
//! not document the time of a revocation in its newer event; where there is none, it happened when it was first told.

use aws_lc_rs::{digest, hmac};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::Deserialize;

use super::{AccountEvent, Distrust, Fate, key, past, signer};
use crate::{apps::App, profile::is_account_id, secret::SecretHash, token::Reason};

/// A challenge is no longer.
const LONGEST_CHALLENGE: usize = 256;

/// What an app answers to a challenge (`crc_token`); `None` where it is none.
#[must_use]
pub fn response_token(app: &App, crc_token: &str) -> Option<String> {
    let harmless = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/' | b'=' | b'-' | b'_' | b'.');
    let challenge = (1..=LONGEST_CHALLENGE).contains(&crc_token.len()) && crc_token.bytes().all(harmless);
    let signed = || hmac::sign(&key(app.event_secret()), crc_token.as_bytes());
    challenge.then(|| format!("sha256={}", STANDARD.encode(signed())))
}

/// A message to the webhook, once its signature holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notified {
    /// Names this very message.
    pub id: SecretHash,
    /// What it says, where that is a revocation.
    pub event: Option<AccountEvent>,
}

/// The two forms in which X tells: the Activity API's, and that of the Account Activity API before it.
#[derive(Deserialize)]
struct Body {
    data: Option<Activity>,
    user_event: Option<UserEvent>,
}

#[derive(Deserialize)]
struct Activity {
    event_type: String,
    filter: Option<User>,
    created_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct UserEvent {
    revoke: Option<Revoke>,
}

#[derive(Deserialize)]
struct Revoke {
    date_time: Option<Timestamp>,
    source: User,
}

#[derive(Deserialize)]
struct User {
    user_id: String,
}

impl Notified {
    /// Reads a message with its header `x-twitter-webhooks-signature`.
    ///
    /// # Errors
    /// Why it is not taken for X's.
    pub fn read(apps: &[App], signature: &str, body: &[u8], now: Timestamp) -> Result<Self, Distrust> {
        let signature = signature.strip_prefix("sha256=").ok_or(Distrust::Algorithm)?;
        let signature = STANDARD.decode(signature).map_err(|_| Distrust::Malformed)?;
        let app = signer(apps, App::event_secret, body, &signature)?;
        let id = SecretHash::from_digest(&digest::digest(&digest::SHA256, body));
        let told: Body = serde_json::from_slice(body).map_err(|_| Distrust::Malformed)?;
        let (login, at) = match told {
            Body { data: Some(Activity { event_type, filter: Some(user), created_at }), .. }
                if event_type == "oauth.revoke" =>
            {
                (user.user_id, created_at)
            }
            Body { user_event: Some(UserEvent { revoke: Some(Revoke { date_time, source }) }), .. } => {
                (source.user_id, date_time)
            }
            Body { .. } => return Ok(Self { id, event: None }),
        };
        if !is_account_id(&login) {
            return Err(Distrust::Malformed);
        }
        let at = past(at.unwrap_or(now).as_second(), now)?;
        let (network, app) = (app.network, app.client_id.clone());
        let fate = Fate::Dead { reason: Reason::RevokedByUser };
        Ok(Self { id, event: Some(AccountEvent { network, app, login, at, fate }) })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::app, *};
    use crate::profile::Network;

    const NOW: Timestamp = Timestamp::constant(1_795_600_000, 0);
    const REVOKED: &str = r#"{"data":{"filter":{"user_id":"42"},"event_type":"oauth.revoke"}}"#;
    const REVOKED_BEFORE: &str = concat!(
        r#"{"user_event":{"revoke":{"date_time":"2026-11-25T08:26:30+00:00","target":{"app_id":"13090192"},"#,
        r#""source":{"user_id":"42"}}}}"#
    );

    fn apps() -> [App; 2] {
        let of_oauth = app(Network::X, "first", "client-secret");
        [app(Network::X, "zeroth", "x-secret"), App { consumer_secret: Some("consumer-secret".into()), ..of_oauth }]
    }

    fn signed(secret: &str, body: &str) -> String {
        format!("sha256={}", STANDARD.encode(hmac::sign(&key(&secret.into()), body.as_bytes())))
    }

    // S69
    #[test]
    fn a_revocation_is_read_as_the_app_whose_consumer_secret_signed_it() {
        // made with Python's hmac, key `consumer-secret`
        let vector = "sha256=gSkM7hRp+0Vnvdvh0vtBPEq7OIxnQGVytLiqcnlLrmo=";
        let event = |app: &str, at| AccountEvent {
            network: Network::X,
            app: app.into(),
            login: "42".into(),
            at,
            fate: Fate::Dead { reason: Reason::RevokedByUser },
        };
        let read =
            |signature: &str, body: &str| Notified::read(&apps(), signature, body.as_bytes(), NOW).unwrap().event;
        assert_eq!(read(vector, REVOKED), Some(event("first", NOW)));
        let before = Timestamp::constant(1_795_595_190, 0);
        assert_eq!(read(&signed("x-secret", REVOKED_BEFORE), REVOKED_BEFORE), Some(event("zeroth", before)));
        let other = REVOKED.replace("oauth.revoke", "profile.update.bio");
        assert_eq!(read(&signed("consumer-secret", &other), &other), None);
    }

    // S69
    #[test]
    fn whatever_x_did_not_sign_is_refused() {
        let good = signed("consumer-secret", REVOKED);
        for (signature, body, refusal) in [
            (String::new(), REVOKED, Distrust::Algorithm),
            (good.replace("sha256", "sha1"), REVOKED, Distrust::Algorithm),
            (good.replace("sha256=", "sha256=!"), REVOKED, Distrust::Malformed),
            (good[..20].to_owned(), REVOKED, Distrust::Malformed),
            ("sha256=".into(), REVOKED, Distrust::Signature),
            (good.clone(), &REVOKED.replace("42", "43"), Distrust::Signature),
            (good.clone(), &REVOKED[..REVOKED.len() - 1], Distrust::Signature),
            (signed("client-secret", REVOKED), REVOKED, Distrust::Signature),
            (signed("consumer-secret", "[]"), "[]", Distrust::Malformed),
            (signed("consumer-secret", "42"), "42", Distrust::Malformed),
        ] {
            let read = Notified::read(&apps(), &signature, body.as_bytes(), NOW);
            assert_eq!(read.err(), Some(refusal), "{signature} {body}");
        }
        let late = REVOKED_BEFORE.replace("08:26:30", "09:47:41");
        let read = Notified::read(&apps(), &signed("x-secret", &late), late.as_bytes(), NOW);
        assert_eq!(read.err(), Some(Distrust::Future));
    }

    // S69
    #[test]
    fn a_challenge_is_answered_and_nothing_that_could_be_an_event() {
        // made with Python's hmac
        assert_eq!(
            response_token(&apps()[1], "challenge_string").unwrap(),
            "sha256=S/mG8E9n5SjoGuCqHguvP8K8uuu5ogCPF0dOpIdyZlk="
        );
        let endless = "x".repeat(257);
        for none in ["", REVOKED, "{}", "{", "[]", "\"x\"", "a b", "ä", &endless] {
            assert_eq!(response_token(&apps()[1], none), None, "{none}");
        }
    }
}
