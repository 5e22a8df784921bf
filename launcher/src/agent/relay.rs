// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Another process's sessions: `rofs-vm exec` asks the supervisor, which has the connection.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rofs_guest::agent::{Decoder, Exec, Frame, Hello, MAX_SESSIONS, StartError, VERSION};

use super::AgentError;
use super::hub::Hub;

/// The client's numbers of sessions, and the guest's.
type Numbers = Arc<Mutex<HashMap<u32, u32>>>;

/// See [`super::Agent::relay`]. The client is this machine's, but it may be wrong.
pub(super) fn relay(hub: &Arc<Hub>, client: UnixStream) -> Result<(), AgentError> {
    let numbers = Numbers::default();
    let (to_client, frames) = mpsc::channel();
    let lost = |e: io::Error| AgentError::Lost(e.to_string());
    let writer = client.try_clone().map_err(lost)?;
    let writer = thread::Builder::new()
        .name("agent-relay".into())
        .spawn(move || write(writer, &frames))
        .map_err(lost)?;
    let _ = to_client.send(Frame::Hello(Hello {
        version: VERSION,
        started_us: (0, 0),
    }));
    let result = read(hub, &client, &to_client, &numbers).map_err(lost);
    for id in numbers
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .values()
    {
        hub.tell(*id, Frame::Signal(*id, libc::SIGKILL));
        hub.forget(*id);
    }
    let _ = client.shutdown(Shutdown::Both);
    drop(to_client);
    let _ = writer.join();
    result
}

fn read(
    hub: &Arc<Hub>,
    mut client: &UnixStream,
    to_client: &Sender<Frame>,
    numbers: &Numbers,
) -> io::Result<()> {
    let mut decoder = Decoder::default();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match client.read(&mut buffer)? {
            0 => return Ok(()),
            n => decoder.push(buffer.get(..n).unwrap_or_default()),
        }
        while let Some(frame) = decoder.next_frame()? {
            if let Frame::Exec(id, exec) = frame {
                open(hub, id, &exec, to_client, numbers)?;
            } else {
                pass_on(hub, frame, numbers)?;
            }
        }
    }
}

fn open(
    hub: &Arc<Hub>,
    id: u32,
    exec: &Exec,
    to_client: &Sender<Frame>,
    numbers: &Numbers,
) -> io::Result<()> {
    let mut known = numbers.lock().unwrap_or_else(PoisonError::into_inner);
    if known.len() >= MAX_SESSIONS || known.contains_key(&id) {
        return Err(io::Error::other(format!("session {id} cannot be opened")));
    }
    let (theirs, frames) = match hub.add(false) {
        Ok(Some(session)) => session,
        Ok(None) | Err(_) => {
            let text = "the guest takes no commands".into();
            let _ = to_client.send(Frame::Failed(
                id,
                StartError {
                    text,
                    not_found: false,
                },
            ));
            return Ok(());
        }
    };
    known.insert(id, theirs);
    hub.send(Frame::Exec(theirs, exec.clone()));
    let (to_client, numbers) = (to_client.clone(), Arc::clone(numbers));
    let name = thread::Builder::new().name("agent-session".into());
    name.spawn(move || {
        for frame in frames {
            let last = matches!(frame, Frame::Exit(..) | Frame::Failed(..));
            if last {
                numbers
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(&id);
            }
            if to_client.send(under(frame, id)).is_err() || last {
                return;
            }
        }
    })?;
    Ok(())
}

fn pass_on(hub: &Hub, frame: Frame, numbers: &Numbers) -> io::Result<()> {
    let (Frame::Stdin(id, _) | Frame::Window(id, ..) | Frame::Resize(id, _) | Frame::Signal(id, _)) =
        frame
    else {
        return Err(io::Error::other("a frame that is not the client's"));
    };
    let known = numbers
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&id)
        .copied();
    // It may have ended just now.
    let Some(theirs) = known else {
        return Ok(());
    };
    match under(frame, theirs) {
        Frame::Stdin(_, data) => hub.input(theirs, data),
        Frame::Window(_, stream, more) => hub.consumed(theirs, stream, more),
        frame => {
            hub.tell(theirs, frame);
            Ok(())
        }
    }
}

/// The frame under another session's number.
fn under(frame: Frame, id: u32) -> Frame {
    match frame {
        Frame::Stdin(_, data) => Frame::Stdin(id, data),
        Frame::Stdout(_, data) => Frame::Stdout(id, data),
        Frame::Stderr(_, data) => Frame::Stderr(id, data),
        Frame::Window(_, stream, more) => Frame::Window(id, stream, more),
        Frame::Resize(_, size) => Frame::Resize(id, size),
        Frame::Signal(_, signal) => Frame::Signal(id, signal),
        Frame::Exit(_, status) => Frame::Exit(id, status),
        Frame::Failed(_, error) => Frame::Failed(id, error),
        frame => frame,
    }
}

fn write(mut client: UnixStream, frames: &Receiver<Frame>) {
    let mut bytes = Vec::new();
    for frame in frames {
        bytes.clear();
        if frame.encode(&mut bytes).is_ok() && client.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
}
