//! What the caller was told in the product. Administrators see what is said to the organisation beside their own.

use std::sync::Arc;

use axum::{Json as Answer, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::{
    access::{Caller, Operation, Relation, Subject},
    edge::{ApiError, Path, Problem, Query},
    health::Colour,
    profile::{Network, ProfileId},
    store::{
        is_row_id,
        outbox::{About, Notice, OfToken, Recipient},
        suppressions::{Suppression, Trouble},
    },
    token::{Reason, Step, TokenId, days_left},
};
use utoipa::{IntoParams, ToSchema};

use crate::{Admitted, Tokens, no_such_page};

/// How many notices come at once.
const PAGE: i32 = 50;

/// Which page.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listed {
    /// From the page before.
    next: Option<String>,
}

/// Something that the caller was told.
#[derive(Serialize, ToSchema)]
#[schema(as = Notice)]
pub(crate) struct NoticeView {
    id: String,
    /// `token_expiring`, `token_expired`, `token_needs_reauth`, `acquisition_yellow` or `acquisition_red`.
    kind: &'static str,
    /// The profile that it is about; absent when it is about a network.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    profile_id: Option<ProfileId>,
    /// The token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    token_id: Option<TokenId>,
    /// The profile's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// The subject of the token's owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    owner: Option<Subject>,
    /// The network, when it is about acquisition there.
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<Network>,
    /// What follows and what to do, when it is about acquisition.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// The days that were left when it was written, a begun day counted as one; absent when the token died before its time.
    #[serde(skip_serializing_if = "Option::is_none")]
    days_left: Option<i64>,
    /// When the token ends, or ended; absent when it died before its time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// Why it needs to be reauthenticated before its time.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    /// When it was written.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    dismissed: bool,
}

impl From<Notice> for NoticeView {
    fn from(Notice { id, about, at, dismissed, .. }: Notice) -> Self {
        let view = Self {
            id,
            kind: "",
            profile_id: None,
            token_id: None,
            name: None,
            owner: None,
            network: None,
            detail: None,
            days_left: None,
            expires_at: None,
            reason: None,
            at,
            dismissed,
        };
        match about {
            About::Token(OfToken { step, profile, name, token_id, owner, .. }) => {
                let (kind, expires_at, reason) = match step {
                    Step::Warning { expires_at } => ("token_expiring", Some(expires_at), None),
                    Step::Expired { expires_at } => ("token_expired", Some(expires_at), None),
                    Step::Dead { reason, .. } => ("token_needs_reauth", None, Some(reason)),
                };
                Self {
                    kind,
                    profile_id: Some(profile),
                    token_id: Some(token_id),
                    name: Some(name),
                    owner: Some(owner),
                    days_left: expires_at.map(|end| days_left(end, at)),
                    expires_at,
                    reason,
                    ..view
                }
            }
            About::Acquisition { network, colour } => {
                let kind = if colour == Colour::Red { "acquisition_red" } else { "acquisition_yellow" };
                Self { kind, network: Some(network), detail: colour.consequence(network), ..view }
            }
        }
    }
}

/// A page of notices.
#[derive(Serialize, ToSchema)]
pub(crate) struct Notices {
    items: Vec<NoticeView>,
    /// Where the next page begins; null on the last.
    #[schema(required)]
    next: Option<String>,
    /// Why these are not mailed to the caller's address; absent while they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    mail: Option<Unmailed>,
}

/// That an address is not written to any more, until it changes.
#[derive(Serialize, ToSchema)]
pub(crate) struct Unmailed {
    /// Always `suppressed`.
    state: &'static str,
    reason: Trouble,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
}

/// Lists the caller's notices, newest first; an administrator's with those of the organisation.
#[utoipa::path(get, operation_id = "list_notices", path = "/v1/notices", params(Listed), responses(
    (status = 200, body = Notices, description = "The caller's own notices, and an administrator's of the organisation"),
    Problem,
))]
pub(crate) async fn list(
    State(tokens): State<Arc<Tokens>>,
    Admitted(caller): Admitted,
    Query(listed): Query<Listed>,
) -> Result<Answer<Notices>, ApiError> {
    if listed.next.as_deref().is_some_and(|next| !is_row_id(next)) {
        return Err(no_such_page());
    }
    let (mut notices, mut more) = (Vec::new(), false);
    for recipient in recipients(&caller) {
        let (page, next) = tokens.vault.notices(&caller.tenant, &recipient, listed.next.as_deref(), PAGE).await?;
        notices.extend(page);
        more |= next.is_some();
    }
    // an id begins with its moment; what was said to both has the same id, and the person's own comes first
    notices.sort_by(|one, other| other.id.cmp(&one.id));
    notices.dedup_by(|one, other| one.id == other.id);
    let most = usize::try_from(PAGE).unwrap_or_default();
    more |= notices.len() > most;
    notices.truncate(most);
    let next = notices.last().filter(|_| more).map(|notice| notice.id.clone());
    let suppression = match &caller.email {
        Some(email) => tokens.vault.suppression(&caller.tenant, email).await?,
        None => None,
    };
    let mail = suppression.map(|Suppression { reason, since }| Unmailed { state: "suppressed", reason, since });
    Ok(Answer(Notices { items: notices.into_iter().map(Into::into).collect(), next, mail }))
}

/// Puts one of the caller's notices aside. One of the organisation's is put aside for all its administrators.
#[utoipa::path(
    post, operation_id = "dismiss_notice", path = "/v1/notices/{id}/dismiss", params(("id" = String, Path)), responses(
    (status = 200, body = NoticeView, description = "The notice as it is now"),
    Problem,
))]
pub(crate) async fn dismiss(
    State(tokens): State<Arc<Tokens>>,
    Admitted(caller): Admitted,
    Path(id): Path<String>,
) -> Result<Answer<NoticeView>, ApiError> {
    if !is_row_id(&id) {
        return Err(ApiError::not_found());
    }
    for recipient in recipients(&caller) {
        if let Some(notice) = tokens.vault.dismiss(&caller.tenant, &recipient, &id).await? {
            return Ok(Answer(notice.into()));
        }
    }
    Err(ApiError::not_found())
}

/// Whose notices the caller sees: their own first.
fn recipients(caller: &Caller) -> Vec<Recipient> {
    let mut recipients = vec![Recipient::Person(caller.subject.clone())];
    if caller.may(Operation::Administer, Relation::Stranger) {
        recipients.push(Recipient::Administrators);
    }
    recipients
}
