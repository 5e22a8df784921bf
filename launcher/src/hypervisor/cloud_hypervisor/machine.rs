// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Processor, memory, kernel, firmware tables.

use std::path::Path;

use super::super::args::{Args, Opts};
use super::Machine;
use crate::description::Description;
use crate::refusal::Refusal;

pub(super) fn add(args: &mut Args, machine: &Machine<'_>) {
    let description = machine.description;
    args.option(
        "--api-socket",
        Opts::new().path("path", &machine.sockets.control()),
    );
    args.option("--cpus", Opts::new().set("boot", description.vcpu));
    args.option("--memory", memory(machine));
    if let Some(platform) = platform(description) {
        args.option("--platform", platform);
    }
    args.option("--kernel", machine.kernel.display());
    if let Some(initrd) = &machine.initrd {
        args.option("--initramfs", initrd.display());
    }
    args.option("--cmdline", &machine.cmdline);
    args.option("--seccomp", "true");
    args.option("--console", "off");
    args.option(
        "--serial",
        Opts::new().path("socket", &machine.sockets.console()),
    );
}

fn memory(machine: &Machine<'_>) -> Opts {
    let description = machine.description;
    let memory = Opts::new().set("size", format!("{}M", description.mem));
    // Shared memory cannot be merged: one or the other.
    let memory = if machine.memory_is_shared() {
        memory.switch("shared", true)
    } else {
        memory.switch("mergeable", true)
    };
    let memory = memory.when(description.hugepage_mem, "hugepages");
    if description.hotplug_mem == 0 {
        return memory;
    }
    let there = description
        .hotplugged_mem
        .unwrap_or(description.hotplug_mem);
    memory
        .set("hotplug_method", "virtio-mem")
        .set("hotplug_size", format!("{}M", description.hotplug_mem))
        .set("hotplugged_size", format!("{there}M"))
}

fn platform(description: &Description) -> Option<Opts> {
    let strings = &description.cloud_hypervisor.platform_oem_strings;
    if description.machine_id.is_none() && strings.is_empty() {
        return None;
    }
    let platform = Opts::new().maybe("uuid", description.machine_id.as_ref());
    if strings.is_empty() {
        return Some(platform);
    }
    Some(platform.list("oem_strings", strings.iter()))
}

/// Characters that separate values on cloud-hypervisor's command line; there is no way to write
/// them in one.
const SEPARATORS: [char; 4] = [',', '"', '[', ']'];

/// What cannot be said on cloud-hypervisor's command line.
pub(super) fn unspeakable(description: &Description) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let mut check = |option: String, text: &str| {
        if let Some(bad) = text.chars().find(|c| SEPARATORS.contains(c)) {
            let what = format!("`{bad}` cannot be written on cloud-hypervisor's command line");
            refusals.push(Refusal::new(option, what, "a name without it"));
        }
    };
    for (i, volume) in description.volumes.iter().enumerate() {
        check(
            format!("volumes[{i}].image"),
            &volume.image.to_string_lossy(),
        );
        check(
            format!("volumes[{i}].serial"),
            volume.serial.as_deref().unwrap_or_default(),
        );
    }
    for (i, share) in description.shares.iter().enumerate() {
        check(format!("shares[{i}].tag"), &share.tag);
        check(
            format!("shares[{i}].socket"),
            &share
                .socket
                .as_deref()
                .unwrap_or(Path::new(""))
                .to_string_lossy(),
        );
    }
    for (i, interface) in description.interfaces.iter().enumerate() {
        check(format!("interfaces[{i}].id"), &interface.id);
    }
    check(
        "storeDisk".to_owned(),
        &description
            .store_disk
            .as_deref()
            .unwrap_or(Path::new(""))
            .to_string_lossy(),
    );
    for string in &description.cloud_hypervisor.platform_oem_strings {
        check("cloud-hypervisor.platformOEMStrings".to_owned(), string);
    }
    refusals
}
