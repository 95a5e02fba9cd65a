//! `POST /v1/leases`: an access token that works now.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json as Answer, extract::State};
use http::StatusCode;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize, Serializer};
use shared::{
    access::{Caller, Operation, Subject},
    clock::Deadline,
    edge::{ApiError, Code, Json, Problem},
    metrics::{self, Metric},
    profile::{Capability, Network, ProfileId, TokenKind, Use},
    refresh::{Access, Wanted},
    rule::RuleId,
    store::{
        StoreError,
        profiles::{Held, Pooled, Profile, TokenKey},
        users::User,
    },
    token::{Refusal, State as TokenState, TokenId},
};
use utoipa::ToSchema;

use crate::{Leases, Worker, ticket::Ticket};

/// What an access token is wanted for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LeaseRequest)]
pub(crate) struct Order {
    /// `search_acquisition` is leased by network; every other use by profile.
    #[serde(rename = "use")]
    #[schema(value_type = Use)]
    usage: String,
    /// The profile to act as.
    #[schema(example = "x_profile-42")]
    profile_id: Option<String>,
    /// The network to search.
    #[schema(value_type = Option<Network>)]
    network: Option<String>,
    /// The rule that it is for; `search_acquisition` and `private_messages` need one.
    rule_id: Option<String>,
    /// The person on whose behalf it is used: an owner of the profile or somebody it is shared with, in the role
    /// responder or manager, seen within a day.
    #[schema(value_type = Option<String>)]
    acting_user: Option<Subject>,
}

/// One hand-out of an access token.
#[derive(Serialize, ToSchema)]
pub(crate) struct Lease {
    /// For the report.
    id: String,
    #[schema(value_type = String)]
    profile_id: ProfileId,
    #[schema(value_type = String)]
    token_id: TokenId,
    network: Network,
    /// RFC 6749 §1.4.
    #[schema(value_type = String)]
    #[serde(serialize_with = "expose")]
    access_token: SecretString,
    /// Always `bearer` (RFC 6750).
    token_type: &'static str,
    /// When the access token ends; null where the network does not say.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// What the network granted.
    scopes: Vec<String>,
    /// What every request carries beside the access token, by the network's own names. Meta's `appsecret_proof` is good
    /// for five minutes.
    params: BTreeMap<&'static str, String>,
}

/// The one place where an access token leaves.
fn expose<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}

/// Leases an access token that works now.
#[utoipa::path(
    post, operation_id = "lease", path = "/v1/leases", request_body = Order, responses(
    (status = 201, body = Lease, description = "An access token, renewed if it was due"),
    Problem,
))]
pub(crate) async fn lease(
    State(leases): State<Arc<Leases>>,
    Worker(caller): Worker,
    deadline: Deadline,
    Json(order): Json<Order>,
) -> Result<(StatusCode, Answer<Lease>), ApiError> {
    let usage: Use = order.usage.parse().map_err(|_| {
        let known: Vec<_> = Use::ALL.iter().map(|usage| usage.as_str()).collect();
        ApiError::new(Code::UnsupportedUse, format!("The uses are {}.", known.join(", ")))
    })?;
    let target = order.target(usage)?;
    leases.require_rule(&caller, usage, &target, order.rule_id.as_deref()).await?;
    let acting = match order.acting_user {
        Some(subject) => Some(leases.acting_user(&caller, subject).await?),
        None => None,
    };
    let (network, left) = (target.network(), deadline.left());
    let lease = match target {
        Target::Profile(id) => leases.of_profile(&caller, &id, usage, acting.as_ref(), deadline).await,
        Target::Pool(network) => leases.of_pool(&caller, network, usage, acting.as_ref(), deadline).await,
    };
    if let Some(outcome) = outcome(&lease) {
        let took = left.saturating_sub(deadline.left()).as_millis().try_into().unwrap_or(u64::MAX);
        let now = leases.refresher.clock.now();
        metrics::record(now, Some(network), [(outcome, 1), (Metric::LeaseLatency, took)]);
    }
    Ok((StatusCode::CREATED, Answer(lease?)))
}

/// What an operator counts; what a worker got wrong is nobody else's trouble.
fn outcome(lease: &Result<Lease, ApiError>) -> Option<Metric> {
    match lease.as_ref().map_err(ApiError::code) {
        Ok(_) => Some(Metric::Leased),
        Err(Code::RateLimited) => Some(Metric::LeasesCooling),
        Err(Code::NoValidToken) => Some(Metric::LeasesWithoutToken),
        Err(Code::Unavailable) => Some(Metric::LeasesUnavailable),
        Err(_) => None,
    }
}

/// The person on whose behalf something is used, as they were last seen.
struct ActingUser {
    subject: Subject,
    user: User,
}

impl ActingUser {
    /// Whether they may have this profile used.
    fn may_use(&self, profile: &Profile) -> bool {
        let person = self.user.person(&self.subject);
        person.may(Operation::Use, profile.relation_to(person))
    }
}

/// Whose token is wanted.
enum Target {
    /// One of this profile's.
    Profile(ProfileId),
    /// Any of the organisation's at this network.
    Pool(Network),
}

impl Target {
    fn network(&self) -> Network {
        match self {
            Self::Profile(id) => id.kind().network(),
            Self::Pool(network) => *network,
        }
    }
}

impl Order {
    fn target(&self, usage: Use) -> Result<Target, ApiError> {
        match (&self.profile_id, &self.network) {
            (Some(id), None) if usage != Use::SearchAcquisition => {
                id.parse().map(Target::Profile).map_err(|_| ApiError::not_found())
            }
            (None, Some(network)) if usage == Use::SearchAcquisition => {
                network.parse().map(Target::Pool).map_err(|_| {
                    let known: Vec<_> = Network::ALL.iter().map(|network| network.as_str()).collect();
                    ApiError::new(Code::UnknownNetwork, format!("The networks are {}.", known.join(", ")))
                })
            }
            _ => {
                let detail = "`search_acquisition` is leased with a `network`, every other use with a `profile_id`.";
                Err(ApiError::new(Code::InvalidRequest, detail))
            }
        }
    }
}

/// No lease looks at more tokens than this: where so many in a row cannot be used, the others hardly can.
const LOOKS: usize = 25;

/// What stood in the way of a lease.
#[derive(Default)]
struct Obstacles {
    error: Option<ApiError>,
    busy: bool,
    later: Option<Timestamp>,
    resting: Option<Timestamp>,
    refused: Vec<Refusal>,
    not_theirs: bool,
}

impl Leases {
    /// The rule that an acquisition or private-message lease names must be there and cover it.
    async fn require_rule(
        &self,
        caller: &Caller,
        usage: Use,
        target: &Target,
        rule: Option<&str>,
    ) -> Result<(), ApiError> {
        let needs_rule = matches!(usage, Use::SearchAcquisition | Use::PrivateMessages);
        let id = match rule {
            None if needs_rule => {
                let detail = format!("A lease for `{}` names the rule that it is for: `rule_id`.", usage.as_str());
                return Err(ApiError::new(Code::RuleRequired, detail));
            }
            None => return Ok(()),
            Some(id) => id.parse::<RuleId>().map_err(|_| ApiError::not_found())?,
        };
        let profile = match target {
            Target::Profile(id) => Some(id),
            Target::Pool(_) => None,
        };
        let (vault, now) = (&self.refresher.vault, self.refresher.clock.now());
        let read = async {
            match vault.rule(&caller.tenant, &id, false).await? {
                // it may have been made this very moment
                None => vault.rule(&caller.tenant, &id, true).await,
                found => Ok(found),
            }
        };
        let rule = self.recent.rules.get((caller.tenant.clone(), id.clone()), now, read).await?;
        let rule = rule.ok_or_else(ApiError::not_found)?;
        if rule.covers(usage, target.network(), profile) {
            return Ok(());
        }
        let detail = "The rule is for something else: look at its `use`, and at its network or profiles.";
        Err(ApiError::new(Code::RuleRequired, detail))
    }

    /// One of the profile's interaction tokens; the acting user's own where there is one.
    async fn of_profile(
        &self,
        caller: &Caller,
        id: &ProfileId,
        usage: Use,
        acting: Option<&ActingUser>,
        deadline: Deadline,
    ) -> Result<Lease, ApiError> {
        let capability = capability(id, TokenKind::Interaction, usage)?;
        let found = self.refresher.vault.holdings(&caller.tenant, id).await?;
        let (profile, held) = found.ok_or_else(ApiError::not_found)?;
        if acting.is_some_and(|acting| !acting.may_use(&profile)) {
            return Err(not_theirs());
        }
        let mut tokens: Vec<_> = held.into_iter().filter(|held| held.token.token == TokenKind::Interaction).collect();
        self.shuffle(&mut tokens);
        let of_another = |held: &Held| acting.is_none_or(|acting| held.token.owner != acting.subject);
        tokens.sort_by_key(|held| (self.is_busy(held), of_another(held)));
        let mut obstacles = Obstacles::default();
        for held in tokens {
            if let Some(lease) = self.try_token(caller, held, capability, deadline, &mut obstacles).await? {
                return Ok(lease);
            }
        }
        Err(self.refuse(obstacles, usage))
    }

    /// Any of the organisation's acquisition tokens at the network.
    async fn of_pool(
        &self,
        caller: &Caller,
        network: Network,
        usage: Use,
        acting: Option<&ActingUser>,
        deadline: Deadline,
    ) -> Result<Lease, ApiError> {
        let now = self.refresher.clock.now();
        let vault = &self.refresher.vault;
        let pooled = async { vault.pool(&caller.tenant, network, usage).await.map(|pooled| Some(pooled.into())) };
        let key = (caller.tenant.clone(), network, usage);
        let pooled: Arc<[Pooled]> = self.recent.pools.get(key, now, pooled).await?.unwrap_or_default();
        let mut obstacles = Obstacles::default();
        let mut keys = Vec::new();
        let mut others = Vec::new();
        for hint in pooled.iter() {
            let resting = hint.state.cooling_until().is_some_and(|until| until > now);
            // whoever rests or is over may have been signed in for again: the list may be a little old
            let last = resting || hint.state.is_over();
            if last { &mut others } else { &mut keys }.push(hint.key.clone());
        }
        if let Some(lease) = self.of_keys(caller, keys, usage, acting, deadline, &mut obstacles).await? {
            return Ok(lease);
        }
        // an index proves nothing by what is not in it
        let known = |key: &TokenKey| pooled.iter().any(|hint| hint.key == *key);
        let listed = async {
            let listed = vault.tokens_at(&caller.tenant, network, TokenKind::Acquisition).await?;
            Ok::<_, StoreError>((!listed.is_empty()).then(|| listed.into()))
        };
        let listed: Arc<[TokenKey]> =
            self.recent.lists.get((caller.tenant.clone(), network), now, listed).await?.unwrap_or_default();
        others.extend(listed.iter().filter(|key| !known(key)).cloned());
        if let Some(lease) = self.of_keys(caller, others, usage, acting, deadline, &mut obstacles).await? {
            return Ok(lease);
        }
        Err(self.refuse(obstacles, usage))
    }

    /// The first of these tokens, in an order by chance, that can be leased.
    async fn of_keys(
        &self,
        caller: &Caller,
        mut keys: Vec<TokenKey>,
        usage: Use,
        acting: Option<&ActingUser>,
        deadline: Deadline,
        obstacles: &mut Obstacles,
    ) -> Result<Option<Lease>, ApiError> {
        self.shuffle(&mut keys);
        let mut busy = Vec::new();
        for key in keys.into_iter().take(LOOKS) {
            let capability = capability(&key.profile, key.token.kind(), usage)?;
            let Some(held) = self.refresher.vault.token(&key).await? else { continue };
            if let Some(acting) = acting {
                let Some((profile, _)) = self.refresher.vault.holdings(&key.tenant, &key.profile).await? else {
                    continue;
                };
                if !acting.may_use(&profile) {
                    obstacles.not_theirs = true;
                    continue;
                }
            }
            if self.is_busy(&held) {
                busy.push((held, capability));
            } else if let Some(lease) = self.try_token(caller, held, capability, deadline, obstacles).await? {
                return Ok(Some(lease));
            }
        }
        for (held, capability) in busy {
            if let Some(lease) = self.try_token(caller, held, capability, deadline, obstacles).await? {
                return Ok(Some(lease));
            }
        }
        Ok(None)
    }

    /// Leases this token, or says what stands in the way.
    async fn try_token(
        &self,
        caller: &Caller,
        held: Held,
        capability: &Capability,
        deadline: Deadline,
        obstacles: &mut Obstacles,
    ) -> Result<Option<Lease>, ApiError> {
        let now = self.refresher.clock.now();
        let (network, reviving) = (held.token.profile.kind().network(), held.renewal.may_revive(held.token.state));
        match held.token.permits(capability, now) {
            Ok(()) => {}
            Err(Refusal::NeedsReauth) if reviving => {}
            Err(refusal) => {
                obstacles.refuse(refusal, held.token.state);
                return Ok(None);
            }
        }
        let pause = async { self.refresher.vault.pause(network, &held.token.app).await.map(Some) };
        let pause = self.recent.pauses.get((network, held.token.app.clone()), now, pause).await?;
        if let Some(until) = pause.and_then(|pause| pause.limited_until).filter(|until| *until > now) {
            obstacles.rest(until);
            return Ok(None);
        }
        let id = held.token.id();
        let key = TokenKey { tenant: caller.tenant.clone(), profile: held.token.profile.clone(), token: id };
        match self.refresher.access(&key, held, Wanted::WhenDue, deadline).await {
            Ok(Access::Good(held, access_token)) => match held.token.permits(capability, now) {
                Ok(()) => return self.hand_out(key, *held, access_token, capability.usage, now).await.map(Some),
                Err(refusal) => obstacles.refuse(refusal, held.token.state),
            },
            Ok(Access::Over(held)) => {
                let refusal = held.token.permits(capability, now).err().unwrap_or(Refusal::NeedsReauth);
                obstacles.refuse(refusal, held.token.state);
            }
            Ok(Access::Busy) => obstacles.busy = true,
            Ok(Access::Later(at)) => obstacles.later = Some(obstacles.later.map_or(at, |other| other.min(at))),
            Ok(Access::Gone) => {}
            Err(error) => obstacles.error = Some(error.into()),
        }
        Ok(None)
    }

    async fn hand_out(
        &self,
        key: TokenKey,
        held: Held,
        access_token: SecretString,
        usage: Use,
        now: Timestamp,
    ) -> Result<Lease, ApiError> {
        let Held { token, .. } = held;
        let network = key.profile.kind().network();
        let params = match network.provider().params() {
            Some(params) => {
                let app = self.refresher.apps.by_client_id(network, &token.app).await?;
                params(&app, &access_token, now)
            }
            None => BTreeMap::new(),
        };
        let ticket = Ticket {
            profile: key.profile.clone(),
            token: key.token.clone(),
            generation: token.generation,
            usage,
            at: now,
        };
        Ok(Lease {
            id: ticket.seal(&self.refresher.keys, &key.tenant).await?,
            params,
            profile_id: key.profile,
            token_id: key.token,
            network,
            access_token,
            token_type: "bearer",
            expires_at: token.access_expires_at,
            scopes: token.scopes,
        })
    }

    /// The acting user, who must be somebody who may have profiles used; what was remembered counts.
    async fn acting_user(&self, caller: &Caller, subject: Subject) -> Result<ActingUser, ApiError> {
        let user = self.refresher.vault.user(&caller.tenant, &subject, true).await?;
        let may = user.interacts(self.refresher.clock.now());
        may.then_some(ActingUser { subject, user }).ok_or_else(not_theirs)
    }

    /// Whether whoever wants this token has to wait for another's refresh.
    fn is_busy(&self, held: &Held) -> bool {
        let now = self.refresher.clock.now();
        !held.token.is_usable(now) && held.renewal.is_running(now)
    }

    /// Any order is as likely as any other (Fisher and Yates).
    fn shuffle<T>(&self, things: &mut [T]) {
        for last in (1..things.len()).rev() {
            let chance = u64::from_le_bytes(self.refresher.random.bytes());
            let at = usize::try_from(chance % (last as u64 + 1)).unwrap_or_default();
            things.swap(last, at);
        }
    }

    /// Says why there is no lease: what passes by itself before what a person must do.
    fn refuse(&self, obstacles: Obstacles, usage: Use) -> ApiError {
        let now = self.refresher.clock.now();
        let wait = |until: Timestamp| u32::try_from(until.duration_since(now).as_secs()).unwrap_or_default().max(1);
        let Obstacles { error, busy, later, resting, refused, not_theirs } = obstacles;
        if let Some(error) = error {
            return error;
        }
        if busy {
            let detail = "Somebody else is renewing the token and takes long. Try again in a moment.";
            return ApiError::new(Code::Unavailable, detail).retry_after(2);
        }
        if let Some(until) = later {
            let detail = "The network cannot be asked to renew the token now. Nothing is lost: try again later.";
            return ApiError::new(Code::Unavailable, detail).retry_after(wait(until));
        }
        if let Some(until) = resting {
            let detail = "The network limits every token that could be used. Try again when the limit is over.";
            return ApiError::new(Code::RateLimited, detail).retry_after(wait(until));
        }
        if not_theirs && refused.is_empty() {
            return self::not_theirs();
        }
        let what = usage.as_str();
        let detail = if refused.is_empty() {
            format!("No account is connected that could be used for `{what}`. Connect one.")
        } else if refused.contains(&Refusal::NotAllowed) {
            format!("No token may be used for `{what}`: its owner has to allow it first.")
        } else if refused.contains(&Refusal::MissingScope) {
            format!("The network did not grant what `{what}` needs: its owner has to sign in again and grant it.")
        } else {
            format!("No token for `{what}` works any more: its owner has to sign in again.")
        };
        ApiError::new(Code::NoValidToken, detail)
    }
}

impl Obstacles {
    fn refuse(&mut self, refusal: Refusal, state: TokenState) {
        match (refusal, state) {
            (Refusal::CoolingDown, TokenState::CoolingDown { cooling_until }) => self.rest(cooling_until),
            _ => self.refused.push(refusal),
        }
    }

    fn rest(&mut self, until: Timestamp) {
        self.resting = Some(self.resting.map_or(until, |other| other.min(until)));
    }
}

fn not_theirs() -> ApiError {
    let detail = "The acting user may not have this used: it takes an owner or somebody it is shared with, in the role \
                  responder or manager, who was here within a day.";
    ApiError::forbidden(detail)
}

fn capability(profile: &ProfileId, token: TokenKind, usage: Use) -> Result<&'static Capability, ApiError> {
    let found = profile.kind().capabilities(token).iter().find(|capability| capability.usage == usage);
    found.ok_or_else(|| {
        let detail = format!("{}s have no {} token for `{}`.", profile.kind().title(), token.as_str(), usage.as_str());
        ApiError::new(Code::UnsupportedUse, detail)
    })
}
