//! The mail: one letter that lists everything, each with its link straight to the sign-in.

use jiff::Timestamp;
use maud::{DOCTYPE, html};
use shared::{
    mail::Letter,
    profile::TokenKind,
    store::outbox::Notice,
    token::{Step, days_left},
};

/// Writes the letter about `notices`, of which there is at least one.
pub(crate) fn write(notices: &[&Notice], reauthenticate_url: &str, now: Timestamp) -> Letter {
    let mut lines: Vec<Line> = notices.iter().map(|notice| Line::of(notice, reauthenticate_url, now)).collect();
    lines.sort_by_key(|line| line.ends);
    Letter { subject: subject(&lines), text: text(&lines), html: page(&lines) }
}

/// What is said of one token.
struct Line {
    ends: Timestamp,
    over: bool,
    /// For example `Alice Meyer (Facebook profile)`.
    whose: String,
    /// What it is for.
    purpose: &'static str,
    /// For example `ends in 29 days`.
    soon: String,
    /// For example `ends in 29 days, on 22 January 2027`.
    when: String,
    link: String,
}

impl Line {
    fn of(notice: &Notice, reauthenticate_url: &str, now: Timestamp) -> Self {
        let ends = notice.expires_at;
        let on = ends.strftime("%-d %B %Y, %H:%M UTC");
        let over = notice.step == Step::Expired;
        let soon = match (over, days_left(ends, now)) {
            (true, _) => "ended".to_owned(),
            (false, 1) => "ends within a day".to_owned(),
            (false, days) => format!("ends in {days} days"),
        };
        let when = if over { format!("{soon} on {on}") } else { format!("{soon}, on {on}") };
        let separator = if reauthenticate_url.contains('?') { '&' } else { '?' };
        Self {
            ends,
            over,
            whose: format!("{} ({})", one_line(&notice.name), notice.profile.kind().title()),
            purpose: match notice.token {
                TokenKind::Acquisition => "reads public posts",
                TokenKind::Interaction => "publishes and replies",
            },
            soon,
            when,
            link: format!("{reauthenticate_url}{separator}profile={}&token={}", notice.profile, notice.token.as_str()),
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
        _ if lines.iter().any(|line| line.over) => format!("{} connections need you to sign in again", lines.len()),
        _ => format!("{} connections will soon need you to sign in again", lines.len()),
    }
}

const WHY: &str = "The network gives access for a limited time, and only you can extend it: sign in there once more. It takes a \
                   minute, and nothing else about the connection changes.";
const FOOT: &str = "You get this because you connected these accounts. Tokenward never asks for a password by mail.";

fn text(lines: &[Line]) -> String {
    let opening = if lines.len() == 1 { "a connection of yours needs you:" } else { "connections of yours need you:" };
    let item = |Line { whose, purpose, when, link, .. }: &Line| {
        format!("* {whose}\n  The access that {purpose} {when}.\n  Sign in again: {link}\n\n")
    };
    let items: String = lines.iter().map(item).collect();
    format!("Hello,\n\n{opening}\n\n{items}{WHY}\n\n-- \n{FOOT}\n")
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
                            if line.over { "#c0362c" } else { "#e08a00" },
                        )) {
                            p.ink style="margin:0 0 4px;font-size:18px;font-weight:600;color:#1c2430" { (line.whose) }
                            p.ink style="margin:0 0 16px;color:#1c2430" { "The access that " (line.purpose) " " strong { (line.when) } "." }
                            a href=(line.link) style=(button) { "Sign in again" }
                        }
                    }
                    p.soft style="margin:16px 4px;color:#5b6675;font-size:14px" { (WHY) }
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

    fn notice(name: &str, step: Step, seconds: i64) -> Notice {
        let token_id = "acquisition-alice".parse().unwrap();
        let profile = "facebook_user-1001".parse().unwrap();
        Notice {
            id: "1".into(),
            step,
            profile,
            name: name.into(),
            token: TokenKind::Acquisition,
            token_id,
            expires_at: NOW + SignedDuration::from_secs(seconds),
            days_left: 0,
            at: NOW,
            dismissed: false,
        }
    }

    #[test]
    fn a_letter_says_whose_access_ends_when_and_where_to_sign_in() {
        let soon = notice("Alice Meyer", Step::Warning, 29 * 86_400 - 60);
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
        let (later, over) = (notice("Later", Step::Warning, 86_400 * 3), notice("Over", Step::Expired, -5));
        let letter = write(&[&later, &over], "https://app.example/r", NOW);
        assert_eq!(letter.subject, "2 connections need you to sign in again");
        assert!(letter.text.find("Over").unwrap() < letter.text.find("Later").unwrap());
        assert!(letter.text.contains("ended on"));
    }

    // S42
    #[test]
    fn a_name_from_a_network_can_break_neither_a_line_nor_the_page() {
        let evil = notice("Eve\r\nBcc: all@example.org<script>", Step::Warning, 86_400);
        let letter = write(&[&evil], "https://app.example/r", NOW);
        assert!(!letter.subject.contains(['\r', '\n']));
        assert!(!letter.text.contains("\nBcc"));
        assert!(!letter.html.contains("<script>"));
    }
}
