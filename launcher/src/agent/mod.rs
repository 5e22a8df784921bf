// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The host's end of the channel to the agent in the guest.
//!
//! [`Agent`] owns the connection: one thread reads it, one writes it, and neither waits for anybody
//! else. [`Session`] is one command in the guest. [`attach`] connects a session with this process's
//! standard streams, [`Agent::relay`] with another process's.
//!
//! The guest is not trusted. What it sends is bounded by the windows of the streams (see
//! [`rofs_guest::agent`]), its texts are shortened and stripped of control characters, and a frame
//! that makes no sense ends the connection, which every session and event receiver learns as
//! [`AgentError::Lost`].

mod attach;
mod connect;
mod hub;
mod relay;
mod session;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use attach::{Attached, attach, pass, terminal_size};
pub use rofs_guest::agent::{Exec, ExitStatus, StartError, Stream, TerminalSize};
pub use session::{Said, Session};

use crate::plan::AgentChannel;
use hub::Hub;

/// How long a guest took to be ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// From its kernel's start to its init's, by its own clock.
    pub kernel: Duration,
    /// From its kernel's start to its being ready, by its own clock.
    pub total: Duration,
    /// When it said so.
    pub heard: Instant,
}

/// What the guest says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The guest is ready: all is mounted, commands can be run.
    Ready(Ready),
    /// Something went wrong; a sentence for the user. `fatal`: the guest powers off because of it.
    Problem {
        /// The sentence.
        text: String,
        /// Nothing will come of this guest.
        fatal: bool,
    },
    /// The command that the guest was started for has ended, and the guest powers off.
    Ended(Result<ExitStatus, StartError>),
}

/// The agent cannot be talked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// The connection is gone; why.
    #[error("the connection to the agent in the guest is gone: {0}")]
    Lost(String),
    /// Nothing came in time.
    #[error("the agent in the guest has said nothing for {} seconds", .0.as_secs())]
    Silent(Duration),
}

/// The agent of one guest. Clones are the same agent.
#[derive(Clone, Debug)]
pub struct Agent {
    hub: Arc<Hub>,
}

impl Agent {
    /// Connects to a guest that is about to start, and returns at once: that the guest is there is
    /// an event. `patience` is how long the channel may take to be there.
    ///
    /// # Errors
    ///
    /// No thread could be started.
    pub fn connect(channel: &AgentChannel, patience: Duration) -> std::io::Result<Agent> {
        let channel = channel.clone();
        Hub::start(move |given_up| connect::connect(&channel, patience, given_up))
            .map(|hub| Agent { hub })
    }

    /// The agent at the other end of a stream: a guest's, or a relay's.
    ///
    /// # Errors
    ///
    /// No thread could be started.
    pub fn over(stream: std::os::unix::net::UnixStream) -> std::io::Result<Agent> {
        Hub::start(move |_| Ok(stream)).map(|hub| Agent { hub })
    }

    /// The next event.
    ///
    /// # Errors
    ///
    /// [`AgentError::Silent`] after `timeout`, [`AgentError::Lost`] when there will be none.
    pub fn event(&self, timeout: Duration) -> Result<Event, AgentError> {
        self.hub.event(timeout)
    }

    /// How long the guest took, once it is ready.
    pub fn ready(&self) -> Option<Ready> {
        self.hub.ready()
    }

    /// The session of the command that the guest was started for; once.
    pub fn main(&self) -> Option<Session> {
        Session::main(&self.hub)
    }

    /// Runs another command.
    ///
    /// # Errors
    ///
    /// [`AgentError::Lost`].
    pub fn exec(&self, exec: &Exec) -> Result<Session, AgentError> {
        Session::open(&self.hub, exec)
    }

    /// Asks the guest to end everything and power off.
    pub fn shutdown(&self) {
        self.hub.send(rofs_guest::agent::Frame::Shutdown);
    }

    /// Ends the connection. Threads that wait for something of it learn that it is lost.
    pub fn close(&self) {
        self.hub.lose("it was closed");
    }

    /// Serves another process at the other end of `client`, which talks to [`Agent::over`] it,
    /// until it goes or the guest does. Commands that still run for it then are ended.
    ///
    /// # Errors
    ///
    /// What the client sent makes no sense, or the guest is gone.
    pub fn relay(&self, client: std::os::unix::net::UnixStream) -> Result<(), AgentError> {
        relay::relay(&self.hub, client)
    }
}

#[cfg(test)]
mod tests;
