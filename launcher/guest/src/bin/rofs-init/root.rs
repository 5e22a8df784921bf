// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From the initrd into the final root.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rofs_guest::config::{Mount, Source};

use crate::failure::{Context, Failure};
use crate::mounts;

const NEW_ROOT: &str = "/newroot";

/// Mounts the root (a tmpfs if none is given), frees the initrd's memory and goes there, taking
/// `/proc`, `/sys` and `/dev` along.
pub(crate) fn enter(root: Option<&Mount>) -> Result<(), Failure> {
    let tmpfs = Mount {
        source: Source::Tmpfs,
        at: "/".into(),
        read_only: false,
        options: vec!["mode=0755".into()],
    };
    let root = Mount {
        at: NEW_ROOT.into(),
        ..root.unwrap_or(&tmpfs).clone()
    };
    mounts::mount(&root)?;
    for name in ["proc", "sys", "dev"] {
        let to = format!("{NEW_ROOT}/{name}");
        mounts::directory(Path::new(&to))?;
        rustix::mount::mount_move(format!("/{name}"), &to)
            .context(|| format!("moving /{name} into the new root"))?;
    }
    let device = fs::metadata("/")
        .context(|| "looking at the initrd".into())?
        .dev();
    rustix::process::chdir(NEW_ROOT).context(|| "entering the new root".into())?;
    clear(Path::new("/"), device);
    // A root file system in memory cannot be pivoted away from: the new one is put above it.
    rustix::mount::mount_move(".", "/").context(|| "moving the new root to its place".into())?;
    rustix::process::chroot(".").context(|| "changing the root".into())?;
    rustix::process::chdir("/").context(|| "entering the root".into())
}

/// Removes everything in `dir` that is on `device`. What cannot be removed only costs memory.
fn clear(dir: &Path, device: u64) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.dev() != device => {}
            Ok(metadata) if metadata.is_dir() => {
                clear(&path, device);
                let _ = fs::remove_dir(&path);
            }
            Ok(_) => {
                let _ = fs::remove_file(&path);
            }
            Err(_) => {}
        }
    }
}
