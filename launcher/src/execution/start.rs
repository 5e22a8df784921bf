// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Starting the programs of a plan, and waiting until they are ready.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::guard::Guard;
use super::inbox::{Inbox, Wanted};
use super::{RunError, notify};
use crate::plan::{FdSource, ProcessPlan, Readiness};
use crate::process::{Process, Start, describe};
use crate::share;

/// How long a program may take until it is ready.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(3);

/// Starts a program. What it listens on and was made here listens already.
pub(super) fn start(plan: &ProcessPlan, guard: &Guard, inbox: &Inbox) -> Result<Process, RunError> {
    for socket in &plan.sockets {
        let _ = fs::remove_file(socket);
    }
    let mut fds = Vec::new();
    for inherited in &plan.fds {
        let (path, opened) = match &inherited.source {
            FdSource::Listener(path) => (path, share::listen(path).map(OwnedFd::from)),
            FdSource::Open(path) => (path, open(path)),
        };
        let fd = opened.map_err(|why| RunError::Needs {
            name: plan.name.clone(),
            path: path.clone(),
            why,
        })?;
        fds.push((fd, i32::try_from(inherited.number).unwrap_or(i32::MAX)));
    }
    let mut command = Command::new(&plan.program);
    command
        .args(&plan.args)
        .env_remove(notify::SOCKET)
        .envs(&plan.env);
    let process = Process::start(Start {
        name: &plan.name,
        command,
        fds,
    })?;
    guard.process(process.pid());
    match process.ended() {
        Ok(pidfd) => inbox.watch(pidfd),
        Err(e) => log::warn!("{} cannot be watched: {e}", plan.name),
    }
    log::info!("{} runs as process {}", plan.name, process.pid());
    Ok(process)
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map(OwnedFd::from)
}

/// Waits until a program is ready.
pub(super) fn wait_ready(
    plan: &ProcessPlan,
    process: &mut Process,
    inbox: &mut Inbox,
) -> Result<(), RunError> {
    let Readiness::Socket(socket) = &plan.ready else {
        return Ok(());
    };
    let deadline = Instant::now() + PATIENCE;
    while fs::symlink_metadata(socket).is_err() {
        if let Some(error) = died(process) {
            return Err(error);
        }
        if inbox.wanted() != Wanted::Nothing {
            return Err(RunError::Interrupted);
        }
        if Instant::now() > deadline {
            return Err(RunError::NotReady {
                name: plan.name.clone(),
                secs: PATIENCE.as_secs(),
                socket: socket.clone(),
                words: process.last_words(),
            });
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// The error that a program's end is, if it has ended.
pub(super) fn died(process: &mut Process) -> Option<RunError> {
    let status = process.try_wait()?;
    Some(RunError::Died {
        name: process.name().to_owned(),
        how: describe(status),
        words: process.last_words(),
    })
}
