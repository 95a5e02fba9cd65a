//! `GET /oauth/callback/{network}`: takes the browser back from the network.
//!
//! State, browser, network and time must all hold before the state is used up, once, by one
//! conditional write; only then is the code exchanged, at once. What the network grants is kept
//! sealed and unattached, or left to be revoked: nothing that was granted is ever just dropped.

use std::sync::Arc;

use axum::{
    Router,
    extract::{RawQuery, State},
    middleware,
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::HeaderMap;
use jiff::Timestamp;
use secrecy::SecretString;
use shared::{
    apps::{App, Apps},
    clock::Clock,
    connect::{ConnectSession, Ending, Granted, Outcome, Status},
    edge::{self, ApiError, Path},
    exchange::Exchange,
    grant::{GrantPlace, SealedGrant, open_verifier},
    keys::TenantKeys,
    metrics::{self, Metric},
    network::{Failure, Grant, Identity, Reach, Redemption},
    page::Obstacle,
    profile::Network,
    random::Random,
    secret::{FlowCookie, LinkSecret, SecretHash},
    store::flows::{Flow, Flows, Revocation},
};

mod answer;

use answer::Answer;

/// Everything that this function can reach; the same list as its IAM statements.
pub struct Callback {
    /// Connect sessions.
    pub flows: Flows,
    /// Opens the verifier and seals the grant.
    pub keys: TenantKeys,
    /// The app that asked.
    pub apps: Apps,
    /// Talks with the networks.
    pub exchange: Exchange,
    /// The time.
    pub clock: Clock,
    /// The completion code.
    pub random: Random,
}

/// The routes of this function.
pub fn routes(callback: Callback) -> Router {
    let clock = callback.clock.clone();
    let routes = Router::new()
        .route("/oauth/callback/{network}", get(come_back))
        .with_state(Arc::new(callback))
        .layer(middleware::from_fn(edge::refuse_prefetch));
    edge::around(routes, clock)
}

async fn come_back(
    State(callback): State<Arc<Callback>>,
    network: Result<Path<Network>, ApiError>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let Ok(Path(network)) = network else { return Obstacle::UnknownNetwork.into_response() };
    let Some(answer) = Answer::read(query.as_deref().unwrap_or_default()) else {
        return Obstacle::InvalidRequest.into_response();
    };
    match callback.handle(network, answer, &headers).await {
        Ok(landing) => landing,
        Err(obstacle) => obstacle.into_response(),
    }
}

impl Callback {
    async fn handle(&self, network: Network, answer: Answer, headers: &HeaderMap) -> Result<Response, Obstacle> {
        let now = self.clock.now();
        let Flow { mut session, verifier, .. } = self.find(network, &answer, headers).await?;
        if session.is_expired(now) {
            return self.end(&session, Ending::expired(), None, now).await;
        }

        // what can fail without using the state up comes first: the page can then be reloaded
        let app_id = session.app.clone().unwrap_or_default();
        let app = self.apps.by_client_id(network, &app_id).await.map_err(Obstacle::from_failure)?;
        self.keys.current(session.tenant.as_str()).await.map_err(Obstacle::from_failure)?;
        let verifier = match &verifier {
            Some(sealed) => Some(
                open_verifier(&self.keys, &session.tenant, &session.id, sealed)
                    .await
                    .map_err(Obstacle::from_failure)?,
            ),
            None => None,
        };

        let attempt = SecretHash::of(&self.random.token());
        self.flows.consume(&session, &attempt, now).await.map_err(Obstacle::from_failure)?;
        session.status = Status::Redeeming;

        if !answer.may_be_of(network) {
            tracing::warn!(session = %session.id, %network, "an answer names another issuer");
            return self.end(&session, Ending::wrong_issuer(session.kind), None, now).await;
        }
        let code = match answer.outcome {
            Ok(code) => code,
            Err(refusal) => return self.end(&session, refusal.ending(session.kind), None, now).await,
        };
        let redirect_uri = session.redirect_uri.clone().unwrap_or_default();
        let redemption = Redemption { code, redirect_uri, code_verifier: verifier, now };
        let redeemed = self.exchange.run(network, network.provider().redeem(&app, redemption)).await;
        let grant = match redeemed {
            Ok(grant) => grant,
            Err(failure) => return self.fail(&session, failure, None, now).await,
        };
        if network.provider().requires_refresh_token() && grant.refresh_token.is_none() {
            return self.fail(&session, Failure::NoRefreshToken, Some((&app, &grant)), now).await;
        }
        match self.exchange.run(network, network.provider().identify(&app, session.kind, &grant, now)).await {
            Ok(identity) => self.keep(&session, &app, &grant, identity, now).await,
            Err(failure) => self.fail(&session, failure, Some((&app, &grant)), now).await,
        }
    }

    /// The session that this answer is for, if this browser started it and nobody came back yet.
    async fn find(&self, network: Network, answer: &Answer, headers: &HeaderMap) -> Result<Flow, Obstacle> {
        let state: &LinkSecret = &answer.state;
        let flow = self.flows.find(&state.id).await.map_err(Obstacle::from_failure)?.ok_or(Obstacle::LinkUnknown)?;
        let session = &flow.session;
        if !state.is(session.oauth_state.as_ref()) || session.kind.network() != network {
            return Err(Obstacle::LinkUnknown);
        }
        // first, because a browser that came back has given its cookie up
        if session.status != Status::Started {
            return Err(Obstacle::LinkUsed);
        }
        if !FlowCookie::is_in(headers, &session.id, session.browser.as_ref()) {
            return Err(Obstacle::BrowserMismatch);
        }
        Ok(flow)
    }

    /// Keeps the grant unattached and gives the browser the completion code.
    async fn keep(
        &self,
        session: &ConnectSession,
        app: &App,
        grant: &Grant,
        identity: Identity,
        now: Timestamp,
    ) -> Result<Response, Obstacle> {
        let Identity { account, terms, candidates } = identity;
        let granted = Granted { account, terms, candidates };
        let place = GrantPlace::unattached(&session.tenant, &session.id);
        let sealed = match SealedGrant::seal(&self.keys, place, grant).await {
            Ok(sealed) => sealed,
            Err(error) => return Err(self.let_go(session, app, grant, error.into()).await),
        };
        if let Some(ending) = session.refuses(&granted) {
            let login = &granted.account.login;
            let revocation = Revocation::new(session.kind.network(), &app.client_id, login, sealed);
            return self.end(session, ending, Some((&revocation, app, grant)), now).await;
        }
        let completion = LinkSecret::new(session.id.clone(), &self.random);
        match self.flows.park(session, &granted, &sealed, &completion.hash(), now).await {
            Ok(()) => land(session, &Outcome::CompletionCode(completion.expose().into())),
            Err(error) => Err(self.let_go(session, app, grant, error.into()).await),
        }
    }

    /// Ends the session with what the network's answer means. A grant that was given all the same
    /// is left to be revoked where that ends nothing else; elsewhere it is not known yet what
    /// would end with it.
    async fn fail(
        &self,
        session: &ConnectSession,
        failure: Failure,
        given: Option<(&App, &Grant)>,
        now: Timestamp,
    ) -> Result<Response, Obstacle> {
        tracing::warn!(session = %session.id, network = %session.kind.network(), %failure, "a sign-in failed");
        let network = session.kind.network();
        let failed = [Some(Metric::SignInsFailed), failure.metric()];
        metrics::record(now, Some(network), failed.into_iter().flatten().map(|metric| (metric, 1)));
        let ending = Ending::from_failure(failure, session.kind);
        let Some((app, grant)) = given.filter(|_| network.provider().revocation_reach() == Reach::Grant) else {
            return self.end(session, ending, None, now).await;
        };
        let place = GrantPlace::unattached(&session.tenant, &session.id);
        match SealedGrant::seal(&self.keys, place, grant).await {
            Ok(sealed) => {
                let revocation = Revocation::new(network, &app.client_id, "", sealed);
                self.end(session, ending, Some((&revocation, app, grant)), now).await
            }
            Err(error) => Err(self.let_go(session, app, grant, error.into()).await),
        }
    }

    /// Ends the session without a token and leads the browser back. A grant that was given all the
    /// same is left to be revoked, in the same write.
    async fn end(
        &self,
        session: &ConnectSession,
        ending: Ending,
        left: Option<(&Revocation, &App, &Grant)>,
        now: Timestamp,
    ) -> Result<Response, Obstacle> {
        let revocation = left.map(|(revocation, ..)| revocation);
        match (self.flows.end(session, &ending, revocation, now).await, left) {
            (Ok(()), _) => land(session, &Outcome::Error(ending.code)),
            (Err(error), Some((_, app, grant))) => Err(self.let_go(session, app, grant, error.into()).await),
            (Err(error), None) => Err(Obstacle::from_failure(error)),
        }
    }

    /// The grant cannot be kept, not even to be revoked later: it is revoked at once where that
    /// ends nothing else.
    async fn let_go(&self, session: &ConnectSession, app: &App, grant: &Grant, error: ApiError) -> Obstacle {
        let network = session.kind.network();
        if network.provider().revocation_reach() == Reach::Grant
            && let Err(failure) = self.exchange.run(network, network.provider().revoke(app, grant, "")).await
        {
            tracing::error!(session = %session.id, %network, %failure, "a grant could be neither kept nor revoked");
            metrics::record(self.clock.now(), Some(network), [(Metric::GrantsLost, 1)]);
        }
        Obstacle::from_failure(error)
    }
}

/// Leads the browser back to where it began; the query of the callback is gone, and the cookie too.
fn land(session: &ConnectSession, outcome: &Outcome) -> Result<Response, Obstacle> {
    let mut response = edge::see_other(&session.return_to(outcome)).map_err(|_| Obstacle::Misconfigured)?;
    FlowCookie::take_back(response.headers_mut(), &session.id);
    Ok(response)
}

/// A code that a network's redirect brings is no longer than this.
const CODE_LIMIT: usize = 4096;

fn bounded(code: &str) -> Option<SecretString> {
    (!code.is_empty() && code.len() <= CODE_LIMIT).then(|| code.into())
}
