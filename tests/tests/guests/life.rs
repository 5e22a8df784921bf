// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The store lives under a running guest: the host adds, builds, collects and optimises.

use super::harness::{Guest, Kernel, Server, Shell, Store};
use std::io::Write;
use std::time::{Duration, Instant};

fn guest(kernel: Kernel, store: &Store) -> (Server, Shell) {
    let server = Server::start(store, &[]);
    let shell = Guest::new(kernel, &server).shell();
    (server, shell)
}

/// A directory on this host that can be added to the store.
fn package(text: &str) -> tempfile::TempDir {
    let dir = tempfile::Builder::new()
        .prefix("package")
        .tempdir()
        .unwrap();
    let package = dir.path().join("package");
    std::fs::create_dir_all(package.join("share")).unwrap();
    std::fs::write(package.join("share/text"), text).unwrap();
    dir
}

fn add(store: &Store, dir: &tempfile::TempDir) -> String {
    store.op(&["add", dir.path().join("package").to_str().unwrap()])
}

fn paths_come_and_go(kernel: Kernel) {
    let store = Store::own(&[]);
    let (_server, mut shell) = guest(kernel, &store);

    // Asked for before it exists; there at once when it does, by name and in the listing.
    let package = package("one\n");
    let path = add(&store, &package);
    store.op(&["delete", &path]);
    assert!(!shell.succeeds(&format!("ls {path}")));
    let listed = format!(
        "ls /nix/store | grep -c {}",
        path.trim_start_matches("/nix/store/")
    );
    assert_eq!(shell.run(&listed), "0");
    assert_eq!(add(&store, &package), path);
    assert_eq!(shell.run(&format!("cat {path}/share/text")), "one");
    std::thread::sleep(Duration::from_millis(1100)); // --root-timeout, for what is listed
    assert_eq!(shell.run(&listed), "1");

    // Names that do not exist in it do not come to exist; those that do stay.
    assert!(!shell.succeeds(&format!("ls {path}/share/absent")));

    // Collected: gone after the timeout. A shell that is inside hears that it is.
    assert!(shell.succeeds(&format!("cd {path}/share")));
    store.op(&["delete", &path]);
    std::thread::sleep(Duration::from_millis(1100));
    assert!(!shell.succeeds(&format!("ls {path}")));
    assert_eq!(shell.run(&listed), "0");
    assert!(!shell.succeeds(&format!("cat {path}/share/text")));

    // Added again under the same name: found again, also by the shell that was inside.
    assert_eq!(add(&store, &package), path);
    assert_eq!(shell.run(&format!("cd /; cat {path}/share/text")), "one");
    assert_eq!(
        shell.run(&format!("stat -c '%a %Y %u' {path} {path}/share/text")),
        "555 1 0\n444 1 0"
    );
}

#[test]
fn paths_come_and_go_under_qemu() {
    paths_come_and_go(Kernel::Qemu);
}

#[test]
fn paths_come_and_go_under_uml() {
    paths_come_and_go(Kernel::Uml);
}

/// A path that grows under its final name is seen growing, then final.
#[test]
fn a_slow_build_is_watched() {
    let store = Store::own(&[]);
    let (_server, mut shell) = guest(Kernel::Uml, &store);
    let mut build = store.op_in_background(&["slow-build", "slow", "4", "100"]);
    let mut path = String::new();
    std::io::BufRead::read_line(
        &mut std::io::BufReader::new(build.stdout.take().unwrap()),
        &mut path,
    )
    .unwrap();
    let path = path.trim();
    let end = Instant::now() + Duration::from_secs(30);
    let mut counts = Vec::new();
    let mut first_absent = None;
    loop {
        let count: u32 = shell
            .run(&format!("ls {path} 2>/dev/null | wc -l"))
            .parse()
            .unwrap();
        if count > 0 && count < 100 {
            // The last file is not there yet, and saying so must not be remembered.
            first_absent.get_or_insert_with(|| !shell.succeeds(&format!("cat {path}/file-99")));
            // A file that is there is read right while others are written.
            assert_eq!(shell.run(&format!("cat {path}/file-0")), "file 0");
        }
        if counts.last() != Some(&count) {
            counts.push(count);
        }
        if build.try_wait().unwrap().is_some() {
            break;
        }
        assert!(Instant::now() < end, "{counts:?}");
    }
    assert!(counts.len() > 4, "it was seen growing: {counts:?}");
    assert_eq!(first_absent, Some(true), "{counts:?}");
    assert_eq!(shell.run(&format!("cat {path}/file-99")), "file 99");
    assert_eq!(shell.run(&format!("ls {path} | wc -l")), "100");
    assert_eq!(
        shell.run(&format!("stat -c '%a %Y' {path}/file-99")),
        "444 1"
    );
}

/// Equal files become one inode; what guests have open or will open stays what it is.
#[test]
fn optimising_changes_nothing_a_guest_sees() {
    let store = Store::own(&[]);
    let (_server, mut shell) = guest(Kernel::Uml, &store);
    let twins: Vec<_> = (0..2)
        .map(|i| {
            let dir = package("the same in both\n");
            let mut own = std::fs::File::create(dir.path().join("package/own")).unwrap();
            write!(own, "{i}").unwrap();
            add(&store, &dir)
        })
        .collect();
    let inode = |path: &str| {
        let file = store
            .dir
            .join(path.trim_start_matches('/'))
            .join("share/text");
        std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(file).unwrap())
    };
    assert_ne!(inode(&twins[0]), inode(&twins[1]));
    // One is known and open, the other is not known.
    assert!(shell.succeeds(&format!("exec 7<{}/share/text", twins[0])));
    assert!(shell.succeeds(&format!("exec 8<{}/share/text", twins[1])));
    store.op(&["optimise"]);
    assert_eq!(inode(&twins[0]), inode(&twins[1]), "Nix has linked them");
    for fd in [7, 8] {
        assert_eq!(shell.run(&format!("cat <&{fd}")), "the same in both");
    }
    for twin in &twins {
        assert_eq!(
            shell.run(&format!("cat {twin}/share/text")),
            "the same in both"
        );
    }
    assert_eq!(shell.run("ls -a /nix/store | grep -cx .links"), "0");
}
