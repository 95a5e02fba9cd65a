//! Every test hands a gateway event to [`Authorizer::invoke`] and reads the JSON that comes back,
//! against an issuer on loopback whose clock, keys and health the test decides.

mod keys;
mod world;

use aws_lc_rs::signature::{RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding};
use serde_json::{Value, json};

use self::world::{AUDIENCE, NOW, SigningKey, World, event, unsigned};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;

#[tokio::test]
async fn a_good_token_says_who_is_calling() {
    let world = World::start().await;
    let answer = world.ask(&world.token(&json!({}))).await;
    let context = json!({
        "tenant": "acme",
        "sub": "alice",
        "email": "alice@acme.example",
        "roles": "manager power_analyst",
        "groups": "[]",
        "scope": "tokenward",
        "iat": NOW.to_string(),
        "exp": (NOW + HOUR).to_string(),
    });
    assert_eq!(answer, json!({ "isAuthorized": true, "context": context }));
}

// S38
#[tokio::test]
async fn a_claim_that_is_not_right_is_refused() {
    let world = World::start().await;
    let elsewhere = format!("{}/", world.issuer.url);
    for (what, claims) in [
        ("another issuer", json!({ "iss": "https://evil.example" })),
        ("nearly the issuer", json!({ "iss": elsewhere })),
        ("several issuers", json!({ "iss": [world.issuer.url] })),
        ("no issuer", json!({ "iss": null })),
        ("another audience", json!({ "aud": "billing" })),
        ("other audiences", json!({ "aud": ["billing", "tokenward-admin"] })),
        ("no audience", json!({ "aud": null })),
        ("an audience that is no text", json!({ "aud": { "tokenward": true } })),
        ("expired at this very second", json!({ "exp": NOW })),
        ("expired", json!({ "exp": NOW - 1 })),
        ("no expiry", json!({ "exp": null })),
        ("an expiry that is text", json!({ "exp": (NOW + HOUR).to_string() })),
        ("not valid yet", json!({ "nbf": NOW + MINUTE + 1 })),
        ("issued in the future", json!({ "iat": NOW + MINUTE + 1 })),
        ("no time of issue", json!({ "iat": null })),
        ("no subject", json!({ "sub": null })),
        ("an empty subject", json!({ "sub": "" })),
        ("an endless subject", json!({ "sub": "a".repeat(256) })),
    ] {
        world.refuses(&world.token(&claims), what).await;
    }
}

// S38
#[tokio::test]
async fn a_claim_within_its_bounds_is_accepted() {
    let world = World::start().await;
    for (what, claims) in [
        ("one second left", json!({ "exp": NOW + 1 })),
        ("an issuer's clock that is a minute ahead", json!({ "nbf": NOW + MINUTE, "iat": NOW + MINUTE })),
        ("no nbf", json!({ "nbf": null })),
        ("several audiences, ours among them", json!({ "aud": ["billing", AUDIENCE] })),
        ("the longest subject", json!({ "sub": "a".repeat(255) })),
        ("no token_use, but a scope", json!({ "token_use": null })),
        ("no scope, but token_use", json!({ "scope": null })),
        ("as Cognito writes it", json!({ "aud": null, "client_id": AUDIENCE })),
        (
            "a scope of ours, as Cognito writes it",
            json!({ "aud": null, "client_id": "c", "scope": "openid tokenward/profiles" }),
        ),
    ] {
        world.accepts(&world.token(&claims), what).await;
    }
}

// S38
#[tokio::test]
async fn a_client_id_or_a_scope_stands_in_for_the_audience_only_as_cognito_writes_it() {
    let world = World::start().await;
    for (what, claims) in [
        ("another client", json!({ "aud": null, "client_id": "billing" })),
        ("no token_use", json!({ "aud": null, "client_id": AUDIENCE, "token_use": null })),
        ("an audience that is not ours beside it", json!({ "aud": "billing", "client_id": AUDIENCE })),
        ("the scope of another API", json!({ "aud": null, "scope": "billing/leases" })),
        ("the scope of an API with a similar name", json!({ "aud": null, "scope": "tokenward-admin/leases" })),
        ("a scope that is our name alone", json!({ "aud": null, "scope": "tokenward" })),
        ("our scope without token_use", json!({ "aud": null, "scope": "tokenward/leases", "token_use": null })),
        ("an audience that is not ours beside our scope", json!({ "aud": "billing", "scope": "tokenward/leases" })),
    ] {
        world.refuses(&world.token(&claims), what).await;
    }
}

// S32
#[tokio::test]
async fn an_id_token_opens_nothing() {
    let world = World::start().await;
    for (what, claims) in [
        ("as Cognito writes it", json!({ "token_use": "id" })),
        ("with a nonce", json!({ "token_use": null, "nonce": "n" })),
        ("with at_hash", json!({ "token_use": null, "at_hash": "h" })),
        ("with c_hash", json!({ "token_use": null, "c_hash": "h" })),
        ("without a scope", json!({ "token_use": null, "scope": null })),
        ("a token_use nobody knows", json!({ "token_use": ["access"] })),
    ] {
        world.refuses(&world.token(&claims), what).await;
    }
    let typed = world.header(&json!({ "typ": "at+jwt" }));
    let claims = world.claims(&json!({ "token_use": "id" }));
    world.refuses(&world.key.sign(&typed, &claims), "an ID token that is typed as an access token").await;
}

// S38
#[tokio::test]
async fn a_header_decides_nothing_that_the_key_should() {
    let world = World::start().await;
    let claims = world.claims(&json!({}));
    for (what, header) in [
        ("the algorithm of another kind of key", json!({ "alg": "ES256" })),
        ("an unknown algorithm", json!({ "alg": "RS257" })),
        ("no algorithm", json!({ "alg": null })),
        ("no kid", json!({ "kid": null })),
        ("a kid that is no text", json!({ "kid": 1 })),
        ("another type", json!({ "typ": "logout+jwt" })),
        ("a critical extension", json!({ "crit": ["b64"], "b64": false })),
    ] {
        world.refuses(&world.key.sign(&world.header(&header), &claims), what).await;
    }
    for (what, header) in [
        ("the type of RFC 9068", json!({ "typ": "at+jwt" })),
        ("its long form", json!({ "typ": "application/at+JWT" })),
        ("no type", json!({ "typ": null })),
        ("a key of its own, which is not looked at", json!({ "jku": "https://evil.example/jwks" })),
    ] {
        world.accepts(&world.key.sign(&world.header(&header), &claims), what).await;
    }
}

// S38
#[tokio::test]
async fn the_key_verifies_by_its_own_algorithm_alone() {
    let world = World::start().await;
    let algorithms: [(&str, &'static dyn RsaEncoding); 3] =
        [("RS384", &RSA_PKCS1_SHA384), ("RS512", &RSA_PKCS1_SHA512), ("PS256", &RSA_PSS_SHA256)];
    for (alg, algorithm) in algorithms {
        let header = world.header(&json!({ "alg": alg }));
        world.refuses(&world.key.sign_by(algorithm, &header, &world.claims(&json!({}))), alg).await;
    }
}

// S38
#[tokio::test]
async fn an_unsigned_token_is_refused() {
    let world = World::start().await;
    let claims = world.claims(&json!({}));
    for alg in ["none", "None", "NONE", "RS256"] {
        let token = unsigned(&world.header(&json!({ "alg": alg })), &claims);
        world.refuses(&format!("{token}."), alg).await;
        world.refuses(&token, alg).await;
    }
}

// S38
#[tokio::test]
async fn a_token_signed_with_the_public_key_as_a_secret_is_refused() {
    let world = World::start().await;
    let token = unsigned(&world.header(&json!({ "alg": "HS256" })), &world.claims(&json!({})));
    for (what, secret) in
        [("PEM", world.key.public_pem().into_bytes()), ("DER", world.key.public_der()), ("PKCS#1", world.key.pkcs1())]
    {
        world.refuses(&world::hs256(&token, &secret), what).await;
    }
}

// S38
#[tokio::test]
async fn a_secret_key_or_an_encryption_key_in_the_key_set_verifies_nothing() {
    let world = World::start().await;
    let mut encryption = SigningKey::other("encryption");
    encryption.jwk["use"] = json!("enc");
    let mut signing_only = SigningKey::third("signing-only");
    signing_only.jwk["key_ops"] = json!(["sign"]);
    let mut other_algorithm = SigningKey::third("other-algorithm");
    other_algorithm.jwk["alg"] = json!("RSA-OAEP");
    let secret = json!({ "kty": "oct", "kid": "secret", "alg": "HS256", "k": "c2VjcmV0" });
    let odd = json!({ "kty": "unheard-of", "kid": 7 });
    world.issuer.publishes([&secret, &odd, &encryption.jwk, &signing_only.jwk, &other_algorithm.jwk, &world.key.jwk]);
    let claims = world.claims(&json!({}));
    let unsigned = unsigned(&json!({ "alg": "HS256", "kid": "secret" }), &claims);
    world.refuses(&world::hs256(&unsigned, b"secret"), "a shared secret").await;
    for key in [encryption, signing_only, other_algorithm] {
        world.refuses(&key.sign(&json!({ "alg": "RS256", "kid": key.kid }), &claims), key.kid).await;
    }
    world.accepts(&world.token(&json!({})), "the good key among the odd ones").await;
}

#[tokio::test]
async fn a_token_of_an_elliptic_curve_key_is_accepted() {
    let world = World::start().await;
    let key = world::EllipticKey::new("ec");
    world.issuer.publishes([&key.jwk()]);
    let claims = world.claims(&json!({}));
    world.accepts(&key.sign(&json!({ "alg": "ES256", "kid": "ec" }), &claims), "ES256").await;
    world.refuses(&key.sign(&json!({ "alg": "RS256", "kid": "ec" }), &claims), "ES256 that says RS256").await;
}

// S38
#[tokio::test]
async fn what_was_changed_after_signing_is_refused() {
    let world = World::start().await;
    let token = world.token(&json!({}));
    let [header, claims, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let promoted = world::encode(&world.claims(&json!({ "roles": ["administrator"] })));
    let same_kid = SigningKey::other("one").sign(&world.header(&json!({})), &world.claims(&json!({})));
    for changed in [
        format!("{header}.{promoted}.{signature}"),
        format!("{header}.{claims}."),
        format!("{header}.{claims}"),
        format!("{header}.{claims}.{signature}.{signature}"),
        format!("{header}.{claims}.{signature}="),
        same_kid,
    ] {
        world.refuses(&changed, &changed).await;
    }
}

// S38a
#[tokio::test]
async fn a_tenant_that_could_reach_into_other_keys_is_refused() {
    let world = World::start().await;
    for tenant in [
        json!(null),
        json!(""),
        json!("acme#P#x"),
        json!("T#globex"),
        json!("acme globex"),
        json!("acme\n"),
        json!("../globex"),
        json!("äcme"),
        json!("a".repeat(65)),
        json!(["acme"]),
        json!(7),
    ] {
        world.refuses(&world.token(&json!({ "tenant": tenant })), &tenant.to_string()).await;
    }
    for tenant in ["a", "Acme_2-x", &"a".repeat(64)] {
        world.accepts(&world.token(&json!({ "tenant": tenant })), tenant).await;
    }
}

#[tokio::test]
async fn roles_come_from_the_known_ones_alone() {
    let world = World::start().await;
    for (claims, roles) in [
        (json!({ "roles": ["administrator", "manager"] }), "manager administrator"),
        (json!({ "roles": "responder analyst responder" }), "responder analyst"),
        (json!({ "roles": ["root", "reader administrator", "Manager", 7, "analyst"] }), "analyst"),
        (json!({ "roles": ["root"] }), ""),
        (json!({ "roles": [] }), ""),
        (json!({ "roles": null }), "reader analyst"),
        (json!({ "roles": null, "scope": "leases" }), ""),
        (json!({ "roles": null, "scope": "leases_of_life" }), "reader analyst"),
        (json!({ "roles": ["reader"], "scope": "leases" }), "reader"),
    ] {
        let answer = world.ask(&world.token(&claims)).await;
        assert_eq!(answer["context"]["roles"], roles, "{claims}");
    }
}

#[tokio::test]
async fn groups_are_handed_on_whatever_stands_in_their_names() {
    let world = World::start().await;
    for (groups, handed_on) in [
        (json!(null), json!([])),
        (json!([]), json!([])),
        (json!("newsroom desk"), json!(["desk", "newsroom"])),
        (json!(["service desk", "a\"b,[]\\", "Grüße", "service desk"]), json!(["Grüße", "a\"b,[]\\", "service desk"])),
        (json!(["", "line\nbreak", "g".repeat(256), 7, null, ["x"], "kept"]), json!(["kept"])),
        (json!({ "name": "x" }), json!([])),
    ] {
        let answer = world.ask(&world.token(&json!({ "groups": groups }))).await;
        let text = answer["context"]["groups"].as_str().unwrap();
        assert_eq!(serde_json::from_str::<Value>(text).unwrap(), handed_on, "{groups}");
    }
}

#[tokio::test]
async fn an_address_that_could_break_a_mail_is_left_out() {
    let world = World::start().await;
    for email in [json!(null), json!("a@acme.example\r\nBcc: b@evil.example"), json!("a".repeat(255)), json!(["a@b"])] {
        let answer = world.ask(&world.token(&json!({ "email": email }))).await;
        assert_eq!(answer["context"]["email"], "", "{email}");
    }
}

#[tokio::test]
async fn the_token_is_what_the_gateway_keeps_the_answer_under() {
    let world = World::start().await;
    let good = format!("Bearer {}", world.token(&json!({})));
    for (authorized, event) in [
        (true, json!({ "identitySource": [good] })),
        (true, json!({ "identitySource": [good], "headers": { "authorization": "Bearer another" } })),
        (false, json!({ "identitySource": ["Bearer another"], "headers": { "authorization": good } })),
        (true, json!({ "identitySource": null, "headers": { "AUTHORIZATION": good } })),
        (true, json!({ "headers": { "Authorization": good.replacen("Bearer ", "bEARER  ", 1) } })),
        (false, json!({ "headers": { "Authorization": good, "authorization": good } })),
        (false, json!({ "headers": { "authorization": good.replacen("Bearer ", "", 1) } })),
        (false, json!({ "headers": { "authorization": good.replacen("Bearer", "Basic", 1) } })),
        (false, json!({ "headers": { "authorization": format!("{good},{good}") } })),
        (false, json!({ "headers": { "authorization": "Bearer" } })),
        (false, json!({ "headers": { "authorization": "Bearer " } })),
        (false, json!({ "headers": { "x-authorization": good } })),
        (false, json!({ "headers": null, "identitySource": [] })),
        (false, json!({})),
    ] {
        let answer = world.authorizer.invoke(event.clone()).await.unwrap();
        assert_eq!(answer["isAuthorized"], authorized, "{event}");
    }
    let long = world.token(&json!({ "pad": "a".repeat(8 * 1024) }));
    world.refuses(&long, "longer than 8 KB").await;
}

#[tokio::test]
async fn what_is_no_event_of_the_gateway_is_an_error_that_repeats_nothing_of_it() {
    let world = World::start().await;
    for event in [json!("Bearer canary"), json!({ "headers": "Bearer canary" }), json!({ "identitySource": "canary" })]
    {
        let error = world.authorizer.invoke(event).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
}

// S38
#[tokio::test]
async fn the_answer_is_the_same_for_every_route() {
    let world = World::start().await;
    let token = world.token(&json!({}));
    let first = world.ask(&token).await;
    for (method, path) in [("GET", "/v1/profiles"), ("DELETE", "/v1/profiles/x"), ("POST", "/v1/connect-sessions")] {
        let mut event = event(&token);
        event["routeKey"] = json!(format!("{method} {path}"));
        event["routeArn"] = json!(format!("arn:aws:execute-api:eu-west-1:123456789012:abc/$default/{method}{path}"));
        event["rawPath"] = json!(path);
        event["requestContext"]["http"] = json!({ "method": method, "path": path });
        event["headers"]["x-forwarded-for"] = json!("192.0.2.1");
        assert_eq!(world.authorizer.invoke(event).await.unwrap(), first, "{method} {path}");
    }
}

// S38
#[tokio::test]
async fn the_clock_that_is_handed_in_decides_when_a_token_ends() {
    let world = World::start().await;
    let token = world.token(&json!({}));
    world.accepts(&token, "fresh").await;
    world.later(HOUR - 1);
    world.accepts(&token, "in its last second").await;
    world.later(1);
    world.refuses(&token, "at exp").await;
}

// S42
#[tokio::test]
async fn a_refusal_is_one_log_line_without_the_token_whatever_the_kid_says() {
    let world = World::start().await;
    let kid = format!("one\r\n{{\"level\":\"INFO\",\"message\":\"all is well\"}}\u{2028}{}", "k".repeat(500));
    let forged = world.key.sign(&json!({ "alg": "RS256", "kid": kid }), &world.claims(&json!({})));
    world.refuses(&forged, "a forged kid").await;
    world.refuses("canary", "no token at all").await;
    world.accepts(&world.token(&json!({})), "what is accepted is not logged").await;
    let written = world.log();
    let lines: Vec<&str> = written.lines().collect();
    assert_eq!(lines.len(), 2, "{written}");
    for line in &lines {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["level"], "WARN");
        assert!(line["fields"]["kid"].as_str().unwrap().len() < 200);
    }
    assert!(lines[0].contains("the issuer has no such key"));
    assert!(!written.contains('\u{2028}') && !written.contains("canary"));
    assert!(forged.split('.').all(|part| !written.contains(part)));
}
