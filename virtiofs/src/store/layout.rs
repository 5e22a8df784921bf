// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What kind of directory is being shared.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::host;
use super::nix::naming;
use crate::errno::{Errno, FsResult};

/// How the contents of a share behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// A Nix store: see [`NixStore`](super::NixStore).
    Nix,
    /// Any directory tree: see [`PlainTree`](super::PlainTree).
    Plain,
}

/// Opens the directory to be shared, as a place (`O_PATH`): it stays good when the process moves
/// into another root directory.
///
/// # Errors
/// Whatever keeps `path` from being an accessible directory.
pub fn open_root(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// How many names are looked at before deciding.
const SAMPLE: usize = 1000;

/// Looks whether a directory is a Nix store. The second value says why, for people.
///
/// # Errors
/// If the directory cannot be read.
pub fn detect(root: BorrowedFd<'_>) -> FsResult<(Layout, String)> {
    let dir = host::open_listable(root)?;
    let (mut paths, mut others, mut links) = (0usize, 0usize, false);
    let mut look = |name: &CStr| {
        let name = name.to_bytes();
        if name == b".links" {
            links = true;
        } else if naming::is_store_path(name) {
            paths += 1;
        } else if !naming::is_nix_internal(name) {
            others += 1;
        }
        if paths + others < SAMPLE {
            Ok(())
        } else {
            Err(Errno::RANGE)
        }
    };
    match host::list(dir.as_fd(), |name, _, _| look(name)) {
        Ok(()) | Err(Errno::RANGE) => {}
        Err(errno) => return Err(errno),
    }
    Ok(if paths > others {
        (
            Layout::Nix,
            format!("{paths} of its names are those of store paths, {others} are not"),
        )
    } else if links && paths == others {
        (Layout::Nix, "it is empty but for Nix's .links".to_owned())
    } else {
        (
            Layout::Plain,
            format!("only {paths} of its names are those of store paths, {others} are not"),
        )
    })
}
