use reqwest::StatusCode;
use sandbox::{
    faults::{Fault, Mode},
    networks::Network,
};
use serde_json::{Value, json};

use crate::world::{Answer, CLIENT_ID, CLIENT_SECRET, REDIRECT_URI, World, answer, but, error};

const AUTHORIZE: &str = "/www.instagram.com/oauth/authorize";
const REQUEST: &[(&str, &str)] = &[
    ("response_type", "code"),
    ("client_id", CLIENT_ID),
    ("redirect_uri", REDIRECT_URI),
    ("scope", "instagram_business_basic,instagram_business_manage_comments"),
    ("state", "a-state"),
];
const PERMISSIONS: &str = "instagram_business_basic,instagram_business_manage_comments";
const DAY: i64 = 24 * 3_600;
const LONG: i64 = 5_183_944;

impl World {
    async fn instagram_decides(&self, changes: &[(&str, &str)], decision: &[(&str, &str)]) -> Answer {
        let form = [but(REQUEST, changes), decision.to_vec()].concat();
        answer(self.post(AUTHORIZE, &form)).await
    }

    async fn instagram_code(&self, account: &str) -> String {
        let decision = [("decision", "approve"), ("account", account)];
        self.instagram_decides(&[], &decision).await.carried()["code"].clone()
    }

    async fn instagram_redeems(&self, code: &str, changes: &[(&str, &str)]) -> Answer {
        let form = [
            ("client_id", CLIENT_ID),
            ("client_secret", CLIENT_SECRET),
            ("grant_type", "authorization_code"),
            ("redirect_uri", REDIRECT_URI),
            ("code", code),
        ];
        answer(self.post("/api.instagram.com/oauth/access_token", &but(&form, changes))).await
    }

    async fn instagram_short(&self, account: &str) -> String {
        let answer = self.instagram_redeems(&self.instagram_code(account).await, &[]).await;
        content(&answer)["access_token"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
    }

    async fn instagram_extends(&self, token: &str, changes: &[(&str, &str)]) -> Answer {
        let query = [("grant_type", "ig_exchange_token"), ("client_secret", CLIENT_SECRET), ("access_token", token)];
        answer(self.get("/graph.instagram.com/access_token", &but(&query, changes))).await
    }

    async fn instagram_connects(&self, account: &str) -> String {
        let short = self.instagram_short(account).await;
        self.instagram_extends(&short, &[]).await.string("access_token")
    }

    async fn instagram_refreshes(&self, token: &str) -> Answer {
        let query = [("grant_type", "ig_refresh_token"), ("access_token", token)];
        answer(self.get("/graph.instagram.com/refresh_access_token", &query)).await
    }

    async fn instagram_me(&self, token: &str) -> Answer {
        let query = [("fields", "user_id,id,username,name,account_type"), ("access_token", token)];
        answer(self.get("/graph.instagram.com/v26.0/me", &query)).await
    }
}

/// What is told, wrapped in `data` or not.
fn content(answer: &Answer) -> &Value {
    answer.json.get("data").map_or(&answer.json, |data| &data[0])
}

#[tokio::test]
async fn consent_is_asked_on_a_page_and_the_code_comes_back_with_a_tail() {
    let world = World::start().await;
    let page = answer(world.get(AUTHORIZE, REQUEST)).await;
    assert_eq!(page.status, StatusCode::OK);
    for said in ["Instagram", CLIENT_ID, "Harbour Kitchen", "instagram_business_manage_comments"] {
        assert!(page.text.contains(said), "{said}");
    }
    let decision = [("decision", "approve"), ("account", "harbour.photos")];
    let back = world.instagram_decides(&[], &decision).await.location.expect("a way back");
    assert_eq!(back.fragment(), Some("_"), "{back}");
    let denied = world.instagram_decides(&[], &[("decision", "deny")]).await.carried();
    assert_eq!((denied["error"].as_str(), denied["error_reason"].as_str()), ("access_denied", "user_denied"));
    assert_eq!((denied["state"].as_str(), denied.get("code")), ("a-state", None));
}

#[tokio::test]
async fn a_faulty_request_ends_on_a_page() {
    let world = World::start().await;
    for change in [
        ("client_id", "somebody-else"),
        ("redirect_uri", "https://evil.example/oauth/callback"),
        ("response_type", "token"),
        ("scope", ""),
        ("scope", "instagram_business_basic,world_peace"),
        ("scope", "instagram_business_basic instagram_business_manage_comments"),
    ] {
        let page = answer(world.get(AUTHORIZE, &but(REQUEST, &[change]))).await;
        assert_eq!((page.status, page.location), (StatusCode::BAD_REQUEST, None), "{change:?}");
    }
}

#[tokio::test]
async fn an_account_answers_in_a_shape_of_its_own() {
    let world = World::start().await;
    let list: Vec<_> = PERMISSIONS.split(',').collect();
    for (account, wrapped, user_id, id, permissions, kind) in [
        (
            "harbour.photos",
            true,
            json!("17841400000000001"),
            json!("25000000000000001"),
            json!(PERMISSIONS),
            "BUSINESS",
        ),
        (
            "harbour.kitchen",
            false,
            json!(17_841_400_000_000_003_u64),
            json!(25_000_000_000_000_003_u64),
            json!(list),
            "BUSINESS",
        ),
        (
            "harbour.swim",
            false,
            json!("17841400000000005"),
            json!("25000000000000005"),
            json!(PERMISSIONS),
            "MEDIA_CREATOR",
        ),
        (
            "harbour.market",
            true,
            json!(17_841_400_000_000_007_u64),
            json!(25_000_000_000_000_007_u64),
            json!(list),
            "BUSINESS",
        ),
    ] {
        let code = world.instagram_code(account).await;
        let short = world.instagram_redeems(&code, &[]).await;
        let told = content(&short);
        assert_eq!(short.json["data"].is_array(), wrapped, "{account}");
        assert_eq!((&told["user_id"], &told["permissions"], told.get("expires_in")), (&id, &permissions, None));
        let me = world.instagram_me(told["access_token"].as_str().expect("a token")).await;
        assert_eq!(me.json["data"].is_array(), wrapped, "{account}");
        let name = content(&me)["name"].clone();
        let expected = json!({"user_id": user_id, "id": id, "username": account, "name": name, "account_type": kind});
        assert_eq!(content(&me), &expected);
    }
}

#[tokio::test]
async fn some_ids_are_integers_that_no_float_holds() {
    let world = World::start().await;
    let me = world.instagram_me(&world.instagram_short("harbour.kitchen").await).await;
    assert!(me.text.contains(r#""user_id":17841400000000003"#), "{me:?}");
    #[expect(clippy::cast_possible_truncation, reason = "that is what is to be seen")]
    let rounded = 17_841_400_000_000_003_f64 as i64;
    assert_ne!(rounded, 17_841_400_000_000_003);
}

#[tokio::test]
async fn only_the_fields_that_are_asked_for_are_told() {
    let world = World::start().await;
    let token = world.instagram_short("harbour.swim").await;
    let me = answer(world.get("/graph.instagram.com/v26.0/me", &[("access_token", &token)])).await;
    assert_eq!(me.json, json!({"id": "25000000000000005"}));
}

#[tokio::test]
async fn a_code_is_refused_in_instagrams_own_form() {
    let world = World::start().await;
    let used = world.instagram_code("harbour.photos").await;
    world.instagram_redeems(&used, &[]).await;
    let fresh = world.instagram_code("harbour.photos").await;
    let with_tail = format!("{fresh}#_");
    for (code, change, said) in [
        (&used, ("state", ""), "already used"),
        (&with_tail, ("state", ""), "not found"),
        (&fresh, ("redirect_uri", "https://app.example/"), "redirect_uri is identical"),
        (&fresh, ("client_secret", "wrong"), "client secret"),
        (&fresh, ("client_id", "wrong"), "Invalid platform app"),
        (&fresh, ("grant_type", ""), "grant_type"),
    ] {
        let refused = world.instagram_redeems(code, &[change]).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{change:?}");
        assert_eq!((&refused.json["error_type"], &refused.json["code"]), (&json!("OAuthException"), &json!(400)));
        assert!(refused.string("error_message").contains(said), "{refused:?}");
    }
    world.later(3_600);
    assert!(world.instagram_redeems(&fresh, &[]).await.string("error_message").contains("expired"));
}

#[tokio::test]
async fn a_token_of_an_hour_becomes_one_of_sixty_days() {
    let world = World::start().await;
    let short = world.instagram_short("harbour.photos").await;
    assert_eq!(error(&world.instagram_extends(&short, &[("client_secret", "wrong")]).await), (1, 0));
    assert_eq!(error(&world.instagram_extends(&short, &[("grant_type", "ig_refresh_token")]).await), (100, 0));
    let long = world.instagram_extends(&short, &[]).await;
    assert_eq!((&long.json["token_type"], &long.json["expires_in"]), (&json!("bearer"), &json!(LONG)));
    let long = long.string("access_token");
    assert_eq!(error(&world.instagram_extends(&long, &[]).await), (100, 0), "it is long-lived already");
    assert_eq!(error(&world.instagram_extends("made-up", &[]).await), (190, 0));

    world.later(3_600);
    assert_eq!(error(&world.instagram_me(&short).await), (190, 463));
    assert_eq!(error(&world.instagram_extends(&short, &[]).await), (190, 463));
    assert_eq!(world.instagram_me(&long).await.status, StatusCode::OK);
    let counts = world.faults.counts();
    let targets = ["authorize", "token", "long-lived", "me"].map(|target| counts[&format!("instagram/{target}")]);
    assert_eq!(targets, [1, 1, 6, 2]);
}

#[tokio::test]
async fn a_token_renews_itself_from_the_second_day_on_until_its_end() {
    let world = World::start().await;
    let first = world.instagram_connects("harbour.photos").await;
    world.later(DAY - 1);
    assert_eq!(error(&world.instagram_refreshes(&first).await), (100, 0), "it is too young");
    world.later(1);
    let renewed = world.instagram_refreshes(&first).await;
    assert_eq!((&renewed.json["token_type"], &renewed.json["expires_in"]), (&json!("bearer"), &json!(LONG)));
    let second = renewed.string("access_token");
    assert_ne!(first, second);
    assert_eq!(error(&world.instagram_refreshes(&second).await), (100, 0), "the new one is too young");

    world.later(LONG - DAY - 1);
    assert_eq!(world.instagram_me(&first).await.status, StatusCode::OK, "the old one lives to its own end");
    world.later(1);
    assert_eq!(error(&world.instagram_refreshes(&first).await), (190, 463));
    assert_eq!(world.instagram_me(&second).await.status, StatusCode::OK);
    world.later(DAY);
    assert_eq!(error(&world.instagram_refreshes(&second).await), (190, 463));
    assert_eq!(world.faults.counts()["instagram/refresh"], 5);
}

#[tokio::test]
async fn a_short_lived_token_is_not_renewed() {
    let world = World::start().await;
    assert_eq!(error(&world.instagram_refreshes(&world.instagram_short("harbour.photos").await).await), (100, 0));
}

#[tokio::test]
async fn without_the_basic_permission_nothing_is_told_and_nothing_renewed() {
    let world = World::start().await;
    let decision = [("decision", "approve"), ("account", "harbour.swim")];
    let only = [("scope", "instagram_business_content_publish")];
    let code = world.instagram_decides(&only, &decision).await.carried()["code"].clone();
    let short = world.instagram_redeems(&code, &[]).await.string("access_token");
    let long = world.instagram_extends(&short, &[]).await.string("access_token");
    world.later(DAY);
    assert_eq!(error(&world.instagram_me(&long).await), (10, 0));
    assert_eq!(error(&world.instagram_refreshes(&long).await), (10, 0));
}

#[tokio::test]
async fn a_permission_can_be_left_out_but_not_the_basic_one() {
    let world = World::start().await;
    let decision = [("decision", "approve"), ("account", "harbour.swim"), ("scope", "instagram_business_basic")];
    let asked = [("scope", ""), ("asked", PERMISSIONS)];
    let code = world.instagram_decides(&asked, &decision).await.carried()["code"].clone();
    assert_eq!(world.instagram_redeems(&code, &[]).await.json["permissions"], "instagram_business_basic");
    let decision =
        [("decision", "approve"), ("account", "harbour.swim"), ("scope", "instagram_business_manage_comments")];
    let code = world.instagram_decides(&asked, &decision).await.carried()["code"].clone();
    assert_eq!(world.instagram_redeems(&code, &[]).await.json["permissions"], PERMISSIONS);
}

#[tokio::test]
async fn a_dead_token_says_what_it_died_of() {
    for (event, subcode) in [("revoke", 458), ("checkpoint", 459), ("password_changed", 460), ("expired", 463)] {
        let world = World::start().await;
        let token = world.instagram_connects("harbour.market").await;
        let bystander = world.instagram_connects("harbour.photos").await;
        world.later(DAY);
        world.happens(Network::Instagram, "harbour.market", event);
        assert_eq!(error(&world.instagram_me(&token).await), (190, subcode), "{event}");
        assert_eq!(error(&world.instagram_refreshes(&token).await), (190, subcode), "{event}");
        assert_eq!(world.instagram_me(&bystander).await.status, StatusCode::OK, "{event}");
    }
}

#[tokio::test]
async fn a_throttled_call_says_when_to_come_back() {
    let world = World::start().await;
    let throttle = |target: &str| Fault::once(target, Mode::Throttle);
    world.faults.put(throttle("instagram/me"));
    let slowed = world.instagram_me("whatever").await;
    assert_eq!(error(&slowed), (80_002, 0));
    let usage = slowed.headers["x-business-use-case-usage"].to_str().expect("text");
    assert!(usage.contains(r#""estimated_time_to_regain_access":20"#), "{usage}");
    world.faults.put(throttle("instagram/token"));
    assert_eq!(world.instagram_redeems("whatever", &[]).await.status, StatusCode::TOO_MANY_REQUESTS);
}
