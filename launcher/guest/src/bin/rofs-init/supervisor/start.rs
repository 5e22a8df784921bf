// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Starts commands.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rofs_guest::agent::{StartError, Stream, TerminalSize};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::session::{Session, Streams, winsize};
use crate::{console, signals};

/// A command to start.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    pub(crate) argv: &'a [String],
    pub(crate) env: &'a [(String, String)],
    pub(crate) cwd: Option<&'a Path>,
    pub(crate) stdio: StdioKind,
}

/// Where its standard streams lead.
#[derive(Clone, Copy, Debug)]
pub(crate) enum StdioKind {
    Console,
    Pipes,
    Terminal(TerminalSize),
}

impl Start<'_> {
    /// Starts it as session `id`, in a session and process group of its own.
    pub(crate) fn session(&self, id: u32) -> Result<Session, StartError> {
        let (program, arguments) = self.argv.split_first().ok_or_else(|| StartError {
            text: "there is no command".into(),
            not_found: true,
        })?;
        let cwd = self.cwd.unwrap_or(Path::new("/"));
        if !cwd.is_dir() {
            return Err(StartError {
                text: format!("the guest has no directory {}", cwd.display()),
                not_found: false,
            });
        }
        let mut command = Command::new(program);
        command.args(arguments).env_clear().current_dir(cwd);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        self.spawn(id, &mut command).map_err(|e| StartError {
            not_found: e.kind() == io::ErrorKind::NotFound,
            text: match e.kind() {
                io::ErrorKind::NotFound if Path::new(program).exists() => format!(
                    "{program} is there, but the interpreter or loader that it names is not in the guest"
                ),
                io::ErrorKind::NotFound if program.contains('/') => {
                    format!("the guest has no {program}")
                }
                io::ErrorKind::NotFound => format!("the guest has no {program} in its PATH"),
                _ => format!("{program} does not run: {e}"),
            },
        })
    }

    fn spawn(&self, id: u32, command: &mut Command) -> io::Result<Session> {
        let streams = match self.stdio {
            StdioKind::Pipes => {
                command
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped());
                detach(command, false);
                let mut child = command.spawn()?;
                let input = child.stdin.take().map(OwnedFd::from);
                let outputs = child
                    .stdout
                    .take()
                    .map(|fd| (Stream::Stdout, OwnedFd::from(fd)));
                let errors = child
                    .stderr
                    .take()
                    .map(|fd| (Stream::Stderr, OwnedFd::from(fd)));
                let outputs = outputs.into_iter().chain(errors).collect();
                return Session::new(
                    id,
                    child,
                    Streams {
                        input,
                        outputs,
                        terminal: None,
                    },
                );
            }
            StdioKind::Terminal(size) => {
                let host = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
                grantpt(&host)?;
                unlockpt(&host)?;
                rustix::termios::tcsetwinsize(&host, winsize(size))?;
                let path = ptsname(&host, Vec::new())?;
                self.at_terminal(command, Path::new(OsStr::from_bytes(path.to_bytes())))?;
                Streams {
                    input: Some(host.try_clone()?),
                    outputs: vec![(Stream::Stdout, host.try_clone()?)],
                    terminal: Some(host),
                }
            }
            StdioKind::Console => {
                self.at_terminal(command, &console::terminal())?;
                Streams::default()
            }
        };
        detach(command, true);
        let child = command.spawn()?;
        Session::new(id, child, streams)
    }

    fn at_terminal(&self, command: &mut Command, path: &Path) -> io::Result<()> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let terminal = rustix::fs::open(path, flags, Mode::empty())
            // A guest without a terminal still runs its command.
            .or_else(|_| rustix::fs::open("/dev/null", flags, Mode::empty()))?;
        command
            .stdin(terminal.try_clone()?)
            .stdout(terminal.try_clone()?)
            .stderr(terminal);
        Ok(())
    }
}

/// A session of its own, with stdin as its controlling terminal and no signal blocked.
#[allow(unsafe_code)]
fn detach(command: &mut Command, terminal: bool) {
    // SAFETY: it runs in a child of a process with one thread, and only makes system calls.
    unsafe {
        command.pre_exec(move || {
            rustix::process::setsid()?;
            signals::unblock_all()?;
            if terminal {
                // /dev/null is none; the command runs all the same.
                let _ = rustix::process::ioctl_tiocsctty(rustix::stdio::stdin());
            }
            Ok(())
        });
    }
}
