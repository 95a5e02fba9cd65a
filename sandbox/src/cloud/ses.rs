//! A stand-in for SES: takes raw mails from verified senders and keeps them to be read.

use std::{collections::BTreeSet, io};

use axum::response::{IntoResponse as _, Response};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::header::CONTENT_TYPE;
use jiff::Timestamp;
use mail_parser::{Address, Message, MessageParser, MessagePart, PartType};
use serde::{Deserialize, Serialize};
use shared::clock::Clock;

use super::{REGION, Refusal};
use crate::data::{DataDir, Saved};

/// The XML namespace of SES's answers.
pub(super) const NAMESPACE: &str = "http://ses.amazonaws.com/doc/2010-12-01/";

/// A mail as its recipient sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// The addresses that it was delivered to.
    pub to: Vec<String>,
    /// The subject, decoded.
    pub subject: String,
    /// The `text/plain` part; empty when the mail has none.
    pub text: String,
    /// The `text/html` part; empty when the mail has none.
    pub html: String,
    /// When SES took it, by the sandbox's clock.
    pub sent_at: Timestamp,
}

#[derive(Clone)]
pub(super) struct Ses {
    clock: Clock,
    senders: BTreeSet<String>,
    sent: Saved<Vec<Sent>>,
}

#[derive(Serialize, Deserialize)]
struct Sent {
    #[serde(flatten)]
    mail: Mail,
    raw: String,
}

/// The parameters of `SendRawEmail`.
#[derive(Default)]
struct SendRawEmail {
    source: Option<String>,
    destinations: Vec<String>,
    message: Vec<u8>,
}

impl Ses {
    pub(super) fn open(dir: &DataDir, clock: Clock, senders: &[String]) -> io::Result<Self> {
        let senders = senders.iter().map(|sender| sender.to_ascii_lowercase()).collect();
        Ok(Self { clock, senders, sent: Saved::open(dir, "mail.json", Vec::new)? })
    }

    pub(super) fn mailbox(&self) -> Vec<Mail> {
        self.sent.read(|sent| sent.iter().map(|sent| sent.mail.clone()).collect())
    }

    pub(super) fn raw_mailbox(&self) -> Vec<String> {
        self.sent.read(|sent| sent.iter().map(|sent| sent.raw.clone()).collect())
    }

    pub(super) fn answer(&self, operation: &str, body: &[u8]) -> Response {
        let sent = match operation {
            "SendRawEmail" => SendRawEmail::parse(body).and_then(|request| self.send(request)),
            "GetIdentityVerificationAttributes" => return self.verified(body),
            "GetAccountSendingEnabled" => return result(operation, &maud::html! { Enabled { "true" } }),
            "GetSendQuota" => {
                let quota = maud::html! { Max24HourSend { "50000" } MaxSendRate { "14" } SentLast24Hours { "0" } };
                return result(operation, &quota);
            }
            _ => Err(Refusal::unknown_operation(operation)),
        };
        match sent {
            Ok(message_id) => {
                let answer = maud::html! {
                    SendRawEmailResponse xmlns=(NAMESPACE) { SendRawEmailResult { MessageId { (message_id) } } }
                };
                ([(CONTENT_TYPE, "text/xml")], answer.into_string()).into_response()
            }
            Err(refusal) => refusal.xml(),
        }
    }

    /// Of the identities that were asked for those that may send.
    fn verified(&self, body: &[u8]) -> Response {
        let asked = url::form_urlencoded::parse(body).filter(|(name, _)| name.starts_with("Identities.member."));
        let verified: Vec<_> = asked.map(|(_, value)| value).filter(|value| self.verify(value).is_ok()).collect();
        result(
            "GetIdentityVerificationAttributes",
            &maud::html! { VerificationAttributes {
                @for identity in &verified {
                    entry { key { (identity) } value { VerificationStatus { "Success" } } }
                }
            } },
        )
    }

    /// Keeps the mail and answers its message id.
    fn send(&self, request: SendRawEmail) -> Result<String, Refusal> {
        let message = MessageParser::default().parse(&request.message).ok_or_else(|| rejected("Invalid message."))?;
        let from = addresses(message.from());
        for sender in request.source.iter().chain(&from) {
            self.verify(sender)?;
        }
        if from.is_empty() {
            return Err(rejected("Missing required header 'From'."));
        }
        let to = if request.destinations.is_empty() {
            [message.to(), message.cc(), message.bcc()].into_iter().flat_map(addresses).collect()
        } else {
            request.destinations
        };
        if to.is_empty() {
            return Err(Refusal::new("InvalidParameterValue", "Missing final '@domain'"));
        }
        let mail = Mail {
            to,
            subject: message.subject().unwrap_or_default().to_owned(),
            text: first_text(&message),
            html: first_html(&message),
            sent_at: self.clock.now(),
        };
        let raw = String::from_utf8_lossy(&request.message).into_owned();
        Ok(self.sent.change(|sent| {
            sent.push(Sent { mail, raw });
            format!("{:016x}-sandbox", sent.len())
        }))
    }

    fn verify(&self, sender: &str) -> Result<(), Refusal> {
        let address = sender.rsplit_once('<').map_or(sender, |(_, address)| address.trim_end_matches('>'));
        if self.senders.contains(&address.to_ascii_lowercase()) {
            return Ok(());
        }
        let region = REGION.to_ascii_uppercase();
        Err(rejected(&format!(
            "Email address is not verified. The following identities failed the check in region {region}: {sender}"
        )))
    }
}

/// What SES wraps the answer of an operation in.
fn result(operation: &str, inner: &maud::Markup) -> Response {
    let answer = format!(
        "<{operation}Response xmlns=\"{NAMESPACE}\"><{operation}Result>{}</{operation}Result></{operation}Response>",
        inner.0
    );
    ([(CONTENT_TYPE, "text/xml")], answer).into_response()
}

impl SendRawEmail {
    fn parse(form: &[u8]) -> Result<Self, Refusal> {
        let mut request = Self::default();
        for (name, value) in url::form_urlencoded::parse(form) {
            match &*name {
                "Action" | "Version" => {}
                "Source" => request.source = Some(value.into_owned()),
                "RawMessage.Data" => {
                    request.message = BASE64_STANDARD
                        .decode(&*value)
                        .map_err(|error| Refusal::new("InvalidParameterValue", error.to_string()))?;
                }
                name if name.starts_with("Destinations.member.") => request.destinations.push(value.into_owned()),
                other => {
                    let message = format!("the sandbox does not know the parameter '{other}'");
                    return Err(Refusal::new("InvalidParameterValue", message));
                }
            }
        }
        Ok(request)
    }
}

fn addresses(header: Option<&Address<'_>>) -> Vec<String> {
    let addresses = header.into_iter().flat_map(Address::iter);
    addresses.filter_map(|address| address.address()).map(str::to_owned).collect()
}

/// The first part that is plain text; a text made up from the HTML would hide that there is none.
fn first_text(message: &Message<'_>) -> String {
    let text = |part: &MessagePart<'_>| match &part.body {
        PartType::Text(text) => Some(text.to_string()),
        _ => None,
    };
    message.text_bodies().find_map(text).unwrap_or_default()
}

fn first_html(message: &Message<'_>) -> String {
    let html = |part: &MessagePart<'_>| match &part.body {
        PartType::Html(html) => Some(html.to_string()),
        _ => None,
    };
    message.html_bodies().find_map(html).unwrap_or_default()
}

fn rejected(message: &str) -> Refusal {
    Refusal::new("MessageRejected", message)
}
