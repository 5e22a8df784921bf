// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A small file system in memory, for tests of what lies around file systems.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use virtiofs::errno::{Errno, FsResult};
use virtiofs::fs::{
    Attr, Call, Capabilities, Cookie, DataSink, DirEntry, DirSink, Entry, FileKind, Found, Name,
    NodeId, ReadFs, StatFs, Timestamp, Validity,
};

/// What a node is.
#[derive(Clone, Debug)]
enum Content {
    File(Vec<u8>),
    Link(Vec<u8>),
    /// Names and nodes, in order.
    Directory(Vec<(Vec<u8>, u64)>),
}

/// The file system: a handle, to be cloned.
#[derive(Clone, Debug)]
pub struct MemFs {
    /// Node ids count from 1.
    nodes: Arc<Vec<Content>>,
    resets: Arc<AtomicU64>,
    forgotten: Arc<AtomicU64>,
}

impl Default for MemFs {
    fn default() -> MemFs {
        MemFs::sample()
    }
}

/// Contents of the file `hello`.
pub const HELLO: &[u8] = b"Hello from the store!\n";
/// Files in the directory `many`.
pub const MANY: usize = 500;

/// Contents of the file `big`: every 8 bytes say where they are.
pub fn big() -> Vec<u8> {
    (0..20_000u64)
        .flat_map(|word| (8 * word).to_le_bytes())
        .collect()
}

impl MemFs {
    /// `hello`, `big`, `link` to `hello`, `empty` and `many/f000` to `many/f499`.
    pub fn sample() -> MemFs {
        let mut nodes = vec![
            Content::Directory(Vec::new()),
            Content::File(HELLO.to_vec()),
            Content::File(big()),
            Content::Link(b"hello".to_vec()),
            Content::File(Vec::new()),
            Content::Directory(Vec::new()),
        ];
        let mut many = Vec::new();
        for number in 0..MANY {
            nodes.push(Content::File(vec![b'x'; number]));
            many.push((format!("f{number:03}").into_bytes(), nodes.len() as u64));
        }
        let names = [
            ("hello", 2),
            ("big", 3),
            ("link", 4),
            ("empty", 5),
            ("many", 6),
        ];
        let root = names.map(|(name, node)| (name.as_bytes().to_vec(), node));
        nodes[0] = Content::Directory(root.to_vec());
        nodes[5] = Content::Directory(many);
        MemFs {
            nodes: Arc::new(nodes),
            resets: Arc::default(),
            forgotten: Arc::default(),
        }
    }

    /// How often a client started anew.
    pub fn resets(&self) -> u64 {
        self.resets.load(Ordering::SeqCst)
    }

    /// How many references were dropped.
    pub fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::SeqCst)
    }

    fn node(&self, node: NodeId) -> FsResult<&Content> {
        let index = usize::try_from(node.0)
            .ok()
            .and_then(|node| node.checked_sub(1));
        index
            .and_then(|index| self.nodes.get(index))
            .ok_or(Errno::STALE)
    }

    fn attr(&self, node: u64) -> FsResult<Attr> {
        let (mode, size) = match self.node(NodeId(node))? {
            Content::File(bytes) => (libc::S_IFREG | 0o444, bytes.len()),
            Content::Link(bytes) => (libc::S_IFLNK | 0o777, bytes.len()),
            Content::Directory(_) => (libc::S_IFDIR | 0o555, 0),
        };
        let time = Timestamp { secs: 1, nanos: 0 };
        Ok(Attr {
            ino: node,
            size: size as u64,
            blocks: size.div_ceil(512) as u64,
            atime: time,
            mtime: time,
            ctime: time,
            mode,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            dax: false,
        })
    }

    fn entry(&self, node: u64) -> FsResult<Entry> {
        Ok(Entry {
            node: NodeId(node),
            attr: self.attr(node)?,
            entry_validity: Validity::FOREVER,
            attr_validity: Validity::FOREVER,
        })
    }
}

impl ReadFs for MemFs {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            stateless_open: true,
            cache_symlinks: true,
            cheap_attributes: true,
        }
    }

    fn lookup(&self, _: Call, parent: NodeId, name: Name<'_>) -> FsResult<Found> {
        let Content::Directory(entries) = self.node(parent)? else {
            return Err(Errno::NOTDIR);
        };
        match entries.iter().find(|(other, _)| other == name.as_bytes()) {
            Some((_, node)) => Ok(Found::Entry(self.entry(*node)?)),
            None => Ok(Found::Negative(Validity::FOREVER)),
        }
    }

    fn getattr(&self, _: Call, node: NodeId) -> FsResult<(Attr, Validity)> {
        Ok((self.attr(node.0)?, Validity::FOREVER))
    }

    fn readlink(&self, _: Call, node: NodeId, out: &mut dyn DataSink) -> FsResult<()> {
        let Content::Link(target) = self.node(node)? else {
            return Err(Errno::INVAL);
        };
        out.put(target);
        Ok(())
    }

    fn readdir(&self, _: Call, dir: NodeId, from: Cookie, out: &mut dyn DirSink) -> FsResult<()> {
        let Content::Directory(entries) = self.node(dir)? else {
            return Err(Errno::NOTDIR);
        };
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        for (index, (name, node)) in entries.iter().enumerate().skip(from) {
            let kind = FileKind::from_mode(self.attr(*node)?.mode).ok_or(Errno::IO)?;
            let entry = DirEntry {
                name,
                ino: *node,
                kind,
                cookie: index as u64 + 1,
            };
            let node = if out.wants_nodes() {
                Some(self.entry(*node)?)
            } else {
                None
            };
            if !out.push(&entry, node.as_ref()) {
                break;
            }
        }
        Ok(())
    }

    fn read(
        &self,
        _: Call,
        node: NodeId,
        at: u64,
        len: u32,
        out: &mut dyn DataSink,
    ) -> FsResult<usize> {
        let bytes = match self.node(node)? {
            Content::File(bytes) => bytes,
            Content::Directory(_) => return Err(Errno::ISDIR),
            Content::Link(_) => return Err(Errno::INVAL),
        };
        let at = usize::try_from(at).map_or(bytes.len(), |at| at.min(bytes.len()));
        let len = (len as usize).min(bytes.len() - at);
        Ok(out.put(&bytes[at..at + len]))
    }

    fn statfs(&self, _: Call) -> FsResult<StatFs> {
        Ok(StatFs {
            block_size: 4096,
            name_max: 255,
            ..StatFs::default()
        })
    }

    fn forget(&self, _: NodeId, count: u64) {
        self.forgotten.fetch_add(count, Ordering::SeqCst);
    }

    fn reset(&self) {
        self.resets.fetch_add(1, Ordering::SeqCst);
    }
}
