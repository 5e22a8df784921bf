// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where a machine's sockets and logs are.

use std::path::{Path, PathBuf};

use crate::refusal::Refusal;

/// The longest path of a unix socket: `sun_path` has 108 bytes, one of them for the end.
const LONGEST: usize = 107;

/// Where a machine's sockets and logs are. Names are short because paths of sockets have to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sockets {
    runtime: PathBuf,
    state: PathBuf,
}

impl Sockets {
    pub(super) fn new(runtime: PathBuf, state: PathBuf) -> Sockets {
        Sockets { runtime, state }
    }

    /// The hypervisor's control socket.
    pub fn control(&self) -> PathBuf {
        self.runtime.join("hypervisor.sock")
    }

    /// The serial console.
    pub fn console(&self) -> PathBuf {
        self.runtime.join("console.sock")
    }

    /// What the serial console printed.
    pub fn console_log(&self) -> PathBuf {
        self.state.join("console.log")
    }

    /// The agent's virtio-serial port.
    pub fn agent(&self) -> PathBuf {
        self.runtime.join("agent.sock")
    }

    /// cloud-hypervisor's door to the guest's vsock.
    pub fn vsock(&self) -> PathBuf {
        self.runtime.join("vsock.sock")
    }

    /// A vhost-user sound device.
    pub fn sound(&self) -> PathBuf {
        self.runtime.join("sound.sock")
    }

    /// Where a viewer of the screen connects.
    pub fn display(&self, wanted: Option<&Path>) -> PathBuf {
        self.runtime
            .join(wanted.unwrap_or(Path::new("display.sock")))
    }

    /// The server of a share.
    pub fn share(&self, index: usize, wanted: Option<&Path>) -> PathBuf {
        wanted.map_or_else(
            || self.runtime.join(format!("fs{index}.sock")),
            |path| self.runtime.join(path),
        )
    }

    /// A network's helper.
    pub fn net(&self, index: usize) -> PathBuf {
        self.runtime.join(format!("net{index}.sock"))
    }
}

/// Refuses a socket that cannot be bound. `option` is where it was named, or what to shorten.
pub(super) fn too_long(option: &str, socket: &Path) -> Option<Refusal> {
    let length = socket.as_os_str().len();
    (length > LONGEST).then(|| {
        let what = format!(
            "the socket {} would have {length} bytes, and {LONGEST} are the most",
            socket.display()
        );
        Refusal::new(option, what, "a shorter name, or a shorter XDG_RUNTIME_DIR")
    })
}
