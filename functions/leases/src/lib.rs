//! Leases: how workers get access tokens that work now, and tell what the networks answered.
//!
//! A lease reads the token's row strongly and writes nothing, unless the access token must be renewed first. Load
//! is spread by chance over every token that may do it. What a worker reports is a hint: it can make a token rest
//! for a while, but nothing ends because a worker says so; the network is asked first.

use std::sync::Arc;

use axum::{Router, extract::FromRequestParts};
use http::request::Parts;
use jiff::SignedDuration;
use shared::{
    access::{Caller, TenantId},
    edge::{self, ApiError},
    profile::{Network, Use},
    recent::Recent,
    refresh::Refresher,
    rule::{Rule, RuleId},
    settings::Settings,
    store::{
        pauses::Pause,
        profiles::{Pooled, TokenKey},
    },
};
use utoipa::openapi;
use utoipa_axum::{router::OpenApiRouter, routes};

mod lease;
mod report;
mod ticket;

/// An attempt to refresh may run so long: longer than this function lives.
pub const REFRESH_LEASE: SignedDuration = SignedDuration::from_secs(40);

/// Everything that this function can reach; the same list as its IAM statements.
pub struct Leases {
    /// The tokens, the keys, the apps, the networks and the spill queue.
    pub refresher: Refresher,
    /// What was read a moment ago and changes rarely.
    pub recent: Memory,
}

/// What is remembered for a few seconds: hints, and what an administrator sets.
#[derive(Default)]
pub struct Memory {
    pauses: Recent<(Network, String), Pause>,
    pools: Recent<(TenantId, Network, Use), Arc<[Pooled]>>,
    lists: Recent<(TenantId, Network), Arc<[TokenKey]>>,
    rules: Recent<(TenantId, RuleId), Rule>,
    settings: Recent<TenantId, Settings>,
}

fn described() -> OpenApiRouter<Arc<Leases>> {
    OpenApiRouter::new().routes(routes!(lease::lease)).routes(routes!(report::report))
}

/// The description of these routes (OpenAPI 3.1).
#[must_use]
pub fn openapi() -> openapi::OpenApi {
    described().into_openapi()
}

/// The routes of this function.
pub fn routes(leases: Leases) -> Router {
    let clock = leases.refresher.clock.clone();
    let (routes, _) = described().split_for_parts();
    edge::around(routes.with_state(Arc::new(leases)), clock)
}

/// A worker: a program with the scope `leases`, and no person.
struct Worker(Caller);

impl<S: Sync> FromRequestParts<S> for Worker {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, state).await?;
        caller
            .leases()
            .then_some(Self(caller))
            .ok_or_else(|| ApiError::forbidden("This needs a worker's scope `leases`."))
    }
}
