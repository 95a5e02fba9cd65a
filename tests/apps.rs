//! The apps' credentials when a network refuses them: an operator may have replaced them.

use jiff::SignedDuration;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use shared::{
    apps::{App, Apps, AppsError},
    profile::Network,
};

use crate::support::{World, minutes};

const SECRET: &str = "tokenward/apps";
const READS: &str = "secretsmanager/GetSecretValue";

/// The apps that a process holds, and the operator who may replace their secrets.
struct Operator {
    world: World,
    apps: Apps,
    store: aws_sdk_secretsmanager::Client,
}

impl Operator {
    async fn start() -> Self {
        let world = World::start().await;
        let apps = Apps::new(world.sandbox.aws_config(), SECRET, "v26.0", world.sandbox.clock().clock());
        let store = aws_sdk_secretsmanager::Client::new(world.sandbox.aws_config());
        let operator = Self { world, apps, store };
        operator.writes(json!([app("x", "first"), app("facebook", "first")])).await;
        operator
    }

    async fn writes(&self, document: Value) {
        self.store.put_secret_value().secret_id(SECRET).secret_string(document.to_string()).send().await.unwrap();
    }

    async fn app(&self, network: Network) -> App {
        self.apps.by_client_id(network, "an-app").await.unwrap()
    }

    /// The client secret that another reading found.
    async fn rereads(&self, refused: &App) -> Option<String> {
        let app = self.apps.reread(refused).await.unwrap();
        app.map(|app| app.client_secret.expose_secret().to_owned())
    }
}

fn app(network: &str, secret: &str) -> Value {
    json!({ "network": network, "client_id": "an-app", "client_secret": secret })
}

// S41
#[tokio::test]
async fn a_replaced_secret_is_found_at_once_by_one_reading() {
    let operator = Operator::start().await;
    let (of_x, of_facebook) = (operator.app(Network::X).await, operator.app(Network::Facebook).await);
    operator.writes(json!([app("x", "second"), app("facebook", "second")])).await;
    operator.world.forget_calls().await;

    assert_eq!(operator.rereads(&of_x).await.as_deref(), Some("second"));
    for refused in [&of_x, &of_facebook] {
        assert_eq!(operator.rereads(refused).await.as_deref(), Some("second"), "the same reading found it");
    }
    assert_eq!(operator.app(Network::X).await.client_secret.expose_secret(), "second", "it is used from now on");
    assert_eq!(operator.world.calls(READS).await, 1);
}

// S41
#[tokio::test]
async fn a_secret_that_is_wrong_is_read_once_a_minute_whoever_asks() {
    let operator = Operator::start().await;
    let (of_x, of_facebook) = (operator.app(Network::X).await, operator.app(Network::Facebook).await);
    operator.world.forget_calls().await;
    for refused in [&of_x, &of_facebook, &of_x] {
        assert_eq!(operator.rereads(refused).await, None, "it is the same");
    }
    assert_eq!(operator.world.calls(READS).await, 1);

    operator.writes(json!([app("facebook", "second")])).await;
    operator.world.later(SignedDuration::from_secs(59)).await;
    assert_eq!(operator.rereads(&of_facebook).await, None);
    assert_eq!(operator.world.calls(READS).await, 1, "the minute is not over");
    operator.world.later(SignedDuration::from_secs(1)).await;
    assert_eq!(operator.rereads(&of_facebook).await.as_deref(), Some("second"));
    assert_eq!(operator.rereads(&of_x).await, None, "this app is no more");
    assert_eq!(operator.world.calls(READS).await, 2);
}

// S41, S64
#[tokio::test]
async fn a_reading_that_fails_leaves_the_copy_that_there_was_in_use() {
    let operator = Operator::start().await;
    let of_x = operator.app(Network::X).await;
    operator.world.fault(json!({ "target": "secretsmanager/*", "mode": "status", "times": 100 })).await;
    let failed = operator.apps.reread(&of_x).await;
    assert!(matches!(failed, Err(AppsError::Unavailable(_))), "{failed:?}");
    assert_eq!(operator.rereads(&of_x).await, None, "it is not asked again within the minute");
    assert_eq!(operator.app(Network::X).await.client_secret.expose_secret(), "first");
    operator.world.no_faults().await;
    operator.writes(json!([app("x", "second")])).await;
    operator.world.later(minutes(1)).await;
    assert_eq!(operator.rereads(&of_x).await.as_deref(), Some("second"));
}
