//! Connect sessions and revocations in the Flows table.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use shared::{
    connect::{Ending, Status},
    grant::GrantPlace,
    profile::{Kind, Network},
    secret::SessionId,
    store::{
        StoreError,
        flows::{DueFlow, Flows, Revocation},
    },
};

use super::{APP, Engine, NOW, Store, departure, granted, minutes, on_each, sealed_grant, session, some_hash, tenant};

fn taken(step: Result<(), StoreError>) -> bool {
    match step {
        Ok(()) => true,
        Err(StoreError::Conflict) => false,
        Err(error) => panic!("{error:?}"),
    }
}

fn revocation(number: u64) -> Revocation {
    let place =
        GrantPlace { tenant: tenant("acme"), profile: "-".to_owned(), token: "tok_1".to_owned(), generation: number };
    Revocation::new(Network::X, APP, "42", sealed_grant(place))
}

async fn all_due(flows: &Flows, now: Timestamp) -> BTreeSet<String> {
    let (mut cursor, mut found) = (flows.due_cursor(), BTreeSet::new());
    while let Some(ids) = flows.due(&mut cursor, now).await.unwrap() {
        for id in ids {
            assert!(found.insert(id.clone()), "{id} came twice");
        }
    }
    found
}

async fn attribute(engine: &Engine, id: &SessionId, name: &str) -> Option<AttributeValue> {
    let get = engine.dynamodb().get_item().table_name(engine.table("Flows")).consistent_read(true);
    let get = get.key("id", AttributeValue::S(id.to_string()));
    get.send().await.unwrap().item.unwrap().remove(name)
}

// S3
#[tokio::test]
async fn each_step_is_taken_once_and_a_repetition_of_the_same_write_is_recognised() {
    on_each(async |engine| {
        let flows = Store::of(engine).flows;
        let session = session("acme", "alice", Kind::XProfile);
        flows.begin(&session).await.unwrap();
        let find = async || flows.find(&session.id).await.unwrap().unwrap();
        assert_eq!(find().await.session, session);

        let (mine, other) = (some_hash(), some_hash());
        assert!(taken(flows.depart(&session, departure(mine.clone()), NOW).await));
        assert!(taken(flows.depart(&session, departure(mine), NOW).await), "the SDK repeats what was not answered");
        assert!(!taken(flows.depart(&session, departure(other.clone()), NOW).await));
        let started = find().await;
        assert_eq!(started.session.status, Status::Started);
        assert_eq!(started.verifier.unwrap().as_bytes(), b"a sealed verifier");

        let started = started.session;
        let mine = some_hash();
        assert!(taken(flows.consume(&started, &mine, NOW).await));
        assert!(taken(flows.consume(&started, &mine, NOW).await));
        assert!(!taken(flows.consume(&started, &other, NOW).await));
        assert!(find().await.verifier.is_none());

        let grant = sealed_grant(GrantPlace::unattached(&session.tenant, &session.id));
        let mine = some_hash();
        assert!(taken(flows.park(&started, &granted("42"), &grant, &mine, NOW).await));
        assert!(taken(flows.park(&started, &granted("42"), &grant, &mine, NOW).await));
        assert!(!taken(flows.park(&started, &granted("43"), &grant, &other, NOW).await));
        let parked = find().await;
        assert_eq!(parked.session.granted, Some(granted("42")));
        assert_eq!(parked.grant, Some(grant));
    })
    .await;
}

// S4
#[tokio::test]
async fn a_step_is_not_taken_when_its_time_is_over() {
    on_each(async |engine| {
        let store = Store::of(engine);
        let flows = &store.flows;
        let pending = session("acme", "alice", Kind::XProfile);
        flows.begin(&pending).await.unwrap();
        let started = store.started("acme", "alice", Kind::XProfile).await;
        for (later, in_time) in [(10, false), (9, true)] {
            let now = NOW + minutes(later);
            assert_eq!(taken(flows.depart(&pending, departure(some_hash()), now).await), in_time);
            assert_eq!(taken(flows.consume(&started, &some_hash(), now).await), in_time);
        }
    })
    .await;
}

#[tokio::test]
async fn a_row_ends_of_itself_except_while_a_grant_waits_in_it() {
    on_each(async |engine| {
        let store = Store::of(engine);
        let started = store.started("acme", "alice", Kind::XProfile).await;
        let parked = store.authorized("acme", "alice", Kind::XProfile, "42").await;
        assert!(attribute(engine, &started.id, "ttl").await.is_some());
        assert_eq!(attribute(engine, &parked.id, "ttl").await, None);
        store.flows.end(&parked, &Ending::expired(), None, NOW).await.unwrap();
        let ttl = (NOW + minutes(24 * 60)).as_second().to_string();
        assert_eq!(attribute(engine, &parked.id, "ttl").await, Some(AttributeValue::N(ttl)));
    })
    .await;
}

// S37
#[tokio::test]
async fn a_session_ends_together_with_its_revocation_or_not_at_all() {
    on_each(async |engine| {
        let store = Store::of(engine);
        let flows = &store.flows;
        let before = store.started("acme", "alice", Kind::XProfile).await;
        flows.consume(&before, &some_hash(), NOW).await.unwrap();
        let ending = Ending::denied(Kind::XProfile);
        assert!(!taken(flows.end(&before, &ending, Some(&revocation(1)), NOW).await), "it went on meanwhile");
        assert_eq!(all_due(flows, NOW).await, BTreeSet::new());

        let now = flows.find(&before.id).await.unwrap().unwrap().session;
        assert!(taken(flows.end(&now, &ending, Some(&revocation(1)), NOW).await));
        let ended = flows.find(&before.id).await.unwrap().unwrap().session;
        assert_eq!((ended.status, ended.ending), (Status::Failed, Some(ending)));
        assert_eq!(all_due(flows, NOW).await, [revocation(1).id].into());
    })
    .await;
}

#[tokio::test]
async fn what_is_due_is_found_over_all_shards_and_pages_and_nothing_else() {
    on_each(async |engine| {
        for shards in [1, 4] {
            let flows = Store::sharded(engine, shards).flows;
            // one page of the index holds a hundred
            for number in 0..130 {
                let at = NOW + minutes(i64::from(number >= 120));
                flows.leave(&revocation(u64::from(shards) * 1000 + number), at).await.unwrap();
            }
        }
        let flows = Store::of(engine).flows;
        assert_eq!(all_due(&flows, NOW - minutes(1)).await.len(), 0);
        assert_eq!(all_due(&flows, NOW).await.len(), 240);
        assert_eq!(all_due(&flows, NOW + minutes(1)).await.len(), 260);
    })
    .await;
}

#[tokio::test]
async fn a_revocation_is_put_off_ever_later_until_it_is_settled() {
    on_each(async |engine| {
        let flows = Store::of(engine).flows;
        flows.leave(&revocation(1), NOW).await.unwrap();
        let id = revocation(1).id;
        let (mut now, mut waits) = (NOW, Vec::new());
        for attempts in 0..3 {
            let Some(DueFlow::Revocation(due)) = flows.take_due(&id, now).await.unwrap() else {
                panic!("it is not due")
            };
            assert_eq!((&due.grant, due.of.attempts), (&revocation(1).grant, attempts));
            flows.put_off(&due, now).await.unwrap();
            let wait = 5 << attempts;
            assert!(flows.take_due(&id, now + minutes(wait - 1)).await.unwrap().is_none());
            now += minutes(wait);
            assert_eq!(all_due(&flows, now).await, [id.clone()].into());
            waits.push(wait);
        }
        assert_eq!(waits, [5, 10, 20]);
        flows.settle(&revocation(1)).await.unwrap();
        assert!(flows.take_due(&id, now).await.unwrap().is_none());
        // somebody else settled it: putting it off does not bring it back
        flows.put_off(&revocation(1), now).await.unwrap();
        assert_eq!(all_due(&flows, now + minutes(60)).await, BTreeSet::new());
    })
    .await;
}

#[tokio::test]
async fn a_grant_that_nobody_took_over_comes_up_when_its_session_is_over() {
    on_each(async |engine| {
        let store = Store::of(engine);
        let parked = store.authorized("acme", "alice", Kind::XProfile, "42").await;
        assert_eq!(all_due(&store.flows, NOW + minutes(9)).await, BTreeSet::new());
        let over = NOW + minutes(10);
        assert_eq!(all_due(&store.flows, over).await, [parked.id.to_string()].into());
        let due = store.flows.take_due(parked.id.as_str(), over).await.unwrap();
        let Some(DueFlow::Session(flow)) = due else { panic!("{due:?}") };
        assert_eq!(flow.session, parked);
        assert!(flow.grant.is_some());
    })
    .await;
}

// S37
#[tokio::test]
async fn a_grant_that_waits_is_seen_from_every_tenant_until_it_is_over() {
    on_each(async |engine| {
        let store = Store::of(engine);
        let parked = store.authorized("acme", "alice", Kind::FacebookUser, "1001").await;
        let waits = async |network, app: &str, login: &str| store.flows.waits_on(network, app, login).await.unwrap();
        assert!(waits(Network::Facebook, APP, "1001").await);
        assert!(!waits(Network::X, APP, "1001").await);
        assert!(!waits(Network::Facebook, "another-app", "1001").await);
        assert!(!waits(Network::Facebook, APP, "1002").await);
        store.flows.end(&parked, &Ending::expired(), None, NOW).await.unwrap();
        assert!(!waits(Network::Facebook, APP, "1001").await);
    })
    .await;
}
