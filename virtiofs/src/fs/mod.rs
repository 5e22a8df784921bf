// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a read-only file system is, with no word of who asks.
//!
//! A front-end (the FUSE [`Server`](crate::server::Server), later a block image) asks questions
//! through [`ReadFs`]; the answers say how long they stay true ([`Validity`]), and file contents
//! flow through a [`DataSink`] so that they reach their destination in one copy.

mod values;

use std::os::fd::BorrowedFd;
use std::sync::Arc;

pub use self::values::*;
pub use crate::errno::{Errno, FsResult};

/// Where a directory listing continues: the cookie of the last entry seen, 0 at the start. Stable
/// for as long as the directory exists, whatever is added or removed meanwhile. At most
/// `i64::MAX`, because `off_t` carries it.
pub type Cookie = u64;

/// One name in a directory.
#[derive(Clone, Copy, Debug)]
pub struct DirEntry<'a> {
    /// The name; here `.` and `..` occur too.
    pub name: &'a [u8],
    /// Inode number.
    pub ino: u64,
    /// File type.
    pub kind: FileKind,
    /// Where to continue after this entry.
    pub cookie: Cookie,
}

/// Takes directory entries until it is full.
pub trait DirSink {
    /// Whether the asker wants nodes too (READDIRPLUS), not just names.
    fn wants_nodes(&self) -> bool;

    /// Takes one entry. With `node` the asker holds one reference more to that node.
    /// Returns false, having taken nothing, when there is no room: stop then.
    fn push(&mut self, entry: &DirEntry<'_>, node: Option<&Entry>) -> bool;
}

/// Takes file contents, straight to where they are wanted.
pub trait DataSink {
    /// Room left, in bytes.
    fn room(&self) -> usize;

    /// Takes up to `len` bytes (and no more than there is room for) of `file` from offset `at`.
    /// Returns how many came; fewer than asked at the end of the file.
    ///
    /// # Errors
    /// What `preadv2(2)` says; `EAGAIN` if the call may not block and the data is not in memory.
    fn put_file(&mut self, file: BorrowedFd<'_>, at: u64, len: usize) -> FsResult<usize>;

    /// Takes bytes; returns how many fitted.
    fn put(&mut self, bytes: &[u8]) -> usize;
}

/// Circumstances of one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Whether the answer may wait for a disk. If not, an operation that would have to wait
    /// returns `EAGAIN` with no side effect, and is asked again where waiting hurts nobody.
    pub may_block: bool,
}

impl Call {
    /// Wait for whatever the answer needs.
    pub const WAIT: Call = Call { may_block: true };
    /// Answer from memory or not at all.
    pub const NO_WAIT: Call = Call { may_block: false };
}

/// A read-only file system. Every method takes `&self`, is called from many threads at once, and
/// must stand any argument: node ids and cookies come from clients.
pub trait ReadFs: Send + Sync {
    /// What this file system promises.
    fn capabilities(&self) -> Capabilities;

    /// Finds `name` in directory `parent`. A found entry counts as one reference to its node.
    ///
    /// # Errors
    /// `ESTALE` for a parent that is gone or unknown, `ENOTDIR`; a missing name is no error but
    /// [`Found::Negative`].
    fn lookup(&self, call: Call, parent: NodeId, name: Name<'_>) -> FsResult<Found>;

    /// Attributes of a node, and how long they hold.
    ///
    /// # Errors
    /// `ESTALE` if the node is gone or unknown.
    fn getattr(&self, call: Call, node: NodeId) -> FsResult<(Attr, Validity)>;

    /// Puts the target of a symbolic link into `out`.
    ///
    /// # Errors
    /// `EINVAL` if the node is no symbolic link, `ESTALE`.
    fn readlink(&self, call: Call, node: NodeId, out: &mut dyn DataSink) -> FsResult<()>;

    /// Says how to treat the file or directory `node` while it is open. Only called if
    /// [`Capabilities::stateless_open`] is false or the client insists.
    ///
    /// # Errors
    /// `ESTALE`, or what opening it gives.
    fn open(&self, _call: Call, _node: NodeId) -> FsResult<Opened> {
        Ok(Opened {
            keep_cache: true,
            direct_io: false,
        })
    }

    /// Puts the entries of directory `dir` behind cookie `from` into `out` until it is full.
    ///
    /// # Errors
    /// `ENOTDIR`, `ESTALE`.
    fn readdir(&self, call: Call, dir: NodeId, from: Cookie, out: &mut dyn DirSink)
    -> FsResult<()>;

    /// Puts up to `len` bytes from offset `at` of a regular file into `out`; fewer only at the end
    /// of the file.
    ///
    /// # Errors
    /// `EISDIR`, `EINVAL` for what is no regular file, `ESTALE`, `EIO`.
    fn read(
        &self,
        call: Call,
        node: NodeId,
        at: u64,
        len: u32,
        out: &mut dyn DataSink,
    ) -> FsResult<usize>;

    /// Gives the file for mapping `len` bytes at `at` into a DAX window.
    ///
    /// # Errors
    /// `ENOSYS` if this file system cannot, `EINVAL`, `ESTALE`.
    fn map(&self, _call: Call, _node: NodeId, _at: u64, _len: u64) -> FsResult<Mapping> {
        Err(Errno::NOSYS)
    }

    /// Numbers for `statfs(2)`.
    ///
    /// # Errors
    /// What the host says.
    fn statfs(&self, call: Call) -> FsResult<StatFs>;

    /// The client dropped `count` references to `node`. Any number may come, for any node.
    fn forget(&self, _node: NodeId, _count: u64) {}

    /// The client starts anew (mount, unmount, reboot, or it went away) and remembers nothing.
    fn reset(&self) {}
}

impl<T: ReadFs + ?Sized> ReadFs for Arc<T> {
    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }
    fn lookup(&self, call: Call, parent: NodeId, name: Name<'_>) -> FsResult<Found> {
        (**self).lookup(call, parent, name)
    }
    fn getattr(&self, call: Call, node: NodeId) -> FsResult<(Attr, Validity)> {
        (**self).getattr(call, node)
    }
    fn readlink(&self, call: Call, node: NodeId, out: &mut dyn DataSink) -> FsResult<()> {
        (**self).readlink(call, node, out)
    }
    fn open(&self, call: Call, node: NodeId) -> FsResult<Opened> {
        (**self).open(call, node)
    }
    fn readdir(
        &self,
        call: Call,
        dir: NodeId,
        from: Cookie,
        out: &mut dyn DirSink,
    ) -> FsResult<()> {
        (**self).readdir(call, dir, from, out)
    }
    fn read(
        &self,
        call: Call,
        node: NodeId,
        at: u64,
        len: u32,
        out: &mut dyn DataSink,
    ) -> FsResult<usize> {
        (**self).read(call, node, at, len, out)
    }
    fn map(&self, call: Call, node: NodeId, at: u64, len: u64) -> FsResult<Mapping> {
        (**self).map(call, node, at, len)
    }
    fn statfs(&self, call: Call) -> FsResult<StatFs> {
        (**self).statfs(call)
    }
    fn forget(&self, node: NodeId, count: u64) {
        (**self).forget(node, count);
    }
    fn reset(&self) {
        (**self).reset();
    }
}
