// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is in the sandbox, as /proc tells.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::util::{Place, Running, ask_features, is_root, namespaces};

fn namespace(pid: i32, name: &str) -> String {
    fs::read_link(format!("/proc/{pid}/ns/{name}"))
        .unwrap()
        .display()
        .to_string()
}

fn status(pid: i32, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with(&format!("{field}:")))
        .unwrap();
    line.split_whitespace().nth(1).unwrap_or("").to_owned()
}

/// Descriptors of a process, as paths in /proc, and what they are.
fn open_files(pid: i32) -> Vec<(PathBuf, PathBuf)> {
    let paths = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .map(|e| e.unwrap().path());
    // Some are closed while we look.
    paths
        .filter_map(|path| fs::read_link(&path).ok().map(|target| (path, target)))
        .collect()
}

const NO_CAPABILITY: &str = "0000000000000000";
/// Bit 2, CAP_DAC_READ_SEARCH.
const READ_ALL: &str = "0000000000000004";

#[test]
fn own_namespaces_and_an_empty_root() {
    if !namespaces() {
        return;
    }
    let place = Place::new();
    let running = place.start("--socket-path s --shared-dir store").waits();
    let server = running.server();
    assert_ne!(server, running.pid());
    let ours = i32::try_from(std::process::id()).unwrap();
    for name in ["pid", "mnt", "net"] {
        assert_ne!(namespace(server, name), namespace(ours, name), "{name}");
        if name != "pid" {
            assert_eq!(
                namespace(running.pid(), name),
                namespace(ours, name),
                "{name}"
            );
        }
    }
    let user = namespace(server, "user") == namespace(ours, "user");
    assert_eq!(user, is_root());
    // The host's directories are gone; even the shares have no name in there.
    let names: Vec<_> = fs::read_dir(format!("/proc/{server}/root"))
        .unwrap()
        .collect();
    assert!(names.is_empty(), "{names:?}");
    let mounts = fs::read_to_string(format!("/proc/{server}/mounts")).unwrap();
    assert_eq!(mounts.lines().count(), 1, "{mounts}");
    assert!(mounts.contains("tmpfs ro,"), "{mounts}");
    let net = fs::read_to_string(format!("/proc/{server}/net/dev")).unwrap();
    let devices: Vec<_> = net
        .lines()
        .filter_map(|line| line.split_once(':'))
        .collect();
    assert!(
        matches!(devices[..], [(name, _)] if name.trim() == "lo"),
        "{net}"
    );
    assert_eq!(status(server, "NoNewPrivs"), "1");
    assert_eq!(status(server, "Seccomp"), "2");
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(status(server, set), NO_CAPABILITY, "{set}");
    }
    if is_root() {
        assert_eq!(status(server, "CapBnd"), NO_CAPABILITY);
        assert_eq!(status(server, "Groups"), "");
    }
    // No file of the host may stay open for writing but what it serves with.
    for (_, target) in open_files(server) {
        let inside = target.starts_with(place.dir()) && target != place.path("store");
        assert!(!inside, "{}", target.display());
    }
    let mut stream = UnixStream::connect(place.path("s")).unwrap();
    ask_features(&mut stream);
    running.stop();
}

#[test]
fn a_plain_tree_of_root_keeps_one_capability() {
    if !is_root() || !namespaces() {
        return;
    }
    let place = Place::new();
    let running = place.start("--socket-path s --shared-dir plain").waits();
    let server = running.server();
    assert_eq!(status(server, "CapEff"), READ_ALL);
    assert_eq!(status(server, "CapPrm"), READ_ALL);
    running.stop();
}

#[test]
fn chroot() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let running = place
        .start("--socket-path s --shared-dir store --sandbox chroot")
        .waits();
    let server = running.server();
    let root = fs::read_link(format!("/proc/{server}/root")).unwrap();
    assert_eq!(root, place.path("store").canonicalize().unwrap());
    assert_eq!(status(server, "CapEff"), NO_CAPABILITY);
    assert_eq!(status(server, "Seccomp"), "2");
    let mut stream = UnixStream::connect(place.path("s")).unwrap();
    ask_features(&mut stream);
    running.stop();
    assert_eq!(place.left_behind(), Vec::<String>::new());
}

#[test]
fn none_is_one_process_without_privileges() {
    let place = Place::new();
    let running = place
        .start("--socket-path s --shared-dir store --sandbox none")
        .waits();
    assert_eq!(running.server(), running.pid());
    assert_eq!(status(running.pid(), "CapEff"), NO_CAPABILITY);
    assert_eq!(status(running.pid(), "Seccomp"), "2");
    running.stop();
    let running = place
        .start("--socket-path s --shared-dir store --sandbox none --seccomp none")
        .waits();
    assert_eq!(status(running.pid(), "Seccomp"), "0");
    running.stop();
}

/// An ordinary user gets the same, by way of a user namespace, or a clear refusal.
#[test]
fn as_an_ordinary_user() {
    if !is_root() {
        return; // then every other test is this one
    }
    let place = Place::new();
    place.add_binary();
    let nobody = |line: &str| {
        let mut command = Command::new("setpriv");
        command.args("--reuid 65534 --regid 65534 --clear-groups ./rofs-serve".split(' '));
        command
            .args(line.split_whitespace())
            .current_dir(place.dir());
        command
    };
    let line = "--socket-path s --shared-dir store";
    let mut probe = Command::new("setpriv");
    probe.args("--reuid 65534 --regid 65534 --clear-groups unshare -U true".split(' '));
    if probe.status().is_ok_and(|status| status.success()) {
        let running = Running::spawn(&mut nobody(line)).waits();
        let server = running.server();
        let ours = i32::try_from(std::process::id()).unwrap();
        for name in ["pid", "mnt", "net", "user"] {
            assert_ne!(namespace(server, name), namespace(ours, name), "{name}");
        }
        assert_eq!(status(server, "Uid"), "65534");
        assert_eq!(status(server, "CapEff"), NO_CAPABILITY);
        assert_eq!(
            fs::read_dir(format!("/proc/{server}/root"))
                .unwrap()
                .count(),
            0
        );
        let mut stream = UnixStream::connect(place.path("s")).unwrap();
        ask_features(&mut stream);
        running.stop();
    } else {
        let said = crate::util::ended(&mut nobody(line));
        assert!(
            said.contains("--sandbox namespace") && said.contains("--sandbox none"),
            "{said}"
        );
    }
    assert_eq!(place.left_behind(), Vec::<String>::new());
    Running::spawn(&mut nobody(&format!("{line} --sandbox none")))
        .waits()
        .stop();
    let said = crate::util::ended(&mut nobody(&format!("{line} --sandbox chroot")));
    assert!(said.contains("--sandbox chroot: only root"), "{said}");
    assert_eq!(place.left_behind(), Vec::<String>::new());
}

/// Ids can be mapped; root writes the map itself.
#[test]
fn mapped_ids() {
    if !is_root() || !namespaces() {
        return;
    }
    let place = Place::new();
    let line = "--socket-path s --shared-dir store --uid-map=:0:100000:1000: --gid-map /0/5/10/";
    let running = place.start(line).waits();
    let map = fs::read_to_string(format!("/proc/{}/uid_map", running.server())).unwrap();
    assert_eq!(
        map.split_whitespace().collect::<Vec<_>>(),
        ["0", "100000", "1000"]
    );
    running.stop();
}

/// The sandbox's own copy of a share is read-only, whatever the host's is.
#[test]
fn shares_are_mounted_read_only() {
    if !namespaces() {
        return;
    }
    let place = Place::new();
    let running = place.start("--socket-path s --shared-dir plain").waits();
    let server = running.server();
    let mut seen = false;
    for (through, target) in open_files(server) {
        // The share is the one directory open, and hangs nowhere, so it is called "/".
        if target != Path::new("/") {
            continue;
        }
        seen = true;
        let through = through.join("file");
        assert_eq!(fs::read_to_string(&through).unwrap(), "content\n");
        let error = fs::write(&through, "x").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EROFS));
    }
    assert!(seen);
    running.stop();
}
