//! What can be connected, and what a connected account can be used for.
//!
//! The capability table of the product is data in this one place: a kind and a token give uses,
//! each behind a switch or not, each with the scopes that it needs at the network. Whatever asks
//! "may this token do that?" asks this table, so that a new profile kind is a few more rows.

use std::{fmt, str::FromStr};

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::ToSchema;

/// A social network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Facebook, through the Graph API.
    Facebook,
    /// X, through its API v2.
    X,
}

impl Network {
    /// Every network.
    pub const ALL: [Self; 2] = [Self::Facebook, Self::X];

    /// The name in URLs, rows and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Facebook => "facebook",
            Self::X => "x",
        }
    }

    /// The name for people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Facebook => "Facebook",
            Self::X => "X",
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Network {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        Self::ALL.into_iter().find(|network| network.as_str() == text).ok_or(Unknown("network"))
    }
}

/// What sort of account a profile is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A person at Facebook.
    FacebookUser,
    /// An account at X.
    XProfile,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::FacebookUser, Self::XProfile];

    /// The name in ids and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FacebookUser => "facebook_user",
            Self::XProfile => "x_profile",
        }
    }

    /// The name for people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::FacebookUser => "Facebook profile",
            Self::XProfile => "X profile",
        }
    }

    /// The network where such accounts live.
    #[must_use]
    pub fn network(self) -> Network {
        match self {
            Self::FacebookUser => Network::Facebook,
            Self::XProfile => Network::X,
        }
    }

    /// After so long without a new access token the sweep asks for one, because the network ends grants that nobody
    /// uses (X after about six months). `None` where there is nothing that a machine could ask with.
    #[must_use]
    pub fn idle_limit(self) -> Option<SignedDuration> {
        match self {
            Self::FacebookUser => None,
            Self::XProfile => Some(SignedDuration::from_hours(30 * 24)),
        }
    }

    /// What `token` of this kind of profile gives; empty where the product has no such token.
    #[must_use]
    pub fn capabilities(self, token: TokenKind) -> &'static [Capability] {
        match (self, token) {
            (Self::FacebookUser, TokenKind::Acquisition) => &[Capability {
                usage: Use::SearchAcquisition,
                switch: Some(Switch::SearchAcquisition),
                scopes: &["pages_read_engagement"],
            }],
            (Self::FacebookUser, TokenKind::Interaction) => &[
                Capability { usage: Use::Publish, switch: None, scopes: &["pages_manage_posts"] },
                Capability { usage: Use::Reply, switch: None, scopes: &["pages_manage_engagement"] },
            ],
            (Self::XProfile, TokenKind::Interaction) => &[
                Capability {
                    usage: Use::PrivateMessages,
                    switch: Some(Switch::PrivateMessages),
                    scopes: &["dm.read", "dm.write"],
                },
                Capability { usage: Use::Publish, switch: None, scopes: &["tweet.write", "media.write"] },
                Capability { usage: Use::Reply, switch: None, scopes: &["tweet.write"] },
            ],
            (Self::XProfile, TokenKind::Acquisition) => &[],
        }
    }

    /// The scopes that every token of this kind needs, whatever it is used for.
    fn base_scopes(self) -> &'static [&'static str] {
        match self {
            Self::FacebookUser => &["public_profile"],
            Self::XProfile => &["users.read", "tweet.read", "offline.access"],
        }
    }

    /// The scopes to ask for, in a stable order and without repetition.
    #[must_use]
    pub fn scopes(self, token: TokenKind) -> Vec<&'static str> {
        let wanted = self.capabilities(token).iter().flat_map(|capability| capability.scopes);
        let mut scopes: Vec<&'static str> = Vec::new();
        for scope in self.base_scopes().iter().chain(wanted) {
            if !scopes.contains(scope) {
                scopes.push(scope);
            }
        }
        scopes
    }
}

impl FromStr for Kind {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(Unknown("profile kind"))
    }
}

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// Reads public posts; never leased for a write.
    Acquisition,
    /// Acts as the account: publishes, replies, reads private messages.
    Interaction,
}

impl TokenKind {
    /// Both kinds.
    pub const ALL: [Self; 2] = [Self::Acquisition, Self::Interaction];

    /// The name in ids and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Acquisition => "acquisition",
            Self::Interaction => "interaction",
        }
    }
}

impl FromStr for TokenKind {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(Unknown("token kind"))
    }
}

/// One thing a token can be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Use {
    /// Public posts, found by search.
    SearchAcquisition,
    /// Direct messages to and from the account.
    PrivateMessages,
    /// New posts.
    Publish,
    /// Replies to posts.
    Reply,
}

impl Use {
    /// Every use.
    pub const ALL: [Self; 4] = [Self::SearchAcquisition, Self::PrivateMessages, Self::Publish, Self::Reply];

    /// The name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SearchAcquisition => "search_acquisition",
            Self::PrivateMessages => "private_messages",
            Self::Publish => "publish",
            Self::Reply => "reply",
        }
    }
}

impl FromStr for Use {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        Self::ALL.into_iter().find(|usage| usage.as_str() == text).ok_or(Unknown("use"))
    }
}

/// What an owner must allow before a token is used for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Switch {
    /// Allows [`Use::SearchAcquisition`].
    SearchAcquisition,
    /// Allows [`Use::PrivateMessages`].
    PrivateMessages,
}

impl Switch {
    /// The name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SearchAcquisition => "search_acquisition",
            Self::PrivateMessages => "private_messages",
        }
    }
}

/// A row of the capability table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// What it gives.
    pub usage: Use,
    /// What the owner must have turned on.
    pub switch: Option<Switch>,
    /// What the network must have granted.
    pub scopes: &'static [&'static str],
}

/// Whether an account's id at its network is one to make keys and paths of: 1 to 64 of `[A-Za-z0-9_.]`.
#[must_use]
pub fn is_account_id(id: &str) -> bool {
    let harmless = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    (1..=64).contains(&id.len()) && id.chars().all(harmless)
}

/// The id of a profile: `<kind>-<id at the network>`, for example `x_profile-42`.
///
/// It is natural, so that connecting the same account twice cannot make two profiles.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProfileId {
    kind: Kind,
    external_id: String,
}

impl ProfileId {
    /// The profile of the account `external_id` of a network.
    ///
    /// # Errors
    /// When it [is none](is_account_id): such an id could reach into another row's key.
    pub fn new(kind: Kind, external_id: &str) -> Result<Self, Unknown> {
        if !is_account_id(external_id) {
            return Err(Unknown("account id"));
        }
        Ok(Self { kind, external_id: external_id.to_owned() })
    }

    /// The kind of profile.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The account's id at the network.
    #[must_use]
    pub fn external_id(&self) -> &str {
        &self.external_id
    }
}

impl fmt::Display for ProfileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.kind.as_str(), self.external_id)
    }
}

impl FromStr for ProfileId {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        let (kind, external_id) = text.split_once('-').ok_or(Unknown("profile"))?;
        Self::new(kind.parse()?, external_id)
    }
}

impl Serialize for ProfileId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ProfileId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A name that the product does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no {0} that is known here")]
pub struct Unknown(pub &'static str);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_capability_table_reads_as_the_product_says() {
        use Switch::{PrivateMessages as Messages, SearchAcquisition as Search};
        use TokenKind::{Acquisition, Interaction};
        for (kind, token, gives) in [
            (Kind::FacebookUser, Acquisition, vec![(Use::SearchAcquisition, Some(Search))]),
            (Kind::FacebookUser, Interaction, vec![(Use::Publish, None), (Use::Reply, None)]),
            (Kind::XProfile, Acquisition, vec![]),
            (
                Kind::XProfile,
                Interaction,
                vec![(Use::PrivateMessages, Some(Messages)), (Use::Publish, None), (Use::Reply, None)],
            ),
        ] {
            let table: Vec<_> = kind.capabilities(token).iter().map(|row| (row.usage, row.switch)).collect();
            assert_eq!(table, gives, "{kind:?} {token:?}");
        }
    }

    #[test]
    fn scopes_are_asked_for_once_and_in_order() {
        assert_eq!(
            Kind::XProfile.scopes(TokenKind::Interaction),
            ["users.read", "tweet.read", "offline.access", "dm.read", "dm.write", "tweet.write", "media.write"]
        );
    }

    #[test]
    fn a_profile_id_is_read_back_as_it_was_written() {
        let id = ProfileId::new(Kind::XProfile, "42").unwrap();
        assert_eq!(id.to_string(), "x_profile-42");
        assert_eq!("x_profile-42".parse(), Ok(id));
    }

    #[test]
    fn an_id_that_could_reach_into_another_key_is_refused() {
        for id in ["", "4#2", "4/2", "4-2", "x y", "4\n2", "é", &"1".repeat(65)] {
            assert!(ProfileId::new(Kind::XProfile, id).is_err(), "{id:?}");
        }
        for text in ["x_profile", "x_profile-", "myspace-1", "-1", "x_profile-1#TOKEN"] {
            assert!(text.parse::<ProfileId>().is_err(), "{text:?}");
        }
    }
}
