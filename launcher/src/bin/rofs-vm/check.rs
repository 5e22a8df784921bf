// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `rofs-vm check`

use std::path::PathBuf;
use std::process::ExitCode;

use launcher::check;
use launcher::description::Document;

use crate::failure::{Failure, print, say, warn};

/// Says what is wrong with a description, all of it, or what the VM will be
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The description, TOML or JSON; `-` for the standard input
    file: PathBuf,
    /// Check the file alone, not what this machine has: for a VM that is to run on another one
    #[arg(long)]
    elsewhere: bool,
}

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    let (checked, of_plan) = if args.elsewhere {
        (check::check(Document::open(&args.file)?, None)?, Vec::new())
    } else {
        let (checked, plan) = check::read(&args.file)?;
        (checked, plan.warnings)
    };
    warn(&checked);
    for warning in of_plan {
        say(&format!("rofs-vm: warning: {warning}"));
    }
    let what = check::explain(&checked.description);
    print(&format!("{}\n{what}", checked.name()))
}
