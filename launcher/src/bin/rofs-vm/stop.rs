// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `rofs-vm stop`

use std::process::ExitCode;

use launcher::execution::{OnStderr, Report};
use launcher::state::{Ended, Reply, Request};

use crate::failure::Failure;
use crate::named::connect;

/// Powers a VM down
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The VM
    name: String,
    /// Kill it, without asking the guest
    #[arg(long)]
    kill: bool,
}

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    let mut client = connect(&args.name)?;
    let request = Request::Stop { kill: args.kill };
    client.ask(&request).map_err(Failure::run)?;
    let report = OnStderr::default();
    report.step(&format!("powering {} down", args.name));
    let reply = client.reply().map_err(Failure::run);
    report.done();
    match reply? {
        Some(Reply::Ended(Ended::PoweredDown)) => Ok(ExitCode::SUCCESS),
        Some(Reply::Ended(Ended::Killed(_))) if args.kill => Ok(ExitCode::SUCCESS),
        Some(Reply::Ended(Ended::Killed(how) | Ended::Failed(how))) => {
            Err(Failure::Run(format!("{}: {how}", args.name)))
        }
        _ => Err(Failure::Run(format!(
            "{}: its supervisor was killed",
            args.name
        ))),
    }
}
