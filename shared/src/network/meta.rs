//! What Meta's answers mean, at Facebook and Instagram alike.
//!
//! Errors are branched on by code and subcode, not by HTTP status; limits come before everything else, because Meta
//! marks them as transient too.
//! Sources: <https://developers.facebook.com/docs/graph-api/guides/error-handling>,
//! <https://developers.facebook.com/docs/graph-api/overview/rate-limiting>

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;

use super::{Answer, Failure, LimitReach};
use crate::token::Reason;

#[derive(Default, Deserialize)]
struct ErrorAnswer {
    error: Option<GraphError>,
}

#[derive(Deserialize)]
pub(super) struct GraphError {
    #[serde(default)]
    code: i64,
    #[serde(default, alias = "subcode")]
    error_subcode: i64,
    #[serde(default)]
    is_transient: bool,
    #[serde(default)]
    message: String,
}

/// What an answer says of the token or the app.
pub(super) fn judge(answer: &Answer) -> Result<(), Failure> {
    if answer.status.is_server_error() {
        return Err(Failure::Unavailable);
    }
    let error = answer.read_error::<ErrorAnswer>().error;
    if answer.status == StatusCode::TOO_MANY_REQUESTS {
        return Err(error.and_then(|error| error.limit(&answer.headers)).unwrap_or(TOKEN_LIMIT));
    }
    error.and_then(|error| error.means(&answer.headers)).map_or(Ok(()), Err)
}

/// Whether the answer is no error; `rejected` is what code 100 means for this request.
pub(super) fn accepted(answer: &Answer, rejected: Failure) -> Result<(), Failure> {
    judge(answer)?;
    match answer.read_error::<ErrorAnswer>().error {
        Some(GraphError { code: 100, .. }) => Err(rejected),
        None if answer.status.is_success() => Ok(()),
        _ => Err(Failure::Unreadable("meta error")),
    }
}

/// Meta's windows are rolling; a quarter of an hour is what its documentation advises.
const BACK_OFF: u32 = 15 * 60;
const TOKEN_LIMIT: Failure = Failure::limited(LimitReach::Token, BACK_OFF);
/// How long nothing is written after Meta blocked something as abuse.
const ABUSE_BACK_OFF: u32 = 6 * 60 * 60;

impl GraphError {
    /// Meta's table of codes and subcodes: what the error says of the token or the app, `None` where it
    /// is one of the request alone.
    pub(super) fn means(&self, headers: &HeaderMap) -> Option<Failure> {
        // limits come first: Meta marks them as transient too
        if let Some(limit) = self.limit(headers) {
            return Some(limit);
        }
        Some(match (self.code, self.error_subcode) {
            // a wrong app secret has the code of an unknown error and is told by its words alone
            (1, _) if self.message.contains("client secret") => Failure::AppRejected,
            (101, _) => Failure::AppRejected,
            (1 | 2 | 341, _) => Failure::Unavailable,
            _ if self.is_transient => Failure::Unavailable,
            (190, 458) => Failure::Dead(Reason::AppRemoved),
            (190, 459 | 464) => Failure::Dead(Reason::Checkpoint),
            (190, 460) => Failure::Dead(Reason::PasswordChanged),
            (190, 463) => Failure::Dead(Reason::Expired),
            (190, 492) => Failure::Dead(Reason::RoleLost),
            (190 | 102, _) => Failure::Dead(Reason::RevokedByUser),
            (10 | 200..=299, _) => Failure::Forbidden,
            _ => return None,
        })
    }

    /// The limit that it tells of.
    fn limit(&self, headers: &HeaderMap) -> Option<Failure> {
        match self.code {
            4 => Some(Failure::limited(LimitReach::App, BACK_OFF)),
            17 | 32 | 613 => Some(TOKEN_LIMIT),
            80_001 | 80_002 | 80_006 => Some(Failure::limited(LimitReach::Token, time_to_regain_access(headers))),
            368 => Some(Failure::limited(LimitReach::Token, ABUSE_BACK_OFF)),
            _ => None,
        }
    }
}

/// What Meta counts for one use case of a Page or Instagram account.
#[derive(Deserialize)]
struct Usage {
    /// In minutes.
    #[serde(default)]
    estimated_time_to_regain_access: u32,
}

/// The longest wait, in seconds, that the answer's usage header estimates, within a day, which is Meta's
/// longest window; a quarter of an hour where it estimates none.
fn time_to_regain_access(headers: &HeaderMap) -> u32 {
    const DAY: u32 = 24 * 60 * 60;
    let usage = headers.get("x-business-use-case-usage").map(HeaderValue::as_bytes);
    let of_objects = usage.and_then(|json| serde_json::from_slice::<BTreeMap<String, Vec<Usage>>>(json).ok());
    let minutes = of_objects.into_iter().flat_map(BTreeMap::into_values).flatten();
    let longest = minutes.map(|usage| usage.estimated_time_to_regain_access).max().filter(|minutes| *minutes > 0);
    longest.map_or(BACK_OFF, |minutes| minutes.saturating_mul(60).min(DAY))
}
