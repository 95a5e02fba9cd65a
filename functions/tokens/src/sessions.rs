//! Connect sessions: begin, look, complete.

use std::sync::Arc;

use axum::{Json as Answer, extract::State};
use http::StatusCode;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use shared::{
    access::{Caller, Operation, Relation},
    connect::{ConnectSession, Ending, Granted, STEP_LIMIT, Status, Wanted},
    edge::{ApiError, Code, Json, Path, Problem},
    grant::{GrantPlace, SealedGrant},
    history::{Event, What},
    keys::Sealer,
    network::{Grant, Reach},
    profile::{Kind, ProfileId, TokenKind},
    secret::{LinkSecret, SessionId},
    settings::Settings,
    store::{
        StoreError,
        flows::{Flow, Revocation},
        profiles::{Held, TokenKey},
    },
    token::{Allow, State as TokenState, Token, TokenId},
};
use utoipa::ToSchema;

use crate::{Admitted, TRIES, Tokens, view::ProfileView};

/// What is to be connected.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Begin {
    /// The kind of profile to connect; any account may sign in.
    #[schema(value_type = Option<Kind>)]
    kind: Option<String>,
    /// The profile to reauthenticate or claim; its own account must sign in.
    #[schema(example = "x_profile-42")]
    profile_id: Option<String>,
    /// Which token is wanted.
    #[schema(value_type = TokenKind)]
    token: String,
    /// One of the operator's return addresses, to the letter.
    return_url: String,
}

/// A connect session.
#[derive(Serialize, ToSchema)]
#[schema(as = ConnectSession)]
pub(crate) struct SessionView {
    #[schema(value_type = String)]
    id: SessionId,
    /// Where to send the browser; told once, when the session begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    connect_url: Option<String>,
    /// When the present step must be over.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// `pending`, `started`, `redeeming`, `authorized`, `completed`, `failed` or `expired`.
    status: &'static str,
    kind: Kind,
    token: TokenKind,
    /// The organisation's privacy statement, to be shown before the sign-in begins; null where it has set none.
    #[schema(required)]
    privacy_url: Option<String>,
    /// The profile that must be reauthenticated.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    profile_id: Option<ProfileId>,
    /// The profiles that can be selected at completion, where there is something to choose.
    candidates: Vec<String>,
    /// Why it ended without a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Ending>,
}

impl SessionView {
    fn of(session: ConnectSession, settings: Settings, now: Timestamp) -> Self {
        let status = match session.status {
            Status::Completed => "completed",
            Status::Failed => "failed",
            _ if session.is_expired(now) => "expired",
            Status::Pending => "pending",
            Status::Started => "started",
            Status::Redeeming => "redeeming",
            Status::Authorized => "authorized",
        };
        Self {
            id: session.id,
            connect_url: None,
            expires_at: session.expires_at,
            status,
            privacy_url: settings.privacy_url,
            kind: session.kind,
            token: session.token,
            profile_id: session.wanted.map(|wanted| wanted.profile),
            candidates: Vec::new(),
            error: session.ending,
        }
    }
}

/// What the consenting browser brought back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Complete {
    /// From the query of the return address.
    #[schema(value_type = String)]
    completion_code: SecretString,
    /// Which of the candidates to connect, where there is something to choose.
    #[serde(default)]
    #[schema(max_items = 100)]
    selected: Option<Vec<String>>,
}

/// The profiles that were connected.
#[derive(Serialize, ToSchema)]
pub(crate) struct Connected {
    profiles: Vec<ProfileView>,
}

/// Begins a connect session.
#[utoipa::path(
    post, operation_id = "begin_connect_session", path = "/v1/connect-sessions", request_body = Begin, responses(
    (status = 201, body = SessionView, description = "Send the browser to `connect_url`; it works once, for ten minutes"),
    Problem,
))]
pub(crate) async fn begin(
    State(tokens): State<Arc<Tokens>>,
    Admitted(caller): Admitted,
    Json(wanted): Json<Begin>,
) -> Result<(StatusCode, Answer<SessionView>), ApiError> {
    if !caller.may(Operation::Connect, Relation::Stranger) {
        return Err(ApiError::forbidden("Connecting needs the role responder or manager."));
    }
    let token: TokenKind = wanted
        .token
        .parse()
        .map_err(|_| ApiError::new(Code::UnsupportedToken, "A token is `acquisition` or `interaction`."))?;
    let (kind, profile) = match (wanted.kind, wanted.profile_id) {
        (Some(kind), None) => (read_kind(&kind)?, None),
        (None, Some(id)) => {
            let id: ProfileId = id.parse().map_err(|_| ApiError::not_found())?;
            let found = tokens.vault.profile(&caller.tenant, &id).await?.ok_or_else(ApiError::not_found)?;
            (id.kind(), Some(Wanted { profile: id, name: found.profile.name }))
        }
        _ => {
            let detail = "Name either a `kind` to connect or a `profile_id` to reauthenticate.";
            return Err(ApiError::new(Code::InvalidRequest, detail));
        }
    };
    if kind.capabilities(token).is_empty() {
        let detail = format!("A {} has no {} token.", kind.title(), token.as_str());
        return Err(ApiError::new(Code::UnsupportedToken, detail));
    }
    if !tokens.return_urls.contains(&wanted.return_url) {
        let detail = "`return_url` must be one of the addresses that the operator registered, to the letter.";
        return Err(ApiError::new(Code::ReturnUrlNotRegistered, detail));
    }

    let now = tokens.clock.now();
    let id = SessionId::new(&tokens.random);
    let ticket = LinkSecret::new(id.clone(), &tokens.random);
    let session = ConnectSession {
        id,
        tenant: caller.tenant,
        subject: caller.subject,
        kind,
        token,
        wanted: profile,
        return_url: wanted.return_url,
        status: Status::Pending,
        expires_at: now + STEP_LIMIT,
        ticket: ticket.hash(),
        oauth_state: None,
        browser: None,
        redirect_uri: None,
        app: None,
        completion: None,
        granted: None,
        ending: None,
    };
    let settings = tokens.vault.settings(&session.tenant, true).await?;
    tokens.flows.begin(&session).await?;
    let connect_url = format!("{}/oauth/start?ticket={}", tokens.public_url, ticket.expose());
    let view = SessionView { connect_url: Some(connect_url), ..SessionView::of(session, settings, now) };
    Ok((StatusCode::CREATED, Answer(view)))
}

fn read_kind(kind: &str) -> Result<Kind, ApiError> {
    kind.parse().map_err(|_| {
        let known: Vec<_> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        ApiError::new(Code::UnknownKind, format!("The kinds are {}.", known.join(", ")))
    })
}

/// Looks at a connect session that the caller began.
#[utoipa::path(
    get, operation_id = "get_connect_session", path = "/v1/connect-sessions/{id}",
    params(("id" = String, Path)), responses(
    (status = 200, body = SessionView, description = "How far it has come"),
    Problem,
))]
pub(crate) async fn look(
    State(tokens): State<Arc<Tokens>>,
    Admitted(caller): Admitted,
    Path(id): Path<String>,
) -> Result<Answer<SessionView>, ApiError> {
    let flow = find(&tokens, &caller, id).await?;
    let settings = tokens.vault.settings(&caller.tenant, true).await?;
    Ok(Answer(SessionView::of(flow.session, settings, tokens.clock.now())))
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
    let (Some(granted), Some(grant)) = (&flow.session.granted, &flow.grant) else {
        return Err(ApiError::new(Code::Internal, "The grant of the session is missing."));
    };
    let profile = ProfileId::new(flow.session.kind, &granted.account.external_id)
        .map_err(|error| ApiError::new(Code::Internal, "The account's id cannot be kept.").because(error))?;
    if brought.selected.is_some_and(|selected| selected.iter().any(|id| *id != profile.to_string())) {
        return Err(ApiError::new(Code::InvalidRequest, "There is nothing to select in this session."));
    }

    tokens.attach(&flow.session, granted, grant, &profile, now).await?;
    let seen = tokens.vault.profile(&caller.tenant, &profile).await?;
    let seen = seen.ok_or_else(|| ApiError::new(Code::Conflict, "The profile was deleted at the same time."))?;
    let view = ProfileView::of(seen, &caller.subject, now, &tokens.ladder(&caller).await?);
    Ok(Answer(Connected { profiles: vec![view] }))
}

/// A session of the caller; everybody else's is not there.
async fn find(tokens: &Tokens, caller: &Caller, id: String) -> Result<Flow, ApiError> {
    let id = SessionId::try_from(id).map_err(|_| ApiError::not_found())?;
    let flow = tokens.flows.find(&id).await?.ok_or_else(ApiError::not_found)?;
    if flow.session.tenant != caller.tenant || flow.session.subject != caller.subject {
        return Err(ApiError::not_found());
    }
    Ok(flow)
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
    if brought.selected.as_ref().is_some_and(|selected| selected.len() > 100) {
        return Err(ApiError::new(Code::InvalidRequest, "At most 100 profiles can be selected at once."));
    }
    Ok(())
}

impl Tokens {
    /// Seals the grant for its token and makes profile and token exist.
    async fn attach(
        &self,
        session: &ConnectSession,
        granted: &Granted,
        parked: &SealedGrant,
        profile: &ProfileId,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        let id = TokenId::new(session.token, &session.subject);
        let key = TokenKey { tenant: session.tenant.clone(), profile: profile.clone(), token: id };
        let grant = parked.open(&self.keys).await?;
        let sealer = self.keys.sealer(key.tenant.as_str()).await?;
        let mut before = self.vault.token(&key).await?;
        for tries in 1.. {
            match self.attach_to(before.as_ref(), session, granted, &grant, &key, &sealer, now).await {
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error.into()),
                Ok(()) => {
                    let what = if before.is_some() { What::Reauthenticated } else { What::Connected };
                    let event = Event::new(what, now).by(&session.subject).to_token(&key.profile, &key.token);
                    self.vault.record(&key.tenant, &event).await;
                    return Ok(());
                }
            }
            // the token was renewed at this very moment, or the session is over
            let seen = self.vault.token(&key).await?;
            if tries == TRIES || seen == before {
                break;
            }
            before = seen;
        }
        let detail = "The session was completed, or the token changed, at the same time. Look at the session.";
        Err(ApiError::new(Code::Conflict, detail))
    }

    /// Attaches the grant to a token as it was read `before`.
    #[expect(clippy::too_many_arguments, reason = "one transaction over four rows")]
    async fn attach_to(
        &self,
        before: Option<&Held>,
        session: &ConnectSession,
        granted: &Granted,
        grant: &Grant,
        key: &TokenKey,
        sealer: &Sealer,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        // never a generation that this token had before, even if it was deleted meanwhile
        let first = u64::try_from(now.as_second()).unwrap_or_default();
        let generation = before.map_or(first, |before| first.max(before.renewal.fence + 1));
        let place = GrantPlace::of(&key.tenant, &key.profile, &key.token, generation);
        let own = SealedGrant::seal_with(sealer, place, grant);
        let token = Token {
            profile: key.profile.clone(),
            name: granted.account.name.clone(),
            token: session.token,
            owner: session.subject.clone(),
            state: TokenState::Active,
            scopes: granted.terms.scopes.clone(),
            allow: Allow::default(),
            expires_at: granted.terms.expires_at,
            access_expires_at: granted.terms.access_expires_at,
            connected_at: now,
            considered_at: now,
            app: session.app.clone().unwrap_or_default(),
            login: granted.account.login.clone(),
            generation,
        };
        let network = session.kind.network();
        let replaced = before.map(|before| {
            // what the new grant replaces is ended where that ends nothing else
            let ends = network.provider().revocation_reach() == Reach::Grant;
            let Token { app, login, .. } = &before.token;
            (before, ends.then(|| Revocation::new(network, app, login, before.grant.clone())))
        });
        let ladder = self.vault.settings(&key.tenant, true).await?.ladder;
        self.vault.attach(&self.flows, session, &token, &own, replaced, &ladder, now).await
    }
}
