//! `tokenward reseal`: whatever is stored of a tenant goes under its newest key.
//!
//! Refreshing does it by itself, token by token; the pass is for what nobody refreshes. It reads a row, opens it, seals
//! it for the same place and writes it if the row still holds what was read: a refresh under way wins, and the row is
//! looked at again. What is under the newest key already is passed over, so a pass that was cut off goes on when it is
//! repeated. Not reached are answers in the spill queue, which is read within seconds, and PKCE verifiers, which are over
//! within ten minutes.

use std::{collections::BTreeMap, time::Duration};

use shared::{
    access::TenantId,
    grant::SealedGrant,
    keys::{KeysError, TenantKeys},
    store::{StoreError, profiles::TokenKey, walk::Walk},
};
use tokio::time::{Interval, interval};

use crate::{OperatorError, Progress, deployment::Deployment};

/// So often a row is looked at that changes under our hands.
const LOOKS: u32 = 5;
/// So many profiles are listed at once.
const PAGE: i32 = 100;

/// What a pass did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// The version under which things are sealed now.
    pub newest: u32,
    /// Rows that were sealed anew.
    pub resealed: u64,
    /// Rows that were under the newest key before.
    pub current: u64,
    /// Rows that are still under an older version, by version: they changed too often, or do not open.
    pub older: BTreeMap<u32, u64>,
    /// How many of these do not open.
    pub closed: u64,
}

struct Passing<'a> {
    keys: TenantKeys,
    pass: Pass,
    pace: Interval,
    progress: Progress<'a>,
}

/// Passes over a tenant's rows, at most `rate` of them a second.
///
/// # Errors
/// When a table or the key is out of reach, or the tenant was shredded; repeat it then.
pub async fn reseal(
    deployment: &Deployment,
    tenant: &TenantId,
    rate: u32,
    progress: Progress<'_>,
) -> Result<Pass, OperatorError> {
    let keys = deployment.keys();
    let newest = keys.current(tenant.as_str()).await?.version();
    let pace = interval(Duration::from_secs(1) / rate.max(1));
    let mut passing = Passing { keys, pass: Pass { newest, ..Pass::default() }, pace, progress };
    let vault = deployment.vault();
    let mut after = None;
    loop {
        let listed = vault.profiles(tenant, after.as_ref(), PAGE).await?;
        for profile in listed.profiles {
            for token in profile.tokens {
                let key = TokenKey { tenant: tenant.clone(), profile: token.profile.clone(), token: token.id() };
                passing.token(deployment, &key).await?;
            }
        }
        let Some(next) = listed.next else { break };
        after = Some(next);
    }
    let (flows, mut walk) = (deployment.flows(), Walk::default());
    while let Some(waiting) = flows.waiting(tenant, &mut walk).await? {
        for (id, grant) in waiting {
            passing.pace.tick().await;
            if version(&grant) == newest {
                passing.pass.current += 1;
                continue;
            }
            let Some(anew) = passing.anew(&grant).await? else { continue };
            match flows.reseal(&id, &(&grant, anew)).await {
                Ok(()) => passing.count(),
                // it was attached or revoked meanwhile
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(passing.pass)
}

impl Passing<'_> {
    async fn token(&mut self, deployment: &Deployment, key: &TokenKey) -> Result<(), OperatorError> {
        let vault = deployment.vault();
        for look in 1..=LOOKS {
            self.pace.tick().await;
            let Some(held) = vault.token(key).await? else { return Ok(()) };
            let older: Vec<_> = held.grants().filter(|grant| version(grant) != self.pass.newest).collect();
            if older.is_empty() {
                self.pass.current += 1;
                return Ok(());
            }
            let mut resealed = Vec::new();
            for grant in older {
                match self.anew(grant).await? {
                    Some(anew) => resealed.push((grant, anew)),
                    None => return Ok(()),
                }
            }
            match vault.reseal(key, &held, &resealed).await {
                Ok(()) => {
                    self.count();
                    return Ok(());
                }
                Err(StoreError::Conflict) if look < LOOKS => {}
                Err(StoreError::Conflict) => *self.pass.older.entry(version(&held.grant)).or_default() += 1,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The same grant under the newest key; what does not open is counted and left as it is.
    async fn anew(&mut self, grant: &SealedGrant) -> Result<Option<SealedGrant>, OperatorError> {
        let opened = grant.open(&self.keys).await;
        match opened {
            Ok(opened) => Ok(Some(SealedGrant::seal(&self.keys, grant.place.clone(), &opened).await?)),
            Err(KeysError::Unsealable(_)) => {
                self.pass.closed += 1;
                *self.pass.older.entry(version(grant)).or_default() += 1;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn count(&mut self) {
        self.pass.resealed += 1;
        (self.progress)(&format!("{} resealed", self.pass.resealed));
    }
}

/// The version that opens it; 0 where it is none of ours.
fn version(grant: &SealedGrant) -> u32 {
    grant.key_version().unwrap_or_default()
}
