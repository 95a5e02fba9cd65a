//! The spill queue in SQS.

use aws_sdk_sqs::{
    error::{ProvideErrorMetadata as _, SdkError},
    operation::{receive_message::ReceiveMessageError, send_message::SendMessageError},
    types::{Message, MessageSystemAttributeName},
};

use super::{Engine, on_each};

const BODY: &str = r#"{"größe":"&<>\u2028"}"#;
/// By `md5sum`.
const MD5: &str = "821bcfd80ddc6cf3c9705f218c8ffd13";

async fn send(engine: &Engine, queue: &str) -> String {
    let sent = engine.sqs().send_message().queue_url(queue).message_body(BODY).send().await.unwrap();
    assert_eq!(sent.md5_of_message_body(), Some(MD5));
    sent.message_id.unwrap()
}

/// Receives what is visible and hides it for `seconds`.
async fn receive(engine: &Engine, queue: &str, seconds: i32) -> Vec<Message> {
    let receive = engine.sqs().receive_message().queue_url(queue).visibility_timeout(seconds);
    let receive = receive.max_number_of_messages(10).message_system_attribute_names(MessageSystemAttributeName::All);
    receive.send().await.unwrap().messages.unwrap_or_default()
}

async fn delete(engine: &Engine, queue: &str, message: &Message) {
    let delete = engine.sqs().delete_message().queue_url(queue);
    delete.receipt_handle(message.receipt_handle().unwrap()).send().await.unwrap();
}

fn receipts(message: &Message) -> &str {
    &message.attributes().unwrap()[&MessageSystemAttributeName::ApproximateReceiveCount]
}

#[tokio::test]
async fn a_message_is_received_as_it_was_sent_and_gone_once_it_is_deleted() {
    on_each(async |engine| {
        let queue = engine.spill_queue().await;
        let id = send(engine, &queue).await;
        let [message] = &receive(engine, &queue, 0).await[..] else { panic!("one message") };
        assert_eq!((message.message_id(), message.body()), (Some(id.as_str()), Some(BODY)));
        assert_eq!((message.md5_of_body(), receipts(message)), (Some(MD5), "1"));
        delete(engine, &queue, message).await;
        assert_eq!(receive(engine, &queue, 0).await, []);
    })
    .await;
}

#[tokio::test]
async fn a_message_that_was_not_deleted_comes_again_when_it_is_visible_and_not_before() {
    on_each(async |engine| {
        let queue = engine.spill_queue().await;
        let id = send(engine, &queue).await;
        for count in ["1", "2"] {
            let [message] = &receive(engine, &queue, 0).await[..] else { panic!("one message") };
            assert_eq!((message.message_id(), receipts(message)), (Some(id.as_str()), count));
        }
        let [hidden] = &receive(engine, &queue, 600).await[..] else { panic!("one message") };
        assert_eq!(receive(engine, &queue, 0).await, []);
        delete(engine, &queue, hidden).await;
    })
    .await;
}

#[tokio::test]
async fn a_queue_that_does_not_exist_is_told_so() {
    on_each(async |engine| {
        let nowhere = format!("{}/000000000000/{}", engine.sdk.endpoint_url().unwrap(), engine.name("Nowhere"));
        let sent = engine.sqs().send_message().queue_url(&nowhere).message_body(BODY).send().await;
        let sent = sent.map_err(SdkError::into_service_error).unwrap_err();
        assert!(matches!(sent, SendMessageError::QueueDoesNotExist(_)), "{sent:?}");
        assert_eq!(sent.code(), Some("AWS.SimpleQueueService.NonExistentQueue"));
        let received = engine.sqs().receive_message().queue_url(&nowhere).send().await;
        let received = received.map_err(SdkError::into_service_error).unwrap_err();
        assert!(matches!(received, ReceiveMessageError::QueueDoesNotExist(_)), "{received:?}");
    })
    .await;
}

#[tokio::test]
async fn what_is_no_receipt_is_refused() {
    on_each(async |engine| {
        let queue = engine.spill_queue().await;
        let delete = engine.sqs().delete_message().queue_url(queue).receipt_handle("nobody's").send().await;
        let refused = delete.map_err(SdkError::into_service_error).unwrap_err();
        assert!(refused.is_receipt_handle_is_invalid(), "{refused:?}");
    })
    .await;
}
