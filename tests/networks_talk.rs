//! What we ask the networks and what we make of their answers, without a network: real-shaped answers, and every error
//! that they document.

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use shared::{
    apps::App,
    network::{Answer, Failure, Grant, Identity, Limit, LimitReach, Redemption, Request, Talk, Terms},
    profile::{Network, ProfileId, TokenKind},
};

mod facebook;
mod instagram;
mod pages;
mod x;
mod youtube;

const NOW: i64 = 1_795_000_000;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

pub(crate) fn app(network: Network) -> App {
    App {
        network,
        client_id: "app-1".to_owned(),
        client_secret: "app-secret".into(),
        consumer_secret: None,
        graph_version: "v26.0".to_owned(),
        tokens: TokenKind::ALL.to_vec(),
    }
}

/// A profile that one sign-in connects.
pub(crate) fn profile(network: Network) -> ProfileId {
    let id = match network {
        Network::Facebook => "facebook_user-1001",
        Network::Instagram => "instagram_account-17841400000000001",
        Network::X => "x_profile-42",
        Network::YouTube => "youtube_channel-UC-first",
    };
    id.parse().unwrap()
}

pub(crate) fn redemption() -> Redemption {
    Redemption {
        code: "the-code".into(),
        redirect_uri: "https://tokenward.example/oauth/callback/x".to_owned(),
        code_verifier: Some("the-verifier".into()),
        now: now(),
    }
}

pub(crate) fn grant() -> Grant {
    let terms = Terms { scopes: vec!["users.read".to_owned()], ..Terms::default() };
    Grant { access_token: "access".into(), refresh_token: Some("refresh".into()), terms }
}

/// What the network says when it is asked, step by step.
pub(crate) struct Conversation<T> {
    asked: Vec<Request>,
    pub(crate) outcome: Result<T, Failure>,
}

pub(crate) fn answer(status: u16, body: impl Into<Vec<u8>>) -> Answer {
    Answer { status: StatusCode::from_u16(status).unwrap(), headers: HeaderMap::new(), body: body.into().into() }
}

/// Answers a conversation until it ends; the last answer is repeated.
fn converse<T>(mut talk: Talk<T>, answers: impl IntoIterator<Item = Answer>) -> Conversation<T> {
    let (mut asked, mut answers) = (Vec::new(), answers.into_iter());
    loop {
        match talk {
            Talk::Done(result) => return Conversation { asked, outcome: Ok(result) },
            Talk::Ask(request, then) => {
                asked.push(*request);
                let answer = answers.next().expect("the conversation ends with the answers");
                match then(answer) {
                    Ok(next) => talk = next,
                    Err(failure) => return Conversation { asked, outcome: Err(failure) },
                }
            }
        }
    }
}

pub(crate) fn redeem(network: Network, answers: impl IntoIterator<Item = Answer>) -> Conversation<Grant> {
    let mut redemption = redemption();
    if !network.provider().supports_pkce() {
        redemption.code_verifier = None;
    }
    converse(network.provider().redeem(&app(network), redemption), answers)
}

pub(crate) fn identify(network: Network, answers: impl IntoIterator<Item = Answer>) -> Conversation<Identity> {
    converse(network.provider().identify(&app(network), profile(network).kind(), &grant(), now()), answers)
}

/// What an inspection of the profile's credential brings.
pub(crate) fn inspect(network: Network, answers: impl IntoIterator<Item = Answer>) -> Conversation<Terms> {
    converse(network.provider().inspect(&app(network), &profile(network), &grant(), now()), answers)
}

pub(crate) fn refresh(network: Network, answers: impl IntoIterator<Item = Answer>) -> Option<Conversation<Grant>> {
    let talk = network.provider().refresh(&app(network), &profile(network), &"old-refresh".into(), now());
    talk.map(|talk| converse(talk, answers))
}

/// What an answer means that somebody got with an access token.
pub(crate) fn judge(network: Network, answer: &Answer) -> Result<(), Failure> {
    network.provider().judge(answer, now())
}

fn limited(reach: LimitReach, seconds: u32) -> Failure {
    Failure::Limited(Limit { reach, seconds })
}

pub(crate) fn revoke(network: Network, answer: Answer) -> Result<(), Failure> {
    converse(network.provider().revoke(&app(network), &grant(), "1001"), [answer]).outcome
}

pub(crate) fn ok(body: &Value) -> Answer {
    answer(200, body.to_string())
}

/// Name and value of every parameter, in order.
fn shown(parameters: &[(&'static str, SecretString)]) -> Vec<(&'static str, String)> {
    parameters.iter().map(|(name, value)| (*name, value.expose_secret().to_owned())).collect()
}

fn pairs(pairs: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

pub(crate) fn x_token() -> Value {
    json!({
        "token_type": "bearer",
        "expires_in": 7200,
        "access_token": "new-access",
        "refresh_token": "new-refresh",
        "scope": "users.read tweet.read offline.access tweet.write",
    })
}

pub(crate) fn inspection() -> Value {
    json!({ "data": {
        "app_id": "app-1",
        "type": "USER",
        "application": "Tokenward",
        "is_valid": true,
        "expires_at": NOW + 5_183_944,
        "data_access_expires_at": NOW + 7_776_000,
        "issued_at": NOW,
        "scopes": ["public_profile", "pages_read_engagement"],
        "granular_scopes": [{ "scope": "pages_read_engagement", "target_ids": ["1"] }],
        "user_id": "1001",
    } })
}
