//! DynamoDB: the embedded engine on a loopback port of its own, behind the cloud's front.
//!
//! The engine serves HTTP itself, so requests and answers pass through unread and the protocol
//! stays the engine's, checksums and consumed capacity included. Items are never deleted by TTL
//! here: AWS promises a deletion within days, not at a time, so nothing in the product may depend
//! on it, and here nothing can.

use std::io;

use axum::{body::Body, response::Response};
use dynoxide::Database;
use http::{Request, Uri, uri::PathAndQuery};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinSet};

use super::Refusal;
use crate::data::DataDir;

#[derive(Clone)]
pub(super) struct DynamoDb {
    engine: Uri,
    client: Client<HttpConnector, Body>,
}

impl DynamoDb {
    /// Opens the tables in `dir` and serves them as one of `tasks`.
    pub(super) async fn start(dir: &DataDir, tasks: &mut JoinSet<()>) -> io::Result<Self> {
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
        tasks.spawn(dynoxide::server::serve_on(listener, database));
        Ok(Self { engine, client: Client::builder(TokioExecutor::new()).build_http() })
    }

    pub(super) async fn forward(&self, mut request: Request<Body>) -> Response {
        *request.uri_mut() = self.engine.clone();
        match self.client.request(request).await {
            Ok(response) => response.map(Body::new),
            Err(error) => {
                tracing::error!(%error, "the embedded DynamoDB did not answer");
                Refusal::new("InternalServerError", "The embedded engine did not answer.").json()
            }
        }
    }
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
