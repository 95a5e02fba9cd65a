//! The organisation's settings: what its administrators set for everybody, and see alone.

use std::sync::Arc;

use axum::{Json as Answer, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::{
    access::{Caller, Operation, Relation},
    edge::{ApiError, Code, Json, Problem},
    history::What,
    ladder::Ladder,
    settings::{BadSetting, Settings, Wanted},
    store::suppressions::{Suppression, Suppressions, Trouble},
};
use utoipa::ToSchema;

use crate::{Admitted, Tokens};

/// The settings of an organisation; they are set all at once.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Settings)]
pub(crate) struct SettingsView {
    /// So many days before its end a token's owner is warned: 1 to 10 different numbers from 1 to 365. A changed one
    /// counts from now.
    #[schema(min_items = 1, max_items = 10)]
    ladder_days: Vec<u16>,
    /// The e-mail addresses that are told of every token of the organisation.
    #[schema(max_items = 20)]
    administrators: Vec<String>,
    /// The organisation's own privacy statement; it comes with every connect session, to be shown before the sign-in.
    #[schema(required, example = "https://acme.example/privacy")]
    privacy_url: Option<String>,
    /// Where the links in mails lead: one of the operator's registered addresses, to the letter; null for the
    /// deployment's own page. It signs the person in and begins reauthenticating what `profile` and `token` name.
    #[schema(required)]
    reauthenticate_url: Option<String>,
    /// Those of the administrators' addresses that are not written to any more; absent when there are none. To set
    /// an address anew is to write to it again. Not to be set: what is sent here is not looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    suppressed: Vec<Suppressed>,
}

/// An address that is not written to any more.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct Suppressed {
    address: String,
    reason: Trouble,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
}

impl SettingsView {
    fn of(settings: Settings, suppressions: &Suppressions) -> Self {
        let Settings { ladder, administrators, privacy_url, reauthenticate_url, changed_at: _ } = settings;
        let suppressed = |address: &String| {
            let Suppression { reason, since } = suppressions.of(address)?;
            Some(Suppressed { address: address.clone(), reason, since })
        };
        let suppressed = administrators.iter().filter_map(suppressed).collect();
        Self { ladder_days: ladder.days(), administrators, privacy_url, reauthenticate_url, suppressed }
    }
}

/// Looks at the organisation's settings.
#[utoipa::path(get, operation_id = "get_settings", path = "/v1/settings", responses(
    (status = 200, body = SettingsView, description = "The settings"),
    Problem,
))]
pub(crate) async fn look(
    State(tokens): State<Arc<Tokens>>,
    Admitted(caller): Admitted,
) -> Result<Answer<SettingsView>, ApiError> {
    require_administrator(&caller)?;
    let settings = tokens.vault.settings(&caller.tenant, true).await?;
    let suppressions = tokens.vault.suppressions(&caller.tenant).await?;
    Ok(Answer(SettingsView::of(settings, &suppressions)))
}

/// Sets the organisation's settings.
#[utoipa::path(put, operation_id = "put_settings", path = "/v1/settings", request_body = SettingsView, responses(
    (status = 200, body = SettingsView, description = "The settings as they are now"),
    Problem,
))]
pub(crate) async fn put(
    State(tokens): State<Arc<Tokens>>,
    Admitted(caller): Admitted,
    Json(wanted): Json<SettingsView>,
) -> Result<Answer<SettingsView>, ApiError> {
    require_administrator(&caller)?;
    let SettingsView { ladder_days, administrators, privacy_url, reauthenticate_url, suppressed: _ } = wanted;
    let wanted = Wanted { ladder_days, administrators, privacy_url, reauthenticate_url };
    let (before, now) = (tokens.vault.settings(&caller.tenant, true).await?, tokens.clock.now());
    let settings = before.changed(wanted, &tokens.return_urls, now).map_err(refusal)?;
    tokens.vault.put_settings(&caller.tenant, &before, &settings, now).await?;
    tokens.note(&caller, |event| event, What::SettingsChanged).await;
    tokens.vault.lift(&caller.tenant, &settings.administrators).await?;
    Ok(Answer(SettingsView::of(settings, &Suppressions::default())))
}

/// Makes sure that the caller is an administrator.
pub(crate) fn require_administrator(caller: &Caller) -> Result<(), ApiError> {
    let may = caller.may(Operation::Administer, Relation::Stranger);
    may.then_some(()).ok_or_else(|| ApiError::forbidden("This needs the role administrator."))
}

fn refusal(reason: BadSetting) -> ApiError {
    let code = match reason {
        BadSetting::NotRegistered => Code::ReturnUrlNotRegistered,
        BadSetting::Ladder(_) | BadSetting::TooMany | BadSetting::Address(_) | BadSetting::PrivacyUrl => {
            Code::InvalidRequest
        }
    };
    ApiError::new(code, format!("{reason}."))
}

impl Tokens {
    /// When people of the caller's organisation are warned.
    pub(crate) async fn ladder(&self, caller: &Caller) -> Result<Ladder, ApiError> {
        Ok(self.vault.settings(&caller.tenant, true).await?.ladder)
    }
}
