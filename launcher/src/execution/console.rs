// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The guest's serial console, for any number of listeners.
//!
//! A hypervisor takes one client on its console socket. That is the supervisor, which passes on
//! what comes to all who listen, and what they type to the guest. Who does not read fast enough
//! misses something: the guest never waits.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::plan::{Console as Plan, ConsoleLog};

/// Pieces, of at most 4 KiB, that may wait for a listener.
const WAITING: usize = 256;
/// Bytes kept of the last that was printed.
const LAST: usize = 4 << 10;
/// Most bytes that are written to a log: a guest shall not fill the disk.
const LOG: u64 = 64 << 20;
/// How long the hypervisor may take to take us in.
const PATIENCE: Duration = Duration::from_secs(10);

/// The console. Clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct Console {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    guest: UnixStream,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    listeners: Vec<SyncSender<Arc<[u8]>>>,
    last: VecDeque<u8>,
    ended: bool,
}

impl Console {
    /// Connects to the hypervisor.
    pub(super) fn connect(plan: &Plan) -> io::Result<Console> {
        let deadline = Instant::now() + PATIENCE;
        let guest = loop {
            match UnixStream::connect(&plan.socket) {
                Ok(stream) => break stream,
                Err(e) if Instant::now() > deadline => return Err(e),
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
        };
        let log = match &plan.log {
            ConsoleLog::ByReader(path) => Some(
                OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .mode(0o600)
                    .open(path)?,
            ),
            ConsoleLog::ByHypervisor(_) => None,
        };
        let from = guest.try_clone()?;
        let console = Console {
            shared: Arc::new(Shared {
                guest,
                state: Mutex::default(),
            }),
        };
        let to = console.clone();
        thread::Builder::new()
            .name("console".into())
            .spawn(move || to.pass_on(from, log))?;
        Ok(console)
    }

    fn pass_on(&self, mut from: UnixStream, mut log: Option<File>) {
        let mut buffer = [0; 4096];
        let mut logged = 0;
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            let piece: Arc<[u8]> = buffer[..n].into();
            logged += n as u64;
            if logged <= LOG
                && let Some(file) = &mut log
                && file.write_all(&piece).is_err()
            {
                log = None;
            }
            let mut state = self.state();
            let too_many = (state.last.len() + n).saturating_sub(LAST);
            let too_many = too_many.min(state.last.len());
            state.last.drain(..too_many);
            state.last.extend(&piece[..]);
            state.listeners.retain(|listener| {
                !matches!(
                    listener.try_send(Arc::clone(&piece)),
                    Err(TrySendError::Disconnected(_))
                )
            });
        }
        let mut state = self.state();
        state.ended = true;
        state.listeners.clear();
    }

    /// Lets somebody listen from now on, until writing to them fails.
    pub(super) fn listen(&self, mut to: impl Write + Send + 'static) -> io::Result<()> {
        let (sender, pieces) = sync_channel::<Arc<[u8]>>(WAITING);
        thread::Builder::new()
            .name("listener".into())
            .spawn(move || {
                for piece in pieces {
                    if to.write_all(&piece).and_then(|()| to.flush()).is_err() {
                        return;
                    }
                }
            })?;
        let mut state = self.state();
        if !state.ended {
            state.listeners.push(sender);
        }
        Ok(())
    }

    /// Types. Returns once the hypervisor has taken it.
    pub(super) fn type_in(&self, keys: &[u8]) -> io::Result<()> {
        (&self.shared.guest).write_all(keys)
    }

    /// Passes on what is typed there to its end.
    pub(super) fn type_from(&self, mut from: impl Read) {
        let mut buffer = [0; 1024];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => return,
                Ok(n) if self.type_in(&buffer[..n]).is_err() => return,
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    /// The last lines that were printed, as a person can read them.
    pub(super) fn last_words(&self) -> String {
        const LINES: usize = 15;
        let mut state = self.state();
        let text = String::from_utf8_lossy(state.last.make_contiguous()).into_owned();
        let lines: Vec<String> = text
            .lines()
            .map(|line| line.chars().filter(|c| !c.is_control()).collect())
            .filter(|line: &String| !line.trim().is_empty())
            .collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
