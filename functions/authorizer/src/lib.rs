//! The Lambda authorizer of the HTTP API: an access token in, the caller's identity out.
//!
//! API Gateway hands over a REQUEST event of payload format 2.0 and takes a simple response. It
//! keeps the answer for minutes and reuses it for every route that comes with the same
//! `Authorization` header. So the answer depends on that header, the issuer's keys and the time, and
//! on nothing else of the request; it carries `exp`, so that handlers can refuse once the token has
//! ended although the kept answer has not.
//!
//! A token that is not good is refused (`isAuthorized: false`, 403) and leaves one log line. When the
//! issuer's keys cannot be had, nobody can say whether a token is good: the invocation fails (500),
//! which the gateway does not keep. Neither way lets anybody in.

mod access_token;
mod issuer;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::{
    clock::Clock,
    metrics::{self, Metric},
};

use crate::access_token::{AccessToken, Context, Refusal};
pub use crate::{
    access_token::Terms,
    issuer::{Issuer, IssuerError},
};

/// An `Authorization` header longer than this, in bytes, is refused unread.
const LONGEST_HEADER: usize = 8 * 1024;

/// Everything that this function can reach; it needs no permission in the cloud but to log.
pub struct Authorizer {
    /// Who signs the access tokens, and with which keys.
    pub issuer: Issuer,
    /// What an access token must say to be meant for this API.
    pub terms: Terms,
    /// Tells when a token has ended and how old the issuer's keys are.
    pub clock: Clock,
}

/// Why no answer could be given; the gateway turns it into a 500.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// The event is not what the gateway sends. What it said is left out: it may hold a token.
    #[error("the event is no authorizer request of payload format 2.0")]
    Event,
    /// The issuer's keys cannot be had.
    #[error("the issuer's keys cannot be had")]
    Keys(#[from] IssuerError),
    /// The answer cannot be written as JSON.
    #[error("the answer cannot be written")]
    Answer(#[from] serde_json::Error),
}

/// The fields of the gateway's event that the answer may depend on. That the method, the path and
/// the route cannot be read here is what keeps them out of the answer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    /// What the gateway keeps the answer under: the `Authorization` header.
    identity_source: Option<Vec<String>>,
    headers: Option<HashMap<String, String>>,
}

impl Request {
    /// The bearer token (RFC 6750 §2.1).
    fn bearer(&self) -> Result<&str, Refusal> {
        let header = self.authorization().ok_or(Refusal::NoBearer)?;
        if header.len() > LONGEST_HEADER {
            return Err(Refusal::TooLong);
        }
        match header.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("Bearer") => Ok(token.trim_matches(' ')),
            _ => Err(Refusal::NoBearer),
        }
    }

    fn authorization(&self) -> Option<&str> {
        if let Some([authorization, ..]) = self.identity_source.as_deref() {
            return Some(authorization);
        }
        let mut values = self.headers.iter().flatten().filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        match (values.next(), values.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }
}

/// A simple response of an HTTP API's authorizer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    is_authorized: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<Context>,
}

impl Authorizer {
    /// Answers one event of the gateway, given and returned as the JSON that crosses the wire.
    ///
    /// # Errors
    /// [`Unanswered`] when the event cannot be read or the issuer's keys cannot be had.
    pub async fn invoke(&self, event: Value) -> Result<Value, Unanswered> {
        let request = Request::deserialize(event).map_err(|_| Unanswered::Event)?;
        let answer = self.answer(&request).await.inspect_err(|_| {
            metrics::record(self.clock.now(), None, [(Metric::AuthorizerUnavailable, 1)]);
        })?;
        Ok(serde_json::to_value(answer)?)
    }

    async fn answer(&self, request: &Request) -> Result<Answer, IssuerError> {
        let now = self.clock.now();
        let token = match request.bearer().and_then(AccessToken::read) {
            Ok(token) => token,
            Err(refusal) => return Ok(Answer::refused(&refusal, "")),
        };
        let key = self.issuer.key(&token.kid, now).await?;
        let verdict = key
            .ok_or(Refusal::UnknownKey)
            .and_then(|key| token.verify(&key))
            .and_then(|claims| self.terms.admit(&claims, self.issuer.url(), now));
        Ok(match verdict {
            Ok(context) => Answer { is_authorized: true, context: Some(context) },
            Err(refusal) => Answer::refused(&refusal, &token.kid),
        })
    }
}

impl Answer {
    /// A refusal and its log line. The `kid` is the caller's own text: cut, and escaped by `Debug`,
    /// so that it cannot forge a second line.
    fn refused(reason: &Refusal, kid: &str) -> Self {
        let kid: String = kid.chars().take(64).collect();
        tracing::warn!(%reason, ?kid, "access token refused");
        Self { is_authorized: false, context: None }
    }
}
