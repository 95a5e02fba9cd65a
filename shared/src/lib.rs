//! The domain of Tokenward and its few doors to the outside, from pure to impure: a module uses
//! those above it in this list and none below.

pub mod clock;
pub mod recent;
pub mod profile;
pub mod metrics;
pub mod access;
pub mod ladder;
pub mod token;
pub mod health;
pub mod random;
pub mod rule;
pub mod history;
pub mod secret;
pub mod seal;
pub mod apps;
pub mod jwks;
pub mod network;
pub mod connect;
pub mod settings;
pub mod exchange;
pub mod keys;
pub mod grant;
pub mod renewal;
pub mod store;
pub mod spill;
pub mod due;
pub mod revoke;
pub mod refresh;
pub mod inspect;
pub mod mail;
pub mod edge;
pub mod page;
pub mod cloud;
