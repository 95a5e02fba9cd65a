//! YouTube: what Google is asked, and what its answers mean.

use http::Method;
use jiff::SignedDuration;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use shared::{
    network::{Authorization, Credentials, Failure, LimitReach},
    profile::{Kind, Network, TokenKind},
    token::Reason,
};

use super::{Conversation, answer, identify, inspect, judge, limited, now, ok, pairs, redeem, refresh, revoke, shown};

const YOUTUBE: Network = Network::YouTube;
const SCOPE: &str = "openid https://www.googleapis.com/auth/youtube.readonly";

fn token() -> Value {
    json!({
        "access_token": "access",
        "expires_in": 3599,
        "refresh_token": "refresh",
        "scope": SCOPE,
        "token_type": "Bearer",
    })
}

fn told() -> Value {
    json!({ "azp": "app-1", "aud": "app-1", "sub": "1122334455", "scope": SCOPE, "exp": "1795003599", "expires_in": "3599" })
}

fn channel(id: &str) -> Value {
    json!({ "kind": "youtube#channelListResponse", "items": [{ "id": id, "snippet": { "title": "Acme TV" } }] })
}

#[test]
fn google_is_asked_for_a_refresh_token_every_time() {
    let url = YOUTUBE.provider().authorization_url(&Authorization {
        client_id: "app-1",
        graph_version: "v26.0",
        redirect_uri: "https://tokenward.example/oauth/callback/youtube",
        state: "the-state",
        code_challenge: Some("the-challenge"),
        kind: Kind::YouTubeChannel,
        token: TokenKind::Interaction,
    });
    assert!(url.as_str().starts_with("https://accounts.google.com/o/oauth2/v2/auth?"), "{url}");
    let asked: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let scopes =
        "openid https://www.googleapis.com/auth/youtube.readonly https://www.googleapis.com/auth/youtube.force-ssl";
    for (name, value) in [
        ("access_type", "offline"),
        ("prompt", "consent"),
        ("code_challenge", "the-challenge"),
        ("code_challenge_method", "S256"),
        ("scope", scopes),
    ] {
        let there: Vec<_> = asked.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str()).collect();
        assert_eq!(there, [value], "{name}");
    }
}

// S1, S12
#[test]
fn a_code_of_google_is_redeemed_once_with_its_verifier() {
    let Conversation { asked, outcome } = redeem(YOUTUBE, [ok(&token())]);
    let request = &asked[0];
    assert_eq!((&request.method, request.url.as_str()), (&Method::POST, "https://oauth2.googleapis.com/token"));
    let form = [
        ("client_id", "app-1"),
        ("client_secret", "app-secret"),
        ("grant_type", "authorization_code"),
        ("code", "the-code"),
        ("redirect_uri", "https://tokenward.example/oauth/callback/x"),
        ("code_verifier", "the-verifier"),
    ];
    assert_eq!(shown(&request.form), pairs(&form));
    assert!(request.query.is_empty() && request.authorization.is_none() && !request.repeatable && asked.len() == 1);
    let grant = outcome.unwrap();
    assert_eq!(grant.refresh_token.unwrap().expose_secret(), "refresh");
    assert_eq!(grant.terms.scopes, SCOPE.split(' ').collect::<Vec<_>>(), "consent is granular");
    assert_eq!(grant.terms.access_expires_at, Some(now() + SignedDuration::from_secs(3599)));
    assert_eq!(grant.terms.expires_at, None);
}

#[test]
fn an_app_in_testing_is_told_that_its_refresh_token_lives_a_week() {
    let mut testing = token();
    testing["refresh_token_expires_in"] = json!(604_799);
    let week = Some(now() + SignedDuration::from_secs(604_799));
    assert_eq!(redeem(YOUTUBE, [ok(&testing)]).outcome.unwrap().terms.expires_at, week);
    testing["refresh_token_expires_in"] = json!(0);
    assert_eq!(redeem(YOUTUBE, [ok(&testing)]).outcome.unwrap().terms.expires_at, None);
    let hours = SignedDuration::from_hours;
    for (lived, reason) in [
        (hours(7 * 24 - 1), Reason::RefreshRejected),
        (hours(7 * 24), Reason::AppInTesting),
        (hours(8 * 24 - 1), Reason::AppInTesting),
        (hours(8 * 24), Reason::RefreshRejected),
    ] {
        assert_eq!(YOUTUBE.provider().death(Reason::RefreshRejected, lived), reason, "after {lived}");
        assert_eq!(YOUTUBE.provider().death(Reason::RevokedByUser, lived), Reason::RevokedByUser);
        assert_eq!(Network::X.provider().death(Reason::RefreshRejected, lived), Reason::RefreshRejected);
    }
}

// S53
#[test]
fn a_refresh_token_of_google_stays_when_no_other_comes() {
    let mut renewed = token();
    renewed.as_object_mut().unwrap().remove("refresh_token");
    let Conversation { asked, outcome } = refresh(YOUTUBE, [ok(&renewed)]).unwrap();
    let form = [
        ("client_id", "app-1"),
        ("client_secret", "app-secret"),
        ("grant_type", "refresh_token"),
        ("refresh_token", "old-refresh"),
    ];
    assert_eq!((shown(&asked[0].form), asked.len()), (pairs(&form), 1));
    assert!(outcome.unwrap().refresh_token.is_none(), "the caller keeps the old one");
    let replaced = refresh(YOUTUBE, [ok(&token())]).unwrap().outcome.unwrap();
    assert_eq!(replaced.refresh_token.unwrap().expose_secret(), "refresh");
}

#[test]
fn google_tells_whose_channel_it_is_and_whose_account() {
    let Conversation { asked, outcome } = identify(YOUTUBE, [ok(&told()), ok(&channel("UC-first"))]);
    assert_eq!(asked[0].url.as_str(), "https://oauth2.googleapis.com/tokeninfo");
    assert_eq!(shown(&asked[0].query), pairs(&[("access_token", "access")]));
    assert_eq!(asked[1].url.as_str(), "https://www.googleapis.com/youtube/v3/channels");
    assert_eq!(shown(&asked[1].query), pairs(&[("part", "id,snippet"), ("mine", "true")]));
    let Some(Credentials::Bearer(bearer)) = &asked[1].authorization else { panic!("a bearer token") };
    assert_eq!(bearer.expose_secret(), "access");
    let account = outcome.unwrap().account;
    assert_eq!(
        (account.external_id.as_str(), account.name.as_str(), account.login.as_str()),
        ("UC-first", "Acme TV", "1122334455"),
        "revoking ends everything under the Google account"
    );

    let nothing = json!({ "kind": "youtube#channelListResponse", "pageInfo": { "totalResults": 0 } });
    assert_eq!(identify(YOUTUBE, [ok(&told()), ok(&nothing)]).outcome.err(), Some(Failure::NoAccount));
    let mut foreign = told();
    foreign["aud"] = json!("another app");
    assert_eq!(identify(YOUTUBE, [ok(&foreign)]).outcome.err(), Some(Failure::Unreadable("youtube tokeninfo")));
}

#[test]
fn a_look_at_a_channel_brings_the_scopes_of_now_and_knows_another_channel() {
    let terms = inspect(YOUTUBE, [ok(&told()), ok(&channel("UC-first"))]).outcome.unwrap();
    assert_eq!(terms.scopes, SCOPE.split(' ').collect::<Vec<_>>());
    let other = inspect(YOUTUBE, [ok(&told()), ok(&channel("UC-second"))]).outcome;
    assert_eq!(other.err(), Some(Failure::Unreadable("youtube channels")));
}

// S52
#[test]
fn every_refusal_of_googles_sign_in_means_what_its_documentation_says() {
    use Failure::{AppRejected, CodeRejected, Dead, Unavailable, Unreadable};
    let error = |status, name: &str| (status, json!({ "error": name, "error_description": "words" }));
    let (refresh_dead, access_dead) = (Dead(Reason::RefreshRejected), Dead(Reason::RevokedByUser));
    let (burst, unknown) = (limited(LimitReach::Token, 60), Unreadable("youtube error"));
    let policy = Dead(Reason::Policy);
    for ((status, body), redeeming, refreshing, identifying) in [
        (error(400, "invalid_grant"), CodeRejected, refresh_dead, access_dead),
        (error(400, "invalid_token"), CodeRejected, refresh_dead, access_dead),
        (error(401, "invalid_client"), AppRejected, AppRejected, AppRejected),
        (error(401, "unauthorized_client"), AppRejected, AppRejected, AppRejected),
        (error(401, "deleted_client"), AppRejected, AppRejected, AppRejected),
        (error(400, "org_internal"), AppRejected, AppRejected, AppRejected),
        (error(400, "admin_policy_enforced"), policy, policy, policy),
        (error(400, "policy_enforced"), policy, policy, policy),
        (error(403, "access_denied"), policy, policy, policy),
        (error(400, "redirect_uri_mismatch"), unknown, unknown, unknown),
        (error(400, "invalid_request"), unknown, unknown, unknown),
        (error(429, "rate_limited"), burst, burst, burst),
        (error(500, "internal_failure"), Unavailable, Unavailable, Unavailable),
        (error(503, "invalid_grant"), Unavailable, Unavailable, Unavailable),
    ] {
        let told = || answer(status, body.to_string());
        assert_eq!(redeem(YOUTUBE, [told()]).outcome.err(), Some(redeeming), "{status} {body}");
        assert_eq!(refresh(YOUTUBE, [told()]).unwrap().outcome.err(), Some(refreshing), "{status} {body}");
        assert_eq!(identify(YOUTUBE, [told()]).outcome.err(), Some(identifying), "{status} {body}");
        // "likely already invalid": the local delete stands
        let revoking = if status == 400 { Ok(()) } else { Err(redeeming) };
        assert_eq!(revoke(YOUTUBE, told()), revoking, "{status} {body}");
    }
    assert_eq!(revoke(YOUTUBE, answer(200, "{}")), Ok(()));
}

// S52
#[test]
fn an_answer_of_youtube_to_a_worker_is_judged_by_its_reason() {
    use Failure::{AppRejected, Dead, Forbidden, Unavailable};
    let error = |status: u16, reason: &str| {
        let cause = json!({ "domain": "youtube", "reason": reason, "message": "words" });
        json!({ "error": { "code": status, "message": "words", "errors": [cause] } })
    };
    let because = |status: u16, reason: &str| {
        let detail = json!({ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason });
        json!({ "error": { "code": status, "status": "PERMISSION_DENIED", "details": [detail] } })
    };
    let detailed = because(403, "ACCESS_TOKEN_SCOPE_INSUFFICIENT");
    // 2026-11-18 11:06:40 UTC is 03:06:40 in California
    let midnight = limited(LimitReach::App, 20 * 3600 + 53 * 60 + 20);
    let burst = limited(LimitReach::Token, 60);
    for (status, body, meaning) in [
        (200, channel("UC-first"), Ok(())),
        (400, error(400, "invalidParameter"), Ok(())),
        (401, error(401, "authError"), Err(Dead(Reason::RevokedByUser))),
        (401, error(401, "youtubeSignupRequired"), Err(Dead(Reason::NoChannel))),
        (403, error(403, "authenticatedUserNotChannel"), Err(Dead(Reason::NoChannel))),
        (403, error(403, "authenticatedUserAccountClosed"), Err(Dead(Reason::AccountClosed))),
        (403, error(403, "channelClosed"), Err(Dead(Reason::AccountClosed))),
        (403, error(403, "authenticatedUserAccountSuspended"), Err(Dead(Reason::AccountSuspended))),
        (403, error(403, "channelSuspended"), Err(Dead(Reason::AccountSuspended))),
        (401, because(401, "ACCOUNT_STATE_INVALID"), Err(Dead(Reason::AccountSuspended))),
        (403, because(403, "USER_BLOCKED_BY_ADMIN"), Err(Dead(Reason::Policy))),
        (403, because(403, "ORG_RESTRICTION_VIOLATION"), Err(Dead(Reason::Policy))),
        (403, error(403, "accessNotConfigured"), Err(AppRejected)),
        (403, because(403, "SERVICE_DISABLED"), Err(AppRejected)),
        (403, because(403, "CONSUMER_SUSPENDED"), Err(AppRejected)),
        (403, because(403, "CONSUMER_INVALID"), Err(AppRejected)),
        (503, because(503, "SERVICE_DISABLED"), Err(Unavailable)),
        (404, error(404, "channelClosed"), Ok(())),
        (403, error(403, "quotaExceeded"), Err(midnight)),
        (403, error(403, "dailyLimitExceeded"), Err(midnight)),
        (403, error(403, "rateLimitExceeded"), Err(burst)),
        (403, error(403, "userRateLimitExceeded"), Err(burst)),
        (403, error(403, "insufficientPermissions"), Err(Forbidden)),
        (403, detailed, Err(Forbidden)),
        (403, error(403, "commentsDisabled"), Ok(())),
        (404, error(404, "videoNotFound"), Ok(())),
        (429, error(429, "rateLimitExceeded"), Err(burst)),
        (500, error(500, "backendError"), Err(Unavailable)),
        (503, json!("words"), Err(Unavailable)),
    ] {
        assert_eq!(judge(YOUTUBE, &answer(status, body.to_string())), meaning, "{status} {body}");
    }
    assert!(YOUTUBE.provider().params().is_none());
}
