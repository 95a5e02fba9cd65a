//! The stand-in for SQS.

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};

use super::*;

const DAY: i64 = 24 * 60 * 60;

impl World {
    fn queue(&self, name: &str) -> String {
        format!("{}/000000000000/{name}", self.sdk.endpoint_url().unwrap())
    }

    pub(super) async fn send(&self, body: &str) -> Result<String, Option<String>> {
        let send = self.sqs().send_message().queue_url(self.queue("SpillQueue")).message_body(body);
        send.send().await.map(|sent| sent.message_id.unwrap()).map_err(|error| code(&error))
    }

    async fn receive(&self) -> Vec<Message> {
        let receive = self.sqs().receive_message().queue_url(self.queue("SpillQueue")).max_number_of_messages(10);
        let receive = receive.message_system_attribute_names(MessageSystemAttributeName::All).wait_time_seconds(20);
        receive.send().await.unwrap().messages.unwrap_or_default()
    }

    async fn delete(&self, receipt: &str) -> Result<(), Option<String>> {
        let delete = self.sqs().delete_message().queue_url(self.queue("SpillQueue")).receipt_handle(receipt);
        delete.send().await.map(drop).map_err(|error| code(&error))
    }

    fn pass(&self, seconds: i64) {
        self.seconds.fetch_add(seconds, Ordering::Relaxed);
    }
}

fn count(message: &Message) -> &str {
    &message.attributes().unwrap()[&MessageSystemAttributeName::ApproximateReceiveCount]
}

#[tokio::test]
async fn a_message_is_hidden_from_others_while_somebody_works_on_it() {
    let world = World::start().await;
    let id = world.send("hello").await.unwrap();
    let [first] = &world.receive().await[..] else { panic!("one message") };
    assert_eq!((first.message_id(), first.body()), (Some(id.as_str()), Some("hello")));
    assert_eq!(first.md5_of_body(), Some("5d41402abc4b2a76b9719d911017c592"));
    assert_eq!(count(first), "1");

    world.pass(29);
    assert_eq!(world.receive().await, []);
    world.pass(1);
    let [second] = &world.receive().await[..] else { panic!("it comes again") };
    assert_eq!((second.message_id(), count(second)), (Some(id.as_str()), "2"));

    world.delete(first.receipt_handle().unwrap()).await.unwrap();
    assert_eq!(world.cloud.messages("SpillQueue"), ["hello"], "an older receipt deletes nothing");
    for _ in 0..2 {
        world.delete(second.receipt_handle().unwrap()).await.unwrap();
        assert_eq!(world.cloud.messages("SpillQueue"), <[String; 0]>::default());
    }
}

#[tokio::test]
async fn a_message_that_nobody_can_do_anything_with_moves_after_a_thousand_receipts() {
    let world = World::start().await;
    world.send("poison").await.unwrap();
    for _ in 0..1000 {
        assert_eq!(world.cloud.sqs().receive("SpillQueue", 10, Some(0)).len(), 1);
    }
    assert_eq!(world.receive().await, []);
    assert_eq!(world.cloud.messages("SpillQueue"), <[String; 0]>::default());
    assert_eq!(world.cloud.messages("SpilledForGood"), ["poison"]);
}

#[tokio::test]
async fn a_message_is_gone_after_fourteen_days() {
    let world = World::start().await;
    world.send("hello").await.unwrap();
    world.pass(14 * DAY - 1);
    assert_eq!(world.cloud.messages("SpillQueue"), ["hello"]);
    world.pass(1);
    assert_eq!(world.cloud.messages("SpillQueue"), <[String; 0]>::default());
    assert_eq!(world.receive().await, []);
}

#[tokio::test]
async fn what_sqs_would_refuse_is_refused_by_its_name() {
    let world = World::start().await;
    for (body, error) in [
        ("", "MissingParameter"),
        ("a \u{1} is no text", "InvalidMessageContents"),
        ("a".repeat(1_048_577).as_str(), "InvalidParameterValue"),
    ] {
        assert_eq!(world.send(body).await, Err(refused(error)));
    }
    assert_eq!(world.delete("a handle of nobody").await, Err(refused("ReceiptHandleIsInvalid")));

    let sqs = world.sqs();
    let nowhere = sqs.send_message().queue_url(world.queue("Nowhere")).message_body("hello").send().await;
    assert!(nowhere.unwrap_err().into_service_error().is_queue_does_not_exist());
    let many = sqs.receive_message().queue_url(world.queue("SpillQueue")).max_number_of_messages(11).send().await;
    assert_eq!(code(&many.unwrap_err()), refused("InvalidParameterValue"));
    let arn = sqs.get_queue_attributes().queue_url(world.queue("SpillQueue")).attribute_names("QueueArn".into());
    assert_eq!(code(&arn.send().await.unwrap_err()), refused("InvalidAttributeName"));
    let later = sqs.send_message().queue_url(world.queue("SpillQueue")).message_body("hello").delay_seconds(5);
    assert_eq!(code(&later.send().await.unwrap_err()), refused("ValidationException"));
    let purge = sqs.purge_queue().queue_url(world.queue("SpillQueue")).send().await;
    assert_eq!(code(&purge.unwrap_err()), refused("UnknownOperationException"));
}
