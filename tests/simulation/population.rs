//! A deployment full of tokens, loaded in bulk: as if people had signed in over the last weeks.
//!
//! One token of each kind is connected through the front door. Its rows are the model of all others, which differ in whose
//! they are, when they were connected, and in their secrets: each has a grant of its own at its network.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    primitives::Blob,
    types::{AttributeValue, PutRequest, WriteRequest},
};
use jiff::{SignedDuration, Timestamp};
use sandbox::networks::Network;
use serde_json::json;
use shared::{
    access::{Subject, TenantId},
    grant::{GrantPlace, SealedGrant},
    keys::{KeysConfig, TenantKeys},
    ladder::Ladder,
    network::{Grant, Terms},
    random::Random,
    token::Token,
};

use crate::support::{Row, SIGN_INS, World};

/// How many tokens of each network a tenant has, in the order of [`SIGN_INS`]: X, Facebook, Instagram, YouTube.
const MIX: [usize; 4] = [8, 2, 8, 2];
/// How many tokens a tenant has.
pub(super) const TENANT: usize = 20;
/// So long ago the oldest was connected, in days, in the same order: as long as such a token goes without anybody.
const OLDEST: [i64; 4] = [30, 59, 49, 30];
/// So long ago the oldest was connected, in days, of those that search for posts: they live through the simulation.
const OLDEST_ACQUIRING: i64 = 14;
/// A token that may be used is asked after every so many hours.
const ASKED_EVERY: i64 = 20;

/// A kind of token, and how one was when it was new.
struct Model {
    network: Network,
    account: &'static str,
    profile: Row,
    row: Row,
    token: Token,
}

/// A token that was loaded.
pub(super) struct Loaded {
    pub(super) network: Network,
    pub(super) expires_at: Option<Timestamp>,
}

/// Loads `tokens` tokens, and tells what was loaded.
pub(super) async fn load(world: &World, tokens: usize, mut progress: impl FnMut(usize)) -> Vec<Loaded> {
    let alice = world.person("alice");
    for (_, kind, token, account) in SIGN_INS {
        alice.connect(kind, token, account).await;
    }
    let models = models(&world.rows("Vault").await);
    let user = world.rows("Vault").await.into_iter().find(|row| row["sk"] == text("USER#alice")).unwrap();
    for model in &models {
        alice.delete(&format!("/v1/profiles/{}", model.token.profile)).await.expect(200);
    }
    world.sweep().await;

    let environment = &world.sandbox.environment()["tokens"];
    let config = KeysConfig {
        table: environment["KEYS_TABLE"].clone(),
        kms_key: environment["KMS_KEY"].clone(),
        stage: environment["STAGE"].clone(),
    };
    let keys = TenantKeys::new(world.sandbox.aws_config(), config, world.sandbox.clock().clock(), Random::system());
    let now = world.sandbox.clock().now();
    let mut loaded = Vec::with_capacity(tokens);
    for tenant in 0..tokens / TENANT {
        let id = TenantId::try_from(format!("t{tenant}")).unwrap();
        let key = keys.sealer(id.as_str()).await.unwrap();
        let mut rows = Vec::new();
        for person in 0..MIX[0] {
            let name = format!("p{person}");
            let mut row = user.clone();
            row.insert("pk".to_owned(), text(&format!("T#{id}")));
            row.insert("sk".to_owned(), text(&format!("USER#{name}")));
            row.insert("email".to_owned(), text(&format!("{name}@{id}.example")));
            rows.push(row);
        }
        for (model, (mix, oldest)) in models.iter().zip(MIX.into_iter().zip(OLDEST)) {
            let owners: Vec<_> = (0..mix).map(|person| format!("p{person}")).collect();
            rows.push(profile(model, &id, &owners));
            for (person, owner) in owners.iter().enumerate() {
                // one token at Facebook in each tenant may be used for acquisition, and is asked after every day
                let acquires = model.network == Network::Facebook && person == 0;
                let (spread, oldest) = if acquires { (1, OLDEST_ACQUIRING) } else { (mix, oldest) };
                // evenly over all ages
                let place = (tenant * spread + person % spread) as f64 / (tokens / TENANT * spread) as f64;
                let age = SignedDuration::from_hours(24 * oldest).mul_f64(place);
                let mut token = aged(&model.token, owner, now - age, now);
                token.allow.search_acquisition = acquires;
                token.check_at = acquires.then(|| now + SignedDuration::from_hours(ASKED_EVERY).mul_f64(place));
                let credentials = world.sandbox.networks();
                let credentials = credentials
                    .consented(model.network.name(), model.account, &token.app, &token.scopes, now - age)
                    .unwrap();
                let grant = Grant {
                    access_token: credentials.access_token.clone(),
                    // Instagram renews a token with itself
                    refresh_token: credentials
                        .refresh_token
                        .or_else(|| (model.network == Network::Instagram).then_some(credentials.access_token)),
                    terms: Terms::default(),
                };
                let sealed = SealedGrant::seal_with(&key, GrantPlace::of_token(&id, &token), &grant);
                rows.push(row(model, &id, &token, &sealed, loaded.len()));
                loaded.push(Loaded { network: model.network, expires_at: token.expires_at });
            }
        }
        write(world, rows).await;
        progress(loaded.len());
    }
    loaded
}

fn models(rows: &[Row]) -> Vec<Model> {
    SIGN_INS
        .into_iter()
        .map(|(name, kind, token, account)| {
            let of = |row: &&Row, item: &str| {
                row["pk"].as_s().unwrap().contains(&format!("#P#{kind}-")) && row["sk"] == text(item)
            };
            let row = rows.iter().find(|row| of(row, &format!("TOKEN#{token}-alice"))).unwrap().clone();
            let profile = rows.iter().find(|row| of(row, "PROFILE")).unwrap().clone();
            let network = Network::ALL.into_iter().find(|network| network.name() == name).unwrap();
            Model { network, account, profile, token: serde_dynamo::from_item(row.clone()).unwrap(), row }
        })
        .collect()
}

/// The token as it would be had `owner` connected it at `since` and nothing happened to it until `now`.
fn aged(model: &Token, owner: &str, since: Timestamp, now: Timestamp) -> Token {
    let shift = since.duration_since(model.connected_at);
    let mut token = model.clone();
    token.owner = Subject::try_from(owner.to_owned()).unwrap();
    token.connected_at = since;
    token.considered_at = now;
    for at in [&mut token.expires_at, &mut token.access_expires_at, &mut token.given_at, &mut token.check_at] {
        *at = at.map(|at| at + shift);
    }
    token
}

fn profile(model: &Model, tenant: &TenantId, owners: &[String]) -> Row {
    let mut row = model.profile.clone();
    row.insert("pk".to_owned(), text(&format!("T#{tenant}#P#{}", model.token.profile)));
    row.insert("tenant".to_owned(), text(tenant.as_str()));
    row.insert("owners".to_owned(), AttributeValue::Ss(owners.to_vec()));
    row
}

fn row(model: &Model, tenant: &TenantId, token: &Token, sealed: &SealedGrant, nth: usize) -> Row {
    let mut row = model.row.clone();
    row.extend(serde_dynamo::to_item::<_, Row>(token).unwrap());
    let binary = |sealed: &shared::seal::Sealed| AttributeValue::B(Blob::new(sealed.as_bytes()));
    let mut secrets = HashMap::from([("access_token".to_owned(), binary(&sealed.access_token))]);
    secrets.extend(sealed.refresh_token.as_ref().map(|token| ("refresh_token".to_owned(), binary(token))));
    row.insert("pk".to_owned(), text(&format!("T#{tenant}#P#{}", token.profile)));
    row.insert("sk".to_owned(), text(&format!("TOKEN#{}", token.id())));
    row.insert("tenant".to_owned(), text(tenant.as_str()));
    row.insert("item".to_owned(), text(&format!("{}#{}", token.profile, token.id())));
    row.insert("sealed".to_owned(), AttributeValue::M(secrets));
    if token.allow.search_acquisition {
        row.insert("pool".to_owned(), text(&format!("{tenant}#{}#search_acquisition", model.network.name())));
    }
    // whichever shard it comes up in: the first write after that puts it where it belongs
    row.insert("due_shard".to_owned(), text(&(nth % 4).to_string()));
    match token.next_due(&Ladder::default()) {
        Some(at) => row.insert("due_at".to_owned(), AttributeValue::N(at.as_second().to_string())),
        None => row.remove("due_shard").and(row.remove("due_at")),
    };
    row
}

async fn write(world: &World, rows: Vec<Row>) {
    let put = |row: Row| PutRequest::builder().set_item(Some(row)).build().unwrap();
    let mut requests = rows.into_iter().map(|row| WriteRequest::builder().put_request(put(row)).build()).peekable();
    let dynamodb = world.dynamodb();
    while requests.peek().is_some() {
        let batch = requests.by_ref().take(25).collect::<Vec<_>>();
        let answer = dynamodb.batch_write_item().request_items("Vault", batch).send().await.unwrap();
        assert!(answer.unprocessed_items.is_none_or(|left| left.is_empty()), "{}", json!("not all rows were written"));
    }
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}
