//! Instagram: what it is asked, and what its many shapes of answers mean.

use http::Method;
use jiff::SignedDuration;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use shared::{
    network::{Failure, LimitReach, Reach},
    profile::Network,
    token::Reason,
};

use super::{Conversation, answer, identify, inspect, judge, limited, now, ok, pairs, redeem, refresh, revoke, shown};

const INSTAGRAM: Network = Network::Instagram;

fn long_lived() -> Value {
    json!({ "access_token": "long", "token_type": "bearer", "expires_in": 5_183_944 })
}

fn me(id: &Value) -> Value {
    json!({ "user_id": id, "id": "7", "username": "acme", "name": "Acme Studios", "account_type": "BUSINESS" })
}

// S1, S12
#[test]
fn instagram_gets_no_verifier_and_its_short_token_is_exchanged_at_once_whatever_shape_it_comes_in() {
    let scopes = ["instagram_business_basic", "instagram_business_manage_comments"];
    for (permissions, granted) in [
        (json!(scopes.join(",")), &scopes[..]),
        (json!(scopes), &scopes),
        (json!(scopes.join(" ")), &scopes),
        (Value::Null, &[]),
    ] {
        for user_id in [json!(17_841_400_000_000_001_u64), json!("17841400000000001")] {
            let flat = json!({ "access_token": "short", "user_id": user_id, "permissions": permissions });
            for short in [flat.clone(), json!({ "data": [flat] })] {
                let Conversation { asked, outcome } = redeem(INSTAGRAM, [ok(&short), ok(&long_lived())]);
                assert_eq!(
                    (&asked[0].method, asked[0].url.as_str()),
                    (&Method::POST, "https://api.instagram.com/oauth/access_token")
                );
                let first = [
                    ("client_id", "app-1"),
                    ("client_secret", "app-secret"),
                    ("grant_type", "authorization_code"),
                    ("redirect_uri", "https://tokenward.example/oauth/callback/x"),
                    ("code", "the-code"),
                ];
                assert_eq!(shown(&asked[0].form), pairs(&first));
                assert_eq!(asked[1].url.as_str(), "https://graph.instagram.com/access_token");
                let second =
                    [("grant_type", "ig_exchange_token"), ("client_secret", "app-secret"), ("access_token", "short")];
                assert_eq!(shown(&asked[1].query), pairs(&second));
                assert!(asked.iter().all(|request| !request.repeatable));
                let grant = outcome.unwrap();
                assert_eq!(grant.access_token.expose_secret(), "long");
                assert_eq!(grant.refresh_token.unwrap().expose_secret(), "long", "it renews itself");
                assert_eq!(grant.terms.scopes, granted, "{short}");
                let end = now() + SignedDuration::from_secs(5_183_944);
                assert_eq!((grant.terms.access_expires_at, grant.terms.expires_at), (Some(end), None));
                assert_eq!(grant.terms.given_at, Some(now()));
            }
        }
    }
}

#[test]
fn an_id_beyond_what_a_double_holds_is_read_to_the_last_digit() {
    for id in [json!(17_841_400_000_000_001_u64), json!("17841400000000001")] {
        for told in [me(&id), json!({ "data": [me(&id)] })] {
            let Conversation { asked, outcome } = identify(INSTAGRAM, [ok(&told)]);
            assert_eq!(asked[0].url.as_str(), "https://graph.instagram.com/v26.0/me");
            let fields = [("fields", "user_id,id,username,name,account_type"), ("access_token", "access")];
            assert_eq!(shown(&asked[0].query), pairs(&fields));
            let account = outcome.unwrap().account;
            assert_eq!((account.external_id.as_str(), account.name.as_str()), ("17841400000000001", "acme"), "{told}");
        }
    }
    for told in [
        json!({ "data": [] }),
        json!({ "data": [me(&json!("1")), me(&json!("2"))] }),
        json!({ "user_id": 1.5 }),
        json!({}),
    ] {
        let outcome = identify(INSTAGRAM, [ok(&told)]).outcome;
        assert_eq!(outcome.err(), Some(Failure::Unreadable("instagram me")), "{told}");
    }
}

// S53
#[test]
fn a_token_of_instagram_is_renewed_with_itself_and_what_comes_is_kept() {
    let Conversation { asked, outcome } = refresh(INSTAGRAM, [ok(&long_lived())]).unwrap();
    assert_eq!(asked[0].url.as_str(), "https://graph.instagram.com/refresh_access_token");
    assert_eq!(shown(&asked[0].query), pairs(&[("grant_type", "ig_refresh_token"), ("access_token", "old-refresh")]));
    assert!(asked.len() == 1 && !asked[0].repeatable);
    let grant = outcome.unwrap();
    assert_eq!(grant.access_token.expose_secret(), "long");
    assert_eq!(grant.refresh_token.unwrap().expose_secret(), "long");
    assert!(grant.terms.scopes.is_empty(), "it says nothing of them: what was granted stays");
    let mut empty = long_lived();
    empty["access_token"] = json!("");
    let outcome = refresh(INSTAGRAM, [ok(&empty)]).unwrap().outcome;
    assert_eq!(outcome.err(), Some(Failure::Unreadable("instagram long-lived token")));
    // without a usable lifetime it is the documented one, so that it is renewed in time
    for expires_in in [json!(0), json!(-1), json!("soon"), Value::Null] {
        let mut told = long_lived();
        told["expires_in"] = expires_in;
        let grant = refresh(INSTAGRAM, [ok(&told)]).unwrap().outcome.unwrap();
        assert_eq!(grant.access_token.expose_secret(), "long", "{told}");
        assert_eq!(grant.terms.access_expires_at, Some(now() + SignedDuration::from_hours(60 * 24)), "{told}");
    }
}

#[test]
fn every_error_of_instagram_means_what_its_documentation_says() {
    use Failure::{AppRejected, CodeRejected, Dead, Forbidden, Unavailable};
    let sign_in = |words: &str| json!({ "error_type": "OAuthException", "code": 400, "error_message": words });
    for (status, body, redeeming) in [
        (400, sign_in("This authorization code has been used"), CodeRejected),
        (400, sign_in("Matching code was not found or was already used"), CodeRejected),
        (400, sign_in("Error validating client_secret."), AppRejected),
        (400, sign_in("Invalid platform app"), AppRejected),
        (400, sign_in("Invalid Client ID"), AppRejected),
        (400, sign_in("invalid client_secret"), AppRejected),
        (500, sign_in("words"), Unavailable),
        (429, sign_in("words"), limited(LimitReach::Token, 900)),
    ] {
        assert_eq!(
            redeem(INSTAGRAM, [answer(status, body.to_string())]).outcome.err(),
            Some(redeeming),
            "{status} {body}"
        );
    }
    let error = |code: i64, subcode: i64| json!({ "error": { "message": "words", "type": "OAuthException", "code": code, "error_subcode": subcode } });
    for (status, body, meaning) in [
        (400, error(190, 463), Dead(Reason::Expired)),
        (400, error(190, 460), Dead(Reason::PasswordChanged)),
        (400, error(190, 458), Dead(Reason::AppRemoved)),
        (400, error(190, 459), Dead(Reason::Checkpoint)),
        (400, error(190, 0), Dead(Reason::RevokedByUser)),
        (403, error(10, 0), Forbidden),
        (400, error(4, 0), limited(LimitReach::App, 900)),
        (400, error(17, 0), limited(LimitReach::Token, 900)),
        (500, error(2, 0), Unavailable),
    ] {
        let told = || answer(status, body.to_string());
        assert_eq!(judge(INSTAGRAM, &told()), Err(meaning), "{status} {body}");
        assert_eq!(refresh(INSTAGRAM, [told()]).unwrap().outcome.err(), Some(meaning), "{status} {body}");
        assert_eq!(identify(INSTAGRAM, [told()]).outcome.err(), Some(meaning), "{status} {body}");
        assert_eq!(inspect(INSTAGRAM, [told()]).outcome.err(), Some(meaning), "{status} {body}");
    }
    // a token that is too young to be renewed is no dead one
    let young = answer(400, error(100, 0).to_string());
    assert_eq!(refresh(INSTAGRAM, [young]).unwrap().outcome.err(), Some(Failure::Unreadable("instagram refresh")));
}

#[test]
fn a_token_of_another_account_does_not_pass_for_the_profiles() {
    assert!(inspect(INSTAGRAM, [ok(&me(&json!("17841400000000001")))]).outcome.is_ok());
    let other = inspect(INSTAGRAM, [ok(&me(&json!("17841400000000002")))]).outcome;
    assert_eq!(other.err(), Some(Failure::Unreadable("instagram me")));
}

#[test]
fn instagram_has_no_way_to_revoke() {
    assert_eq!(INSTAGRAM.provider().revocation_reach(), Reach::Nothing);
    assert_eq!(revoke(INSTAGRAM, answer(500, "nobody asks")), Ok(()));
}
