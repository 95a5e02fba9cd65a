//! Holds no code. Its `Cargo.toml` makes every build of the workspace use the same features of the same dependencies, so
//! that `cargo run -p sandbox`, `cargo test -p tokens` and `tests/run` share what is compiled.
//!
//! The functions and `shared` depend on it for their tests only: what is deployed has the features that it asks for.
