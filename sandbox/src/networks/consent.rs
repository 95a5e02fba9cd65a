//! The consent page of a network, and the way back to the app.
//!
//! All networks ask the same question in the same form; what differs is which requests they
//! accept. A browser is only ever sent to the address that was registered for the app: while that
//! is in doubt, the answer is a page.

use axum::response::{Html, IntoResponse, Redirect, Response};
use http::{HeaderName, StatusCode, header};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use url::form_urlencoded;

use super::{
    App, Network,
    fields::Fields,
    grants::{Code, Consent, Desk},
};

/// A permission that can be asked for.
pub(super) struct Scope {
    /// As it stands in `scope`.
    pub(super) name: &'static str,
    /// What the consent page says it allows.
    pub(super) meaning: &'static str,
    /// Cannot be taken out of a consent.
    pub(super) required: bool,
}

/// A Page that whoever administers it may leave out of a consent.
pub(super) struct Shareable {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// The names of those who administer it.
    pub(super) administrators: Vec<&'static str>,
}

/// An authorization request that is fit to be shown to a person.
pub(super) struct Asked<'a> {
    pub(super) app: &'a App,
    pub(super) state: Option<&'a str>,
    pub(super) scopes: Vec<&'static Scope>,
    /// S256.
    pub(super) code_challenge: Option<&'a str>,
    /// Parameters that only this network has, for the way from the page to its answer.
    pub(super) more: Vec<(&'static str, &'a str)>,
    pub(super) pages: Vec<Shareable>,
    /// What the network hangs on the address to which it returns.
    pub(super) fragment: &'static str,
}

impl<'a> Asked<'a> {
    pub(super) fn new(app: &'a App, state: Option<&'a str>, scopes: Vec<&'static Scope>) -> Self {
        Self { app, state, scopes, code_challenge: None, more: Vec::new(), pages: Vec::new(), fragment: "" }
    }

    /// Sends the browser back to the app, with the state.
    pub(super) fn back(&self, answer: &[(&str, &str)]) -> Response {
        Redirect::to(&format!("{}{}", location(self.app, self.state, answer), self.fragment)).into_response()
    }

    /// Writes the consent down, with a code for it that lives `lifetime` seconds.
    pub(super) fn grant(&self, desk: &Desk, consent: Consent, code: &str, lifetime: i64) {
        let now = desk.now();
        desk.book.change(|book| {
            let grant = book.consent(self.app, consent, now);
            let challenge = self.code_challenge.map(str::to_owned);
            let redirect_uri = self.app.redirect_uri.clone();
            let expires_at = now + lifetime;
            book.keep_code(code, Code { grant, redirect_uri, challenge, expires_at, used: false });
        });
    }
}

/// What the person decided.
pub(super) enum Decision {
    Approve(Consent),
    Deny,
}

/// A request that ends at the network, or back at the app with an error.
pub(super) enum Refused {
    /// A page for the person, status 400.
    Page(Network, String),
    /// The address to return to, error included.
    Back(String),
}

impl Refused {
    pub(super) fn back(app: &App, state: Option<&str>, error: &str, description: &str) -> Self {
        Self::Back(location(app, state, &[("error", error), ("error_description", description)]))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Self::Back(location) => Redirect::to(&location).into_response(),
            Self::Page(network, reason) => {
                let body = html! {
                    h1 { "Something went wrong" }
                    p { (reason) }
                    p.quiet { "Nothing was granted. Return to the app and try again." }
                };
                (StatusCode::BAD_REQUEST, document(network, "Something went wrong", &body)).into_response()
            }
        }
    }
}

fn location(app: &App, state: Option<&str>, answer: &[(&str, &str)]) -> String {
    let pairs = answer.iter().copied().chain(state.map(|state| ("state", state)));
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let glue = if app.redirect_uri.contains('?') { '&' } else { '?' };
    format!("{}{glue}{query}", app.redirect_uri)
}

/// The app that asks, if it is registered with exactly this address.
pub(super) fn app<'a>(desk: &'a Desk, network: Network, fields: &Fields) -> Result<&'a App, Refused> {
    let client_id = fields.get("client_id").unwrap_or_default();
    let app = desk.app(network, client_id).ok_or_else(|| {
        Refused::Page(network, "The app that sent you here is not known: its client_id is wrong.".into())
    })?;
    if fields.get("redirect_uri") != Some(&app.redirect_uri) {
        let reason = "The app that sent you here asks to return to an address that is not registered for it.";
        return Err(Refused::Page(network, reason.into()));
    }
    Ok(app)
}

/// The scopes that are asked for, or the first that the network does not know.
///
/// The page posts them as `asked`; who posts without having read the page may leave it out.
pub(super) fn scopes(known: &'static [Scope], fields: &Fields) -> Result<Vec<&'static Scope>, String> {
    let lists: Vec<&str> = match fields.form("asked").or_else(|| fields.query("scope")) {
        Some(asked) => vec![asked],
        None => fields.forms("scope").collect(),
    };
    lists.into_iter().flat_map(split).map(|name| find(known.iter(), name)).collect()
}

fn find(mut scopes: impl Iterator<Item = &'static Scope>, name: &str) -> Result<&'static Scope, String> {
    scopes.find(|scope| scope.name == name).ok_or_else(|| name.to_owned())
}

fn split(list: &str) -> impl Iterator<Item = &str> {
    list.split([' ', ',']).filter(|name| !name.is_empty())
}

/// Reads the answer to the page. Who posts without having read the page chooses everything.
pub(super) fn decision(asked: &Asked<'_>, fields: &Fields) -> Result<Decision, Refused> {
    let network = asked.app.network;
    let page = |reason: String| Refused::Page(network, reason);
    match fields.form("decision") {
        Some("deny") => return Ok(Decision::Deny),
        Some("approve") => {}
        _ => return Err(page("The form says neither approve nor deny.".into())),
    }
    let name = fields.form("account").unwrap_or_default();
    let account = network.account(name).ok_or_else(|| page(format!("There is no account {name:?} here.")))?;
    let chosen = fields
        .forms("scope")
        .flat_map(split)
        .map(|name| find(asked.scopes.iter().copied(), name))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|name| page(format!("The app did not ask for {name:?}.")))?;
    let granted =
        |scope: &Scope| chosen.is_empty() || scope.required || chosen.iter().any(|one| one.name == scope.name);
    let scopes = asked.scopes.iter().filter(|scope| granted(scope)).map(|scope| scope.name.to_owned()).collect();
    let pages = (fields.form("chosen") == Some("pages")).then(|| fields.forms("page").map(str::to_owned).collect());
    Ok(Decision::Approve(Consent { account, scopes, pages, offline: false, testing: false }))
}

/// The question to the person; `action` is the path that it was asked at.
pub(super) fn page(asked: &Asked<'_>, action: &str) -> Response {
    let App { network, client_id, redirect_uri, .. } = asked.app;
    let names = asked.scopes.iter().map(|scope| scope.name).collect::<Vec<_>>().join(" ");
    let mut carried = vec![
        ("response_type", Some("code")),
        ("client_id", Some(client_id.as_str())),
        ("redirect_uri", Some(redirect_uri.as_str())),
        ("state", asked.state),
        ("code_challenge", asked.code_challenge),
        ("code_challenge_method", asked.code_challenge.map(|_| "S256")),
        ("asked", Some(names.as_str())),
        ("chosen", (!asked.pages.is_empty()).then_some("pages")),
    ];
    carried.extend(asked.more.iter().map(|(name, value)| (*name, Some(*value))));
    let body = html! {
        h1 { "Let " b { (client_id) } " use your " (network.title()) " account?" }
        form method="post" action=(action) {
            @for (name, value) in carried {
                @if let Some(value) = value { input type="hidden" name=(name) value=(value); }
            }
            fieldset {
                legend { "Sign in as" }
                @for (at, account) in network.accounts().iter().enumerate() {
                    label {
                        input type="radio" name="account" value=(account.name) checked[at == 0] required;
                        span { b { (account.title) } " " span.quiet { (account.name) } }
                    }
                }
            }
            fieldset {
                legend { "The app asks for" }
                @for scope in &asked.scopes {
                    label {
                        @if scope.required {
                            input type="checkbox" checked disabled;
                            input type="hidden" name="scope" value=(scope.name);
                        } @else {
                            input type="checkbox" name="scope" value=(scope.name) checked;
                        }
                        span { (scope.meaning) " " code.quiet { (scope.name) } }
                    }
                }
            }
            @if !asked.pages.is_empty() {
                fieldset {
                    legend { "Pages to share, where you administer them" }
                    @for page in &asked.pages {
                        label {
                            input type="checkbox" name="page" value=(page.id) checked;
                            span { (page.title) " " span.quiet { (page.id) " · " (page.administrators.join(", ")) } }
                        }
                    }
                }
            }
            div.choice {
                button type="submit" name="decision" value="deny" { "Deny" }
                button.approve type="submit" name="decision" value="approve" { "Approve" }
            }
        }
        p.quiet { "Either way you return to " code { (redirect_uri) } }
    };
    document(*network, "Consent", &body).into_response()
}

fn document(network: Network, title: &str, body: &Markup) -> impl IntoResponse + use<> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · " (network.title()) " (sandbox)" }
                style { (PreEscaped(include_str!("consent.css"))) }
            }
            body data-network=(network.name()) {
                header { b { (network.title()) } span { "Sandbox: a stand-in, not the real " (network.title()) } }
                main { (body) }
            }
        }
    };
    let headers: [(HeaderName, &str); 2] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    ];
    (headers, Html(page.into_string()))
}
