// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A machine's name is taken by one supervisor at a time.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{Client, lock_holder};

/// How long those who clear up after a killed supervisor may take.
const CLEARING: Duration = Duration::from_secs(10);

/// Why a name cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// The machine runs.
    #[error("{name} is running already{}; `rofs-vm stop {name}` ends it", by(*holder))]
    Running {
        /// The machine.
        name: String,
        /// Its supervisor, if it can be told.
        holder: Option<u32>,
    },
    /// Its directory cannot be used.
    #[error("cannot use {}: {why}", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// Why not.
        why: io::Error,
    },
}

fn by(holder: Option<u32>) -> String {
    holder.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

/// The directory of a running machine, empty at first, and ours. Dropping it removes the directory
/// with everything in it.
#[derive(Debug)]
pub struct Claim {
    dir: PathBuf,
    lock: File,
}

impl Claim {
    /// Takes the name that is the last part of `dir`, which is made if it is missing.
    ///
    /// # Errors
    /// [`ClaimError`].
    pub fn take(dir: &Path) -> Result<Claim, ClaimError> {
        let failed = |why| ClaimError::Directory {
            dir: dir.to_owned(),
            why,
        };
        let deadline = Instant::now() + CLEARING;
        loop {
            private(dir).map_err(failed)?;
            let lock = match File::open(dir) {
                Ok(lock) => lock,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(failed(e)),
            };
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                // The one before us may have removed it between our opening and our locking.
                Ok(()) if !same(&lock, dir) => {}
                Ok(()) => {
                    let claim = Claim {
                        dir: dir.to_owned(),
                        lock,
                    };
                    claim.clear().map_err(failed)?;
                    return Ok(claim);
                }
                Err(Errno::WOULDBLOCK) => {
                    // Its supervisor answers, or somebody is clearing up after it.
                    if Client::connect(dir).is_ok() || Instant::now() > deadline {
                        return Err(ClaimError::Running {
                            name: name(dir),
                            holder: lock_holder(&lock),
                        });
                    }
                    thread::sleep(Duration::from_millis(20));
                }
                Err(e) => return Err(failed(e.into())),
            }
        }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What keeps the name taken. A process that inherits it holds the name, too.
    pub fn lock(&self) -> &File {
        &self.lock
    }

    fn clear(&self) -> io::Result<()> {
        let mut stale = 0;
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            stale += 1;
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        if stale > 0 {
            log::info!(
                "{}: removed what a killed supervisor left",
                self.dir.display()
            );
        }
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A directory for its owner alone.
fn private(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let meta = fs::metadata(dir)?;
    let me = rustix::process::geteuid().as_raw();
    if meta.uid() != me && me != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "it belongs to another user",
        ));
    }
    Ok(())
}

fn same(lock: &File, dir: &Path) -> bool {
    match (lock.metadata(), fs::metadata(dir)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

fn name(dir: &Path) -> String {
    dir.file_name()
        .unwrap_or(dir.as_os_str())
        .to_string_lossy()
        .into_owned()
}
