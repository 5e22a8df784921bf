// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How a subcommand fails.

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use launcher::check::Checked;
use launcher::mistakes::Mistakes;

/// Bad input.
const BAD_INPUT: u8 = 2;

/// Why a subcommand failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There are mistakes in the file.
    Mistakes(Mistakes),
    /// The command cannot be meant so; exit code 2.
    Input(String),
    /// Something failed while it ran; exit code 1.
    Run(String),
}

impl Failure {
    /// Something failed while it ran.
    pub(crate) fn run(error: impl Error) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        Self::Run(text)
    }

    /// Says it to the user; gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        let (text, code) = match self {
            Self::Mistakes(mistakes) if colours() => (mistakes.styled(), BAD_INPUT),
            Self::Mistakes(mistakes) => (mistakes.to_string(), BAD_INPUT),
            Self::Input(text) => (format!("rofs-vm: {text}"), BAD_INPUT),
            Self::Run(text) => (format!("rofs-vm: {text}"), 1),
        };
        say(&text);
        ExitCode::from(code)
    }
}

impl From<Mistakes> for Failure {
    fn from(mistakes: Mistakes) -> Self {
        Self::Mistakes(mistakes)
    }
}

/// Shows the warnings of a description.
pub(crate) fn warn(checked: &Checked) {
    let warnings = checked.warnings(colours());
    if !warnings.is_empty() {
        say(&warnings);
    }
}

/// Writes to the standard error, which may be closed: there is nobody to tell then.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Writes to the standard output. A reader that has seen enough is no failure.
pub(crate) fn print(text: &str) -> Result<ExitCode, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Run(format!("cannot write the output: {error}")))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn colours() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
