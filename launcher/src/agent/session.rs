// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One command in the guest.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use rofs_guest::agent::{Exec, ExitStatus, Frame, MAX_DATA, StartError, Stream, TerminalSize};

use super::AgentError;
use super::hub::Hub;

/// A running command: its output is received here, its input sent through [`Session::input`].
///
/// Dropping it hangs the command up.
#[derive(Debug)]
pub struct Session {
    input: Input,
    frames: Receiver<Frame>,
}

/// What a session says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Output, or a terminal's all.
    Output(Stream, Vec<u8>),
    /// It has ended, and this was all.
    Ended(Result<ExitStatus, StartError>),
}

/// The way to a command; usable from several threads.
#[derive(Clone, Debug)]
pub struct Input {
    hub: Arc<Hub>,
    id: u32,
}

impl Session {
    pub(super) fn main(hub: &Arc<Hub>) -> Option<Session> {
        let (id, frames) = hub.add(true).ok()??;
        Some(Session {
            input: Input {
                hub: Arc::clone(hub),
                id,
            },
            frames,
        })
    }

    pub(super) fn open(hub: &Arc<Hub>, exec: &Exec) -> Result<Session, AgentError> {
        let Some((id, frames)) = hub.add(false)? else {
            return Err(AgentError::Lost("all numbers of sessions are taken".into()));
        };
        hub.send(Frame::Exec(id, exec.clone()));
        Ok(Session {
            input: Input {
                hub: Arc::clone(hub),
                id,
            },
            frames,
        })
    }

    /// The way to the command.
    pub fn input(&self) -> Input {
        self.input.clone()
    }

    /// What comes next; waits for it.
    ///
    /// # Errors
    ///
    /// [`AgentError::Lost`].
    pub fn next(&self) -> Result<Said, AgentError> {
        loop {
            return match self.frames.recv() {
                Ok(Frame::Stdout(_, data)) => Ok(Said::Output(Stream::Stdout, data)),
                Ok(Frame::Stderr(_, data)) => Ok(Said::Output(Stream::Stderr, data)),
                Ok(Frame::Exit(_, status)) => Ok(Said::Ended(Ok(status))),
                Ok(Frame::Failed(_, error)) => Ok(Said::Ended(Err(error))),
                Ok(_) => continue,
                Err(_) => Err(self.input.hub.error()),
            };
        }
    }

    /// So many bytes of a stream have been passed on, and more may come. Whoever does not say so is
    /// sent no more than a window of them.
    pub fn consumed(&self, stream: Stream, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        // Only what came is ever given back.
        let _ = self.input.hub.consumed(self.input.id, stream, bytes);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.input.signal(libc::SIGHUP);
        self.input.hub.forget(self.input.id);
    }
}

impl Input {
    /// How many bytes the command takes now, at least one: waits for that. `None` when it has
    /// ended.
    pub fn room(&self) -> Option<usize> {
        let room = self.hub.input_room(self.id)?;
        Some(usize::try_from(room).unwrap_or(MAX_DATA).min(MAX_DATA))
    }

    /// Sends input; empty is its end.
    ///
    /// # Errors
    ///
    /// It is more than [`Input::room`] said.
    pub fn send(&self, data: &[u8]) -> io::Result<()> {
        self.hub.input(self.id, data.to_vec())
    }

    /// Sends the command and its children a signal.
    pub fn signal(&self, signal: i32) {
        self.hub.tell(self.id, Frame::Signal(self.id, signal));
    }

    /// Whether the guest has said that it is there.
    pub(super) fn guest_is_ready(&self) -> bool {
        self.hub.ready().is_some()
    }

    /// Whoever waits for the command learns that the agent is lost.
    pub(super) fn give_up(&self) {
        self.hub.lose("it was given up");
    }

    /// Tells its terminal that it has another size.
    pub fn resize(&self, size: TerminalSize) {
        self.hub.tell(self.id, Frame::Resize(self.id, size));
    }
}
