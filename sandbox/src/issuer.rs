//! The OIDC issuer of the sandbox, and the people and workers who sign in with it.
//!
//! It signs RS256 with a key that is made once and kept, so that a token from before a restart is
//! still good. [`Issuer::rotate`] and [`Issuer::retire_old`] play the two halves of a key rotation
//! as an issuer would do them, some time apart.

mod sign_in;

use std::{
    fmt, io,
    sync::{Arc, LazyLock, Mutex, OnceLock},
};

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    rsa::{KeyPair, KeySize},
};
use axum::{Json, Router, middleware, routing::get};
use base64::{Engine as _, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, EncodingKey, Header,
    jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::{clock::Clock, random::Random};

pub(crate) use self::sign_in::CONSOLE;
use crate::data::{DataDir, Saved};

/// What an access token of the sandbox is for.
pub const AUDIENCE: &str = "tokenward";

/// The client that everybody signs in through who does not use a browser.
const CLIENT_ID: &str = "tokenward-sandbox";
const LIFETIME: i64 = 3_600;

/// Somebody who can sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Person {
    /// The name, and the subject of the tokens.
    #[serde(rename = "person")]
    pub name: &'static str,
    /// The tenant that the issuer vouches for.
    pub tenant: &'static str,
    /// `<person>@<tenant>.example`.
    pub email: &'static str,
    /// What the person may do; nothing for workers.
    pub roles: &'static [&'static str],
    /// To which groups the person belongs.
    pub groups: &'static [&'static str],
    /// `tokenward` for people, `leases` for workers.
    pub scope: &'static str,
}

/// Two tenants, each with every kind of user that matters and a worker.
pub const PEOPLE: &[Person] = &[
    user("alice", "acme", "alice@acme.example", &["manager", "power_analyst"], &["newsroom"]),
    user("bob", "acme", "bob@acme.example", &["responder", "analyst"], &["service desk"]),
    user("carol", "acme", "carol@acme.example", &["reader", "analyst"], &["service desk"]),
    user("dora", "acme", "dora@acme.example", &["manager", "administrator"], &[]),
    worker("acme-worker", "acme", "acme-worker@acme.example"),
    user("erin", "globex", "erin@globex.example", &["manager", "administrator"], &[]),
    user("frank", "globex", "frank@globex.example", &["responder", "power_analyst"], &["newsroom"]),
    user("gus", "globex", "gus@globex.example", &["reader", "analyst"], &["service desk"]),
    worker("globex-worker", "globex", "globex-worker@globex.example"),
];

const fn user(
    name: &'static str,
    tenant: &'static str,
    email: &'static str,
    roles: &'static [&'static str],
    groups: &'static [&'static str],
) -> Person {
    Person { name, tenant, email, roles, groups, scope: "tokenward" }
}

const fn worker(name: &'static str, tenant: &'static str, email: &'static str) -> Person {
    Person { name, tenant, email, roles: &[], groups: &[], scope: "leases" }
}

/// An issuer of access and ID tokens.
#[derive(Clone)]
pub struct Issuer {
    keys: Saved<Keys>,
    url: String,
    /// Where the console is, its redirect URI.
    console: String,
    desk: Arc<Mutex<sign_in::Desk>>,
    clock: Clock,
}

#[derive(Serialize, Deserialize)]
struct Keys {
    /// PKCS#8 in PEM.
    signing: String,
    /// Public keys whose tokens are still accepted.
    old: Vec<Jwk>,
    /// `signing`, parsed at its first use.
    #[serde(skip)]
    signer: OnceLock<Signer>,
}

/// A parsed signing key. Parsing checks the key, which costs more than signing with it.
#[derive(Clone)]
struct Signer {
    key: EncodingKey,
    /// The public half, named by its thumbprint (RFC 7638).
    public: Jwk,
}

/// The first key of every issuer in this process. Generating one takes a noticeable part of a sandbox's start, and issuers
/// are told apart by their `iss`.
static FIRST_KEY: LazyLock<String> = LazyLock::new(new_key);

impl Issuer {
    /// Opens the issuer that is known as `url` and signs people in at the `console`, with the keys in `dir` or a new one.
    ///
    /// # Errors
    /// When the saved keys cannot be read.
    pub fn open(dir: &DataDir, url: String, console: String, clock: Clock) -> io::Result<Self> {
        let keys = Saved::open(dir, "issuer.json", || Keys::new(FIRST_KEY.clone(), Vec::new()))?;
        keys.read(|keys| Signer::parse(&keys.signing).map(|signer| drop(keys.signer.set(signer))))
            .map_err(io::Error::other)?;
        Ok(Self { keys, url, console, desk: Arc::default(), clock })
    }

    /// The issuer identifier: `iss` of every token.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// An access token, good for an hour; `None` for a stranger.
    #[must_use]
    pub fn sign_in(&self, person: &str) -> Option<String> {
        Some(self.access_token(find(person)?, CLIENT_ID))
    }

    fn access_token(&self, person: &Person, client: &str) -> String {
        let mut claims = self.claims_of(person);
        claims["aud"] = AUDIENCE.into();
        claims["client_id"] = client.into();
        claims["token_use"] = "access".into();
        claims["scope"] = person.scope.into();
        self.encode(&claims)
    }

    /// An ID token, which tells the client who signed in and must open nothing; `None` for a stranger.
    #[must_use]
    pub fn id_token(&self, person: &str) -> Option<String> {
        let mut claims = self.claims_of(find(person)?);
        claims["aud"] = CLIENT_ID.into();
        claims["token_use"] = "id".into();
        Some(self.encode(&claims))
    }

    /// A token that says whatever `claims` say.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "claims are written for one token and read best in place")]
    pub fn sign(&self, claims: Value) -> String {
        self.encode(&claims)
    }

    /// Signs with a new key from now on. Tokens of the old ones stay good.
    pub fn rotate(&self) {
        let signing = new_key();
        self.keys.change(|keys| {
            let old = keys.jwks().keys;
            *keys = Keys::new(signing, old);
        });
    }

    /// Withdraws every key but the one that signs.
    pub fn retire_old(&self) {
        self.keys.change(|keys| keys.old.clear());
    }

    /// Discovery, key set and signing in, below `/issuer`.
    pub(crate) fn routes(&self) -> Router {
        let mut discovery = json!({
            "issuer": self.url,
            "jwks_uri": format!("{}/jwks", self.url),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        });
        if let (Some(discovery), Value::Object(more)) = (discovery.as_object_mut(), sign_in::endpoints(&self.url)) {
            discovery.extend(more);
        }
        let issuer = self.clone();
        let jwks = async move || Json(issuer.key_set());
        Router::new()
            .route("/issuer/.well-known/openid-configuration", get(async || Json(discovery)))
            .route("/issuer/jwks", get(jwks))
            .layer(middleware::map_response(sign_in::readable))
            .merge(sign_in::routes(self))
    }

    /// The public keys of what it signs.
    pub(crate) fn key_set(&self) -> JwkSet {
        self.keys.read(Keys::jwks)
    }

    /// The target of a path below `/issuer`.
    pub(crate) fn target(path: &str) -> Option<&'static str> {
        match path {
            ".well-known/openid-configuration" => Some("issuer/openid-configuration"),
            "jwks" => Some("issuer/jwks"),
            "authorize" => Some("issuer/authorize"),
            "token" => Some("issuer/token"),
            "end-session" => Some("issuer/end-session"),
            _ => None,
        }
    }

    fn claims_of(&self, person: &Person) -> Value {
        let now = self.clock.now().as_second();
        json!({
            "iss": self.url,
            "sub": person.name,
            "email": person.email,
            "roles": person.roles,
            "groups": person.groups,
            "tenant": person.tenant,
            "iat": now,
            "nbf": now,
            "exp": now + LIFETIME,
            "jti": BASE64_URL_SAFE_NO_PAD.encode(Random::system().bytes::<16>()),
        })
    }

    fn encode(&self, claims: &Value) -> String {
        let Signer { key, public } = self.keys.read(|keys| keys.signer().clone());
        let header = Header { kid: public.common.key_id, ..Header::new(Algorithm::RS256) };
        jsonwebtoken::encode(&header, claims, &key).expect("an RSA key signs any claims")
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Keys {
    fn new(signing: String, old: Vec<Jwk>) -> Self {
        Self { signing, old, signer: OnceLock::new() }
    }

    fn signer(&self) -> &Signer {
        self.signer.get_or_init(|| Signer::parse(&self.signing).expect("the key was parsed when it was opened"))
    }

    fn jwks(&self) -> JwkSet {
        JwkSet { keys: self.old.iter().cloned().chain([self.signer().public.clone()]).collect() }
    }
}

impl Signer {
    fn parse(pem: &str) -> jsonwebtoken::errors::Result<Self> {
        let key = EncodingKey::from_rsa_pem(pem.as_bytes())?;
        let mut public = Jwk::from_encoding_key(&key, Algorithm::RS256)?;
        public.common.key_id = Some(public.thumbprint(ThumbprintHash::SHA256)?);
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self { key, public })
    }
}

fn find(name: &str) -> Option<&'static Person> {
    PEOPLE.iter().find(|person| person.name == name)
}

/// RSA of 2048 bits, PKCS#8 in PEM.
fn new_key() -> String {
    let pkcs8: Pkcs8V1Der<'_> =
        KeyPair::generate(KeySize::Rsa2048).and_then(|pair| pair.as_der()).expect("an RSA key can be made");
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", BASE64_STANDARD.encode(pkcs8.as_ref()))
}
