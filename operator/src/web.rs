//! Looking at a page: no redirects, no proxies, nothing long.

use std::{net::IpAddr, time::Duration};

use reqwest::{Client, header, redirect};
use url::{Host, Url};

/// For one request.
const TIME_OUT: Duration = Duration::from_secs(5);
/// The longest document that is read, in bytes.
const LONGEST: usize = 1024 * 1024;

/// What was answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The header field `date` (RFC 9110 §6.6.1).
    pub(crate) date: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error("it does not answer")]
    Unreachable(#[from] reqwest::Error),
    #[error("it answers more than a megabyte")]
    TooLong,
}

#[expect(clippy::disallowed_methods, reason = "an operator looks at pages that are no network's")]
pub(crate) async fn get(url: &Url) -> Result<Answer, NoAnswer> {
    let client = Client::builder().redirect(redirect::Policy::none()).no_proxy().timeout(TIME_OUT).build()?;
    let mut answer = client.get(url.clone()).send().await?;
    let date = answer.headers().get(header::DATE).and_then(|date| date.to_str().ok()).map(str::to_owned);
    let (status, mut body) = (answer.status().as_u16(), Vec::new());
    while let Some(chunk) = answer.chunk().await? {
        body.extend(chunk);
        if body.len() > LONGEST {
            return Err(NoAnswer::TooLong);
        }
    }
    Ok(Answer { status, date, body })
}

pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}
