// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Everything that is in the store is in the guest, and right, byte by byte.

use super::harness::{Guest, Kernel, Mount, Server, Store, difference, guest_check, output};
use std::process::Command;

/// All names below a directory, by busybox, on both sides: other finds print some names otherwise.
fn find_sorted(dir: &str) -> String {
    format!(
        "cd {dir} && busybox find . -path './.links' -prune -o -print | LC_ALL=C busybox sort \
         | busybox md5sum"
    )
}

/// Names, types, modes, sizes, targets and contents of over 100,000 entries; a directory of
/// 50,000; names of 255 bytes and of any bytes; directories 150 deep and paths of 3,000 bytes.
fn whole_tree(kernel: Kernel) {
    let store = Store::large();
    let server = Server::start(&store, &[]);
    let many = store.path("many");
    let script = format!(
        "guest-check tree /nix/store >/dev/rofs-out || exit
        guest-check names {many} && {}
        # What was asked once is not asked again, and still the same.
        {}",
        find_sorted("/nix/store"),
        find_sorted("/nix/store"),
    );
    let (console, out) = Guest::new(kernel, &server).run(&script);
    let here = store.tree();
    assert!(here.lines().count() > 100_000);
    if let Some(difference) = difference(&out, &here) {
        panic!("the guest sees\n{difference}");
    }
    let root = store.root();
    let many = store.dir.join(many.trim_start_matches('/'));
    let names = output(Command::new(guest_check()).arg("names").arg(many));
    assert!(names.starts_with("50000 "));
    let mut find = Command::new("sh");
    let find = output(find.args(["-c", &find_sorted(".")]).current_dir(root));
    assert_eq!(console.trim(), format!("{names}{find}{find}").trim());
    assert!(
        server.wait().success(),
        "the server ends well when its client goes"
    );
}

#[test]
fn qemu_sees_the_whole_tree() {
    whole_tree(Kernel::Qemu);
}

#[test]
fn uml_sees_the_whole_tree() {
    whole_tree(Kernel::Uml);
}

#[test]
fn this_host_sees_the_whole_tree() {
    let store = Store::large();
    let mount = Mount::start(&store);
    for _ in 0..2 {
        let there = output(Command::new(guest_check()).arg("tree").arg(mount.path()));
        if let Some(difference) = difference(&there, &store.tree()) {
            panic!("in the mount there is\n{difference}");
        }
    }
}

/// Programs run from the share, files are mapped from it, and files beyond 4 GiB have their ends.
fn programs_and_large_files(kernel: Kernel) {
    let store = Store::own(&["2000", "--big"]);
    let server = Server::start(&store, &[]);
    let (hello, links) = (store.path("hello"), store.path("links"));
    let (files, sparse) = (store.path("files"), store.path("sparse"));
    let busybox = store.path("busybox");
    let offsets = "0 4294967280 4294967296 5368709104";
    let (console, _) = Guest::new(kernel, &server).run(&format!(
        "{hello}/bin/hello && {links}/hello && {busybox}/bin/expr 6 '*' 7 || exit
        PATH={busybox}/bin:$PATH ls -l {sparse}/sparse | awk '{{ print $5 }}'
        guest-check at {sparse}/sparse {offsets}
        for size in 4095 65537 1048577 8388609; do guest-check map {files}/size-$size; done
        # Nothing can be changed, by nobody.
        mount -o remount,rw /nix/store 2>/dev/null
        for change in 'touch {hello}/bin/hello' 'rm -r {hello}' 'mkdir {hello}/new' \\
            'chmod 777 {hello}' 'mv {hello} {hello}x' 'ln -s x {hello}/x' 'ln {hello}/bin/hello {hello}/y' \\
            'dd if=/dev/zero of={hello}/bin/hello' 'mkfifo {hello}/fifo' 'truncate -s 0 {hello}/bin/hello'
        do
            if $change 2>/tmp/error; then echo \"changed: $change\"; fi
            grep -q 'Read-only file system' /tmp/error || cat /tmp/error
        done
        {hello}/bin/hello"
    ));
    let host = |path: &str| store.dir.join(path.trim_start_matches('/'));
    let mut expected = "Hello from the store.\nHello from the store.\n42\n5368709120\n".to_owned();
    let check = |args: &[&str], path: &str| {
        let mut command = Command::new(guest_check());
        output(command.arg(args[0]).arg(host(path)).args(&args[1..]))
    };
    let offsets: Vec<_> = std::iter::once("at").chain(offsets.split(' ')).collect();
    expected += &check(&offsets, &format!("{sparse}/sparse"));
    for size in [4095, 65_537, 1_048_577, 8_388_609] {
        expected += &check(&["map"], &format!("{files}/size-{size}"));
    }
    expected += "Hello from the store.";
    assert_eq!(console.trim(), expected);
}

#[test]
fn qemu_runs_programs_and_reads_large_files() {
    programs_and_large_files(Kernel::Qemu);
}

#[test]
fn uml_runs_programs_and_reads_large_files() {
    programs_and_large_files(Kernel::Uml);
}

#[test]
fn this_host_runs_programs_and_reads_large_files() {
    let store = Store::own(&["2000", "--big"]);
    let mount = Mount::start(&store);
    let (busybox, sparse) = (store.path("busybox"), store.path("sparse"));
    let files = store.path("files");
    let here = |path: &str| mount.path().join(path.trim_start_matches("/nix/store/"));
    let host = |path: &str| store.dir.join(path.trim_start_matches('/'));

    let busybox = here(&busybox).join("bin/busybox");
    assert_eq!(
        output(Command::new(&busybox).args(["expr", "6", "*", "7"])),
        "42\n"
    );
    assert_eq!(
        std::fs::metadata(here(&sparse).join("sparse"))
            .unwrap()
            .len(),
        5 << 30
    );
    let check = |args: &[&str], path: std::path::PathBuf| {
        output(
            Command::new(guest_check())
                .arg(args[0])
                .arg(path)
                .args(&args[1..]),
        )
    };
    let at = ["at", "0", "4294967280", "4294967296", "5368709104"];
    assert_eq!(
        check(&at, here(&sparse).join("sparse")),
        check(&at, host(&sparse).join("sparse"))
    );
    for size in [4095, 65_537, 1_048_577, 8_388_609] {
        let name = format!("size-{size}");
        assert_eq!(
            check(&["map"], here(&files).join(&name)),
            check(&["map"], host(&files).join(&name))
        );
    }
    let find = |dir: &std::path::Path| {
        let mut find = Command::new("sh");
        output(find.args(["-c", &find_sorted(".")]).current_dir(dir))
    };
    assert_eq!(find(mount.path()), find(&store.root()));
    for change in ["touch x", "mkdir x", "rm -r *", "mv * y"] {
        let status = Command::new("sh")
            .args(["-c", change])
            .current_dir(mount.path())
            .stderr(std::process::Stdio::null())
            .status();
        assert!(!status.unwrap().success(), "{change}");
    }
}

/// However much a guest has seen, hardly anything is open for it.
#[test]
fn no_descriptor_is_held_per_file() {
    let store = Store::large();
    let server = Server::start(&store, &["--sandbox", "none"]);
    let mut shell = Guest::new(Kernel::Uml, &server).shell();
    shell.run("find /nix/store/*-many -type f -exec cat {} + >/dev/null");
    assert!(shell.run("ls /nix/store | wc -l").parse::<u32>().unwrap() > 40);
    let open = server.descriptors();
    assert!(open <= 64 + 8 + 256, "{open} descriptors");
}
