//! The mail: one letter that lists everything, each with its link straight to the sign-in.

use std::collections::BTreeMap;

use jiff::Timestamp;
use maud::{DOCTYPE, html};
use shared::{
    access::Subject,
    health::Colour,
    mail::Letter,
    profile::{Kind, Network, TokenKind},
    store::outbox::{About, Notice, OfToken},
    token::{Reason, Step, days_left},
};

/// Who reads a letter.
#[derive(Clone, Copy)]
pub(crate) enum Reader<'a> {
    /// The person whose tokens it is about.
    Owner,
    /// A tenant's administrators, who know the owners by these names.
    Administrators(&'a BTreeMap<Subject, String>),
}

/// Writes the letter about `notices`, of which there is at least one.
pub(crate) fn write(notices: &[&Notice], reader: Reader<'_>, reauthenticate_url: &str, now: Timestamp) -> Letter {
    let line = |notice: &&Notice| match &notice.about {
        About::Token(of) => Line::of_token(of, notice.at, reader, reauthenticate_url, now),
        About::Acquisition { network, colour } => Line::of_acquisition(*network, *colour, notice.at),
    };
    let mut lines: Vec<Line> = notices.iter().map(line).collect();
    lines.sort_by_key(|line| (line.connection, line.ends));
    let words = Words::of(&lines, reader);
    Letter { subject: subject(&lines, reader), text: text(&lines, &words), html: page(&lines, &words) }
}

/// What is said of one thing.
struct Line {
    /// Whether it is about one connection, and not about all of a network's.
    connection: bool,
    /// When the access ends, ended, or was found dead.
    ends: Timestamp,
    /// Whether there still is time.
    warns: bool,
    /// Whether it ended before its time.
    dead: bool,
    /// For example `Alice Meyer (Facebook profile)` or `Acquisition at Facebook has stopped`.
    title: String,
    /// For example `access ends in 29 days`; nothing where the title says it all.
    soon: String,
    /// For example `The access that reads public posts`, and `ends in 29 days, on 22 January 2027`.
    sentence: Option<(String, String)>,
    /// Why it ended, where that is no matter of time, and what stands still.
    note: Option<String>,
    link: Option<Link>,
}

/// Where to do something about it.
struct Link {
    label: String,
    url: String,
}

impl Line {
    fn of_token(of: &OfToken, at: Timestamp, reader: Reader<'_>, reauthenticate_url: &str, now: Timestamp) -> Self {
        let kind = of.profile.kind();
        let until = match reader {
            Reader::Owner => "Until you sign in again",
            Reader::Administrators(_) => "Until its owner signs in again",
        };
        let (purpose, standstill) = match of.token {
            TokenKind::Acquisition => ("reads public posts", format!("{until}, it brings in no posts.")),
            TokenKind::Interaction if kind == Kind::YouTubeChannel => {
                ("comments, rates and replies", format!("{until}, nothing is commented or answered with it."))
            }
            TokenKind::Interaction => {
                ("publishes and replies", format!("{until}, nothing is published or answered with it."))
            }
        };
        let on = |at: Timestamp| at.strftime("%-d %B %Y, %H:%M UTC").to_string();
        let (ends, soon, when, note) = match of.step {
            Step::Warning { expires_at } => {
                let soon = match days_left(expires_at, now) {
                    1 => "ends within a day".to_owned(),
                    days => format!("ends in {days} days"),
                };
                let when = format!("{soon}, on {}", on(expires_at));
                (expires_at, soon, when, limited(kind.network()).map(str::to_owned))
            }
            Step::Expired { expires_at } => {
                let note = limited(kind.network()).map_or_else(String::new, |limited| format!("{limited} "));
                let when = format!("ended on {}", on(expires_at));
                (expires_at, "ended".to_owned(), when, Some(format!("{note}{standstill}")))
            }
            Step::Dead { reason, .. } => {
                let when = format!("no longer works, as we noticed on {}", on(at));
                let note = match reader {
                    Reader::Owner => format!("{} {standstill}", cause(reason, kind.network())),
                    Reader::Administrators(_) => standstill,
                };
                (at, "no longer works".to_owned(), when, Some(note))
            }
        };
        let (lead, label) = match reader {
            Reader::Owner => (format!("The access that {purpose}"), "Sign in again".to_owned()),
            Reader::Administrators(owners) => {
                let owner = one_line(owners.get(&of.owner).map_or(of.owner.as_str(), String::as_str));
                (format!("The access by {owner} that {purpose}"), "Sign in again as its owner".to_owned())
            }
        };
        let separator = if reauthenticate_url.contains('?') { '&' } else { '?' };
        let url = format!("{reauthenticate_url}{separator}profile={}&token={}", of.profile, of.token.as_str());
        Self {
            connection: true,
            ends,
            warns: matches!(of.step, Step::Warning { .. }),
            dead: matches!(of.step, Step::Dead { .. }),
            title: format!("{} ({})", one_line(&of.name), kind.title()),
            soon: format!("access {soon}"),
            sentence: Some((lead, when)),
            note,
            link: Some(Link { label, url }),
        }
    }

    fn of_acquisition(network: Network, colour: Colour, at: Timestamp) -> Self {
        let stands = match colour {
            Colour::Red => "has stopped",
            Colour::Yellow | Colour::Green => "lives on one token",
        };
        Self {
            connection: false,
            ends: at,
            warns: colour < Colour::Red,
            dead: false,
            title: format!("Acquisition at {} {stands}", network.title()),
            soon: String::new(),
            sentence: None,
            note: colour.consequence(network),
            link: None,
        }
    }
}

/// Why access has an end at a network that usually gives it none.
fn limited(network: Network) -> Option<&'static str> {
    let words = "Google limits access to seven days while our app is still in testing, and to the time that you chose if \
                 you chose one. If you did not, please tell your operator: once the app is in production, access lasts.";
    (network == Network::YouTube).then_some(words)
}

/// Why a credential died before its time, and what to do first where signing in again is not enough.
fn cause(reason: Reason, network: Network) -> String {
    let network = network.title();
    match reason {
        Reason::RevokedByUser => format!("At {network} the permission was taken back, or you logged out everywhere."),
        Reason::PasswordChanged => {
            format!("Your password at {network} was changed, and {network} then ends all access that was given before.")
        }
        Reason::Checkpoint => {
            format!("{network} wants to be sure that it is you: please log in there first and answer what it asks.")
        }
        Reason::RoleLost => format!(
            "Your role at {network} does not allow it any more. If it should, please have the role given back to you first."
        ),
        Reason::RefreshRejected => format!("{network} refused to renew it, and does not say why."),
        Reason::LostAnswer => format!(
            "{network} renewed it, but the answer never reached us, and what we had before is void. Nobody did anything \
             wrong, and signing in again mends it."
        ),
        Reason::Expired => format!("Its time at {network} was over before it could be renewed."),
        Reason::AppInTesting => format!(
            "Our app is still in testing at {network}, which ends after seven days what was granted to such an app. Tell your \
             operator: once the app is in production, access lasts."
        ),
        Reason::Restored => format!(
            "Our records were brought back from a backup, and what they hold for {network} may have been used up since. Nobody \
             did anything wrong, and signing in again mends it."
        ),
        Reason::Policy => format!(
            "A policy of your organisation, or a protection that you turned on, does not let our app use your account at {network}. \
             Ask your organisation's administrator to allow the app before you sign in again."
        ),
        Reason::NoChannel => {
            format!("Your account at {network} has no channel. Create one, or sign in with an account that has one.")
        }
        Reason::AccountClosed => format!("The account or channel at {network} was closed."),
        Reason::AccountSuspended => {
            format!("{network} suspended the account or channel. Settle that with {network} before you sign in again.")
        }
        Reason::AppRemoved => {
            format!("Our app was removed from your account at {network}. Signing in again brings it back.")
        }
    }
}

/// A name comes from a network: no line break of its may begin a line of ours.
fn one_line(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { ' ' } else { c }).take(80).collect()
}

fn subject(lines: &[Line], reader: Reader<'_>) -> String {
    let connections: Vec<&Line> = lines.iter().filter(|line| line.connection).collect();
    let of_tokens = match (connections.as_slice(), reader) {
        ([], _) => None,
        ([only], Reader::Owner) => Some(format!("{}: sign in again, {}", only.title, only.soon)),
        ([only], Reader::Administrators(_)) => Some(format!("{}: {}", only.title, only.soon)),
        (all, Reader::Owner) if all.iter().all(|line| line.warns) => {
            Some(format!("{} connections will soon need you to sign in again", all.len()))
        }
        (all, Reader::Owner) => Some(format!("{} connections need you to sign in again", all.len())),
        (all, Reader::Administrators(_)) => {
            Some(format!("{} connections need their owners to sign in again", all.len()))
        }
    };
    let of_networks = lines.iter().filter(|line| !line.connection).max_by_key(|line| !line.warns);
    [of_networks.map(|line| line.title.clone()), of_tokens].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// The words around the lines.
struct Words {
    opening: &'static str,
    /// Why anybody has to sign in again, unless each line has said so itself, and that it is no trouble.
    explanation: Option<String>,
    foot: &'static str,
}

const WHY: &str = "The network gives access for a limited time, and only you can extend it: sign in there once more.";
const EASE: &str = "Signing in takes a minute, and nothing else about the connection changes.";
const THEIRS: &str = "Only the owner of a connection can renew it, by signing in at the network once more. They were told, \
                      and you can pass the link on to them.";
const FOOT: &str = "You get this because you connected these accounts. Tokenward never asks for a password by mail.";
const ADMINISTRATORS_FOOT: &str = "You get this because your address is set as an administrator's in Tokenward, which never \
                                   asks for a password by mail.";

impl Words {
    fn of(lines: &[Line], reader: Reader<'_>) -> Self {
        let mut connections = lines.iter().filter(|line| line.connection).peekable();
        let none = connections.peek().is_none();
        let explanation = match reader {
            _ if none => None,
            Reader::Administrators(_) => Some(THEIRS.to_owned()),
            Reader::Owner if connections.all(|line| line.dead) => Some(EASE.to_owned()),
            Reader::Owner => Some(format!("{WHY} {EASE}")),
        };
        let opening = match (reader, lines) {
            (Reader::Administrators(_), _) => "in your organisation this needs somebody:",
            (Reader::Owner, _) if lines.iter().any(|line| !line.connection) => "this needs you:",
            (Reader::Owner, [_]) => "a connection of yours needs you:",
            (Reader::Owner, _) => "connections of yours need you:",
        };
        let foot = match reader {
            Reader::Owner => FOOT,
            Reader::Administrators(_) => ADMINISTRATORS_FOOT,
        };
        Self { opening, explanation, foot }
    }
}

fn text(lines: &[Line], words: &Words) -> String {
    let item = |Line { title, sentence, note, link, .. }: &Line| {
        let sentence = sentence.as_ref().map(|(lead, when)| format!("  {lead} {when}.\n"));
        let note = note.as_ref().map(|note| format!("  {note}\n"));
        let link = link.as_ref().map(|Link { label, url }| format!("  {label}: {url}\n"));
        let parts = [sentence, note, link].into_iter().flatten().collect::<String>();
        format!("* {title}\n{parts}\n")
    };
    let items: String = lines.iter().map(item).collect();
    let explanation = words.explanation.as_ref().map(|text| format!("{text}\n\n")).unwrap_or_default();
    format!("Hello,\n\n{}\n\n{items}{explanation}-- \n{}\n", words.opening, words.foot)
}

fn page(lines: &[Line], words: &Words) -> String {
    let font = "font-family:system-ui,-apple-system,'Segoe UI',Roboto,sans-serif";
    let button = "display:inline-block;background:#1f5eff;color:#ffffff;text-decoration:none;font-weight:600;padding:10px 18px;\
                  border-radius:8px;max-width:100%;box-sizing:border-box;overflow-wrap:anywhere";
    let style = ":root{color-scheme:light dark;supported-color-schemes:light dark}\
                 @media(prefers-color-scheme:dark){.paper{background:#12161c!important}.card{background:#1a2028!important;\
                 border-color:#2b333d!important}.warns{border-left-color:#e08a00!important}.over{border-left-color:#e5645b\
                 !important}.ink{color:#e8ecf1!important}.soft{color:#9aa6b4!important}}";
    let ink = |margin: &str| format!("margin:0 0 {margin};color:#1c2430;overflow-wrap:anywhere");
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                style { (maud::PreEscaped(style)) }
            }
            body.paper style=(format!("margin:0;padding:24px 12px;background:#f6f7f9;{font};font-size:16px;line-height:1.5")) {
                div style="max-width:560px;margin:0 auto" {
                    p.soft style="margin:0 0 12px 4px;color:#5b6675;font-size:14px;font-weight:600" { "Tokenward" }
                    @for line in lines {
                        div class=(if line.warns { "card warns" } else { "card over" }) style=(format!(
                            "background:#ffffff;border:1px solid #e1e5ea;border-left:4px solid {};border-radius:10px;padding:20px;\
                             margin:0 0 14px",
                            if line.warns { "#e08a00" } else { "#c0362c" },
                        )) {
                            p.ink style=(format!("{};font-size:18px;font-weight:600", ink("4px"))) { (line.title) }
                            @if let Some((lead, when)) = &line.sentence {
                                p.ink style=(ink("16px")) { (lead) " " strong { (when) } "." }
                            }
                            @if let Some(note) = &line.note {
                                p.ink style=(ink(if line.link.is_some() { "16px" } else { "0" })) { (note) }
                            }
                            @if let Some(Link { label, url }) = &line.link {
                                a href=(url) style=(button) { (label) }
                            }
                        }
                    }
                    @if let Some(explanation) = &words.explanation {
                        p.soft style="margin:16px 4px;color:#5b6675;font-size:14px" { (explanation) }
                    }
                    p.soft style="margin:16px 4px;color:#5b6675;font-size:13px" { (words.foot) }
                }
            }
        }
    }
    .into_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn warning(seconds: i64) -> Step {
        Step::Warning { expires_at: NOW + SignedDuration::from_secs(seconds) }
    }

    fn notice(name: &str, step: Step) -> Notice {
        let of = OfToken {
            step,
            profile: "facebook_user-1001".parse().unwrap(),
            name: name.into(),
            token: TokenKind::Acquisition,
            token_id: "acquisition-alice".parse().unwrap(),
            owner: "alice".parse().unwrap(),
        };
        about(About::Token(of))
    }

    fn about(about: About) -> Notice {
        Notice { id: "1".into(), about, at: NOW, dismissed: false, to_administrators: false }
    }

    #[test]
    fn a_letter_says_whose_access_ends_when_and_where_to_sign_in() {
        let soon = notice("Alice Meyer", warning(29 * 86_400 - 60));
        let letter = write(&[&soon], Reader::Owner, "https://app.example/reauthenticate", NOW);
        assert_eq!(letter.subject, "Alice Meyer (Facebook profile): sign in again, access ends in 29 days");
        for part in [&letter.text, &letter.html.replace("&amp;", "&")] {
            assert!(
                part.contains("https://app.example/reauthenticate?profile=facebook_user-1001&token=acquisition"),
                "{part}"
            );
            assert!(part.contains("ends in 29 days"), "{part}");
        }
    }

    #[test]
    fn one_letter_lists_everything_with_the_most_urgent_first() {
        let ended = Step::Expired { expires_at: NOW - SignedDuration::from_secs(5) };
        let (later, over) = (notice("Later", warning(86_400 * 3)), notice("Over", ended));
        let letter = write(&[&later, &over], Reader::Owner, "https://app.example/r", NOW);
        assert_eq!(letter.subject, "2 connections need you to sign in again");
        assert!(letter.text.find("Over").unwrap() < letter.text.find("Later").unwrap());
        assert!(letter.text.contains("ended on"));
    }

    #[test]
    fn a_letter_about_a_dead_token_says_what_happened_what_stands_still_and_that_signing_in_mends_it() {
        for (reason, words) in [
            (Reason::RevokedByUser, "At Facebook the permission was taken back, or you logged out everywhere."),
            (Reason::PasswordChanged, "Your password at Facebook was changed, and Facebook then ends all access"),
            (Reason::Checkpoint, "please log in there first and answer what it asks"),
            (Reason::RoleLost, "please have the role given back to you first"),
            (Reason::RefreshRejected, "Facebook refused to renew it, and does not say why."),
            (
                Reason::LostAnswer,
                "the answer never reached us, and what we had before is void. Nobody did anything wrong",
            ),
            (Reason::Expired, "Its time at Facebook was over before it could be renewed."),
            (Reason::AppInTesting, "Our app is still in testing at Facebook, which ends after seven days"),
            (Reason::Restored, "what they hold for Facebook may have been used up since. Nobody did anything wrong"),
            (Reason::Policy, "Ask your organisation's administrator to allow the app before you sign in again."),
            (Reason::NoChannel, "Your account at Facebook has no channel."),
            (Reason::AccountClosed, "The account or channel at Facebook was closed."),
            (Reason::AccountSuspended, "Facebook suspended the account or channel."),
            (Reason::AppRemoved, "Our app was removed from your account at Facebook."),
        ] {
            let dead = notice("Alice Meyer", Step::Dead { reason, generation: 1 });
            let letter = write(&[&dead], Reader::Owner, "https://app.example/r", NOW + SignedDuration::from_mins(5));
            assert_eq!(letter.subject, "Alice Meyer (Facebook profile): sign in again, access no longer works");
            for part in [&letter.text, &letter.html.replace("&amp;", "&")] {
                for words in [
                    words,
                    "no longer works, as we noticed on 15 January 2027, 08:00 UTC",
                    "Until you sign in again, it brings in no posts.",
                    EASE,
                ] {
                    assert!(part.contains(words), "{reason:?}: {words}: {part}");
                }
                assert!(!part.contains(WHY), "it was no matter of time: {part}");
                assert_eq!(
                    part.matches("https://app.example/r?profile=facebook_user-1001&token=acquisition").count(),
                    1
                );
            }
        }
    }

    // S42
    #[test]
    fn a_name_from_a_network_can_break_neither_a_line_nor_the_page() {
        let evil = notice("Eve\r\nBcc: all@example.org<script>", warning(86_400));
        let letter = write(&[&evil], Reader::Owner, "https://app.example/r", NOW);
        assert!(!letter.subject.contains(['\r', '\n']));
        assert!(!letter.text.contains("\nBcc"));
        assert!(!letter.html.contains("<script>"));
    }

    #[test]
    fn administrators_read_whose_account_it_is_and_that_its_owner_alone_can_renew_it() {
        let owners = BTreeMap::from([("alice".parse().unwrap(), "alice@acme.example".to_owned())]);
        let (soon, dead) =
            (notice("Alice Meyer", warning(86_400 * 3)), Step::Dead { reason: Reason::Expired, generation: 1 });
        let letter = write(&[&soon], Reader::Administrators(&owners), "https://app.example/r", NOW);
        assert_eq!(letter.subject, "Alice Meyer (Facebook profile): access ends in 3 days");
        for part in [&letter.text, &letter.html] {
            for words in [
                "The access by alice@acme.example that reads public posts",
                "Sign in again as its owner",
                THEIRS,
                "your address is set as an administrator",
            ] {
                assert!(part.contains(words) || part.contains(&words.replace('\'', "&#39;")), "{words}: {part}");
            }
            assert!(!part.contains("Until you") && !part.contains(FOOT), "{part}");
        }
        let two = write(&[&soon, &notice("Bob", dead)], Reader::Administrators(&owners), "https://app.example/r", NOW);
        assert_eq!(two.subject, "2 connections need their owners to sign in again");
        assert!(two.text.contains("Until its owner signs in again, it brings in no posts."), "{}", two.text);
    }

    #[test]
    fn a_letter_about_acquisition_says_what_is_lost_and_comes_before_single_connections() {
        let at = |colour| about(About::Acquisition { network: Network::Facebook, colour });
        let (one, none, over) =
            (at(Colour::Yellow), at(Colour::Red), notice("Over", Step::Expired { expires_at: NOW }));
        for (notices, subject, words) in [
            (vec![&one], "Acquisition at Facebook lives on one token", "two tokens at least are recommended"),
            (vec![&none], "Acquisition at Facebook has stopped", "lost for good"),
            (
                vec![&over, &none],
                "Acquisition at Facebook has stopped; Over (Facebook profile): sign in again, access ended",
                "lost for good",
            ),
        ] {
            let letter = write(&notices, Reader::Owner, "https://app.example/r", NOW);
            assert_eq!(letter.subject, subject);
            assert!(letter.text.contains(words) && letter.html.contains(words), "{}", letter.text);
            assert!(letter.text.find("Acquisition at").unwrap() < letter.text.find("Over").unwrap_or(usize::MAX));
        }
    }
}
