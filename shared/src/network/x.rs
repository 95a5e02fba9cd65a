//! X: PKCE, HTTP Basic client authentication, two-hour access tokens, rotating refresh tokens.
//!
//! The code lives 30 seconds, so it is redeemed at once. Wrong app credentials are answered with
//! 401 and never mean that a user's grant is dead. A refresh spends the refresh token: only an
//! answer that names it as bad proves it dead, and only an answer that says that nothing was done
//! is read as that.
//! Sources: <https://docs.x.com/fundamentals/authentication/oauth-2-0/authorization-code>,
//! <https://docs.x.com/fundamentals/rate-limits>

use http::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::{
    Account, Answer, Authorization, Credentials, Failure, Grant, Identity, LimitReach, Params, Provider, Reach,
    Redemption, Request, Talk, Terms, authorization_request, pinned, token_response::TokenResponse,
};
use crate::{
    apps::App,
    profile::{Kind, ProfileId},
    token::Reason,
};

const API: &str = "api.x.com";

pub(super) struct X;

impl Provider for X {
    fn supports_pkce(&self) -> bool {
        true
    }

    fn issuer(&self) -> Option<&'static str> {
        None
    }

    fn spends_refresh_tokens(&self) -> bool {
        true
    }

    fn revocation_reach(&self) -> Reach {
        Reach::Grant
    }

    fn requires_refresh_token(&self) -> bool {
        true
    }

    fn authorization_url(&self, authorization: &Authorization<'_>) -> Url {
        authorization_request(pinned("x.com", "/i/oauth2/authorize"), " ", authorization)
    }

    fn redeem(&self, app: &App, redemption: Redemption) -> Talk<Grant> {
        let mut request = token_request("x token", "/2/oauth2/token", app)
            .form("grant_type", "authorization_code")
            .form("code", redemption.code)
            .form("redirect_uri", redemption.redirect_uri);
        if let Some(verifier) = redemption.code_verifier {
            request = request.form("code_verifier", verifier);
        }
        Talk::ask(request, move |answer| {
            if !answer.status.is_success() {
                return Err(refused(&answer, Failure::CodeRejected));
            }
            Ok(Talk::Done(read_grant(&answer, redemption.now)?))
        })
    }

    fn identify(&self, _app: &App, _kind: Kind, grant: &Grant, _now: Timestamp) -> Talk<Identity> {
        let terms = grant.terms.clone();
        whoami(grant, move |account| Ok(Identity { account, terms, candidates: Vec::new() }))
    }

    fn inspect(&self, _app: &App, profile: &ProfileId, grant: &Grant, _now: Timestamp) -> Talk<Terms> {
        let id = profile.external_id().to_owned();
        whoami(
            grant,
            move |account| {
                if account.external_id == id { Ok(Terms::default()) } else { Err(Failure::Unreadable("x me")) }
            },
        )
    }

    fn refresh(
        &self,
        app: &App,
        _profile: &ProfileId,
        refresh_token: &SecretString,
        now: Timestamp,
    ) -> Option<Talk<Grant>> {
        let request = token_request("x refresh", "/2/oauth2/token", app)
            .form("grant_type", "refresh_token")
            .form("refresh_token", refresh_token.clone());
        Some(Talk::ask(request, move |answer| {
            if !answer.status.is_success() {
                return Err(refused_refresh(&answer));
            }
            Ok(Talk::Done(read_grant(&answer, now)?))
        }))
    }

    fn judge(&self, answer: &Answer, _now: Timestamp) -> Result<(), Failure> {
        judge(answer)
    }

    fn params(&self) -> Option<Params> {
        None
    }

    fn revoke(&self, app: &App, grant: &Grant, _login: &str) -> Talk<()> {
        let token = grant.refresh_token.as_ref().unwrap_or(&grant.access_token).clone();
        let request = token_request("x revoke", "/2/oauth2/revoke", app).form("token", token);
        Talk::ask(request, |answer| {
            if answer.status.is_success() {
                return Ok(Talk::Done(()));
            }
            match refused(&answer, Failure::Dead(Reason::RefreshRejected)) {
                // RFC 7009 §2.2: an invalid token is a revoked token
                Failure::Dead(_) => Ok(Talk::Done(())),
                failure => Err(failure),
            }
        })
    }
}

/// Asks whose access token it is. X bills for this, so it is asked at a sign-in and when there is a doubt.
fn whoami<T>(grant: &Grant, then: impl FnOnce(Account) -> Result<T, Failure> + Send + 'static) -> Talk<T> {
    let request = Request::new("x me", Method::GET, pinned(API, "/2/users/me"))
        .authorized(Credentials::Bearer(grant.access_token.clone()))
        .repeatable();
    Talk::ask(request, move |answer| {
        judge(&answer)?;
        if !answer.status.is_success() {
            return Err(Failure::Unreadable("x me"));
        }
        let Wrapped { data: me } = answer.read::<Wrapped>("x me")?;
        let account = Account::read(me.id, &me.name).ok_or(Failure::Unreadable("x me"))?;
        then(account).map(Talk::Done)
    })
}

fn judge(answer: &Answer) -> Result<(), Failure> {
    match answer.status {
        StatusCode::UNAUTHORIZED => Err(Failure::Dead(Reason::RevokedByUser)),
        status if is_limit(status) && Problem::of(answer).is("usage-capped") => Err(USAGE_CAPPED),
        StatusCode::FORBIDDEN => match Problem::of(answer) {
            problem if problem.rejects_app() => Err(Failure::AppRejected),
            problem if problem.is("user-suspended") => Err(Failure::Dead(Reason::AccountSuspended)),
            problem if problem.is("unsupported-authentication") => Ok(()),
            // the scope or a rule of X for this request: X does not say which
            _ => Err(Failure::Forbidden),
        },
        StatusCode::PAYMENT_REQUIRED => Err(OUT_OF_CREDITS),
        StatusCode::TOO_MANY_REQUESTS => Err(Failure::limited(LimitReach::Token, wait(answer))),
        status if status.is_server_error() => Err(Failure::Unavailable),
        // any other refusal is of the request, not of the token
        _ => Ok(()),
    }
}

fn token_request(purpose: &'static str, path: &str, app: &App) -> Request {
    Request::new(purpose, Method::POST, pinned(API, path))
        .authorized(Credentials::Basic(app.client_id.clone(), app.client_secret.clone()))
}

/// Lifetime of an access token, where X does not state a usable one.
/// <https://docs.x.com/fundamentals/authentication/oauth-2-0/authorization-code>
const ACCESS_LIFETIME: SignedDuration = SignedDuration::from_hours(2);

fn read_grant(answer: &Answer, now: Timestamp) -> Result<Grant, Failure> {
    let token = TokenResponse::read(answer, "x token")?;
    Ok(Grant {
        terms: Terms {
            access_expires_at: token.access_expires_at(now, ACCESS_LIFETIME),
            scopes: token.scopes,
            // the refresh token rotates and is kept alive by a machine
            expires_at: None,
            given_at: None,
        },
        access_token: token.access_token,
        refresh_token: token.refresh_token,
    })
}

/// RFC 6749 §5.2.
#[derive(Default, Deserialize)]
struct ErrorAnswer {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

#[derive(Deserialize)]
struct Wrapped {
    data: Me,
}

#[derive(Deserialize)]
struct Me {
    id: String,
    name: String,
}

/// An error of X's API (RFC 9457).
/// <https://docs.x.com/x-api/fundamentals/response-codes-and-errors>
#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    r#type: String,
    reason: String,
}

impl Problem {
    fn of(answer: &Answer) -> Self {
        answer.read_error()
    }

    /// Whether its type has this name: the last part of an address below `api.x.com` or `api.twitter.com`.
    fn is(&self, name: &str) -> bool {
        self.r#type.rsplit('/').next() == Some(name)
    }

    /// Whether it is about the app: its tier or project, its suspension, its settings.
    fn rejects_app(&self) -> bool {
        ["client-forbidden", "app-suspended", "oauth1-permissions"].iter().any(|name| self.is(name))
            || self.reason == "client-not-enrolled"
    }
}

/// The statuses with which X says that a cap on usage is reached.
fn is_limit(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::FORBIDDEN | StatusCode::PAYMENT_REQUIRED)
}

/// X's `usage-capped`: nothing works until the billing cycle or the spending limit of the app changes.
const USAGE_CAPPED: Failure = Failure::limited(LimitReach::App, 60 * 60);
/// X's `CreditsDepleted`: nothing works until an operator buys more.
const OUT_OF_CREDITS: Failure = Failure::limited(LimitReach::App, 60 * 60);

/// What a refusal of the OAuth endpoints means, where the app signs in with its own credentials;
/// `rejected` is what it means when X says that the code or token is bad.
fn refused(answer: &Answer, rejected: Failure) -> Failure {
    let ErrorAnswer { error, .. } = answer.read_error();
    match (answer.status, error.as_str()) {
        (StatusCode::TOO_MANY_REQUESTS, _) => Failure::limited(LimitReach::Token, wait(answer)),
        (StatusCode::PAYMENT_REQUIRED, _) => OUT_OF_CREDITS,
        (status, _) if status.is_server_error() => Failure::Unavailable,
        (_, "unauthorized_client" | "invalid_client") | (StatusCode::UNAUTHORIZED, _) => Failure::AppRejected,
        (StatusCode::BAD_REQUEST, "invalid_grant" | "invalid_request") => rejected,
        (StatusCode::FORBIDDEN, _) if Problem::of(answer).rejects_app() => Failure::AppRejected,
        (StatusCode::FORBIDDEN, _) => Failure::Forbidden,
        _ => Failure::Unreadable("x error"),
    }
}

/// What a refusal of a refresh means. `invalid_request` is X's answer to a spent refresh token and to
/// a damaged request alike; its words alone tell them apart. A gateway's 502 or 504 is an answer that
/// was lost on the way, and a 500 may be one: 503 alone says that nothing was done.
fn refused_refresh(answer: &Answer) -> Failure {
    const SPENT: &str = "Value passed for the token was invalid";
    let ErrorAnswer { error, error_description } = answer.read_error();
    if answer.status.is_server_error() && answer.status != StatusCode::SERVICE_UNAVAILABLE {
        Failure::Unanswered
    } else if error == "invalid_request" && !error_description.contains(SPENT) {
        Failure::Unreadable("x refresh")
    } else {
        refused(answer, Failure::Dead(Reason::RefreshRejected))
    }
}

/// How long to wait, in seconds: the answer's own `date` until `x-rate-limit-reset` (both of X's
/// clock), or a quarter of an hour, which is X's shorter window; the longer one is a day.
fn wait(answer: &Answer) -> u32 {
    const WINDOW: u32 = 15 * 60;
    const DAY: u32 = 24 * 60 * 60;
    let header = |name| answer.headers.get(name).and_then(|value| value.to_str().ok());
    let reset = header("x-rate-limit-reset").and_then(|text| text.parse::<i64>().ok());
    let date = header("date").and_then(|text| jiff::fmt::rfc2822::parse(text).ok());
    match (reset, date) {
        (Some(reset), Some(date)) => {
            let left = reset.saturating_sub(date.timestamp().as_second());
            u32::try_from(left).map_or(WINDOW, |wait| wait.clamp(1, DAY))
        }
        _ => WINDOW,
    }
}
