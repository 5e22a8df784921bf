// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the benchmarks share: trees to serve, servers to ask, and a way to count and to tell.

// A benchmark that cannot go on fails by panicking.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc
)]
// Numbers here are small and chosen by the benchmarks.
#![allow(clippy::cast_possible_truncation)]

pub mod alloc;
pub mod busy;
pub mod guest;
pub mod mapped;
pub mod measure;
pub mod ours;
pub mod peers;
pub mod report;
pub mod socket;
pub mod subject;
pub mod syscalls;
pub mod tree;
