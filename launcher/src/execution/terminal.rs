// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The terminal that a guest's console is shown on.

use std::io;
use std::os::fd::OwnedFd;

use rustix::stdio::stdin;
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, Termios, isatty, tcgetattr, tcsetattr,
};

/// A terminal that passes on each key, shows nothing by itself, and gets its modes back when this
/// is dropped.
#[derive(Debug)]
pub struct Keys {
    terminal: OwnedFd,
    before: Termios,
}

/// What Ctrl-C does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// It interrupts this process, as do the other keys that send signals.
    Us,
    /// It is a key like all others.
    Guest,
}

impl Keys {
    /// Takes the terminal that standard input is; `None` if it is none.
    ///
    /// # Errors
    /// If its modes cannot be changed.
    pub fn take(interrupt: Interrupt) -> io::Result<Option<Keys>> {
        if !isatty(stdin()) {
            return Ok(None);
        }
        let terminal = rustix::io::fcntl_dupfd_cloexec(stdin(), 3)?;
        let before = tcgetattr(&terminal)?;
        let mut modes = before.clone();
        // The guest's terminal echoes and edits.
        modes.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::IEXTEN;
        modes.input_modes -= InputModes::ICRNL | InputModes::INLCR | InputModes::IXON;
        if interrupt == Interrupt::Guest {
            modes.local_modes -= LocalModes::ISIG;
        }
        tcsetattr(&terminal, OptionalActions::Drain, &modes)?;
        Ok(Some(Keys { terminal, before }))
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Drain, &self.before);
    }
}
