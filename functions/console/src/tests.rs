use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use sha2::{Digest as _, Sha256};
use shared::access::{Operation, Person, Relation, Role};
use tower::ServiceExt as _;

use super::*;

fn provider() -> SignIn {
    SignIn {
        issuer: "https://id.example/acme".to_owned(),
        token_origin: None,
        client_id: "console".to_owned(),
        scope: "openid".to_owned(),
        roles_claim: "roles".to_owned(),
        groups_claim: "groups".to_owned(),
    }
}

async fn ask(path: &str, accepted: &str) -> (StatusCode, HeaderMap, Vec<u8>) {
    let routes = routes(Console::new(&provider()).unwrap(), Clock::system());
    let request = Request::get(path).header("accept-encoding", accepted).body(Body::empty()).unwrap();
    let (parts, body) = routes.oneshot(request).await.unwrap().into_parts();
    (parts.status, parts.headers, body.collect().await.unwrap().to_bytes().to_vec())
}

fn text(asset: &Asset) -> &'static str {
    std::str::from_utf8(asset.plain).unwrap()
}

#[test]
fn an_identity_provider_is_reached_safely_or_on_this_machine() {
    for (issuer, token_origin, reached) in [
        ("https://id.example/acme", None, Some("connect-src 'self' https://id.example;")),
        ("http://127.0.0.1:8788/issuer", None, Some("connect-src 'self' http://127.0.0.1:8788;")),
        (
            "https://id.example/pool",
            Some("https://auth.example"),
            Some("connect-src 'self' https://id.example https://auth.example;"),
        ),
        ("http://id.example/", None, None),
        ("https://id.example/", Some("http://auth.example"), None),
        ("https://id.example;script-src *", None, None),
        ("data:text/html,x", None, None),
        ("", None, None),
    ] {
        let token_origin = token_origin.map(str::to_owned);
        let console = Console::new(&SignIn { issuer: issuer.to_owned(), token_origin, ..provider() });
        let policy = console.ok().map(|console| console.policy.to_str().unwrap().to_owned());
        assert_eq!(policy.is_some(), reached.is_some(), "{issuer}: {policy:?}");
        assert!(policy.zip(reached).is_none_or(|(policy, reached)| policy.contains(reached)), "{issuer}");
    }
}

#[tokio::test]
async fn the_page_runs_nothing_that_stands_inline_and_is_framed_by_nobody() {
    let (status, headers, body) = ask("/console", "gzip;q=0").await;
    assert_eq!((status, &headers["content-type"]), (StatusCode::OK, &"text/html; charset=utf-8".parse().unwrap()));
    let policy = headers["content-security-policy"].to_str().unwrap();
    for directive in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.split("; ").any(|one| one == directive), "{directive} is not in {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    for (name, value) in [
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("cache-control", "no-cache"),
    ] {
        assert_eq!(headers[name], value, "{name}");
    }
    let page = String::from_utf8(body).unwrap();
    for inline in ["<style", " style=", "onclick", "javascript:", "{release}"] {
        assert!(!page.contains(inline), "{inline} in {page}");
    }
    for tag in page.split("<script").skip(1) {
        assert!(tag.trim_start().starts_with("type=\"module\" src=\"/console/assets/"), "{tag}");
    }
}

#[tokio::test]
async fn a_file_of_this_release_is_kept_for_ever_and_one_of_another_is_not_served() {
    let path = |release: &str, file: &str| format!("/console/assets/{release}/{file}");
    let (status, headers, plain) = ask(&path(embedded::RELEASE, "app.js"), "identity").await;
    assert_eq!((status, headers.get("content-encoding")), (StatusCode::OK, None));
    assert_eq!(headers["cache-control"], "public, max-age=31536000, immutable");
    assert_eq!(headers["content-type"], "text/javascript; charset=utf-8");
    let (_, headers, compressed) = ask(&path(embedded::RELEASE, "app.js"), "br, gzip").await;
    assert_eq!(headers["content-encoding"], "gzip");
    assert!(compressed.starts_with(&[0x1f, 0x8b]) && compressed.len() < plain.len());
    for (release, file) in [("0123456789abcdef", "app.js"), (embedded::RELEASE, "none.js"), (embedded::RELEASE, PAGE)] {
        assert_eq!(ask(&path(release, file), "gzip").await.0, StatusCode::NOT_FOUND, "{release}/{file}");
    }
}

#[tokio::test]
async fn what_differs_between_deployments_is_told_as_json() {
    let (_, headers, body) = ask("/console/configuration.json", "gzip").await;
    assert_eq!(headers["content-type"], "application/json");
    let told: Value = serde_json::from_slice(&body).unwrap();
    let expected = json!({ "issuer": "https://id.example/acme", "client_id": "console", "scope": "openid",
        "roles_claim": "roles", "groups_claim": "groups" });
    assert_eq!(told, expected);
}

#[test]
fn a_first_view_is_less_than_100_kilobytes_on_the_wire() {
    let first: usize = embedded::ASSETS.iter().map(|asset| asset.compressed.len()).sum();
    println!("{first} bytes in {} files", embedded::ASSETS.len());
    assert!(first < 100_000, "{first} bytes");
}

#[test]
fn every_module_that_is_imported_is_there_and_the_page_announces_it() {
    let page = text(find(PAGE).unwrap());
    let mut announced: BTreeSet<&str> = BTreeSet::new();
    for link in page.split("rel=\"modulepreload\" href=\"").skip(1) {
        announced.insert(link.split('"').next().unwrap().rsplit('/').next().unwrap());
    }
    for asset in embedded::ASSETS.iter().filter(|asset| asset.content_type().starts_with("text/javascript")) {
        for import in text(asset).lines().filter(|line| line.starts_with("import ") || line.starts_with("} from ")) {
            let Some(name) = import.split("'./").nth(1).and_then(|rest| rest.split('\'').next()) else { continue };
            assert!(find(name).is_ok(), "{} imports {name}", asset.name);
            assert!(announced.contains(name), "{name} is not announced by the page");
        }
    }
}

#[test]
fn nothing_is_loaded_from_elsewhere() {
    for asset in embedded::ASSETS.iter().filter(|asset| !VENDORED.iter().any(|(name, ..)| *name == asset.name)) {
        for reference in ["src=\"http", "href=\"http", "url(http", "import('http", "from 'http", "@import"] {
            assert!(!text(asset).contains(reference), "{reference} in {}", asset.name);
        }
        let lines = text(asset).lines().count();
        assert!(lines < 500, "{} has {lines} lines", asset.name);
    }
}

/// The words in quotes.
fn quoted(text: &str) -> BTreeSet<&str> {
    text.split('\'').skip(1).step_by(2).collect()
}

#[test]
fn the_page_offers_what_the_policy_allows_and_nothing_else() {
    let source = text(find("policy.js").unwrap());
    let lists: BTreeMap<&str, BTreeSet<&str>> = source
        .lines()
        .filter_map(|line| line.strip_prefix("const ")?.split_once(" = ["))
        .map(|(name, list)| (name, quoted(list)))
        .collect();
    let (subject, groups) = ("alice".parse().unwrap(), BTreeSet::new());
    for (name, operation) in [
        ("see", Operation::See),
        ("connect", Operation::Connect),
        ("change_token", Operation::ChangeToken),
        ("share", Operation::Share),
        ("give_up", Operation::GiveUp),
        ("delete_profile", Operation::DeleteProfile),
        ("create_rule", Operation::CreateRule),
        ("change_rule", Operation::ChangeRule),
        ("remove_user", Operation::RemoveUser),
        ("administer", Operation::Administer),
    ] {
        let row = source.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(": {"));
        let row = row.unwrap_or_else(|| panic!("the table has no row {name}"));
        for (column, relation) in [
            ("owner", Relation::Owner),
            ("sharee", Relation::Sharee),
            ("stranger", Relation::Stranger),
            ("unowned", Relation::Unowned),
        ] {
            let cell = row.split(&format!("{column}: ")).nth(1).unwrap_or_default();
            let offered = match cell.strip_prefix('[').and_then(|list| list.split(']').next()) {
                Some(list) => quoted(list),
                None => lists.get(cell.split([',', ' ']).next().unwrap_or_default()).cloned().unwrap_or_default(),
            };
            for role in Role::ALL {
                let person = Person { subject: &subject, roles: &BTreeSet::from([role]), groups: &groups };
                let allowed = person.may(operation, relation);
                assert_eq!(offered.contains(role.as_str()), allowed, "{role:?} {name} {column}");
            }
        }
    }
}

/// What is here of other people's: the file, the package of npm with its version, the file there, the SHA-256 of its
/// bytes. `tests/console/vendored.py` compares them with what npm has.
const VENDORED: [(&str, &str, &str, &str); 2] = [
    (
        "lit-html.js",
        "lit-html@3.3.3",
        "lit-html.js",
        "b878e7f95dec8a9b6e9b217faca6b6a11bad82ebc44c0caa77419ed83edd81f2",
    ),
    (
        "oauth4webapi.js",
        "oauth4webapi@3.8.8",
        "build/index.js",
        "72a5f6d84416e92b659c6b8fd837c5fa38d44b7f2e18f91daa1fe57da677c7ad",
    ),
];

#[test]
fn what_is_other_peoples_is_as_they_published_it() {
    let noted = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/VENDORED.md")).unwrap();
    for (name, package, file, expected) in VENDORED {
        let digest = hex::encode(Sha256::digest(find(name).unwrap().plain));
        assert_eq!(digest, expected, "{name}");
        for word in [name, package, file, expected] {
            assert!(noted.contains(word), "VENDORED.md says nothing of {word}");
        }
    }
}
