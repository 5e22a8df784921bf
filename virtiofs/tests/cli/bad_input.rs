// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One sentence, exit code 2, and nothing left behind.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::Command;

use crate::util::{Place, ended, is_root, pass};

#[track_caller]
fn says(place: &Place, line: &str, words: &[&str]) {
    let said = place.refused(line);
    for word in words {
        assert!(said.contains(word), "{line}: no {word:?} in: {said}");
    }
}

#[test]
fn directories() {
    let place = Place::new();
    says(
        &place,
        "--socket-path s --shared-dir gone",
        &["--shared-dir gone", "no such directory"],
    );
    says(
        &place,
        "--socket-path s --shared-dir plain/file",
        &["plain/file", "not a directory"],
    );
    says(&place, "--socket-path s --shared-dir=", &["--shared-dir"]);
}

#[test]
fn windows() {
    let place = Place::new();
    let serve = "--socket-path s --shared-dir store";
    for (flags, words) in [
        (
            "--dax maybe",
            &["--dax", "auto", "direct", "copy", "off"][..],
        ),
        ("--window 64M", &["--window", "--dax auto"]),
        ("--dax off --dax-min 1M", &["--dax-min", "--dax auto"]),
        (
            "--dax auto --window 3M",
            &["--window", "power of two", "2M"],
        ),
        (
            "--dax auto --window 1M",
            &["--window", "power of two", "2M"],
        ),
        ("--dax auto --window 128G", &["--window", "64G"]),
        ("--dax auto --window 0", &["--window", "power of two"]),
        ("--dax auto --window=-2M", &["--window", "-2M"]),
        ("--dax auto --window 2T", &["--window", "2T", "K, M or G"]),
        ("--dax auto --window M", &["--window", "number of bytes"]),
        ("--dax auto --window 99999999999G", &["--window"]),
        ("--dax auto --dax-min huge", &["--dax-min", "huge"]),
    ] {
        says(&place, &format!("{serve} {flags}"), words);
    }
    says(
        &place,
        "--mount plain --shared-dir store --dax auto",
        &["--dax", "virtual machines"],
    );
}

#[test]
fn nowhere_to_serve() {
    let place = Place::new();
    says(
        &place,
        "--shared-dir store",
        &["--socket-path", "--fd", "--mount"],
    );
    says(&place, "", &["--socket-path"]);
}

#[test]
fn sockets() {
    let place = Place::new();
    let long = "x".repeat(108);
    says(
        &place,
        &format!("--socket-path {long} --shared-dir store"),
        &["--socket-path", "107"],
    );
    says(
        &place,
        "--socket-path no/dir/s --shared-dir store",
        &["no/dir", "no directory"],
    );
    says(
        &place,
        "--socket-path= --shared-dir store",
        &["--socket-path"],
    );
    fs::write(place.path("file"), "x").unwrap();
    says(
        &place,
        "--socket-path file --shared-dir store",
        &["not a socket"],
    );
    let _live = UnixListener::bind(place.path("live")).unwrap();
    says(
        &place,
        "--socket-path live --shared-dir store",
        &["--socket-path live", "in use"],
    );
    let twice = "--socket-path a --shared-dir store --socket-path ./a --shared-dir plain";
    says(&place, twice, &["given for two shares"]);
    // The second fails: the first must not stay.
    let second = "--socket-path a --shared-dir store --socket-path live --shared-dir plain";
    says(&place, second, &["live", "in use"]);
}

#[test]
fn groups() {
    let place = Place::new();
    let line = "--socket-path s --shared-dir store --socket-group";
    says(
        &place,
        &format!("{line} no-such-group"),
        &["--socket-group no-such-group", "no such"],
    );
    says(
        &place,
        "--fd 77 --shared-dir store --socket-group 0",
        &["--socket-group"],
    );
}

#[test]
fn what_an_ordinary_user_may_not_do() {
    if !is_root() {
        let place = Place::new();
        says(
            &place,
            "--socket-path s --shared-dir store --socket-group root",
            &["members"],
        );
        return;
    }
    let place = Place::new();
    place.add_binary();
    let line = "--reuid 65534 --regid 65534 --clear-groups ./rofs-serve --socket-path s \
                --shared-dir store --socket-group root";
    let mut command = Command::new("setpriv");
    command
        .args(line.split_whitespace())
        .current_dir(place.dir());
    let said = ended(&mut command);
    assert!(said.contains("--socket-group root"), "{said}");
    assert_eq!(place.left_behind(), Vec::<String>::new());

    // A directory of somebody else's, for the socket.
    fs::create_dir(place.path("roots")).unwrap();
    let line = "--reuid 65534 --regid 65534 --clear-groups ./rofs-serve --socket-path roots/s \
                --shared-dir store";
    let mut command = Command::new("setpriv");
    command
        .args(line.split_whitespace())
        .current_dir(place.dir());
    let said = ended(&mut command);
    assert!(
        said.contains("--socket-path roots/s") && said.contains("choose a directory"),
        "{said}"
    );
    fs::remove_dir(place.path("roots")).unwrap();

    fs::set_permissions(place.path("plain"), fs::Permissions::from_mode(0o700)).unwrap();
    let line = "--reuid 65534 --regid 65534 --clear-groups ./rofs-serve --socket-path s \
                --shared-dir plain";
    let mut command = Command::new("setpriv");
    command
        .args(line.split_whitespace())
        .current_dir(place.dir());
    let said = ended(&mut command);
    assert!(
        said.contains("--shared-dir plain: this user may not read it"),
        "{said}"
    );
}

#[test]
fn inherited_descriptors() {
    let place = Place::new();
    says(
        &place,
        "--fd 77 --shared-dir store",
        &["--fd 77", "no file was passed"],
    );
    says(&place, "--fd 1 --shared-dir store", &["--fd 1", "standard"]);
    says(&place, "--fd=-1 --shared-dir store", &["--fd -1"]);
    let datagram = UnixDatagram::unbound().unwrap();
    let mut command = place.command("--fd 8 --shared-dir store".split(' '));
    pass(&mut command, datagram.as_raw_fd(), 8);
    let said = ended(&mut command);
    assert!(said.contains("--fd 8: not a Unix stream socket"), "{said}");
}

#[test]
fn tags() {
    let place = Place::new();
    let line = "--socket-path s --shared-dir store";
    says(&place, &format!("{line} --tag="), &["--tag", "empty"]);
    let long = "x".repeat(37);
    says(
        &place,
        &format!("{line} --tag {long}"),
        &["--tag", "37 bytes", "36"],
    );
}

#[test]
fn maps() {
    let place = Place::new();
    let line = "--socket-path s --shared-dir store";
    for flag in ["--uid-map", "--gid-map"] {
        says(
            &place,
            &format!("{line} {flag} 0:1:2"),
            &[flag, ":INSIDE:HOST:COUNT:"],
        );
        says(&place, &format!("{line} {flag} :0:1:"), &[flag]);
    }
}

#[test]
fn a_share_without_a_socket() {
    let place = Place::new();
    let line = "--socket-path a --socket-path b --shared-dir store --shared-dir plain";
    says(&place, line, &["share 3", "--socket-path"]);
}

#[test]
fn config_files() {
    let place = Place::new();
    says(&place, "--config none.toml", &["--config none.toml"]);
    for (text, words) in [
        (
            "[[share]]\nsocket-path = 's'\nshared-dri = 'x'\n",
            ["line 3", "`shared-dir`"],
        ),
        (
            "[[share]]\nsocket-path = 's'\nqueues = 'two'\n",
            ["line 3", "invalid type"],
        ),
        ("sandbox = 'strong'\n", ["line 1", "strong"]),
        ("[[share]\n", ["line 1", ""]),
        ("[[share]]\nshared-dir = 'store'\n", ["--socket-path", ""]),
        (
            "[[share]]\nsocket-path = 's'\nqueues = 0\n",
            ["--queues 0", ""],
        ),
        ("[[share]]\nsocket-path = 's'\nfd = 3\n", ["one of", ""]),
        (
            "[[share]]\nsocket-path = 's'\nroot-timeout = -1\n",
            ["--root-timeout", ""],
        ),
    ] {
        fs::write(place.path("c.toml"), text).unwrap();
        says(&place, "--config c.toml", &words);
    }
}

#[test]
fn mount_points() {
    let place = Place::new();
    says(
        &place,
        "--mount none --shared-dir store",
        &["--mount none", "no such directory"],
    );
    says(
        &place,
        "--mount plain/file --shared-dir store",
        &["not a directory"],
    );
    says(
        &place,
        "--mount plain --shared-dir store",
        &["--mount plain", "not empty"],
    );
    fs::create_dir(place.path("store/inside")).unwrap();
    says(
        &place,
        "--mount store/inside --shared-dir store",
        &["inside the directory"],
    );
}

#[test]
fn what_is_missing_for_the_sandbox() {
    let place = Place::new();
    if is_root() {
        // As in a container without rights.
        let line = "--bounding-set=-sys_admin --inh-caps=-sys_admin";
        let mut command = Command::new("setpriv");
        command
            .args(line.split(' '))
            .arg(env!("CARGO_BIN_EXE_rofs-serve"));
        command
            .args(["--socket-path", "s", "--shared-dir", "store"])
            .current_dir(place.dir());
        let said = ended(&mut command);
        assert!(
            said.contains("--sandbox namespace") && said.contains("--sandbox none"),
            "{said}"
        );
        assert_eq!(place.left_behind(), Vec::<String>::new());
    }
}
