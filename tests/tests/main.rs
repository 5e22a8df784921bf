// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The end-to-end tests.

// Helpers of tests are tests, too; and the numbers in them are small.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::cast_possible_truncation)]

mod closure;
mod cut_off;
mod dax;
mod examples;
mod footprint;
mod handshake;
mod hostile_chains;
mod hostile_messages;
mod hostile_requests;
mod leaks;
mod queues;
mod slow_disk;
mod trees;
