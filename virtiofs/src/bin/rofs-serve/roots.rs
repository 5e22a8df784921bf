// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The directories that are served, opened before the sandbox closes.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};

use crate::failure::{Failure, Outcome, fail};

/// An open directory, and where it was found.
#[derive(Debug)]
pub(crate) struct Root {
    /// `O_PATH | O_DIRECTORY`.
    pub(crate) fd: OwnedFd,
    /// Without symbolic links.
    pub(crate) path: PathBuf,
}

impl Root {
    pub(crate) fn open(dir: &Path) -> Outcome<Root> {
        let flag = format!("--shared-dir {}", dir.display());
        let path = fs::canonicalize(dir).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Failure::new(format!(
                "{flag}: no such directory; make it, or name another"
            )),
            _ => Failure::new(format!("{flag}: cannot be opened: {e}")),
        })?;
        if !path.is_dir() {
            fail!("{flag}: not a directory; only directories can be served");
        }
        let fd = open(&path).map_err(|e| Failure::new(format!("{flag}: cannot be opened: {e}")))?;
        // O_PATH asks for no permission. Without this every guest would find an empty share.
        rustix::fs::accessat(
            rustix::fs::CWD,
            &path,
            rustix::fs::Access::READ_OK | rustix::fs::Access::EXEC_OK,
            AtFlags::EACCESS,
        )
        .map_err(|e| {
            Failure::new(format!(
                "{flag}: this user may not read it ({}); change its permissions, or run as one \
                 who may",
                io::Error::from(e)
            ))
        })?;
        Ok(Root { fd, path })
    }
}

pub(crate) fn open(path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
}
