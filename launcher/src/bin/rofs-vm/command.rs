// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `rofs-vm command`

use std::path::PathBuf;
use std::process::ExitCode;

use crate::failure::{Failure, print, say};
use crate::planned::plan;

/// Prints the commands that would run a VM, in their order
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The description, TOML or JSON; `-` for the standard input
    file: PathBuf,
    /// Print the whole plan as JSON: files, processes, sockets, and what is waited for
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    let plan = plan(&args.file)?;
    if args.json {
        let json = serde_json::to_string_pretty(&plan).map_err(Failure::run)?;
        return print(&format!("{json}\n"));
    }
    for warning in &plan.warnings {
        say(&format!("rofs-vm: warning: {warning}"));
    }
    print(&plan.commands())
}
