//! Everything that is tested across functions: journeys, contracts, security, architecture.
//!
//! Each test starts a sandbox of its own on free ports and goes through its front door. The
//! numbers beside tests are those of `SECURITY.md`.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

mod architecture;
mod authorization;
mod contracts;
mod events;
mod exchange;
mod flow;
mod hostile_answers;
mod journeys;
mod networks_talk;
mod outcomes;
mod sealing;
mod secrets;
mod support;
