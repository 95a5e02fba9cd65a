//! The stand-ins of the networks and the issuer, seen through HTTP as an app sees them.

mod facebook;
mod issuer;
mod world;
mod x;
