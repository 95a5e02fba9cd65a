//! What a tenant's administrators set for everybody.
//!
//! Settings decide how people are told of their tokens, and nothing about access. Where a mail leads is the one thing
//! among them that could be turned against a person: it must be an address that the operator registered, as every
//! address must that a browser is led to (S20), and it is looked at again whenever a mail is written.

use std::collections::BTreeSet;

use jiff::Timestamp;
use lettre::Address;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{
    connect::ReturnUrls,
    ladder::{BadLadder, Ladder},
};

/// So many addresses are written to at most.
const MOST_ADMINISTRATORS: usize = 20;
/// An e-mail address is no longer (RFC 5321 §4.5.3.1.3, without the brackets).
const LONGEST_ADDRESS: usize = 254;
/// Nor is a link.
const LONGEST_URL: usize = 2_000;

/// The settings of a tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// When owners are warned.
    #[serde(default)]
    pub ladder: Ladder,
    /// The e-mail addresses that are told of every token of the tenant.
    #[serde(default)]
    pub administrators: Vec<String>,
    /// The tenant's own privacy statement, shown before a sign-in begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privacy_url: Option<String>,
    /// Where the links in mails lead, instead of to the deployment's page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reauthenticate_url: Option<String>,
    /// When they were set; `None` while they are those that every tenant begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<Timestamp>,
}

/// What an administrator wants to be set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Days before the end.
    pub ladder_days: Vec<u16>,
    /// E-mail addresses.
    pub administrators: Vec<String>,
    /// A link.
    pub privacy_url: Option<String>,
    /// A link.
    pub reauthenticate_url: Option<String>,
}

/// Why something cannot be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSetting {
    /// The ladder is none.
    #[error("`ladder_days`: {0}")]
    Ladder(#[from] BadLadder),
    /// There are too many addresses.
    #[error("`administrators`: at most {MOST_ADMINISTRATORS} addresses can be written to")]
    TooMany,
    /// The address in this place (counted from 1) is none, or was there before.
    #[error("`administrators`: number {0} is no e-mail address, or is there twice")]
    Address(usize),
    /// The privacy statement is no page that everybody can open.
    #[error(
        "`privacy_url`: this must be an https address without a user or password, of at most {LONGEST_URL} characters"
    )]
    PrivacyUrl,
    /// The operator did not register where mails are to lead.
    #[error("`reauthenticate_url`: this must be one of the addresses that the operator registered, to the letter")]
    NotRegistered,
}

impl Settings {
    /// These settings after an administrator set what is `wanted` at `now`.
    ///
    /// # Errors
    /// The first thing that cannot be set.
    pub fn changed(&self, wanted: Wanted, pages: &ReturnUrls, now: Timestamp) -> Result<Self, BadSetting> {
        let ladder = self.ladder.changed(&wanted.ladder_days, now)?;
        if wanted.administrators.len() > MOST_ADMINISTRATORS {
            return Err(BadSetting::TooMany);
        }
        let mut seen = BTreeSet::new();
        for (number, address) in (1..).zip(&wanted.administrators) {
            let is_address = address.len() <= LONGEST_ADDRESS && address.parse::<Address>().is_ok();
            if !is_address || !seen.insert(address.to_lowercase()) {
                return Err(BadSetting::Address(number));
            }
        }
        let privacy_url = wanted.privacy_url.map(|url| public_page(&url).ok_or(BadSetting::PrivacyUrl)).transpose()?;
        if wanted.reauthenticate_url.as_ref().is_some_and(|url| !pages.contains(url)) {
            return Err(BadSetting::NotRegistered);
        }
        let (administrators, reauthenticate_url) = (wanted.administrators, wanted.reauthenticate_url);
        Ok(Self { ladder, administrators, privacy_url, reauthenticate_url, changed_at: Some(now) })
    }

    /// Whether `address` is an administrator's, whatever the case of its letters.
    #[must_use]
    pub fn administers(&self, address: &str) -> bool {
        self.administrators.iter().any(|administrator| administrator.to_lowercase() == address.to_lowercase())
    }

    /// Where the links in mails lead: to the tenant's choice while the operator's `pages` still have it, else to the
    /// `deployment`'s own page.
    #[must_use]
    pub fn reauthenticate_at<'a>(&'a self, pages: &ReturnUrls, deployment: &'a str) -> &'a str {
        self.reauthenticate_url.as_deref().filter(|url| pages.contains(url)).unwrap_or(deployment)
    }
}

/// The address of a page on the web, in its normal form.
fn public_page(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let public = url.scheme() == "https" && url.username().is_empty() && url.password().is_none();
    (public && url.as_str().len() <= LONGEST_URL && !text.contains(char::is_whitespace)).then(|| url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn pages() -> ReturnUrls {
        ReturnUrls::parse("https://app.example/done,https://app.example/again").unwrap()
    }

    fn wanted() -> Wanted {
        Wanted { ladder_days: vec![3, 30], administrators: vec!["ops@acme.example".into()], ..Wanted::default() }
    }

    // S20, S36
    #[test]
    fn settings_are_what_the_product_says_or_are_refused_with_the_reason() {
        let (text, some) = (|text: &str| text.to_owned(), |text: &str| Some(text.to_owned()));
        let people = |count: usize| (0..count).map(|number| format!("p{number}@acme.example")).collect();
        let long = format!("{}@acme.example", "x".repeat(260));
        for (wanted, refused) in [
            (wanted(), None),
            (Wanted { administrators: vec![], ..wanted() }, None),
            (Wanted { administrators: people(20), ..wanted() }, None),
            (Wanted { administrators: people(21), ..wanted() }, Some(BadSetting::TooMany)),
            (Wanted { ladder_days: vec![], ..wanted() }, Some(BadSetting::Ladder(BadLadder))),
            (
                Wanted { administrators: vec![text("a@x.example"), text("ops")], ..wanted() },
                Some(BadSetting::Address(2)),
            ),
            (
                Wanted { administrators: vec![text("A@x.example"), text("a@x.example")], ..wanted() },
                Some(BadSetting::Address(2)),
            ),
            (
                Wanted { administrators: vec![text("a@x.example\r\nBcc: b@x.example")], ..wanted() },
                Some(BadSetting::Address(1)),
            ),
            (Wanted { administrators: vec![text("Ops <a@x.example>")], ..wanted() }, Some(BadSetting::Address(1))),
            (Wanted { administrators: vec![long], ..wanted() }, Some(BadSetting::Address(1))),
            (Wanted { privacy_url: some("https://acme.example/privacy?lang=en"), ..wanted() }, None),
            (Wanted { privacy_url: some("http://acme.example/privacy"), ..wanted() }, Some(BadSetting::PrivacyUrl)),
            (Wanted { privacy_url: some("https://user:x@acme.example/"), ..wanted() }, Some(BadSetting::PrivacyUrl)),
            (Wanted { privacy_url: some("javascript:alert(1)"), ..wanted() }, Some(BadSetting::PrivacyUrl)),
            (Wanted { privacy_url: some("https://acme.example/\n"), ..wanted() }, Some(BadSetting::PrivacyUrl)),
            (Wanted { privacy_url: some(""), ..wanted() }, Some(BadSetting::PrivacyUrl)),
            (Wanted { reauthenticate_url: some("https://app.example/again"), ..wanted() }, None),
            (
                Wanted { reauthenticate_url: some("https://app.example/again/"), ..wanted() },
                Some(BadSetting::NotRegistered),
            ),
            (Wanted { reauthenticate_url: some("https://evil.example/"), ..wanted() }, Some(BadSetting::NotRegistered)),
        ] {
            let changed = Settings::default().changed(wanted.clone(), &pages(), NOW);
            assert_eq!(changed.err(), refused, "{wanted:?}");
        }
        let set = Settings::default().changed(wanted(), &pages(), NOW).unwrap();
        assert_eq!((set.ladder.days(), set.changed_at), (vec![30, 3], Some(NOW)));
        assert!(set.administers("OPS@acme.example") && !set.administers("dora@acme.example"));
    }

    // S20
    #[test]
    fn a_page_that_the_operator_took_back_is_linked_to_no_more() {
        let again = Some("https://app.example/again".to_owned());
        let set = Settings::default().changed(Wanted { reauthenticate_url: again, ..wanted() }, &pages(), NOW).unwrap();
        let fewer = ReturnUrls::parse("https://app.example/done").unwrap();
        for (settings, pages, leads_to) in [
            (&set, pages(), "https://app.example/again"),
            (&set, fewer, "https://app.example/reauthenticate"),
            (&Settings::default(), pages(), "https://app.example/reauthenticate"),
        ] {
            assert_eq!(settings.reauthenticate_at(&pages, "https://app.example/reauthenticate"), leads_to);
        }
    }
}
