// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The guest's console.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};

use crate::failure::{Context, Failure};

/// Makes the console the standard streams. The kernel did so only if the initrd has the device.
pub(crate) fn open() -> Result<(), Failure> {
    let console = rustix::fs::open("/dev/console", OFlags::RDWR | OFlags::NOCTTY, Mode::empty())
        .context(|| "opening /dev/console".into())?;
    rustix::stdio::dup2_stdin(&console).context(|| "taking the console as stdin".into())?;
    rustix::stdio::dup2_stdout(&console).context(|| "taking the console as stdout".into())?;
    rustix::stdio::dup2_stderr(&console).context(|| "taking the console as stderr".into())
}

/// Prints a line. There is nobody to tell when it fails.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "rofs-init: {text}");
}

/// The terminal behind `/dev/console`, which can be a controlling terminal, as that cannot.
pub(crate) fn terminal() -> PathBuf {
    fs::read_to_string("/sys/class/tty/console/active")
        .ok()
        .and_then(|names| {
            names
                .split_whitespace()
                .last()
                .map(|name| format!("/dev/{name}"))
        })
        .unwrap_or_else(|| "/dev/console".into())
        .into()
}
