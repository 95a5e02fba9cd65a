//! `POST /v1/leases/{id}/report`: what the network answered to a worker.
//!
//! The network's own table says what an answer means. A limit of the token makes it rest. Whatever would do more than
//! that (a death, a limit of the whole app, a permission that is gone) is asked of the network itself first, at most
//! once a minute for a token, so that no worker's mistake disconnects anybody or stops other tenants.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json as Answer, extract::State};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::{
    access::Caller,
    clock::Deadline,
    edge::{ApiError, Json, Path, Problem},
    history::What,
    inspect::Inspected,
    keys::KeysError,
    network::{self, Failure, Limit, LimitReach},
    store::profiles::{Held, TokenKey},
    token::Reason,
};
use utoipa::ToSchema;

use crate::{Leases, Worker, ticket::Ticket};

/// The network is asked about one token no more often.
const CHECK_INTERVAL: SignedDuration = SignedDuration::from_mins(1);
/// A limit of which the network does not say how long it lasts.
const LIMIT: u32 = 15 * 60;

/// What a worker met with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LeaseReport)]
pub(crate) struct Report {
    /// How the worker sees it; it counts where there is no `http_status`.
    outcome: Outcome,
    /// The status of the network's answer.
    #[schema(minimum = 100, maximum = 599)]
    http_status: Option<u16>,
    /// Its header fields, those about limits at least.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Its body: JSON, or text.
    #[serde(default)]
    body: Value,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// It worked.
    Succeeded,
    /// The network wants less.
    RateLimited,
    /// The network did not take the access token.
    Unauthorized,
    /// The network says that a permission is missing.
    Forbidden,
    /// The network was down or did not answer.
    Unavailable,
    /// Something else went wrong.
    Failed,
}

/// What a report changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Effect {
    /// Nothing: it says nothing about the token.
    None,
    /// Nothing: the token has had a newer secret since.
    Outdated,
    /// Nothing: the network was asked and says that the token is in order, or could not be asked now.
    Unconfirmed,
    /// The token rests until the limit is over.
    CoolingDown,
    /// The network limits the whole app: it is paused.
    AppPaused,
    /// The network says that permissions are gone: its present scopes are kept.
    ScopesChanged,
    /// There is a new access token.
    Refreshed,
    /// The network confirmed that it is dead; its owner is told.
    NeedsReauth,
}

/// What came of a report.
#[derive(Serialize, ToSchema)]
#[schema(as = LeaseReportResult)]
pub(crate) struct Taken {
    effect: Effect,
    /// The token's state now.
    state: &'static str,
    /// When it can be used again, where it rests.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    retry_at: Option<Timestamp>,
}

/// Reports what the network answered to a leased access token.
#[utoipa::path(
    post, operation_id = "report_lease", path = "/v1/leases/{id}/report", params(("id" = String, Path)),
    request_body = Report, responses(
    (status = 200, body = Taken, description = "What it changed"),
    Problem,
))]
pub(crate) async fn report(
    State(leases): State<Arc<Leases>>,
    Worker(caller): Worker,
    deadline: Deadline,
    Path(id): Path<String>,
    Json(report): Json<Report>,
) -> Result<Answer<Taken>, ApiError> {
    let refresher = &leases.refresher;
    let ticket = Ticket::open(&id, &refresher.keys, &caller.tenant).await.map_err(|error| match error {
        KeysError::Unsealable(_) => ApiError::not_found(),
        other => other.into(),
    })?;
    let key = TokenKey { tenant: caller.tenant.clone(), profile: ticket.profile, token: ticket.token };
    let held = refresher.vault.token(&key).await?.ok_or_else(ApiError::not_found)?;
    let network = key.profile.kind().network();
    let (effect, pause) = if held.token.generation == ticket.generation {
        match report.read(|answer| network.provider().judge(answer, refresher.clock.now()))? {
            Ok(()) => (Effect::None, None),
            Err(failure) => leases.act(&caller, &key, &held, failure, deadline).await?,
        }
    } else {
        (Effect::Outdated, None)
    };
    let (now, failed) = (refresher.clock.now(), !matches!(report.outcome, Outcome::Succeeded));
    refresher.vault.count(&key, What::Leased, Some(&caller.subject), failed, now).await;
    let held = refresher.vault.token(&key).await?.ok_or_else(ApiError::not_found)?;
    let settings = async { refresher.vault.settings(&caller.tenant, false).await.map(Some) };
    let settings = leases.recent.settings.get(caller.tenant.clone(), now, settings).await?.unwrap_or_default();
    let state = held.token.state_at(now);
    let retry_at = state.cooling_until().into_iter().chain(pause).max();
    Ok(Answer(Taken { effect, state: held.token.state_name(now, &settings.ladder), retry_at }))
}

impl Report {
    /// What it means by the network's table; without an answer, what the worker makes of it.
    fn read(
        &self,
        judge: impl FnOnce(&network::Answer) -> Result<(), Failure>,
    ) -> Result<Result<(), Failure>, ApiError> {
        let Some(status) = self.http_status else {
            return Ok(match self.outcome {
                Outcome::Succeeded | Outcome::Unavailable | Outcome::Failed => Ok(()),
                Outcome::RateLimited => Err(Failure::Limited(Limit { reach: LimitReach::Token, seconds: LIMIT })),
                Outcome::Unauthorized => Err(Failure::Dead(Reason::RevokedByUser)),
                Outcome::Forbidden => Err(Failure::Forbidden),
            });
        };
        let status = StatusCode::from_u16(status).map_err(|_| misfit("`http_status` is no HTTP status."))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let name = HeaderName::try_from(name).map_err(|_| misfit("`headers` has a name that is none."))?;
            headers
                .insert(name, HeaderValue::try_from(value).map_err(|_| misfit("`headers` has a value that is none."))?);
        }
        let body = match &self.body {
            Value::Null => Vec::new(),
            Value::String(text) => text.clone().into_bytes(),
            body => body.to_string().into_bytes(),
        };
        Ok(judge(&network::Answer { status, headers, body: body.into() }))
    }
}

fn misfit(detail: &'static str) -> ApiError {
    ApiError::new(shared::edge::Code::InvalidRequest, detail)
}

impl Leases {
    /// Does what an answer of the network asks for; tells until when the app is paused, if it is.
    async fn act(
        &self,
        caller: &Caller,
        key: &TokenKey,
        held: &Held,
        failure: Failure,
        deadline: Deadline,
    ) -> Result<(Effect, Option<Timestamp>), ApiError> {
        match failure {
            Failure::Limited(Limit { reach: LimitReach::Token, seconds }) => {
                self.refresher.rest(key, held, seconds).await?;
                Ok((Effect::CoolingDown, None))
            }
            Failure::Dead(_) | Failure::Forbidden | Failure::AppRejected | Failure::Limited(_) => {
                tracing::info!(tenant = %caller.tenant, worker = %caller.subject, profile = %key.profile, %failure, "reported");
                self.check(key, held, deadline).await
            }
            _ => Ok((Effect::None, None)),
        }
    }

    /// Asks the network how the token is, and believes what it says.
    async fn check(
        &self,
        key: &TokenKey,
        held: &Held,
        deadline: Deadline,
    ) -> Result<(Effect, Option<Timestamp>), ApiError> {
        let (refresher, now) = (&self.refresher, self.refresher.clock.now());
        let over = held.token.state_at(now).is_over();
        if over || !refresher.vault.begin_check(key, held, now, now + CHECK_INTERVAL).await? {
            return Ok((Effect::Unconfirmed, None));
        }
        Ok(match refresher.inspect(key, held, deadline).await? {
            Inspected::Well | Inspected::Unknown(_) => (Effect::Unconfirmed, None),
            Inspected::ScopesChanged => (Effect::ScopesChanged, None),
            Inspected::Renewed => (Effect::Refreshed, None),
            Inspected::Dead(_) => (Effect::NeedsReauth, None),
            Inspected::Resting => (Effect::CoolingDown, None),
            Inspected::Changed => (Effect::Outdated, None),
            Inspected::AppPaused(until) => {
                self.recent.pauses.forget(&(key.profile.kind().network(), held.token.app.clone()));
                (Effect::AppPaused, Some(until))
            }
        })
    }
}
