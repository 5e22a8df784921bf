// SPDX-License-Identifier: Apache-2.0 OR MIT
//! QEMU: the machines `microvm` and `q35`, on KVM or in software.
//!
//! Each device has a file of its own, which adds its arguments. All devices are on PCI.

mod balloon;
mod console;
mod disks;
mod graphics;
mod lacks;
mod machine;
mod memory;
mod network;
mod sandbox;
mod shares;
mod sound;
mod vsock;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub(crate) use machine::machine_without_kvm;
use rofs_guest::config::{AGENT_PORT, AgentDevice, PowerOff};

use super::args::{Args, Opts};
use super::{Accelerator, Hypervisor, Link, Machine};
use crate::description::Description;
use crate::host::Host;
use crate::plan::{
    AgentChannel, Console, ConsoleLog, Control, ControlApi, FdSource, InheritedFd, PowerButton,
    ProcessPlan, Readiness,
};
use crate::refusal::Refusal;

/// QEMU.
#[derive(Clone, Copy, Debug)]
pub struct Qemu;

impl Hypervisor for Qemu {
    fn name(&self) -> &'static str {
        "qemu"
    }

    fn program(&self, host: &Host) -> Result<PathBuf, String> {
        let install = "install QEMU (Debian: qemu-system-x86; NixOS: qemu_kvm), or name its package in `qemu.package`";
        host.tools
            .qemu
            .as_ref()
            .map(|qemu| qemu.path.clone())
            .ok_or_else(|| install.to_owned())
    }

    fn refusals(&self, description: &Description, host: &Host) -> Vec<Refusal> {
        let mut refusals = lacks::refusals(description, host);
        refusals.extend(vsock::refusal(description, host));
        refusals
    }

    fn warnings(&self, description: &Description, accel: Accelerator) -> Vec<String> {
        let replaced = machine::kind(description, accel) != description.qemu.machine();
        let named = description.qemu.machine.is_some();
        let text = "qemu.machine: it is `q35` this time: in software emulation the guest has no clock on a `microvm` machine";
        (replaced && named)
            .then(|| text.to_owned())
            .into_iter()
            .collect()
    }

    fn has_user_network(&self) -> bool {
        true
    }

    fn wants_sound_helper(&self) -> bool {
        false
    }

    fn process(&self, machine: &Machine<'_>, program: PathBuf) -> ProcessPlan {
        let mut args = Args::default();
        machine::add(&mut args, machine);
        memory::add(&mut args, machine);
        console::add(&mut args, machine);
        args.option("-device", Opts::of("virtio-rng-pci"));
        balloon::add(&mut args, machine);
        disks::add(&mut args, machine);
        shares::add(&mut args, machine);
        network::add(&mut args, machine);
        vsock::add(&mut args, machine);
        graphics::add(&mut args, machine);
        sound::add(&mut args, machine);
        sandbox::add(&mut args, machine);
        args.extend(&machine.description.qemu.extra_args);
        let sockets = &machine.sockets;
        let mut own = vec![sockets.control()];
        own.extend(
            machine
                .description
                .qemu
                .serial_console
                .then(|| sockets.console()),
        );
        own.extend(machine.agent.then(|| sockets.agent()));
        own.extend(graphics::socket(machine));
        ProcessPlan {
            name: "qemu".to_owned(),
            program,
            args: args.into_vec(),
            env: BTreeMap::new(),
            fds: descriptors(machine),
            ready: Readiness::Socket(sockets.control()),
            sockets: own,
        }
    }

    fn control(&self, machine: &Machine<'_>) -> Control {
        // Without ACPI's fixed hardware few guests of the small machine listen to its power button;
        // each of them knows Ctrl-Alt-Delete.
        let small = machine::is_small(machine);
        Control {
            socket: machine.sockets.control(),
            api: ControlApi::Qmp,
            power_button: if small {
                PowerButton::CtrlAltDel
            } else {
                PowerButton::Acpi
            },
        }
    }

    fn console(&self, machine: &Machine<'_>) -> Option<Console> {
        machine.description.qemu.serial_console.then(|| Console {
            socket: machine.sockets.console(),
            log: ConsoleLog::ByHypervisor(machine.sockets.console_log()),
        })
    }

    fn agent(&self, machine: &Machine<'_>) -> (AgentChannel, AgentDevice) {
        (
            AgentChannel::Unix(machine.sockets.agent()),
            AgentDevice::Port(AGENT_PORT.to_owned()),
        )
    }

    fn power_off(&self, machine: &Machine<'_>) -> PowerOff {
        if machine::is_small(machine) {
            PowerOff::Reset
        } else {
            PowerOff::PowerOff
        }
    }
}

fn descriptors(machine: &Machine<'_>) -> Vec<InheritedFd> {
    let of = |link: &Link| match link {
        Link::Macvtap { fds, device } => fds.iter().map(|fd| (*fd, device.clone())).collect(),
        _ => Vec::new(),
    };
    machine
        .nics
        .iter()
        .flat_map(|nic| of(&nic.link))
        .map(|(number, device)| InheritedFd {
            number,
            source: FdSource::Open(device),
        })
        .collect()
}
