//! What a request to a network says: its query, its form or JSON, and its credentials, read in one place so
//! that no secret arrives unnoticed.

use axum::{
    body::Bytes,
    extract::{FromRequest, Request, rejection::BytesRejection},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{
    HeaderMap, HeaderName,
    header::{AUTHORIZATION, CONTENT_TYPE},
};

use serde_json::Value;

use super::grants::Desk;

const SECRETS: [&str; 8] = [
    "access_token",
    "client_secret",
    "code",
    "code_verifier",
    "fb_exchange_token",
    "input_token",
    "refresh_token",
    "token",
];

/// The parameters of a request; an empty value counts as absent.
pub(super) struct Fields {
    query: Vec<(String, String)>,
    form: Vec<(String, String)>,
    /// The body, if it is JSON.
    pub(super) json: Value,
    /// Id and secret from HTTP Basic.
    pub(super) basic: Option<(String, String)>,
    /// The token from `Authorization: Bearer`.
    pub(super) bearer: Option<String>,
}

impl Fields {
    /// A parameter, wherever it stands.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.form(name).or_else(|| self.query(name))
    }

    /// A parameter of the query.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        all(&self.query, name).next()
    }

    /// A parameter of the form.
    pub(super) fn form(&self, name: &str) -> Option<&str> {
        self.forms(name).next()
    }

    /// Every occurrence of a parameter of the form.
    pub(super) fn forms(&self, name: &str) -> impl Iterator<Item = &str> {
        all(&self.form, name)
    }
}

impl FromRequest<Desk> for Fields {
    type Rejection = BytesRejection;

    async fn from_request(request: Request, desk: &Desk) -> Result<Self, Self::Rejection> {
        let query = parse(request.uri().query().unwrap_or_default().as_bytes());
        let (basic, bearer) = credentials(request.headers());
        let kind = header(request.headers(), &CONTENT_TYPE).unwrap_or_default();
        let is_form = kind.starts_with("application/x-www-form-urlencoded");
        let is_json = kind.starts_with("application/json");
        let body = Bytes::from_request(request, desk).await?;
        let form = if is_form { parse(&body) } else { Vec::new() };
        let json = if is_json { serde_json::from_slice(&body).unwrap_or_default() } else { Value::Null };

        let named = query.iter().chain(&form).filter(|(name, _)| SECRETS.contains(&name.as_str()));
        let authorizing = basic.iter().map(|(_, secret)| secret).chain(&bearer);
        for secret in named.map(|(_, value)| value).chain(authorizing) {
            desk.secrets.note(secret);
        }
        Ok(Self { query, form, json, basic, bearer })
    }
}

fn all<'a>(pairs: &'a [(String, String)], name: &str) -> impl Iterator<Item = &'a str> {
    pairs.iter().filter(move |(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
}

fn parse(encoded: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(encoded).into_owned().collect()
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// What `Authorization` carries: Basic's id and secret, or the bearer token.
fn credentials(headers: &HeaderMap) -> (Option<(String, String)>, Option<String>) {
    match header(headers, &AUTHORIZATION).and_then(|value| value.split_once(' ')) {
        Some((scheme, encoded)) if scheme.eq_ignore_ascii_case("basic") => (read_basic(encoded), None),
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => (None, Some(token.to_owned())),
        _ => (None, None),
    }
}

fn read_basic(credentials: &str) -> Option<(String, String)> {
    let decoded = String::from_utf8(BASE64_STANDARD.decode(credentials).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}
