//! What the Graph APIs of Facebook and Instagram have in common: versions in paths, errors that are code and subcode
//! rather than a status, and what a token dies of.

use aws_lc_rs::hmac;
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use http::StatusCode;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use shared::random::Random;

use super::{
    fields::Fields,
    grants::{Book, Ending, Grant, Token},
};

/// About sixty days: how long a long-lived token lives.
pub(super) const LONG_LIFETIME: i64 = 5_183_944;
/// How far `appsecret_time` may be away.
const PROOF_WINDOW: u64 = 300;

/// `v26.0` and its like; any other first segment is no path of the Graph API.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct GraphVersion(String);

impl GraphVersion {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for GraphVersion {
    type Error = &'static str;

    fn try_from(version: String) -> Result<Self, Self::Error> {
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let numbers = version.strip_prefix('v').and_then(|numbers| numbers.split_once('.'));
        if numbers.is_some_and(|(major, minor)| digits(major) && digits(minor)) {
            Ok(Self(version))
        } else {
            Err("a Graph API version reads like v26.0")
        }
    }
}

/// An error as every Graph call reports it.
#[derive(Debug)]
pub(super) struct GraphError {
    pub(super) code: u32,
    pub(super) subcode: Option<u32>,
    pub(super) message: String,
}

impl GraphError {
    pub(super) fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, subcode: None, message: message.into() }
    }

    pub(super) fn sub(code: u32, subcode: u32, message: impl Into<String>) -> Self {
        Self { code, subcode: Some(subcode), message: message.into() }
    }

    /// Nobody minted this token.
    pub(super) fn unknown_token() -> Self {
        Self::new(190, "Invalid OAuth access token - Cannot parse access token")
    }

    /// There is no such object, or it is not for this caller; the two look alike.
    pub(super) fn no_object(id: &str) -> Self {
        let message = format!("Unsupported get request. Object with ID '{id}' does not exist");
        Self::sub(100, 33, message)
    }

    /// What was granted does not cover the call.
    pub(super) fn not_permitted(scope: &str) -> Self {
        Self::new(10, format!("(#10) This endpoint requires the '{scope}' permission"))
    }
}

impl IntoResponse for GraphError {
    fn into_response(self) -> Response {
        let fbtrace_id = BASE64_URL_SAFE_NO_PAD.encode(Random::system().bytes::<8>());
        let mut error = json!({
            "message": self.message, "type": "OAuthException", "code": self.code, "fbtrace_id": fbtrace_id
        });
        if let Some(subcode) = self.subcode {
            error["error_subcode"] = subcode.into();
        }
        (StatusCode::BAD_REQUEST, Json(json!({"error": error}))).into_response()
    }
}

/// Whether `fields` asks for `name`, or `usual` does where it asks for nothing.
pub(super) fn asks_for(fields: &Fields, usual: &str, name: &str) -> bool {
    fields.get("fields").unwrap_or(usual).split(',').any(|asked| asked.trim() == name)
}

/// What of an object is asked for; `id` is always there.
pub(super) fn select(object: Value, fields: &Fields, usual: &str) -> Value {
    let Value::Object(object) = object else { return object };
    let wanted = |name: &String| name == "id" || asks_for(fields, usual, name);
    object.into_iter().filter(|(name, _)| wanted(name)).collect::<Map<_, _>>().into()
}

/// Refuses a token that was minted and has died since, for the reason that it died of.
pub(super) fn check_life(book: &Book, token: &Token, grant: &Grant, now: i64) -> Result<(), GraphError> {
    let (subcode, why) = match grant.ended {
        Some(Ending::PasswordChanged) => (
            460,
            "The session has been invalidated because the user changed their password or Facebook has changed the \
             session for security reasons."
                .to_owned(),
        ),
        Some(Ending::Removed | Ending::Replayed) => {
            (458, format!("The user has not authorized application {}.", grant.client_id))
        }
        None if book.holds(grant) => (
            459,
            "You cannot access the app till you log in to www.facebook.com and follow the instructions given."
                .to_owned(),
        ),
        None if token.page.as_ref().is_some_and(|page| book.lost_role(grant, page)) => (
            492,
            "User associated with the Page access token does not have an appropriate role on the Page.".to_owned(),
        ),
        None => match token.expires_at {
            Some(end) if token.expired(now) => {
                (463, format!("Session has expired on {}. The current time is {}.", date(end), date(now)))
            }
            _ => return Ok(()),
        },
    };
    Err(GraphError::sub(190, subcode, format!("Error validating access token: {why}")))
}

fn date(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

/// `appsecret_proof`: hex HMAC-SHA256 of the token under the app secret; with `appsecret_time`, of
/// the token and that time.
pub(super) fn check_proof(
    client_secret: &SecretString,
    token: &str,
    fields: &Fields,
    now: i64,
) -> Result<(), GraphError> {
    let proof = fields
        .get("appsecret_proof")
        .ok_or_else(|| GraphError::new(100, "API calls from the server require an appsecret_proof argument"))?;
    let invalid = || GraphError::new(100, "Invalid appsecret_proof provided in the API argument");
    let message = match fields.get("appsecret_time") {
        None => token.to_owned(),
        Some(time) => {
            let seconds: i64 = time.parse().map_err(|_| invalid())?;
            if seconds.abs_diff(now) > PROOF_WINDOW {
                return Err(invalid());
            }
            format!("{token}|{time}")
        }
    };
    let key = hmac::Key::new(hmac::HMAC_SHA256, client_secret.expose_secret().as_bytes());
    let tag = hex::decode(proof).map_err(|_| invalid())?;
    hmac::verify(&key, message.as_bytes(), &tag).map_err(|_| invalid())
}
