//! YouTube, by way of Google's OAuth: a refresh token comes only when it is asked for, stays the same, and dies of more
//! than anybody is told.
//!
//! A Google account is one login that may have several channels: then each channel is an account here, and the
//! login's id is the same. Whatever ends a login's consents (its own revocation, or that of any token by the app)
//! ends them for all of its channels.
//!
//! Quirks that are kept: consent is granular, the scopes in answers are not spelt as they were asked for, a person who
//! consented before gets no second refresh token unless `prompt=consent`, an app in testing has grants of seven
//! days, and the hundred-and-first refresh token silently ends the first.

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{Method, StatusCode, Uri};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Account, App, Network,
    consent::{self, Asked, Decision, Refused, Scope},
    fields::Fields,
    grants::{Book, Desk, Ending, Grant, GrantId, Token, Use, sha256},
};

pub(super) const ACCOUNTS: &[Account] = &[
    Account { name: "harbour.tv", id: "100000000000000000001", title: "Harbour TV" },
    Account { name: "harbour.radio", id: "100000000000000000002", title: "Harbour Radio" },
    Account { name: "studio.north", id: "100000000000000000003", title: "North Studio" },
    Account { name: "studio.south", id: "100000000000000000003", title: "South Studio" },
    Account { name: "no.channel", id: "100000000000000000004", title: "No Channel" },
    Account { name: RENEWED, id: "100000000000000000005", title: "Harbour Archive" },
    Account { name: MANAGED, id: "100000000000000000006", title: "Managed by an Organisation" },
];

/// Account and channel.
const CHANNELS: &[(&str, &str)] = &[
    ("harbour.tv", "UC_harbour_tv_0000000001"),
    ("harbour.radio", "UC_harbour_radio_0000002"),
    ("studio.north", "UC_studio_north_00000003"),
    ("studio.south", "UC_studio_south_00000004"),
    (RENEWED, "UC_harbour_archive_00005"),
    (MANAGED, "UC_managed_channel_00006"),
];

/// The account that gets a new refresh token with every access token; the one before ends.
const RENEWED: &str = "harbour.archive";

/// The account whose organisation lets no app in.
const MANAGED: &str = "managed.account";

const READ: &str = "https://www.googleapis.com/auth/youtube.readonly";
const WRITE: &str = "https://www.googleapis.com/auth/youtube.force-ssl";
const EMAIL: &str = "https://www.googleapis.com/auth/userinfo.email";

const SCOPES: &[Scope] = &[
    Scope { name: "openid", meaning: "Know who you are", required: true },
    Scope { name: "email", meaning: "See your email address", required: true },
    Scope { name: EMAIL, meaning: "See your email address", required: true },
    Scope { name: READ, meaning: "View your YouTube account", required: false },
    Scope { name: WRITE, meaning: "Comments, ratings and captions on YouTube, seen and changed", required: false },
];

const CODE_LIFETIME: i64 = 600;
pub(super) const ACCESS_LIFETIME: i64 = 3_599;
/// About six months, from each use on.
pub(super) const UNUSED_LIFETIME: i64 = 182 * 24 * 3_600;
/// Of a grant to an app in testing: seven days.
const TESTING_LIFETIME: i64 = 7 * 24 * 3_600 - 1;
/// Refresh tokens of one login for one app.
const MOST_REFRESH_TOKENS: usize = 100;

const ISSUER: &str = "https://accounts.google.com";

pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route("/accounts.google.com/o/oauth2/v2/auth", get(authorize).post(authorize))
        .route("/oauth2.googleapis.com/token", post(token))
        .route("/oauth2.googleapis.com/revoke", post(revoke))
        .route("/oauth2.googleapis.com/tokeninfo", get(tokeninfo))
        .route("/www.googleapis.com/youtube/v3/channels", get(channels))
}

/// The target of a path without its host.
pub(super) fn target(path: &str) -> Option<&'static str> {
    match path {
        "o/oauth2/v2/auth" => Some("youtube/authorize"),
        "token" => Some("youtube/token"),
        "revoke" => Some("youtube/revoke"),
        "tokeninfo" => Some("youtube/tokeninfo"),
        "youtube/v3/channels" => Some("youtube/channels"),
        ".well-known/risc-configuration" => Some("youtube/risc-configuration"),
        "oauth2/v3/certs" => Some("youtube/certs"),
        _ => None,
    }
}

/// The API has a quota a day for the whole project; OAuth is limited in its own form.
pub(super) fn throttled(target: &str) -> Response {
    match target {
        "youtube/channels" => Problem {
            code: StatusCode::FORBIDDEN,
            status: None,
            reason: "quotaExceeded",
            domain: "youtube.quota",
            message: "The request cannot be completed because you have exceeded your quota.",
        }
        .into_response(),
        _ => Invalid(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", "Rate Limit Exceeded").into_response(),
    }
}

async fn authorize(State(desk): State<Desk>, method: Method, uri: Uri, fields: Fields) -> Result<Response, Refused> {
    let asked = read(&desk, &fields)?;
    if method != Method::POST {
        return Ok(consent::page(&asked, uri.path()));
    }
    let refuse = |error| Ok(asked.back(&[("error", error), ("iss", ISSUER)]));
    match consent::decision(&asked, &fields)? {
        Decision::Deny => refuse("access_denied"),
        Decision::Approve(consent) if consent.account.name == MANAGED => refuse("admin_policy_enforced"),
        Decision::Approve(mut consent) => {
            for scope in consent.scopes.iter_mut().filter(|scope| *scope == "email") {
                EMAIL.clone_into(scope);
            }
            let offline = fields.get("access_type") == Some("offline");
            let prompted = fields.get("prompt").is_some_and(|prompt| prompt.split(' ').any(|word| word == "consent"));
            let (login, client_id) = (consent.account.id, &asked.app.client_id);
            let (known, testing) = desk
                .book
                .read(|book| (book.knows(Network::Youtube, login, client_id), book.tests(Network::Youtube, login)));
            consent.offline = offline && (prompted || !known);
            consent.testing = testing || asked.app.in_testing;

            let scope = consent.scopes.join(" ");
            let code = desk.mint::<48>(|bytes| format!("4/0A{}", BASE64_URL_SAFE_NO_PAD.encode(bytes)));
            asked.grant(&desk, consent, &code, CODE_LIFETIME);
            let prompt = if prompted || !known { "consent" } else { "none" };
            let answer = [("iss", ISSUER), ("code", &code), ("scope", &scope), ("authuser", "0"), ("prompt", prompt)];
            Ok(asked.back(&answer))
        }
    }
}

/// What is wrong here ends on a page: Google sends nobody back with a mistake of the app's.
fn read<'a>(desk: &'a Desk, fields: &'a Fields) -> Result<Asked<'a>, Refused> {
    let app = consent::app(desk, Network::Youtube, fields)?;
    let page = |error: &str, why: &str| Refused::Page(Network::Youtube, format!("Error 400: {error}. {why}"));
    if fields.get("response_type") != Some("code") {
        return Err(page("invalid_request", "response_type must be code."));
    }
    let scopes = consent::scopes(SCOPES, fields).map_err(|name| page("invalid_scope", &name))?;
    if scopes.is_empty() {
        return Err(page("invalid_request", "Missing required parameter: scope"));
    }
    let code_challenge = fields.get("code_challenge");
    let by_s256 = fields.get("code_challenge_method") == Some("S256");
    // an S256 challenge is 32 bytes in base64url
    if code_challenge.is_some_and(|challenge| !by_s256 || challenge.len() != 43) {
        return Err(page("invalid_request", "This code_challenge is none by S256."));
    }
    let more = ["access_type", "prompt"].into_iter().filter_map(|name| Some((name, fields.get(name)?))).collect();
    Ok(Asked { code_challenge, more, ..Asked::new(app, fields.get("state"), scopes) })
}

/// An answer of Google's OAuth that something in a request is wrong.
#[derive(Debug)]
struct Invalid(StatusCode, &'static str, &'static str);

impl IntoResponse for Invalid {
    fn into_response(self) -> Response {
        let Self(status, error, error_description) = self;
        (status, Json(json!({"error": error, "error_description": error_description}))).into_response()
    }
}

fn invalid_grant(description: &'static str) -> Invalid {
    Invalid(StatusCode::BAD_REQUEST, "invalid_grant", description)
}

/// Whatever a refresh token died of: nobody is told.
fn dead() -> Invalid {
    invalid_grant("Token has been expired or revoked.")
}

/// What a successful exchange answers.
#[derive(Serialize)]
struct Issued {
    access_token: String,
    expires_in: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    /// Of a grant that has an end.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token_expires_in: Option<i64>,
    scope: String,
    token_type: &'static str,
}

async fn token(State(desk): State<Desk>, fields: Fields) -> Result<Json<Issued>, Invalid> {
    let app = client(&desk, &fields)?;
    match fields.form("grant_type") {
        Some("authorization_code") => redeem(&desk, app, &fields),
        Some("refresh_token") => refresh(&desk, app, &fields),
        _ => Err(Invalid(StatusCode::BAD_REQUEST, "unsupported_grant_type", "Invalid grant_type")),
    }
    .map(Json)
}

fn client<'a>(desk: &'a Desk, fields: &Fields) -> Result<&'a App, Invalid> {
    let refuse = |description| Invalid(StatusCode::UNAUTHORIZED, "invalid_client", description);
    let client_id = fields.form("client_id").unwrap_or_default();
    desk.app(Network::Youtube, client_id).ok_or_else(|| refuse("The OAuth client was not found."))?;
    let client_secret = fields.form("client_secret").unwrap_or_default();
    desk.authenticate(Network::Youtube, client_id, client_secret).ok_or_else(|| refuse("Unauthorized"))
}

fn mint_access(desk: &Desk) -> String {
    desk.mint::<64>(|bytes| format!("ya29.{}", BASE64_URL_SAFE_NO_PAD.encode(bytes)))
}

pub(super) fn mint_refresh(desk: &Desk) -> String {
    desk.mint::<48>(|bytes| format!("1//0{}", BASE64_URL_SAFE_NO_PAD.encode(bytes)))
}

fn redeem(desk: &Desk, app: &App, fields: &Fields) -> Result<Issued, Invalid> {
    let (access, refresh, now) = (mint_access(desk), mint_refresh(desk), desk.now());
    let secret = fields.form("code").ok_or_else(|| invalid_grant("Malformed auth code."))?;
    let challenge = fields.form("code_verifier").map(sha256);
    desk.book.change(|book| {
        let code = book.code(Network::Youtube, &app.client_id, secret);
        let code = code.ok_or_else(|| invalid_grant("Malformed auth code."))?;
        if code.used || now >= code.expires_at {
            return Err(invalid_grant("Bad Request"));
        }
        if fields.form("redirect_uri") != Some(&code.redirect_uri) {
            return Err(Invalid(StatusCode::BAD_REQUEST, "redirect_uri_mismatch", "Bad Request"));
        }
        if challenge != code.challenge {
            let missing = challenge.is_none();
            return Err(invalid_grant(if missing { "Missing code verifier." } else { "Invalid code verifier." }));
        }
        code.used = true;
        let grant = code.grant;
        let mut issued = issue(book, grant, access, now)?;
        let Grant { offline, testing, .. } = *book.grant(grant);
        if offline {
            let lifetime = if testing { TESTING_LIFETIME } else { UNUSED_LIFETIME };
            book.keep_token(&refresh, Token::living(grant, Use::Refresh, now, lifetime));
            book.crowd_out(grant, MOST_REFRESH_TOKENS, now);
            issued.refresh_token = Some(refresh);
            issued.refresh_token_expires_in = testing.then_some(lifetime);
        }
        Ok(issued)
    })
}

fn refresh(desk: &Desk, app: &App, fields: &Fields) -> Result<Issued, Invalid> {
    let (access, next, now) = (mint_access(desk), mint_refresh(desk), desk.now());
    let missing = Invalid(StatusCode::BAD_REQUEST, "invalid_request", "Missing required parameter: refresh_token");
    let secret = fields.form("refresh_token").ok_or(missing)?;
    desk.book.change(|book| {
        let (token, consent) = book.token(Network::Youtube, secret).ok_or_else(dead)?;
        if token.good_for != Use::Refresh || consent.client_id != app.client_id || token.expired(now) {
            return Err(dead());
        }
        let (grant, testing) = (token.grant, consent.testing);
        // seven days from the beginning stay what they are, six months begin again with every use
        let end = token.expires_at.filter(|_| testing).unwrap_or(now + UNUSED_LIFETIME);
        let renews = consent.account().is_some_and(|account| account.name == RENEWED);
        let mut issued = issue(book, grant, access, now)?;
        if renews {
            book.end_token_at(secret, now);
            book.keep_token(&next, Token::living(grant, Use::Refresh, now, end - now));
            issued.refresh_token = Some(next);
        } else {
            book.end_token_at(secret, end);
        }
        issued.refresh_token_expires_in = testing.then_some(end - now);
        Ok(issued)
    })
}

/// A new access token, unless the grant has ended.
fn issue(book: &mut Book, grant: GrantId, access: String, now: i64) -> Result<Issued, Invalid> {
    let consent = book.grant(grant);
    if consent.ended.is_some() {
        return Err(dead());
    }
    let scope = consent.scopes.join(" ");
    book.keep_token(&access, Token::living(grant, Use::Access, now, ACCESS_LIFETIME));
    Ok(Issued {
        access_token: access,
        expires_in: ACCESS_LIFETIME,
        refresh_token: None,
        refresh_token_expires_in: None,
        scope,
        token_type: "Bearer",
    })
}

/// Ends all that the login granted to the app, whichever of its tokens is sent and by whomever.
async fn revoke(State(desk): State<Desk>, fields: Fields) -> Result<Json<Value>, Invalid> {
    let invalid = || Invalid(StatusCode::BAD_REQUEST, "invalid_token", "Token expired or revoked");
    let secret = fields.get("token").ok_or_else(invalid)?;
    let now = desk.now();
    desk.book.change(|book| {
        let (token, grant) = book.token(Network::Youtube, secret).ok_or_else(invalid)?;
        if grant.ended.is_some() || token.expired(now) {
            return Err(invalid());
        }
        let (account, client_id) = (grant.account().ok_or_else(invalid)?, grant.client_id.clone());
        book.end_all(Network::Youtube, account.id, Some(&client_id), Ending::Removed);
        Ok(Json(json!({})))
    })
}

/// Numbers are strings here.
async fn tokeninfo(State(desk): State<Desk>, fields: Fields) -> Result<Json<Value>, Invalid> {
    let invalid = || Invalid(StatusCode::BAD_REQUEST, "invalid_token", "Invalid Value");
    let secret = fields.get("access_token").ok_or_else(invalid)?;
    let (token, grant) = living(&desk, secret).ok_or_else(invalid)?;
    let account = grant.account().ok_or_else(invalid)?;
    let end = token.expires_at.ok_or_else(invalid)?;
    let mut about = json!({
        "azp": grant.client_id,
        "aud": grant.client_id,
        "scope": grant.scopes.join(" "),
        "exp": end.to_string(),
        "expires_in": (end - desk.now()).to_string(),
        "access_type": if grant.offline { "offline" } else { "online" },
    });
    if grant.allows("openid") || grant.allows(EMAIL) {
        about["sub"] = account.id.into();
    }
    if grant.allows(EMAIL) {
        about["email"] = format!("user-{}@gmail.example", account.id).into();
        about["email_verified"] = "true".into();
    }
    Ok(Json(about))
}

/// An access token that works.
fn living(desk: &Desk, secret: &str) -> Option<(Token, Grant)> {
    let now = desk.now();
    desk.book.read(|book| {
        let (token, grant) = book.token(Network::Youtube, secret)?;
        let works = token.good_for == Use::Access && !token.expired(now) && grant.ended.is_none();
        works.then(|| (token.clone(), grant.clone()))
    })
}

/// The channel of whoever calls; an account without one has no `items` rather than none in it.
async fn channels(State(desk): State<Desk>, fields: Fields) -> Result<Json<Value>, Problem> {
    let account = caller(&desk, &fields)?;
    let missing = |message| Problem {
        code: StatusCode::BAD_REQUEST,
        status: Some("INVALID_ARGUMENT"),
        reason: "missingRequiredParameter",
        domain: "youtube.parameter",
        message,
    };
    let part = fields.query("part").ok_or_else(|| missing("No part was selected"))?;
    if fields.query("mine") != Some("true") {
        return Err(missing("No filter selected. This one knows mine alone."));
    }
    let own = CHANNELS.iter().find(|(name, _)| *name == account.name);
    let mut list = json!({
        "kind": "youtube#channelListResponse",
        "etag": &sha256(account.name)[..27],
        "pageInfo": {"totalResults": u8::from(own.is_some()), "resultsPerPage": 5},
    });
    if let Some((_, id)) = own {
        let mut channel = json!({"kind": "youtube#channel", "etag": &sha256(id)[..27], "id": id});
        if part.split(',').any(|part| part == "snippet") {
            channel["snippet"] = json!({"title": account.title, "customUrl": format!("@{}", account.name)});
        }
        list["items"] = json!([channel]);
    }
    Ok(Json(list))
}

fn caller(desk: &Desk, fields: &Fields) -> Result<&'static Account, Problem> {
    let unauthorized = Problem {
        code: StatusCode::UNAUTHORIZED,
        status: Some("UNAUTHENTICATED"),
        reason: "authError",
        domain: "global",
        message: "Invalid Credentials",
    };
    let (_, grant) = living(desk, fields.bearer.as_deref().unwrap_or_default()).ok_or(unauthorized)?;
    let forbidden = |reason, message| Problem {
        code: StatusCode::FORBIDDEN,
        status: Some("PERMISSION_DENIED"),
        reason,
        domain: "global",
        message,
    };
    if !grant.allows(READ) && !grant.allows(WRITE) {
        return Err(forbidden("insufficientPermissions", "Request had insufficient authentication scopes."));
    }
    let held = desk.book.read(|book| book.holds(&grant));
    let suspended = || forbidden("authenticatedUserAccountSuspended", "The authenticated user's account is suspended.");
    grant.account().filter(|_| !held).ok_or_else(suspended)
}

/// An error of the API, as opposed to one of OAuth.
#[derive(Debug)]
struct Problem {
    code: StatusCode,
    /// The name that newer errors have beside the number.
    status: Option<&'static str>,
    reason: &'static str,
    domain: &'static str,
    message: &'static str,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { code, status, reason, domain, message } = self;
        let mut error = json!({
            "code": code.as_u16(),
            "message": message,
            "errors": [{"message": message, "domain": domain, "reason": reason}],
        });
        if let Some(status) = status {
            error["status"] = status.into();
        }
        (code, Json(json!({"error": error}))).into_response()
    }
}
