// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A share that shows a closure, beside one that shows all: byte for byte, what is hidden answers
//! as what was never there.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use rofs_tests::frontend::{FrontEnd, Vmm};
use rofs_tests::fuse::{Client, ROOT, opcode, read_in};
use rofs_tests::share::Share;
use virtiofs::store::{Closure, NixOptions, NixStore, open_root};

const HASH: &str = "0c5b8vw40d1178xlpddw65q9gf1h2186";
/// A node id that never was, in the same store path as `node`.
const fn never_was(node: u64) -> u64 {
    node ^ 0x55
}

fn name(name: &str) -> Vec<u8> {
    format!("{HASH}-{name}").into_bytes()
}

/// A path with a directory, a program and a link in it, settled as Nix does, but for `live` ones.
fn add(store: &Path, path: &str, live: bool) {
    let top = store.join(format!("{HASH}-{path}"));
    std::fs::create_dir_all(top.join("bin")).unwrap();
    std::fs::write(top.join("bin/tool"), "#!/bin/sh\n").unwrap();
    std::os::unix::fs::symlink("tool", top.join("bin/alias")).unwrap();
    if !live {
        let settle = "chmod -R a-w \"$0\" && find \"$0\" -exec touch -h -d @1 {} +";
        let status = std::process::Command::new("sh")
            .args(["-c", settle])
            .arg(&top)
            .status();
        assert!(status.unwrap().success());
    }
}

/// The top, a directory, a file and a link of a path, and what a client has that has used them.
fn nodes(client: &mut Client<'_>, path: &str) -> [u64; 4] {
    let top = client.lookup(ROOT, &name(path)).unwrap();
    let bin = client.lookup(top, b"bin").unwrap();
    let tool = client.lookup(bin, b"tool").unwrap();
    let alias = client.lookup(bin, b"alias").unwrap();
    assert_eq!(client.read(tool, 0, 100).unwrap(), b"#!/bin/sh\n");
    assert_eq!(client.readlink(alias).unwrap(), b"tool");
    assert_eq!(client.readdir(bin, 4096).unwrap().len(), 4);
    [top, bin, tool, alias]
}

/// Error and body of the reply to every opcode there is, with bodies that mean something and with
/// none.
fn all_replies(client: &mut Client<'_>, node: u64) -> Vec<(u32, i32, Vec<u8>)> {
    let mut replies = Vec::new();
    let session = [
        opcode::INIT,
        opcode::DESTROY,
        opcode::FORGET,
        opcode::BATCH_FORGET,
    ];
    for opcode in (1..60).filter(|opcode| !session.contains(opcode)) {
        for body in [&b"bin\0"[..], b"tool\0", &[0; 16], &read_in(0, 4096), b""] {
            let reply = client.call(opcode, node, body, 4096);
            replies.push((opcode, reply.error, reply.body));
        }
    }
    replies
}

/// All that can be asked without knowing a node of a store path.
fn outside(client: &mut Client<'_>, path: &str) -> Vec<(i32, Vec<u8>)> {
    let mut replies = Vec::new();
    let path = [&name(path)[..], b"\0"].concat();
    for (opcode, body) in [
        (opcode::LOOKUP, path),
        (opcode::GETATTR, vec![0; 16]),
        (opcode::READDIR, read_in(0, 4096)),
        (opcode::READDIRPLUS, read_in(0, 4096)),
        (opcode::STATFS, Vec::new()),
    ] {
        let reply = client.call(opcode, ROOT, &body, 4096);
        replies.push((reply.error, reply.body));
    }
    replies
}

fn names(client: &mut Client<'_>) -> BTreeSet<Vec<u8>> {
    let entries = client.readdir(ROOT, 4096).unwrap();
    entries.into_iter().map(|entry| entry.name).collect()
}

#[test]
fn hidden_is_as_never_there() {
    let dir = tempfile::tempdir().unwrap();
    add(dir.path(), "shown", false);
    add(dir.path(), "other", false);
    let all = NixStore::new(open_root(dir.path()).unwrap(), NixOptions::default()).unwrap();
    let set = Closure::new([name("shown"), name("to-come")]).unwrap();
    let some = all.restricted_to(&set);
    let (all, some) = (
        Share::with_tag(Arc::new(all), "all", 1),
        Share::with_tag(Arc::new(some), "some", 1),
    );
    let mut all = FrontEnd::start(all.socket(), Vmm::Qemu, 1);
    let mut all = Client::new(&mut all, 1);
    all.init();
    let mut some = FrontEnd::start(some.socket(), Vmm::Qemu, 1);
    let mut some = Client::new(&mut some, 1);
    some.init();

    // A share in which the path is not there yet, and the same one when it is, but hidden.
    let missing = outside(&mut some, "hidden");
    add(dir.path(), "hidden", false);
    add(dir.path(), "hidden-live", true);
    assert_eq!(outside(&mut some, "hidden"), missing);
    let mut hidden = Vec::new();
    for path in ["hidden", "hidden-live", "other"] {
        hidden.extend(nodes(&mut all, path));
        assert_eq!(outside(&mut some, path), missing);
    }
    // Node ids are made of names: a guest may guess them, or have them from another guest.
    let never = all_replies(&mut some, never_was(hidden[0]));
    assert!(never.contains(&(opcode::GETATTR, -libc::ESTALE, Vec::new())));
    assert!(never.contains(&(opcode::READ, -libc::ESTALE, Vec::new())));
    for node in hidden {
        assert_eq!(all_replies(&mut some, node), never, "{node:#x}");
    }
    let shown = nodes(&mut some, "shown");
    assert_eq!(nodes(&mut all, "shown"), shown);

    // Another set: what was shown is as never there, what was hidden is there.
    set.replace([name("other")]).unwrap();
    for node in shown {
        assert_eq!(all_replies(&mut some, node), never, "{node:#x}");
    }
    let names_now = names(&mut some);
    assert_eq!(
        names_now,
        [b".".to_vec(), b"..".to_vec(), name("other")].into()
    );
    nodes(&mut some, "other");
    assert_eq!(some.lookup(ROOT, &name("shown")), Err(libc::ENOENT));
    set.replace([name("shown")]).unwrap();
    assert_eq!(nodes(&mut some, "shown"), shown, "and back");
}
