// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a description means, in a few lines.

use crate::description::{
    Description, ForwardFrom, ForwardProto, GraphicsBackend, Hypervisor, InterfaceType, Protocol,
    Share, SoundBackend, Volume,
};
use crate::hypervisor::machine_without_kvm;

/// A table of what the VM will be: subject and sentence, one a line.
pub fn explain(description: &Description) -> String {
    let mut rows = vec![
        ("machine", machine(description)),
        ("boots", boots(description)),
    ];
    rows.extend(description.shares.iter().map(|one| ("share", share(one))));
    rows.extend(
        description
            .volumes
            .iter()
            .map(|one| ("volume", volume(one))),
    );
    if let Some(row) = store(description) {
        rows.push(("store", row));
    }
    rows.extend(description.interfaces.iter().map(|one| {
        let name = description.name.as_deref().unwrap_or_default();
        let kind = match one.kind {
            InterfaceType::User => {
                "a network of its own, with this machine as its gateway".to_owned()
            }
            InterfaceType::Tap => format!("the tap device {}", one.id),
            InterfaceType::Macvtap => format!("the macvtap device {}", one.id),
            InterfaceType::Bridge => {
                format!("the bridge {}", one.bridge.as_deref().unwrap_or_default())
            }
        };
        (
            "network",
            format!("{kind}; the guest is {}", one.mac_for(name)),
        )
    }));
    rows.extend(description.forward_ports.iter().map(|one| {
        let proto = if one.proto == ForwardProto::Tcp {
            "TCP"
        } else {
            "UDP"
        };
        let any = |address: &str, otherwise: &str| {
            if address.is_empty() {
                otherwise.to_owned()
            } else {
                address.to_owned()
            }
        };
        let row = match one.from {
            ForwardFrom::Host => {
                let (host, guest) = (any(&one.host.address, "any address"), one.guest.port);
                format!(
                    "{proto} to port {} of this machine ({host}) goes to port {guest} of the guest",
                    one.host.port
                )
            }
            ForwardFrom::Guest => {
                let (guest, host) = (
                    any(&one.guest.address, "the host"),
                    any(&one.host.address, "127.0.0.1"),
                );
                format!(
                    "{proto} of the guest to {guest}:{} goes to {host}:{}",
                    one.guest.port, one.host.port
                )
            }
        };
        ("port", row)
    }));
    if let Some(cid) = description.vsock.cid {
        rows.push(("vsock", format!("the guest is number {cid}")));
    }
    if description.graphics.enable {
        rows.push(("screen", screen(description)));
    }
    if description.sound.enable {
        let sound = &description.sound;
        let microphone = if sound.microphone {
            ", and a microphone"
        } else {
            ""
        };
        let heard = match sound.backend {
            SoundBackend::Pipewire => "through PipeWire",
            SoundBackend::Pulseaudio => "through PulseAudio",
            SoundBackend::Alsa => "through this machine's sound card",
            SoundBackend::None => "a card that is silent",
        };
        rows.push(("sound", format!("{heard}{microphone}")));
    }
    if description.clipboard.enable {
        rows.push(("clipboard", "shared with this desktop".into()));
    }
    rows.iter()
        .map(|(subject, text)| format!("  {subject:<10}{text}\n"))
        .collect()
}

fn machine(description: &Description) -> String {
    let Description { vcpu, mem, .. } = description;
    let cpus = if *vcpu == 1 {
        "1 CPU".into()
    } else {
        format!("{vcpu} CPUs")
    };
    let kind = match description.hypervisor {
        Hypervisor::Qemu => {
            let machine = description.qemu.machine();
            match machine_without_kvm(description) {
                same if same == machine => format!("QEMU's machine {machine}"),
                other => format!("QEMU's machine {machine} ({other} without KVM)"),
            }
        }
        Hypervisor::CloudHypervisor => "cloud-hypervisor".into(),
    };
    let balloon = if description.balloon {
        ", with a balloon"
    } else {
        ""
    };
    format!("{kind}: {cpus}, {mem} MiB{balloon}")
}

fn boots(description: &Description) -> String {
    let path =
        |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let kernel = path(&description.kernel).map_or_else(
        || "this machine's kernel".into(),
        |kernel| format!("the kernel {kernel}"),
    );
    match (description.run.is_empty(), path(&description.system)) {
        (false, None) => format!("{kernel}, and runs {}", description.run.join(" ")),
        (false, Some(system)) => format!(
            "the kernel of {system}, and runs {}",
            description.run.join(" ")
        ),
        (true, Some(system)) => format!("the NixOS system {system}"),
        (true, None) => match path(&description.initrd) {
            Some(initrd) => format!("{kernel} with {initrd}"),
            None => kernel,
        },
    }
}

fn share(share: &Share) -> String {
    let Share {
        source,
        mount_point,
        tag,
        ..
    } = share;
    let rights = if share.serves_read_only() {
        "read-only"
    } else {
        "writable"
    };
    let by = match (share.proto, share.serves_read_only(), share.process) {
        (Protocol::NineP, ..) => "9p",
        (Protocol::Virtiofs, false, _) => "virtiofs, by virtiofsd",
        (Protocol::Virtiofs, true, true) => "virtiofs, by a process of its own",
        (Protocol::Virtiofs, true, false) => "virtiofs",
    };
    format!(
        "{} at {}, {rights} ({tag:?}, {by})",
        source.display(),
        mount_point.display()
    )
}

fn volume(volume: &Volume) -> String {
    let place = match &volume.mount_point {
        Some(place) => format!(" at {}", place.display()),
        None => ", which is not mounted".into(),
    };
    let rights = if volume.read_only { ", read-only" } else { "" };
    let made = match volume.size.filter(|_| volume.auto_create) {
        Some(size) => format!(
            "; made if it is not there: {size} MiB, {}",
            volume.fs_type.name()
        ),
        None => String::new(),
    };
    format!("{}{place}{rights}{made}", volume.image.display())
}

fn store(description: &Description) -> Option<String> {
    let mut parts = Vec::new();
    if !description.closure.is_empty() {
        let paths = description.closure.len();
        let paths = if paths == 1 {
            "one path".into()
        } else {
            format!("{paths} paths")
        };
        parts.push(format!("only {paths} and what belongs to it can be seen"));
    }
    if let Some(upper) = &description.writable_store_overlay {
        let kept = description.volumes.iter().any(|volume| {
            !volume.read_only
                && volume
                    .mount_point
                    .as_ref()
                    .is_some_and(|place| upper.starts_with(place))
        });
        let until = if kept {
            "kept on a volume"
        } else {
            "forgotten when the guest stops"
        };
        parts.push(format!(
            "what is written goes to {}, {until}",
            upper.display()
        ));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn screen(description: &Description) -> String {
    match description.graphics.backend {
        GraphicsBackend::Gtk => "a window",
        GraphicsBackend::Headless => "not to be seen",
        GraphicsBackend::Spice => "SPICE on a socket",
        GraphicsBackend::Vnc => "VNC on a socket",
    }
    .into()
}
