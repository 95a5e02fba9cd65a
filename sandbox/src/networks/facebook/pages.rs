//! Pages: who administers which, the tokens that act as them, and what they have posted.
//!
//! A Page token is derived from a person's and lives on that person's consent, session and role: from a long-lived
//! token it has no end of its own, from a short-lived one it lasts an hour. A Page that the person left out of the
//! consent does not stand in the list, and one on which they have no task stands there without a token.

use axum::{
    Json,
    extract::{Path, State},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use url::Url;

use super::{
    super::{
        Account, Network,
        consent::{Refused, Shareable},
        fields::Fields,
        grants::{Desk, Token, Use},
        meta::{GraphError, GraphVersion, asks_for, select},
    },
    Caller, HOUR, access, caller,
};

/// Id and title.
const PAGES: &[(&str, &str)] = &[
    ("2001", "Harbour News"),
    ("2002", "Harbour Sailing Club"),
    ("2003", "Harbour Museum"),
    ("2004", "Harbour Live"),
    ("2101", "Bakery Lee"),
    ("2102", "Bikes and More"),
    ("2103", "Corner Books"),
    ("2104", "Dune Hotel"),
    ("2105", "East Pier Grill"),
    ("2106", "Ferry Line"),
    ("2107", "Gull Ice Cream"),
    ("2108", "Hill Street Yoga"),
];

const EVERYTHING: &[&str] = &["ADVERTISE", "ANALYZE", "CREATE_CONTENT", "MESSAGING", "MODERATE", "MANAGE"];

/// What a person may do on a Page.
struct Role {
    /// The account's name.
    account: &'static str,
    page: &'static str,
    /// Whoever may do nothing but go live has none of these.
    tasks: &'static [&'static str],
}

const fn role(account: &'static str, page: &'static str, tasks: &'static [&'static str]) -> Role {
    Role { account, page, tasks }
}

const ROLES: &[Role] = &[
    role("alice.meyer", "2001", EVERYTHING),
    role("alice.meyer", "2002", &["ADVERTISE", "ANALYZE", "CREATE_CONTENT", "MESSAGING", "MODERATE"]),
    role("alice.meyer", "2003", &["ANALYZE"]),
    role("alice.meyer", "2004", &[]),
    role("bob.stone", "2001", EVERYTHING),
    role("pat.agency", "2101", EVERYTHING),
    role("pat.agency", "2102", EVERYTHING),
    role("pat.agency", "2103", EVERYTHING),
    role("pat.agency", "2104", EVERYTHING),
    role("pat.agency", "2105", EVERYTHING),
    role("pat.agency", "2106", EVERYTHING),
    role("pat.agency", "2107", EVERYTHING),
    role("pat.agency", "2108", EVERYTHING),
];

/// Page, id, time and text.
const POSTS: [(&str, &str, &str, &str); 2] = [
    ("2001", "2001_2", "2026-11-02T07:30:00+0000", "The harbour is closed for swimmers until Friday."),
    ("2001", "2001_1", "2026-11-01T16:05:00+0000", "Thirty boats came to the autumn regatta. Thank you!"),
];

/// How many Pages stand on a page of the list at most, whatever `limit` says: so few that every caller has to turn pages.
const LISTED: usize = 3;

const SHOW_LIST: &str = "pages_show_list";
const READ: &str = "pages_read_engagement";

pub(super) fn concerns(scope: &str) -> bool {
    scope.starts_with("pages_")
}

/// The ids of the Pages on which an account has a role.
pub(in super::super) fn administered_by(account: &str) -> impl Iterator<Item = &'static str> {
    ROLES.iter().filter(move |role| role.account == account).map(|role| role.page)
}

pub(super) fn title(page: &str) -> Option<&'static str> {
    PAGES.iter().find(|(id, _)| *id == page).map(|(_, title)| *title)
}

/// What the dialog offers to leave out.
pub(super) fn shareable() -> Vec<Shareable> {
    let administrators = |page: &str| ROLES.iter().filter(|role| role.page == page).map(|role| role.account).collect();
    PAGES.iter().map(|&(id, title)| Shareable { id, title, administrators: administrators(id) }).collect()
}

/// The Pages to which a consent of `account` is limited: none where every Page was chosen. What others administer is
/// not theirs to share.
pub(super) fn limit(account: &Account, chosen: Option<Vec<String>>) -> Result<Option<Vec<String>>, Refused> {
    let Some(mut chosen) = chosen else { return Ok(None) };
    if let Some(unknown) = chosen.iter().find(|page| title(page).is_none()) {
        return Err(Refused::Page(Network::Facebook, format!("There is no Page {unknown:?} here.")));
    }
    chosen.retain(|page| administered_by(account.name).any(|own| own == page));
    let all = administered_by(account.name).all(|own| chosen.iter().any(|page| page == own));
    Ok((!all).then_some(chosen))
}

impl Caller {
    /// The roles that the person has and shared with the app.
    fn roles(&self, desk: &Desk) -> Vec<&'static Role> {
        let shared = |page: &str| self.grant.pages.as_ref().is_none_or(|pages| pages.iter().any(|one| one == page));
        desk.book.read(|book| {
            let has = |role: &&Role| role.account == self.account.name && !book.lost_role(&self.grant, role.page);
            ROLES.iter().filter(has).filter(|role| shared(role.page)).collect()
        })
    }

    /// A Page as its administrator sees it, with a new token for it if that is asked for.
    fn view(&self, desk: &Desk, role: &Role, fields: &Fields, usual: &str) -> Value {
        let mut page = json!({
            "id": role.page, "name": title(role.page), "category": "Local business", "tasks": role.tasks,
        });
        if !role.tasks.is_empty() && asks_for(fields, usual, "access_token") {
            let secret = desk.mint::<64>(|bytes| format!("EAAP{}", hex::encode(bytes)));
            let mut token = Token::living(self.token.grant, Use::Access, desk.now(), HOUR);
            if self.token.good_for == Use::LongLived {
                token.expires_at = None;
            }
            token.page = Some(role.page.to_owned());
            desk.book.change(|book| book.keep_token(&secret, token));
            page["access_token"] = secret.into();
        }
        select(page, fields, usual)
    }
}

/// The Pages on which the person has a role, a few at a time.
pub(super) async fn accounts(
    State(desk): State<Desk>,
    Path((version, user_id)): Path<(GraphVersion, String)>,
    fields: Fields,
) -> Result<Json<Value>, GraphError> {
    const USUAL: &str = "access_token,category,name,id,tasks";
    let caller = caller(&desk, &fields)?;
    if caller.token.page.is_some() {
        return Err(GraphError::new(100, "(#100) Tried accessing nonexisting field (accounts) on node type (Page)"));
    }
    if user_id != "me" && user_id != caller.account.id {
        return Err(GraphError::no_object(&user_id));
    }
    caller.sees_data(desk.now())?;
    // without the permission the list is empty rather than refused
    let mut roles = if caller.grant.allows(SHOW_LIST) { caller.roles(&desk) } else { Vec::new() };
    if let Some(after) = fields.get("after") {
        let last = read_cursor(after).ok_or_else(|| GraphError::new(100, "(#100) Invalid cursors values"))?;
        roles.retain(|role| *role.page > *last);
    }
    let limit = fields.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(LISTED).clamp(1, LISTED);
    let more = roles.len() > limit;
    roles.truncate(limit);

    let mut answer = json!({
        "data": roles.iter().map(|role| caller.view(&desk, role, &fields, USUAL)).collect::<Vec<_>>(),
    });
    if let (Some(first), Some(last)) = (roles.first(), roles.last()) {
        let after = cursor(last.page);
        answer["paging"] = json!({"cursors": {"before": cursor(first.page), "after": after}});
        if more {
            answer["paging"]["next"] = next(&version, caller.account, &fields, &after).into();
        }
    }
    Ok(Json(answer))
}

/// Pages are listed by ascending id, and a cursor names the last one seen.
fn cursor(page: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(page)
}

fn read_cursor(cursor: &str) -> Option<String> {
    let page = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    title(&page).map(|_| page)
}

/// Where the list goes on: an address with the caller's token in it, as Facebook writes it, and without a proof.
fn next(version: &GraphVersion, account: &Account, fields: &Fields, after: &str) -> String {
    let address = format!("https://graph.facebook.com/{}/{}/accounts", version.as_str(), account.id);
    let kept = ["fields", "limit"].into_iter().filter_map(|name| Some((name, fields.get(name)?)));
    let token = access(fields).map(|token| ("access_token", token));
    let query = token.into_iter().chain(kept).chain([("after", after)]);
    Url::parse_with_params(&address, query).map(String::from).unwrap_or(address)
}

/// One Page: to itself, to whoever administers it, and to apps whose users let them read Pages.
pub(super) async fn page(
    State(desk): State<Desk>,
    Path((_, page_id)): Path<(GraphVersion, String)>,
    fields: Fields,
) -> Result<Json<Value>, GraphError> {
    const USUAL: &str = "id,name";
    let caller = caller(&desk, &fields)?;
    let title = title(&page_id).ok_or_else(|| GraphError::no_object(&page_id))?;
    let now = desk.now();
    let seen = select(json!({"id": page_id, "name": title}), &fields, USUAL);
    if let Some(page) = &caller.token.page {
        caller.sees_data(now)?;
        return if *page == page_id { Ok(Json(seen)) } else { Err(GraphError::not_permitted(READ)) };
    }
    let administered = caller.roles(&desk).into_iter().find(|role| role.page == page_id);
    if let Some(role) = administered.filter(|_| caller.grant.allows(SHOW_LIST)) {
        caller.sees_data(now)?;
        return Ok(Json(caller.view(&desk, role, &fields, USUAL)));
    }
    caller.needs(READ, now)?;
    Ok(Json(seen))
}

/// A Page's posts are public, to apps whose users let them read.
pub(super) async fn posts(
    State(desk): State<Desk>,
    Path((_, page_id)): Path<(GraphVersion, String)>,
    fields: Fields,
) -> Result<Json<Value>, GraphError> {
    let caller = caller(&desk, &fields)?;
    title(&page_id).ok_or_else(|| GraphError::no_object(&page_id))?;
    caller.needs(READ, desk.now())?;
    let posts = POSTS.iter().filter(|(page, ..)| *page == page_id);
    let posts = posts.map(|(_, id, time, message)| json!({"id": id, "created_time": time, "message": message}));
    Ok(Json(json!({"data": posts.collect::<Vec<_>>()})))
}
