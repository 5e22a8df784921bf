// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A window in the memory of this process, for VMMs that have the server inside.
#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous};
use vm_memory::MmapRegion;

use super::{DaxWindow, Direct, MapError, Mapper};
use crate::errno::FsResult;
use crate::fs::Mapping;

/// A [`Direct`] window over a region of this process' own memory, which the VMM shows to its guest
/// (as a memory slot of KVM, for instance) at the addresses of the device's shared memory region 0.
///
/// Files are mapped over the region, for reading only; where nothing is mapped, it reads as zeros.
/// The guest's slot may be writable: a write ends in the VMM's fault handling, not in a file.
#[derive(Debug)]
pub struct Local {
    direct: Direct,
}

impl Local {
    /// Makes a window of `region`, whose size must be [one](super::is_window_size). What is in it
    /// is gone.
    ///
    /// # Errors
    /// If the size is none for a window, or the region cannot be mapped over.
    pub fn new(region: Arc<MmapRegion>) -> io::Result<Local> {
        let size = region.size() as u64;
        let inside = Inside { region };
        inside
            .clear(0, size)
            .map_err(|_| io::Error::last_os_error())?;
        Ok(Local {
            direct: Direct::new(size, Arc::new(inside))?,
        })
    }
}

impl DaxWindow for Local {
    fn size(&self) -> u64 {
        self.direct.size()
    }

    fn open(&self) -> FsResult<()> {
        self.direct.open()
    }

    fn close(&self) {
        self.direct.close();
    }

    fn map(&self, moffset: u64, len: u64, file: &Mapping, foffset: u64) -> FsResult<()> {
        self.direct.map(moffset, len, file, foffset)
    }

    fn unmap(&self, moffset: u64, len: u64) -> FsResult<()> {
        self.direct.unmap(moffset, len)
    }
}

/// Maps into a region.
struct Inside {
    region: Arc<MmapRegion>,
}

impl Inside {
    /// Where the range begins in memory, and its length; `None` if it is not in the region.
    fn place(&self, moffset: u64, len: u64) -> Option<(*mut u8, usize)> {
        let (from, len) = (usize::try_from(moffset).ok()?, usize::try_from(len).ok()?);
        let end = from.checked_add(len)?;
        (end <= self.region.size()).then(|| (self.region.as_ptr().wrapping_add(from), len))
    }

    fn clear(&self, moffset: u64, len: u64) -> Result<(), MapError> {
        let (at, len) = self.place(moffset, len).ok_or(MapError::Refused)?;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        // SAFETY: replaces pages of the region only, which is mapped for as long as it is ours. It
        // is guest memory: whoever reads it reckons with any change.
        let mapped = unsafe { mmap_anonymous(at.cast(), len, ProtFlags::READ, flags) };
        mapped.map(drop).map_err(|_| MapError::Refused)
    }
}

impl Mapper for Inside {
    fn map(
        &self,
        moffset: u64,
        file: BorrowedFd<'_>,
        offset: u64,
        len: u64,
    ) -> Result<(), MapError> {
        let (at, len) = self.place(moffset, len).ok_or(MapError::Refused)?;
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        // SAFETY: as in `clear`.
        let mapped = unsafe { mmap(at.cast(), len, ProtFlags::READ, flags, file, offset) };
        mapped.map(drop).map_err(|_| MapError::Refused)
    }

    fn unmap(&self, moffset: u64, len: u64) -> Result<(), MapError> {
        self.clear(moffset, len)
    }
}

impl fmt::Debug for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inside({} bytes)", self.region.size())
    }
}
