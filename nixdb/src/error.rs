// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What can go wrong, told to people.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why the database, or Nix, did not answer. Shown, it is one sentence that names the file or path.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// There is no such file.
    Missing(PathBuf),
    /// It cannot be read.
    Unreadable(PathBuf, io::Error),
    /// It is no Nix database, or a damaged one.
    Damaged(PathBuf, String),
    /// It holds changes that only its owner can take up: there is a write-ahead log, but not the
    /// file that processes share its use through.
    Unrecovered(PathBuf),
    /// It was written all the time.
    Busy(PathBuf),
    /// The store has no such path (any more).
    NotValid {
        /// The path that was asked for.
        path: String,
        /// The database that was asked.
        database: PathBuf,
    },
    /// `nix-store` is needed to hold a path and is not installed.
    NoNix {
        /// The path that is not held.
        path: String,
    },
    /// `nix-store` did not hold a path.
    NotHeld {
        /// The path that is not held.
        path: String,
        /// What `nix-store` said.
        reason: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Missing(file) => {
                write!(f, "{}: there is no Nix database", file.display())
            }
            Error::Unreadable(file, e) => {
                write!(
                    f,
                    "{}: the Nix database cannot be read: {e}",
                    file.display()
                )
            }
            Error::Damaged(file, e) => {
                write!(f, "{}: not a Nix database, or damaged: {e}", file.display())
            }
            Error::Unrecovered(file) => write!(
                f,
                "{}: the Nix database was not closed; run `nix-store --verify` as its owner once",
                file.display()
            ),
            Error::Busy(file) => write!(
                f,
                "{}: the Nix database is being written all the time; try again when Nix is less \
                 busy",
                file.display()
            ),
            Error::NotValid { path, database } => write!(
                f,
                "{path}: not a valid path of the store (by {})",
                database.display()
            ),
            Error::NoNix { path } => write!(
                f,
                "{path}: not held against garbage collection, because nix-store is not on the \
                 PATH; do not collect garbage while it is in use"
            ),
            Error::NotHeld { path, reason } => write!(
                f,
                "{path}: not held against garbage collection: {reason}; do not collect garbage \
                 while it is in use"
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Unreadable(_, e) => Some(e),
            _ => None,
        }
    }
}
