//! `GET /oauth/start?ticket=`: sends the browser to the network.
//!
//! The ticket is used up by one conditional write that binds the flow to this browser. Whatever
//! can fail is done before that write, so a link that met an outage still works when it is opened
//! again.

use std::sync::Arc;

use aws_lc_rs::digest;
use axum::{
    Router,
    extract::State,
    middleware,
    response::{IntoResponse as _, Response},
    routing::get,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use shared::{
    apps::Apps,
    clock::Clock,
    connect::{STEP_LIMIT, Status, redirect_uri},
    edge::{self, ApiError, Query},
    exchange::Endpoints,
    grant::seal_verifier,
    keys::TenantKeys,
    network::Authorization,
    page::Obstacle,
    random::Random,
    secret::{FlowCookie, LinkSecret},
    store::flows::{Departure, Flows},
};

/// Everything that this function can reach; the same list as its IAM statements.
pub struct Start {
    /// Connect sessions.
    pub flows: Flows,
    /// Seals the PKCE verifier.
    pub keys: TenantKeys,
    /// The app that asks.
    pub apps: Apps,
    /// Where browsers find the networks.
    pub endpoints: Endpoints,
    /// Where browsers find Tokenward, without a trailing slash.
    pub public_url: String,
    /// The time.
    pub clock: Clock,
    /// State, cookie and verifier.
    pub random: Random,
}

/// The routes of this function.
pub fn routes(start: Start) -> Router {
    let clock = start.clock.clone();
    let routes = Router::new()
        .route("/oauth/start", get(open))
        .with_state(Arc::new(start))
        .layer(middleware::from_fn(edge::refuse_prefetch));
    edge::around(routes, clock)
}

#[derive(Deserialize)]
struct Link {
    ticket: SecretString,
}

async fn open(State(start): State<Arc<Start>>, link: Result<Query<Link>, ApiError>) -> Response {
    let Ok(Query(link)) = link else { return Obstacle::InvalidRequest.into_response() };
    match start.depart(&link.ticket).await {
        Ok(departed) => departed,
        Err(obstacle) => obstacle.into_response(),
    }
}

impl Start {
    async fn depart(&self, ticket: &SecretString) -> Result<Response, Obstacle> {
        let now = self.clock.now();
        let ticket = LinkSecret::parse(ticket.expose_secret()).ok_or(Obstacle::LinkUnknown)?;
        let flow = self.flows.find(&ticket.id).await.map_err(Obstacle::from_failure)?.ok_or(Obstacle::LinkUnknown)?;
        let session = flow.session;
        match session.status {
            _ if !ticket.is(Some(&session.ticket)) => return Err(Obstacle::LinkUnknown),
            Status::Pending if session.is_expired(now) => return Err(Obstacle::LinkExpired),
            Status::Pending => {}
            _ => return Err(Obstacle::LinkUsed),
        }

        let network = session.kind.network();
        let app = self.apps.for_connecting(network, session.token).await.map_err(Obstacle::from_failure)?;
        let state = LinkSecret::new(session.id.clone(), &self.random);
        let cookie = FlowCookie::new(session.id.clone(), &self.random);
        let verifier = network.provider().supports_pkce().then(|| self.random.token());
        let sealed = match &verifier {
            Some(verifier) => Some(
                seal_verifier(&self.keys, &session.tenant, &session.id, verifier)
                    .await
                    .map_err(Obstacle::from_failure)?,
            ),
            None => None,
        };
        let redirect_uri = redirect_uri(&self.public_url, network);
        let url = network.provider().authorization_url(&Authorization {
            client_id: &app.client_id,
            graph_version: &app.graph_version,
            redirect_uri: &redirect_uri,
            state: &state.expose(),
            code_challenge: verifier.as_ref().map(code_challenge).as_deref(),
            kind: session.kind,
            token: session.token,
        });

        let departure = Departure {
            oauth_state: state.hash(),
            browser: cookie.hash(),
            verifier: sealed,
            redirect_uri,
            app: app.client_id,
        };
        self.flows.depart(&session, departure, now).await.map_err(Obstacle::from_failure)?;
        let mut response =
            edge::see_other(self.endpoints.locate(network, &url).as_str()).map_err(|_| Obstacle::Misconfigured)?;
        cookie.set(response.headers_mut(), STEP_LIMIT);
        Ok(response)
    }
}

/// RFC 7636 §4.2, method S256.
fn code_challenge(verifier: &SecretString) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.expose_secret().as_bytes()))
}
