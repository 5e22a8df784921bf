// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A window of copies.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::{fmt, mem};

use super::{Bounds, DaxWindow, Mapper, memory, page_size};
use crate::errno::{Errno, FsResult};
use crate::fs::Mapping;

/// A window of memory that the client has for itself: mapped once, when the client begins; each
/// mapping is then a copy of a part of a file.
///
/// It needs nothing of the front-end but that one mapping, and does not care whether that is for
/// reading only. It costs the copying, and host memory for what is mapped, at most the window's
/// size.
pub struct Copied {
    memory: OwnedFd,
    bounds: Bounds,
    mapper: Arc<dyn Mapper>,
    /// Whether the front-end has the memory, as far as we know.
    mapped: Mutex<bool>,
    open: AtomicBool,
}

impl Copied {
    /// A window of `size` bytes, which is mapped by `mapper`.
    ///
    /// # Errors
    /// If `size` is [none for a window](super::is_window_size), or there is no memory.
    pub fn new(size: u64, mapper: Arc<dyn Mapper>) -> io::Result<Copied> {
        if !super::is_window_size(size) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Copied {
            memory: memory::window(size)?,
            bounds: Bounds {
                size,
                page: page_size(),
            },
            mapper,
            mapped: Mutex::new(false),
            open: AtomicBool::new(false),
        })
    }
}

impl DaxWindow for Copied {
    fn size(&self) -> u64 {
        self.bounds.size
    }

    fn open(&self) -> FsResult<()> {
        // After a reset some front-ends have dropped the mapping, others have not. So it is removed
        // (which the former refuse) and made anew.
        self.close();
        let mut mapped = self.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        let (memory, size) = (self.memory.as_fd(), self.bounds.size);
        self.mapper
            .map(0, memory, 0, size)
            .map_err(|_| Errno::OPNOTSUPP)?;
        *mapped = true;
        self.mapper.settle();
        self.open.store(true, Ordering::Release);
        Ok(())
    }

    fn close(&self) {
        self.open.store(false, Ordering::Release);
        let mut mapped = self.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        if mem::take(&mut *mapped) {
            let _ = self.mapper.unmap(0, self.bounds.size);
        }
        let _ = memory::punch(self.memory.as_fd(), 0, self.bounds.size);
    }

    fn map(&self, moffset: u64, len: u64, file: &Mapping, foffset: u64) -> FsResult<()> {
        self.bounds.check(moffset, len)?;
        if !self.open.load(Ordering::Acquire) {
            return Err(Errno::IO);
        }
        if !foffset.is_multiple_of(self.bounds.page) {
            return Err(Errno::INVAL);
        }
        let (memory, there) = (self.memory.as_fd(), file.len.min(len));
        memory::copy(memory, moffset, file.file.as_fd(), foffset, there)?;
        if there < len {
            // Nothing of what was here before may follow.
            memory::punch(memory, moffset + there, len - there)?;
        }
        Ok(())
    }

    fn unmap(&self, moffset: u64, len: u64) -> FsResult<()> {
        self.bounds.check(moffset, len)?;
        memory::punch(self.memory.as_fd(), moffset, len)
    }
}

impl fmt::Debug for Copied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Copied({} bytes)", self.bounds.size)
    }
}
