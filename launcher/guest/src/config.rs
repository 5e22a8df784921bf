// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the init does, in the order of the fields of [`GuestConfig`].
//!
//! The launcher writes it as JSON to `/guest.json` of the initrd. All paths are those of the
//! guest's final root unless said otherwise.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::agent::TerminalSize;

/// Where the configuration lies in the initrd.
pub const CONFIG_PATH: &str = "/guest.json";

/// Where the initrd has the kernel modules, plain `.ko` files.
pub const MODULES_DIR: &str = "/modules";

/// Where the initrd has the registration of store paths, if any: what `nix-store --dump-db` prints.
pub const REGISTRATION_PATH: &str = "/registration";

/// The name of the virtio-serial port of the agent.
pub const AGENT_PORT: &str = "org.rofs.agent";

/// The guest's vsock port at which the agent listens.
pub const AGENT_VSOCK_PORT: u32 = 5224;

/// Everything the init has to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GuestConfig {
    /// The host name.
    pub hostname: String,
    /// Kernel modules to load, in this order: file names in [`MODULES_DIR`]. The packer of the
    /// initrd fills it from the names of the modules and the kernel's module directory.
    #[serde(default)]
    pub modules: Vec<String>,
    /// The channel to the host, if there is one.
    #[serde(default)]
    pub agent: Option<AgentDevice>,
    /// File systems, in the order in which to mount them. The root is the one at `/`; without one
    /// it is a tmpfs. `/proc`, `/sys`, `/dev`, `/dev/pts`, `/dev/shm`, `/run` and `/tmp` are
    /// mounted in any case.
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// A writable `/nix/store` above a read-only one.
    #[serde(default)]
    pub store_overlay: Option<StoreOverlay>,
    /// Small files to make in the root, where nothing is there yet.
    #[serde(default)]
    pub files: Vec<File>,
    /// Network interfaces. The loopback interface is up in any case.
    #[serde(default)]
    pub interfaces: Vec<Interface>,
    /// Name servers for `/etc/resolv.conf`, which is left alone when there are none.
    #[serde(default)]
    pub dns: Vec<IpAddr>,
    /// The program to load [`REGISTRATION_PATH`] with: a `nix-store` of the guest's store. Without
    /// one nothing is loaded.
    #[serde(default)]
    pub nix_store: Option<PathBuf>,
    /// What happens when all of that is done.
    pub then: Then,
    /// How to end.
    #[serde(default)]
    pub power_off: PowerOff,
    /// How many seconds a command may take to end when it is asked to, before it is killed.
    #[serde(default = "ten_seconds")]
    pub stop_seconds: u32,
}

fn ten_seconds() -> u32 {
    10
}

/// How the agent reaches the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum AgentDevice {
    /// A virtio-serial port with this name, see [`AGENT_PORT`].
    Port(String),
    /// The guest listens at this vsock port, see [`AGENT_VSOCK_PORT`].
    Vsock(u32),
}

/// One file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Mount {
    /// What is mounted.
    pub source: Source,
    /// Where. Missing directories are made.
    pub at: PathBuf,
    /// Mount it read-only.
    #[serde(default)]
    pub read_only: bool,
    /// Options of the file system, such as `dax=inode` or `size=2G`.
    #[serde(default)]
    pub options: Vec<String>,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum Source {
    /// Memory.
    Tmpfs,
    /// A virtio-fs share.
    Virtiofs {
        /// Its tag.
        tag: String,
    },
    /// A 9p share over virtio.
    #[serde(rename = "9p")]
    NineP {
        /// Its tag.
        tag: String,
    },
    /// A virtio disk.
    #[serde(rename_all = "camelCase")]
    Disk {
        /// Which one.
        disk: Disk,
        /// Its file system's name for the kernel; found out when it is `None`.
        fs_type: Option<String>,
    },
}

/// How a disk is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum Disk {
    /// By the serial number of the virtio device (at most 20 bytes).
    Serial(String),
    /// By the label of its file system (ext4, btrfs, xfs, vfat).
    Label(String),
    /// By its place among the virtio disks, from 0: `/dev/vda`, `/dev/vdb`, ...
    Index(u32),
}

/// An overlay at `/nix/store`.
///
/// Its lower directory and the file system of its upper one are among [`GuestConfig::mounts`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StoreOverlay {
    /// The read-only store, usually `/nix/.ro-store`.
    pub lower: PathBuf,
    /// Where changes go: `UPPER/store` and `UPPER/work` are made in it. Usually `/nix/.rw-store`.
    pub upper: PathBuf,
    /// Keep extended attributes in the namespace `user`: only when the upper file system is a
    /// virtio-fs share.
    #[serde(default)]
    pub userxattr: bool,
    /// Keep `/nix/var` in `UPPER/var`, so that the Nix database lives as long as the paths that it
    /// knows.
    #[serde(default)]
    pub keep_var: bool,
}

/// A small file, directory or symbolic link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct File {
    /// Where.
    pub at: PathBuf,
    /// What.
    pub is: FileKind,
}

/// What a [`File`] is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum FileKind {
    /// A file with these contents and permission bits.
    Regular {
        /// Its contents.
        contents: String,
        /// Its permission bits.
        mode: u32,
    },
    /// A symbolic link to this target.
    Symlink(PathBuf),
    /// A directory with these permission bits.
    Directory {
        /// Its permission bits.
        mode: u32,
    },
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Interface {
    /// Its address, by which it is found: `02:00:00:00:00:01`.
    pub mac: String,
    /// Its addresses with the lengths of their prefixes; none only brings it up.
    #[serde(default)]
    pub addresses: Vec<(IpAddr, u8)>,
    /// Routers to everywhere else.
    #[serde(default)]
    pub gateways: Vec<IpAddr>,
}

/// What the init does in the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum Then {
    /// Run one command, hand over its exit status, and power off.
    Run(Command),
    /// Become the init of a system, such as `/nix/store/...-nixos-system-.../init`.
    Switch {
        /// The program and its arguments.
        argv: Vec<String>,
    },
}

/// The command of [`Then::Run`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Command {
    /// Program and arguments. A program without a slash is looked for in the `PATH` of `env`.
    pub argv: Vec<String>,
    /// The whole environment.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// The working directory; `/` when it is `None`.
    #[serde(default)]
    pub cwd: Option<PathBuf>,
    /// Where its standard streams lead.
    pub stdio: Stdio,
}

/// Where the standard streams of a command lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum Stdio {
    /// To the guest's console.
    Console,
    /// To the host, as session [`crate::agent::MAIN_SESSION`] of the agent, each on its own.
    Agent,
    /// The same as a terminal of this size, where stdout and stderr are one.
    AgentTerminal(TerminalSize),
}

/// How a guest ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PowerOff {
    /// Power off: machines with ACPI.
    #[default]
    PowerOff,
    /// Reset: machines without, whose hypervisor ends at a reset (`-no-reboot`).
    Reset,
}
