//! What the compiler and `Debug` say of the types that hold secrets.

use std::{
    fmt::{Debug, Display},
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use http::{HeaderMap, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use shared::{
    apps::{App, Apps},
    connect::Outcome,
    grant::{GrantPlace, SealedGrant},
    keys::{KeysConfig, TenantKeys},
    network::{Answer, Credentials, Grant, Redemption, Request, Talk, Terms},
    profile::{Kind, Network, TokenKind},
    random::Random,
    seal::TenantKey,
    secret::{FlowCookie, LinkSecret, SessionId},
    store::flows::{Departure, Flow, Revocation},
};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::search::{Place, search};
use crate::support::World;

/// Asks the compiler about `T`: where a bound holds, the inherent constant goes before the trait's.
struct Asked<T>(PhantomData<T>);

trait Otherwise {
    const DISPLAYED: bool = false;
    const SERIALIZED: bool = false;
    const ZEROIZED: bool = false;
}

impl<T> Otherwise for Asked<T> {}

impl<T: Display> Asked<T> {
    const DISPLAYED: bool = true;
}

impl<T: Serialize> Asked<T> {
    const SERIALIZED: bool = true;
}

impl<T: ZeroizeOnDrop> Asked<T> {
    const ZEROIZED: bool = true;
}

macro_rules! shown {
    ($($type:ty),* $(,)?) => { [$((stringify!($type), Asked::<$type>::DISPLAYED, Asked::<$type>::SERIALIZED)),*] };
}

// S40
#[test]
fn no_type_that_holds_a_secret_can_be_displayed_or_serialized() {
    assert_eq!(shown![String], [("String", true, true)], "the question can be answered with yes");
    for (name, displayed, serialized) in shown![
        SecretString,
        LinkSecret,
        FlowCookie,
        TenantKey,
        TenantKeys,
        App,
        Apps,
        Grant,
        SealedGrant,
        Request,
        Credentials,
        Redemption,
        Answer,
        Outcome,
        Flow,
        Departure,
        Revocation,
    ] {
        assert!(!displayed && !serialized, "{name} is displayed: {displayed}, serialized: {serialized}");
    }
}

// S40
#[test]
fn what_holds_a_secret_is_overwritten_when_it_is_dropped() {
    let zeroized = [Asked::<String>::ZEROIZED, Asked::<SecretString>::ZEROIZED, Asked::<Zeroizing<Vec<u8>>>::ZEROIZED];
    assert_eq!(zeroized, [false, true, true]);
    // the only way to a tenant's key
    let take: fn(u32, Zeroizing<Vec<u8>>) -> _ = TenantKey::new;
    assert!(take(1, Zeroizing::new(vec![7; 32])).is_ok());
}

/// What a panic over `value` says.
fn panicked(value: impl Debug) -> String {
    let unwrapping = AssertUnwindSafe(|| panic!("{value:?}"));
    let payload = catch_unwind(unwrapping).unwrap_err();
    payload.downcast_ref::<String>().unwrap().clone()
}

/// Everything that can be written of `value`.
fn written(name: &str, value: impl Debug) -> Place {
    Place::new(name, format!("{value:?} {value:#?} {}", panicked(&value)))
}

fn asked<T>(talk: Talk<T>) -> Request {
    match talk {
        Talk::Ask(request, _) => *request,
        Talk::Done(_) => panic!("there was nothing to ask"),
    }
}

// S39, S40
#[tokio::test]
async fn neither_debug_nor_a_panic_shows_what_is_in_a_secret() {
    let (world, random) = (World::start().await, Random::system());
    let (aws, clock) = (world.sandbox.aws_config(), world.sandbox.clock().clock());
    let config = KeysConfig {
        table: "Keys".to_owned(),
        kms_key: world.sandbox.cloud().kms_key().to_owned(),
        stage: "test".to_owned(),
    };
    let keys = TenantKeys::new(aws, config, clock.clone(), random.clone());
    let apps = Apps::new(aws, "tokenward/apps", "v26.0", clock.clone());
    let (app, facebook) = (
        apps.for_connecting(Network::X, TokenKind::Interaction).await.unwrap(),
        apps.for_connecting(Network::Facebook, TokenKind::Acquisition).await.unwrap(),
    );

    let canaries: Vec<SecretString> = (0..5).map(|_| random.token()).collect();
    let [access_token, refresh_token, code, verifier, body] = canaries.as_slice() else { unreachable!() };
    let grant = Grant {
        access_token: access_token.clone(),
        refresh_token: Some(refresh_token.clone()),
        terms: Terms::default(),
    };
    let id = SessionId::new(&random);
    let link = LinkSecret::new(id.clone(), &random);
    let cookie = FlowCookie::new(id.clone(), &random);
    let mut set_cookie = HeaderMap::new();
    cookie.set(&mut set_cookie, jiff::SignedDuration::from_mins(10));
    let cookie_line = set_cookie["set-cookie"].to_str().unwrap();
    let cookie_value = cookie_line.split(['=', ';']).nth(1).unwrap().to_owned();
    let key = "a tenant's key has 32 bytes, so!";
    let sealed = SealedGrant::seal(&keys, GrantPlace::unattached(&"acme".parse().unwrap(), &id), &grant).await.unwrap();
    let current = keys.current("acme").await.unwrap();
    let redemption = || Redemption {
        code: code.clone(),
        redirect_uri: "https://api.example/oauth/callback/x".to_owned(),
        code_verifier: Some(verifier.clone()),
        now: clock.now(),
    };
    let (x, meta) = (Network::X.provider(), Network::Facebook.provider());
    let answer = Answer {
        status: StatusCode::OK,
        headers: set_cookie.clone(),
        body: format!("{{\"access_token\":\"{}\"}}", body.expose_secret()).into_bytes().into(),
    };

    let mut secrets: Vec<String> = canaries.iter().map(|canary| canary.expose_secret().to_owned()).collect();
    secrets.extend([&app, &facebook].map(|app| app.client_secret.expose_secret().to_owned()));
    secrets.extend([link.expose().split_once('.').unwrap().1.to_owned(), cookie_value, key.to_owned()]);
    let shown = [
        written("a secret", access_token),
        written("a grant", &grant),
        written("an answer", &answer),
        written("a link's secret", &link),
        written("a cookie", &cookie),
        written("an app", &app),
        written("Facebook's app", &facebook),
        written("a sealed grant", &sealed),
        written("a revocation", Revocation::new(Network::X, "app", "42", sealed.clone())),
        written("the keys", &keys),
        written("a held key", Arc::clone(&current)),
        written("a key", TenantKey::new(1, Zeroizing::new(key.as_bytes().to_vec())).unwrap()),
        written("X's token request", asked(x.redeem(&app, redemption()))),
        written("X's question", asked(x.identify(&app, Kind::XProfile, &grant, clock.now()))),
        written("X's revocation", asked(x.revoke(&app, &grant, "42"))),
        written("Facebook's token request", asked(meta.redeem(&facebook, redemption()))),
        written("Facebook's question", asked(meta.identify(&facebook, Kind::FacebookUser, &grant, clock.now()))),
        written("Facebook's revocation", asked(meta.revoke(&facebook, &grant, "1001"))),
    ];
    assert_eq!(search(&secrets, &shown), Vec::<String>::new());
    for secret in &secrets {
        let careless = written("a String", secret);
        assert!(!search(&secrets, [&careless]).is_empty(), "the search finds what a String shows");
    }
}
