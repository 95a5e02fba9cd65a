//! Profiles and their tokens: list, look, switch, delete.

use std::{sync::Arc, time::Duration};

use axum::{Json as Answer, extract::State};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use shared::{
    access::{Caller, Operation, Relation},
    edge::{ApiError, Code, Json, Path, Problem, Query, Within},
    health::acquires,
    history::{Event, What},
    profile::{ProfileId, Switch, Use},
    revoke::Revoked,
    store::{
        StoreError,
        flows::Revocation,
        profiles::{Held, ProfileWithTokens, TokenKey},
    },
    token::{Token, TokenId},
};
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

use crate::{
    Admitted, NEEDS_INTERACTION, TRIES, Tokens, no_such_page,
    view::{ProfileView, TokenView},
};

/// How many rows are read for a page of profiles.
const PAGE: i32 = 100;
/// How long a caller waits for the networks before the sweep takes over.
const REVOKING_LIMIT: Duration = Duration::from_secs(8);
/// A deletion tries to revoke at once; if it is cut off, the sweep goes on after this time.
pub(crate) const SWEEP_TAKES_OVER: SignedDuration = SignedDuration::from_mins(1);

/// Which profiles to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listed {
    /// `owned`, `shared`, `without_owners`, or all when it is missing.
    #[param(inline)]
    list: Option<List>,
    /// From the page before.
    next: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum List {
    /// Every profile of the organisation.
    All,
    /// Those that the caller owns.
    Owned,
    /// Those that others own and share with the caller, with one of the caller's groups, or with everybody who may
    /// interact.
    Shared,
    /// Those that nobody owns.
    WithoutOwners,
}

impl List {
    fn has(self, seen: &ProfileWithTokens, caller: &Caller) -> bool {
        let relation = seen.profile.relation_to(caller.person());
        match self {
            Self::All => true,
            Self::Owned => relation == Relation::Owner,
            Self::Shared => relation == Relation::Sharee,
            Self::WithoutOwners => relation == Relation::Unowned,
        }
    }
}

/// A page of profiles.
#[derive(Serialize, ToSchema)]
pub(crate) struct Profiles {
    items: Vec<ProfileView>,
    /// Where the next page begins; null on the last.
    #[schema(required)]
    next: Option<String>,
}

/// A page of tokens.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenList {
    items: Vec<TokenView>,
    /// Always null: a profile's tokens come at once.
    #[schema(required)]
    next: Option<String>,
}

/// The switches to turn; those that are left out stay as they are.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeToken {
    allow: Switches,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Switches {
    search_acquisition: Option<bool>,
    private_messages: Option<bool>,
}

/// What came of a deletion.
#[derive(Serialize, ToSchema)]
pub(crate) struct Deleted {
    /// What was deleted.
    #[schema(value_type = Vec<String>)]
    pub(crate) tokens: Vec<TokenId>,
    /// What became of the grants at the network: `revoked`; `pending`, it is retried until it is
    /// done; `shared`, another token lives on the same grant, so it was left alone; `impossible`, the
    /// network has no way for it, and only its owner's settings there end it.
    pub(crate) revocation: &'static str,
    /// What no longer works now.
    pub(crate) warnings: Vec<String>,
}

/// Lists the organisation's profiles with their tokens.
#[utoipa::path(get, operation_id = "list_profiles", path = "/v1/profiles", params(Listed), responses(
    (status = 200, body = Profiles, description = "Profiles by id"),
    Problem,
))]
pub(crate) async fn list(
    State(tokens): State<Arc<Tokens>>,
    Admitted(caller): Admitted,
    Query(listed): Query<Listed>,
) -> Result<Answer<Profiles>, ApiError> {
    let after: Option<ProfileId> = match listed.next.map(|next| next.parse()).transpose() {
        Ok(after) => after,
        Err(_) => return Err(no_such_page()),
    };
    let page = tokens.vault.profiles(&caller.tenant, after.as_ref(), PAGE).await?;
    let ladder = tokens.ladder(&caller).await?;
    let (now, list) = (tokens.clock.now(), listed.list.unwrap_or(List::All));
    let wanted = page.profiles.into_iter().filter(|seen| list.has(seen, &caller));
    let items = wanted.map(|seen| ProfileView::of(seen, &caller.subject, now, &ladder)).collect();
    Ok(Answer(Profiles { items, next: page.next.map(|id| id.to_string()) }))
}

/// Looks at a profile and its tokens.
#[utoipa::path(get, operation_id = "get_profile", path = "/v1/profiles/{id}", params(("id" = String, Path)), responses(
    (status = 200, body = ProfileView, description = "The profile"),
    Problem,
))]
pub(crate) async fn look(
    State(tokens): State<Arc<Tokens>>,
    Admitted(caller): Admitted,
    Path(id): Path<ProfileId>,
) -> Result<Answer<ProfileView>, ApiError> {
    let seen = tokens.see(&caller, &id).await?;
    let ladder = tokens.ladder(&caller).await?;
    Ok(Answer(ProfileView::of(seen, &caller.subject, tokens.clock.now(), &ladder)))
}

/// Deletes a profile with all its tokens, and revokes them at the network.
#[utoipa::path(
    delete, operation_id = "delete_profile", path = "/v1/profiles/{id}", params(("id" = String, Path)), responses(
    (status = 200, body = Deleted, description = "It is gone"),
    Problem,
))]
pub(crate) async fn delete(
    State(tokens): State<Arc<Tokens>>,
    Admitted(caller): Admitted,
    Path(id): Path<ProfileId>,
) -> Result<Answer<Deleted>, ApiError> {
    let seen = tokens.see(&caller, &id).await?;
    if !caller.may(Operation::DeleteProfile, seen.profile.relation_to(caller.person())) {
        let needs = "Deleting a profile needs one of its owners in the role responder or manager, or a manager where it has \
                     none.";
        return Err(ApiError::forbidden(needs));
    }
    let warnings = tokens.lost(&caller, &seen, |_| true).await?;
    let mut revocations = Vec::new();
    let mut deleted = Vec::new();
    for token in &seen.tokens {
        let key = TokenKey { tenant: caller.tenant.clone(), profile: id.clone(), token: token.id() };
        if let Some(revocation) = tokens.delete(&key).await? {
            revocations.push(revocation);
        }
        tokens.note(&caller, |event| event.to_token(&id, &token.id()), What::TokenDeleted).await;
        deleted.push(token.id());
    }
    tokens.vault.delete_profile(&caller.tenant, &seen.profile).await?;
    tokens.note(&caller, |event| event.to_profile(&id), What::ProfileDeleted).await;
    let revocation = tokens.revoke(&revocations).await;
    Ok(Answer(Deleted { tokens: deleted, revocation, warnings }))
}

/// Lists a profile's tokens.
#[utoipa::path(
    get, operation_id = "list_tokens", path = "/v1/profiles/{id}/tokens", params(("id" = String, Path)), responses(
    (status = 200, body = TokenList, description = "Its tokens"),
    Problem,
))]
pub(crate) async fn tokens(
    State(tokens): State<Arc<Tokens>>,
    Admitted(caller): Admitted,
    Path(id): Path<ProfileId>,
) -> Result<Answer<TokenList>, ApiError> {
    let seen = tokens.see(&caller, &id).await?;
    let (now, ladder) = (tokens.clock.now(), tokens.ladder(&caller).await?);
    let items = seen.tokens.into_iter().map(|token| TokenView::of(token, now, &ladder)).collect();
    Ok(Answer(TokenList { items, next: None }))
}

/// Turns switches of the caller's own token.
#[utoipa::path(
    patch, operation_id = "change_token", path = "/v1/profiles/{id}/tokens/{token}",
    params(("id" = String, Path), ("token" = String, Path)),
    request_body = ChangeToken, responses(
    (status = 200, body = TokenView, description = "The token as it is now"),
    Problem,
))]
pub(crate) async fn change_token(
    State(tokens): State<Arc<Tokens>>,
    Admitted(caller): Admitted,
    Within(id, token): Within<ProfileId, TokenId>,
    Json(change): Json<ChangeToken>,
) -> Result<Answer<TokenView>, ApiError> {
    let seen = tokens.see(&caller, &id).await?;
    let token = own(&seen, &token, &caller)?;
    let wanted = [
        (Switch::SearchAcquisition, change.allow.search_acquisition),
        (Switch::PrivateMessages, change.allow.private_messages),
    ];
    let switches: Vec<_> = wanted.into_iter().filter_map(|(switch, on)| Some((switch, on?))).collect();
    let has = |switch| id.kind().capabilities(token.token).iter().any(|row| row.switch == Some(switch));
    if let Some((switch, _)) = switches.iter().find(|(switch, on)| *on && !has(*switch)) {
        let detail = format!("This token cannot be used for {}, so there is nothing to allow.", switch.as_str());
        return Err(ApiError::new(Code::InvalidRequest, detail));
    }
    if switches.is_empty() {
        return Err(ApiError::new(Code::InvalidRequest, "`allow` names no switch."));
    }
    let (ladder, now) = (tokens.ladder(&caller).await?, tokens.clock.now());
    let key = TokenKey { tenant: caller.tenant.clone(), profile: id, token: token.id() };
    let mut before = token.clone();
    for tries in 1.. {
        match tokens.vault.allow(&key, &before, &switches, &ladder, now).await {
            // it was renewed or aged at this very moment
            Err(StoreError::Conflict) if tries < TRIES => {}
            Err(error) => return Err(error.into()),
            Ok(token) => {
                let allow = Some(switches.into_iter().collect());
                let turned = |event: Event| Event { allow, ..event.to_token(&key.profile, &key.token) };
                tokens.note(&caller, turned, What::Allowed).await;
                return Ok(Answer(TokenView::of(token, now, &ladder)));
            }
        }
        before = tokens.vault.token(&key).await?.ok_or_else(ApiError::not_found)?.token;
    }
    Err(StoreError::Conflict.into())
}

/// Deletes the caller's own token, and revokes it at the network.
#[utoipa::path(
    delete, operation_id = "delete_token", path = "/v1/profiles/{id}/tokens/{token}",
    params(("id" = String, Path), ("token" = String, Path)), responses(
    (status = 200, body = Deleted, description = "It is gone"),
    Problem,
))]
pub(crate) async fn delete_token(
    State(tokens): State<Arc<Tokens>>,
    Admitted(caller): Admitted,
    Within(id, token): Within<ProfileId, TokenId>,
) -> Result<Answer<Deleted>, ApiError> {
    let seen = tokens.see(&caller, &id).await?;
    let token = own(&seen, &token, &caller)?.id();
    let warnings = tokens.lost(&caller, &seen, |other| other.id() == token).await?;
    let key = TokenKey { tenant: caller.tenant.clone(), profile: id, token: token.clone() };
    let revocation = tokens.delete(&key).await?.ok_or_else(ApiError::not_found)?;
    tokens.note(&caller, |event| event.to_token(&key.profile, &token), What::TokenDeleted).await;
    let revocation = tokens.revoke(&[revocation]).await;
    Ok(Answer(Deleted { tokens: vec![token], revocation, warnings }))
}

/// The caller's own token of a profile that the caller sees.
fn own<'a>(seen: &'a ProfileWithTokens, id: &TokenId, caller: &Caller) -> Result<&'a Token, ApiError> {
    let token = seen.tokens.iter().find(|token| token.id() == *id).ok_or_else(ApiError::not_found)?;
    let relation = if id.belongs_to(&caller.subject) { Relation::Owner } else { Relation::Stranger };
    let may = caller.may(Operation::ChangeToken, relation);
    may.then_some(token).ok_or_else(|| ApiError::forbidden(NEEDS_INTERACTION))
}

impl Tokens {
    /// A profile of the caller's organisation, read strongly.
    pub(crate) async fn see(&self, caller: &Caller, id: &ProfileId) -> Result<ProfileWithTokens, ApiError> {
        self.vault.profile(&caller.tenant, id).await?.ok_or_else(ApiError::not_found)
    }

    /// What no longer works when the tokens that `goes` names are gone: private messages live on the tokens of their
    /// profile, acquisition on all that the organisation has at the network.
    pub(crate) async fn lost(
        &self,
        caller: &Caller,
        seen: &ProfileWithTokens,
        goes: impl Fn(&Token) -> bool,
    ) -> Result<Vec<String>, ApiError> {
        let (now, mut warnings) = (self.clock.now(), Vec::new());
        let (gone, kept): (Vec<_>, Vec<_>) = seen.tokens.iter().partition(|token| goes(token));
        let reads = |token: &&Token| {
            let mut capabilities = token.profile.kind().capabilities(token.token).iter();
            let messages = capabilities.find(|row| row.usage == Use::PrivateMessages);
            messages.is_some_and(|capability| token.permits(capability, now).is_ok())
        };
        if gone.iter().any(reads) && !kept.iter().any(reads) {
            let warning = "It was the last valid token for private messages of this profile: they are no longer read.";
            warnings.push(warning.to_owned());
        }
        if gone.iter().any(|token| acquires(token, now)) {
            let network = seen.profile.kind.network();
            let acquirers = self.vault.acquirers(&caller.tenant, network, now).await?;
            if acquirers.iter().all(|other| gone.iter().any(|token| **token == *other)) {
                let network = network.title();
                warnings.push(format!(
                    "It was the last valid token that acquisition at {network} lived on: acquisition stops, and posts are \
                     lost for good until another account is connected and allowed."
                ));
            }
        }
        Ok(warnings)
    }

    /// Deletes a token and leaves its grant to be revoked; `None` when it is gone already.
    async fn delete(&self, key: &TokenKey) -> Result<Option<Revocation>, ApiError> {
        let mut tries = 0;
        loop {
            let Some(Held { token, grant, .. }) = self.vault.token(key).await? else { return Ok(None) };
            let revocation = Revocation::new(key.profile.kind().network(), &token.app, &token.login, grant);
            let at = self.clock.now() + SWEEP_TAKES_OVER;
            tries += 1;
            match self.vault.delete_token(&self.flows, key, &token, &revocation, at).await {
                // it was renewed at this very moment: what is there now has to go
                Err(StoreError::Conflict) if tries < TRIES => {}
                deleted => return Ok(deleted.map(|()| Some(revocation))?),
            }
        }
    }

    /// Tries the revocations at once. What fails is retried by the sweep until it is done.
    pub(crate) async fn revoke(&self, revocations: &[Revocation]) -> &'static str {
        let deadline = Instant::now() + REVOKING_LIMIT;
        let (mut pending, mut shared, mut impossible) = (false, false, false);
        for revocation in revocations {
            if Instant::now() > deadline {
                pending = true;
                break;
            }
            match self.revoker().carry_out(revocation, self.clock.now()).await {
                Ok(Revoked::Done) => {}
                Ok(Revoked::Shared) => shared = true,
                Ok(Revoked::Impossible) => impossible = true,
                Ok(Revoked::Later) => pending = true,
                Err(error) => {
                    tracing::warn!(%error, "a grant is still to be revoked");
                    pending = true;
                }
            }
        }
        match (pending, shared, impossible) {
            (true, _, _) => "pending",
            (false, true, _) => "shared",
            (false, false, true) => "impossible",
            (false, false, false) => "revoked",
        }
    }
}
