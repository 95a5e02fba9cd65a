//! A stand-in for SES: takes raw mails from verified senders and keeps them to be read.
//!
//! Addresses of SES's own mailbox simulator bounce and complain as they do there, which is told to the event bus where
//! the mail names a configuration set.
//! Source: <https://docs.aws.amazon.com/ses/latest/dg/send-an-email-from-console.html>

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};

use axum::response::{IntoResponse as _, Response};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::header::CONTENT_TYPE;
use jiff::Timestamp;
use mail_parser::{Address, Message, MessageParser, MessagePart, PartType};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::clock::Clock;
use tokio::sync::mpsc;

use super::{ACCOUNT, REGION, Refusal};
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
    configuration_sets: Arc<[String]>,
    bus: mpsc::UnboundedSender<Value>,
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
    configuration_set: Option<String>,
    /// Names and values, by their numbers.
    tags: BTreeMap<String, (String, String)>,
}

impl Ses {
    pub(super) fn open(
        dir: &DataDir,
        clock: Clock,
        senders: &[String],
        configuration_sets: Vec<String>,
        bus: mpsc::UnboundedSender<Value>,
    ) -> io::Result<Self> {
        let senders = senders.iter().map(|sender| sender.to_ascii_lowercase()).collect();
        let sent = Saved::open(dir, "mail.json", Vec::new)?;
        Ok(Self { clock, senders, configuration_sets: configuration_sets.into(), bus, sent })
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
        if !to.iter().all(|to| to.is_ascii()) {
            return Err(Refusal::new("InvalidParameterValue", "Local address contains control or whitespace"));
        }
        if let Some(set) = request.configuration_set.as_ref().filter(|set| !self.configuration_sets.contains(set)) {
            let message = format!("Configuration set <{set}> does not exist.");
            return Err(Refusal::new("ConfigurationSetDoesNotExist", message));
        }
        let mail = Mail {
            to,
            subject: message.subject().unwrap_or_default().to_owned(),
            text: first_text(&message),
            html: first_html(&message),
            sent_at: self.clock.now(),
        };
        let raw = String::from_utf8_lossy(&request.message).into_owned();
        let to = mail.to.clone();
        let message_id = self.sent.change(|sent| {
            sent.push(Sent { mail, raw });
            format!("{:016x}-sandbox", sent.len())
        });
        if let Some(set) = request.configuration_set {
            let mut tags: BTreeMap<_, _> =
                request.tags.into_values().map(|(name, value)| (name, json!([value]))).collect();
            tags.insert("ses:configuration-set".to_owned(), json!([set]));
            self.tell(&message_id, &to, &tags);
        }
        Ok(message_id)
    }

    /// Tells the event bus what becomes of a mail, as far as the mailbox simulator decides.
    fn tell(&self, message_id: &str, to: &[String], tags: &BTreeMap<String, Value>) {
        let now = self.clock.now();
        let reached = |mailbox: &str| -> Vec<Value> {
            let simulated = to.iter().filter(|to| simulates(to, mailbox));
            simulated.map(|to| json!({ "emailAddress": to })).collect()
        };
        let bounced = |kind: &str, subtype: &str, recipients: Vec<Value>| {
            let bounce = json!({ "bounceType": kind, "bounceSubType": subtype, "bouncedRecipients": &recipients, "timestamp": now });
            (recipients, "Email Bounced", json!({ "eventType": "Bounce", "bounce": bounce }))
        };
        let complained = reached("complaint");
        let complaint =
            json!({ "complainedRecipients": &complained, "timestamp": now, "complaintFeedbackType": "abuse" });
        for (recipients, kind, mut detail) in [
            bounced("Permanent", "General", reached("bounce")),
            bounced("Transient", "MailboxFull", reached("ooto")),
            (complained, "Email Complaint Received", json!({ "eventType": "Complaint", "complaint": complaint })),
        ] {
            if recipients.is_empty() {
                continue;
            }
            detail["mail"] = json!({ "timestamp": now, "messageId": message_id, "destination": to, "tags": tags });
            let event = json!({
                "version": "0",
                "id": "00000000-0000-0000-0000-000000000000",
                "detail-type": kind,
                "source": "aws.ses",
                "account": ACCOUNT,
                "time": now,
                "region": REGION,
                "resources": [],
                "detail": detail,
            });
            if self.bus.send(event).is_err() {
                tracing::debug!("nobody listens to the event bus");
            }
        }
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
                "ConfigurationSetName" => request.configuration_set = Some(value.into_owned()),
                name if name.starts_with("Tags.member.") => {
                    let (number, part) = name["Tags.member.".len()..].split_once('.').unwrap_or_default();
                    let tag = request.tags.entry(number.to_owned()).or_default();
                    *(if part == "Name" { &mut tag.0 } else { &mut tag.1 }) = value.into_owned();
                }
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

/// Whether `address` is this mailbox of the simulator, with or without a label.
fn simulates(address: &str, mailbox: &str) -> bool {
    let local = address.strip_suffix("@simulator.amazonses.com");
    local.and_then(|local| local.split('+').next()) == Some(mailbox)
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
