//! The organisation's settings: what its administrators set for everybody, and see alone.

use std::sync::Arc;

use axum::{Json as Answer, extract::State};
use serde::{Deserialize, Serialize};
use shared::{
    access::{Caller, Operation, Relation},
    edge::{ApiError, Code, Json, Problem},
    history::What,
    settings::{BadSetting, Settings, Wanted},
    token::Ladder,
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
}

impl From<Settings> for SettingsView {
    fn from(settings: Settings) -> Self {
        let Settings { ladder, administrators, privacy_url, reauthenticate_url, changed_at: _ } = settings;
        Self { ladder_days: ladder.days(), administrators, privacy_url, reauthenticate_url }
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
    Ok(Answer(tokens.vault.settings(&caller.tenant, true).await?.into()))
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
    let SettingsView { ladder_days, administrators, privacy_url, reauthenticate_url } = wanted;
    let wanted = Wanted { ladder_days, administrators, privacy_url, reauthenticate_url };
    let (before, now) = (tokens.vault.settings(&caller.tenant, true).await?, tokens.clock.now());
    let settings = before.changed(wanted, &tokens.return_urls, now).map_err(refusal)?;
    tokens.vault.put_settings(&caller.tenant, &before, &settings, now).await?;
    tokens.note(&caller, |event| event, What::SettingsChanged).await;
    Ok(Answer(settings.into()))
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
