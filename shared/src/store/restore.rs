//! Bringing rows back from a backup that was restored beside the table.
//!
//! Only what is missing is written, conditionally, so nothing newer is ever overwritten. A refresh token that works once
//! may have been spent since the backup, and sending a spent one can end everything that its login granted. So no such
//! refresh token comes back at all: the token is there, over for [`Reason::Restored`], and its owner is told, once, in
//! the transaction that brings it.
//!
//! A backup knows nothing of what was deleted on purpose after it. The history that is still there does, and what it
//! says was deleted stays deleted.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;

use super::{
    Item, StoreError, key_part,
    profiles::{TokenKey, Vault, read_held, token_key_of},
    put_if_missing,
    renewals::{CANDIDATE, state_name},
    row_key, transact, unavailable,
    walk::Walk,
    write,
};
use crate::{
    access::TenantId,
    history::What,
    profile::{ProfileId, TokenKind},
    token::{Reason, State, Step, Token, TokenId},
};

/// So many lines of history are read at once.
const LINES: i32 = 500;

/// What can be restored. What is due to be mailed and notices are not: they were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// A profile.
    Profile(ProfileId),
    /// A token.
    Token(TokenKey),
    /// A tenant's settings, a rule, a person, a line of history; by its sort key.
    Other(String),
}

/// A row of a backup.
#[derive(Clone, Debug)]
pub struct BackedUp {
    /// Whose it is.
    pub tenant: TenantId,
    /// What it is.
    pub kept: Kept,
    row: Item,
}

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restored {
    /// It was there.
    There,
    /// It is there again, or would be.
    Missing,
    /// It is there again, or would be, and its owner has to sign in again: its refresh token works once.
    Held,
}

/// What a tenant deleted on purpose, as far as its history still knows.
#[derive(Clone, Debug, Default)]
pub struct Deletions {
    tokens: BTreeMap<(ProfileId, String), Timestamp>,
    profiles: BTreeMap<ProfileId, Timestamp>,
    /// When an account was connected last: a profile may have come again after it was deleted.
    connected: BTreeMap<ProfileId, Timestamp>,
    people: BTreeMap<String, Timestamp>,
    rules: BTreeMap<String, Timestamp>,
}

impl Deletions {
    /// Whether what `row` holds was deleted after it was written.
    #[must_use]
    pub fn name(&self, row: &BackedUp) -> bool {
        let since = |deleted: Option<&Timestamp>, written: Timestamp| deleted.is_some_and(|at| *at >= written);
        match &row.kept {
            Kept::Profile(profile) => {
                let connected = self.connected.get(profile).copied().unwrap_or(Timestamp::MIN);
                since(self.profiles.get(profile), connected)
            }
            Kept::Token(key) => {
                let connected = key_part(&row.row, "connected_at").and_then(|at| at.parse().ok());
                let connected = connected.unwrap_or(Timestamp::UNIX_EPOCH);
                let owner = key_part(&row.row, "owner").unwrap_or_default();
                since(self.tokens.get(&(key.profile.clone(), key.token.to_string())), connected)
                    || since(self.profiles.get(&key.profile), connected)
                    || since(self.people.get(owner), connected)
            }
            Kept::Other(name) => name.strip_prefix("RULE#").is_some_and(|rule| self.rules.contains_key(rule)),
        }
    }
}

impl Vault {
    /// The next rows of the backup in the table `from` that can be restored; `None` after the last.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn backed_up(&self, from: &str, walk: &mut Walk) -> Result<Option<Vec<BackedUp>>, StoreError> {
        let rows = walk.next(&self.client, from, None).await?;
        Ok(rows.map(|rows| rows.into_iter().filter_map(backed_up).collect()))
    }

    /// What the tenant deleted on purpose, by the history that is still there.
    ///
    /// # Errors
    /// When the table does not answer or a line cannot be read.
    pub async fn deletions(&self, tenant: &TenantId) -> Result<Deletions, StoreError> {
        let mut deletions = Deletions::default();
        let mut before: Option<String> = None;
        loop {
            let (lines, next) = self.history(tenant, None, before.as_deref(), LINES).await?;
            for (_, event) in lines {
                let at = event.at;
                match (event.event, event.profile_id, event.token_id, event.user, event.rule_id) {
                    (What::TokenDeleted, Some(profile), Some(token), ..) => {
                        deletions.tokens.entry((profile, token.to_string())).or_insert(at);
                    }
                    (What::GivenUp, Some(profile), ..) => {
                        // what the person had of it ended: both of their tokens, whichever there were
                        for (kind, by) in TokenKind::ALL.into_iter().zip(event.by.iter().cycle()) {
                            let token = TokenId::new(kind, by).to_string();
                            deletions.tokens.entry((profile.clone(), token)).or_insert(at);
                        }
                    }
                    (What::Connected, Some(profile), ..) => {
                        deletions.connected.entry(profile).or_insert(at);
                    }
                    (What::ProfileDeleted, Some(profile), ..) => {
                        deletions.profiles.entry(profile).or_insert(at);
                    }
                    (What::UserRemoved, _, _, Some(user), _) => {
                        deletions.people.entry(user.to_string()).or_insert(at);
                    }
                    (What::RuleDeleted, _, _, _, Some(rule)) => {
                        deletions.rules.entry(rule.to_string()).or_insert(at);
                    }
                    _ => {}
                }
            }
            match next {
                Some(next) => before = Some(next),
                None => return Ok(deletions),
            }
        }
    }

    /// What restoring this row would do.
    ///
    /// # Errors
    /// When the table does not answer or the backup's row cannot be read.
    pub async fn would_restore(&self, backed_up: &BackedUp) -> Result<Restored, StoreError> {
        let (Some(pk), Some(sk)) = (key_part(&backed_up.row, "pk"), key_part(&backed_up.row, "sk")) else {
            return Ok(Restored::There);
        };
        let get = self.client.get_item().table_name(&self.table).set_key(Some(row_key(pk, sk))).consistent_read(true);
        if get.send().await.map_err(unavailable)?.item.is_some() {
            return Ok(Restored::There);
        }
        Ok(if spent_once(&backed_up.kept) { Restored::Held } else { Restored::Missing })
    }

    /// Writes this row if it is missing.
    ///
    /// # Errors
    /// When the table does not answer or the backup's row cannot be read.
    pub async fn restore(&self, backed_up: &BackedUp, now: Timestamp) -> Result<Restored, StoreError> {
        let BackedUp { tenant, kept, row } = backed_up;
        let mut row = row.clone();
        let mut items = Vec::new();
        if let Kept::Token(key) = kept {
            let token = read_held(tenant, row.clone())?.token;
            if spent_once(kept) {
                let next = hold(&mut row, &token)?;
                if !token.state.is_over() {
                    let step = Step::Dead { reason: Reason::Restored, generation: next.generation };
                    let settings = self.settings(tenant, true).await?;
                    items.extend(self.telling_of(key, &next, step, now, &settings, now)?);
                }
            }
            items.extend(self.watching(key, &token, now)?);
        }
        items.push(put_if_missing(&self.table, row, "pk")?);
        match transact(&self.client, items).await {
            Ok(()) if spent_once(kept) => Ok(Restored::Held),
            Ok(()) => Ok(Restored::Missing),
            Err(StoreError::Conflict) => Ok(Restored::There),
            Err(error) => Err(error),
        }
    }
}

/// Whether it is a token whose refresh token works once.
fn spent_once(kept: &Kept) -> bool {
    matches!(kept, Kept::Token(key) if key.profile.kind().network().provider().spends_refresh_tokens())
}

/// Takes out of a token's row whatever could be sent to renew it, and ends it; the token as it is then.
fn hold(row: &mut Item, token: &Token) -> Result<Token, StoreError> {
    row.retain(|name, _| !name.starts_with(CANDIDATE));
    for name in ["attempt", "failures", "retry_at", "arrivals", "due_shard", "due_at"] {
        row.remove(name);
    }
    if let Some(AttributeValue::M(sealed)) = row.get_mut("sealed") {
        sealed.remove("refresh_token");
    }
    if token.state.is_over() {
        return Ok(token.clone());
    }
    let state = State::NeedsReauth { reason: Reason::Restored };
    row.remove("cooling_until");
    row.extend(write(&state)?);
    debug_assert_eq!(row.get("state"), Some(&state_name(state)?));
    Ok(Token { state, ..token.clone() })
}

fn backed_up(row: Item) -> Option<BackedUp> {
    let (pk, sk) = (key_part(&row, "pk")?.strip_prefix("T#")?, key_part(&row, "sk")?);
    let (tenant, kept) = match pk.split_once("#P#") {
        Some((tenant, _)) if sk.starts_with("TOKEN#") => (tenant, Kept::Token(token_key_of(&row)?)),
        Some((tenant, profile)) if sk == "PROFILE" => (tenant, Kept::Profile(profile.parse().ok()?)),
        None if sk == "SETTINGS" || ["RULE#", "USER#", "HISTORY#"].iter().any(|kind| sk.starts_with(kind)) => {
            (pk, Kept::Other(sk.to_owned()))
        }
        _ => return None,
    };
    Some(BackedUp { tenant: tenant.parse().ok()?, kept, row })
}
