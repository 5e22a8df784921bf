// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Machine, processor, kernel, firmware tables.

use super::super::args::{Args, Opts};
use super::super::supports::is_microvm;
use super::{Accelerator, Machine};
use crate::description::Description;

/// The machine of software emulation.
const LARGE: &str = "q35";

/// QEMU's name of the machine. The small one tells the guest of no timer of old hardware, which
/// Linux then does not start; only KVM's clock replaces it.
pub(super) fn kind(description: &Description, accel: Accelerator) -> &str {
    let clockless = accel == Accelerator::Tcg && cfg!(target_arch = "x86_64");
    if clockless && is_microvm(description) {
        LARGE
    } else {
        description.qemu.machine()
    }
}

/// QEMU's name of the machine in software emulation.
pub(crate) fn machine_without_kvm(description: &Description) -> &str {
    kind(description, Accelerator::Tcg)
}

/// Whether it is the small machine.
pub(super) fn is_small(machine: &Machine<'_>) -> bool {
    kind(machine.description, machine.accel).starts_with("microvm")
}

pub(super) fn add(args: &mut Args, machine: &Machine<'_>) {
    let description = machine.description;
    let tcg = machine.accel == Accelerator::Tcg;
    args.option("-name", Opts::of(&machine.name));
    args.option("-machine", options(machine));
    args.option("-accel", if tcg { "tcg,thread=multi" } else { "kvm" });
    args.option("-cpu", cpu(machine));
    args.option("-smp", description.vcpu);
    // Only what is asked for; nothing from a user's or the system's configuration.
    args.flag("-nodefaults").flag("-no-user-config");
    // A guest that restarts is over: rofs-vm prepares each boot anew, and QEMU 11.1 crashes when
    // the server of a DAX window unmaps after a reset.
    args.flag("-no-reboot");
    if is_small(machine) {
        // The keyboard controller: Ctrl-Alt-Delete, and the reset that ends a guest.
        args.option("-device", Opts::of("i8042"));
    }
    args.option("-kernel", machine.kernel.display());
    if let Some(initrd) = &machine.initrd {
        args.option("-initrd", initrd.display());
    }
    args.option("-append", &machine.cmdline);
    if let Some(id) = &description.machine_id {
        args.option("-smbios", Opts::new().set("type", 1).set("uuid", id));
    }
    for (name, file) in &description.credential_files {
        let name = format!("opt/io.systemd.credentials/{name}");
        args.option("-fw_cfg", Opts::new().set("name", name).path("file", file));
    }
}

fn options(machine: &Machine<'_>) -> Opts {
    let description = machine.description;
    let mut options = Opts::of(kind(description, machine.accel));
    // Options that somebody gave are for the machine that they named.
    let same = kind(description, machine.accel) == description.qemu.machine();
    if let Some(own) = description.qemu.machine_opts.as_ref().filter(|_| same) {
        for (key, value) in own {
            options = options.set(key, value);
        }
    } else if is_small(machine) {
        options = options
            .switch("acpi", true)
            .switch("pcie", true)
            .switch("rtc", true);
        // KVM's clock replaces the old timer, and its interrupt controller.
        options = options
            .switch("pit", false)
            .switch("pic", false)
            .switch("usb", false);
    }
    super::memory::machine_option(options, machine)
}

fn cpu(machine: &Machine<'_>) -> String {
    match (&machine.description.cpu, machine.accel) {
        (Some(cpu), _) => cpu.clone(),
        (None, Accelerator::Tcg) => "max".to_owned(),
        // QEMU crashes when a `microvm` machine has SGX (gitlab.com/qemu-project/qemu/-/issues/2142).
        (None, _) if cfg!(target_arch = "x86_64") => "host,+x2apic,-sgx".to_owned(),
        (None, _) => "host".to_owned(),
    }
}
