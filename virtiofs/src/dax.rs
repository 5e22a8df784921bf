// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where pages of files can be put into a guest's address space.

use std::os::fd::BorrowedFd;

use crate::errno::FsResult;

/// A DAX window: a range of guest-physical addresses (virtio 1.3, 5.11.6.4 "Device Operation: DAX
/// Window") in which file pages can be mapped, always for reading only.
///
/// Offsets and lengths are in bytes. `moffset` counts from the start of the window.
pub trait DaxWindow: Send + Sync {
    /// Size of the window; a power of two, at least 2 MiB.
    fn size(&self) -> u64;

    /// Maps `len` bytes of `file` from `foffset` at `moffset`.
    ///
    /// # Errors
    /// `EINVAL` for a range that does not fit, and whatever the mapping itself says.
    fn map(&self, moffset: u64, file: BorrowedFd<'_>, foffset: u64, len: u64) -> FsResult<()>;

    /// Removes whatever is mapped in `len` bytes from `moffset`.
    ///
    /// # Errors
    /// `EINVAL` for a range that does not fit.
    fn unmap(&self, moffset: u64, len: u64) -> FsResult<()>;
}
