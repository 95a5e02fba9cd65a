//! What the tables are asked to do, in DynamoDB's own units, tables and indexes together.
//!
//! The figures are those of the design: the complete request writes at most 20 units for a token whose row is about 2 KB,
//! and what a sweep reads follows the rows that are due, however many are stored.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use shared::{
    grant::SealedGrant,
    keys::{KeysConfig, TenantKeys},
    network::Grant,
    random::Random,
    secret::SessionId,
    store::{Spread, flows::Flows},
};

use crate::support::{Landing, Person, Row, World, days};

/// What a row weighs, as DynamoDB counts it: names and values in bytes.
fn weight(row: &Row) -> usize {
    fn of(value: &AttributeValue) -> usize {
        match value {
            AttributeValue::S(text) => text.len(),
            AttributeValue::N(digits) => digits.len() / 2 + 1,
            AttributeValue::B(bytes) => bytes.as_ref().len(),
            AttributeValue::Bool(_) | AttributeValue::Null(_) => 1,
            AttributeValue::L(list) => 3 + list.iter().map(|value| 1 + of(value)).sum::<usize>(),
            AttributeValue::M(fields) => {
                3 + fields.iter().map(|(name, value)| 1 + name.len() + of(value)).sum::<usize>()
            }
            other => panic!("no row of ours has {other:?}"),
        }
    }
    row.iter().map(|(name, value)| name.len() + of(value)).sum()
}

/// Makes the secrets of the grant that waits in a session as long as networks make them at their longest.
async fn lengthen(world: &World, session: &str, by: usize) {
    let environment = &world.sandbox.environment()["tokens"];
    let config = KeysConfig {
        table: environment["KEYS_TABLE"].clone(),
        kms_key: environment["KMS_KEY"].clone(),
        stage: environment["STAGE"].clone(),
    };
    let keys = TenantKeys::new(world.sandbox.aws_config(), config, world.sandbox.clock().clock(), Random::system());
    let flows = Flows::new(world.sandbox.aws_config(), "Flows", Spread::new(4, 0));
    let id = SessionId::try_from(session.to_owned()).unwrap();
    let parked = flows.find(&id).await.unwrap().unwrap().grant.unwrap();
    let grant = parked.open(&keys).await.unwrap();
    let longer = |secret: &SecretString| SecretString::from(format!("{}{}", secret.expose_secret(), "x".repeat(by)));
    let grant = Grant {
        access_token: longer(&grant.access_token),
        refresh_token: grant.refresh_token.as_ref().map(longer),
        terms: grant.terms,
    };
    let sealed = SealedGrant::seal(&keys, parked.place, &grant).await.unwrap();
    let bytes = |sealed: &shared::seal::Sealed| AttributeValue::B(Blob::new(sealed.as_bytes()));
    let mut fields = Row::from([("access_token".to_owned(), bytes(&sealed.access_token))]);
    fields.extend(sealed.refresh_token.as_ref().map(|token| ("refresh_token".to_owned(), bytes(token))));
    let update = world.dynamodb().update_item().table_name("Flows").key("id", AttributeValue::S(session.to_owned()));
    let update = update.update_expression("SET sealed = :sealed");
    update.expression_attribute_values(":sealed", AttributeValue::M(fields)).send().await.unwrap();
}

/// Completes, and tells the units written and the weight of the token's row.
async fn complete(person: &Person, landing: &Landing, by: usize) -> (f64, usize) {
    let world = &person.world;
    lengthen(world, &landing.session(), by).await;
    world.forget_calls().await;
    person.complete(landing).await.expect(200);
    let written = world.sandbox.faults().consumed().write;
    let rows = world.rows("Vault").await;
    let token = rows.iter().find(|row| row["sk"].as_s().unwrap().starts_with("TOKEN#")).unwrap();
    (written, weight(token))
}

#[tokio::test]
async fn the_complete_request_writes_at_most_twenty_units() {
    for (kind, profile, token, account, by) in [
        ("x_profile", "x_profile-42", "interaction", "newsdesk", 560),
        ("facebook_user", "facebook_user-1001", "acquisition", "alice.meyer", 1210),
    ] {
        let world = World::start().await;
        let alice = world.person("alice");
        let first = alice.begin(kind, token).await;
        let landing = alice.approve(&first, account).await;
        let connected = complete(&alice, &landing, by).await;
        if token == "acquisition" {
            // whoever signs in again for it changes how acquisition stands
            let path = format!("/v1/profiles/{profile}/tokens/{token}-alice");
            alice.patch(&path, json!({ "allow": { "search_acquisition": true } })).await.expect(200);
        }
        world.later(days(1)).await;
        let again = alice.begin_again(profile, token).await;
        let landing = alice.approve(&again, account).await;
        for (written, weight) in [connected, complete(&alice, &landing, by).await] {
            assert!((1900..=2048).contains(&weight), "{kind}: the row weighs {weight}");
            assert!(written <= 20.0, "{kind}: {written} units");
        }
    }
}

/// Rows as the product writes them: `row` with other profiles and, where they are given, other owners.
pub(crate) fn more_like<'a>(
    row: &'a Row,
    first: usize,
    count: usize,
    owners: &'a [String],
) -> impl Iterator<Item = Row> + 'a {
    let old = row["login"].as_s().unwrap();
    (first..first + count).enumerate().map(move |(at, profile)| {
        let mut row = row.clone();
        for (name, value) in &mut row {
            let AttributeValue::S(text) = value else { continue };
            if ["pk", "item", "profile", "account", "login"].contains(&name.as_str()) {
                *text = text.replace(old, &profile.to_string());
            }
            if let Some(owner) = owners.get(at)
                && ["sk", "item", "owner"].contains(&name.as_str())
            {
                *text = text.replace("alice", owner);
            }
            if name == "due_shard" {
                *text = (profile % 4).to_string();
            }
        }
        row
    })
}

// S62
#[tokio::test]
async fn what_a_sweep_reads_follows_the_due_rows_and_not_the_stored_ones() {
    let world = World::start().await;
    let alice = world.person("alice");
    let token_of = async |account: &str| {
        alice.connect("facebook_user", "acquisition", account).await;
        let rows = world.rows("Vault").await;
        let newest = rows.into_iter().filter(|row| row.contains_key("connected_at"));
        newest.max_by_key(|row| row["connected_at"].as_s().unwrap().clone()).unwrap()
    };
    let due = token_of("alice.meyer").await;
    world.later(days(20)).await;
    let quiet = token_of("bob.stone").await;
    let users = world.rows("Vault").await;
    let user = users.iter().find(|row| row["sk"].as_s().unwrap().starts_with("USER#")).unwrap();

    // ten people with a due token each: the most that ten due tokens can cost
    let names: Vec<String> = (0..9).map(|name| format!("person-{name}")).collect();
    let users = names.iter().map(|name| {
        let mut row = user.clone();
        row.insert("sk".to_owned(), AttributeValue::S(format!("USER#{name}")));
        row.insert("email".to_owned(), AttributeValue::S(format!("{name}@acme.example")));
        row.insert("subject".to_owned(), AttributeValue::S(name.clone()));
        row
    });
    let cloud = world.sandbox.cloud();
    cloud.import("Vault", users.chain(more_like(&due, 2_000, 9, &names))).unwrap();

    let mut read = BTreeMap::new();
    // thirty and fifteen days before the ends of the ten
    for (first, stored, wait) in [(100_000, 10_000, 11), (200_000, 100_000, 15)] {
        let more = stored - 11 - read.len() * 9_989;
        cloud.import("Vault", more_like(&quiet, first, more, &[])).unwrap();
        world.later(days(wait)).await.forget_calls().await;
        let summary = world.sweep().await;
        assert_eq!((summary["warned"].as_u64(), summary["mailed"].as_u64()), (Some(10), Some(10)), "{summary}");
        read.insert(stored, world.sandbox.faults().consumed().read);
    }
    // four a token, one to find its row and its outbox, one whether its owner's address takes mails, and the settings
    assert!(read.values().all(|units| *units <= 60.5), "{read:?}");
    assert!(read[&100_000] <= read[&10_000], "{read:?}");
}
