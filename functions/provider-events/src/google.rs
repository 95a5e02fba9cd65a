//! Google's security events (RISC), pushed as RFC 8935 says.

use std::sync::Arc;

use axum::{
    Json as Answer,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use serde_json::json;
use shared::{
    clock::Deadline,
    edge::{ApiError, Body},
    jwks::{Pausing, VerifyingKey},
    network::{
        Failure,
        events::{
            Distrust,
            google::{SecurityEvent, Told, keys},
        },
    },
    profile::Network,
    secret::SecretHash,
};

use crate::{ProviderEvents, refuse};

/// Why there are no keys to verify with.
#[derive(Debug, thiserror::Error)]
enum NoKeys {
    #[error("google's keys cannot be fetched")]
    Failed(#[from] Failure),
    #[error(transparent)]
    Pausing(#[from] Pausing),
}

/// The form of the body is proven by the signature, whatever it is called.
pub(crate) async fn hear(
    State(events): State<Arc<ProviderEvents>>,
    deadline: Deadline,
    body: Body,
) -> Result<Response, ApiError> {
    let told = match events.read_security_event(&body).await? {
        Ok(told) => told,
        Err(why) => {
            refuse("google", why);
            let error = json!({ "err": error_code(why), "description": why.to_string() });
            return Ok((StatusCode::BAD_REQUEST, Answer(error)).into_response());
        }
    };
    tracing::info!(kinds = ?told.kinds, ends = told.events.len(), "google told of an account");
    for event in &told.events {
        // one message may be for several apps
        let id = SecretHash::of(&format!("{}#{:?}#{}", event.app, event.fate, told.jti).into());
        events.follow(&id, event, deadline).await?;
    }
    Ok(StatusCode::ACCEPTED.into_response())
}

/// RFC 8935 §2.4.
fn error_code(why: Distrust) -> &'static str {
    match why {
        Distrust::Malformed | Distrust::Future => "invalid_request",
        Distrust::Algorithm | Distrust::UnknownKey => "invalid_key",
        Distrust::Signature => "authentication_failed",
        Distrust::Issuer => "invalid_issuer",
        Distrust::Audience => "invalid_audience",
    }
}

impl ProviderEvents {
    async fn read_security_event(&self, body: &Body) -> Result<Result<Told, Distrust>, ApiError> {
        let Ok(compact) = std::str::from_utf8(&body.bytes) else { return Ok(Err(Distrust::Malformed)) };
        let event = match SecurityEvent::read(compact.trim()) {
            Ok(event) => event,
            Err(why) => return Ok(Err(why)),
        };
        let apps = self.apps.of(&[Network::YouTube]).await?;
        let key = self.google_key(&event.kid).await.map_err(ApiError::unavailable)?;
        let verify = |key: VerifyingKey| event.verify(&key, &apps, self.clock.now());
        Ok(key.ok_or(Distrust::UnknownKey).and_then(verify))
    }

    async fn google_key(&self, kid: &str) -> Result<Option<VerifyingKey>, NoKeys> {
        let fetch = async { Ok(self.exchange.run(Network::YouTube, keys()).await?) };
        self.google_keys.key(kid, self.clock.now(), fetch).await
    }
}
