//! What happens to a token is drawn, whatever happens in whatever order: at the store, and through the front door.
//!
//! The drawing stands here once, taken from the product's description and not from its code.

mod store;
mod walks;

/// What leads from one state of a credential to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// The network limits it.
    Limit,
    /// Time passed.
    Time,
    /// The network answered something that proves that it is dead.
    Death,
    /// An answer of the network that had been lost was found.
    Found,
    /// Its owner signed in again.
    SignIn,
}

/// What leads from a state to another, by their published names and the reason of a death. `expiring` is `active`.
///
/// What leads nowhere is never in here: a state may stay whatever happens.
fn causes(from: (&str, Option<&str>), to: &str) -> &'static [Cause] {
    match (from.0, to) {
        ("active", "cooling_down") => &[Cause::Limit],
        ("cooling_down", "active") => &[Cause::Time, Cause::SignIn],
        ("active" | "cooling_down", "expired") => &[Cause::Time],
        ("active" | "cooling_down", "needs_reauth") => &[Cause::Death],
        ("needs_reauth", "active") if from.1 == Some("lost_answer") => &[Cause::Found, Cause::SignIn],
        ("expired" | "needs_reauth", "active") => &[Cause::SignIn],
        _ => &[],
    }
}
