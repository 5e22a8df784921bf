// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One store path: `<hash>-<name>`, a file, a symbolic link or a directory with all below it.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::mem::size_of;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::index::{Block, Ids, Index, NewNode, Node, Place, live_id, top_id};
use super::links::Links;
use super::live::{LiveNode, LiveNodes};
use super::places::Places;
use super::settled::{is_final, is_settled};
use super::usage::Usage;
use crate::errno::{Errno, FsResult};
use crate::fs::{Attr, Call, Entry, FileKind, Found, Name, NodeId, Validity};
use crate::store::host::{self, HostStat, Identity, Open, gone};
use crate::store::treepath::TreePath;

/// One incarnation of a store path: if it is collected and added again, that is another one.
///
/// What warm questions look at comes first, in one line of the processor's cache.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct StorePath {
    id: NodeId,
    /// Made when somebody looks inside: most paths are only ever listed.
    index: OnceLock<Box<Index>>,
    usage: Arc<Usage>,
    used: AtomicU32,
    /// Somebody has begun to read all of it.
    read_ahead: AtomicBool,
    name: CString,
    identity: Identity,
    top: NewNode,
    live: LiveNodes,
    links: Arc<Links>,
    /// Links found for nodes whose own place is gone.
    adopted: Mutex<HashMap<NodeId, Place>>,
    /// Bytes of the index that `usage` knows of.
    counted: AtomicUsize,
}

/// A node that a client named.
#[derive(Debug)]
pub(super) enum Known<'p> {
    /// In the index, for ever what it is.
    Settled(Place, &'p Node),
    /// To be looked at again.
    Live(LiveNode),
}

impl StorePath {
    /// `stat` is of the top node, which must have been looked at just now.
    pub(super) fn new(
        name: &CStr,
        stat: &HostStat,
        usage: Arc<Usage>,
        links: Arc<Links>,
    ) -> StorePath {
        let id = top_id(name.to_bytes(), stat.identity);
        let top = NewNode {
            name: Vec::new(),
            ..new_node(name, stat, Vec::new())
        };
        let path = StorePath {
            name: name.to_owned(),
            id,
            identity: stat.identity,
            index: OnceLock::new(),
            top,
            live: LiveNodes::default(),
            usage,
            links,
            adopted: Mutex::default(),
            counted: AtomicUsize::new(0),
            used: AtomicU32::new(0),
            read_ahead: AtomicBool::new(false),
        };
        path.count();
        path.touch();
        path
    }

    /// Tells the store's usage how large the index has become.
    fn count(&self) {
        let now = size_of::<StorePath>() + self.index.get().map_or(0, |index| index.size());
        let grown = now.saturating_sub(self.counted.fetch_max(now, Ordering::Relaxed));
        if grown > 0 {
            self.usage.grew(grown);
        }
    }

    /// Notes that the path is in use.
    pub(super) fn touch(&self) {
        self.usage.touch(&self.used);
    }

    /// How long ago the path was used, for comparing.
    pub(super) fn unused_for(&self) -> u32 {
        self.usage.since(&self.used)
    }

    /// The path is being dropped from the index: its bytes count no more. (Others may still hold
    /// it for a moment.) Returns how many they were.
    pub(super) fn discount(&self) -> usize {
        let bytes = self.counted.swap(0, Ordering::Relaxed);
        self.usage.shrank(bytes);
        bytes
    }

    pub(super) fn name(&self) -> &CStr {
        &self.name
    }

    pub(super) fn id(&self) -> NodeId {
        self.id
    }

    pub(super) fn index(&self) -> &Index {
        self.index
            .get_or_init(|| Box::new(Index::new(self.id, self.top.clone())))
    }

    /// Where the node with this id stands in the index.
    pub(super) fn find(&self, id: NodeId) -> Option<Place> {
        if id == self.id {
            return Some(Place::TOP);
        }
        self.index.get()?.find(id)
    }

    /// The node with this id, unless it is unknown.
    pub(super) fn known(&self, id: NodeId) -> Option<Known<'_>> {
        if let Some(place) = self.find(id) {
            return Some(Known::Settled(place, self.index().node(place)?));
        }
        if let Some(live) = self.live.get(id) {
            return Some(Known::Live(live));
        }
        let adopted = *self.adopted().get(&id)?;
        Some(Known::Settled(adopted, self.index().node(adopted)?))
    }

    fn adopted(&self) -> MutexGuard<'_, HashMap<NodeId, Place>> {
        self.adopted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds another name of the node with this id here, so that it is known from now on.
    pub(super) fn adopt(&self, places: &Places, id: NodeId) -> bool {
        let find = || self.index().find_link(id);
        let place = find().or_else(|| {
            self.search(places, id);
            find()
        });
        match place {
            Some(place) => {
                self.adopted().insert(id, place);
                true
            }
            None => false,
        }
    }

    /// Attributes of the top node, as it is now.
    pub(super) fn top_attr(&self, places: &Places) -> FsResult<(Attr, Validity)> {
        let stat = host::stat_at(places.root(), &self.name).map_err(gone)?;
        self.check(&stat)?;
        Ok(top_attr(&stat))
    }

    fn check(&self, stat: &HostStat) -> FsResult<()> {
        if stat.identity == self.identity {
            Ok(())
        } else {
            Err(Errno::STALE)
        }
    }

    /// Opens a node on the host.
    ///
    /// # Errors
    /// `ESTALE` if it is not there any more, or another file is; `EAGAIN` if `call` may not wait
    /// for it.
    pub(super) fn open(
        &self,
        call: Call,
        places: &Places,
        id: NodeId,
        how: Open,
    ) -> FsResult<(OwnedFd, HostStat)> {
        if id == self.id {
            let file = host::open_beneath(call, places.root(), &self.name, how).map_err(gone)?;
            let stat = host::stat_fd(file.as_fd())?;
            self.check(&stat)?;
            return Ok((file, stat));
        }
        let mut path = TreePath::new();
        let mut at = id;
        let known = self.known(id).ok_or(Errno::STALE)?;
        loop {
            match self.known(at).ok_or(Errno::STALE)? {
                Known::Settled(place, _) => {
                    self.index()
                        .prepend_path_to(place, &mut path)
                        .ok_or(Errno::STALE)?;
                    break;
                }
                Known::Live(node) => {
                    path.prepend(&node.name);
                    at = node.parent;
                }
            }
        }
        // By way of the top node: only if that is the one the id was given for can the rest be.
        let top = places.top(self.id, || {
            let (top, _) = self.open(call, places, self.id, Open::Place)?;
            Ok(top)
        })?;
        let file = path.open(call, top.as_fd(), how).map_err(gone)?;
        let stat = host::stat_fd(file.as_fd())?;
        let same = match known {
            Known::Live(node) => node.identity == stat.identity,
            // `nix-store --optimise` puts another inode with the same content in a file's place.
            Known::Settled(_, node) if node.kind() == FileKind::Regular => {
                stat.kind == FileKind::Regular && stat.attr.size == node.size()
            }
            Known::Settled(_, node) => stat.kind == node.kind() && stat.identity.ino == node.ino(),
        };
        if same {
            Ok((file, stat))
        } else {
            Err(Errno::STALE)
        }
    }

    /// Looks up `name` in directory `parent`, which must be known.
    pub(super) fn lookup(
        &self,
        call: Call,
        places: &Places,
        ids: Ids,
        parent: NodeId,
        name: Name<'_>,
    ) -> FsResult<Found> {
        let settled = match self.known(parent).ok_or(Errno::STALE)? {
            Known::Settled(place, node) if node.kind() == FileKind::Directory => Some(place),
            Known::Settled(..) => return Err(Errno::NOTDIR),
            Known::Live(_) => None,
        };
        if let Some(place) = settled
            && let Some(found) = self.find_settled(ids, place, name)
        {
            return Ok(found);
        }
        if !call.may_block {
            return Err(Errno::AGAIN);
        }
        let (dir, before) = self.open(call, places, parent, Open::Directory)?;
        if let Some(place) = settled
            && self.read_settled(place, dir.as_fd(), &before)?.is_some()
            && let Some(found) = self.find_settled(ids, place, name)
        {
            return Ok(found);
        }
        let name = CString::new(name.as_bytes()).map_err(|_| Errno::INVAL)?;
        match self.look_live(dir.as_fd(), parent, &name)? {
            Some(entry) => Ok(Found::Entry(entry)),
            None => Ok(Found::Negative(Validity::NONE)),
        }
    }

    /// Answer from the index, if it knows what is in the directory at `dir`.
    fn find_settled(&self, ids: Ids, dir: Place, name: Name<'_>) -> Option<Found> {
        let (index, name) = (self.index(), name.as_bytes());
        let child = index.child(dir, name)?;
        Some(settled_found(ids, child, index.node(dir)?.id, name))
    }

    /// Answer from the index, if it knows what is in the directory `dir`.
    pub(super) fn find_child(&self, ids: Ids, dir: NodeId, name: Name<'_>) -> Option<Found> {
        let name = name.as_bytes();
        let child = self.index.get()?.child_of(dir, name)?;
        self.touch();
        Some(settled_found(ids, child, dir, name))
    }

    /// Looks at `name` in a directory that may still change.
    pub(super) fn look_live(
        &self,
        dir: BorrowedFd<'_>,
        parent: NodeId,
        name: &CStr,
    ) -> FsResult<Option<Entry>> {
        let stat = match host::stat_at(dir, name) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        let bytes = name.to_bytes();
        let node = live_id(parent, bytes, stat.identity);
        self.live.remember(node, || LiveNode {
            parent,
            name: bytes.into(),
            identity: stat.identity,
        });
        Ok(Some(Entry {
            node,
            attr: stat.attr,
            entry_validity: Validity::NONE,
            attr_validity: Validity::NONE,
        }))
    }

    /// What the settled directory at `place` contains, read from the host if need be. `None` if
    /// it turns out not to be settled (yet, or any more).
    pub(super) fn entries(
        &self,
        call: Call,
        places: &Places,
        place: Place,
    ) -> FsResult<Option<&Block>> {
        if let Some(block) = self.index().entries(place) {
            return Ok(Some(block));
        }
        if !call.may_block {
            return Err(Errno::AGAIN);
        }
        let id = self.index().node(place).ok_or(Errno::STALE)?.id;
        let (dir, before) = self.open(call, places, id, Open::Directory)?;
        self.read_settled(place, dir.as_fd(), &before)
    }

    fn read_settled(
        &self,
        place: Place,
        dir: BorrowedFd<'_>,
        before: &HostStat,
    ) -> FsResult<Option<&Block>> {
        if !is_settled(before) {
            return Ok(None);
        }
        let mut entries = Vec::new();
        let listed = host::list(dir, |name, _, _| {
            let stat = host::stat_at(dir, name)?;
            let target = match stat.kind {
                FileKind::Symlink => host::read_link(dir, name)?,
                _ => Vec::new(),
            };
            entries.push(new_node(name, &stat, target));
            Ok(())
        });
        match listed {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(None), // it is being emptied
            Err(errno) => return Err(errno),
        }
        if !is_final(before, &host::stat_fd(dir)?) {
            return Ok(None);
        }
        let block = self.index().fill(place, entries, &self.links);
        self.count();
        Ok(block)
    }

    /// Reads directories until the node with this id turns up, or there are none left.
    pub(super) fn search(&self, places: &Places, id: NodeId) -> bool {
        self.read_all(places, || self.find(id).is_some());
        self.find(id).is_some()
    }

    /// Reads all directories that are not in the index yet, until it is `enough`. The last of each
    /// directory come first: a client that walks the tree at the same time begins at the other
    /// end, so that the two do not read the same directories all the way.
    pub(super) fn read_all(&self, places: &Places, mut enough: impl FnMut() -> bool) {
        let mut dirs = vec![Place::TOP];
        while let Some(place) = dirs.pop() {
            if enough() {
                return;
            }
            let is_dir = |node: &Node| node.kind() == FileKind::Directory;
            if !self.index().node(place).is_some_and(is_dir) {
                continue;
            }
            let Ok(Some(block)) = self.entries(Call::WAIT, places, place) else {
                continue;
            };
            let below = block.nodes().iter().filter(|node| is_dir(node));
            dirs.extend(below.filter_map(|node| self.find(node.id)));
        }
    }

    /// Whether the index knows what is in the directory with this id.
    pub(super) fn has_read(&self, dir: NodeId) -> bool {
        let place = self.find(dir);
        place.is_some_and(|place| self.index().entries(place).is_some())
    }

    /// Whether it is up to the caller to have the rest of the path read: true once.
    pub(super) fn begin_read_ahead(&self) -> bool {
        !self.read_ahead.swap(true, Ordering::Relaxed)
    }

    /// The rest of the path was not read after all.
    pub(super) fn give_up_read_ahead(&self) {
        self.read_ahead.store(false, Ordering::Relaxed);
    }
}

impl Drop for StorePath {
    fn drop(&mut self) {
        self.discount();
    }
}

/// What the index says of a node, which goes by `id`.
pub(super) fn settled_entry(node: &Node, id: NodeId) -> Entry {
    Entry {
        node: id,
        attr: node.attr(),
        entry_validity: Validity::FOREVER,
        attr_validity: Validity::FOREVER,
    }
}

/// The same as the answer to a lookup of `name` in the directory `dir`, which is known.
fn settled_found(ids: Ids, child: Option<&Node>, dir: NodeId, name: &[u8]) -> Found {
    match child {
        Some(node) => Found::Entry(settled_entry(node, node.id_as(ids, dir, name))),
        None => Found::Negative(Validity::FOREVER),
    }
}

/// Attributes of a top node: canonical and for ever once it is settled.
pub(super) fn top_attr(stat: &HostStat) -> (Attr, Validity) {
    if !is_settled(stat) {
        return (stat.attr, Validity::NONE);
    }
    let executable = stat.attr.mode & 0o100 != 0;
    let attr = super::settled::canonical(stat.attr.ino, stat.kind, stat.attr.size, executable);
    (attr, Validity::FOREVER)
}

fn new_node(name: &CStr, stat: &HostStat, target: Vec<u8>) -> NewNode {
    NewNode {
        name: name.to_bytes().to_vec(),
        ino: stat.attr.ino,
        size: stat.attr.size,
        kind: stat.kind,
        // The owner's bit decides, as it does when Nix settles the file.
        executable: stat.attr.mode & 0o100 != 0,
        target,
        links: (stat.kind == FileKind::Regular && stat.attr.nlink > 1).then_some(stat.identity),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    /// Settled before it was read, changed while it was read: that is not final.
    #[test]
    fn a_directory_that_changes_under_our_hands_is_not_final() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        fs::create_dir(&top).unwrap();
        fs::write(top.join("file"), "").unwrap();
        fs::set_permissions(&top, Permissions::from_mode(0o555)).unwrap();
        let one = rustix::fs::Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        let times = rustix::fs::Timestamps {
            last_access: one,
            last_modification: one,
        };
        let settle = || {
            let flags = rustix::fs::AtFlags::empty();
            rustix::fs::utimensat(rustix::fs::CWD, &top, &times, flags).unwrap();
        };
        settle();

        let places = Places::new(crate::store::open_root(dir.path()).unwrap());
        let stat = host::stat_at(places.root(), c"top").unwrap();
        let path = StorePath::new(c"top", &stat, Arc::default(), Arc::new(Links::new(0)));
        let (fd, before) = path
            .open(Call::WAIT, &places, path.id(), Open::Directory)
            .unwrap();
        fs::remove_file(top.join("file")).unwrap();
        let read = path.read_settled(Place::TOP, fd.as_fd(), &before).unwrap();
        assert!(read.is_none());
        settle();
        assert!(
            path.read_settled(Place::TOP, fd.as_fd(), &before)
                .unwrap()
                .is_some()
        );
    }
}
