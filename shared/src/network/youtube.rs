//! YouTube, by Google's sign-in: PKCE, access tokens of an hour, refresh tokens that stay.
//!
//! There is a refresh token only with `access_type=offline`, and again only with `prompt=consent`. Consent is granular,
//! so what was granted is compared with what was asked for. Revoking ends everything that the same Google account
//! granted to the project, so the login is the Google account (`sub`), not the channel.
//! Sources: <https://developers.google.com/identity/protocols/oauth2/web-server>,
//! <https://developers.google.com/youtube/v3/docs/errors>

use http::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::{
    Account, Answer, Authorization, Credentials, Failure, Grant, Identity, LimitReach, Params, Provider, Reach,
    Redemption, Request, Talk, Terms, authorization_request, is_account_id, pinned, token_response::TokenResponse,
};
use crate::{
    apps::App,
    profile::{Kind, ProfileId},
    token::Reason,
};

const OAUTH: &str = "oauth2.googleapis.com";

pub(super) struct YouTube;

impl Provider for YouTube {
    fn supports_pkce(&self) -> bool {
        true
    }

    fn issuer(&self) -> Option<&'static str> {
        Some("https://accounts.google.com")
    }

    fn spends_refresh_tokens(&self) -> bool {
        false
    }

    fn revocation_reach(&self) -> Reach {
        Reach::Login
    }

    fn requires_refresh_token(&self) -> bool {
        true
    }

    fn authorization_url(&self, authorization: &Authorization<'_>) -> Url {
        let endpoint = pinned("accounts.google.com", "/o/oauth2/v2/auth");
        let mut url = authorization_request(endpoint, " ", authorization);
        url.query_pairs_mut().append_pair("access_type", "offline").append_pair("prompt", "consent");
        url
    }

    fn redeem(&self, app: &App, redemption: Redemption) -> Talk<Grant> {
        let mut request = token_request("youtube token", app)
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

    fn identify(&self, app: &App, _kind: Kind, grant: &Grant, now: Timestamp) -> Talk<Identity> {
        let terms = grant.terms.clone();
        look_at(app, grant, now, move |told, channel| {
            let channel = channel.ok_or(Failure::NoAccount)?;
            let unreadable = Failure::Unreadable("youtube tokeninfo");
            if !is_account_id(&told.sub) {
                return Err(unreadable);
            }
            let account = Account::read(channel.id, &channel.snippet.title).ok_or(unreadable)?;
            Ok(Identity { account: Account { login: told.sub, ..account }, terms, candidates: Vec::new() })
        })
    }

    fn inspect(&self, app: &App, profile: &ProfileId, grant: &Grant, now: Timestamp) -> Talk<Terms> {
        let id = profile.external_id().to_owned();
        look_at(app, grant, now, move |told, channel| match channel {
            Some(channel) if channel.id == id => Ok(Terms { scopes: scopes(&told.scope), ..Terms::default() }),
            None => Err(Failure::Dead(Reason::NoChannel)),
            Some(_) => Err(Failure::Unreadable("youtube channels")),
        })
    }

    fn refresh(
        &self,
        app: &App,
        _profile: &ProfileId,
        refresh_token: &SecretString,
        now: Timestamp,
    ) -> Option<Talk<Grant>> {
        let request = token_request("youtube refresh", app)
            .form("grant_type", "refresh_token")
            .form("refresh_token", refresh_token.clone());
        Some(Talk::ask(request, move |answer| {
            if !answer.status.is_success() {
                return Err(refused(&answer, Failure::Dead(Reason::RefreshRejected)));
            }
            Ok(Talk::Done(read_grant(&answer, now)?))
        }))
    }

    fn death(&self, reason: Reason, lived: SignedDuration) -> Reason {
        // Google says "invalid_grant" whatever the cause, and ends what an app in testing was granted after a week
        let week = SignedDuration::from_hours(7 * 24);
        let about_a_week = (week..week + SignedDuration::from_hours(24)).contains(&lived);
        if reason == Reason::RefreshRejected && about_a_week { Reason::AppInTesting } else { reason }
    }

    fn judge(&self, answer: &Answer, now: Timestamp) -> Result<(), Failure> {
        judge(answer, now)
    }

    fn params(&self) -> Option<Params> {
        None
    }

    fn revoke(&self, _app: &App, grant: &Grant, _login: &str) -> Talk<()> {
        let token = grant.refresh_token.as_ref().unwrap_or(&grant.access_token).clone();
        let request = Request::new("youtube revoke", Method::POST, pinned(OAUTH, "/revoke")).form("token", token);
        Talk::ask(request, |answer| match answer.status {
            // a token that is not valid is one that was revoked (RFC 7009 §2.2)
            StatusCode::BAD_REQUEST => Ok(Talk::Done(())),
            status if status.is_success() => Ok(Talk::Done(())),
            _ => Err(refused(&answer, Failure::Unreadable("youtube revoke"))),
        })
    }
}

fn token_request(purpose: &'static str, app: &App) -> Request {
    Request::new(purpose, Method::POST, pinned(OAUTH, "/token"))
        .form("client_id", app.client_id.clone())
        .form("client_secret", app.client_secret.clone())
}

/// Lifetime of an access token, where Google does not state a usable one.
/// <https://developers.google.com/identity/protocols/oauth2/web-server#exchange-authorization-code>
const ACCESS_LIFETIME: SignedDuration = SignedDuration::from_hours(1);

fn read_grant(answer: &Answer, now: Timestamp) -> Result<Grant, Failure> {
    let token = TokenResponse::read(answer, "youtube token")?;
    let limited = token.refresh_token_expires_in.filter(SignedDuration::is_positive);
    Ok(Grant {
        terms: Terms {
            access_expires_at: token.access_expires_at(now, ACCESS_LIFETIME),
            scopes: token.scopes,
            // given where time is all that the grant has: apps in testing, and access that a person limited
            expires_at: limited.and_then(|lifetime| now.checked_add(lifetime).ok()),
            given_at: None,
        },
        access_token: token.access_token,
        refresh_token: token.refresh_token,
    })
}

fn scopes(text: &str) -> Vec<String> {
    text.split_whitespace().map(Into::into).collect()
}

/// What Google says of an access token.
#[derive(Deserialize)]
struct TokenInfo {
    aud: String,
    #[serde(default)]
    sub: String,
    #[serde(default)]
    scope: String,
}

#[derive(Deserialize)]
struct Channels {
    #[serde(default)]
    items: Vec<Channel>,
}

#[derive(Deserialize)]
struct Channel {
    id: String,
    #[serde(default)]
    snippet: Snippet,
}

#[derive(Default, Deserialize)]
struct Snippet {
    #[serde(default)]
    title: String,
}

/// Asks Google what the access token is good for, and YouTube which channel it is of: the second question counts
/// against the quota, and so tells whether there is any.
fn look_at<T: 'static>(
    app: &App,
    grant: &Grant,
    now: Timestamp,
    then: impl FnOnce(TokenInfo, Option<Channel>) -> Result<T, Failure> + Send + 'static,
) -> Talk<T> {
    let request = Request::new("youtube tokeninfo", Method::GET, pinned(OAUTH, "/tokeninfo"))
        .query("access_token", grant.access_token.clone())
        .repeatable();
    let (client_id, access_token) = (app.client_id.clone(), grant.access_token.clone());
    Talk::ask(request, move |answer| {
        if !answer.status.is_success() {
            return Err(refused(&answer, Failure::Dead(Reason::RevokedByUser)));
        }
        let told: TokenInfo = answer.read("youtube tokeninfo")?;
        if told.aud != client_id {
            return Err(Failure::Unreadable("youtube tokeninfo"));
        }
        let request =
            Request::new("youtube channels", Method::GET, pinned("www.googleapis.com", "/youtube/v3/channels"))
                .query("part", "id,snippet")
                .query("mine", "true")
                .authorized(Credentials::Bearer(access_token))
                .repeatable();
        Ok(Talk::ask(request, move |answer| {
            match judge(&answer, now) {
                // no channel is an answer to the question; its account is fine
                Err(Failure::Dead(Reason::NoChannel)) => return then(told, None).map(Talk::Done),
                judged => judged?,
            }
            if !answer.status.is_success() {
                return Err(Failure::Unreadable("youtube channels"));
            }
            let channels: Channels = answer.read("youtube channels")?;
            then(told, channels.items.into_iter().next()).map(Talk::Done)
        }))
    })
}

/// RFC 6749 §5.2.
#[derive(Default, Deserialize)]
struct ErrorAnswer {
    #[serde(default)]
    error: String,
}

/// What a refusal of Google's OAuth endpoints means; `rejected` is what it means when the code or token is bad.
fn refused(answer: &Answer, rejected: Failure) -> Failure {
    let ErrorAnswer { error } = answer.read_error();
    match (answer.status, error.as_str()) {
        (StatusCode::TOO_MANY_REQUESTS, _) => BURST,
        (status, _) if status.is_server_error() => Failure::Unavailable,
        (_, "invalid_grant" | "invalid_token") => rejected,
        // final, and no `invalid_grant`: <https://github.com/twentyhq/twenty/issues/25148>
        (_, "admin_policy_enforced" | "policy_enforced" | "access_denied") => Failure::Dead(Reason::Policy),
        (_, "invalid_client" | "deleted_client" | "unauthorized_client" | "org_internal")
        | (StatusCode::UNAUTHORIZED, _) => Failure::AppRejected,
        _ => Failure::Unreadable("youtube error"),
    }
}

/// The error of Google's APIs.
#[derive(Default, Deserialize)]
struct ApiAnswer {
    #[serde(default)]
    error: ApiError,
}

#[derive(Default, Deserialize)]
struct ApiError {
    #[serde(default)]
    errors: Vec<Cause>,
    #[serde(default)]
    details: Vec<Cause>,
}

#[derive(Default, Deserialize)]
struct Cause {
    #[serde(default)]
    reason: String,
}

/// Too much at once: the limit is one of seconds, and Google does not say of how many.
const BURST: Failure = Failure::limited(LimitReach::Token, 60);

/// Reasons that are about the app's project: its API is not turned on, or Google suspended it.
const APP: [&str; 4] = ["accessNotConfigured", "SERVICE_DISABLED", "CONSUMER_SUSPENDED", "CONSUMER_INVALID"];

fn judge(answer: &Answer, now: Timestamp) -> Result<(), Failure> {
    let ApiAnswer { error } = answer.read_error();
    let says = |wanted: &[&str]| {
        let mut reasons = error.errors.iter().chain(&error.details).map(|cause| cause.reason.as_str());
        reasons.any(|reason| wanted.contains(&reason))
    };
    let refused = answer.status == StatusCode::UNAUTHORIZED || answer.status == StatusCode::FORBIDDEN;
    match answer.status {
        status if status.is_server_error() => Err(Failure::Unavailable),
        // the reason comes before the status: <https://developers.google.com/youtube/v3/docs/errors>
        _ if refused && says(&APP) => Err(Failure::AppRejected),
        _ if refused && says(&["youtubeSignupRequired", "authenticatedUserNotChannel"]) => {
            Err(Failure::Dead(Reason::NoChannel))
        }
        _ if refused && says(&["authenticatedUserAccountClosed", "channelClosed"]) => {
            Err(Failure::Dead(Reason::AccountClosed))
        }
        _ if refused && says(&["authenticatedUserAccountSuspended", "channelSuspended", "ACCOUNT_STATE_INVALID"]) => {
            Err(Failure::Dead(Reason::AccountSuspended))
        }
        _ if refused && says(&["USER_BLOCKED_BY_ADMIN", "ORG_RESTRICTION_VIOLATION"]) => {
            Err(Failure::Dead(Reason::Policy))
        }
        StatusCode::UNAUTHORIZED => Err(Failure::Dead(Reason::RevokedByUser)),
        StatusCode::FORBIDDEN if says(&["quotaExceeded", "dailyLimitExceeded"]) => {
            Err(Failure::limited(LimitReach::App, until_the_quota_is_new(now)))
        }
        StatusCode::FORBIDDEN if says(&["rateLimitExceeded", "userRateLimitExceeded"]) => Err(BURST),
        StatusCode::FORBIDDEN
            if says(&["insufficientPermissions", "insufficientScopes", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"]) =>
        {
            Err(Failure::Forbidden)
        }
        StatusCode::TOO_MANY_REQUESTS => Err(BURST),
        // any other refusal is of the request, not of the token
        _ => Ok(()),
    }
}

/// The seconds until midnight in California, where a project's quota begins anew.
fn until_the_quota_is_new(now: Timestamp) -> u32 {
    const HOUR: u32 = 60 * 60;
    let midnight = TimeZone::posix("PST8PDT,M3.2.0,M11.1.0")
        .and_then(|pacific| now.to_zoned(pacific).tomorrow()?.start_of_day())
        .map(|midnight| midnight.timestamp().as_second());
    midnight.map_or(HOUR, |midnight| u32::try_from(midnight - now.as_second()).unwrap_or(HOUR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_new_at_midnight_in_california_in_summer_and_winter() {
        for (now, seconds) in [
            ("2026-11-24T07:59:00Z", 60),
            ("2026-11-24T08:00:00Z", 24 * 3600),
            ("2026-07-01T06:59:59Z", 1),
            ("2026-07-01T20:00:00Z", 11 * 3600),
            // the night in which the clocks go back has an hour more
            ("2026-11-01T07:00:00Z", 25 * 3600),
        ] {
            assert_eq!(until_the_quota_is_new(now.parse().unwrap()), seconds, "{now}");
        }
    }
}
