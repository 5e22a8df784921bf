// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a [`Plan`](super::Plan) is made of, beside processes.

use std::path::{Path, PathBuf};

use rofs_guest::config::GuestConfig;
use serde::Serialize;

use super::ProcessPlan;
use crate::description::Cache;

/// A disk image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VolumePlan {
    /// The image; absolute.
    pub image: PathBuf,
    /// Its format, as the hypervisor calls it: `raw`, `qcow2`. Only raw ones are created or grown.
    pub format: String,
    /// Made on first use, and grown to `size_mib`. Otherwise it has to be there.
    pub create: bool,
    /// Size in MiB; `None` when the image is whatever it is.
    pub size_mib: Option<u64>,
    /// The file system to make: `ext4`, `btrfs`, `xfs`, `vfat`.
    pub fs_type: String,
    /// Its label.
    pub label: Option<String>,
    /// More arguments for mkfs.
    pub mkfs_args: Vec<String>,
    /// The guest cannot write to it; several machines may then use it at once.
    pub read_only: bool,
}

/// The initrd that brings the guest side along.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InitrdPlan {
    /// Where to write it.
    pub path: PathBuf,
    /// What the init in it is to do; its list of modules is filled in by the packer.
    pub guest: GuestConfig,
    /// Kernel modules to put in, with what they depend on; those built in are left out. `None`
    /// when the kernel is said to have all it needs.
    pub modules: Option<ModulesPlan>,
    /// Store paths whose closure the guest's Nix database is told about.
    pub registration: Option<ClosurePlan>,
}

/// Kernel modules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModulesPlan {
    /// `lib/modules/RELEASE`, with `modules.dep` and `modules.builtin`.
    pub dir: PathBuf,
    /// Names of those without which the guest does not come up, in the order in which to load them.
    pub needed: Vec<String>,
    /// Names of those that are left out when the kernel does not have them.
    pub wanted: Vec<String>,
}

/// Store paths, and with them all that they reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClosurePlan {
    /// The paths named.
    pub roots: Vec<PathBuf>,
}

/// A directory to serve to the guest by virtio-fs. (9p shares take no part: QEMU serves them.)
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SharePlan {
    /// The name by which the guest mounts it.
    pub tag: String,
    /// The directory.
    pub source: PathBuf,
    /// The vhost-user socket.
    pub socket: PathBuf,
    /// Who serves it.
    pub server: ShareServer,
}

/// Who serves a share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ShareServer {
    /// This process, read-only.
    InProcess {
        /// What kind of tree it is.
        kind: ShareKind,
        /// Request queues, 1 or more, beside the high-priority one.
        request_queues: u16,
        /// Serve these store paths and what they reference, and nothing else.
        closure: Option<ClosurePlan>,
        /// The guest maps files instead of reading them.
        dax: Option<DaxPlan>,
    },
    /// A process of its own: `rofs-serve`, or `virtiofsd` where the guest may write.
    Process(ProcessPlan),
}

/// What kind of tree is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ShareKind {
    /// A Nix store: what is in it never changes.
    NixStore,
    /// Any directory; the guest keeps what it was told as this says.
    Plain(Cache),
}

/// A window through which a guest maps files of the share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DaxPlan {
    /// Its size in MiB: a power of two, 2 or more.
    pub window_mib: u64,
}

/// How to talk to the running hypervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Control {
    /// The hypervisor listens here; made by it. That it exists does not mean that it answers yet.
    pub socket: PathBuf,
    /// What it speaks.
    pub api: ControlApi,
    /// How its guest is asked to power down.
    pub power_button: PowerButton,
}

/// What a hypervisor speaks on its control socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ControlApi {
    /// QEMU's machine protocol.
    Qmp,
    /// cloud-hypervisor's REST API.
    CloudHypervisor,
}

/// How a guest is asked to power down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PowerButton {
    /// The ACPI power button.
    Acpi,
    /// Ctrl-Alt-Delete on a keyboard: init restarts, which ends a hypervisor that does not reboot.
    CtrlAltDel,
}

/// The guest's serial console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Console {
    /// The hypervisor listens here, for one client at a time.
    pub socket: PathBuf,
    /// Where all it prints is kept.
    pub log: ConsoleLog,
}

/// Where the console's output is kept, and who writes it there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsoleLog {
    /// The hypervisor writes this file.
    ByHypervisor(PathBuf),
    /// Whoever reads the socket writes this file.
    ByReader(PathBuf),
}

impl ConsoleLog {
    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            ConsoleLog::ByHypervisor(path) | ConsoleLog::ByReader(path) => path,
        }
    }
}

/// Where the agent in the guest is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentChannel {
    /// The hypervisor listens here; the other end is the guest's virtio-serial port
    /// `org.rofs.agent`.
    Unix(PathBuf),
    /// The hypervisor listens here; after `CONNECT PORT\n` the other end is the guest's vsock port.
    Vsock {
        /// The socket.
        socket: PathBuf,
        /// The guest's port.
        port: u32,
    },
}
