//! Rules: the second step of acquisition.
//!
//! A token that its owner allowed is leased for search acquisition or private messages only where a rule
//! says so. A rule names a topic and what it covers: a network, or profiles. What it is for never
//! changes, so that a worker that knows a rule knows what it may ask for with it.

use std::{collections::BTreeSet, fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    access::Subject,
    profile::{Kind, Network, ProfileId, TokenKind, Unknown, Use},
    random::Random,
};

/// The id of a rule: 128 random bits, base64url.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct RuleId(String);

impl RuleId {
    /// A new id.
    #[must_use]
    pub fn new(random: &Random) -> Self {
        Self(URL_SAFE_NO_PAD.encode(random.bytes::<16>()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RuleId {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for RuleId {
    type Error = Unknown;

    fn try_from(text: String) -> Result<Self, Unknown> {
        let base64url = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        (text.len() == 22 && text.bytes().all(base64url)).then_some(Self(text)).ok_or(Unknown("rule"))
    }
}

/// What a rule is about, in its maker's words: 1 to 200 characters, not just spaces, no control characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Topic(String);

impl Topic {
    /// The topic as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Topic {
    type Error = Unknown;

    fn try_from(text: String) -> Result<Self, Unknown> {
        if text.trim().is_empty() || text.chars().count() > 200 || text.chars().any(char::is_control) {
            return Err(Unknown("topic"));
        }
        Ok(Self(text))
    }
}

/// What an acquisition or private-message lease needs beside a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Its id.
    pub id: RuleId,
    /// What it is about.
    pub topic: Topic,
    /// Who made it, and may edit it.
    pub owner: Subject,
    /// When it was made.
    pub created_at: Timestamp,
    /// What it covers.
    #[serde(flatten)]
    pub of: RuleOf,
}

/// What a rule covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "use", rename_all = "snake_case")]
pub enum RuleOf {
    /// Search acquisition at a network, with any token of its pool.
    SearchAcquisition {
        /// The network.
        network: Network,
    },
    /// The private messages of profiles.
    PrivateMessages {
        /// The profiles.
        profile_ids: BTreeSet<ProfileId>,
    },
}

/// Why there can be no rule that covers this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRule {
    /// Other uses need none.
    #[error("{} needs no rule", .0.as_str())]
    NotNeeded(Use),
    /// A rule for search acquisition names a network and nothing else, one for private messages profiles.
    #[error("a rule names a network for search_acquisition, profile_ids for private_messages, and nothing else")]
    Misfit,
    /// No token of this network is used for search acquisition.
    #[error("{} has no search acquisition", .0.title())]
    NoSearch(Network),
    /// A profile of this kind has no private messages.
    #[error("{}s have no private messages", .0.title())]
    NoMessages(Kind),
    /// A rule names 1 to 100 profiles.
    #[error("a rule names 1 to {LONGEST_LIST} profiles")]
    Profiles,
}

/// The most profiles that a rule names.
const LONGEST_LIST: usize = 100;

impl RuleOf {
    /// What a rule for `usage` covers when these are named.
    ///
    /// # Errors
    /// When it makes no sense, see [`NoRule`].
    pub fn new(usage: Use, network: Option<Network>, profile_ids: Option<BTreeSet<ProfileId>>) -> Result<Self, NoRule> {
        match (usage, network, profile_ids) {
            (Use::SearchAcquisition, Some(network), None) => {
                let mut kinds = Kind::ALL.into_iter().filter(|kind| kind.network() == network);
                if !kinds.any(|kind| gives(kind, TokenKind::Acquisition, usage)) {
                    return Err(NoRule::NoSearch(network));
                }
                Ok(Self::SearchAcquisition { network })
            }
            (Use::PrivateMessages, None, Some(profile_ids)) => {
                if !(1..=LONGEST_LIST).contains(&profile_ids.len()) {
                    return Err(NoRule::Profiles);
                }
                let mut kinds = profile_ids.iter().map(ProfileId::kind);
                match kinds.find(|kind| !gives(*kind, TokenKind::Interaction, usage)) {
                    Some(kind) => Err(NoRule::NoMessages(kind)),
                    None => Ok(Self::PrivateMessages { profile_ids }),
                }
            }
            (Use::SearchAcquisition | Use::PrivateMessages, ..) => Err(NoRule::Misfit),
            (Use::Publish | Use::Reply | Use::AuthorInfo | Use::Comment | Use::Rate, ..) => {
                Err(NoRule::NotNeeded(usage))
            }
        }
    }

    /// The use that it is for.
    #[must_use]
    pub fn usage(&self) -> Use {
        match self {
            Self::SearchAcquisition { .. } => Use::SearchAcquisition,
            Self::PrivateMessages { .. } => Use::PrivateMessages,
        }
    }
}

fn gives(kind: Kind, token: TokenKind, usage: Use) -> bool {
    kind.capabilities(token).iter().any(|capability| capability.usage == usage)
}

impl Rule {
    /// Whether a lease for `usage` at `network`, of `profile` where the lease names one, may go by this rule.
    #[must_use]
    pub fn covers(&self, usage: Use, network: Network, profile: Option<&ProfileId>) -> bool {
        usage == self.of.usage()
            && match &self.of {
                RuleOf::SearchAcquisition { network: covered } => *covered == network,
                RuleOf::PrivateMessages { profile_ids } => profile.is_some_and(|profile| profile_ids.contains(profile)),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEWSDESK: &str = "x_profile-42";
    const SUPPORT: &str = "x_profile-43";

    fn profiles(ids: &[&str]) -> BTreeSet<ProfileId> {
        ids.iter().map(|id| id.parse().unwrap()).collect()
    }

    fn rule(of: RuleOf) -> Rule {
        Rule {
            id: RuleId::new(&Random::system()),
            topic: Topic::try_from("Floods".to_owned()).unwrap(),
            owner: "alice".parse().unwrap(),
            created_at: Timestamp::UNIX_EPOCH,
            of,
        }
    }

    #[test]
    fn a_rule_covers_the_use_that_it_is_for_where_it_says_so() {
        use Use::{PrivateMessages, Publish, Reply, SearchAcquisition};
        let (facebook, x) = (Network::Facebook, Network::X);
        let search = rule(RuleOf::new(SearchAcquisition, Some(facebook), None).unwrap());
        let messages = rule(RuleOf::new(PrivateMessages, None, Some(profiles(&[NEWSDESK]))).unwrap());
        for (rule, usage, network, profile, covered) in [
            (&search, SearchAcquisition, facebook, None, true),
            (&search, SearchAcquisition, facebook, Some("facebook_user-1001"), true),
            (&search, SearchAcquisition, x, None, false),
            (&search, PrivateMessages, facebook, None, false),
            (&search, Publish, facebook, None, false),
            (&messages, PrivateMessages, x, Some(NEWSDESK), true),
            (&messages, PrivateMessages, x, Some(SUPPORT), false),
            (&messages, PrivateMessages, x, None, false),
            (&messages, SearchAcquisition, x, Some(NEWSDESK), false),
            (&messages, Reply, x, Some(NEWSDESK), false),
        ] {
            let profile = profile.map(|id| id.parse().unwrap());
            assert_eq!(rule.covers(usage, network, profile.as_ref()), covered, "{rule:?} {usage:?} {profile:?}");
        }
    }

    #[test]
    fn a_rule_names_what_can_be_acquired() {
        use Use::{PrivateMessages, Publish, Reply, SearchAcquisition};
        let (facebook, x) = (Some(Network::Facebook), Some(Network::X));
        let some = |ids: &[&str]| Some(profiles(ids));
        let many = |count| Some((1..=count).map(|id| format!("x_profile-{id}").parse().unwrap()).collect());
        for (usage, network, profile_ids, refused) in [
            (SearchAcquisition, facebook, None, None),
            (SearchAcquisition, x, None, Some(NoRule::NoSearch(Network::X))),
            (SearchAcquisition, None, None, Some(NoRule::Misfit)),
            (SearchAcquisition, facebook, some(&[NEWSDESK]), Some(NoRule::Misfit)),
            (SearchAcquisition, None, some(&[NEWSDESK]), Some(NoRule::Misfit)),
            (PrivateMessages, None, some(&[NEWSDESK, SUPPORT]), None),
            (PrivateMessages, None, many(100), None),
            (PrivateMessages, None, many(101), Some(NoRule::Profiles)),
            (PrivateMessages, None, some(&[]), Some(NoRule::Profiles)),
            (PrivateMessages, None, some(&[NEWSDESK, "facebook_user-1"]), Some(NoRule::NoMessages(Kind::FacebookUser))),
            (PrivateMessages, x, some(&[NEWSDESK]), Some(NoRule::Misfit)),
            (PrivateMessages, x, None, Some(NoRule::Misfit)),
            (Publish, x, None, Some(NoRule::NotNeeded(Publish))),
            (Reply, None, some(&[NEWSDESK]), Some(NoRule::NotNeeded(Reply))),
        ] {
            assert_eq!(RuleOf::new(usage, network, profile_ids).err(), refused, "{usage:?} {network:?}");
        }
    }

    #[test]
    fn a_rule_is_written_as_the_product_says_and_read_back() {
        for (of, json) in [
            (
                RuleOf::SearchAcquisition { network: Network::Facebook },
                r#""use":"search_acquisition","network":"facebook"}"#,
            ),
            (
                RuleOf::PrivateMessages { profile_ids: profiles(&[SUPPORT, NEWSDESK]) },
                r#""use":"private_messages","profile_ids":["x_profile-42","x_profile-43"]}"#,
            ),
        ] {
            let rule = rule(of);
            let written = serde_json::to_string(&rule).unwrap();
            assert!(written.ends_with(json), "{written}");
            assert_eq!(serde_json::from_str::<Rule>(&written).unwrap(), rule);
        }
    }

    // S36
    #[test]
    fn a_topic_is_short_and_on_one_line() {
        for topic in ["x", "Überschwemmung 2026 – #flood", &"ä".repeat(200)] {
            assert!(Topic::try_from(topic.to_owned()).is_ok(), "{topic:?}");
        }
        for topic in ["", "  ", "a\nb", "\u{0}", "a\u{85}", &"x".repeat(201)] {
            assert!(Topic::try_from(topic.to_owned()).is_err(), "{topic:?}");
        }
    }

    #[test]
    fn an_id_that_could_reach_into_another_key_is_refused() {
        for id in ["", "A", &"A".repeat(21), &"A".repeat(23), "AAAAAAAAAAAAAAAAAAAAA#", "AAAAAAAAAAAAAAAAAAAAé"] {
            assert!(id.parse::<RuleId>().is_err(), "{id:?}");
        }
        let id = RuleId::new(&Random::system());
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}
