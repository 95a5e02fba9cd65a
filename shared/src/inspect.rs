//! Asking a network how a token is, and believing what it says.
//!
//! Nothing that anybody claims of a token ends it: neither a worker's report nor a suspicion of the sweep. The network
//! itself is asked, and a token that it calls dead is renewed first where a machine can do that. Whatever the network
//! cannot confirm now changes nothing.

use jiff::{SignedDuration, Timestamp};

use crate::{
    apps::App,
    clock::Deadline,
    metrics::{self, Metric},
    network::{Failure, Limit, LimitReach, Terms},
    profile::Network,
    refresh::{Access, Refresher, Wanted},
    revoke::GrantError,
    store::{
        StoreError,
        pauses::Paused,
        profiles::{Held, TokenKey},
    },
    token::CHECKED_EVERY,
};

/// No token rests longer for one answer.
const LONGEST_REST: u32 = 6 * 60 * 60;
/// When the network is asked again that gave no clear answer.
const ASK_AGAIN: SignedDuration = SignedDuration::from_hours(1);

/// What came of asking.
#[derive(Debug)]
pub enum Inspected {
    /// It is in order.
    Well,
    /// It is in order, and permissions are gone or have come: its present scopes are kept.
    ScopesChanged,
    /// It was refused, and there is a new access token.
    Renewed,
    /// It is dead; its owner is told.
    Dead(Box<Held>),
    /// The network limits it; it rests.
    Resting,
    /// The network limits the whole app until then.
    AppPaused(Timestamp),
    /// The network did not say, or could not be asked.
    Unknown(Failure),
    /// It changed at this very moment: what was asked was another secret.
    Changed,
}

impl Refresher {
    /// Asks the network how the token is, and writes down what it says.
    ///
    /// # Errors
    /// When something that this needs is down.
    pub async fn inspect(&self, key: &TokenKey, held: &Held, deadline: Deadline) -> Result<Inspected, GrantError> {
        let now = self.clock.now();
        let network = key.profile.kind().network();
        let mut app = self.apps.by_client_id(network, &held.token.app).await?;
        let pause = self.vault.pause(network, &app.client_id).await?;
        if let Some(until) = pause.limited_until.filter(|until| now < *until) {
            self.ask_again(key, held, now).await?;
            return Ok(Inspected::AppPaused(until));
        }
        let grant = held.grant.open(&self.keys).await?;
        let ask = async |app: &App| {
            let talk = network.provider().inspect(app, &key.profile, &grant, now);
            self.exchange.run(network, talk).await
        };
        let mut answer = ask(&app).await;
        if matches!(answer, Err(Failure::AppRejected))
            && let Some(newer) = self.newer_credentials(&app).await
        {
            app = newer;
            answer = ask(&app).await;
        }
        let failure = match answer {
            Ok(terms) => {
                let changed = terms.changes(&held.token.scopes);
                let check_at = held.token.inspect_at().map(|_| now + CHECKED_EVERY);
                if changed || check_at.is_some() {
                    self.vault.learn(key, held, &terms, check_at).await?;
                }
                return Ok(if changed { Inspected::ScopesChanged } else { Inspected::Well });
            }
            Err(failure) => failure,
        };
        metrics::record(now, Some(network), failure.metric().map(|metric| (metric, 1)));
        match failure {
            Failure::Dead(reason) if grant.refresh_token.is_some() && reason.may_end_with_refresh() => {
                Ok(match self.access(key, held.clone(), Wanted::InsteadOfDead, deadline).await? {
                    Access::Good(seen, _) if seen.token.generation != held.token.generation => Inspected::Renewed,
                    Access::Over(seen) => Inspected::Dead(seen),
                    Access::Gone => Inspected::Changed,
                    Access::Good(..) | Access::Busy | Access::Later(_) => {
                        self.ask_again(key, held, now).await?;
                        Inspected::Unknown(failure)
                    }
                })
            }
            Failure::Dead(reason) => {
                let reason = network.provider().death(reason, now.duration_since(held.token.connected_at));
                match self.vault.die(key, held, reason, now).await {
                    Ok(()) => {
                        metrics::record(now, Some(network), [(Metric::FoundDead, 1)]);
                        Ok(Inspected::Dead(Box::new(held.clone())))
                    }
                    Err(StoreError::Conflict) => Ok(Inspected::Changed),
                    Err(error) => Err(error.into()),
                }
            }
            Failure::Limited(Limit { reach: LimitReach::App, seconds }) => {
                let until = now + SignedDuration::from_secs(seconds.into());
                self.pause(network, &app.client_id, until).await?;
                self.ask_again(key, held, now).await?;
                Ok(Inspected::AppPaused(until))
            }
            Failure::Limited(limit) => {
                self.rest(key, held, limit.seconds).await?;
                self.ask_again(key, held, now).await?;
                Ok(Inspected::Resting)
            }
            failure => {
                if failure == Failure::AppRejected {
                    self.app_rejected(&app, now).await?;
                }
                tracing::warn!(%network, profile = %key.profile, %failure, "the network did not say how a token is");
                self.ask_again(key, held, now).await?;
                Ok(Inspected::Unknown(failure))
            }
        }
    }

    /// Lets a token rest for as long as its network limits it, within reason.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn rest(&self, key: &TokenKey, held: &Held, seconds: u32) -> Result<(), StoreError> {
        let until = self.clock.now() + SignedDuration::from_secs(seconds.min(LONGEST_REST).into());
        if held.token.state.cooling_until().is_none_or(|resting| resting < until) {
            self.vault.limit(key, held, until).await?;
        }
        Ok(())
    }

    async fn pause(&self, network: Network, app: &str, until: Timestamp) -> Result<(), StoreError> {
        tracing::error!(%network, %app, %until, "the network limits the whole app");
        self.vault.pause_app(network, app, Paused::Limited, until).await
    }

    /// Sets the sweep's next question, where it asks any.
    async fn ask_again(&self, key: &TokenKey, held: &Held, now: Timestamp) -> Result<(), StoreError> {
        if held.token.inspect_at().is_some() {
            self.vault.learn(key, held, &Terms::default(), Some(now + ASK_AGAIN)).await?;
        }
        Ok(())
    }
}
