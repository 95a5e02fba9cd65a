//! The queues in SQS.

use aws_sdk_sqs::{
    error::{ProvideErrorMetadata as _, SdkError},
    operation::{receive_message::ReceiveMessageError, send_message::SendMessageError},
    types::{Message, MessageSystemAttributeName, QueueAttributeName, SendMessageBatchRequestEntry},
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

/// Sends a message for each body; tells the ids of those that were taken and of those that were not.
async fn send_batch(engine: &Engine, queue: &str, bodies: &[&str]) -> [Vec<String>; 2] {
    let mut batch = engine.sqs().send_message_batch().queue_url(queue);
    for (at, body) in bodies.iter().enumerate() {
        let entry = SendMessageBatchRequestEntry::builder().id(at.to_string()).message_body(*body).build();
        batch = batch.entries(entry.unwrap());
    }
    let sent = batch.send().await.unwrap();
    [
        sent.successful.into_iter().map(|entry| entry.id).collect(),
        sent.failed.into_iter().map(|entry| entry.id).collect(),
    ]
}

/// How many messages are visible, and how many are not.
async fn counts(engine: &Engine, queue: &str) -> [u32; 2] {
    let names =
        [QueueAttributeName::ApproximateNumberOfMessages, QueueAttributeName::ApproximateNumberOfMessagesNotVisible];
    let get = engine.sqs().get_queue_attributes().queue_url(queue).set_attribute_names(Some(names.to_vec()));
    let attributes = get.send().await.unwrap().attributes.unwrap();
    names.map(|name| attributes[&name].parse().unwrap())
}

#[tokio::test]
async fn messages_are_sent_together_and_counted_while_they_wait_and_while_somebody_works_on_them() {
    on_each(async |engine| {
        let queue = engine.spill_queue().await;
        assert_eq!(counts(engine, &queue).await, [0, 0]);
        let [sent, failed] = send_batch(engine, &queue, &["a", "b", "c"]).await;
        assert_eq!((sent, failed), (vec!["0".to_owned(), "1".to_owned(), "2".to_owned()], Vec::new()));
        assert_eq!(counts(engine, &queue).await, [3, 0]);
        let received = receive(engine, &queue, 600).await;
        let mut bodies: Vec<_> = received.iter().map(|message| message.body().unwrap()).collect();
        bodies.sort_unstable();
        assert_eq!(bodies, ["a", "b", "c"]);
        assert_eq!(counts(engine, &queue).await, [0, 3]);
        for message in &received {
            delete(engine, &queue, message).await;
        }
        assert_eq!(counts(engine, &queue).await, [0, 0]);
    })
    .await;
}

#[tokio::test]
async fn a_batch_that_sqs_does_not_take_is_refused_by_its_name() {
    on_each(async |engine| {
        let queue = engine.spill_queue().await;
        let entry = |id: &str| SendMessageBatchRequestEntry::builder().id(id).message_body(BODY).build().unwrap();
        let send = async |ids: &[&str]| {
            let entries = ids.iter().map(|id| entry(id)).collect();
            let sent = engine.sqs().send_message_batch().queue_url(&queue).set_entries(Some(entries)).send().await;
            sent.map_err(SdkError::into_service_error).unwrap_err()
        };
        let eleven: Vec<_> = (0..11).map(|at| at.to_string()).collect();
        let eleven: Vec<_> = eleven.iter().map(String::as_str).collect();
        assert!(send(&["1", "1"]).await.is_batch_entry_ids_not_distinct());
        assert!(send(&eleven).await.is_too_many_entries_in_batch_request());
        assert!(send(&["no id"]).await.is_invalid_batch_entry_id());
        assert_eq!(counts(engine, &queue).await, [0, 0]);
    })
    .await;
}
