// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Command lines that others pass to virtiofsd, word for word but for the paths.

use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;

use crate::util::{Place, Running, ask_features, is_root, pass, sandbox_arg};

/// `kvm` where there is one, else a group of this process.
fn group() -> String {
    let exists = |name: &str| {
        Command::new("getent")
            .args(["group", name])
            .output()
            .is_ok_and(|o| o.status.success())
    };
    if exists("kvm") && is_root() {
        return "kvm".to_owned();
    }
    let output = Command::new("id").arg("-gn").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Starts, answers a front-end, and ends with it.
fn works(place: &Place, line: &str) {
    let mut running = place.start(&format!("{line}{}", sandbox_arg())).waits();
    let mut stream = UnixStream::connect(place.path("sock")).unwrap();
    assert_ne!(ask_features(&mut stream) & (1 << 32), 0, "VERSION_1");
    drop(stream);
    running.says("Client disconnected, shutting down");
    assert_eq!(running.wait().code(), Some(0));
    assert_eq!(place.left_behind(), Vec::<String>::new(), "{line}");
}

#[test]
fn microvm_nix() {
    let group = group();
    for extra in [
        "",
        "--rlimit-nofile 1048576 ",
        "--tag=ro-store ",
        "--readonly ",
    ] {
        works(
            &Place::new(),
            &format!(
                "--socket-path=sock --socket-group={group} --shared-dir=store {extra}\
                 --thread-pool-size 4 --posix-acl --xattr --cache=auto --inode-file-handles=prefer"
            ),
        );
    }
    let place = Place::new();
    let line = format!("--socket-path=sock --socket-group={group} --shared-dir=store");
    let running = place.start(&format!("{line}{}", sandbox_arg())).waits();
    let mode = std::fs::metadata(place.path("sock"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660);
    running.stop();
}

#[test]
fn kata() {
    for cache in ["auto", "always", "never", "metadata"] {
        works(
            &Place::new(),
            &format!("--socket-path sock --shared-dir plain --cache {cache} --xattr"),
        );
    }
}

#[test]
fn cloud_hypervisor() {
    works(
        &Place::new(),
        "--log-level debug --socket-path sock --shared-dir store --cache never \
         --thread-pool-size 4",
    );
}

/// libvirt makes the socket itself, and passes it listening.
#[test]
fn libvirt() {
    for line in [
        "--fd=7 --shared-dir store --cache always --xattr --thread-pool-size=2 \
         --rlimit-nofile=4096 --log-level debug",
        "--fd=7 -o source=store,cache=always,xattr,no_flock,no_posix_lock -d",
        "--fd=7 -o source=store,cache=none,no_xattr --thread-pool-size=2",
    ] {
        let place = Place::new();
        let listener = UnixListener::bind(place.path("sock")).unwrap();
        let line = format!("{line}{}", sandbox_arg());
        let mut command = place.command(line.split_whitespace());
        pass(&mut command, listener.as_raw_fd(), 7);
        let mut running = Running::spawn(&mut command).waits();
        drop(listener);
        let mut stream = UnixStream::connect(place.path("sock")).unwrap();
        ask_features(&mut stream);
        drop(stream);
        assert_eq!(running.wait().code(), Some(0), "{line}");
        // It is libvirt's.
        assert_eq!(place.left_behind(), ["sock"]);
    }
}

/// crosvm passes a connected socket.
#[test]
fn a_connected_socket() {
    let place = Place::new();
    let (mut here, there) = UnixStream::pair().unwrap();
    let line = format!("--fd 7 --tag t --shared-dir store{}", sandbox_arg());
    let mut command = place.command(line.split_whitespace());
    pass(&mut command, there.as_raw_fd(), 7);
    let mut running = Running::spawn(&mut command);
    drop(there);
    ask_features(&mut here);
    drop(here);
    running.says("Client disconnected, shutting down");
    assert_eq!(running.wait().code(), Some(0));
}

#[test]
fn the_socket_is_for_its_owner_only() {
    let place = Place::new();
    let running = place.start(&format!(
        "--socket-path s --shared-dir store{}",
        sandbox_arg()
    ));
    let running = running.waits();
    let meta = std::fs::metadata(place.path("s")).unwrap();
    assert_eq!(meta.mode() & 0o777, 0o700);
    running.stop();
}
