//! `/mail`: everything that was mailed, as a mail program would show it.

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use maud::{Markup, html};

use super::{World, page};
use crate::cloud::Mail;

pub(super) async fn show(State(parts): World) -> Response {
    let mails = parts.cloud.mailbox();
    let body = html! {
        h1 { "Mailbox" }
        p.soft { "Every mail that was sent, whoever it was for, the newest first. None of them left this machine." }
        @if mails.is_empty() {
            section.card { p { "No mail yet. Connect a Facebook profile, then let a month pass on the "
                a href="/" { "start page" } "." } }
        }
        @for (at, mail) in mails.iter().rev().enumerate() { (letter(mail, at == 0)) }
    };
    page(&parts, "Mailbox", &body).into_response()
}

fn letter(mail: &Mail, open: bool) -> Markup {
    html! {
        details.card.mail open[open] {
            summary {
                b { (mail.subject) }
                span.soft { "to " (mail.to.join(", ")) " · " (mail.sent_at.strftime("%-d %B %Y, %H:%M UTC").to_string()) }
            }
            @if !mail.html.is_empty() {
                // no scripts, no forms; a link opens outside of the frame
                iframe title=(mail.subject) sandbox="allow-popups allow-popups-to-escape-sandbox"
                    srcdoc=(format!("<base target=\"_blank\">{}", mail.html)) {}
            }
            details {
                summary { "As plain text" }
                pre { (linked(&mail.text)) }
            }
        }
    }
}

/// The text with its addresses made links.
fn linked(text: &str) -> Markup {
    html! {
        @for word in text.split_inclusive(char::is_whitespace) {
            @let address = word.trim_end();
            @if address.starts_with("http://") || address.starts_with("https://") {
                a href=(address) target="_blank" rel="noopener" { (address) } (&word[address.len()..])
            } @else { (word) }
        }
    }
}
