use aws_lc_rs::hmac;
use reqwest::StatusCode;
use sandbox::{
    faults::{Fault, Mode},
    networks::Network,
};
use serde_json::{Value, json};

use crate::world::{Answer, CHALLENGE, CLIENT_ID, CLIENT_SECRET, REDIRECT_URI, VERIFIER, World, answer, but, error};

const DIALOG: &str = "/www.facebook.com/v26.0/dialog/oauth";
const TOKEN: &str = "/graph.facebook.com/v26.0/oauth/access_token";
const REQUEST: &[(&str, &str)] = &[
    ("response_type", "code"),
    ("client_id", CLIENT_ID),
    ("redirect_uri", REDIRECT_URI),
    ("scope", "email,pages_show_list"),
    ("state", "a-state"),
];
const LONG: i64 = 5_183_944;

impl World {
    async fn facebook_code(&self, account: &str) -> String {
        let form = [REQUEST, &[("decision", "approve"), ("account", account)]].concat();
        let carried = answer(self.post(DIALOG, &form)).await.carried();
        assert_eq!(carried["state"], "a-state");
        carried["code"].clone()
    }

    async fn facebook_redeems(&self, code: &str, changes: &[(&str, &str)]) -> Answer {
        let query = [
            ("client_id", CLIENT_ID),
            ("client_secret", CLIENT_SECRET),
            ("redirect_uri", REDIRECT_URI),
            ("code", code),
        ];
        answer(self.get(TOKEN, &but(&query, changes))).await
    }

    async fn facebook_extends(&self, token: &str) -> Answer {
        let query = [
            ("grant_type", "fb_exchange_token"),
            ("client_id", CLIENT_ID),
            ("client_secret", CLIENT_SECRET),
            ("fb_exchange_token", token),
        ];
        answer(self.get(TOKEN, &query)).await
    }

    async fn facebook_connects(&self, account: &str) -> String {
        let short = self.facebook_redeems(&self.facebook_code(account).await, &[]).await;
        self.facebook_extends(&short.string("access_token")).await.string("access_token")
    }

    async fn facebook_me(&self, token: &str) -> Answer {
        self.facebook_me_with(&[("access_token", token), ("appsecret_proof", &proof(token))]).await
    }

    async fn facebook_me_with(&self, query: &[(&str, &str)]) -> Answer {
        let query = [&[("fields", "id,name")], query].concat();
        answer(self.get("/graph.facebook.com/v26.0/me", &query)).await
    }

    async fn facebook_debugs(&self, token: &str) -> Answer {
        let app = format!("{CLIENT_ID}|{CLIENT_SECRET}");
        answer(self.get("/graph.facebook.com/v26.0/debug_token", &[("input_token", token), ("access_token", &app)]))
            .await
    }
}

fn proof(message: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, CLIENT_SECRET.as_bytes());
    hex::encode(hmac::sign(&key, message.as_bytes()))
}

#[tokio::test]
async fn the_dialog_shows_who_asks_for_what() {
    let world = World::start().await;
    let page = answer(world.get(DIALOG, REQUEST)).await;
    assert_eq!(page.status, StatusCode::OK);
    for said in ["Facebook", CLIENT_ID, "Alice Meyer", "public_profile", "pages_show_list"] {
        assert!(page.text.contains(said), "{said}");
    }
}

#[tokio::test]
async fn a_denied_dialog_returns_facebooks_four_parameters_and_the_state() {
    let world = World::start().await;
    let form = [REQUEST, &[("decision", "deny")]].concat();
    let carried = answer(world.post(DIALOG, &form)).await.carried();
    let expected = [
        ("error", "access_denied"),
        ("error_code", "200"),
        ("error_description", "Permissions error"),
        ("error_reason", "user_denied"),
        ("state", "a-state"),
    ];
    assert_eq!(carried, expected.map(|(name, value)| (name.into(), value.into())).into());
}

#[tokio::test]
async fn an_app_address_or_scope_that_is_not_known_ends_on_a_page() {
    let world = World::start().await;
    for change in [("client_id", "1"), ("redirect_uri", "https://evil.example/"), ("scope", "world_peace")] {
        let page = answer(world.get(DIALOG, &but(REQUEST, &[change]))).await;
        assert_eq!((page.status, page.location), (StatusCode::BAD_REQUEST, None), "{change:?}");
    }
}

#[tokio::test]
async fn a_short_lived_token_becomes_one_of_sixty_days() {
    let world = World::start().await;
    let short = world.facebook_redeems(&world.facebook_code("alice.meyer").await, &[]).await;
    assert!((3_600..=7_200).contains(&short.json["expires_in"].as_i64().unwrap()), "{short:?}");
    let long = world.facebook_extends(&short.string("access_token")).await;
    assert_eq!((&long.json["expires_in"], &long.json["token_type"]), (&json!(LONG), &json!("bearer")));
    let me = world.facebook_me(&long.string("access_token")).await;
    assert_eq!(me.json, json!({"id": "1001", "name": "Alice Meyer"}));
    let counts = world.faults.counts();
    assert_eq!((counts["facebook/token"], counts["facebook/long_lived_token"]), (1, 1));
}

#[tokio::test]
async fn a_long_lived_token_is_not_extended_by_exchanging_it_again() {
    let world = World::start().await;
    let long = world.facebook_connects("alice.meyer").await;
    world.later(1_000);
    assert_eq!(world.facebook_extends(&long).await.json["expires_in"], LONG - 1_000);
}

#[tokio::test]
async fn two_accounts_get_tokens_that_do_not_say_when_they_expire() {
    let world = World::start().await;
    for (account, said) in [("unknown.expiry", None), ("zero.expiry", Some(&json!(0)))] {
        let short = world.facebook_redeems(&world.facebook_code(account).await, &[]).await;
        let long = world.facebook_extends(&short.string("access_token")).await;
        assert_eq!((short.json.get("expires_in"), long.json.get("expires_in")), (said, said), "{account}");
        let introspection = world.facebook_debugs(&long.string("access_token")).await;
        assert_eq!(introspection.json["data"]["expires_at"], world.now() + LONG, "{account}");
    }
}

#[tokio::test]
async fn pkce_is_dropped_by_the_dialog_and_then_fails_at_the_token_endpoint() {
    let world = World::start().await;
    let pkce = [("code_challenge", CHALLENGE), ("code_challenge_method", "S256")];
    let form = [REQUEST, &pkce, &[("decision", "approve"), ("account", "bob.stone")]].concat();
    let code = answer(world.post(DIALOG, &form)).await.carried()["code"].clone();
    let refused = world.facebook_redeems(&code, &[("code_verifier", VERIFIER)]).await;
    assert_eq!((refused.status, error(&refused)), (StatusCode::BAD_REQUEST, (1, 0)));
    assert_eq!(world.facebook_redeems(&code, &[]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_code_is_refused_for_the_reason_that_facebook_gives() {
    let world = World::start().await;
    let used = world.facebook_code("alice.meyer").await;
    world.facebook_redeems(&used, &[]).await;
    let fresh = world.facebook_code("alice.meyer").await;
    for (code, change, expected) in [
        (&used, ("state", ""), (100, 36_009)),
        (&fresh, ("redirect_uri", "https://app.example/"), (100, 36_008)),
        (&fresh, ("client_secret", "wrong"), (1, 0)),
        (&fresh, ("client_id", "wrong"), (101, 0)),
        (&"made-up".to_owned(), ("state", ""), (100, 0)),
    ] {
        assert_eq!(error(&world.facebook_redeems(code, &[change]).await), expected, "{change:?}");
    }
    world.later(600);
    assert_eq!(error(&world.facebook_redeems(&fresh, &[]).await), (100, 36_007));
}

#[tokio::test]
async fn a_call_without_a_right_proof_is_refused() {
    let world = World::start().await;
    let token = world.facebook_connects("alice.meyer").await;
    let timed = |time: i64| (time.to_string(), proof(&format!("{token}|{time}")));
    let (now, now_proof) = timed(world.now() - 300);
    let (old, old_proof) = timed(world.now() - 301);
    let plain = proof(&token);
    let other = proof("another token");
    let call = [("access_token", token.as_str())];
    for (proof, accepted) in [
        (&[("appsecret_proof", plain.as_str())][..], true),
        (&[("appsecret_proof", &now_proof), ("appsecret_time", &now)], true),
        (&[("appsecret_proof", &old_proof), ("appsecret_time", &old)], false),
        (&[("appsecret_proof", &plain), ("appsecret_time", &now)], false),
        (&[("appsecret_proof", &other)], false),
        (&[("appsecret_proof", "zz")], false),
        (&[], false),
    ] {
        let answer = world.facebook_me_with(&[&call, proof].concat()).await;
        assert_eq!(answer.status == StatusCode::OK, accepted, "{proof:?}");
        assert!(accepted || error(&answer) == (100, 0), "{proof:?}");
    }
}

#[tokio::test]
async fn introspection_tells_both_clocks_and_what_was_granted() {
    let world = World::start().await;
    let consented_at = world.now();
    let token = world.facebook_connects("alice.meyer").await;
    let introspection = world.facebook_debugs(&token).await;
    let expected = json!({
        "app_id": CLIENT_ID,
        "type": "USER",
        "is_valid": true,
        "expires_at": consented_at + LONG,
        "data_access_expires_at": consented_at + 90 * 24 * 3_600,
        "issued_at": consented_at,
        "scopes": ["public_profile", "email", "pages_show_list"],
        "granular_scopes": [{"scope": "public_profile"}, {"scope": "email"}, {"scope": "pages_show_list"}],
        "user_id": "1001",
    });
    assert_eq!(introspection.json["data"], expected);
}

#[tokio::test]
async fn introspection_is_for_the_app_alone_and_knows_an_unknown_token() {
    let world = World::start().await;
    let token = world.facebook_connects("alice.meyer").await;
    let query = [("input_token", token.as_str()), ("access_token", "the-newsroom|guessed")];
    let refused = answer(world.get("/graph.facebook.com/v26.0/debug_token", &query)).await;
    assert_eq!(error(&refused), (190, 0));
    let introspection = world.facebook_debugs("made-up").await;
    assert_eq!((&introspection.json["data"]["is_valid"], introspection.status), (&json!(false), StatusCode::OK));
}

#[tokio::test]
async fn a_dead_token_says_what_it_died_of() {
    for (event, subcode) in [("revoke", 458), ("checkpoint", 459), ("password_changed", 460), ("", 463)] {
        let world = World::start().await;
        let token = world.facebook_connects("alice.meyer").await;
        if event.is_empty() {
            world.later(LONG);
        } else {
            world.happens(Network::Facebook, "alice.meyer", event);
        }
        assert_eq!(error(&world.facebook_me(&token).await), (190, subcode), "{event}");
        assert_eq!(error(&world.facebook_extends(&token).await), (190, subcode), "{event}");
        let introspection = &world.facebook_debugs(&token).await.json["data"];
        let told = (&introspection["is_valid"], &introspection["error"]["code"], &introspection["error"]["subcode"]);
        assert_eq!(told, (&json!(false), &json!(190), &json!(subcode)), "{event}");
    }
}

#[tokio::test]
async fn a_checkpoint_is_over_when_it_is_settled_or_the_person_consents_again() {
    let world = World::start().await;
    let token = world.facebook_connects("alice.meyer").await;
    for settle in [true, false] {
        world.happens(Network::Facebook, "alice.meyer", "checkpoint");
        assert_eq!(error(&world.facebook_me(&token).await), (190, 459));
        if settle {
            world.happens(Network::Facebook, "alice.meyer", "restore");
        } else {
            world.facebook_code("alice.meyer").await;
        }
        assert_eq!(world.facebook_me(&token).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn deleting_the_permissions_ends_every_token_of_that_person_and_of_nobody_else() {
    let world = World::start().await;
    let first = world.facebook_connects("alice.meyer").await;
    let second = world.facebook_connects("alice.meyer").await;
    let bystander = world.facebook_connects("bob.stone").await;
    let query = [("access_token", first.as_str()), ("appsecret_proof", &proof(&first))];
    let others = answer(world.delete("/graph.facebook.com/v26.0/1002/permissions", &query)).await;
    assert_eq!(error(&others), (100, 0));
    let deleted = answer(world.delete("/graph.facebook.com/v26.0/1001/permissions", &query)).await;
    assert_eq!(deleted.json, json!({"success": true}));
    assert_eq!(error(&world.facebook_me(&second).await), (190, 458));
    assert_eq!(world.facebook_me(&bystander).await.status, StatusCode::OK);
    assert!(world.networks.grants("facebook", "alice.meyer").iter().all(|grant| !grant.live));
}

#[tokio::test]
async fn an_app_access_token_may_delete_the_permissions_of_a_token_that_is_lost() {
    let world = World::start().await;
    let token = world.facebook_connects("alice.meyer").await;
    let app = format!("{CLIENT_ID}|{CLIENT_SECRET}");
    let deleted = answer(world.delete("/graph.facebook.com/v26.0/1001/permissions", &[("access_token", &app)])).await;
    assert_eq!(deleted.json, json!({"success": true}));
    assert_eq!(error(&world.facebook_me(&token).await), (190, 458));
}

#[tokio::test]
async fn one_permission_is_taken_back_and_the_tokens_live_on_without_it() {
    let world = World::start().await;
    let token = world.facebook_connects("alice.meyer").await;
    let query = [("access_token", token.as_str()), ("appsecret_proof", &proof(&token))];
    let granted =
        async || answer(world.get("/graph.facebook.com/v26.0/me/permissions", &query)).await.json["data"].clone();
    let status =
        |names: &[&str]| names.iter().map(|name| json!({"permission": name, "status": "granted"})).collect::<Value>();
    assert_eq!(granted().await, status(&["public_profile", "email", "pages_show_list"]));
    let path = "/graph.facebook.com/v26.0/1001/permissions/pages_show_list";
    assert_eq!(answer(world.delete(path, &query)).await.json, json!({"success": true}));
    assert_eq!(granted().await, status(&["public_profile", "email"]));
    assert_eq!(world.facebook_debugs(&token).await.json["data"]["scopes"], json!(["public_profile", "email"]));
    assert_eq!(world.faults.counts()["facebook/permissions"], 3);
}

#[tokio::test]
async fn the_posts_of_a_page_are_read_with_a_fresh_proof_and_the_permission() {
    let world = World::start().await;
    let asking = [REQUEST, &[("decision", "approve"), ("account", "alice.meyer")]].concat();
    let asking = but(&asking, &[("scope", "public_profile,pages_read_engagement")]);
    let code = answer(world.post(DIALOG, &asking)).await.carried()["code"].clone();
    let reader = world.facebook_redeems(&code, &[]).await.string("access_token");
    let stranger = world.facebook_connects("bob.stone").await;
    let posts = async |page: &str, token: &str, time: i64| {
        let (time, proof) = (time.to_string(), proof(&format!("{token}|{time}")));
        let query = [("access_token", token), ("appsecret_proof", &proof), ("appsecret_time", &time)];
        answer(world.get(&format!("/graph.facebook.com/v26.0/{page}/posts"), &query)).await
    };

    let read = posts("2001", &reader, world.now()).await;
    assert_eq!((read.status, read.json["data"].as_array().map(Vec::len)), (StatusCode::OK, Some(2)), "{read:?}");
    assert_eq!(error(&posts("2001", &reader, world.now() - 301).await), (100, 0));
    assert_eq!(error(&posts("2999", &reader, world.now()).await), (100, 33));
    assert_eq!(error(&posts("2001", &stranger, world.now()).await), (10, 0));
    world.happens(Network::Facebook, "alice.meyer", "password_changed");
    assert_eq!(error(&posts("2001", &reader, world.now()).await), (190, 460));
    assert_eq!(world.faults.counts()["facebook/posts"], 5);
}

#[tokio::test]
async fn a_replaced_app_secret_makes_the_proofs_too() {
    let world = World::start().await;
    let token = world.facebook_connects("alice.meyer").await;
    world.networks.rotate_app_secret("facebook", CLIENT_ID, "another-secret".into()).expect("an app that exists");
    assert_eq!(error(&world.facebook_me(&token).await), (100, 0));
    assert_eq!(error(&world.facebook_extends(&token).await), (1, 0));
}

#[tokio::test]
async fn any_graph_version_is_served_and_nothing_that_is_none() {
    let world = World::start().await;
    for (version, status) in
        [("v27.0", StatusCode::OK), ("26.0", StatusCode::BAD_REQUEST), ("v26", StatusCode::BAD_REQUEST)]
    {
        let page = answer(world.get(&format!("/www.facebook.com/{version}/dialog/oauth"), REQUEST)).await;
        assert_eq!(page.status, status, "{version}");
    }
}

#[tokio::test]
async fn a_throttled_call_is_told_so_as_facebook_does() {
    let world = World::start().await;
    world.faults.put(Fault::once("facebook/me", Mode::Throttle));
    assert_eq!(error(&world.facebook_me("whatever").await), (4, 0));
}
