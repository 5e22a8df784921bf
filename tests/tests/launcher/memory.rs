// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Memory that comes and goes while a guest runs.

use crate::harness::Place;
use crate::world::{Machine, busybox, eventually, one_program, text};

/// MiB that the guest's kernel counts.
fn total(machine: &Machine<'_>) -> u32 {
    let sh =
        "while read -r key value _; do [ $key = MemTotal: ] && echo $value; done </proc/meminfo";
    let output = machine.exec(&[&busybox(), "sh", "-c", sh]);
    let said = text(&output.stdout);
    said.trim().parse::<u32>().expect(&said) / 1024
}

#[test]
fn guests_memory_grows_and_has_a_balloon() {
    let place = Place::new();
    let more = "qemu.machine = \"q35\"\nballoon = true\nhotplugMem = 256\nhotpluggedMem = 128\n";
    let description = format!("{more}{}", one_program("sleep 1000"));
    let machine = Machine::new(&place, "memory", &description);
    machine.start();
    // Of the 384 MiB it has from the start the kernel keeps some.
    eventually("128 MiB more are there", || total(&machine) > 384);
    assert!(total(&machine) <= 384 + 128);
    let drivers = machine.exec(&[
        &busybox(),
        "sh",
        "-c",
        "cd /sys/bus/virtio/drivers; echo virtio_balloon/virtio* virtio_mem/virtio*",
    ]);
    let bound = text(&drivers.stdout);
    assert!(!bound.contains('*'), "{bound}");
    machine.stop();
}
