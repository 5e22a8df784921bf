// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The root directory of a store: the one place where paths come and go.

use std::ffi::{CStr, CString};
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::index::{Ids, Place, name_tag, path_tag, top_id};
use super::links::Links;
use super::naming;
use super::path::{StorePath, top_attr};
use super::places::Places;
use super::settled::is_settled;
use super::usage::Usage;
use super::view::View;
use crate::errno::{Errno, FsResult};
use crate::fs::{Attr, Call, Entry, FileKind, Found, Name, NodeId, Timestamp, Validity};
use crate::store::host::{self, HostStat};
use crate::store::listing::Listing;

/// Spreads tags, which are parts of hashes themselves, over the whole word. Nobody gains by names
/// whose tags collide: there are no more than 65,536.
#[derive(Default)]
struct TagHasher(u64);

impl Hasher for TagHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0 << 8 | u64::from(*byte);
        }
    }

    fn write_u16(&mut self, tag: u16) {
        self.0 = u64::from(tag);
    }

    fn finish(&self) -> u64 {
        // 2^64 divided by the golden ratio: "Fibonacci hashing".
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// All store paths whose ids begin with the same tag; hardly ever more than one.
#[derive(Debug)]
struct Tagged {
    first: Arc<StorePath>,
    others: Box<[Arc<StorePath>]>,
}

impl Tagged {
    fn iter(&self) -> impl Iterator<Item = &Arc<StorePath>> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

/// One part in so many of the limit is for remembering files with several names.
const LINKS_SHARE: usize = 8;

/// The root directory, and the store paths somebody has asked for.
pub(super) struct Root {
    places: Arc<Places>,
    timeout: Duration,
    /// How many bytes the indexes may take.
    limit: usize,
    usage: Arc<Usage>,
    links: Arc<Links>,
    /// Read without locks; changed under `change`.
    paths: papaya::HashMap<u16, Tagged, BuildHasherDefault<TagHasher>>,
    change: Mutex<()>,
    /// Names in the root and its times when they were read, for ids from before a restart.
    names: Mutex<Option<RootNames>>,
}

struct RootNames {
    mtime: Timestamp,
    ctime: Timestamp,
    /// Sorted.
    names: Arc<[(u16, CString)]>,
}

impl Root {
    pub(super) fn new(dir: OwnedFd, timeout: Duration, limit: usize) -> Root {
        Root {
            places: Arc::new(Places::new(dir)),
            timeout,
            limit: limit - limit / LINKS_SHARE,
            usage: Arc::default(),
            links: Arc::new(Links::new(limit / LINKS_SHARE)),
            // What is dropped is freed at once, and not with the 31 next: it may be large.
            paths: papaya::HashMap::builder()
                .hasher(BuildHasherDefault::default())
                .collector(seize::Collector::new().batch_size(1))
                .build(),
            change: Mutex::new(()),
            names: Mutex::new(None),
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.places.root()
    }

    /// What store paths are opened from.
    pub(super) fn places(&self) -> &Arc<Places> {
        &self.places
    }

    /// How much memory the indexes take.
    pub(super) fn usage(&self) -> &Arc<Usage> {
        &self.usage
    }

    /// How long anything the root says holds.
    pub(super) fn validity(&self) -> Validity {
        Validity(self.timeout)
    }

    pub(super) fn attr(&self) -> FsResult<Attr> {
        Ok(host::stat_fd(self.fd())?.attr)
    }

    /// Looks up a store path.
    pub(super) fn lookup(&self, view: &View, name: Name<'_>) -> FsResult<Found> {
        // A path that does not exist may do so the next moment: no validity.
        let nothing = Found::Negative(Validity::NONE);
        if !naming::is_store_path(name.as_bytes()) || !view.shows(name.as_bytes()) {
            return Ok(nothing);
        }
        let name = CString::new(name.as_bytes()).map_err(|_| Errno::INVAL)?;
        Ok(self.look(&name)?.map_or(nothing, Found::Entry))
    }

    /// Looks at a name of the root that is one of a store path. `None`: there is none (any more).
    pub(super) fn look(&self, name: &CStr) -> FsResult<Option<Entry>> {
        let stat = match host::stat_at(self.fd(), name) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => {
                self.replace(name, None);
                return Ok(None);
            }
            Err(errno) => return Err(errno),
        };
        if is_lock(name, &stat) {
            return Ok(None);
        }
        let node = top_id(name.to_bytes(), stat.identity);
        if !self.has_top(node) {
            let (usage, links) = (Arc::clone(&self.usage), Arc::clone(&self.links));
            self.replace(
                name,
                Some(Arc::new(StorePath::new(name, &stat, usage, links))),
            );
        }
        let (attr, attr_validity) = top_attr(&stat);
        let settled = attr_validity != Validity::NONE;
        let entry_validity = if settled {
            self.validity()
        } else {
            Validity::NONE
        };
        Ok(Some(Entry {
            node,
            attr,
            entry_validity,
            attr_validity,
        }))
    }

    /// Puts `path` in the place of all others of its name.
    fn replace(&self, name: &CStr, path: Option<Arc<StorePath>>) {
        let tag = name_tag(name.to_bytes());
        let _guard = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let paths = self.paths.pin();
        let old = || paths.get(&tag).into_iter().flat_map(Tagged::iter);
        if let Some(path) = &path {
            if old().any(|old| old.id() == path.id()) {
                return; // somebody else was faster
            }
        } else if !old().any(|old| old.name() == name) {
            return;
        }
        for gone in old().filter(|old| old.name() == name) {
            self.places.forget(gone.id());
        }
        let left = old().filter(|old| old.name() != name).cloned();
        self.set_tagged(tag, left.chain(path));
    }

    /// Sets which store paths have a tag. Under `change`.
    fn set_tagged(&self, tag: u16, mut tagged: impl Iterator<Item = Arc<StorePath>>) {
        let paths = self.paths.pin();
        match tagged.next() {
            None => paths.remove(&tag),
            Some(first) => {
                let others = tagged.collect();
                paths.insert(tag, Tagged { first, others })
            }
        };
    }

    /// Whether this is the top node of a store path that is known.
    fn has_top(&self, node: NodeId) -> bool {
        let paths = self.paths.pin();
        let tagged = paths.get(&path_tag(node));
        tagged.is_some_and(|tagged| tagged.iter().any(|path| path.id() == node))
    }

    /// The store path that a node belongs to, if it knows the node.
    fn find(&self, view: &View, node: NodeId) -> Option<Arc<StorePath>> {
        let paths = self.paths.pin();
        let tagged = paths.get(&path_tag(node))?;
        tagged
            .iter()
            .find(|path| path.known(node).is_some() && view.shows_path(path))
            .cloned()
    }

    /// What `answer` makes of a node that is in an index; `None` if it is in none. Takes no lock
    /// and no reference: this is the way of every warm question.
    pub(super) fn peek<R>(
        &self,
        view: &View,
        node: NodeId,
        answer: impl FnOnce(&StorePath, Place) -> Option<R>,
    ) -> Option<R> {
        let paths = self.paths.pin();
        for path in paths.get(&path_tag(node))?.iter() {
            if let Some(place) = path.find(node)
                && view.shows_path(path)
            {
                path.touch();
                return answer(path, place);
            }
        }
        None
    }

    /// Whether there is an entry `name` in a directory, and which, if an index knows that.
    pub(super) fn peek_child(&self, view: &View, dir: NodeId, name: Name<'_>) -> Option<Found> {
        let paths = self.paths.pin();
        paths.get(&path_tag(dir))?.iter().find_map(|path| {
            let found = path.find_child(view.ids(), dir, name)?;
            view.shows_path(path).then_some(found)
        })
    }

    /// The store path that a node belongs to. A node nobody was told of since the server started
    /// is searched for: a client may know it from before.
    ///
    /// # Errors
    /// `ESTALE` if there is no such node (any more).
    pub(super) fn path_of(
        &self,
        call: Call,
        view: &View,
        node: NodeId,
    ) -> FsResult<Arc<StorePath>> {
        if let Some(path) = self.find(view, node) {
            return Ok(path);
        }
        if !call.may_block {
            return Err(Errno::AGAIN);
        }
        let tag = path_tag(node);
        let names = self.names()?;
        let first = names.partition_point(|(other, _)| *other < tag);
        let tagged = names[first..].iter().take_while(|(other, _)| *other == tag);
        for (_, name) in tagged.filter(|(_, name)| view.shows(name.to_bytes())) {
            let Ok(Some(entry)) = self.look(name) else {
                continue;
            };
            let Some(path) = self.find(view, entry.node) else {
                continue;
            };
            if path.search(self.places(), node) {
                return Ok(path);
            }
        }
        self.other_path_of(call, view, node).ok_or(Errno::STALE)
    }

    /// A store path that has another name for a node whose first name is gone. Where each name has
    /// an id of its own there is none.
    pub(super) fn other_path_of(
        &self,
        call: Call,
        view: &View,
        node: NodeId,
    ) -> Option<Arc<StorePath>> {
        if view.ids() == Ids::Own {
            return None;
        }
        self.links.others(node).into_iter().find_map(|top| {
            // A top node is nobody's link, so this goes no deeper.
            let path = self.path_of(call, view, top).ok()?;
            path.top_attr(self.places()).ok()?;
            path.adopt(self.places(), node).then_some(path)
        })
    }

    /// Names of all store paths, by the tags of their ids; read again only when the root has
    /// changed, lest asking for nodes that never existed cost a reading each.
    fn names(&self) -> FsResult<Arc<[(u16, CString)]>> {
        let mut cached = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let attr = self.attr()?;
        if let Some(names) = &*cached
            && names.mtime == attr.mtime
            && names.ctime == attr.ctime
        {
            return Ok(Arc::clone(&names.names));
        }
        let dir = host::open_listable(self.fd())?;
        let mut names = Vec::new();
        host::list(dir.as_fd(), |name, _, _| {
            if naming::is_store_path(name.to_bytes()) {
                names.push((name_tag(name.to_bytes()), name.to_owned()));
            }
            Ok(())
        })?;
        names.sort();
        let names: Arc<[_]> = names.into();
        *cached = Some(RootNames {
            mtime: attr.mtime,
            ctime: attr.ctime,
            names: Arc::clone(&names),
        });
        Ok(names)
    }

    /// Lists what a client may see.
    pub(super) fn list(&self) -> FsResult<Listing> {
        let dir = host::open_listable(self.fd())?;
        Listing::read(dir.as_fd(), |name| {
            let bytes = name.to_bytes();
            !naming::is_store_path(bytes)
                || (naming::may_be_lock(bytes)
                    && host::stat_at(dir.as_fd(), name).is_ok_and(|stat| is_lock(name, &stat)))
        })
    }

    /// Bytes the indexes of all store paths take.
    pub(super) fn index_size(&self) -> usize {
        self.usage.bytes()
    }

    /// Drops the indexes of the store paths that were not used for longest, if all together take
    /// too much. Whoever asks for them again finds the same nodes again, by reading them again.
    pub(super) fn keep_within_limit(&self, in_use: NodeId) {
        if self.usage.bytes() <= self.limit {
            return;
        }
        let _guard = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let paths = self.paths.pin();
        let mut by_age: Vec<_> = paths
            .values()
            .flat_map(|tagged| tagged.iter())
            .filter(|path| path.id() != in_use)
            .map(|path| (path.unused_for(), Arc::clone(path)))
            .collect();
        by_age.sort_unstable_by_key(|(unused_for, _)| std::cmp::Reverse(*unused_for));
        // Some more than needed, so that this is not done again for the next directory.
        let mut surplus = self
            .usage
            .bytes()
            .saturating_sub(self.limit - self.limit / 8);
        for (_, path) in by_age {
            if surplus == 0 {
                break;
            }
            surplus = surplus.saturating_sub(path.discount());
            let id = path.id();
            let Some(tagged) = paths.get(&path_tag(id)) else {
                continue;
            };
            let left = tagged.iter().filter(|path| path.id() != id);
            self.set_tagged(path_tag(id), left.cloned());
        }
    }
}

/// Whether this is one of Nix's locks, which are never settled, and not a path of such a name.
fn is_lock(name: &CStr, stat: &HostStat) -> bool {
    naming::may_be_lock(name.to_bytes()) && stat.kind == FileKind::Regular && !is_settled(stat)
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Root({} store paths known)", self.paths.len())
    }
}
