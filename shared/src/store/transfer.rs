//! Tokens that leave for another deployment, and those that come from one.

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;

use super::{
    Change, StoreError, number,
    profiles::{Held, Profile, TokenKey, Vault, profile_key, token_key},
    put_if_missing,
    renewals::{nothing_came, unchanged},
    text, transact, value, write,
};
use crate::{
    access::TenantId,
    grant::SealedGrant,
    history::{Event, What},
    ladder::Ladder,
    token::Token,
};

impl Vault {
    /// Takes a token out that was read before, because it lives on elsewhere: nothing of it is left here that could be
    /// sent, and nothing is revoked. The history says that it was deleted, so that no backup brings it back.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the row changed since it was read or a refresh was begun.
    pub async fn relinquish(&self, key: &TokenKey, held: &Held, now: Timestamp) -> Result<(), StoreError> {
        let delete = nothing_came(unchanged(held), held).delete_in_transaction(&self.table, token_key(key))?;
        let event = Event::new(What::TokenDeleted, now).to_token(&key.profile, &key.token);
        let mut items = vec![delete, self.recording(&key.tenant, &event)?];
        if held.token.allow.search_acquisition {
            items.push(self.pooling(key, now)?);
        }
        transact(&self.client, items).await
    }

    /// Makes a profile exist that comes from elsewhere; one that is there stays as it is. Tells whether it was made.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn import_profile(&self, tenant: &TenantId, profile: &Profile) -> Result<bool, StoreError> {
        let mut row = write(profile)?;
        // sets, as everybody else writes them; an empty one cannot be stored
        for name in ["owners", "shared_users", "shared_groups"] {
            if let Some(AttributeValue::L(members)) = row.remove(name)
                && !members.is_empty()
            {
                let members = members.iter().filter_map(|member| member.as_s().ok().cloned()).collect();
                row.insert(name.to_owned(), AttributeValue::Ss(members));
            }
        }
        row.extend(profile_key(tenant, &profile.profile));
        row.insert("tenant".to_owned(), text(tenant.as_str()));
        row.insert("item".to_owned(), text(format!("{}#", profile.profile)));
        match transact(&self.client, vec![put_if_missing(&self.table, row, "pk")?]).await {
            Ok(()) => Ok(true),
            Err(StoreError::Conflict) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes a token exist that comes from elsewhere, or gives the one that was read before its newer secret; its owner
    /// owns the profile then.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the token came or changed meanwhile, or there is no such profile.
    pub async fn import_token(
        &self,
        key: &TokenKey,
        token: &Token,
        grant: &SealedGrant,
        before: Option<&Held>,
        ladder: &Ladder,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let owners = AttributeValue::Ss(vec![token.owner.to_string()]);
        let profile =
            Change::new().when("profile", "=", value(&key.profile)?).add("owners", owners).add("attached", number(1));
        let mut items = vec![
            profile.in_transaction(&self.table, profile_key(&key.tenant, &key.profile))?,
            self.attaching(key, token, grant, before.map(|before| (before, None)), ladder)?,
        ];
        if token.allow.search_acquisition {
            items.push(self.pooling(key, now)?);
        }
        transact(&self.client, items).await
    }
}
