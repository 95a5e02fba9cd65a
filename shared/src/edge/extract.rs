//! Typed input: the caller, bodies, queries and paths.

use std::{collections::BTreeSet, str::FromStr};

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, RawPathParams, Request, rejection::BytesRejection},
};
use http::{StatusCode, header, request::Parts};
use jiff::Timestamp;
use lambda_http::request::RequestContext;
use serde::de::DeserializeOwned;

use super::{ApiError, Code};
use crate::{
    access::Caller,
    clock::{Clock, Deadline},
};

/// Reads the caller from the context that the authorizer verified.
///
/// # Errors
/// When there is no such context, when it is incomplete, or when the access token that it was
/// made from is over: API Gateway may have kept the authorizer's answer.
pub fn caller_of(context: Option<&RequestContext>, now: Timestamp) -> Result<Caller, ApiError> {
    let refused = || ApiError::new(Code::Unauthenticated, "Sign in: this needs a valid access token.");
    let fields = &context.and_then(RequestContext::authorizer).ok_or_else(refused)?.fields;
    let field = |name: &str| fields.get(name).and_then(|value| value.as_str());
    let moment = |name| {
        let seconds = field(name)?.parse().ok()?;
        Timestamp::from_second(seconds).ok()
    };
    let read = || {
        (moment("exp")? > now).then_some(())?;
        Some(Caller {
            tenant: field("tenant")?.parse().ok()?,
            subject: field("sub")?.parse().ok()?,
            email: field("email").filter(|email| !email.is_empty()).map(str::to_owned),
            roles: field("roles")?.split_whitespace().filter_map(|role| role.parse().ok()).collect(),
            // a JSON list, for a group's name may hold anything; none in answers that were kept from before there were groups
            groups: field("groups").map_or_else(|| Some(BTreeSet::new()), |list| serde_json::from_str(list).ok())?,
            scope: field("scope")?.split_whitespace().map(str::to_owned).collect(),
            issued_at: moment("iat")?,
        })
    };
    read().ok_or_else(refused)
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let clock = parts.extensions.get::<Clock>();
        let now = clock.ok_or_else(|| ApiError::new(Code::Internal, "The function has no clock."))?.now();
        caller_of(parts.extensions.get(), now)
    }
}

/// When the request is answered in any case, see [`around`](super::around).
impl<S: Sync> FromRequestParts<S> for Deadline {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let deadline = parts.extensions.get().copied();
        deadline.ok_or_else(|| ApiError::new(Code::Internal, "The function has no deadline."))
    }
}

/// A body of a bounded size, as it came.
pub struct Body {
    /// Its media type in lower case and without parameters; empty where none is named.
    pub media_type: String,
    /// All of it.
    pub bytes: Bytes,
}

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let named = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = named.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
        let media_type = essence.to_ascii_lowercase();
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection: BytesRejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                ApiError::new(Code::BodyTooLarge, "The body is larger than 16 KB.")
            } else {
                ApiError::new(Code::InvalidRequest, "The body could not be read.")
            }
        })?;
        Ok(Self { media_type, bytes })
    }
}

/// A JSON body of a bounded size; whatever does not fit is refused with the place where.
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let Body { media_type, bytes } = Body::from_request(request, state).await?;
        if media_type != "application/json" {
            return Err(ApiError::new(Code::UnsupportedMediaType, "Send the body as application/json."));
        }
        let mut reader = serde_json::Deserializer::from_slice(&bytes);
        let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| misfit(&error))?;
        reader
            .end()
            .map_err(|_| ApiError::new(Code::InvalidRequest, "There is more than one JSON value in the body."))?;
        Ok(Self(value))
    }
}

/// Where the body does not fit; the words of the library, which may quote the input, stay out.
fn misfit(error: &serde_path_to_error::Error<serde_json::Error>) -> ApiError {
    let inner = error.inner();
    if inner.is_syntax() || inner.is_eof() {
        let detail = format!("The body is not JSON: see line {}, column {}.", inner.line(), inner.column());
        return ApiError::new(Code::InvalidRequest, detail);
    }
    let path: String = error.path().to_string().chars().filter(char::is_ascii_graphic).take(80).collect();
    let place = if path == "." { "The body".to_owned() } else { format!("The body at `{path}`") };
    let detail = format!(
        "{place} is not what the route takes: a field is unknown, missing or of another type. See /openapi.json."
    );
    ApiError::new(Code::InvalidRequest, detail)
}

/// The query; of an unknown parameter, or one that stands there twice, `T` refuses to be made.
pub struct Query<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        axum::extract::Query::try_from_uri(&parts.uri).map(|query| Self(query.0)).map_err(|_| {
            ApiError::new(Code::InvalidRequest, "A query parameter is unknown, repeated or not understood.")
        })
    }
}

/// What stands in the path; whatever cannot be an id is not found.
pub struct Path<A>(pub A);

impl<S: Send + Sync, A: FromStr> FromRequestParts<S> for Path<A> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let params = RawPathParams::from_request_parts(parts, state).await.map_err(|_| ApiError::not_found())?;
        let mut values = params.iter().map(|(_, value)| value);
        values.next().and_then(|value| value.parse().ok()).map(Self).ok_or_else(ApiError::not_found)
    }
}

/// What stands in the path of a thing within another, as `/{id}/tokens/{token}`.
pub struct Within<A, B>(pub A, pub B);

impl<S: Send + Sync, A: FromStr, B: FromStr> FromRequestParts<S> for Within<A, B> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let params = RawPathParams::from_request_parts(parts, state).await.map_err(|_| ApiError::not_found())?;
        let mut values = params.iter().map(|(_, value)| value);
        let (outer, inner) = (values.next(), values.next());
        let read = || Some(Self(outer?.parse().ok()?, inner?.parse().ok()?));
        read().ok_or_else(ApiError::not_found)
    }
}
