// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Paths inside a tree, of any depth.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::host::{self, Open};
use crate::errno::{Errno, FsResult};
use crate::fs::Call;

/// A path below some directory, assembled from its last component to its first, as whoever walks
/// up a tree finds them. Costs no allocation until it grows longer than the kernel takes at once.
pub(super) struct TreePath {
    /// Components end at the end of the buffer, each but the last followed by `/`, the last by
    /// NUL.
    buffer: [u8; Self::MAX],
    start: usize,
    /// Components that no longer fitted, outermost last; each goes before what follows it.
    outer: Vec<Vec<u8>>,
}

impl TreePath {
    /// Longest path the kernel takes, with its NUL.
    const MAX: usize = libc::PATH_MAX as usize;

    /// The empty path: the directory itself.
    pub(super) fn new() -> TreePath {
        TreePath {
            buffer: [0; Self::MAX],
            start: Self::MAX - 1,
            outer: Vec::new(),
        }
    }

    /// Puts a component before the others.
    pub(super) fn prepend(&mut self, name: &[u8]) {
        let separator = usize::from(self.start < Self::MAX - 1);
        if !self.outer.is_empty() || name.len() + separator > self.start {
            self.outer.push(name.to_vec());
            return;
        }
        if separator == 1 {
            self.start -= 1;
            self.buffer[self.start] = b'/';
        }
        let end = self.start;
        self.start -= name.len();
        self.buffer[self.start..end].copy_from_slice(name);
    }

    /// Opens what the path leads to, beneath `dir`. The empty path cannot be opened.
    pub(super) fn open(&self, call: Call, dir: BorrowedFd<'_>, how: Open) -> FsResult<OwnedFd> {
        let inner = CStr::from_bytes_with_nul(&self.buffer[self.start..]).map_err(|_| Errno::IO)?;
        let mut at: Option<OwnedFd> = None;
        for name in self.outer.iter().rev() {
            let from = at.as_ref().map_or(dir, AsFd::as_fd);
            let name = std::ffi::CString::new(name.as_slice()).map_err(|_| Errno::IO)?;
            at = Some(host::open_beneath(call, from, &name, Open::Place)?);
        }
        host::open_beneath(call, at.as_ref().map_or(dir, AsFd::as_fd), inner, how)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{Mode, OFlags};

    #[test]
    fn deeper_than_path_max() {
        let tree = tempfile::tempdir().unwrap();
        let open = |path: &std::path::Path| {
            rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap()
        };
        let root = open(tree.path());
        let component = [b'd'; 200];
        let name = std::ffi::CString::new(component).unwrap();
        let mut at = open(tree.path());
        for depth in 1..=60usize {
            rustix::fs::mkdirat(&at, &name, Mode::from_raw_mode(0o755)).unwrap();
            at = host::open_beneath(Call::WAIT, at.as_fd(), &name, Open::Place).unwrap();
            let mut path = TreePath::new();
            for _ in 0..depth {
                path.prepend(&component);
            }
            let found = path
                .open(Call::WAIT, root.as_fd(), Open::Directory)
                .unwrap();
            assert_eq!(
                host::stat_fd(found.as_fd()).unwrap().identity,
                host::stat_fd(at.as_fd()).unwrap().identity,
                "{depth}"
            );
        }
    }
}
