// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Programs of this machine, and what they can do.

use std::collections::BTreeSet;
use std::env;
use std::ffi::c_long;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use crate::description::{Description, Hypervisor, InterfaceType};
use crate::process::on_path;

/// Where distributions put helpers that are not on anybody's `PATH`.
const HELPERS: [&str; 5] = [
    "/run/wrappers/bin",
    "/usr/libexec",
    "/usr/lib/qemu",
    "/usr/lib",
    "/run/current-system/sw/libexec",
];

/// Programs. Those that the description has no use for are not looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tools {
    /// QEMU, for this machine's architecture.
    pub qemu: Option<Qemu>,
    /// cloud-hypervisor.
    pub cloud_hypervisor: Option<PathBuf>,
    /// passt, for networks without privileges.
    pub passt: Option<Passt>,
    /// virtiofsd, for shares that the guest may write to.
    pub virtiofsd: Option<PathBuf>,
    /// rofs-serve, for shares with a process of their own.
    pub rofs_serve: Option<PathBuf>,
    /// vhost-device-sound, cloud-hypervisor's sound card.
    pub vhost_device_sound: Option<PathBuf>,
    /// qemu-bridge-helper, which attaches machines to bridges.
    pub bridge_helper: Option<PathBuf>,
    /// This very program, which connects forwarded ports.
    pub rofs_vm: Option<PathBuf>,
}

/// QEMU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qemu {
    /// The program.
    pub path: PathBuf,
    /// Its version; `None` if it was not asked or said nothing that looks like one.
    pub version: Option<Version>,
    /// What it was built with; `None` if it was not asked.
    pub features: Option<Features>,
}

/// What a QEMU was built with (distributions put some of it in packages of their own).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// `-display help`.
    pub displays: BTreeSet<String>,
    /// `-audiodev help`.
    pub audio: BTreeSet<String>,
    /// `-device help`.
    pub devices: BTreeSet<String>,
}

/// passt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passt {
    /// The program.
    pub path: PathBuf,
    /// Whether it can be a vhost-user device (since the end of 2024).
    pub vhost_user: bool,
}

/// A version: major and minor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32);

impl FromStr for Version {
    type Err = ();

    /// The first number of the form `MAJOR.MINOR` in a text.
    fn from_str(text: &str) -> Result<Version, ()> {
        text.split_whitespace()
            .find_map(|word| {
                let mut numbers = word.split('.');
                Some(Version(
                    numbers.next()?.parse().ok()?,
                    numbers.next()?.parse().ok()?,
                ))
            })
            .ok_or(())
    }
}

impl Tools {
    pub(super) fn find(description: &Description) -> Tools {
        let uses_user = description
            .interfaces
            .iter()
            .any(|one| one.kind == InterfaceType::User);
        let uses_bridge = description
            .interfaces
            .iter()
            .any(|one| one.kind == InterfaceType::Bridge);
        Tools {
            qemu: (description.hypervisor == Hypervisor::Qemu)
                .then(|| Qemu::find(description))
                .flatten(),
            cloud_hypervisor: find(
                "cloud-hypervisor",
                description.cloud_hypervisor.package.as_deref(),
            ),
            passt: uses_user
                .then(|| find("passt", None))
                .flatten()
                .map(Passt::ask),
            virtiofsd: find("virtiofsd", description.virtiofsd.package.as_deref()),
            rofs_serve: beside_us("rofs-serve").or_else(|| find("rofs-serve", None)),
            vhost_device_sound: find("vhost-device-sound", None),
            bridge_helper: uses_bridge
                .then(|| find("qemu-bridge-helper", None))
                .flatten(),
            rofs_vm: env::current_exe().ok(),
        }
    }
}

/// Finds a program in a Nix package, on `PATH`, or where distributions hide helpers.
fn find(name: &str, package: Option<&Path>) -> Option<PathBuf> {
    let packaged = package.and_then(|package| {
        [
            package.join("bin").join(name),
            package.join("libexec").join(name),
        ]
        .into_iter()
        .find(|file| file.is_file())
    });
    let hidden = || {
        HELPERS
            .iter()
            .map(|dir| Path::new(dir).join(name))
            .find(|file| file.is_file())
    };
    packaged.or_else(|| on_path(name)).or_else(hidden)
}

fn beside_us(name: &str) -> Option<PathBuf> {
    Some(env::current_exe().ok()?.parent()?.join(name)).filter(|file| file.is_file())
}

impl Qemu {
    fn find(description: &Description) -> Option<Qemu> {
        let program = concat!("qemu-system-", "x86_64");
        let program = if cfg!(target_arch = "aarch64") {
            "qemu-system-aarch64"
        } else {
            program
        };
        let path = find(program, description.qemu.package.as_deref())?;
        let dax = description.shares.iter().any(|share| share.dax);
        let desktop =
            description.graphics.enable || description.sound.enable || description.clipboard.enable;
        Some(Qemu {
            version: dax
                .then(|| said(&path, &["--version"]))
                .flatten()
                .and_then(|text| text.parse().ok()),
            features: (dax || desktop).then(|| Features {
                displays: said(&path, &["-display", "help"])
                    .map(|text| words(&text))
                    .unwrap_or_default(),
                audio: said(&path, &["-audiodev", "help"])
                    .map(|text| words(&text))
                    .unwrap_or_default(),
                devices: said(&path, &["-device", "help"])
                    .map(|text| devices(&text))
                    .unwrap_or_default(),
            }),
            path,
        })
    }
}

impl Passt {
    fn ask(path: PathBuf) -> Passt {
        let help = said(&path, &["--help"]).unwrap_or_default();
        Passt {
            vhost_user: help.contains("--vhost-user"),
            path,
        }
    }
}

/// What a program prints, on either stream.
fn said(program: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Some(text)
}

/// Lines of one word: the names in a list that QEMU prints.
fn words(text: &str) -> BTreeSet<String> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.contains(char::is_whitespace))
        .map(str::to_owned)
        .collect()
}

/// `name "virtio-vga", bus PCI, alias ...`
fn devices(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| Some(line.strip_prefix("name \"")?.split_once('"')?.0.to_owned()))
        .collect()
}

/// Whether io_uring works: containers and `kernel.io_uring_disabled` forbid it. Asked by a call
/// that can only fail, with an error that tells.
#[allow(unsafe_code)]
pub(super) fn io_uring_allowed() -> bool {
    let entries: c_long = 0;
    // SAFETY: io_uring_setup with no parameters reads and writes no memory; with zero entries it
    // makes nothing.
    let result =
        unsafe { libc::syscall(libc::SYS_io_uring_setup, entries, std::ptr::null::<u8>()) };
    let errno = std::io::Error::last_os_error().raw_os_error();
    result >= 0 || matches!(errno, Some(libc::EINVAL | libc::EFAULT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(
            "QEMU emulator version 11.1.3 (Debian 1:11.1.3+ds-1)".parse(),
            Ok(Version(11, 1))
        );
        assert_eq!("cloud-hypervisor v53".parse::<Version>(), Err(()));
        assert!(Version(10, 2) < Version(11, 1));
    }

    #[test]
    fn lists_of_qemu() {
        let displays =
            words("Available display backend types:\nnone\ngtk\n\nSome display backends support\n");
        assert_eq!(displays.into_iter().collect::<Vec<_>>(), ["gtk", "none"]);
        let names = devices(
            "Display devices:\nname \"VGA\", bus PCI\nname \"virtio-vga\", bus PCI, desc \"x\"\n",
        );
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["VGA", "virtio-vga"]);
    }
}
