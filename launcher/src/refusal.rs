// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What cannot be done as described.

use std::fmt;

/// One thing that cannot be done as described, and what can be done instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The option, as in `shares[0].dax`.
    pub option: String,
    /// What is wrong with it here.
    pub what: String,
    /// What to write or to do instead.
    pub instead: String,
}

impl Refusal {
    /// Puts one together.
    pub fn new(
        option: impl Into<String>,
        what: impl fmt::Display,
        instead: impl fmt::Display,
    ) -> Refusal {
        Refusal {
            option: option.into(),
            what: what.to_string(),
            instead: instead.to_string(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}; instead: {}",
            self.option, self.what, self.instead
        )
    }
}
