//! Facebook's Graph API, as far as connecting a person's account and reading the posts of a Page goes.
//!
//! There is no refresh token: a short-lived token is exchanged for one of about sixty days, and
//! then the person consents again. The traps that OAuth libraries fall into are kept: PKCE is dropped by
//! the dialog and refused by the token endpoint, `expires_in` is left out for one account, and
//! every error is code and subcode rather than a status.

use aws_lc_rs::hmac;
use axum::{
    Json, Router,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::{delete, get},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{Method, StatusCode, Uri};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use shared::random::Random;

use super::{
    Account, App, Network,
    consent::{self, Asked, Decision, Refused, Scope},
    fields::Fields,
    grants::{Book, Desk, Ending, Grant, Token, Use},
};

pub(super) const ACCOUNTS: &[Account] = &[
    Account { name: "alice.meyer", id: "1001", title: "Alice Meyer" },
    Account { name: "bob.stone", id: "1002", title: "Bob Stone" },
    Account { name: SILENT_ABOUT_EXPIRY, id: "1003", title: "Unknown Expiry" },
];

/// The one Page here, which nobody of the accounts owns, and what it has posted.
const PAGE: &str = "2001";
const POSTS: [(&str, &str, &str); 2] = [
    ("2001_2", "2026-11-02T07:30:00+0000", "The harbour is closed for swimmers until Friday."),
    ("2001_1", "2026-11-01T16:05:00+0000", "Thirty boats came to the autumn regatta. Thank you!"),
];

/// The account whose tokens come without `expires_in`.
const SILENT_ABOUT_EXPIRY: &str = "unknown.expiry";

const PUBLIC_PROFILE: Scope = Scope { name: "public_profile", meaning: "Your name and picture", required: true };

const SCOPES: &[Scope] = &[
    PUBLIC_PROFILE,
    Scope { name: "email", meaning: "Your email address", required: false },
    Scope { name: "pages_show_list", meaning: "The list of Pages that you manage", required: false },
    Scope { name: "pages_read_engagement", meaning: "Posts and followers of your Pages", required: false },
    Scope { name: "pages_read_user_content", meaning: "What visitors write on your Pages", required: false },
    Scope { name: "pages_manage_posts", meaning: "Publish on your Pages", required: false },
    Scope { name: "pages_manage_engagement", meaning: "Answer and moderate comments on your Pages", required: false },
    Scope { name: "pages_manage_metadata", meaning: "Settings and notifications of your Pages", required: false },
    Scope { name: "pages_messaging", meaning: "Private messages of your Pages", required: false },
];

const HOUR: i64 = 3_600;
const CODE_LIFETIME: i64 = 600;
/// About sixty days.
const LONG_LIFETIME: i64 = 5_183_944;
/// Ninety days after the consent.
const DATA_ACCESS: i64 = 90 * 24 * HOUR;
/// How far `appsecret_time` may be away.
const PROOF_WINDOW: u64 = 300;

pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route("/www.facebook.com/{version}/dialog/oauth", get(dialog).post(dialog))
        .route("/graph.facebook.com/{version}/oauth/access_token", get(access_token).post(access_token))
        .route("/graph.facebook.com/{version}/debug_token", get(debug_token))
        .route("/graph.facebook.com/{version}/me", get(me))
        .route("/graph.facebook.com/{version}/{user_id}/permissions", delete(permissions))
        .route("/graph.facebook.com/{version}/{page_id}/posts", get(posts))
}

/// The target of a path without its host.
pub(super) fn target(path: &str, query: &str, body: &[u8]) -> Option<&'static str> {
    let (_version, path) = path.split_once('/')?;
    let extends = |form: &[u8]| {
        url::form_urlencoded::parse(form).any(|(name, value)| name == "grant_type" && value == "fb_exchange_token")
    };
    match path {
        "dialog/oauth" => Some("facebook/authorize"),
        "oauth/access_token" if extends(query.as_bytes()) || extends(body) => Some("facebook/long_lived_token"),
        "oauth/access_token" => Some("facebook/token"),
        "debug_token" => Some("facebook/debug_token"),
        "me" => Some("facebook/me"),
        _ if path.ends_with("/permissions") => Some("facebook/permissions"),
        _ if path.ends_with("/posts") => Some("facebook/posts"),
        _ => None,
    }
}

pub(super) fn throttled() -> Response {
    let usage = [("x-app-usage", r#"{"call_count":100,"total_cputime":25,"total_time":25}"#)];
    (usage, GraphError::new(4, "(#4) Application request limit reached")).into_response()
}

/// `v26.0` and its like; any other first segment is no path of the Graph API.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct GraphVersion;

impl TryFrom<String> for GraphVersion {
    type Error = &'static str;

    fn try_from(version: String) -> Result<Self, Self::Error> {
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        version
            .strip_prefix('v')
            .and_then(|numbers| numbers.split_once('.'))
            .filter(|(major, minor)| digits(major) && digits(minor))
            .map(|_| Self)
            .ok_or("a Graph API version reads like v26.0")
    }
}

/// An error as every Graph call reports it.
#[derive(Debug)]
struct GraphError {
    code: u32,
    subcode: Option<u32>,
    message: String,
}

impl GraphError {
    fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, subcode: None, message: message.into() }
    }

    fn sub(code: u32, subcode: u32, message: impl Into<String>) -> Self {
        Self { code, subcode: Some(subcode), message: message.into() }
    }
}

impl IntoResponse for GraphError {
    fn into_response(self) -> Response {
        let fbtrace_id = BASE64_URL_SAFE_NO_PAD.encode(Random::system().bytes::<8>());
        let mut error = json!({
            "message": self.message, "type": "OAuthException", "code": self.code, "fbtrace_id": fbtrace_id
        });
        if let Some(subcode) = self.subcode {
            error["error_subcode"] = subcode.into();
        }
        (StatusCode::BAD_REQUEST, Json(json!({"error": error}))).into_response()
    }
}

async fn dialog(
    State(desk): State<Desk>,
    Path(_): Path<GraphVersion>,
    method: Method,
    uri: Uri,
    fields: Fields,
) -> Result<Response, Refused> {
    let asked = read(&desk, &fields)?;
    if method != Method::POST {
        return Ok(consent::page(&asked, uri.path()));
    }
    Ok(match consent::decision(&asked, &fields)? {
        Decision::Deny => asked.back(&[
            ("error", "access_denied"),
            ("error_code", "200"),
            ("error_description", "Permissions error"),
            ("error_reason", "user_denied"),
        ]),
        Decision::Approve(account, scopes) => {
            let code = desk.mint::<48>(|bytes| format!("AQ{}", BASE64_URL_SAFE_NO_PAD.encode(bytes)));
            asked.grant(&desk, account, scopes, &code, CODE_LIFETIME)
        }
    })
}

fn read<'a>(desk: &'a Desk, fields: &'a Fields) -> Result<Asked<'a>, Refused> {
    let app = consent::app(desk, Network::Facebook, fields)?;
    let page = |reason: String| Refused::Page(Network::Facebook, reason);
    if fields.get("response_type").is_some_and(|kind| kind != "code") {
        return Err(page("This dialog answers with a code alone.".into()));
    }
    let mut scopes = consent::scopes(SCOPES, fields)
        .map_err(|name| page(format!("Invalid Scopes: {name}. This message is only shown to developers.")))?;
    if !scopes.iter().any(|scope| scope.name == PUBLIC_PROFILE.name) {
        scopes.insert(0, &SCOPES[0]);
    }
    // a code_challenge is dropped without a word
    Ok(Asked { app, state: fields.get("state"), scopes, code_challenge: None })
}

async fn access_token(
    State(desk): State<Desk>,
    Path(_): Path<GraphVersion>,
    fields: Fields,
) -> Result<Json<Value>, GraphError> {
    let app = client(&desk, &fields)?;
    let new = desk.mint::<64>(|bytes| format!("EAAS{}", hex::encode(bytes)));
    let now = desk.now();
    match fields.get("grant_type") {
        Some("fb_exchange_token") => extend(&desk, app, &fields, &new, now),
        None | Some("authorization_code") => redeem(&desk, app, &fields, &new, now),
        Some(_) => Err(GraphError::new(100, "Unsupported grant type")),
    }
    .map(Json)
}

fn client<'a>(desk: &'a Desk, fields: &Fields) -> Result<&'a App, GraphError> {
    let client_id = fields.get("client_id").unwrap_or_default();
    let unknown = "Error validating application. Cannot get application info due to a system error.";
    desk.app(Network::Facebook, client_id).ok_or_else(|| GraphError::new(101, unknown))?;
    desk.authenticate(Network::Facebook, client_id, fields.get("client_secret").unwrap_or_default())
        .ok_or_else(|| GraphError::new(1, "Error validating client secret."))
}

/// A code for a short-lived token. It expires on the hour, one to two hours from now.
fn redeem(desk: &Desk, app: &App, fields: &Fields, new: &str, now: i64) -> Result<Value, GraphError> {
    if fields.get("code_verifier").is_some() {
        return Err(GraphError::new(1, "An unknown error has occurred."));
    }
    let secret = fields.get("code").ok_or_else(|| GraphError::new(100, "Missing authorization code"))?;
    desk.book.change(|book| {
        let code = book
            .code(Network::Facebook, &app.client_id, secret)
            .ok_or_else(|| GraphError::new(100, "Invalid verification code format."))?;
        if fields.get("redirect_uri") != Some(&code.redirect_uri) {
            let message = "Error validating verification code. Please make sure your redirect_uri is identical to \
                the one you used in the OAuth dialog request";
            return Err(GraphError::sub(100, 36_008, message));
        }
        if code.used {
            return Err(GraphError::sub(100, 36_009, "This authorization code has been used."));
        }
        if now >= code.expires_at {
            return Err(GraphError::sub(100, 36_007, "This authorization code has expired."));
        }
        code.used = true;
        let grant = code.grant;
        let expires_at = now + 2 * HOUR - now.rem_euclid(HOUR);
        let token = Token { grant, good_for: Use::Access, issued_at: now, expires_at, spent: false };
        issue(book, new, token, now)
    })
}

/// A living token for one of about sixty days. A long-lived one is answered with its own end: it
/// cannot be relied upon that Facebook extends it.
fn extend(desk: &Desk, app: &App, fields: &Fields, new: &str, now: i64) -> Result<Value, GraphError> {
    let secret = fields.get("fb_exchange_token").ok_or_else(|| GraphError::new(100, "fb_exchange_token is missing"))?;
    desk.book.change(|book| {
        let (old, grant) = book.token(Network::Facebook, secret).ok_or_else(unknown_token)?;
        if grant.client_id != app.client_id {
            return Err(unknown_token());
        }
        let expires_at = if old.good_for == Use::LongLived { old.expires_at } else { now + LONG_LIFETIME };
        check_life(book, old, grant, now)?;
        let token = Token { grant: old.grant, good_for: Use::LongLived, issued_at: now, expires_at, spent: false };
        issue(book, new, token, now)
    })
}

/// Keeps a new token, unless its grant ended, and tells the app about it.
fn issue(book: &mut Book, new: &str, token: Token, now: i64) -> Result<Value, GraphError> {
    let grant = book.grant(token.grant);
    check_life(book, &token, grant, now)?;
    let mut answer = json!({"access_token": new, "token_type": "bearer"});
    if grant.account().is_none_or(|account| account.name != SILENT_ABOUT_EXPIRY) {
        answer["expires_in"] = (token.expires_at - now).into();
    }
    book.keep_token(new, token);
    Ok(answer)
}

fn unknown_token() -> GraphError {
    GraphError::new(190, "Invalid OAuth access token - Cannot parse access token")
}

/// Refuses a token that was minted and has died since, for the reason that it died of.
fn check_life(book: &Book, token: &Token, grant: &Grant, now: i64) -> Result<(), GraphError> {
    let (subcode, why) = match grant.ended {
        Some(Ending::PasswordChanged) => (
            460,
            "The session has been invalidated because the user changed their password or Facebook has changed the \
             session for security reasons."
                .to_owned(),
        ),
        Some(Ending::Removed | Ending::Replayed) => {
            (458, format!("The user has not authorized application {}.", grant.client_id))
        }
        None if book.holds(grant) => (
            459,
            "You cannot access the app till you log in to www.facebook.com and follow the instructions given."
                .to_owned(),
        ),
        None if token.expired(now) => {
            (463, format!("Session has expired on {}. The current time is {}.", date(token.expires_at), date(now)))
        }
        None => return Ok(()),
    };
    Err(GraphError::sub(190, subcode, format!("Error validating access token: {why}")))
}

fn date(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

/// The app behind an app access token, `{id}|{secret}`.
fn app_of<'a>(desk: &'a Desk, access_token: &str) -> Option<&'a App> {
    let (client_id, client_secret) = access_token.split_once('|')?;
    desk.authenticate(Network::Facebook, client_id, client_secret)
}

async fn debug_token(
    State(desk): State<Desk>,
    Path(_): Path<GraphVersion>,
    fields: Fields,
) -> Result<Json<Value>, GraphError> {
    let app = access(&fields)
        .and_then(|token| app_of(&desk, token))
        .ok_or_else(|| GraphError::new(190, "Invalid OAuth access token signature."))?;
    let input = fields.get("input_token").ok_or_else(|| GraphError::new(100, "(#100) input_token is missing"))?;
    let now = desk.now();
    desk.book.read(|book| {
        let Some((token, grant)) = book.token(Network::Facebook, input) else {
            let GraphError { code, message, .. } = unknown_token();
            let error = json!({"code": code, "message": message});
            return Ok(Json(json!({"data": {"error": error, "is_valid": false, "scopes": []}})));
        };
        if grant.client_id != app.client_id {
            let message = "(#100) The App_id in the input_token did not match the Viewing App";
            return Err(GraphError::new(100, message));
        }
        let mut introspection = json!({
            "app_id": grant.client_id,
            "type": "USER",
            "is_valid": true,
            "expires_at": token.expires_at,
            "data_access_expires_at": grant.consented_at + DATA_ACCESS,
            "issued_at": token.issued_at,
            "scopes": grant.scopes,
            "granular_scopes": grant.scopes.iter().map(|scope| json!({"scope": scope})).collect::<Vec<_>>(),
            "user_id": grant.account().map(|account| account.id),
        });
        if let Err(GraphError { code, subcode, message }) = check_life(book, token, grant, now) {
            introspection["is_valid"] = false.into();
            introspection["error"] = json!({"code": code, "message": message, "subcode": subcode});
        }
        Ok(Json(json!({"data": introspection})))
    })
}

fn access(fields: &Fields) -> Option<&str> {
    fields.get("access_token").or(fields.bearer.as_deref())
}

async fn me(State(desk): State<Desk>, Path(_): Path<GraphVersion>, fields: Fields) -> Result<Json<Value>, GraphError> {
    let (_, account) = person(&desk, &fields)?;
    Ok(Json(json!({"id": account.id, "name": account.title})))
}

/// A Page's posts are public, to apps whose users let them read.
async fn posts(
    State(desk): State<Desk>,
    Path((_, page_id)): Path<(GraphVersion, String)>,
    fields: Fields,
) -> Result<Json<Value>, GraphError> {
    const NEEDED: &str = "pages_read_engagement";
    let (grant, _) = person(&desk, &fields)?;
    if page_id != PAGE {
        let message = format!("Unsupported get request. Object with ID '{page_id}' does not exist");
        return Err(GraphError::sub(100, 33, message));
    }
    if !grant.allows(NEEDED) {
        return Err(GraphError::new(10, format!("(#10) This endpoint requires the '{NEEDED}' permission")));
    }
    let posts = POSTS.map(|(id, time, message)| json!({"id": id, "created_time": time, "message": message}));
    Ok(Json(json!({"data": posts})))
}

/// Ends every token that the person's consents to this app brought forth. An app access token may
/// do so for anybody who consented.
async fn permissions(
    State(desk): State<Desk>,
    Path((_, user_id)): Path<(GraphVersion, String)>,
    fields: Fields,
) -> Result<Json<Value>, GraphError> {
    let unknown =
        || GraphError::new(100, format!("Unsupported delete request. Object with ID '{user_id}' does not exist"));
    let known = ACCOUNTS.iter().find(|account| account.id == user_id);
    let (client_id, account) = match access(&fields).and_then(|token| app_of(&desk, token)) {
        Some(app) => (app.client_id.clone(), known.ok_or_else(unknown)?),
        None => person(&desk, &fields).map(|(grant, account)| (grant.client_id, account))?,
    };
    if user_id != "me" && user_id != account.id {
        return Err(unknown());
    }
    desk.book.change(|book| book.end_all(Network::Facebook, account.name, Some(&client_id), Ending::Removed));
    Ok(Json(json!({"success": true})))
}

/// The consent and the person that a living user token with its proof stands for.
fn person(desk: &Desk, fields: &Fields) -> Result<(Grant, &'static Account), GraphError> {
    let secret = access(fields).ok_or_else(|| {
        GraphError::new(2500, "An active access token must be used to query information about the current user.")
    })?;
    let now = desk.now();
    desk.book.read(|book| {
        let (token, grant) = book.token(Network::Facebook, secret).ok_or_else(unknown_token)?;
        check_life(book, token, grant, now)?;
        let app = desk.app(Network::Facebook, &grant.client_id).ok_or_else(unknown_token)?;
        check_proof(&desk.client_secret(app), secret, fields, now)?;
        Ok((grant.clone(), grant.account().ok_or_else(unknown_token)?))
    })
}

/// `appsecret_proof`: hex HMAC-SHA256 of the token under the app secret; with `appsecret_time`, of
/// the token and that time.
fn check_proof(client_secret: &SecretString, token: &str, fields: &Fields, now: i64) -> Result<(), GraphError> {
    let proof = fields
        .get("appsecret_proof")
        .ok_or_else(|| GraphError::new(100, "API calls from the server require an appsecret_proof argument"))?;
    let invalid = || GraphError::new(100, "Invalid appsecret_proof provided in the API argument");
    let message = match fields.get("appsecret_time") {
        None => token.to_owned(),
        Some(time) => {
            let seconds: i64 = time.parse().map_err(|_| invalid())?;
            if seconds.abs_diff(now) > PROOF_WINDOW {
                return Err(invalid());
            }
            format!("{token}|{time}")
        }
    };
    let key = hmac::Key::new(hmac::HMAC_SHA256, client_secret.expose_secret().as_bytes());
    let tag = hex::decode(proof).map_err(|_| invalid())?;
    hmac::verify(&key, message.as_bytes(), &tag).map_err(|_| invalid())
}
