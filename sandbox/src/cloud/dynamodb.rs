//! DynamoDB: the embedded engine on a loopback port of its own, behind the cloud's front.
//!
//! The engine serves HTTP itself, so the protocol stays the engine's. One thing is added to each
//! request, the wish to know the consumed capacity, which is counted from the answer: what a use
//! case costs can then be asserted from outside, and the product need not ask. Items are never deleted by TTL
//! here: AWS promises a deletion within days, not at a time, so nothing in the product may depend
//! on it, and here nothing can.

use std::{collections::HashMap, io};

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use axum::{
    body::{Body, Bytes},
    response::Response,
};
use dynoxide::{Database, ImportOptions};
use http::{Request, Uri, header::CONTENT_LENGTH, request::Parts, uri::PathAndQuery};
use http_body_util::BodyExt as _;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinSet};

use super::Refusal;
use crate::{
    data::DataDir,
    faults::{Consumed, Faults},
};

#[derive(Clone)]
pub(super) struct DynamoDb {
    engine: Uri,
    client: Client<HttpConnector, Body>,
}

impl DynamoDb {
    /// Opens the tables in `dir` and serves them as one of `tasks`; hands the engine out too.
    pub(super) async fn start(dir: &DataDir, tasks: &mut JoinSet<()>) -> io::Result<(Self, Database)> {
        let database = match dir.file("cloud.db") {
            Some(path) => Database::new(path.to_str().ok_or(io::ErrorKind::InvalidFilename)?),
            None => Database::memory(),
        }
        .map_err(io::Error::other)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let engine = Uri::builder()
            .scheme("http")
            .authority(listener.local_addr()?.to_string())
            .path_and_query(PathAndQuery::from_static("/"))
            .build()
            .map_err(io::Error::other)?;
        tasks.spawn(dynoxide::server::serve_on(listener, database.clone()));
        let client = Client::builder(TokioExecutor::new()).build_http();
        Ok((Self { engine, client }, database))
    }

    /// Lets the engine answer, and counts what it consumed.
    pub(super) async fn forward(&self, operation: &str, mut parts: Parts, body: Bytes, faults: &Faults) -> Response {
        parts.uri = self.engine.clone();
        parts.headers.remove(CONTENT_LENGTH);
        let request = Request::from_parts(parts, Body::from(wishing_to_know(operation, body)));
        let answer = async {
            let (parts, body) = self.client.request(request).await?.into_parts();
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>((parts, body.collect().await?.to_bytes()))
        };
        match answer.await {
            Ok((parts, body)) => {
                faults.consume(consumed(operation, &body));
                Response::from_parts(parts, Body::from(body))
            }
            Err(error) => {
                tracing::error!(%error, "the embedded DynamoDB did not answer");
                Refusal::new("InternalServerError", "The embedded engine did not answer.").json()
            }
        }
    }
}

pub(super) fn import(
    database: &Database,
    table: &str,
    rows: impl IntoIterator<Item = HashMap<String, AttributeValue>>,
) -> io::Result<()> {
    let items = rows.into_iter().map(|row| row.into_iter().map(|(name, value)| (name, of_engine(value))).collect());
    database.import_items(table, items.collect(), ImportOptions::default()).map(drop).map_err(io::Error::other)
}

/// The SDK's value as the engine's own.
fn of_engine(value: AttributeValue) -> dynoxide::AttributeValue {
    use dynoxide::AttributeValue as Engine;
    match value {
        AttributeValue::S(text) => Engine::S(text),
        AttributeValue::N(number) => Engine::N(number),
        AttributeValue::B(bytes) => Engine::B(bytes.into_inner()),
        AttributeValue::Bool(yes) => Engine::BOOL(yes),
        AttributeValue::Ss(texts) => Engine::SS(texts),
        AttributeValue::Ns(numbers) => Engine::NS(numbers),
        AttributeValue::Bs(all) => Engine::BS(all.into_iter().map(Blob::into_inner).collect()),
        AttributeValue::L(values) => Engine::L(values.into_iter().map(of_engine).collect()),
        AttributeValue::M(fields) => {
            Engine::M(fields.into_iter().map(|(name, value)| (name, of_engine(value))).collect())
        }
        _ => Engine::NULL(true),
    }
}

const READS: [&str; 5] = ["GetItem", "Query", "Scan", "BatchGetItem", "TransactGetItems"];
const WRITES: [&str; 5] = ["PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"];

fn wishing_to_know(operation: &str, body: Bytes) -> Bytes {
    let measured = READS.contains(&operation) || WRITES.contains(&operation);
    match serde_json::from_slice::<Value>(&body) {
        Ok(Value::Object(mut request)) if measured && !request.contains_key("ReturnConsumedCapacity") => {
            request.insert("ReturnConsumedCapacity".to_owned(), "TOTAL".into());
            serde_json::to_vec(&request).map_or(body, Bytes::from)
        }
        _ => body,
    }
}

/// What an answer says that it cost.
fn consumed(operation: &str, body: &[u8]) -> Consumed {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let units = |table: &Value| table["CapacityUnits"].as_f64().unwrap_or_default();
    let total = match &answer["ConsumedCapacity"] {
        Value::Array(tables) => tables.iter().map(units).sum(),
        table => units(table),
    };
    if READS.contains(&operation) { Consumed { read: total, write: 0.0 } } else { Consumed { read: 0.0, write: total } }
}

/// Whether a read asks for consistency; `None` for what is no read.
pub(super) fn consistent(operation: &str, body: &[u8]) -> Option<bool> {
    let asked = |request: &Value| request["ConsistentRead"].as_bool().unwrap_or(false);
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    match operation {
        "GetItem" | "Query" | "Scan" => Some(asked(&request)),
        "BatchGetItem" => Some(request["RequestItems"].as_object()?.values().all(asked)),
        "TransactGetItems" => Some(true),
        _ => None,
    }
}
