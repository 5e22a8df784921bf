// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `statfs(2)`.

use std::os::fd::BorrowedFd;

use crate::errno::FsResult;
use crate::fs::StatFs;

/// Numbers of the host file system that holds `root`.
pub(super) fn of(root: BorrowedFd<'_>) -> FsResult<StatFs> {
    let numbers = rustix::fs::fstatvfs(root)?;
    let small = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    Ok(StatFs {
        blocks: numbers.f_blocks,
        blocks_free: numbers.f_bfree,
        blocks_available: numbers.f_bavail,
        files: numbers.f_files,
        files_free: numbers.f_ffree,
        block_size: small(numbers.f_bsize),
        fragment_size: small(numbers.f_frsize),
        name_max: small(numbers.f_namemax),
    })
}
