// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What running a virtual machine takes, as plain data: files to make, processes to start with
//! their arguments, in which order and with which readiness conditions.
//!
//! A [`Plan`] is made from a description, the facts about the host and, if there is
//! one, the system; making it reads and changes nothing. `rofs-vm command` prints
//! it, the execution carries it out, and other tools can take it alone.
//!
//! The order of execution is the order of [`Plan`]'s fields.

mod boot;
mod commands;
mod guest;
mod make;
mod modules;
mod network;
mod parts;
mod passt;
mod ports;
mod process;
mod quote;
mod screen;
mod shares;
mod sockets;
mod sound;
mod volumes;

pub use parts::{
    AgentChannel, ClosurePlan, Console, ConsoleLog, Control, ControlApi, DaxPlan, InitrdPlan,
    ModulesPlan, PowerButton, ShareKind, SharePlan, ShareServer, VolumePlan,
};
pub use process::{FdSource, InheritedFd, ProcessPlan, Readiness};
pub use quote::quote;
pub use sockets::Sockets;

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

/// Everything that running one virtual machine takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The machine's name; also the last part of both directories.
    pub name: String,
    /// What a person should know before it starts; one sentence each.
    pub warnings: Vec<String>,
    /// Sockets, the initrd and the lock. Made with mode 0700 before anything else, gone afterwards.
    pub runtime_dir: PathBuf,
    /// Volumes with relative paths, and the console's log. Made with mode 0700, kept.
    pub state_dir: PathBuf,
    /// Store paths that must not be collected while the machine runs.
    pub gc_roots: Vec<PathBuf>,
    /// Images to lock, to create and to grow.
    pub volumes: Vec<VolumePlan>,
    /// The initrd to write, if the guest side is ours.
    pub initrd: Option<InitrdPlan>,
    /// Directories to serve. Each one's socket listens before the next step.
    pub shares: Vec<SharePlan>,
    /// Other programs that must be ready before the hypervisor starts, and live as long as it.
    pub helpers: Vec<ProcessPlan>,
    /// The virtual machine itself. When it ends, all is over.
    pub hypervisor: ProcessPlan,
    /// How to talk to the running hypervisor.
    pub control: Control,
    /// The guest's serial console, if it has one.
    pub console: Option<Console>,
    /// The channel to the agent in the guest, if the guest side is ours.
    pub agent: Option<AgentChannel>,
    /// Forwarded ports, for people: `tcp 127.0.0.1:2222 to 22`.
    pub ports: Vec<String>,
    /// The command that shows the guest's screen, if that is on a socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub viewer: Option<String>,
    /// How long the guest may take to power down before it is killed. Whole seconds.
    #[serde(rename = "stop_timeout_secs", serialize_with = "seconds")]
    pub stop_timeout: Duration,
}

fn seconds<S: serde::Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(time.as_secs())
}
