//! Facebook: no PKCE, short-lived tokens exchanged for long-lived ones, no refresh token.
//!
//! The dialog drops a `code_challenge` silently and a `code_verifier` at the token endpoint then
//! fails, so none is sent. `expires_in` may be missing; `debug_token` tells the truth, together
//! with a second clock, the end of data access. Errors are branched on by code and subcode, not by
//! HTTP status.
//! Sources: <https://developers.facebook.com/docs/facebook-login/guides/advanced/manual-flow>,
//! <https://developers.facebook.com/docs/graph-api/guides/error-handling>,
//! <https://developers.facebook.com/docs/graph-api/overview/rate-limiting>

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use super::{
    Account, Answer, Authorization, Failure, Grant, Identity, LimitReach, Params, Provider, Reach, Redemption, Request,
    Talk, Terms, pinned,
};
use crate::{apps::App, token::Reason};

const GRAPH: &str = "graph.facebook.com";

pub(super) struct Facebook;

impl Provider for Facebook {
    fn supports_pkce(&self) -> bool {
        false
    }

    fn revocation_reach(&self) -> Reach {
        Reach::Login
    }

    fn requires_refresh_token(&self) -> bool {
        false
    }

    fn authorization_url(&self, authorization: &Authorization<'_>) -> Url {
        let mut url = pinned("www.facebook.com", &format!("/{}/dialog/oauth", authorization.graph_version));
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", authorization.client_id)
            .append_pair("redirect_uri", authorization.redirect_uri)
            .append_pair("scope", &authorization.kind.scopes(authorization.token).join(","))
            .append_pair("state", authorization.state);
        url
    }

    fn redeem(&self, app: &App, redemption: Redemption) -> Talk<Grant> {
        let request = app_request("facebook token", app)
            .query("redirect_uri", redemption.redirect_uri)
            .query("code", redemption.code);
        let app = app.clone();
        Talk::ask(request, move |answer| {
            let short_lived = read_token(&answer, Failure::CodeRejected)?;
            let request = app_request("facebook long-lived token", &app)
                .query("grant_type", "fb_exchange_token")
                .query("fb_exchange_token", short_lived);
            Ok(Talk::ask(request, |answer| {
                let access_token = read_token(&answer, Failure::CodeRejected)?;
                // what the token is good for is asked when it is identified
                Ok(Talk::Done(Grant { access_token, refresh_token: None, terms: Terms::default() }))
            }))
        })
    }

    fn identify(&self, app: &App, grant: &Grant, _now: Timestamp) -> Talk<Identity> {
        let app_token = format!("{}|{}", app.client_id, app.client_secret.expose_secret());
        let request = Request::new("facebook debug_token", Method::GET, graph(app, "debug_token"))
            .query("input_token", grant.access_token.clone())
            .query("access_token", app_token)
            .repeatable();
        let (app, access_token) = (app.clone(), grant.access_token.clone());
        Talk::ask(request, move |answer| {
            let inspected = read_inspection(&answer, &app)?;
            let request = Request::new("facebook me", Method::GET, graph(&app, "me"))
                .query("fields", "id,name")
                .query("appsecret_proof", proof(&app, access_token.expose_secret()))
                .query("access_token", access_token)
                .repeatable();
            Ok(Talk::ask(request, move |answer| {
                accepted(&answer, Failure::Unreadable("facebook me"))?;
                let me: Me = answer.read("facebook me")?;
                if me.id != inspected.user_id {
                    return Err(Failure::Unreadable("facebook me"));
                }
                let account = Account::read(me.id, &me.name).ok_or(Failure::Unreadable("facebook me"))?;
                Ok(Talk::Done(Identity { account, terms: inspected.terms }))
            }))
        })
    }

    fn refresh(&self, _app: &App, _refresh_token: &SecretString, _now: Timestamp) -> Option<Talk<Grant>> {
        None
    }

    fn judge(&self, answer: &Answer) -> Result<(), Failure> {
        if answer.status.is_server_error() {
            return Err(Failure::Unavailable);
        }
        let error = answer.read_error::<ErrorAnswer>().error;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            return Err(error.and_then(|error| error.limit(&answer.headers)).unwrap_or(TOKEN_LIMIT));
        }
        error.and_then(|error| error.means(&answer.headers)).map_or(Ok(()), Err)
    }

    fn params(&self) -> Option<Params> {
        Some(timed_proof)
    }

    fn revoke(&self, app: &App, grant: &Grant, login: &str) -> Talk<()> {
        let request = Request::new("facebook permissions", Method::DELETE, graph(app, &format!("{login}/permissions")))
            .query("appsecret_proof", proof(app, grant.access_token.expose_secret()))
            .query("access_token", grant.access_token.clone());
        Talk::ask(request, |answer| match accepted(&answer, Failure::Unreadable("facebook permissions")) {
            Ok(()) if answer.read::<Success>("facebook permissions")?.success => Ok(Talk::Done(())),
            Ok(()) => Err(Failure::Unreadable("facebook permissions")),
            Err(Failure::Dead(_)) => Ok(Talk::Done(())),
            Err(failure) => Err(failure),
        })
    }
}

#[derive(Deserialize)]
struct Success {
    success: bool,
}

fn graph(app: &App, path: &str) -> Url {
    pinned(GRAPH, &format!("/{}/{path}", app.graph_version))
}

fn app_request(purpose: &'static str, app: &App) -> Request {
    Request::new(purpose, Method::GET, graph(app, "oauth/access_token"))
        .query("client_id", app.client_id.clone())
        .query("client_secret", app.client_secret.clone())
}

/// `appsecret_proof`: HMAC-SHA-256 under the app secret, in hex, of the access token or, in the timed
/// form, of `token|seconds`.
/// <https://developers.facebook.com/docs/graph-api/guides/secure-requests>
fn proof(app: &App, message: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, app.client_secret.expose_secret().as_bytes());
    hex::encode(hmac::sign(&key, message.as_bytes()))
}

/// The timed form of `appsecret_proof`: a parameter that leaks is of no use five minutes later.
fn timed_proof(app: &App, access_token: &SecretString, now: Timestamp) -> BTreeMap<&'static str, String> {
    let time = now.as_second().to_string();
    let message = Zeroizing::new(format!("{}|{time}", access_token.expose_secret()));
    BTreeMap::from([("appsecret_proof", proof(app, &message)), ("appsecret_time", time)])
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: SecretString,
}

fn read_token(answer: &Answer, rejected: Failure) -> Result<SecretString, Failure> {
    accepted(answer, rejected)?;
    let token: TokenAnswer = answer.read("facebook token")?;
    if token.access_token.expose_secret().is_empty() {
        return Err(Failure::Unreadable("facebook token"));
    }
    Ok(token.access_token)
}

#[derive(Deserialize)]
struct Me {
    id: String,
    name: String,
}

#[derive(Deserialize)]
struct InspectionAnswer {
    data: Inspection,
}

#[derive(Deserialize)]
struct Inspection {
    #[serde(default)]
    app_id: String,
    #[serde(default)]
    is_valid: Option<bool>,
    #[serde(default)]
    user_id: String,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    expires_at: i64,
    #[serde(default)]
    data_access_expires_at: i64,
    #[serde(default)]
    error: Option<GraphError>,
}

struct Inspected {
    user_id: String,
    terms: Terms,
}

fn read_inspection(answer: &Answer, app: &App) -> Result<Inspected, Failure> {
    accepted(answer, Failure::Unreadable("facebook debug_token"))?;
    let InspectionAnswer { data: seen } = answer.read("facebook debug_token")?;
    let unreadable = Failure::Unreadable("facebook debug_token");
    if let Some(error) = seen.error {
        return Err(error.means(&answer.headers).unwrap_or(unreadable));
    }
    match seen.is_valid {
        _ if seen.app_id != app.client_id => return Err(unreadable),
        Some(true) if !seen.user_id.is_empty() => {}
        Some(false) => return Err(Failure::Dead(Reason::RevokedByUser)),
        _ => return Err(unreadable),
    }
    let (access, data_access) = (moment(seen.expires_at), moment(seen.data_access_expires_at));
    let terms = Terms {
        scopes: seen.scopes,
        access_expires_at: access,
        // a person is needed at the earlier of the two clocks
        expires_at: access.into_iter().chain(data_access).min(),
    };
    Ok(Inspected { user_id: seen.user_id, terms })
}

/// Meta writes 0 for "never".
fn moment(seconds: i64) -> Option<Timestamp> {
    (seconds > 0).then(|| Timestamp::from_second(seconds).ok()).flatten()
}

#[derive(Default, Deserialize)]
struct ErrorAnswer {
    error: Option<GraphError>,
}

#[derive(Deserialize)]
struct GraphError {
    #[serde(default)]
    code: i64,
    #[serde(default, alias = "subcode")]
    error_subcode: i64,
    #[serde(default)]
    is_transient: bool,
    #[serde(default)]
    message: String,
}

/// Whether the answer is no error; `rejected` is what code 100 means for this request.
fn accepted(answer: &Answer, rejected: Failure) -> Result<(), Failure> {
    Facebook.judge(answer)?;
    match answer.read_error::<ErrorAnswer>().error {
        Some(GraphError { code: 100, .. }) => Err(rejected),
        None if answer.status.is_success() => Ok(()),
        _ => Err(Failure::Unreadable("facebook error")),
    }
}

/// Meta's windows are rolling; a quarter of an hour is what its documentation advises.
const BACK_OFF: u32 = 15 * 60;
const TOKEN_LIMIT: Failure = Failure::limited(LimitReach::Token, BACK_OFF);
/// How long nothing is written after Meta blocked something as abuse.
const ABUSE_BACK_OFF: u32 = 6 * 60 * 60;

impl GraphError {
    /// Meta's table of codes and subcodes: what the error says of the token or the app, `None` where it
    /// is one of the request alone.
    fn means(&self, headers: &HeaderMap) -> Option<Failure> {
        // limits come first: Meta marks them as transient too
        if let Some(limit) = self.limit(headers) {
            return Some(limit);
        }
        Some(match (self.code, self.error_subcode) {
            // a wrong app secret has the code of an unknown error and is told by its words alone
            (1, _) if self.message.contains("client secret") => Failure::AppRejected,
            (101, _) => Failure::AppRejected,
            (1 | 2 | 341, _) => Failure::Unavailable,
            _ if self.is_transient => Failure::Unavailable,
            (190, 458) => Failure::Dead(Reason::AppRemoved),
            (190, 459 | 464) => Failure::Dead(Reason::Checkpoint),
            (190, 460) => Failure::Dead(Reason::PasswordChanged),
            (190, 463) => Failure::Dead(Reason::Expired),
            (190, 492) => Failure::Dead(Reason::RoleLost),
            (190 | 102, _) => Failure::Dead(Reason::RevokedByUser),
            (10 | 200..=299, _) => Failure::Forbidden,
            _ => return None,
        })
    }

    /// The limit that it tells of.
    fn limit(&self, headers: &HeaderMap) -> Option<Failure> {
        match self.code {
            4 => Some(Failure::limited(LimitReach::App, BACK_OFF)),
            17 | 32 | 613 => Some(TOKEN_LIMIT),
            80_001 | 80_002 | 80_006 => Some(Failure::limited(LimitReach::Token, time_to_regain_access(headers))),
            368 => Some(Failure::limited(LimitReach::Token, ABUSE_BACK_OFF)),
            _ => None,
        }
    }
}

/// What Meta counts for one use case of a Page or Instagram account.
#[derive(Deserialize)]
struct Usage {
    /// In minutes.
    #[serde(default)]
    estimated_time_to_regain_access: u32,
}

/// The longest wait, in seconds, that the answer's usage header estimates, within a day, which is Meta's
/// longest window; a quarter of an hour where it estimates none.
fn time_to_regain_access(headers: &HeaderMap) -> u32 {
    const DAY: u32 = 24 * 60 * 60;
    let usage = headers.get("x-business-use-case-usage").map(HeaderValue::as_bytes);
    let of_objects = usage.and_then(|json| serde_json::from_slice::<BTreeMap<String, Vec<Usage>>>(json).ok());
    let minutes = of_objects.into_iter().flat_map(BTreeMap::into_values).flatten();
    let longest = minutes.map(|usage| usage.estimated_time_to_regain_access).max().filter(|minutes| *minutes > 0);
    longest.map_or(BACK_OFF, |minutes| minutes.saturating_mul(60).min(DAY))
}
