// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `rofs-vm run`

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;

use launcher::agent;
use launcher::execution::{self, OnAgent, OnStderr, Options};
use launcher::plan::Plan;
use rofs_guest::config::{Stdio, Then};

use crate::failure::{Failure, say};
use crate::logging;
use crate::planned::plan;

/// Runs a VM, with its console on this terminal; Ctrl-C powers it down, a second one kills it
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The description, TOML or JSON; `-` for the standard input
    file: PathBuf,
    /// Do not show the console here: `rofs-vm console` and a file have it
    #[arg(long)]
    no_console: bool,
    /// Leave the terminal to others: what `rofs-vm start` starts
    #[arg(long, hide = true)]
    detach: bool,
}

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    if args.detach {
        // It fails if we have a session of our own already.
        let _ = rustix::process::setsid();
    }
    logging::start(if args.no_console { "info" } else { "warn" });
    let plan = plan(&args.file)?;
    let (passed, all_passed) = mpsc::channel::<()>();
    let streams = has_streams(&plan);
    let on_agent: OnAgent = Box::new(move |agent, _| {
        let Some(session) = agent.main() else { return };
        let pass = move || {
            // How it ended is told by the agent, too.
            let _ = agent::pass(&session);
            drop(passed);
        };
        if let Err(e) = thread::Builder::new().name("command".into()).spawn(pass) {
            say(&format!("rofs-vm: the guest's output cannot be shown: {e}"));
        }
    });
    let report = OnStderr::default();
    let options = Options {
        report: &report,
        console: !args.no_console && !streams,
        signals: true,
        on_agent: streams.then_some(on_agent),
    };
    let result = execution::run(&plan, options);
    // Until all that the command printed has been passed on.
    let _ = all_passed.recv();
    let outcome = result.map_err(|e| Failure::Run(format!("{}: {e}", plan.name)))?;
    Ok(outcome
        .exit_status
        .map_or(ExitCode::SUCCESS, ExitCode::from))
}

/// Whether the guest is for one command, whose streams come by the agent. The console shows
/// nothing but the kernel's complaints then.
fn has_streams(plan: &Plan) -> bool {
    let guest = plan.initrd.as_ref().map(|initrd| &initrd.guest.then);
    matches!(guest, Some(Then::Run(command)) if command.stdio != Stdio::Console)
}
