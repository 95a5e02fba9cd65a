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

/// Whether the answer is no error that an object is missing, or not visible with this token (100/33); `missing` is what
/// that means.
pub(super) fn found(answer: &Answer, missing: Failure) -> Result<(), Failure> {
    let is_missing =
        matches!(answer.read_error::<ErrorAnswer>().error, Some(GraphError { code: 100, error_subcode: 33, .. }));
    accepted(answer, if is_missing { missing } else { Failure::Unreadable("meta error") })
}

/// Meta's windows are rolling; a quarter of an hour is what its documentation advises.
const BACK_OFF: u32 = 15 * 60;
const TOKEN_LIMIT: Failure = Failure::limited(LimitReach::Token, BACK_OFF);
/// How long nothing is written after Meta blocked something as abuse.
const ABUSE_BACK_OFF: u32 = 6 * 60 * 60;

/// Subcode of Instagram's block of one account's publishing as spam, which has the code of the app's limit.
/// <https://developers.facebook.com/docs/instagram-platform/instagram-graph-api/reference/error-codes>
const SPAM_BLOCK: i64 = 2_207_051;

impl GraphError {
    /// Meta's table of codes and subcodes: what the error says of the token or the app, `None` where it
    /// is one of the request alone.
    pub(super) fn means(&self, headers: &HeaderMap) -> Option<Failure> {
        // limits come first: Meta marks them as transient too
        if let Some(limit) = self.limit(headers) {
            return Some(limit);
        }
        Some(match (self.code, self.error_subcode) {
            _ if self.rejects_app() => Failure::AppRejected,
            (1 | 2 | -1 | -2, _) => Failure::Unavailable,
            _ if self.is_transient => Failure::Unavailable,
            _ if self.is_about_token_kind() => return None,
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

    /// Whether it is about the app itself: its secret, id, domain, addresses or standing with Meta. Such an error never
    /// says anything of a token, whatever its code; several are told apart from errors of tokens by their words alone.
    ///
    /// Wrong proof: <https://github.com/facebook/facebook-python-business-sdk/issues/528>; blocked app:
    /// <https://github.com/anthropics/claude-code/issues/91036>; codes:
    /// <https://developers.facebook.com/docs/graph-api/guides/error-handling>.
    fn rejects_app(&self) -> bool {
        const WORDS: [&str; 4] =
            ["appsecret_proof", "client secret", "error validating application", "api access blocked"];
        let message = self.message.to_lowercase();
        matches!(self.code, 3 | 5 | 101 | 104 | 191) || WORDS.iter().any(|words| message.contains(words))
    }

    /// Whether it is about the kind of token that was sent, or about an endpoint that does not take it: the token is fine.
    fn is_about_token_kind(&self) -> bool {
        matches!((self.code, self.error_subcode), (190, 2_069_032) | (200, 2_069_030))
    }

    /// The limit that it tells of.
    fn limit(&self, headers: &HeaderMap) -> Option<Failure> {
        match self.code {
            4 if self.error_subcode == SPAM_BLOCK => Some(Failure::limited(LimitReach::Token, ABUSE_BACK_OFF)),
            4 | 341 => Some(Failure::limited(LimitReach::App, BACK_OFF)),
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
