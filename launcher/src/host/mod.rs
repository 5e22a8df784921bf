// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What this machine has, gathered once before anything is planned.
//!
//! [`Host`] is plain data: a test, or a tool that plans for another machine, makes one by hand.

mod desktop;
mod directories;
mod kernel;
mod kvm;
mod network;
mod tools;

pub use desktop::{Desktop, SoundServer};
pub use directories::{Directories, DirectoriesError};
pub use kernel::HostKernel;
pub(crate) use kernel::modules_beside;
pub use kvm::Kvm;
pub use network::HostInterface;
pub use tools::{Features, Passt, Qemu, Tools, Version};

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;
use std::thread;

use crate::description::{Accel, Description, Hypervisor};

/// What this machine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Whether this is root.
    pub root: bool,
    /// Processors that this process may use; 1 or more.
    pub cpus: u32,
    /// Whether hardware virtualisation works.
    pub kvm: Kvm,
    /// The variable `ROFS_ACCEL`, which decides where the description leaves it open.
    pub accel: Option<Accel>,
    /// Whether programs may use io_uring.
    pub io_uring: bool,
    /// Whether the vsock device of the kernel (`/dev/vhost-vsock`) can be opened.
    pub vhost_vsock: bool,
    /// Whether the network device of the kernel (`/dev/vhost-net`) can be opened.
    pub vhost_net: bool,
    /// Where machines live.
    pub directories: Directories,
    /// Programs.
    pub tools: Tools,
    /// Screen and sound of the user.
    pub desktop: Desktop,
    /// Network interfaces, by name.
    pub interfaces: BTreeMap<String, HostInterface>,
    /// The kernel of this machine, for guests that bring none.
    pub kernel: Option<HostKernel>,
}

impl Host {
    /// Looks at this machine, as far as a description makes it matter: what it does not ask for
    /// is not looked for, since some programs must be started to know what they can do.
    ///
    /// # Errors
    /// If there is no place for sockets and state.
    pub fn gather(description: &Description) -> Result<Host, DirectoriesError> {
        Ok(Host {
            root: rustix::process::geteuid().is_root(),
            cpus: thread::available_parallelism()
                .map_or(1, |n| u32::try_from(n.get()).unwrap_or(1)),
            kvm: Kvm::look(),
            accel: env::var("ROFS_ACCEL")
                .ok()
                .and_then(|name| match name.as_str() {
                    "kvm" => Some(Accel::Kvm),
                    "tcg" => Some(Accel::Tcg),
                    _ => None,
                }),
            io_uring: tools::io_uring_allowed(),
            vhost_vsock: can_open("/dev/vhost-vsock"),
            vhost_net: can_open("/dev/vhost-net"),
            directories: Directories::find()?,
            tools: Tools::find(description),
            desktop: Desktop::look(description),
            interfaces: network::interfaces(),
            kernel: HostKernel::find(),
        })
    }

    /// The file of the hypervisor that a description asks for.
    pub fn hypervisor(&self, hypervisor: Hypervisor) -> Option<PathBuf> {
        match hypervisor {
            Hypervisor::Qemu => self.tools.qemu.as_ref().map(|qemu| qemu.path.clone()),
            Hypervisor::CloudHypervisor => self.tools.cloud_hypervisor.clone(),
        }
    }
}

fn can_open(device: &str) -> bool {
    use std::fs::OpenOptions;
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(device)
        .is_ok()
}
