// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The wire format of the agent's channel.
//!
//! A frame is a little-endian `u32` (the length of the rest), a byte (its [kind](Frame)), a
//! little-endian `u32` (its session) and a body: bytes of a stream as they are, or JSON. Frames of
//! unknown kinds, longer than [`MAX_FRAME`] or that make no sense end the connection: each side
//! takes the other for hostile.
//!
//! A session is one command. [`MAIN_SESSION`] is the one the guest was started for; the host opens
//! others with [`Frame::Exec`], under numbers of its choice. A session ends with [`Frame::Exit`] or
//! [`Frame::Failed`], after which its number is free.
//!
//! Each stream of a session (stdin, stdout, stderr) starts with a window of [`WINDOW`] bytes. Who
//! sends bytes uses it up; who has passed them on gives it back with [`Frame::Window`]. So neither
//! side ever holds more than a window for a stream that nobody reads, and one such stream does not
//! hold up the others.

use std::io;

use serde::{Deserialize, Serialize};

/// The version in [`Hello`].
pub const VERSION: u32 = 1;

/// The largest value of a frame's length field.
pub const MAX_FRAME: usize = 256 << 10;

/// The most bytes of a stream in one frame.
pub const MAX_DATA: usize = 32 << 10;

/// The bytes of a stream that may be on their way.
pub const WINDOW: u32 = 256 << 10;

/// The most sessions at a time.
pub const MAX_SESSIONS: usize = 64;

/// The session of the command that the guest was started for.
pub const MAIN_SESSION: u32 = 0;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Guest to host, first: the guest is ready.
    Hello(Hello),
    /// Guest to host, at any time: something is wrong, for a person to read. When it says that
    /// nothing will come of the guest, the guest powers off after it.
    Problem(Problem),
    /// Host to guest: start a command as a session.
    Exec(u32, Exec),
    /// Host to guest: input. Empty: its end.
    Stdin(u32, Vec<u8>),
    /// Guest to host: output, or of a terminal all there is.
    Stdout(u32, Vec<u8>),
    /// Guest to host: output.
    Stderr(u32, Vec<u8>),
    /// Either way: the window of a stream is larger by so many bytes.
    Window(u32, Stream, u32),
    /// Host to guest: the terminal has another size.
    Resize(u32, TerminalSize),
    /// Host to guest: send the session's process group a signal.
    Signal(u32, i32),
    /// Guest to host: the command has ended, and so has its output.
    Exit(u32, ExitStatus),
    /// Guest to host: the command could not be started; why.
    Failed(u32, StartError),
    /// Host to guest: end everything and power off.
    Shutdown,
}

/// The first frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    /// [`VERSION`].
    pub version: u32,
    /// Microseconds from the kernel's start (its `CLOCK_BOOTTIME`) to the init's start and to this
    /// frame.
    pub started_us: (u64, u64),
}

/// Something that went wrong in the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// What failed, and what to do about it.
    pub text: String,
    /// The guest ends because of it.
    pub fatal: bool,
}

/// A command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exec {
    /// Program and arguments. A program without a slash is looked for in `PATH`.
    pub argv: Vec<String>,
    /// Added to the environment that the guest gives commands.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// The working directory.
    #[serde(default)]
    pub cwd: Option<String>,
    /// A terminal of this size instead of three pipes.
    #[serde(default)]
    pub terminal: Option<TerminalSize>,
}

/// The size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TerminalSize {
    /// Its width.
    pub columns: u16,
    /// Its height.
    pub rows: u16,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ExitStatus {
    /// It returned this.
    Code(u8),
    /// This signal ended it.
    Signal(u8),
}

/// Why a command could not be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartError {
    /// For a person.
    pub text: String,
    /// There is no such program, rather than one which does not run.
    pub not_found: bool,
}

/// A stream of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Input, from the host to the guest.
    Stdin,
    /// Output.
    Stdout,
    /// Output.
    Stderr,
}

impl ExitStatus {
    /// As a shell has it: signals are 128 and their number.
    pub fn code(self) -> u8 {
        match self {
            ExitStatus::Code(code) => code,
            ExitStatus::Signal(signal) => 128_u8.saturating_add(signal),
        }
    }
}

impl StartError {
    /// As a shell has it: 127 for a program that is not there, 126 for one that does not run.
    pub fn code(&self) -> u8 {
        if self.not_found { 127 } else { 126 }
    }
}

const HELLO: u8 = 1;
const PROBLEM: u8 = 2;
const EXEC: u8 = 3;
const STDIN: u8 = 4;
const STDOUT: u8 = 5;
const STDERR: u8 = 6;
const WINDOW_KIND: u8 = 7;
const RESIZE: u8 = 8;
const SIGNAL: u8 = 9;
const EXIT: u8 = 10;
const FAILED: u8 = 11;
const SHUTDOWN: u8 = 12;

/// Kind and session, which the length counts.
const HEAD: usize = 5;

impl Frame {
    /// Appends the frame to `out`.
    ///
    /// # Errors
    ///
    /// It is longer than [`MAX_FRAME`]; `out` is as it was.
    pub fn encode(&self, out: &mut Vec<u8>) -> io::Result<()> {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        let result = self.encode_body(out);
        let length = out.len() - start - 4;
        match (result, u32::try_from(length)) {
            (Ok(()), Ok(length_field)) if length <= MAX_FRAME => {
                out[start..start + 4].copy_from_slice(&length_field.to_le_bytes());
                Ok(())
            }
            (result, _) => {
                out.truncate(start);
                result.and(Err(invalid(format!(
                    "a frame of {length} bytes is longer than {MAX_FRAME}"
                ))))
            }
        }
    }

    fn encode_body(&self, out: &mut Vec<u8>) -> io::Result<()> {
        let mut head = |kind: u8, session: u32| {
            out.push(kind);
            out.extend_from_slice(&session.to_le_bytes());
        };
        match self {
            Frame::Hello(hello) => {
                head(HELLO, 0);
                json(out, hello)
            }
            Frame::Problem(problem) => {
                head(PROBLEM, 0);
                json(out, problem)
            }
            Frame::Exec(session, exec) => {
                head(EXEC, *session);
                json(out, exec)
            }
            Frame::Stdin(session, data) => {
                head(STDIN, *session);
                bytes(out, data)
            }
            Frame::Stdout(session, data) => {
                head(STDOUT, *session);
                bytes(out, data)
            }
            Frame::Stderr(session, data) => {
                head(STDERR, *session);
                bytes(out, data)
            }
            Frame::Window(session, stream, more) => {
                head(WINDOW_KIND, *session);
                out.push(match stream {
                    Stream::Stdin => 0,
                    Stream::Stdout => 1,
                    Stream::Stderr => 2,
                });
                bytes(out, &more.to_le_bytes())
            }
            Frame::Resize(session, size) => {
                head(RESIZE, *session);
                json(out, size)
            }
            Frame::Signal(session, signal) => {
                head(SIGNAL, *session);
                bytes(out, &signal.to_le_bytes())
            }
            Frame::Exit(session, status) => {
                head(EXIT, *session);
                json(out, status)
            }
            Frame::Failed(session, error) => {
                head(FAILED, *session);
                json(out, error)
            }
            Frame::Shutdown => {
                head(SHUTDOWN, 0);
                Ok(())
            }
        }
    }

    /// The frame that `rest` is: all of a frame but its length.
    fn decode(rest: &[u8]) -> io::Result<Frame> {
        let Some((&[kind, s0, s1, s2, s3], body)) = rest.split_first_chunk::<HEAD>() else {
            return Err(invalid(format!("a frame of {} bytes", rest.len())));
        };
        let session = u32::from_le_bytes([s0, s1, s2, s3]);
        Ok(match kind {
            HELLO => Frame::Hello(parse(body)?),
            PROBLEM => Frame::Problem(parse(body)?),
            EXEC => Frame::Exec(session, parse(body)?),
            STDIN => Frame::Stdin(session, data(body)?),
            STDOUT => Frame::Stdout(session, data(body)?),
            STDERR => Frame::Stderr(session, data(body)?),
            WINDOW_KIND => {
                let &[stream, b0, b1, b2, b3] = body else {
                    return Err(invalid("a window frame of the wrong length".into()));
                };
                let stream = match stream {
                    0 => Stream::Stdin,
                    1 => Stream::Stdout,
                    2 => Stream::Stderr,
                    other => return Err(invalid(format!("a window for stream {other}"))),
                };
                Frame::Window(session, stream, u32::from_le_bytes([b0, b1, b2, b3]))
            }
            RESIZE => Frame::Resize(session, parse(body)?),
            SIGNAL => match <[u8; 4]>::try_from(body) {
                Ok(signal) => Frame::Signal(session, i32::from_le_bytes(signal)),
                Err(_) => return Err(invalid("a signal frame of the wrong length".into())),
            },
            EXIT => Frame::Exit(session, parse(body)?),
            FAILED => Frame::Failed(session, parse(body)?),
            SHUTDOWN => Frame::Shutdown,
            other => return Err(invalid(format!("a frame of the unknown kind {other}"))),
        })
    }
}

/// Puts frames together from bytes as they come.
///
/// It holds at most one frame that is not complete.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    taken: usize,
}

impl Decoder {
    /// Adds what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete frame, if there is one. To be asked until there is none.
    ///
    /// # Errors
    ///
    /// What came is no frame. Nothing that follows has a meaning then.
    pub fn next_frame(&mut self) -> io::Result<Option<Frame>> {
        let buffer = &self.buffer[self.taken..];
        let Some((length, rest)) = buffer.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if length > MAX_FRAME {
            return Err(invalid(format!(
                "a frame of {length} bytes is longer than {MAX_FRAME}"
            )));
        }
        let Some(rest) = rest.get(..length) else {
            return Ok(None);
        };
        let frame = Frame::decode(rest)?;
        self.taken += 4 + length;
        Ok(Some(frame))
    }
}

fn json<T: Serialize>(out: &mut Vec<u8>, value: &T) -> io::Result<()> {
    serde_json::to_writer(out, value).map_err(io::Error::from)
}

// One signature for all kinds of bodies.
#[allow(clippy::unnecessary_wraps)]
fn bytes(out: &mut Vec<u8>, data: &[u8]) -> io::Result<()> {
    out.extend_from_slice(data);
    Ok(())
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> io::Result<T> {
    serde_json::from_slice(body).map_err(|e| invalid(format!("a frame that makes no sense: {e}")))
}

fn data(body: &[u8]) -> io::Result<Vec<u8>> {
    if body.len() > MAX_DATA {
        return Err(invalid(format!(
            "{} bytes of a stream at once, above {MAX_DATA}",
            body.len()
        )));
    }
    Ok(body.to_vec())
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames() -> impl Strategy<Value = Frame> {
        let data = || proptest::collection::vec(any::<u8>(), 0..2000);
        let size =
            || any::<(u16, u16)>().prop_map(|(columns, rows)| TerminalSize { columns, rows });
        let stream = prop_oneof![
            Just(Stream::Stdin),
            Just(Stream::Stdout),
            Just(Stream::Stderr)
        ];
        let exec = (
            proptest::collection::vec(".*", 0..4),
            ".*",
            proptest::option::of(size()),
        );
        prop_oneof![
            any::<(u32, u64, u64)>().prop_map(|(version, a, b)| {
                Frame::Hello(Hello {
                    version,
                    started_us: (a, b),
                })
            }),
            (".*", any::<bool>()).prop_map(|(text, fatal)| Frame::Problem(Problem { text, fatal })),
            (any::<u32>(), exec).prop_map(|(id, (argv, text, terminal))| {
                let env = vec![("A".into(), text.clone())];
                Frame::Exec(
                    id,
                    Exec {
                        argv,
                        env,
                        cwd: Some(text),
                        terminal,
                    },
                )
            }),
            (any::<u32>(), data()).prop_map(|(id, data)| Frame::Stdin(id, data)),
            (any::<u32>(), data()).prop_map(|(id, data)| Frame::Stdout(id, data)),
            (any::<u32>(), data()).prop_map(|(id, data)| Frame::Stderr(id, data)),
            (any::<u32>(), stream, any::<u32>())
                .prop_map(|(id, stream, more)| Frame::Window(id, stream, more)),
            (any::<u32>(), size()).prop_map(|(id, size)| Frame::Resize(id, size)),
            any::<(u32, i32)>().prop_map(|(id, signal)| Frame::Signal(id, signal)),
            any::<(u32, u8)>().prop_map(|(id, code)| Frame::Exit(id, ExitStatus::Code(code))),
            (any::<u32>(), ".*", any::<bool>()).prop_map(|(id, text, not_found)| {
                Frame::Failed(id, StartError { text, not_found })
            }),
            Just(Frame::Shutdown),
        ]
    }

    proptest! {
        #[test]
        fn frames_arrive_as_they_were_however_they_are_cut(
            frames in proptest::collection::vec(frames(), 0..6),
            piece in 1..300_usize,
        ) {
            let mut bytes = Vec::new();
            for frame in &frames {
                frame.encode(&mut bytes).unwrap();
            }
            let mut decoder = Decoder::default();
            let mut arrived = Vec::new();
            for part in bytes.chunks(piece) {
                decoder.push(part);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    arrived.push(frame);
                }
            }
            prop_assert_eq!(arrived, frames);
        }

        #[test]
        fn any_bytes_are_frames_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next_frame() {}
            // What is not complete is all that is held.
            prop_assert!(decoder.buffer.len() <= bytes.len());
        }
    }

    #[test]
    fn what_is_too_long_is_neither_sent_nor_waited_for() {
        let mut bytes = vec![1, 2, 3];
        let long = Frame::Exec(
            1,
            Exec {
                argv: vec!["x".repeat(MAX_FRAME)],
                ..Exec::default()
            },
        );
        assert!(long.encode(&mut bytes).is_err());
        assert_eq!(bytes, [1, 2, 3]);
        let mut decoder = Decoder::default();
        decoder.push(&u32::MAX.to_le_bytes());
        assert!(decoder.next_frame().is_err());
        let mut decoder = Decoder::default();
        let mut data = u32::try_from(MAX_DATA + 6).unwrap().to_le_bytes().to_vec();
        data.push(STDOUT);
        data.resize(4 + MAX_DATA + 6, 0);
        decoder.push(&data);
        assert!(decoder.next_frame().is_err());
    }
}
