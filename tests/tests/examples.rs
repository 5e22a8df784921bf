// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The library's examples do what they say.

use rofs_tests::frontend::{FrontEnd, Vmm};
use rofs_tests::memfs::MemFs;
use rofs_tests::share::{eventually, listens};

use crate::handshake::use_the_file_system;

#[allow(dead_code, unreachable_pub)]
#[path = "../../virtiofs/examples/embedded.rs"]
mod embedded;
#[allow(dead_code, unreachable_pub)]
#[path = "../../virtiofs/examples/vhost_user_backend.rs"]
mod vhost_user_backend;

#[test]
fn a_vmm_with_the_server_inside_maps_a_file() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("in")).unwrap();
    // More than a range, of which the first is shown.
    let content: Vec<u8> = (0..3u32 << 18).flat_map(u32::to_le_bytes).collect();
    std::fs::write(dir.path().join("in/file"), &content).unwrap();
    let seen = embedded::map_and_read(dir.path(), "in/file".as_ref()).unwrap();
    assert!(seen == content[..2 << 20]);
    assert!(embedded::map_and_read(dir.path(), "in/none".as_ref()).is_err());
}

#[test]
fn the_standard_daemon_can_be_the_transport() {
    // Who can do with one queue and a table of memory.
    for vmm in [Vmm::Qemu, Vmm::QemuTestDevice, Vmm::Crosvm, Vmm::Libkrun] {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("socket");
        let path = socket.clone();
        let serve = move || {
            vhost_user_backend::serve(&path, MemFs::sample(), "tag").map_err(|e| e.to_string())
        };
        let server = std::thread::spawn(serve);
        assert!(eventually(|| listens(&socket)));
        let mut front = FrontEnd::start(&socket, vmm, 1);
        if vmm.wants_config() {
            assert_eq!(front.config(0, 40)[..4], *b"tag\0");
            assert_eq!(front.config(36, 8), [1, 0, 0, 0, 0, 0, 0, 0]);
        }
        use_the_file_system(&mut front, 1);
        drop(front);
        assert_eq!(server.join().unwrap(), Ok(()), "{vmm:?}");
    }
}
