// SPDX-License-Identifier: Apache-2.0 OR MIT
//! While a disk keeps one request waiting, the others of the same queue are answered.

use std::os::unix::fs::symlink;

use rofs_tests::channel::PATIENCE;
use rofs_tests::driver::Buffer;
use rofs_tests::frontend::{FrontEnd, Vmm};
use rofs_tests::fuse::{Client, ROOT, message, opcode, read_in};
use rofs_tests::settled::settle;
use rofs_tests::share::Share;
use rofs_tests::slow::SlowDisk;
use virtiofs::store::{NixOptions, NixStore, open_root};

const PATH: &str = "0c5b8vw40d1178xlpddw65q9gf1h2186-package";
const CONTENT: &[u8] = b"It was worth waiting for.";

/// A store of one path.
fn store() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().join(PATH);
    std::fs::create_dir(&top).unwrap();
    for name in ["slow", "other"] {
        std::fs::write(top.join(name), CONTENT).unwrap();
        settle(&top.join(name), 0o444).unwrap();
    }
    symlink("slow", top.join("link")).unwrap();
    settle(&top.join("link"), 0).unwrap();
    settle(&top, 0o555).unwrap();
    dir
}

#[test]
fn metadata_does_not_wait_for_a_slow_disk() {
    let dir = store();
    let disk = SlowDisk::mount(dir.path());
    let store = NixStore::new(open_root(&disk.path()).unwrap(), NixOptions::default()).unwrap();
    let mut share = Share::with_tag(std::sync::Arc::new(store), "slow", 1);
    let mut front = FrontEnd::start(share.socket(), Vmm::Qemu, 1);
    let guest = front.guest.clone();
    let mut client = Client::new(&mut front, 1);
    client.init();
    let top = client.lookup(ROOT, PATH.as_bytes()).unwrap();
    let slow = client.lookup(top, b"slow").unwrap();
    let link = client.lookup(top, b"link").unwrap();

    // One READ stands before the gate, and stays there.
    disk.gate().close();
    let read = message(opcode::READ, slow, 77, &read_in(0, 4096));
    let (request, reply) = (guest.allocate(4096), guest.allocate(8192));
    guest.write(request, &read);
    let buffers = [
        (request, read.len() as u32, false),
        (reply, 16 + 4096, true),
    ]
    .map(|(at, len, write)| Buffer { at, len, write });
    let driver = &mut client.front().queues[1];
    let head = driver.submit(&buffers);
    driver.kick();
    disk.gate().wait_for(1);

    // Everything else is answered meanwhile, by the same queue.
    for _ in 0..100 {
        assert_eq!(client.lookup(ROOT, PATH.as_bytes()), Ok(top));
        assert_eq!(client.lookup(top, b"slow"), Ok(slow));
        assert!(client.lookup(top, b"missing").unwrap_or(0) == 0);
        assert_eq!(client.getattr(slow).unwrap().1, CONTENT.len() as u64);
        assert_eq!(client.readlink(link).unwrap(), b"slow");
        assert_eq!(client.readdir(top, 4096).unwrap().len(), 5);
    }
    assert_eq!(client.front().queues[1].try_used(), None, "it did not wait");

    disk.gate().open();
    let used = client.front().queues[1].wait_used(PATIENCE).unwrap();
    assert_eq!(used.id, u32::from(head));
    assert_eq!(guest.read(reply + 16, used.len as usize - 16), CONTENT);
    // Before the disk goes: it is open in there.
    drop(front);
    share.stop();
}
