//! A token: one user's credential for one profile, its states, and how it ages.
//!
//! A state speaks of the credential, not of one access token. [`State::after`] is the only way
//! from one state to another; a transition that is not in its table cannot happen. Ageing is a
//! pure function of the row, the ladder and the time: [`Token::age`] says what is due now and
//! [`Token::next_due`] when to look again.

use std::{fmt, str::FromStr};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::ToSchema;

use crate::{
    access::Subject,
    ladder::Ladder,
    profile::{Capability, ProfileId, Switch, TokenKind, Unknown, Upkeep},
};

/// The id of a token within its profile: `<token kind>-<encoded subject of its owner>`.
///
/// It is natural: one user has one token of a kind for a profile, whatever is retried.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId {
    kind: TokenKind,
    owner: String,
}

impl TokenId {
    /// The token of `kind` that `owner` has.
    #[must_use]
    pub fn new(kind: TokenKind, owner: &Subject) -> Self {
        Self { kind, owner: owner.encoded() }
    }

    /// What the token is for.
    #[must_use]
    pub fn kind(&self) -> TokenKind {
        self.kind
    }

    /// Whether this is `subject`'s token.
    #[must_use]
    pub fn belongs_to(&self, subject: &Subject) -> bool {
        self.owner == subject.encoded()
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.kind.as_str(), self.owner)
    }
}

impl FromStr for TokenId {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        let (kind, owner) = text.split_once('-').ok_or(Unknown("token"))?;
        let harmless = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.');
        if owner.is_empty() || owner.len() > 3 * 255 || !owner.bytes().all(harmless) {
            return Err(Unknown("token"));
        }
        Ok(Self { kind: kind.parse()?, owner: owner.to_owned() })
    }
}

impl Serialize for TokenId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TokenId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Why a credential is dead: what the network said, or what was done to it here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The user took the permission back, or logged out everywhere.
    RevokedByUser,
    /// The user changed the password.
    PasswordChanged,
    /// The network wants the user to prove something first.
    Checkpoint,
    /// The user no longer has the role that the token came from.
    RoleLost,
    /// The network does not take the refresh token any more.
    RefreshRejected,
    /// The network renewed the credential, as far as can be told, and its answer never came.
    LostAnswer,
    /// Its time was over before anybody renewed it.
    Expired,
    /// The user removed the app.
    AppRemoved,
    /// The network ends after a week what was granted to an app in testing.
    AppInTesting,
    /// It was brought back from a backup, and its refresh token, which works once, may have been spent since.
    Restored,
    /// A policy of the user's organisation, or a protection that the user turned on, refuses the app.
    Policy,
    /// The user's account at the network has no channel.
    NoChannel,
    /// The user's account or channel at the network was closed.
    AccountClosed,
    /// The network suspended the user's account or channel.
    AccountSuspended,
}

impl Reason {
    /// Whether a new access token may work where the old one was refused for this reason.
    #[must_use]
    pub fn may_end_with_refresh(self) -> bool {
        !matches!(self, Self::Policy | Self::NoChannel | Self::AccountClosed | Self::AccountSuspended)
    }
}

/// What is known of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Usable.
    Active,
    /// Limited by the network; used again after `cooling_until`.
    CoolingDown {
        /// When the limit ends.
        cooling_until: Timestamp,
    },
    /// Its time is over.
    Expired,
    /// The network said that it is dead.
    NeedsReauth {
        /// What the network said.
        reason: Reason,
    },
}

/// What can happen to a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// The network limits it until then.
    Limited(Timestamp),
    /// The limit is over.
    Recovered,
    /// Its time is over.
    Ended,
    /// The network's answer proves that it is dead.
    Died(Reason),
    /// An answer of the network that had been lost was found, and it works.
    Found,
    /// Its owner signed in again.
    Reauthenticated,
}

impl State {
    /// The state after `happening`, or `None` where the product draws no such transition.
    #[must_use]
    pub fn after(self, happening: Happening) -> Option<Self> {
        match (self, happening) {
            (_, Happening::Reauthenticated)
            | (Self::CoolingDown { .. }, Happening::Recovered)
            | (Self::NeedsReauth { reason: Reason::LostAnswer }, Happening::Found) => Some(Self::Active),
            (Self::Active | Self::CoolingDown { .. }, Happening::Limited(cooling_until)) => {
                Some(Self::CoolingDown { cooling_until })
            }
            (Self::Active | Self::CoolingDown { .. }, Happening::Ended) => Some(Self::Expired),
            (Self::Active | Self::CoolingDown { .. }, Happening::Died(reason)) => Some(Self::NeedsReauth { reason }),
            (Self::Active, Happening::Recovered)
            | (_, Happening::Found)
            | (
                Self::Expired | Self::NeedsReauth { .. },
                Happening::Limited(_) | Happening::Recovered | Happening::Ended | Happening::Died(_),
            ) => None,
        }
    }

    /// When the network's limit is over, where there is one.
    #[must_use]
    pub fn cooling_until(self) -> Option<Timestamp> {
        match self {
            Self::CoolingDown { cooling_until } => Some(cooling_until),
            Self::Active | Self::Expired | Self::NeedsReauth { .. } => None,
        }
    }

    /// Whether only its owner can bring it back.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Expired | Self::NeedsReauth { .. })
    }
}

/// The uses that the owner allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Allow {
    /// Search for public posts with it.
    pub search_acquisition: bool,
    /// Read and send private messages with it.
    pub private_messages: bool,
}

impl Allow {
    /// Turns `switch` on or off.
    pub fn turn(&mut self, switch: Switch, on: bool) {
        match switch {
            Switch::SearchAcquisition => self.search_acquisition = on,
            Switch::PrivateMessages => self.private_messages = on,
        }
    }

    /// Whether `switch` is on.
    #[must_use]
    pub fn permits(self, switch: Switch) -> bool {
        match switch {
            Switch::SearchAcquisition => self.search_acquisition,
            Switch::PrivateMessages => self.private_messages,
        }
    }
}

/// Why a token cannot be used for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its owner must sign in again.
    NeedsReauth,
    /// Its owner must sign in again: its time is over.
    Expired,
    /// The network limits it for now.
    CoolingDown,
    /// The network did not grant what the use needs.
    MissingScope,
    /// Its owner has not turned the switch on.
    NotAllowed,
}

impl Refusal {
    /// The name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NeedsReauth => "needs_reauth",
            Self::Expired => "expired",
            Self::CoolingDown => "cooling_down",
            Self::MissingScope => "missing_scope",
            Self::NotAllowed => "not_allowed",
        }
    }
}

/// The access token is renewed so long before it ends.
const MARGIN: SignedDuration = SignedDuration::from_mins(5);
/// A network that ends credentials silently is asked so often: with the jitter of the index, less than four hours,
/// at least daily.
pub const CHECKED_EVERY: SignedDuration = SignedDuration::from_hours(20);
/// An access token that ends within this time is not handed out any more.
const LEEWAY: SignedDuration = SignedDuration::from_secs(30);

/// What a notice says of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// It will end.
    Warning {
        /// When.
        expires_at: Timestamp,
    },
    /// It has ended.
    Expired {
        /// When.
        expires_at: Timestamp,
    },
    /// The network said that it is dead.
    Dead {
        /// What the network said.
        reason: Reason,
        /// The generation that died; the next one is another episode.
        generation: u64,
    },
}

/// What the passing of time did to a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aged {
    /// The state from now on.
    pub state: State,
    /// The newest step that was passed since the row was last considered, and its moment.
    pub step: Option<(Step, Timestamp)>,
}

/// One user's credential for one profile, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The profile it belongs to.
    pub profile: ProfileId,
    /// The profile's name when the token was last authorised, for notices.
    pub name: String,
    /// What it is for.
    pub token: TokenKind,
    /// Whose it is.
    pub owner: Subject,
    /// What is known of it.
    #[serde(flatten)]
    pub state: State,
    /// What the network granted.
    pub scopes: Vec<String>,
    /// What its owner allowed.
    pub allow: Allow,
    /// When a person will be needed; `None` while a machine can renew it for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When the access token in it ends; `None` where the network does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_expires_at: Option<Timestamp>,
    /// When its owner last signed in at the network for it.
    pub connected_at: Timestamp,
    /// When the network gave the access token in it, where its age matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_at: Option<Timestamp>,
    /// When the network is asked next how it is, where it was asked before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check_at: Option<Timestamp>,
    /// Steps up to this moment have been considered; only later ones may speak.
    pub considered_at: Timestamp,
    /// The `client_id` of the app that it came from.
    pub app: String,
    /// The login at the network that granted it.
    pub login: String,
    /// Grows by one with every new secret; part of what the seal authenticates.
    pub generation: u64,
}

impl Token {
    /// Its id within the profile.
    #[must_use]
    pub fn id(&self) -> TokenId {
        TokenId::new(self.token, &self.owner)
    }

    /// What is known of it at `now`: a row that the sweep has not reached yet is told truthfully.
    #[must_use]
    pub fn state_at(&self, now: Timestamp) -> State {
        match self.state {
            State::Active | State::CoolingDown { .. } if self.expires_at.is_some_and(|end| end <= now) => {
                State::Expired
            }
            State::CoolingDown { cooling_until } if cooling_until <= now => State::Active,
            state => state,
        }
    }

    /// Until when the access token in it can be handed out: a moment before its end, so that it still works when it
    /// is used. `None` where the network does not say.
    #[must_use]
    pub fn usable_until(&self) -> Option<Timestamp> {
        self.access_expires_at.map(|end| end - LEEWAY)
    }

    /// Whether the access token in it can be handed out at `now`.
    #[must_use]
    pub fn is_usable(&self, now: Timestamp) -> bool {
        self.usable_until().is_none_or(|end| now < end)
    }

    /// Whether it is time to get a new access token.
    #[must_use]
    pub fn is_ending(&self, now: Timestamp) -> bool {
        let at = match self.profile.kind().upkeep() {
            Upkeep::Ahead { .. } => self.renew_at(),
            Upkeep::OnDemand { .. } | Upkeep::ByPerson | Upkeep::Derived => {
                self.access_expires_at.map(|end| end - MARGIN)
            }
        };
        at.is_some_and(|at| at <= now)
    }

    /// When the sweep renews it, whether anybody uses it or not.
    #[must_use]
    pub fn renew_at(&self) -> Option<Timestamp> {
        match self.profile.kind().upkeep() {
            Upkeep::OnDemand { idle } => Some(self.access_expires_at? + idle),
            Upkeep::Ahead { margin, youngest } => {
                let given = self.given_at.unwrap_or(self.connected_at);
                Some((self.access_expires_at? - margin).max(given + youngest))
            }
            Upkeep::ByPerson | Upkeep::Derived => None,
        }
    }

    /// When the sweep asks the network how it is: where the network ends credentials silently, at least daily while it
    /// may be used for anything.
    #[must_use]
    pub fn inspect_at(&self) -> Option<Timestamp> {
        let kind = self.profile.kind();
        let used = |row: &Capability| row.switch.is_none_or(|switch| self.allow.permits(switch));
        let asked = kind.dies_silently() && kind.capabilities(self.token).iter().any(used);
        asked.then(|| self.check_at.unwrap_or(self.connected_at + CHECKED_EVERY))
    }

    /// The published name of its state at `now`.
    #[must_use]
    pub fn state_name(&self, now: Timestamp, ladder: &Ladder) -> &'static str {
        match self.state_at(now) {
            State::Active if self.expires_at.is_some_and(|end| ladder.warns(end, now)) => "expiring",
            State::Active => "active",
            State::CoolingDown { .. } => "cooling_down",
            State::Expired => "expired",
            State::NeedsReauth { .. } => "needs_reauth",
        }
    }

    /// What was asked for and not granted.
    #[must_use]
    pub fn missing_scopes(&self) -> Vec<&'static str> {
        let mut wanted = self.profile.kind().scopes(self.token);
        wanted.retain(|scope| !self.grants(scope));
        wanted
    }

    /// Whether it may be used for what `capability` gives.
    ///
    /// # Errors
    /// The reason that its owner can mend first.
    pub fn permits(&self, capability: &Capability, now: Timestamp) -> Result<(), Refusal> {
        match self.state_at(now) {
            State::NeedsReauth { .. } => return Err(Refusal::NeedsReauth),
            State::Expired => return Err(Refusal::Expired),
            State::CoolingDown { .. } => return Err(Refusal::CoolingDown),
            State::Active => {}
        }
        if !capability.scopes.iter().all(|scope| self.grants(scope)) {
            return Err(Refusal::MissingScope);
        }
        match capability.switch {
            Some(switch) if !self.allow.permits(switch) => Err(Refusal::NotAllowed),
            _ => Ok(()),
        }
    }

    /// What the passing of time until `now` did to it; `None` when nothing is due.
    #[must_use]
    pub fn age(&self, now: Timestamp, ladder: &Ladder) -> Option<Aged> {
        let end = self.expires_at.filter(|_| !self.state.is_over())?;
        let step =
            steps(ladder, end).filter(|(_, at)| self.considered_at < *at && *at <= now).max_by_key(|(_, at)| *at);
        let state = if end <= now { self.state.after(Happening::Ended)? } else { self.state };
        (step.is_some() || state != self.state).then_some(Aged { state, step })
    }

    /// When the passing of time will do something to it next, counted from `considered_at`.
    #[must_use]
    pub fn next_due(&self, ladder: &Ladder) -> Option<Timestamp> {
        if self.state.is_over() {
            return None;
        }
        let step = self
            .expires_at
            .map(|end| steps(ladder, end).map(|(_, at)| at).filter(|at| *at > self.considered_at).min().unwrap_or(end));
        step.into_iter().chain(self.renew_at()).chain(self.inspect_at()).min()
    }

    fn grants(&self, scope: &str) -> bool {
        self.scopes.iter().any(|granted| granted == scope)
    }
}

/// The moments at which a token that ends at `end` is spoken of, its end included.
fn steps(ladder: &Ladder, end: Timestamp) -> impl Iterator<Item = (Step, Timestamp)> + '_ {
    let warnings = ladder.warnings(end).map(move |at| (Step::Warning { expires_at: end }, at));
    warnings.chain([(Step::Expired { expires_at: end }, end)])
}

/// The whole days from `now` until `end`, a begun day counted as one; 0 when it is over.
#[must_use]
pub fn days_left(end: Timestamp, now: Timestamp) -> i64 {
    let seconds = end.as_second().saturating_sub(now.as_second()).max(0);
    (seconds + 86_399) / 86_400
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Kind;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn days(days: i64) -> SignedDuration {
        SignedDuration::from_hours(24 * days)
    }

    fn token() -> Token {
        Token {
            profile: "x_profile-42".parse().unwrap(),
            name: "News Desk".into(),
            token: TokenKind::Interaction,
            owner: "alice".parse().unwrap(),
            state: State::Active,
            scopes: Kind::XProfile.scopes(TokenKind::Interaction).into_iter().map(Into::into).collect(),
            allow: Allow::default(),
            expires_at: Some(NOW + days(60)),
            access_expires_at: None,
            connected_at: NOW,
            given_at: None,
            check_at: None,
            considered_at: NOW,
            app: "app".into(),
            login: "42".into(),
            generation: 1,
        }
    }

    #[test]
    fn only_the_drawn_transitions_can_happen() {
        let until = NOW + days(1);
        let (active, cooling) = (State::Active, State::CoolingDown { cooling_until: until });
        let (expired, dead) = (State::Expired, State::NeedsReauth { reason: Reason::PasswordChanged });
        let lost = State::NeedsReauth { reason: Reason::LostAnswer };
        let died = Happening::Died(Reason::PasswordChanged);
        for (from, happening, to) in [
            (lost, Happening::Found, Some(active)),
            (lost, Happening::Recovered, None),
            (active, Happening::Found, None),
            (cooling, Happening::Found, None),
            (expired, Happening::Found, None),
            (dead, Happening::Found, None),
            (active, Happening::Limited(until), Some(cooling)),
            (active, Happening::Recovered, None),
            (active, Happening::Ended, Some(expired)),
            (active, died, Some(dead)),
            (active, Happening::Reauthenticated, Some(active)),
            (cooling, Happening::Limited(until), Some(cooling)),
            (cooling, Happening::Recovered, Some(active)),
            (cooling, Happening::Ended, Some(expired)),
            (cooling, died, Some(dead)),
            (cooling, Happening::Reauthenticated, Some(active)),
            (expired, Happening::Limited(until), None),
            (expired, Happening::Recovered, None),
            (expired, Happening::Ended, None),
            (expired, died, None),
            (expired, Happening::Reauthenticated, Some(active)),
            (dead, Happening::Limited(until), None),
            (dead, Happening::Recovered, None),
            (dead, Happening::Ended, None),
            (dead, died, None),
            (dead, Happening::Reauthenticated, Some(active)),
        ] {
            assert_eq!(from.after(happening), to, "{from:?} after {happening:?}");
        }
    }

    #[test]
    fn a_use_is_refused_with_the_reason_that_the_owner_can_mend() {
        let capabilities = Kind::XProfile.capabilities(TokenKind::Interaction);
        let (messages, publish) = (&capabilities[0], &capabilities[1]);
        let allowing = Token { allow: Allow { private_messages: true, ..Allow::default() }, ..token() };
        let unscoped = Token { scopes: vec!["users.read".into()], ..allowing.clone() };
        let cooling = Token { state: State::CoolingDown { cooling_until: NOW + days(1) }, ..token() };
        let cooled = Token { state: State::CoolingDown { cooling_until: NOW }, ..token() };
        let dead = Token { state: State::NeedsReauth { reason: Reason::PasswordChanged }, ..token() };
        let ended = Token { expires_at: Some(NOW), ..token() };
        for (token, wanted, answer) in [
            (&allowing, messages, Ok(())),
            (&token(), messages, Err(Refusal::NotAllowed)),
            (&token(), publish, Ok(())),
            (&unscoped, messages, Err(Refusal::MissingScope)),
            (&cooling, publish, Err(Refusal::CoolingDown)),
            (&cooled, publish, Ok(())),
            (&dead, publish, Err(Refusal::NeedsReauth)),
            (&ended, publish, Err(Refusal::Expired)),
        ] {
            assert_eq!(token.permits(wanted, NOW), answer, "{:?} for {:?}", token.state, wanted.usage);
        }
    }

    #[test]
    fn of_several_steps_that_were_passed_only_the_newest_speaks() {
        let (ladder, expires_at) = (Ladder::default(), NOW + days(60));
        let (warning, expired) = (Step::Warning { expires_at }, Step::Expired { expires_at });
        for (passed, step) in [
            (29, None),
            (30, Some((warning, 30))),
            (31, Some((warning, 30))),
            (46, Some((warning, 45))),
            (59, Some((warning, 59))),
            (60, Some((expired, 60))),
            (400, Some((expired, 60))),
        ] {
            let aged = token().age(NOW + days(passed), &ladder);
            let spoken = aged.and_then(|aged| aged.step);
            assert_eq!(spoken, step.map(|(step, day)| (step, NOW + days(day))), "after {passed} days");
        }
    }

    #[test]
    fn a_step_speaks_once() {
        let ladder = Ladder::default();
        let considered = Token { considered_at: NOW + days(31), ..token() };
        assert_eq!(considered.age(NOW + days(31), &ladder), None);
        assert_eq!(considered.next_due(&ladder), Some(NOW + days(45)));
    }

    #[test]
    fn a_first_connect_mails_nobody_however_near_its_end_is() {
        let near = Token { expires_at: Some(NOW + days(5)), ..token() };
        assert_eq!(near.age(NOW, &Ladder::default()), None);
        assert_eq!(near.next_due(&Ladder::default()), Some(NOW + days(2)));
    }

    #[test]
    fn a_token_that_a_machine_can_renew_for_ever_is_never_due() {
        let endless = Token { expires_at: None, ..token() };
        assert_eq!(endless.next_due(&Ladder::default()), None);
        assert_eq!(endless.age(NOW + days(4000), &Ladder::default()), None);
    }

    #[test]
    fn a_grant_that_nobody_uses_is_due_a_month_after_its_access_token_ended() {
        let idle = Token { expires_at: None, access_expires_at: Some(NOW), ..token() };
        assert_eq!(idle.next_due(&Ladder::default()), Some(NOW + days(30)));
        let dead = Token { state: State::NeedsReauth { reason: Reason::RefreshRejected }, ..idle };
        assert_eq!(dead.next_due(&Ladder::default()), None);
    }

    #[test]
    fn an_access_token_is_renewed_before_it_ends_and_handed_out_until_then() {
        let token = Token { access_expires_at: Some(NOW), ..token() };
        for (seconds_left, usable, ending) in [
            (7200, true, false),
            (301, true, false),
            (300, true, true),
            (31, true, true),
            (30, false, true),
            (-1, false, true),
        ] {
            let then = NOW - SignedDuration::from_secs(seconds_left);
            assert_eq!((token.is_usable(then), token.is_ending(then)), (usable, ending), "{seconds_left} s before");
        }
    }

    #[test]
    fn an_ended_token_is_not_due_again() {
        let ended = Token { state: State::Expired, ..token() };
        assert_eq!(ended.next_due(&Ladder::default()), None);
        assert_eq!(ended.age(NOW + days(90), &Ladder::default()), None);
    }

    #[test]
    fn the_published_state_follows_the_clock_before_the_sweep_does() {
        let ladder = Ladder::default();
        for (passed, name) in [(0, "active"), (29, "active"), (30, "expiring"), (59, "expiring"), (60, "expired")] {
            assert_eq!(token().state_name(NOW + days(passed), &ladder), name, "after {passed} days");
        }
    }

    #[test]
    fn a_begun_day_counts_as_one() {
        for (seconds, left) in [(-5, 0), (0, 0), (1, 1), (86_400, 1), (86_401, 2), (29 * 86_400 - 56, 29)] {
            assert_eq!(days_left(NOW + SignedDuration::from_secs(seconds), NOW), left);
        }
    }

    #[test]
    fn a_token_id_is_read_back_as_it_was_written() {
        let id = TokenId::new(TokenKind::Interaction, &"auth0|1".parse().unwrap());
        assert_eq!(id.to_string(), "interaction-auth0.7C1");
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["interaction", "interaction-", "other-alice", "interaction-a#b", "interaction-a/b"] {
            assert!(text.parse::<TokenId>().is_err(), "{text:?}");
        }
    }
}
