// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A guest that is shown a closure of a real store.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use super::harness::{Guest, Kernel, Server, Store};

fn name(path: &str) -> &str {
    path.trim_start_matches("/nix/store/")
}

fn names(text: &str) -> BTreeSet<&str> {
    text.lines().map(name).collect()
}

/// A path and what it refers to, as Nix says, and nothing else.
fn lists_exactly_the_closure(kernel: Kernel) {
    let store = Store::own(&[]);
    let hello = store.path("hello");
    let server = Server::start(&store, &["--closure", &hello]);
    let files = store.path("files");
    let (console, _) = Guest::new(kernel, &server).run(&format!(
        "{hello}/bin/hello && ls -A /nix/store && echo END
        ls {files} {files}-not 2>&1 | sed 's/-not//' | uniq -c"
    ));
    let closure = store.op(&["nix", "nix-store", "--query", "--requisites", &hello]);
    let (console, hidden) = console.split_once("END\n").unwrap();
    let (greeting, listed) = console.trim_start().split_once('\n').unwrap();
    assert!(greeting.contains("ello"), "{greeting}");
    assert_eq!(names(listed), names(&closure));
    assert!(names(listed).len() > 1);
    assert!(fs::read_dir(store.root()).unwrap().count() > names(listed).len() + 1);
    // What is hidden and what is not there: word for word the same.
    assert_eq!(hidden.lines().count(), 1, "{hidden}");
    assert!(hidden.trim().starts_with("2 "), "{hidden}");
}

#[test]
fn uml_lists_exactly_the_closure() {
    lists_exactly_the_closure(Kernel::Uml);
}

#[test]
fn qemu_lists_exactly_the_closure() {
    lists_exactly_the_closure(Kernel::Qemu);
}

/// A list that is written anew while the guest runs.
#[test]
fn the_list_changes_under_a_guest() {
    let store = Store::own(&[]);
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("list");
    let (hello, files, busybox) = (
        store.path("hello"),
        store.path("files"),
        store.path("busybox"),
    );
    fs::write(&list, format!("# what it may see\n{hello}\n\n{busybox}\n")).unwrap();
    let server = Server::start(&store, &["--closure", list.to_str().unwrap()]);
    let mut shell = Guest::new(Kernel::Uml, &server).shell();
    let listed = |paths: &[&str]| {
        paths
            .iter()
            .map(|p| name(p).to_owned())
            .collect::<BTreeSet<_>>()
    };
    let ls = |shell: &mut super::harness::Shell| -> BTreeSet<String> {
        let all = shell.run("ls -A /nix/store");
        all.lines().map(str::to_owned).collect()
    };
    assert_eq!(ls(&mut shell), listed(&[&hello, &busybox]));
    assert!(!shell.succeeds(&format!("ls {files}")));
    assert!(shell.succeeds(&format!("cd {hello}")));

    let new = dir.path().join("new");
    fs::write(&new, format!("{files}\n{busybox}\n")).unwrap();
    fs::rename(&new, &list).unwrap();
    std::thread::sleep(Duration::from_millis(2500)); // --root-timeout, and the news on its way
    assert_eq!(ls(&mut shell), listed(&[&files, &busybox]));
    assert!(shell.succeeds(&format!("ls {files}")));
    assert!(!shell.succeeds(&format!("ls {hello}")));
    // Where the shell is, nothing can be looked up any more.
    assert!(!shell.succeeds("cat ./bin/absent"));

    // A list that is wrong changes nothing.
    fs::write(&list, "no store path\n").unwrap();
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(ls(&mut shell), listed(&[&files, &busybox]));
}
