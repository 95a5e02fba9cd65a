//! X: what it is asked, and what its answers mean.

use http::{HeaderValue, Method};
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use shared::{
    network::{Credentials, Failure, Identity, LimitReach},
    profile::Network,
    token::Reason,
};

use super::{Conversation, answer, identify, judge, limited, now, ok, pairs, redeem, refresh, revoke, shown, x_token};

// S1, S12
#[test]
fn x_gets_code_verifier_and_the_apps_credentials_in_one_request() {
    let Conversation { asked, outcome } = redeem(Network::X, [ok(&x_token())]);
    let request = &asked[0];
    assert_eq!((&request.method, request.url.as_str()), (&Method::POST, "https://api.x.com/2/oauth2/token"));
    let form = [
        ("grant_type", "authorization_code"),
        ("code", "the-code"),
        ("redirect_uri", "https://tokenward.example/oauth/callback/x"),
        ("code_verifier", "the-verifier"),
    ];
    assert_eq!(shown(&request.form), pairs(&form));
    assert!(request.query.is_empty() && !request.repeatable);
    let Some(Credentials::Basic(id, secret)) = &request.authorization else { panic!("X wants HTTP Basic") };
    assert_eq!((id.as_str(), secret.expose_secret()), ("app-1", "app-secret"));

    let grant = outcome.unwrap();
    assert_eq!(grant.access_token.expose_secret(), "new-access");
    assert_eq!(grant.refresh_token.unwrap().expose_secret(), "new-refresh");
    assert_eq!(grant.terms.scopes, ["users.read", "tweet.read", "offline.access", "tweet.write"]);
    assert_eq!(grant.terms.access_expires_at, Some(now() + SignedDuration::from_hours(2)));
    assert_eq!(grant.terms.expires_at, None, "a machine keeps it alive");
}

#[test]
fn what_x_leaves_out_of_a_grant_is_what_it_documents() {
    type Read = (bool, usize, Option<Timestamp>);
    let reading: [(&str, Value, Read); 7] = [
        ("refresh_token", Value::Null, (false, 4, Some(now() + SignedDuration::from_hours(2)))),
        ("refresh_token", json!(""), (false, 4, Some(now() + SignedDuration::from_hours(2)))),
        ("scope", json!("users.read"), (true, 1, Some(now() + SignedDuration::from_hours(2)))),
        ("scope", json!(""), (true, 0, Some(now() + SignedDuration::from_hours(2)))),
        ("expires_in", Value::Null, (true, 4, Some(now() + SignedDuration::from_hours(2)))),
        ("expires_in", json!(0), (true, 4, Some(now()))),
        ("expires_in", json!(u32::MAX), (true, 4, Some(now() + SignedDuration::from_secs(u32::MAX.into())))),
    ];
    for (field, value, read) in reading {
        let mut token = x_token();
        token[field] = value.clone();
        let grant = redeem(Network::X, [ok(&token)]).outcome.unwrap();
        let seen = (grant.refresh_token.is_some(), grant.terms.scopes.len(), grant.terms.access_expires_at);
        assert_eq!(seen, read, "{field}: {value}");
        // a field that is missing is read as one that is null
        if value.is_null() {
            token.as_object_mut().unwrap().remove(field);
            let grant = redeem(Network::X, [ok(&token)]).outcome.unwrap();
            assert_eq!((grant.refresh_token.is_some(), grant.terms.access_expires_at), (read.0, read.2));
        }
    }
}

#[test]
fn x_tells_whose_grant_it_is() {
    let me = ok(&json!({ "data": { "id": "42", "name": "News Desk", "username": "newsdesk" } }));
    let Conversation { asked, outcome } = identify(Network::X, [me]);
    assert_eq!((&asked[0].method, asked[0].url.as_str()), (&Method::GET, "https://api.x.com/2/users/me"));
    let Some(Credentials::Bearer(token)) = &asked[0].authorization else { panic!("a bearer token") };
    assert_eq!((token.expose_secret(), asked[0].repeatable), ("access", true));
    let Identity { account, terms, .. } = outcome.unwrap();
    assert_eq!(
        (account.external_id.as_str(), account.name.as_str(), account.login.as_str()),
        ("42", "News Desk", "42")
    );
    assert_eq!(terms.scopes, ["users.read"], "what the token endpoint said");
}

// S53
#[test]
fn x_is_asked_for_a_refresh_once_and_what_it_leaves_out_is_left_out() {
    let Conversation { asked, outcome } = refresh(Network::X, [ok(&x_token())]).unwrap();
    let request = &asked[0];
    assert_eq!((&request.method, request.url.as_str()), (&Method::POST, "https://api.x.com/2/oauth2/token"));
    assert_eq!(shown(&request.form), pairs(&[("grant_type", "refresh_token"), ("refresh_token", "old-refresh")]));
    assert!(request.query.is_empty() && !request.repeatable && asked.len() == 1);
    let Some(Credentials::Basic(id, secret)) = &request.authorization else { panic!("X wants HTTP Basic") };
    assert_eq!((id.as_str(), secret.expose_secret()), ("app-1", "app-secret"));
    let grant = outcome.unwrap();
    assert_eq!(grant.access_token.expose_secret(), "new-access");
    assert_eq!(grant.refresh_token.unwrap().expose_secret(), "new-refresh");
    assert_eq!(grant.terms.access_expires_at, Some(now() + SignedDuration::from_hours(2)));

    let without = |field: &str, value: Option<Value>| {
        let mut token = x_token();
        match value {
            Some(value) => token[field] = value,
            None => drop(token.as_object_mut().unwrap().remove(field)),
        }
        refresh(Network::X, [ok(&token)]).unwrap().outcome
    };
    for absent in [None, Some(Value::Null), Some(json!(""))] {
        let grant = without("refresh_token", absent.clone()).unwrap();
        assert!(grant.refresh_token.is_none(), "{absent:?}: the caller keeps the old one");
        assert_eq!(grant.terms.scopes.len(), 4);
    }
    for absent in [None, Some(json!(""))] {
        let grant = without("scope", absent.clone()).unwrap();
        assert!(grant.refresh_token.is_some() && grant.terms.scopes.is_empty(), "{absent:?}");
        assert_eq!(without("access_token", absent).err(), Some(Failure::Unreadable("x token")));
    }
}

// S52
#[test]
fn every_refusal_of_x_means_what_its_documentation_says() {
    use Failure::{AppRejected, CodeRejected, Dead, Forbidden, Unanswered, Unavailable, Unreadable};
    let said = |status, name: &str, words: &str| (status, json!({ "error": name, "error_description": words }));
    let error = |status, name| said(status, name, "words");
    let problem = |status| (status, json!({ "title": "words", "type": "about:blank", "status": status }));
    let spent = said(400, "invalid_request", "Value passed for the token was invalid.");
    let missing = said(400, "invalid_request", "Missing required parameter [refresh_token].");
    let (refresh_dead, access_dead) = (Dead(Reason::RefreshRejected), Dead(Reason::RevokedByUser));
    let (unknown, no_account) = (Unreadable("x error"), Unreadable("x me"));
    let (credits, window) = (limited(LimitReach::App, 3600), limited(LimitReach::Token, 900));
    let not_enrolled = (403, json!({ "title": "Client Forbidden", "reason": "client-not-enrolled", "status": 403 }));
    // for a code, for a refresh token, and when it is asked whose access token it is
    for ((status, body), redeeming, refreshing, identifying) in [
        (error(400, "invalid_grant"), CodeRejected, refresh_dead, no_account),
        (spent, CodeRejected, refresh_dead, no_account),
        (missing, CodeRejected, Unreadable("x refresh"), no_account),
        (error(401, "unauthorized_client"), AppRejected, AppRejected, access_dead),
        (error(401, "invalid_client"), AppRejected, AppRejected, access_dead),
        (error(400, "unauthorized_client"), AppRejected, AppRejected, no_account),
        (error(400, "invalid_client"), AppRejected, AppRejected, no_account),
        (error(401, "invalid_grant"), AppRejected, AppRejected, access_dead),
        (problem(401), AppRejected, AppRejected, access_dead),
        (problem(402), credits, credits, credits),
        (problem(403), Forbidden, Forbidden, Forbidden),
        (not_enrolled, AppRejected, AppRejected, AppRejected),
        (problem(429), window, window, window),
        (problem(500), Unavailable, Unanswered, Unavailable),
        (problem(502), Unavailable, Unanswered, Unavailable),
        (problem(503), Unavailable, Unavailable, Unavailable),
        (problem(504), Unavailable, Unanswered, Unavailable),
        (error(503, "invalid_grant"), Unavailable, Unavailable, Unavailable),
        (problem(404), unknown, unknown, no_account),
        (error(400, "a new one"), unknown, unknown, no_account),
    ] {
        let body = body.to_string();
        let told = || answer(status, &*body);
        assert_eq!(redeem(Network::X, [told()]).outcome.err(), Some(redeeming), "{status} {body}");
        assert_eq!(refresh(Network::X, [told()]).unwrap().outcome.err(), Some(refreshing), "{status} {body}");
        assert_eq!(identify(Network::X, [told()]).outcome.err(), Some(identifying), "{status} {body}");
        // RFC 7009 §2.2: a token that is no good any more needs no revocation
        let revoking = if redeeming == CodeRejected { Ok(()) } else { Err(redeeming) };
        assert_eq!(revoke(Network::X, told()), revoking, "{status} {body}");
    }
    assert_eq!(revoke(Network::X, ok(&json!({ "revoked": true }))), Ok(()));
}

#[test]
fn an_answer_of_x_to_a_worker_is_judged_by_its_status() {
    use Failure::{AppRejected, Dead, Forbidden, Unavailable};
    let problem = |status: u16, name: &str| {
        let host = if name.len().is_multiple_of(2) { "api.x.com" } else { "api.twitter.com" };
        json!({ "type": format!("https://{host}/2/problems/{name}"), "title": "words", "status": status })
    };
    let capped = limited(LimitReach::App, 3600);
    for (status, body, meaning) in [
        (403, problem(403, "client-forbidden"), Err(AppRejected)),
        (403, json!({ "type": "about:blank", "reason": "client-not-enrolled" }), Err(AppRejected)),
        (403, problem(403, "app-suspended"), Err(AppRejected)),
        (403, problem(403, "oauth1-permissions"), Err(AppRejected)),
        (403, problem(403, "user-suspended"), Err(Dead(Reason::AccountSuspended))),
        (403, problem(403, "unsupported-authentication"), Ok(())),
        (403, problem(403, "not-authorized-for-resource"), Err(Forbidden)),
        (429, problem(429, "usage-capped"), Err(capped)),
        (403, problem(403, "usage-capped"), Err(capped)),
        (402, problem(402, "usage-capped"), Err(capped)),
        (200, json!({ "data": { "id": "1" } }), Ok(())),
        (201, json!({ "data": { "id": "1" } }), Ok(())),
        (200, json!({ "errors": [{ "title": "Not Found Error" }] }), Ok(())),
        (400, json!({ "title": "Invalid Request", "status": 400 }), Ok(())),
        (400, json!({ "error": "invalid_grant" }), Ok(())),
        (401, json!({ "title": "Unauthorized", "status": 401 }), Err(Dead(Reason::RevokedByUser))),
        (402, json!({ "title": "CreditsDepleted", "status": 402 }), Err(limited(LimitReach::App, 3600))),
        (403, json!({ "title": "Forbidden", "status": 403 }), Err(Forbidden)),
        (404, json!({ "title": "Not Found Error", "status": 404 }), Ok(())),
        (409, json!({ "title": "Conflict", "status": 409 }), Ok(())),
        (429, json!({ "title": "Too Many Requests", "status": 429 }), Err(limited(LimitReach::Token, 900))),
        (500, json!({ "title": "Internal Server Error", "status": 500 }), Err(Unavailable)),
        (503, json!({ "title": "Service Unavailable", "status": 503 }), Err(Unavailable)),
    ] {
        assert_eq!(judge(Network::X, &answer(status, body.to_string())), meaning, "{status} {body}");
    }
    assert!(Network::X.provider().params().is_none());
}

// S67
#[test]
fn x_says_how_long_it_is_limited_and_is_believed_within_its_window() {
    const DATE: &str = "Wed, 18 Nov 2026 09:46:40 GMT";
    let date = Timestamp::from_second(jiff::fmt::rfc2822::parse(DATE).unwrap().timestamp().as_second()).unwrap();
    let at = |seconds: i64| (date.as_second() + seconds).to_string();
    for (reset, wait) in [
        (at(60), 60),
        (at(900), 900),
        (at(0), 1),
        (at(86_400), 86_400),
        (at(86_401), 86_400),
        (at(-60), 900),
        (i64::MAX.to_string(), 900),
        (i64::MIN.to_string(), 900),
        ("9".repeat(40), 900),
        ("soon".to_owned(), 900),
    ] {
        let mut told = answer(429, "");
        told.headers.insert("date", HeaderValue::from_static(DATE));
        told.headers.insert("x-rate-limit-reset", HeaderValue::try_from(&reset).unwrap());
        assert_eq!(judge(Network::X, &told), Err(limited(LimitReach::Token, wait)), "{reset}");
    }
}
