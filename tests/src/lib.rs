// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the end-to-end tests share.
//!
//! Most of it is a whole other side of the device, written from the specifications and without
//! the code under test: [`channel`] speaks vhost-user, [`guest`] is the memory of a guest,
//! [`driver`] its virtqueues, [`frontend`] a VMM that ties them together, [`fuse`] the file
//! system's client on top, [`window`] its DAX window. [`linux`] runs real kernels, [`relay`] counts
//! what they ask, and [`slow`] is a disk to wait for.

// A helper of tests fails a test by panicking.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc
)]
// Numbers here are small and chosen by the tests.
#![allow(clippy::cast_possible_truncation)]

pub mod channel;
pub mod driver;
pub mod frontend;
pub mod fuse;
pub mod guest;
pub mod linux;
pub mod logging;
pub mod memfs;
pub mod relay;
pub mod settled;
pub mod share;
pub mod slow;
pub mod window;
