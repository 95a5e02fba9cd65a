//! The domain of Tokenward and its few doors to the outside.
pub mod clock;
