// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `rofs-vm init`

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use launcher::starter::STARTER;

use crate::failure::{Failure, print, say};

/// Writes a description to start from, with comments
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to write it; `-` for the standard output. A file that is there is left alone
    #[arg(default_value = "vm.toml")]
    file: PathBuf,
}

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    if args.file == Path::new("-") {
        return print(STARTER);
    }
    let file = args.file.display();
    match File::create_new(&args.file).and_then(|mut out| out.write_all(STARTER.as_bytes())) {
        Ok(()) => {
            say(&format!(
                "{file} is written. Look at it, then: rofs-vm run {file}"
            ));
            Ok(ExitCode::SUCCESS)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(Failure::Input(format!(
            "{file} is there already; name another file"
        ))),
        Err(error) => Err(Failure::Run(format!("{file} cannot be written: {error}"))),
    }
}
