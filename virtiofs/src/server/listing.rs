// SPDX-License-Identifier: Apache-2.0 OR MIT
//! READDIR and READDIRPLUS: packing directory entries into a reply.

use std::mem::size_of;

use zerocopy::IntoBytes;

use super::mapping::Threshold;
use super::memory::Writer;
use super::reply;
use crate::fs::{DirEntry, DirSink, Entry};
use crate::wire::abi;

/// Packs entries as `fuse_dirent` or, with nodes, `fuse_direntplus`.
pub(super) struct Listing<'w, 's, 'm> {
    out: &'w mut Writer<'s, 'm>,
    plus: bool,
    dax: &'w Threshold,
}

impl<'w, 's, 'm> Listing<'w, 's, 'm> {
    pub(super) fn new(out: &'w mut Writer<'s, 'm>, plus: bool, dax: &'w Threshold) -> Self {
        Listing { out, plus, dax }
    }
}

impl DirSink for Listing<'_, '_, '_> {
    fn wants_nodes(&self) -> bool {
        self.plus
    }

    fn push(&mut self, entry: &DirEntry<'_>, node: Option<&Entry>) -> bool {
        let Ok(namelen) = u32::try_from(entry.name.len()) else {
            return false;
        };
        let padding = entry.name.len().next_multiple_of(abi::DIRENT_ALIGN) - entry.name.len();
        let plus = if self.plus {
            size_of::<abi::EntryOut>()
        } else {
            0
        };
        let len = plus + size_of::<abi::Dirent>() + entry.name.len() + padding;
        if len > self.out.left() {
            return false;
        }
        if self.plus {
            // Node id 0 in a listing means "look it up if you want it", not "it does not exist".
            let entry_out = |entry: &Entry| reply::entry_out(entry, self.dax);
            let node = node.map_or_else(abi::EntryOut::default, entry_out);
            self.out.write(node.as_bytes());
        }
        let dirent = abi::Dirent {
            ino: entry.ino,
            off: entry.cookie,
            namelen,
            kind: entry.kind as u32,
        };
        self.out.write(dirent.as_bytes());
        self.out.write(entry.name);
        self.out.write(&[0; abi::DIRENT_ALIGN][..padding]);
        true
    }
}
