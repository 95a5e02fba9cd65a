//! Rules: create, list, edit, delete.

use std::{collections::BTreeSet, sync::Arc};

use axum::{Json as Answer, extract::State};
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::{
    access::{Caller, Operation, Relation, Subject},
    edge::{ApiError, Code, Json, Path, Problem, Query},
    history::What,
    profile::{Network, ProfileId, Use},
    rule::{NoRule, Rule, RuleId, RuleOf, Topic},
};
use utoipa::{IntoParams, ToSchema};

use crate::{Admitted, Tokens, no_such_page};

const PAGE: i32 = 50;

/// Which page.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listed {
    /// From the page before.
    next: Option<String>,
}

/// The rule to create: for `search_acquisition` it names a `network`, for `private_messages` the `profile_ids`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateRule {
    /// What it is about.
    #[schema(min_length = 1, max_length = 200)]
    topic: String,
    /// `search_acquisition` or `private_messages`; it never changes.
    #[serde(rename = "use")]
    #[schema(value_type = Use)]
    usage: String,
    /// The network to search.
    #[schema(value_type = Option<Network>)]
    network: Option<String>,
    /// The profiles whose messages are read and written.
    #[schema(min_items = 1, max_items = 100)]
    profile_ids: Option<Vec<String>>,
}

/// What to change about a rule; what is left out stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeRule {
    /// What it is about.
    #[schema(min_length = 1, max_length = 200)]
    topic: Option<String>,
    /// The network to search.
    #[schema(value_type = Option<Network>)]
    network: Option<String>,
    /// All the profiles whose messages are read and written.
    #[schema(min_items = 1, max_items = 100)]
    profile_ids: Option<Vec<String>>,
}

/// A rule.
#[derive(Serialize, ToSchema)]
#[schema(as = Rule)]
pub(crate) struct RuleView {
    #[schema(value_type = String)]
    id: RuleId,
    #[schema(value_type = String)]
    topic: Topic,
    /// `search_acquisition` or `private_messages`.
    #[serde(rename = "use")]
    usage: Use,
    /// The network to search.
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<Network>,
    /// The profiles whose messages are read and written.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    profile_ids: Option<BTreeSet<ProfileId>>,
    /// The subject of whoever made it.
    #[schema(value_type = String)]
    owner: Subject,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<Rule> for RuleView {
    fn from(Rule { id, topic, owner, created_at, of }: Rule) -> Self {
        let usage = of.usage();
        let (network, profile_ids) = match of {
            RuleOf::SearchAcquisition { network } => (Some(network), None),
            RuleOf::PrivateMessages { profile_ids } => (None, Some(profile_ids)),
        };
        Self { id, topic, usage, network, profile_ids, owner, created_at }
    }
}

/// A page of rules.
#[derive(Serialize, ToSchema)]
pub(crate) struct Rules {
    items: Vec<RuleView>,
    /// Where the next page begins; null on the last.
    #[schema(required)]
    next: Option<String>,
}

/// Lists the organisation's rules.
#[utoipa::path(get, operation_id = "list_rules", path = "/v1/rules", params(Listed), responses(
    (status = 200, body = Rules, description = "Rules by id"),
    Problem,
))]
pub(crate) async fn list(
    State(tokens): State<Arc<Tokens>>,
    Admitted(caller): Admitted,
    Query(listed): Query<Listed>,
) -> Result<Answer<Rules>, ApiError> {
    let after: Option<RuleId> = match listed.next.map(|next| next.parse()).transpose() {
        Ok(after) => after,
        Err(_) => return Err(no_such_page()),
    };
    let (rules, next) = tokens.vault.rules(&caller.tenant, after.as_ref(), PAGE).await?;
    let items = rules.into_iter().map(Into::into).collect();
    Ok(Answer(Rules { items, next: next.map(|id| id.to_string()) }))
}

/// Creates a rule, which leases for search acquisition and private messages name.
#[utoipa::path(post, operation_id = "create_rule", path = "/v1/rules", request_body = CreateRule, responses(
    (status = 201, body = RuleView, description = "The rule"),
    Problem,
))]
pub(crate) async fn create(
    State(tokens): State<Arc<Tokens>>,
    Admitted(caller): Admitted,
    Json(wanted): Json<CreateRule>,
) -> Result<(StatusCode, Answer<RuleView>), ApiError> {
    if !caller.may(Operation::CreateRule, Relation::Owner) {
        return Err(ApiError::forbidden("Making a rule needs the role power analyst or administrator."));
    }
    let topic = read_topic(wanted.topic)?;
    let usage: Use = wanted.usage.parse().map_err(|_| ApiError::new(Code::UnsupportedUse, NEEDS_NO_RULE))?;
    let of = tokens.covered(&caller, usage, wanted.network, wanted.profile_ids).await?;
    let (id, created_at) = (RuleId::new(&tokens.random), tokens.clock.now());
    let rule = Rule { id, topic, owner: caller.subject.clone(), created_at, of };
    tokens.vault.put_rule(&caller.tenant, &rule).await?;
    tokens.note(&caller, |event| event.to_rule(&rule.id), What::RuleCreated).await;
    Ok((StatusCode::CREATED, Answer(rule.into())))
}

/// Changes what a rule is about, or what it covers.
#[utoipa::path(
    patch, operation_id = "change_rule", path = "/v1/rules/{id}", params(("id" = String, Path)),
    request_body = ChangeRule, responses(
    (status = 200, body = RuleView, description = "The rule as it is now"),
    Problem,
))]
pub(crate) async fn change(
    State(tokens): State<Arc<Tokens>>,
    Admitted(caller): Admitted,
    Path(id): Path<RuleId>,
    Json(change): Json<ChangeRule>,
) -> Result<Answer<RuleView>, ApiError> {
    let rule = tokens.own_rule(&caller, &id).await?;
    let topic = change.topic.map(read_topic).transpose()?;
    let of = match (change.network, change.profile_ids) {
        (None, None) => None,
        (network, profile_ids) => Some(tokens.covered(&caller, rule.of.usage(), network, profile_ids).await?),
    };
    if topic.is_none() && of.is_none() {
        return Err(ApiError::new(Code::InvalidRequest, "The body names nothing to change."));
    }
    let changed = tokens.vault.change_rule(&caller.tenant, &id, topic.as_ref(), of.as_ref()).await?;
    let rule = changed.ok_or_else(ApiError::not_found)?;
    tokens.note(&caller, |event| event.to_rule(&id), What::RuleChanged).await;
    Ok(Answer(rule.into()))
}

/// Deletes a rule: no lease goes by it any more.
#[utoipa::path(
    delete, operation_id = "delete_rule", path = "/v1/rules/{id}", params(("id" = String, Path)), responses(
    (status = 200, body = RuleView, description = "The rule as it was"),
    Problem,
))]
pub(crate) async fn delete(
    State(tokens): State<Arc<Tokens>>,
    Admitted(caller): Admitted,
    Path(id): Path<RuleId>,
) -> Result<Answer<RuleView>, ApiError> {
    let rule = tokens.own_rule(&caller, &id).await?;
    tokens.vault.delete_rule(&caller.tenant, &id).await?;
    tokens.note(&caller, |event| event.to_rule(&id), What::RuleDeleted).await;
    Ok(Answer(rule.into()))
}

/// The words for a use that no rule is made for.
const NEEDS_NO_RULE: &str = "A rule is for `search_acquisition` or `private_messages`; other uses need none.";

fn read_topic(text: String) -> Result<Topic, ApiError> {
    Topic::try_from(text).map_err(|_| {
        let detail = "A topic has 1 to 200 characters, not just spaces, and no control characters.";
        ApiError::new(Code::InvalidRequest, detail)
    })
}

fn refusal(reason: &NoRule) -> ApiError {
    match reason {
        NoRule::NotNeeded(_) => ApiError::new(Code::UnsupportedUse, NEEDS_NO_RULE),
        NoRule::NoSearch(network) => {
            ApiError::new(Code::UnsupportedUse, format!("There is no search acquisition at {}.", network.title()))
        }
        NoRule::NoMessages(kind) => {
            ApiError::new(Code::UnsupportedUse, format!("{}s have no private messages.", kind.title()))
        }
        NoRule::Misfit => ApiError::new(
            Code::InvalidRequest,
            "A rule names a `network` if it is for search acquisition, `profile_ids` if it is for private messages, and \
             never both.",
        ),
        NoRule::Profiles => ApiError::new(Code::InvalidRequest, "A rule names 1 to 100 profiles."),
    }
}

impl Tokens {
    /// A rule that the caller may edit, read strongly.
    async fn own_rule(&self, caller: &Caller, id: &RuleId) -> Result<Rule, ApiError> {
        let rule = self.vault.rule(&caller.tenant, id, true).await?.ok_or_else(ApiError::not_found)?;
        let relation = if rule.owner == caller.subject { Relation::Owner } else { Relation::Stranger };
        let may = caller.may(Operation::ChangeRule, relation);
        may.then_some(rule).ok_or_else(|| {
            ApiError::forbidden("Editing a rule needs the power analyst who made it, or an administrator.")
        })
    }

    /// What a rule covers that names these; its profiles are the organisation's own.
    async fn covered(
        &self,
        caller: &Caller,
        usage: Use,
        network: Option<String>,
        profile_ids: Option<Vec<String>>,
    ) -> Result<RuleOf, ApiError> {
        let network: Option<Network> = network
            .map(|name| name.parse().map_err(|_| ApiError::new(Code::UnknownNetwork, "There is no such network.")))
            .transpose()?;
        let profile_ids = profile_ids
            .map(|ids| ids.iter().map(|id| id.parse().map_err(|_| ApiError::not_found())).collect())
            .transpose()?;
        let of = RuleOf::new(usage, network, profile_ids).map_err(|reason| refusal(&reason))?;
        if let RuleOf::PrivateMessages { profile_ids } = &of {
            for id in profile_ids {
                self.see(caller, id).await?;
            }
        }
        Ok(of)
    }
}
