use reqwest::StatusCode;
use sandbox::{
    faults::{Fault, Mode},
    networks::Network,
};
use serde_json::{Value, json};

use crate::world::{Answer, CHALLENGE, CLIENT_ID, CLIENT_SECRET, REDIRECT_URI, VERIFIER, World, answer, but};

const AUTHORIZE: &str = "/x.com/i/oauth2/authorize";
const REQUEST: &[(&str, &str)] = &[
    ("response_type", "code"),
    ("client_id", CLIENT_ID),
    ("redirect_uri", REDIRECT_URI),
    ("scope", "tweet.read users.read dm.read offline.access"),
    ("state", "a state & more"),
    ("code_challenge", CHALLENGE),
    ("code_challenge_method", "S256"),
];

impl World {
    async fn x_asks(&self, changes: &[(&str, &str)]) -> Answer {
        answer(self.get(AUTHORIZE, &but(REQUEST, changes))).await
    }

    async fn x_decides(&self, changes: &[(&str, &str)], decision: &[(&str, &str)]) -> Answer {
        let form = [but(REQUEST, changes), decision.to_vec()].concat();
        answer(self.post(AUTHORIZE, &form)).await
    }

    async fn x_code(&self) -> String {
        self.x_decides(&[], APPROVE).await.carried()["code"].clone()
    }

    async fn x_redeems(&self, code: &str, changes: &[(&str, &str)]) -> Answer {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", VERIFIER),
        ];
        self.x_token(&but(&form, changes)).await
    }

    async fn x_connects(&self) -> Answer {
        let answer = self.x_redeems(&self.x_code().await, &[]).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer
    }

    async fn x_refreshes(&self, refresh_token: &str) -> Answer {
        self.x_token(&[("grant_type", "refresh_token"), ("refresh_token", refresh_token)]).await
    }

    async fn x_token(&self, form: &[(&str, &str)]) -> Answer {
        answer(self.post("/api.x.com/2/oauth2/token", form).basic_auth(CLIENT_ID, Some(CLIENT_SECRET))).await
    }

    async fn x_me(&self, access_token: &str) -> Answer {
        answer(self.get("/api.x.com/2/users/me", &[]).bearer_auth(access_token)).await
    }

    async fn x_posts(&self, access_token: &str, post: &Value) -> Answer {
        answer(self.post_json("/api.x.com/2/tweets", post).bearer_auth(access_token)).await
    }

    fn x_grant_lives(&self) -> bool {
        self.networks.grants("x", "newsdesk").last().expect("a grant").live
    }
}

const APPROVE: &[(&str, &str)] = &[("decision", "approve"), ("account", "newsdesk")];

fn spent() -> Value {
    json!({"error": "invalid_request", "error_description": "Value passed for the token was invalid."})
}

#[tokio::test]
async fn the_consent_page_asks_a_person_and_grants_nothing_yet() {
    let world = World::start().await;
    let page = world.x_asks(&[]).await;
    assert_eq!(page.status, StatusCode::OK);
    for said in ["Sandbox", CLIENT_ID, "News Desk", "Read your direct messages", "a state &amp; more"] {
        assert!(page.text.contains(said), "{said}");
    }
    assert!(!page.text.contains("Send direct messages"), "that was not asked for");
    assert_eq!(world.networks.grants("x", "newsdesk"), []);
}

#[tokio::test]
async fn an_address_that_is_not_registered_is_never_redirected_to() {
    let world = World::start().await;
    for change in [
        ("client_id", "somebody-else"),
        ("redirect_uri", "https://evil.example/oauth/callback"),
        ("redirect_uri", "https://app.example/oauth/callback/"),
        ("redirect_uri", ""),
    ] {
        let page = world.x_asks(&[change]).await;
        assert_eq!((page.status, page.location), (StatusCode::BAD_REQUEST, None), "{change:?}");
    }
}

#[tokio::test]
async fn a_faulty_request_goes_back_to_the_app_with_an_error() {
    let world = World::start().await;
    let long = "s".repeat(501);
    for (change, error) in [
        (("response_type", "token"), "unsupported_response_type"),
        (("code_challenge", ""), "invalid_request"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("state", ""), "invalid_request"),
        (("state", long.as_str()), "invalid_request"),
        (("scope", "tweet.read world.peace"), "invalid_scope"),
        (("scope", ""), "invalid_scope"),
    ] {
        let back = world.x_asks(&[change]).await;
        assert_eq!((back.status, back.carried()["error"].as_str()), (StatusCode::SEE_OTHER, error), "{change:?}");
    }
}

#[tokio::test]
async fn whoever_denies_returns_with_the_state_and_no_code() {
    let world = World::start().await;
    let carried = world.x_decides(&[], &[("decision", "deny")]).await.carried();
    assert_eq!(
        carried,
        [("error", "access_denied"), ("state", "a state & more")].map(|(k, v)| (k.into(), v.into())).into()
    );
}

#[tokio::test]
async fn a_stranger_or_a_scope_that_was_not_asked_for_gets_no_code() {
    let world = World::start().await;
    for decision in [
        &[("decision", "approve"), ("account", "nobody")][..],
        &[("decision", "approve")],
        &[("decision", "perhaps"), ("account", "newsdesk")],
        &[("decision", "approve"), ("account", "newsdesk"), ("asked", "tweet.read"), ("scope", "dm.write")],
    ] {
        let page = world.x_decides(&[], decision).await;
        assert_eq!((page.status, page.location), (StatusCode::BAD_REQUEST, None), "{decision:?}");
    }
    assert_eq!(world.networks.grants("x", "newsdesk"), []);
}

#[tokio::test]
async fn a_code_and_its_verifier_become_tokens_and_a_name() {
    let world = World::start().await;
    let tokens = world.x_connects().await;
    assert_eq!((&tokens.json["token_type"], &tokens.json["expires_in"]), (&json!("bearer"), &json!(7200)));
    assert_eq!(tokens.json["scope"], "tweet.read users.read dm.read offline.access");
    let me = world.x_me(&tokens.string("access_token")).await;
    assert_eq!(me.json, json!({"data": {"id": "42", "name": "News Desk", "username": "newsdesk"}}));
    assert_eq!(world.faults.counts()["x/token"], 1);
}

#[tokio::test]
async fn only_what_was_granted_is_in_the_scope() {
    let world = World::start().await;
    let decision =
        [APPROVE, &[("asked", "tweet.read users.read dm.read offline.access"), ("scope", "dm.read")]].concat();
    let back = world.x_decides(&[("scope", "")], &decision).await.carried();
    let tokens = world.x_redeems(&back["code"], &[]).await;
    assert_eq!(tokens.json["scope"], "tweet.read users.read dm.read");
    assert_eq!(tokens.json.get("refresh_token"), None, "there is none without offline.access");
}

#[tokio::test]
async fn a_code_lives_thirty_seconds() {
    let world = World::start().await;
    let (early, late) = (world.x_code().await, world.x_code().await);
    world.later(29);
    assert_eq!(world.x_redeems(&early, &[]).await.status, StatusCode::OK);
    world.later(1);
    assert_eq!(world.x_redeems(&late, &[]).await.json["error"], "invalid_request");
}

#[tokio::test]
async fn a_code_that_is_presented_twice_takes_its_tokens_back() {
    let world = World::start().await;
    let code = world.x_code().await;
    let tokens = world.x_redeems(&code, &[]).await;
    assert_eq!(world.x_redeems(&code, &[]).await.json["error"], "invalid_request");
    assert_eq!(world.x_me(&tokens.string("access_token")).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(world.x_refreshes(&tokens.string("refresh_token")).await.json, spent());
}

#[tokio::test]
async fn a_code_is_worth_nothing_with_another_verifier_or_address() {
    let world = World::start().await;
    let code = world.x_code().await;
    for change in [("code_verifier", CHALLENGE), ("code_verifier", ""), ("redirect_uri", "https://app.example/")] {
        let refused = world.x_redeems(&code, &[change]).await;
        assert_eq!((refused.status, &refused.json["error"]), (StatusCode::BAD_REQUEST, &json!("invalid_request")));
    }
}

#[tokio::test]
async fn a_wrong_client_secret_is_the_operators_problem_and_harms_no_grant() {
    let world = World::start().await;
    let tokens = world.x_connects().await;
    let refresh_token = tokens.string("refresh_token");
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token.as_str())];
    for request in [
        world.post("/api.x.com/2/oauth2/token", &form).basic_auth(CLIENT_ID, Some("wrong")),
        world.post("/api.x.com/2/oauth2/token", &form),
    ] {
        let refused = answer(request).await;
        let said = json!({"error": "unauthorized_client", "error_description": "Missing valid authorization header"});
        assert_eq!((refused.status, refused.json), (StatusCode::UNAUTHORIZED, said));
    }
    assert_eq!(world.x_refreshes(&refresh_token).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_refresh_token_is_replaced_at_every_use() {
    let world = World::start().await;
    let first = world.x_connects().await;
    world.later(7200);
    assert_eq!(world.x_me(&first.string("access_token")).await.status, StatusCode::UNAUTHORIZED, "it has expired");
    let second = world.x_refreshes(&first.string("refresh_token")).await;
    assert_ne!(second.string("refresh_token"), first.string("refresh_token"));
    assert_eq!(world.x_me(&second.string("access_token")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_replayed_refresh_token_kills_the_whole_family() {
    let world = World::start().await;
    let first = world.x_connects().await.string("refresh_token");
    let second = world.x_refreshes(&first).await;
    let replayed = world.x_refreshes(&first).await;
    assert_eq!((replayed.status, replayed.json), (StatusCode::BAD_REQUEST, spent()));
    assert_eq!(world.x_refreshes(&second.string("refresh_token")).await.json, spent());
    assert_eq!(world.x_me(&second.string("access_token")).await.status, StatusCode::UNAUTHORIZED);
    assert!(!world.x_grant_lives());
}

#[tokio::test]
async fn a_lost_answer_has_spent_the_refresh_token_all_the_same() {
    let world = World::start().await;
    let refresh_token = world.x_connects().await.string("refresh_token");
    let fault = Fault::once("x/token", Mode::LostReply);
    world.faults.put(fault);
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token.as_str())];
    let request = world.post("/api.x.com/2/oauth2/token", &form).basic_auth(CLIENT_ID, Some(CLIENT_SECRET));
    request.send().await.expect_err("the connection is dropped");
    assert_eq!(world.x_refreshes(&refresh_token).await.json, spent());
}

#[tokio::test]
async fn revoking_any_token_ends_the_family() {
    let world = World::start().await;
    for which in ["access_token", "refresh_token"] {
        let tokens = world.x_connects().await;
        let token = tokens.string(which);
        let request = world.post("/api.x.com/2/oauth2/revoke", &[("token", &token)]);
        let revoked = answer(request.basic_auth(CLIENT_ID, Some(CLIENT_SECRET))).await;
        assert_eq!(revoked.json, json!({"revoked": true}));
        assert_eq!(world.x_me(&tokens.string("access_token")).await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(world.x_refreshes(&tokens.string("refresh_token")).await.json, spent());
        assert!(!world.x_grant_lives());
    }
}

#[tokio::test]
async fn an_account_that_removes_the_app_ends_every_grant_of_its_own() {
    let world = World::start().await;
    let tokens = world.x_connects().await;
    world.happens(Network::X, "support", "revoke");
    assert!(world.x_grant_lives());
    world.happens(Network::X, "newsdesk", "revoke");
    assert_eq!(world.x_refreshes(&tokens.string("refresh_token")).await.json, spent());
    world.happens(Network::X, "newsdesk", "restore");
    assert!(!world.x_grant_lives(), "what ended stays ended");
}

#[tokio::test]
async fn an_event_that_does_not_exist_is_told_what_does() {
    let world = World::start().await;
    for (network, account, event, said) in [
        ("myspace", "tom", "revoke", r#"there is no network "myspace" here, only x, facebook, instagram, youtube"#),
        (
            "x",
            "press",
            "role_lost",
            r#"there is no event "role_lost" here, only revoke, deauthorize, password_changed, checkpoint, restore, expired"#,
        ),
        ("x", "tom", "revoke", r#"X has no account "tom" here, only newsdesk, support, press"#),
        (
            "x",
            "press",
            "party",
            r#"there is no event "party" here, only revoke, deauthorize, password_changed, checkpoint, restore, expired"#,
        ),
    ] {
        assert_eq!(world.networks.event(network, account, event).expect_err("unknown").to_string(), said);
    }
}

#[tokio::test]
async fn access_tokens_that_end_early_leave_the_refresh_token_alive() {
    let world = World::start().await;
    let tokens = world.x_connects().await;
    world.happens(Network::X, "newsdesk", "expired");
    assert_eq!(world.x_me(&tokens.string("access_token")).await.status, StatusCode::UNAUTHORIZED);
    let next = world.x_refreshes(&tokens.string("refresh_token")).await;
    assert_eq!(world.x_me(&next.string("access_token")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_throttled_call_is_told_so_as_x_does() {
    let world = World::start().await;
    world.faults.put(Fault::once("x/me", Mode::Throttle));
    let slowed = world.x_me("whatever").await;
    assert_eq!((slowed.status, &slowed.json["title"]), (StatusCode::TOO_MANY_REQUESTS, &json!("Too Many Requests")));
    assert_eq!(slowed.headers["x-rate-limit-reset"], (world.now() + 900).to_string());
    assert_eq!(slowed.headers["date"], "Mon, 23 Nov 2026 10:20:00 GMT", "the two are read together");
}

#[tokio::test]
async fn a_post_needs_a_living_access_token_that_may_write() {
    let world = World::start().await;
    let post = json!({"text": "The harbour is open again."});
    let writing = [("scope", "tweet.read users.read tweet.write")];
    let code = world.x_decides(&writing, APPROVE).await.carried()["code"].clone();
    let writer = world.x_redeems(&code, &[]).await.string("access_token");
    let reader = world.x_connects().await;

    let posted = world.x_posts(&writer, &post).await;
    assert_eq!((posted.status, &posted.json["data"]["text"]), (StatusCode::CREATED, &post["text"]));
    assert!(posted.json["data"]["id"].as_str().is_some_and(|id| id.bytes().all(|byte| byte.is_ascii_digit())));
    for (token, post, status) in [
        (&writer, &json!({"text": ""}), StatusCode::BAD_REQUEST),
        (&writer, &json!("text"), StatusCode::BAD_REQUEST),
        (&reader.string("access_token"), &post, StatusCode::FORBIDDEN),
        (&reader.string("refresh_token"), &post, StatusCode::UNAUTHORIZED),
        (&"whatever".to_owned(), &post, StatusCode::UNAUTHORIZED),
    ] {
        assert_eq!(world.x_posts(token, post).await.status, status, "{post}");
    }
    world.happens(Network::X, "newsdesk", "revoke");
    assert_eq!(world.x_posts(&writer, &post).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(world.faults.counts()["x/tweets"], 7);
}

#[tokio::test]
async fn a_replaced_client_secret_is_the_only_one_that_counts_and_ends_no_grant() {
    let world = World::start().await;
    let refresh_token = world.x_connects().await.string("refresh_token");
    world.networks.rotate_app_secret("x", CLIENT_ID, "an-even-better-staple".into()).expect("an app that exists");

    let refused = world.x_refreshes(&refresh_token).await;
    assert_eq!((refused.status, &refused.json["error"]), (StatusCode::UNAUTHORIZED, &json!("unauthorized_client")));
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token.as_str())];
    let request = world.post("/api.x.com/2/oauth2/token", &form).basic_auth(CLIENT_ID, Some("an-even-better-staple"));
    assert_eq!(answer(request).await.status, StatusCode::OK);
    assert!(world.networks.secrets_seen().iter().any(|seen| seen == "an-even-better-staple"));

    let nobody = world.networks.rotate_app_secret("x", "somebody-else", "a-secret".into());
    assert_eq!(nobody.expect_err("unknown").to_string(), r#"x has no app "somebody-else" here"#);
}

#[tokio::test]
async fn grants_outlive_a_restart_and_no_secret_is_on_disk() {
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("networks-restart");
    if dir.exists() {
        std::fs::remove_dir_all(&dir).unwrap();
    }
    let world = World::start_at(&dir).await;
    let tokens = world.x_connects().await;
    let seen = world.networks.secrets_seen();
    for secret in [&tokens.string("access_token"), &tokens.string("refresh_token"), VERIFIER, CLIENT_SECRET] {
        assert!(seen.iter().any(|known| known == secret), "{secret} was not noticed");
    }
    let saved = std::fs::read_to_string(dir.join("networks.json")).unwrap();
    assert_eq!(seen.iter().find(|secret| saved.contains(secret.as_str())), None);
    drop(world);

    let world = World::start_at(&dir).await;
    assert_eq!(world.x_refreshes(&tokens.string("refresh_token")).await.status, StatusCode::OK);
}
