//! What is remembered of a person: where to write to, what the person may do, and whether they were removed.
//!
//! A person's own requests keep the memory fresh. It is what others go by while the person is not
//! there: the sweep, that mails, and a worker, that asks for a lease on the person's behalf. A
//! memory that is too old, or from before a removal, says no.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Change, Item, StoreError, profiles::Vault, read, row_key, text, unavailable, value};
use crate::access::{Caller, Group, Person, Role, Subject, TenantId, interact};

/// For so long the roles that a person was last seen with count.
const ROLES_KEPT: SignedDuration = SignedDuration::from_hours(24);
/// What is remembered is refreshed no more often, so that requests stay cheap, unless it changed.
const REFRESHED: SignedDuration = SignedDuration::from_hours(1);

/// A person, as last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Where notices are mailed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// What the person might do when last seen.
    #[serde(default)]
    pub roles: BTreeSet<Role>,
    /// To which groups the person belonged when last seen.
    #[serde(default)]
    pub groups: BTreeSet<Group>,
    /// When the person was last seen, up to an hour ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_at: Option<Timestamp>,
    /// When an administrator removed the person: access tokens from before are not taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_at: Option<Timestamp>,
}

impl User {
    /// Whether the person may have profiles used on their behalf: seen within a day, not removed
    /// since, and then in a role that interacts.
    #[must_use]
    pub fn interacts(&self, now: Timestamp) -> bool {
        self.seen_at.is_some_and(|seen| seen + ROLES_KEPT > now) && self.is_here() && interact(&self.roles)
    }

    /// Whether the person was ever here: seen, or removed.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.seen_at.is_some() || self.removed_at.is_some()
    }

    /// Whether the person was seen, and was not removed since.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.seen_at.is_some_and(|seen| self.removed_at.is_none_or(|removed| removed < seen))
    }

    /// The person as the policy sees them, by what is remembered.
    #[must_use]
    pub fn person<'a>(&'a self, subject: &'a Subject) -> Person<'a> {
        Person { subject, roles: &self.roles, groups: &self.groups }
    }

    /// Whether this is what a request of `caller` at `now` would have remembered.
    fn tells(&self, caller: &Caller, now: Timestamp) -> bool {
        let fresh = self.seen_at.is_some_and(|seen| seen + REFRESHED > now) && self.is_here();
        fresh && (&self.email, &self.roles, &self.groups) == (&caller.email, &caller.roles, &caller.groups)
    }
}

impl Vault {
    /// What is remembered of a person; strongly read when it decides about access.
    ///
    /// # Errors
    /// When the table does not answer or the row cannot be read.
    pub async fn user(&self, tenant: &TenantId, subject: &Subject, strongly: bool) -> Result<User, StoreError> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(key(tenant, subject)));
        let answer = get.consistent_read(strongly).send().await.map_err(unavailable)?;
        answer.item.map_or_else(|| Ok(User::default()), read)
    }

    /// Remembers a caller who was admitted by what was `known` of them: nothing is written where that
    /// tells it all and is not an hour old, or where they are removed at this very moment.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn remember(&self, caller: &Caller, known: &User, now: Timestamp) -> Result<(), StoreError> {
        if known.tells(caller, now) {
            return Ok(());
        }
        let change = Change::new().when_is("removed_at", known.removed_at.as_ref().map(value).transpose()?);
        let change = change
            .set("seen_at", value(&now)?)
            .set("subject", text(caller.subject.as_str()))
            .set("roles", value(&caller.roles)?)
            .set("groups", value(&caller.groups)?)
            .put("email", caller.email.as_ref().map(text));
        match change.carry_out(&self.client, &self.table, key(&caller.tenant, &caller.subject)).await {
            Ok(_) | Err(StoreError::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

pub(super) fn key(tenant: &TenantId, subject: &Subject) -> Item {
    row_key(format!("T#{tenant}"), format!("USER#{}", subject.encoded()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    #[test]
    fn a_lease_on_somebodys_behalf_goes_by_what_was_seen_within_a_day() {
        let hours = |hours| Some(NOW - SignedDuration::from_hours(hours));
        for (role, seen_at, removed_at, interacts) in [
            (Role::Responder, hours(0), None, true),
            (Role::Manager, hours(23), None, true),
            (Role::Manager, hours(24), None, false),
            (Role::Manager, None, None, false),
            (Role::Reader, hours(0), None, false),
            (Role::Administrator, hours(0), None, false),
            (Role::Manager, hours(2), hours(1), false),
            (Role::Manager, hours(1), hours(1), false),
            (Role::Manager, hours(1), hours(2), true),
        ] {
            let user = User { roles: BTreeSet::from([role]), seen_at, removed_at, ..User::default() };
            assert_eq!(user.interacts(NOW), interacts, "{user:?}");
        }
    }
}
