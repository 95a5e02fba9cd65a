//! The apps' credentials in the Secrets Manager.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use shared::{
    apps::{Apps, AppsError},
    clock::Clock,
    profile::{Network, TokenKind},
};

use super::{Engine, NOW, clock_at, on_each};

const DOCUMENT: &str = r#"[
    {"network":"x","client_id":"x-new","client_secret":"a new secret","tokens":["interaction"]},
    {"network":"x","client_id":"x-old","client_secret":"an old secret"},
    {"network":"facebook","client_id":"1234","client_secret":"größer"}
]"#;

async fn create(engine: &Engine, name: &str, document: &str) -> String {
    let create = engine.secrets_manager().create_secret().name(engine.name(name)).secret_string(document);
    create.send().await.unwrap().arn.unwrap()
}

#[tokio::test]
async fn the_apps_are_read_by_the_name_and_by_the_arn_of_their_secret() {
    on_each(async |engine| {
        let arn = create(engine, "apps", DOCUMENT).await;
        for secret in [engine.name("apps"), arn] {
            let apps = Apps::new(&engine.sdk, &secret, "v26.0", clock_at(NOW));
            let app = apps.for_connecting(Network::X, TokenKind::Interaction).await.unwrap();
            assert_eq!((app.client_id.as_str(), app.client_secret.expose_secret()), ("x-new", "a new secret"));
            let app = apps.by_client_id(Network::X, "x-old").await.unwrap();
            assert_eq!(app.client_secret.expose_secret(), "an old secret");
            let app = apps.for_connecting(Network::Facebook, TokenKind::Acquisition).await.unwrap();
            assert_eq!((app.client_secret.expose_secret(), app.graph_version.as_str()), ("größer", "v26.0"));
            let missing = apps.by_client_id(Network::Facebook, "x-old").await;
            assert!(matches!(missing, Err(AppsError::Missing(Network::Facebook))), "{missing:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_replaced_secret_is_in_use_after_five_minutes() {
    on_each(async |engine| {
        create(engine, "apps", DOCUMENT).await;
        let seconds = Arc::new(AtomicI64::new(NOW.as_second()));
        let now = Arc::clone(&seconds);
        let clock = Clock::from_fn(move || Timestamp::from_second(now.load(Ordering::Relaxed)).unwrap());
        let apps = Apps::new(&engine.sdk, &engine.name("apps"), "v26.0", clock);
        let secret = async || {
            let app = apps.by_client_id(Network::X, "x-new").await.unwrap();
            app.client_secret.expose_secret().to_owned()
        };
        assert_eq!(secret().await, "a new secret");
        let put = engine.secrets_manager().put_secret_value().secret_id(engine.name("apps"));
        put.secret_string(DOCUMENT.replace("a new secret", "a newer secret")).send().await.unwrap();
        for (later, held) in [(299, "a new secret"), (1, "a newer secret")] {
            seconds.fetch_add(later, Ordering::Relaxed);
            assert_eq!(secret().await, held);
        }
    })
    .await;
}

#[tokio::test]
async fn a_secret_that_is_missing_or_unreadable_gives_no_app_and_says_which() {
    on_each(async |engine| {
        let apps = |secret: &str| Apps::new(&engine.sdk, &engine.name(secret), "v26.0", clock_at(NOW));
        let missing = apps("nowhere").by_client_id(Network::X, "x-new").await;
        let Err(AppsError::NoSecret(error)) = missing else { panic!("{missing:?}") };
        assert!(matches!(*error, aws_sdk_secretsmanager::Error::ResourceNotFoundException(_)), "{error:?}");

        create(engine, "broken", "{\"x\":").await;
        let broken = apps("broken").by_client_id(Network::X, "x-new").await;
        assert!(matches!(broken, Err(AppsError::Malformed)), "{broken:?}");
    })
    .await;
}
