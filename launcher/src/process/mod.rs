// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Other programs, started so that they cannot outlive this one.
//!
//! Each gets a process group of its own, which is killed as a whole, and dies when the thread that
//! started it ends (see `tied`). What it writes to standard error is kept, its last lines for
//! the message that tells why it failed.

mod find;
mod tail;
mod tied;

pub use find::{on_path, which_package};
pub use tail::Tail;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

/// A program could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start {name} ({}): {why}", program.display())]
pub struct StartError {
    /// What messages call it.
    pub name: String,
    /// Its path.
    pub program: PathBuf,
    /// Why not.
    pub why: io::Error,
}

/// What is to be started.
#[derive(Debug)]
pub struct Start<'a> {
    /// What messages call it.
    pub name: &'a str,
    /// The program and its arguments.
    pub command: Command,
    /// Descriptors it inherits, and their numbers there; 3 or more, each once. Our copies are
    /// closed.
    pub fds: Vec<(OwnedFd, i32)>,
}

/// A running program. Dropping it kills its whole group and waits for it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    pidfd: OwnedFd,
    stderr: Tail,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts a program, without standard input or output, and tied to the calling thread: when
    /// that thread ends, the program is killed.
    ///
    /// # Errors
    /// If the program cannot be executed, or this process has no resources left.
    pub fn start(start: Start<'_>) -> Result<Process, StartError> {
        let Start {
            name,
            mut command,
            fds,
        } = start;
        let program = PathBuf::from(command.get_program());
        let failed = |why| StartError {
            name: name.to_owned(),
            program: program.clone(),
            why,
        };
        let mappings = fds
            .into_iter()
            .map(|(parent_fd, child_fd)| FdMapping {
                parent_fd,
                child_fd,
            })
            .collect();
        command
            .fd_mappings(mappings)
            .map_err(|e| failed(io::Error::other(e)))?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        tied::tie(&mut command);
        let mut child = command.spawn().map_err(failed)?;
        let stderr = child.stderr.take().map(Tail::of).unwrap_or_default();
        let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
        match process {
            Ok(pidfd) => Ok(Process {
                name: name.to_owned(),
                child,
                pidfd,
                stderr,
                status: None,
            }),
            Err(e) => {
                let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
                let _ = child.wait();
                Err(failed(e.into()))
            }
        }
    }

    /// What messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id, which is its group's too.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Becomes readable when the program has ended.
    ///
    /// # Errors
    /// If this process has no descriptor left.
    pub fn ended(&self) -> io::Result<OwnedFd> {
        self.pidfd.try_clone()
    }

    /// How it ended, if it has.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().unwrap_or_default();
        }
        self.status
    }

    /// How it ended, as soon as it has, for at most `limit`.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.try_wait() {
                return Some(status);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let mut polled = [PollFd::from_borrowed_fd(self.pidfd.as_fd(), PollFlags::IN)];
            let _ = poll(&mut polled, Timespec::try_from(left).ok().as_ref());
        }
    }

    /// Sends a signal to its group, unless the program has been waited for.
    pub fn signal(&self, signal: Signal) {
        if self.status.is_none() {
            let _ = kill_process_group(Pid::from_child(&self.child), signal);
        }
    }

    /// Asks it to end, kills it if it has not within `patience`, and waits for it. Whoever of its
    /// group is left is killed too.
    pub fn end(&mut self, patience: Duration) -> Option<ExitStatus> {
        if self.try_wait().is_none() {
            self.signal(Signal::TERM);
            // What is stopped would not notice.
            self.signal(Signal::CONT);
            let deadline = Instant::now() + patience;
            while self.running() && Instant::now() < deadline {
                let left = deadline.saturating_duration_since(Instant::now());
                let mut polled = [PollFd::from_borrowed_fd(self.pidfd.as_fd(), PollFlags::IN)];
                let _ = poll(&mut polled, Timespec::try_from(left).ok().as_ref());
            }
            // Before it is waited for, since afterwards the number may be another's.
            self.signal(Signal::KILL);
        }
        if self.status.is_none() {
            self.status = self.child.wait().ok();
        }
        self.status
    }

    /// The last lines it wrote to standard error; all of them once it has ended.
    pub fn last_words(&mut self) -> String {
        let ended = self.try_wait().is_some();
        self.stderr.text(ended)
    }

    fn running(&self) -> bool {
        let mut polled = [PollFd::from_borrowed_fd(self.pidfd.as_fd(), PollFlags::IN)];
        matches!(
            poll(
                &mut polled,
                Some(&Timespec {
                    tv_sec: 0,
                    tv_nsec: 0
                })
            ),
            Ok(0)
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        if self.status.is_none() {
            let _ = self.child.wait();
        }
    }
}

/// How a program ended, for people.
pub fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(0), _) => "ended".to_owned(),
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(libc::SIGKILL)) => "was killed (SIGKILL)".to_owned(),
        (None, Some(libc::SIGTERM)) => "was ended by SIGTERM".to_owned(),
        (None, Some(libc::SIGSEGV)) => "crashed (SIGSEGV)".to_owned(),
        (None, Some(libc::SIGABRT)) => "crashed (SIGABRT)".to_owned(),
        (None, Some(libc::SIGSYS)) => "made a system call it may not make (SIGSYS)".to_owned(),
        (None, signal) => format!("was ended by signal {}", signal.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests;
