//! Addresses that mail comes back from, or whose readers complain: left out, shown, and written to again when they are
//! set anew.

use serde_json::{Value, json};

use crate::support::{World, days, minutes};

/// As the event bus tells it.
fn told(kind: Value, tenant: &str, sent_at: &str) -> Value {
    let mut detail = kind;
    detail["mail"] = json!({ "timestamp": sent_at, "tags": { "tenant": [tenant] } });
    json!({ "source": "aws.ses", "detail-type": "Email Bounced", "detail": detail })
}

fn bounce(kind: &str, address: &str) -> Value {
    let recipients = json!([{ "emailAddress": address }]);
    json!({ "eventType": "Bounce", "bounce": { "bounceType": kind, "bouncedRecipients": recipients } })
}

fn settings(administrators: &[&str]) -> Value {
    json!({ "ladder_days": [30, 15], "administrators": administrators, "privacy_url": null, "reauthenticate_url": null })
}

/// To whom the mails went so far.
async fn mailed(world: &World) -> Vec<Value> {
    world.mails().await.iter().map(|mail| mail["to"].clone()).collect()
}

// S60
#[tokio::test]
async fn an_address_whose_mail_came_back_is_not_written_to_and_its_owner_sees_why() {
    let world = World::start().await;
    let alice = world.person("alice");
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    let hear = async |event: Value| {
        world.sandbox.functions().invoke("provider-events", event).await.unwrap()["suppressed"].clone()
    };
    let now = world.sandbox.clock().now().to_string();
    assert_eq!(hear(told(bounce("Transient", "alice@acme.example"), "acme", &now)).await, 0);
    assert_eq!(hear(told(bounce("Permanent", "alice@acme.example"), "globex", &now)).await, 1);
    assert_eq!(hear(told(bounce("Permanent", "alice@acme.example"), "acme#x", &now)).await, 0);
    assert_eq!(alice.get("/v1/notices").await.expect(200).get("mail"), None, "what another organisation's mail met");

    assert_eq!(hear(told(bounce("Permanent", "Alice <Alice@acme.example>"), "acme", &now)).await, 1);
    assert_eq!(hear(told(bounce("Permanent", "Alice <Alice@acme.example>"), "acme", &now)).await, 1);
    world.later(days(31)).await.sweep().await;
    assert_eq!(mailed(&world).await, <[Value; 0]>::default());
    let notices = alice.get("/v1/notices").await.expect(200);
    assert_eq!(notices["items"].as_array().unwrap().len(), 1, "she is told in the product");
    assert_eq!((&notices["mail"]["state"], &notices["mail"]["reason"]), (&json!("suppressed"), &json!("bounced")));
    let rows = world.rows("Vault").await;
    let kept = rows.iter().find(|row| row["sk"].as_s().unwrap().starts_with("SUPPRESSED#")).unwrap();
    assert!(!format!("{kept:?}").to_lowercase().contains("alice"), "the address is not kept: {kept:?}");
}

// S60
#[tokio::test]
async fn an_administrators_address_that_bounces_is_left_out_until_it_is_set_anew() {
    let world = World::start().await;
    let (alice, dora) = (world.person("alice"), world.person("dora"));
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    let administrators = ["ops@acme.example", "bounce@simulator.amazonses.com", "ooto@simulator.amazonses.com"];
    dora.put("/v1/settings", settings(&administrators)).await.expect(200);
    world.later(days(31)).await.sweep().await;
    assert!(mailed(&world).await.contains(&json!(administrators)));
    let mut seen = Value::Null;
    for _ in 0..200 {
        seen = dora.get("/v1/settings").await.expect(200);
        if seen.get("suppressed").is_some() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let suppressed = seen["suppressed"].as_array().unwrap_or_else(|| panic!("{seen}"));
    assert_eq!(suppressed.len(), 1);
    assert_eq!((&suppressed[0]["address"], &suppressed[0]["reason"]), (&json!(administrators[1]), &json!("bounced")));

    world.later(days(14)).await.sweep().await;
    assert!(mailed(&world).await.contains(&json!([administrators[0], administrators[2]])));
    let again = dora.put("/v1/settings", seen).await.expect(200);
    assert_eq!(again.get("suppressed"), None, "what is set anew is written to again");

    // told late of a mail from before
    let before = (world.sandbox.clock().now() - days(14)).to_string();
    let late = told(bounce("Permanent", administrators[1]), "acme", &before);
    let heard = world.sandbox.functions().invoke("provider-events", late).await.unwrap();
    assert_eq!(heard["suppressed"], 0);
}

// S61
#[tokio::test]
async fn an_address_that_the_mail_service_refuses_stands_in_nobodys_way() {
    let world = World::start().await;
    let (alice, dora) = (world.person("alice"), world.person("dora"));
    alice.connect("facebook_user", "acquisition", "alice.meyer").await;
    dora.put("/v1/settings", settings(&["jörg@acme.example", "ops@acme.example"])).await.expect(200);
    world.later(days(31)).await;
    for _ in 0..3 {
        world.sweep().await;
        world.later(minutes(61)).await;
    }
    let to_ops = mailed(&world).await.iter().filter(|to| **to == json!(["ops@acme.example"])).count();
    assert_eq!(to_ops, 1);
}
