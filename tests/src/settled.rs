// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Files as Nix leaves them behind.

use std::fs::{Permissions, set_permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

/// Gives a file the mode and the time that Nix gives it; mode 0, for links, leaves the mode alone.
///
/// # Errors
/// What the host says.
pub fn settle(path: &Path, mode: u32) -> io::Result<()> {
    if mode != 0 {
        set_permissions(path, Permissions::from_mode(mode))?;
    }
    let stamp = Timespec {
        tv_sec: 1,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: stamp,
        last_modification: stamp,
    };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}
