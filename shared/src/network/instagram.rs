//! Instagram, by Instagram Login: short-lived tokens exchanged for ones of 60 days, which are renewed by themselves.
//!
//! There is no refresh token: a token that is a day old renews itself, until its own end, so the access token stands
//! for the refresh token too. Answers come flat or wrapped in `data`, ids as text or number, permissions as text or
//! list; all of it is read, and ids are never rounded.
//! Sources: <https://developers.facebook.com/docs/instagram-platform/instagram-api-with-instagram-login/business-login>,
//! <https://developers.facebook.com/docs/instagram-platform/reference/refresh_access_token>

use http::Method;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde::{Deserialize, de::DeserializeOwned};
use url::Url;

use super::{
    Account, Answer, Authorization, Failure, Grant, Identity, Params, Provider, Reach, Redemption, Request, Talk,
    Terms, authorization_request, displayed,
    meta::{accepted, judge},
    pinned,
    token_response::TokenResponse,
};
use crate::{
    apps::App,
    profile::{Kind, ProfileId},
};

const GRAPH: &str = "graph.instagram.com";

pub(super) struct Instagram;

impl Provider for Instagram {
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
        Reach::Nothing
    }

    fn requires_refresh_token(&self) -> bool {
        false
    }

    fn authorization_url(&self, authorization: &Authorization<'_>) -> Url {
        authorization_request(pinned("www.instagram.com", "/oauth/authorize"), ",", authorization)
    }

    fn redeem(&self, app: &App, redemption: Redemption) -> Talk<Grant> {
        let request = Request::new("instagram token", Method::POST, pinned("api.instagram.com", "/oauth/access_token"))
            .form("client_id", app.client_id.clone())
            .form("client_secret", app.client_secret.clone())
            .form("grant_type", "authorization_code")
            .form("redirect_uri", redemption.redirect_uri)
            .form("code", redemption.code);
        let app = app.clone();
        Talk::ask(request, move |answer| {
            let short_lived = read_sign_in(&answer)?;
            let scopes = short_lived.scopes;
            let request = Request::new("instagram long-lived token", Method::GET, pinned(GRAPH, "/access_token"))
                .query("grant_type", "ig_exchange_token")
                .query("client_secret", app.client_secret.clone())
                .query("access_token", short_lived.access_token);
            Ok(Talk::ask(request, move |answer| {
                let mut grant = read_long_lived(&answer, Failure::CodeRejected, redemption.now)?;
                grant.terms.scopes = scopes;
                Ok(Talk::Done(grant))
            }))
        })
    }

    fn identify(&self, app: &App, _kind: Kind, grant: &Grant, _now: Timestamp) -> Talk<Identity> {
        let terms = grant.terms.clone();
        me(app, grant, move |account| Ok(Identity { account, terms, candidates: Vec::new() }))
    }

    fn inspect(&self, app: &App, profile: &ProfileId, grant: &Grant, _now: Timestamp) -> Talk<Terms> {
        let id = profile.external_id().to_owned();
        me(app, grant, move |account| {
            if account.external_id == id { Ok(Terms::default()) } else { Err(Failure::Unreadable("instagram me")) }
        })
    }

    fn refresh(
        &self,
        _app: &App,
        _profile: &ProfileId,
        access_token: &SecretString,
        now: Timestamp,
    ) -> Option<Talk<Grant>> {
        let request = Request::new("instagram refresh", Method::GET, pinned(GRAPH, "/refresh_access_token"))
            .query("grant_type", "ig_refresh_token")
            .query("access_token", access_token.clone());
        Some(Talk::ask(request, move |answer| {
            Ok(Talk::Done(read_long_lived(&answer, Failure::Unreadable("instagram refresh"), now)?))
        }))
    }

    fn judge(&self, answer: &Answer, _now: Timestamp) -> Result<(), Failure> {
        judge(answer)
    }

    fn params(&self) -> Option<Params> {
        None
    }

    fn revoke(&self, _app: &App, _grant: &Grant, _login: &str) -> Talk<()> {
        Talk::Done(())
    }
}

/// An answer that comes flat or as `{"data":[…]}`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Shaped<T> {
    Wrapped { data: [T; 1] },
    Flat(T),
}

fn read_shaped<T: DeserializeOwned>(answer: &Answer, of: &'static str) -> Result<T, Failure> {
    Ok(match answer.read(of)? {
        Shaped::Wrapped { data: [inner] } | Shaped::Flat(inner) => inner,
    })
}

/// An id that comes as text or as a number beyond what a double holds.
#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(u64),
}

impl Id {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
        }
    }
}

/// The error of `api.instagram.com`, which is not Meta's.
#[derive(Default, Deserialize)]
struct SignInError {
    #[serde(default)]
    error_type: String,
    #[serde(default)]
    error_message: String,
}

/// Words of errors about the app, in lower case: they have the type of every other error of the token endpoint.
/// <https://github.com/pdir/social-feed-bundle/issues/105>
const APP: [&str; 3] = ["invalid platform app", "client id", "client secret"];

fn read_sign_in(answer: &Answer) -> Result<TokenResponse, Failure> {
    let SignInError { error_type, error_message } = answer.read_error();
    if !error_type.is_empty() {
        judge(answer)?;
        let message = error_message.to_lowercase().replace('_', " ");
        let of_app = APP.iter().any(|words| message.contains(words));
        return Err(if of_app { Failure::AppRejected } else { Failure::CodeRejected });
    }
    accepted(answer, Failure::CodeRejected)?;
    TokenResponse::read(answer, "instagram token")
}

/// Lifetime of a long-lived token, where Instagram does not state a usable one.
/// <https://developers.facebook.com/docs/instagram-platform/reference/access_token>
const LONG_LIFETIME: SignedDuration = SignedDuration::from_hours(60 * 24);

/// A token that renews itself before its end.
fn read_long_lived(answer: &Answer, rejected: Failure, now: Timestamp) -> Result<Grant, Failure> {
    accepted(answer, rejected)?;
    let mut token = TokenResponse::read(answer, "instagram long-lived token")?;
    token.expires_in = token.expires_in.filter(SignedDuration::is_positive);
    let terms = Terms {
        access_expires_at: token.access_expires_at(now, LONG_LIFETIME),
        scopes: token.scopes,
        // a machine renews it
        expires_at: None,
        given_at: Some(now),
    };
    Ok(Grant { refresh_token: Some(token.access_token.clone()), access_token: token.access_token, terms })
}

#[derive(Deserialize)]
struct Me {
    user_id: Id,
    #[serde(default)]
    username: String,
    #[serde(default)]
    name: String,
}

/// Asks whose access token it is. `user_id` is the account's own id; `id` is another for every app.
fn me<T>(app: &App, grant: &Grant, then: impl FnOnce(Account) -> Result<T, Failure> + Send + 'static) -> Talk<T> {
    let request = Request::new("instagram me", Method::GET, pinned(GRAPH, &format!("/{}/me", app.graph_version)))
        .query("fields", "user_id,id,username,name,account_type")
        .query("access_token", grant.access_token.clone())
        .repeatable();
    Talk::ask(request, move |answer| {
        accepted(&answer, Failure::Unreadable("instagram me"))?;
        let Me { user_id, username, name } = read_shaped(&answer, "instagram me")?;
        let name = displayed(&username, &name);
        let account = Account::read(user_id.text(), &name).ok_or(Failure::Unreadable("instagram me"))?;
        then(account).map(Talk::Done)
    })
}
