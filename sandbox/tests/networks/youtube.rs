use reqwest::StatusCode;
use sandbox::{
    faults::{Fault, Mode},
    networks::Network,
};
use serde_json::{Value, json};

use crate::world::{
    Answer, CHALLENGE, CLIENT_ID, CLIENT_SECRET, REDIRECT_URI, TESTING_CLIENT_ID, VERIFIER, World, answer, but,
};

const AUTHORIZE: &str = "/accounts.google.com/o/oauth2/v2/auth";
const READ: &str = "https://www.googleapis.com/auth/youtube.readonly";
const WRITE: &str = "https://www.googleapis.com/auth/youtube.force-ssl";
const EMAIL: &str = "https://www.googleapis.com/auth/userinfo.email";
const SCOPE: &str =
    "openid email https://www.googleapis.com/auth/youtube.readonly https://www.googleapis.com/auth/youtube.force-ssl";
const REQUEST: &[(&str, &str)] = &[
    ("response_type", "code"),
    ("client_id", CLIENT_ID),
    ("redirect_uri", REDIRECT_URI),
    ("scope", SCOPE),
    ("state", "a-state"),
    ("code_challenge", CHALLENGE),
    ("code_challenge_method", "S256"),
    ("access_type", "offline"),
    ("prompt", "consent"),
];
const DAY: i64 = 24 * 3_600;

impl World {
    async fn youtube_decides(&self, changes: &[(&str, &str)], decision: &[(&str, &str)]) -> Answer {
        let form = [but(REQUEST, changes), decision.to_vec()].concat();
        answer(self.post(AUTHORIZE, &form)).await
    }

    async fn youtube_code(&self, account: &str, changes: &[(&str, &str)]) -> String {
        let decision = [("decision", "approve"), ("account", account)];
        self.youtube_decides(changes, &decision).await.carried()["code"].clone()
    }

    async fn youtube_redeems(&self, code: &str, changes: &[(&str, &str)]) -> Answer {
        let form = [
            ("client_id", CLIENT_ID),
            ("client_secret", CLIENT_SECRET),
            ("grant_type", "authorization_code"),
            ("redirect_uri", REDIRECT_URI),
            ("code", code),
            ("code_verifier", VERIFIER),
        ];
        answer(self.post("/oauth2.googleapis.com/token", &but(&form, changes))).await
    }

    async fn youtube_connects(&self, account: &str) -> Answer {
        self.youtube_connects_with(account, &[]).await
    }

    async fn youtube_connects_with(&self, account: &str, changes: &[(&str, &str)]) -> Answer {
        let code = self.youtube_code(account, changes).await;
        let client: Vec<_> = changes.iter().copied().filter(|(name, _)| *name == "client_id").collect();
        let tokens = self.youtube_redeems(&code, &client).await;
        assert_eq!(tokens.status, StatusCode::OK, "{tokens:?}");
        tokens
    }

    async fn youtube_refreshes(&self, refresh_token: &str) -> Answer {
        self.youtube_refreshes_with(refresh_token, &[]).await
    }

    async fn youtube_refreshes_with(&self, refresh_token: &str, changes: &[(&str, &str)]) -> Answer {
        let form = [
            ("client_id", CLIENT_ID),
            ("client_secret", CLIENT_SECRET),
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token),
        ];
        answer(self.post("/oauth2.googleapis.com/token", &but(&form, changes))).await
    }

    async fn youtube_channels(&self, access_token: &str) -> Answer {
        let query = [("part", "id,snippet"), ("mine", "true")];
        answer(self.get("/www.googleapis.com/youtube/v3/channels", &query).bearer_auth(access_token)).await
    }

    async fn youtube_channel(&self, tokens: &Answer) -> Value {
        self.youtube_channels(&tokens.string("access_token")).await.json["items"][0]["id"].clone()
    }

    async fn youtube_tokeninfo(&self, access_token: &str) -> Answer {
        answer(self.get("/oauth2.googleapis.com/tokeninfo", &[("access_token", access_token)])).await
    }

    async fn youtube_revokes(&self, token: &str) -> Answer {
        answer(self.post("/oauth2.googleapis.com/revoke", &[("token", token)])).await
    }
}

fn said(answer: &Answer) -> (u16, &str) {
    (answer.status.as_u16(), answer.json["error"].as_str().unwrap_or_else(|| panic!("{answer:?}")))
}

/// Status and reason of an error of the API.
fn reason(answer: &Answer) -> (u64, &str) {
    let error = &answer.json["error"];
    assert_eq!(error["code"], answer.status.as_u16());
    assert!(error["message"].is_string(), "{answer:?}");
    (error["code"].as_u64().expect("a code"), error["errors"][0]["reason"].as_str().expect("a reason"))
}

#[tokio::test]
async fn the_consent_page_asks_for_scopes_that_can_be_unticked() {
    let world = World::start().await;
    let page = answer(world.get(AUTHORIZE, REQUEST)).await;
    assert_eq!(page.status, StatusCode::OK);
    for said in ["YouTube", CLIENT_ID, "North Studio", "South Studio", READ, "access_type", "prompt"] {
        assert!(page.text.contains(said), "{said}");
    }
    let decision = [("decision", "approve"), ("account", "harbour.tv"), ("asked", SCOPE), ("scope", READ)];
    let carried = world.youtube_decides(&[("scope", "")], &decision).await.carried();
    let granted = format!("openid {EMAIL} {READ}");
    assert_eq!(carried["scope"], granted);
    assert_eq!(world.youtube_redeems(&carried["code"], &[]).await.json["scope"], granted);
}

#[tokio::test]
async fn whoever_comes_back_brings_the_issuer_and_more() {
    let world = World::start().await;
    let approve = |account| [("decision", "approve"), ("account", account)];
    let approved = world.youtube_decides(&[], &approve("harbour.tv")).await.carried();
    let names: Vec<_> = approved.keys().map(String::as_str).collect();
    assert_eq!(names, ["authuser", "code", "iss", "prompt", "scope", "state"]);
    let denied = world.youtube_decides(&[], &[("decision", "deny")]).await.carried();
    let managed = world.youtube_decides(&[], &approve("managed.account")).await.carried();
    for (carried, error) in [(&denied, "access_denied"), (&managed, "admin_policy_enforced")] {
        let expected = [("error", error), ("iss", "https://accounts.google.com"), ("state", "a-state")];
        assert_eq!(*carried, expected.map(|(name, value)| (name.into(), value.into())).into());
    }
    assert_eq!(approved["iss"], "https://accounts.google.com");
}

#[tokio::test]
async fn a_mistake_of_the_app_ends_on_a_page() {
    let world = World::start().await;
    for change in [
        ("client_id", "somebody-else"),
        ("redirect_uri", "https://evil.example/oauth/callback"),
        ("response_type", "token"),
        ("scope", ""),
        ("scope", "youtube.readonly"),
        ("code_challenge_method", "plain"),
        ("code_challenge", "short"),
    ] {
        let page = answer(world.get(AUTHORIZE, &but(REQUEST, &[change]))).await;
        assert_eq!((page.status, page.location), (StatusCode::BAD_REQUEST, None), "{change:?}");
    }
}

#[tokio::test]
async fn a_code_becomes_tokens_whose_scopes_are_spelt_googles_way() {
    let world = World::start().await;
    let tokens = world.youtube_connects("harbour.tv").await;
    assert_eq!((&tokens.json["token_type"], &tokens.json["expires_in"]), (&json!("Bearer"), &json!(3_599)));
    assert_eq!(tokens.json["scope"], format!("openid {EMAIL} {READ} {WRITE}"));
    assert_eq!(tokens.json.get("refresh_token_expires_in"), None, "it has no end");
    assert!(tokens.json["refresh_token"].is_string());
    world.later(3_599);
    assert_eq!(reason(&world.youtube_channels(&tokens.string("access_token")).await), (401, "authError"));
}

#[tokio::test]
async fn a_refresh_token_comes_when_it_is_asked_for_and_once_unless_consent_is_prompted() {
    let world = World::start().await;
    let has = |tokens: Answer| tokens.json.get("refresh_token").is_some();
    let online = [("access_type", "")];
    let unprompted = [("prompt", "")];
    assert!(!has(world.youtube_connects_with("harbour.tv", &online).await), "only with access_type=offline");
    world.networks.event("youtube", "harbour.tv", "revoke").expect("an event that exists");
    assert!(has(world.youtube_connects_with("harbour.tv", &unprompted).await), "the first consent");
    assert!(!has(world.youtube_connects_with("harbour.tv", &unprompted).await), "the second");
    assert!(has(world.youtube_connects("harbour.tv").await), "prompt=consent");
    assert!(has(world.youtube_connects_with("harbour.radio", &unprompted).await), "somebody else's first");
}

#[tokio::test]
async fn a_code_is_refused_for_the_reason_that_google_gives() {
    let world = World::start().await;
    let used = world.youtube_code("harbour.tv", &[]).await;
    let tokens = world.youtube_redeems(&used, &[]).await;
    let fresh = world.youtube_code("harbour.tv", &[]).await;
    for (code, change, expected) in [
        (&used, ("state", ""), (400, "invalid_grant")),
        (&"made-up".to_owned(), ("state", ""), (400, "invalid_grant")),
        (&fresh, ("redirect_uri", "https://app.example/"), (400, "redirect_uri_mismatch")),
        (&fresh, ("code_verifier", ""), (400, "invalid_grant")),
        (&fresh, ("code_verifier", CHALLENGE), (400, "invalid_grant")),
        (&fresh, ("grant_type", "password"), (400, "unsupported_grant_type")),
        (&fresh, ("client_secret", "wrong"), (401, "invalid_client")),
        (&fresh, ("client_id", "wrong"), (401, "invalid_client")),
    ] {
        assert_eq!(said(&world.youtube_redeems(code, &[change]).await), expected, "{change:?}");
    }
    assert_eq!(world.youtube_channels(&tokens.string("access_token")).await.status, StatusCode::OK);
    world.later(600);
    assert_eq!(said(&world.youtube_redeems(&fresh, &[]).await), (400, "invalid_grant"));
}

#[tokio::test]
async fn without_a_challenge_there_is_no_verifier() {
    let world = World::start().await;
    let plain = [("code_challenge", ""), ("code_challenge_method", "")];
    let code = world.youtube_code("harbour.tv", &plain).await;
    assert_eq!(said(&world.youtube_redeems(&code, &[]).await), (400, "invalid_grant"));
    assert_eq!(world.youtube_redeems(&code, &[("code_verifier", "")]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_refresh_keeps_the_refresh_token_and_does_not_repeat_it() {
    let world = World::start().await;
    let refresh_token = world.youtube_connects("harbour.tv").await.string("refresh_token");
    for _ in 0..2 {
        let again = world.youtube_refreshes(&refresh_token).await;
        assert_eq!((&again.json["expires_in"], again.json.get("refresh_token")), (&json!(3_599), None));
        assert_eq!(world.youtube_channels(&again.string("access_token")).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn one_account_gets_a_new_refresh_token_and_the_old_one_ends() {
    let world = World::start().await;
    let first = world.youtube_connects("harbour.archive").await.string("refresh_token");
    let second = world.youtube_refreshes(&first).await.string("refresh_token");
    assert_eq!(said(&world.youtube_refreshes(&first).await), (400, "invalid_grant"));
    assert_eq!(world.youtube_refreshes(&second).await.status, StatusCode::OK);
}

#[tokio::test]
async fn wrong_credentials_of_the_app_harm_no_grant() {
    let world = World::start().await;
    let refresh_token = world.youtube_connects("harbour.tv").await.string("refresh_token");
    for change in [("client_secret", "wrong"), ("client_secret", ""), ("client_id", "somebody-else")] {
        let refused = world.youtube_refreshes_with(&refresh_token, &[change]).await;
        assert_eq!(said(&refused), (401, "invalid_client"), "{change:?}");
    }
    let other_app = [("client_id", TESTING_CLIENT_ID)];
    assert_eq!(said(&world.youtube_refreshes_with(&refresh_token, &other_app).await), (400, "invalid_grant"));
    assert_eq!(world.youtube_refreshes(&refresh_token).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_refresh_token_dies_when_six_months_pass_without_a_use() {
    let world = World::start().await;
    let used = world.youtube_connects("harbour.tv").await.string("refresh_token");
    let unused = world.youtube_connects("harbour.radio").await.string("refresh_token");
    world.later(181 * DAY);
    assert_eq!(world.youtube_refreshes(&used).await.status, StatusCode::OK);
    world.later(DAY);
    assert_eq!(said(&world.youtube_refreshes(&unused).await), (400, "invalid_grant"));
    world.later(180 * DAY);
    assert_eq!(world.youtube_refreshes(&used).await.status, StatusCode::OK, "every use begins them again");
}

#[tokio::test]
async fn a_grant_to_an_app_in_testing_says_that_it_ends_after_seven_days_and_does() {
    let world = World::start().await;
    let app = [("client_id", TESTING_CLIENT_ID)];
    let tokens = world.youtube_connects_with("harbour.tv", &app).await;
    assert_eq!(tokens.json["refresh_token_expires_in"], 604_799);
    let refresh_token = tokens.string("refresh_token");
    world.later(7 * DAY - 2);
    let late = world.youtube_refreshes_with(&refresh_token, &app).await;
    assert_eq!(late.json["refresh_token_expires_in"], 1, "a use moves nothing");
    world.later(1);
    assert_eq!(said(&world.youtube_refreshes_with(&refresh_token, &app).await), (400, "invalid_grant"));
}

#[tokio::test]
async fn an_app_can_fall_back_into_testing_and_what_was_granted_before_lives_on() {
    let world = World::start().await;
    let before = world.youtube_connects("studio.north").await.string("refresh_token");
    world.happens(Network::Youtube, "studio.south", "app_in_testing");
    let meanwhile = world.youtube_connects("studio.north").await;
    assert_eq!(meanwhile.json["refresh_token_expires_in"], 604_799);
    world.happens(Network::Youtube, "studio.north", "restore");
    let after = world.youtube_connects("studio.north").await;
    assert_eq!(after.json.get("refresh_token_expires_in"), None);
    world.later(7 * DAY);
    assert_eq!(said(&world.youtube_refreshes(&meanwhile.string("refresh_token")).await), (400, "invalid_grant"));
    for living in [before, after.string("refresh_token")] {
        assert_eq!(world.youtube_refreshes(&living).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn the_hundred_and_first_refresh_token_silently_ends_the_oldest() {
    let world = World::start().await;
    let bystander = world.youtube_connects("harbour.radio").await;
    let first = world.youtube_connects("studio.north").await;
    let second = world.youtube_connects("studio.south").await;
    for _ in 2..100 {
        world.youtube_connects("studio.north").await;
    }
    assert_eq!(world.youtube_refreshes(&first.string("refresh_token")).await.status, StatusCode::OK);
    let newest = world.youtube_connects("studio.south").await;
    assert_eq!(said(&world.youtube_refreshes(&first.string("refresh_token")).await), (400, "invalid_grant"));
    for living in [second, newest, bystander] {
        assert_eq!(world.youtube_refreshes(&living.string("refresh_token")).await.status, StatusCode::OK);
    }
    let access_token = first.string("access_token");
    assert_eq!(world.youtube_channels(&access_token).await.status, StatusCode::OK, "access tokens live on");
}

#[tokio::test]
async fn one_login_with_two_channels_gives_the_one_that_was_chosen() {
    let world = World::start().await;
    let (north, south) = (world.youtube_connects("studio.north").await, world.youtube_connects("studio.south").await);
    assert_ne!(world.youtube_channel(&north).await, world.youtube_channel(&south).await);
    let sub = async |tokens: &Answer| world.youtube_tokeninfo(&tokens.string("access_token")).await.string("sub");
    assert_eq!(sub(&north).await, sub(&south).await);
}

#[tokio::test]
async fn revoking_any_token_ends_what_the_login_granted_to_the_app_and_to_no_other() {
    for which in ["access_token", "refresh_token"] {
        let world = World::start().await;
        let (north, south) =
            (world.youtube_connects("studio.north").await, world.youtube_connects("studio.south").await);
        let other_app = [("client_id", TESTING_CLIENT_ID)];
        let elsewhere = world.youtube_connects_with("studio.south", &other_app).await;
        let bystander = world.youtube_connects("harbour.tv").await;
        let revoked = world.youtube_revokes(&north.string(which)).await;
        assert_eq!((revoked.status, revoked.json), (StatusCode::OK, json!({})));
        for dead in [&north, &south] {
            assert_eq!(said(&world.youtube_refreshes(&dead.string("refresh_token")).await), (400, "invalid_grant"));
            assert_eq!(reason(&world.youtube_channels(&dead.string("access_token")).await), (401, "authError"));
            assert_eq!(said(&world.youtube_revokes(&dead.string(which)).await), (400, "invalid_token"));
        }
        assert!(world.networks.grants("youtube", "studio.south").iter().any(|grant| !grant.live));
        for living in [&elsewhere, &bystander] {
            assert_eq!(world.youtube_channels(&living.string("access_token")).await.status, StatusCode::OK);
        }
        assert_eq!(said(&world.youtube_revokes("made-up").await), (400, "invalid_token"));
    }
}

#[tokio::test]
async fn tokeninfo_tells_whose_token_it_is_with_numbers_as_strings() {
    let world = World::start().await;
    let tokens = world.youtube_connects("harbour.tv").await;
    world.later(599);
    let info = world.youtube_tokeninfo(&tokens.string("access_token")).await;
    let expected = json!({
        "azp": CLIENT_ID,
        "aud": CLIENT_ID,
        "sub": "100000000000000000001",
        "scope": format!("openid {EMAIL} {READ} {WRITE}"),
        "exp": (world.now() + 3_000).to_string(),
        "expires_in": "3000",
        "email": "user-100000000000000000001@gmail.example",
        "email_verified": "true",
        "access_type": "offline",
    });
    assert_eq!(info.json, expected);
    let nameless = world.youtube_connects_with("harbour.tv", &[("scope", READ)]).await;
    let info = world.youtube_tokeninfo(&nameless.string("access_token")).await.json;
    assert_eq!((info.get("sub"), info.get("email"), &info["scope"]), (None, None, &json!(READ)));
    for token in ["made-up", &tokens.string("refresh_token")] {
        assert_eq!(said(&world.youtube_tokeninfo(token).await), (400, "invalid_token"));
    }
}

#[tokio::test]
async fn an_access_token_that_may_see_youtube_names_the_channel() {
    let world = World::start().await;
    let tokens = world.youtube_connects("harbour.tv").await;
    let list = world.youtube_channels(&tokens.string("access_token")).await.json;
    assert_eq!(
        (&list["items"][0]["id"], &list["items"][0]["snippet"]["title"]),
        (&json!("UC_harbour_tv_0000000001"), &json!("Harbour TV"))
    );
    let nobody = world.youtube_connects("no.channel").await;
    let list = world.youtube_channels(&nobody.string("access_token")).await.json;
    assert_eq!((list.get("items"), &list["pageInfo"]["totalResults"]), (None, &json!(0)));
    let blind = world.youtube_connects_with("harbour.tv", &[("scope", "openid email")]).await;
    let refused = world.youtube_channels(&blind.string("access_token")).await;
    assert_eq!(reason(&refused), (403, "insufficientPermissions"));
    assert_eq!(refused.json["error"]["status"], "PERMISSION_DENIED");
    let unasked = world.get("/www.googleapis.com/youtube/v3/channels", &[("part", "id")]);
    let unasked = answer(unasked.bearer_auth(tokens.string("access_token"))).await;
    assert_eq!(reason(&unasked), (400, "missingRequiredParameter"));
}

#[tokio::test]
async fn every_channel_has_an_id_as_long_as_youtubes() {
    let world = World::start().await;
    let mut ids = Vec::new();
    for account in Network::Youtube.accounts().iter().map(|account| account.name) {
        if !["no.channel", "managed.account"].contains(&account) {
            ids.push(world.youtube_channel(&world.youtube_connects(account).await).await);
        }
    }
    let like_a_channel = |id: &Value| id.as_str().is_some_and(|id| id.len() == 24 && id.starts_with("UC"));
    assert!(ids.iter().all(like_a_channel), "{ids:?}");
    assert_eq!(ids.len(), 5);
}

#[tokio::test]
async fn what_happens_to_a_login_happens_to_all_of_its_channels() {
    for (event, refreshed, seen) in [
        ("revoke", StatusCode::BAD_REQUEST, StatusCode::UNAUTHORIZED),
        ("password_changed", StatusCode::OK, StatusCode::OK),
        ("checkpoint", StatusCode::OK, StatusCode::FORBIDDEN),
        ("expired", StatusCode::OK, StatusCode::UNAUTHORIZED),
    ] {
        let world = World::start().await;
        let south = world.youtube_connects("studio.south").await;
        world.happens(Network::Youtube, "studio.north", event);
        assert_eq!(world.youtube_channels(&south.string("access_token")).await.status, seen, "{event}");
        assert_eq!(world.youtube_refreshes(&south.string("refresh_token")).await.status, refreshed, "{event}");
    }
}

#[tokio::test]
async fn a_throttled_call_is_told_so_as_google_does() {
    let world = World::start().await;
    let throttle = |target: &str| Fault::once(target, Mode::Throttle);
    world.faults.put(throttle("youtube/channels"));
    assert_eq!(reason(&world.youtube_channels("whatever").await), (403, "quotaExceeded"));
    world.faults.put(throttle("youtube/token"));
    assert_eq!(said(&world.youtube_refreshes("whatever").await), (429, "rate_limit_exceeded"));
}

#[tokio::test]
async fn a_lost_answer_costs_nothing_where_refresh_tokens_stay() {
    let world = World::start().await;
    let refresh_token = world.youtube_connects("harbour.tv").await.string("refresh_token");
    world.faults.put(Fault::once("youtube/token", Mode::LostReply));
    let form = [("client_id", CLIENT_ID), ("client_secret", CLIENT_SECRET), ("grant_type", "refresh_token")];
    let form = [&form[..], &[("refresh_token", refresh_token.as_str())]].concat();
    world.post("/oauth2.googleapis.com/token", &form).send().await.expect_err("the connection is dropped");
    assert_eq!(world.youtube_refreshes(&refresh_token).await.status, StatusCode::OK);
}
