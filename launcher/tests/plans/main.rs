// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Plans: each feature's, byte by byte; each accepted by the hypervisors that it is for; and each
//! trap of theirs avoided.

#![allow(clippy::expect_used, clippy::panic)] // a test fails by it

mod accepted;
mod cases;
mod golden;
mod grammar;
mod host;
mod qemu;
mod refused;
mod traps;
