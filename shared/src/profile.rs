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
    /// Instagram's professional accounts, through Instagram Login.
    Instagram,
    /// X, through its API v2.
    X,
    /// YouTube, through Google's sign-in.
    #[serde(rename = "youtube")]
    YouTube,
}

impl Network {
    /// Every network.
    pub const ALL: [Self; 4] = [Self::Facebook, Self::Instagram, Self::X, Self::YouTube];

    /// The name in URLs, rows and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Facebook => "facebook",
            Self::Instagram => "instagram",
            Self::X => "x",
            Self::YouTube => "youtube",
        }
    }

    /// The name for people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Facebook => "Facebook",
            Self::Instagram => "Instagram",
            Self::X => "X",
            Self::YouTube => "YouTube",
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
    /// A Page at Facebook, which people administer.
    FacebookPage,
    /// A professional account at Instagram.
    InstagramAccount,
    /// An account at X.
    XProfile,
    /// A channel at YouTube.
    #[serde(rename = "youtube_channel")]
    YouTubeChannel,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::FacebookUser, Self::FacebookPage, Self::InstagramAccount, Self::XProfile, Self::YouTubeChannel];

    /// The name in ids and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FacebookUser => "facebook_user",
            Self::FacebookPage => "facebook_page",
            Self::InstagramAccount => "instagram_account",
            Self::XProfile => "x_profile",
            Self::YouTubeChannel => "youtube_channel",
        }
    }

    /// The name for people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::FacebookUser => "Facebook profile",
            Self::FacebookPage => "Facebook Page",
            Self::InstagramAccount => "Instagram account",
            Self::XProfile => "X profile",
            Self::YouTubeChannel => "YouTube channel",
        }
    }

    /// The network where such accounts live.
    #[must_use]
    pub fn network(self) -> Network {
        match self {
            Self::FacebookUser | Self::FacebookPage => Network::Facebook,
            Self::InstagramAccount => Network::Instagram,
            Self::XProfile => Network::X,
            Self::YouTubeChannel => Network::YouTube,
        }
    }

    /// Whether one sign-in can connect several of them, chosen from those that the person administers.
    #[must_use]
    pub fn is_chosen(self) -> bool {
        self == Self::FacebookPage
    }

    /// How a machine keeps a credential of this kind alive.
    #[must_use]
    pub fn upkeep(self) -> Upkeep {
        match self {
            Self::FacebookUser => Upkeep::ByPerson,
            Self::FacebookPage => Upkeep::Derived,
            Self::InstagramAccount => {
                Upkeep::Ahead { margin: SignedDuration::from_hours(10 * 24), youngest: SignedDuration::from_hours(24) }
            }
            // X ends a grant after about six months without use, Google after six
            Self::XProfile | Self::YouTubeChannel => Upkeep::OnDemand { idle: SignedDuration::from_hours(30 * 24) },
        }
    }

    /// Whether its network ends credentials without a notice, so that it must be asked how they are: Meta "advises a
    /// check at least daily".
    #[must_use]
    pub fn dies_silently(self) -> bool {
        matches!(self.network(), Network::Facebook | Network::Instagram)
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
            (Self::FacebookPage, TokenKind::Interaction) => &[
                Capability {
                    usage: Use::PrivateMessages,
                    switch: Some(Switch::PrivateMessages),
                    scopes: &["pages_messaging", "pages_manage_metadata", "pages_manage_engagement"],
                },
                Capability { usage: Use::Publish, switch: None, scopes: &["pages_manage_posts"] },
                Capability { usage: Use::Reply, switch: None, scopes: &["pages_manage_engagement"] },
                Capability {
                    usage: Use::AuthorInfo,
                    switch: None,
                    scopes: &["pages_read_engagement", "pages_read_user_content"],
                },
            ],
            (Self::InstagramAccount, TokenKind::Acquisition) => &[Capability {
                usage: Use::SearchAcquisition,
                switch: Some(Switch::SearchAcquisition),
                scopes: &["instagram_business_basic"],
            }],
            (Self::XProfile, TokenKind::Interaction) => &[
                Capability {
                    usage: Use::PrivateMessages,
                    switch: Some(Switch::PrivateMessages),
                    scopes: &["dm.read", "dm.write"],
                },
                Capability { usage: Use::Publish, switch: None, scopes: &["tweet.write", "media.write"] },
                Capability { usage: Use::Reply, switch: None, scopes: &["tweet.write"] },
            ],
            (Self::YouTubeChannel, TokenKind::Interaction) => &[
                Capability { usage: Use::Comment, switch: None, scopes: YOUTUBE_WRITES },
                Capability { usage: Use::Rate, switch: None, scopes: YOUTUBE_WRITES },
                Capability { usage: Use::Reply, switch: None, scopes: YOUTUBE_WRITES },
            ],
            (Self::FacebookPage | Self::XProfile | Self::YouTubeChannel, TokenKind::Acquisition)
            | (Self::InstagramAccount, TokenKind::Interaction) => &[],
        }
    }

    /// The scopes that every token of this kind needs, whatever it is used for.
    fn base_scopes(self) -> &'static [&'static str] {
        match self {
            Self::FacebookUser => &["public_profile"],
            Self::FacebookPage => &["public_profile", "pages_show_list"],
            Self::InstagramAccount => &["instagram_business_basic"],
            Self::XProfile => &["users.read", "tweet.read", "offline.access"],
            Self::YouTubeChannel => &["openid", "https://www.googleapis.com/auth/youtube.readonly"],
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

/// What Google asks for comments, ratings and replies alike.
const YOUTUBE_WRITES: &[&str] = &["https://www.googleapis.com/auth/youtube.force-ssl"];

/// How a machine keeps a credential alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upkeep {
    /// Only a person can renew it.
    ByPerson,
    /// It has no end of its own and is derived again from the sign-in when the network refuses it.
    Derived,
    /// Its access tokens live for hours and are renewed when one is wanted.
    OnDemand {
        /// So long after an access token ended without anybody wanting another, the sweep renews it, because the
        /// network ends grants that nobody uses.
        idle: SignedDuration,
    },
    /// Its access tokens live for weeks and are renewed by the sweep; once one has ended, only a person can help.
    Ahead {
        /// So long before the end.
        margin: SignedDuration,
        /// The network renews none that is younger.
        youngest: SignedDuration,
    },
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
    /// Who wrote posts and comments.
    AuthorInfo,
    /// Comments below videos.
    Comment,
    /// Likes and dislikes of videos.
    Rate,
}

impl Use {
    /// Every use.
    pub const ALL: [Self; 7] = [
        Self::SearchAcquisition,
        Self::PrivateMessages,
        Self::Publish,
        Self::Reply,
        Self::AuthorInfo,
        Self::Comment,
        Self::Rate,
    ];

    /// The name in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SearchAcquisition => "search_acquisition",
            Self::PrivateMessages => "private_messages",
            Self::Publish => "publish",
            Self::Reply => "reply",
            Self::AuthorInfo => "author_info",
            Self::Comment => "comment",
            Self::Rate => "rate",
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

/// Whether an account's id at its network is one to make keys and paths of: 1 to 64 of `[A-Za-z0-9_.-]`.
#[must_use]
pub fn is_account_id(id: &str) -> bool {
    let harmless = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
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
        use Use::{AuthorInfo, Comment, PrivateMessages, Publish, Rate, Reply, SearchAcquisition};
        let search = vec![(SearchAcquisition, Some(Search))];
        let messages = (PrivateMessages, Some(Messages));
        for (kind, acquisition, interaction) in [
            (Kind::FacebookUser, search.clone(), vec![(Publish, None), (Reply, None)]),
            (Kind::FacebookPage, vec![], vec![messages, (Publish, None), (Reply, None), (AuthorInfo, None)]),
            (Kind::InstagramAccount, search, vec![]),
            (Kind::XProfile, vec![], vec![messages, (Publish, None), (Reply, None)]),
            (Kind::YouTubeChannel, vec![], vec![(Comment, None), (Rate, None), (Reply, None)]),
        ] {
            for (token, gives) in [(Acquisition, acquisition), (Interaction, interaction)] {
                let table: Vec<_> = kind.capabilities(token).iter().map(|row| (row.usage, row.switch)).collect();
                assert_eq!(table, gives, "{kind:?} {token:?}");
            }
        }
    }

    #[test]
    fn the_names_in_json_are_those_in_ids_and_paths() {
        let name = |value: serde_json::Value| value.as_str().unwrap().to_owned();
        for network in Network::ALL {
            assert_eq!(name(serde_json::json!(network)), network.as_str());
        }
        for kind in Kind::ALL {
            assert_eq!(name(serde_json::json!(kind)), kind.as_str());
        }
        for usage in Use::ALL {
            assert_eq!(name(serde_json::json!(usage)), usage.as_str());
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
        let channel = ProfileId::new(Kind::YouTubeChannel, "UC-a_b-C").unwrap();
        assert_eq!("youtube_channel-UC-a_b-C".parse(), Ok(channel));
    }

    #[test]
    fn an_id_that_could_reach_into_another_key_is_refused() {
        for id in ["", "4#2", "4/2", "4$2", "x y", "4\n2", "é", &"1".repeat(65)] {
            assert!(ProfileId::new(Kind::XProfile, id).is_err(), "{id:?}");
        }
        for text in ["x_profile", "x_profile-", "myspace-1", "-1", "x_profile-1#TOKEN"] {
            assert!(text.parse::<ProfileId>().is_err(), "{text:?}");
        }
    }
}
