// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The rule that says what is final in a Nix store.
//!
//! Nix makes a path under its final name and lets it grow there; when it is complete, write bits
//! are taken away and mtimes set to 1, from the top down. Collecting garbage goes the other way,
//! in place, and the top may look untouched till the end. So neither the name of a path nor its
//! top node says whether it is whole, but each directory says it of itself: one that has lost or
//! gained an entry has a new mtime. What a directory contains, missing names included, is final
//! exactly if the directory is without write bits and has mtime 1 both before and after it was
//! read. What a file contains is final when its directory is.

use crate::fs::{Attr, FileKind, Timestamp};
use crate::store::host::HostStat;

/// The mtime Nix gives to everything (one second past 1970).
pub(super) const CANONICAL_TIME: Timestamp = Timestamp { secs: 1, nanos: 0 };

/// Whether Nix has settled this file or directory itself.
pub(super) fn is_settled(stat: &HostStat) -> bool {
    stat.attr.mtime == CANONICAL_TIME
        // A symbolic link has no mode of its own.
        && (stat.kind == FileKind::Symlink || stat.attr.mode & 0o222 == 0)
}

/// Whether a directory was the same, and settled, before and after it was read.
pub(super) fn is_final(before: &HostStat, after: &HostStat) -> bool {
    is_settled(before)
        && is_settled(after)
        && before.identity == after.identity
        && before.attr.mode == after.attr.mode
}

/// The attributes Nix gives to everything, whatever the host shows: inside a settled directory
/// modes, owners and times may still be on their way there.
pub(super) fn canonical(ino: u64, kind: FileKind, size: u64, executable: bool) -> Attr {
    let permissions = match kind {
        FileKind::Symlink => 0o777,
        FileKind::Directory => 0o555,
        _ if executable => 0o555,
        _ => 0o444,
    };
    Attr {
        ino,
        size,
        blocks: size.div_ceil(512),
        atime: CANONICAL_TIME,
        mtime: CANONICAL_TIME,
        ctime: CANONICAL_TIME,
        mode: kind.mode() | permissions,
        // Links come and go with `nix-store --optimise`; 1 on a directory says "not counted".
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        dax: kind == FileKind::Regular,
    }
}
