// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Disks.

use super::super::args::{Args, Opts};
use super::super::machine::Disk;
use super::Machine;

pub(super) fn add(args: &mut Args, machine: &Machine<'_>) {
    for (i, disk) in machine.disks.iter().enumerate() {
        let node = format!("disk{i}");
        args.option("-blockdev", block(disk, &node, machine.host.io_uring));
        let device = Opts::of("virtio-blk-pci")
            .set("drive", &node)
            .maybe("serial", disk.serial.as_ref());
        args.option("-device", device);
    }
}

/// The format is always said: a guest that can choose it by what it writes could name files of the
/// host in it.
fn block(disk: &Disk, node: &str, io_uring: bool) -> Opts {
    let driver = match disk.format {
        "vhd" => "vpc",
        format => format,
    };
    let direct = if disk.direct { "on" } else { "off" };
    Opts::of("")
        .set("driver", driver)
        .set("node-name", node)
        .switch("read-only", disk.read_only)
        .set("discard", "unmap")
        .set("cache.direct", direct)
        .set("file.driver", "file")
        .path("file.filename", &disk.image)
        .set("file.aio", if io_uring { "io_uring" } else { "threads" })
        .set("file.cache.direct", direct)
        .set("file.discard", "unmap")
}
