// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The few descriptors a share keeps open, however many files its clients know.

use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use quick_cache::sync::Cache;

use super::host;
use crate::errno::{Errno, FsResult};
use crate::fs::{Call, DataSink, NodeId};

/// How many descriptors are kept unless told otherwise.
pub(super) const DEFAULT_LIMIT: usize = 256;

/// Least recently used descriptors go first. Node ids never come to mean another file, so an
/// entry is right for as long as it is kept.
pub(super) struct FileCache {
    cache: Cache<NodeId, Arc<OwnedFd>>,
}

impl FileCache {
    pub(super) fn new(limit: usize) -> FileCache {
        FileCache {
            cache: Cache::new(limit.max(1)),
        }
    }

    /// The descriptor kept for `node`, or the one that `open` gives, which is then kept.
    pub(super) fn get_or_open(
        &self,
        node: NodeId,
        open: impl FnOnce() -> FsResult<OwnedFd>,
    ) -> FsResult<Arc<OwnedFd>> {
        if let Some(file) = self.cache.get(&node) {
            return Ok(file);
        }
        let file = Arc::new(open()?);
        self.cache.insert(node, Arc::clone(&file));
        Ok(file)
    }

    /// Lets go of all descriptors.
    pub(super) fn clear(&self) {
        self.cache.clear();
    }

    /// Lets go of the descriptor of `node`.
    pub(super) fn remove(&self, node: NodeId) {
        self.cache.remove(&node);
    }
}

/// Puts `wanted` bytes of `file` into `out`, or fewer at its end.
///
/// # Errors
/// What reading says; `EAGAIN` if the call may not wait and part of it is not in memory.
pub(super) fn put(
    call: Call,
    file: BorrowedFd<'_>,
    at: u64,
    wanted: usize,
    out: &mut dyn DataSink,
) -> FsResult<usize> {
    let got = out.put_file(file, at, wanted)?;
    // A read that may not wait also ends early where the page cache does.
    if got < wanted && !call.may_block {
        let end = at.saturating_add(got as u64);
        if end < host::stat_fd(file)?.attr.size {
            return Err(Errno::AGAIN);
        }
    }
    Ok(got)
}

/// Puts the target of a symbolic link into `out`.
///
/// # Errors
/// `ERANGE` rather than half a target.
pub(super) fn put_target(target: &[u8], out: &mut dyn DataSink) -> FsResult<()> {
    if target.len() > out.room() {
        return Err(Errno::RANGE);
    }
    out.put(target);
    Ok(())
}

impl fmt::Debug for FileCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "FileCache({} of {})",
            self.cache.len(),
            self.cache.capacity()
        )
    }
}
