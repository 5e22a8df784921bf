// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Talking to a running hypervisor.

mod ch_api;
mod http;
mod qmp;

pub use ch_api::ChApi;
pub use qmp::{Event, Qmp};

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::plan::{Control, ControlApi, PowerButton};

/// What a hypervisor says of its guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The guest's processors run (which is not to say that the guest is up).
    pub running: bool,
    /// The hypervisor's own word for it.
    pub word: String,
}

/// A question to a hypervisor that got no good answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody is there.
    #[error("the hypervisor's control socket {}: {why}", socket.display())]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// Why not.
        why: io::Error,
    },
    /// The connection broke, or nothing came in time.
    #[error("the hypervisor's control socket: {0}")]
    Io(#[from] io::Error),
    /// It answered something that its protocol does not have.
    #[error("the hypervisor's control socket: not understood: {0}")]
    Protocol(String),
    /// It said no.
    #[error("the hypervisor refused `{command}`: {why}")]
    Refused {
        /// What it was asked.
        command: String,
        /// Its reason.
        why: String,
    },
}

/// A connection to a running hypervisor. Each call waits as long as [`connect`] was told at most.
pub trait Connection: Debug + Send {
    /// Asks how the guest is.
    ///
    /// # Errors
    /// If the hypervisor does not answer.
    fn status(&mut self) -> Result<Status, ControlError>;

    /// Asks the guest to power down. Whether it does is the guest's affair.
    ///
    /// # Errors
    /// If the hypervisor does not do it.
    fn power_button(&mut self) -> Result<(), ControlError>;

    /// Ends the hypervisor at once, and with it the guest.
    ///
    /// # Errors
    /// If the hypervisor does not do it.
    fn quit(&mut self) -> Result<(), ControlError>;

    /// Takes memory from the guest by its balloon, or gives it back: `mib` are left to it.
    ///
    /// # Errors
    /// If there is no balloon.
    fn leave_memory(&mut self, mib: u64) -> Result<(), ControlError>;
}

/// Connects, and waits for the hypervisor to answer, `timeout` at most. QEMU talks to one client
/// at a time; a second waits for the first to go.
///
/// # Errors
/// If nobody answers in time.
pub fn connect(control: &Control, timeout: Duration) -> Result<Box<dyn Connection>, ControlError> {
    Ok(match control.api {
        ControlApi::Qmp => Box::new(QemuConnection {
            qmp: Qmp::connect(&control.socket, timeout)?,
            power_button: control.power_button,
        }),
        ControlApi::CloudHypervisor => Box::new(ChApi::connect(&control.socket, timeout)?),
    })
}

#[derive(Debug)]
struct QemuConnection {
    qmp: Qmp,
    power_button: PowerButton,
}

impl Connection for QemuConnection {
    fn status(&mut self) -> Result<Status, ControlError> {
        self.qmp.status()
    }

    fn power_button(&mut self) -> Result<(), ControlError> {
        match self.power_button {
            PowerButton::Acpi => self.qmp.execute("system_powerdown", None).map(drop),
            PowerButton::CtrlAltDel => self.qmp.ctrl_alt_delete(),
        }
    }

    fn quit(&mut self) -> Result<(), ControlError> {
        self.qmp.execute("quit", None).map(drop)
    }

    fn leave_memory(&mut self, mib: u64) -> Result<(), ControlError> {
        let bytes = serde_json::json!({ "value": mib.saturating_mul(1 << 20) });
        self.qmp.execute("balloon", Some(bytes)).map(drop)
    }
}

/// Connects to a socket, waiting for somebody to listen there.
fn reach(socket: &Path, deadline: Instant) -> Result<std::os::unix::net::UnixStream, ControlError> {
    const PAUSE: Duration = Duration::from_millis(10);
    loop {
        match std::os::unix::net::UnixStream::connect(socket) {
            Ok(stream) => return Ok(stream),
            Err(why) => {
                let soon = matches!(
                    why.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                );
                if !soon || Instant::now() + PAUSE >= deadline {
                    return Err(ControlError::Connect {
                        socket: socket.to_owned(),
                        why,
                    });
                }
                std::thread::sleep(PAUSE);
            }
        }
    }
}
