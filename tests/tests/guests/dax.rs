// SPDX-License-Identifier: Apache-2.0 OR MIT
//! DAX windows in real guests: stock QEMU with the device that has windows, Debian's cloud kernel.

use super::harness::{Guest, Kernel, Server, Shell, Store, difference, guest_check, output};
use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;

/// A store with a large file, and its path in the guest.
fn store_with_large_file(mib: usize) -> (Store, String) {
    let store = Store::own(&[]);
    let dir = tempfile::Builder::new().prefix("large").tempdir().unwrap();
    let file = dir.path().join("large");
    // Every 8 bytes differ, and the last page is not full.
    let words = 0..(mib as u64) << 17;
    let mut content: Vec<u8> = words
        .flat_map(|word| (word.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_le_bytes())
        .collect();
    content.extend(b"the end");
    std::fs::write(&file, content).unwrap();
    let path = store.op(&["add", file.to_str().unwrap()]);
    // A store path that is a file may change its contents; one below a directory may not.
    let package = dir.path().join("package");
    std::fs::create_dir(&package).unwrap();
    std::fs::rename(&file, package.join("large")).unwrap();
    store.op(&["delete", &path]);
    let path = store.op(&["add", package.to_str().unwrap()]);
    (store, format!("{path}/large"))
}

fn serve(store: &Store, more: &[&str]) -> Server {
    let args = ["--dax", "auto", "--queues", "1", "--log-level", "trace"];
    Server::start(store, &[&args[..], more].concat())
}

fn guest(server: &Server) -> Guest {
    Guest::new(Kernel::Qemu, server).args(["--device", "test"])
}

fn hash(store: &Store, path: &str) -> String {
    let host = store.dir.join(path.trim_start_matches('/'));
    let mut check = Command::new(guest_check());
    output(check.arg("map").arg(host)).trim().to_owned()
}

/// The nodes for which there was such a request, as often as there was one.
fn nodes(log: &str, opcode: &str) -> Vec<String> {
    let begin = format!("Some({opcode}) node ");
    log.lines()
        .filter_map(|line| line.split_once(&begin))
        .filter(|(_, rest)| rest.contains(": 0, "))
        .filter_map(|(_, rest)| rest.split(':').next())
        .map(ToOwned::to_owned)
        .collect()
}

/// What is mapped is right, is not read, and does not fill the guest's memory; the rest is read as
/// ever. Programs run from the window.
#[test]
fn files_are_mapped_and_not_read() {
    let (store, large) = store_with_large_file(64);
    let server = serve(&store, &["--window", "128M"]);
    let log = server.log();
    let busybox = format!("{}/bin/busybox", store.path("busybox"));
    let (console, tree) = guest(&server).run(&format!(
        "cached() {{ sed -n 's/^Cached: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo; }}
        before=$(cached)
        guest-check map {large}
        cat {large} | md5sum >/dev/null
        guest-check map {large}
        after=$(cached)
        echo $((after - before))
        {busybox} expr 6 '*' 7
        guest-check tree /nix/store >/dev/rofs-out"
    ));
    let log = log.lock().unwrap().clone();
    let lines: Vec<&str> = console.trim().lines().collect();
    let expected = hash(&store, &large);
    let [first, second, cached, answer] = lines[..] else {
        panic!("the guest said {console}\n");
    };
    assert_eq!((first, second), (&expected[..], &expected[..]));
    assert_eq!(answer, "42", "a program runs");
    let cached: i64 = cached.parse().unwrap();
    assert!(
        cached < 64 * 1024 / 20,
        "the page cache grew by {cached} KiB"
    );
    if let Some(difference) = difference(&tree, &store.tree()) {
        panic!("the guest sees\n{difference}");
    }
    let mapped: HashSet<String> = nodes(&log, "SetupMapping").into_iter().collect();
    let read: HashSet<String> = nodes(&log, "Read").into_iter().collect();
    assert!(
        mapped.len() >= 3,
        "the large file, busybox, a file of 8 MiB"
    );
    assert!(read.len() > 50, "small files are read");
    let both: Vec<_> = mapped.intersection(&read).collect();
    assert!(both.is_empty(), "mapped and read: {both:?}");
}

/// A window far smaller than the files: the guest takes ranges away from one for the other.
#[test]
fn a_small_window_is_enough() {
    let (store, large) = store_with_large_file(16);
    let server = serve(&store, &["--window", "2M"]);
    let log = server.log();
    let other = format!("{}/size-8388609", store.path("files"));
    let (console, _) = guest(&server).run(&format!(
        "for i in 1 2; do
            guest-check map {large} >/tmp/a & guest-check map {other} >/tmp/b & wait
            cat /tmp/a /tmp/b
        done"
    ));
    let pair = format!("{}\n{}\n", hash(&store, &large), hash(&store, &other));
    assert_eq!(console.trim(), [&pair[..], &pair].concat().trim());
    let log = log.lock().unwrap().clone();
    assert!(
        nodes(&log, "RemoveMapping").len() > 10,
        "ranges are reclaimed"
    );
    assert!(nodes(&log, "SetupMapping").len() > 24);
}

/// Two shares, each with a window. Then: mounted again, stopped and continued, started again; and
/// one server is gone.
#[test]
fn windows_outlive_what_happens_to_a_guest() {
    let (store, large) = store_with_large_file(8);
    let (other_store, other_large) = store_with_large_file(6);
    let server = serve(&store, &["--window", "64M", "--keep"]);
    let other = serve(&other_store, &["--window", "32M", "--tag", "other"]);
    let log = server.log();
    let qmp = tempfile::tempdir().unwrap();
    let qmp = qmp.path().join("qmp");
    let share = format!("{}:other:/mnt/other", other.as_ref().display());
    let monitor = format!("unix:{},server=on,wait=off", qmp.display());
    let mut shell = guest(&server)
        .args(["--share", &share])
        .vmm(&["-action", "reboot=reset", "-qmp", &monitor])
        .shell();

    let there = other_large.replace("/nix/store", "/mnt/other");
    let check = format!("guest-check map {large}; guest-check map {there}");
    let pair = format!(
        "{}\n{}",
        hash(&store, &large),
        hash(&other_store, &other_large)
    );
    assert_eq!(shell.run(&check), pair);
    let mappings = || nodes(&log.lock().unwrap(), "SetupMapping").len();
    let first = mappings();
    assert!(first >= 4, "{first} mappings");

    let again = "umount /nix/store && mount -t virtiofs -o ro store /nix/store";
    assert!(shell.succeeds(again));
    assert_eq!(shell.run(&check), pair);
    assert!(mappings() >= 2 * first, "mapped anew");

    let before = mappings();
    let mut monitor = Monitor::connect(&qmp);
    monitor.execute("stop");
    monitor.execute("cont");
    assert_eq!(shell.run(&check), pair);
    assert_eq!(mappings(), before, "what is mapped stays mapped");

    shell.reboot();
    assert_eq!(shell.run(&check), pair);
    assert!(mappings() >= before + first, "mapped anew");

    // What is mapped stays right, whoever is gone.
    other.kill();
    assert_eq!(shell.run(&check), pair);
    monitor.execute("quit");
}

/// A path is collected, and a file is cut off, while they are mapped: what the guest sees is right, or
/// an error; never zeros. Neither the VMM nor the server minds.
#[test]
fn files_that_go_or_shrink_while_they_are_mapped_are_right_or_an_error() {
    let (store, large) = store_with_large_file(16);
    let (other, cut) = store_with_large_file(12);
    let server = serve(&store, &["--window", "64M"]);
    let second = serve(&other, &["--window", "64M", "--tag", "other"]);
    let share = format!("{}:other:/mnt/other", second.as_ref().display());
    let mut shell = guest(&server).args(["--share", &share]).shell();
    let there = cut.replace("/nix/store", "/mnt/other");
    // Parts of 1 MiB at 0, 1, 9 and 15 MiB.
    let part = |descriptor: u32, mib: u32| {
        format!("dd if=/proc/self/fd/{descriptor} bs=1M skip={mib} count=1 2>/dev/null | md5sum")
    };
    let expected = |store: &Store, path: &str, mib: u64| {
        let file = store.dir.join(path.trim_start_matches('/'));
        let mut dd = Command::new("sh");
        let line = format!("dd if=\"$0\" bs=1M skip={mib} count=1 2>/dev/null | md5sum");
        output(dd.arg("-c").arg(line).arg(file)).trim().to_owned()
    };
    let (first, last) = (expected(&store, &large, 0), expected(&store, &large, 15));
    let (cut_first, nothing) = (
        expected(&other, &cut, 1),
        // Of no bytes at all.
        "d41d8cd98f00b204e9800998ecf8427e  -",
    );

    assert!(shell.succeeds(&format!("exec 7<{large}")));
    assert!(shell.succeeds(&format!("exec 8<{there}")));
    assert_eq!(shell.run(&part(7, 0)), first);
    assert_eq!(shell.run(&part(8, 1)), cut_first);

    // Collected. What is mapped stays; what is not is right (the server still has the file open) or
    // an error.
    let path = large.trim_end_matches("/large");
    let package = tempfile::tempdir().unwrap();
    let copy = package.path().join("package");
    let whole = output(
        Command::new("cp")
            .arg("-r")
            .arg(store.dir.join(&path[1..]))
            .arg(&copy),
    );
    assert_eq!(whole, "");
    store.op(&["delete", path]);
    assert_eq!(shell.run(&part(7, 0)), first);
    let seen = shell.run(&part(7, 15));
    assert!(seen == last || seen == nothing, "{seen}");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert!(!shell.succeeds(&format!("ls {large}")));
    // And added again.
    assert_eq!(store.op(&["add", copy.to_str().unwrap()]), path);
    let hash_of = |shell: &mut Shell, path: &str| shell.run(&format!("guest-check map {path}"));
    assert_eq!(hash_of(&mut shell, &large), hash(&store, &large));

    // Cut off, below what is mapped. (Nobody may do that to a store; root can.)
    let file = other.dir.join(cut.trim_start_matches('/'));
    let file = std::fs::File::options().write(true).open(file).unwrap();
    file.set_len((9 << 20) + 100).unwrap();
    assert_eq!(shell.run(&part(8, 1)), cut_first, "a copy stays what it is");
    assert_eq!(shell.run(&part(8, 9)), nothing);
    assert!(!shell.succeeds(&format!("guest-check map {there}")));
    assert_eq!(hash_of(&mut shell, &large), hash(&store, &large));
}

/// Where a VMM has no window, nothing is different.
#[test]
fn the_usual_device_has_no_window_and_works() {
    let (store, large) = store_with_large_file(8);
    let server = serve(&store, &[]);
    let log = server.log();
    let (console, _) = Guest::new(Kernel::Qemu, &server).run(&format!("guest-check map {large}"));
    assert_eq!(console.trim(), hash(&store, &large));
    let log = log.lock().unwrap().clone();
    assert!(nodes(&log, "SetupMapping").is_empty());
    assert!(!nodes(&log, "Read").is_empty());
}

/// QEMU's monitor.
struct Monitor {
    stream: BufReader<UnixStream>,
}

impl Monitor {
    fn connect(socket: &std::path::Path) -> Monitor {
        let stream = BufReader::new(UnixStream::connect(socket).unwrap());
        let mut monitor = Monitor { stream };
        monitor.next_line(); // the greeting
        monitor.execute("qmp_capabilities");
        monitor
    }

    fn next_line(&mut self) -> String {
        let mut line = String::new();
        assert_ne!(self.stream.read_line(&mut line).unwrap(), 0, "QEMU is gone");
        line
    }

    fn execute(&mut self, command: &str) {
        let text = format!("{{\"execute\": \"{command}\"}}\n");
        self.stream.get_mut().write_all(text.as_bytes()).unwrap();
        // Events may come between.
        while !self.next_line().contains("\"return\"") {}
    }
}
