//! What people see on the sandbox's own pages. The console is tested in a browser, by `tests/console`.

use reqwest::{Client, RequestBuilder};
use sandbox::{Sandbox, networks::Network};
use serde_json::{Value, json};
use url::Url;

use crate::{browser, page, start};

/// Where an answer leads the browser.
async fn follow(request: RequestBuilder) -> Url {
    let answer = request.send().await.unwrap();
    let location = answer.headers().get("location").unwrap_or_else(|| panic!("{} leads nowhere", answer.status()));
    answer.url().join(location.to_str().unwrap()).unwrap()
}

/// Begins a session that leads back to the start page, as from a shell, and approves at the network.
async fn comes_back(sandbox: &Sandbox, http: &Client, kind: &str, account: &str) -> Url {
    let wish = json!({ "kind": kind, "token": "interaction", "return_url": format!("{}/", sandbox.url()) });
    let asking = http.post(format!("{}/v1/connect-sessions", sandbox.url())).json(&wish);
    let answer = asking.bearer_auth(sandbox.issuer().sign_in("alice").unwrap()).send().await.unwrap();
    let session: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    let started = http.get(session["connect_url"].as_str().unwrap()).send().await.unwrap();
    let cookie = started.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let consent = Url::parse(started.headers()["location"].to_str().unwrap()).unwrap();
    let mut form: Vec<_> = consent.query_pairs().into_owned().collect();
    form.extend([("decision", "approve"), ("account", account)].map(|(name, value)| (name.into(), value.into())));
    let callback = follow(http.post(consent).form(&form)).await;
    follow(http.get(callback).header("cookie", cookie)).await
}

#[tokio::test]
async fn the_command_to_complete_a_session_selects_what_can_be_connected() {
    let sandbox = start().await;
    let http = browser();
    let back = comes_back(&sandbox, &http, "facebook_page", "alice.meyer").await;
    let shown = page(&sandbox, &format!("/?{}", back.query().unwrap())).await;
    let selected = json!({ "selected": ["facebook_page-2001", "facebook_page-2002"] }).to_string();
    let selected = selected.trim_matches(['{', '}']).replace('"', "&quot;");
    for words in [&*selected, "Harbour Museum", "cannot be connected: the role on it", "&quot;person&quot;:&quot;alice"]
    {
        assert!(shown.contains(words), "{words:?} is missing: {shown}");
    }
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
