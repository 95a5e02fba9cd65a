//! What the networks tell apps without being asked, signed as each of them signs.
//!
//! Facebook and Instagram post a `signed_request`, X answers to a challenge first and posts to a webhook, Google pushes
//! a signed security event. Google signs with the key of the sandbox's own issuer: making another would cost every
//! start, and the two never take each other's tokens, because `iss` tells them apart.

use aws_lc_rs::hmac;
use axum::{Json, Router, body::Body, routing::get};
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use http::{Method, Request, header};
use http_body_util::BodyExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use shared::random::Random;

use super::{Account, App, Event, Network, grants::Desk};
use crate::{gateway::Gateway, issuer::Issuer};

const GOOGLE: &str = "https://accounts.google.com/";

/// A message of a network to an app.
#[derive(Clone, Debug)]
pub struct Message {
    /// Where the app listens.
    pub path: String,
    /// The media type of the body.
    pub content_type: &'static str,
    /// Further header fields.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: String,
    /// What the app has to answer to a challenge first: where, and with which words.
    pub challenge: Option<(String, String)>,
}

impl Message {
    /// Delivers it through the HTTP API; tells the status and the body of the answer. An app that does not know the
    /// answer to the challenge is told nothing more.
    pub async fn deliver(self, gateway: &Gateway) -> (u16, String) {
        let Self { path, content_type, headers, body, challenge } = self;
        if let Some((path, expected)) = challenge {
            let (status, answer) = send(gateway, Request::get(path).body(Body::empty())).await;
            let known =
                serde_json::from_str::<Value>(&answer).is_ok_and(|answer| answer["response_token"] == *expected);
            if !known {
                return (status, answer);
            }
        }
        let request = Request::builder().method(Method::POST).uri(path).header(header::CONTENT_TYPE, content_type);
        let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        send(gateway, request.body(Body::from(body))).await
    }
}

async fn send(gateway: &Gateway, request: Result<Request<Body>, http::Error>) -> (u16, String) {
    let Ok(request) = request else { return (0, "the message is no request".to_owned()) };
    let (parts, body) = gateway.answer(request).await.into_parts();
    let body = body.collect().await.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned());
    (parts.status.as_u16(), body.unwrap_or_default())
}

/// What the network tells each app that the account ever let in.
pub(super) fn messages(
    desk: &Desk,
    issuer: &Issuer,
    network: Network,
    account: &Account,
    event: Event,
) -> Vec<Message> {
    let apps = desk.book.read(|book| book.let_in(network, account.id));
    let apps = apps.iter().filter_map(|client_id| desk.app(network, client_id));
    let message = |app: &App| match (network, event) {
        (Network::Facebook | Network::Instagram, Event::Deauthorize | Event::DataDeletion) => {
            Some(signed_request(desk, app, account, event))
        }
        (Network::X, Event::Deauthorize) => Some(webhook(desk, app, account)),
        (Network::Youtube, Event::Deauthorize) => {
            Some(security_event(desk, issuer, app, account, "oauth/event-type/tokens-revoked"))
        }
        (Network::Youtube, Event::AccountDisabled) => {
            Some(security_event(desk, issuer, app, account, "risc/event-type/account-disabled"))
        }
        _ => None,
    };
    apps.filter_map(message).collect()
}

fn mac(secret: &SecretString, message: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes()), message.as_bytes())
}

fn signed_request(desk: &Desk, app: &App, account: &Account, event: Event) -> Message {
    let payload = json!({ "algorithm": "HMAC-SHA256", "issued_at": desk.now(), "user_id": account.id });
    let payload = BASE64_URL_SAFE_NO_PAD.encode(payload.to_string());
    let signature = BASE64_URL_SAFE_NO_PAD.encode(mac(&desk.client_secret(app), &payload));
    let path = if event == Event::DataDeletion { "/events/meta/data-deletion" } else { "/events/meta/deauthorize" };
    Message {
        path: path.to_owned(),
        content_type: "application/x-www-form-urlencoded",
        headers: Vec::new(),
        body: format!("signed_request={signature}.{payload}"),
        challenge: None,
    }
}

fn webhook(desk: &Desk, app: &App, account: &Account) -> Message {
    let secret = app.consumer_secret.clone().unwrap_or_else(|| desk.client_secret(app));
    let sign = |message: &str| format!("sha256={}", BASE64_STANDARD.encode(mac(&secret, message)));
    let crc_token = BASE64_URL_SAFE_NO_PAD.encode(Random::system().bytes::<24>());
    let path = format!("/events/x?app={}", app.client_id);
    // the filter of a revocation is empty, and `app_id` is a number of X's own: <https://docs.x.com/x-api/activity/event-payloads>
    let payload = json!({ "date_time": desk.clock.now(), "user_id": account.id, "app_id": "13090192" });
    let uuid = BASE64_URL_SAFE_NO_PAD.encode(Random::system().bytes::<12>());
    let data = json!({ "event_uuid": uuid, "filter": {}, "event_type": "oauth.revoke", "payload": payload });
    let body = json!({ "data": data }).to_string();
    Message {
        challenge: Some((format!("{path}&crc_token={crc_token}&nonce=1"), sign(&crc_token))),
        path,
        content_type: "application/json",
        headers: vec![("x-twitter-webhooks-signature", sign(&body))],
        body,
    }
}

fn security_event(desk: &Desk, issuer: &Issuer, app: &App, account: &Account, kind: &str) -> Message {
    let kind = format!("https://schemas.openid.net/secevent/{kind}");
    let subject = json!({ "subject_type": "iss-sub", "iss": GOOGLE, "sub": account.id });
    let claims = json!({ "iss": GOOGLE, "aud": app.client_id, "iat": desk.now(),
        "jti": BASE64_URL_SAFE_NO_PAD.encode(Random::system().bytes::<16>()), "events": { kind: { "subject": subject } } });
    Message {
        path: "/events/google/risc".to_owned(),
        content_type: "application/secevent+jwt",
        headers: Vec::new(),
        body: issuer.sign(claims),
        challenge: None,
    }
}

/// Where Google says how it signs.
pub(super) fn routes(issuer: &Issuer) -> Router {
    let configuration = json!({ "issuer": GOOGLE, "jwks_uri": "https://www.googleapis.com/oauth2/v3/certs" });
    let issuer = issuer.clone();
    Router::new()
        .route("/accounts.google.com/.well-known/risc-configuration", get(async || Json(configuration)))
        .route("/www.googleapis.com/oauth2/v3/certs", get(async move || Json(issuer.key_set())))
}
