// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The peers: their own servers, driven through their own readers and writers of chains.

#[cfg(feature = "peers")]
mod fuse_backend_rs;
#[cfg(feature = "peers")]
mod ring;
#[cfg(feature = "peers")]
mod virtiofsd;

use std::path::Path;

use crate::subject::Client;

/// A client of a server of one kind over a directory.
pub type Make = fn(&Path) -> Client;

/// Every peer that was compiled in.
pub fn all() -> Vec<Make> {
    #[cfg(feature = "peers")]
    {
        vec![virtiofsd::never, virtiofsd::prefer, fuse_backend_rs::open]
    }
    #[cfg(not(feature = "peers"))]
    {
        eprintln!("benches: without the feature `peers`: there is nothing to compare with");
        Vec::new()
    }
}
