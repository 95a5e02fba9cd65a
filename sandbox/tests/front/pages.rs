//! What people see and press, page by page.

use std::collections::BTreeMap;

use cookie::Cookie;
use reqwest::{Client, RequestBuilder, StatusCode};
use sandbox::{Sandbox, networks::Network};
use serde_json::{Value, json};
use url::Url;

use crate::{browser, knock, page, start};

/// Every kind of profile: a token that it has, an account, and its name with its article.
const KINDS: [(&str, &str, &str, &str); 5] = [
    ("facebook_user", "acquisition", "alice.meyer", "A Facebook profile"),
    ("facebook_page", "interaction", "bob.stone", "A Facebook Page"),
    ("instagram_account", "acquisition", "harbour.photos", "An Instagram account"),
    ("x_profile", "interaction", "newsdesk", "An X profile"),
    ("youtube_channel", "interaction", "harbour.tv", "A YouTube channel"),
];

/// Somebody at a browser.
struct Visitor<'a> {
    sandbox: &'a Sandbox,
    http: Client,
    cookies: BTreeMap<String, String>,
}

struct Shown {
    status: StatusCode,
    location: Option<Url>,
    body: String,
}

impl Shown {
    fn location(self) -> Url {
        self.location.unwrap_or_else(|| panic!("{} leads nowhere: {}", self.status, self.body))
    }

    #[track_caller]
    fn says(&self, words: &[&str]) -> &Self {
        for words in words {
            assert!(self.body.contains(words), "{words:?} is missing: {}", self.body);
        }
        self
    }

    #[track_caller]
    fn keeps_silent_of(&self, words: &[&str]) -> &Self {
        for words in words {
            assert!(!self.body.contains(words), "{words:?} is there: {}", self.body);
        }
        self
    }
}

impl<'a> Visitor<'a> {
    async fn signed_in(sandbox: &'a Sandbox, person: &str) -> Self {
        let mut visitor = Self { sandbox, http: browser(), cookies: BTreeMap::new() };
        visitor.press(&[("action", "sign_in"), ("person", person)]).await;
        visitor
    }

    async fn open(&mut self, path: &str) -> Shown {
        let url = Url::parse(self.sandbox.url()).unwrap().join(path).unwrap();
        self.send(self.http.get(url)).await
    }

    async fn submit(&mut self, path: &str, form: &[(&str, &str)]) -> Shown {
        self.send(self.http.post(format!("{}{path}", self.sandbox.url())).form(form)).await
    }

    /// Presses a button of the console.
    async fn press(&mut self, form: &[(&str, &str)]) -> Shown {
        self.submit("/console", form).await
    }

    /// Approves at the network; the address at which the browser comes back.
    async fn approve(&mut self, connect_url: &Url, account: &str) -> Url {
        let consent = self.open(connect_url.as_str()).await.location();
        let mut form: Vec<_> = consent.query_pairs().into_owned().collect();
        form.extend([("decision", "approve"), ("account", account)].map(|(name, value)| (name.into(), value.into())));
        let callback = self.send(self.http.post(consent).form(&form)).await.location();
        self.open(callback.as_str()).await.location()
    }

    /// Presses a button to connect, and approves.
    async fn connect(&mut self, kind: &str, token: &str, account: &str) -> Url {
        let begun = self.press(&[("action", "connect"), ("kind", kind), ("token", token)]).await.location();
        self.approve(&begun, account).await
    }

    /// A session that leads back to the start page, as from a shell.
    async fn begin_from_shell(&self, person: &str, kind: &str, token: &str) -> Url {
        let wish = json!({ "kind": kind, "token": token, "return_url": format!("{}/", self.sandbox.url()) });
        let request = self.http.post(format!("{}/v1/connect-sessions", self.sandbox.url())).json(&wish);
        let answer = request.bearer_auth(self.sandbox.issuer().sign_in(person).unwrap()).send().await.unwrap();
        let session: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        Url::parse(session["connect_url"].as_str().unwrap()).unwrap()
    }

    async fn send(&mut self, request: RequestBuilder) -> Shown {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let answer = request.header("cookie", cookies.join("; ")).send().await.unwrap();
        for line in answer.headers().get_all("set-cookie") {
            let cookie = Cookie::parse(line.to_str().unwrap()).unwrap();
            self.cookies.insert(cookie.name().to_owned(), cookie.value().to_owned());
        }
        let location = answer.headers().get("location");
        let location = location.map(|location| answer.url().join(location.to_str().unwrap()).unwrap());
        Shown { status: answer.status(), location, body: answer.text().await.unwrap() }
    }
}

fn carried(back: &Url) -> (String, String) {
    let pairs: BTreeMap<_, _> = back.query_pairs().into_owned().collect();
    (pairs["connect_session"].clone(), pairs["completion_code"].clone())
}

#[tokio::test]
async fn pages_are_ticked_in_a_form_and_what_is_refused_is_mended_without_signing_in_again() {
    let sandbox = start().await;
    let mut alice = Visitor::signed_in(&sandbox, "alice").await;
    let back = alice.connect("facebook_page", "interaction", "alice.meyer").await;
    alice.open(back.as_str()).await.says(&[
        "Which Facebook Pages?",
        "value=\"facebook_page-2001\">",
        "value=\"facebook_page-2003\" disabled",
        "Cannot be connected: the role on it allows nothing that a token is used for.",
    ]);

    let (session, code) = carried(&back);
    let came_back = [("connect_session", &*session), ("completion_code", &*code)];
    let choose = |pages: &[&'static str]| {
        [&came_back, &*pages.iter().map(|page| ("selected", *page)).collect::<Vec<_>>()].concat()
    };
    let throttle = json!({ "target": "facebook/page", "mode": "throttle", "times": 9 });
    for (pages, status, words) in [
        (vec![], 400, "1 to 25"),
        (vec!["facebook_page-2002", "facebook_page-2003"], 409, "Harbour Museum cannot be connected"),
        (vec!["facebook_page-2002"], 429, "It is worth another try in"),
    ] {
        if status == 429 {
            knock(&sandbox, reqwest::Method::PUT, "faults", &throttle).await;
        }
        let refused = alice.submit("/console/choose", &choose(&pages)).await;
        assert_eq!(refused.status.as_u16(), status, "{}", refused.body);
        refused.says(&["Which Facebook Pages?", words]);
        let ticked = "value=\"facebook_page-2002\" checked";
        assert_eq!(refused.body.contains(ticked), pages.contains(&"facebook_page-2002"), "{}", refused.body);
    }
    knock(&sandbox, reqwest::Method::DELETE, "faults", &Value::Null).await;

    let connected = alice.submit("/console/choose", &choose(&["facebook_page-2001", "facebook_page-2002"])).await;
    assert_eq!(connected.location().query(), Some("done=connected"));
    alice.open("/console").await.says(&["Harbour News", "Harbour Sailing Club"]).keeps_silent_of(&["Harbour Museum"]);
    let again = alice.submit("/console/choose", &choose(&["facebook_page-2001"])).await;
    again.says(&["That did not work", "already_completed"]);
}

#[tokio::test]
async fn the_command_to_complete_a_session_selects_what_can_be_connected() {
    let sandbox = start().await;
    let mut alice = Visitor::signed_in(&sandbox, "alice").await;
    let begun = alice.begin_from_shell("alice", "facebook_page", "interaction").await;
    let back = alice.approve(&begun, "alice.meyer").await;
    let shown = alice.open(back.as_str()).await;
    let selected = json!({ "selected": ["facebook_page-2001", "facebook_page-2002"] }).to_string();
    let selected = selected.trim_matches(['{', '}']).replace('"', "&quot;");
    shown.says(&[&selected, "Harbour Museum", "cannot be connected: the role on it"]);
    // it is nobody else's to look at
    let mut bob = Visitor::signed_in(&sandbox, "bob").await;
    bob.open(back.as_str()).await.says(&["/complete"]).keeps_silent_of(&["selected", "Harbour Museum"]);
}

#[tokio::test]
async fn every_kind_is_connected_by_its_button_and_deleted_again() {
    let sandbox = start().await;
    let mut alice = Visitor::signed_in(&sandbox, "alice").await;
    for (kind, token, account, name) in KINDS {
        let back = alice.connect(kind, token, account).await;
        let mut done = alice.open(back.as_str()).await;
        if kind == "facebook_page" {
            let (session, code) = carried(&back);
            let choice =
                [("connect_session", &*session), ("completion_code", &code), ("selected", "facebook_page-2001")];
            done = alice.submit("/console/choose", &choice).await;
        }
        assert_eq!(done.location().query(), Some("done=connected"), "{kind}");
        alice.open("/console?list=owned").await.says(&[name, "token of alice"]);
    }
    for profile in ["facebook_user-1001", "x_profile-42"] {
        let told = alice.press(&[("action", "delete_profile"), ("profile", profile)]).await;
        told.says(&["The profile is deleted", "revoked there"]).keeps_silent_of(&[&format!("<code>{profile}</code>")]);
    }
}

#[tokio::test]
async fn a_profile_is_shared_given_up_and_claimed_by_a_button_each() {
    let sandbox = start().await;
    let mut alice = Visitor::signed_in(&sandbox, "alice").await;
    let mut bob = Visitor::signed_in(&sandbox, "bob").await;
    let profile = ("profile", "x_profile-42");
    let back = alice.connect("x_profile", "interaction", "newsdesk").await;
    assert_eq!(alice.open(back.as_str()).await.location().query(), Some("done=connected"));
    let switch = [("token", "interaction-alice"), ("switch", "private_messages"), ("to", "on")];
    alice.press(&[&[("action", "allow"), profile], &switch[..]].concat()).await;

    bob.open("/console?list=shared").await.says(&["Nobody shares a profile with you."]);
    let shared = alice.press(&[("action", "share"), profile, ("to", "on")]).await.location();
    alice.open(shared.as_str()).await.says(&["The profile is shared", "everybody in the role responder or manager"]);
    bob.open("/console?list=shared").await.says(&["News Desk", "Claim"]).keeps_silent_of(&["Give up ownership"]);
    let unshared = alice.press(&[("action", "share"), profile, ("to", "off")]).await.location();
    alice.open(unshared.as_str()).await.says(&["no longer shared"]);
    bob.open("/console?list=shared").await.keeps_silent_of(&["News Desk"]);

    let given_up = alice.press(&[("action", "give_up"), profile]).await;
    given_up.says(&["You gave the profile up", "It was the last valid token for private messages", "no owner"]);
    alice.open("/console?list=owned").await.says(&["You own no profile."]);
    bob.open("/console?list=without_owners").await.says(&["News Desk", "Delete the profile"]);

    let begun = bob.press(&[("action", "reauthenticate"), profile, ("token", "interaction")]).await.location();
    let back = bob.approve(&begun, "newsdesk").await;
    assert_eq!(bob.open(back.as_str()).await.location().query(), Some("done=connected"));
    bob.open("/console?list=owned").await.says(&["Interaction token of bob", "Give up ownership"]);
    let deleted = bob.press(&[("action", "delete_token"), profile, ("token", "interaction-bob")]).await;
    deleted.says(&["The token is deleted", "revoked there", "Add a token"]);
}

#[tokio::test]
async fn why_nothing_was_connected_is_told_also_to_whoever_has_to_sign_in_first() {
    let sandbox = start().await;
    let mut alice = Visitor::signed_in(&sandbox, "alice").await;
    let back = alice.connect("facebook_page", "interaction", "unknown.expiry").await;
    alice.press(&[("action", "sign_out")]).await;
    let asked = alice.open(back.as_str()).await;
    asked.says(&["Who are you?", "value=\"no_account\""]);
    let session = back.query_pairs().find(|(name, _)| name == "connect_session").unwrap().1;
    let signs_in = [("action", "sign_in"), ("person", "alice"), ("connect_session", &session), ("error", "no_account")];
    let told = alice.press(&signs_in).await.location();
    alice.open(told.as_str()).await.says(&["Nothing was connected", "no Facebook Page"]);
}

#[tokio::test]
async fn the_start_page_shows_how_to_complete_a_session_and_never_what_a_stranger_would_have_pasted() {
    let sandbox = start().await;
    let shown = page(&sandbox, "/?connect_session=abc&completion_code=abc.def").await;
    assert!(shown.contains("/v1/connect-sessions/abc/complete") && shown.contains("abc.def"), "{shown}");
    let damaged = page(&sandbox, "/?connect_session=abc&completion_code=%27%3B%20rm%20-rf%20~%3B%27").await;
    assert!(!damaged.contains("rm -rf") && !damaged.contains("abc/complete"), "{damaged}");
    let refused = page(&sandbox, "/?connect_session=abc&error=%3Cscript%3E").await;
    assert!(refused.contains("&lt;script&gt;") && !refused.contains("<script>"), "{refused}");
}

#[tokio::test]
async fn the_start_page_lists_every_account_of_every_network_and_what_can_happen_to_it() {
    let sandbox = start().await;
    let shown = page(&sandbox, "/").await;
    for network in Network::ALL {
        for name in network.accounts().iter().map(|account| account.name).chain(network.events()) {
            assert!(shown.contains(&format!("<code>{name}</code>")), "{name} of {network:?}");
        }
    }
}

#[tokio::test]
async fn opening_the_link_of_a_mail_begins_nothing() {
    let sandbox = start().await;
    let asked = page(&sandbox, "/reauthenticate?profile=facebook_user-1001&token=acquisition").await;
    assert!(asked.contains("Who are you?") && asked.contains("facebook_user-1001"), "{asked}");
    assert_eq!(sandbox.faults().calls(), []);
}

#[tokio::test]
async fn what_the_api_refuses_is_shown_in_its_own_words() {
    let sandbox = start().await;
    let signed_in = browser().post(format!("{}/reauthenticate", sandbox.url())).form(&[
        ("person", "carol"),
        ("profile", "facebook_user-1001"),
        ("token", "acquisition"),
    ]);
    let refused = signed_in.send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let cookie = refused.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.starts_with("sandbox_person=carol;"), "{cookie}");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    let shown = refused.text().await.unwrap();
    assert!(shown.contains("Not allowed") && shown.contains("responder or manager"), "{shown}");
}
