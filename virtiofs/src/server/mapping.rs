// SPDX-License-Identifier: Apache-2.0 OR MIT
//! SETUPMAPPING and REMOVEMAPPING: file pages in a DAX window.

use std::os::fd::AsFd;

use super::memory::Reader;
use crate::dax::DaxWindow;
use crate::errno::{Errno, FsResult};
use crate::fs::{Call, NodeId, ReadFs};
use crate::wire::{abi, flags};

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
    check(window, input.moffset, input.len)?;
    input.foffset.checked_add(input.len).ok_or(Errno::INVAL)?;
    let mapping = fs.map(call, node, input.foffset, input.len)?;
    if mapping.len == 0 {
        // Saying yes with nothing mapped would let the guest read zeros.
        return Err(Errno::IO);
    }
    window.map(
        input.moffset,
        mapping.file.as_fd(),
        input.foffset,
        mapping.len.min(input.len),
    )
}

pub(super) fn remove(request: &mut Reader<'_, '_>, window: Option<&dyn DaxWindow>) -> FsResult<()> {
    let input: abi::RemoveMappingIn = request.read_obj()?;
    let window = window.ok_or(Errno::NOSYS)?;
    for _ in 0..input.count {
        let one: abi::RemoveMappingOne = request.read_obj()?;
        check(window, one.moffset, one.len)?;
        window.unmap(one.moffset, one.len)?;
    }
    Ok(())
}

fn check(window: &dyn DaxWindow, moffset: u64, len: u64) -> FsResult<()> {
    match moffset.checked_add(len) {
        Some(end) if len > 0 && end <= window.size() => Ok(()),
        _ => Err(Errno::INVAL),
    }
}
