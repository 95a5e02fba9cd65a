//! Lists that are longer than a page: nothing is left out, told twice, or of somebody else.

use aws_sdk_dynamodb::{
    Client,
    types::{AttributeValue, PutRequest, WriteRequest},
};
use serde_json::{Value, json};
use std::collections::HashMap;

use crate::support::{Person, World, days};

type Row = HashMap<String, AttributeValue>;

fn text(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

/// The vault's rows whose sort key begins so.
async fn rows(client: &Client, prefix: &str) -> Vec<Row> {
    let scan = client.scan().table_name("Vault").filter_expression("begins_with(sk, :prefix)");
    scan.expression_attribute_values(":prefix", text(prefix)).send().await.unwrap().items.unwrap()
}

async fn write(client: &Client, rows: Vec<Row>) {
    for rows in rows.chunks(25) {
        let puts = rows.iter().map(|row| {
            let put = PutRequest::builder().set_item(Some(row.clone())).build().unwrap();
            WriteRequest::builder().put_request(put).build()
        });
        let answer = client.batch_write_item().request_items("Vault", puts.collect()).send().await.unwrap();
        assert!(answer.unprocessed_items.unwrap_or_default().is_empty());
    }
}

fn with(row: &Row, changes: &[(&str, String)]) -> Row {
    let mut row = row.clone();
    row.extend(changes.iter().map(|(name, value)| ((*name).to_owned(), text(value))));
    row
}

/// Every page of a list, as long as there is a next one.
async fn pages(person: &Person, path: &str) -> Vec<Vec<Value>> {
    let (mut pages, mut next) = (Vec::new(), String::new());
    loop {
        let page = person.get(&format!("{path}{next}")).await.expect(200);
        pages.push(page["items"].as_array().unwrap().clone());
        let Some(cursor) = page["next"].as_str() else { return pages };
        let separator = if path.contains('?') { '&' } else { '?' };
        next = format!("{separator}next={cursor}");
        assert!(pages.len() < 100, "{path} has no end");
    }
}

fn ids(pages: &[Vec<Value>]) -> Vec<&str> {
    pages.iter().flatten().map(|item| item["id"].as_str().unwrap()).collect()
}

// S36
#[tokio::test]
async fn a_long_list_of_profiles_comes_in_pages() {
    let world = World::start().await;
    let (alice, bob, erin) = (world.person("alice"), world.person("bob"), world.person("erin"));
    alice.connect("x_profile", "interaction", "newsdesk").await;
    let client = Client::new(world.sandbox.aws_config());
    let (profile, token) = (rows(&client, "PROFILE").await.remove(0), rows(&client, "TOKEN#").await.remove(0));
    let mut copies = Vec::new();
    for number in 1000..1150 {
        let id = format!("x_profile-{number}");
        let place = [("pk", format!("T#acme#P#{id}")), ("profile", id.clone())];
        copies.push(with(&with(&profile, &place), &[("item", format!("{id}#"))]));
        copies.push(with(&with(&token, &place), &[("item", format!("{id}#interaction-alice"))]));
    }
    // one that many people have a token for: more rows than a page holds
    for number in 100..230 {
        let owner = format!("user{number}");
        let place = [
            ("pk", "T#acme#P#x_profile-1100".to_owned()),
            ("sk", format!("TOKEN#interaction-{owner}")),
            ("profile", "x_profile-1100".to_owned()),
            ("item", format!("x_profile-1100#interaction-{owner}")),
            ("owner", owner),
        ];
        copies.push(with(&token, &place));
    }
    write(&client, copies).await;

    let mut expected: Vec<_> = (1000..1150).map(|number| format!("x_profile-{number}")).collect();
    expected.push("x_profile-42".to_owned());
    for path in ["/v1/profiles", "/v1/profiles?list=all", "/v1/profiles?list=owned"] {
        let pages = pages(&alice, path).await;
        assert_eq!(ids(&pages), expected, "{path}");
        assert!(pages.len() > 3 && pages.iter().all(|page| page.len() <= 100), "{path}: {} pages", pages.len());
        for profile in pages.iter().flatten() {
            let tokens = profile["tokens"].as_array().unwrap().len();
            assert_eq!(tokens, if profile["id"] == "x_profile-1100" { 131 } else { 1 }, "{}", profile["id"]);
        }
    }
    assert_eq!(ids(&pages(&bob, "/v1/profiles?list=owned").await), Vec::<&str>::new());
    // where a page of one tenant ends is no way into it for another
    for next in ["", "?next=x_profile-1050"] {
        assert_eq!(ids(&pages(&erin, &format!("/v1/profiles{next}")).await), Vec::<&str>::new());
    }
}

// S36
#[tokio::test]
async fn a_long_list_of_notices_comes_in_pages_newest_first() {
    let world = World::start().await;
    let (alice, bob) = (world.person("alice"), world.person("bob"));
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    world.later(days(31)).await;
    world.sweep().await;
    let client = Client::new(world.sandbox.aws_config());
    let notice = rows(&client, "NOTICE#").await.remove(0);
    let copies = (0..120).map(|number| {
        let id = format!("{number:011}_facebook_user-1001_acquisition-alice_warning");
        with(&notice, &[("sk", format!("NOTICE#alice#{id}")), ("id", id)])
    });
    // somebody whose name begins alike
    let other = with(&notice, &[("sk", "NOTICE#alice.2E#x".to_owned()), ("id", "x".to_owned())]);
    write(&client, copies.chain([other]).collect()).await;

    let pages = pages(&alice, "/v1/notices").await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [50, 50, 21]);
    let ids = ids(&pages);
    assert!(ids.is_sorted_by(|newer, older| newer > older), "{ids:#?}");
    let cursor = ids[49];
    assert_eq!(bob.get(&format!("/v1/notices?next={cursor}")).await.expect(200)["items"], json!([]));
}

// S36
#[tokio::test]
async fn a_long_list_of_rules_comes_in_pages() {
    let world = World::start().await;
    let (alice, erin) = (world.person("alice"), world.person("erin"));
    let rule = json!({ "topic": "Floods", "use": "search_acquisition", "network": "facebook" });
    alice.post("/v1/rules", rule).await.expect(201);
    let client = Client::new(world.sandbox.aws_config());
    let first = rows(&client, "RULE#").await.remove(0);
    let copies = (0..120).map(|number| {
        let id = format!("0{number:021}");
        with(&first, &[("sk", format!("RULE#{id}")), ("id", id)])
    });
    write(&client, copies.collect()).await;

    let all = pages(&alice, "/v1/rules").await;
    assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [50, 50, 21]);
    let ids = ids(&all);
    assert!(ids.is_sorted_by(|one, other| one < other), "{ids:#?}");
    assert_eq!(erin.get(&format!("/v1/rules?next={}", ids[49])).await.expect(200)["items"], json!([]));
}
