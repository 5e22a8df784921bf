// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What INIT negotiates.

use std::sync::atomic::{AtomicBool, Ordering};

use super::Options;
use super::mapping::Threshold;
use super::memory::Reader;
use crate::dax::DaxWindow;
use crate::errno::{Errno, FsResult};
use crate::fs::Capabilities;
use crate::wire::flags::init;
use crate::wire::{self, abi};

/// Largest READ, in bytes: what Linux's default `fs.fuse.max_pages_limit` of 256 pages allows.
pub(super) const MAX_IO: u32 = 1 << 20;
const PAGE: u32 = 4096;

/// State of one client session.
///
/// Requests may come without INIT: a VMM that reconnects to a restarted server has a guest which
/// knows nothing of the restart. Until INIT says otherwise the session therefore assumes nothing
/// that a client could have been denied.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// The client understood that it need not open files (and directories).
    pub(super) no_open: AtomicBool,
    pub(super) no_opendir: AtomicBool,
    /// Which files the client shall map.
    pub(super) dax: Threshold,
}

impl Session {
    /// Answers INIT.
    pub(super) fn init(
        &self,
        request: &mut Reader<'_, '_>,
        options: &Options,
        fs: Capabilities,
        window: Option<&dyn DaxWindow>,
    ) -> FsResult<abi::InitOut> {
        let input: abi::InitIn = request.read_obj()?;
        if input.major < wire::MAJOR
            || (input.major == wire::MAJOR && input.minor < wire::MINOR_MIN)
        {
            log::error!(
                "the client speaks FUSE {}.{}, at least {}.{} is needed (Linux 5.4)",
                input.major,
                input.minor,
                wire::MAJOR,
                wire::MINOR_MIN
            );
            return Err(Errno::PROTO);
        }
        if input.major > wire::MAJOR {
            // It shall try again with our version (fuse.h, "Version negotiation").
            return Ok(abi::InitOut {
                major: wire::MAJOR,
                minor: wire::MINOR,
                ..abi::InitOut::default()
            });
        }

        let mut offered = u64::from(input.flags);
        if input.minor >= wire::MINOR_INIT_EXT && offered & init::INIT_EXT != 0 {
            let ext: abi::InitInExt = request.read_obj()?;
            offered |= u64::from(ext.flags2) << 32;
        }
        let mut granted = wanted(options, fs) & offered;
        let dax = offer_window(window, offered);
        granted |= dax;
        let per_file = dax & init::HAS_INODE_DAX != 0;
        self.dax.set(options.dax_min.filter(|_| per_file));
        self.no_open
            .store(granted & init::NO_OPEN_SUPPORT != 0, Ordering::Relaxed);
        self.no_opendir
            .store(granted & init::NO_OPENDIR_SUPPORT != 0, Ordering::Relaxed);
        log::debug!(
            "INIT: client speaks 7.{}, offers {offered:#x}, granted {granted:#x}",
            input.minor
        );

        #[allow(clippy::cast_possible_truncation)] // the two halves of the word
        Ok(abi::InitOut {
            major: wire::MAJOR,
            minor: input.minor.min(wire::MINOR),
            max_readahead: input.max_readahead,
            flags: granted as u32,
            // How many requests the client keeps in flight in the background, and from how many
            // on it holds back: read-ahead needs these, and the kernel's own default is 12.
            max_background: 256,
            congestion_threshold: 192,
            max_write: MAX_IO,
            time_gran: 1,
            max_pages: (MAX_IO / PAGE) as u16,
            // Only looked at with the flag.
            map_alignment: crate::dax::page_size().trailing_zeros() as u16,
            flags2: (granted >> 32) as u32,
            ..abi::InitOut::default()
        })
    }
}

/// Opens the window if the client can use it; the flags that tell it so. A client that offers
/// `MAP_ALIGNMENT` has found the window, and reads zeros wherever nothing is mapped in it.
fn offer_window(window: Option<&dyn DaxWindow>, offered: u64) -> u64 {
    let Some(window) = window else {
        return 0;
    };
    if offered & init::MAP_ALIGNMENT == 0 {
        window.close();
        return 0;
    }
    match window.open() {
        Ok(()) => init::MAP_ALIGNMENT | (offered & init::HAS_INODE_DAX),
        Err(error) => {
            log::warn!("the DAX window cannot be used: {error}");
            0
        }
    }
}

/// Everything worth having of this file system.
fn wanted(options: &Options, fs: Capabilities) -> u64 {
    let mut flags = init::ASYNC_READ
        | init::BIG_WRITES
        | init::HAS_IOCTL_DIR
        | init::ASYNC_DIO
        | init::PARALLEL_DIROPS
        | init::MAX_PAGES
        | init::INIT_EXT
        // Drop cached pages and listings when mtime turns out to have changed. Attributes that
        // are valid for ever are never compared, so this costs an immutable file nothing; without
        // it the client would never notice that the root directory has changed.
        | init::AUTO_INVAL_DATA;
    if fs.stateless_open {
        flags |= init::NO_OPEN_SUPPORT | init::NO_OPENDIR_SUPPORT;
    }
    if fs.cache_symlinks {
        flags |= init::CACHE_SYMLINKS;
    }
    if options.readdirplus {
        flags |= init::DO_READDIRPLUS;
        if !fs.cheap_attributes {
            // Let the client guess when it wants attributes.
            flags |= init::READDIRPLUS_AUTO;
        }
    }
    if options.direct_io_allow_mmap {
        flags |= init::DIRECT_IO_ALLOW_MMAP;
    }
    flags
}
