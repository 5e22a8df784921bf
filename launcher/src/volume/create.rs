// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Making an image.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::{
    CWD, IFlags, RenameFlags, ioctl_getflags, ioctl_setflags, renameat_with, statvfs,
};
use rustix::io::Errno;

use super::{FileSystem, VolumeError, Watch, lock};
use crate::plan::VolumePlan;
use crate::process::{Process, Start, describe, on_path, which_package};

/// How often it is asked whether to give up.
const LOOK: Duration = Duration::from_millis(50);

pub(super) fn create(plan: &VolumePlan, watch: &dyn Watch) -> Result<File, VolumeError> {
    let image = &plan.image;
    let mib = plan
        .size_mib
        .ok_or_else(|| VolumeError::NoSize(image.clone()))?;
    let file_system = FileSystem::named(&plan.fs_type).ok_or_else(|| VolumeError::FileSystem {
        image: image.clone(),
        fs_type: plan.fs_type.clone(),
    })?;
    let name = file_system.program();
    let program = on_path(&name).ok_or_else(|| VolumeError::NoMkfs {
        image: image.clone(),
        program: name.clone(),
        package: which_package(&name).to_owned(),
    })?;

    watch.step(&format!("making volume {}", image.display()));
    let unfinished = Unfinished::new(image, watch)?;
    let failed = |what, why| unfinished.failed(what, why);
    let size = mib.saturating_mul(1 << 20);
    without_copy_on_write(&unfinished.file);
    unfinished
        .file
        .set_len(size)
        .map_err(|e| failed("give it its size", e))?;
    let free = unfinished.free();
    if free < size {
        watch.warn(&format!(
            "volume {}: may grow to {mib} MiB, but {} has only {} MiB free",
            image.display(),
            unfinished.dir.display(),
            free >> 20
        ));
    }
    let args = file_system.arguments(plan.label.as_deref(), &plan.mkfs_args, &unfinished.path);
    run(&name, &program, args, &unfinished, watch)?;
    unfinished
        .file
        .sync_all()
        .map_err(|e| failed("write it to the disk", e))?;
    unfinished.finish()
}

fn run(
    name: &str,
    program: &Path,
    args: Vec<OsString>,
    unfinished: &Unfinished<'_>,
    watch: &dyn Watch,
) -> Result<(), VolumeError> {
    let mut command = Command::new(program);
    command.args(args).env("LC_ALL", "C");
    let mut process = Process::start(Start {
        name,
        command,
        fds: Vec::new(),
    })
    .map_err(|e| unfinished.failed("make its file system", io::Error::other(e)))?;
    let status = loop {
        if watch.cancelled() {
            return Err(VolumeError::Cancelled(unfinished.image.to_owned()));
        }
        if let Some(status) = process.wait(LOOK) {
            break status;
        }
    };
    let words = process.last_words();
    // mke2fs may fail to write and call it a warning.
    let full =
        words.contains("No space left") || (!status.success() && unfinished.free() < 1 << 16);
    if full {
        return Err(unfinished.full());
    }
    if !status.success() || words.contains("could not write") {
        return Err(VolumeError::Mkfs {
            image: unfinished.image.to_owned(),
            program: name.to_owned(),
            how: describe(status),
            words,
        });
    }
    Ok(())
}

/// Every write to a copy-on-write file moves it, which breaks an image to pieces. Elsewhere than on
/// btrfs there is nothing to do.
fn without_copy_on_write(file: &File) {
    let set = ioctl_getflags(file).and_then(|flags| ioctl_setflags(file, flags | IFlags::NOCOW));
    match set {
        Ok(()) | Err(Errno::NOTSUP | Errno::NOTTY | Errno::INVAL | Errno::NOSYS) => {}
        Err(e) => log::warn!("a new volume stays copy-on-write: {e}"),
    }
}

/// An image under another name, locked. Removed unless it is finished.
struct Unfinished<'a> {
    image: &'a Path,
    dir: PathBuf,
    path: PathBuf,
    file: File,
}

impl<'a> Unfinished<'a> {
    fn new(image: &'a Path, watch: &dyn Watch) -> Result<Unfinished<'a>, VolumeError> {
        let failed = |what, why| VolumeError::Io {
            image: image.to_owned(),
            what,
            why,
        };
        let (Some(dir), Some(name)) = (image.parent(), image.file_name()) else {
            return Err(VolumeError::NotAnImage(image.to_owned()));
        };
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(".unfinished");
        let path = dir.join(hidden);
        // One that nobody locks was left by a machine that lost its power.
        match OpenOptions::new().write(true).open(&path) {
            Ok(old) => {
                lock::take(&old, image, false)?;
                fs::remove_file(&path).map_err(|e| failed("remove an unfinished one", e))?;
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(failed("remove an unfinished one", e)),
        }
        watch.unfinished(&path);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| failed("make it", e))?;
        let unfinished = Unfinished {
            image,
            dir: dir.to_owned(),
            path,
            file,
        };
        lock::take(&unfinished.file, image, false)?;
        Ok(unfinished)
    }

    /// Gives it its name. An image that somebody else put there meanwhile is not replaced.
    fn finish(self) -> Result<File, VolumeError> {
        let file = self
            .file
            .try_clone()
            .map_err(|e| self.failed("open it", e))?;
        match renameat_with(CWD, &self.path, CWD, self.image, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            // A file system that cannot: nobody else makes this image, since we hold its lock.
            Err(Errno::INVAL) if !self.image.exists() => {
                fs::rename(&self.path, self.image).map_err(|e| self.failed("name it", e))?;
            }
            Err(e) => return Err(self.failed("name it", e.into())),
        }
        if let Ok(dir) = File::open(&self.dir) {
            let _ = dir.sync_all();
        }
        Ok(file)
    }

    /// Bytes that are left where it lies.
    fn free(&self) -> u64 {
        statvfs(&self.dir).map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn full(&self) -> VolumeError {
        VolumeError::Full {
            image: self.image.to_owned(),
            dir: self.dir.clone(),
            free_mib: self.free() >> 20,
        }
    }

    fn failed(&self, what: &'static str, why: io::Error) -> VolumeError {
        match why.kind() {
            io::ErrorKind::StorageFull => self.full(),
            _ => VolumeError::Io {
                image: self.image.to_owned(),
                what,
                why,
            },
        }
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
