//! What an operator does to a deployment, command by command.
//!
//! It is neither a function nor shared: it runs on a person's machine, with the person's own credentials, and goes through
//! the same doors as the functions, so every rule of theirs holds here too. A command that was cut off is repeated, and
//! goes on. Nothing is printed that is secret, and nothing secret is written anywhere in the clear.

pub mod deployment;
pub mod doctor;
pub mod reseal;
pub mod restore;
pub mod shred;
pub mod transfer;
mod web;

use shared::{apps::AppsError, keys::KeysError, store::StoreError};

/// Why a command could not do what it is for.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// A table does not answer, or a row changed at the wrong moment.
    #[error("{0}: nothing is lost, run it again")]
    Store(#[from] StoreError),
    /// The tenant was shredded.
    #[error("the tenant was shredded. To give it a key again: tokenward rotate-keys --tenant … --reopen")]
    Shredded,
    /// A key cannot be had.
    #[error("{0}: `tokenward doctor` says what is wrong with the key")]
    Keys(#[source] KeysError),
    /// The apps cannot be had.
    #[error("{0}: `tokenward doctor` says what is wrong with the secret")]
    Apps(#[from] AppsError),
    /// What was read is no export, or is not for this identity, or was cut off.
    #[error("the export cannot be read: {0}")]
    Export(&'static str),
    /// A file or the terminal.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl From<KeysError> for OperatorError {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Shredded => Self::Shredded,
            error => Self::Keys(error),
        }
    }
}

/// Says how far a long command is.
pub type Progress<'a> = &'a mut dyn FnMut(&str);
