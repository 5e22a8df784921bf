// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every option of virtiofsd 1.14 is answered.

use std::process::Command;

use crate::util::{Place, WAITING, is_root, namespaces};

enum Answer {
    /// It does what it says.
    Done,
    /// There is nothing to do, and it says so at debug level.
    Moot,
    /// It is not done, with a warning.
    NotDone,
    /// It is refused, with these words in the sentence.
    Refused(&'static str),
}
use Answer::{Done, Moot, NotDone, Refused};

/// Whatever the machine, these need no privilege.
const SERVE: &str = "--socket-path s --shared-dir store --sandbox none --log-level debug";

const TABLE: &[(&str, Answer)] = &[
    ("--shared-dir plain", Done),
    (
        "--shared-dir store/none",
        Refused("--shared-dir store/none: no such directory"),
    ),
    ("--tag nix-store", Done),
    ("--thread-pool-size 0", Done),
    ("--thread-pool-size=64", Done),
    ("--thread-pool-size=100000", Done),
    ("--thread-pool-size=all", Refused("--thread-pool-size")),
    ("--xattr", Moot),
    ("--posix-acl", Moot),
    ("--posix-acl=never", Moot),
    ("--posix-acl=auto", Moot),
    ("--posix-acl=sometimes", Refused("--posix-acl")),
    ("--security-label", Moot),
    ("--security-label=always", Moot),
    ("--xattrmap :map::user.virtiofs.:", Moot),
    ("--readonly", Moot),
    ("--seccomp none", Done),
    ("--seccomp kill", Done),
    ("--seccomp log", Done),
    ("--seccomp trap", Done),
    ("--seccomp maybe", Refused("--seccomp")),
    ("--announce-submounts", Moot),
    ("--no-announce-submounts", Moot),
    ("--inode-file-handles=never", Moot),
    ("--inode-file-handles=prefer", Moot),
    ("--inode-file-handles=fallback", Moot),
    ("--inode-file-handles mandatory", Moot),
    ("--cache auto", Done),
    ("--cache=always", Done),
    ("--cache never", Done),
    ("--cache metadata", Done),
    ("--cache ALWAYS", Done),
    ("--cache often", Refused("--cache")),
    ("--allow-mmap", Done),
    ("--no-readdirplus", Done),
    ("--writeback", Moot),
    ("--allow-direct-io", Moot),
    ("--modcaps=+mknod:-chown", Moot),
    ("--log-level trace", Done),
    ("--log-level loud", Refused("--log-level")),
    ("--rlimit-nofile 0", Done),
    ("--rlimit-nofile 1024", Done),
    ("--rlimit-nofile many", Refused("--rlimit-nofile")),
    (
        "--rlimit-nofile 3",
        Refused("--rlimit-nofile 3: the server itself needs"),
    ),
    ("--killpriv-v2", Moot),
    ("--no-killpriv-v2", Moot),
    ("--translate-uid squash-guest:0:1000:1", NotDone),
    ("--translate-gid map:0:1000:1", NotDone),
    ("--preserve-noatime", Moot),
    ("--migration-mode find-paths", NotDone),
    ("--migration-mode=file-handles", NotDone),
    ("--migration-on-error abort", NotDone),
    ("--migration-verify-handles", NotDone),
    ("--migration-confirm-paths", NotDone),
    ("-d", Done),
    ("-f", Done),
    ("-o source=plain,cache=auto,sandbox=none", Done),
    ("-o cache=none", Done),
    (
        "-o xattr,no_xattr,writeback,no_writeback,allow_direct_io,no_allow_direct_io",
        Done,
    ),
    (
        "-o announce_submounts,killpriv_v2,no_killpriv_v2,posix_acl,no_posix_acl",
        Done,
    ),
    (
        "-o security_label,no_security_label,no_posix_lock,no_flock",
        Done,
    ),
    (
        "-o readdirplus -o no_readdirplus -o modcaps=+all,xattrmap=:x:",
        Done,
    ),
    ("-o flock", Refused("-o flock")),
    ("-o posix_lock", Refused("-o posix_lock")),
    ("-o loglevel=loud", Refused("-o loglevel=loud")),
    ("-o something", Refused("-o something: no such option")),
    (
        "--uid-map=:0:1000:1:",
        Refused("--uid-map: only --sandbox namespace"),
    ),
    ("--sandbox jail", Refused("--sandbox")),
    ("--layout nix", Done),
    ("--layout plain", Done),
    ("--layout auto", Done),
    ("--layout nested", Refused("--layout")),
    ("--root-timeout 0.5", Done),
    ("--root-timeout -1", Refused("--root-timeout")),
    ("--root-timeout soon", Refused("--root-timeout")),
    ("--poll 50", Done),
    ("--poll 1001", Refused("--poll")),
    ("--index-limit 64", Done),
    ("--index-limit 0", Refused("--index-limit")),
    ("--index-limit 1G", Refused("--index-limit")),
    ("--queues 4", Done),
    ("--queues 0", Refused("--queues")),
    ("--queues 65", Refused("--queues")),
    ("--keep", Done),
    ("--no-such-flag", Refused("--no-such-flag")),
];

#[test]
fn the_table() {
    for (option, answer) in TABLE {
        let place = Place::new();
        let line = format!("{SERVE} {option}");
        if let Refused(words) = answer {
            let said = place.refused(&line);
            assert!(said.contains(words), "{option}: {said}");
            assert!(!said.contains('\n'), "{option}: {said}");
            continue;
        }
        let said = place.start(&line).waits().stop();
        let name = option.split([' ', '=']).next().unwrap();
        let expected = match answer {
            Moot => format!("{name}: nothing to do"),
            NotDone => format!("WARN  rofs_serve] {name}: accepted, but not done"),
            _ => continue,
        };
        assert!(said.contains(&expected), "{option}:\n{said}");
    }
}

#[test]
fn sandboxes() {
    let place = Place::new();
    let line = "--socket-path s --shared-dir store --sandbox";
    place.start(&format!("{line} none")).waits().stop();
    if namespaces() {
        place.start(&format!("{line} namespace")).waits().stop();
    } else {
        assert!(
            place
                .refused(&format!("{line} namespace"))
                .contains("--sandbox none")
        );
    }
    if is_root() {
        place.start(&format!("{line} chroot")).waits().stop();
    } else {
        assert!(
            place
                .refused(&format!("{line} chroot"))
                .contains("only root")
        );
    }
}

#[test]
fn the_old_name_of_the_socket() {
    let place = Place::new();
    let running = place
        .start("--socket s --shared-dir store --sandbox none")
        .waits();
    assert!(place.path("s").exists());
    running.stop();
}

fn output(place: &Place, arg: &str) -> String {
    let output = place.command([arg]).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn capabilities_for_libvirt() {
    let said = output(&Place::new(), "--print-capabilities");
    assert!(
        said.contains("\"type\": \"fs\"") && said.contains("\"separate-options\""),
        "{said}"
    );
    assert!(!said.contains("migrate-precopy"), "{said}");
}

#[test]
fn version_and_help() {
    let place = Place::new();
    assert_eq!(
        output(&place, "--version"),
        format!("rofs-serve {}\n", env!("CARGO_PKG_VERSION"))
    );
    let help = output(&place, "--help");
    for (option, _) in TABLE {
        let name = option.split([' ', '=']).next().unwrap();
        assert!(
            help.contains(name) || name == "--no-such-flag",
            "{name} is not in --help"
        );
    }
    assert!(help.contains("[alias: --socket]"), "{help}");
    for heading in [
        "Accepted, with nothing to do",
        "with a warning that it is not done",
    ] {
        assert!(help.contains(heading), "{heading}");
    }
}

#[test]
fn syslog() {
    if !std::fs::exists("/dev/log").unwrap() {
        let said = Place::new().refused(&format!("{SERVE} --syslog"));
        assert!(said.contains("--syslog: cannot reach /dev/log"), "{said}");
    }
}

#[test]
fn rust_log_counts_more() {
    let place = Place::new();
    let mut command: Command = place.command(SERVE.split(' ').chain(["--xattr"]));
    let mut running = crate::util::Running::spawn(command.env("RUST_LOG", "info"));
    running.says(WAITING);
    let said = running.stop();
    assert!(!said.contains("DEBUG"), "{said}");
}

#[test]
fn open_files_are_limited_as_asked() {
    let place = Place::new();
    let running = place.start(&format!("{SERVE} --rlimit-nofile 777")).waits();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", running.server())).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap();
    assert_eq!(line.split_whitespace().nth(3), Some("777"), "{line}");
    running.stop();
}

#[test]
fn a_window_takes_a_size_and_a_file_takes_both_forms() {
    let place = Place::new();
    for flags in [
        "--dax auto",
        "--dax COPY --window 2m --dax-min 0",
        "--dax direct --window 67108864 --dax-min 1G",
        "--dax off",
    ] {
        place.start(&format!("{SERVE} {flags}")).waits().stop();
    }
    for window in ["\"64M\"", "67108864"] {
        let text = format!(
            "[[share]]\ndax = \"auto\"\nwindow = {window}\ndax-min = \"16k\"\n\
             socket-path = \"socket\"\nshared-dir = \"store\"\n"
        );
        std::fs::write(place.path("config"), text).unwrap();
        place.start("--config config").waits().stop();
    }
    std::fs::write(place.path("config"), "[[share]]\nwindow = \"64X\"\n").unwrap();
    let said = place.refused("--config config");
    assert!(said.contains("line 2") && said.contains("64X"), "{said}");
}
