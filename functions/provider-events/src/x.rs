//! X's webhook: the challenge, and the event that a person revoked the app.

use std::sync::Arc;

use axum::{Json as Answer, extract::State};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::{
    clock::Deadline,
    edge::{ApiError, Body, Code, Query},
    network::events::x::{Notified, response_token},
    profile::Network,
};

use crate::{ProviderEvents, refuse};

/// X adds a nonce, and may add more.
#[derive(Deserialize)]
pub(crate) struct Challenge {
    crc_token: String,
    /// The app's `client_id`, in the address that was registered at X, where there are several.
    app: Option<String>,
}

pub(crate) async fn answer_challenge(
    State(events): State<Arc<ProviderEvents>>,
    Query(challenge): Query<Challenge>,
) -> Result<Answer<Value>, ApiError> {
    let Challenge { crc_token, app } = challenge;
    let apps = events.apps.of(&[Network::X]).await?;
    let asked = apps.iter().find(|known| app.as_ref().is_none_or(|app| *app == known.client_id));
    let answer = asked.ok_or_else(ApiError::not_found)?;
    let response_token = response_token(answer, &crc_token)
        .ok_or_else(|| ApiError::new(Code::InvalidRequest, "`crc_token` is not a challenge that X sends."))?;
    Ok(Answer(json!({ "response_token": response_token })))
}

pub(crate) async fn hear(
    State(events): State<Arc<ProviderEvents>>,
    deadline: Deadline,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer<Value>, ApiError> {
    if body.media_type != "application/json" {
        return Err(ApiError::new(Code::UnsupportedMediaType, "Send the body as application/json."));
    }
    let signature = headers.get("x-twitter-webhooks-signature").and_then(|value| value.to_str().ok());
    let apps = events.apps.of(&[Network::X]).await?;
    let read = Notified::read(&apps, signature.unwrap_or_default(), &body.bytes, events.clock.now());
    let notified = read.map_err(|why| refuse("x", why))?;
    if let Some(event) = &notified.event {
        events.follow(&notified.id, event, deadline).await?;
    } else {
        tracing::info!("x told something that ends no token");
    }
    Ok(Answer(json!({})))
}
