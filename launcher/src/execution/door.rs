// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The socket at which a supervisor answers the other subcommands.

use std::io::{self, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::RunError;
use super::console::Console;
use super::facts::Facts;
use super::inbox::Event;
use crate::agent::Agent;
use crate::share;
use crate::state::{Reply, Request, SOCKET, read_line};

/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);

/// What clients may be given. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Door {
    shared: Arc<Mutex<Shared>>,
    events: Sender<Event>,
}

#[derive(Debug)]
struct Shared {
    facts: Facts,
    console: Option<Console>,
    agent: Option<Agent>,
}

impl Door {
    /// Opens it in the machine's directory.
    pub(super) fn open(dir: &Path, facts: Facts, events: Sender<Event>) -> Result<Door, RunError> {
        let path = dir.join(SOCKET);
        let failed = || RunError::io(format!("listen at {}", path.display()));
        let listener = share::listen(&path).map_err(failed())?;
        let door = Door {
            shared: Arc::new(Mutex::new(Shared {
                facts,
                console: None,
                agent: None,
            })),
            events,
        };
        let host = door.clone();
        thread::Builder::new()
            .name("door".into())
            .spawn(move || host.receive(&listener))
            .map_err(failed())?;
        Ok(door)
    }

    /// Changes what is told of the machine.
    pub(super) fn update(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut self.shared().facts);
    }

    /// From now on the console can be had.
    pub(super) fn set_console(&self, console: Console) {
        self.shared().console = Some(console);
    }

    /// From now on commands can be run.
    pub(super) fn set_agent(&self, agent: Agent) {
        self.shared().agent = Some(agent);
    }

    /// Until the process ends: nobody may find a socket that nobody listens at.
    fn receive(&self, listener: &UnixListener) {
        for stream in listener.incoming() {
            let Ok(stream) = stream else {
                // No descriptor left, most likely.
                thread::sleep(Duration::from_millis(100));
                continue;
            };
            let host = self.clone();
            let serve = move || {
                if let Err(e) = host.serve(stream) {
                    log::debug!("a client: {e}");
                }
            };
            let _ = thread::Builder::new().name("client".into()).spawn(serve);
        }
    }

    fn serve(&self, mut stream: UnixStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let line = read_line(&mut stream)?;
        if line.is_empty() {
            return Ok(());
        }
        let request = match serde_json::from_slice(&line) {
            Ok(request) => request,
            Err(e) => return tell(&mut stream, &Reply::Error(format!("not understood: {e}"))),
        };
        match request {
            Request::Status => {
                let status = self.shared().facts.status();
                tell(&mut stream, &Reply::Status(Box::new(status)))
            }
            Request::Stop { kill } => {
                tell(&mut stream, &Reply::Ok)?;
                let client = stream;
                self.events
                    .send(Event::Stop { kill, client })
                    .map_err(|_| io::ErrorKind::BrokenPipe.into())
            }
            Request::Console => match self.console() {
                Some(console) => {
                    tell(&mut stream, &Reply::Ok)?;
                    stream.set_read_timeout(None)?;
                    let typed = stream.try_clone()?;
                    let ended = stream.try_clone()?;
                    console.listen(stream)?;
                    console.type_from(typed);
                    ended.shutdown(std::net::Shutdown::Both)
                }
                None => tell(
                    &mut stream,
                    &Reply::Error("it has no serial console, or not yet".into()),
                ),
            },
            Request::Agent => match self.agent() {
                Some(agent) => {
                    tell(&mut stream, &Reply::Ok)?;
                    stream.set_read_timeout(None)?;
                    agent.relay(stream).map_err(io::Error::other)
                }
                None => tell(
                    &mut stream,
                    &Reply::Error(
                        "commands cannot be run in it, or not yet: it has no agent that answers \
                         (with guestInit = true it has one as soon as it is up)"
                            .into(),
                    ),
                ),
            },
        }
    }

    fn console(&self) -> Option<Console> {
        self.shared().console.clone()
    }

    fn agent(&self) -> Option<Agent> {
        self.shared().agent.clone()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends a client a line.
pub(super) fn tell(stream: &mut UnixStream, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    stream.write_all(&line)
}
