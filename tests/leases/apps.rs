//! Several apps for a network, and apps whose secret is replaced, in time or too late.

use secrecy::SecretString;
use serde_json::{Value, json};

use super::{NEWSDESK, newsdesk, row, state, told, whoami};
use crate::support::{Reply, World, minutes};

/// What an operator keeps in Secrets Manager.
const SECRET: &str = "tokenward/apps";
const FIRST: &str = "tokenward-sandbox-x";

/// The apps as Secrets Manager has them, changed.
pub(crate) async fn rewrite_apps(world: &World, change: impl FnOnce(&mut Vec<Value>)) {
    let store = aws_sdk_secretsmanager::Client::new(world.sandbox.aws_config());
    let secret = store.get_secret_value().secret_id(SECRET).send().await.unwrap().secret_string.unwrap();
    let mut apps: Vec<Value> = serde_json::from_str(&secret).unwrap();
    change(&mut apps);
    store.put_secret_value().secret_id(SECRET).secret_string(json!(apps).to_string()).send().await.unwrap();
}

/// X takes another secret of the first app from now on, and the old one no more.
fn rotate_at_x(world: &World) {
    world.sandbox.networks().rotate_app_secret("x", FIRST, SecretString::from(NEW)).unwrap();
}

async fn rotate_here(world: &World) {
    rewrite_apps(world, |apps| {
        apps.iter_mut().find(|app| app["client_id"] == FIRST).unwrap()["client_secret"] = json!(NEW);
    })
    .await;
}

const NEW: &str = "the-secret-that-replaces-it";

async fn lease_support(worker: &crate::support::Person) -> Reply {
    worker.post("/v1/leases", json!({ "use": "publish", "profile_id": "x_profile-43" })).await
}

#[tokio::test]
async fn a_token_stays_with_the_app_that_it_came_from_when_another_is_put_first() {
    let (world, alice, worker) = newsdesk().await;
    rewrite_apps(&world, |apps| apps.reverse()).await;
    world.later(minutes(6)).await;
    alice.connect("x_profile", "interaction", "support").await;
    let apps = async |account: &str| {
        let grants = world.sandbox.networks().grants("x", account);
        grants.into_iter().map(|grant| (grant.client_id, grant.live)).collect::<Vec<_>>()
    };
    assert_eq!(apps("newsdesk").await, [(FIRST.to_owned(), true)]);
    assert_eq!(apps("support").await, [(format!("{FIRST}-2"), true)]);

    // X refreshes for the app alone that it granted to
    world.later(minutes(121)).await.forget_calls().await;
    for lease in [worker.lease().await, lease_support(&worker).await] {
        whoami(&world, &lease.expect(201)).await.expect(200);
    }
    assert_eq!(world.calls("x/token").await, 2);

    // signing in again is how a token moves to the new app
    let session = alice.begin_again("x_profile-42", "interaction").await;
    let landing = alice.approve(&session, "newsdesk").await;
    alice.complete(&landing).await.expect(200);
    world.later(minutes(5)).await.sweep().await;
    assert_eq!(apps("newsdesk").await, [(FIRST.to_owned(), false), (format!("{FIRST}-2"), true)]);
    world.later(minutes(121)).await;
    whoami(&world, &worker.lease().await.expect(201)).await.expect(200);
    assert_eq!(told(&alice).await, (0, 0));
}

#[tokio::test]
async fn an_app_that_was_taken_away_is_an_operators_problem_and_nobody_is_disconnected() {
    let (world, alice, worker) = newsdesk().await;
    rewrite_apps(&world, |apps| apps.retain(|app| app["client_id"] != FIRST)).await;
    world.later(minutes(60)).await;
    whoami(&world, &worker.lease().await.expect(201)).await.expect(200);
    world.later(minutes(61)).await;
    worker.lease().await.refused(500, "misconfigured");
    assert_eq!(state(&alice, NEWSDESK).await.0, "active");
    assert_eq!(told(&alice).await, (0, 0));
}

// S41
#[tokio::test]
async fn a_secret_that_was_replaced_at_both_ends_costs_one_refused_request() {
    let (world, alice, worker) = newsdesk().await;
    alice.connect("x_profile", "interaction", "support").await;
    world.later(minutes(121)).await;
    // the function has a copy of the old secret in hand
    lease_support(&worker).await.expect(201);
    rotate_at_x(&world);
    rotate_here(&world).await;
    world.forget_calls().await;
    let lease = worker.lease().await.expect(201);
    whoami(&world, &lease).await.expect(200);
    assert_eq!((world.calls("x/token").await, world.calls("secretsmanager/GetSecretValue").await), (2, 1));

    world.later(minutes(121)).await.forget_calls().await;
    worker.lease().await.expect(201);
    lease_support(&worker).await.expect(201);
    assert_eq!(world.calls("x/token").await, 2);
    assert_eq!(told(&alice).await, (0, 0));
}

// S41, S52
#[tokio::test]
async fn a_secret_that_was_replaced_at_the_network_alone_stops_refreshes_and_nothing_else() {
    let (world, alice, worker) = newsdesk().await;
    world.later(minutes(3)).await;
    alice.connect("x_profile", "interaction", "support").await;
    let before = row(&world, NEWSDESK).await;
    world.later(minutes(118)).await;
    rotate_at_x(&world);
    world.forget_calls().await;
    for _ in 0..10 {
        let refused = worker.lease().await;
        refused.refused(503, "unavailable");
        let seconds: i64 = refused.header("retry-after").parse().unwrap();
        assert!((240..=300).contains(&seconds), "{seconds}");
        // due as well, and good for a minute more
        whoami(&world, &lease_support(&worker).await.expect(201)).await.expect(200);
    }
    assert_eq!(world.calls("x/token").await, 1, "once is enough to know, for every token of the app");
    world.later(minutes(2)).await;
    for refused in [worker.lease().await, lease_support(&worker).await] {
        refused.refused(503, "unavailable");
    }
    assert_eq!(world.calls("x/token").await, 1);
    world.later(minutes(4)).await;
    for refused in [worker.lease().await, lease_support(&worker).await] {
        refused.refused(503, "unavailable");
    }
    assert_eq!(world.calls("x/token").await, 2, "every five minutes");
    assert_eq!(state(&alice, NEWSDESK).await, ("active".to_owned(), Value::Null));
    assert_eq!(row(&world, NEWSDESK).await["sealed"], before["sealed"]);
    assert_eq!(told(&alice).await, (0, 0));

    rotate_here(&world).await;
    world.later(minutes(6)).await;
    for lease in [worker.lease().await, lease_support(&worker).await] {
        whoami(&world, &lease.expect(201)).await.expect(200);
    }
}
