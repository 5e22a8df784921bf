// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `rofs-vm schema`

use std::process::ExitCode;

use launcher::schema::schema;

use crate::failure::{Failure, print};

/// Prints the JSON schema of a description, for editors
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: Args) -> Result<ExitCode, Failure> {
    print(&format!("{:#}\n", schema()))
}
