//! Refreshing a grant so that it is never burnt: the I/O around the rules of [`crate::renewal`].
//!
//! One request at a time goes to the network for a token, across all machines, and everybody else waits for
//! what it brings. The attempt is written down before the request is sent; the tenant's key is in hand before
//! that, because KMS may fail afterwards; the answer is stored before it is used, or spilled sealed into a queue
//! when the table fails. Nothing but the network's refusal of the present refresh token ends a token, and then only
//! after the row was read again and every answer that came late was tried.
//!
//! One window cannot be closed by anybody: the network renewed the grant and its answer was lost. The same refresh
//! token is then sent once more, when nothing else works any more, and if it is refused the token ends as
//! [`Reason::LostAnswer`].
//!
//! [`Reason::LostAnswer`]: crate::token::Reason::LostAnswer

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    apps::{App, Apps},
    clock::{Clock, Deadline},
    exchange::{Exchange, REFRESH_LIMIT},
    grant::{GrantPlace, SealedGrant},
    history::What,
    keys::{Sealer, TenantKeys},
    metrics::{self, Metric},
    network::{Failure, Grant, LimitReach},
    profile::Upkeep,
    random::Random,
    renewal::{Fruitless, Next, Refused, Renewal, Renewed},
    revoke::{GrantError, Revoker},
    secret::SecretHash,
    spill::{self, Spill, Spilled},
    store::{
        StoreError,
        pauses::Paused,
        profiles::{Held, TokenKey, Vault},
        renewals::{Beginning, Placed, Stepped},
    },
    token::Reason,
};

/// How long storing an answer is tried before it is spilled.
const STORE_LIMIT: Duration = Duration::from_secs(4);
/// What must be left of an invocation before the network is asked: what was asked is also stored.
pub const NEEDED: Duration = REFRESH_LIMIT.saturating_add(STORE_LIMIT).saturating_add(spill::LIMIT);
/// An app whose credentials were refused is left alone for so long.
const REJECTED_PAUSE: SignedDuration = SignedDuration::from_mins(5);
/// Whoever waits for another's answer looks after this time first, then each time twice as long after.
const FIRST_LOOK: Duration = Duration::from_millis(100);
/// The longest time between two looks.
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// What refreshing takes.
pub struct Refresher {
    /// The tokens.
    pub vault: Vault,
    /// Opens grants and seals them.
    pub keys: Arc<TenantKeys>,
    /// The apps that grants were given to.
    pub apps: Apps,
    /// Asks the networks.
    pub exchange: Exchange,
    /// Keeps an answer when the table fails.
    pub spill: Spill,
    /// The time.
    pub clock: Clock,
    /// Names attempts.
    pub random: Random,
    /// How long an attempt may run; longer than the function lives.
    pub lease: SignedDuration,
}

/// When a new access token is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// When the present one ends soon.
    WhenDue,
    /// Now, because the present one was refused.
    Now,
    /// Now, because the network itself said that the present one is dead.
    InsteadOfDead,
}

/// What there is of a token.
#[derive(Debug)]
pub enum Access {
    /// An access token that works, as far as anybody knows.
    Good(Box<Held>, SecretString),
    /// Only its owner can bring it back.
    Over(Box<Held>),
    /// Somebody is renewing it and takes long.
    Busy,
    /// It cannot be renewed before then.
    Later(Timestamp),
    /// It was deleted.
    Gone,
}

/// What came of asking the network.
enum Asked {
    /// Look at the token again.
    Look(Option<Box<Held>>),
    /// Not before then.
    Later(Timestamp),
}

/// An attempt that is written down: it has the right to ask.
struct Attempt {
    held: Box<Held>,
    refresh_token: SecretString,
    fingerprint: SecretHash,
    doubtful: bool,
}

impl Refresher {
    /// Refreshes with what a [`Revoker`] has.
    #[must_use]
    pub fn beside(revoker: &Revoker, spill: Spill, clock: Clock, random: Random, lease: SignedDuration) -> Self {
        Self {
            vault: revoker.vault.clone(),
            keys: Arc::clone(&revoker.keys),
            apps: revoker.apps.clone(),
            exchange: revoker.exchange.clone(),
            spill,
            clock,
            random,
            lease,
        }
    }

    /// The access token of a token that was read strongly: the present one while it is good for a while, a new one
    /// otherwise. A present one that still works is handed out when no new one can be had.
    ///
    /// # Errors
    /// When something that this needs is down and there is nothing to hand out.
    pub async fn access(
        &self,
        key: &TokenKey,
        held: Held,
        wanted: Wanted,
        deadline: Deadline,
    ) -> Result<Access, GrantError> {
        let now = self.clock.now();
        if is_over(&held, now) {
            return Ok(Access::Over(Box::new(held)));
        }
        let grant = held.grant.open(&self.keys).await?;
        let due = wanted != Wanted::WhenDue || held.token.is_ending(now);
        if held.token.is_usable(now) && (grant.refresh_token.is_none() || !due) {
            return Ok(Access::Good(Box::new(held), grant.access_token));
        }
        let fallback = is_usable(&held, now).then(|| (Box::new(held.clone()), grant.access_token.clone()));
        match (self.renew(key, Box::new(held), grant, wanted, deadline).await, fallback) {
            (Ok(Access::Busy | Access::Later(_)), Some((held, access_token))) => Ok(Access::Good(held, access_token)),
            (Err(error), Some((held, access_token))) => {
                tracing::warn!(tenant = %key.tenant, profile = %key.profile, %error, "not renewed; the present one works");
                Ok(Access::Good(held, access_token))
            }
            (renewed, _) => renewed,
        }
    }

    async fn renew(
        &self,
        key: &TokenKey,
        mut held: Box<Held>,
        mut grant: Grant,
        wanted: Wanted,
        deadline: Deadline,
    ) -> Result<Access, GrantError> {
        let refused = (wanted != Wanted::WhenDue).then_some(held.token.generation);
        let mut pause = FIRST_LOOK;
        loop {
            let now = self.clock.now();
            if is_over(&held, now) {
                return Ok(Access::Over(held));
            }
            let usable = is_usable(&held, now);
            let due = held.token.is_ending(now) || refused == Some(held.token.generation);
            let Some(refresh_token) = grant.refresh_token.filter(|_| due || !usable) else {
                return Ok(if usable { Access::Good(held, grant.access_token) } else { Access::Over(held) });
            };
            let fingerprint = SecretHash::of(&refresh_token);
            let usable_until = held.token.usable_until().filter(|_| usable);
            let single_use = key.profile.kind().network().provider().spends_refresh_tokens();
            let seen = match held.renewal.next(&fingerprint, single_use, usable_until, now) {
                Next::Later(at) => return Ok(Access::Later(at)),
                Next::Wait(_) if (usable && refused.is_none()) || deadline.left() < pause * 2 => {
                    return Ok(Access::Busy);
                }
                Next::Wait(_) => {
                    sleep(self.around(pause)).await;
                    pause = (pause * 2).min(LONGEST_LOOK);
                    self.vault.token(key).await?.map(Box::new)
                }
                Next::Adopt(candidate) => there(self.vault.adopt(key, &held, candidate).await?),
                Next::Orphan => {
                    tracing::warn!(tenant = %key.tenant, profile = %key.profile, fence = held.renewal.fence,
                        "a refresh was begun and its end is not known");
                    there(self.vault.orphan_refresh(key, &held, now).await?)
                }
                Next::Ask { .. } if deadline.left() < NEEDED => return Ok(Access::Busy),
                Next::Ask { doubtful } => {
                    let attempt = Attempt { held, refresh_token, fingerprint, doubtful };
                    match self.ask(key, attempt, wanted, deadline, now).await? {
                        Asked::Later(at) => return Ok(Access::Later(at)),
                        Asked::Look(seen) => seen,
                    }
                }
            };
            let Some(seen) = seen else { return Ok(Access::Gone) };
            grant = seen.grant.open(&self.keys).await?;
            held = seen;
        }
    }

    /// Writes the attempt down and asks the network, again with each candidate while what was sent is refused.
    async fn ask(
        &self,
        key: &TokenKey,
        attempt: Attempt,
        wanted: Wanted,
        deadline: Deadline,
        now: Timestamp,
    ) -> Result<Asked, GrantError> {
        let (network, token) = (key.profile.kind().network(), &attempt.held.token);
        let mut app = self.apps.by_client_id(network, &token.app).await?;
        let pause = self.vault.pause(network, &app.client_id).await?;
        if let Some(until) = pause.limited_until.into_iter().chain(pause.rejected_until).max().filter(|at| now < *at) {
            return Ok(Asked::Later(until));
        }
        // from here to the end in hand, whatever happens to KMS
        let sealer = self.keys.sealer(key.tenant.as_str()).await?;
        let mut attempt = match self.begin(key, attempt, None, now).await? {
            Ok(begun) => begun,
            Err(seen) => return Ok(Asked::Look(seen)),
        };
        loop {
            let left = deadline.left();
            let answer = self.request(key, &mut app, &attempt.refresh_token, deadline, now).await;
            let took = left.saturating_sub(deadline.left()).as_millis().try_into().unwrap_or(u64::MAX);
            metrics::record(now, Some(network), [(Metric::RefreshLatency, took)]);
            let failure = match answer {
                Ok(grant) => return self.keep(key, &attempt, grant, &sealer).await,
                Err(failure) => failure,
            };
            tracing::warn!(tenant = %key.tenant, profile = %key.profile, fence = attempt.held.renewal.fence, %failure,
                "a refresh brought nothing");
            let failed = [Some(Metric::RefreshesFailed), failure.metric()];
            metrics::record(now, Some(network), failed.into_iter().flatten().map(|metric| (metric, 1)));
            let reason = match failure {
                Failure::Dead(reason) => reason,
                // a Page that is lost or no longer shared may answer with a missing permission (#10); with its token proved
                // dead that is the end: <https://github.com/arsduo/koala/issues/639>
                Failure::Forbidden
                    if wanted == Wanted::InsteadOfDead && key.profile.kind().upkeep() == Upkeep::Derived =>
                {
                    Reason::RoleLost
                }
                failure => return self.end(key, &attempt, &app, failure).await,
            };
            match self.refused(key, attempt, reason, &sealer, deadline, now).await? {
                Ok(next) => attempt = next,
                Err(seen) => return Ok(Asked::Look(seen)),
            }
        }
    }

    /// Sends the one request. Wrong credentials of the app spend nothing: the secret is read once more.
    async fn request(
        &self,
        key: &TokenKey,
        app: &mut App,
        refresh_token: &SecretString,
        deadline: Deadline,
        now: Timestamp,
    ) -> Result<Grant, Failure> {
        let network = key.profile.kind().network();
        let ask = async |app: &App| match network.provider().refresh(app, &key.profile, refresh_token, now) {
            // whatever came before may have taken long
            Some(talk) if NEEDED <= deadline.left() => self.exchange.refresh(network, talk).await,
            _ => Err(Failure::Unavailable),
        };
        match ask(app).await {
            Err(Failure::AppRejected) => match self.newer_credentials(app).await {
                Some(newer) => {
                    *app = newer;
                    ask(app).await
                }
                None => Err(Failure::AppRejected),
            },
            answer => answer,
        }
    }

    /// An app whose credentials the network refused, as it is now, if the secret has others for it.
    pub(crate) async fn newer_credentials(&self, refused: &App) -> Option<App> {
        self.apps.reread(refused).await.unwrap_or_else(|error| {
            let network = refused.network;
            tracing::error!(%network, %error, "the app's credentials were refused and cannot be read again");
            None
        })
    }

    /// Leaves an app alone for a while whose credentials the network refuses, and tells the operator.
    pub(crate) async fn app_rejected(&self, app: &App, now: Timestamp) -> Result<(), StoreError> {
        tracing::error!(network = %app.network, app = %app.client_id, "the network refuses the app's credentials");
        self.vault.pause_app(app.network, &app.client_id, Paused::Rejected, now + REJECTED_PAUSE).await
    }

    /// Stores what the network granted before anybody uses it.
    async fn keep(
        &self,
        key: &TokenKey,
        attempt: &Attempt,
        grant: Grant,
        sealer: &Sealer,
    ) -> Result<Asked, GrantError> {
        let Attempt { held, refresh_token, fingerprint, .. } = attempt;
        // a refresh token that is not replaced stays (RFC 6749 §6)
        let grant = Grant { refresh_token: grant.refresh_token.or_else(|| Some(refresh_token.clone())), ..grant };
        let place = GrantPlace::of(&key.tenant, &key.profile, &key.token, held.renewal.fence);
        let renewed = Renewed {
            answers: fingerprint.clone(),
            terms: grant.terms.clone(),
            grant: SealedGrant::seal_with(sealer, place, &grant),
        };
        match self.place(key, held, &renewed).await {
            Ok(Placed::Committed(seen)) => {
                tracing::info!(tenant = %key.tenant, profile = %key.profile, fence = held.renewal.fence, "refreshed");
                metrics::record(self.clock.now(), Some(key.profile.kind().network()), [(Metric::Refreshed, 1)]);
                self.vault.count(key, What::Refreshed, None, false, self.clock.now()).await;
                return Ok(Asked::Look(Some(seen)));
            }
            Ok(Placed::Kept(seen)) => return Ok(Asked::Look(Some(seen))),
            // whoever reads the queue revokes what is nobody's any more
            Ok(Placed::Replaced) => self.spill(key, held, renewed).await,
            Err(error) => {
                tracing::error!(tenant = %key.tenant, profile = %key.profile, %error, "a new grant is spilled");
                self.spill(key, held, renewed).await;
                return Ok(Asked::Later(self.clock.now() + held.renewal.wait()));
            }
        }
        Ok(Asked::Look(self.vault.token(key).await?.map(Box::new)))
    }

    /// Tries hard to store an answer.
    async fn place(&self, key: &TokenKey, held: &Held, renewed: &Renewed) -> Result<Placed, StoreError> {
        let until = Instant::now() + STORE_LIMIT;
        let mut pause = FIRST_LOOK;
        loop {
            let placed = timeout_at(until, self.vault.place(key, held, renewed)).await;
            let error = match placed {
                Ok(Ok(placed)) => return Ok(placed),
                Ok(Err(error)) => error,
                Err(elapsed) => return Err(StoreError::Unavailable(elapsed.into())),
            };
            if Instant::now() + pause >= until {
                return Err(error);
            }
            sleep(self.around(pause)).await;
            pause *= 2;
        }
    }

    async fn spill(&self, key: &TokenKey, held: &Held, renewed: Renewed) {
        let spilled = Spilled {
            key: key.clone(),
            connected_at: held.token.connected_at,
            app: held.token.app.clone(),
            login: held.token.login.clone(),
            renewed,
        };
        let kept = match self.spill.send(&spilled).await {
            Ok(()) => Metric::GrantsSpilled,
            Err(error) => {
                tracing::error!(tenant = %key.tenant, profile = %key.profile, %error, "a new grant could not be kept anywhere");
                Metric::GrantsLost
            }
        };
        metrics::record(self.clock.now(), Some(key.profile.kind().network()), [(kept, 1)]);
    }

    /// The network refused the refresh token that was sent: another attempt with a candidate, or the token as it is now.
    async fn refused(
        &self,
        key: &TokenKey,
        attempt: Attempt,
        reason: Reason,
        sealer: &Sealer,
        deadline: Deadline,
        now: Timestamp,
    ) -> Result<Result<Attempt, Option<Box<Held>>>, GrantError> {
        // another may have won meanwhile, or an answer come late
        let Some(seen) = self.vault.token(key).await?.map(Box::new) else { return Ok(Err(None)) };
        if seen.renewal.fence != attempt.held.renewal.fence || seen.token.generation != attempt.held.token.generation {
            return Ok(Err(Some(seen)));
        }
        let lived = now.duration_since(seen.token.connected_at);
        let reason = key.profile.kind().network().provider().death(reason, lived);
        match seen.renewal.refused(&attempt.fingerprint, attempt.doubtful, reason) {
            Refused::Adopt(candidate) => Ok(Err(there(self.vault.adopt(key, &seen, candidate).await?))),
            // whoever takes this attempt over is refused too, and has time
            Refused::Try(_) if deadline.left() < NEEDED => Ok(Err(Some(seen))),
            Refused::Try(candidate) => {
                let Some(renewed) = seen.renewal.candidates.get(&candidate) else { return Ok(Err(Some(seen))) };
                let grant = renewed.grant.open(&self.keys).await?;
                let Some(refresh_token) = grant.refresh_token.clone() else { return Ok(Err(Some(seen))) };
                let place = GrantPlace::of(&key.tenant, &key.profile, &key.token, seen.renewal.fence + 1);
                let tried = (candidate, SealedGrant::seal_with(sealer, place, &grant));
                let fingerprint = SecretHash::of(&refresh_token);
                let next = Attempt { held: seen, refresh_token, fingerprint, doubtful: false };
                Ok(self.begin(key, next, Some(tried), now).await?)
            }
            Refused::Dead(reason) => {
                match self.vault.die(key, &seen, reason, now).await {
                    Ok(()) => {
                        tracing::warn!(tenant = %key.tenant, profile = %key.profile, ?reason, "a token is dead");
                        metrics::record(now, Some(key.profile.kind().network()), [(Metric::FoundDead, 1)]);
                    }
                    Err(StoreError::Conflict) => {}
                    Err(error) => return Err(error.into()),
                }
                Ok(Err(self.vault.token(key).await?.map(Box::new)))
            }
        }
    }

    async fn begin(
        &self,
        key: &TokenKey,
        attempt: Attempt,
        tried: Option<(u64, SealedGrant)>,
        now: Timestamp,
    ) -> Result<Result<Attempt, Option<Box<Held>>>, StoreError> {
        let owner = hex::encode(self.random.bytes::<8>());
        let begin = Beginning { owner: &owner, fingerprint: &attempt.fingerprint, until: now + self.lease, tried };
        Ok(match self.vault.begin_refresh(key, &attempt.held, begin).await? {
            Stepped::Done(held) => Ok(Attempt { held, ..attempt }),
            Stepped::Changed(seen) => Err(seen),
        })
    }

    /// Ends an attempt that brought nothing and proved nothing.
    async fn end(&self, key: &TokenKey, attempt: &Attempt, app: &App, failure: Failure) -> Result<Asked, GrantError> {
        let Attempt { held, fingerprint, doubtful, .. } = attempt;
        // the answer may have taken long
        let now = self.clock.now();
        let single_use = app.network.provider().spends_refresh_tokens();
        let (fruitless, wait) = match failure {
            Failure::Unanswered | Failure::Unreadable(_) if single_use => (Fruitless::Unanswered, held.renewal.wait()),
            Failure::Limited(limit) => {
                let wait = SignedDuration::from_secs(limit.seconds.into());
                if limit.reach == LimitReach::App {
                    self.vault.pause_app(app.network, &app.client_id, Paused::Limited, now + wait).await?;
                }
                (Fruitless::Untouched, wait)
            }
            Failure::AppRejected => {
                self.app_rejected(app, now).await?;
                (Fruitless::Untouched, REJECTED_PAUSE)
            }
            _ => (Fruitless::Untouched, held.renewal.wait()),
        };
        let after = Renewal::after(fruitless, fingerprint, *doubtful);
        self.vault.end_refresh(key, held, after.as_ref(), now + wait, now).await?;
        Ok(Asked::Later(now + wait))
    }

    /// `pause` and up to half as long again, so that those who wait do not all look at once.
    fn around(&self, pause: Duration) -> Duration {
        let [part] = self.random.bytes::<1>();
        pause + pause.mul_f64(f64::from(part) / 512.0)
    }
}

/// Whether nothing but a sign-in brings it back.
fn is_over(held: &Held, now: Timestamp) -> bool {
    held.token.state_at(now).is_over() && !held.renewal.may_revive(held.token.state)
}

fn is_usable(held: &Held, now: Timestamp) -> bool {
    held.token.is_usable(now) && !held.token.state_at(now).is_over()
}

fn there(stepped: Stepped) -> Option<Box<Held>> {
    match stepped {
        Stepped::Done(held) => Some(held),
        Stepped::Changed(seen) => seen,
    }
}
