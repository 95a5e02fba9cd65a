//! Everything that is tested across functions: journeys, contracts, security, architecture.
//!
//! Each test starts a sandbox of its own on free ports and goes through its front door. The
//! numbers beside tests are those of `SECURITY.md`.
#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

mod access;
mod apps;
mod architecture;
mod attribution;
mod authorization;
mod capabilities;
mod capacity;
mod contracts;
mod dead;
mod ends;
mod estate;
mod events;
mod exchange;
mod faults;
mod flow;
mod health;
mod history;
mod hostile_answers;
mod hostile_requests;
mod input;
mod invocation;
mod journeys;
mod leases;
mod metrics;
mod networks_talk;
mod openapi;
mod operator;
mod outage_hour;
mod outages;
mod outcomes;
mod pages;
mod paging;
mod people;
mod provider_events;
mod refresh;
mod rules;
mod sealing;
mod secrets;
mod settings;
mod simulation;
mod support;
mod supply;
mod sweep;
mod template;
mod transitions;
mod upkeep;
mod user_pool;
mod worse;
