//! Connect sessions, profiles, tokens, people, rules, health, notices, settings and history: the part of the API that
//! people's programs use.
//!
//! The tenant of every row comes from the verified caller. What belongs to another tenant is
//! answered exactly like what does not exist. No route answers with a secret of any kind.

use std::sync::Arc;

use axum::{Router, extract::FromRequestParts, routing::get};
use http::{header, request::Parts};
use shared::{
    access::{Caller, Operation, Relation},
    apps::Apps,
    clock::Clock,
    connect::ReturnUrls,
    edge::{self, ApiError, Code, Problem},
    exchange::Exchange,
    keys::TenantKeys,
    random::Random,
    revoke::Revoker,
    store::{flows::Flows, profiles::Vault},
};
use utoipa::{
    Modify, OpenApi,
    openapi::{
        self,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

mod completion;
mod health;
mod history;
mod notices;
mod people;
mod profiles;
mod rules;
mod sessions;
mod settings;
mod view;

/// Everything that this function can reach; the same list as its IAM statements.
pub struct Tokens {
    /// Profiles, tokens, rules, notices.
    pub vault: Vault,
    /// Connect sessions.
    pub flows: Flows,
    /// Opens unattached grants and seals them for their token.
    pub keys: Arc<TenantKeys>,
    /// The apps, to revoke what they were granted.
    pub apps: Apps,
    /// Talks with the networks, to revoke.
    pub exchange: Exchange,
    /// Where browsers find Tokenward, without a trailing slash.
    pub public_url: String,
    /// Where browsers may be led back to.
    pub return_urls: ReturnUrls,
    /// The time.
    pub clock: Clock,
    /// Ids and tickets.
    pub random: Random,
}

#[derive(OpenApi)]
#[openapi(modifiers(&AccessToken), components(schemas(Problem)), security(("access_token" = [])), info(
    title = "Tokenward",
    description = "Keeps an organisation's social access tokens alive, safe and usable. Errors are problem documents \
                   (RFC 9457) with a stable `code`; times are RFC 3339 in UTC; unknown fields are refused.",
    license(name = "MIT OR Apache-2.0")
))]
struct Description;

/// Every route takes an access token of the identity provider (RFC 6750).
struct AccessToken;

impl Modify for AccessToken {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT");
        let scheme = SecurityScheme::Http(bearer.build());
        document.components.get_or_insert_default().add_security_scheme("access_token", scheme);
    }
}

fn described() -> OpenApiRouter<Arc<Tokens>> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(sessions::begin))
        .routes(routes!(sessions::look))
        .routes(routes!(completion::complete))
        .routes(routes!(profiles::list))
        .routes(routes!(profiles::look, people::change, profiles::delete))
        .routes(routes!(profiles::tokens))
        .routes(routes!(profiles::change_token, profiles::delete_token))
        .routes(routes!(people::remove))
        .routes(routes!(rules::list, rules::create))
        .routes(routes!(rules::change, rules::delete))
        .routes(routes!(health::look))
        .routes(routes!(notices::list))
        .routes(routes!(notices::dismiss))
        .routes(routes!(history::list))
        .routes(routes!(settings::look, settings::put))
}

/// The description of the whole API (OpenAPI 3.1), this function's part and that of every other: a golden file, which
/// a test makes from what the functions declare.
const DESCRIPTION: &[u8] = include_bytes!("../openapi.json");

/// This function's part of the API's description, made from the same declarations as its routes.
#[must_use]
pub fn openapi() -> openapi::OpenApi {
    described().into_openapi()
}

/// The routes of this function.
pub fn routes(tokens: Tokens) -> Router {
    let clock = tokens.clock.clone();
    let description = || async { ([(header::CONTENT_TYPE, "application/json")], DESCRIPTION) };
    let routes = Router::from(described()).with_state(Arc::new(tokens)).route("/openapi.json", get(description));
    edge::around(routes, clock)
}

impl Tokens {
    fn revoker(&self) -> Revoker {
        Revoker {
            vault: self.vault.clone(),
            flows: self.flows.clone(),
            keys: Arc::clone(&self.keys),
            apps: self.apps.clone(),
            exchange: self.exchange.clone(),
        }
    }
}

/// A user whom nobody has removed since the access token was issued. Workers have no part in this
/// function.
///
/// API Gateway keeps the authorizer's answer for minutes; the row is read strongly, so that a
/// removal takes effect at once. Whoever is admitted is remembered. Where that fails, what only
/// shows something goes on without it; a change fails, because what comes of it is told to
/// whomever the memory names.
struct Admitted(Caller);

impl FromRequestParts<Arc<Tokens>> for Admitted {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, tokens: &Arc<Tokens>) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, tokens).await?;
        if !caller.may(Operation::See, Relation::Stranger) {
            return Err(ApiError::forbidden("This needs a user's role."));
        }
        let user = tokens.vault.user(&caller.tenant, &caller.subject, true).await?;
        if user.removed_at.is_some_and(|removed| caller.issued_at <= removed) {
            return Err(ApiError::new(Code::Unauthenticated, "You were removed. Ask an administrator."));
        }
        match tokens.vault.remember(&caller, &user, tokens.clock.now()).await {
            Err(error) if parts.method.is_safe() => tracing::warn!(%error, "a caller is not remembered"),
            remembered => remembered?,
        }
        Ok(Self(caller))
    }
}

/// A refresh may change a token at the very moment that a person changes it too: then it is looked at again, so often.
const TRIES: u32 = 3;

/// The refusal of a `next` that no page ever told.
fn no_such_page() -> ApiError {
    ApiError::new(Code::InvalidRequest, "`next` is not what the page before said.")
}

/// The words for whoever lacks the role that most changes need.
const NEEDS_INTERACTION: &str = "This needs the role responder or manager, and the thing must be your own.";
