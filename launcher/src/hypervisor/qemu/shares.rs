// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Directories of the host.

use super::super::args::{Args, Opts};
use super::super::machine::FsDevice;
use super::Machine;
use crate::description::SecurityModel;

/// The device type of virtio-fs (virtio 1.3, 5.11).
const VIRTIO_ID_FS: u32 = 26;

/// Size of its configuration: 36 bytes of tag, 4 of queues.
const CONFIG_SIZE: u32 = 40;

/// The longest ring that QEMU allows: one request can then be a mebibyte and more.
const RING: u32 = 1024;

pub(super) fn add(args: &mut Args, machine: &Machine<'_>) {
    for (i, fs) in machine.fs.iter().enumerate() {
        let id = format!("fs{i}");
        // No `reconnect`: QEMU then does not even start with a device of this kind.
        args.option(
            "-chardev",
            Opts::of("socket").set("id", &id).path("path", &fs.socket),
        );
        args.option("-device", device(fs, &id));
    }
    for (i, share) in machine.ninep.iter().enumerate() {
        let id = format!("ninep{i}");
        let model = match share.security_model {
            SecurityModel::Passthrough => "passthrough",
            SecurityModel::None => "none",
            SecurityModel::Mapped => "mapped",
            SecurityModel::MappedFile => "mapped-file",
        };
        let fsdev = Opts::of("local")
            .set("id", &id)
            .path("path", &share.source)
            .set("security_model", model)
            .switch("readonly", share.read_only)
            // Files of several file systems below the share keep different inode numbers.
            .set("multidevs", "remap");
        args.option("-fsdev", fsdev);
        args.option(
            "-device",
            Opts::of("virtio-9p-pci")
                .set("fsdev", &id)
                .set("mount_tag", &share.tag),
        );
    }
}

fn device(fs: &FsDevice, chardev: &str) -> Opts {
    if fs.dax {
        // The only one of QEMU's devices with shared memory regions. Tag and number of queues come
        // from the server.
        return Opts::of("vhost-user-test-device-pci")
            .set("chardev", chardev)
            .set("virtio-id", VIRTIO_ID_FS)
            .set("num_vqs", u32::from(fs.request_queues) + 1)
            .set("vq_size", RING)
            .set("config_size", CONFIG_SIZE);
    }
    Opts::of("vhost-user-fs-pci")
        .set("chardev", chardev)
        .set("tag", &fs.tag)
        .set("num-request-queues", fs.request_queues)
        .set("queue-size", RING)
}
