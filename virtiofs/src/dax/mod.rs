// SPDX-License-Identifier: Apache-2.0 OR MIT
//! DAX windows: file pages in a guest's address space.
//!
//! A [`DaxWindow`] is what the [`Server`](crate::server::Server) maps into. There are three:
//!
//! - [`Direct`] maps the files themselves. All guests and the host share one copy of each page.
//!   For front-ends that map memory for reading only if they are told to.
//! - [`Copied`] is a piece of memory, mapped once, into which files are copied. For front-ends
//!   that map everything for writing: a guest can spoil no more than its own copy.
//! - [`Local`] is for VMMs that have the server inside: it maps files into the VMM's memory.
//!
//! [`Auto`] is the first of these that the front-end allows. [`Window`] is the book that `Direct`
//! and `Local` keep.

mod auto;
mod copy;
mod direct;
mod local;
mod memory;
mod window;

pub use self::auto::{Auto, Mode};
pub use self::copy::Copied;
pub use self::direct::Direct;
pub use self::local::Local;
pub use self::window::{Bounds, Piece, Plan, Window};

use std::os::fd::BorrowedFd;

use crate::errno::FsResult;
use crate::fs::Mapping;

/// In what pieces Linux uses a window, in bytes (`FUSE_DAX_SZ`). A window is at least as large.
pub const RANGE: u64 = 2 << 20;

/// A DAX window: a range of guest-physical addresses (virtio 1.3, 5.11.6.4 "Device Operation: DAX
/// Window") in which file pages can be mapped, always for reading only.
///
/// Offsets and lengths are in bytes; `moffset` counts from the start of the window. They come from
/// a guest and may be anything.
pub trait DaxWindow: Send + Sync {
    /// Size of the window; a power of two, at least [`RANGE`].
    fn size(&self) -> u64;

    /// A client begins: nothing is mapped any more, and from now on it may [`map`](Self::map).
    /// May wait for the front-end.
    ///
    /// # Errors
    /// If nothing can be mapped now. The client shall not hear of the window then, because where
    /// nothing is mapped it reads zeros.
    fn open(&self) -> FsResult<()>;

    /// The client has ended: nothing is mapped any more, and memory is given back.
    fn close(&self);

    /// Maps `len` bytes at `moffset`, in place of whatever is mapped there: `file` from `foffset`
    /// on, whose [`Mapping::len`] is not 0. What is behind its end is never read.
    ///
    /// # Errors
    /// `EINVAL` for a range that does not fit, `ENOMEM` if there are too many mappings, and
    /// whatever the mapping itself says. Nothing new is mapped then.
    fn map(&self, moffset: u64, len: u64, file: &Mapping, foffset: u64) -> FsResult<()>;

    /// Removes whatever is mapped in `len` bytes from `moffset`.
    ///
    /// # Errors
    /// `EINVAL` for a range that does not fit.
    fn unmap(&self, moffset: u64, len: u64) -> FsResult<()>;
}

/// Whoever owns a guest's address space and puts memory into the window there, for reading only.
pub trait Mapper: Send + Sync {
    /// Maps `len` bytes of `file` from `offset` at `moffset`, where nothing is mapped. All are
    /// multiples of the page size, and the file is at least that long.
    ///
    /// # Errors
    /// See [`MapError`].
    fn map(
        &self,
        moffset: u64,
        file: BorrowedFd<'_>,
        offset: u64,
        len: u64,
    ) -> Result<(), MapError>;

    /// Removes one mapping, whole.
    ///
    /// # Errors
    /// See [`MapError`].
    fn unmap(&self, moffset: u64, len: u64) -> Result<(), MapError>;

    /// Returns when the guest sees what was mapped last.
    fn settle(&self) {}
}

/// Why nothing was mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// The answer is no, and nothing has changed.
    Refused,
    /// There is no answer, or nobody to ask.
    Lost,
}

/// Whether a window can have this size.
pub fn is_window_size(size: u64) -> bool {
    size.is_power_of_two() && size >= RANGE
}

/// The unit of all mappings, in bytes.
pub(crate) fn page_size() -> u64 {
    rustix::param::page_size() as u64
}
