// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What each hypervisor supports.

use crate::description::{
    Accel, Description, Hypervisor, InterfaceType, Protocol, SoundBackend, UserBackend,
};
use crate::refusal::Refusal;

/// Whether a hypervisor can do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It can.
    Yes,
    /// It cannot.
    No {
        /// Why not; what the sentence "HYPERVISOR cannot do that: ..." ends with.
        why: &'static str,
        /// What works with it instead; empty if nothing does.
        instead: &'static str,
    },
}

use Support::Yes;

const fn no(why: &'static str, instead: &'static str) -> Support {
    Support::No { why, instead }
}

/// Something that not every hypervisor can do.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// What it is.
    pub what: &'static str,
    /// Where a description asks for it: the options, as in `shares[0].proto`.
    pub asked: fn(&Description) -> Vec<String>,
    /// Whether QEMU can.
    pub qemu: Support,
    /// Whether cloud-hypervisor can.
    pub cloud_hypervisor: Support,
}

impl Feature {
    /// Whether that hypervisor can.
    pub fn of(&self, hypervisor: Hypervisor) -> Support {
        match hypervisor {
            Hypervisor::Qemu => self.qemu,
            Hypervisor::CloudHypervisor => self.cloud_hypervisor,
        }
    }
}

/// All hypervisors.
pub const HYPERVISORS: [Hypervisor; 2] = [Hypervisor::Qemu, Hypervisor::CloudHypervisor];

/// The table. What is not in it, every hypervisor can do.
pub const FEATURES: &[Feature] = &[
    Feature {
        what: "software emulation",
        asked: |d| once(d.accel == Accel::Tcg, "accel"),
        qemu: Yes,
        cloud_hypervisor: no("it runs guests on the processor only", "`accel = \"kvm\"`"),
    },
    Feature {
        what: "another CPU model than the host's",
        asked: |d| once(d.cpu.is_some(), "cpu"),
        qemu: Yes,
        cloud_hypervisor: no("guests see the host's CPU", "leave `cpu` out"),
    },
    Feature {
        what: "a balloon that is filled at the start",
        asked: |d| once(d.initial_balloon_mem > 0, "initialBalloonMem"),
        qemu: no(
            "its balloon is empty at first",
            "a smaller `mem`, with `hotplugMem`",
        ),
        cloud_hypervisor: Yes,
    },
    Feature {
        what: "memory added while it runs, with the machine `microvm`",
        asked: |d| {
            once(
                d.hotplug_mem > 0 && d.hypervisor == Hypervisor::Qemu && is_microvm(d),
                "hotplugMem",
            )
        },
        qemu: no("this machine has no virtio-mem", "`qemu.machine = \"q35\"`"),
        cloud_hypervisor: Yes,
    },
    Feature {
        what: "9p",
        asked: |d| {
            each(&d.shares, "shares", "proto", |share| {
                share.proto == Protocol::NineP
            })
        },
        qemu: Yes,
        cloud_hypervisor: no("it has no 9p device", "`proto = \"virtiofs\"`"),
    },
    Feature {
        what: "a DAX window",
        asked: |d| each(&d.shares, "shares", "dax", |share| share.dax),
        qemu: Yes,
        cloud_hypervisor: no(
            "it has no shared memory regions for vhost-user devices",
            "leave `dax` out",
        ),
    },
    Feature {
        what: "QEMU's own user network",
        asked: |d| {
            each(&d.interfaces, "interfaces", "user.backend", |one| {
                one.user.backend == UserBackend::Qemu
            })
        },
        qemu: Yes,
        cloud_hypervisor: no("it has no network of its own", "`user.backend = \"passt\"`"),
    },
    Feature {
        what: "attaching to a bridge",
        asked: |d| {
            each(&d.interfaces, "interfaces", "type", |one| {
                one.kind == InterfaceType::Bridge
            })
        },
        qemu: Yes,
        cloud_hypervisor: no(
            "it has no helper for bridges",
            "`type = \"tap\"`, with a tap device that is in the bridge",
        ),
    },
    Feature {
        what: "a screen",
        asked: |d| once(d.graphics.enable, "graphics.enable"),
        qemu: Yes,
        cloud_hypervisor: no(
            "released versions have no graphics device",
            "run the desktop on another machine's screen (waypipe over vsock, or a remote desktop)",
        ),
    },
    Feature {
        what: "the clipboard",
        asked: |d| once(d.clipboard.enable, "clipboard.enable"),
        qemu: Yes,
        cloud_hypervisor: no("it has no screen, and so no clipboard", ""),
    },
    Feature {
        what: "sound through PulseAudio",
        asked: |d| {
            once(
                d.sound.enable && d.sound.backend == SoundBackend::Pulseaudio,
                "sound.backend",
            )
        },
        qemu: Yes,
        cloud_hypervisor: no(
            "vhost-device-sound, which makes its sound, cannot",
            "`sound.backend = \"pipewire\"`",
        ),
    },
    Feature {
        what: "credentials from files",
        asked: |d| once(!d.credential_files.is_empty(), "credentialFiles"),
        qemu: Yes,
        cloud_hypervisor: no(
            "it has no firmware configuration device",
            "`cloud-hypervisor.platformOEMStrings = [\"io.systemd.credential:NAME=VALUE\"]`",
        ),
    },
];

/// What a description asks for that its hypervisor cannot do, with what can.
pub fn refusals(description: &Description) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for feature in FEATURES {
        let Support::No { why, instead } = feature.of(description.hypervisor) else {
            continue;
        };
        let others = HYPERVISORS
            .iter()
            .filter(|other| feature.of(**other) == Yes);
        let others = others.map(|other| format!("`hypervisor = \"{}\"`", other.name()));
        let instead: Vec<String> = Some(instead.to_owned())
            .filter(|text| !text.is_empty())
            .into_iter()
            .chain(others)
            .collect();
        for option in (feature.asked)(description) {
            let what = format!(
                "{} cannot do {}: {why}",
                description.hypervisor.name(),
                feature.what
            );
            refusals.push(Refusal::new(option, what, instead.join(", or ")));
        }
    }
    refusals
}

/// Whether QEMU's machine is the small one.
pub(super) fn is_microvm(description: &Description) -> bool {
    description.qemu.machine().starts_with("microvm")
}

fn once(asked: bool, option: &str) -> Vec<String> {
    asked.then(|| option.to_owned()).into_iter().collect()
}

fn each<T>(list: &[T], name: &str, option: &str, asked: impl Fn(&T) -> bool) -> Vec<String> {
    let one = |(i, item)| asked(item).then(|| format!("{name}[{i}].{option}"));
    list.iter().enumerate().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::description::{Interface, Share};

    #[test]
    fn what_is_lacking_is_refused_with_what_can() {
        let mut description = Description {
            hypervisor: Hypervisor::CloudHypervisor,
            ..Description::default()
        };
        assert_eq!(refusals(&description), []);
        description.graphics.enable = true;
        description
            .shares
            .push(Share::new("home", "/home", "/home"));
        description
            .interfaces
            .push(Interface::new(InterfaceType::Bridge, "br"));
        let refusals = refusals(&description);
        let options: Vec<&str> = refusals
            .iter()
            .map(|refusal| refusal.option.as_str())
            .collect();
        assert_eq!(
            options,
            ["shares[0].proto", "interfaces[0].type", "graphics.enable"]
        );
        assert!(
            refusals[0].what.contains("cloud-hypervisor cannot do 9p"),
            "{}",
            refusals[0].what
        );
        assert_eq!(
            refusals[0].instead,
            "`proto = \"virtiofs\"`, or `hypervisor = \"qemu\"`"
        );
    }

    #[test]
    fn memory_is_added_to_large_machines_only() {
        let mut description = Description {
            hotplug_mem: 512,
            ..Description::default()
        };
        assert_eq!(refusals(&description)[0].option, "hotplugMem");
        description.qemu.machine = Some("q35".to_owned());
        assert_eq!(refusals(&description), []);
    }

    #[test]
    fn every_row_has_a_hypervisor_that_can() {
        for feature in FEATURES {
            let microvm = feature.what.contains("microvm");
            assert!(
                microvm || HYPERVISORS.iter().any(|one| feature.of(*one) == Yes),
                "{}",
                feature.what
            );
        }
    }
}
