//! X's webhook: the challenge that proves that an app listens here, and the event that a person revoked the app.
//!
//! Both are HMAC-SHA256 with the app's consumer secret, a challenge over whatever the caller asks for. So that nobody can
//! have an event of their own making signed by way of a challenge, only what can be no event is answered: a challenge
//! has no brace.
//!
//! A message is named by its app and its `event_uuid`, or by its app and body where it has none. Where it states no time,
//! the revocation happened when it was first received.
//! Sources: <https://docs.x.com/x-api/webhooks/introduction>, <https://docs.x.com/x-api/activity/event-payloads>.

use aws_lc_rs::{digest, hmac};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

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
    #[serde(default)]
    event_type: Value,
    #[serde(default)]
    event_uuid: Value,
    /// Empty in a revocation: the user is in the payload. Other events have other filters.
    #[serde(default)]
    filter: Value,
    #[serde(default)]
    payload: Value,
}

#[derive(Deserialize)]
struct UserEvent {
    revoke: Option<Revoke>,
}

#[derive(Deserialize)]
struct Revoke {
    #[serde(default)]
    date_time: Value,
    #[serde(default)]
    source: Value,
}

/// The id of the user in a part of a message; X writes ids as text and as numbers.
fn user_id(part: &Value) -> Option<String> {
    match &part["user_id"] {
        Value::String(id) => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
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
        let message: Body = serde_json::from_slice(body).map_err(|_| Distrust::Malformed)?;
        // sent again, an event keeps its `event_uuid`
        let unique = message.data.as_ref().and_then(|activity| activity.event_uuid.as_str());
        let id = name_of(app, unique.map_or(body, str::as_bytes));
        let (login, at) = match &message {
            Body { data: Some(Activity { event_type, filter, payload, .. }), .. } if event_type == "oauth.revoke" => {
                (user_id(payload).or_else(|| user_id(filter)), time(&payload["date_time"]))
            }
            Body { user_event: Some(UserEvent { revoke: Some(Revoke { date_time, source }) }), .. } => {
                (user_id(source), time(date_time))
            }
            Body { .. } => return Ok(Self { id, event: None }),
        };
        let login = login.filter(|login| is_account_id(login)).ok_or(Distrust::Malformed)?;
        let at = past(at.unwrap_or(now).as_second(), now)?;
        let (network, app) = (app.network, app.client_id.clone());
        let fate = Fate::Dead { reason: Reason::RevokedByUser };
        Ok(Self { id, event: Some(AccountEvent { network, app, login, at, fate }) })
    }
}

/// Names a message of one app; another app's message with the same content is another one.
fn name_of(app: &App, message: &[u8]) -> SecretHash {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [app.client_id.as_bytes(), b"\0", message] {
        context.update(part);
    }
    SecretHash::from_digest(&context.finish())
}

#[cfg(test)]
mod tests {
    use super::{super::tests::app, *};
    use crate::profile::Network;

    const NOW: Timestamp = Timestamp::constant(1_795_600_000, 0);
    const REVOKED: &str = r#"{"data":{"filter":{"user_id":"42"},"event_type":"oauth.revoke"}}"#;
    const DOCUMENTED: &str = concat!(
        r#"{"data":{"event_uuid":"2024061812345","filter":{},"event_type":"oauth.revoke","tag":"x","#,
        r#""payload":{"date_time":"2026-11-25T08:26:30.000Z","user_id":"42","app_id":"13090192"}}}"#
    );
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
        assert_eq!(read(&signed("consumer-secret", DOCUMENTED), DOCUMENTED), Some(event("first", before)));
        let as_number = DOCUMENTED.replace(r#""user_id":"42""#, r#""user_id":42"#);
        assert_eq!(read(&signed("consumer-secret", &as_number), &as_number), Some(event("first", before)));
        for other in [
            REVOKED.replace("oauth.revoke", "profile.update.bio"),
            r#"{"data":{"event_type":"post.create","filter":{"keyword":"x"},"payload":[1]}}"#.to_owned(),
            r#"{"data":{"event_type":"post.create","filter":["42"]}}"#.to_owned(),
            r#"{"data":{"event_type":7}}"#.to_owned(),
            r#"{"user_event":{}}"#.to_owned(),
            "{}".to_owned(),
        ] {
            assert_eq!(read(&signed("consumer-secret", &other), &other), None, "{other}");
        }
    }

    // S69
    #[test]
    fn a_message_is_named_by_its_app_and_its_event() {
        let id =
            |secret: &str, body: &str| Notified::read(&apps(), &signed(secret, body), body.as_bytes(), NOW).unwrap().id;
        let first = id("consumer-secret", DOCUMENTED);
        assert_eq!(first, id("consumer-secret", &DOCUMENTED.replace(r#""tag":"x""#, r#""tag":"y""#)), "sent again");
        assert_ne!(first, id("consumer-secret", &DOCUMENTED.replace("2024061812345", "2024061812346")));
        assert_ne!(first, id("x-secret", DOCUMENTED), "the same content for another app");
        assert_ne!(id("consumer-secret", REVOKED), id("x-secret", REVOKED));
        assert_eq!(id("consumer-secret", REVOKED), id("consumer-secret", REVOKED));
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
