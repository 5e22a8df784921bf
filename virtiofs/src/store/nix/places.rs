// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where a store is on the host: its root directory, and a few store paths in it, held open.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::errno::FsResult;
use crate::fs::NodeId;
use crate::store::files::FileCache;

/// How many store paths are held open. Files are opened from there: what is reached from the
/// descriptor of a top node belongs to that incarnation of the path, whatever has its name now.
const TOPS: usize = 32;

/// The root directory and the store paths last used.
#[derive(Debug)]
pub(super) struct Places {
    root: OwnedFd,
    tops: FileCache,
}

impl Places {
    pub(super) fn new(root: OwnedFd) -> Places {
        Places {
            root,
            tops: FileCache::new(TOPS),
        }
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The top node of a store path, or what `open` gives, which must be just that.
    pub(super) fn top(
        &self,
        id: NodeId,
        open: impl FnOnce() -> FsResult<OwnedFd>,
    ) -> FsResult<Arc<OwnedFd>> {
        self.tops.get_or_open(id, open)
    }

    /// A store path is gone.
    pub(super) fn forget(&self, id: NodeId) {
        self.tops.remove(id);
    }
}
