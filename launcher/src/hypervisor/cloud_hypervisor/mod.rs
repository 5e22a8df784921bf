// SPDX-License-Identifier: Apache-2.0 OR MIT
//! cloud-hypervisor.

mod devices;
mod machine;

use std::collections::BTreeMap;
use std::path::PathBuf;

use rofs_guest::config::{AGENT_VSOCK_PORT, AgentDevice, PowerOff};

use super::args::Args;
use super::{Accelerator, Hypervisor, Link, Machine};
use crate::description::{Description, SoundBackend};
use crate::host::{Host, Kvm};
use crate::plan::{
    AgentChannel, Console, ConsoleLog, Control, ControlApi, FdSource, InheritedFd, PowerButton,
    ProcessPlan, Readiness,
};
use crate::refusal::Refusal;

/// cloud-hypervisor.
#[derive(Clone, Copy, Debug)]
pub struct CloudHypervisor;

impl Hypervisor for CloudHypervisor {
    fn name(&self) -> &'static str {
        "cloud-hypervisor"
    }

    fn program(&self, host: &Host) -> Result<PathBuf, String> {
        let install = "install cloud-hypervisor, name its package in `cloud-hypervisor.package`, or `hypervisor = \"qemu\"`";
        host.tools
            .cloud_hypervisor
            .clone()
            .ok_or_else(|| install.to_owned())
    }

    fn refusals(&self, description: &Description, host: &Host) -> Vec<Refusal> {
        let mut refusals = machine::unspeakable(description);
        if let Kvm::Unusable(why) = &host.kvm {
            // Whoever insists may have a guest made for such a KVM.
            if description.accel != crate::description::Accel::Kvm {
                let what = format!("cloud-hypervisor needs KVM, and {why}");
                refusals.push(Refusal::new("hypervisor", what, "`hypervisor = \"qemu\"`, which emulates in software, or `accel = \"kvm\"` to try"));
            }
        }
        if description.sound.enable && host.tools.vhost_device_sound.is_none() {
            let what = "cloud-hypervisor's sound card is made by vhost-device-sound, which is not installed";
            refusals.push(Refusal::new("sound.enable", what, "install vhost-device-sound (`cargo install vhost-device-sound`), or `hypervisor = \"qemu\"`"));
        }
        refusals
    }

    fn warnings(&self, description: &Description, _: Accelerator) -> Vec<String> {
        let mut warnings = Vec::new();
        if description.interfaces.iter().any(|one| one.tap.vhost) {
            warnings.push(
                "interfaces: cloud-hypervisor does not use vhost-net; `tap.vhost` changes nothing"
                    .to_owned(),
            );
        }
        if description.sound.enable && description.sound.backend != SoundBackend::None {
            warnings.push("sound: with cloud-hypervisor the guest needs a driver for virtio-sound (snd_virtio)".to_owned());
        }
        warnings
    }

    fn has_user_network(&self) -> bool {
        false
    }

    fn wants_sound_helper(&self) -> bool {
        true
    }

    fn process(&self, machine: &Machine<'_>, program: PathBuf) -> ProcessPlan {
        let mut args = Args::default();
        machine::add(&mut args, machine);
        devices::add(&mut args, machine);
        args.extend(&machine.description.cloud_hypervisor.extra_args);
        let sockets = &machine.sockets;
        let mut own = vec![sockets.control(), sockets.console()];
        own.extend(devices::vsock_cid(machine).map(|_| sockets.vsock()));
        ProcessPlan {
            name: "cloud-hypervisor".to_owned(),
            program,
            args: args.into_vec(),
            env: BTreeMap::new(),
            fds: descriptors(machine),
            ready: Readiness::Socket(sockets.control()),
            sockets: own,
        }
    }

    fn control(&self, machine: &Machine<'_>) -> Control {
        Control {
            socket: machine.sockets.control(),
            api: ControlApi::CloudHypervisor,
            power_button: PowerButton::Acpi,
        }
    }

    fn console(&self, machine: &Machine<'_>) -> Option<Console> {
        Some(Console {
            socket: machine.sockets.console(),
            log: ConsoleLog::ByReader(machine.sockets.console_log()),
        })
    }

    fn agent(&self, machine: &Machine<'_>) -> (AgentChannel, AgentDevice) {
        let (socket, port) = (machine.sockets.vsock(), AGENT_VSOCK_PORT);
        (
            AgentChannel::Vsock { socket, port },
            AgentDevice::Vsock(port),
        )
    }

    fn power_off(&self, _: &Machine<'_>) -> PowerOff {
        PowerOff::PowerOff
    }
}

fn descriptors(machine: &Machine<'_>) -> Vec<InheritedFd> {
    let of = |link: &Link| match link {
        Link::Macvtap { fds, device } => fds.iter().map(|fd| (*fd, device.clone())).collect(),
        _ => Vec::new(),
    };
    let all = machine.nics.iter().flat_map(|nic| of(&nic.link));
    all.map(|(number, device)| InheritedFd {
        number,
        source: FdSource::Open(device),
    })
    .collect()
}
