//! The HTTP API as a client of it: with the access token of a person, through the gateway.

use axum::body::Body;
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use url::{Url, form_urlencoded};

use crate::{Parts, issuer::Person};

/// Why the API did not do what it was asked, in its own words.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) status: StatusCode,
    pub(super) code: Option<String>,
    pub(super) title: String,
    pub(super) detail: String,
    /// In seconds.
    pub(super) retry_after: Option<u64>,
}

/// A problem document (RFC 9457), or what the gateway says itself.
#[derive(Deserialize)]
#[serde(untagged)]
enum Refusal {
    Problem { title: String, code: Option<String>, detail: Option<String> },
    Gateway { message: String },
}

/// The API for one person.
pub(super) struct Api<'a> {
    pub(super) parts: &'a Parts,
    pub(super) person: &'a Person,
}

/// A page of a list.
#[derive(Deserialize)]
struct Page<T> {
    items: Vec<T>,
    next: Option<String>,
}

/// Every `path` is what follows `/v1`, in its segments.
impl Api<'_> {
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, Trouble> {
        self.call(Method::GET, address(&self.parts.url, path), None).await
    }

    /// A list, all its pages; `query` says which.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Vec<T>, Trouble> {
        let address = address(&self.parts.url, path);
        let mut items = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let pairs = query.iter().copied().chain(next.as_deref().map(|next| ("next", next)));
            let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
            let page: Page<T> = self.call(Method::GET, format!("{address}?{query}"), None).await?;
            items.extend(page.items);
            next = page.next;
            if next.is_none() {
                return Ok(items);
            }
        }
    }

    pub(super) async fn post<T: DeserializeOwned>(&self, path: &[&str], body: &Value) -> Result<T, Trouble> {
        self.call(Method::POST, address(&self.parts.url, path), Some(body)).await
    }

    pub(super) async fn patch<T: DeserializeOwned>(&self, path: &[&str], body: &Value) -> Result<T, Trouble> {
        self.call(Method::PATCH, address(&self.parts.url, path), Some(body)).await
    }

    pub(super) async fn delete<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, Trouble> {
        self.call(Method::DELETE, address(&self.parts.url, path), None).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        address: String,
        body: Option<&Value>,
    ) -> Result<T, Trouble> {
        let token = self.parts.networks.issuer().sign_in(self.person.name).unwrap_or_default();
        let mut request =
            Request::builder().method(method).uri(address).header(header::AUTHORIZATION, format!("Bearer {token}"));
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request.body(Body::from(body)).map_err(|error| unreadable(StatusCode::BAD_REQUEST, &error))?;
        let (parts, body) = self.parts.gateway.answer(request).await.into_parts();
        let status = parts.status;
        let body = body.collect().await.map_err(|error| unreadable(status, &error))?.to_bytes();
        if !status.is_success() {
            let retry_after =
                parts.headers.get(header::RETRY_AFTER).and_then(|seconds| seconds.to_str().ok()?.parse().ok());
            return Err(Trouble { retry_after, ..refusal(status, &body) });
        }
        let body: &[u8] = if body.is_empty() { b"null" } else { &body };
        serde_json::from_slice(body).map_err(|error| unreadable(status, &error))
    }
}

fn address(url: &str, path: &[&str]) -> String {
    let Ok(mut url) = Url::parse(url) else { return url.to_owned() };
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.push("v1").extend(path);
    }
    url.into()
}

fn refusal(status: StatusCode, body: &[u8]) -> Trouble {
    let (code, title, detail) = match serde_json::from_slice(body) {
        Ok(Refusal::Problem { title, code, detail }) => (code, title, detail.unwrap_or_default()),
        Ok(Refusal::Gateway { message }) => {
            (None, message, "The gateway said so itself. What failed is in the log of the sandbox.".to_owned())
        }
        Err(_) => (None, "An answer without words".to_owned(), String::from_utf8_lossy(body).into_owned()),
    };
    Trouble { status, code, title, detail, retry_after: None }
}

fn unreadable(status: StatusCode, error: &dyn std::fmt::Display) -> Trouble {
    let title = "The answer of the API was not understood".to_owned();
    Trouble { status, code: None, title, detail: error.to_string(), retry_after: None }
}
