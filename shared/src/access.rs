//! Who is calling, and what that caller may do.
//!
//! A [`Caller`] is made from verified claims and from nothing else; the tenant of every row that a
//! request touches comes from there. Tenant ids that could reach into another tenant's keys cannot
//! be made, and subjects are encoded before they become part of a key. Whether somebody may do
//! something follows from roles, operation and relation alone: [`Person::may`] is the only policy.

use std::{collections::BTreeSet, fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::profile::Unknown;

/// A customer organisation: 1 to 64 characters of `[A-Za-z0-9_-]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantId(String);

impl TenantId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TenantId {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for TenantId {
    type Error = Unknown;

    fn try_from(text: String) -> Result<Self, Unknown> {
        let harmless = |c: u8| c.is_ascii_alphanumeric() || c == b'_' || c == b'-';
        if text.is_empty() || text.len() > 64 || !text.bytes().all(harmless) {
            return Err(Unknown("tenant"));
        }
        Ok(Self(text))
    }
}

impl From<TenantId> for String {
    fn from(tenant: TenantId) -> Self {
        tenant.0
    }
}

/// A person, as the identity provider's `sub` names them: 1 to 255 bytes (`OpenID` Connect Core §2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subject(String);

impl Subject {
    /// The subject as the identity provider wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The subject as part of a key or a URL: letters, digits, `_` and `-` as they are, every
    /// other byte as `.XX`. No two subjects are encoded alike, and none reaches into another key.
    #[must_use]
    pub fn encoded(&self) -> String {
        let mut text = String::with_capacity(self.0.len());
        for byte in self.0.bytes() {
            if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' {
                text.push(char::from(byte));
            } else {
                text.push('.');
                text.push_str(&hex::encode_upper([byte]));
            }
        }
        text
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Subject {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for Subject {
    type Error = Unknown;

    fn try_from(text: String) -> Result<Self, Unknown> {
        if text.is_empty() || text.len() > 255 || text.chars().any(char::is_control) {
            return Err(Unknown("subject"));
        }
        Ok(Self(text))
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.0
    }
}

/// A group of people, as the identity provider names it: 1 to 255 bytes without control characters.
///
/// It never becomes part of a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Group(String);

impl Group {
    /// The group as the identity provider wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Group {
    type Error = Unknown;

    fn try_from(text: String) -> Result<Self, Unknown> {
        if text.is_empty() || text.len() > 255 || text.chars().any(char::is_control) {
            return Err(Unknown("group"));
        }
        Ok(Self(text))
    }
}

impl From<Group> for String {
    fn from(group: Group) -> Self {
        group.0
    }
}

/// A role of a user, on one of two axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Interaction: sees.
    Reader,
    /// Interaction: connects and uses.
    Responder,
    /// Interaction: connects, uses, and looks after profiles without owners.
    Manager,
    /// Configuration: sees.
    Analyst,
    /// Configuration: makes rules.
    PowerAnalyst,
    /// Configuration: everything that is set for the tenant.
    Administrator,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 6] =
        [Self::Reader, Self::Responder, Self::Manager, Self::Analyst, Self::PowerAnalyst, Self::Administrator];

    /// The name in claims.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Responder => "responder",
            Self::Manager => "manager",
            Self::Analyst => "analyst",
            Self::PowerAnalyst => "power_analyst",
            Self::Administrator => "administrator",
        }
    }
}

impl FromStr for Role {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(Unknown("role"))
    }
}

/// Whether these are the roles of somebody who interacts: connects accounts, and uses them through workers.
#[must_use]
pub fn interact(roles: &BTreeSet<Role>) -> bool {
    roles.contains(&Role::Responder) || roles.contains(&Role::Manager)
}

/// With whom a profile's owners share it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sharing {
    /// With these people.
    #[serde(rename = "shared_users", default)]
    pub users: BTreeSet<Subject>,
    /// With everybody in these groups.
    #[serde(rename = "shared_groups", default)]
    pub groups: BTreeSet<Group>,
    /// With everybody who may interact.
    #[serde(rename = "shared_everybody", default)]
    pub everybody: bool,
}

/// The scope of a worker's access token.
const LEASES: &str = "leases";

/// Whoever makes a request, as the authorizer verified it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The organisation; every row touched belongs to it.
    pub tenant: TenantId,
    /// The person or the worker.
    pub subject: Subject,
    /// Where notices are mailed, if the identity provider says.
    pub email: Option<String>,
    /// What the person may do.
    pub roles: BTreeSet<Role>,
    /// To which groups the person belongs.
    pub groups: BTreeSet<Group>,
    /// What the access token is for (RFC 6749 §3.3).
    pub scope: BTreeSet<String>,
    /// When the access token was issued.
    pub issued_at: Timestamp,
}

/// What somebody wants to do to profiles, tokens, rules and people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// See profiles, tokens, rules and one's own notices.
    See,
    /// Have a profile used on one's behalf.
    Use,
    /// Connect an account, reauthenticate or claim a profile.
    Connect,
    /// Set the switches of a token, or delete it.
    ChangeToken,
    /// Say with whom a profile is shared.
    Share,
    /// Be no longer an owner of a profile.
    GiveUp,
    /// Delete a profile.
    DeleteProfile,
    /// Create a rule.
    CreateRule,
    /// Edit or delete a rule.
    ChangeRule,
    /// Remove a user.
    RemoveUser,
    /// See and set what is the whole organisation's: settings, history.
    Administer,
}

/// How somebody stands to the thing or the person in question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It is their own, or they are one of its owners, or it is they themselves.
    Owner,
    /// It is shared with them.
    Sharee,
    /// It is somebody else's, or somebody else.
    Stranger,
    /// It is nobody's.
    Unowned,
}

/// Somebody as the policy sees them: a caller, or whoever is remembered and not there.
#[derive(Clone, Copy, Debug)]
pub struct Person<'a> {
    /// Who it is.
    pub subject: &'a Subject,
    /// What they may do.
    pub roles: &'a BTreeSet<Role>,
    /// To which groups they belong.
    pub groups: &'a BTreeSet<Group>,
}

impl Person<'_> {
    /// How they stand to a profile that these own and that is shared so. What nobody owns is shared with nobody:
    /// no owner stands behind it.
    #[must_use]
    pub fn relation_to(&self, owners: &BTreeSet<Subject>, shared: &Sharing) -> Relation {
        let reached = || {
            shared.users.contains(self.subject)
                || !shared.groups.is_disjoint(self.groups)
                || shared.everybody && interact(self.roles)
        };
        if owners.contains(self.subject) {
            Relation::Owner
        } else if owners.is_empty() {
            Relation::Unowned
        } else if reached() {
            Relation::Sharee
        } else {
            Relation::Stranger
        }
    }

    /// Whether they may do `operation` to something that they stand in `relation` to.
    #[must_use]
    pub fn may(&self, operation: Operation, relation: Relation) -> bool {
        let interacts = interact(self.roles);
        let administers = self.roles.contains(&Role::Administrator);
        match (operation, relation) {
            (Operation::See, _) | (Operation::GiveUp, Relation::Owner) => !self.roles.is_empty(),
            (Operation::Connect, _)
            | (Operation::Use, Relation::Owner | Relation::Sharee)
            | (Operation::ChangeToken | Operation::Share | Operation::DeleteProfile, Relation::Owner) => interacts,
            (Operation::DeleteProfile, Relation::Unowned) => self.roles.contains(&Role::Manager),
            (Operation::CreateRule, _) | (Operation::ChangeRule, Relation::Owner) => {
                administers || self.roles.contains(&Role::PowerAnalyst)
            }
            (Operation::ChangeRule | Operation::Administer, _) | (Operation::RemoveUser, Relation::Stranger) => {
                administers
            }
            (Operation::Use, Relation::Stranger | Relation::Unowned)
            | (Operation::ChangeToken | Operation::Share | Operation::GiveUp | Operation::RemoveUser, _)
            | (Operation::DeleteProfile, Relation::Sharee | Relation::Stranger) => false,
        }
    }
}

impl Caller {
    /// Whether it is a worker, who may ask for leases and report on them: a program and no person.
    #[must_use]
    pub fn leases(&self) -> bool {
        self.scope.contains(LEASES) && self.roles.is_empty()
    }

    /// The caller as the policy sees them.
    #[must_use]
    pub fn person(&self) -> Person<'_> {
        Person { subject: &self.subject, roles: &self.roles, groups: &self.groups }
    }

    /// Whether the policy lets this caller do `operation` to something that it stands in
    /// `relation` to.
    #[must_use]
    pub fn may(&self, operation: Operation, relation: Relation) -> bool {
        self.person().may(operation, relation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(roles: &[Role]) -> Caller {
        Caller {
            tenant: "acme".parse().unwrap(),
            subject: "alice".parse().unwrap(),
            email: None,
            roles: roles.iter().copied().collect(),
            groups: BTreeSet::new(),
            scope: BTreeSet::from(["tokenward".to_owned()]),
            issued_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn the_policy_reads_as_the_product_says() {
        use Operation::{
            Administer, ChangeRule, ChangeToken, Connect, CreateRule, DeleteProfile, GiveUp, RemoveUser, See, Share,
            Use,
        };
        use Relation::{Owner, Sharee, Stranger, Unowned};
        const ALL: &[Role] = &Role::ALL;
        const INTERACT: &[Role] = &[Role::Responder, Role::Manager];
        const MAKE_RULES: &[Role] = &[Role::PowerAnalyst, Role::Administrator];
        const ADMINISTER: &[Role] = &[Role::Administrator];
        const MANAGE: &[Role] = &[Role::Manager];
        const NOBODY: &[Role] = &[];
        let relations = [Owner, Sharee, Stranger, Unowned];
        for (operation, allowed) in [
            // the relations: owner, sharee, stranger, unowned
            (See, [ALL, ALL, ALL, ALL]),
            (Use, [INTERACT, INTERACT, NOBODY, NOBODY]),
            (Connect, [INTERACT, INTERACT, INTERACT, INTERACT]),
            (ChangeToken, [INTERACT, NOBODY, NOBODY, NOBODY]),
            (Share, [INTERACT, NOBODY, NOBODY, NOBODY]),
            (GiveUp, [ALL, NOBODY, NOBODY, NOBODY]),
            (DeleteProfile, [INTERACT, NOBODY, NOBODY, MANAGE]),
            (CreateRule, [MAKE_RULES, MAKE_RULES, MAKE_RULES, MAKE_RULES]),
            (ChangeRule, [MAKE_RULES, ADMINISTER, ADMINISTER, ADMINISTER]),
            (RemoveUser, [NOBODY, NOBODY, ADMINISTER, NOBODY]),
            (Administer, [ADMINISTER, ADMINISTER, ADMINISTER, ADMINISTER]),
        ] {
            for (relation, allowed) in relations.into_iter().zip(allowed) {
                for role in Role::ALL {
                    let may = caller(&[role]).may(operation, relation);
                    assert_eq!(may, allowed.contains(&role), "{role:?} {operation:?} {relation:?}");
                }
                assert!(!caller(&[]).may(operation, relation), "a worker without roles: {operation:?} {relation:?}");
            }
        }
    }

    #[test]
    fn whoever_owns_a_profile_or_has_it_shared_stands_nearer_to_it_than_a_stranger() {
        let group = |name: &str| Group::try_from(name.to_owned()).unwrap();
        let people = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<BTreeSet<Subject>>();
        let users = Sharing { users: people(&["alice"]), ..Sharing::default() };
        let groups = Sharing { groups: [group("desk"), group("news")].into(), ..Sharing::default() };
        let others = Sharing { users: people(&["bob"]), groups: [group("Desk")].into(), everybody: false };
        let everybody = Sharing { everybody: true, ..Sharing::default() };
        for (owners, shared, role, relation) in [
            (&["alice", "bob"][..], &Sharing::default(), Role::Reader, Relation::Owner),
            (&["alice"], &users, Role::Manager, Relation::Owner),
            (&["bob"], &users, Role::Reader, Relation::Sharee),
            (&["bob"], &groups, Role::Reader, Relation::Sharee),
            (&["bob"], &others, Role::Manager, Relation::Stranger),
            (&["bob"], &everybody, Role::Responder, Relation::Sharee),
            (&["bob"], &everybody, Role::Manager, Relation::Sharee),
            (&["bob"], &everybody, Role::Reader, Relation::Stranger),
            (&["bob"], &everybody, Role::Administrator, Relation::Stranger),
            (&["bob"], &Sharing::default(), Role::Manager, Relation::Stranger),
            (&[], &users, Role::Manager, Relation::Unowned),
        ] {
            let caller = Caller { groups: [group("news")].into(), ..caller(&[role]) };
            let stands = caller.person().relation_to(&people(owners), shared);
            assert_eq!(stands, relation, "{owners:?} {shared:?} {role:?}");
        }
    }

    // S32
    #[test]
    fn a_worker_has_the_scope_and_no_role() {
        let with = |roles: &[Role], scope: &[&str]| {
            let scope = scope.iter().copied().map(str::to_owned).collect();
            Caller { scope, ..caller(roles) }
        };
        assert!(with(&[], &["leases"]).leases());
        assert!(with(&[], &["openid", "leases"]).leases());
        for scope in [&[][..], &["tokenward"], &["lease"], &["leases.read"], &["LEASES"]] {
            assert!(!with(&[], scope).leases(), "{scope:?}");
        }
        for role in Role::ALL {
            assert!(!with(&[role], &["leases"]).leases(), "a person: {role:?}");
        }
    }

    // S38a
    #[test]
    fn a_tenant_id_that_could_reach_into_other_keys_is_refused() {
        for id in ["", "acme#P", "T#acme", "a/b", "acme globex", "acme\n", "ä", "a.b", &"x".repeat(65)] {
            assert!(id.parse::<TenantId>().is_err(), "{id:?}");
        }
        for id in ["acme", "A-1_b", &"x".repeat(64)] {
            assert!(id.parse::<TenantId>().is_ok(), "{id:?}");
        }
    }

    #[test]
    fn no_two_subjects_are_encoded_alike() {
        for (subject, encoded) in
            [("alice", "alice"), ("auth0|1", "auth0.7C1"), ("a.b", "a.2Eb"), ("a#b", "a.23b"), ("é", ".C3.A9")]
        {
            assert_eq!(subject.parse::<Subject>().unwrap().encoded(), encoded);
        }
    }
}
