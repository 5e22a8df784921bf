// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `--mount`, looked at through the kernel.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::util::{Place, Running, WAITING, may_mount, sandbox_arg};

pub(crate) fn can_mount() -> bool {
    may_mount()
        && OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/fuse")
            .is_ok()
}

fn mounted(dir: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    mounts
        .lines()
        .any(|line| line.split(' ').nth(1) == dir.to_str())
}

fn start(place: &Place, share: &str, rest: &str) -> Running {
    fs::create_dir(place.path("m")).unwrap();
    let line = format!("--mount m --shared-dir {share}{}{rest}", sandbox_arg());
    let mut running = place.start(&line);
    running.says("Mounted on");
    running
}

#[test]
fn a_store_on_this_host() {
    if !can_mount() {
        return;
    }
    for rest in [
        "",
        " --sandbox none",
        " --sandbox chroot",
        " --seccomp trap --no-readdirplus",
    ] {
        let place = Place::new();
        let running = start(&place, "store", rest);
        let (store, mount) = (place.path("store"), place.path("m"));
        let equal = Command::new("diff")
            .arg("-r")
            .args([store, mount])
            .output()
            .unwrap();
        assert!(
            equal.status.success(),
            "{}",
            String::from_utf8_lossy(&equal.stdout)
        );
        let error = fs::write(place.path("m/new"), "x").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EROFS));
        running.stop();
        assert!(!mounted(&place.path("m")));
    }
}

/// Large enough that a READ takes the largest reply there is.
#[test]
fn large_files() {
    if !can_mount() {
        return;
    }
    let place = Place::new();
    let data: Vec<u8> = (0..5_000_001_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    fs::write(place.path("plain/large"), &data).unwrap();
    for cache in ["auto", "never", "metadata", "always"] {
        let running = start(&place, "plain", &format!(" --cache {cache}"));
        assert!(fs::read(place.path("m/large")).unwrap() == data, "{cache}");
        running.stop();
        fs::remove_dir(place.path("m")).unwrap();
    }
}

#[test]
fn unmounting_ends_it() {
    if !can_mount() {
        return;
    }
    let place = Place::new();
    let mut running = start(&place, "store", "");
    assert!(
        Command::new("umount")
            .arg(place.path("m"))
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(running.wait().code(), Some(0));
}

#[test]
fn a_server_that_dies_is_unmounted() {
    if !can_mount() {
        return;
    }
    let place = Place::new();
    let mut running = start(&place, "store", "");
    crate::util::kill(running.server(), libc::SIGKILL);
    assert_eq!(running.wait().code(), Some(128 + libc::SIGKILL));
    assert!(!mounted(&place.path("m")));
}

#[test]
fn a_mount_and_a_socket() {
    if !can_mount() {
        return;
    }
    let place = Place::new();
    let mut running = start(&place, "store", " --socket-path s --shared-dir store");
    running.has_said(WAITING);
    assert!(place.path("s").exists());
    assert_eq!(fs::read_dir(place.path("m")).unwrap().count(), 3);
    running.stop();
    assert_eq!(place.left_behind(), ["m"]);
}

/// By fusermount3, which is set-user-ID root.
#[test]
fn an_ordinary_user_mounts() {
    let helper = Command::new("sh")
        .args(["-c", "command -v fusermount3"])
        .output()
        .unwrap();
    // Usual systems let everybody open it.
    let open = fs::metadata("/dev/fuse").is_ok_and(|meta| meta.permissions().mode() & 0o6 == 0o6);
    if !can_mount() || !open || !helper.status.success() {
        return;
    }
    let place = Place::new();
    place.add_binary();
    let nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups";
    let script = format!(
        "mkdir m && exec ./rofs-serve --mount m --shared-dir store{}",
        sandbox_arg()
    );
    let mut command = Command::new("setpriv");
    command
        .args(nobody.split(' ').skip(1))
        .args(["sh", "-c", &script])
        .current_dir(place.dir());
    let mut running = Running::spawn(&mut command);
    running.says("Mounted on");
    // Not even root may look into what another user mounted.
    let look = format!("{nobody} ls m");
    let mut look = look.split(' ');
    let mut command = Command::new(look.next().unwrap());
    let output = command
        .args(look)
        .current_dir(place.dir())
        .output()
        .unwrap();
    assert_eq!(
        output.stdout.iter().filter(|byte| **byte == b'\n').count(),
        3,
        "{output:?}"
    );
    running.stop();
    assert!(!mounted(&place.path("m")));
}
