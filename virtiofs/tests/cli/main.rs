// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The built binary, from outside: what it answers to which option, what it leaves behind, and
//! what its sandbox really holds.
#![cfg(feature = "serve")]
#![allow(unsafe_code, missing_docs)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::cast_possible_truncation)]

mod bad_input;
mod closure;
mod flags;
mod lifecycle;
mod mounted;
mod sandbox;
mod util;
mod wild;
