//! Instagram's own login for professional accounts: a token of an hour becomes one of sixty days, which renews itself
//! while it lives.
//!
//! What its documentation shows and what it answers differ from case to case; here the shape is a fixed property of
//! the account, so that each can be met on purpose: answers wrapped in `data` or flat, ids as strings or as
//! integers that no `f64` holds, permissions as one string or as a list. The id in the answer to a code is the one
//! that the account has for this app alone; `me` calls it `id`, and the account's own `user_id`.
//!
//! A token that was renewed lives on to its own end beside the new one.

use axum::{
    Json, Router,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{Method, StatusCode, Uri};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::{
    Account, App, Network,
    consent::{self, Asked, Decision, Refused, Scope},
    fields::Fields,
    grants::{Desk, Grant, GrantId, Token, Use},
    meta::{GraphError, GraphVersion, LONG_LIFETIME, check_life, select},
};

pub(super) const ACCOUNTS: &[Account] = &[
    Account { name: "harbour.photos", id: "17841400000000001", title: "Harbour Photos" },
    Account { name: "harbour.kitchen", id: "17841400000000003", title: "Harbour Kitchen" },
    Account { name: "harbour.swim", id: "17841400000000005", title: "Harbour Swim" },
    Account { name: "harbour.market", id: "17841400000000007", title: "Harbour Market" },
];

/// How Instagram tells of an account.
struct Shape {
    account: &'static str,
    /// The id that it has for this app alone.
    scoped_id: &'static str,
    /// `{"data":[{…}]}`, as documented, instead of `{…}`.
    wrapped: bool,
    /// Ids are numbers.
    numeric: bool,
    /// Permissions are a list.
    listed: bool,
    account_type: &'static str,
}

const SHAPES: [Shape; 4] = [
    Shape {
        account: "harbour.photos",
        scoped_id: "25000000000000001",
        wrapped: true,
        numeric: false,
        listed: false,
        account_type: "BUSINESS",
    },
    Shape {
        account: "harbour.kitchen",
        scoped_id: "25000000000000003",
        wrapped: false,
        numeric: true,
        listed: true,
        account_type: "BUSINESS",
    },
    Shape {
        account: "harbour.swim",
        scoped_id: "25000000000000005",
        wrapped: false,
        numeric: false,
        listed: false,
        account_type: "MEDIA_CREATOR",
    },
    Shape {
        account: "harbour.market",
        scoped_id: "25000000000000007",
        wrapped: true,
        numeric: true,
        listed: true,
        account_type: "BUSINESS",
    },
];

const BASIC: &str = "instagram_business_basic";

const SCOPES: &[Scope] = &[
    Scope { name: BASIC, meaning: "Your profile and what you post", required: true },
    Scope { name: "instagram_business_manage_comments", meaning: "Comments on your posts", required: false },
    Scope { name: "instagram_business_manage_messages", meaning: "Your private messages", required: false },
    Scope { name: "instagram_business_content_publish", meaning: "Post for you", required: false },
];

const HOUR: i64 = 3_600;
const CODE_LIFETIME: i64 = HOUR;
const SHORT_LIFETIME: i64 = HOUR;
/// A long-lived token is renewed from this age on.
const RENEWABLE_AGE: i64 = 24 * HOUR;

pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route("/www.instagram.com/oauth/authorize", get(authorize).post(authorize))
        .route("/api.instagram.com/oauth/access_token", post(token))
        .route("/graph.instagram.com/access_token", get(long_lived))
        .route("/graph.instagram.com/refresh_access_token", get(refresh))
        .route("/graph.instagram.com/{version}/me", get(me))
}

/// The target of a path without its host.
pub(super) fn target(path: &str) -> Option<&'static str> {
    match path {
        "oauth/authorize" => Some("instagram/authorize"),
        "oauth/access_token" => Some("instagram/token"),
        "access_token" => Some("instagram/long-lived"),
        "refresh_access_token" => Some("instagram/refresh"),
        _ if path.ends_with("/me") => Some("instagram/me"),
        _ => None,
    }
}

pub(super) fn throttled(target: &str) -> Response {
    if target == "instagram/token" {
        let body = json!({"error_type": "OAuthRateLimitException", "code": 429, "error_message": "Too many requests"});
        return (StatusCode::TOO_MANY_REQUESTS, Json(body)).into_response();
    }
    let usage = r#"{"17841400000000001":[{"type":"instagram","call_count":100,"total_cputime":25,"total_time":25,"estimated_time_to_regain_access":20}]}"#;
    let message = "(#80002) There have been too many calls to this Instagram account. Wait a bit and try again.";
    ([("x-business-use-case-usage", usage)], GraphError::new(80_002, message)).into_response()
}

async fn authorize(State(desk): State<Desk>, method: Method, uri: Uri, fields: Fields) -> Result<Response, Refused> {
    let asked = read(&desk, &fields)?;
    if method != Method::POST {
        return Ok(consent::page(&asked, uri.path()));
    }
    Ok(match consent::decision(&asked, &fields)? {
        Decision::Deny => asked.back(&[
            ("error", "access_denied"),
            ("error_description", "The user denied your request"),
            ("error_reason", "user_denied"),
        ]),
        Decision::Approve(consent) => {
            let code = desk.mint::<48>(|bytes| format!("AQ{}", BASE64_URL_SAFE_NO_PAD.encode(bytes)));
            asked.grant(&desk, consent, &code, CODE_LIFETIME);
            asked.back(&[("code", &code)])
        }
    })
}

fn read<'a>(desk: &'a Desk, fields: &'a Fields) -> Result<Asked<'a>, Refused> {
    let app = consent::app(desk, Network::Instagram, fields)?;
    let page = |reason: String| Refused::Page(Network::Instagram, reason);
    if fields.get("response_type") != Some("code") {
        return Err(page("Invalid Request: Request parameters are invalid: Invalid response_type".into()));
    }
    let invalid = |name: &str| page(format!("Invalid scope: {name:?}"));
    if let Some(list) = fields.query("scope").filter(|list| list.contains(' ')) {
        return Err(invalid(list));
    }
    let scopes = consent::scopes(SCOPES, fields).map_err(|name| invalid(&name))?;
    if scopes.is_empty() {
        return Err(invalid(""));
    }
    // PKCE is not for Instagram: a code_challenge is dropped without a word
    Ok(Asked { fragment: "#_", ..Asked::new(app, fields.get("state"), scopes) })
}

/// An answer to the app that something in its exchange of a code is wrong.
#[derive(Debug)]
struct Invalid(&'static str);

impl IntoResponse for Invalid {
    fn into_response(self) -> Response {
        let body = json!({"error_type": "OAuthException", "code": 400, "error_message": self.0});
        (StatusCode::BAD_REQUEST, Json(body)).into_response()
    }
}

/// A code for a token of an hour, which does not say so.
async fn token(State(desk): State<Desk>, fields: Fields) -> Result<Json<Value>, Invalid> {
    let app = client(&desk, &fields)?;
    if fields.form("grant_type") != Some("authorization_code") {
        return Err(Invalid("Invalid grant_type"));
    }
    let unknown = || Invalid("Matching code was not found or was already used.");
    let (new, now) = (mint(&desk), desk.now());
    let secret = fields.form("code").ok_or_else(unknown)?;
    desk.book.change(|book| {
        let code = book.code(Network::Instagram, &app.client_id, secret).ok_or_else(unknown)?;
        if code.used {
            return Err(unknown());
        }
        if fields.form("redirect_uri") != Some(&code.redirect_uri) {
            return Err(Invalid(
                "Error validating verification code. Please make sure your redirect_uri is identical to the one you \
                 used in the OAuth dialog request",
            ));
        }
        if now >= code.expires_at {
            return Err(Invalid("This authorization code has expired."));
        }
        code.used = true;
        let id = code.grant;
        let grant = book.grant(id);
        let shape = grant.account().and_then(shape).filter(|_| grant.ended.is_none()).ok_or_else(unknown)?;
        let answer = json!({
            "access_token": new,
            "user_id": shape.id(shape.scoped_id),
            "permissions": shape.permissions(&grant.scopes),
        });
        book.keep_token(&new, Token::living(id, Use::Access, now, SHORT_LIFETIME));
        Ok(Json(shape.wrap(answer)))
    })
}

fn client<'a>(desk: &'a Desk, fields: &Fields) -> Result<&'a App, Invalid> {
    let client_id = fields.form("client_id").unwrap_or_default();
    desk.app(Network::Instagram, client_id).ok_or(Invalid("Invalid platform app"))?;
    let client_secret = fields.form("client_secret").unwrap_or_default();
    desk.authenticate(Network::Instagram, client_id, client_secret).ok_or(Invalid("Error validating client secret."))
}

pub(super) fn mint(desk: &Desk) -> String {
    desk.mint::<64>(|bytes| format!("IGAA{}", hex::encode(bytes)))
}

fn shape(account: &Account) -> Option<&'static Shape> {
    SHAPES.iter().find(|shape| shape.account == account.name)
}

impl Shape {
    fn id(&self, id: &str) -> Value {
        id.parse().ok().filter(|_| self.numeric).map_or_else(|| json!(id), |number: u64| json!(number))
    }

    fn permissions(&self, scopes: &[String]) -> Value {
        if self.listed { json!(scopes) } else { json!(scopes.join(",")) }
    }

    fn wrap(&self, answer: Value) -> Value {
        if self.wrapped { json!({"data": [answer]}) } else { answer }
    }
}

/// A token of an hour for one of sixty days.
async fn long_lived(State(desk): State<Desk>, fields: Fields) -> Result<Json<Value>, GraphError> {
    expect_grant_type(&fields, "ig_exchange_token")?;
    let (short, grant) = presented(&desk, &fields)?;
    let app = desk.app(Network::Instagram, &grant.client_id).ok_or_else(GraphError::unknown_token)?;
    if fields.query("client_secret") != Some(desk.client_secret(app).expose_secret()) {
        return Err(GraphError::new(1, "Error validating client secret."));
    }
    if short.good_for == Use::LongLived {
        return Err(GraphError::new(100, "(#100) The access token is long-lived already"));
    }
    Ok(issue(&desk, short.grant))
}

/// A token of sixty days for the next one. A day has to pass between the two.
async fn refresh(State(desk): State<Desk>, fields: Fields) -> Result<Json<Value>, GraphError> {
    expect_grant_type(&fields, "ig_refresh_token")?;
    let (old, grant) = presented(&desk, &fields)?;
    if old.good_for != Use::LongLived || desk.now() - old.issued_at < RENEWABLE_AGE {
        let message = "(#100) Only a long-lived access token that is at least 24 hours old can be refreshed";
        return Err(GraphError::new(100, message));
    }
    if !grant.allows(BASIC) {
        return Err(GraphError::not_permitted(BASIC));
    }
    Ok(issue(&desk, old.grant))
}

fn expect_grant_type(fields: &Fields, expected: &str) -> Result<(), GraphError> {
    if fields.query("grant_type") == Some(expected) {
        return Ok(());
    }
    Err(GraphError::new(100, format!("(#100) Param grant_type must be {expected}")))
}

fn issue(desk: &Desk, grant: GrantId) -> Json<Value> {
    let new = mint(desk);
    desk.book.change(|book| book.keep_token(&new, Token::living(grant, Use::LongLived, desk.now(), LONG_LIFETIME)));
    Json(json!({"access_token": new, "token_type": "bearer", "expires_in": LONG_LIFETIME}))
}

/// The access token that came with a request, if it lives.
fn presented(desk: &Desk, fields: &Fields) -> Result<(Token, Grant), GraphError> {
    let secret = fields.query("access_token").or(fields.bearer.as_deref());
    let secret = secret.ok_or_else(GraphError::unknown_token)?;
    desk.book.read(|book| {
        let (token, grant) = book.token(Network::Instagram, secret).ok_or_else(GraphError::unknown_token)?;
        check_life(book, token, grant, desk.now())?;
        Ok((token.clone(), grant.clone()))
    })
}

async fn me(State(desk): State<Desk>, Path(_): Path<GraphVersion>, fields: Fields) -> Result<Json<Value>, GraphError> {
    let (_, grant) = presented(&desk, &fields)?;
    if !grant.allows(BASIC) {
        return Err(GraphError::not_permitted(BASIC));
    }
    let account = grant.account().ok_or_else(GraphError::unknown_token)?;
    let shape = shape(account).ok_or_else(GraphError::unknown_token)?;
    let me = json!({
        "id": shape.id(shape.scoped_id),
        "user_id": shape.id(account.id),
        "username": account.name,
        "name": account.title,
        "account_type": shape.account_type,
    });
    Ok(Json(shape.wrap(select(me, &fields, "id"))))
}
