// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the launcher and the guest's init say to each other.
//!
//! [`config`] is the file `/guest.json` of the initrd: what the init has to do. [`agent`] is the
//! wire format of the channel between them while the guest runs. The init itself is the program
//! `rofs-init` of this crate.

pub mod agent;
pub mod config;
