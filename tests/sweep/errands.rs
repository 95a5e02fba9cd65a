//! What the schedule sends on and the queue brings: once, twice, late, never, or nothing that makes sense.

use std::{collections::BTreeSet, time::Duration};

use aws_sdk_dynamodb::types::AttributeValue;
use expiry_sweep::{BACKLOG, LIFE, ROW};
use reqwest::Method;
use sandbox::{functions::Functions, template::Template};
use serde_json::{Value, json};
use shared::{due::Errand, refresh::NEEDED};

use super::{everything, mails_to, notices, rows_with, strike};
use crate::{
    capacity::more_like,
    support::{Person, World, days, minutes},
};

/// A queue that nobody works off.
const STILL: &str = "MissedTicks";

/// The sweep of a world, whose errands stay where they are until they are delivered by hand.
pub(crate) struct ByHand<'a> {
    world: &'a World,
    functions: Functions,
}

impl<'a> ByHand<'a> {
    pub(crate) fn of(world: &'a World) -> Self {
        let (sandbox, mut environment) = (&world.sandbox, world.sandbox.environment().clone());
        let queue = format!("{}/000000000000/{STILL}", sandbox.aws_endpoint());
        environment.get_mut("expiry-sweep").unwrap().insert("DUE_QUEUE".to_owned(), queue);
        Self {
            world,
            functions: Functions::wire(sandbox.aws_config(), &environment, &sandbox.clock().clock()).unwrap(),
        }
    }

    pub(crate) async fn dispatch(&self) -> Value {
        let event = json!({ "source": "aws.scheduler", "detail-type": "Scheduled Event", "detail": "{}" });
        self.functions.invoke("expiry-sweep", event).await.unwrap()
    }

    /// Everything that was ever sent on.
    pub(crate) fn sent(&self) -> Vec<String> {
        self.world.sandbox.cloud().messages(STILL)
    }

    pub(crate) async fn deliver(&self, messages: &[String]) -> Value {
        let record = |(at, body): (usize, &String)| json!({ "messageId": at.to_string(), "body": body });
        let records: Vec<_> = messages.iter().enumerate().map(record).collect();
        self.functions.invoke("expiry-sweep", json!({ "Records": records })).await.unwrap()
    }
}

/// The numbers of a summary that are not zero.
fn counts(summary: &Value) -> BTreeSet<(String, u64)> {
    let counts = summary.as_object().unwrap().iter().filter_map(|(name, count)| Some((name.clone(), count.as_u64()?)));
    counts.filter(|(_, count)| *count > 0).collect()
}

fn is<const N: usize>(expected: [(&str, u64); N]) -> BTreeSet<(String, u64)> {
    expected.map(|(name, count)| (name.to_owned(), count)).into()
}

/// Something of every kind is due: two tokens, one of them the last by which posts come in, a changed ladder, a removal,
/// a session that nobody completed, and a revocation.
async fn all_kinds(world: &World) -> [Person; 2] {
    let [alice, bob, dora] = ["alice", "bob", "dora"].map(|name| world.person(name));
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    let token = "/v1/profiles/facebook_user-1001/tokens/acquisition-alice";
    alice.patch(token, json!({ "allow": { "search_acquisition": true } })).await.expect(200);
    alice.connect("facebook_user", "interaction", "alice.meyer").await;
    bob.connect("x_profile", "interaction", "support").await;
    world.later(minutes(2)).await.sweep().await;
    world.later(days(61)).await;
    strike(world, "x/revoke", "status", 503, 1000);
    dora.delete("/v1/users/bob").await.expect(200);
    let settings = json!({ "ladder_days": [40, 1], "administrators": ["ops@acme.example"] });
    dora.put("/v1/settings", settings).await.expect(200);
    let session = alice.begin("x_profile", "interaction").await;
    alice.approve(&session, "newsdesk").await;
    world.later(minutes(11)).await;
    world.no_faults().await;
    [alice, dora]
}

// S56, S59
#[tokio::test]
async fn a_message_that_is_delivered_again_at_once_or_late_changes_nothing_more() {
    let world = World::start().await;
    let [alice, dora] = all_kinds(&world).await;
    let sweep = ByHand::of(&world);
    let dispatched = counts(&sweep.dispatch().await);
    assert!(dispatched.iter().any(|(name, rows)| name == "dispatched" && *rows >= 6), "{dispatched:?}");

    let messages = sweep.sent();
    let done = tokio::join!(
        sweep.deliver(&messages),
        sweep.deliver(&messages),
        sweep.deliver(&messages),
        sweep.deliver(&messages)
    );
    let done = [done.0, done.1, done.2, done.3];
    let sum = |name: &str| done.iter().map(|summary| summary[name].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("expired"), sum("worsened"), sum("abandoned"), sum("failed")), (2, 1, 1, 0), "{done:#?}");
    assert!(done.iter().all(|done| done["batchItemFailures"] == json!([])), "{done:#?}");

    // what that made due is mailed once, by whomever
    sweep.dispatch().await;
    let messages = sweep.sent();
    tokio::join!(sweep.deliver(&messages), sweep.deliver(&messages), sweep.deliver(&messages));
    assert_eq!([mails_to(&world, "alice").await, mails_to(&world, "ops").await], [1, 1]);
    let (rows, mails) = (everything(&world).await, world.mails().await);
    assert_eq!(counts(&sweep.deliver(&messages).await), is([]));
    assert_eq!((everything(&world).await, world.mails().await), (rows, mails));
    // a day later they are as old as they can get
    world.later(days(1)).await;
    assert_eq!(counts(&sweep.deliver(&messages).await), is([]));
    for (person, told) in [(&alice, 3), (&dora, 3)] {
        let notices = notices(person).await;
        assert_eq!(notices.len(), told, "{} is told of two tokens and of acquisition: {notices:#?}", person.name);
    }
}

// S56
#[tokio::test]
async fn a_message_about_what_is_not_due_any_more_costs_a_read_and_writes_nothing() {
    let world = World::start().await;
    let alice = world.person("alice");
    let end = super::end_of(&alice.connect("facebook_user", "acquisition", "alice.meyer").await);
    world.until(end - days(30)).await;
    let sweep = ByHand::of(&world);
    sweep.dispatch().await;
    let messages = sweep.sent();
    world.sweep().await;
    let rows = everything(&world).await;
    world.forget_calls().await;
    assert_eq!(counts(&sweep.deliver(&messages).await), is([]));
    let consumed = world.sandbox.faults().consumed();
    assert!(consumed.read <= 1.0 && consumed.write == 0.0, "{consumed:?}");
    // nor does one about a token that is gone
    alice.delete("/v1/profiles/facebook_user-1001").await.expect(200);
    assert_eq!(counts(&sweep.deliver(&messages).await), is([]));
    assert_eq!(rows.keys().filter(|key| key.contains("TOKEN#")).count(), 1);
}

// S35, S58
#[tokio::test]
async fn a_message_that_is_nonsense_or_mixes_tenants_does_nothing_and_does_not_keep_others_from_being_done() {
    let world = World::start().await;
    let alice = world.person("alice");
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    world.later(days(31)).await;
    let sweep = ByHand::of(&world);
    sweep.dispatch().await;
    let [good] = &sweep.sent()[..] else { panic!("one message") };
    assert_eq!(Errand::read(good).unwrap().rows(), 1);
    let rows = everything(&world).await;
    // the token is acme's, and Alice is nobody in globex
    let elsewhere = good.replace("acme", "globex");
    let nobodys = json!({ "vault": { "tenant": "globex", "rows": [
        { "outbox": { "person": "alice" } }, { "outbox": "administrators" }, { "removal": "alice" }, { "acquisition": "facebook" }, "settings",
    ] } });
    let flows = json!({ "flows": ["T#acme", "no such row", "acme"] });
    for message in [elsewhere, nobodys.to_string(), flows.to_string()] {
        let done = sweep.deliver(std::slice::from_ref(&message)).await;
        assert_eq!((counts(&done), &done["batchItemFailures"]), (is([]), &json!([])), "{message}");
    }
    let secret = good.replace("\"rows\"", "\"secret\":\"x\",\"rows\"");
    let reaching = good.replace("facebook_user-1001", "facebook_user-1001#TOKEN");
    let nonsense = [String::new(), "{}".to_owned(), "due".to_owned(), secret, reaching];
    for message in nonsense {
        let done = sweep.deliver(std::slice::from_ref(&message)).await;
        assert_eq!(counts(&done), is([]), "{message}");
        assert_eq!(done["batchItemFailures"], json!([{ "itemIdentifier": "0" }]), "{message}");
    }
    assert_eq!(everything(&world).await, rows);
    let done = sweep.deliver(&["nonsense".to_owned(), good.clone()]).await;
    assert_eq!(counts(&done), is([("warned", 1)]));
    assert_eq!(done["batchItemFailures"], json!([{ "itemIdentifier": "0" }]));
}

#[tokio::test]
async fn an_event_that_is_neither_the_schedules_nor_the_queues_is_an_error() {
    let world = World::start().await;
    for event in
        [json!({}), json!(null), json!({ "detail-type": "Something else" }), json!({ "Records": [{ "sns": 1 }] })]
    {
        let answer = world.sandbox.functions().invoke("expiry-sweep", event.clone()).await;
        assert!(answer.unwrap_err().to_string().contains("neither the schedule's nor"), "{event}");
    }
}

// S52, S57
#[tokio::test]
async fn what_is_down_brings_a_message_back_until_it_is_put_aside_and_a_redrive_does_the_rest() {
    let world = World::start().await;
    let alice = world.person("alice");
    alice.connect("x_profile", "interaction", "newsdesk").await;
    strike(&world, "x/revoke", "status", 503, 1000);
    assert_eq!(alice.delete("/v1/profiles/x_profile-42").await.expect(200)["revocation"], "pending");
    world.later(minutes(60)).await.no_faults().await;
    let sweep = ByHand::of(&world);
    sweep.dispatch().await;
    let [message] = &sweep.sent()[..] else { panic!("one message") };
    let sqs = aws_sdk_sqs::Client::new(world.sandbox.aws_config());
    let send = async || {
        let queue = format!("{}/000000000000/DueQueue", world.sandbox.aws_endpoint());
        sqs.send_message().queue_url(queue).message_body(message).send().await.unwrap();
    };
    let queue = |name: &str| world.sandbox.cloud().messages(name);

    strike(&world, "kms/*", "status", 503, 1_000_000);
    send().await;
    for receipt in 1..=3 {
        world.sandbox.deliver("expiry-sweep").await.unwrap();
        assert_eq!(
            (queue("DueQueue"), queue("DueForGood")),
            (vec![message.clone()], vec![]),
            "received {receipt} times"
        );
        // it comes again before the next tick does
        world.later(minutes(5)).await;
    }
    world.sandbox.deliver("expiry-sweep").await.unwrap();
    assert_eq!((queue("DueQueue"), queue("DueForGood")), (vec![], vec![message.clone()]));
    assert!(world.sandbox.networks().grants("x", "newsdesk")[0].live);

    world.no_faults().await;
    send().await;
    world.sandbox.deliver("expiry-sweep").await.unwrap();
    assert_eq!(queue("DueQueue"), <[String; 0]>::default());
    assert!(!world.sandbox.networks().grants("x", "newsdesk")[0].live);
    let rows = everything(&world).await;
    // and at any later time it finds nothing to do
    send().await;
    world.sandbox.deliver("expiry-sweep").await.unwrap();
    assert_eq!((queue("DueQueue").len(), everything(&world).await), (0, rows));
}

// S58
#[tokio::test]
async fn a_broken_row_leaves_its_message_done() {
    let world = World::start().await;
    let alice = world.person("alice");
    for account in ["alice.meyer", "bob.stone"] {
        alice.connect("facebook_user", "acquisition", account).await;
    }
    let key = |part: &str| AttributeValue::S(part.to_owned());
    let update = world.dynamodb().update_item().table_name("Vault").update_expression("REMOVE sealed");
    let update = update.key("pk", key("T#acme#P#facebook_user-1001")).key("sk", key("TOKEN#acquisition-alice"));
    update.send().await.unwrap();
    world.later(days(31)).await;
    let sweep = ByHand::of(&world);
    sweep.dispatch().await;
    let done = sweep.deliver(&sweep.sent()).await;
    assert_eq!(counts(&done), is([("failed", 1), ("warned", 1)]));
    assert_eq!(done["batchItemFailures"], json!([]));
    assert_eq!(counts(&sweep.dispatch().await), is([("dispatched", 2), ("waiting", 1)]), "the row, and the outbox");
}

/// A world in which so many tokens of Alice are due.
async fn due(count: usize) -> World {
    let world = World::start().await;
    world.person("alice").connect("facebook_user", "acquisition", "alice.meyer").await;
    let [row] = &rows_with(&world, "|TOKEN#").await[..] else { panic!("one token") };
    world.sandbox.cloud().import("Vault", more_like(row, 10_000, count - 1, &[])).unwrap();
    world.later(days(31)).await;
    world
}

// S62
#[tokio::test]
async fn ten_thousand_due_rows_are_sent_on_in_one_tick_by_a_few_hundred_calls() {
    let world = due(10_000).await;
    let sweep = ByHand::of(&world);
    world.forget_calls().await;
    let dispatched = sweep.dispatch().await;
    assert_eq!(counts(&dispatched), is([("dispatched", 10_000)]));
    assert_eq!(dispatched["unfinished"], false);
    let messages = sweep.sent();
    assert_eq!(messages.len(), 1_000);
    let named: BTreeSet<_> = messages
        .iter()
        .flat_map(|message| {
            message
                .match_indices("facebook_user-")
                .map(|(at, _)| message[at..].split('"').next().unwrap().to_owned())
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(named.len(), 10_000, "each row is named");
    assert!(messages.iter().all(|message| message.len() < 1_000), "and nothing else");
    let (queries, sends) = (world.calls("dynamodb/Query").await, world.calls("sqs/SendMessageBatch").await);
    assert!(queries <= 112 && sends <= 110, "{queries} queries, {sends} calls of ten messages");
    assert_eq!(world.calls("dynamodb/GetItem").await, 0);
}

#[tokio::test]
async fn what_waits_still_is_not_sent_on_again_and_again() {
    let world = due(1_100).await;
    let sweep = ByHand::of(&world);
    assert_eq!(counts(&sweep.dispatch().await), is([("dispatched", 1_100)]));
    let waiting = sweep.sent();
    assert!(waiting.len() > usize::try_from(BACKLOG).unwrap());
    world.forget_calls().await;
    for _ in 0..3 {
        let held_back = sweep.dispatch().await;
        assert_eq!(counts(&held_back), is([("waiting", 110)]));
        assert_eq!(held_back["unfinished"], true);
        world.later(minutes(5)).await;
    }
    assert_eq!((sweep.sent(), world.calls("dynamodb/Query").await), (waiting, 0));
}

// S57
#[tokio::test]
async fn what_the_queue_does_not_take_is_due_at_the_next_tick() {
    for target in ["sqs/GetQueueAttributes", "sqs/SendMessageBatch"] {
        let world = World::start().await;
        world.person("alice").connect("facebook_user", "acquisition", "alice.meyer").await;
        world.later(days(31)).await;
        strike(&world, target, "status", 503, 3);
        assert_eq!(super::try_to_sweep(&world).await, None, "{target}: it fails as a whole");
        assert_eq!(mails_to(&world, "alice").await, 0);
        let summary = world.sweep().await;
        assert_eq!((&summary["warned"], &summary["mailed"]), (&json!(1), &json!(1)), "{target}: {summary}");
    }
}

#[test]
fn the_times_of_the_queue_and_the_function_agree() {
    let template = Template::deployed();
    let function = template.functions.iter().find(|function| function.name == "expiry-sweep").unwrap();
    let queue = template.queues.iter().find(|queue| queue.name == "DueQueue").unwrap();
    let (lives, hidden) = (function.timeout, queue.visibility_timeout);
    assert!(LIFE + Duration::from_secs(2) <= Duration::from_secs(lives.into()), "it answers before Lambda ends it");
    assert!(NEEDED < ROW && ROW < LIFE, "there is time for a row, and in a row for a refresh");
    assert!(hidden >= 6 * lives, "as AWS advises");
    assert!(hidden < 5 * 60, "what failed comes again before the next tick");
    let redrive = queue.redrive_policy.as_ref().unwrap();
    assert_eq!((redrive.max_receive_count, redrive.dead_letters.as_str()), (3, "DueForGood"));
    assert!(queue.message_retention_period > redrive.max_receive_count * hidden, "it is put aside before it is gone");
    let aside = template.queues.iter().find(|queue| queue.name == "DueForGood").unwrap();
    assert_eq!(aside.message_retention_period, 14 * 24 * 60 * 60);
}

#[tokio::test]
async fn an_operators_tick_tells_what_became_of_what_it_sent_on() {
    let world = World::start().await;
    world.person("alice").connect("facebook_user", "acquisition", "alice.meyer").await;
    world.later(days(31)).await;
    let ticked = world.door(Method::POST, "/_sandbox/tick", json!({ "function": "expiry-sweep" })).await.expect(200);
    // the token, and then the outbox
    assert_eq!(counts(&ticked), is([("dispatched", 2), ("mailed", 1), ("warned", 1)]));
    assert!(world.sandbox.cloud().messages("DueQueue").is_empty());
}
