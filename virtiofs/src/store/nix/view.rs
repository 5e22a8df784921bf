// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What of a store one share shows: all of it, or a closure.
//!
//! Of the paths that a closure leaves out nothing may be seen, so what the root directory says of
//! all of them together (how many there are, when the last came or went, how much room they take)
//! is not shown either.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::closure::{Closure, Set};
use super::index::{Ids, top_id};
use super::path::StorePath;
use super::root::Root;
use crate::errno::{Errno, FsResult};
use crate::fs::{Attr, Call, StatFs, Timestamp};
use crate::store::host;
use crate::store::listing::Listing;

/// A directory that changed so recently may change again without its times telling: file systems
/// count time in steps.
const RECENT: Duration = Duration::from_secs(2);

/// One share's view of a store.
#[derive(Debug, Default)]
pub(super) struct View {
    closure: Option<Closure>,
    seen: Mutex<Option<Seen>>,
}

/// What was there of a closure when it was last looked.
#[derive(Debug)]
struct Seen {
    set: Arc<Set>,
    /// The root's times then, and whether they can be relied on.
    mtime: Timestamp,
    ctime: Timestamp,
    settled: bool,
    /// Of which paths there were.
    digest: u64,
    /// When that was last found to have changed.
    changed: Timestamp,
}

impl View {
    pub(super) fn of(closure: &Closure) -> View {
        View {
            closure: Some(closure.clone()),
            seen: Mutex::new(None),
        }
    }

    /// Whether a store path of this name may be seen.
    pub(super) fn shows(&self, name: &[u8]) -> bool {
        match &self.closure {
            None => true,
            Some(closure) => closure.contains(name),
        }
    }

    pub(super) fn shows_path(&self, path: &StorePath) -> bool {
        self.shows(path.name().to_bytes())
    }

    /// By which ids files go. The id of a file's first name tells that name's store path, which
    /// may be one that is not shown, or not shown any more.
    pub(super) fn ids(&self) -> Ids {
        match self.closure {
            None => Ids::Shared,
            Some(_) => Ids::Own,
        }
    }

    /// The names to list, unless all are; whether there are such paths is to be looked up.
    pub(super) fn listing(&self) -> Option<Arc<Listing>> {
        let set = self.closure.as_ref()?.now();
        Some(Arc::clone(set.listing()))
    }

    /// Numbers of the file system that say nothing, unless the real ones may be seen.
    pub(super) fn statfs(&self) -> Option<StatFs> {
        self.closure.as_ref().map(|_| StatFs {
            block_size: 4096,
            fragment_size: 4096,
            name_max: 255,
            ..StatFs::default()
        })
    }

    /// Attributes of the root directory. Those of a closure's change only when what it shows does:
    /// clients keep their list of it until then.
    pub(super) fn root_attr(&self, call: Call, root: &Root) -> FsResult<Attr> {
        let host = root.attr()?;
        let Some(closure) = &self.closure else {
            return Ok(host);
        };
        let changed = self.last_change(call, closure.now(), root, &host)?;
        Ok(Attr {
            size: 4096,
            blocks: 8,
            nlink: 1, // "not counted"
            atime: changed,
            mtime: changed,
            ctime: changed,
            ..host
        })
    }

    fn last_change(
        &self,
        call: Call,
        set: Arc<Set>,
        root: &Root,
        host: &Attr,
    ) -> FsResult<Timestamp> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = &*seen
            && Arc::ptr_eq(&seen.set, &set)
            && (seen.mtime, seen.ctime) == (host.mtime, host.ctime)
            && seen.settled
        {
            return Ok(seen.changed);
        }
        if !call.may_block {
            return Err(Errno::AGAIN);
        }
        let now = now();
        let digest = digest(&set, root);
        let changed = match &*seen {
            Some(seen) if seen.digest == digest => seen.changed,
            Some(seen) => now.max(just_after(seen.changed)),
            None => now,
        };
        let recent = i64::try_from(RECENT.as_secs()).unwrap_or(0);
        *seen = Some(Seen {
            set,
            mtime: host.mtime,
            ctime: host.ctime,
            settled: now.secs.saturating_sub(host.ctime.secs) > recent,
            digest,
            changed,
        });
        Ok(changed)
    }
}

/// A number that is another one when another path of the set is there, or another file as one.
fn digest(set: &Set, root: &Root) -> u64 {
    let there = set.listing().entries().iter().filter_map(|listed| {
        let stat = host::stat_at(root.fd(), &listed.name).ok()?;
        Some(top_id(listed.name.to_bytes(), stat.identity).0)
    });
    there.fold(0, u64::wrapping_add)
}

fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp {
        secs: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: since.subsec_nanos(),
    }
}

fn just_after(time: Timestamp) -> Timestamp {
    match time.nanos {
        999_999_999.. => Timestamp {
            secs: time.secs.saturating_add(1),
            nanos: 0,
        },
        nanos => Timestamp {
            nanos: nanos + 1,
            ..time
        },
    }
}
