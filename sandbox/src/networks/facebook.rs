//! Facebook's Graph API, as far as connecting a person and their Pages and reading the posts of a Page goes.
//!
//! There is no refresh token: a short-lived token is exchanged for one of about sixty days, and
//! then the person consents again. The traps that OAuth libraries fall into are kept: PKCE is dropped by
//! the dialog and refused by the token endpoint, `expires_in` is left out for one account and 0 for another, and
//! every error is code and subcode rather than a status.
//!
//! Two clocks run: the token's, and that of the access to the person's data. When the second has run out the token is
//! valid still, and every call that needs a permission is refused as if it had not been granted.

mod pages;

use axum::{
    Json, Router,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::{delete, get},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{Method, Uri};
use serde_json::{Value, json};

use super::{
    Account, App, Network,
    consent::{self, Asked, Decision, Refused, Scope},
    fields::Fields,
    grants::{Book, Desk, Ending, Grant, Token, Use},
    meta::{GraphError, GraphVersion, LONG_LIFETIME, check_life, check_proof},
};

pub(super) use self::pages::administered_by;

pub(super) const ACCOUNTS: &[Account] = &[
    Account { name: "alice.meyer", id: "1001", title: "Alice Meyer" },
    Account { name: "bob.stone", id: "1002", title: "Bob Stone" },
    Account { name: SILENT_ABOUT_EXPIRY, id: "1003", title: "Unknown Expiry" },
    Account { name: "pat.agency", id: "1004", title: "Pat Agency" },
    Account { name: ZERO_EXPIRY, id: "1005", title: "Zero Expiry" },
];

/// The account whose tokens come without `expires_in`.
const SILENT_ABOUT_EXPIRY: &str = "unknown.expiry";

/// The account whose tokens come with an `expires_in` of 0, which means no more than none.
const ZERO_EXPIRY: &str = "zero.expiry";

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
/// Ninety days after the consent.
const DATA_ACCESS: i64 = 90 * 24 * HOUR;

pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route("/www.facebook.com/{version}/dialog/oauth", get(dialog).post(dialog))
        .route("/graph.facebook.com/{version}/oauth/access_token", get(access_token).post(access_token))
        .route("/graph.facebook.com/{version}/debug_token", get(debug_token))
        .route("/graph.facebook.com/{version}/me", get(me))
        .route("/graph.facebook.com/{version}/{user_id}/permissions", get(permissions).delete(remove))
        .route("/graph.facebook.com/{version}/{user_id}/permissions/{permission}", delete(withdraw))
        .route("/graph.facebook.com/{version}/{user_id}/accounts", get(pages::accounts))
        .route("/graph.facebook.com/{version}/{page_id}", get(pages::page))
        .route("/graph.facebook.com/{version}/{page_id}/posts", get(pages::posts))
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
        _ if path.ends_with("/permissions") || path.contains("/permissions/") => Some("facebook/permissions"),
        _ if path.ends_with("/posts") => Some("facebook/posts"),
        _ if path.ends_with("/accounts") => Some("facebook/accounts"),
        _ if path.bytes().all(|byte| byte.is_ascii_digit()) => Some("facebook/page"),
        _ => None,
    }
}

/// A Page's calls are limited by themselves, everybody else's with those of the whole app.
pub(super) fn throttled(target: &str) -> Response {
    if target == "facebook/page" {
        let usage = r#"{"2001":[{"type":"pages","call_count":100,"total_cputime":25,"total_time":25,"estimated_time_to_regain_access":20}]}"#;
        let message = "(#80001) There have been too many calls to this Page account. Wait a bit and try again.";
        return ([("x-business-use-case-usage", usage)], GraphError::new(80_001, message)).into_response();
    }
    let usage = r#"{"call_count":100,"total_cputime":25,"total_time":25}"#;
    ([("x-app-usage", usage)], GraphError::new(4, "(#4) Application request limit reached")).into_response()
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
        Decision::Approve(mut consent) => {
            consent.pages = pages::limit(consent.account, consent.pages)?;
            let code = desk.mint::<48>(|bytes| format!("AQ{}", BASE64_URL_SAFE_NO_PAD.encode(bytes)));
            asked.grant(&desk, consent, &code, CODE_LIFETIME);
            asked.back(&[("code", &code)])
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
    let about_pages = scopes.iter().any(|scope| pages::concerns(scope.name));
    let pages = if about_pages { pages::shareable() } else { Vec::new() };
    // a code_challenge is dropped without a word
    Ok(Asked { pages, ..Asked::new(app, fields.get("state"), scopes) })
}

pub(super) fn mint(desk: &Desk) -> String {
    desk.mint::<64>(|bytes| format!("EAAS{}", hex::encode(bytes)))
}

async fn access_token(
    State(desk): State<Desk>,
    Path(_): Path<GraphVersion>,
    fields: Fields,
) -> Result<Json<Value>, GraphError> {
    let app = client(&desk, &fields)?;
    let new = mint(&desk);
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
        let lifetime = 2 * HOUR - now.rem_euclid(HOUR);
        issue(book, new, Token::living(grant, Use::Access, now, lifetime), now)
    })
}

/// A living token for one of about sixty days. A long-lived one is answered with its own end: it
/// cannot be relied upon that Facebook extends it.
fn extend(desk: &Desk, app: &App, fields: &Fields, new: &str, now: i64) -> Result<Value, GraphError> {
    let secret = fields.get("fb_exchange_token").ok_or_else(|| GraphError::new(100, "fb_exchange_token is missing"))?;
    desk.book.change(|book| {
        let (old, grant) = book.token(Network::Facebook, secret).ok_or_else(GraphError::unknown_token)?;
        if grant.client_id != app.client_id || old.page.is_some() {
            return Err(GraphError::unknown_token());
        }
        check_life(book, old, grant, now)?;
        let mut token = Token::living(old.grant, Use::LongLived, now, LONG_LIFETIME);
        if old.good_for == Use::LongLived {
            token.expires_at = old.expires_at;
        }
        issue(book, new, token, now)
    })
}

/// Keeps a new token, unless its grant ended, and tells the app about it.
fn issue(book: &mut Book, new: &str, token: Token, now: i64) -> Result<Value, GraphError> {
    let grant = book.grant(token.grant);
    check_life(book, &token, grant, now)?;
    let mut answer = json!({"access_token": new, "token_type": "bearer"});
    match grant.account().map(|account| account.name) {
        Some(SILENT_ABOUT_EXPIRY) => {}
        Some(ZERO_EXPIRY) => answer["expires_in"] = 0.into(),
        _ => answer["expires_in"] = token.expires_at.map(|end| end - now).into(),
    }
    book.keep_token(new, token);
    Ok(answer)
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
            let GraphError { code, message, .. } = GraphError::unknown_token();
            let error = json!({"code": code, "message": message});
            return Ok(Json(json!({"data": {"error": error, "is_valid": false, "scopes": []}})));
        };
        if grant.client_id != app.client_id {
            let message = "(#100) The App_id in the input_token did not match the Viewing App";
            return Err(GraphError::new(100, message));
        }
        let mut introspection = json!({
            "app_id": grant.client_id,
            "type": if token.page.is_some() { "PAGE" } else { "USER" },
            "is_valid": true,
            "expires_at": token.expires_at.unwrap_or(0),
            "data_access_expires_at": data_access_expires_at(grant),
            "issued_at": token.issued_at,
            "scopes": grant.scopes,
            "granular_scopes": grant.scopes.iter().map(|scope| granular(scope, grant)).collect::<Vec<_>>(),
            "user_id": grant.account().map(|account| account.id),
        });
        if let Some(page) = &token.page {
            introspection["profile_id"] = json!(page);
        }
        if let Err(GraphError { code, subcode, message }) = check_life(book, token, grant, now) {
            introspection["is_valid"] = false.into();
            introspection["error"] = json!({"code": code, "message": message, "subcode": subcode});
        }
        Ok(Json(json!({"data": introspection})))
    })
}

fn data_access_expires_at(grant: &Grant) -> i64 {
    let in_time = grant.consented_at + DATA_ACCESS;
    grant.data_closed_at.map_or(in_time, |closed| closed.min(in_time))
}

/// A scope, with the Pages that it is limited to.
fn granular(scope: &str, grant: &Grant) -> Value {
    match &grant.pages {
        Some(pages) if pages::concerns(scope) => json!({"scope": scope, "target_ids": pages}),
        _ => json!({"scope": scope}),
    }
}

fn access(fields: &Fields) -> Option<&str> {
    fields.get("access_token").or(fields.bearer.as_deref())
}

async fn me(State(desk): State<Desk>, Path(_): Path<GraphVersion>, fields: Fields) -> Result<Json<Value>, GraphError> {
    let caller = caller(&desk, &fields)?;
    Ok(Json(match &caller.token.page {
        Some(page) => json!({"id": page, "name": pages::title(page)}),
        None => json!({"id": caller.account.id, "name": caller.account.title}),
    }))
}

/// What the caller's consent allows.
async fn permissions(
    State(desk): State<Desk>,
    Path((_, user_id)): Path<(GraphVersion, String)>,
    fields: Fields,
) -> Result<Json<Value>, GraphError> {
    let Caller { token, grant, account } = caller(&desk, &fields)?;
    if token.page.is_some() || (user_id != "me" && user_id != account.id) {
        return Err(GraphError::no_object(&user_id));
    }
    let granted = grant.scopes.iter().map(|scope| json!({"permission": scope, "status": "granted"}));
    Ok(Json(json!({"data": granted.collect::<Vec<_>>()})))
}

/// Ends every token that the person's consents to this app brought forth.
async fn remove(
    State(desk): State<Desk>,
    Path((_, user_id)): Path<(GraphVersion, String)>,
    fields: Fields,
) -> Result<Json<Value>, GraphError> {
    let (client_id, account) = whose_permissions(&desk, &fields, &user_id)?;
    desk.book.change(|book| book.end_all(Network::Facebook, account.id, Some(&client_id), Ending::Removed));
    Ok(Json(json!({"success": true})))
}

/// Takes one permission out of the person's consents to this app, whose tokens live on without it.
async fn withdraw(
    State(desk): State<Desk>,
    Path((_, user_id, permission)): Path<(GraphVersion, String, String)>,
    fields: Fields,
) -> Result<Json<Value>, GraphError> {
    let (client_id, account) = whose_permissions(&desk, &fields, &user_id)?;
    desk.book.change(|book| book.withdraw(Network::Facebook, account.id, &client_id, &permission));
    Ok(Json(json!({"success": true})))
}

/// The app and the person whose permissions a request takes back. An app access token may do so for anybody who
/// consented.
fn whose_permissions(desk: &Desk, fields: &Fields, user_id: &str) -> Result<(String, &'static Account), GraphError> {
    let unknown =
        || GraphError::new(100, format!("Unsupported delete request. Object with ID '{user_id}' does not exist"));
    if let Some(app) = access(fields).and_then(|token| app_of(desk, token)) {
        let account = ACCOUNTS.iter().find(|account| account.id == user_id).ok_or_else(unknown)?;
        return Ok((app.client_id.clone(), account));
    }
    let Caller { token, grant, account } = caller(desk, fields)?;
    let own = token.page.is_none() && (user_id == "me" || user_id == account.id);
    if own { Ok((grant.client_id, account)) } else { Err(unknown()) }
}

/// Whose living token, with its proof, makes a call: a person's, or that of a Page by way of a person.
struct Caller {
    token: Token,
    grant: Grant,
    account: &'static Account,
}

impl Caller {
    /// Refuses what the person did not grant, or what is closed since.
    fn needs(&self, scope: &str, now: i64) -> Result<(), GraphError> {
        self.sees_data(now)?;
        if self.grant.allows(scope) { Ok(()) } else { Err(GraphError::not_permitted(scope)) }
    }

    fn sees_data(&self, now: i64) -> Result<(), GraphError> {
        if now < data_access_expires_at(&self.grant) {
            return Ok(());
        }
        let message = "(#10) The user has to reauthorize the app's access to their data, which has expired";
        Err(GraphError::new(10, message))
    }
}

fn caller(desk: &Desk, fields: &Fields) -> Result<Caller, GraphError> {
    let secret = access(fields).ok_or_else(|| {
        GraphError::new(2500, "An active access token must be used to query information about the current user.")
    })?;
    let now = desk.now();
    desk.book.read(|book| {
        let (token, grant) = book.token(Network::Facebook, secret).ok_or_else(GraphError::unknown_token)?;
        check_life(book, token, grant, now)?;
        let app = desk.app(Network::Facebook, &grant.client_id).ok_or_else(GraphError::unknown_token)?;
        check_proof(&desk.client_secret(app), secret, fields, now)?;
        let account = grant.account().ok_or_else(GraphError::unknown_token)?;
        Ok(Caller { token: token.clone(), grant: grant.clone(), account })
    })
}
