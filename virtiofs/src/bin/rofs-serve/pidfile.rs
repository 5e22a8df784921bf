// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `SOCKET.pid`: who serves this socket. The lock on it, not its content, says that they still do.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::failure::{Failure, Outcome, fail};

/// A locked pid file. Dropping it removes the file, then the lock.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    file: File,
}

impl PidFile {
    pub(crate) fn lock(socket: &Path) -> Outcome<PidFile> {
        let mut path = socket.as_os_str().to_owned();
        path.push(".pid");
        let path = PathBuf::from(path);
        let failed = |what: &str, e: io::Error| {
            Failure::new(format!(
                "--socket-path {}: cannot {what} {}: {e}; choose a directory that this user may write to",
                socket.display(),
                path.display()
            ))
        };
        loop {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(libc::O_NOFOLLOW)
                .open(&path)
                .map_err(|e| failed("make", e))?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    let holder = fs::read_to_string(&path).unwrap_or_default();
                    fail!(
                        "--socket-path {}: in use by process {}, which holds {}; stop it, or \
                         choose another path",
                        socket.display(),
                        holder.trim(),
                        path.display()
                    );
                }
                Err(e) => return Err(failed("lock", e.into())),
            }
            // Who held it before may have removed the file between our open and our lock.
            if !still_there(&path, &file) {
                continue;
            }
            file.set_len(0)
                .and_then(|()| writeln!(file, "{}", std::process::id()))
                .map_err(|e| failed("write", e))?;
            return Ok(PidFile { path, file });
        }
    }
}

impl PidFile {
    /// Dropping shall not remove the file: another process has it too.
    pub(crate) fn leave(&mut self) {
        self.path.clear();
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if still_there(&self.path, &self.file) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn still_there(path: &Path, file: &File) -> bool {
    match (fs::symlink_metadata(path), file.metadata()) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}
