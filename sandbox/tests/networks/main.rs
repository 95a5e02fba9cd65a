//! The stand-ins of the networks and the issuer, seen through HTTP as an app sees them.

mod facebook;
mod instagram;
mod issuer;
mod pages;
mod world;
mod x;
mod youtube;
