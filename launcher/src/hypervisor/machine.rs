// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A machine, in words that every hypervisor understands: all choices made, all paths absolute.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use crate::description::{Description, ForwardProto, SecurityModel};
use crate::host::Host;
use crate::plan::Sockets;

/// A machine to run.
#[derive(Clone, Debug)]
pub struct Machine<'a> {
    /// What is wanted; its lists of devices are resolved below.
    pub description: &'a Description,
    /// Where it runs.
    pub host: &'a Host,
    /// Its name.
    pub name: String,
    /// Where its sockets are.
    pub sockets: Sockets,
    /// What runs the guest's instructions.
    pub accel: Accelerator,
    /// The kernel's image.
    pub kernel: PathBuf,
    /// The initrd.
    pub initrd: Option<PathBuf>,
    /// The kernel's command line.
    pub cmdline: String,
    /// Disks, in the order in which the guest sees them.
    pub disks: Vec<Disk>,
    /// Shares by virtio-fs.
    pub fs: Vec<FsDevice>,
    /// Shares by 9p.
    pub ninep: Vec<NinepShare>,
    /// Network interfaces.
    pub nics: Vec<Nic>,
    /// The vhost-user socket of a sound card that another program serves.
    pub sound_socket: Option<PathBuf>,
    /// Whether there is a channel for the agent.
    pub agent: bool,
}

/// What runs a guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// The processor.
    Kvm,
    /// QEMU, in software.
    Tcg,
}

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The image.
    pub image: PathBuf,
    /// Its format, as in the description: `raw`, `qcow2`, `vhd`, `vhdx`.
    pub format: &'static str,
    /// Its serial number, at most 20 bytes.
    pub serial: Option<String>,
    /// Past the host's page cache.
    pub direct: bool,
    /// The guest cannot write.
    pub read_only: bool,
}

/// A vhost-user virtio-fs device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FsDevice {
    /// The name by which the guest mounts it.
    pub tag: String,
    /// The server's socket.
    pub socket: PathBuf,
    /// Request queues, 1 or more.
    pub request_queues: u16,
    /// The server has a DAX window.
    pub dax: bool,
}

/// A 9p share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NinepShare {
    /// The name by which the guest mounts it.
    pub tag: String,
    /// The directory.
    pub source: PathBuf,
    /// Whose the files are.
    pub security_model: SecurityModel,
    /// The guest cannot write.
    pub read_only: bool,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nic {
    /// Its name in the description.
    pub id: String,
    /// Its MAC address in the guest.
    pub mac: String,
    /// What it is connected to.
    pub link: Link,
}

/// What a network interface is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// A network which the hypervisor makes: the guest is `.15`, the host `.2`, DNS `.3`.
    User {
        /// The network's address; its prefix has 24 bits.
        network: Ipv4Addr,
        /// Ports of the host that lead to the guest.
        host_forwards: Vec<HostForward>,
        /// Addresses in the network that lead out to the host.
        guest_forwards: Vec<Relay>,
    },
    /// passt, by its own protocol over a stream socket.
    Stream(PathBuf),
    /// passt, as a vhost-user device.
    VhostUser(PathBuf),
    /// A tap device.
    Tap {
        /// Its name.
        name: String,
        /// As many as the guest has CPUs, or 1.
        queues: u32,
        /// Packets go through vhost-net.
        vhost: bool,
    },
    /// A macvtap device: one descriptor for each queue.
    Macvtap {
        /// Their numbers in the hypervisor's process.
        fds: Vec<u32>,
        /// The device.
        device: PathBuf,
    },
    /// A bridge, through a privileged helper.
    Bridge {
        /// Its name.
        name: String,
        /// The helper.
        helper: PathBuf,
    },
}

/// A forwarded port that leads from the host to the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostForward {
    /// Which protocol.
    pub proto: ForwardProto,
    /// The host's end; without an address, all of the host's.
    pub host: (Option<Ipv4Addr>, u16),
    /// The guest's end; without an address, the guest itself.
    pub guest: (Option<Ipv4Addr>, u16),
}

/// A forwarded port that leads from the guest to the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// Where the guest connects to.
    pub guest: (Ipv4Addr, u16),
    /// The command started for each connection, with it as standard input and output.
    pub command: Vec<String>,
}

impl Machine<'_> {
    /// Whether another process reads and writes the guest's memory. If so that memory has to be a
    /// file which can be handed over; otherwise it stays private, so that the host can merge it.
    pub fn memory_is_shared(&self) -> bool {
        let net = self
            .nics
            .iter()
            .any(|nic| matches!(nic.link, Link::VhostUser(_)));
        !self.fs.is_empty() || self.sound_socket.is_some() || net
    }
}
