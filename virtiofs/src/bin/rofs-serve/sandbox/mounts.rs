// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A mount namespace in which there is nothing, and detached read-only copies of the shares.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::AtFlags;
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, OpenTreeFlags, UnmountFlags, mount, mount_change,
    mount_move, open_tree, unmount,
};

use crate::failure::{Failure, Outcome, fail};
use crate::roots::{self, Root};

/// Leaves the file system of the host. The roots stay, as mounts that hang nowhere.
pub(crate) fn leave(shares: &mut [Root]) -> Outcome<()> {
    // Nothing done here may show outside.
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .map_err(|e| refused("cannot make the mounts private", e))?;
    for root in shares.iter_mut() {
        root.fd = detach(root)?;
    }
    enter_nothing(shares)
}

/// A copy of the mounts at and below a root, read-only in itself whatever the original is.
fn detach(root: &Root) -> Outcome<OwnedFd> {
    let flag = format!("--shared-dir {}", root.path.display());
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let copy = match open_tree(rustix::fs::CWD, &root.path, flags) {
        Ok(copy) => copy,
        // Before Linux 5.2. The directory opened anew is as good, only not read-only in itself.
        Err(Errno::NOSYS) => roots::open(&root.path)
            .map_err(|e| Failure::new(format!("{flag}: {}", io::Error::from(e))))?,
        Err(e) => {
            return Err(refused(
                &format!("cannot take {} along", root.path.display()),
                e,
            ));
        }
    };
    // By its path, because the descriptor belongs to the namespace left behind. Check that it is
    // the same directory still.
    let same = rustix::fs::fstat(&copy).and_then(|a| Ok((a, rustix::fs::fstat(&root.fd)?)));
    if !matches!(same, Ok((a, b)) if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)) {
        fail!("{flag}: another directory took its place meanwhile; start again");
    }
    if let Err(e) = protect(&copy) {
        log::debug!("{flag}: the server's own mount of it is not read-only: {e}");
    }
    Ok(copy)
}

/// `mount_setattr(2)`, which neither libc nor rustix have a function for.
fn protect(tree: &OwnedFd) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path is an empty C string, and the size given is that of `attributes`.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            AtFlags::EMPTY_PATH.bits() | OpenTreeFlags::AT_RECURSIVE.bits(),
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Makes an empty, read-only directory the root of this namespace, and drops all else.
fn enter_nothing(shares: &[Root]) -> Outcome<()> {
    let place = shares
        .iter()
        .map(|root| root.path.as_path())
        .chain(["/proc", "/tmp", "/dev", "/usr"].map(Path::new))
        .find(|path| *path != Path::new("/") && path.is_dir());
    let Some(place) = place else {
        fail!("--sandbox namespace: no directory to hide the host behind; use --sandbox none");
    };
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount(
        "none",
        place,
        "tmpfs",
        flags,
        Some(c"size=4k,nr_inodes=1,mode=0555"),
    )
    .map_err(|e| refused("cannot mount an empty directory", e))?;
    rustix::process::chdir(place).map_err(|e| refused("cannot enter an empty directory", e))?;
    match rustix::process::pivot_root(".", ".") {
        // The old root now lies above the new one.
        Ok(()) => unmount(".", UnmountFlags::DETACH)
            .map_err(|e| refused("cannot leave the host's directories", e))?,
        // The initial ramdisk cannot be pivoted away from, but covered it can be.
        Err(Errno::INVAL) => mount_move(".", "/")
            .and_then(|()| rustix::process::chroot("."))
            .map_err(|e| refused("cannot leave the host's directories", e))?,
        Err(e) => return Err(refused("cannot leave the host's directories", e)),
    }
    rustix::process::chdir("/").map_err(|e| refused("cannot enter the empty directory", e))
}

fn refused(what: &str, e: Errno) -> Failure {
    Failure::new(format!(
        "--sandbox namespace: {what}: {}; allow this process to mount in its own namespace, or \
         use --sandbox none",
        io::Error::from(e)
    ))
}

/// `--sandbox chroot`: as virtiofsd, into the (first) share.
pub(crate) fn chroot_into(root: &Root) -> Outcome<()> {
    rustix::process::fchdir(&root.fd)
        .and_then(|()| rustix::process::chroot("."))
        .and_then(|()| rustix::process::chdir("/"))
        .map_err(|e| {
            Failure::new(format!(
                "--sandbox chroot: {}; use --sandbox namespace or none",
                io::Error::from(e)
            ))
        })
}
