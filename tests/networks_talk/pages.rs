//! Facebook Pages: listing those that a person administers, and deriving and checking a Page's own token.

use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use shared::{
    network::{Candidate, Failure, Grant, Hindrance, Identity},
    profile::{Kind, Network, ProfileId},
    token::Reason,
};

use super::{Answer, Conversation, NOW, answer, app, converse, grant, inspection, now, ok, shown};

const FACEBOOK: Network = Network::Facebook;

fn page() -> ProfileId {
    "facebook_page-2001".parse().unwrap()
}

fn sign_in(lists: impl IntoIterator<Item = Value>) -> Conversation<Identity> {
    let me = json!({ "id": "1001", "name": "Alice Meyer" });
    let answers: Vec<Answer> =
        [ok(&inspection()), ok(&me)].into_iter().chain(lists.into_iter().map(|list| ok(&list))).collect();
    converse(FACEBOOK.provider().identify(&app(FACEBOOK), Kind::FacebookPage, &grant(), now()), answers)
}

fn derive(answers: impl IntoIterator<Item = Answer>) -> Conversation<Grant> {
    let talk = FACEBOOK.provider().refresh(&app(FACEBOOK), &page(), &"the-user-token".into(), now());
    converse(talk.unwrap(), answers)
}

fn of_page(id: &str) -> Value {
    let mut told = inspection();
    told["data"]["type"] = json!("PAGE");
    told["data"]["profile_id"] = json!(id);
    told["data"]["expires_at"] = json!(0);
    told
}

#[test]
fn every_page_is_listed_and_those_without_a_role_say_so() {
    let entry = |id: &str, tasks: &[&str]| json!({ "id": id, "name": format!("Page {id}"), "tasks": tasks });
    let first = json!({
        "data": [entry("2001", &["ANALYZE", "MESSAGING"]), entry("2002", &["ANALYZE", "ADVERTISE"])],
        "paging": { "cursors": { "before": "a", "after": "b" }, "next": "https://graph.facebook.com/next" },
    });
    let mut unnamed = entry("2003", &["MANAGE"]);
    unnamed["name"] = json!("\u{7}");
    let second = json!({
        "data": [unnamed, json!({ "id": "2004", "name": "No tasks told" })],
        "paging": { "cursors": { "before": "c", "after": "d" } },
    });
    let Conversation { asked, outcome } = sign_in([first, second]);
    let urls: Vec<_> = asked[2..].iter().map(|request| request.url.as_str()).collect();
    assert_eq!(urls, ["https://graph.facebook.com/v26.0/me/accounts"; 2]);
    let after: Vec<_> = shown(&asked[3].query).into_iter().filter(|(name, _)| *name == "after").collect();
    assert_eq!(after, [("after", "b".to_owned())]);
    assert!(
        shown(&asked[2].query).contains(&("fields", "id,name,tasks".to_owned())),
        "no Page's token is brought here"
    );
    let identity = outcome.unwrap();
    assert_eq!((identity.account.external_id.as_str(), identity.account.login.as_str()), ("1001", "1001"));
    let candidate = |id: &str, name: &str, hindrance| Candidate {
        profile: format!("facebook_page-{id}").parse().unwrap(),
        name: name.to_owned(),
        hindrance,
    };
    assert_eq!(
        identity.candidates,
        [
            candidate("2001", "Page 2001", None),
            candidate("2002", "Page 2002", Some(Hindrance::RoleMissing)),
            candidate("2003", "2003", None),
            candidate("2004", "No tasks told", None),
        ]
    );
    assert_eq!(sign_in([json!({ "data": [] })]).outcome.unwrap().candidates, []);
}

// S67
#[test]
fn a_list_without_an_end_is_read_for_a_while_and_nonsense_not_at_all() {
    let entries: Vec<_> = (0..100).map(|id| json!({ "id": id.to_string(), "name": "Page" })).collect();
    let endless =
        json!({ "data": entries, "paging": { "cursors": { "after": "b" }, "next": "https://graph.facebook.com" } });
    let Conversation { asked, outcome } = sign_in(std::iter::repeat_n(endless, 20));
    assert_eq!((asked.len(), outcome.unwrap().candidates.len()), (12, 1_000));
    for nonsense in
        [json!({}), json!({ "data": {} }), json!({ "data": [{ "name": "x" }] }), json!({ "data": [{ "id": "../me" }] })]
    {
        assert_eq!(
            sign_in([nonsense.clone()]).outcome.err(),
            Some(Failure::Unreadable("facebook accounts")),
            "{nonsense}"
        );
    }
}

#[test]
fn a_pages_token_is_derived_from_the_persons_and_counts_once_it_was_checked() {
    let derived = json!({ "id": "2001", "name": "Acme", "access_token": "the-page-token" });
    let Conversation { asked, outcome } = derive([ok(&derived), ok(&of_page("2001"))]);
    assert_eq!(asked[0].url.as_str(), "https://graph.facebook.com/v26.0/2001");
    assert!(shown(&asked[0].query).contains(&("access_token", "the-user-token".to_owned())));
    assert_eq!(asked[1].url.as_str(), "https://graph.facebook.com/v26.0/debug_token");
    assert_eq!(shown(&asked[1].query)[0], ("input_token", "the-page-token".to_owned()));
    let grant = outcome.unwrap();
    assert_eq!(grant.access_token.expose_secret(), "the-page-token");
    assert!(grant.refresh_token.is_none(), "the person's token stays");
    let data_access = jiff::Timestamp::from_second(NOW + 7_776_000).unwrap();
    assert_eq!((grant.terms.access_expires_at, grant.terms.expires_at), (None, Some(data_access)));

    let mut persons = of_page("2001");
    persons["data"]["type"] = json!("USER");
    for wrong in [of_page("2002"), persons, inspection()] {
        let outcome = derive([ok(&derived), ok(&wrong)]).outcome;
        assert_eq!(outcome.err(), Some(Failure::Unreadable("facebook debug_token")), "{wrong}");
    }
}

#[test]
fn a_page_that_gives_no_token_any_more_is_one_without_a_role() {
    let error = |code: i64, subcode: i64| json!({ "error": { "message": "words", "type": "OAuthException", "code": code, "error_subcode": subcode } });
    for (status, body, meaning) in [
        (200, json!({ "id": "2001", "name": "Acme" }), Failure::Dead(Reason::RoleLost)),
        (200, json!({ "id": "2001", "access_token": "" }), Failure::Dead(Reason::RoleLost)),
        (400, error(100, 33), Failure::Dead(Reason::RoleLost)),
        (400, error(190, 492), Failure::Dead(Reason::RoleLost)),
        (400, error(190, 463), Failure::Dead(Reason::Expired)),
        (400, error(190, 460), Failure::Dead(Reason::PasswordChanged)),
        (400, error(190, 458), Failure::Dead(Reason::AppRemoved)),
        (403, error(200, 0), Failure::Forbidden),
        (200, json!({ "id": "2002", "access_token": "x" }), Failure::Unreadable("facebook page")),
        (500, json!("words"), Failure::Unavailable),
    ] {
        assert_eq!(derive([answer(status, body.to_string())]).outcome.err(), Some(meaning), "{status} {body}");
    }
}

#[test]
fn a_pages_token_is_inspected_as_that_of_the_page() {
    let me = json!({ "id": "2001", "name": "Acme" });
    let inspect = |answers: [Answer; 2]| {
        converse(FACEBOOK.provider().inspect(&app(FACEBOOK), &page(), &grant(), now()), answers).outcome
    };
    assert_eq!(inspect([ok(&of_page("2001")), ok(&me)]).unwrap().scopes, ["public_profile", "pages_read_engagement"]);
    assert!(inspect([ok(&of_page("2002")), ok(&me)]).is_err());
    assert!(inspect([ok(&inspection()), ok(&me)]).is_err(), "the person's token is no Page's");
}

#[test]
fn what_was_granted_is_revoked_with_the_persons_token() {
    let provider = FACEBOOK.provider();
    let revoking = converse(provider.revoke(&app(FACEBOOK), &grant(), "1001"), [ok(&json!({ "success": true }))]);
    assert!(shown(&revoking.asked[0].query).contains(&("access_token", "refresh".to_owned())));
}
