// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The guest's memory.

use super::super::args::{Args, Opts};
use super::Machine;

pub(super) fn add(args: &mut Args, machine: &Machine<'_>) {
    let description = machine.description;
    let hotplug = description.hotplug_mem;
    let most =
        (hotplug > 0).then(|| format!("{}M", u64::from(description.mem) + u64::from(hotplug)));
    args.option(
        "-m",
        Opts::of(&format!("{}M", description.mem)).maybe("maxmem", most),
    );
    if needs_backend(machine) {
        args.option("-object", backend(machine, "mem", description.mem));
    }
    if hotplug > 0 {
        let there = description.hotplugged_mem.unwrap_or(hotplug);
        args.option("-object", backend(machine, "hotplug", hotplug));
        let device = Opts::of("virtio-mem-pci")
            .set("id", "virtiomem0")
            .set("memdev", "hotplug");
        args.option("-device", device.set("requested-size", format!("{there}M")));
    }
}

/// Names the memory to the machine.
pub(super) fn machine_option(options: Opts, machine: &Machine<'_>) -> Opts {
    if needs_backend(machine) {
        options.set("memory-backend", "mem")
    } else {
        options
    }
}

fn needs_backend(machine: &Machine<'_>) -> bool {
    machine.memory_is_shared() || machine.description.hugepage_mem
}

/// All of it has to be shared, what is added later too: a vhost-user device may be given any of it.
fn backend(machine: &Machine<'_>, id: &str, mib: u32) -> Opts {
    let shared = machine.memory_is_shared();
    let huge = machine.description.hugepage_mem;
    let kind = if shared || huge {
        "memory-backend-memfd"
    } else {
        "memory-backend-ram"
    };
    let size = format!("{mib}M");
    Opts::of(kind)
        .set("id", id)
        .set("size", size)
        .when(shared, "share")
        .when(huge, "hugetlb")
}
