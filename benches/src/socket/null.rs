// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A file system that knows every answer without looking: over a socket it is the floor of the
//! transport.

use std::sync::Arc;

use virtiofs::errno::{Errno, FsResult};
use virtiofs::fs::{
    Attr, Call, Capabilities, Cookie, DataSink, DirSink, Entry, Found, Name, NodeId, ReadFs,
    StatFs, Timestamp, Validity,
};

/// Every name is a file of zeros, but those that begin with `missing`.
#[derive(Clone, Debug)]
pub struct NullFs {
    zeros: Arc<[u8]>,
}

impl Default for NullFs {
    fn default() -> NullFs {
        NullFs {
            zeros: vec![0; 1 << 20].into(),
        }
    }
}

fn attr(node: NodeId) -> Attr {
    let time = Timestamp { secs: 1, nanos: 0 };
    let directory = node == NodeId::ROOT;
    Attr {
        ino: node.0,
        size: 1 << 30,
        blocks: 1 << 21,
        atime: time,
        mtime: time,
        ctime: time,
        mode: if directory {
            libc::S_IFDIR | 0o555
        } else {
            libc::S_IFREG | 0o444
        },
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        dax: false,
    }
}

impl ReadFs for NullFs {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            stateless_open: true,
            cache_symlinks: true,
            cheap_attributes: true,
        }
    }

    fn lookup(&self, _: Call, _: NodeId, name: Name<'_>) -> FsResult<Found> {
        if name.as_bytes().starts_with(b"missing") {
            return Ok(Found::Negative(Validity::FOREVER));
        }
        Ok(Found::Entry(Entry {
            node: NodeId(2),
            attr: attr(NodeId(2)),
            entry_validity: Validity::FOREVER,
            attr_validity: Validity::FOREVER,
        }))
    }

    fn getattr(&self, _: Call, node: NodeId) -> FsResult<(Attr, Validity)> {
        Ok((attr(node), Validity::FOREVER))
    }

    fn readlink(&self, _: Call, _: NodeId, out: &mut dyn DataSink) -> FsResult<()> {
        out.put(b"file-1");
        Ok(())
    }

    fn readdir(&self, _: Call, _: NodeId, _: Cookie, _: &mut dyn DirSink) -> FsResult<()> {
        Ok(())
    }

    fn read(
        &self,
        _: Call,
        _: NodeId,
        _: u64,
        len: u32,
        out: &mut dyn DataSink,
    ) -> FsResult<usize> {
        let zeros = self.zeros.get(..len as usize).ok_or(Errno::INVAL)?;
        Ok(out.put(zeros))
    }

    fn statfs(&self, _: Call) -> FsResult<StatFs> {
        Ok(StatFs::default())
    }
}
