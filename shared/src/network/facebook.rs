//! Facebook: no PKCE, short-lived tokens exchanged for long-lived ones, no refresh token.
//!
//! The dialog drops a `code_challenge` silently and a `code_verifier` at the token endpoint then
//! fails, so none is sent. `expires_in` may be missing; `debug_token` tells the truth, together
//! with a second clock, the end of data access.
//!
//! A Page has a token of its own, derived from the long-lived token of a person who administers it: that one stands
//! for the refresh token, and a Page token is derived again when the network refuses it. A Page token counts only
//! after `debug_token` said that it is a token of this very Page.
//! Sources: <https://developers.facebook.com/docs/facebook-login/guides/advanced/manual-flow>,
//! <https://developers.facebook.com/docs/facebook-login/guides/access-tokens>

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use http::Method;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use super::{
    Account, Answer, Authorization, Candidate, Failure, Grant, Hindrance, Identity, Params, Provider, Reach,
    Redemption, Request, Talk, Terms, authorization_request, displayed,
    meta::{GraphError, accepted, found, judge},
    pinned,
    token_response::TokenResponse,
};
use crate::{
    apps::App,
    profile::{Kind, ProfileId},
    token::Reason,
};

const GRAPH: &str = "graph.facebook.com";

pub(super) struct Facebook;

impl Provider for Facebook {
    fn supports_pkce(&self) -> bool {
        false
    }

    fn issuer(&self) -> Option<&'static str> {
        None
    }

    fn spends_refresh_tokens(&self) -> bool {
        false
    }

    fn revocation_reach(&self) -> Reach {
        Reach::Login
    }

    fn requires_refresh_token(&self) -> bool {
        false
    }

    fn authorization_url(&self, authorization: &Authorization<'_>) -> Url {
        let dialog = pinned("www.facebook.com", &format!("/{}/dialog/oauth", authorization.graph_version));
        authorization_request(dialog, ",", authorization)
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

    fn identify(&self, app: &App, kind: Kind, grant: &Grant, _now: Timestamp) -> Talk<Identity> {
        let (app, access_token) = (app.clone(), grant.access_token.clone());
        debug_token(&app.clone(), &access_token.clone(), move |seen| {
            Ok(me(&app.clone(), &access_token.clone(), move |me| {
                if me.id != seen.user_id {
                    return Err(Failure::Unreadable("facebook me"));
                }
                let account = Account::read(me.id, &me.name).ok_or(Failure::Unreadable("facebook me"))?;
                let identity = Identity { account, terms: seen.terms, candidates: Vec::new() };
                Ok(if kind.is_chosen() { list_pages(app, access_token, identity, None) } else { Talk::Done(identity) })
            }))
        })
    }

    fn inspect(&self, app: &App, profile: &ProfileId, grant: &Grant, _now: Timestamp) -> Talk<Terms> {
        let (app, access_token, profile) = (app.clone(), grant.access_token.clone(), profile.clone());
        debug_token(&app.clone(), &access_token.clone(), move |seen| {
            let terms = seen.of(&profile)?;
            // what is limited is told by a request that counts
            Ok(me(&app, &access_token, move |me| {
                if me.id == profile.external_id() {
                    Ok(Talk::Done(terms))
                } else {
                    Err(Failure::Unreadable("facebook me"))
                }
            }))
        })
    }

    fn refresh(
        &self,
        app: &App,
        profile: &ProfileId,
        user_token: &SecretString,
        _now: Timestamp,
    ) -> Option<Talk<Grant>> {
        (profile.kind() == Kind::FacebookPage).then(|| derive(app, profile, user_token))
    }

    fn judge(&self, answer: &Answer, _now: Timestamp) -> Result<(), Failure> {
        judge(answer)
    }

    fn params(&self) -> Option<Params> {
        Some(timed_proof)
    }

    fn revoke(&self, app: &App, grant: &Grant, login: &str) -> Talk<()> {
        // permissions are a person's, not a Page's
        let access_token = grant.refresh_token.as_ref().unwrap_or(&grant.access_token);
        let request = Request::new("facebook permissions", Method::DELETE, graph(app, &format!("{login}/permissions")))
            .query("appsecret_proof", proof(app, access_token.expose_secret()))
            .query("access_token", access_token.clone());
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

fn read_token(answer: &Answer, rejected: Failure) -> Result<SecretString, Failure> {
    accepted(answer, rejected)?;
    Ok(TokenResponse::read(answer, "facebook token")?.access_token)
}

/// No more Pages are read at once.
const PAGES: &str = "100";
/// No more Pages than this many times [`PAGES`] are offered to choose from.
const LISTS: usize = 10;

/// Adds the Pages that the person administers, list by list. Pages that were not shared at the consent are not there.
/// <https://developers.facebook.com/docs/graph-api/reference/user/accounts/>
fn list_pages(app: App, access_token: SecretString, mut identity: Identity, after: Option<String>) -> Talk<Identity> {
    let request = Request::new("facebook accounts", Method::GET, graph(&app, "me/accounts"))
        .query("fields", "id,name,tasks")
        .query("limit", PAGES)
        .query("appsecret_proof", proof(&app, access_token.expose_secret()))
        .query("access_token", access_token.clone())
        .repeatable();
    let request = match after {
        Some(after) => request.query("after", after),
        None => request,
    };
    Talk::ask(request, move |answer| {
        accepted(&answer, Failure::Unreadable("facebook accounts"))?;
        let list: Accounts = answer.read("facebook accounts")?;
        for page in list.data {
            identity.candidates.push(page.candidate().ok_or(Failure::Unreadable("facebook accounts"))?);
        }
        let after = list.paging.and_then(|paging| paging.next.and(paging.cursors)).and_then(|cursors| cursors.after);
        Ok(match after {
            Some(after) if identity.candidates.len() < LISTS * 100 => {
                list_pages(app, access_token, identity, Some(after))
            }
            _ => Talk::Done(identity),
        })
    })
}

#[derive(Deserialize)]
struct Accounts {
    data: Vec<Page>,
    #[serde(default)]
    paging: Option<Paging>,
}

#[derive(Deserialize)]
struct Paging {
    #[serde(default)]
    cursors: Option<Cursors>,
    #[serde(default)]
    next: Option<String>,
}

#[derive(Deserialize)]
struct Cursors {
    #[serde(default)]
    after: Option<String>,
}

/// A Page, as its administrator sees it.
#[derive(Deserialize)]
struct Page {
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    tasks: Option<Vec<String>>,
    #[serde(default)]
    access_token: Option<SecretString>,
}

impl Page {
    /// The tasks that let somebody do what a Page's token is used for.
    const TASKS: [&str; 4] = ["MANAGE", "CREATE_CONTENT", "MODERATE", "MESSAGING"];

    fn candidate(self) -> Option<Candidate> {
        let idle = |tasks: Vec<String>| !tasks.iter().any(|task| Self::TASKS.contains(&task.as_str()));
        Some(Candidate {
            name: displayed(&self.name, &self.id),
            profile: ProfileId::new(Kind::FacebookPage, &self.id).ok()?,
            hindrance: self.tasks.is_some_and(idle).then_some(Hindrance::RoleMissing),
        })
    }
}

/// Gets a Page's token with the token of a person who administers it, and has it checked.
fn derive(app: &App, profile: &ProfileId, user_token: &SecretString) -> Talk<Grant> {
    let request = Request::new("facebook page", Method::GET, graph(app, profile.external_id()))
        .query("fields", "id,name,access_token")
        .query("appsecret_proof", proof(app, user_token.expose_secret()))
        .query("access_token", user_token.clone());
    let (app, profile) = (app.clone(), profile.clone());
    Talk::ask(request, move |answer| {
        // a Page on which a person has no role is missing for them
        found(&answer, Failure::Dead(Reason::RoleLost))?;
        let page: Page = answer.read("facebook page")?;
        if page.id != profile.external_id() {
            return Err(Failure::Unreadable("facebook page"));
        }
        let access_token = page.access_token.filter(|token| !token.expose_secret().is_empty());
        let access_token = access_token.ok_or(Failure::Dead(Reason::RoleLost))?;
        Ok(debug_token(&app, &access_token.clone(), move |seen| {
            let terms = seen.of(&profile)?;
            Ok(Talk::Done(Grant { access_token, refresh_token: None, terms }))
        }))
    })
}

/// Asks whose access token it is.
fn me<T: 'static>(
    app: &App,
    access_token: &SecretString,
    then: impl FnOnce(Me) -> Result<Talk<T>, Failure> + Send + 'static,
) -> Talk<T> {
    let request = Request::new("facebook me", Method::GET, graph(app, "me"))
        .query("fields", "id,name")
        .query("appsecret_proof", proof(app, access_token.expose_secret()))
        .query("access_token", access_token.clone())
        .repeatable();
    Talk::ask(request, move |answer| {
        accepted(&answer, Failure::Unreadable("facebook me"))?;
        then(answer.read("facebook me")?)
    })
}

/// Asks what an access token is good for.
/// <https://developers.facebook.com/docs/graph-api/reference/debug_token/>
fn debug_token<T: 'static>(
    app: &App,
    access_token: &SecretString,
    then: impl FnOnce(Inspected) -> Result<Talk<T>, Failure> + Send + 'static,
) -> Talk<T> {
    let app_token = format!("{}|{}", app.client_id, app.client_secret.expose_secret());
    let request = Request::new("facebook debug_token", Method::GET, graph(app, "debug_token"))
        .query("input_token", access_token.clone())
        .query("access_token", app_token)
        .repeatable();
    let app = app.clone();
    Talk::ask(request, move |answer| then(read_inspection(&answer, &app)?))
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
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    profile_id: String,
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
    /// The Page that it is a token of.
    page: Option<String>,
    terms: Terms,
}

impl Inspected {
    /// The terms, where it is a token of this profile.
    fn of(self, profile: &ProfileId) -> Result<Terms, Failure> {
        let of = if profile.kind() == Kind::FacebookPage { self.page.as_deref() } else { Some(self.user_id.as_str()) };
        if of == Some(profile.external_id()) {
            Ok(self.terms)
        } else {
            Err(Failure::Unreadable("facebook debug_token"))
        }
    }
}

fn read_inspection(answer: &Answer, app: &App) -> Result<Inspected, Failure> {
    // the outer error is about the app's own token that asks; `data` alone speaks of the token that is asked about
    // <https://github.com/firebase/firebase-ios-sdk/issues/2262>
    accepted(answer, Failure::Unreadable("facebook debug_token")).map_err(|failure| match failure {
        Failure::Dead(_) | Failure::Forbidden => Failure::AppRejected,
        failure => failure,
    })?;
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
        given_at: None,
    };
    let page = (seen.kind == "PAGE").then_some(seen.profile_id);
    Ok(Inspected { user_id: seen.user_id, page, terms })
}

/// Meta writes 0 for "never".
fn moment(seconds: i64) -> Option<Timestamp> {
    (seconds > 0).then(|| Timestamp::from_second(seconds).ok()).flatten()
}
