//! Where a sign-in begins: at once, or after the organisation's privacy statement where it has one.

use axum::response::{IntoResponse as _, Response};
use maud::html;
use serde::Deserialize;
use serde_json::json;

use super::{
    api::{Api, Trouble},
    page, see,
};

/// What is to be connected: any account of a kind, or that of a profile.
pub(super) enum Wish<'a> {
    Kind(&'a str),
    Profile(&'a str),
}

/// A connect session that was begun.
#[derive(Deserialize)]
struct Begun {
    connect_url: String,
    privacy_url: Option<String>,
}

/// Begins a connect session that leads back to the console, and sends the browser on.
pub(super) async fn depart(api: &Api<'_>, wish: Wish<'_>, token: &str) -> Result<Response, Trouble> {
    let (name, value) = match wish {
        Wish::Kind(kind) => ("kind", kind),
        Wish::Profile(profile) => ("profile_id", profile),
    };
    let session = json!({ name: value, "token": token, "return_url": format!("{}/console", api.parts.url) });
    let Begun { connect_url, privacy_url } = api.post(&["connect-sessions"], &session).await?;
    let Some(privacy_url) = privacy_url else { return Ok(see(&connect_url).into_response()) };
    let body = html! {
        h1 { "Before you sign in" }
        p { "Your organisation says how it uses what you connect in its "
            a href=(privacy_url) rel="noreferrer" { "privacy statement" } "." }
        p { a href=(connect_url) { "Go on and sign in at the network" } }
    };
    Ok(page(api.parts, Some(api.person), "Before you sign in", &body).into_response())
}
