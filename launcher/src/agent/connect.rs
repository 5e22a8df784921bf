// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Connecting to where the hypervisor has the guest's agent.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::plan::AgentChannel;

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// The longest answer to `CONNECT`.
const LONGEST_ANSWER: usize = 64;

/// Tries until it works, `patience` ends or nobody wants it any more.
pub(super) fn connect(
    channel: &AgentChannel,
    patience: Duration,
    given_up: &dyn Fn() -> bool,
) -> io::Result<UnixStream> {
    let end = Instant::now() + patience;
    loop {
        let attempt = match channel {
            AgentChannel::Unix(path) => UnixStream::connect(path),
            AgentChannel::Vsock { socket, port } => vsock(socket, *port),
        };
        match attempt {
            Ok(stream) => return Ok(stream),
            Err(e) if Instant::now() > end || given_up() => return Err(e),
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

/// By the hypervisor's socket to a vsock port of the guest: `CONNECT PORT\n`, then `OK PORT\n`.
/// As long as nobody listens in the guest, the answer is the end of the connection.
fn vsock(socket: &Path, port: u32) -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(format!("CONNECT {port}\n").as_bytes())?;
    let mut answer = Vec::new();
    let mut byte = [0];
    // What follows the line belongs to the agent, so not a byte more may be read.
    while !answer.ends_with(b"\n") {
        stream.read_exact(&mut byte)?;
        answer.extend(byte);
        if answer.len() > LONGEST_ANSWER {
            return Err(io::Error::other("an answer to CONNECT that has no end"));
        }
    }
    if !answer.starts_with(b"OK ") {
        return Err(io::Error::other("CONNECT was refused"));
    }
    stream.set_read_timeout(None)?;
    Ok(stream)
}
