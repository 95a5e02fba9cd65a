//! Connect sessions: begin, and look how far they have come.

use std::sync::Arc;

use axum::{Json as Answer, extract::State};
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::{
    access::{Caller, Operation, Relation},
    connect::{ConnectSession, Ending, STEP_LIMIT, Status, Wanted},
    edge::{ApiError, Code, Json, Path, Problem},
    network::{Candidate, Hindrance},
    profile::{Kind, ProfileId, TokenKind},
    secret::{LinkSecret, SessionId},
    settings::Settings,
    store::flows::Flow,
};
use utoipa::ToSchema;

use crate::{Admitted, Tokens};

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
    /// The profiles to select from at completion, where there is something to choose.
    candidates: Vec<CandidateView>,
    /// Why it ended without a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Ending>,
}

/// A profile that whoever signed in administers.
#[derive(Serialize, ToSchema)]
#[schema(as = Candidate)]
struct CandidateView {
    /// To be named in `selected`.
    #[schema(value_type = String, example = "facebook_page-2001")]
    profile_id: ProfileId,
    name: String,
    /// Why it cannot be selected, if it cannot: `role_missing`, the person's role on it allows nothing that a token is
    /// used for.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Hindrance>,
}

impl From<Candidate> for CandidateView {
    fn from(Candidate { profile, name, hindrance }: Candidate) -> Self {
        Self { profile_id: profile, name, reason: hindrance }
    }
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
        // there is something to choose until it is chosen
        let granted = session.granted.filter(|_| status == "authorized" && session.wanted.is_none());
        let candidates = granted.map(|granted| granted.candidates).unwrap_or_default();
        Self {
            id: session.id,
            connect_url: None,
            expires_at: session.expires_at,
            status,
            privacy_url: settings.privacy_url,
            kind: session.kind,
            token: session.token,
            profile_id: session.wanted.map(|wanted| wanted.profile),
            candidates: candidates.into_iter().map(Into::into).collect(),
            error: session.ending,
        }
    }
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
        let detail = format!("{}s have no {} tokens.", kind.title(), token.as_str());
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

/// A session of the caller; everybody else's is not there.
pub(crate) async fn find(tokens: &Tokens, caller: &Caller, id: String) -> Result<Flow, ApiError> {
    let id = SessionId::try_from(id).map_err(|_| ApiError::not_found())?;
    let flow = tokens.flows.find(&id).await?.ok_or_else(ApiError::not_found)?;
    if flow.session.tenant != caller.tenant || flow.session.subject != caller.subject {
        return Err(ApiError::not_found());
    }
    Ok(flow)
}
