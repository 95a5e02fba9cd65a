//! Completing a connect session: the user who began it brings the code that the consenting browser got.
//!
//! Only now do profiles and tokens exist, all of those that were selected or none. A Page's token is derived and checked
//! at the network before it is attached, so that a wrong one cannot look healthy.

use std::{collections::BTreeSet, sync::Arc};

use axum::{Json as Answer, extract::State};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use shared::{
    access::{Operation, Relation},
    connect::{ConnectSession, Granted, Status},
    edge::{ApiError, Code, Json, Path, Problem},
    grant::{GrantPlace, SealedGrant},
    history::{Event, What},
    network::{Failure, Grant, Reach, Terms},
    profile::ProfileId,
    revoke::GrantError,
    secret::LinkSecret,
    store::{
        StoreError,
        flows::Revocation,
        profiles::{Attached, Held, TokenKey},
    },
    token::{Allow, State as TokenState, Token, TokenId},
};
use tokio::task::JoinSet;
use utoipa::ToSchema;

use crate::{Admitted, TRIES, Tokens, sessions::find, view::ProfileView};

/// No more profiles are connected at once: all of them are derived in time, and written in one transaction.
const MOST: usize = 25;

/// What the consenting browser brought back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Complete {
    /// From the query of the return address.
    #[schema(value_type = String)]
    completion_code: SecretString,
    /// Which of the candidates to connect, where there is something to choose.
    #[serde(default)]
    #[schema(min_items = 1, max_items = 25)]
    selected: Option<Vec<String>>,
}

/// The profiles that were connected.
#[derive(Serialize, ToSchema)]
pub(crate) struct Connected {
    profiles: Vec<ProfileView>,
}

/// A profile, and the grant that is to be attached to its token.
struct Connecting {
    profile: ProfileId,
    name: String,
    grant: Grant,
}

/// Completes a connect session: only now do profile and token exist.
#[utoipa::path(
    post, operation_id = "complete_connect_session", path = "/v1/connect-sessions/{id}/complete",
    params(("id" = String, Path)), request_body = Complete, responses(
    (status = 200, body = Connected, description = "What was connected"),
    Problem,
))]
pub(crate) async fn complete(
    State(tokens): State<Arc<Tokens>>,
    Admitted(caller): Admitted,
    Path(id): Path<String>,
    Json(brought): Json<Complete>,
) -> Result<Answer<Connected>, ApiError> {
    let now = tokens.clock.now();
    let flow = find(&tokens, &caller, id).await?;
    check(&flow.session, &brought, now)?;
    if !caller.may(Operation::Connect, Relation::Stranger) {
        return Err(ApiError::forbidden("Connecting needs the role responder or manager."));
    }
    tokens.require_new_start(&caller, &flow.session).await?;
    let (Some(granted), Some(parked)) = (&flow.session.granted, &flow.grant) else {
        return Err(ApiError::new(Code::Internal, "The grant of the session is missing."));
    };
    let chosen = choose(&flow.session, granted, brought.selected)?;
    let grant = parked.open(&tokens.keys).await?;
    let connecting = if flow.session.kind.is_chosen() {
        tokens.derive(&flow.session, chosen, &grant, now).await?
    } else {
        let of = |(profile, name)| {
            let terms = granted.terms.clone();
            Connecting { profile, name, grant: Grant { terms, ..grant.clone() } }
        };
        chosen.into_iter().map(of).collect()
    };

    tokens.attach(&flow.session, &granted.account.login, &connecting, now).await?;
    let (mut profiles, ladder) = (Vec::new(), tokens.ladder(&caller).await?);
    for Connecting { profile, .. } in &connecting {
        let seen = tokens.vault.profile(&caller.tenant, profile).await?;
        let seen = seen.ok_or_else(|| ApiError::new(Code::Conflict, "The profile was deleted at the same time."))?;
        profiles.push(ProfileView::of(seen, &caller.subject, now, &ladder));
    }
    Ok(Answer(Connected { profiles }))
}

fn check(session: &ConnectSession, brought: &Complete, now: Timestamp) -> Result<(), ApiError> {
    match session.status {
        Status::Completed => return Err(ApiError::new(Code::AlreadyCompleted, "The session was completed already.")),
        Status::Failed => {
            let detail = session.ending.as_ref().map_or_else(String::new, |ending| ending.detail.clone());
            return Err(ApiError::new(Code::Conflict, detail));
        }
        _ if session.is_expired(now) => {
            return Err(ApiError::new(
                Code::SessionExpired,
                "The session took longer than ten minutes. Begin a new one.",
            ));
        }
        Status::Pending | Status::Started | Status::Redeeming => {
            let detail = "The browser has not come back from the network yet.";
            return Err(ApiError::new(Code::NotAuthorizedYet, detail));
        }
        Status::Authorized => {}
    }
    let code = LinkSecret::parse(brought.completion_code.expose_secret()).filter(|code| code.id == session.id);
    if !code.is_some_and(|code| code.is(session.completion.as_ref())) {
        let detail = "The completion code is not the one that the consenting browser got.";
        return Err(ApiError::new(Code::CompletionCodeRejected, detail));
    }
    Ok(())
}

/// The profiles that are to be connected, with their names.
fn choose(
    session: &ConnectSession,
    granted: &Granted,
    selected: Option<Vec<String>>,
) -> Result<Vec<(ProfileId, String)>, ApiError> {
    let wanted = session.wanted.as_ref().map(|wanted| wanted.profile.clone());
    let only = if session.kind.is_chosen() {
        wanted
    } else {
        let profile = ProfileId::new(session.kind, &granted.account.external_id)
            .map_err(|error| ApiError::new(Code::Internal, "The account's id cannot be kept.").because(error))?;
        Some(profile)
    };
    if let Some(only) = only {
        if selected.is_some_and(|selected| selected.iter().any(|id| *id != only.to_string())) {
            return Err(ApiError::new(Code::InvalidRequest, "There is nothing to select in this session."));
        }
        let candidate = granted.candidates.iter().find(|candidate| candidate.profile == only);
        let name = candidate.map_or(&granted.account.name, |candidate| &candidate.name);
        return Ok(vec![(only, name.clone())]);
    }
    let selected: BTreeSet<String> = selected.unwrap_or_default().into_iter().collect();
    if selected.is_empty() || selected.len() > MOST {
        let detail = format!("Name in `selected` 1 to {MOST} of the session's `candidates`.");
        return Err(ApiError::new(Code::InvalidRequest, detail));
    }
    selected
        .into_iter()
        .map(|id| {
            let candidate = granted.candidates.iter().find(|candidate| candidate.profile.to_string() == id);
            match candidate {
                Some(candidate) if candidate.hindrance.is_none() => {
                    Ok((candidate.profile.clone(), candidate.name.clone()))
                }
                Some(candidate) => Err(not_connectable(&candidate.name)),
                None => Err(ApiError::new(
                    Code::InvalidRequest,
                    "`selected` names a profile that is none of the session's `candidates`.",
                )),
            }
        })
        .collect()
}

fn not_connectable(name: &str) -> ApiError {
    let detail = format!("{name} cannot be connected by whoever signed in: the role on it is missing. Select others.");
    ApiError::new(Code::NotConnectable, detail)
}

/// What it means that the network does not give the token of a profile that was selected.
fn underived(failure: Failure, name: &str) -> ApiError {
    match failure {
        Failure::Limited(limit) => {
            let detail = "The network limits the app for now. Nothing was connected: try again when the limit is over.";
            ApiError::new(Code::RateLimited, detail).retry_after(limit.seconds)
        }
        Failure::Unavailable | Failure::Unanswered | Failure::AppRejected => ApiError::unavailable(failure),
        Failure::Dead(_)
        | Failure::Forbidden
        | Failure::CodeRejected
        | Failure::Unreadable(_)
        | Failure::NoRefreshToken
        | Failure::NoAccount => not_connectable(name).because(failure),
    }
}

impl Tokens {
    /// Gets each profile a token of its own from the grant of whoever signed in, all at once.
    async fn derive(
        &self,
        session: &ConnectSession,
        chosen: Vec<(ProfileId, String)>,
        grant: &Grant,
        now: Timestamp,
    ) -> Result<Vec<Connecting>, ApiError> {
        let network = session.kind.network();
        let app = self.apps.by_client_id(network, session.app.as_deref().unwrap_or_default()).await?;
        let mut deriving = JoinSet::new();
        for (profile, name) in chosen {
            let Some(talk) = network.provider().refresh(&app, &profile, &grant.access_token, now) else { continue };
            let exchange = self.exchange.clone();
            deriving.spawn(async move { (exchange.run(network, talk).await, profile, name) });
        }
        let mut connecting = Vec::new();
        while let Some(derived) = deriving.join_next().await {
            let (derived, profile, name) = derived.map_err(|error| {
                ApiError::new(Code::Internal, "A profile's token could not be had. Nothing was connected.")
                    .because(error)
            })?;
            let own = derived.map_err(|failure| underived(failure, &name))?;
            let grant = Grant { refresh_token: Some(grant.access_token.clone()), ..own };
            connecting.push(Connecting { profile, name, grant });
        }
        connecting.sort_by(|one, other| one.profile.cmp(&other.profile));
        Ok(connecting)
    }

    /// Seals each grant for its token and makes profiles and tokens exist.
    async fn attach(
        &self,
        session: &ConnectSession,
        login: &str,
        connecting: &[Connecting],
        now: Timestamp,
    ) -> Result<(), ApiError> {
        let mut before = self.before(session, connecting).await?;
        for tries in 1.. {
            match self.attach_to(&before, session, login, connecting, now).await {
                Err(GrantError::Store(StoreError::Conflict)) => {}
                Err(error) => return Err(error.into()),
                Ok(()) => {
                    for (Connecting { profile, .. }, before) in connecting.iter().zip(&before) {
                        let what = if before.is_some() { What::Reauthenticated } else { What::Connected };
                        let event = Event::new(what, now).by(&session.subject);
                        let event = event.to_token(profile, &key(session, profile).token);
                        self.vault.record(&session.tenant, &event).await;
                    }
                    return Ok(());
                }
            }
            // a token was renewed at this very moment, or the session is over
            let seen = self.before(session, connecting).await?;
            if tries == TRIES || seen == before {
                break;
            }
            before = seen;
        }
        let detail = "The session was completed, or a token changed, at the same time. Look at the session.";
        Err(ApiError::new(Code::Conflict, detail))
    }

    /// The tokens as they are now, where there are any.
    async fn before(
        &self,
        session: &ConnectSession,
        connecting: &[Connecting],
    ) -> Result<Vec<Option<Held>>, StoreError> {
        let mut before = Vec::new();
        for Connecting { profile, .. } in connecting {
            before.push(self.vault.token(&key(session, profile)).await?);
        }
        Ok(before)
    }

    /// Attaches the grants to their tokens as they were read `before`.
    async fn attach_to(
        &self,
        before: &[Option<Held>],
        session: &ConnectSession,
        login: &str,
        connecting: &[Connecting],
        now: Timestamp,
    ) -> Result<(), GrantError> {
        let sealer = self.keys.sealer(session.tenant.as_str()).await?;
        let network = session.kind.network();
        // what a new grant replaces is ended where that ends nothing else
        let ends = network.provider().revocation_reach() == Reach::Grant;
        let revoked = |held: &Held| {
            let Token { app, login, .. } = &held.token;
            ends.then(|| Revocation::new(network, app, login, held.grant.clone()))
        };
        let revocations: Vec<_> = before.iter().map(|held| held.as_ref().and_then(revoked)).collect();
        let tokens: Vec<_> = connecting
            .iter()
            .zip(before)
            .map(|(connecting, before)| {
                let token = token(session, login, connecting, before.as_ref(), now);
                let place = GrantPlace::of_token(&session.tenant, &token);
                (SealedGrant::seal_with(&sealer, place, &connecting.grant), token)
            })
            .collect();
        let attached: Vec<_> = tokens
            .iter()
            .zip(before.iter().zip(&revocations))
            .map(|((grant, token), (before, revocation))| Attached {
                token,
                grant,
                replaced: before.as_ref().map(|before| (before, revocation.as_ref())),
            })
            .collect();
        let ladder = self.vault.settings(&session.tenant, true).await?.ladder;
        Ok(self.vault.attach(&self.flows, session, &attached, &ladder, now).await?)
    }
}

fn key(session: &ConnectSession, profile: &ProfileId) -> TokenKey {
    let token = TokenId::new(session.token, &session.subject);
    TokenKey { tenant: session.tenant.clone(), profile: profile.clone(), token }
}

/// The token as it will be.
fn token(
    session: &ConnectSession,
    login: &str,
    connecting: &Connecting,
    before: Option<&Held>,
    now: Timestamp,
) -> Token {
    let Connecting { profile, name, grant } = connecting;
    let Terms { scopes, access_expires_at, expires_at, given_at } = grant.terms.clone();
    // never a generation that this token had before, even if it was deleted meanwhile
    let first = u64::try_from(now.as_second()).unwrap_or_default();
    let generation = before.map_or(first, |before| first.max(before.renewal.fence + 1));
    Token {
        profile: profile.clone(),
        name: name.clone(),
        token: session.token,
        owner: session.subject.clone(),
        state: TokenState::Active,
        scopes,
        allow: Allow::default(),
        expires_at,
        access_expires_at,
        // a sign-in from before a removal is told from a new start by it
        connected_at: session.signed_in_at(),
        given_at,
        check_at: None,
        considered_at: now,
        app: session.app.clone().unwrap_or_default(),
        login: login.to_owned(),
        generation,
    }
}
