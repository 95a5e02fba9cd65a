//! The table fails after X has answered: the answer goes through the spill queue, sealed, and nothing is lost.

use aws_sdk_sqs::Client as Queues;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::SignedDuration;
use sandbox::faults::{Fault, Mode};
use serde_json::Value;

use super::{Desk, Due, LEASE, process::Answer};
use crate::support::Row;

/// For so long a message is hidden that the reader could not do.
const HIDDEN: SignedDuration = SignedDuration::from_secs(31);

impl Desk {
    /// A lease in whose midst these calls begin to fail: X has answered and nothing is stored yet.
    async fn lease_while_failing(&self, failing: &[(&str, u32)]) -> Answer {
        let (mut process, stopped) = self.answered(Due::Over).await;
        for (target, times) in failing {
            self.fail(target, *times);
        }
        stopped.resume();
        process.answer().await
    }

    /// Lets an answer of X end up in the spill queue; the table works again by then.
    async fn spill(&self) -> String {
        assert_eq!(self.lease_while_failing(&[("dynamodb/UpdateItem", 1000)]).await.status_code, 503);
        // the reader has tried it once, so that it is hidden from now on
        self.world.sandbox.tick("spill-reader").await.unwrap();
        self.world.no_faults().await;
        let [message] = &self.spilled()[..] else { panic!("it was not spilled") };
        message.clone()
    }

    fn fail(&self, target: &str, times: u32) {
        let fault = Fault { times, status: Some(500), ..Fault::once(target, Mode::Status) };
        self.world.sandbox.faults().put(fault);
    }

    fn spilled(&self) -> Vec<String> {
        self.world.sandbox.cloud().messages("SpillQueue")
    }

    /// Lets the reader work off what is in the queue.
    async fn read_queue(&self) {
        self.world.later(HIDDEN).await;
        self.world.sandbox.tick("spill-reader").await.unwrap();
    }

    async fn send(&self, message: &str) {
        let queue = &self.world.sandbox.environment()["leases"]["SPILL_QUEUE"];
        let queues = Queues::new(self.world.sandbox.aws_config());
        queues.send_message().queue_url(queue).message_body(message).send().await.unwrap();
    }

    async fn row(&self) -> Row {
        let rows = self.world.rows("Vault").await;
        rows.into_iter().find(|row| row["sk"].as_s().is_ok_and(|sk| sk == "TOKEN#interaction-alice")).unwrap()
    }
}

// S49
#[tokio::test]
async fn storing_an_answer_is_tried_again() {
    let desk = Desk::new().await;
    let answer = desk.lease_while_failing(&[("dynamodb/UpdateItem", 4)]).await;
    assert!(desk.is_known_to_x(&answer.lease()).await);
    assert!(desk.spilled().is_empty());
    assert_eq!(desk.asked().await, 1);
}

/// Neither the message nor what it carries in base64 holds anything that X ever handed out.
fn is_sealed(desk: &Desk, message: &str) {
    let fields: Value = serde_json::from_str(message).unwrap();
    let mut texts = vec![message.as_bytes().to_vec()];
    for name in ["access_token", "refresh_token"] {
        texts.push(STANDARD.decode(fields[name].as_str().unwrap()).unwrap());
    }
    let secrets = desk.world.sandbox.networks().secrets_seen();
    let holds = |text: &[u8], secret: &str| text.windows(secret.len()).any(|window| window == secret.as_bytes());
    assert!(secrets.len() > 4, "a code and two grants");
    assert!(texts.iter().all(|text| secrets.iter().all(|secret| !holds(text, secret))));
}

// S39, S49
#[tokio::test]
async fn an_answer_that_cannot_be_stored_is_put_back_when_the_table_works_again() {
    let desk = Desk::new().await;
    let message = desk.spill().await;
    is_sealed(&desk, &message);
    desk.send("a message that is no answer").await;
    desk.fail("dynamodb/*", 1000);
    desk.read_queue().await;
    assert_eq!(desk.spilled().len(), 2, "it is the only copy");
    desk.world.no_faults().await;
    desk.read_queue().await;
    assert_eq!(desk.spilled(), ["a message that is no answer"]);
    let placed = desk.row().await;
    desk.works().await;
    assert_eq!(desk.asked().await, 1);
    assert!(desk.is_active().await);

    // a message may come twice
    desk.send(&message).await;
    desk.read_queue().await;
    assert_eq!(desk.row().await, placed);
    // and much later
    desk.fall_due(Due::Over).await;
    desk.works().await;
    desk.send(&message).await;
    desk.read_queue().await;
    assert_eq!(desk.spilled().len(), 1);
    desk.works().await;
    desk.fall_due(Due::Over).await;
    desk.works().await;
    assert_eq!(desk.asked().await, 1);
    assert!(desk.held().await.renewal.candidates.is_empty());
    desk.world.sweep().await;
    assert!(desk.world.mails().await.is_empty());
}

// S37, S49
#[tokio::test]
async fn a_spilled_answer_that_is_nobodys_any_more_is_revoked_and_nothing_else() {
    let (deleted, renewed) = (Desk::new().await, Desk::new().await);
    tokio::join!(deleted.spill(), renewed.spill());
    deleted.alice.delete("/v1/profiles/x_profile-42/tokens/interaction-alice").await.expect(200);
    renewed.alice.connect("x_profile", "interaction", "newsdesk").await;
    for (desk, live) in [(&deleted, &[false][..]), (&renewed, &[false, true])] {
        desk.world.sweep().await;
        assert_eq!(desk.world.calls("x/revoke").await, 1, "the grant that was the token's");
        desk.read_queue().await;
        assert!(desk.spilled().is_empty());
        desk.world.sweep().await;
        assert_eq!(desk.world.calls("x/revoke").await, 2, "the one that was spilled");
        let grants = desk.world.sandbox.networks().grants("x", "newsdesk");
        assert_eq!(grants.iter().map(|grant| grant.live).collect::<Vec<_>>(), live);
    }
    renewed.works().await;
}

// S50
#[tokio::test]
async fn an_answer_that_could_not_be_kept_anywhere_is_told_as_lost() {
    let desk = Desk::new().await;
    let answer = desk.lease_while_failing(&[("dynamodb/UpdateItem", 1000), ("sqs/SendMessage", 1000)]).await;
    assert_eq!(answer.status_code, 503);
    desk.world.no_faults().await;
    desk.world.later(LEASE).await;
    desk.patiently().await.refused(409, "no_valid_token");
    assert_eq!(desk.asked().await, 2);
    desk.is_lost_and_told().await;
}
