// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Opening an image, and keeping others away from it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::VolumeError;
use crate::state::lock_holder;

/// A lock outlives its holder for a moment in what that had just started: between fork and exec.
const PATIENCE: Duration = Duration::from_millis(500);

/// Opens and locks an image; `None` if there is none.
pub(super) fn open(image: &Path, read_only: bool) -> Result<Option<File>, VolumeError> {
    let failed = |what, why| VolumeError::Io {
        image: image.to_owned(),
        what,
        why,
    };
    let opened = OpenOptions::new()
        .read(true)
        .write(!read_only)
        // What somebody put there may be a pipe.
        .custom_flags(libc::O_NONBLOCK)
        .open(image);
    let file = match opened {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed("open it", e)),
    };
    let kind = file
        .metadata()
        .map_err(|e| failed("look at it", e))?
        .file_type();
    if !kind.is_file() && !kind.is_block_device() {
        return Err(VolumeError::NotAnImage(image.to_owned()));
    }
    take(&file, image, read_only)?;
    Ok(Some(file))
}

/// Locks an open image.
pub(super) fn take(file: &File, image: &Path, shared: bool) -> Result<(), VolumeError> {
    let operation = match shared {
        true => FlockOperation::NonBlockingLockShared,
        false => FlockOperation::NonBlockingLockExclusive,
    };
    let deadline = Instant::now() + PATIENCE;
    let locked = loop {
        match flock(file, operation) {
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(20));
            }
            locked => break locked,
        }
    };
    match locked {
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK) => Err(VolumeError::InUse {
            image: image.to_owned(),
            holder: lock_holder(file),
        }),
        // A file system without locks.
        Err(Errno::NOTSUP | Errno::NOSYS | Errno::NOLCK) => {
            log::warn!("volume {}: its file system has no locks", image.display());
            Ok(())
        }
        Err(e) => Err(VolumeError::Io {
            image: image.to_owned(),
            what: "lock it",
            why: e.into(),
        }),
    }
}
