// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A running VM, by its name.

use std::ffi::OsStr;
use std::path::Path;

use launcher::host::Directories;
use launcher::state::Client;

use crate::failure::Failure;

/// Connects to its supervisor.
pub(crate) fn connect(name: &str) -> Result<Client, Failure> {
    let path = Path::new(name);
    // A name is one part of a path. Whoever has the file at hand may well name that.
    if path.file_name() != Some(OsStr::new(name)) || path.extension().is_some() {
        return Err(Failure::Input(format!(
            "{name}: no name of a VM, which is what its file calls it, or the file's name without \
             folder and ending; `rofs-vm list` shows those that run"
        )));
    }
    let directories = Directories::find().map_err(Failure::run)?;
    Client::connect(&directories.runtime_of(name)).map_err(Failure::run)
}
