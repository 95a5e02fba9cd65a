//! The mail: one letter that lists everything, each with its link straight to the sign-in.

use jiff::Timestamp;
use maud::{DOCTYPE, html};
use shared::{
    mail::Letter,
    profile::{Network, TokenKind},
    store::outbox::Notice,
    token::{Reason, Step, days_left},
};

/// Writes the letter about `notices`, of which there is at least one.
pub(crate) fn write(notices: &[&Notice], reauthenticate_url: &str, now: Timestamp) -> Letter {
    let mut lines: Vec<Line> = notices.iter().map(|notice| Line::of(notice, reauthenticate_url, now)).collect();
    lines.sort_by_key(|line| line.ends);
    Letter { subject: subject(&lines), text: text(&lines), html: page(&lines) }
}

/// What is said of one token.
struct Line {
    step: Step,
    /// When the access ends, ended, or was found dead.
    ends: Timestamp,
    /// For example `Alice Meyer (Facebook profile)`.
    whose: String,
    /// What it is for.
    purpose: &'static str,
    /// For example `ends in 29 days`.
    soon: String,
    /// For example `ends in 29 days, on 22 January 2027`.
    when: String,
    /// Why it ended, where that is no matter of time, and what stands still.
    note: Option<String>,
    link: String,
}

impl Line {
    fn of(notice: &Notice, reauthenticate_url: &str, now: Timestamp) -> Self {
        let kind = notice.profile.kind();
        let (purpose, standstill) = match notice.token {
            TokenKind::Acquisition => ("reads public posts", "Until you sign in again, it brings in no posts."),
            TokenKind::Interaction => {
                ("publishes and replies", "Until you sign in again, nothing is published or answered with it.")
            }
        };
        let on = |at: Timestamp| at.strftime("%-d %B %Y, %H:%M UTC").to_string();
        let (ends, soon, when, note) = match notice.step {
            Step::Warning { expires_at } => {
                let soon = match days_left(expires_at, now) {
                    1 => "ends within a day".to_owned(),
                    days => format!("ends in {days} days"),
                };
                let when = format!("{soon}, on {}", on(expires_at));
                (expires_at, soon, when, None)
            }
            Step::Expired { expires_at } => {
                let when = format!("ended on {}", on(expires_at));
                (expires_at, "ended".to_owned(), when, Some(standstill.to_owned()))
            }
            Step::Dead { reason, .. } => {
                let when = format!("no longer works, as we noticed on {}", on(notice.at));
                let note = format!("{} {standstill}", cause(reason, kind.network()));
                (notice.at, "no longer works".to_owned(), when, Some(note))
            }
        };
        let separator = if reauthenticate_url.contains('?') { '&' } else { '?' };
        Self {
            step: notice.step,
            ends,
            whose: format!("{} ({})", one_line(&notice.name), kind.title()),
            purpose,
            soon,
            when,
            note,
            link: format!("{reauthenticate_url}{separator}profile={}&token={}", notice.profile, notice.token.as_str()),
        }
    }

    fn is_warning(&self) -> bool {
        matches!(self.step, Step::Warning { .. })
    }
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
        Reason::AppRemoved => {
            format!("Our app was removed from your account at {network}. Signing in again brings it back.")
        }
    }
}

/// A name comes from a network: no line break of its may begin a line of ours.
fn one_line(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { ' ' } else { c }).take(80).collect()
}

fn subject(lines: &[Line]) -> String {
    match lines {
        [only] => format!("{}: sign in again, access {}", only.whose, only.soon),
        _ if lines.iter().all(Line::is_warning) => {
            format!("{} connections will soon need you to sign in again", lines.len())
        }
        _ => format!("{} connections need you to sign in again", lines.len()),
    }
}

const WHY: &str = "The network gives access for a limited time, and only you can extend it: sign in there once more.";
const EASE: &str = "Signing in takes a minute, and nothing else about the connection changes.";
const FOOT: &str = "You get this because you connected these accounts. Tokenward never asks for a password by mail.";

/// Why anybody has to sign in again, unless each line has said so itself, and that it is no trouble.
fn explanation(lines: &[Line]) -> String {
    if lines.iter().all(|line| matches!(line.step, Step::Dead { .. })) {
        EASE.to_owned()
    } else {
        format!("{WHY} {EASE}")
    }
}

fn text(lines: &[Line]) -> String {
    let opening = if lines.len() == 1 { "a connection of yours needs you:" } else { "connections of yours need you:" };
    let item = |Line { whose, purpose, when, note, link, .. }: &Line| {
        let note = note.as_ref().map_or_else(String::new, |note| format!("  {note}\n"));
        format!("* {whose}\n  The access that {purpose} {when}.\n{note}  Sign in again: {link}\n\n")
    };
    let items: String = lines.iter().map(item).collect();
    format!("Hello,\n\n{opening}\n\n{items}{}\n\n-- \n{FOOT}\n", explanation(lines))
}

fn page(lines: &[Line]) -> String {
    let font = "font-family:system-ui,-apple-system,'Segoe UI',Roboto,sans-serif";
    let button = "display:inline-block;background:#1f5eff;color:#ffffff;text-decoration:none;font-weight:600;padding:10px 18px;\
                  border-radius:8px";
    let style = ":root{color-scheme:light dark;supported-color-schemes:light dark}\
                 @media(prefers-color-scheme:dark){.paper{background:#12161c!important}.card{background:#1a2028!important;\
                 border-color:#2b333d!important}.ink{color:#e8ecf1!important}.soft{color:#9aa6b4!important}}";
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
                        div.card style=(format!(
                            "background:#ffffff;border:1px solid #e1e5ea;border-left:4px solid {};border-radius:10px;padding:20px;\
                             margin:0 0 14px",
                            if line.is_warning() { "#e08a00" } else { "#c0362c" },
                        )) {
                            p.ink style="margin:0 0 4px;font-size:18px;font-weight:600;color:#1c2430" { (line.whose) }
                            p.ink style="margin:0 0 16px;color:#1c2430" { "The access that " (line.purpose) " " strong { (line.when) } "." }
                            @if let Some(note) = &line.note {
                                p.ink style="margin:0 0 16px;color:#1c2430" { (note) }
                            }
                            a href=(line.link) style=(button) { "Sign in again" }
                        }
                    }
                    p.soft style="margin:16px 4px;color:#5b6675;font-size:14px" { (explanation(lines)) }
                    p.soft style="margin:16px 4px;color:#5b6675;font-size:13px" { (FOOT) }
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
        let token_id = "acquisition-alice".parse().unwrap();
        let profile = "facebook_user-1001".parse().unwrap();
        Notice {
            id: "1".into(),
            step,
            profile,
            name: name.into(),
            token: TokenKind::Acquisition,
            token_id,
            at: NOW,
            dismissed: false,
        }
    }

    #[test]
    fn a_letter_says_whose_access_ends_when_and_where_to_sign_in() {
        let soon = notice("Alice Meyer", warning(29 * 86_400 - 60));
        let letter = write(&[&soon], "https://app.example/reauthenticate", NOW);
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
        let letter = write(&[&later, &over], "https://app.example/r", NOW);
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
            (Reason::AppRemoved, "Our app was removed from your account at Facebook."),
        ] {
            let dead = notice("Alice Meyer", Step::Dead { reason, generation: 1 });
            let letter = write(&[&dead], "https://app.example/r", NOW + SignedDuration::from_mins(5));
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
        let letter = write(&[&evil], "https://app.example/r", NOW);
        assert!(!letter.subject.contains(['\r', '\n']));
        assert!(!letter.text.contains("\nBcc"));
        assert!(!letter.html.contains("<script>"));
    }
}
