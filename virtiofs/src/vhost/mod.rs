// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The virtio-fs device, spoken to over a vhost-user socket.
//!
//! A [`Device`] joins a file system to a VMM: one connection is one session of a fresh
//! [`Server`](crate::server::Server), with one high-priority queue and
//! [`DeviceOptions::request_queues`] request queues.
//!
//! Threads: the thread that calls [`Device::serve_next`] answers the front-end's messages; each
//! ring that the front-end has started and enabled has a thread of its own, which alone owns the
//! ring's state. Nothing is shared between rings but the server, so no lock is taken on the way of
//! a request. To change a ring it is stopped: its thread finishes the batch at hand, hands the
//! state back and ends. When the client goes, every thread has been joined and every descriptor
//! closed before `serve_next` returns.
//!
//! ```
//! use std::os::unix::net::{UnixListener, UnixStream};
//! use std::sync::Arc;
//! use virtiofs::store::{NixOptions, NixStore, open_root};
//! use virtiofs::vhost::{Device, DeviceOptions, Tag};
//!
//! # let dir = tempfile::tempdir()?;
//! # let (store_dir, socket) = (dir.path(), dir.path().join("socket"));
//! let store = Arc::new(NixStore::new(open_root(store_dir)?, NixOptions::default())?);
//! let options = DeviceOptions { tag: Some(Tag::new("nix-store")?), ..DeviceOptions::default() };
//! let device = Device::new(store, options)?;
//! let stop = device.stop_handle(); // for whoever handles signals
//!
//! let listener = UnixListener::bind(&socket)?;
//! let vmm = UnixStream::connect(&socket)?; // the VMM comes ...
//! drop(vmm); // ... and goes again
//! match device.serve_next(&listener) {
//!     Ok(()) => {} // it left in good order; the next one is welcome
//!     Err(error) if error.is_client_fault() => eprintln!("{error}"), // so it is here
//!     Err(error) => return Err(error.into()),
//! }
//! stop.stop();
//! assert!(device.is_stopped());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod chain;
mod config;
mod cutoff;
mod deferred;
mod device;
mod event;
mod features;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "inside")]
#[doc(hidden)]
pub mod inside;
mod limit;
mod memory;
mod options;
mod poll;
mod pool;
mod queue;
mod ring;
mod session;
mod shmem;
mod stop;

pub use self::cutoff::outlive_cut_off_memory;
pub use self::device::{Device, ServeError};
pub use self::options::{DaxOptions, DeviceOptions, OptionsError, Tag};
pub use self::pool::Pool;
pub use self::stop::StopHandle;
