// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From what file systems say to what goes over the wire.

use super::mapping::Threshold;
use crate::fs::{Attr, Entry, StatFs, Validity};
use crate::wire::abi;

/// Seconds and nanoseconds of a validity.
pub(super) fn valid(validity: Validity) -> (u64, u32) {
    (validity.0.as_secs(), validity.0.subsec_nanos())
}

/// Times before 1970 keep their bits: the client reads them as signed again.
#[allow(clippy::cast_sign_loss)]
fn seconds(secs: i64) -> u64 {
    secs as u64
}

pub(super) fn attr(attr: &Attr, dax: &Threshold) -> abi::Attr {
    abi::Attr {
        ino: attr.ino,
        size: attr.size,
        blocks: attr.blocks,
        atime: seconds(attr.atime.secs),
        mtime: seconds(attr.mtime.secs),
        ctime: seconds(attr.ctime.secs),
        atimensec: attr.atime.nanos,
        mtimensec: attr.mtime.nanos,
        ctimensec: attr.ctime.nanos,
        mode: attr.mode,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        blksize: attr.blksize,
        flags: dax.flags(attr),
    }
}

pub(super) fn attr_out(of: &Attr, validity: Validity, dax: &Threshold) -> abi::AttrOut {
    let (attr_valid, attr_valid_nsec) = valid(validity);
    abi::AttrOut {
        attr_valid,
        attr_valid_nsec,
        dummy: 0,
        attr: attr(of, dax),
    }
}

pub(super) fn entry_out(entry: &Entry, dax: &Threshold) -> abi::EntryOut {
    let (entry_valid, entry_valid_nsec) = valid(entry.entry_validity);
    let (attr_valid, attr_valid_nsec) = valid(entry.attr_validity);
    abi::EntryOut {
        nodeid: entry.node.0,
        // Node ids are never used again for another file, so they need no generation.
        generation: 0,
        entry_valid,
        attr_valid,
        entry_valid_nsec,
        attr_valid_nsec,
        attr: attr(&entry.attr, dax),
    }
}

/// "There is no such name, for so long": node id 0 with a validity.
pub(super) fn negative_entry_out(validity: Validity) -> abi::EntryOut {
    let (entry_valid, entry_valid_nsec) = valid(validity);
    abi::EntryOut {
        entry_valid,
        entry_valid_nsec,
        ..abi::EntryOut::default()
    }
}

pub(super) fn statfs_out(of: &StatFs) -> abi::StatfsOut {
    abi::StatfsOut {
        blocks: of.blocks,
        bfree: of.blocks_free,
        bavail: of.blocks_available,
        files: of.files,
        ffree: of.files_free,
        bsize: of.block_size,
        namelen: of.name_max,
        frsize: of.fragment_size,
        ..abi::StatfsOut::default()
    }
}
