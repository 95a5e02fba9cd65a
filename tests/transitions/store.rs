//! Random operations of the store, each by somebody who read the row a while ago.
//!
//! Nobody is kept from acting on an old row: that is what concurrency is. What each of them then does is what the
//! product does with such a row, so that a sequence is one that could happen.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
};

use jiff::{SignedDuration, Timestamp};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use shared::{
    grant::GrantPlace,
    ladder::Ladder,
    network::Terms,
    profile::{Kind, Network, Switch, TokenKind},
    renewal::{Attempt, Renewed, Stage},
    secret::SecretHash,
    settings::Settings,
    store::{
        Spread, StoreError,
        flows::Flows,
        profiles::{Held, TokenKey, Vault},
        renewals::{Beginning, Placed, Stepped},
    },
    token::{Reason, State, Token},
};

use super::{Cause, causes};
use crate::{
    contracts::{NOW, Store, sealed_grant, token_of},
    support::{Row, World, days, minutes},
};

/// How many sequences are tried, and how long they are.
const CASES: u32 = 400;
const LONGEST: usize = 25;
/// The sweep may come so much later to a grant of which nothing is due but that nobody used it for a month.
const IDLE_SLACK: i64 = 3 * 24 * 60 * 60;
/// How far back somebody may have read the row: so many versions.
const MEMORY: usize = 4;

/// What somebody does.
#[derive(Clone, Debug)]
enum Op {
    /// The owner turns the switch, where there is one.
    Allow(bool),
    /// The network limits it for so many minutes.
    Limit(i64),
    /// The network was asked how it is, and told its scopes and, at Facebook, an end in so many days.
    Learn { scopes: bool, ends: i64 },
    /// The network was asked how it is, and did not say.
    AskAgain,
    /// Somebody takes the right to ask how it is.
    BeginCheck,
    /// Somebody asks for a new access token.
    Begin,
    /// A grant that was refused is replaced by the newest candidate, which is tried.
    Try,
    /// An answer to one of the attempts arrives.
    Place(Answer),
    /// One of the attempts ends without an answer.
    End { unanswered: bool },
    /// Whoever was at it has vanished.
    Orphan,
    /// The newest candidate turns out to be the answer.
    Adopt,
    /// The network proved it dead.
    Die(Reason),
    /// The sweep considers it.
    Age,
    /// The sweep finds nothing due and lets it come up again.
    Reschedule,
    /// Its owner signs in again, and the network says what it grants.
    SignIn { ends: Option<i64> },
    /// So many hours pass.
    Wait(i64),
}

/// What a network says of a new access token, or leaves out.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that is said or left out")]
struct Answer {
    scopes: bool,
    access_ends: bool,
    ends: bool,
    given: bool,
}

fn op() -> impl Strategy<Value = Op> {
    let answer =
        any::<[bool; 4]>().prop_map(|[scopes, access_ends, ends, given]| Answer { scopes, access_ends, ends, given });
    let reason = prop::sample::select(vec![
        Reason::RevokedByUser,
        Reason::PasswordChanged,
        Reason::RoleLost,
        Reason::RefreshRejected,
        Reason::LostAnswer,
        Reason::Expired,
    ]);
    prop_oneof![
        3 => any::<bool>().prop_map(Op::Allow),
        2 => (1..600_i64).prop_map(Op::Limit),
        2 => (any::<bool>(), 1..90_i64).prop_map(|(scopes, ends)| Op::Learn { scopes, ends }),
        1 => Just(Op::AskAgain),
        1 => Just(Op::BeginCheck),
        4 => Just(Op::Begin),
        1 => Just(Op::Try),
        4 => answer.prop_map(Op::Place),
        1 => any::<bool>().prop_map(|unanswered| Op::End { unanswered }),
        1 => Just(Op::Orphan),
        1 => Just(Op::Adopt),
        2 => reason.prop_map(Op::Die),
        3 => Just(Op::Age),
        1 => Just(Op::Reschedule),
        2 => prop::option::of(1..60_i64).prop_map(|ends| Op::SignIn { ends }),
        2 => prop_oneof![0..3_i64, 20..800_i64].prop_map(Op::Wait),
    ]
}

/// A kind of token, and who does what after reading which version of its row.
fn sequence() -> impl Strategy<Value = ((Kind, TokenKind), Vec<(Op, usize)>)> {
    let all = Kind::ALL.into_iter().flat_map(|kind| TokenKind::ALL.map(|token| (kind, token)));
    let tokens: Vec<_> = all.filter(|(kind, token)| !kind.capabilities(*token).is_empty()).collect();
    // most of what is done is done by whoever has just looked
    let versions_ago = prop_oneof![2 => Just(0), 1 => 1..MEMORY];
    (prop::sample::select(tokens), vec((op(), versions_ago), 1..LONGEST))
}

/// A token, and everybody who has to do with it.
struct Desk<'a> {
    store: &'a Store,
    world: &'a World,
    key: TokenKey,
    now: Timestamp,
    /// Versions of the row that somebody may have read, the newest last.
    seen: Vec<Held>,
    /// Attempts that somebody may be running.
    attempts: Vec<Held>,
    sign_ins: u64,
}

impl<'a> Desk<'a> {
    async fn new(world: &'a World, store: &'a Store, (kind, token): (Kind, TokenKind), id: u32) -> Self {
        let mut session = store.authorized("acme", "alice", kind, &id.to_string()).await;
        session.token = token;
        let (key, token) = token_of(&session, &id.to_string(), 1);
        let token = Token { expires_at: (kind.network() == Network::Facebook).then_some(NOW + days(60)), ..token };
        let token = Token { access_expires_at: access_end(kind, NOW), ..token };
        let grant = sealed_grant(GrantPlace::of_token(&key.tenant, &token));
        store.attach(&session, &token, &grant, None, NOW).await.unwrap();
        let first = store.vault.token(&key).await.unwrap().unwrap();
        Self { store, world, key, now: NOW, seen: vec![first], attempts: Vec::new(), sign_ins: 0 }
    }

    fn kind(&self) -> Kind {
        self.key.profile.kind()
    }

    async fn held(&self) -> Held {
        self.store.vault.token(&self.key).await.unwrap().unwrap()
    }

    async fn row(&self) -> Row {
        let key = |text: String| aws_sdk_dynamodb::types::AttributeValue::S(text);
        let TokenKey { tenant, profile, token } = &self.key;
        let get = self.world.dynamodb().get_item().table_name("Vault").consistent_read(true);
        let get = get.key("pk", key(format!("T#{tenant}#P#{profile}"))).key("sk", key(format!("TOKEN#{token}")));
        get.send().await.unwrap().item.unwrap()
    }

    /// Does it, as whoever read that version of the row; what the store refuses is refused.
    async fn take(&mut self, op: &Op, versions_ago: usize) {
        let (vault, key, now) = (&self.store.vault, self.key.clone(), self.now);
        let held = ago(&self.seen, versions_ago).unwrap().clone();
        let over = held.token.state_at(now).is_over();
        let renewable = self.kind() != Kind::FacebookUser;
        match op {
            Op::Allow(on) => {
                let switches = self.kind().capabilities(key.token.kind()).iter().filter_map(|row| row.switch);
                let switches: Vec<(Switch, bool)> = switches.map(|switch| (switch, *on)).collect();
                if !switches.is_empty() {
                    refused_or_done(vault.allow(&key, &held.token, &switches, &Ladder::default(), now).await);
                }
            }
            Op::Limit(wait) => {
                let until = now + minutes(*wait);
                if held.token.state.cooling_until().is_none_or(|resting| resting < until) {
                    vault.limit(&key, &held, until).await.unwrap();
                }
            }
            Op::Learn { scopes, ends } if !over => {
                let ends = (self.kind().network() == Network::Facebook).then(|| now + days(*ends));
                let terms = Terms { expires_at: ends, ..said(*scopes) };
                let check_at = held.token.inspect_at().map(|_| now + SignedDuration::from_hours(23));
                if *scopes || check_at.is_some() {
                    vault.learn(&key, &held, &terms, check_at).await.unwrap();
                }
            }
            Op::AskAgain if !over && held.token.inspect_at().is_some() => {
                let again = now + SignedDuration::from_hours(1);
                vault.learn(&key, &held, &Terms::default(), Some(again)).await.unwrap();
            }
            Op::BeginCheck => drop(vault.begin_check(&key, &held, now, now + minutes(1)).await.unwrap()),
            Op::Begin | Op::Try if renewable && (!over || held.renewal.may_revive(held.token.state)) => {
                let tried = match op {
                    Op::Try => {
                        let Some((candidate, _)) = held.renewal.candidates.last_key_value() else { return };
                        let place = GrantPlace::of(&key.tenant, &key.profile, &key.token, held.renewal.fence + 1);
                        Some((*candidate, sealed_grant(place)))
                    }
                    _ => None,
                };
                let fingerprint = print(held.token.generation);
                let owner = format!("somebody {}", self.attempts.len());
                let beginning = Beginning { owner: &owner, fingerprint: &fingerprint, until: now + minutes(1), tried };
                if let Stepped::Done(begun) = vault.begin_refresh(&key, &held, beginning).await.unwrap() {
                    self.attempts.push(*begun);
                }
            }
            Op::Place(answer) => {
                let Some(attempt) = ago(&self.attempts, versions_ago).cloned() else { return };
                let renewed = Renewed {
                    answers: print(attempt.token.generation),
                    terms: self.terms(answer),
                    grant: sealed_grant(GrantPlace::of(&key.tenant, &key.profile, &key.token, attempt.renewal.fence)),
                };
                if let Placed::Committed(row) | Placed::Kept(row) = vault.place(&key, &attempt, &renewed).await.unwrap()
                {
                    self.seen.push(*row);
                }
            }
            Op::End { unanswered } => {
                let Some(attempt) = ago(&self.attempts, versions_ago) else { return };
                let left = Attempt { fingerprint: print(attempt.token.generation), stage: Stage::Unanswered };
                let left = unanswered.then_some(&left);
                vault.end_refresh(&key, attempt, left, now + minutes(1), now).await.unwrap();
            }
            Op::Orphan => match vault.orphan_refresh(&key, &held, now).await {
                Ok(_) | Err(StoreError::Conflict) => {}
                Err(error) => panic!("{error}"),
            },
            Op::Adopt => {
                let newer = held.renewal.candidates.range(held.token.generation + 1..).next_back();
                if let Some((candidate, _)) = newer {
                    vault.adopt(&key, &held, *candidate).await.unwrap();
                }
            }
            Op::Die(reason) if !over => refused_or_done(vault.die(&key, &held, *reason, now).await),
            Op::Age => {
                if let Some(aged) = held.token.age(now, &Ladder::default()) {
                    refused_or_done(vault.age(&key, &held.token, aged, &Settings::default(), now).await);
                }
            }
            Op::Reschedule if held.token.age(now, &Ladder::default()).is_none() => {
                refused_or_done(vault.reschedule(&key, &held.token, &Ladder::default()).await);
            }
            Op::SignIn { ends } => self.sign_in(&held, *ends).await,
            Op::Wait(hours) => self.now += SignedDuration::from_hours(*hours),
            _ => {}
        }
    }

    /// Signs in again, having read `before`.
    async fn sign_in(&mut self, before: &Held, ends: Option<i64>) {
        self.sign_ins += 1;
        let id = self.key.profile.external_id();
        let mut session = self.store.authorized("acme", "alice", self.kind(), id).await;
        session.token = self.key.token.kind();
        let (_, token) = token_of(&session, id, before.renewal.fence + 1);
        let token = Token {
            access_expires_at: access_end(self.kind(), self.now),
            expires_at: ends.map(|ends| self.now + days(ends)),
            connected_at: self.now + SignedDuration::from_nanos(i64::try_from(self.sign_ins).unwrap()),
            considered_at: self.now,
            ..token
        };
        let grant = sealed_grant(GrantPlace::of_token(&self.key.tenant, &token));
        // the session of these tests lasts from `NOW` on
        refused_or_done(self.store.attach(&session, &token, &grant, Some((before, None)), NOW).await);
    }

    fn terms(&self, answer: &Answer) -> Terms {
        let kind = self.kind();
        Terms {
            access_expires_at: access_end(kind, self.now).filter(|_| answer.access_ends),
            expires_at: (answer.ends && kind != Kind::InstagramAccount).then(|| self.now + days(7)),
            given_at: answer.given.then_some(self.now),
            ..said(answer.scopes)
        }
    }
}

/// The row that is so many versions old, or the oldest.
fn ago(rows: &[Held], versions: usize) -> Option<&Held> {
    rows.iter().rev().take(versions + 1).next_back()
}

/// When an access token that this kind of profile is given now ends.
fn access_end(kind: Kind, now: Timestamp) -> Option<Timestamp> {
    match kind.network() {
        Network::X => Some(now + minutes(120)),
        Network::YouTube => Some(now + minutes(60)),
        Network::Instagram => Some(now + days(60)),
        Network::Facebook => None,
    }
}

fn said(scopes: bool) -> Terms {
    let scopes = if scopes { vec!["users.read".to_owned()] } else { Vec::new() };
    Terms { scopes, ..Terms::default() }
}

fn print(generation: u64) -> SecretHash {
    SecretHash::of(&format!("the refresh token of {generation}").into())
}

/// What was done, or refused because the row had changed; nothing else may go wrong.
fn refused_or_done<T>(done: Result<T, StoreError>) {
    match done {
        Ok(_) | Err(StoreError::Conflict) => {}
        Err(error) => panic!("{error}"),
    }
}

fn name(state: State) -> (&'static str, Option<&'static str>) {
    match state {
        State::Active => ("active", None),
        State::CoolingDown { .. } => ("cooling_down", None),
        State::Expired => ("expired", None),
        State::NeedsReauth { reason: Reason::LostAnswer } => ("needs_reauth", Some("lost_answer")),
        State::NeedsReauth { .. } => ("needs_reauth", Some("another")),
    }
}

/// What an operation may be the cause of.
fn cause(op: &Op) -> Option<Cause> {
    match op {
        Op::Limit(_) => Some(Cause::Limit),
        Op::Die(_) => Some(Cause::Death),
        Op::Age => Some(Cause::Time),
        Op::Place(_) | Op::Adopt => Some(Cause::Found),
        Op::SignIn { .. } => Some(Cause::SignIn),
        _ => None,
    }
}

/// What must be true of the row after `op`, by name.
fn judge(op: &Op, before: &Held, after: &Held, row: &Row) -> Vec<(&'static str, bool)> {
    let (was, is) = (&before.token, &after.token);
    let signed_in = matches!(op, Op::SignIn { .. }) && is.generation != was.generation;
    let moved = name(was.state) != name(is.state);
    let drawn = causes(name(was.state), name(is.state).0);
    let kept = |was: Option<Timestamp>, is: Option<Timestamp>| signed_in || was.is_none() || is.is_some();
    let at_instagram = is.profile.kind() == Kind::InstagramAccount;
    let due = row.get("due_at").map(|at| at.as_n().unwrap().parse::<i64>().unwrap());
    let idle = is.expires_at.is_none() && matches!(is.profile.kind().network(), Network::X | Network::YouTube);
    let slack = if idle { IDLE_SLACK } else { 0 };
    let wanted = is.next_due(&Ladder::default()).map(Timestamp::as_second);
    let rests_on = match (was.state.cooling_until(), is.state.cooling_until()) {
        (Some(was), Some(is)) => was <= is,
        _ => true,
    };
    vec![
        ("the transition is drawn", !moved || cause(op).is_some_and(|cause| drawn.contains(&cause))),
        ("a limit is not shortened", signed_in || rests_on),
        ("the generation does not fall", was.generation <= is.generation),
        ("the fence does not fall", before.renewal.fence <= after.renewal.fence),
        ("the fence is not below the generation", is.generation <= after.renewal.fence),
        ("there are scopes", !is.scopes.is_empty()),
        ("there is a refresh token", after.grant.refresh_token.is_some()),
        ("it is the same token", (&was.profile, was.token, &was.owner) == (&is.profile, is.token, &is.owner)),
        ("its owner alone turns switches", matches!(op, Op::Allow(_)) || was.allow == is.allow),
        ("it is pooled while it is allowed", row.contains_key("pool") == is.allow.search_acquisition),
        ("a sign-in alone is one", signed_in || was.connected_at == is.connected_at),
        // what could not be renewed and was has no end any more
        ("its end stays", kept(was.expires_at, is.expires_at) || (at_instagram && is.generation != was.generation)),
        ("when it was given stays", kept(was.given_at, is.given_at)),
        ("it was considered", was.considered_at <= is.considered_at),
        ("it comes up in time", wanted.is_none_or(|wanted| due.is_some_and(|due| due <= wanted + slack))),
        ("it stands in a shard while it is due", row.contains_key("due_shard") == due.is_some()),
    ]
}

#[test]
fn no_sequence_of_what_can_be_done_leads_where_the_product_draws_no_way() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = runtime.block_on(World::start());
    let aws = world.sandbox.aws_config();
    let store = Store {
        vault: Vault::new(aws, "Vault", Spread::new(4, 0)),
        flows: Flows::new(aws, "Flows", Spread::new(4, 0)),
    };
    let (ids, happened) = (Cell::new(0), RefCell::new(BTreeSet::new()));
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let judged = runner.run(&sequence(), |(kind, ops)| {
        ids.set(ids.get() + 1);
        runtime.block_on(async {
            let mut desk = Desk::new(&world, &store, kind, ids.get()).await;
            let mut before = desk.held().await;
            for (op, versions_ago) in &ops {
                desk.take(op, *versions_ago).await;
                let (after, row) = (desk.held().await, desk.row().await);
                for (rule, holds) in judge(op, &before, &after, &row) {
                    prop_assert!(holds, "{}: {:?} made of {:?} {:?}", rule, op, before, after);
                }
                if name(before.token.state) != name(after.token.state) {
                    let (from, to) = (name(before.token.state).0, name(after.token.state).0);
                    happened.borrow_mut().insert(format!("{from} to {to}: {:?}", cause(op)));
                }
                if after != before {
                    desk.seen.push(after.clone());
                }
                before = after;
            }
            Ok(())
        })
    });
    if let Err(failed) = judged {
        panic!("{failed}");
    }
    let happened = happened.into_inner();
    assert_eq!(happened.len(), 9, "every transition is met: {happened:?}");
}
