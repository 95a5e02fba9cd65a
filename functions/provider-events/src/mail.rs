//! What the mail service tells through the event bus: that a mail came back, or that its reader complained.
//!
//! Source: <https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html>, whose records are
//! the `detail` of the bus's events.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::{
    access::TenantId,
    edge::Fatal,
    mail::TENANT_TAG,
    store::suppressions::{Suppression, Trouble},
};

use crate::ProviderEvents;

/// How the event bus names the mail service.
pub(crate) const SOURCE: &str = "aws.ses";

#[derive(Deserialize)]
struct FromBus {
    detail: Detail,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    event_type: String,
    bounce: Option<Bounce>,
    complaint: Option<Complaint>,
    mail: Mail,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bounce {
    /// `Permanent`, `Transient` or `Undetermined`.
    bounce_type: String,
    bounced_recipients: Vec<Recipient>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Complaint {
    complained_recipients: Vec<Recipient>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Recipient {
    email_address: String,
}

#[derive(Deserialize)]
struct Mail {
    timestamp: Timestamp,
    #[serde(default)]
    tags: BTreeMap<String, Vec<String>>,
}

impl Detail {
    /// The addresses that are not to be written to any more, and why. A mail that came back for now says nothing of the
    /// next one.
    fn troubled(&self) -> Option<(Trouble, &[Recipient])> {
        match (&*self.event_type, &self.bounce, &self.complaint) {
            ("Bounce", Some(bounce), _) if bounce.bounce_type == "Permanent" => {
                Some((Trouble::Bounced, &bounce.bounced_recipients))
            }
            ("Complaint", _, Some(complaint)) => Some((Trouble::Complained, &complaint.complained_recipients)),
            _ => None,
        }
    }

    /// The tenant that the mail was sent for.
    fn tenant(&self) -> Option<TenantId> {
        match self.mail.tags.get(TENANT_TAG).map(Vec::as_slice) {
            Some([tenant]) => tenant.parse().ok(),
            _ => None,
        }
    }
}

/// The address of `Jane Doe <jane@example.org>`.
fn bare(address: &str) -> &str {
    address.rsplit_once('<').map_or(address, |(_, address)| address.trim_end_matches('>'))
}

impl ProviderEvents {
    /// One event of the mail service; the answer says how many addresses are not written to any more.
    pub(crate) async fn hear_mail_service(&self, event: Value) -> Result<Value, Fatal> {
        let FromBus { detail } = serde_json::from_value(event)?;
        let (Some((reason, recipients)), Some(tenant)) = (detail.troubled(), detail.tenant()) else {
            tracing::info!(kind = %detail.event_type, "the mail service told something that concerns no address here");
            return Ok(json!({ "suppressed": 0 }));
        };
        let (mut suppressed, since) = (0, self.clock.now());
        for Recipient { email_address } in recipients {
            let suppression = Suppression { reason, since };
            let written = self.vault.suppress(&tenant, bare(email_address), suppression, detail.mail.timestamp).await?;
            suppressed += u32::from(written);
        }
        tracing::warn!(%tenant, ?reason, suppressed, "addresses are not written to any more");
        Ok(json!({ "suppressed": suppressed }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // S60
    #[test]
    fn what_comes_back_for_good_and_complaints_suppress_and_nothing_else_does() {
        let bounce = |kind: &str| {
            let bounced = json!([{ "emailAddress": "a@x.example" }]);
            json!({ "eventType": "Bounce", "bounce": { "bounceType": kind, "bouncedRecipients": bounced } })
        };
        let complaint = json!([{ "emailAddress": "Jane <a@x.example>" }]);
        let complaint = json!({ "eventType": "Complaint", "complaint": { "complainedRecipients": complaint } });
        for (mut detail, trouble) in [
            (bounce("Permanent"), Some(Trouble::Bounced)),
            (bounce("Transient"), None),
            (bounce("Undetermined"), None),
            (complaint, Some(Trouble::Complained)),
            (json!({ "eventType": "Delivery" }), None),
            (json!({ "eventType": "Bounce" }), None),
        ] {
            detail["mail"] = json!({ "timestamp": "2026-11-25T09:00:00.123Z", "tags": { "tenant": ["acme"] } });
            let detail: Detail = serde_json::from_value(detail).unwrap();
            let told = detail.troubled();
            assert_eq!(told.map(|(trouble, _)| trouble), trouble, "{}", detail.event_type);
            assert!(told.is_none_or(|(_, of)| of.iter().all(|of| bare(&of.email_address) == "a@x.example")));
            assert_eq!(detail.tenant().unwrap().as_str(), "acme");
        }
    }
}
