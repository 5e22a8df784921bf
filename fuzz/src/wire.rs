// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The little of the FUSE protocol that the fuzzers must know themselves. Not taken from the
//! server, lest both be wrong in the same way.
#![allow(missing_docs)]

pub const LOOKUP: u32 = 1;
pub const FORGET: u32 = 2;
pub const GETATTR: u32 = 3;
pub const READLINK: u32 = 5;
pub const READ: u32 = 15;
pub const BATCH_FORGET: u32 = 42;

/// Length of `fuse_in_header`.
pub const IN_HEADER: usize = 40;
/// Length of `fuse_out_header`.
pub const OUT_HEADER: usize = 16;

/// Ids below this one stand for a node of the tree: the client that wrote the input knew others.
const STAND_INS: u64 = 1024;
const ROOT: u64 = 1;

pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

/// Number in the tree of what stands for a node, or `None` if `id` is one itself.
pub fn stand_in(id: u64) -> Option<usize> {
    (ROOT + 1..STAND_INS)
        .contains(&id)
        .then(|| usize::try_from(id - ROOT - 1).unwrap_or(0))
}

/// What stands for node number `index`.
pub fn stand_in_for(index: usize) -> u64 {
    index as u64 + ROOT + 1
}

/// Calls `each` with every node id of a request, and puts what it returns in its place.
pub fn map_nodes(request: &mut [u8], mut each: impl FnMut(u64) -> u64) {
    let entries = match u32_at(request, 4) {
        Some(BATCH_FORGET) => IN_HEADER + 8..request.len(),
        _ => 0..0,
    };
    for at in std::iter::once(16).chain(entries.step_by(16)) {
        if let Some(id) = u64_at(request, at) {
            put(request, at, &each(id).to_le_bytes());
        }
    }
}

/// Writes the true length into the header.
pub fn fix_length(request: &mut [u8]) {
    let len = u32::try_from(request.len()).unwrap_or(u32::MAX);
    put(request, 0, &len.to_le_bytes());
}
