//! `GET /console` and below: the pages on which people manage their profiles and tokens.
//!
//! They are static: a page, its style and its modules, embedded in the binary. The console is a client of the public
//! API like any other and signs in at the identity provider by itself (authorization code with PKCE), so this function
//! knows no secret, no caller and no table. What differs between deployments comes as JSON that the page fetches and
//! never as text that is written into it. The policy lets the page load and reach nothing but this origin and the
//! identity provider's, run no script and take no style that stands inline, and be framed by nobody.

use axum::{
    Json, Router,
    extract::{Path, State},
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde_json::{Value, json};
use shared::{
    clock::Clock,
    edge::{self, ApiError, Code},
};
use url::Url;

/// Everything that this function can reach; it needs no permission in the cloud but to log.
#[derive(Clone, Debug)]
pub struct Console {
    /// What the page is told.
    configuration: Value,
    /// `Content-Security-Policy` of the page.
    policy: HeaderValue,
}

/// How the console signs people in.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// The identity provider, exactly as in the `iss` of its tokens.
    pub issuer: String,
    /// Another origin at which it has its token endpoint.
    pub token_origin: Option<String>,
    /// The console's id there: a public client with the redirect URI `<origin>/console`.
    pub client_id: String,
    /// What is asked for (RFC 6749 §3.3); it holds `openid`.
    pub scope: String,
    /// The claim of access tokens that lists the roles.
    pub roles_claim: String,
    /// The claim of access tokens that lists the groups.
    pub groups_claim: String,
}

/// Why people cannot be signed in.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no address of an identity provider: https, or on this machine http")]
pub struct BadProvider(String);

struct Asset {
    name: &'static str,
    plain: &'static [u8],
    compressed: &'static [u8],
}

mod embedded {
    use super::Asset;
    include!(concat!(env!("OUT_DIR"), "/assets.rs"));
}

/// The page; every other asset is addressed by its release.
const PAGE: &str = "index.html";

impl Console {
    /// A console that signs people in so.
    ///
    /// # Errors
    /// When the identity provider's address is none that a page could trust.
    pub fn new(sign_in: &SignIn) -> Result<Self, BadProvider> {
        let SignIn { issuer, token_origin, client_id, scope, roles_claim, groups_claim } = sign_in;
        let mut reached = origin(issuer)?;
        if let Some(other) = token_origin.as_deref().map(origin).transpose()?.filter(|other| *other != reached) {
            reached = format!("{reached} {other}");
        }
        // lit-html writes its constant templates, and nothing else, through the one policy that is named here
        let policy = format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' {reached}; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
             trusted-types lit-html"
        );
        Ok(Self {
            configuration: json!({
                "issuer": issuer,
                "client_id": client_id,
                "scope": scope,
                "roles_claim": roles_claim,
                "groups_claim": groups_claim,
            }),
            policy: HeaderValue::try_from(policy).map_err(|_| BadProvider(issuer.clone()))?,
        })
    }
}

/// The origin of an address that is safe on the way, or does not leave this machine.
fn origin(address: &str) -> Result<String, BadProvider> {
    let bad = || BadProvider(address.to_owned());
    let url = Url::parse(address).map_err(|_| bad())?;
    let loopback = matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
    match url.scheme() {
        "https" => Ok(url.origin().ascii_serialization()),
        "http" if loopback => Ok(url.origin().ascii_serialization()),
        _ => Err(bad()),
    }
}

/// The routes of this function.
pub fn routes(console: Console, clock: Clock) -> Router {
    let routes = Router::new()
        .route("/console", get(page))
        .route("/console/configuration.json", get(configuration))
        .route("/console/assets/{release}/{file}", get(asset))
        .with_state(console);
    edge::around(routes, clock)
}

async fn page(State(console): State<Console>, headers: HeaderMap) -> Result<Response, ApiError> {
    let mut response = find(PAGE)?.answer(&headers, "no-cache");
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, console.policy);
    Ok(response)
}

async fn configuration(State(console): State<Console>) -> Response {
    ([(header::CACHE_CONTROL, "no-cache")], Json(console.configuration)).into_response()
}

async fn asset(Path((release, file)): Path<(String, String)>, headers: HeaderMap) -> Result<Response, ApiError> {
    if release != embedded::RELEASE || file == PAGE {
        return Err(gone());
    }
    Ok(find(&file)?.answer(&headers, "public, max-age=31536000, immutable"))
}

fn find(name: &str) -> Result<&'static Asset, ApiError> {
    embedded::ASSETS.iter().find(|asset| asset.name == name).ok_or_else(gone)
}

fn gone() -> ApiError {
    ApiError::new(Code::NotFound, "The console has no such file, or none of this release: reload the page.")
}

impl Asset {
    fn answer(&self, headers: &HeaderMap, kept: &'static str) -> Response {
        let fixed: [(HeaderName, &str); 3] = [
            (header::CONTENT_TYPE, self.content_type()),
            (header::CACHE_CONTROL, kept),
            (header::VARY, "Accept-Encoding"),
        ];
        if takes_gzip(headers) {
            return (fixed, [(header::CONTENT_ENCODING, "gzip")], self.compressed).into_response();
        }
        (fixed, self.plain).into_response()
    }

    fn content_type(&self) -> &'static str {
        match self.name.rsplit('.').next() {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "application/octet-stream",
        }
    }
}

/// Whether the client takes gzip (RFC 9110 §12.5.3), as every browser does.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|field| field.to_str().ok());
    fields.flat_map(|field| field.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let refused = parts.any(|weight| matches!(weight, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
        named && !refused
    })
}

#[cfg(test)]
mod tests;
