// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A Nix store: below a settled path everything is final, and only the root lives.

mod append;
mod background;
mod closure;
mod index;
mod links;
mod live;
pub(super) mod naming;
mod path;
mod places;
mod root;
mod settled;
mod table;
mod usage;
mod view;

pub use closure::{Closure, NotAStorePath};

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use self::background::Background;
use self::index::{Ids, Place};
use self::path::{Known, StorePath, settled_entry};
use self::root::Root;
use self::view::View;
use super::files::{self, FileCache};
use super::host::{self, Open};
use super::listing::{Listing, ListingCache, put_dots};
use super::{hash, statfs};
use crate::errno::{Errno, FsResult};
use crate::fs::{
    Attr, Call, Capabilities, Cookie, DataSink, DirEntry, DirSink, FileKind, Found, Mapping, Name,
    NodeId, ReadFs, StatFs, Validity,
};

/// How a store is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NixOptions {
    /// How long a client may go on believing that a store path exists, and what the root
    /// directory lists.
    ///
    /// A path can be collected and added again; until a client looks again it holds on to the one
    /// that is gone, whose uncached parts then answer ESTALE. One second, the default, keeps that
    /// as short as other servers keep everything, and costs one question for each store path in
    /// use in each second it is used. Whoever holds a garbage collector root for what a client
    /// uses can make it hours.
    pub root_timeout: Duration,
    /// How many files are kept open at most.
    pub open_files: usize,
    /// How many bytes the index may take. Store paths that were not used for longest are dropped
    /// from it, as a whole, and read again when somebody asks for them.
    pub index_limit: usize,
    /// Read the rest of a store path in the background once somebody has looked into it, while the
    /// index takes less than half of its limit.
    pub read_ahead: bool,
}

impl Default for NixOptions {
    fn default() -> NixOptions {
        NixOptions {
            root_timeout: Duration::from_secs(1),
            open_files: files::DEFAULT_LIMIT,
            index_limit: 1 << 30,
            read_ahead: true,
        }
    }
}

/// A Nix store, served by the rule of which parts of it are final. Give one instance to all that
/// share the store: they share its index.
///
/// What is settled is answered from memory, with canonical attributes and endless validity. Paths
/// being built, substituted, optimised or collected are served as they are, without validity.
/// Node ids mean the same after a restart.
#[derive(Debug)]
pub struct NixStore {
    root: Arc<Root>,
    files: Arc<FileCache>,
    listings: Arc<ListingCache>,
    background: Option<Arc<Background>>,
    view: View,
}

impl NixStore {
    /// Serves the store whose directory is `root` (see [`open_root`](super::open_root)).
    ///
    /// # Errors
    /// If `root` cannot be looked at, or no thread can be started.
    pub fn new(root: OwnedFd, options: NixOptions) -> std::io::Result<NixStore> {
        let root = Root::new(root, options.root_timeout, options.index_limit);
        root.attr()
            .map_err(|errno| std::io::Error::from_raw_os_error(errno.raw()))?;
        let start = || {
            let (places, usage) = (Arc::clone(root.places()), Arc::clone(root.usage()));
            Background::start(places, usage, options.index_limit / 2)
        };
        let background = options.read_ahead.then(start).transpose()?;
        Ok(NixStore {
            root: Arc::new(root),
            files: Arc::new(FileCache::new(options.open_files)),
            listings: Arc::new(ListingCache::new()),
            background: background.map(Arc::new),
            view: View::default(),
        })
    }

    /// The same store, with the same index, in which there is only what `closure` names. To a
    /// client that has only this instance, any other path is as if it was not there: it cannot be
    /// named or listed, a node id in it is ESTALE, and neither the root's attributes nor `statfs`
    /// tell that there is more. What a client has cached it has.
    ///
    /// A file with several names is one node for each of them here.
    #[must_use]
    pub fn restricted_to(&self, closure: &Closure) -> NixStore {
        NixStore {
            root: Arc::clone(&self.root),
            files: Arc::clone(&self.files),
            listings: Arc::clone(&self.listings),
            background: self.background.clone(),
            view: View::of(closure),
        }
    }

    /// Bytes the index takes.
    pub fn index_size(&self) -> usize {
        self.root.index_size()
    }

    /// Somebody has waited for directory `dir` of `path`.
    fn has_grown(&self, path: &Arc<StorePath>, dir: NodeId) {
        self.root.keep_within_limit(path.id());
        if let Some(background) = &self.background
            && path.has_read(dir)
        {
            background.read(path);
        }
    }

    fn list_live(
        &self,
        call: Call,
        path: &StorePath,
        dir: NodeId,
        from: Cookie,
        out: &mut dyn DirSink,
    ) -> FsResult<()> {
        let (file, stat) = path.open(call, self.root.places(), dir, Open::Directory)?;
        if from < hash::COOKIE_MIN && !put_dots(stat.attr.ino, stat.attr.ino, from, out) {
            return Ok(());
        }
        let listing = self
            .listings
            .get(dir, from, || Listing::read(file.as_fd(), |_| false))?;
        let look = |name: &_| path.look_live(file.as_fd(), dir, name);
        listing.put(from, out, |listed| look(&listed.name), |_| {})
    }

    fn list_root(&self, call: Call, from: Cookie, out: &mut dyn DirSink) -> FsResult<()> {
        if from < hash::COOKIE_MIN {
            let ino = self.root.attr()?.ino;
            if !put_dots(ino, ino, from, out) {
                return Ok(());
            }
        }
        if !call.may_block {
            return Err(Errno::AGAIN);
        }
        let listing = match self.view.listing() {
            Some(listing) => listing,
            None => self.listings.get(NodeId::ROOT, from, || self.root.list())?,
        };
        listing.put(from, out, |listed| self.root.look(&listed.name), |_| {})?;
        self.root.keep_within_limit(NodeId::ROOT);
        Ok(())
    }

    /// A regular file, open for reading, and its size if that is final.
    fn file(&self, call: Call, node: NodeId) -> FsResult<(Arc<OwnedFd>, Option<u64>)> {
        let path = self.root.path_of(call, &self.view, node)?;
        let size = match path.known(node).ok_or(Errno::STALE)? {
            Known::Settled(_, settled) => match settled.kind() {
                FileKind::Regular if node != path.id() => Some(settled.size()),
                // Whether a top node is settled is known only by looking at it.
                FileKind::Regular => None,
                FileKind::Directory => return Err(Errno::ISDIR),
                _ => return Err(Errno::INVAL),
            },
            Known::Live(_) => None,
        };
        let open = || {
            let opened = path.open(call, self.root.places(), node, Open::File);
            let (file, stat) = match opened {
                Err(Errno::STALE) if call.may_block => {
                    let other = self.root.other_path_of(call, &self.view, node);
                    let other = other.ok_or(Errno::STALE)?;
                    other.open(call, self.root.places(), node, Open::File)?
                }
                Err(Errno::STALE) => return Err(Errno::AGAIN),
                opened => opened?,
            };
            host::readable(file, &stat)
        };
        Ok((self.files.get_or_open(node, open)?, size))
    }
}

impl ReadFs for NixStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            stateless_open: true,
            cache_symlinks: true,
            cheap_attributes: true,
        }
    }

    fn lookup(&self, call: Call, parent: NodeId, name: Name<'_>) -> FsResult<Found> {
        if parent == NodeId::ROOT {
            let found = self.root.lookup(&self.view, name)?;
            if let Found::Entry(entry) = &found {
                self.root.keep_within_limit(entry.node);
            }
            return Ok(found);
        }
        if let Some(found) = self.root.peek_child(&self.view, parent, name) {
            return Ok(found);
        }
        let path = self.root.path_of(call, &self.view, parent)?;
        let found = path.lookup(call, self.root.places(), self.view.ids(), parent, name);
        self.has_grown(&path, parent);
        found
    }

    fn getattr(&self, call: Call, node: NodeId) -> FsResult<(Attr, Validity)> {
        if node == NodeId::ROOT {
            return Ok((self.view.root_attr(call, &self.root)?, self.root.validity()));
        }
        // Of a top node it is not enough that it was there once.
        let warm = |path: &StorePath, place| match place {
            Place::TOP => None,
            place => path.index().node(place).map(index::Node::attr),
        };
        if let Some(attr) = self.root.peek(&self.view, node, warm) {
            return Ok((attr, Validity::FOREVER));
        }
        let path = self.root.path_of(call, &self.view, node)?;
        if node == path.id() {
            return path.top_attr(self.root.places());
        }
        match path.known(node).ok_or(Errno::STALE)? {
            Known::Settled(_, settled) => Ok((settled.attr(), Validity::FOREVER)),
            Known::Live(_) if !call.may_block => Err(Errno::AGAIN),
            Known::Live(_) => {
                let (_, stat) = path.open(call, self.root.places(), node, Open::Place)?;
                Ok((stat.attr, Validity::NONE))
            }
        }
    }

    fn readlink(&self, call: Call, node: NodeId, out: &mut dyn DataSink) -> FsResult<()> {
        if node == NodeId::ROOT {
            return Err(Errno::INVAL);
        }
        let warm = |path: &StorePath, place: Place| {
            let block = path.index().block(place.block)?;
            let link = path.index().node(place)?;
            match link.kind() {
                // What the top node leads to is read from the host.
                FileKind::Symlink if place == Place::TOP => None,
                FileKind::Symlink => Some(files::put_target(block.target(link), out)),
                _ => Some(Err(Errno::INVAL)),
            }
        };
        if let Some(result) = self.root.peek(&self.view, node, warm) {
            return result;
        }
        if !call.may_block {
            return Err(Errno::AGAIN);
        }
        let path = self.root.path_of(call, &self.view, node)?;
        let (link, stat) = path.open(call, self.root.places(), node, Open::Place)?;
        if stat.kind != FileKind::Symlink {
            return Err(Errno::INVAL);
        }
        files::put_target(&host::read_link(link.as_fd(), c"")?, out)
    }

    fn readdir(
        &self,
        call: Call,
        dir: NodeId,
        from: Cookie,
        out: &mut dyn DirSink,
    ) -> FsResult<()> {
        if dir == NodeId::ROOT {
            return self.list_root(call, from, out);
        }
        let warm = |path: &StorePath, place: Place| {
            let block = path.index().entries(place)?;
            list_settled(path, place, block, self.view.ids(), from, out);
            Some(())
        };
        if self.root.peek(&self.view, dir, warm).is_some() {
            return Ok(());
        }
        let path = self.root.path_of(call, &self.view, dir)?;
        match path.known(dir).ok_or(Errno::STALE)? {
            Known::Settled(_, node) if node.kind() != FileKind::Directory => Err(Errno::NOTDIR),
            Known::Settled(place, _) => match path.entries(call, self.root.places(), place)? {
                Some(block) => {
                    list_settled(&path, place, block, self.view.ids(), from, out);
                    self.has_grown(&path, dir);
                    Ok(())
                }
                None => self.list_live(call, &path, dir, from, out),
            },
            Known::Live(_) if !call.may_block => Err(Errno::AGAIN),
            Known::Live(_) => self.list_live(call, &path, dir, from, out),
        }
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
        let (file, size) = self.file(call, node)?;
        let mut wanted = out.room().min(len as usize);
        if let Some(size) = size {
            let left = size.saturating_sub(at);
            wanted = wanted.min(usize::try_from(left).unwrap_or(usize::MAX));
        }
        if wanted == 0 {
            return Ok(0);
        }
        let got = files::put(call, file.as_fd(), at, wanted, out)?;
        if size.is_some() && got < wanted {
            // Shorter than it was when it was final. The client would fill the gap with zeros.
            self.files.remove(node);
            return Err(Errno::IO);
        }
        Ok(got)
    }

    fn map(&self, call: Call, node: NodeId, at: u64, len: u64) -> FsResult<Mapping> {
        let (file, settled) = self.file(call, node)?;
        let size = host::stat_fd(file.as_fd())?.attr.size;
        if settled.is_some_and(|settled| size < settled) {
            // As when reading: the client would see zeros up to where it thinks the end is.
            self.files.remove(node);
            return Err(Errno::IO);
        }
        Ok(Mapping {
            file,
            fixed: settled.is_some(),
            len: size.saturating_sub(at).min(len),
        })
    }

    fn statfs(&self, _call: Call) -> FsResult<StatFs> {
        match self.view.statfs() {
            Some(numbers) => Ok(numbers),
            None => statfs::of(self.root.fd()),
        }
    }
}

fn list_settled(
    path: &StorePath,
    place: Place,
    block: &index::Block,
    ids: Ids,
    from: Cookie,
    out: &mut dyn DirSink,
) {
    let Some(dir) = path.index().node(place) else {
        return;
    };
    // Nobody can ask where `..` leads but by name, and then the client knows it itself.
    if from < hash::COOKIE_MIN && !put_dots(dir.ino(), dir.ino(), from, out) {
        return;
    }
    let nodes = block.nodes();
    let name = |i: usize| block.name(&nodes[i]);
    let first = hash::first_behind(from, nodes.len(), name);
    let wants_nodes = out.wants_nodes();
    for (index, node) in nodes.iter().enumerate().skip(first) {
        let cookie = hash::cookie(index, name);
        let entry = DirEntry {
            name: name(index),
            ino: node.ino(),
            kind: node.kind(),
            cookie,
        };
        let found = wants_nodes.then(|| settled_entry(node, node.id_as(ids, dir.id, name(index))));
        if !out.push(&entry, found.as_ref()) {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
