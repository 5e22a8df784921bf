// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `rofs-vm list`

use std::fmt::Write;
use std::process::ExitCode;

use launcher::host::Directories;
use launcher::state::{Status, running};

use crate::failure::{Failure, print, say};
use crate::status::{duration, json};

/// Lists the VMs that are running
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    let directories = Directories::find().map_err(Failure::run)?;
    let found = running(&directories.runtime).map_err(Failure::run)?;
    let mut list = Vec::new();
    for (dir, status) in found {
        match status {
            Ok(status) => list.push(status),
            Err(e) => say(&format!("rofs-vm: {}: {e}", dir.display())),
        }
    }
    if args.json {
        print(&json(&list)?)
    } else {
        print(&text(&list))
    }
}

fn text(list: &[Status]) -> String {
    let width = list
        .iter()
        .map(|vm| vm.name.len())
        .max()
        .unwrap_or(0)
        .max(4);
    let mut text = format!(
        "{:width$}  {:9}  {:>8}  {:>10}  {:>8}\n",
        "NAME", "STATE", "PROCESS", "UPTIME", "MEMORY"
    );
    for vm in list {
        let memory = vm
            .memory_mib
            .map_or_else(String::new, |mib| format!("{mib} MiB"));
        let _ = writeln!(
            text,
            "{:width$}  {:9}  {:>8}  {:>10}  {memory:>8}",
            vm.name,
            vm.phase.as_str(),
            vm.pid,
            duration(vm.uptime_secs)
        );
    }
    text
}
