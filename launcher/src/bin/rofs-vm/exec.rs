// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `rofs-vm exec`

use std::ffi::OsString;
use std::process::ExitCode;

use launcher::agent::{Agent, Attached, Exec, attach, terminal_size};
use launcher::state::Request;

use crate::failure::Failure;
use crate::named::connect;
use crate::sandbox::variable;

/// The exit status after a second Ctrl-C, as of a command that SIGINT ended.
const INTERRUPTED: u8 = 130;

/// Runs a command in a running VM
///
/// Its output, and its exit status, are this command's. The VM must have been prepared by
/// rofs-vm's init (option guestInit).
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The VM
    name: String,
    /// Set a variable; without `=`, as it is here
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Start in this directory of the VM [default: /]
    #[arg(long, value_name = "DIR")]
    cwd: Option<String>,
    /// Three streams even on a terminal; otherwise the command gets a terminal when this has one
    #[arg(short = 'T', long)]
    no_tty: bool,
    /// The command and its arguments; looked for on the VM's PATH
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    let mut client = connect(&args.name)?;
    client.ask(&Request::Agent).map_err(Failure::run)?;
    let agent = Agent::over(client.into_stream())
        .map_err(|e| Failure::Run(format!("talking to the agent in {}: {e}", args.name)))?;
    let argv = args
        .command
        .into_iter()
        .map(OsString::into_string)
        .collect::<Result<_, _>>();
    let argv = argv.map_err(|word| Failure::Input(format!("{word:?} is not UTF-8")))?;
    let terminal = (!args.no_tty).then(terminal_size).flatten();
    let mut env: Vec<(String, String)> = args.env.into_iter().filter_map(variable).collect();
    if let (Some(_), Ok(term)) = (terminal, std::env::var("TERM")) {
        env.insert(0, ("TERM".into(), term));
    }
    let exec = Exec {
        argv,
        env,
        cwd: args.cwd,
        terminal,
    };
    let session = agent.exec(&exec).map_err(Failure::run)?;
    match attach(session, terminal.is_some()).map_err(Failure::run)? {
        Attached::Ended(Ok(status)) => Ok(ExitCode::from(status.code())),
        Attached::Ended(Err(error)) => {
            crate::failure::say(&format!("rofs-vm: {}", error.text));
            Ok(ExitCode::from(error.code()))
        }
        Attached::Impatient => Ok(ExitCode::from(INTERRUPTED)),
    }
}
