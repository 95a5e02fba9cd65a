//! Meta's callbacks: a person removed an app of Facebook's or Instagram's, or wants their data deleted.

use std::sync::Arc;

use axum::{Json as Answer, extract::State};
use serde::Serialize;
use shared::{
    clock::Deadline,
    edge::{ApiError, Body, Code},
    network::events::{Fate, meta::SignedRequest},
    profile::Network,
    token::Reason,
};

use crate::{ProviderEvents, refuse};

type Function = State<Arc<ProviderEvents>>;

/// What Meta shows to the person.
#[derive(Serialize)]
pub(crate) struct Confirmation {
    url: String,
    confirmation_code: String,
}

pub(crate) async fn deauthorize(
    State(events): Function,
    deadline: Deadline,
    body: Body,
) -> Result<Answer<serde_json::Value>, ApiError> {
    let fate = Fate::Dead { reason: Reason::AppRemoved };
    let signed = events.read_signed_request(&body, fate).await?;
    events.follow(&signed.id(), &signed.event, deadline).await?;
    Ok(Answer(serde_json::json!({})))
}

pub(crate) async fn delete_data(
    State(events): Function,
    deadline: Deadline,
    body: Body,
) -> Result<Answer<Confirmation>, ApiError> {
    let signed = events.read_signed_request(&body, Fate::Erased).await?;
    events.follow(&signed.id(), &signed.event, deadline).await?;
    let code = signed.confirmation_code;
    Ok(Answer(Confirmation { url: format!("{}/data-deletion/{code}", events.public_url), confirmation_code: code }))
}

impl ProviderEvents {
    async fn read_signed_request(&self, body: &Body, fate: Fate) -> Result<SignedRequest, ApiError> {
        if body.media_type != "application/x-www-form-urlencoded" {
            let detail = "Send the body as application/x-www-form-urlencoded.";
            return Err(ApiError::new(Code::UnsupportedMediaType, detail));
        }
        let mut signed = url::form_urlencoded::parse(&body.bytes).filter(|(name, _)| name == "signed_request");
        let (Some((_, signed_request)), None) = (signed.next(), signed.next()) else {
            return Err(ApiError::new(Code::InvalidRequest, "The form has exactly one `signed_request`."));
        };
        let apps = self.apps.of(&[Network::Facebook, Network::Instagram]).await?;
        SignedRequest::read(&apps, &signed_request, fate, self.clock.now()).map_err(|why| refuse("meta", why))
    }
}
