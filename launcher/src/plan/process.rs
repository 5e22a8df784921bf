// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A process to start.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

/// A process to start. No shell is involved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProcessPlan {
    /// What messages call it: `qemu`, `virtiofsd for home`.
    pub name: String,
    /// The program's path.
    pub program: PathBuf,
    /// Its arguments, without the program's own name.
    pub args: Vec<String>,
    /// Variables added to the environment that it inherits.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Files opened for it, and the descriptors it finds them at. Nothing else but its standard
    /// streams is inherited.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fds: Vec<InheritedFd>,
    /// Sockets that it makes. Stale ones are removed before it starts; they go when it ends.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sockets: Vec<PathBuf>,
    /// When the next step may begin.
    pub ready: Readiness,
}

/// A descriptor that a process inherits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InheritedFd {
    /// Its number in the process; 3 or more, each once.
    pub number: u32,
    /// What it refers to.
    #[serde(flatten)]
    pub source: FdSource,
}

/// What an inherited descriptor refers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FdSource {
    /// A unix stream socket, bound and listening at this path. The starter closes its own copy
    /// once the process has it, so that a client notices when the process dies.
    Listener(PathBuf),
    /// A file or device, opened for reading and writing.
    Open(PathBuf),
}

/// When a started process is ready for those who need it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Readiness {
    /// At once: whoever needs it waits for it, as on a socket that already listens.
    Started,
    /// When this socket exists. (It is not connected to: some programs accept one client only.)
    Socket(PathBuf),
}
