use std::collections::BTreeMap;

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, jwk::JwkSet};
use reqwest::StatusCode;
use sandbox::issuer::{AUDIENCE, PEOPLE};
use serde_json::{Value, json};

use crate::world::{Answer, CHALLENGE, CONSOLE_URL, VERIFIER, World, answer, but};

impl World {
    async fn jwks(&self) -> JwkSet {
        serde_json::from_value(answer(self.get("/issuer/jwks", &[])).await.json).expect("a key set")
    }
}

/// The claims, if one of `keys` signed the token.
fn claims(token: &str, keys: &JwkSet) -> Option<Value> {
    let kid = decode_header(token).ok()?.kid?;
    let mut rules = Validation::new(Algorithm::RS256);
    rules.validate_aud = false;
    rules.validate_exp = false;
    rules.required_spec_claims.clear();
    let key = DecodingKey::from_jwk(keys.find(&kid)?).ok()?;
    Some(decode(token, &key, &rules).ok()?.claims)
}

#[tokio::test]
async fn discovery_leads_to_the_keys_that_sign() {
    let world = World::start().await;
    let discovery = answer(world.get("/issuer/.well-known/openid-configuration", &[])).await;
    assert_eq!(discovery.string("issuer"), world.networks.issuer().url());
    assert_eq!(discovery.string("jwks_uri"), format!("{}/jwks", world.networks.issuer().url()));
    assert_eq!(world.faults.counts()["issuer/openid-configuration"], 1);
}

#[tokio::test]
async fn a_persons_access_token_says_who_where_and_what() {
    let world = World::start().await;
    let token = world.networks.issuer().sign_in("alice").unwrap();
    let mut claims = claims(&token, &world.jwks().await).expect("a good signature");
    assert!(claims["jti"].as_str().is_some_and(|jti| jti.len() >= 20));
    claims["jti"].take();
    let expected = json!({
        "iss": world.networks.issuer().url(),
        "sub": "alice",
        "aud": AUDIENCE,
        "client_id": "tokenward-sandbox",
        "token_use": "access",
        "scope": "tokenward",
        "email": "alice@acme.example",
        "roles": ["manager", "power_analyst"],
        "groups": ["newsroom"],
        "tenant": "acme",
        "iat": world.now(),
        "nbf": world.now(),
        "exp": world.now() + 3_600,
        "jti": null,
    });
    assert_eq!(claims, expected);
}

#[tokio::test]
async fn workers_have_the_lease_scope_and_no_roles_and_strangers_nothing() {
    let world = World::start().await;
    let keys = world.jwks().await;
    for worker in ["acme-worker", "globex-worker"] {
        let claims = claims(&world.networks.issuer().sign_in(worker).unwrap(), &keys).unwrap();
        assert_eq!((&claims["scope"], &claims["roles"]), (&json!("leases"), &json!([])));
    }
    assert_eq!(world.networks.issuer().sign_in("mallory"), None);
    assert_eq!(world.networks.issuer().id_token("mallory"), None);
}

#[test]
fn everybody_has_the_address_that_the_name_and_the_tenant_suggest() {
    for person in PEOPLE {
        assert_eq!(person.email, format!("{}@{}.example", person.name, person.tenant));
    }
}

#[tokio::test]
async fn an_id_token_is_for_the_client_and_says_so() {
    let world = World::start().await;
    let claims = claims(&world.networks.issuer().id_token("erin").unwrap(), &world.jwks().await).unwrap();
    assert_eq!((&claims["aud"], &claims["token_use"]), (&json!("tokenward-sandbox"), &json!("id")));
}

#[tokio::test]
async fn a_rotated_key_serves_until_it_is_retired() {
    let world = World::start().await;
    let issuer = world.networks.issuer();
    let before = issuer.sign(json!({"sub": "before"}));
    issuer.rotate();
    let after = issuer.sign(json!({"sub": "after"}));
    let keys = world.jwks().await;
    assert!(claims(&before, &keys).is_some() && claims(&after, &keys).is_some());
    issuer.retire_old();
    let keys = world.jwks().await;
    assert!(claims(&before, &keys).is_none() && claims(&after, &keys).is_some());
}

#[tokio::test]
async fn a_token_from_before_a_restart_is_still_good() {
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("issuer-restart");
    let token = World::start_at(&dir).await.networks.issuer().sign(json!({"sub": "alice"}));
    assert!(claims(&token, &World::start_at(&dir).await.jwks().await).is_some());
}

/// The way of a browser and of the console's script through a sign-in: an authorization request that is in order.
const ASKED: [(&str, &str); 8] = [
    ("client_id", "tokenward-console"),
    ("redirect_uri", CONSOLE_URL),
    ("response_type", "code"),
    ("scope", "openid"),
    ("state", "a-state"),
    ("nonce", "a-nonce"),
    ("code_challenge", CHALLENGE),
    ("code_challenge_method", "S256"),
];

fn redemption(code: &str) -> [(&str, &str); 5] {
    [
        ("grant_type", "authorization_code"),
        ("client_id", "tokenward-console"),
        ("redirect_uri", CONSOLE_URL),
        ("code", code),
        ("code_verifier", VERIFIER),
    ]
}

/// What the browser carries back to the console.
fn carried(answer: &Answer) -> BTreeMap<String, String> {
    let location = answer.location.as_ref().unwrap_or_else(|| panic!("{answer:?} leads nowhere"));
    assert!(location.as_str().starts_with(CONSOLE_URL), "{location}");
    location.query_pairs().into_owned().collect()
}

#[tokio::test]
async fn a_person_signs_in_once_and_silently_afterwards_until_the_session_is_ended() {
    let world = World::start().await;
    let quietly = but(&ASKED, &[("prompt", "none")]);
    let asked = answer(world.get("/issuer/authorize", &quietly)).await;
    assert_eq!(carried(&asked)["error"], "login_required");
    let asked = answer(world.get("/issuer/authorize", &ASKED)).await;
    assert!(asked.text.contains("Who are you?") && !asked.text.contains("acme-worker"), "{}", asked.text);

    let signed_in = answer(world.post("/issuer/authorize", &but(&ASKED, &[("person", "alice")]))).await;
    let back = carried(&signed_in);
    assert_eq!((&*back["state"], &*back["iss"]), ("a-state", world.networks.issuer().url()));
    let cookie = signed_in.headers["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");

    let tokens = answer(world.post("/issuer/token", &redemption(&back["code"]))).await;
    assert_eq!(tokens.headers["access-control-allow-origin"], "*");
    let keys = world.jwks().await;
    let access = claims(&tokens.string("access_token"), &keys).unwrap();
    assert_eq!((&access["sub"], &access["aud"]), (&json!("alice"), &json!(AUDIENCE)));
    let id = claims(&tokens.string("id_token"), &keys).unwrap();
    assert_eq!((&id["aud"], &id["nonce"]), (&json!("tokenward-console"), &json!("a-nonce")));

    let session = cookie.split(';').next().unwrap();
    let again = answer(world.get("/issuer/authorize", &quietly).header("cookie", session)).await;
    assert!(carried(&again).contains_key("code"), "{again:?}");
    let ended = [("post_logout_redirect_uri", CONSOLE_URL)];
    let over = answer(world.get("/issuer/end-session", &ended).header("cookie", session)).await;
    assert_eq!(over.location.unwrap().as_str(), CONSOLE_URL);
    let asked = answer(world.get("/issuer/authorize", &quietly).header("cookie", session)).await;
    assert_eq!(carried(&asked)["error"], "login_required");
}

#[tokio::test]
async fn a_browser_is_sent_to_the_registered_address_alone_and_a_code_needs_its_verifier_and_is_good_once() {
    let world = World::start().await;
    for (name, value) in [("redirect_uri", "https://evil.example/"), ("client_id", "somebody")] {
        let asked = answer(world.get("/issuer/authorize", &but(&ASKED, &[(name, value)]))).await;
        assert_eq!((asked.status, asked.location), (StatusCode::BAD_REQUEST, None), "{name}");
    }
    for (name, value, error) in [
        ("response_type", "token", "unsupported_response_type"),
        ("scope", "email", "invalid_scope"),
        ("code_challenge_method", "plain", "invalid_request"),
    ] {
        let asked = answer(world.get("/issuer/authorize", &but(&ASKED, &[(name, value)]))).await;
        assert_eq!(carried(&asked)["error"], error, "{name}");
    }
    let code = async || {
        carried(&answer(world.post("/issuer/authorize", &but(&ASKED, &[("person", "alice")]))).await)["code"].clone()
    };
    for (name, value, error) in [
        ("code_verifier", "another", "invalid_grant"),
        ("redirect_uri", "https://app.example/", "invalid_grant"),
        ("client_id", "somebody", "invalid_client"),
        ("grant_type", "password", "unsupported_grant_type"),
    ] {
        let code = code().await;
        let refused = answer(world.post("/issuer/token", &but(&redemption(&code), &[(name, value)]))).await;
        assert_eq!((refused.status, refused.string("error")), (StatusCode::BAD_REQUEST, error.to_owned()), "{name}");
    }
    let (once, late) = (code().await, code().await);
    assert_eq!(answer(world.post("/issuer/token", &redemption(&once))).await.status, StatusCode::OK);
    world.later(60);
    for code in [once, late] {
        assert_eq!(answer(world.post("/issuer/token", &redemption(&code))).await.string("error"), "invalid_grant");
    }
}
