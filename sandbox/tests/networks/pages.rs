//! Facebook's Pages: the list of them, the tokens that act as them, and what these die of.

use aws_lc_rs::hmac;
use reqwest::StatusCode;
use sandbox::{
    faults::{Fault, Mode},
    networks::Network,
};
use serde_json::{Value, json};
use url::Url;

use crate::world::{Answer, CLIENT_ID, CLIENT_SECRET, REDIRECT_URI, World, answer, error};

const DIALOG: &str = "/www.facebook.com/v26.0/dialog/oauth";
const GRAPH: &str = "/graph.facebook.com/v26.0";
const SCOPE: &str = "public_profile,pages_show_list,pages_messaging";
const FIELDS: &str = "id,name,access_token,tasks";
const DAY: i64 = 24 * 3_600;

impl World {
    /// A short-lived token of somebody who granted `scope` and decided on Pages as `choice` says.
    async fn signs_in(&self, account: &str, scope: &str, choice: &[(&str, &str)]) -> String {
        let form = [
            ("response_type", "code"),
            ("client_id", CLIENT_ID),
            ("redirect_uri", REDIRECT_URI),
            ("scope", scope),
            ("decision", "approve"),
            ("account", account),
        ];
        let code = answer(self.post(DIALOG, &[&form, choice].concat())).await.carried()["code"].clone();
        let query = [
            ("client_id", CLIENT_ID),
            ("client_secret", CLIENT_SECRET),
            ("redirect_uri", REDIRECT_URI),
            ("code", &code),
        ];
        answer(self.get(&format!("{GRAPH}/oauth/access_token"), &query)).await.string("access_token")
    }

    async fn extends(&self, short: &str) -> String {
        let query = [
            ("grant_type", "fb_exchange_token"),
            ("client_id", CLIENT_ID),
            ("client_secret", CLIENT_SECRET),
            ("fb_exchange_token", short),
        ];
        answer(self.get(&format!("{GRAPH}/oauth/access_token"), &query)).await.string("access_token")
    }

    /// A long-lived token of somebody who shares every Page.
    async fn administrator(&self, account: &str) -> String {
        self.extends(&self.signs_in(account, SCOPE, &[]).await).await
    }

    async fn graph(&self, path: &str, token: &str, query: &[(&str, &str)]) -> Answer {
        let proof = proof(token);
        let query = [&[("access_token", token), ("appsecret_proof", &proof)], query].concat();
        answer(self.get(&format!("{GRAPH}/{path}"), &query)).await
    }

    async fn lists(&self, token: &str) -> Answer {
        self.graph("me/accounts", token, &[("fields", FIELDS)]).await
    }

    async fn derives(&self, user_token: &str, page: &str) -> String {
        self.graph(page, user_token, &[("fields", FIELDS)]).await.string("access_token")
    }

    async fn debugs(&self, token: &str) -> Value {
        let app = format!("{CLIENT_ID}|{CLIENT_SECRET}");
        let query = [("input_token", token), ("access_token", &app)];
        answer(self.get(&format!("{GRAPH}/debug_token"), &query)).await.json["data"].clone()
    }

    fn role_is_lost(&self, account: &str, page: &str) {
        self.networks.event_at("facebook", account, "role_lost", Some(page)).expect("a role");
    }
}

fn proof(message: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, CLIENT_SECRET.as_bytes());
    hex::encode(hmac::sign(&key, message.as_bytes()))
}

fn ids(list: &Answer) -> Vec<&str> {
    let pages = list.json["data"].as_array().unwrap_or_else(|| panic!("{list:?}"));
    pages.iter().map(|page| page["id"].as_str().expect("an id")).collect()
}

#[tokio::test]
async fn the_dialog_lets_whoever_is_asked_about_pages_leave_some_out() {
    let world = World::start().await;
    let ask = async |scope| {
        let query =
            [("response_type", "code"), ("client_id", CLIENT_ID), ("redirect_uri", REDIRECT_URI), ("scope", scope)];
        answer(world.get(DIALOG, &query)).await.text
    };
    let page = ask(SCOPE).await;
    for said in
        [r#"name="page" value="2001""#, "Harbour News", "alice.meyer, bob.stone", r#"name="chosen" value="pages""#]
    {
        assert!(page.contains(said), "{said}");
    }
    assert!(!ask("public_profile,email").await.contains("Harbour News"), "Pages are none of its business");
}

#[tokio::test]
async fn the_list_is_turned_page_by_page() {
    let world = World::start().await;
    let token = world.administrator("pat.agency").await;
    let mut seen = Vec::new();
    let mut list = world.graph("1004/accounts", &token, &[("fields", FIELDS), ("limit", "100")]).await;
    let mut turns = 0;
    loop {
        assert!(ids(&list).len() <= 3, "{list:?}");
        seen.extend(ids(&list).into_iter().map(str::to_owned));
        let Some(next) = list.json["paging"]["next"].as_str() else { break };
        let next = Url::parse(next).expect("an address");
        assert_eq!((next.host_str(), next.path()), (Some("graph.facebook.com"), "/v26.0/1004/accounts"));
        let carried: Vec<_> = next.query_pairs().map(|(name, _)| name.into_owned()).collect();
        assert_eq!(carried, ["access_token", "fields", "limit", "after"], "a token, and no proof");
        let after = list.json["paging"]["cursors"]["after"].as_str().expect("a cursor").to_owned();
        let query = [("fields", FIELDS), ("limit", "100"), ("after", &after)];
        list = world.graph("me/accounts", &token, &query).await;
        turns += 1;
    }
    assert_eq!((seen, turns), ((2101..=2108).map(|id: u32| id.to_string()).collect(), 2));
    assert_eq!(error(&world.graph("me/accounts", &token, &[("after", "made-up")]).await), (100, 0));
    assert_eq!(ids(&world.graph("me/accounts", &token, &[("limit", "2")]).await), ["2101", "2102"]);
}

#[tokio::test]
async fn a_list_that_ends_has_no_next_and_an_empty_one_no_cursors() {
    let world = World::start().await;
    let one = world.lists(&world.administrator("bob.stone").await).await;
    assert_eq!((ids(&one), one.json["paging"].get("next")), (vec!["2001"], None));
    assert!(one.json["paging"]["cursors"]["after"].is_string(), "{one:?}");
    let none = world.lists(&world.administrator("unknown.expiry").await).await;
    assert_eq!(none.json, json!({"data": []}));
}

#[tokio::test]
async fn tasks_differ_and_whoever_has_none_gets_no_token() {
    let world = World::start().await;
    let token = world.administrator("alice.meyer").await;
    let first = world.lists(&token).await;
    let after = first.json["paging"]["cursors"]["after"].as_str().expect("a cursor").to_owned();
    let rest = world.graph("me/accounts", &token, &[("fields", FIELDS), ("after", &after)]).await;
    let pages: Vec<_> = [&first, &rest].into_iter().flat_map(|list| list.json["data"].as_array().unwrap()).collect();
    let told: Vec<_> = pages
        .iter()
        .map(|page| {
            (
                page["name"].as_str().unwrap(),
                page["tasks"].as_array().unwrap().len(),
                page.get("access_token").is_some(),
            )
        })
        .collect();
    let expected = [
        ("Harbour News", 6, true),
        ("Harbour Sailing Club", 5, true),
        ("Harbour Museum", 1, true),
        ("Harbour Live", 0, false),
    ];
    assert_eq!(told, expected);
    assert_eq!(pages[2]["tasks"], json!(["ANALYZE"]));
    let lone = world.graph("2004", &token, &[("fields", FIELDS)]).await;
    assert_eq!((&lone.json["tasks"], lone.json.get("access_token")), (&json!([]), None));
}

#[tokio::test]
async fn only_the_fields_that_are_asked_for_are_told() {
    let world = World::start().await;
    let token = world.administrator("bob.stone").await;
    let asked = world.graph("me/accounts", &token, &[("fields", "name")]).await;
    assert_eq!(asked.json["data"], json!([{"id": "2001", "name": "Harbour News"}]));
    let usual = world.graph("me/accounts", &token, &[]).await;
    assert!(usual.json["data"][0]["access_token"].is_string(), "{usual:?}");
    assert_eq!(world.graph("2001", &token, &[]).await.json, json!({"id": "2001", "name": "Harbour News"}));
}

#[tokio::test]
async fn a_page_that_was_left_out_is_not_listed_and_gives_no_token() {
    let world = World::start().await;
    let choice = [("chosen", "pages"), ("page", "2002"), ("page", "2101")];
    let scope = "public_profile,pages_show_list,pages_read_engagement";
    let token = world.extends(&world.signs_in("alice.meyer", scope, &choice).await).await;
    assert_eq!(ids(&world.lists(&token).await), ["2002"], "2101 is not hers to share");
    let left_out = world.graph("2001", &token, &[("fields", FIELDS)]).await;
    assert_eq!(left_out.json, json!({"id": "2001", "name": "Harbour News"}), "it is public, and no more");
    let inspected = world.debugs(&token).await;
    let granular = json!([
        {"scope": "public_profile"},
        {"scope": "pages_show_list", "target_ids": ["2002"]},
        {"scope": "pages_read_engagement", "target_ids": ["2002"]},
    ]);
    assert_eq!(inspected["granular_scopes"], granular);
}

#[tokio::test]
async fn whoever_ticks_every_page_or_none_is_taken_at_their_word() {
    let world = World::start().await;
    let choice = |pages: &[&'static str]| {
        [("chosen", "pages")].into_iter().chain(pages.iter().map(|page| ("page", *page))).collect::<Vec<_>>()
    };
    let none = world.signs_in("alice.meyer", SCOPE, &choice(&[])).await;
    assert_eq!(world.lists(&none).await.json, json!({"data": []}));
    let all = world.signs_in("alice.meyer", SCOPE, &choice(&["2001", "2002", "2003", "2004"])).await;
    assert_eq!(ids(&world.lists(&all).await), ["2001", "2002", "2003"]);
    assert_eq!(world.debugs(&all).await["granular_scopes"][1], json!({"scope": "pages_show_list"}));
    let form = [
        ("response_type", "code"),
        ("client_id", CLIENT_ID),
        ("redirect_uri", REDIRECT_URI),
        ("scope", SCOPE),
        ("decision", "approve"),
        ("account", "alice.meyer"),
    ];
    let unknown = answer(world.post(DIALOG, &[&form[..], &choice(&["9"])].concat())).await;
    assert_eq!(unknown.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn without_the_permission_the_list_is_empty_and_a_page_refused() {
    let world = World::start().await;
    let token = world.signs_in("bob.stone", "public_profile,email", &[]).await;
    assert_eq!(world.lists(&token).await.json, json!({"data": []}));
    assert_eq!(error(&world.graph("2001", &token, &[("fields", FIELDS)]).await), (10, 0));
    assert_eq!(error(&world.graph("9", &token, &[]).await), (100, 33));
    assert_eq!(error(&world.graph("1001/accounts", &token, &[]).await), (100, 33), "that is somebody else");
}

#[tokio::test]
async fn a_token_derived_from_a_long_lived_one_never_expires() {
    let world = World::start().await;
    let consented_at = world.now();
    let page_token = world.derives(&world.administrator("alice.meyer").await, "2001").await;
    let expected = json!({
        "app_id": CLIENT_ID,
        "type": "PAGE",
        "is_valid": true,
        "expires_at": 0,
        "data_access_expires_at": consented_at + 90 * DAY,
        "issued_at": consented_at,
        "scopes": ["public_profile", "pages_show_list", "pages_messaging"],
        "granular_scopes": [{"scope": "public_profile"}, {"scope": "pages_show_list"}, {"scope": "pages_messaging"}],
        "user_id": "1001",
        "profile_id": "2001",
    });
    assert_eq!(world.debugs(&page_token).await, expected);
    world.later(61 * DAY);
    assert_eq!(world.graph("2001", &page_token, &[]).await.status, StatusCode::OK, "it outlives the person's");
}

#[tokio::test]
async fn a_token_derived_from_a_short_lived_one_lasts_an_hour() {
    let world = World::start().await;
    let page_token = world.derives(&world.signs_in("alice.meyer", SCOPE, &[]).await, "2001").await;
    assert_eq!(world.debugs(&page_token).await["expires_at"], world.now() + 3_600);
    world.later(3_600);
    assert_eq!(error(&world.graph("2001", &page_token, &[]).await), (190, 463));
}

#[tokio::test]
async fn a_page_token_acts_as_its_page_and_as_nobody_else() {
    let world = World::start().await;
    let page_token = world.derives(&world.administrator("alice.meyer").await, "2001").await;
    let page = json!({"id": "2001", "name": "Harbour News"});
    assert_eq!(world.graph("2001", &page_token, &[("fields", "id,name")]).await.json, page);
    assert_eq!(world.graph("me", &page_token, &[]).await.json, page);
    assert_eq!(error(&world.graph("2002", &page_token, &[]).await), (10, 0));
    assert_eq!(error(&world.graph("me/accounts", &page_token, &[]).await), (100, 0));
    let query = [("access_token", page_token.as_str()), ("appsecret_proof", &proof(&page_token))];
    let deleted = answer(world.delete(&format!("{GRAPH}/me/permissions"), &query)).await;
    assert_eq!(error(&deleted), (100, 0));
    let query = [
        ("grant_type", "fb_exchange_token"),
        ("client_id", CLIENT_ID),
        ("client_secret", CLIENT_SECRET),
        ("fb_exchange_token", &page_token),
    ];
    assert_eq!(error(&answer(world.get(&format!("{GRAPH}/oauth/access_token"), &query)).await), (190, 0));
}

#[tokio::test]
async fn calls_about_pages_need_a_right_proof_in_either_form() {
    let world = World::start().await;
    let user_token = world.administrator("alice.meyer").await;
    let page_token = world.derives(&user_token, "2001").await;
    for (path, token) in [("me/accounts", &user_token), ("2001", &user_token), ("2001", &page_token)] {
        let time = world.now().to_string();
        let (plain, timed, other) = (proof(token), proof(&format!("{token}|{time}")), proof("another token"));
        for (proof, accepted) in [
            (&[("appsecret_proof", plain.as_str())][..], true),
            (&[("appsecret_proof", &timed), ("appsecret_time", &time)], true),
            (&[("appsecret_proof", &plain), ("appsecret_time", &time)], false),
            (&[("appsecret_proof", &other)], false),
            (&[], false),
        ] {
            let query = [&[("access_token", token.as_str())], proof].concat();
            let answer = answer(world.get(&format!("{GRAPH}/{path}"), &query)).await;
            assert_eq!(answer.status == StatusCode::OK, accepted, "{path} {proof:?}");
            assert!(accepted || error(&answer) == (100, 0), "{path} {proof:?}");
        }
    }
}

#[tokio::test]
async fn a_page_token_dies_with_the_session_and_the_consent_that_it_came_from() {
    for (event, subcode) in [("revoke", 458), ("checkpoint", 459), ("password_changed", 460), ("expired", 463)] {
        let world = World::start().await;
        let page_token = world.derives(&world.administrator("alice.meyer").await, "2001").await;
        let of_another = world.derives(&world.administrator("bob.stone").await, "2001").await;
        world.happens(Network::Facebook, "alice.meyer", event);
        assert_eq!(error(&world.graph("2001", &page_token, &[]).await), (190, subcode), "{event}");
        let told = world.debugs(&page_token).await;
        assert_eq!((&told["is_valid"], &told["error"]["subcode"]), (&json!(false), &json!(subcode)), "{event}");
        assert_eq!(world.graph("2001", &of_another, &[]).await.status, StatusCode::OK, "{event}");
    }
}

#[tokio::test]
async fn deleting_the_permissions_of_a_person_ends_the_tokens_of_all_their_pages() {
    let world = World::start().await;
    let user_token = world.administrator("alice.meyer").await;
    let (one, other) = (world.derives(&user_token, "2001").await, world.derives(&user_token, "2002").await);
    let query = [("access_token", user_token.as_str()), ("appsecret_proof", &proof(&user_token))];
    let deleted = answer(world.delete(&format!("{GRAPH}/1001/permissions"), &query)).await;
    assert_eq!(deleted.json, json!({"success": true}));
    for (page, token) in [("2001", one), ("2002", other)] {
        assert_eq!(error(&world.graph(page, &token, &[]).await), (190, 458));
    }
}

#[tokio::test]
async fn a_lost_role_ends_the_tokens_for_that_page_and_takes_it_off_the_list() {
    let world = World::start().await;
    let user_token = world.administrator("alice.meyer").await;
    let (lost, kept) = (world.derives(&user_token, "2001").await, world.derives(&user_token, "2002").await);
    let of_another = world.derives(&world.administrator("bob.stone").await, "2001").await;
    world.role_is_lost("alice.meyer", "2001");
    assert_eq!(error(&world.graph("2001", &lost, &[]).await), (190, 492));
    assert_eq!(world.debugs(&lost).await["error"]["subcode"], 492);
    assert_eq!(world.graph("2002", &kept, &[]).await.status, StatusCode::OK);
    assert_eq!(world.graph("2001", &of_another, &[]).await.status, StatusCode::OK);
    assert_eq!(ids(&world.lists(&user_token).await), ["2002", "2003", "2004"]);
    assert_eq!(error(&world.graph("2001", &user_token, &[("fields", FIELDS)]).await), (10, 0));
    world.happens(Network::Facebook, "alice.meyer", "restore");
    assert_eq!(ids(&world.lists(&user_token).await), ["2001", "2002", "2003"]);
}

#[tokio::test]
async fn the_tokens_for_one_page_can_end_while_the_persons_lives_on() {
    let world = World::start().await;
    let user_token = world.administrator("alice.meyer").await;
    let (ended, kept) = (world.derives(&user_token, "2001").await, world.derives(&user_token, "2002").await);
    world.networks.event_at("facebook", "alice.meyer", "expired", Some("2001")).expect("a role");
    assert_eq!(error(&world.graph("2001", &ended, &[]).await), (190, 463));
    assert_eq!(world.graph("2002", &kept, &[]).await.status, StatusCode::OK);
    let again = world.derives(&user_token, "2001").await;
    assert_eq!(world.graph("2001", &again, &[]).await.status, StatusCode::OK, "it is derived again");
}

#[tokio::test]
async fn access_to_data_ends_before_the_token_and_begins_again_with_another_consent() {
    for event in [true, false] {
        let world = World::start().await;
        let user_token = world.administrator("alice.meyer").await;
        let page_token = world.derives(&user_token, "2001").await;
        if event {
            world.later(DAY);
            world.happens(Network::Facebook, "alice.meyer", "data_access_expired");
            assert_eq!(error(&world.lists(&user_token).await), (10, 0));
            assert_eq!(world.graph("me", &user_token, &[]).await.status, StatusCode::OK);
            assert_eq!(error(&world.graph("2001", &user_token, &[("fields", FIELDS)]).await), (10, 0));
        } else {
            world.later(90 * DAY);
        }
        assert_eq!(error(&world.graph("2001", &page_token, &[]).await), (10, 0));
        let told = world.debugs(&page_token).await;
        let clocks = (&told["is_valid"], &told["expires_at"], &told["data_access_expires_at"]);
        assert_eq!(clocks, (&json!(true), &json!(0), &json!(world.now())));
        let renewed = world.administrator("alice.meyer").await;
        assert_eq!(ids(&world.lists(&renewed).await).len(), 3);
    }
}

#[tokio::test]
async fn an_event_about_a_page_names_one_of_the_accounts() {
    let world = World::start().await;
    for (network, account, event, page, said) in [
        ("facebook", "bob.stone", "role_lost", None, "role_lost needs a Page on which bob.stone has a role: 2001"),
        (
            "facebook",
            "bob.stone",
            "role_lost",
            Some("2002"),
            "role_lost needs a Page on which bob.stone has a role: 2001",
        ),
        ("facebook", "bob.stone", "expired", Some("2002"), "expired needs a Page on which bob.stone has a role: 2001"),
        ("facebook", "bob.stone", "revoke", Some("2001"), "revoke is about no Page"),
    ] {
        let refused = world.networks.event_at(network, account, event, page).expect_err("no such thing");
        assert_eq!(refused.to_string(), said);
    }
}

#[tokio::test]
async fn calls_about_pages_are_counted_and_the_pages_own_are_limited_by_themselves() {
    let world = World::start().await;
    let user_token = world.administrator("alice.meyer").await;
    let page_token = world.derives(&user_token, "2001").await;
    world.lists(&user_token).await;
    let counts = world.faults.counts();
    assert_eq!((counts["facebook/accounts"], counts["facebook/page"]), (1, 1));
    let throttle = |target: &str| Fault::once(target, Mode::Throttle);
    world.faults.put(throttle("facebook/page"));
    let slowed = world.graph("2001", &page_token, &[]).await;
    assert_eq!(error(&slowed), (80_001, 0));
    let usage = slowed.headers["x-business-use-case-usage"].to_str().expect("text");
    assert!(usage.contains(r#""estimated_time_to_regain_access":20"#), "{usage}");
    world.faults.put(throttle("facebook/accounts"));
    assert_eq!(error(&world.lists(&user_token).await), (4, 0));
}
