//! stub
use crate::Parts;
use axum::Router;
use std::sync::Arc;
pub(crate) fn routes(parts: &Arc<Parts>) -> Router {
    let _ = parts;
    Router::new()
}
