//! Facebook: what it is asked, and what Meta's answers mean.

use http::{HeaderValue, Method};
use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use shared::{
    apps::App,
    network::{Failure, Grant, Identity, LimitReach, Terms},
    profile::{Kind, Network},
    token::Reason,
};

use super::{
    Conversation, NOW, answer, app, converse, grant, identify, inspect, inspection, judge, limited, now, ok, pairs,
    redeem, refresh, revoke, shown,
};

// S1, S12
#[test]
fn facebook_gets_no_verifier_and_its_short_token_is_exchanged_at_once() {
    let short = json!({ "access_token": "short", "token_type": "bearer", "expires_in": 5183 });
    for long in [
        json!({ "access_token": "long", "token_type": "bearer", "expires_in": 5_183_944 }),
        json!({ "access_token": "long", "token_type": "bearer", "expires_in": 0 }),
        json!({ "access_token": "long", "token_type": "bearer" }),
    ] {
        let Conversation { asked, outcome } = redeem(Network::Facebook, [ok(&short), ok(&long)]);
        for request in &asked {
            assert_eq!(request.method, Method::GET);
            assert_eq!(request.url.as_str(), "https://graph.facebook.com/v26.0/oauth/access_token");
            assert!(request.form.is_empty() && request.authorization.is_none() && !request.repeatable);
        }
        let first = [
            ("client_id", "app-1"),
            ("client_secret", "app-secret"),
            ("redirect_uri", "https://tokenward.example/oauth/callback/x"),
            ("code", "the-code"),
        ];
        let second = [
            ("client_id", "app-1"),
            ("client_secret", "app-secret"),
            ("grant_type", "fb_exchange_token"),
            ("fb_exchange_token", "short"),
        ];
        assert_eq!((shown(&asked[0].query), shown(&asked[1].query)), (pairs(&first), pairs(&second)));
        let grant = outcome.unwrap();
        assert_eq!(grant.access_token.expose_secret(), "long");
        assert!(grant.refresh_token.is_none() && grant.terms == Terms::default(), "debug_token tells the terms");
    }
}

#[test]
fn facebook_needs_a_person_at_the_earlier_of_its_two_clocks() {
    let at = |seconds: i64| Some(Timestamp::from_second(NOW + seconds).unwrap());
    for (expires_at, data_access, access, person) in [
        (json!(NOW + 60), json!(NOW + 90), at(60), at(60)),
        (json!(NOW + 90), json!(NOW + 60), at(90), at(60)),
        (json!(0), json!(NOW + 90), None, at(90)),
        (json!(NOW + 60), json!(0), at(60), at(60)),
        (json!(0), json!(0), None, None),
        (json!(-1), json!(NOW + 90), None, at(90)),
        (json!(i64::MAX), json!(NOW + 90), None, at(90)),
    ] {
        let mut told = inspection();
        told["data"]["expires_at"] = expires_at;
        told["data"]["data_access_expires_at"] = data_access;
        let me = json!({ "id": "1001", "name": "Alice Meyer" });
        let Identity { account, terms, .. } = identify(Network::Facebook, [ok(&told), ok(&me)]).outcome.unwrap();
        assert_eq!((terms.access_expires_at, terms.expires_at), (access, person), "{told}");
        assert_eq!(terms.scopes, ["public_profile", "pages_read_engagement"], "less than was asked for");
        assert_eq!((account.external_id.as_str(), account.login.as_str()), ("1001", "1001"));
    }
}

#[test]
fn facebook_is_asked_with_the_proof_that_rfc_4231_gives() {
    // RFC 4231 §4.3, test case 2
    let app = App { client_secret: "Jefe".into(), ..app(Network::Facebook) };
    let grant = Grant { access_token: "what do ya want for nothing?".into(), refresh_token: None, ..grant() };
    let proof = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    let provider = Network::Facebook.provider();
    let me = json!({ "id": "1001", "name": "Alice Meyer" });
    let identifying = converse(
        provider.identify(&App { client_id: "app-1".to_owned(), ..app.clone() }, Kind::FacebookUser, &grant, now()),
        [ok(&inspection()), ok(&me)],
    );
    let debugging = [("input_token", "what do ya want for nothing?"), ("access_token", "app-1|Jefe")];
    assert_eq!(identifying.asked[0].url.as_str(), "https://graph.facebook.com/v26.0/debug_token");
    assert_eq!(shown(&identifying.asked[0].query), pairs(&debugging));
    let naming = [("fields", "id,name"), ("appsecret_proof", proof), ("access_token", "what do ya want for nothing?")];
    assert_eq!(identifying.asked[1].url.as_str(), "https://graph.facebook.com/v26.0/me");
    assert_eq!(shown(&identifying.asked[1].query), pairs(&naming));

    let revoking = converse(provider.revoke(&app, &grant, "1001"), [ok(&json!({ "success": true }))]);
    let request = &revoking.asked[0];
    assert_eq!(request.url.as_str(), "https://graph.facebook.com/v26.0/1001/permissions");
    assert_eq!((&request.method, &shown(&request.query)[0]), (&Method::DELETE, &("appsecret_proof", proof.to_owned())));
    assert_eq!(revoking.outcome, Ok(()));
}

#[test]
fn a_worker_is_given_the_proof_that_is_good_for_five_minutes() {
    // made with OpenSSL: printf 'what do ya want for nothing?|1700000000' | openssl dgst -sha256 -hmac Jefe
    let app = App { client_secret: "Jefe".into(), ..app(Network::Facebook) };
    let at = Timestamp::from_second(1_700_000_000).unwrap();
    let params = Network::Facebook.provider().params().unwrap()(&app, &"what do ya want for nothing?".into(), at);
    let given: Vec<_> = params.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let proof = "cc90432149600f6012da46a5bfa7ce598b82e0b63590decbd507f10d3173fc91";
    assert_eq!(given, [("appsecret_proof", proof), ("appsecret_time", "1700000000")]);
}

#[test]
fn a_facebook_token_is_renewed_by_a_person_alone() {
    assert!(refresh(Network::Facebook, [answer(200, "")]).is_none());
}

fn error(code: i64, subcode: Option<i64>) -> Value {
    let mut error = json!({ "message": "words", "type": "OAuthException", "code": code, "fbtrace_id": "A" });
    if let Some(subcode) = subcode {
        error["error_subcode"] = json!(subcode);
    }
    error
}

#[test]
fn every_error_of_meta_means_what_its_documentation_says() {
    use Failure::{AppRejected, CodeRejected, Dead, Forbidden, Unavailable, Unreadable};
    let mut secret = error(1, None);
    secret["message"] = json!("Error validating client secret.");
    let says = |code: i64, words: &str| {
        let mut error = error(code, None);
        error["message"] = json!(words);
        error
    };
    let transient = |mut error: Value| {
        error["is_transient"] = json!(true);
        error
    };
    let (of_token, of_app) = (limited(LimitReach::Token, 900), limited(LimitReach::App, 900));
    // what it says of token and app, and what that makes of a code where it says nothing of them
    let tokens_and_apps = [
        (error(190, Some(463)), Dead(Reason::Expired)),
        (error(190, Some(460)), Dead(Reason::PasswordChanged)),
        (error(190, Some(467)), Dead(Reason::RevokedByUser)),
        (error(190, Some(1)), Dead(Reason::RevokedByUser)),
        (error(190, None), Dead(Reason::RevokedByUser)),
        (error(102, None), Dead(Reason::RevokedByUser)),
        (error(190, Some(458)), Dead(Reason::AppRemoved)),
        (error(190, Some(459)), Dead(Reason::Checkpoint)),
        (error(190, Some(464)), Dead(Reason::Checkpoint)),
        (error(190, Some(492)), Dead(Reason::RoleLost)),
        (error(10, None), Forbidden),
        (error(200, None), Forbidden),
        (error(299, None), Forbidden),
        (error(4, None), of_app),
        (transient(error(4, None)), of_app),
        (error(17, None), of_token),
        (transient(error(17, Some(2_446_079))), of_token),
        (error(32, None), of_token),
        (error(613, None), of_token),
        (error(80_001, None), of_token),
        (error(80_002, None), of_token),
        (error(80_006, None), of_token),
        (error(368, None), limited(LimitReach::Token, 6 * 3600)),
        (transient(error(368, None)), limited(LimitReach::Token, 6 * 3600)),
        (error(4, Some(2_207_051)), limited(LimitReach::Token, 6 * 3600)),
        (error(341, None), of_app),
        (secret, AppRejected),
        (says(100, "Invalid appsecret_proof provided in the API argument"), AppRejected),
        (says(190, "Invalid appsecret_proof provided in the API argument"), AppRejected),
        (says(100, "Error validating client secret."), AppRejected),
        (says(190, "Error validating application. Application has been deleted."), AppRejected),
        (says(200, "API access blocked."), AppRejected),
        (error(104, None), AppRejected),
        (error(191, None), AppRejected),
        (error(3, None), AppRejected),
        (error(5, None), AppRejected),
        (error(101, None), AppRejected),
        (error(1, None), Unavailable),
        (error(2, None), Unavailable),
        (error(-1, None), Unavailable),
        (error(-2, None), Unavailable),
        (transient(error(9999, None)), Unavailable),
        (transient(error(190, None)), Unavailable),
    ];
    let requests = [
        (error(100, Some(36_009)), CodeRejected),
        (error(100, None), CodeRejected),
        (error(190, Some(2_069_032)), Unreadable("meta error")),
        (error(200, Some(2_069_030)), Unreadable("meta error")),
        (error(506, None), Unreadable("meta error")),
        (error(2500, None), Unreadable("meta error")),
        (error(i64::MIN, None), Unreadable("meta error")),
    ];
    let judged = tokens_and_apps.into_iter().map(|(error, meaning)| (error, meaning, Err(meaning)));
    let unjudged = requests.into_iter().map(|(error, meaning)| (error, meaning, Ok(())));
    for (error, redeeming, judging) in judged.chain(unjudged) {
        let told = |status| answer(status, json!({ "error": error }).to_string());
        // the HTTP status says nothing
        for status in [200, 400, 401, 403] {
            assert_eq!(redeem(Network::Facebook, [told(status)]).outcome.err(), Some(redeeming), "{status} {error}");
            assert_eq!(judge(Network::Facebook, &told(status)), judging, "{status} {error}");
        }
        let revoking = match redeeming {
            Dead(_) => Ok(()),
            CodeRejected => Err(Unreadable("facebook permissions")),
            other => Err(other),
        };
        assert_eq!(revoke(Network::Facebook, told(400)), revoking, "{error}");
    }
}

// S52
#[test]
fn a_status_of_meta_that_tells_of_limits_or_outages_says_nothing_of_a_grant() {
    let of_token = limited(LimitReach::Token, 900);
    for (status, error, meaning) in [
        (500, error(190, Some(460)), Failure::Unavailable),
        (503, error(190, Some(460)), Failure::Unavailable),
        (503, error(4, None), Failure::Unavailable),
        (429, error(190, Some(460)), of_token),
        (429, error(2, None), of_token),
        (429, json!("no error"), of_token),
        (429, error(4, None), limited(LimitReach::App, 900)),
    ] {
        let told = answer(status, json!({ "error": error }).to_string());
        assert_eq!(judge(Network::Facebook, &told), Err(meaning), "{status} {error}");
        assert_eq!(redeem(Network::Facebook, [told]).outcome.err(), Some(meaning), "{status} {error}");
    }
    for (status, body) in [(200, r#"{"data":[]}"#), (404, "<html>"), (400, ""), (304, "")] {
        assert_eq!(judge(Network::Facebook, &answer(status, body)), Ok(()), "{status} {body}");
    }
}

// S67
#[test]
fn meta_says_in_minutes_how_long_a_page_is_limited_and_is_believed_up_to_a_day() {
    let usage = |minutes: Value| {
        json!({ "type": "pages", "call_count": 100, "total_cputime": 25, "total_time": 25,
                "estimated_time_to_regain_access": minutes })
    };
    let text = |value: Value| value.to_string();
    for (header, seconds) in [
        (text(json!({ "1": [usage(json!(19))] })), 19 * 60),
        (text(json!({ "1": [usage(json!(0)), usage(json!(7))], "2": [usage(json!(3))] })), 7 * 60),
        (text(json!({ "1": [usage(json!(0))] })), 900),
        (text(json!({ "1": [{ "type": "pages" }] })), 900),
        (text(json!({ "1": [] })), 900),
        (text(json!({})), 900),
        (text(json!({ "1": [usage(json!(1440))] })), 86_400),
        (text(json!({ "1": [usage(json!(1441))] })), 86_400),
        (text(json!({ "1": [usage(json!(u32::MAX))] })), 86_400),
        (text(json!({ "1": [usage(json!(u64::MAX))] })), 900),
        (text(json!({ "1": [usage(json!(-1))] })), 900),
        (text(json!({ "1": [usage(json!("19"))] })), 900),
        (text(json!([usage(json!(19))])), 900),
        ("[".repeat(10_000), 900),
        ("\u{e9}".to_owned(), 900),
        (String::new(), 900),
    ] {
        for code in [80_001, 80_002, 80_006] {
            let mut told = answer(400, json!({ "error": error(code, None) }).to_string());
            told.headers.insert("x-business-use-case-usage", HeaderValue::try_from(&header).unwrap());
            assert_eq!(judge(Network::Facebook, &told), Err(limited(LimitReach::Token, seconds)), "{code} {header}");
        }
    }
}

#[test]
fn a_revocation_is_done_when_facebook_says_so_and_not_before() {
    for (body, done) in [
        (json!({ "success": true }), true),
        (json!({ "success": false }), false),
        (json!({ "success": "true" }), false),
        (json!({}), false),
        (json!("<<< this is no answer >>>"), false),
    ] {
        assert_eq!(revoke(Network::Facebook, ok(&body)).is_ok(), done, "{body}");
    }
}

#[test]
fn a_token_of_another_app_or_person_is_refused() {
    let me = json!({ "id": "1001", "name": "Alice Meyer" });
    let unreadable = Failure::Unreadable("facebook debug_token");
    for (field, value, failure) in [
        ("app_id", json!("app-2"), unreadable),
        ("app_id", Value::Null, unreadable),
        ("user_id", json!(""), unreadable),
        ("user_id", json!("1002"), Failure::Unreadable("facebook me")),
        ("is_valid", Value::Null, unreadable),
    ] {
        let mut told = inspection();
        told["data"][field] = value.clone();
        assert_eq!(identify(Network::Facebook, [ok(&told), ok(&me)]).outcome.err(), Some(failure), "{field}: {value}");
    }
}

#[test]
fn facebook_confirms_that_a_token_is_dead_when_it_says_so_of_a_token_of_ours() {
    let me = json!({ "id": "1001", "name": "Alice Meyer" });
    let error = |code: i64, subcode: i64| json!({ "code": code, "message": "dead", "subcode": subcode });
    for (app, changes, failure) in [
        ("app-1", json!({}), Failure::Dead(Reason::RevokedByUser)),
        ("app-2", json!({}), Failure::Unreadable("facebook debug_token")),
        ("app-1", json!({ "error": error(190, 460) }), Failure::Dead(Reason::PasswordChanged)),
        ("app-1", json!({ "error": error(190, 463) }), Failure::Dead(Reason::Expired)),
        ("app-1", json!({ "error": error(100, 0) }), Failure::Unreadable("facebook debug_token")),
    ] {
        let mut told = inspection();
        told["data"]["app_id"] = json!(app);
        told["data"]["is_valid"] = json!(false);
        for (field, value) in changes.as_object().unwrap() {
            told["data"][field] = value.clone();
        }
        assert_eq!(identify(Network::Facebook, [ok(&told), ok(&me)]).outcome.err(), Some(failure), "{told}");
    }
}

// S41, S52, S78
#[test]
fn the_outer_error_of_debug_token_is_about_the_app_and_never_about_the_token() {
    let says = |code: i64, words: &str| {
        let mut error = error(code, None);
        error["message"] = json!(words);
        error
    };
    for outer in [
        says(190, "Invalid OAuth access token signature."),
        says(190, "Cannot parse access token"),
        error(190, Some(460)),
        error(190, Some(463)),
        error(102, None),
        error(101, None),
        error(104, None),
        says(100, "Invalid appsecret_proof provided in the API argument"),
        says(200, "API access blocked."),
        error(200, None),
        error(10, None),
    ] {
        let told = || answer(400, json!({ "error": outer }).to_string());
        assert_eq!(identify(Network::Facebook, [told()]).outcome.err(), Some(Failure::AppRejected), "{outer}");
        assert_eq!(inspect(Network::Facebook, [told()]).outcome.err(), Some(Failure::AppRejected), "{outer}");
    }
}
