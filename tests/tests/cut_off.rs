// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A VMM makes the memory of its guest shorter while the server has it mapped. The real server,
//! sandbox and filter included: touching what is gone must not end it.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rofs_tests::driver::Buffer;
use rofs_tests::frontend::{FrontEnd, Vmm};
use rofs_tests::fuse::{Client, ROOT, opcode};
use rofs_tests::share::{eventually, listens, rofs_serve};

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn memory_that_is_cut_off_ends_nothing_but_its_own_device() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    std::fs::create_dir(&store).unwrap();
    std::fs::write(store.join("file"), "text").unwrap();
    let socket = |name: &str| dir.path().join(name);
    let mut command = Command::new(rofs_serve());
    command.arg("--keep");
    for name in ["a", "b"] {
        command.arg("--socket-path").arg(socket(name));
        command
            .arg("--shared-dir")
            .arg(&store)
            .args(["--queues", "1"]);
        command.args(["--layout", "plain", "--cache", "never"]);
    }
    let mut server = Server(command.stderr(Stdio::null()).spawn().unwrap());
    assert!(eventually(|| ["a", "b"]
        .iter()
        .all(|name| listens(&socket(name)))));

    let use_it = |front: &mut FrontEnd| {
        let mut client = Client::new(front, 1);
        client.init();
        let file = client.lookup(ROOT, b"file").unwrap();
        assert_eq!(client.read(file, 0, 100).unwrap(), b"text");
    };
    let mut other = FrontEnd::start(&socket("b"), Vmm::Qemu, 1);
    use_it(&mut other);

    // Only the buffers of a request: it is answered, whatever it is now.
    let mut front = FrontEnd::start(&socket("a"), Vmm::Qemu, 1);
    use_it(&mut front);
    let (request, reply) = (front.guest.allocate(4096), front.guest.allocate(4096));
    front.guest.file().set_len(request).unwrap();
    let buffer = |at, len, write| Buffer { at, len, write };
    front.queues[1].submit(&[buffer(request, 56, false), buffer(reply, 120, true)]);
    front.queues[1].kick();
    let used = front.queues[1].wait_used(Duration::from_secs(60));
    assert!(used.is_some(), "the request was never given back");

    // The rings themselves. What is asked for after that has no answer; the server has to live.
    front.guest.file().set_len(0).unwrap();
    front.queues[1].kick();
    front.queues[0].kick();
    use_it(&mut other);
    std::thread::sleep(Duration::from_millis(200));
    front.settle();
    use_it(&mut other);
    assert_eq!(server.0.try_wait().unwrap(), None, "the server has ended");

    // The next client of the same socket is served.
    drop(front);
    let mut front = FrontEnd::start(&socket("a"), Vmm::Qemu, 1);
    use_it(&mut front);
    let mut client = Client::new(&mut other, 1);
    assert_eq!(client.call(opcode::STATFS, ROOT, &[], 80).error, 0);
}
