// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A throw-away machine on the host's store that runs one command.
//!
//! [`Sandbox::plan`] makes a description and plans it as any other; [`Sandbox::run`] carries it out
//! with this process's standard streams as the command's.

mod describe;
mod root;
mod store;

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::agent::{self, AgentError, Attached, TerminalSize};
use crate::execution::{self, Options, Report, RunError};
use crate::host::DirectoriesError;
use crate::plan::Plan;
use crate::refusal::Refusal;

/// The exit status when the time is over, as that of timeout(1).
const TIME_OVER: u8 = 124;

/// The exit status after a second Ctrl-C, as of a command that SIGINT ended.
const INTERRUPTED: u8 = 130;

/// What to run, and on what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// The program and its arguments. A program without a slash is looked for in `PATH`.
    pub command: Vec<OsString>,
    /// A directory that has a store in `nix/store`, or is one, instead of the host's.
    pub store: Option<PathBuf>,
    /// Show the guest the whole store, not only what the command needs.
    pub all: bool,
    /// More store paths to show, with what they reference.
    pub closure: Vec<PathBuf>,
    /// Other directories to show.
    pub shares: Vec<SandboxShare>,
    /// Memory in MiB.
    pub mem: u32,
    /// Processors.
    pub vcpu: u32,
    /// Give it a network of its own, through which it reaches what the host reaches.
    pub net: bool,
    /// The kernel, instead of the host's.
    pub kernel: Option<PathBuf>,
    /// The kernel's modules, where they are not found beside it.
    pub modules: Option<PathBuf>,
    /// Variables for the command, over those it gets anyway.
    pub env: Vec<(String, String)>,
    /// Where it starts, in the guest.
    pub cwd: Option<PathBuf>,
    /// When to end it.
    pub timeout: Option<Duration>,
    /// A terminal for it, which this process's becomes.
    pub terminal: Option<TerminalSize>,
}

/// A directory that the sandbox sees at its own place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxShare {
    /// The directory; absolute.
    pub dir: PathBuf,
    /// The command may change it.
    pub writable: bool,
}

/// Why a command did not run in a sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The program is nowhere.
    #[error("{0}: no such command, neither on PATH nor as a path")]
    NoCommand(String),
    /// The program is somewhere else.
    #[error(
        "{} is not in the Nix store, which is all that a sandbox sees; take the program from Nix (`nix build --print-out-paths` prints its path), or show the sandbox its directory with --share",
        .0.display()
    )]
    NotInStore(PathBuf),
    /// An argument or variable is no text.
    #[error("{0:?} is not UTF-8, which the guest does not get passed")]
    NotText(OsString),
    /// The directory given as store is none.
    #[error("{}: neither a Nix store nor a directory with one in nix/store", .0.display())]
    NoStore(PathBuf),
    /// A share is no directory.
    #[error("--share {}: {why}", dir.display())]
    Share {
        /// The share.
        dir: PathBuf,
        /// Why.
        why: std::io::Error,
    },
    /// There is no place for its sockets.
    #[error(transparent)]
    Directories(#[from] DirectoriesError),
    /// This machine cannot run it as asked for.
    #[error("{}", list(.0))]
    Refused(Vec<Refusal>),
    /// It broke down.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The connection to the guest broke down.
    #[error(transparent)]
    Agent(#[from] AgentError),
}

impl SandboxError {
    /// Whether it is the caller's to mend.
    pub fn is_input(&self) -> bool {
        !matches!(self, SandboxError::Run(_) | SandboxError::Agent(_))
    }
}

fn list(refusals: &[Refusal]) -> String {
    let lines: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

impl Sandbox {
    /// What it takes. Several sandboxes can run at once: each is named after its process.
    ///
    /// # Errors
    ///
    /// All but [`SandboxError::Run`] and [`SandboxError::Agent`].
    pub fn plan(&self) -> Result<Plan, SandboxError> {
        describe::plan(self)
    }

    /// Runs the command, and gives its exit status as a shell has it: 128 and the number of a
    /// signal, 127 when the guest has no such program, 124 when the time was over. Nothing of the
    /// machine is left afterwards.
    ///
    /// # Errors
    ///
    /// Nothing that the command did.
    pub fn run(&self, report: &dyn Report) -> Result<u8, SandboxError> {
        let plan = self.plan()?;
        let (timeout, terminal) = (self.timeout, self.terminal.is_some());
        let writable = self.shares.iter().any(|share| share.writable);
        let (outcome, attached) = mpsc::channel();
        let options = Options {
            report,
            console: false,
            // The command gets them.
            signals: false,
            on_agent: Some(Box::new(move |agent, stopper| {
                let clock = stopper.clone();
                let over = outcome.clone();
                if let Some(timeout) = timeout {
                    let _ = thread::Builder::new()
                        .name("timeout".into())
                        .spawn(move || {
                            thread::sleep(timeout);
                            let _ = over.send(Ok(Ended::TimeOver));
                            clock.kill();
                        });
                }
                let _ = thread::Builder::new()
                    .name("command".into())
                    .spawn(move || {
                        let Some(session) = agent.main() else {
                            return;
                        };
                        let result = agent::attach(session, terminal);
                        let over = match &result {
                            // Nothing is left to be written anywhere.
                            Ok(Attached::Ended(Ok(_))) => !writable,
                            Ok(Attached::Impatient) => true,
                            _ => false,
                        };
                        let _ = outcome.send(result.map(Ended::Attached));
                        if over {
                            stopper.kill();
                        }
                    });
            })),
        };
        let result = execution::run(&plan, options);
        // Its log, which other machines keep.
        if let Some(console) = &plan.console {
            let _ = fs::remove_file(console.log.path());
        }
        let _ = fs::remove_dir(&plan.runtime_dir);
        match (attached.try_recv(), result) {
            (Ok(Ok(Ended::TimeOver)), _) => {
                let secs = timeout.unwrap_or_default().as_secs();
                report.say(&format!(
                    "the command was ended after {secs} seconds (--timeout)"
                ));
                Ok(TIME_OVER)
            }
            (Ok(Ok(Ended::Attached(Attached::Impatient))), _) => Ok(INTERRUPTED),
            (Ok(Ok(Ended::Attached(Attached::Ended(Ok(status))))), _) => Ok(status.code()),
            (Ok(Ok(Ended::Attached(Attached::Ended(Err(error))))), _) => Ok(error.code()),
            (_, Err(e)) => Err(e.into()),
            (Ok(Err(e)), Ok(_)) => Err(e.into()),
            (Err(_), Ok(outcome)) => outcome
                .exit_status
                .ok_or_else(|| AgentError::Lost("the guest ended without a word".into()).into()),
        }
    }
}

enum Ended {
    Attached(Attached),
    TimeOver,
}

#[cfg(test)]
mod tests;
