// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The kernel modules that a guest needs before it can load any by itself.

use std::path::Path;

use super::ModulesPlan;
use super::volumes::store_disk;
use crate::description::{Description, FsType, Hypervisor, Protocol, SoundCard};

/// What the init's own work needs, and, for a guest without udev, what its devices need.
pub(super) fn modules(description: &Description, dir: &Path) -> ModulesPlan {
    let mut list = Lists::default();
    list.need(&["virtio_pci"]);
    let has = |protocol| {
        description
            .shares
            .iter()
            .any(|share| share.proto == protocol)
    };
    if has(Protocol::Virtiofs) {
        list.need(&["virtiofs"]);
    }
    if has(Protocol::NineP) {
        list.need(&["9pnet_virtio", "9p"]);
    }
    if description.writable_store_overlay.is_some() {
        list.need(&["overlay"]);
    }
    disks(description, &mut list);
    if !description.interfaces.is_empty() {
        list.need(&["virtio_net"]);
    }
    match description.hypervisor {
        Hypervisor::Qemu => list.need(&["virtio_console"]),
        Hypervisor::CloudHypervisor => list.need(&["vmw_vsock_virtio_transport"]),
    }
    list.want(&["virtio_rng"]);
    if !description.run.is_empty() {
        without_udev(description, &mut list);
    }
    ModulesPlan {
        dir: dir.to_owned(),
        needed: list.needed,
        wanted: list.wanted,
    }
}

#[derive(Default)]
struct Lists {
    needed: Vec<String>,
    wanted: Vec<String>,
}

impl Lists {
    fn need(&mut self, names: &[&str]) {
        add(&mut self.needed, names);
    }

    fn want(&mut self, names: &[&str]) {
        add(&mut self.wanted, names);
    }
}

fn add(list: &mut Vec<String>, names: &[&str]) {
    for name in names {
        if !list.iter().any(|known| known == name) {
            list.push((*name).to_owned());
        }
    }
}

fn disks(description: &Description, list: &mut Lists) {
    if store_disk(description).is_some() {
        list.need(&["virtio_blk"]);
        list.want(&["erofs", "squashfs"]);
    }
    for volume in &description.volumes {
        list.need(&["virtio_blk"]);
        if volume.mount_point.is_none() {
            continue;
        }
        // Older kernels ask for the checksum by its algorithm's name, which no dependency tells.
        list.want(&["crc32c_generic"]);
        match volume.fs_type {
            FsType::Ext2 | FsType::Ext3 | FsType::Ext4 => list.need(&["ext4"]),
            FsType::Btrfs => list.need(&["btrfs"]),
            FsType::Xfs => list.need(&["xfs"]),
            FsType::Vfat => {
                list.need(&["vfat"]);
                list.want(&["nls_cp437", "nls_iso8859_1", "nls_ascii", "nls_utf8"]);
            }
        }
    }
}

/// A system loads these by itself; a single command does not.
fn without_udev(description: &Description, list: &mut Lists) {
    // Ctrl-Alt-Delete and the power button.
    list.want(&["i8042", "atkbd", "button", "evdev"]);
    if description.balloon {
        list.want(&["virtio_balloon"]);
    }
    if description.hotplug_mem > 0 {
        list.want(&["virtio_mem"]);
    }
    if description.vsock.cid.is_some() {
        list.want(&["vmw_vsock_virtio_transport"]);
    }
    if description.graphics.enable {
        list.want(&["virtio_gpu", "xhci_pci", "usbhid", "hid_generic"]);
    }
    if description.sound.enable {
        // A guest whose kernel has no sound starts all the same.
        match (description.hypervisor, description.sound.card) {
            (Hypervisor::Qemu, SoundCard::IntelHda) => {
                // In this order: a card that does not find its codec's driver at once gives up.
                list.want(&["snd_hda_codec_generic", "snd_hda_intel"]);
            }
            _ => list.want(&["virtio_snd"]),
        }
    }
}
