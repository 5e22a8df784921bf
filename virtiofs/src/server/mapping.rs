// SPDX-License-Identifier: Apache-2.0 OR MIT
//! SETUPMAPPING and REMOVEMAPPING: file pages in a DAX window. Which files a client is told to use
//! it for is decided here, too.

use std::sync::atomic::{AtomicU64, Ordering};

use super::memory::Reader;
use crate::dax::DaxWindow;
use crate::errno::{Errno, FsResult};
use crate::fs::{Attr, Call, NodeId, ReadFs};
use crate::wire::{abi, flags};

/// Files shorter than this are not worth a range of the window, in bytes.
///
/// It is a field of the session because only a client that was granted the window is told of it.
#[derive(Debug)]
pub(super) struct Threshold(AtomicU64);

impl Default for Threshold {
    fn default() -> Threshold {
        Threshold(AtomicU64::new(u64::MAX))
    }
}

impl Threshold {
    /// `None` for no file at all.
    pub(super) fn set(&self, min: Option<u64>) {
        self.0.store(min.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The flags in `fuse_attr`.
    pub(super) fn flags(&self, attr: &Attr) -> u32 {
        let min = match self.0.load(Ordering::Relaxed) {
            u64::MAX => return 0,
            // Programs and libraries are mapped in any case, by many processes, and used in no
            // order, which is what the window does best.
            min if attr.mode & 0o111 != 0 => min / EXECUTABLES,
            min => min,
        };
        if attr.dax && attr.size >= min.max(1) {
            flags::ATTR_DAX
        } else {
            0
        }
    }
}

/// By what the threshold is divided for files that can be executed.
const EXECUTABLES: u64 = 4;

pub(super) fn setup<F: ReadFs>(
    fs: &F,
    call: Call,
    node: NodeId,
    request: &mut Reader<'_, '_>,
    window: Option<&dyn DaxWindow>,
) -> FsResult<()> {
    let input: abi::SetupMappingIn = request.read_obj()?;
    if input.flags & flags::SETUPMAPPING_WRITE != 0 {
        return Err(Errno::ROFS);
    }
    let window = window.ok_or(Errno::NOSYS)?;
    input.foffset.checked_add(input.len).ok_or(Errno::INVAL)?;
    may_wait(call)?;
    let mapping = fs.map(call, node, input.foffset, input.len)?;
    if mapping.len == 0 {
        // Saying yes with nothing mapped would let the guest read zeros.
        return Err(Errno::IO);
    }
    window.map(input.moffset, input.len, &mapping, input.foffset)
}

pub(super) fn remove(
    call: Call,
    request: &mut Reader<'_, '_>,
    window: Option<&dyn DaxWindow>,
) -> FsResult<()> {
    let input: abi::RemoveMappingIn = request.read_obj()?;
    let window = window.ok_or(Errno::NOSYS)?;
    may_wait(call)?;
    for _ in 0..input.count {
        let one: abi::RemoveMappingOne = request.read_obj()?;
        window.unmap(one.moffset, one.len)?;
    }
    Ok(())
}

/// Mapping always takes its time: to copy, or to ask the front-end.
pub(super) fn may_wait(call: Call) -> FsResult<()> {
    if call.may_block {
        Ok(())
    } else {
        Err(Errno::AGAIN)
    }
}
