// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `find` with a stat of everything, by a Linux guest that knows nothing yet, as messages.

use std::time::{Duration, Instant};

use rofs_tests::fuse::{opcode, read_in};

use super::ring::Session;
use crate::guest::Slot;
use crate::socket::cpu;

const OPENDIR: u32 = 27;
const RELEASEDIR: u32 = 29;
/// What Linux up to 6.13 asks a directory for.
const PAGE: u32 = 4096;
const DIRECTORY: u32 = 4;
/// Bytes of `fuse_entry_out`, before each name in a READDIRPLUS reply.
const ENTRY: usize = 128;

/// What a walk took.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    /// From the first request to the last answer.
    pub took: Duration,
    /// Entries found, without the root.
    pub entries: u64,
    /// Bytes of their names.
    pub names: u64,
    /// Messages.
    pub requests: u64,
    /// The server's processor time.
    pub cpu: Duration,
}

struct Slots {
    list: Slot,
    open: Slot,
    release: Slot,
    lookup: Slot,
}

/// Walks everything, one question at a time, as `find` does.
///
/// Linux asks READDIRPLUS for the first page of a directory. For the others it does so only if
/// something below the directory was looked up since, unless the server says that it shall always
/// (no `READDIRPLUS_AUTO`); names that come by READDIR are looked up when they are statted.
pub fn walk(session: &mut Session) -> Walk {
    let slots = Slots {
        list: session.prepare(
            0,
            opcode::READDIRPLUS,
            1,
            &read_in(0, PAGE),
            Some(PAGE as usize),
        ),
        open: session.prepare(0, OPENDIR, 1, &[0; 8], Some(16)),
        release: session.prepare(0, RELEASEDIR, 1, &[0; 24], Some(0)),
        lookup: session.lookup_slot(),
    };
    session.requests = 0;
    let cpu_before = cpu::spent(session.pid);
    let start = Instant::now();
    let mut directories = vec![1];
    let (mut entries, mut names) = (0, 0);
    let mut opens = true;
    while let Some(node) = directories.pop() {
        let mut handle = 0;
        if opens {
            session.rings[0].guest.set_node(slots.open, node);
            session.call(slots.open);
            opens = session.rings[0].guest.error(slots.open) == 0;
            if opens {
                handle = session.rings[0].guest.reply_u64(slots.open, 0);
            }
        }
        let found = list(session, &slots, node, handle);
        entries += found.entries;
        names += found.names;
        // One after the other as they were listed, and all below one before the next.
        directories.extend(found.directories.into_iter().rev());
        if opens {
            session.rings[0].guest.set_node(slots.release, node);
            let handle = handle.to_le_bytes();
            session.rings[0].guest.set_body(slots.release, 0, &handle);
            session.call(slots.release);
        }
    }
    Walk {
        took: start.elapsed(),
        entries,
        names,
        requests: session.requests,
        cpu: cpu::spent(session.pid).saturating_sub(cpu_before),
    }
}

/// What is in a directory.
#[derive(Default)]
struct Listed {
    entries: u64,
    /// How long their names are together.
    names: u64,
    directories: Vec<u64>,
}

/// Lists one directory.
fn list(session: &mut Session, slots: &Slots, node: u64, handle: u64) -> Listed {
    let mut found = Listed::default();
    let mut at = 0;
    // Statted, and so looked up, when the listing is done: `find` reads ahead.
    let mut unknown: Vec<(Vec<u8>, u32)> = Vec::new();
    loop {
        let plus = at == 0 || !session.readdirplus_auto;
        let guest = &session.rings[0].guest;
        let op = if plus {
            opcode::READDIRPLUS
        } else {
            opcode::READDIR
        };
        guest.set_opcode(slots.list, op);
        guest.set_node(slots.list, node);
        guest.set_body(slots.list, 0, &handle.to_le_bytes());
        guest.set_body(slots.list, 8, &u64::to_le_bytes(at));
        let used = session.call(slots.list);
        assert_eq!(
            session.rings[0].guest.error(slots.list),
            0,
            "listing {node:#x}"
        );
        let reply = session.rings[0].guest.reply(slots.list, used);
        if reply.is_empty() {
            break;
        }
        let mut rest = &reply[..];
        while !rest.is_empty() {
            let before = if plus { ENTRY } else { 0 };
            let long = |from: usize| u64::from_le_bytes(rest[from..from + 8].try_into().unwrap());
            let (offset, len_and_kind) = (long(before + 8), long(before + 16));
            let (len, kind) = (len_and_kind as u32 as usize, (len_and_kind >> 32) as u32);
            let name = &rest[before + 24..before + 24 + len];
            at = offset;
            if name != b"." && name != b".." {
                found.entries += 1;
                found.names += name.len() as u64;
                let known = if plus { long(0) } else { 0 };
                if known == 0 {
                    unknown.push((name.to_vec(), kind));
                } else if kind == DIRECTORY {
                    found.directories.push(known);
                }
            }
            rest = &rest[(before + 24 + len).next_multiple_of(8)..];
        }
    }
    for (name, kind) in unknown {
        let child = session.lookup(slots.lookup, node, &name);
        if kind == DIRECTORY {
            found.directories.push(child);
        }
    }
    found
}
