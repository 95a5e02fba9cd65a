//! Errors as problem documents (RFC 9457).

use std::{borrow::Cow, collections::BTreeMap, error::Error};

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{self, RefOr},
};

use crate::{apps::AppsError, keys::KeysError, revoke::GrantError, store::StoreError};

/// The stable codes of problem documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request is not of the form that the route takes.
    InvalidRequest,
    /// There is no such network.
    UnknownNetwork,
    /// There is no such profile kind.
    UnknownKind,
    /// This kind of profile has no such token.
    UnsupportedToken,
    /// The use is unknown, or is none of what it is wanted of.
    UnsupportedUse,
    /// The operator did not register this return address.
    ReturnUrlNotRegistered,
    /// No verified caller.
    Unauthenticated,
    /// Nothing proves that a network sent the message.
    SenderNotProven,
    /// The caller may not do this.
    Forbidden,
    /// There is nothing here, or nothing that this caller may know of.
    NotFound,
    /// The route does not take this method.
    MethodNotAllowed,
    /// The session is not at the step that this needs.
    NotAuthorizedYet,
    /// The session was completed already.
    AlreadyCompleted,
    /// Something else changed it at the same time.
    Conflict,
    /// The session's time is over.
    SessionExpired,
    /// It is not the code that the consenting browser got.
    CompletionCodeRejected,
    /// The account signed in is not the profile's.
    ForeignAccount,
    /// Whoever signed in cannot connect a profile that was selected.
    NotConnectable,
    /// The body is too large.
    BodyTooLarge,
    /// The header fields are too large.
    HeadersTooLarge,
    /// The body is of another media type than the route takes.
    UnsupportedMediaType,
    /// The lease needs a rule, or another one.
    RuleRequired,
    /// No token may be used for it: a person has to act.
    NoValidToken,
    /// The network limits every token that could be used.
    RateLimited,
    /// A stored secret does not open; nothing was overwritten.
    Unsealable,
    /// The organisation's keys were destroyed, and with them everything that was sealed.
    Shredded,
    /// Something that this needs is misconfigured.
    Misconfigured,
    /// Something that this needs is down.
    Unavailable,
    /// A defect.
    Internal,
}

impl Code {
    /// The status that goes with it.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest
            | Self::UnknownNetwork
            | Self::UnknownKind
            | Self::UnsupportedToken
            | Self::UnsupportedUse
            | Self::RuleRequired
            | Self::ReturnUrlNotRegistered => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::CompletionCodeRejected | Self::SenderNotProven => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAuthorizedYet
            | Self::AlreadyCompleted
            | Self::Conflict
            | Self::ForeignAccount
            | Self::NotConnectable
            | Self::NoValidToken => StatusCode::CONFLICT,
            Self::SessionExpired | Self::Shredded => StatusCode::GONE,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::Unsealable | Self::Misconfigured | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The same words for every occurrence (RFC 9457 §3.1.3).
    fn title(self) -> &'static str {
        match self {
            Self::InvalidRequest => "The request is not understood",
            Self::UnknownNetwork => "Unknown network",
            Self::UnknownKind => "Unknown profile kind",
            Self::UnsupportedToken => "This kind of profile has no such token",
            Self::UnsupportedUse => "No such use here",
            Self::ReturnUrlNotRegistered => "The return address is not registered",
            Self::Unauthenticated => "Not signed in",
            Self::SenderNotProven => "The sender is not proven",
            Self::Forbidden => "Not allowed",
            Self::NotFound => "Not found",
            Self::MethodNotAllowed => "Method not allowed",
            Self::NotAuthorizedYet => "Not authorised at the network",
            Self::AlreadyCompleted => "Completed already",
            Self::Conflict => "Changed at the same time",
            Self::SessionExpired => "The session is over",
            Self::CompletionCodeRejected => "Wrong completion code",
            Self::ForeignAccount => "Another account",
            Self::NotConnectable => "It cannot be connected",
            Self::BodyTooLarge => "The body is too large",
            Self::HeadersTooLarge => "The header fields are too large",
            Self::UnsupportedMediaType => "The body is of another media type",
            Self::RuleRequired => "A rule is needed",
            Self::NoValidToken => "There is no token for it",
            Self::RateLimited => "Limited by the network",
            Self::Unsealable => "A stored secret does not open",
            Self::Shredded => "The organisation was shredded",
            Self::Misconfigured => "Misconfigured",
            Self::Unavailable => "Not available now",
            Self::Internal => "A defect",
        }
    }

    /// The name in JSON.
    #[must_use]
    pub fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// An answer that says no.
#[derive(Debug)]
pub struct ApiError {
    code: Code,
    detail: Cow<'static, str>,
    source: Option<Box<dyn Error + Send + Sync>>,
    retry_after: Option<u32>,
}

impl ApiError {
    /// An error with words for the caller: what is wrong and what to do.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), source: None, retry_after: None }
    }

    /// The failure behind it, for the log alone.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// When it makes sense to try again, in seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// There is nothing here that this caller may know of.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(Code::NotFound, "There is nothing here, or nothing that you may see.")
    }

    /// The caller's roles do not allow it.
    #[must_use]
    pub fn forbidden(needs: &'static str) -> Self {
        Self::new(Code::Forbidden, needs)
    }

    /// Something that this needs is down.
    #[must_use]
    pub fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Code::Unavailable, "Something that this needs does not answer. Nothing is lost: try again.")
            .because(source)
            .retry_after(5)
    }

    /// Its code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// Writes the failure down, once, with what is behind it.
    pub fn log(&self) {
        let Some(source) = &self.source else { return };
        let mut causes = vec![source.to_string()];
        let mut next = source.source();
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        tracing::error!(code = %self.code.name(), causes = %causes.join(": "), "a request failed");
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict => {
                Self::new(Code::Conflict, "Something else changed it at the same time. Look at it and try again.")
            }
            StoreError::Unavailable(_) => Self::unavailable(error),
            StoreError::Unreadable(_) => Self::new(Code::Internal, "A stored row could not be read.").because(error),
        }
    }
}

impl From<KeysError> for ApiError {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Unavailable(_) | KeysError::Refused(_) => Self::unavailable(error),
            KeysError::Shredded => Self::new(
                Code::Shredded,
                "The organisation's keys were destroyed on purpose, and with them every token. Your operator can open it again.",
            )
            .because(error),
            KeysError::Unsealable(_) => Self::new(
                Code::Unsealable,
                "A stored secret does not open; nothing was overwritten. Tell your operator.",
            )
            .because(error),
        }
    }
}

impl From<GrantError> for ApiError {
    fn from(error: GrantError) -> Self {
        match error {
            GrantError::Store(error) => error.into(),
            GrantError::Keys(error) => error.into(),
            GrantError::Apps(error) => error.into(),
        }
    }
}

impl From<AppsError> for ApiError {
    fn from(error: AppsError) -> Self {
        match error {
            AppsError::Unavailable(_) => Self::unavailable(error),
            AppsError::NoSecret(_) | AppsError::Malformed | AppsError::Missing(_) => {
                Self::new(Code::Misconfigured, "The app for this network is not configured. Tell your operator.")
                    .because(error)
            }
        }
    }
}

/// A problem document (RFC 9457).
#[derive(Serialize, ToSchema)]
pub struct Problem {
    /// Names the problem (RFC 9457 §3.1.1); the code as a URN.
    #[serde(rename = "type")]
    kind: String,
    /// The same words for every occurrence.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// Stable, for programs.
    code: Code,
    /// What is wrong and what to do, for people.
    detail: String,
}

impl IntoResponses for Problem {
    fn responses() -> BTreeMap<String, RefOr<openapi::Response>> {
        let problem = |description: &str| {
            let content = openapi::ContentBuilder::new().schema(Some(openapi::Ref::from_schema_name("Problem")));
            let response = openapi::ResponseBuilder::new()
                .description(description)
                .content("application/problem+json", content.build());
            RefOr::T(response.build())
        };
        [("4XX", "Refused"), ("5XX", "Not done; try again")]
            .into_iter()
            .map(|(status, description)| (status.to_owned(), problem(description)))
            .collect()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.log();
        let status = self.code.status();
        let problem = Problem {
            kind: format!("urn:tokenward:problem:{}", self.code.name()),
            title: self.code.title(),
            status: status.as_u16(),
            code: self.code,
            detail: self.detail.into_owned(),
        };
        let mut response = (status, axum::Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
