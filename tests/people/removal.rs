//! The removal of a user: effective at once, finished by itself, and no more than that.

use std::sync::Arc;

use aws_sdk_dynamodb::{
    primitives::Blob,
    types::{AttributeValue, PutRequest, WriteRequest},
};
use reqwest::Method;
use sandbox::faults::When;
use serde_json::{Value, json};
use shared::{
    grant::{GrantPlace, SealedGrant},
    keys::{KeysConfig, TenantKeys},
    profile::ProfileId,
    random::Random,
    seal::Sealed,
    store::{
        Spread,
        profiles::{TokenKey, Vault},
    },
};

use super::{NEWSDESK, acting, before_it_writes, listed, token_of};
use crate::{
    estate::{ask, namesake},
    invocation::{context, event},
    support::{Person, Row, World, days, minutes},
};

const OF_BOB: &str = "/v1/users/bob";

fn text(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

/// The sweep's summary and how many users it finished to remove.
async fn removed(world: &World) -> (Value, Value) {
    let summary = world.sweep().await;
    (summary["removed"].clone(), summary["failed"].clone())
}

/// The sort keys of the rows of acme that are about bob: tokens, ownerships, shares, removals.
async fn of_bob(world: &World) -> Vec<String> {
    let named = |row: &Row, name: &str| {
        row.get(name).and_then(|set| set.as_ss().ok()).is_some_and(|set| set.contains(&"bob".to_owned()))
    };
    let is_his = |row: &Row| {
        row["pk"].as_s().unwrap().starts_with("T#acme#")
            && (row.get("owner") == Some(&text("bob"))
                || named(row, "owners")
                || named(row, "shared_users")
                || row["pk"] == text("T#acme#U#bob"))
    };
    let rows = world.rows("Vault").await.into_iter().filter(is_his);
    rows.map(|row| format!("{} {}", row["pk"].as_s().unwrap(), row["sk"].as_s().unwrap())).collect()
}

fn live(world: &World, account: &str) -> usize {
    world.sandbox.networks().grants("x", account).iter().filter(|grant| grant.live).count()
}

// S35, S37, S38
#[tokio::test]
async fn whoever_is_removed_is_refused_at_once_and_what_they_had_ends() {
    let world = World::start().await;
    let [alice, bob, carol, dora, erin] = ["alice", "bob", "carol", "dora", "erin"].map(|name| world.person(name));
    bob.connect("x_profile", "interaction", "newsdesk").await;
    alice.connect("x_profile", "interaction", "newsdesk").await;
    bob.connect("x_profile", "interaction", "support").await;
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    alice.patch(NEWSDESK, json!({ "shared_with": { "users": ["bob", "carol"] } })).await.expect(200);
    let path = "/v1/profiles/facebook_user-1001";
    alice.patch(path, json!({ "shared_with": { "users": ["bob"], "groups": ["service desk"] } })).await.expect(200);
    let before = bob.access_token().await;
    assert_eq!(listed(&bob, "owned").await, ["x_profile-42", "x_profile-43"]);
    assert_eq!(acting(&world, "bob").await, 201);

    // an administrator of the same organisation, and never of oneself
    dora.get("/v1/profiles").await.expect(200);
    for (person, who) in [(&alice, OF_BOB), (&bob, OF_BOB), (&carol, OF_BOB), (&dora, "/v1/users/dora")] {
        let problem = person.delete(who).await.refused(403, "forbidden");
        assert!(problem["detail"].as_str().unwrap().contains("administrator"), "{problem}");
    }
    for who in [OF_BOB, "/v1/users/alice"] {
        erin.delete(who).await.refused(404, "not_found");
    }
    dora.delete("/v1/users/zoe").await.refused(404, "not_found");
    dora.delete("/v1/users/acme-worker").await.refused(404, "not_found");
    assert_eq!((of_bob(&world).await.len(), listed(&bob, "owned").await.len()), (5, 2), "nothing happened so far");

    let done = dora.delete(OF_BOB).await.expect(200);
    let expected = json!({
        "sub": "bob", "removed_at": done["removed_at"], "profiles": 2, "without_owners": 1, "tokens": 2, "shares": 2,
        "revocation": "revoked", "complete": true,
    });
    assert_eq!(done, expected);
    // the gateway still knows what its authorizer said
    for path in ["/v1/profiles", NEWSDESK, "/v1/notices"] {
        ask(&world, Some(&before), Method::GET, path, &Value::Null).await.refused(401, "unauthenticated");
    }
    assert_eq!(acting(&world, "bob").await, 403);
    assert_eq!((live(&world, "support"), live(&world, "newsdesk")), (0, 1));
    assert_eq!(listed(&dora, "without_owners").await, ["x_profile-43"]);
    let newsdesk = alice.get(NEWSDESK).await.expect(200);
    assert_eq!((&newsdesk["owners"], &newsdesk["shared_with"]["users"]), (&json!(["alice"]), &json!(["carol"])));
    let facebook = alice.get(path).await.expect(200);
    assert_eq!(facebook["shared_with"], json!({ "users": [], "groups": ["service desk"], "everybody": false }));
    let support = json!({ "use": "publish", "profile_id": "x_profile-43" });
    world.person("acme-worker").post("/v1/leases", support).await.refused(409, "no_valid_token");

    // once more changes nothing more, and the sweep puts the removal away
    let again = dora.delete(OF_BOB).await.expect(200);
    assert_eq!((&again["profiles"], &again["tokens"], &again["shares"]), (&json!(0), &json!(0), &json!(0)));
    assert_eq!(of_bob(&world).await, ["T#acme#U#bob REMOVAL"]);
    world.later(minutes(2)).await;
    assert_eq!(removed(&world).await, (json!(1), json!(0)));
    assert_eq!(removed(&world).await, (json!(0), json!(0)));
    assert_eq!(of_bob(&world).await, [] as [&str; 0]);
    ask(&world, Some(&before), Method::GET, "/v1/profiles", &Value::Null).await.refused(401, "unauthenticated");
}

// S38
#[tokio::test]
async fn whoever_comes_back_after_a_removal_begins_anew() {
    let world = World::start().await;
    let [alice, bob, dora] = ["alice", "bob", "dora"].map(|name| world.person(name));
    bob.connect("x_profile", "interaction", "support").await;
    alice.connect("x_profile", "interaction", "newsdesk").await;
    let session = bob.begin("x_profile", "interaction").await;
    let landing = bob.approve(&session, "newsdesk").await;
    let before = bob.access_token().await;
    dora.delete(OF_BOB).await.expect(200);

    world.later(minutes(1)).await;
    assert_eq!(listed(&bob, "owned").await, [] as [&str; 0]);
    ask(&world, Some(&before), Method::GET, "/v1/profiles", &Value::Null).await.refused(401, "unauthenticated");
    // what he signed in for before he was removed is over
    bob.complete(&landing).await.refused(410, "session_expired");
    // what he signs in for now is his, while the removal is not finished and after it is
    let connected = bob.connect("x_profile", "interaction", "support").await;
    assert_eq!((&connected["owners"], &connected["state"]), (&json!(["bob"]), &json!("valid")));
    alice.patch(NEWSDESK, json!({ "shared_with": { "users": ["bob"] } })).await.expect(200);
    world.later(minutes(10)).await;
    assert_eq!(removed(&world).await, (json!(1), json!(0)));
    assert_eq!((live(&world, "support"), live(&world, "newsdesk")), (1, 1), "the sign-in that is over was revoked");
    assert_eq!(listed(&bob, "owned").await, ["x_profile-43"]);
    let facebook = bob.connect("facebook_user", "acquisition", "bob.stone").await;
    world.later(days(31)).await.sweep().await;
    assert_eq!(world.mails().await[0]["to"], json!(["bob@acme.example"]), "he is written to again");

    // and can be removed again
    let done = dora.delete(OF_BOB).await.expect(200);
    assert_eq!((&done["profiles"], &done["tokens"]), (&json!(2), &json!(2)), "{facebook}");
}

/// What holds a person's things for them: keys that seal as the product does.
fn keys(world: &World) -> TenantKeys {
    let environment = &world.sandbox.environment()["tokens"];
    let config = KeysConfig {
        table: environment["KEYS_TABLE"].clone(),
        kms_key: environment["KMS_KEY"].clone(),
        stage: environment["STAGE"].clone(),
    };
    TenantKeys::new(world.sandbox.aws_config(), config, world.sandbox.clock().clock(), Random::system())
}

/// Gives bob so many profiles at X as one that he has, each with the grant of that one, sealed for its own place.
async fn multiply(world: &World, profile: &str, count: u32) {
    let keys = keys(world);
    let vault = Vault::new(world.sandbox.aws_config(), "Vault", Spread::new(4, 0));
    let key = TokenKey {
        tenant: "acme".parse().unwrap(),
        profile: profile.parse().unwrap(),
        token: "interaction-bob".parse().unwrap(),
    };
    let held = vault.token(&key).await.unwrap().unwrap();
    let grant = held.grant.open(&keys).await.unwrap();
    let rows = world.rows("Vault").await;
    let row = |sk: &str| {
        let place = text(format!("T#acme#P#{profile}"));
        rows.iter().find(|row| row["pk"] == place && row["sk"] == text(sk)).unwrap().clone()
    };
    let (of_profile, of_token) = (row("PROFILE"), row("TOKEN#interaction-bob"));
    let blob = |sealed: &Sealed| AttributeValue::B(Blob::new(sealed.as_bytes()));
    let mut puts = Vec::new();
    for number in 10_000..10_000 + count {
        let id = format!("x_profile-{number}");
        let other: ProfileId = id.parse().unwrap();
        let place = GrantPlace::of(&key.tenant, &other, &key.token, held.token.generation);
        let sealed = SealedGrant::seal(&keys, place, &grant).await.unwrap();
        let fields = Row::from([
            ("access_token".to_owned(), blob(&sealed.access_token)),
            ("refresh_token".to_owned(), blob(sealed.refresh_token.as_ref().unwrap())),
        ]);
        for (row, item) in [(&of_profile, ""), (&of_token, "interaction-bob")] {
            let mut row = row.clone();
            row.insert("pk".into(), text(format!("T#acme#P#{id}")));
            row.insert("profile".into(), text(&id));
            row.insert("item".into(), text(format!("{id}#{item}")));
            if row.contains_key("sealed") {
                row.insert("sealed".into(), AttributeValue::M(fields.clone()));
            } else {
                row.insert("owners".into(), AttributeValue::Ss(vec!["bob".into()]));
            }
            let put = PutRequest::builder().set_item(Some(row)).build().unwrap();
            puts.push(WriteRequest::builder().put_request(put).build());
        }
    }
    for puts in puts.chunks(25) {
        let written = world.dynamodb().batch_write_item().request_items("Vault", puts.to_vec()).send().await.unwrap();
        assert!(written.unprocessed_items.unwrap_or_default().is_empty());
    }
}

/// A world in which bob owns many profiles, and alice one of them too.
async fn estate_of_bob(count: u32) -> (World, Person, Person) {
    let world = World::start().await;
    let [alice, bob, dora] = ["alice", "bob", "dora"].map(|name| world.person(name));
    for person in [&alice, &bob] {
        person.connect("x_profile", "interaction", "newsdesk").await;
    }
    multiply(&world, "x_profile-42", count).await;
    dora.get("/v1/profiles").await.expect(200);
    (world, alice, dora)
}

/// The request of an administrator past the gateway, which can be killed as Lambda kills.
fn removing(world: &World) -> tokio::task::JoinHandle<()> {
    let world = world.clone();
    tokio::spawn(async move {
        let mut caller = context(&world, "acme", "dora");
        caller["roles"] = json!("administrator");
        world.invoke("tokens", event("DELETE", OF_BOB, &Value::Null, &caller)).await;
    })
}

// S35, S37, S57
#[tokio::test]
async fn a_removal_that_is_killed_anywhere_finishes_by_itself_and_once() {
    let (world, alice, _) = estate_of_bob(60).await;
    let before = world.person("bob").access_token().await;
    for calls in [4, 40, 3] {
        let stopped = world.sandbox.faults().stop_at(calls, When::After);
        let request = removing(&world);
        stopped.reached().await;
        request.abort();
        request.await.unwrap_err();
        drop(stopped);
        // whatever is left, the person is refused, and each profile is whole: an owner has a token, and nobody else has
        ask(&world, Some(&before), Method::GET, "/v1/profiles", &Value::Null).await.refused(401, "unauthenticated");
        let profiles = alice.get("/v1/profiles").await.expect(200);
        for profile in profiles["items"].as_array().unwrap() {
            let mut holders: Vec<_> =
                profile["tokens"].as_array().unwrap().iter().map(|token| token["owner"].clone()).collect();
            holders.sort_by_key(ToString::to_string);
            assert_eq!(profile["owners"], json!(holders), "{profile}");
        }
        assert!(of_bob(&world).await.contains(&"T#acme#U#bob REMOVAL".to_owned()));
    }
    assert!(of_bob(&world).await.len() > 2, "there is something left to do");

    world.later(minutes(2)).await;
    assert_eq!(removed(&world).await, (json!(1), json!(0)));
    assert_eq!(of_bob(&world).await, [] as [&str; 0]);
    world.later(minutes(5)).await.sweep().await;
    assert_eq!(live(&world, "newsdesk"), 1, "Alice's");
    assert!(world.rows("Flows").await.iter().all(|row| !row.contains_key("due_at")), "every grant was revoked");
    let newsdesk = alice.get(NEWSDESK).await.expect(200);
    assert_eq!((&newsdesk["owners"], &newsdesk["state"]), (&json!(["alice"]), &json!("valid")));
    assert_eq!(listed(&alice, "without_owners").await.len(), 60);
}

// S57, S66
#[tokio::test]
async fn a_removal_that_takes_too_long_says_so_and_the_sweep_goes_on() {
    let (world, alice, dora) = estate_of_bob(400).await;
    // so slow that it would take eight seconds
    let slow = json!({ "target": "dynamodb/TransactWriteItems", "mode": "slow", "delay_ms": 20, "times": 100_000 });
    world.fault(slow).await;
    // whoever takes too long for the gateway is answered with 503
    let done = dora.delete(OF_BOB).await.expect(200);
    assert_eq!(done["complete"], false, "{done}");
    let tokens = done["tokens"].as_u64().unwrap();
    assert!((1..400).contains(&tokens) && done["profiles"] == done["tokens"], "{done}");
    world.no_faults().await;
    world.later(minutes(2)).await;
    assert_eq!(removed(&world).await, (json!(1), json!(0)));
    assert_eq!((of_bob(&world).await.len(), live(&world, "newsdesk")), (0, 1));
    let mut unowned = 0;
    for profile in world.rows("Vault").await.iter().filter(|row| row["sk"] == text("PROFILE")) {
        unowned += usize::from(!profile.contains_key("owners"));
    }
    assert_eq!((unowned, alice.get(NEWSDESK).await.expect(200)["owners"].clone()), (400, json!(["alice"])));
}

// S58
#[tokio::test]
async fn a_broken_profile_fails_alone_and_keeps_the_removal_open() {
    let (world, _, dora) = estate_of_bob(3).await;
    let update = async |expression: &str, sealed: Option<AttributeValue>| {
        let update = world.dynamodb().update_item().table_name("Vault");
        let update = update.key("pk", text("T#acme#P#x_profile-10001")).key("sk", text("TOKEN#interaction-bob"));
        let update = update.update_expression(expression).return_values("ALL_OLD".into());
        let update = match sealed {
            Some(sealed) => update.expression_attribute_values(":sealed", sealed),
            None => update,
        };
        update.send().await.unwrap().attributes.unwrap().remove("sealed")
    };
    let sealed = update("REMOVE sealed", None).await;
    let done = dora.delete(OF_BOB).await.expect(200);
    assert_eq!((&done["complete"], &done["tokens"]), (&json!(false), &json!(3)), "{done}");
    world.later(minutes(2)).await;
    assert_eq!(removed(&world).await.0, 0);
    update("SET sealed = :sealed", sealed).await;
    assert_eq!(removed(&world).await.0, 1);
    assert_eq!(of_bob(&world).await, [] as [&str; 0]);
}

// S38
#[tokio::test]
async fn what_is_completed_at_the_moment_of_a_removal_ends_with_it() {
    let world = World::start().await;
    let [bob, dora] = ["bob", "dora"].map(|name| world.person(name));
    let session = bob.begin("x_profile", "interaction").await;
    let landing = bob.approve(&session, "support").await;
    dora.get("/v1/profiles").await.expect(200);

    // he was admitted, and all but the writing is done
    let (completing, stopped) = before_it_writes(&world, async move { bob.complete(&landing).await }).await;
    let done = dora.delete(OF_BOB).await.expect(200);
    assert_eq!((&done["tokens"], &done["complete"]), (&json!(0), &json!(true)));
    stopped.resume();
    completing.await.unwrap().expect(200);
    assert_eq!(live(&world, "support"), 1);

    world.later(minutes(2)).await;
    assert_eq!(removed(&world).await, (json!(1), json!(0)));
    world.later(minutes(10)).await.sweep().await;
    assert_eq!((of_bob(&world).await.len(), live(&world, "support")), (0, 0));
}

// S35, S37
#[tokio::test]
async fn a_removal_under_load_leaves_nothing_that_works_in_the_persons_name() {
    let (world, alice, dora) = estate_of_bob(8).await;
    // every access token is over: each lease refreshes
    world.later(minutes(121)).await;
    alice.get("/v1/profiles").await.expect(200);
    let worker = Arc::new(world.person("acme-worker"));
    let leases = (0..40).map(|at| {
        let worker = Arc::clone(&worker);
        let profile = format!("x_profile-{}", if at % 2 == 0 { 42 } else { 10_000 + at % 8 });
        tokio::spawn(async move { worker.post("/v1/leases", json!({ "use": "publish", "profile_id": profile })).await })
    });
    let leases: Vec<_> = leases.collect();
    let shares = (0..10).map(|_| {
        let alice = alice.clone();
        tokio::spawn(async move { alice.patch(NEWSDESK, json!({ "shared_with": { "users": ["bob"] } })).await })
    });
    let shares: Vec<_> = shares.collect();
    dora.delete(OF_BOB).await.expect(200);
    for lease in leases {
        let status = lease.await.unwrap().status.as_u16();
        assert!([201, 409, 503].contains(&status), "{status}");
    }
    for share in shares {
        share.await.unwrap().expect(200);
    }
    for _ in 0..3 {
        world.door(Method::POST, "/_sandbox/tick", json!({ "function": "spill-reader" })).await.expect(200);
        world.later(minutes(6)).await.sweep().await;
    }
    assert_eq!(of_bob(&world).await, [] as [&str; 0]);
    let profile = alice.get(NEWSDESK).await.expect(200);
    assert_eq!((&profile["owners"], &profile["tokens"].as_array().unwrap().len()), (&json!(["alice"]), &1));
    assert!(world.rows("Flows").await.iter().all(|row| !row.contains_key("due_at")), "every grant was revoked");
    assert_eq!(live(&world, "newsdesk"), 1);
    let lease = worker.lease().await.expect(201);
    assert_eq!(lease["token_id"], "interaction-alice");
}

#[tokio::test]
async fn nobody_writes_to_whoever_was_removed() {
    let world = World::start().await;
    let [bob, dora] = ["bob", "dora"].map(|name| world.person(name));
    bob.connect("facebook_user", "acquisition", "bob.stone").await;
    dora.connect("facebook_user", "acquisition", "alice.meyer").await;
    world.later(days(31)).await;
    world.fault(json!({ "target": "ses/SendRawEmail", "mode": "throttle", "times": 100 })).await;
    assert_eq!(world.sweep().await["postponed"], 2);
    world.no_faults().await;
    dora.delete(OF_BOB).await.expect(200);
    for _ in 0..3 {
        world.later(days(10)).await.sweep().await;
    }
    let mails = world.mails().await;
    assert!(!mails.is_empty() && mails.iter().all(|mail| mail["to"] == json!(["dora@acme.example"])), "{mails:#?}");
}

#[tokio::test]
async fn whatever_stands_in_a_subject_only_that_person_is_removed() {
    let world = World::start().await;
    let dora = world.person("dora");
    let people = ["auth0|b", "auth0", "a.7Cb", "b#U#c", "b?x=1", "Bob B. Ä", "a..b", "*"];
    let tokens = people.map(|sub| token_of(&world, sub, &["responder"], &[]));
    let looks = async |token: &str| ask(&world, Some(token), Method::GET, "/v1/profiles", &Value::Null).await;
    for token in &tokens {
        looks(token).await.expect(200);
    }
    for (at, sub) in people.into_iter().enumerate() {
        let path = format!("/v1/users/{}", encoded(sub));
        assert_eq!(dora.delete(&path).await.expect(200)["sub"], sub);
        for (other, token) in tokens.iter().enumerate() {
            let status = if other <= at { 401 } else { 200 };
            assert_eq!(looks(token).await.status.as_u16(), status, "{} after {sub} was removed", people[other]);
        }
    }
    world.later(minutes(2)).await;
    assert_eq!(removed(&world).await, (json!(8), json!(0)));
}

/// Every byte that is no letter or digit as `%XX` (RFC 3986 §2.1).
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |text, byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => text + &char::from(byte).to_string(),
        _ => text + &format!("%{byte:02X}"),
    })
}

// S30, S31
#[tokio::test]
async fn a_namesake_of_another_organisation_is_not_removed() {
    let world = World::start().await;
    let bob = world.person("bob");
    bob.connect("x_profile", "interaction", "support").await;
    let theirs = namesake(&world, "bob", "globex");
    ask(&world, Some(&theirs), Method::GET, "/v1/profiles", &Value::Null).await.expect(200);
    world.person("erin").delete(OF_BOB).await.expect(200);
    ask(&world, Some(&theirs), Method::GET, "/v1/profiles", &Value::Null).await.refused(401, "unauthenticated");
    assert_eq!(listed(&bob, "owned").await, ["x_profile-43"]);
    world.later(minutes(2)).await.sweep().await;
    assert_eq!((listed(&bob, "owned").await.len(), live(&world, "support")), (1, 1));
}
