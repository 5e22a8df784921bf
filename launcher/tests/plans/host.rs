// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A machine with everything, made by hand.

use std::collections::BTreeMap;
use std::path::Path;

use launcher::host::{
    Desktop, Directories, Features, Host, HostInterface, HostKernel, Kvm, Passt, Qemu, SoundServer,
    Tools, Version,
};
use launcher::system::{Boot, System};

pub(crate) const SYSTEM: &str =
    "/nix/store/0c0ffee0c0ffee0c0ffee0c0ffee0c0f-nixos-system-desktop-26.05";

/// A machine with everything.
pub(crate) fn host() -> Host {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Host {
        root: false,
        cpus: 8,
        kvm: Kvm::Usable,
        accel: None,
        io_uring: true,
        vhost_vsock: true,
        vhost_net: true,
        directories: Directories {
            runtime: "/run/user/1000/rofs-vm".into(),
            state: "/home/user/.local/state/rofs-vm".into(),
        },
        tools: Tools {
            qemu: Some(Qemu {
                path: "/usr/bin/qemu-system-x86_64".into(),
                version: Some(Version(11, 1)),
                features: Some(Features {
                    displays: names(&["none", "gtk", "egl-headless", "spice-app"]),
                    audio: names(&["none", "alsa", "pa", "pipewire"]),
                    devices: names(&["virtio-gpu-gl-pci", "virtio-vga-gl"]),
                }),
            }),
            cloud_hypervisor: Some("/usr/bin/cloud-hypervisor".into()),
            passt: Some(Passt {
                path: "/usr/bin/passt".into(),
                vhost_user: true,
            }),
            virtiofsd: Some("/usr/libexec/virtiofsd".into()),
            rofs_serve: Some("/usr/bin/rofs-serve".into()),
            vhost_device_sound: Some("/usr/bin/vhost-device-sound".into()),
            bridge_helper: Some("/usr/lib/qemu/qemu-bridge-helper".into()),
            rofs_vm: Some("/usr/bin/rofs-vm".into()),
        },
        desktop: Desktop {
            windows: true,
            render_node: Some("/dev/dri/renderD128".into()),
            sound: Some(SoundServer::Reachable("/run/user/1000/pipewire-0".into())),
        },
        interfaces: interfaces(),
        kernel: Some(HostKernel {
            image: "/boot/vmlinuz-6.12.0".into(),
            modules: Some("/lib/modules/6.12.0".into()),
        }),
    }
}

fn interfaces() -> BTreeMap<String, HostInterface> {
    let tap = |index, queues| HostInterface {
        index,
        tap: Some(queues),
        ..HostInterface::default()
    };
    let macvtap = HostInterface {
        index: 7,
        macvtap: Some("/dev/tap7".into()),
        ..HostInterface::default()
    };
    let bridge = HostInterface {
        index: 8,
        bridge: true,
        ..HostInterface::default()
    };
    let named = |name: &str, interface| (name.to_owned(), interface);
    BTreeMap::from([
        named("tap0", tap(5, false)),
        named("tapmq", tap(6, true)),
        named("macvtap0", macvtap),
        named("br0", bridge),
    ])
}

/// What a NixOS system boots from.
pub(crate) fn nixos(mounts_store: bool) -> Boot {
    let file = |name: &str| Path::new(SYSTEM).join(name);
    Boot {
        kernel: file("kernel"),
        initrd: Some(file("initrd")),
        modules: Some(file("kernel-modules/lib/modules/6.12.0")),
        system: Some(System {
            path: SYSTEM.into(),
            kernel_params: vec!["loglevel=4".to_owned(), "lsm=landlock,yama,bpf".to_owned()],
            mounts_store,
        }),
        nix_store: Some(file("sw/bin/nix-store")),
    }
}

/// The machine's own kernel.
pub(crate) fn kernel(host: &Host) -> Boot {
    let kernel = host.kernel.clone().expect("a kernel");
    Boot {
        kernel: kernel.image,
        initrd: None,
        modules: kernel.modules,
        system: None,
        nix_store: None,
    }
}
