//! X: PKCE is required, a code lives thirty seconds, and refresh tokens are single use.
//!
//! A consent and everything minted from it is one family: presenting a code or a refresh token
//! twice, or revoking any token of it, ends the family.
//!
//! Posting is there to try an access token out; what is posted is kept nowhere.

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{Method, StatusCode, Uri, header};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use shared::random::Random;

use super::{
    Account, App, Network,
    consent::{self, Asked, Decision, Refused, Scope},
    fields::Fields,
    grants::{Book, Desk, Ending, GrantId, Token, Use, sha256},
};

pub(super) const ACCOUNTS: &[Account] = &[
    Account { name: "newsdesk", id: "42", title: "News Desk" },
    Account { name: "support", id: "43", title: "Support" },
    Account { name: "press", id: "44", title: "Press" },
];

const SCOPES: &[Scope] = &[
    Scope { name: "tweet.read", meaning: "Read posts that you can see", required: true },
    Scope { name: "users.read", meaning: "Read the profiles of accounts that you can see", required: true },
    Scope { name: "tweet.write", meaning: "Post and repost for you", required: false },
    Scope { name: "media.write", meaning: "Upload pictures and videos", required: false },
    Scope { name: "dm.read", meaning: "Read your direct messages", required: false },
    Scope { name: "dm.write", meaning: "Send direct messages for you", required: false },
    Scope { name: "offline.access", meaning: "Stay connected until you revoke it", required: false },
];

const CODE_LIFETIME: i64 = 30;
pub(super) const ACCESS_LIFETIME: i64 = 7_200;
/// About six months.
pub(super) const REFRESH_LIFETIME: i64 = 182 * 24 * 3_600;
const LONGEST_STATE: usize = 500;
/// Of rate limits.
const LIMIT_WINDOW: i64 = 15 * 60;

pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route("/x.com/i/oauth2/authorize", get(authorize).post(authorize))
        .route("/api.x.com/2/oauth2/token", post(token))
        .route("/api.x.com/2/oauth2/revoke", post(revoke))
        .route("/api.x.com/2/users/me", get(me))
        .route("/api.x.com/2/tweets", post(tweet))
}

/// The target of a path without its host.
pub(super) fn target(path: &str) -> Option<&'static str> {
    match path {
        "i/oauth2/authorize" => Some("x/authorize"),
        "2/oauth2/token" => Some("x/token"),
        "2/oauth2/revoke" => Some("x/revoke"),
        "2/users/me" => Some("x/me"),
        "2/tweets" => Some("x/tweets"),
        _ => None,
    }
}

/// A window has begun with the first request of many.
pub(super) fn throttled(now: Timestamp) -> Response {
    let reset = (now.as_second() + LIMIT_WINDOW).to_string();
    let limit = [("x-rate-limit-limit", "75"), ("x-rate-limit-remaining", "0"), ("x-rate-limit-reset", &reset)];
    (limit, Problem(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests")).into_response()
}

async fn authorize(State(desk): State<Desk>, method: Method, uri: Uri, fields: Fields) -> Result<Response, Refused> {
    let asked = read(&desk, &fields)?;
    if method != Method::POST {
        return Ok(consent::page(&asked, uri.path()));
    }
    Ok(match consent::decision(&asked, &fields)? {
        Decision::Deny => asked.back(&[("error", "access_denied")]),
        Decision::Approve(consent) => {
            let code = mint(&desk);
            asked.grant(&desk, consent, &code, CODE_LIFETIME);
            asked.back(&[("code", &code)])
        }
    })
}

fn read<'a>(desk: &'a Desk, fields: &'a Fields) -> Result<Asked<'a>, Refused> {
    let app = consent::app(desk, Network::X, fields)?;
    let state = fields.get("state");
    let refuse = |error, description: &str| Err(Refused::back(app, state, error, description));
    if fields.get("response_type") != Some("code") {
        return refuse("unsupported_response_type", "response_type must be code.");
    }
    if state.is_none_or(|state| state.len() > LONGEST_STATE) {
        return refuse("invalid_request", "state is required and has at most 500 characters.");
    }
    let code_challenge = fields.get("code_challenge");
    // an S256 challenge is 32 bytes in base64url
    if code_challenge.is_none_or(|challenge| challenge.len() != 43)
        || fields.get("code_challenge_method") != Some("S256")
    {
        return refuse("invalid_request", "A code_challenge by S256 is required.");
    }
    match consent::scopes(SCOPES, fields) {
        Ok(scopes) if !scopes.is_empty() => Ok(Asked { code_challenge, ..Asked::new(app, state, scopes) }),
        _ => refuse("invalid_scope", "scope is missing, or names something unknown."),
    }
}

pub(super) fn mint(desk: &Desk) -> String {
    desk.mint::<48>(|bytes| BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// An answer to the app that something in its request is wrong.
#[derive(Debug, Serialize)]
struct Invalid {
    #[serde(skip)]
    status: StatusCode,
    error: &'static str,
    error_description: &'static str,
}

const WRONG_CLIENT: Invalid = Invalid {
    status: StatusCode::UNAUTHORIZED,
    error: "unauthorized_client",
    error_description: "Missing valid authorization header",
};

fn invalid(error_description: &'static str) -> Invalid {
    Invalid { status: StatusCode::BAD_REQUEST, error: "invalid_request", error_description }
}

fn invalid_code() -> Invalid {
    invalid("Value passed for the authorization code was invalid.")
}

fn invalid_token() -> Invalid {
    invalid("Value passed for the token was invalid.")
}

impl IntoResponse for Invalid {
    fn into_response(self) -> Response {
        (self.status, Json(self)).into_response()
    }
}

/// What a successful exchange answers.
#[derive(Serialize)]
struct Issued {
    token_type: &'static str,
    expires_in: i64,
    access_token: String,
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
}

async fn token(State(desk): State<Desk>, fields: Fields) -> Result<Json<Issued>, Invalid> {
    let app = client(&desk, &fields)?;
    match fields.form("grant_type") {
        Some("authorization_code") => redeem(&desk, app, &fields),
        Some("refresh_token") => refresh(&desk, app, &fields),
        _ => Err(invalid("Value passed for the grant type was invalid.")),
    }
    .map(Json)
}

fn client<'a>(desk: &'a Desk, fields: &Fields) -> Result<&'a App, Invalid> {
    let (client_id, client_secret) = fields.basic.as_ref().ok_or(WRONG_CLIENT)?;
    desk.authenticate(Network::X, client_id, client_secret).ok_or(WRONG_CLIENT)
}

fn redeem(desk: &Desk, app: &App, fields: &Fields) -> Result<Issued, Invalid> {
    let (access, refresh, now) = (mint(desk), mint(desk), desk.now());
    let secret = fields.form("code").ok_or_else(invalid_code)?;
    let challenge = fields.form("code_verifier").map(sha256);
    desk.book.change(|book| {
        let code = book.code(Network::X, &app.client_id, secret).ok_or_else(invalid_code)?;
        let grant = code.grant;
        if code.used {
            book.end(grant, Ending::Replayed);
            return Err(invalid_code());
        }
        if now >= code.expires_at {
            return Err(invalid_code());
        }
        if fields.form("redirect_uri") != Some(&code.redirect_uri) {
            return Err(invalid("Value passed for the redirect uri did not match the uri of the authorization code."));
        }
        if challenge != code.challenge {
            return Err(invalid("Value passed for the code verifier did not match the code challenge."));
        }
        code.used = true;
        issue(book, grant, access, refresh, now)
    })
}

fn refresh(desk: &Desk, app: &App, fields: &Fields) -> Result<Issued, Invalid> {
    let (access, refresh, now) = (mint(desk), mint(desk), desk.now());
    let secret = fields.form("refresh_token").ok_or_else(invalid_token)?;
    desk.book.change(|book| {
        let (token, grant) = book.token(Network::X, secret).ok_or_else(invalid_token)?;
        if token.good_for != Use::Refresh || grant.client_id != app.client_id {
            return Err(invalid_token());
        }
        let family = token.grant;
        if token.spent {
            book.end(family, Ending::Replayed);
            return Err(invalid_token());
        }
        if token.expired(now) {
            return Err(invalid_token());
        }
        book.spend(secret);
        issue(book, family, access, refresh, now)
    })
}

fn issue(book: &mut Book, grant: GrantId, access: String, refresh: String, now: i64) -> Result<Issued, Invalid> {
    let consent = book.grant(grant);
    if consent.ended.is_some() {
        return Err(invalid_token());
    }
    let scope = consent.scopes.join(" ");
    let refresh_token = consent.allows("offline.access").then_some(refresh);
    book.keep_token(&access, Token::living(grant, Use::Access, now, ACCESS_LIFETIME));
    if let Some(refresh) = &refresh_token {
        book.keep_token(refresh, Token::living(grant, Use::Refresh, now, REFRESH_LIFETIME));
    }
    Ok(Issued { token_type: "bearer", expires_in: ACCESS_LIFETIME, access_token: access, scope, refresh_token })
}

/// As RFC 7009 wants it, a token that is not known is revoked already.
async fn revoke(State(desk): State<Desk>, fields: Fields) -> Result<Response, Invalid> {
    let app = client(&desk, &fields)?;
    let secret = fields.form("token").ok_or_else(invalid_token)?;
    desk.book.change(|book| {
        let family = book
            .token(Network::X, secret)
            .filter(|(_, grant)| grant.client_id == app.client_id)
            .map(|(token, _)| token.grant);
        if let Some(family) = family {
            book.end(family, Ending::Removed);
        }
    });
    Ok(Json(json!({"revoked": true})).into_response())
}

async fn me(State(desk): State<Desk>, fields: Fields) -> Result<Json<Value>, Problem> {
    let Account { name, id, title } = caller(&desk, &fields, &[])?;
    Ok(Json(json!({"data": {"id": id, "name": title, "username": name}})))
}

async fn tweet(State(desk): State<Desk>, fields: Fields) -> Result<impl IntoResponse, Problem> {
    caller(&desk, &fields, &["tweet.write"])?;
    let text = fields.json["text"].as_str().filter(|text| !text.is_empty());
    let text = text.ok_or(Problem(StatusCode::BAD_REQUEST, "Invalid Request"))?;
    let id = u64::from_be_bytes(Random::system().bytes()) >> 1;
    Ok((StatusCode::CREATED, Json(json!({"data": {"id": id.to_string(), "text": text}}))))
}

/// Whose access token it is, if it is alive and carries `scopes` beside those that every call needs.
fn caller(desk: &Desk, fields: &Fields, scopes: &[&str]) -> Result<&'static Account, Problem> {
    let now = desk.now();
    let bearer = fields.bearer.as_deref().unwrap_or_default();
    desk.book.read(|book| {
        let living = book
            .token(Network::X, bearer)
            .filter(|(token, grant)| token.good_for == Use::Access && !token.expired(now) && grant.ended.is_none());
        let (_, grant) = living.ok_or(Problem(StatusCode::UNAUTHORIZED, "Unauthorized"))?;
        let allowed = ["users.read", "tweet.read"].iter().chain(scopes).all(|scope| grant.allows(scope));
        let account = grant.account().filter(|_| allowed && !book.holds(grant));
        account.ok_or(Problem(StatusCode::FORBIDDEN, "Forbidden"))
    })
}

/// An error of the API, as opposed to one of OAuth.
#[derive(Debug)]
struct Problem(StatusCode, &'static str);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self(status, title) = self;
        let body = json!({"title": title, "type": "about:blank", "status": status.as_u16(), "detail": title});
        (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
    }
}
