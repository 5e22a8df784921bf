// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who holds a lock.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

/// The process that holds a `flock` on this file, as far as the kernel tells.
pub fn lock_holder(file: &File) -> Option<u32> {
    let inode = file.metadata().ok()?.ino().to_string();
    holder(&fs::read_to_string("/proc/locks").ok()?, &inode)
}

/// Lines such as `3: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF`. The device is not compared: it
/// is the file system's own, which for some is not what stat says.
fn holder(locks: &str, inode: &str) -> Option<u32> {
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let kind = words.nth(1)?;
        let pid = words.nth(2)?;
        let file = words.next()?;
        let same = kind == "FLOCK" && file.rsplit(':').next() == Some(inode);
        // Negative for a process of another PID namespace.
        same.then(|| pid.parse().ok()).flatten()
    })
}
