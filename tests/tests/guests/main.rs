// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Real Linux clients of the real binary: QEMU and User-Mode Linux guests over vhost-user, and
//! this host's kernel through /dev/fuse. `.ci/provision` gets what they need.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

// The name by which `make test-fast` leaves them out.
#[path = "."]
mod guests_ {
    mod closure;
    mod dax;
    mod harness;
    mod life;
    mod messages;
    mod overlay;
    mod tree;
}
