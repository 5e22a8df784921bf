// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Listings of directories that may change while they are being listed.
//!
//! Clients list without opening, so a listing is continued by nothing but a cookie. Entries stand
//! in the order of their cookies ([`hash`](super::hash)); a listing that is continued after the
//! directory has changed skips nothing that was there all the time and repeats nothing.

use std::ffi::{CStr, CString};
use std::fmt;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use quick_cache::sync::Cache;

use super::{hash, host};
use crate::errno::{Errno, FsResult};
use crate::fs::{Cookie, DirEntry, DirSink, Entry, FileKind, NodeId};

/// How many listings are kept between one page and the next. A client may only be served more
/// slowly for there being fewer.
const KEPT: usize = 32;

/// One name of a listing.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub(super) name: CString,
    pub(super) ino: u64,
    /// `None` where the file system leaves it to `stat`.
    pub(super) kind: Option<FileKind>,
}

/// Names of a directory in the order of their cookies.
#[derive(Debug)]
pub(super) struct Listing {
    entries: Vec<Listed>,
}

impl Listing {
    /// Reads a directory, without the names that `hidden` says.
    pub(super) fn read(dir: BorrowedFd<'_>, hidden: impl Fn(&CStr) -> bool) -> FsResult<Listing> {
        let mut entries = Vec::new();
        host::list(dir, |name, ino, kind| {
            if !hidden(name) {
                entries.push(Listed {
                    name: name.to_owned(),
                    ino,
                    kind,
                });
            }
            Ok(())
        })?;
        Ok(Listing::of(entries))
    }

    /// A listing of these entries.
    pub(super) fn of(mut entries: Vec<Listed>) -> Listing {
        hash::sort_by_cookie(&mut entries, |entry| entry.name.to_bytes());
        Listing { entries }
    }

    /// What is listed.
    pub(super) fn entries(&self) -> &[Listed] {
        &self.entries
    }

    /// Puts what stands behind `from` into `out`. `node` finds what an entry leads to (`None`: it
    /// is gone by now) and is called when `out` wants nodes or the kind is not known; with `count`
    /// it is told of the entries that were taken.
    pub(super) fn put(
        &self,
        from: Cookie,
        out: &mut dyn DirSink,
        mut node: impl FnMut(&Listed) -> FsResult<Option<Entry>>,
        mut taken: impl FnMut(&Entry),
    ) -> FsResult<()> {
        let name = |i: usize| self.entries[i].name.to_bytes();
        let first = hash::first_behind(from, self.entries.len(), name);
        let wants_nodes = out.wants_nodes();
        for (index, listed) in self.entries.iter().enumerate().skip(first) {
            let found = if wants_nodes || listed.kind.is_none() {
                match node(listed) {
                    Ok(Some(entry)) => Some(entry),
                    Ok(None) => continue,
                    // A name is never dropped for an error: the client gets it without a node and
                    // hears of the error when it asks for the file itself.
                    Err(Errno::AGAIN) => return Err(Errno::AGAIN),
                    Err(_) => None,
                }
            } else {
                None
            };
            let kind = found
                .as_ref()
                .and_then(|entry| FileKind::from_mode(entry.attr.mode))
                .or(listed.kind)
                .unwrap_or(FileKind::Regular);
            let ino = found.as_ref().map_or(listed.ino, |entry| entry.attr.ino);
            let cookie = hash::cookie(index, name);
            let dirent = DirEntry {
                name: name(index),
                ino,
                kind,
                cookie,
            };
            let given = found.as_ref().filter(|_| wants_nodes);
            if !out.push(&dirent, given) {
                break;
            }
            if let Some(entry) = given {
                taken(entry);
            }
        }
        Ok(())
    }
}

/// Puts `.` and `..`. Returns false if `out` is full.
pub(super) fn put_dots(ino: u64, parent_ino: u64, from: Cookie, out: &mut dyn DirSink) -> bool {
    [(&b"."[..], ino, 1), (b"..", parent_ino, 2)]
        .into_iter()
        .filter(|dot| dot.2 > from)
        .all(|(name, ino, cookie)| {
            out.push(
                &DirEntry {
                    name,
                    ino,
                    kind: FileKind::Directory,
                    cookie,
                },
                None,
            )
        })
}

/// Listings that are being read page by page.
pub(super) struct ListingCache {
    cache: Cache<NodeId, Arc<Listing>>,
}

impl ListingCache {
    pub(super) fn new() -> ListingCache {
        ListingCache {
            cache: Cache::new(KEPT),
        }
    }

    /// The listing to continue from `from`: read anew at the start, else the one kept.
    pub(super) fn get(
        &self,
        dir: NodeId,
        from: Cookie,
        read: impl FnOnce() -> FsResult<Listing>,
    ) -> FsResult<Arc<Listing>> {
        if from != 0
            && let Some(listing) = self.cache.get(&dir)
        {
            return Ok(listing);
        }
        let listing = Arc::new(read()?);
        self.cache.insert(dir, Arc::clone(&listing));
        Ok(listing)
    }
}

impl fmt::Debug for ListingCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ListingCache({})", self.cache.len())
    }
}
