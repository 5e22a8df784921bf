// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Small files of the configuration.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};

use rofs_guest::config::{File, FileKind};

use crate::failure::{Context, Failure};
use crate::mounts;

/// Makes them where nothing is there yet.
pub(crate) fn make(files: &[File]) -> Result<(), Failure> {
    for File { at, is } in files {
        if let Some(parent) = at.parent() {
            mounts::directory(parent)?;
        }
        let made = match is {
            FileKind::Symlink(target) => symlink(target, at),
            FileKind::Directory { mode } => fs::create_dir(at)
                .and_then(|()| fs::set_permissions(at, Permissions::from_mode(*mode))),
            FileKind::Regular { contents, mode } => OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(*mode)
                .open(at)
                .and_then(|mut file| file.write_all(contents.as_bytes())),
        };
        match made {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            made => made.context(|| format!("making {}", at.display()))?,
        }
    }
    Ok(())
}
