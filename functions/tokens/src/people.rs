//! Who a profile is for: sharing it, giving it up, and the removal of a user.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use axum::{Json as Answer, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::{
    access::{Caller, Operation, Relation, Subject},
    clock::Deadline,
    connect::ConnectSession,
    edge::{ApiError, Code, Json, Path, Problem},
    history::What,
    profile::ProfileId,
    store::ownership::{Parted, Removal, Share},
};
use utoipa::ToSchema;

use crate::{
    Admitted, Tokens,
    profiles::{Deleted, SWEEP_TAKES_OVER},
    view::ProfileView,
};

/// A profile is shared with so many people, and so many groups, at most.
const SHARES: usize = 100;
/// How long an administrator waits while a user's things end, before the sweep takes over.
const REMOVING_LIMIT: Duration = Duration::from_secs(5);

/// What to change about a profile: either of the two.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeProfile {
    /// `false` gives up the caller's ownership: the caller's tokens of it end and are revoked at the network.
    owner: Option<bool>,
    /// With whom to share it.
    shared_with: Option<ShareWith>,
}

/// With whom to share a profile: each list replaces the one before; what is left out stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ShareWith {
    /// The subjects of people.
    #[schema(max_items = 100)]
    users: Option<Vec<String>>,
    /// Groups, as the identity provider names them.
    #[schema(max_items = 100)]
    groups: Option<Vec<String>>,
    /// Everybody in the role responder or manager, or not.
    everybody: Option<bool>,
}

/// What came of the removal of a user.
#[derive(Serialize, ToSchema)]
pub(crate) struct RemovedUser {
    #[schema(value_type = String)]
    sub: Subject,
    /// Access tokens from before are refused since then.
    #[schema(value_type = String, format = DateTime)]
    removed_at: Timestamp,
    /// How many profiles they owned, of those that this request came to.
    profiles: u32,
    /// How many of those nobody owns now.
    without_owners: u32,
    /// How many of their tokens ended.
    tokens: u32,
    /// How many profiles were shared with them by name.
    shares: u32,
    /// What became of those tokens' grants at the network: `revoked`; `pending`, it is retried until it is
    /// done; `shared`, other tokens live on the same grants, so those were left alone.
    revocation: &'static str,
    /// Whether this request came to the end of all that they had. If not, the rest ends by itself within minutes.
    complete: bool,
}

/// Shares a profile, or gives it up.
#[utoipa::path(
    patch, operation_id = "change_profile", path = "/v1/profiles/{id}", params(("id" = String, Path)),
    request_body = ChangeProfile, responses(
    (status = 200, body = ProfileView, description = "The profile as it is now"),
    Problem,
))]
pub(crate) async fn change(
    State(tokens): State<Arc<Tokens>>,
    Admitted(caller): Admitted,
    Path(id): Path<ProfileId>,
    Json(change): Json<ChangeProfile>,
) -> Result<Answer<ProfileView>, ApiError> {
    let ended = match (change.owner, change.shared_with) {
        (Some(false), None) => Some(tokens.give_up(&caller, &id).await?),
        (None, Some(with)) => {
            tokens.share(&caller, &id, &read_share(with)?).await?;
            None
        }
        (Some(true), None) => {
            let detail = "Whoever connects the profile's account becomes an owner: begin a connect session with its \
                          `profile_id`.";
            return Err(ApiError::new(Code::InvalidRequest, detail));
        }
        _ => {
            let detail = "Name either `shared_with`, or `owner` to give the profile up.";
            return Err(ApiError::new(Code::InvalidRequest, detail));
        }
    };
    let seen = tokens.see(&caller, &id).await?;
    let ladder = tokens.ladder(&caller).await?;
    let mut view = ProfileView::of(seen, &caller.subject, tokens.clock.now(), &ladder);
    view.ended = ended;
    Ok(Answer(view))
}

/// Removes a user: their access tokens, ownerships, tokens and shares end, and their profiles stay behind.
#[utoipa::path(
    delete, operation_id = "remove_user", path = "/v1/users/{sub}", params(("sub" = String, Path)), responses(
    (status = 200, body = RemovedUser, description = "They are removed; what they had ends"),
    Problem,
))]
pub(crate) async fn remove(
    State(tokens): State<Arc<Tokens>>,
    Admitted(caller): Admitted,
    Path(sub): Path<Subject>,
) -> Result<Answer<RemovedUser>, ApiError> {
    let relation = if sub == caller.subject { Relation::Owner } else { Relation::Stranger };
    if !caller.may(Operation::RemoveUser, relation) {
        let needs =
            "Removing a user needs the role administrator, and nobody removes themself: ask another administrator.";
        return Err(ApiError::forbidden(needs));
    }
    if !tokens.vault.user(&caller.tenant, &sub, true).await?.is_known() {
        return Err(ApiError::not_found());
    }
    let now = tokens.clock.now();
    let removal = Removal { tenant: caller.tenant.clone(), subject: sub, removed_at: now };
    tokens.vault.remove_user(&removal).await?;
    tokens.note(&caller, |event| event.to_user(&removal.subject), What::UserRemoved).await;
    let deadline = Deadline::after(REMOVING_LIMIT);
    let pass = tokens.vault.pursue(&tokens.flows, &removal, deadline, now + SWEEP_TAKES_OVER).await?;
    let revocation = tokens.revoke(&pass.revocations).await;
    Ok(Answer(RemovedUser {
        sub: removal.subject,
        removed_at: now,
        profiles: pass.owned,
        without_owners: pass.unowned,
        tokens: pass.tokens,
        shares: pass.shared,
        revocation,
        complete: pass.complete,
    }))
}

fn read_share(ShareWith { users, groups, everybody }: ShareWith) -> Result<Share, ApiError> {
    if users.is_none() && groups.is_none() && everybody.is_none() {
        return Err(ApiError::new(Code::InvalidRequest, "`shared_with` names nothing to change."));
    }
    Ok(Share { users: read_names(users, "users")?, groups: read_names(groups, "groups")?, everybody })
}

fn read_names<T: TryFrom<String> + Ord>(
    names: Option<Vec<String>>,
    field: &str,
) -> Result<Option<BTreeSet<T>>, ApiError> {
    let Some(names) = names else { return Ok(None) };
    let refused = || {
        let detail =
            format!("`{field}` holds at most {SHARES} names, each of 1 to 255 bytes and without control characters.");
        ApiError::new(Code::InvalidRequest, detail)
    };
    if names.len() > SHARES {
        return Err(refused());
    }
    let read = names.into_iter().map(T::try_from).collect::<Result<_, _>>();
    read.map(Some).map_err(|_| refused())
}

impl Tokens {
    /// Whoever was removed since they signed in at the network has to sign in anew. A removal at this very moment is
    /// late for this, and ends what comes of it.
    pub(crate) async fn require_new_start(&self, caller: &Caller, session: &ConnectSession) -> Result<(), ApiError> {
        let user = self.vault.user(&caller.tenant, &caller.subject, true).await?;
        if user.removed_at.is_some_and(|removed| session.signed_in_at() <= removed) {
            let detail = "You were removed since you signed in at the network. Begin a new session.";
            return Err(ApiError::new(Code::SessionExpired, detail));
        }
        Ok(())
    }

    async fn share(&self, caller: &Caller, id: &ProfileId, share: &Share) -> Result<(), ApiError> {
        let relation = self.see(caller, id).await?.profile.relation_to(caller.person());
        let forbidden =
            || ApiError::forbidden("Sharing a profile needs one of its owners in the role responder or manager.");
        if !caller.may(Operation::Share, relation) {
            return Err(forbidden());
        }
        // the ownership may have ended since
        self.vault.share(&caller.tenant, id, &caller.subject, share).await?.ok_or_else(forbidden)?;
        self.note(caller, |event| event.to_profile(id), What::Shared).await;
        Ok(())
    }

    async fn give_up(&self, caller: &Caller, id: &ProfileId) -> Result<Deleted, ApiError> {
        let seen = self.see(caller, id).await?;
        let forbidden = || ApiError::forbidden("Giving up a profile needs one of its owners.");
        if !caller.may(Operation::GiveUp, seen.profile.relation_to(caller.person())) {
            return Err(forbidden());
        }
        let now = self.clock.now();
        let warnings = self.lost(caller, &seen, |token| token.owner == caller.subject).await?;
        let parted =
            self.vault.give_up(&self.flows, &caller.tenant, id, &caller.subject, now + SWEEP_TAKES_OVER).await?;
        let Parted { tokens, revocations, .. } = parted.ok_or_else(forbidden)?;
        self.note(caller, |event| event.to_profile(id), What::GivenUp).await;
        let revocation = self.revoke(&revocations).await;
        Ok(Deleted { tokens, revocation, warnings })
    }
}
