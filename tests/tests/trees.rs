// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A real directory behind the device.

use std::os::unix::fs::symlink;
use std::sync::Arc;

use rofs_tests::frontend::{FrontEnd, Vmm};
use rofs_tests::fuse::{Client, ROOT};
use rofs_tests::share::Share;
use virtiofs::store::{PlainOptions, PlainTree, open_root};

#[test]
fn a_directory_is_read_and_not_left() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "secret").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let shared = dir.path();
    let content: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(shared.join("file"), &content).unwrap();
    std::fs::create_dir(shared.join("many")).unwrap();
    for number in 0..1000 {
        std::fs::write(shared.join(format!("many/{number:04}")), "").unwrap();
    }
    symlink(outside.path(), shared.join("way-out")).unwrap();

    let tree = PlainTree::new(open_root(shared).unwrap(), PlainOptions::default()).unwrap();
    let share = Share::with_tag(Arc::new(tree), "plain", 1);
    let mut front = FrontEnd::start(share.socket(), Vmm::Qemu, 1);
    let mut client = Client::new(&mut front, 1);
    client.init();

    let file = client.lookup(ROOT, b"file").unwrap();
    assert_eq!(client.getattr(file).unwrap().1, content.len() as u64);
    let mut read = Vec::new();
    while read.len() < content.len() {
        read.extend(client.read(file, read.len() as u64, 128 << 10).unwrap());
    }
    assert!(read == content);
    assert_eq!(
        client
            .read(file, content.len() as u64 - 3, 4096)
            .unwrap()
            .len(),
        3
    );

    let many = client.lookup(ROOT, b"many").unwrap();
    let mut names: Vec<_> = client
        .readdir(many, 4096)
        .unwrap()
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    names.retain(|name| !name.starts_with(b"."));
    names.sort();
    let expected: Vec<_> = (0..1000)
        .map(|number| format!("{number:04}").into_bytes())
        .collect();
    assert_eq!(names, expected);

    // The link is the guest's to follow, in its own tree.
    let way_out = client.lookup(ROOT, b"way-out").unwrap();
    let target = client.readlink(way_out).unwrap();
    assert_eq!(target, outside.path().as_os_str().as_encoded_bytes());
    for name in [&b"secret"[..], b".", b"..", b"../secret"] {
        assert!(
            client.lookup(way_out, name).is_err(),
            "{:?}",
            String::from_utf8_lossy(name)
        );
    }
    client.readdir_from(way_out, 0, 4096).unwrap_err();
    client.read(way_out, 0, 4096).unwrap_err();
}
