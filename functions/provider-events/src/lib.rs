//! What networks and the mail service tell without being asked: that an app was removed, that a person wants to be
//! forgotten, that an address does not want mail.
//!
//! No caller is authorised here, so each message proves its sender itself: Meta's and X's with a secret that they share
//! with the app, Google's with a key that Google publishes, the mail service's by coming through the event bus, which
//! nothing else can invoke this function from. What is not proven changes nothing and says nothing.
//!
//! A proven message is written down before it is followed, so that it is followed to its end whatever happens, and once
//! however often it comes.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    routing::{get, post},
};
use serde_json::Value;
use shared::{
    apps::Apps,
    clock::{Clock, Deadline},
    edge::{self, ApiError, Code, Fatal},
    exchange::Exchange,
    jwks::KeyRing,
    network::events::{AccountEvent, Distrust},
    secret::SecretHash,
    store::{StoreError, account_events::Received, flows::Flows, profiles::Vault},
};

mod deletion;
mod google;
mod mail;
mod meta;
mod x;

/// How long a network waits while tokens end, before the sweep takes over.
const ENDING_LIMIT: Duration = Duration::from_secs(15);

/// Everything that this function can reach; the same list as its IAM statements.
pub struct ProviderEvents {
    /// The tokens that end, and the addresses that are not written to any more.
    pub vault: Vault,
    /// The messages that came.
    pub flows: Flows,
    /// The apps whose secrets prove a message.
    pub apps: Apps,
    /// Fetches the keys that Google signs with.
    pub exchange: Exchange,
    /// Keeps them.
    pub google_keys: KeyRing,
    /// Where people find the page that tells what became of a deletion, without a trailing slash.
    pub public_url: String,
    /// The time.
    pub clock: Clock,
}

/// The function as it is invoked: by the HTTP API, and by the event bus with what the mail service tells.
pub struct Function {
    events: Arc<ProviderEvents>,
    routes: Router,
}

impl Function {
    /// The function that reaches this.
    #[must_use]
    pub fn new(events: ProviderEvents) -> Self {
        let clock = events.clock.clone();
        let events = Arc::new(events);
        let routes = Router::new()
            .route("/events/meta/deauthorize", post(meta::deauthorize))
            .route("/events/meta/data-deletion", post(meta::delete_data))
            .route("/data-deletion/{code}", get(deletion::look))
            .route("/events/google/risc", post(google::hear))
            .route("/events/x", get(x::answer_challenge).post(x::hear))
            .with_state(Arc::clone(&events));
        Self { events, routes: edge::around(routes, clock) }
    }

    /// One invocation. An event of the event bus has its source outside of everything that a request to the API could
    /// hold.
    ///
    /// # Errors
    /// When the event is neither, or what it says cannot be written down now.
    pub async fn invoke(&self, event: Value) -> Result<Value, Fatal> {
        match event["source"].as_str() {
            Some(mail::SOURCE) => Ok(self.events.hear_mail_service(event).await?),
            _ => edge::invoke(&self.routes, event).await,
        }
    }
}

impl ProviderEvents {
    /// Follows a message as far as there is time; tells what is known of it then.
    async fn follow(&self, id: &SecretHash, event: &AccountEvent, deadline: Deadline) -> Result<Received, StoreError> {
        let now = self.clock.now();
        let mut received = self.flows.receive(id, event, now).await?;
        if let Ok(event) = &received.todo {
            let limit = Deadline::after(deadline.left().min(ENDING_LIMIT));
            let met = self.vault.meet(event, limit, now).await?;
            tracing::info!(network = %event.network, fate = ?event.fate, tokens = met.tokens, complete = met.complete,
                "a network told of an account");
            if met.complete {
                self.flows.finish(&received, now).await?;
                received.todo = Err(now);
            }
        }
        Ok(received)
    }
}

/// The refusal of a message that proves nothing; why stands in the log alone, so that nobody learns by trying.
fn refuse(sender: &'static str, why: Distrust) -> ApiError {
    tracing::warn!(sender, %why, "a message is not taken for its sender's");
    ApiError::new(Code::SenderNotProven, "Nothing here proves who sent this, so nothing was done.")
}
