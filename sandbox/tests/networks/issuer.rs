use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, jwk::JwkSet};
use sandbox::issuer::{AUDIENCE, PEOPLE};
use serde_json::{Value, json};

use crate::world::{World, answer};

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
