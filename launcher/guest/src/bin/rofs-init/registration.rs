// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Tells the guest's Nix database which store paths are there.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use rofs_guest::config::REGISTRATION_PATH;

use crate::failure::{Context, Failure};

/// The registration of the initrd, if it has one. To be opened before the initrd is cleared.
pub(crate) fn open() -> Option<File> {
    File::open(REGISTRATION_PATH).ok()
}

/// Loads it. Paths that the database knows already stay as they are.
pub(crate) fn load(program: &Path, registration: File) -> Result<(), Failure> {
    let output = Command::new(program)
        .arg("--load-db")
        .env_clear()
        .env("HOME", "/root")
        .env("USER", "root")
        .env("PATH", program.parent().unwrap_or(Path::new("/")))
        .stdin(Stdio::from(registration))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .context(|| {
            format!(
                "Nix does not know the paths of the store, because {} does not run",
                program.display()
            )
        })?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "Nix does not know the paths of the store, because {} --load-db failed ({}): {}",
        program.display(),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    )))
}
