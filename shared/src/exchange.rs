//! The only outbound HTTP client: it carries out conversations with networks.
//!
//! It reaches the pinned hosts of the networks and nothing else: no redirects, no proxies, no
//! private addresses, answers bounded in size and time. A request is never repeated once bytes
//! were sent, except that a question which changes nothing is asked again when it got no answer.
//! A failure here is "nothing was done" or "nothing is known", and these two are told apart with
//! care: never "the credential is dead".

use std::{net::SocketAddr, sync::Arc, time::Duration};

use reqwest::{
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};
use secrecy::ExposeSecret as _;
use tokio::time::{Instant, timeout_at};
use url::{Host, Url};
use zeroize::Zeroizing;

use crate::{
    network::{Answer, Credentials, Failure, Grant, Request, Talk},
    profile::{Network, Unknown},
};

/// The longest that one request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(8);
/// The longest that a whole conversation may take. A sign-in has two, and API Gateway gives up after
/// 30 seconds.
const TALK_LIMIT: Duration = Duration::from_secs(9);
/// The longest that a refresh may take. It is longer than the others' because to give up on a request that
/// spends the refresh token is worse than to wait.
pub const REFRESH_LIMIT: Duration = Duration::from_secs(13);
/// The longest that a connection may take to stand. It is shorter than the limits above, so that when one
/// of those runs out the request was sent.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// No answer that is wanted is larger.
const BODY_LIMIT: usize = 256 * 1024;
/// How often a harmless request is asked in all.
const ATTEMPTS: u32 = 3;

/// Where the networks are: at their own addresses, or on loopback.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    stand_in: Option<Url>,
    /// The networks that are at their own addresses all the same.
    live: Vec<Network>,
}

/// An endpoint that is not on loopback.
#[derive(Debug, thiserror::Error)]
#[error("NETWORK_ENDPOINT must be an http address on loopback; the networks' own addresses are pinned")]
pub struct NotLoopback;

impl Endpoints {
    /// The networks' own addresses.
    #[must_use]
    pub fn pinned() -> Self {
        Self::default()
    }

    /// A stand-in of the networks: `https://HOST/PATH` becomes `<base>/HOST/PATH`.
    ///
    /// # Errors
    /// When `base` is anything but an `http` address on loopback: a release binary cannot be
    /// pointed elsewhere.
    pub fn loopback(base: &str) -> Result<Self, NotLoopback> {
        let url = Url::parse(base).map_err(|_| NotLoopback)?;
        let loopback = match url.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(_)) | None => false,
        };
        let plain = url.scheme() == "http" && url.path() == "/" && url.query().is_none() && url.username().is_empty();
        (loopback && plain).then_some(Self { stand_in: Some(url), live: Vec::new() }).ok_or(NotLoopback)
    }

    /// Leaves the networks of a comma-separated list at their own addresses, whatever stands in for the others.
    ///
    /// # Errors
    /// When the list names something else than a network.
    pub fn except(mut self, networks: &str) -> Result<Self, Unknown> {
        self.live = networks.split(',').filter(|name| !name.is_empty()).map(str::parse).collect::<Result<_, _>>()?;
        Ok(self)
    }

    fn loopback_only(&self) -> bool {
        self.stand_in.is_some() && self.live.is_empty()
    }

    /// Where a pinned address of `network` is reached.
    #[must_use]
    pub fn locate(&self, network: Network, pinned: &Url) -> Url {
        let stand_in = self.stand_in.as_ref().filter(|_| !self.live.contains(&network));
        let Some(mut url) = stand_in.cloned() else { return pinned.clone() };
        url.set_path(&format!("{}{}", pinned.host_str().unwrap_or_default(), pinned.path()));
        url.set_query(pinned.query());
        url
    }
}

/// Talks with the networks.
#[derive(Clone, Debug)]
pub struct Exchange {
    http: reqwest::Client,
    endpoints: Endpoints,
}

impl Exchange {
    /// A client for the networks at `endpoints`.
    ///
    /// # Errors
    /// When the machine has no certificate authorities to trust.
    #[expect(clippy::disallowed_methods, reason = "the only outbound HTTP client")]
    pub fn new(endpoints: Endpoints) -> Result<Self, reqwest::Error> {
        let mut http = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_LIMIT)
            // a connection for each request: one that the network closed while this process slept would turn a
            // request that was never heard into one that was never answered, and a pool repeats requests by itself
            .pool_max_idle_per_host(0)
            .dns_resolver(Arc::new(PublicOnly))
            .user_agent(concat!("tokenward/", env!("CARGO_PKG_VERSION")))
            .retry(reqwest::retry::never());
        if endpoints.loopback_only() {
            // plain HTTP needs no certificate authorities, and loading them is most of a client's cost
            http = http.tls_certs_only([]);
        }
        Ok(Self { http: http.build()?, endpoints })
    }

    /// Where a browser finds a pinned address of `network`.
    #[must_use]
    pub fn locate(&self, network: Network, pinned: &Url) -> Url {
        self.endpoints.locate(network, pinned)
    }

    /// Carries out a conversation with `network`.
    ///
    /// # Errors
    /// What the network's answer means, [`Failure::Unavailable`] when it was not reached, or
    /// [`Failure::Unanswered`] when it was and gave no answer in time.
    pub async fn run<T>(&self, network: Network, talk: Talk<T>) -> Result<T, Failure> {
        self.converse(network, talk, REQUEST_LIMIT, TALK_LIMIT).await
    }

    /// Carries out a refresh: one request that is never repeated, with 13 seconds to answer.
    ///
    /// # Errors
    /// As for [`Self::run`]. After [`Failure::Unanswered`] and [`Failure::Unreadable`] the refresh token may
    /// be spent.
    pub async fn refresh(&self, network: Network, talk: Talk<Grant>) -> Result<Grant, Failure> {
        self.converse(network, talk, REFRESH_LIMIT, REFRESH_LIMIT).await
    }

    async fn converse<T>(
        &self,
        network: Network,
        mut talk: Talk<T>,
        request_limit: Duration,
        talk_limit: Duration,
    ) -> Result<T, Failure> {
        let deadline = Instant::now() + talk_limit;
        loop {
            let (request, then) = match talk {
                Talk::Done(result) => return Ok(result),
                Talk::Ask(request, then) => (request, then),
            };
            let answer = self.ask(network, &request, request_limit, deadline).await?;
            talk = then(answer)?;
        }
    }

    async fn ask(
        &self,
        network: Network,
        request: &Request,
        request_limit: Duration,
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        let pinned = request.url.host_str().is_some_and(|host| network.hosts().contains(&host));
        if !pinned || request.url.scheme() != "https" {
            tracing::error!(?request, "refused to contact a host that is not pinned");
            return Err(Failure::Unavailable);
        }
        let attempts = if request.repeatable { ATTEMPTS } else { 1 };
        let mut pause = Duration::from_millis(150);
        let mut failure = Failure::Unavailable;
        for attempt in 1..=attempts {
            let limit = deadline.min(Instant::now() + request_limit);
            match timeout_at(limit, self.send(network, request)).await {
                Ok(Ok(answer)) if !answer.status.is_server_error() || attempt == attempts => return Ok(answer),
                Ok(Ok(answer)) => tracing::warn!(?request, attempt, status = answer.status.as_u16(), "asking again"),
                Ok(Err(error)) => {
                    let sent = !(error.is_connect() || error.is_builder());
                    failure = if sent { Failure::Unanswered } else { Failure::Unavailable };
                    tracing::warn!(?request, attempt, sent, error = %error.without_url(), "no answer from the network");
                }
                Err(_) => {
                    failure = Failure::Unanswered;
                    tracing::warn!(?request, attempt, "no answer from the network in time");
                }
            }
            if attempt < attempts && Instant::now() + pause < deadline {
                tokio::time::sleep(pause).await;
                pause *= 3;
            }
        }
        Err(failure)
    }

    async fn send(&self, network: Network, request: &Request) -> Result<Answer, reqwest::Error> {
        let mut url = self.endpoints.locate(network, &request.url);
        for (name, value) in &request.query {
            url.query_pairs_mut().append_pair(name, value.expose_secret());
        }
        let mut sending = self.http.request(request.method.clone(), url);
        if !request.form.is_empty() {
            let fields: Vec<_> = request.form.iter().map(|(name, value)| (name, value.expose_secret())).collect();
            sending = sending.form(&fields);
        }
        sending = match &request.authorization {
            Some(Credentials::Basic(id, secret)) => sending.basic_auth(id, Some(secret.expose_secret())),
            Some(Credentials::Bearer(token)) => sending.bearer_auth(token.expose_secret()),
            None => sending,
        };
        let mut response = sending.send().await?;
        let mut body = Zeroizing::new(Vec::new());
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > BODY_LIMIT {
                // half an answer is none, however it begins
                body.clear();
                break;
            }
        }
        Ok(Answer { status: response.status(), headers: std::mem::take(response.headers_mut()), body })
    }
}

/// Resolves names to public addresses only, so that no name can lead into a private network.
#[derive(Debug)]
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(*address)).collect();
            if public.is_empty() {
                return Err("the name leads to no public address".into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is of the public internet (RFC 6890 names those that are not).
fn is_public(address: SocketAddr) -> bool {
    match address {
        SocketAddr::V4(v4) => {
            let ip = v4.ip();
            let [a, b, ..] = ip.octets();
            let shared = a == 100 && (64..128).contains(&b);
            let special = a == 0 || a >= 240 || (a == 192 && b == 0) || (a == 198 && (b == 18 || b == 19));
            !(ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_multicast()
                || ip.is_documentation()
                || ip.is_broadcast()
                || shared
                || special)
        }
        SocketAddr::V6(v6) => {
            if let Some(v4) = v6.ip().to_ipv4() {
                return is_public((v4, 0).into());
            }
            // global unicast, without the ranges for documentation and special purposes
            let [first, second, ..] = v6.ip().segments();
            let special = first == 0x2002 || (first == 0x2001 && (second == 0x0db8 || second < 0x0200));
            (first & 0xe000) == 0x2000 && !special
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // S18
    #[test]
    fn the_networks_can_be_moved_to_loopback_and_nowhere_else() {
        for base in ["http://127.0.0.1:8788", "http://[::1]:8788", "http://127.0.0.1:8788/"] {
            assert!(Endpoints::loopback(base).is_ok(), "{base}");
        }
        for base in [
            "https://127.0.0.1:8788",
            "http://localhost:8788",
            "http://127.0.0.1.evil.example",
            "http://10.0.0.1",
            "http://evil.example",
            "http://127.0.0.1:8788/path",
            "http://user@127.0.0.1:8788",
            "file:///etc/passwd",
            "",
        ] {
            assert!(Endpoints::loopback(base).is_err(), "{base}");
        }
    }

    #[test]
    fn a_stand_in_serves_every_host_below_its_own_path() {
        let endpoints = Endpoints::loopback("http://127.0.0.1:8788").unwrap();
        let pinned = Url::parse("https://api.x.com/2/users/me?a=b").unwrap();
        assert_eq!(endpoints.locate(Network::X, &pinned).as_str(), "http://127.0.0.1:8788/api.x.com/2/users/me?a=b");
        assert_eq!(Endpoints::pinned().locate(Network::X, &pinned), pinned);
    }

    // S18
    #[test]
    fn a_live_network_is_at_its_pinned_address_and_every_other_on_loopback() {
        let loopback = || Endpoints::loopback("http://127.0.0.1:8788").unwrap();
        for live in ["", "x", "facebook", "x,facebook"] {
            let endpoints = loopback().except(live).unwrap();
            for network in Network::ALL {
                for host in network.hosts() {
                    let pinned = Url::parse(&format!("https://{host}/path?a=b")).unwrap();
                    let expected = if live.split(',').any(|name| name == network.as_str()) {
                        pinned.to_string()
                    } else {
                        format!("http://127.0.0.1:8788/{host}/path?a=b")
                    };
                    assert_eq!(endpoints.locate(network, &pinned).as_str(), expected, "{network} while {live} is live");
                }
            }
        }
        for list in ["myspace", "x,myspace", "https://evil.example", "http://127.0.0.1:8788"] {
            assert!(loopback().except(list).is_err(), "{list}");
        }
    }

    // S18
    #[test]
    fn a_name_that_leads_into_a_private_network_is_not_followed() {
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "192.0.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "2001:db8::1",
            "ff02::1",
            "2002:a00:1::",
        ] {
            let address = SocketAddr::new(address.parse().unwrap(), 443);
            assert!(!is_public(address), "{address}");
        }
        for address in ["157.240.1.35", "104.244.42.1", "2a03:2880:f12f:83:face:b00c:0:25de"] {
            assert!(is_public(SocketAddr::new(address.parse().unwrap(), 443)), "{address}");
        }
    }
}
