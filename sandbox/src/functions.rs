//! The functions, wired as their `main`s wire them, with a clock that can be moved.
//!
//! Each is invoked through its real entry: the event as JSON in, the answer as JSON out.

use std::{collections::BTreeMap, sync::Arc};

use authorizer::{Authorizer, Issuer, Terms};
use aws_config::SdkConfig;
use axum::Router;
use console::{Console, SignIn};
use expiry_sweep::Sweep;
use leases::{Leases, Memory};
use oauth_callback::Callback;
use oauth_start::Start;
use provider_events::ProviderEvents;
use serde_json::Value;
use shared::{
    apps::Apps,
    clock::Clock,
    connect::ReturnUrls,
    due::DueQueue,
    edge::{self, Fatal},
    exchange::{Endpoints, Exchange},
    jwks::KeyRing,
    keys::{KeysConfig, TenantKeys},
    mail::Mailer,
    random::Random,
    refresh::Refresher,
    revoke::Revoker,
    spill::Spill,
    store::{Spread, flows::Flows, profiles::Vault},
};
use spill_reader::SpillReader;
use token_claims::TokenClaims;
use tokens::Tokens;

/// The environment variables of each function.
pub type Environment = BTreeMap<String, BTreeMap<String, String>>;

/// The functions.
pub struct Functions {
    start: Router,
    callback: Router,
    tokens: Router,
    leases: Router,
    sweep: Sweep,
    spill_reader: SpillReader,
    events: provider_events::Function,
    authorizer: Authorizer,
    console: Router,
    token_claims: TokenClaims,
}

impl Functions {
    /// Wires every function from its own environment.
    ///
    /// # Errors
    /// When a variable is missing or makes no sense.
    pub fn wire(aws: &SdkConfig, environment: &Environment, clock: &Clock) -> Result<Self, Fatal> {
        let of = |function| Wiring { aws, environment: environment.get(function), clock };
        let (start, callback, tokens, sweep) =
            (of("oauth-start"), of("oauth-callback"), of("tokens"), of("expiry-sweep"));
        let (leases, reader) = (of("leases"), of("spill-reader"));
        let (authorizer, console, claims) = (of("authorizer"), of("console"), of("token-claims"));
        let events = of("provider-events");
        let sweeping = Revoker {
            vault: sweep.vault()?,
            flows: sweep.flows()?,
            keys: Arc::new(sweep.keys()?),
            apps: sweep.apps()?,
            exchange: Exchange::new(sweep.endpoints()?)?,
        };
        Ok(Self {
            start: oauth_start::routes(Start {
                flows: Flows::new(aws, start.variable("FLOWS_TABLE")?, Spread::new(1, 0)),
                keys: start.keys()?,
                apps: start.apps()?,
                endpoints: start.endpoints()?,
                public_url: start.variable("PUBLIC_URL")?.to_owned(),
                clock: clock.clone(),
                random: Random::system(),
            }),
            callback: oauth_callback::routes(Callback {
                flows: callback.flows()?,
                keys: callback.keys()?,
                apps: callback.apps()?,
                exchange: Exchange::new(callback.endpoints()?)?,
                clock: clock.clone(),
                random: Random::system(),
            }),
            tokens: tokens::routes(Tokens {
                vault: tokens.vault()?,
                flows: tokens.flows()?,
                keys: Arc::new(tokens.keys()?),
                apps: tokens.apps()?,
                exchange: Exchange::new(tokens.endpoints()?)?,
                public_url: tokens.variable("PUBLIC_URL")?.to_owned(),
                return_urls: ReturnUrls::parse(tokens.variable("RETURN_URLS")?)?,
                clock: clock.clone(),
                random: Random::system(),
            }),
            leases: leases::routes(Leases {
                refresher: Refresher {
                    vault: leases.vault()?,
                    keys: Arc::new(leases.keys()?),
                    apps: leases.apps()?,
                    exchange: Exchange::new(leases.endpoints()?)?,
                    spill: leases.spill()?,
                    clock: clock.clone(),
                    random: Random::system(),
                    lease: leases::REFRESH_LEASE,
                },
                recent: Memory::default(),
            }),
            spill_reader: SpillReader { vault: reader.vault()?, flows: reader.flows()?, clock: clock.clone() },
            events: provider_events::Function::new(ProviderEvents {
                vault: events.vault()?,
                flows: events.flows()?,
                apps: events.apps()?,
                exchange: Exchange::new(events.endpoints()?)?,
                google_keys: KeyRing::default(),
                public_url: events.variable("PUBLIC_URL")?.to_owned(),
                clock: clock.clone(),
            }),
            sweep: Sweep {
                refresher: Refresher::beside(
                    &sweeping,
                    sweep.spill()?,
                    clock.clone(),
                    Random::system(),
                    expiry_sweep::REFRESH_LEASE,
                ),
                revoker: sweeping,
                due: DueQueue::new(aws, sweep.variable("DUE_QUEUE")?),
                mailer: Mailer::new(aws, sweep.variable("MAIL_FROM")?, sweep.variable("MAIL_EVENTS")?)?,
                reauthenticate_url: sweep.variable("REAUTHENTICATE_URL")?.to_owned(),
                return_urls: ReturnUrls::parse(sweep.variable("RETURN_URLS")?)?,
                recent: expiry_sweep::Memory::default(),
                clock: clock.clone(),
            },
            authorizer: Authorizer {
                issuer: Issuer::new(authorizer.variable("OIDC_ISSUER")?.to_owned())?,
                terms: Terms {
                    audience: authorizer.variable("OIDC_AUDIENCE")?.to_owned(),
                    tenant_claim: authorizer.variable("TENANT_CLAIM")?.to_owned(),
                    roles_claim: authorizer.variable("ROLES_CLAIM")?.to_owned(),
                    groups_claim: authorizer.variable("GROUPS_CLAIM")?.to_owned(),
                },
                clock: clock.clone(),
            },
            console: console::routes(Console::new(&console.sign_in()?)?, clock.clone()),
            token_claims: TokenClaims {
                tenant_claim: claims.variable("TENANT_CLAIM")?.to_owned(),
                roles_claim: claims.variable("ROLES_CLAIM")?.to_owned(),
                groups_claim: claims.variable("GROUPS_CLAIM")?.to_owned(),
            },
        })
    }

    /// Invokes a function.
    ///
    /// # Errors
    /// When there is no such function, or it failed as Lambda would say.
    pub async fn invoke(&self, function: &str, event: Value) -> Result<Value, Fatal> {
        match function {
            "oauth-start" => edge::invoke(&self.start, event).await,
            "oauth-callback" => edge::invoke(&self.callback, event).await,
            "tokens" => edge::invoke(&self.tokens, event).await,
            "leases" => edge::invoke(&self.leases, event).await,
            "expiry-sweep" => self.sweep.invoke(event).await,
            "provider-events" => self.events.invoke(event).await,
            "spill-reader" => self.spill_reader.invoke(event).await,
            "console" => edge::invoke(&self.console, event).await,
            "token-claims" => Ok(self.token_claims.invoke(event)?),
            "authorizer" => Ok(self.authorizer.invoke(event).await?),
            _ => Err(format!("there is no function {function:?}").into()),
        }
    }
}

/// What one function is wired from.
struct Wiring<'a> {
    aws: &'a SdkConfig,
    environment: Option<&'a BTreeMap<String, String>>,
    clock: &'a Clock,
}

impl Wiring<'_> {
    fn variable(&self, name: &str) -> Result<&str, Fatal> {
        let value = self.environment.and_then(|variables| variables.get(name));
        value.map(String::as_str).ok_or_else(|| format!("the environment variable {name} is missing").into())
    }

    fn sign_in(&self) -> Result<SignIn, Fatal> {
        Ok(SignIn {
            issuer: self.variable("OIDC_ISSUER")?.to_owned(),
            token_origin: Some(self.variable("OIDC_TOKEN_ORIGIN")?.to_owned()),
            client_id: self.variable("CONSOLE_CLIENT_ID")?.to_owned(),
            scope: self.variable("CONSOLE_SCOPE")?.to_owned(),
            roles_claim: self.variable("ROLES_CLAIM")?.to_owned(),
            groups_claim: self.variable("GROUPS_CLAIM")?.to_owned(),
        })
    }

    fn spread(&self, jitter_minutes: u16) -> Result<Spread, Fatal> {
        Ok(Spread::new(self.variable("DUE_SHARDS")?.parse()?, jitter_minutes))
    }

    fn vault(&self) -> Result<Vault, Fatal> {
        Ok(Vault::new(
            self.aws,
            self.variable("VAULT_TABLE")?,
            self.spread(self.variable("DUE_JITTER_MINUTES")?.parse()?)?,
        ))
    }

    fn flows(&self) -> Result<Flows, Fatal> {
        Ok(Flows::new(self.aws, self.variable("FLOWS_TABLE")?, self.spread(0)?))
    }

    fn keys(&self) -> Result<TenantKeys, Fatal> {
        let config = KeysConfig {
            table: self.variable("KEYS_TABLE")?.to_owned(),
            kms_key: self.variable("KMS_KEY")?.to_owned(),
            stage: self.variable("STAGE")?.to_owned(),
        };
        Ok(TenantKeys::new(self.aws, config, self.clock.clone(), Random::system()))
    }

    fn spill(&self) -> Result<Spill, Fatal> {
        Ok(Spill::new(self.aws, self.variable("SPILL_QUEUE")?))
    }

    fn apps(&self) -> Result<Apps, Fatal> {
        Ok(Apps::new(self.aws, self.variable("APPS_SECRET")?, self.variable("GRAPH_VERSION")?, self.clock.clone()))
    }

    fn endpoints(&self) -> Result<Endpoints, Fatal> {
        let live = self.environment.and_then(|variables| variables.get("NETWORK_ENDPOINT_EXCEPT"));
        let live = live.map(String::as_str).unwrap_or_default();
        Ok(Endpoints::loopback(self.variable("NETWORK_ENDPOINT")?)?.except(live)?)
    }
}
