//! The domain of Tokenward and its few doors to the outside.

pub mod access;
pub mod apps;
pub mod clock;
pub mod connect;
pub mod exchange;
pub mod grant;
pub mod health;
pub mod keys;
pub mod network;
pub mod profile;
pub mod random;
pub mod seal;
pub mod secret;
pub mod store;
pub mod token;
