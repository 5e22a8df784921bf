// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A read-only virtio-fs server for immutable stores.
//!
//! Three layers, each usable alone:
//!
//! 1. [`server`]: a transport-free FUSE server. Readable and writable memory in, used length out;
//!    it never fails and does no I/O of its own. Generic over [`fs::ReadFs`].
//! 2. [`store`]: the file systems. [`store::NixStore`] knows what is immutable in a Nix store and
//!    promises it for ever; [`store::PlainTree`] serves any directory tree truthfully. Neither
//!    knows of FUSE.
//! 3. [`vhost`]: the virtio-fs device around them, spoken to over a vhost-user socket.
//!
//! `DESIGN.md` beside this crate tells how a request travels.

pub mod dax;
pub mod errno;
pub mod fs;
#[cfg(feature = "mount")]
pub mod mount;
pub mod server;
pub mod store;
#[cfg(feature = "vhost-user")]
pub mod vhost;
pub mod wire;
