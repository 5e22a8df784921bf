// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a VM is: the options of its file, with microvm.nix's names, meanings and defaults.
//!
//! [`Description`] is plain data and the one place where an option is written down: the JSON schema
//! (`rofs-vm schema`), the validation of files and the reference in the README are made from these
//! types and their comments. Options that microvm.nix lacks are marked "rofs-vm only".
//!
//! Paths: images of volumes and sockets which are not absolute are the VM's own, in its state and
//! runtime directory. All other paths are as seen from the folder of the file; [`Description::anchor`]
//! makes them absolute.

mod boot;
mod desktop;
pub(crate) mod file;
mod hypervisor;
mod network;
mod share;
pub(crate) mod unused;
mod volume;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use boot::Guest;
pub use desktop::{Clipboard, Graphics, GraphicsBackend, Sound, SoundBackend, SoundCard, Vulkan};
pub use file::Document;
pub use hypervisor::{
    Accel, CloudHypervisor, Hypervisor, InodeFileHandles, Qemu, ThreadPoolSize, Virtiofsd,
};
pub use network::{
    Forward, ForwardFrom, ForwardProto, GuestEnd, HostEnd, Interface, InterfaceType, Macvtap,
    MacvtapMode, Tap, User, UserBackend, Vsock,
};
pub use share::{Cache, Protocol, SecurityModel, Share};
pub use volume::{FsType, ImageType, Volume};

/// A microVM.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Description {
    /// Name of the VM, also the guest's host name. Default: the name of the file without its ending. (rofs-vm only)
    pub name: Option<String>,
    /// Which hypervisor runs the VM.
    pub hypervisor: Hypervisor,
    /// Hardware virtualisation (`kvm`), software emulation (`tcg`), or what the machine has (`auto`). (rofs-vm only)
    pub accel: Accel,
    /// CPU model to emulate; QEMU only. Default: the host's own.
    pub cpu: Option<String>,
    /// Number of virtual CPUs.
    #[schemars(range(min = 1))]
    pub vcpu: u32,
    /// Memory in MiB.
    #[schemars(range(min = 1))]
    pub mem: u32,
    /// Memory from huge pages.
    pub hugepage_mem: bool,
    /// Memory in MiB that can be added while the VM runs (virtio-mem).
    pub hotplug_mem: u32,
    /// How much of `hotplugMem` is there from the start, in MiB. Default: all of it.
    pub hotplugged_mem: Option<u32>,
    /// A balloon: memory which the guest does not use goes back to the host.
    pub balloon: bool,
    /// Size of the balloon at the start, in MiB; cloud-hypervisor only.
    pub initial_balloon_mem: u32,
    /// The balloon gives memory back when the guest runs out of it.
    #[serde(rename = "deflateOnOOM")]
    pub deflate_on_oom: bool,

    /// A NixOS system, as `nixos-rebuild build` makes one: kernel, initrd, init and kernel parameters are taken from it. (rofs-vm only)
    pub system: Option<PathBuf>,
    /// The kernel: an image, or a directory with one in it (a Nix kernel package). Default: the system's; with `run`, the host's.
    pub kernel: Option<PathBuf>,
    /// The initrd. Default: the system's.
    pub initrd: Option<PathBuf>,
    /// The kernel's modules: the directory that has `modules.dep` in it. Default: those that belong to the kernel, where they can be found. (rofs-vm only)
    pub modules: Option<PathBuf>,
    /// Parameters for the kernel, after the system's own.
    pub kernel_params: Vec<String>,
    /// A program and its arguments to run in place of a system; its exit status becomes that of `rofs-vm run`. (rofs-vm only)
    pub run: Vec<String>,
    /// Environment of the program in `run`. (rofs-vm only)
    pub environment: BTreeMap<String, String>,
    /// Directory in the guest where the program in `run` starts. Default: `/`. (rofs-vm only)
    pub working_directory: Option<PathBuf>,
    /// Whether an init of rofs-vm mounts shares, volumes and the store before the system starts. Default: yes, unless the system has microvm.nix's guest module and mounts for itself. (rofs-vm only)
    pub guest_init: Option<bool>,
    /// What the guest was built with.
    pub guest: Guest,
    /// Only these store paths, and what they reference, can be seen in shares of the store. Default: the whole store. (rofs-vm only)
    pub closure: Vec<PathBuf>,
    /// The guest's Nix database knows the paths of `closure` and `system`. Default: yes, where rofs-vm's init prepares the guest and the store is writable (`writableStoreOverlay`).
    pub register_closure: Option<bool>,
    /// Directory in the guest for what is written to `/nix/store`: the upper layer of an overlay. Default: the store is read-only, and Nix in the guest cannot open its database, which it does only where it can write to the store.
    pub writable_store_overlay: Option<PathBuf>,
    /// The store comes from the image `storeDisk`.
    pub store_on_disk: bool,
    /// Image of a store (squashfs or erofs), the VM's first disk; used with `storeOnDisk`.
    pub store_disk: Option<PathBuf>,

    /// Directories of the host that the guest can mount.
    pub shares: Vec<Share>,
    /// Disk images.
    pub volumes: Vec<Volume>,
    /// Network interfaces.
    pub interfaces: Vec<Interface>,
    /// Ports forwarded between host and guest; they need an interface of type `user`.
    pub forward_ports: Vec<Forward>,
    /// Sockets between host and guest.
    pub vsock: Vsock,
    /// A screen.
    pub graphics: Graphics,
    /// Sound. (rofs-vm only)
    pub sound: Sound,
    /// The clipboard, shared with the host's desktop. (rofs-vm only)
    pub clipboard: Clipboard,
    /// Credentials for systemd in the guest: name and the host's file; QEMU only.
    pub credential_files: BTreeMap<String, PathBuf>,
    /// UUID of the machine; QEMU only.
    pub machine_id: Option<String>,
    /// Seconds which the guest gets to power down before it is killed. (rofs-vm only)
    #[schemars(range(min = 1))]
    pub stop_timeout: u32,

    /// What concerns QEMU alone.
    pub qemu: Qemu,
    /// What concerns cloud-hypervisor alone.
    #[serde(rename = "cloud-hypervisor")]
    pub cloud_hypervisor: CloudHypervisor,
    /// What concerns virtiofsd alone, which serves the writable virtiofs shares.
    pub virtiofsd: Virtiofsd,
}

impl Default for Description {
    fn default() -> Self {
        Self {
            name: None,
            hypervisor: Hypervisor::default(),
            accel: Accel::default(),
            cpu: None,
            vcpu: 1,
            mem: 512,
            hugepage_mem: false,
            hotplug_mem: 0,
            hotplugged_mem: None,
            balloon: false,
            initial_balloon_mem: 0,
            deflate_on_oom: true,
            system: None,
            kernel: None,
            initrd: None,
            modules: None,
            kernel_params: Vec::new(),
            run: Vec::new(),
            environment: BTreeMap::new(),
            working_directory: None,
            guest_init: None,
            guest: Guest::default(),
            closure: Vec::new(),
            register_closure: None,
            writable_store_overlay: None,
            store_on_disk: false,
            store_disk: None,
            shares: Vec::new(),
            volumes: Vec::new(),
            interfaces: Vec::new(),
            forward_ports: Vec::new(),
            vsock: Vsock::default(),
            graphics: Graphics::default(),
            sound: Sound::default(),
            clipboard: Clipboard::default(),
            credential_files: BTreeMap::new(),
            machine_id: None,
            stop_timeout: 60,
            qemu: Qemu::default(),
            cloud_hypervisor: CloudHypervisor::default(),
            virtiofsd: Virtiofsd::default(),
        }
    }
}

impl Description {
    /// Makes the paths which the file gives relative to itself absolute; `folder` is the file's.
    /// Images of volumes and sockets stay as they are: they belong to the VM's own directories.
    pub fn anchor(&mut self, folder: &Path) {
        let single = [
            &mut self.system,
            &mut self.kernel,
            &mut self.initrd,
            &mut self.modules,
            &mut self.store_disk,
            &mut self.qemu.package,
            &mut self.cloud_hypervisor.package,
            &mut self.virtiofsd.package,
        ];
        let several = self.shares.iter_mut().map(|share| &mut share.source);
        for path in single
            .into_iter()
            .flatten()
            .chain(several)
            .chain(self.credential_files.values_mut())
        {
            *path = folder.join(&*path);
        }
    }

    /// Whether an init of ours prepares the guest, as far as the description alone tells: `None`
    /// where it depends on how `system` was built.
    pub fn guest_init_wanted(&self) -> Option<bool> {
        self.guest_init
            .or(self.guest.enable.map(|built_in| !built_in))
            .or((!self.run.is_empty()).then_some(true))
    }
}
