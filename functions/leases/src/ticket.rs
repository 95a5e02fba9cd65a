//! A lease's id: what was leased, sealed, so that a lease writes nothing and its report cannot be forged.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use shared::{
    access::TenantId,
    keys::{KeysError, TenantKeys},
    profile::{ProfileId, Use},
    seal::{Place, Unsealable},
    token::TokenId,
};

/// No id that was ever handed out is longer.
const LONGEST: usize = 4096;

/// What was leased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ticket {
    pub(crate) profile: ProfileId,
    pub(crate) token: TokenId,
    /// Which of the token's secrets; a report of an older one says nothing of the present one.
    pub(crate) generation: u64,
    #[serde(rename = "use")]
    pub(crate) usage: Use,
    pub(crate) at: Timestamp,
}

impl Ticket {
    /// The id.
    pub(crate) async fn seal(&self, keys: &TenantKeys, tenant: &TenantId) -> Result<String, KeysError> {
        let text = serde_json::to_string(self).map_err(|_| Unsealable)?;
        Ok(URL_SAFE_NO_PAD.encode(keys.seal(&place(tenant), &text.into()).await?.as_bytes()))
    }

    /// Reads an id of this tenant.
    ///
    /// # Errors
    /// [`KeysError::Unsealable`] for every other text.
    pub(crate) async fn open(id: &str, keys: &TenantKeys, tenant: &TenantId) -> Result<Self, KeysError> {
        if id.len() > LONGEST {
            return Err(Unsealable.into());
        }
        let sealed = URL_SAFE_NO_PAD.decode(id).map_err(|_| Unsealable)?;
        let text = keys.open(&place(tenant), &sealed.into()).await?;
        Ok(serde_json::from_str(text.expose_secret()).map_err(|_| Unsealable)?)
    }
}

fn place(tenant: &TenantId) -> Place<'_> {
    Place { tenant: tenant.as_str(), profile: "-", token: "-", field: "lease", generation: 0 }
}
