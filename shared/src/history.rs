//! Who did what to which token.
//!
//! A line says what happened and names things by their ids; there is no room in it for a secret. What happens often is
//! summed up, a line for each token and day.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    access::Subject,
    health::Colour,
    profile::{Network, ProfileId, Switch},
    rule::RuleId,
    token::{Reason, TokenId},
};

/// So long a line is kept.
pub const KEPT: SignedDuration = SignedDuration::from_hours(400 * 24);

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A person connected an account.
    Connected,
    /// A person signed in again for a token.
    Reauthenticated,
    /// A person allowed uses of a token, or no longer allows them.
    Allowed,
    /// A person deleted a token.
    TokenDeleted,
    /// A person deleted a profile.
    ProfileDeleted,
    /// An owner changed with whom a profile is shared.
    Shared,
    /// An owner gave a profile up, and their tokens of it ended.
    GivenUp,
    /// An administrator removed a user, and what they had ended.
    UserRemoved,
    /// Workers reported on leases of a token, that day.
    Leased,
    /// A token was refreshed, that day.
    Refreshed,
    /// The owner of a token was warned of its end.
    Warned,
    /// A token ended.
    Expired,
    /// A network said that a token is dead.
    Died,
    /// A network asked, for the person, to delete what was kept of an account: a token is gone, and with the last one
    /// its profile.
    Erased,
    /// Acquisition at a network got worse.
    AcquisitionWorsened,
    /// A person made a rule.
    RuleCreated,
    /// A person changed a rule.
    RuleChanged,
    /// A person deleted a rule.
    RuleDeleted,
    /// A person changed the settings.
    SettingsChanged,
}

/// A line of a tenant's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What happened.
    pub event: What,
    /// When; the day's beginning, where a day is summed up.
    pub at: Timestamp,
    /// The person or worker who did it; `None` for what happens by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Subject>,
    /// The profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile_id: Option<ProfileId>,
    /// The token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<TokenId>,
    /// The rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule_id: Option<RuleId>,
    /// The user to whom it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Subject>,
    /// The network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// The switches that were turned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<BTreeMap<Switch, bool>>,
    /// Why a token died.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// How acquisition stands now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colour: Option<Colour>,
    /// How often it happened that day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// How often of these it did not succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<u64>,
}

impl Event {
    /// Something that happened at `at`, by itself.
    #[must_use]
    pub fn new(event: What, at: Timestamp) -> Self {
        Self {
            event,
            at,
            by: None,
            profile_id: None,
            token_id: None,
            rule_id: None,
            user: None,
            network: None,
            allow: None,
            reason: None,
            colour: None,
            times: None,
            failures: None,
        }
    }

    /// It was done by `subject`.
    #[must_use]
    pub fn by(self, subject: &Subject) -> Self {
        Self { by: Some(subject.clone()), ..self }
    }

    /// It was done to this profile.
    #[must_use]
    pub fn to_profile(self, profile: &ProfileId) -> Self {
        Self { profile_id: Some(profile.clone()), ..self }
    }

    /// It was done to this token.
    #[must_use]
    pub fn to_token(self, profile: &ProfileId, token: &TokenId) -> Self {
        Self { token_id: Some(token.clone()), ..self.to_profile(profile) }
    }

    /// It was done to this user.
    #[must_use]
    pub fn to_user(self, user: &Subject) -> Self {
        Self { user: Some(user.clone()), ..self }
    }

    /// It was done to this rule.
    #[must_use]
    pub fn to_rule(self, rule: &RuleId) -> Self {
        Self { rule_id: Some(rule.clone()), ..self }
    }
}

/// When the day of `at` began, in UTC.
#[must_use]
pub fn day_of(at: Timestamp) -> Timestamp {
    let seconds = at.as_second();
    Timestamp::from_second(seconds - seconds.rem_euclid(24 * 60 * 60)).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_midnight_in_utc() {
        for (at, day) in [
            ("2026-11-24T00:00:00Z", "2026-11-24T00:00:00Z"),
            ("2026-11-24T23:59:59.999Z", "2026-11-24T00:00:00Z"),
            ("1969-12-31T12:00:00Z", "1969-12-31T00:00:00Z"),
        ] {
            assert_eq!(day_of(at.parse().unwrap()), day.parse().unwrap(), "{at}");
        }
    }

    #[test]
    fn a_line_names_what_it_is_about_and_nothing_else() {
        let at = "2026-11-24T10:00:00Z".parse().unwrap();
        let (profile, token) = ("x_profile-42".parse().unwrap(), "interaction-alice".parse().unwrap());
        let event = Event::new(What::TokenDeleted, at).by(&"alice".parse().unwrap()).to_token(&profile, &token);
        let written = serde_json::json!({ "event": "token_deleted", "at": at, "by": "alice", "profile_id": "x_profile-42",
            "token_id": "interaction-alice" });
        assert_eq!(serde_json::to_value(&event).unwrap(), written);
        assert_eq!(serde_json::from_value::<Event>(written).unwrap(), event);
    }
}
