// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is said at a supervisor's socket: a line of JSON each way.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The socket's name in the machine's directory.
pub const SOCKET: &str = "control.sock";

/// The first line from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// How is it? The answer is [`Reply::Status`].
    Status,
    /// End it; at once with `kill`. After [`Reply::Ok`] comes [`Reply::Ended`] when nothing is
    /// left.
    Stop {
        /// Without asking the guest.
        kill: bool,
    },
    /// After [`Reply::Ok`] the connection is the guest's console.
    Console,
    /// After [`Reply::Ok`] the connection is one to the guest's agent, for commands of the client's:
    /// see [`Agent::over`](crate::agent::Agent::over).
    Agent,
}

/// A line from the supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// It is done, or begun.
    Ok,
    /// It is not; why.
    Error(String),
    /// The answer to [`Request::Status`].
    Status(Box<Status>),
    /// The machine is no more.
    Ended(Ended),
}

/// How a machine ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// The guest powered down.
    PoweredDown,
    /// It was killed; why.
    Killed(String),
    /// Something failed; what.
    Failed(String),
}

/// Where a machine is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Its volumes, shares and helpers are being prepared.
    Starting,
    /// The hypervisor runs, the guest is not ready yet.
    Booting,
    /// The guest is ready, as far as can be told.
    Running,
    /// The guest was asked to power down.
    Stopping,
}

impl Phase {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Starting => "starting",
            Phase::Booting => "booting",
            Phase::Running => "running",
            Phase::Stopping => "stopping",
        }
    }
}

/// How a machine is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Its name.
    pub name: String,
    /// Where it is in its life.
    pub phase: Phase,
    /// The supervisor's process.
    pub pid: u32,
    /// The hypervisor's.
    pub hypervisor_pid: Option<u32>,
    /// The hypervisor's name.
    pub hypervisor: String,
    /// Seconds since its start.
    pub uptime_secs: u64,
    /// Memory that hypervisor and guest take from the host now, in MiB.
    pub memory_mib: Option<u64>,
    /// Directories it sees.
    pub shares: Vec<StatusShare>,
    /// Disks it has.
    pub volumes: Vec<StatusVolume>,
    /// Ports that are forwarded, as `tcp 127.0.0.1:2222 -> guest 22`.
    pub ports: Vec<String>,
    /// The command that shows its screen, if that is on a socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub viewer: Option<String>,
    /// Commands can be run in it.
    pub agent: bool,
    /// Where the console's output is kept.
    pub console_log: Option<PathBuf>,
}

/// A directory that a machine sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusShare {
    /// The tag.
    pub tag: String,
    /// The directory.
    pub source: PathBuf,
}

/// A disk that a machine has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusVolume {
    /// The image.
    pub image: PathBuf,
    /// Its size in MiB.
    pub size_mib: Option<u64>,
    /// What it takes on the host's disk, in MiB.
    pub used_mib: Option<u64>,
}
