//! What we ask the networks and what we make of their answers, without a network: real-shaped answers, and every error
//! that they document.

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use shared::{
    apps::App,
    network::{Answer, Credentials, Failure, Grant, Identity, Redemption, Request, Talk, Terms},
    profile::{Network, TokenKind},
    token::Reason,
};

const NOW: i64 = 1_795_000_000;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

pub(crate) fn app(network: Network) -> App {
    App {
        network,
        client_id: "app-1".to_owned(),
        client_secret: "app-secret".into(),
        graph_version: "v26.0".to_owned(),
        tokens: TokenKind::ALL.to_vec(),
    }
}

pub(crate) fn redemption() -> Redemption {
    Redemption {
        code: "the-code".into(),
        redirect_uri: "https://tokenward.example/oauth/callback/x".to_owned(),
        code_verifier: Some("the-verifier".into()),
        now: now(),
    }
}

pub(crate) fn grant() -> Grant {
    let terms = Terms { scopes: vec!["users.read".to_owned()], ..Terms::default() };
    Grant { access_token: "access".into(), refresh_token: Some("refresh".into()), terms }
}

/// What the network says when it is asked, step by step.
pub(crate) struct Conversation<T> {
    asked: Vec<Request>,
    pub(crate) outcome: Result<T, Failure>,
}

pub(crate) fn answer(status: u16, body: impl Into<Vec<u8>>) -> Answer {
    Answer { status: StatusCode::from_u16(status).unwrap(), headers: HeaderMap::new(), body: body.into().into() }
}

/// Answers a conversation until it ends; the last answer is repeated.
fn converse<T>(mut talk: Talk<T>, answers: impl IntoIterator<Item = Answer>) -> Conversation<T> {
    let (mut asked, mut answers) = (Vec::new(), answers.into_iter());
    loop {
        match talk {
            Talk::Done(result) => return Conversation { asked, outcome: Ok(result) },
            Talk::Ask(request, then) => {
                asked.push(*request);
                let answer = answers.next().expect("the conversation ends with the answers");
                match then(answer) {
                    Ok(next) => talk = next,
                    Err(failure) => return Conversation { asked, outcome: Err(failure) },
                }
            }
        }
    }
}

pub(crate) fn redeem(network: Network, answers: impl IntoIterator<Item = Answer>) -> Conversation<Grant> {
    let mut redemption = redemption();
    if !network.provider().supports_pkce() {
        redemption.code_verifier = None;
    }
    converse(network.provider().redeem(&app(network), redemption), answers)
}

pub(crate) fn identify(network: Network, answers: impl IntoIterator<Item = Answer>) -> Conversation<Identity> {
    converse(network.provider().identify(&app(network), &grant(), now()), answers)
}

pub(crate) fn revoke(network: Network, answer: Answer) -> Result<(), Failure> {
    converse(network.provider().revoke(&app(network), &grant(), "1001"), [answer]).outcome
}

pub(crate) fn ok(body: &Value) -> Answer {
    answer(200, body.to_string())
}

/// Name and value of every parameter, in order.
fn shown(parameters: &[(&'static str, SecretString)]) -> Vec<(&'static str, String)> {
    parameters.iter().map(|(name, value)| (*name, value.expose_secret().to_owned())).collect()
}

fn pairs(pairs: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

pub(crate) fn x_token() -> Value {
    json!({
        "token_type": "bearer",
        "expires_in": 7200,
        "access_token": "new-access",
        "refresh_token": "new-refresh",
        "scope": "users.read tweet.read offline.access tweet.write",
    })
}

pub(crate) fn inspection() -> Value {
    json!({ "data": {
        "app_id": "app-1",
        "type": "USER",
        "application": "Tokenward",
        "is_valid": true,
        "expires_at": NOW + 5_183_944,
        "data_access_expires_at": NOW + 7_776_000,
        "issued_at": NOW,
        "scopes": ["public_profile", "pages_read_engagement"],
        "granular_scopes": [{ "scope": "pages_read_engagement", "target_ids": ["1"] }],
        "user_id": "1001",
    } })
}

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
fn what_x_leaves_out_of_a_grant_is_not_made_up() {
    type Read = (bool, usize, Option<Timestamp>);
    let reading: [(&str, Value, Read); 7] = [
        ("refresh_token", Value::Null, (false, 4, Some(now() + SignedDuration::from_hours(2)))),
        ("refresh_token", json!(""), (false, 4, Some(now() + SignedDuration::from_hours(2)))),
        ("scope", json!("users.read"), (true, 1, Some(now() + SignedDuration::from_hours(2)))),
        ("scope", json!(""), (true, 0, Some(now() + SignedDuration::from_hours(2)))),
        ("expires_in", Value::Null, (true, 4, None)),
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
    let Identity { account, terms } = outcome.unwrap();
    assert_eq!(
        (account.external_id.as_str(), account.name.as_str(), account.login.as_str()),
        ("42", "News Desk", "42")
    );
    assert_eq!(terms.scopes, ["users.read"], "what the token endpoint said");
}

#[test]
fn every_refusal_of_x_means_what_its_documentation_says() {
    let error = |status, name: &str| (status, json!({ "error": name, "error_description": "words" }));
    let problem = |status| (status, json!({ "title": "words", "type": "about:blank", "status": status }));
    let rejected = Failure::Dead(Reason::RefreshRejected);
    // at the token endpoint, and when it is asked whose token it is
    for ((status, body), redeeming, identifying) in [
        (error(400, "invalid_grant"), Failure::CodeRejected, rejected),
        (error(400, "invalid_request"), Failure::CodeRejected, rejected),
        (error(401, "unauthorized_client"), Failure::AppRejected, Failure::AppRejected),
        (error(401, "invalid_client"), Failure::AppRejected, Failure::AppRejected),
        (error(400, "unauthorized_client"), Failure::AppRejected, Failure::AppRejected),
        (problem(401), Failure::CodeRejected, rejected),
        (problem(402), Failure::AppRejected, Failure::AppRejected),
        (problem(403), Failure::Forbidden, Failure::Forbidden),
        (problem(429), Failure::Limited(900), Failure::Limited(900)),
        (problem(500), Failure::Unavailable, Failure::Unavailable),
        (problem(503), Failure::Unavailable, Failure::Unavailable),
        (problem(404), Failure::Unreadable("x error"), Failure::Unreadable("x error")),
        (error(400, "a new one"), Failure::Unreadable("x error"), Failure::Unreadable("x error")),
    ] {
        let body = body.to_string();
        assert_eq!(redeem(Network::X, [answer(status, &*body)]).outcome.err(), Some(redeeming), "{status} {body}");
        assert_eq!(identify(Network::X, [answer(status, &*body)]).outcome.err(), Some(identifying), "{status} {body}");
        // RFC 7009 §2.2: a token that is no good any more needs no revocation
        let revoking = if identifying == rejected { Ok(()) } else { Err(identifying) };
        assert_eq!(revoke(Network::X, answer(status, &*body)), revoking, "{status} {body}");
    }
    assert_eq!(revoke(Network::X, ok(&json!({ "revoked": true }))), Ok(()));
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
        (at(86_400), 900),
        (at(-60), 900),
        (i64::MAX.to_string(), 900),
        (i64::MIN.to_string(), 900),
        ("9".repeat(40), 900),
        ("soon".to_owned(), 900),
    ] {
        let mut limited = answer(429, "");
        limited.headers.insert("date", HeaderValue::from_static(DATE));
        limited.headers.insert("x-rate-limit-reset", HeaderValue::try_from(&reset).unwrap());
        assert_eq!(identify(Network::X, [limited]).outcome.err(), Some(Failure::Limited(wait)), "{reset}");
    }
}

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
        let Identity { account, terms } = identify(Network::Facebook, [ok(&told), ok(&me)]).outcome.unwrap();
        assert_eq!((terms.access_expires_at, terms.expires_at), (access, person), "{told}");
        assert_eq!(terms.scopes, ["public_profile", "pages_read_engagement"], "less than was asked for");
        assert_eq!((account.external_id.as_str(), account.login.as_str()), ("1001", "1001"));
    }
}

#[test]
fn facebook_is_asked_with_the_proof_that_rfc_4231_gives() {
    // RFC 4231 §4.3, test case 2
    let app = App { client_secret: "Jefe".into(), ..app(Network::Facebook) };
    let grant = Grant { access_token: "what do ya want for nothing?".into(), ..grant() };
    let proof = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    let provider = Network::Facebook.provider();
    let me = json!({ "id": "1001", "name": "Alice Meyer" });
    let identifying = converse(
        provider.identify(&App { client_id: "app-1".to_owned(), ..app.clone() }, &grant, now()),
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
fn every_error_of_meta_means_what_its_documentation_says() {
    use Failure::{AppRejected, CodeRejected, Dead, Forbidden, Limited, Unavailable, Unreadable};
    let error = |code: i64, subcode: Option<i64>| {
        let mut error = json!({ "message": "words", "type": "OAuthException", "code": code, "fbtrace_id": "A" });
        if let Some(subcode) = subcode {
            error["error_subcode"] = json!(subcode);
        }
        error
    };
    let mut secret = error(1, None);
    secret["message"] = json!("Error validating client secret.");
    let mut transient = error(9999, None);
    transient["is_transient"] = json!(true);
    for (error, meaning) in [
        (error(190, Some(463)), Dead(Reason::RevokedByUser)),
        (error(190, Some(460)), Dead(Reason::PasswordChanged)),
        (error(190, Some(467)), Dead(Reason::RevokedByUser)),
        (error(190, None), Dead(Reason::RevokedByUser)),
        (error(102, None), Dead(Reason::RevokedByUser)),
        (error(190, Some(458)), Dead(Reason::AppRemoved)),
        (error(190, Some(459)), Dead(Reason::Checkpoint)),
        (error(190, Some(464)), Dead(Reason::Checkpoint)),
        (error(190, Some(492)), Dead(Reason::RoleLost)),
        (error(10, None), Forbidden),
        (error(200, None), Forbidden),
        (error(299, None), Forbidden),
        (error(4, None), Limited(900)),
        (error(17, None), Limited(900)),
        (error(32, None), Limited(900)),
        (error(613, None), Limited(900)),
        (secret, AppRejected),
        (error(101, None), AppRejected),
        (error(1, None), Unavailable),
        (error(2, None), Unavailable),
        (error(341, None), Unavailable),
        (transient, Unavailable),
        (error(100, Some(36_009)), CodeRejected),
        (error(100, None), CodeRejected),
        (error(2500, None), Unreadable("facebook error")),
        (error(i64::MIN, None), Unreadable("facebook error")),
    ] {
        // the HTTP status says nothing
        for status in [200, 400, 401, 403] {
            let told = answer(status, json!({ "error": error }).to_string());
            assert_eq!(redeem(Network::Facebook, [told]).outcome.err(), Some(meaning), "{status} {error}");
        }
        let told = answer(400, json!({ "error": error }).to_string());
        let revoking = match meaning {
            Dead(_) => Ok(()),
            CodeRejected => Err(Unreadable("facebook permissions")),
            other => Err(other),
        };
        assert_eq!(revoke(Network::Facebook, told), revoking, "{error}");
    }
    for (status, meaning) in [(500, Unavailable), (503, Unavailable), (429, Limited(900))] {
        let told = answer(status, json!({ "error": error(190, Some(460)) }).to_string());
        assert_eq!(redeem(Network::Facebook, [told]).outcome.err(), Some(meaning), "{status} says nothing of a grant");
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
    for (field, value) in [
        ("app_id", json!("app-2")),
        ("app_id", Value::Null),
        ("is_valid", json!(false)),
        ("user_id", json!("")),
        ("user_id", json!("1002")),
        ("error", json!({ "code": 190, "message": "dead", "subcode": 460 })),
    ] {
        let mut told = inspection();
        told["data"][field] = value.clone();
        let failure = identify(Network::Facebook, [ok(&told), ok(&me)]).outcome.err();
        let dead = Failure::Dead(Reason::PasswordChanged);
        let refused =
            |failure| if field == "error" { failure == dead } else { matches!(failure, Failure::Unreadable(_)) };
        assert!(failure.is_some_and(refused), "{field}: {value} gave {failure:?}");
    }
}
