// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What went wrong, in one sentence for the person who typed the command.

use std::fmt;

/// A sentence saying what failed, which flag or path it was, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(sentence: impl Into<String>) -> Failure {
        Failure(sentence.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(crate) type Outcome<T> = Result<T, Failure>;

/// `fail!("...", args)` is an early return of a [`Failure`].
macro_rules! fail {
    ($($arg:tt)*) => {
        return Err($crate::failure::Failure::new(format!($($arg)*)))
    };
}
pub(crate) use fail;
