//! What each token is for, held against the product's table, which stands here as it is described and not as it is coded.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use shared::{
    profile::{Kind, TokenKind, Use},
    token::{Allow, Reason, State, Token},
};

use crate::support::{Person, World};

/// A use: its name, the switch that its owner must turn on, and the scopes that it needs at the network.
type Given = (&'static str, Option<&'static str>, &'static [&'static str]);

/// A row of the table.
struct Gives {
    kind: &'static str,
    token: &'static str,
    uses: &'static [Given],
    /// What every token of this kind is asked for besides.
    always: &'static [&'static str],
    /// Who signs in for it, and the id of the profile that comes of it.
    account: (&'static str, &'static str),
}

const FORCE_SSL: &[&str] = &["https://www.googleapis.com/auth/youtube.force-ssl"];
const SEARCH: Option<&str> = Some("search_acquisition");
const MESSAGES: Option<&str> = Some("private_messages");

/// The tokens that there are.
const TABLE: [Gives; 6] = [
    Gives {
        kind: "facebook_user",
        token: "acquisition",
        uses: &[("search_acquisition", SEARCH, &["pages_read_engagement"])],
        always: &["public_profile"],
        account: ("alice.meyer", "facebook_user-1001"),
    },
    Gives {
        kind: "facebook_user",
        token: "interaction",
        uses: &[("publish", None, &["pages_manage_posts"]), ("reply", None, &["pages_manage_engagement"])],
        always: &["public_profile"],
        account: ("alice.meyer", "facebook_user-1001"),
    },
    Gives {
        kind: "facebook_page",
        token: "interaction",
        uses: &[
            ("private_messages", MESSAGES, &["pages_messaging", "pages_manage_metadata", "pages_manage_engagement"]),
            ("publish", None, &["pages_manage_posts"]),
            ("reply", None, &["pages_manage_engagement"]),
            ("author_info", None, &["pages_read_engagement", "pages_read_user_content"]),
        ],
        always: &["public_profile", "pages_show_list"],
        account: ("alice.meyer", "facebook_page-2001"),
    },
    Gives {
        kind: "instagram_account",
        token: "acquisition",
        uses: &[("search_acquisition", SEARCH, &["instagram_business_basic"])],
        always: &["instagram_business_basic"],
        account: ("harbour.photos", "instagram_account-17841400000000001"),
    },
    Gives {
        kind: "x_profile",
        token: "interaction",
        uses: &[
            ("private_messages", MESSAGES, &["dm.read", "dm.write"]),
            ("publish", None, &["tweet.write", "media.write"]),
            ("reply", None, &["tweet.write"]),
        ],
        always: &["users.read", "tweet.read", "offline.access"],
        account: ("newsdesk", "x_profile-42"),
    },
    Gives {
        kind: "youtube_channel",
        token: "interaction",
        uses: &[("comment", None, FORCE_SSL), ("rate", None, FORCE_SSL), ("reply", None, FORCE_SSL)],
        always: &["openid", "https://www.googleapis.com/auth/youtube.readonly"],
        account: ("harbour.tv", "youtube_channel-UC_harbour_tv_0000000001"),
    },
];

/// Every use that there is, and whether something is written with it.
const USES: [(&str, bool); 7] = [
    ("search_acquisition", false),
    ("private_messages", true),
    ("publish", true),
    ("reply", true),
    ("author_info", false),
    ("comment", true),
    ("rate", true),
];

const KINDS: [&str; 5] = ["facebook_user", "facebook_page", "instagram_account", "x_profile", "youtube_channel"];
const TOKENS: [&str; 2] = ["acquisition", "interaction"];

/// The states, and how a use is refused that the token has in them.
const STATES: [(&str, Option<&str>); 4] = [
    ("active", None),
    ("cooling_down", Some("cooling_down")),
    ("expired", Some("expired")),
    ("needs_reauth", Some("needs_reauth")),
];

/// The row of the table, if there is such a token.
fn gives(kind: &str, token: &str) -> Option<&'static Gives> {
    TABLE.iter().find(|row| (row.kind, row.token) == (kind, token))
}

impl Gives {
    /// Everything that is asked for.
    fn scopes(&self) -> Vec<&'static str> {
        let mut scopes = self.always.to_vec();
        for scope in self.uses.iter().flat_map(|(_, _, scopes)| *scopes) {
            if !scopes.contains(scope) {
                scopes.push(scope);
            }
        }
        scopes
    }

    /// What may have been granted: everything, everything but one, or nothing.
    fn grants(&self) -> Vec<Vec<&'static str>> {
        let all = self.scopes();
        let but_one = all.iter().map(|missing| all.iter().copied().filter(|scope| scope != missing).collect());
        [all.clone(), Vec::new()].into_iter().chain(but_one).collect()
    }

    /// What the product says of a use.
    fn says((_, switch, needs): &Given, on: bool, granted: &[&str], refused: Option<&'static str>) -> &'static str {
        if let Some(refused) = refused {
            return refused;
        }
        match switch {
            _ if !needs.iter().all(|scope| granted.contains(scope)) => "missing_scope",
            Some(_) if !on => "not_allowed",
            _ => "ready",
        }
    }
}

/// The state with this name.
fn state(name: &str, now: Timestamp) -> State {
    match name {
        "active" => State::Active,
        "cooling_down" => State::CoolingDown { cooling_until: now + SignedDuration::from_secs(900) },
        "expired" => State::Expired,
        _ => State::NeedsReauth { reason: Reason::PasswordChanged },
    }
}

#[test]
fn a_token_permits_what_the_table_gives_and_nothing_else() {
    let now = Timestamp::constant(1_800_000_000, 0);
    let mut answers: BTreeMap<&str, u32> = BTreeMap::new();
    for kind in KINDS {
        for token in TOKENS {
            let (of, what): (Kind, TokenKind) = (kind.parse().unwrap(), token.parse().unwrap());
            for (name, _) in USES {
                let usage: Use = name.parse().unwrap();
                let coded = of.capabilities(what).iter().find(|row| row.usage == usage);
                let Some(row) = gives(kind, token).filter(|row| row.uses.iter().any(|(given, ..)| *given == name))
                else {
                    assert_eq!(coded, None, "{kind} {token} {name}");
                    continue;
                };
                let given = row.uses.iter().find(|(given, ..)| *given == name).unwrap();
                for (granted, on) in row.grants().iter().flat_map(|granted| [(granted, false), (granted, true)]) {
                    for (named, refused) in STATES {
                        let held = Token {
                            profile: row.account.1.parse().unwrap(),
                            name: "Harbour".to_owned(),
                            token: what,
                            owner: "alice".parse().unwrap(),
                            state: state(named, now),
                            scopes: granted.iter().map(|scope| (*scope).to_owned()).collect(),
                            allow: Allow { search_acquisition: on, private_messages: on },
                            expires_at: None,
                            access_expires_at: None,
                            connected_at: now,
                            given_at: None,
                            check_at: None,
                            considered_at: now,
                            app: "app".to_owned(),
                            login: "1".to_owned(),
                            generation: 1,
                        };
                        let permitted = held.permits(coded.unwrap(), now);
                        let answer = permitted.map_or_else(shared::token::Refusal::as_str, |()| "ready");
                        let says = Gives::says(given, on, granted, refused);
                        assert_eq!(answer, says, "{kind} {token} {name} {on} {named} {granted:?}");
                        *answers.entry(answer).or_default() += 1;
                        let missing: Vec<_> =
                            row.scopes().into_iter().filter(|scope| !granted.contains(scope)).collect();
                        assert_eq!(held.missing_scopes(), missing, "{kind} {token}");
                    }
                }
            }
        }
    }
    assert_eq!(answers.len(), 6, "every answer is met: {answers:?}");
}

/// A world in which alice has connected what a row of the table is about.
async fn connected(row: &Gives) -> (World, Person) {
    let world = World::start().await;
    let alice = world.person("alice");
    connect(&alice, row).await;
    (world, alice)
}

async fn connect(person: &Person, row: &Gives) {
    let (account, profile) = row.account;
    let connected = match row.kind {
        "facebook_page" => person.connect_pages(account, &[profile]).await.remove(0),
        kind => person.connect(kind, row.token, account).await,
    };
    assert_eq!(connected["id"], profile);
}

/// Where a row's token is in the API.
fn path(row: &Gives) -> String {
    format!("/v1/profiles/{}/tokens/{}-alice", row.account.1, row.token)
}

/// Writes what a network, an owner and time would bring about into a token's row.
async fn write(world: &World, row: &Gives, granted: &[&str], on: bool, state: &str) {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let scopes = granted.iter().map(|scope| text(scope)).collect();
    let switches = ["search_acquisition", "private_messages"];
    let allow = switches.map(|switch| (switch.to_owned(), AttributeValue::Bool(on)));
    let later = world.sandbox.clock().now() + SignedDuration::from_hours(1);
    let update = world.dynamodb().update_item().table_name("Vault");
    let update = update.key("pk", text(&format!("T#acme#P#{}", row.account.1)));
    let update = update.key("sk", text(&format!("TOKEN#{}-alice", row.token)));
    let update = update.update_expression(
        "SET scopes = :scopes, #allow = :allow, #state = :state, cooling_until = :later, reason = :reason",
    );
    let update = update.expression_attribute_names("#state", "state").expression_attribute_names("#allow", "allow");
    let update = update.expression_attribute_values(":scopes", AttributeValue::L(scopes));
    let update = update.expression_attribute_values(":allow", AttributeValue::M(allow.into()));
    let update = update.expression_attribute_values(":state", text(state));
    let update = update.expression_attribute_values(":later", text(&later.to_string()));
    update.expression_attribute_values(":reason", text("password_changed")).send().await.unwrap();
}

#[tokio::test]
async fn what_is_shown_of_a_token_is_what_the_table_says() {
    for row in &TABLE {
        let (world, alice) = connected(row).await;
        for (granted, on) in row.grants().iter().flat_map(|granted| [(granted, false), (granted, true)]) {
            for (state, refused) in STATES {
                write(&world, row, granted, on, state).await;
                let shown = alice.get(&format!("/v1/profiles/{}", row.account.1)).await.expect(200);
                let shown = &shown["tokens"][0];
                let says = row.uses.iter().map(|given| (given.0, Gives::says(given, on, granted, refused)));
                let case = format!("{} {} {state} {on} {granted:?}", row.kind, row.token);
                assert_eq!(shown["uses"], json!(says.collect::<BTreeMap<_, _>>()), "{case}");
                let missing: Vec<_> = row.scopes().into_iter().filter(|scope| !granted.contains(scope)).collect();
                assert_eq!(shown["missing_scopes"], json!(missing), "{case}");
                assert_eq!(shown["state"], *state, "{case}");
            }
        }
    }
}

#[tokio::test]
async fn a_token_that_the_table_does_not_have_cannot_be_connected() {
    let world = World::start().await;
    let alice = world.person("alice");
    let mut refused = 0;
    for kind in KINDS {
        for token in TOKENS {
            let order = json!({ "kind": kind, "token": token, "return_url": world.return_url() });
            let reply = alice.post("/v1/connect-sessions", order).await;
            if gives(kind, token).is_some() {
                reply.expect(201);
            } else {
                reply.refused(400, "unsupported_token");
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 4);
}

#[tokio::test]
async fn a_switch_that_a_token_does_not_have_cannot_be_turned_on() {
    for row in &TABLE {
        let (_world, alice) = connected(row).await;
        for switch in ["search_acquisition", "private_messages"] {
            let reply = alice.patch(&path(row), json!({ "allow": { switch: true } })).await;
            if row.uses.iter().any(|(_, has, _)| *has == Some(switch)) {
                assert_eq!(reply.expect(200)["allow"][switch], true);
            } else {
                reply.refused(400, "invalid_request");
            }
        }
    }
}

/// What is ordered to use a token for this, with the rule that it needs; or why there is no such rule.
async fn order(person: &Person, row: &Gives, usage: &str) -> Result<Value, crate::support::Reply> {
    let profile = row.account.1;
    let (rule, mut order) = match usage {
        "search_acquisition" => {
            let network = row.kind.split('_').next().unwrap();
            let rule = json!({ "topic": "floods", "use": usage, "network": network });
            (rule, json!({ "use": usage, "network": network }))
        }
        "private_messages" => {
            let rule = json!({ "topic": "complaints", "use": usage, "profile_ids": [profile] });
            (rule, json!({ "use": usage, "profile_id": profile }))
        }
        _ => return Ok(json!({ "use": usage, "profile_id": profile })),
    };
    let made = person.post("/v1/rules", rule).await;
    if made.status.as_u16() != 201 {
        return Err(made);
    }
    order["rule_id"] = made.json()["id"].clone();
    Ok(order)
}

/// Turns everything on that can be.
async fn allow(person: &Person, row: &Gives) {
    for switch in row.uses.iter().filter_map(|(_, switch, _)| *switch) {
        person.patch(&path(row), json!({ "allow": { switch: true } })).await.expect(200);
    }
}

#[tokio::test]
async fn each_token_is_leased_for_what_the_table_gives_and_for_nothing_else() {
    for row in &TABLE {
        let (world, alice) = connected(row).await;
        allow(&alice, row).await;
        let worker = world.person("acme-worker");
        for (usage, _) in USES {
            let case = format!("{} {} {usage}", row.kind, row.token);
            let given = row.uses.iter().any(|(given, ..)| *given == usage);
            // the other token of the same kind may give it, and then it is not there
            let of_other = TOKENS
                .iter()
                .filter_map(|token| gives(row.kind, token))
                .any(|row| row.uses.iter().any(|(given, ..)| *given == usage));
            match order(&alice, row, usage).await {
                Err(refused) => {
                    assert!(!given, "{case}");
                    refused.refused(400, "unsupported_use");
                }
                Ok(order) => {
                    let reply = worker.post("/v1/leases", order).await;
                    if given {
                        assert_eq!(reply.expect(201)["token_id"], format!("{}-alice", row.token), "{case}");
                    } else if of_other || usage == "search_acquisition" {
                        reply.refused(409, "no_valid_token");
                    } else {
                        reply.refused(400, "unsupported_use");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn an_acquisition_token_is_never_leased_for_a_write() {
    let world = World::start().await;
    let (alice, worker) = (world.person("alice"), world.person("acme-worker"));
    for row in &TABLE {
        connect(&alice, row).await;
        allow(&alice, row).await;
    }
    let mut written = 0;
    for row in &TABLE {
        for (usage, _) in USES.iter().filter(|(_, writes)| *writes) {
            let Ok(order) = order(&alice, row, usage).await else { continue };
            for _ in 0..3 {
                let reply = worker.post("/v1/leases", order.clone()).await;
                if reply.status.as_u16() == 201 {
                    assert_eq!(reply.json()["token_id"], "interaction-alice", "{} {usage}", row.kind);
                    written += 1;
                }
            }
        }
    }
    // two of them are of Facebook profiles, which are met twice
    assert_eq!(written, 3 * (2 * 2 + 3 + 3 + 3), "everything that can be written is");
}
