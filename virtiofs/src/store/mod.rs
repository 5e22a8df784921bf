// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The file systems that can be served. They know nothing of who asks.
//!
//! ```
//! use virtiofs::fs::{Call, Found, Name, NodeId, ReadFs};
//! use virtiofs::store::{NixOptions, NixStore, open_root};
//!
//! let dir = tempfile::tempdir().unwrap();
//! let path = "0c5b8vw40d1178xlpddw65q9gf1h2186-hello";
//! std::fs::write(dir.path().join(path), "hello").unwrap();
//!
//! let store = NixStore::new(open_root(dir.path()).unwrap(), NixOptions::default()).unwrap();
//! let name = Name::new(path.as_bytes()).unwrap();
//! let Ok(Found::Entry(entry)) = store.lookup(Call::WAIT, NodeId::ROOT, name) else { panic!() };
//! assert_eq!(entry.attr.size, 5);
//! ```

mod files;
mod hash;
mod host;
mod layout;
mod listing;
mod nix;
mod plain;
mod statfs;
mod treepath;

pub use layout::{Layout, detect, open_root};
pub use nix::{Closure, NixOptions, NixStore, NotAStorePath};
pub use plain::{CachePolicy, PlainOptions, PlainTree};
