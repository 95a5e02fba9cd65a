//! Refreshing, as it stands in a token's row.
//!
//! Every write names the fence and the generation that its writer saw, and whatever changes either
//! moves the fence, so that of two writers who saw the same row one finds that it was second. The
//! rules are those of [`crate::renewal`]; here they are conditions. A write whose answer was lost is
//! repeated by the SDK and then finds itself done: the row that comes with the refusal tells.

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use serde::Deserialize;

use super::{
    Change, Item, StoreError, Written,
    flows::{read_grant, sealed_fields},
    number,
    profiles::{Held, TokenKey, Vault, as_read, read_held, token_key},
    read, text, transact, value, write,
};
use crate::{
    access::{Subject, TenantId},
    grant::{GrantPlace, SealedGrant},
    ladder::Ladder,
    network::Terms,
    profile::{ProfileId, TokenKind, Upkeep},
    renewal::{Attempt, Renewal, Renewed, Stage},
    secret::SecretHash,
    token::{Allow, Happening, Reason, State, Step, Token, TokenId},
};

/// What came of a step of a refresh.
#[derive(Debug)]
pub enum Stepped {
    /// It was taken; the token as it is now.
    Done(Box<Held>),
    /// The row was not as it was read; the token as it is, if it is still there.
    Changed(Option<Box<Held>>),
}

/// What became of an answer.
#[derive(Debug)]
pub enum Placed {
    /// It is the token's grant.
    Committed(Box<Held>),
    /// Somebody else was faster; it is kept as a candidate.
    Kept(Box<Held>),
    /// The token is gone, or its owner signed in again since: the grant is nobody's.
    Replaced,
}

/// What an attempt is begun with.
#[derive(Debug)]
pub struct Beginning<'a> {
    /// Recognises the write.
    pub owner: &'a str,
    /// The refresh token that will be spent.
    pub fingerprint: &'a SecretHash,
    /// Until when it may run.
    pub until: Timestamp,
    /// The candidate that takes the place of a refused grant, sealed anew for the fence after the present one.
    pub tried: Option<(u64, SealedGrant)>,
}

impl Vault {
    /// Begins an attempt: from here on nobody else asks the network. Its fence is the new one of the row.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn begin_refresh(
        &self,
        key: &TokenKey,
        held: &Held,
        beginning: Beginning<'_>,
    ) -> Result<Stepped, StoreError> {
        let Beginning { owner, fingerprint, until, tried } = beginning;
        let attempt =
            Attempt { fingerprint: fingerprint.clone(), stage: Stage::Running { owner: owner.to_owned(), until } };
        let change = unchanged(held).set("attempt", value(&attempt)?);
        let change = match tried {
            None => change.set("fence", number(held.renewal.fence + 1)),
            Some((candidate, grant)) => {
                let terms = &held.renewal.candidates.get(&candidate).ok_or(StoreError::Conflict)?.terms;
                let change = change
                    .set("fence", number(grant.place.generation + 1))
                    .set("generation", number(grant.place.generation))
                    .set("sealed", sealed_fields(&grant))
                    .remove(&candidate_name(candidate));
                said(change, terms)?
            }
        };
        let mine = |row: &Held| match row.renewal.attempt.as_ref().map(|attempt| &attempt.stage) {
            Some(Stage::Running { owner: other, .. }) => other == owner,
            _ => false,
        };
        self.step(key, change, mine).await
    }

    /// Writes down that whoever ran the attempt has vanished.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn orphan_refresh(&self, key: &TokenKey, held: &Held, now: Timestamp) -> Result<Stepped, StoreError> {
        let Some(Attempt { fingerprint, stage: Stage::Running { owner, .. } }) = &held.renewal.attempt else {
            return Err(StoreError::Conflict);
        };
        let attempt = Attempt { fingerprint: fingerprint.clone(), stage: Stage::Orphaned { since: now } };
        let change = unchanged(held).when("attempt.owner", "=", text(owner)).set("attempt", value(&attempt)?);
        self.step(key, change, |_| false).await
    }

    /// Ends the attempt without a grant: what is known of its request, and when to ask again. Where time is all that is
    /// left to a token that cannot be renewed, its end is told from now on.
    ///
    /// # Errors
    /// When the table does not answer; the attempt then ends with its time.
    pub async fn end_refresh(
        &self,
        key: &TokenKey,
        held: &Held,
        attempt: Option<&Attempt>,
        retry_at: Timestamp,
        now: Timestamp,
    ) -> Result<Stepped, StoreError> {
        let mut change = unchanged(held);
        let token = &held.token;
        if let (Upkeep::Ahead { .. }, None, Some(end)) =
            (key.profile.kind().upkeep(), token.expires_at, token.access_expires_at)
        {
            // one failure is nobody's concern: only steps that are still to come speak
            let next = Token { expires_at: Some(end), considered_at: now, allow: EVERYTHING, ..token.clone() };
            change = change.set("expires_at", value(&end)?).set("considered_at", value(&now)?);
            change = self.schedule(change, key, &next, &self.ladder_of(key, &next).await?);
        }
        let change = change
            .put("attempt", attempt.map(value).transpose()?)
            .set("failures", number(held.renewal.failures.saturating_add(1)))
            .set("retry_at", value(&retry_at)?);
        self.step(key, change, |_| false).await
    }

    /// Makes a candidate the token's grant: it is the network's answer to the one that it takes the place of.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn adopt(&self, key: &TokenKey, held: &Held, candidate: u64) -> Result<Stepped, StoreError> {
        let renewed = held.renewal.candidates.get(&candidate).ok_or(StoreError::Conflict)?;
        let change = unchanged(held)
            .set("fence", number(held.renewal.fence.max(candidate) + 1))
            .remove(&candidate_name(candidate))
            .remove("attempt");
        let change = self.renewed(change, key, held, renewed).await?;
        self.step_watched(key, held, change, |row| row.token.generation == candidate).await
    }

    /// Puts the answer that an attempt brought where it belongs: it is committed, or kept as a candidate when the
    /// attempt is no longer the newest. Repeating it changes nothing more.
    ///
    /// # Errors
    /// When the table does not answer; the answer may have been placed all the same.
    pub async fn place(&self, key: &TokenKey, held: &Held, renewed: &Renewed) -> Result<Placed, StoreError> {
        let attempt = renewed.grant.place.generation;
        // whatever moves the generation moves the fence too: this attempt is the newest, or it is not
        let change = Change::new().when("fence", "=", number(attempt)).when("generation", "<", number(attempt));
        // this answer proves that its refresh token was the living one: what came before is not needed any more
        let change = without_candidates(change, held);
        let change = self.renewed(change.remove("attempt"), key, held, renewed).await?;
        match self.step(key, change, |row| row.token.generation == attempt).await? {
            Stepped::Done(row) => return Ok(Placed::Committed(row)),
            Stepped::Changed(None) => return Ok(Placed::Replaced),
            Stepped::Changed(Some(_)) => {}
        }
        let candidate = Item::from([
            ("answers".to_owned(), value(&renewed.answers)?),
            ("terms".to_owned(), value(&renewed.terms)?),
            ("sealed".to_owned(), sealed_fields(&renewed.grant)),
        ]);
        let name = candidate_name(attempt);
        let change = Change::new()
            .when("connected_at", "=", value(&held.token.connected_at)?)
            .when("generation", "<>", number(attempt))
            .when_missing(&name)
            .set(&name, AttributeValue::M(candidate))
            .add("arrivals", number(1));
        let there = |row: &Held| row.token.generation == attempt || row.renewal.candidates.contains_key(&attempt);
        match self.step(key, change, there).await? {
            Stepped::Done(row) if row.token.generation == attempt => Ok(Placed::Committed(row)),
            Stepped::Done(row) => Ok(Placed::Kept(row)),
            Stepped::Changed(_) => Ok(Placed::Replaced),
        }
    }

    /// Writes down that the network proved the credential dead, and tells its owner and the administrators, once.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the row changed since it was read, or a candidate has come: look again.
    pub async fn die(&self, key: &TokenKey, held: &Held, reason: Reason, now: Timestamp) -> Result<(), StoreError> {
        let change = nothing_came(unchanged(held), held).remove("attempt").remove("retry_at").remove("failures");
        // no attempt that runs now commits to a token that is over
        let change = change.set("fence", number(held.renewal.fence + 1));
        let Some(state) = held.token.state.after(Happening::Died(reason)) else {
            // it was over before: its owner was told
            return match self.step(key, change, |_| false).await? {
                Stepped::Done(_) => Ok(()),
                Stepped::Changed(_) => Err(StoreError::Conflict),
            };
        };
        let next = Token { state, ..held.token.clone() };
        // its time may have ended it meanwhile, and what has ended does not die as well
        let change = change.when("state", "<>", state_name(State::Expired)?);
        let change = change.remove("cooling_until").set_all(write(&state)?);
        // nothing of it is due any more, by any ladder
        let change = self.schedule(change, key, &next, &Ladder::default());
        let mut items = vec![change.in_transaction(&self.table, token_key(key))?];
        let step = Step::Dead { reason, generation: next.generation };
        let settings = self.settings(&key.tenant, false).await?;
        items.extend(self.telling_of(key, &next, step, now, &settings, now)?);
        items.extend(self.watching(key, &next, now)?);
        transact(&self.client, items).await
    }

    /// Lets the token rest until `until`, because its network limits it.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn limit(&self, key: &TokenKey, held: &Held, until: Timestamp) -> Result<Stepped, StoreError> {
        let Some(state) = held.token.state.after(Happening::Limited(until)) else {
            return Ok(Stepped::Changed(Some(Box::new(held.clone()))));
        };
        let change = Change::new()
            .when("generation", "=", number(held.token.generation))
            .when("state", "=", state_name(held.token.state)?)
            .set_all(write(&state)?);
        // a longer limit may have come meanwhile
        let change = match held.token.state.cooling_until() {
            Some(resting) => change.when("cooling_until", "=", value(&resting)?),
            None => change,
        };
        self.step(key, change, |_| false).await
    }

    /// Keeps what the network says of the grant now, and when the sweep asks again, where it does.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn learn(
        &self,
        key: &TokenKey,
        held: &Held,
        terms: &Terms,
        check_at: Option<Timestamp>,
    ) -> Result<Stepped, StoreError> {
        let mut next = Token { check_at, ..held.token.clone() };
        next.expires_at = terms.expires_at.or(next.expires_at);
        next.access_expires_at = terms.access_expires_at.or(next.access_expires_at);
        let change = said(as_read(&held.token)?, terms)?.put("check_at", check_at.as_ref().map(value).transpose()?);
        let change = self.schedule(change, key, &next, &self.ladder_of(key, &next).await?);
        if terms.changes(&held.token.scopes) {
            self.step_watched(key, held, change, |_| false).await
        } else {
            self.step(key, change, |_| false).await
        }
    }

    /// Takes the right to ask the network about this token; at most once in `pause`, whoever asks.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn begin_check(
        &self,
        key: &TokenKey,
        held: &Held,
        now: Timestamp,
        again: Timestamp,
    ) -> Result<bool, StoreError> {
        if held.check_after.is_some_and(|after| now < after) {
            return Ok(false);
        }
        let change = Change::new().when("generation", "=", number(held.token.generation));
        let change = change.when_is("check_after", held.check_after.as_ref().map(value).transpose()?);
        Ok(matches!(self.step(key, change.set("check_after", value(&again)?), |_| false).await?, Stepped::Done(_)))
    }

    /// The grant and what was said of it; a token whose answer had been lost lives again.
    async fn renewed(
        &self,
        change: Change,
        key: &TokenKey,
        held: &Held,
        renewed: &Renewed,
    ) -> Result<Change, StoreError> {
        let change = change
            .set("sealed", sealed_fields(&renewed.grant))
            .set("generation", number(renewed.grant.place.generation))
            .remove("failures")
            .remove("retry_at");
        // the new access token's own end, even where the network does not say: the old one's is not its
        let mut terms = renewed.terms.clone();
        let access_expires_at = terms.access_expires_at.take();
        let change = said(change, &terms)?.put("access_expires_at", access_expires_at.as_ref().map(value).transpose()?);
        let mut next = Token { access_expires_at, allow: EVERYTHING, ..held.token.clone() };
        next.expires_at = terms.expires_at.or(next.expires_at);
        next.given_at = terms.given_at.or(next.given_at);
        // the end of the token that could not be renewed is not the new one's
        let change = match key.profile.kind().upkeep() {
            Upkeep::Ahead { .. } if terms.expires_at.is_none() => {
                next.expires_at = None;
                change.remove("expires_at")
            }
            _ => change,
        };
        let change = match held.token.state.after(Happening::Found) {
            Some(state) => {
                next.state = state;
                change.remove("reason").set_all(write(&state)?)
            }
            None => change,
        };
        let ladder = self.ladder_of(key, &next).await?;
        Ok(self.schedule_anew(change, key, held, &next, &ladder))
    }

    /// The ladder by which a token's steps are counted: asked for where there is an end to count down to.
    async fn ladder_of(&self, key: &TokenKey, token: &Token) -> Result<Ladder, StoreError> {
        match token.expires_at {
            Some(_) => Ok(self.settings(&key.tenant, false).await?.ladder),
            None => Ok(Ladder::default()),
        }
    }

    /// As [`Self::step`], where acquisition at the network may be better or worse afterwards: it is looked at by the next
    /// sweep.
    async fn step_watched(
        &self,
        key: &TokenKey,
        held: &Held,
        change: Change,
        mine: impl FnOnce(&Held) -> bool,
    ) -> Result<Stepped, StoreError> {
        let Some(watching) = self.watching(key, &held.token, Timestamp::UNIX_EPOCH)? else {
            return self.step(key, change, mine).await;
        };
        let stepped = transact(&self.client, vec![change.in_transaction(&self.table, token_key(key))?, watching]).await;
        let seen = self.token(key).await?.map(Box::new);
        match (stepped, seen) {
            (Ok(()), Some(row)) => Ok(Stepped::Done(row)),
            (Err(StoreError::Conflict), Some(row)) if mine(&row) => Ok(Stepped::Done(row)),
            (Ok(()) | Err(StoreError::Conflict), seen) => Ok(Stepped::Changed(seen)),
            (Err(error), _) => Err(error),
        }
    }

    async fn step(
        &self,
        key: &TokenKey,
        change: Change,
        mine: impl FnOnce(&Held) -> bool,
    ) -> Result<Stepped, StoreError> {
        match change.attempt(&self.client, &self.table, token_key(key)).await? {
            Written::Done(row) => Ok(Stepped::Done(Box::new(read_held(&key.tenant, row)?))),
            Written::Refused(None) => Ok(Stepped::Changed(None)),
            Written::Refused(Some(row)) => {
                let row = Box::new(read_held(&key.tenant, row)?);
                Ok(if mine(&row) { Stepped::Done(row) } else { Stepped::Changed(Some(row)) })
            }
        }
    }
}

/// A switch may have been turned on while the network was asked, which keeps nobody from writing down what it answered.
/// The row is scheduled as if it had been, and the sweep that comes too early goes by the row.
const EVERYTHING: Allow = Allow { search_acquisition: true, private_messages: true };

/// What every step is conditional on: the row as it was read.
pub(super) fn unchanged(held: &Held) -> Change {
    let Held { token, renewal, .. } = held;
    Change::new().when("fence", "=", number(renewal.fence)).when("generation", "=", number(token.generation))
}

/// No answer came late since the row was read: none may be overlooked.
pub(super) fn nothing_came(change: Change, held: &Held) -> Change {
    change.when_is("arrivals", (held.arrivals > 0).then(|| number(held.arrivals)))
}

fn without_candidates(change: Change, held: &Held) -> Change {
    held.renewal.candidates.keys().fold(change, |change, attempt| change.remove(&candidate_name(*attempt)))
}

/// Whatever was known of refreshing a grant, gone with it.
pub(super) fn forget(change: Change, before: &Held) -> Change {
    let change = nothing_came(without_candidates(change, before), before);
    ["attempt", "failures", "retry_at", "check_after", "arrivals"]
        .iter()
        .fold(change, |change, name| change.remove(name))
        .when("generation", "=", number(before.token.generation))
        .when("fence", "=", number(before.renewal.fence))
}

/// What the network said of a grant; what it did not say stays as it was.
fn said(change: Change, terms: &Terms) -> Result<Change, StoreError> {
    let Terms { scopes, access_expires_at, expires_at, given_at } = terms;
    let change = if scopes.is_empty() { change } else { change.set("scopes", value(scopes)?) };
    [("access_expires_at", access_expires_at), ("expires_at", expires_at), ("given_at", given_at)].into_iter().try_fold(
        change,
        |change, (name, at)| {
            Ok(match at {
                Some(at) => change.set(name, value(at)?),
                None => change,
            })
        },
    )
}

/// How a row names a state.
pub(super) fn state_name(state: State) -> Result<AttributeValue, StoreError> {
    write(&state)?.remove("state").ok_or_else(|| super::unreadable("a state without a name"))
}

pub(super) const CANDIDATE: &str = "candidate_";

pub(super) fn candidate_name(attempt: u64) -> String {
    format!("{CANDIDATE}{attempt}")
}

/// What a token's row says of refreshing it.
pub(super) fn read_renewal(tenant: &TenantId, row: &Item) -> Result<Renewal, StoreError> {
    let Refreshing { profile, token, owner, fence, generation, attempt, failures, retry_at } = read(row.clone())?;
    let token = TokenId::new(token, &owner);
    let mut candidates = std::collections::BTreeMap::new();
    for (name, candidate) in row {
        let Some(attempt) = name.strip_prefix(CANDIDATE).and_then(|attempt| attempt.parse().ok()) else { continue };
        let broken = || super::unreadable("a candidate that is none");
        let fields = candidate.as_m().map_err(|_| broken())?;
        let place = GrantPlace::of(tenant, &profile, &token, attempt);
        let grant = read_grant(fields.get("sealed"), place).ok_or_else(broken)?;
        let Answered { answers, terms } = read(fields.clone())?;
        candidates.insert(attempt, Renewed { answers, terms, grant });
    }
    Ok(Renewal { fence, generation, attempt, candidates, failures, retry_at })
}

#[derive(Deserialize)]
struct Refreshing {
    profile: ProfileId,
    token: TokenKind,
    owner: Subject,
    fence: u64,
    generation: u64,
    #[serde(default)]
    attempt: Option<Attempt>,
    #[serde(default)]
    failures: u32,
    #[serde(default)]
    retry_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Answered {
    answers: SecretHash,
    terms: Terms,
}
