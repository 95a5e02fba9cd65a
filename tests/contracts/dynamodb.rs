//! What the store relies on in DynamoDB itself.

use aws_sdk_dynamodb::{
    error::ProvideErrorMetadata as _,
    operation::update_item::UpdateItemError,
    types::{AttributeValue, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update},
};

use super::{Engine, on_each};

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

async fn put(engine: &Engine, id: &str, counted: u32) {
    let put = engine.dynamodb().put_item().table_name(engine.table("Flows")).item("id", text(id));
    put.item("counted", AttributeValue::N(counted.to_string())).send().await.unwrap();
}

async fn counted(engine: &Engine, id: &str) -> Option<String> {
    let get = engine.dynamodb().get_item().table_name(engine.table("Flows")).key("id", text(id)).consistent_read(true);
    let row = get.send().await.unwrap().item?;
    Some(row["counted"].as_n().unwrap().clone())
}

/// Counts one up in a transaction; refused where there is no row.
fn counting(engine: &Engine, id: &str) -> TransactWriteItem {
    let update = Update::builder()
        .table_name(engine.table("Flows"))
        .key("id", text(id))
        .update_expression("ADD counted :one")
        .condition_expression("attribute_exists(id)")
        .expression_attribute_values(":one", AttributeValue::N("1".to_owned()));
    TransactWriteItem::builder().update(update.build().unwrap()).build()
}

#[tokio::test]
async fn a_refused_write_tells_the_row_that_was_there() {
    on_each(async |engine| {
        put(engine, "row", 7).await;
        let update = engine.dynamodb().update_item().table_name(engine.table("Flows")).key("id", text("row"));
        let refused = update
            .update_expression("SET counted = :eight")
            .condition_expression("counted = :six")
            .expression_attribute_values(":six", AttributeValue::N("6".to_owned()))
            .expression_attribute_values(":eight", AttributeValue::N("8".to_owned()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await
            .unwrap_err()
            .into_service_error();
        let UpdateItemError::ConditionalCheckFailedException(refused) = refused else { panic!("{refused:?}") };
        assert_eq!(refused.item().unwrap()["counted"], AttributeValue::N("7".to_owned()));
        assert_eq!(counted(engine, "row").await.as_deref(), Some("7"));
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_transaction_wrote_nothing_and_names_the_part_that_was_refused() {
    on_each(async |engine| {
        put(engine, "row", 7).await;
        let new = Put::builder().table_name(engine.table("Flows")).item("id", text("new")).build().unwrap();
        let write = engine.dynamodb().transact_write_items();
        let cancelled = write
            .transact_items(TransactWriteItem::builder().put(new).build())
            .transact_items(counting(engine, "row"))
            .transact_items(counting(engine, "missing"))
            .send()
            .await
            .unwrap_err();
        assert_eq!(cancelled.code(), Some("TransactionCanceledException"));
        let cancelled = cancelled.into_service_error();
        let aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError::TransactionCanceledException(
            cancelled,
        ) = cancelled
        else {
            panic!("{cancelled:?}")
        };
        let codes: Vec<_> = cancelled.cancellation_reasons().iter().map(|reason| reason.code()).collect();
        assert_eq!(codes, [Some("None"), Some("None"), Some("ConditionalCheckFailed")]);
        assert_eq!(counted(engine, "row").await.as_deref(), Some("7"));
        assert_eq!(counted(engine, "missing").await, None);
    })
    .await;
}

#[tokio::test]
async fn a_transaction_that_is_repeated_with_its_token_is_done_once() {
    on_each(async |engine| {
        put(engine, "row", 7).await;
        for _ in 0..2 {
            let write = engine.dynamodb().transact_write_items().client_request_token("the same");
            write.transact_items(counting(engine, "row")).send().await.unwrap();
        }
        // moto ignores ClientRequestToken, so nothing can be learnt from it
        if !engine.is_moto() {
            assert_eq!(counted(engine, "row").await.as_deref(), Some("8"));
        }
    })
    .await;
}

#[tokio::test]
async fn an_index_without_its_key_in_the_row_does_not_hold_the_row() {
    on_each(async |engine| {
        let due = async || {
            let query = engine.dynamodb().query().table_name(engine.table("Flows")).index_name("due");
            let query = query.key_condition_expression("due_shard = :shard AND due_at <= :now");
            let query = query.expression_attribute_values(":shard", text("0"));
            let query = query.expression_attribute_values(":now", AttributeValue::N("100".to_owned()));
            let rows = query.send().await.unwrap().items.unwrap();
            rows.iter().map(|row| row["due_at"].as_n().unwrap().clone()).collect::<Vec<_>>()
        };
        for (id, due_at) in [("a", "100"), ("b", "9"), ("c", "101")] {
            let put = engine.dynamodb().put_item().table_name(engine.table("Flows")).item("id", text(id));
            let put = put.item("due_shard", text("0")).item("due_at", AttributeValue::N(due_at.to_owned()));
            put.send().await.unwrap();
        }
        put(engine, "not due", 0).await;
        assert_eq!(due().await, ["9", "100"], "in the order of numbers");

        let settle = engine.dynamodb().update_item().table_name(engine.table("Flows")).key("id", text("b"));
        settle.update_expression("REMOVE due_at").send().await.unwrap();
        assert_eq!(due().await, ["100"]);
    })
    .await;
}
