// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The connection: who it is shared by, and what the guest may send on it.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rofs_guest::agent::{Decoder, Frame, MAIN_SESSION, StartError, Stream, VERSION, WINDOW};

use super::{AgentError, Event, Ready};

/// Frames that may wait to be sent; a guest that reads never comes near.
const QUEUE: usize = 8192;

/// Windows are given back in pieces of this.
const PIECE: u32 = WINDOW / 4;

/// The longest text shown of a guest's, in characters.
const LONGEST_TEXT: usize = 4096;

/// The most events that wait for somebody to look at them; more are dropped.
const EVENTS: usize = 256;

#[derive(Debug)]
pub(super) struct Hub {
    out: SyncSender<Frame>,
    events: Mutex<Receiver<Event>>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    sessions: HashMap<u32, Slot>,
    next_id: u32,
    stream: Option<UnixStream>,
    /// What the guest said when it was there.
    ready: Option<Ready>,
    /// Why the connection is gone.
    lost: Option<String>,
}

/// What the hub knows of a session.
#[derive(Debug)]
struct Slot {
    to: Sender<Frame>,
    /// What we may still send.
    input: u32,
    outputs: [Output; 2],
}

#[derive(Debug)]
struct Output {
    /// What the guest may still send.
    window: u32,
    /// Consumed, but not yet given back.
    consumed: u32,
}

impl Slot {
    fn new(to: Sender<Frame>) -> Slot {
        let output = || Output {
            window: WINDOW,
            consumed: 0,
        };
        Slot {
            to,
            input: WINDOW,
            outputs: [output(), output()],
        }
    }

    fn output(&mut self, stream: Stream) -> Option<&mut Output> {
        let [stdout, stderr] = &mut self.outputs;
        match stream {
            Stream::Stdin => None,
            Stream::Stdout => Some(stdout),
            Stream::Stderr => Some(stderr),
        }
    }
}

impl Hub {
    /// Starts the threads; `connect` runs in the reading one and is told when nobody cares.
    pub(super) fn start(
        connect: impl FnOnce(&dyn Fn() -> bool) -> io::Result<UnixStream> + Send + 'static,
    ) -> io::Result<Arc<Hub>> {
        let (out, to_send) = mpsc::sync_channel(QUEUE);
        let (events_in, events) = mpsc::sync_channel(EVENTS);
        let hub = Arc::new(Hub {
            out,
            events: Mutex::new(events),
            state: Mutex::new(State {
                next_id: MAIN_SESSION + 1,
                ..State::default()
            }),
            changed: Condvar::new(),
        });
        let weak = Arc::downgrade(&hub);
        thread::Builder::new().name("agent".into()).spawn(move || {
            let given_up = || weak.upgrade().is_none_or(|hub| hub.state().lost.is_some());
            let connected = connect(&given_up).and_then(|stream| {
                let Some(hub) = weak.upgrade() else {
                    return Ok(None);
                };
                let mut state = hub.state();
                if state.lost.is_some() {
                    return Ok(None);
                }
                state.stream = Some(stream.try_clone()?);
                Ok(Some(stream))
            });
            let result = match connected {
                Ok(None) => return,
                Ok(Some(stream)) => {
                    let writer = stream.try_clone().and_then(|stream| {
                        let name = thread::Builder::new().name("agent-out".into());
                        name.spawn(move || write_all(stream, &to_send))
                    });
                    // The hub lives while somebody uses it: waiting for the guest is no use.
                    writer.and_then(|_| {
                        read_all(stream, |frame| {
                            let hub = weak.upgrade().ok_or(io::ErrorKind::ConnectionAborted)?;
                            hub.receive(frame, &events_in)
                        })
                    })
                }
                Err(e) => Err(e),
            };
            if let (Err(e), Some(hub)) = (result, weak.upgrade()) {
                hub.lose(&e.to_string());
            }
        })?;
        Ok(hub)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the connection, once.
    pub(super) fn lose(&self, why: &str) {
        let mut state = self.state();
        if state.lost.is_none() {
            state.lost = Some(clean(why));
            // Their receivers find out.
            state.sessions.clear();
            if let Some(stream) = state.stream.take() {
                let _ = stream.shutdown(Shutdown::Both);
            }
            self.changed.notify_all();
        }
    }

    pub(super) fn ready(&self) -> Option<Ready> {
        self.state().ready
    }

    /// Why nothing more comes.
    pub(super) fn error(&self) -> AgentError {
        let lost = self.state().lost.clone();
        AgentError::Lost(lost.unwrap_or_else(|| "the guest ended".into()))
    }

    /// See [`super::Agent::event`].
    pub(super) fn event(&self, timeout: Duration) -> Result<Event, AgentError> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.recv_timeout(timeout).map_err(|e| match e {
            RecvTimeoutError::Timeout => AgentError::Silent(timeout),
            RecvTimeoutError::Disconnected => self.error(),
        })
    }

    /// Sends a frame, which never waits.
    pub(super) fn send(&self, frame: Frame) {
        if self.out.try_send(frame).is_err() {
            self.lose("the guest does not read what it is sent");
        }
    }

    /// A new session under a number of its own, or under that of the main one.
    pub(super) fn add(&self, main: bool) -> Result<Option<(u32, Receiver<Frame>)>, AgentError> {
        let mut state = self.state();
        if let Some(why) = &state.lost {
            return Err(AgentError::Lost(why.clone()));
        }
        let id = if main {
            MAIN_SESSION
        } else {
            let id = state.next_id;
            state.next_id = id.checked_add(1).unwrap_or(MAIN_SESSION + 1);
            id
        };
        let (to, from) = mpsc::channel();
        Ok(match state.sessions.entry(id) {
            std::collections::hash_map::Entry::Occupied(_) => None,
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(Slot::new(to));
                Some((id, from))
            }
        })
    }

    /// Sends a frame of a session that still runs.
    pub(super) fn tell(&self, id: u32, frame: Frame) {
        if self.state().sessions.contains_key(&id) {
            self.send(frame);
        }
    }

    /// Nobody waits for a session any more. The hub does: until then its number is taken.
    pub(super) fn forget(&self, id: u32) {
        if let Some(slot) = self.state().sessions.get_mut(&id) {
            (slot.to, _) = mpsc::channel();
        }
    }

    /// How many bytes of input a session takes now; waits for at least one. `None` when it has
    /// ended.
    pub(super) fn input_room(&self, id: u32) -> Option<u32> {
        let mut state = self.state();
        loop {
            match state.sessions.get(&id) {
                None => return None,
                Some(slot) if slot.input > 0 => return Some(slot.input),
                Some(_) => {
                    state = self
                        .changed
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// Sends input, if its window allows.
    pub(super) fn input(&self, id: u32, data: Vec<u8>) -> io::Result<()> {
        let mut state = self.state();
        if let Some(slot) = state.sessions.get_mut(&id) {
            let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
            slot.input = slot
                .input
                .checked_sub(length)
                .ok_or_else(|| io::Error::other("more input than its window"))?;
            drop(state);
            self.send(Frame::Stdin(id, data));
        }
        Ok(())
    }

    /// Says that output was passed on.
    pub(super) fn consumed(&self, id: u32, stream: Stream, bytes: u32) -> io::Result<()> {
        let mut state = self.state();
        let Some(output) = state
            .sessions
            .get_mut(&id)
            .and_then(|slot| slot.output(stream))
        else {
            return Ok(());
        };
        output.consumed = output
            .consumed
            .checked_add(bytes)
            .filter(|consumed| *consumed <= WINDOW - output.window)
            .ok_or_else(|| io::Error::other("more was read than there was"))?;
        if output.consumed >= PIECE {
            let more = std::mem::take(&mut output.consumed);
            output.window += more;
            drop(state);
            self.send(Frame::Window(id, stream, more));
        }
        Ok(())
    }

    /// A frame of the guest's. An error is the end of the connection.
    fn receive(&self, frame: Frame, events: &SyncSender<Event>) -> io::Result<()> {
        // A guest that says more than anybody reads is not listened to.
        let tell = |event| drop(events.try_send(event));
        match frame {
            Frame::Hello(hello) if hello.version == VERSION => {
                let (kernel, total) = hello.started_us;
                let micros = Duration::from_micros;
                let ready = Ready {
                    kernel: micros(kernel),
                    total: micros(total),
                    heard: Instant::now(),
                };
                self.state().ready.get_or_insert(ready);
                tell(Event::Ready(ready));
                Ok(())
            }
            Frame::Hello(hello) => Err(io::Error::other(format!(
                "it has version {} of the protocol, this is {VERSION}",
                hello.version
            ))),
            Frame::Problem(problem) => {
                tell(Event::Problem {
                    text: clean(&problem.text),
                    fatal: problem.fatal,
                });
                if problem.fatal {
                    self.send(Frame::Shutdown);
                }
                Ok(())
            }
            Frame::Stdout(id, ref data) => self.output(id, Stream::Stdout, data.len(), frame),
            Frame::Stderr(id, ref data) => self.output(id, Stream::Stderr, data.len(), frame),
            Frame::Window(id, Stream::Stdin, more) if more > 0 => {
                let mut state = self.state();
                let slot = state.sessions.get_mut(&id).ok_or_else(|| no_session(id))?;
                slot.input = slot
                    .input
                    .checked_add(more)
                    .filter(|window| *window <= WINDOW)
                    .ok_or_else(|| io::Error::other("it opens a window wider than it is"))?;
                let _ = slot.to.send(frame);
                self.changed.notify_all();
                Ok(())
            }
            Frame::Exit(id, status) => {
                self.end(id, Frame::Exit(id, status))?;
                if id == MAIN_SESSION {
                    tell(Event::Ended(Ok(status)));
                }
                Ok(())
            }
            Frame::Failed(id, error) => {
                let error = StartError {
                    text: clean(&error.text),
                    ..error
                };
                self.end(id, Frame::Failed(id, error.clone()))?;
                if id == MAIN_SESSION {
                    tell(Event::Ended(Err(error)));
                }
                Ok(())
            }
            _ => Err(io::Error::other("it sent a frame that only the host sends")),
        }
    }

    fn output(&self, id: u32, stream: Stream, length: usize, frame: Frame) -> io::Result<()> {
        let mut state = self.state();
        let slot = match state.sessions.get_mut(&id) {
            Some(slot) => slot,
            // Nobody asked for the main command's output.
            None if id == MAIN_SESSION => return Ok(()),
            None => return Err(no_session(id)),
        };
        let output = slot
            .output(stream)
            .ok_or_else(|| io::Error::other("output of stdin"))?;
        output.window = u32::try_from(length)
            .ok()
            .filter(|length| *length > 0)
            .and_then(|length| output.window.checked_sub(length))
            .ok_or_else(|| io::Error::other("it sent more output than its window"))?;
        // If nobody listens any more, nothing is given back, and no more comes.
        let _ = slot.to.send(frame);
        Ok(())
    }

    fn end(&self, id: u32, last: Frame) -> io::Result<()> {
        let slot = self.state().sessions.remove(&id);
        self.changed.notify_all();
        match slot {
            Some(slot) => {
                let _ = slot.to.send(last);
            }
            None if id == MAIN_SESSION => {}
            None => return Err(no_session(id)),
        }
        if id == MAIN_SESSION {
            // The guest waits for this: everything of it has arrived here.
            self.send(Frame::Shutdown);
        }
        Ok(())
    }
}

fn read_all(
    mut stream: UnixStream,
    mut each: impl FnMut(Frame) -> io::Result<()>,
) -> io::Result<()> {
    let mut decoder = Decoder::default();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let n = match stream.read(&mut buffer) {
            Ok(0) => return Err(io::Error::other("the guest ended")),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        decoder.push(buffer.get(..n).unwrap_or_default());
        while let Some(frame) = decoder.next_frame()? {
            each(frame)?;
        }
    }
}

/// Ends with the hub, or with the connection: the reader tells of that.
fn write_all(mut stream: UnixStream, frames: &Receiver<Frame>) {
    let mut bytes = Vec::new();
    while let Ok(frame) = frames.recv() {
        bytes.clear();
        // Too long a command: the guest could not have taken it.
        if frame.encode(&mut bytes).is_ok() && stream.write_all(&bytes).is_err() {
            return;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}

fn no_session(id: u32) -> io::Error {
    io::Error::other(format!("it speaks of session {id}, which does not exist"))
}

/// What may be shown on a terminal.
pub(super) fn clean(text: &str) -> String {
    text.chars()
        .take(LONGEST_TEXT)
        .map(|c| {
            if c.is_control() && c != '\n' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}
