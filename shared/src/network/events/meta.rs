//! Meta's `signed_request`: how Facebook and Instagram tell that a person removed an app, or wants to be forgotten.
//!
//! `b64url(signature).b64url(json)`, unpadded. The signature is the HMAC-SHA256 of the *encoded* payload with the app's
//! secret; nothing is decoded before it holds. Both networks send to the same address, so the secret that fits tells
//! the network too.
//! Sources: <https://developers.facebook.com/docs/facebook-login/guides/advanced/parse-signed-request>,
//! <https://developers.facebook.com/docs/development/create-an-app/app-dashboard/data-deletion-callback>

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::Deserialize;

use super::{AccountEvent, Distrust, Fate, key, past, signer};
use crate::{apps::App, profile::is_account_id, secret::SecretHash};

/// What a `signed_request` says, once its signature holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRequest {
    /// The event.
    pub event: AccountEvent,
    /// Names this very message, for the person who wants to know what became of it: 256 bits that only the app's
    /// secret can make, always the same for the same message.
    pub confirmation_code: String,
}

#[derive(Deserialize)]
struct Payload {
    algorithm: String,
    user_id: Id,
    issued_at: i64,
}

/// Ids exceed 2^53 and are observed as texts and as numbers.
#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(u64),
}

impl SignedRequest {
    /// Reads a `signed_request` by which what its login granted meets `fate`.
    ///
    /// # Errors
    /// Why it is not taken for Meta's.
    pub fn read(apps: &[App], signed_request: &str, fate: Fate, now: Timestamp) -> Result<Self, Distrust> {
        let (signature, encoded) = signed_request.split_once('.').ok_or(Distrust::Malformed)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Distrust::Malformed)?;
        let app = signer(apps, |app| &app.client_secret, encoded.as_bytes(), &signature)?;
        let json = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| Distrust::Malformed)?;
        let payload: Payload = serde_json::from_slice(&json).map_err(|_| Distrust::Malformed)?;
        if payload.algorithm != "HMAC-SHA256" {
            return Err(Distrust::Algorithm);
        }
        let login = match payload.user_id {
            Id::Text(id) => id,
            Id::Number(id) => id.to_string(),
        };
        if !is_account_id(&login) {
            return Err(Distrust::Malformed);
        }
        let at = past(payload.issued_at, now)?;
        let event = AccountEvent { network: app.network, app: app.client_id.clone(), login, at, fate };
        // of one person and second both messages are the same, and either is followed
        let asked = match fate {
            Fate::Dead { .. } => "deauthorize",
            Fate::Erased => "data-deletion",
        };
        // no encoded payload has a full stop: this is never a signature that Meta would make
        let code = hmac::sign(&key(&app.client_secret), format!("{asked}.{encoded}").as_bytes());
        Ok(Self { event, confirmation_code: URL_SAFE_NO_PAD.encode(code) })
    }

    /// What the row of this message is known by.
    #[must_use]
    pub fn id(&self) -> SecretHash {
        SecretHash::of(&self.confirmation_code.as_str().into())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::app, *};
    use crate::{profile::Network, token::Reason};

    const NOW: Timestamp = Timestamp::constant(1_795_600_000, 0);
    const FATE: Fate = Fate::Dead { reason: Reason::AppRemoved };
    const PAYLOAD: &str = r#"{"algorithm":"HMAC-SHA256","expires":1795607200,"issued_at":1795599990,"user_id":"1001"}"#;
    const NUMBERED: &str =
        r#"{"algorithm":"HMAC-SHA256","expires":1795607200,"issued_at":1795599990,"user_id":17841405822304914}"#;

    /// A signature that was made with Python's hmac over the encoded payload.
    fn vector(signature: &str, payload: &str) -> String {
        let signature = URL_SAFE_NO_PAD.encode(hex::decode(signature).unwrap());
        format!("{signature}.{}", URL_SAFE_NO_PAD.encode(payload))
    }

    /// [`PAYLOAD`] with the key `facebook-secret`.
    fn facebooks() -> String {
        vector("59b58bac1d6204de413b7f37495472442fa9bc8c992c99cf06aeaf2a707de6a6", PAYLOAD)
    }

    /// [`NUMBERED`] with the key `instagram-secret`.
    fn instagrams() -> String {
        vector("75f182e5be2702660d45519a0643e5b6d28fb77b16355c290ebfc65245c4ccfb", NUMBERED)
    }

    fn apps() -> [App; 3] {
        [
            app(Network::Facebook, "first", "another-secret"),
            app(Network::Facebook, "second", "facebook-secret"),
            app(Network::Instagram, "third", "instagram-secret"),
        ]
    }

    fn signed(secret: &str, payload: &str) -> String {
        let encoded = URL_SAFE_NO_PAD.encode(payload);
        let signature = hmac::sign(&key(&secret.into()), encoded.as_bytes());
        format!("{}.{encoded}", URL_SAFE_NO_PAD.encode(signature))
    }

    // S69
    #[test]
    fn a_signed_request_is_read_as_the_app_whose_secret_signed_it() {
        let read = |text: &str| SignedRequest::read(&apps(), text, FATE, NOW).unwrap();
        let at = Timestamp::constant(1_795_599_990, 0);
        let event = |network, app: &str, login: &str| AccountEvent {
            network,
            app: app.into(),
            login: login.into(),
            at,
            fate: FATE,
        };
        let (facebooks, instagrams) = (read(&facebooks()), read(&instagrams()));
        assert_eq!(facebooks.event, event(Network::Facebook, "second", "1001"));
        assert_eq!(instagrams.event, event(Network::Instagram, "third", "17841405822304914"));
        let code = hex::decode("4a2bc44c9d06db6241dc7642d58bed6001a482939c12c1e55736c0e75c43b5ca").unwrap();
        assert_eq!(facebooks.confirmation_code, URL_SAFE_NO_PAD.encode(code));
        assert_ne!(facebooks.id(), instagrams.id());
        let erased = SignedRequest::read(&apps(), &self::facebooks(), Fate::Erased, NOW).unwrap();
        assert_ne!(facebooks.id(), erased.id(), "the same message is followed at either address");
    }

    // S69
    #[test]
    fn whatever_meta_did_not_sign_is_refused() {
        let payload = |algorithm: &str, id: &str, at: i64| {
            format!(r#"{{"algorithm":"{algorithm}","issued_at":{at},"user_id":{id}}}"#)
        };
        let good = payload("HMAC-SHA256", r#""1001""#, 1_795_599_990);
        let by = |payload: &str| signed("facebook-secret", payload);
        let vector = facebooks();
        let (signature, encoded) = vector.split_once('.').unwrap();
        let other = URL_SAFE_NO_PAD.encode(good.replace("1001", "1002"));
        for (text, refusal) in [
            (String::new(), Distrust::Malformed),
            (".".into(), Distrust::Signature),
            (encoded.into(), Distrust::Malformed),
            (format!(".{encoded}"), Distrust::Signature),
            (format!("{signature}."), Distrust::Signature),
            (format!("{signature}.{other}"), Distrust::Signature),
            (vector[..vector.len() - 1].into(), Distrust::Signature),
            (format!("{vector}="), Distrust::Signature),
            (format!("{vector}.{encoded}"), Distrust::Signature),
            (format!("{}.{encoded}", &signature[..22]), Distrust::Malformed),
            (format!("{}.{encoded}", URL_SAFE_NO_PAD.encode([0; 16])), Distrust::Signature),
            (format!("{signature}=.{encoded}"), Distrust::Malformed),
            (signed("wrong-secret", &good), Distrust::Signature),
            (signed("", &good), Distrust::Signature),
            (by("{}"), Distrust::Malformed),
            (by("not json"), Distrust::Malformed),
            (by(&payload("none", r#""1001""#, 1_795_599_990)), Distrust::Algorithm),
            (by(&payload("hmac-sha1", r#""1001""#, 1_795_599_990)), Distrust::Algorithm),
            (by(&payload("HMAC-SHA256", r#""""#, 1_795_599_990)), Distrust::Malformed),
            (by(&payload("HMAC-SHA256", r#""1#2""#, 1_795_599_990)), Distrust::Malformed),
            (by(&payload("HMAC-SHA256", "null", 1_795_599_990)), Distrust::Malformed),
            (by(&payload("HMAC-SHA256", r#""1001""#, 1_795_600_061)), Distrust::Future),
            (by(&payload("HMAC-SHA256", r#""1001""#, i64::MAX)), Distrust::Malformed),
        ] {
            assert_eq!(SignedRequest::read(&apps(), &text, FATE, NOW).err(), Some(refusal), "{text}");
        }
        assert!(SignedRequest::read(&apps(), &by(&good), FATE, NOW).is_ok());
        assert_eq!(SignedRequest::read(&[], &vector, FATE, NOW).err(), Some(Distrust::Signature));
    }
}
