//! Who did what to which token, for administrators.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json as Answer, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::{
    access::{Caller, Subject},
    edge::{ApiError, Code, Problem, Query},
    health::Colour,
    history::{Event, What},
    profile::{Network, ProfileId, Switch},
    rule::RuleId,
    store::is_row_id,
    token::{Reason, TokenId},
};
use utoipa::{IntoParams, ToSchema};

use crate::{Admitted, Tokens, no_such_page, settings::require_administrator};

/// How many lines come at once.
const PAGE: i32 = 50;

/// Which lines.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listed {
    /// Those of one profile; a page may then be empty and have a next one all the same.
    #[param(example = "x_profile-42")]
    profile_id: Option<String>,
    /// From the page before.
    next: Option<String>,
}

/// Something that was done.
#[derive(Serialize, ToSchema)]
#[schema(as = Event)]
pub(crate) struct EventView {
    id: String,
    event: What,
    /// When; of what is summed up, the beginning of its day in UTC.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// The subject of the person or worker who did it (the last one, of what is summed up); null for what happens by itself.
    #[schema(required, value_type = Option<String>)]
    by: Option<Subject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    profile_id: Option<ProfileId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    token_id: Option<TokenId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    rule_id: Option<RuleId>,
    /// The user to whom it was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    user: Option<Subject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<Network>,
    /// The switches that were turned.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, bool>>)]
    allow: Option<BTreeMap<Switch, bool>>,
    /// Why a token died.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    /// How acquisition stood from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    colour: Option<Colour>,
    /// How often it happened that day.
    #[serde(skip_serializing_if = "Option::is_none")]
    times: Option<u64>,
    /// How often of these it did not succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    failures: Option<u64>,
}

impl From<(String, Event)> for EventView {
    fn from((id, event): (String, Event)) -> Self {
        let Event {
            event,
            at,
            by,
            profile_id,
            token_id,
            rule_id,
            user,
            network,
            allow,
            reason,
            colour,
            times,
            failures,
        } = event;
        Self { id, event, at, by, profile_id, token_id, rule_id, user, network, allow, reason, colour, times, failures }
    }
}

/// A page of the history.
#[derive(Serialize, ToSchema)]
pub(crate) struct History {
    items: Vec<EventView>,
    /// Where the next page begins; null on the last.
    #[schema(required)]
    next: Option<String>,
}

/// Lists who did what to which token, newest first. Lines are kept for 400 days.
#[utoipa::path(get, operation_id = "list_history", path = "/v1/history", params(Listed), responses(
    (status = 200, body = History, description = "The organisation's history"),
    Problem,
))]
pub(crate) async fn list(
    State(tokens): State<Arc<Tokens>>,
    Admitted(caller): Admitted,
    Query(listed): Query<Listed>,
) -> Result<Answer<History>, ApiError> {
    require_administrator(&caller)?;
    let profile: Option<ProfileId> = listed
        .profile_id
        .map(|id| id.parse().map_err(|_| ApiError::new(Code::InvalidRequest, "`profile_id` is none.")))
        .transpose()?;
    if listed.next.as_deref().is_some_and(|next| !is_row_id(next)) {
        return Err(no_such_page());
    }
    let page = tokens.vault.history(&caller.tenant, profile.as_ref(), listed.next.as_deref(), PAGE).await?;
    let (lines, next) = page;
    Ok(Answer(History { items: lines.into_iter().map(Into::into).collect(), next }))
}

impl Tokens {
    /// Notes in the history that the caller did `what`, to whatever `to` adds.
    pub(crate) async fn note(&self, caller: &Caller, to: impl FnOnce(Event) -> Event, what: What) {
        let event = to(Event::new(what, self.clock.now()).by(&caller.subject));
        self.vault.record(&caller.tenant, &event).await;
    }
}
