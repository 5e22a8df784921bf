// SPDX-License-Identifier: Apache-2.0 OR MIT
//! File systems.

use std::ffi::CString;
use std::fs;
use std::path::Path;

use rofs_guest::config::{Mount, Source, StoreOverlay};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use crate::disks;
use crate::failure::{Context, Failure};
use crate::grow;

const STORE: &str = "/nix/store";
const NO_PROGRAMS: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NOEXEC)
    .union(MountFlags::NODEV);

/// What the init needs in the initrd.
pub(crate) fn early() -> Result<(), Failure> {
    special("proc", "/proc", NO_PROGRAMS, "")?;
    special("sysfs", "/sys", NO_PROGRAMS, "")?;
    special("devtmpfs", "/dev", MountFlags::NOSUID, "mode=0755")
}

/// What every program expects in the root, beside [`early`]'s. A system cares for `/tmp` itself.
pub(crate) fn standard(tmp: bool) -> Result<(), Failure> {
    let quiet = MountFlags::NOSUID | MountFlags::NODEV;
    special(
        "devpts",
        "/dev/pts",
        MountFlags::NOSUID | MountFlags::NOEXEC,
        "mode=0620,ptmxmode=0666",
    )?;
    special("tmpfs", "/dev/shm", quiet, "mode=1777")?;
    special("tmpfs", "/run", quiet, "mode=0755")?;
    if tmp {
        special("tmpfs", "/tmp", quiet, "mode=1777")?;
    }
    for (name, target) in [
        ("fd", "fd"),
        ("stdin", "fd/0"),
        ("stdout", "fd/1"),
        ("stderr", "fd/2"),
    ] {
        // The system's udev makes them as well.
        let _ = std::os::unix::fs::symlink(format!("/proc/self/{target}"), format!("/dev/{name}"));
    }
    Ok(())
}

fn special(fs_type: &str, at: &str, flags: MountFlags, options: &str) -> Result<(), Failure> {
    directory(Path::new(at))?;
    call(fs_type, fs_type, Path::new(at), flags, options)
}

/// One of the configuration's.
pub(crate) fn mount(mount: &Mount) -> Result<(), Failure> {
    let at = &mount.at;
    let (mut flags, mut data) = split_options(&mount.options);
    if mount.read_only {
        flags |= MountFlags::RDONLY;
    }
    directory(at)?;
    match &mount.source {
        Source::Tmpfs => call("tmpfs", "tmpfs", at, flags, &data.join(",")),
        Source::Virtiofs { tag } => call(tag, "virtiofs", at, flags, &data.join(",")),
        Source::NineP { tag } => {
            for (key, value) in [
                ("trans", "virtio"),
                ("version", "9p2000.L"),
                ("msize", "524288"),
            ] {
                if !data.iter().any(|option| option.starts_with(key)) {
                    data.push(format!("{key}={value}"));
                }
            }
            call(tag, "9p", at, flags, &data.join(","))
        }
        Source::Disk { disk, fs_type } => {
            let device = disks::find(disk)?;
            let fs_type = match fs_type {
                Some(fs_type) => fs_type.clone(),
                None => disks::fs_type(&device)?,
            };
            call(&device, &fs_type, at, flags, &data.join(","))?;
            if !flags.contains(MountFlags::RDONLY)
                && let Err(failure) = grow::grow(&device, &fs_type, at)
            {
                // It is as large as it was.
                eprintln!("rofs-init: {failure}");
            }
            Ok(())
        }
    }
}

/// The writable store above the read-only one.
pub(crate) fn store_overlay(overlay: &StoreOverlay) -> Result<(), Failure> {
    let StoreOverlay {
        lower,
        upper,
        userxattr,
        keep_var,
    } = overlay;
    if *keep_var {
        bind(&upper.join("var"), Path::new("/nix/var"))?;
    }
    let (changes, work) = (upper.join("store"), upper.join("work"));
    for dir in [&changes, &work] {
        directory(dir)?;
    }
    let mut options = Vec::new();
    for (key, dir) in [
        ("lowerdir", lower),
        ("upperdir", &changes),
        ("workdir", &work),
    ] {
        let dir = dir
            .to_str()
            .filter(|dir| !dir.contains([',', ':', '\\']))
            .ok_or_else(|| {
                Failure::new(format!(
                    "{} cannot be part of an overlay: its name has a comma, a colon or a backslash",
                    dir.display()
                ))
            })?;
        options.push(format!("{key}={dir}"));
    }
    if *userxattr {
        options.push("userxattr".into());
    }
    directory(Path::new(STORE))?;
    call(
        "store",
        "overlay",
        Path::new(STORE),
        MountFlags::empty(),
        &options.join(","),
    )
}

fn bind(from: &Path, to: &Path) -> Result<(), Failure> {
    directory(from)?;
    directory(to)?;
    rustix::mount::mount_bind(from, to)
        .context(|| format!("showing {} at {}", from.display(), to.display()))
}

/// Makes a directory and those above it, where missing.
pub(crate) fn directory(at: &Path) -> Result<(), Failure> {
    match fs::create_dir_all(at) {
        Err(_) if at.is_dir() => Ok(()),
        result => result.context(|| format!("making the directory {}", at.display())),
    }
}

fn call(
    source: &str,
    fs_type: &str,
    at: &Path,
    flags: MountFlags,
    options: &str,
) -> Result<(), Failure> {
    let data = CString::new(options)
        .map_err(|_| Failure::new(format!("a mount option of {} has a NUL", at.display())))?;
    rustix::mount::mount(source, at, fs_type, flags, data.as_c_str()).map_err(|e| {
        let remedy = match (e, fs_type) {
            (Errno::NODEV, _) => format!(
                "; the kernel has no file system '{fs_type}': is its module in the kernel's module directory?"
            ),
            (Errno::INVAL | Errno::NOENT, "virtiofs") => {
                format!("; there is no share with the tag '{source}', or no option '{options}'")
            }
            (Errno::NOENT | Errno::NXIO, "9p") => format!("; there is no 9p share with the tag '{source}'"),
            (Errno::INVAL, _) => {
                format!("; it holds no file system '{fs_type}', or one without the option '{options}'")
            }
            _ => String::new(),
        };
        Failure::new(format!(
            "mounting {source} ({fs_type}) at {} failed: {e}{remedy}",
            at.display()
        ))
    })
}

/// Which options are flags of the call, and which are the file system's.
fn split_options(options: &[String]) -> (MountFlags, Vec<String>) {
    let mut flags = MountFlags::empty();
    let mut data = Vec::new();
    for option in options.iter().flat_map(|option| option.split(',')) {
        match option {
            "" | "defaults" | "rw" => {}
            "ro" => flags |= MountFlags::RDONLY,
            "nosuid" => flags |= MountFlags::NOSUID,
            "nodev" => flags |= MountFlags::NODEV,
            "noexec" => flags |= MountFlags::NOEXEC,
            "noatime" => flags |= MountFlags::NOATIME,
            "nodiratime" => flags |= MountFlags::NODIRATIME,
            "relatime" => flags |= MountFlags::RELATIME,
            "sync" => flags |= MountFlags::SYNCHRONOUS,
            "dirsync" => flags |= MountFlags::DIRSYNC,
            other => data.push(other.to_owned()),
        }
    }
    (flags, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_the_call_are_flags_and_the_rest_is_the_file_systems() {
        let (flags, data) =
            split_options(&["ro,noatime".into(), "dax=inode".into(), String::new()]);
        assert_eq!(flags, MountFlags::RDONLY | MountFlags::NOATIME);
        assert_eq!(data, ["dax=inode"]);
    }
}
