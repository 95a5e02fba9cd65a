//! What the caller was told in the product.

use std::sync::Arc;

use axum::{Json as Answer, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::{
    edge::{ApiError, Code, Path, Problem, Query},
    profile::ProfileId,
    store::outbox::{Notice, is_notice_id},
    token::{Reason, Step, TokenId, days_left},
};
use utoipa::{IntoParams, ToSchema};

use crate::{Admitted, Tokens};

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
    /// `token_expiring`, `token_expired` or `token_needs_reauth`.
    kind: &'static str,
    #[schema(value_type = String)]
    profile_id: ProfileId,
    #[schema(value_type = String)]
    token_id: TokenId,
    /// The profile's name.
    name: String,
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
    fn from(notice: Notice) -> Self {
        let (kind, expires_at, reason) = match notice.step {
            Step::Warning { expires_at } => ("token_expiring", Some(expires_at), None),
            Step::Expired { expires_at } => ("token_expired", Some(expires_at), None),
            Step::Dead { reason, .. } => ("token_needs_reauth", None, Some(reason)),
        };
        Self {
            id: notice.id,
            kind,
            profile_id: notice.profile,
            token_id: notice.token_id,
            name: notice.name,
            days_left: expires_at.map(|end| days_left(end, notice.at)),
            expires_at,
            reason,
            at: notice.at,
            dismissed: notice.dismissed,
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
}

/// Lists the caller's notices, newest first.
#[utoipa::path(get, operation_id = "list_notices", path = "/v1/notices", params(Listed), responses(
    (status = 200, body = Notices, description = "The caller's own notices"),
    Problem,
))]
pub(crate) async fn list(
    State(tokens): State<Arc<Tokens>>,
    Admitted(caller): Admitted,
    Query(listed): Query<Listed>,
) -> Result<Answer<Notices>, ApiError> {
    if listed.next.as_deref().is_some_and(|next| !is_notice_id(next)) {
        return Err(ApiError::new(Code::InvalidRequest, "`next` is not what the page before said."));
    }
    let page = tokens.vault.notices(&caller.tenant, &caller.subject, listed.next.as_deref(), PAGE).await?;
    let (notices, next) = page;
    Ok(Answer(Notices { items: notices.into_iter().map(Into::into).collect(), next }))
}

/// Puts one of the caller's notices aside.
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
    if !is_notice_id(&id) {
        return Err(ApiError::not_found());
    }
    let notice = tokens.vault.dismiss(&caller.tenant, &caller.subject, &id).await?;
    notice.map(|notice| Answer(notice.into())).ok_or_else(ApiError::not_found)
}
