//! Who a profile belongs to, with whom it is shared, and how a person parts from it.
//!
//! Whoever has a token of a profile owns it, so ownership and the person's tokens end together, in one transaction that
//! leaves the grants to be revoked: nothing goes on working in the name of somebody who left. With the last owner the
//! shares end, because no owner stands behind them.
//!
//! The removal of a user is a row before anything is ended, and is deleted only by a pass that began a while after the
//! removal and found nothing left. Until then the sweep takes it up, so it finishes by itself wherever it was cut off, and
//! an index that was behind hides nothing. Passing once more changes nothing more.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Change, Item, StoreError, Written,
    flows::{Flows, Revocation},
    key_part, number,
    profiles::{Held, Profile, TokenKey, Vault, profile_key, token_key},
    put_in_transaction, read, row_key, text, transact, unavailable, users, value, write,
};
use crate::{
    access::{Group, Subject, TenantId},
    clock::Deadline,
    profile::ProfileId,
    token::TokenId,
};

/// Whatever was under way at the moment of a removal is over after this time, and known to the index.
const SETTLED: SignedDuration = SignedDuration::from_mins(1);
/// A refresh may change a token at the very moment that it ends: then it is looked at again, so often.
const TRIES: u32 = 5;

/// With whom a profile is shared from now on; what is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// These people and no others.
    pub users: Option<BTreeSet<Subject>>,
    /// These groups and no others.
    pub groups: Option<BTreeSet<Group>>,
    /// Everybody who may interact, or not.
    pub everybody: Option<bool>,
}

/// Why a person parts from a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parting {
    /// They give it up.
    GivenUp,
    /// They were removed then; what they connected since is a new start.
    Removed(Timestamp),
}

/// What ended when a person parted from a profile.
#[derive(Clone, Debug, Default)]
pub struct Parted {
    /// Their tokens.
    pub tokens: Vec<TokenId>,
    /// Their grants, each left to be revoked.
    pub revocations: Vec<Revocation>,
    /// Whether they owned it.
    pub owned: bool,
    /// Whether nobody owns it now.
    pub unowned: bool,
    /// Whether it was shared with them by name.
    pub shared: bool,
}

/// The removal of a user, as long as it is not finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// The organisation.
    pub tenant: TenantId,
    /// The person.
    pub subject: Subject,
    /// When an administrator removed them.
    pub removed_at: Timestamp,
}

/// What one pass of a removal ended.
#[derive(Clone, Debug, Default)]
pub struct Pass {
    /// From how many profiles the person parted as an owner.
    pub owned: u32,
    /// How many of those nobody owns now.
    pub unowned: u32,
    /// How many tokens ended.
    pub tokens: u32,
    /// How many profiles were shared with the person by name.
    pub shared: u32,
    /// The grants, each left to be revoked.
    pub revocations: Vec<Revocation>,
    /// Whether it came to the end and nothing failed on the way.
    pub complete: bool,
}

impl Vault {
    /// Lets `owner` say with whom a profile is shared; tells the profile as it is then, or `None` where they do not own it.
    ///
    /// # Errors
    /// When the table does not answer or the row cannot be read.
    pub async fn share(
        &self,
        tenant: &TenantId,
        id: &ProfileId,
        owner: &Subject,
        share: &Share,
    ) -> Result<Option<Profile>, StoreError> {
        let mut change = Change::new().when_contains("owners", text(owner.as_str()));
        if let Some(users) = &share.users {
            change = change.put("shared_users", set(users.iter().map(Subject::as_str)));
        }
        if let Some(groups) = &share.groups {
            change = change.put("shared_groups", set(groups.iter().map(Group::as_str)));
        }
        if let Some(everybody) = share.everybody {
            change = change.put("shared_everybody", everybody.then_some(AttributeValue::Bool(true)));
        }
        match change.attempt(&self.client, &self.table, profile_key(tenant, id)).await? {
            Written::Done(row) => read(row).map(Some),
            Written::Refused(_) => Ok(None),
        }
    }

    /// Ends a person's ownership of a profile and with it their tokens, whose grants are left to be revoked from `at` on;
    /// `None` where they do not own it.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it changes all the time; else when the table does not answer or a row cannot be read.
    pub async fn give_up(
        &self,
        flows: &Flows,
        tenant: &TenantId,
        id: &ProfileId,
        owner: &Subject,
        at: Timestamp,
    ) -> Result<Option<Parted>, StoreError> {
        let parted = self.part(flows, tenant, id, owner, Parting::GivenUp, at).await?;
        Ok(parted.filter(|parted| parted.owned))
    }

    /// Deletes a profile that has no tokens left, as it was read: somebody may claim it or sign in again at this very moment.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when its owners changed, or it has a new token.
    pub async fn delete_profile(&self, tenant: &TenantId, profile: &Profile) -> Result<(), StoreError> {
        let delete = as_read(profile).delete_in_transaction(&self.table, profile_key(tenant, &profile.profile))?;
        transact(&self.client, vec![delete]).await
    }

    /// Removes a user, from this moment on: their access tokens from before are refused, what was remembered of them is
    /// forgotten, and the rest is written down as still to be done.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn remove_user(&self, removal: &Removal) -> Result<(), StoreError> {
        let Removal { tenant, subject, removed_at } = removal;
        let user = ["email", "roles", "groups", "seen_at"].iter().fold(Change::new(), |user, name| user.remove(name));
        let user = user.set("removed_at", value(removed_at)?).set("subject", text(subject.as_str()));
        let mut row = write(removal)?;
        // the list's index holds what has a tenant and an item; this has no item
        row.extend(removal_key(tenant, subject));
        row.insert("due_shard".to_owned(), text(self.spread.shard(&removal_partition(tenant, subject))));
        row.insert("due_at".to_owned(), number((*removed_at + SETTLED).as_second()));
        let items =
            vec![user.in_transaction(&self.table, users::key(tenant, subject))?, put_in_transaction(&self.table, row)?];
        let mut tries = 0;
        loop {
            tries += 1;
            match transact(&self.client, items.clone()).await {
                // their own last request was being remembered
                Err(StoreError::Conflict) if tries < TRIES => {}
                done => return done,
            }
        }
    }

    /// The removal of this user that is not finished, if there is one, read strongly.
    ///
    /// # Errors
    /// When the table does not answer or the row cannot be read.
    pub async fn removal(&self, tenant: &TenantId, subject: &Subject) -> Result<Option<Removal>, StoreError> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(removal_key(tenant, subject)));
        let answer = get.consistent_read(true).send().await.map_err(unavailable)?;
        answer.item.map(read).transpose()
    }

    /// Ends what a removed user has, until the deadline; the grants are left to be revoked from `at` on.
    ///
    /// A profile whose rows cannot be read fails alone, and keeps the removal from being finished.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn pursue(
        &self,
        flows: &Flows,
        removal: &Removal,
        deadline: Deadline,
        at: Timestamp,
    ) -> Result<Pass, StoreError> {
        let Removal { tenant, subject, removed_at } = removal;
        let mut pass = Pass { complete: true, ..Pass::default() };
        let mut start = None;
        loop {
            if deadline.left().is_zero() {
                return Ok(Pass { complete: false, ..pass });
            }
            let (profiles, next) = self.belongings(tenant, subject, start).await?;
            for id in profiles {
                if deadline.left().is_zero() {
                    return Ok(Pass { complete: false, ..pass });
                }
                match self.part(flows, tenant, &id, subject, Parting::Removed(*removed_at), at).await {
                    Ok(parted) => pass.count(parted.unwrap_or_default()),
                    Err(error @ (StoreError::Unreadable(_) | StoreError::Conflict)) => {
                        tracing::error!(%tenant, profile = %id, %error, "a removed user's part in a profile is still to end");
                        pass.complete = false;
                    }
                    Err(error) => return Err(error),
                }
            }
            start = next;
            if start.is_none() {
                return Ok(pass);
            }
        }
    }

    /// Ends the removal: a complete pass that began at `since` found nothing more. One that began too early proves
    /// nothing, and the removal stays due.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the user was removed anew meanwhile.
    pub async fn finish(&self, removal: &Removal, since: Timestamp) -> Result<(), StoreError> {
        let Removal { tenant, subject, removed_at } = removal;
        if since < *removed_at + SETTLED {
            return Ok(());
        }
        let delete = Change::new().when("removed_at", "=", value(removed_at)?);
        transact(&self.client, vec![delete.delete_in_transaction(&self.table, removal_key(tenant, subject))?]).await
    }

    /// Profiles of which the list's index says that they have to do with a person, and where the next of them begin.
    async fn belongings(
        &self,
        tenant: &TenantId,
        person: &Subject,
        start: Option<Item>,
    ) -> Result<(BTreeSet<ProfileId>, Option<Item>), StoreError> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("by_tenant")
            .key_condition_expression("tenant = :tenant")
            .filter_expression("#owner = :person OR contains(owners, :person) OR contains(shared_users, :person)")
            .projection_expression("profile")
            .expression_attribute_names("#owner", "owner")
            .expression_attribute_values(":tenant", text(tenant.as_str()))
            .expression_attribute_values(":person", text(person.as_str()))
            .set_exclusive_start_key(start);
        let answer = query.send().await.map_err(unavailable)?;
        let rows = answer.items.unwrap_or_default();
        let profiles = rows.iter().filter_map(|row| key_part(row, "profile")?.parse().ok()).collect();
        Ok((profiles, answer.last_evaluated_key))
    }

    /// Parts a person from a profile; `None` when there is no such profile, or nothing of theirs in it.
    async fn part(
        &self,
        flows: &Flows,
        tenant: &TenantId,
        id: &ProfileId,
        person: &Subject,
        why: Parting,
        at: Timestamp,
    ) -> Result<Option<Parted>, StoreError> {
        let mut tries = 0;
        loop {
            let Some((profile, tokens)) = self.holdings(tenant, id).await? else { return Ok(None) };
            let (parted, items) = self.parting(flows, tenant, &profile, tokens, person, why, at)?;
            if items.is_empty() {
                return Ok(None);
            }
            tries += 1;
            match transact(&self.client, items).await {
                Err(StoreError::Conflict) if tries < TRIES => {}
                done => return done.map(|()| Some(parted)),
            }
        }
    }

    /// What ends when a person parts from a profile as it was read, and the transaction that ends it.
    #[expect(clippy::too_many_arguments, reason = "one transaction over all that a person has of a profile")]
    fn parting(
        &self,
        flows: &Flows,
        tenant: &TenantId,
        profile: &Profile,
        tokens: Vec<Held>,
        person: &Subject,
        why: Parting,
        at: Timestamp,
    ) -> Result<(Parted, Vec<TransactWriteItem>), StoreError> {
        let theirs = tokens.into_iter().filter(|held| held.token.owner == *person);
        let (over, newer): (Vec<_>, Vec<_>) = theirs.partition(|held| match why {
            Parting::GivenUp => true,
            Parting::Removed(removed_at) => held.token.connected_at <= removed_at,
        });
        let mut parted = Parted {
            // a token that is newer is a new start, and made them an owner anew
            owned: newer.is_empty() && profile.owners.contains(person),
            shared: matches!(why, Parting::Removed(_)) && profile.shared.users.contains(person),
            ..Parted::default()
        };
        parted.unowned = parted.owned && profile.owners.len() == 1;
        let mut items = Vec::new();
        if parted.owned || parted.shared {
            let change = leaving(profile, person, &parted);
            items.push(change.in_transaction(&self.table, profile_key(tenant, &profile.profile))?);
        }
        for Held { token, grant, .. } in over {
            let key = TokenKey { tenant: tenant.clone(), profile: profile.profile.clone(), token: token.id() };
            let revocation = Revocation::new(profile.kind.network(), &token.app, &token.login, grant);
            let gone = Change::new().when("generation", "=", number(token.generation));
            items.push(gone.delete_in_transaction(&self.table, token_key(&key))?);
            items.push(flows.revoking(&revocation, at)?);
            if token.allow.search_acquisition {
                items.push(self.pooling(&key, at)?);
            }
            parted.tokens.push(key.token);
            parted.revocations.push(revocation);
        }
        Ok((parted, items))
    }
}

impl Pass {
    fn count(&mut self, parted: Parted) {
        let Parted { tokens, revocations, owned, unowned, shared } = parted;
        self.owned += u32::from(owned);
        self.unowned += u32::from(unowned);
        self.shared += u32::from(shared);
        self.tokens += u32::try_from(tokens.len()).unwrap_or(u32::MAX);
        self.revocations.extend(revocations);
    }
}

/// The profile's own row has the owners that were read, and none of them signed in again: whoever does adds to `attached`,
/// and whoever leaves is missing.
pub(super) fn as_read(profile: &Profile) -> Change {
    let attached = (profile.attached > 0).then(|| number(profile.attached));
    let change = Change::new().when_is("attached", attached);
    match profile.owners.len() {
        0 => change.when_missing("owners"),
        owners => change.when_counts("owners", owners),
    }
}

/// The change of the profile's own row: with the last owner everything that they shared ends.
fn leaving(profile: &Profile, person: &Subject, parted: &Parted) -> Change {
    let this_one = || AttributeValue::Ss(vec![person.to_string()]);
    if parted.unowned {
        let shares = ["shared_users", "shared_groups", "shared_everybody"];
        return shares.iter().fold(as_read(profile).remove("owners"), |change, name| change.remove(name));
    }
    let change =
        if parted.owned { as_read(profile).take("owners", this_one()) } else { Change::new().when_exists("pk") };
    if parted.shared { change.take("shared_users", this_one()) } else { change }
}

/// A set as an attribute; DynamoDB has no empty ones.
fn set<'a>(members: impl Iterator<Item = &'a str>) -> Option<AttributeValue> {
    let members: Vec<String> = members.map(str::to_owned).collect();
    (!members.is_empty()).then_some(AttributeValue::Ss(members))
}

fn removal_partition(tenant: &TenantId, person: &Subject) -> String {
    format!("T#{tenant}#U#{person}")
}

fn removal_key(tenant: &TenantId, person: &Subject) -> Item {
    row_key(removal_partition(tenant, person), "REMOVAL")
}

/// Whose removal a row's key names.
pub(super) fn removal_of(item: &Item) -> Option<(TenantId, Subject)> {
    let (tenant, person) = key_part(item, "pk")?.strip_prefix("T#")?.split_once("#U#")?;
    (key_part(item, "sk") == Some("REMOVAL")).then_some(())?;
    Some((tenant.parse().ok()?, person.parse().ok()?))
}
