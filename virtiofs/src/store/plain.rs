// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Any directory tree, truthfully, as virtiofsd would show it.

use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use super::files::{self, FileCache};
use super::host::{self, HostStat, Identity, Open};
use super::listing::{Listing, ListingCache, put_dots};
use super::treepath::TreePath;
use super::{hash, statfs};
use crate::errno::{Errno, FsResult};
use crate::fs::{
    Attr, Call, Capabilities, Cookie, DataSink, DirSink, Entry, FileKind, Found, Mapping, Name,
    NodeId, Opened, ReadFs, StatFs, Validity,
};

/// How much a client may keep; the values of virtiofsd's `--cache`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CachePolicy {
    /// Nothing.
    Never,
    /// Names and attributes for a day, but no contents.
    Metadata,
    /// Names and attributes for a second, contents from one open to the next change.
    #[default]
    Auto,
    /// Everything for a day.
    Always,
}

impl CachePolicy {
    /// How long names and attributes hold (virtiofsd's timeouts).
    const fn validity(self) -> Validity {
        match self {
            CachePolicy::Never => Validity::NONE,
            CachePolicy::Auto => Validity(Duration::from_secs(1)),
            CachePolicy::Metadata | CachePolicy::Always => Validity(Duration::from_secs(86_400)),
        }
    }
}

/// How a tree is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainOptions {
    /// What clients may cache.
    pub cache: CachePolicy,
    /// How many files and directories are kept open at most.
    pub open_files: usize,
}

impl Default for PlainOptions {
    fn default() -> PlainOptions {
        PlainOptions {
            cache: CachePolicy::default(),
            open_files: files::DEFAULT_LIMIT,
        }
    }
}

/// A node some client was told of.
#[derive(Clone, Debug)]
struct Node {
    /// Where it was found last.
    parent: NodeId,
    name: Box<[u8]>,
    identity: Identity,
    device: (u32, u32),
    /// References the client holds.
    references: u64,
}

/// Any directory tree, read-only, with the attributes it has.
///
/// Give each client an instance of its own: nodes live as long as the client refers to them. A
/// file that is renamed while a client has it open is found only as long as its descriptor is
/// still among those kept; after that it is ESTALE.
#[derive(Debug)]
pub struct PlainTree {
    root: OwnedFd,
    device: (u32, u32),
    cache: CachePolicy,
    nodes: RwLock<HashMap<NodeId, Node>>,
    files: FileCache,
    places: FileCache,
    listings: ListingCache,
}

impl PlainTree {
    /// Serves the tree below `root` (see [`open_root`](super::open_root)).
    ///
    /// # Errors
    /// If `root` cannot be looked at.
    pub fn new(root: OwnedFd, options: PlainOptions) -> std::io::Result<PlainTree> {
        let stat = host::stat_fd(root.as_fd())
            .map_err(|errno| std::io::Error::from_raw_os_error(errno.raw()))?;
        // Files to read and places to start from share the limit.
        let half = (options.open_files / 2).max(1);
        Ok(PlainTree {
            root,
            device: stat.device,
            cache: options.cache,
            nodes: RwLock::default(),
            files: FileCache::new(half),
            places: FileCache::new(half),
            listings: ListingCache::new(),
        })
    }

    fn nodes(&self) -> RwLockReadGuard<'_, HashMap<NodeId, Node>> {
        self.nodes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn nodes_mut(&self) -> RwLockWriteGuard<'_, HashMap<NodeId, Node>> {
        self.nodes.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a node anew, by the way it was found.
    ///
    /// # Errors
    /// `ESTALE` if another file is there now, or none.
    fn open_node(&self, id: NodeId, how: Open) -> FsResult<(OwnedFd, HostStat)> {
        if id == NodeId::ROOT {
            let dir = host::open_beneath(Call::WAIT, self.root.as_fd(), c".", how)?;
            let stat = host::stat_fd(dir.as_fd())?;
            return Ok((dir, stat));
        }
        let mut path = TreePath::new();
        let (identity, device) = {
            let nodes = self.nodes();
            let node = nodes.get(&id).ok_or(Errno::STALE)?;
            let mut at = node;
            // Parents can be renamed into their own children's place; a path has an end.
            for _ in 0..=nodes.len() {
                path.prepend(&at.name);
                if at.parent == NodeId::ROOT {
                    break;
                }
                at = nodes.get(&at.parent).ok_or(Errno::STALE)?;
            }
            (node.identity, node.device)
        };
        let file = path
            .open(Call::WAIT, self.root.as_fd(), how)
            .map_err(host::gone)?;
        let stat = host::stat_fd(file.as_fd())?;
        if stat.identity != identity || stat.device != device {
            return Err(Errno::STALE);
        }
        Ok((file, stat))
    }

    /// The place of a node, kept for the next question.
    fn place(&self, id: NodeId) -> FsResult<Arc<OwnedFd>> {
        self.places
            .get_or_open(id, || self.open_node(id, Open::Place).map(|(fd, _)| fd))
    }

    fn file(&self, id: NodeId) -> FsResult<Arc<OwnedFd>> {
        self.files.get_or_open(id, || {
            let (file, stat) = self.open_node(id, Open::File)?;
            host::readable(file, &stat)
        })
    }

    /// Looks at `name` in `dir` and makes it a node, without a reference to it.
    fn look(&self, dir: BorrowedFd<'_>, parent: NodeId, name: &CString) -> FsResult<Option<Entry>> {
        let stat = match host::stat_at(dir, name) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        let device = hash::child(
            u64::from(stat.device.0) << 32 | u64::from(stat.device.1),
            b"",
        );
        let mut id = hash::bind(device, stat.identity);
        let mut nodes = self.nodes_mut();
        let id = loop {
            let node = NodeId(id.max(1024));
            let Some(known) = nodes.get_mut(&node) else {
                break node;
            };
            if known.identity == stat.identity && known.device == stat.device {
                // It may have moved, or this is another of its hard links.
                known.parent = parent;
                if *known.name != *name.to_bytes() {
                    known.name = name.to_bytes().into();
                }
                break node;
            }
            id = id.wrapping_add(1); // two files with one hash
        };
        nodes.entry(id).or_insert_with(|| Node {
            parent,
            name: name.to_bytes().into(),
            identity: stat.identity,
            device: stat.device,
            references: 0,
        });
        drop(nodes);
        Ok(Some(Entry {
            node: id,
            attr: self.attr(&stat),
            entry_validity: self.cache.validity(),
            attr_validity: self.cache.validity(),
        }))
    }

    /// Attributes as they are, but for inode numbers of other file systems mounted in the tree,
    /// which may be the same as those of this one. They stay below 2^56: overlayfs needs the rest.
    fn attr(&self, stat: &HostStat) -> Attr {
        let mut attr = stat.attr;
        // Whoever serves a tree so says that what guests have seen of it stays right.
        attr.dax = self.cache == CachePolicy::Always
            && FileKind::from_mode(attr.mode) == Some(FileKind::Regular);
        if stat.device != self.device {
            let (major, minor) = stat.device;
            let mix = hash::child(u64::from(major) << 32 | u64::from(minor), b"device");
            attr.ino = (attr.ino ^ mix) & (u64::MAX >> 8);
        }
        attr
    }

    fn refer(&self, id: NodeId) {
        if let Some(node) = self.nodes_mut().get_mut(&id) {
            node.references = node.references.saturating_add(1);
        }
    }
}

impl ReadFs for PlainTree {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            stateless_open: self.cache == CachePolicy::Always,
            cache_symlinks: self.cache == CachePolicy::Always,
            cheap_attributes: false,
        }
    }

    fn lookup(&self, _call: Call, parent: NodeId, name: Name<'_>) -> FsResult<Found> {
        let dir = self.place(parent)?;
        let name = CString::new(name.as_bytes()).map_err(|_| Errno::INVAL)?;
        match self.look(dir.as_fd(), parent, &name)? {
            Some(entry) => {
                self.refer(entry.node);
                Ok(Found::Entry(entry))
            }
            None => Ok(Found::Negative(Validity::NONE)),
        }
    }

    fn getattr(&self, _call: Call, node: NodeId) -> FsResult<(Attr, Validity)> {
        let place = self.place(node)?;
        let stat = host::stat_fd(place.as_fd())?;
        Ok((self.attr(&stat), self.cache.validity()))
    }

    fn readlink(&self, _call: Call, node: NodeId, out: &mut dyn DataSink) -> FsResult<()> {
        let (link, stat) = self.open_node(node, Open::Place)?;
        if stat.kind != FileKind::Symlink {
            return Err(Errno::INVAL);
        }
        let target = host::read_link(link.as_fd(), c"")?;
        files::put_target(&target, out)
    }

    fn open(&self, _call: Call, node: NodeId) -> FsResult<Opened> {
        let stat = host::stat_fd(self.place(node)?.as_fd())?;
        if stat.kind == FileKind::Regular {
            self.file(node)?;
        }
        Ok(Opened {
            keep_cache: self.cache == CachePolicy::Always,
            direct_io: matches!(self.cache, CachePolicy::Never | CachePolicy::Metadata),
        })
    }

    fn readdir(
        &self,
        _call: Call,
        dir: NodeId,
        from: Cookie,
        out: &mut dyn DirSink,
    ) -> FsResult<()> {
        let place = self.place(dir)?;
        let read = || {
            let file = host::open_listable(place.as_fd())?;
            Listing::read(file.as_fd(), |_| false)
        };
        if from < hash::COOKIE_MIN {
            let stat = host::stat_fd(place.as_fd())?;
            if stat.kind != FileKind::Directory {
                return Err(Errno::NOTDIR);
            }
            let ino = self.attr(&stat).ino;
            if !put_dots(ino, ino, from, out) {
                return Ok(());
            }
        }
        self.listings.get(dir, from, read)?.put(
            from,
            out,
            |listed| self.look(place.as_fd(), dir, &listed.name),
            |entry| self.refer(entry.node),
        )
    }

    fn read(
        &self,
        call: Call,
        node: NodeId,
        at: u64,
        len: u32,
        out: &mut dyn DataSink,
    ) -> FsResult<usize> {
        if node == NodeId::ROOT {
            return Err(Errno::ISDIR);
        }
        let wanted = out.room().min(len as usize);
        let file = self.file(node)?;
        files::put(call, file.as_fd(), at, wanted, out)
    }

    fn map(&self, _call: Call, node: NodeId, at: u64, len: u64) -> FsResult<Mapping> {
        let file = self.file(node)?;
        let size = host::stat_fd(file.as_fd())?.attr.size;
        Ok(Mapping {
            file,
            fixed: false,
            len: size.saturating_sub(at).min(len),
        })
    }

    fn statfs(&self, _call: Call) -> FsResult<StatFs> {
        statfs::of(self.root.as_fd())
    }

    fn forget(&self, node: NodeId, count: u64) {
        if node == NodeId::ROOT {
            return;
        }
        let mut nodes = self.nodes_mut();
        let Some(known) = nodes.get_mut(&node) else {
            return;
        };
        known.references = known.references.saturating_sub(count);
        if known.references == 0 {
            nodes.remove(&node);
            drop(nodes);
            self.files.remove(node);
            self.places.remove(node);
        }
    }

    fn reset(&self) {
        self.nodes_mut().clear();
        self.files.clear();
        self.places.clear();
    }
}
