//! The cloud and the networks on one machine.

pub mod cloud;
pub mod data;
pub mod faults;
pub mod functions;
pub mod issuer;
pub mod networks;
pub mod template;
