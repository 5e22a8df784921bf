// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A description to start from.

/// What `rofs-vm init` writes: TOML, with a comment on each thing that people change first.
pub const STARTER: &str = include_str!("../examples/starter.toml");
