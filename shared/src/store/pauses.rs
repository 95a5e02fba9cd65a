//! Apps that are paused: one row an app, for every tenant that uses it.
//!
//! Two things stop an app, and they stop different things. A *limit* of the whole app (too many calls,
//! no credits, no quota) stops leases: whatever a worker did with a token would be refused. *Rejected*
//! credentials stop what we ask with them, refreshes first of all, while access tokens that were
//! granted before go on working. Only what the network itself answered to us pauses an app; a worker's
//! report is checked first.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Change, Item, StoreError, profiles::Vault, read, row_key, unavailable, value};
use crate::profile::Network;

/// Until when an app is paused, and for what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// The network limits the whole app until then.
    #[serde(default)]
    pub limited_until: Option<Timestamp>,
    /// The network refuses the app's credentials; it is asked again then.
    #[serde(default)]
    pub rejected_until: Option<Timestamp>,
}

/// Why an app is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paused {
    /// The network limits the whole app.
    Limited,
    /// The network refuses the app's credentials.
    Rejected,
}

impl Vault {
    /// What is known of the app; up to a second old.
    ///
    /// # Errors
    /// When the table does not answer or the row cannot be read.
    pub async fn pause(&self, network: Network, app: &str) -> Result<Pause, StoreError> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(key(network, app)));
        get.send().await.map_err(unavailable)?.item.map_or_else(|| Ok(Pause::default()), read)
    }

    /// Pauses the app until `until`: what the network said last counts.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn pause_app(
        &self,
        network: Network,
        app: &str,
        why: Paused,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        let name = match why {
            Paused::Limited => "limited_until",
            Paused::Rejected => "rejected_until",
        };
        let change = Change::new().set(name, value(&until)?);
        change.carry_out(&self.client, &self.table, key(network, app)).await.map(drop)
    }
}

fn key(network: Network, app: &str) -> Item {
    row_key(format!("APP#{network}#{app}"), "PAUSE")
}
