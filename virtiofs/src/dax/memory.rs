// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory to map instead of a file, and filling it.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use rustix::fs::{
    Advice, FallocateFlags, MemfdFlags, SealFlags, fadvise, fallocate, fcntl_add_seals, ftruncate,
    memfd_create,
};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::{RANGE, page_size};
use crate::errno::{Errno, FsResult};

/// Most that is copied for one request, in bytes. Linux asks for [`RANGE`]; a guest that asks for
/// the whole window would keep a thread busy for long.
pub(super) const MOST_COPIED: u64 = 8 * RANGE;

/// Memory of a fixed size. Who gets the descriptor may write to it, but not cut it off below us.
pub(super) fn window(size: u64) -> io::Result<OwnedFd> {
    let memory = memfd("dax-window", size)?;
    fcntl_add_seals(
        &memory,
        SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL,
    )?;
    Ok(memory)
}

/// A copy of the `len` bytes of `file` from `offset` on, and zeros to the end of the last page.
/// Whatever the mode of the descriptor, nobody can change it any more.
pub(super) fn frozen(file: BorrowedFd<'_>, offset: u64, len: u64) -> FsResult<OwnedFd> {
    let copy_of = memfd("dax-copy", len.next_multiple_of(page_size()))?;
    copy(copy_of.as_fd(), 0, file, offset, len)?;
    freeze(copy_of)
}

/// One page of zeros, for finding out whether read-only memory can be mapped.
pub(super) fn frozen_page() -> FsResult<OwnedFd> {
    freeze(memfd("dax-probe", page_size())?)
}

fn freeze(memory: OwnedFd) -> FsResult<OwnedFd> {
    // F_SEAL_WRITE would say the same, but before Linux 6.7 such memory cannot even be mapped for
    // reading.
    let seals = SealFlags::FUTURE_WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    fcntl_add_seals(&memory, seals)?;
    Ok(memory)
}

fn memfd(name: &str, size: u64) -> Result<OwnedFd, rustix::io::Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = match memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        // Linux before 6.3 does not know the flag.
        Err(rustix::io::Errno::INVAL) => memfd_create(name, flags)?,
        memory => memory?,
    };
    ftruncate(&memory, size)?;
    Ok(memory)
}

/// Copies `len` bytes of `file` from `offset`, a multiple of the page size, to `at` in `memory`.
///
/// The file is mapped and written from there, because pages that are written whole are not zeroed
/// before, as they would be if `memory` was mapped and read into. A file that is cut off meanwhile
/// is an error of the write.
///
/// # Errors
/// `EINVAL` for more than [`MOST_COPIED`], `EIO` if the file is shorter.
pub(super) fn copy(
    memory: BorrowedFd<'_>,
    at: u64,
    file: BorrowedFd<'_>,
    offset: u64,
    len: u64,
) -> FsResult<()> {
    if len > MOST_COPIED {
        return Err(Errno::INVAL);
    }
    // All of it at once from the disk, and the range that is likely to come next.
    read_ahead(file, offset, len);
    let mut done = 0;
    while done < len {
        let part = RANGE.min(len - done);
        copy_part(memory, at + done, file, offset + done, part)?;
        done += part;
    }
    Ok(())
}

/// Has the host read the range and the one behind it, without waiting for it.
pub(super) fn read_ahead(file: BorrowedFd<'_>, offset: u64, len: u64) {
    let len = std::num::NonZeroU64::new(len.saturating_add(RANGE));
    let _ = fadvise(file, offset, len, Advice::WillNeed);
}

fn copy_part(
    memory: BorrowedFd<'_>,
    at: u64,
    file: BorrowedFd<'_>,
    offset: u64,
    len: u64,
) -> FsResult<()> {
    let size = usize::try_from(len).map_err(|_| Errno::INVAL)?;
    let flags = MapFlags::SHARED | MapFlags::POPULATE;
    // SAFETY: a new mapping, at an address of the kernel's choice.
    let from = unsafe { mmap(ptr::null_mut(), size, ProtFlags::READ, flags, file, offset) }?;
    let mut written = 0;
    let outcome = loop {
        if written == size {
            break Ok(());
        }
        let to = i64::try_from(at + written as u64).map_err(|_| Errno::INVAL)?;
        // SAFETY: within the mapping. Only the kernel reads it, for which it is an error, not a
        // fault of ours, if nothing is behind the addresses any more.
        let start = unsafe { from.cast::<u8>().add(written) };
        // SAFETY: see above.
        match unsafe { libc::pwrite(memory.as_raw_fd(), start.cast(), size - written, to) } {
            0 => break Err(Errno::IO),
            n if n < 0 => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error if error.raw_os_error() == Some(libc::EFAULT) => break Err(Errno::IO),
                error => break Err(error.into()),
            },
            n => written += n.unsigned_abs(),
        }
    };
    // SAFETY: mapped above, and nothing refers to it.
    let _ = unsafe { munmap(from, size) };
    outcome
}

/// Gives memory back; what was in it is zeros.
pub(super) fn punch(memory: BorrowedFd<'_>, at: u64, len: u64) -> FsResult<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    Ok(fallocate(memory, flags, at, len)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who has the descriptor cannot end us by SIGBUS, and what is frozen stays as it is.
    #[test]
    fn nobody_cuts_off_or_changes_what_is_handed_out() {
        let size = 4 * page_size();
        let memory = window(size).unwrap();
        assert!(ftruncate(&memory, size - page_size()).is_err());
        assert!(ftruncate(&memory, size + page_size()).is_err());
        assert_eq!(rustix::io::pwrite(&memory, b"spoilt", 0), Ok(6));

        let frozen = frozen(memory.as_fd(), 0, 100).unwrap();
        assert!(rustix::io::pwrite(&frozen, b"x", 0).is_err());
        assert!(ftruncate(&frozen, 0).is_err());
        let mut seen = [0; 8];
        assert_eq!(rustix::io::pread(&frozen, &mut seen, 0), Ok(8));
        assert_eq!(&seen, b"spoilt\0\0");
    }
}
