// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is known of running machines, and how they are asked.
//!
//! A running machine has a directory, `RUNTIME/NAME`, on which its supervisor holds a `flock`: the
//! lock goes with the supervisor, however that ends ([`Claim`]). In it are the sockets, among them
//! [`SOCKET`] at which the supervisor answers ([`Client`]). A directory that nobody locks was left
//! by a supervisor that was killed, and is cleared by the next start.

mod claim;
mod client;
mod holder;
mod protocol;
#[cfg(test)]
mod tests;

pub use claim::{Claim, ClaimError};
pub(crate) use client::read_line;
pub use client::{AskError, Client, running};
pub use holder::lock_holder;
pub use protocol::{Ended, Phase, Reply, Request, SOCKET, Status, StatusShare, StatusVolume};
