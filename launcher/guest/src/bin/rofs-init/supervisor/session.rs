// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One command, its streams and their windows.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::Child;

use rofs_guest::agent::{ExitStatus, Frame, MAX_DATA, Stream, TerminalSize, WINDOW};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use rustix::termios::Winsize;

use super::Channel;

/// Stdin's window is given back in pieces of at least this, or when all is written.
const PIECE: u32 = WINDOW / 4;

/// A running command.
#[derive(Debug)]
pub(crate) struct Session {
    /// Its number.
    pub(crate) id: u32,
    child: Child,
    input: Input,
    outputs: Vec<Output>,
    /// The other end of its terminal, if it has one.
    terminal: Option<OwnedFd>,
    status: Option<ExitStatus>,
}

#[derive(Debug, Default)]
struct Input {
    fd: Option<OwnedFd>,
    waiting: VecDeque<u8>,
    ended: bool,
    /// Passed on (or thrown away), but not yet given back to the window.
    done: u32,
}

#[derive(Debug)]
struct Output {
    stream: Stream,
    fd: Option<OwnedFd>,
    window: u32,
}

/// The ends of a command's streams.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    /// Where its input is written to.
    pub(crate) input: Option<OwnedFd>,
    /// Where its output comes from.
    pub(crate) outputs: Vec<(Stream, OwnedFd)>,
    /// Its terminal.
    pub(crate) terminal: Option<OwnedFd>,
}

impl Session {
    pub(crate) fn new(id: u32, child: Child, streams: Streams) -> io::Result<Session> {
        let fds = streams
            .outputs
            .iter()
            .map(|(_, fd)| fd)
            .chain(&streams.input);
        for fd in fds {
            rustix::io::ioctl_fionbio(fd, true)?;
        }
        let outputs = streams
            .outputs
            .into_iter()
            .map(|(stream, fd)| Output {
                stream,
                fd: Some(fd),
                window: WINDOW,
            })
            .collect();
        Ok(Session {
            id,
            child,
            input: Input {
                fd: streams.input,
                ..Input::default()
            },
            outputs,
            terminal: streams.terminal,
            status: None,
        })
    }

    /// What to wait for, now that the channel has room for output or not.
    pub(crate) fn interests(
        &self,
        room: bool,
    ) -> impl Iterator<Item = (Stream, BorrowedFd<'_>, PollFlags)> {
        let outputs = self
            .outputs
            .iter()
            .filter(move |output| room && output.window > 0);
        let outputs = outputs
            .filter_map(|output| Some((output.stream, output.fd.as_ref()?.as_fd(), PollFlags::IN)));
        let input = self
            .input
            .fd
            .iter()
            .filter(|_| !self.input.waiting.is_empty());
        outputs.chain(input.map(|fd| (Stream::Stdin, fd.as_fd(), PollFlags::OUT)))
    }

    /// Moves what can be moved.
    pub(crate) fn pump(&mut self, stream: Stream, channel: &mut Channel) {
        match stream {
            Stream::Stdin => self.write_input(channel),
            _ => self.read_output(stream, channel),
        }
    }

    /// The host's input.
    pub(crate) fn take_input(&mut self, data: &[u8], channel: &mut Channel) -> io::Result<()> {
        let used = self.input.waiting.len() + usize::try_from(self.input.done).unwrap_or(0);
        if used + data.len() > usize::try_from(WINDOW).unwrap_or(0) {
            return Err(io::Error::other("more input than its window"));
        }
        if data.is_empty() {
            self.input.ended = true;
            if self.terminal.is_some() {
                // How a terminal says that there is no more: Ctrl-D.
                self.input.waiting.push_back(4);
            }
        }
        self.input.waiting.extend(data);
        self.write_input(channel);
        Ok(())
    }

    fn write_input(&mut self, channel: &mut Channel) {
        let input = &mut self.input;
        while let (Some(fd), (next, _)) = (&input.fd, input.waiting.as_slices())
            && !next.is_empty()
        {
            match rustix::io::write(fd, next) {
                Ok(n) => {
                    input.waiting.drain(..n);
                    input.done += u32::try_from(n).unwrap_or(0);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // Nobody reads it any more.
                Err(_) => input.fd = None,
            }
        }
        if input.fd.is_none() {
            input.done += u32::try_from(input.waiting.len()).unwrap_or(0);
            input.waiting.clear();
        }
        if input.done >= PIECE || (input.done > 0 && input.waiting.is_empty()) {
            channel.send(&Frame::Window(self.id, Stream::Stdin, input.done));
            input.done = 0;
        }
        if input.ended && input.waiting.is_empty() && self.terminal.is_none() {
            input.fd = None;
        }
    }

    fn read_output(&mut self, stream: Stream, channel: &mut Channel) {
        let Some(output) = self
            .outputs
            .iter_mut()
            .find(|output| output.stream == stream)
        else {
            return;
        };
        let mut buffer = [0; MAX_DATA];
        while let Some(fd) = &output.fd
            && output.window > 0
            && channel.has_room()
        {
            let most = MAX_DATA.min(usize::try_from(output.window).unwrap_or(MAX_DATA));
            match rustix::io::read(fd, buffer.get_mut(..most).unwrap_or_default()) {
                Ok(n) if n > 0 => {
                    output.window -= u32::try_from(n).unwrap_or(0);
                    let data = buffer.get(..n).unwrap_or_default().to_vec();
                    channel.send(&match stream {
                        Stream::Stderr => Frame::Stderr(self.id, data),
                        _ => Frame::Stdout(self.id, data),
                    });
                }
                Err(Errno::INTR) => {}
                // What the command wrote has all been read; what is still open belongs to others.
                Err(Errno::AGAIN) if self.status.is_none() => break,
                _ => output.fd = None,
            }
        }
    }

    /// The host takes more output.
    pub(crate) fn widen(&mut self, stream: Stream, more: u32) -> io::Result<()> {
        if let Some(output) = self
            .outputs
            .iter_mut()
            .find(|output| output.stream == stream)
        {
            output.window = output
                .window
                .checked_add(more)
                .filter(|window| *window <= WINDOW)
                .ok_or_else(|| io::Error::other("a window larger than it may be"))?;
        }
        Ok(())
    }

    /// The terminal's new size.
    pub(crate) fn resize(&self, size: TerminalSize) {
        if let Some(terminal) = &self.terminal {
            let _ = rustix::termios::tcsetwinsize(terminal, winsize(size));
        }
    }

    /// Whether the host gave it a terminal.
    pub(crate) fn at_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    /// Sends the command and its children a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.status.is_none()
            && let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
        {
            let _ = rustix::process::kill_process_group(group, signal);
        }
    }

    /// Looks whether the command has ended and all it wrote has been passed on.
    pub(crate) fn ended(&mut self, channel: Option<&mut Channel>) -> Option<ExitStatus> {
        if self.status.is_none() {
            // An error means that there is no such child, which cannot be.
            let status = self.child.try_wait().unwrap_or_default()?;
            self.status = Some(match (status.code(), status.signal()) {
                (Some(code), _) => ExitStatus::Code(u8::try_from(code).unwrap_or(u8::MAX)),
                (None, signal) => {
                    ExitStatus::Signal(u8::try_from(signal.unwrap_or(0)).unwrap_or(0))
                }
            });
        }
        match channel {
            Some(channel) => {
                for stream in [Stream::Stdout, Stream::Stderr] {
                    self.read_output(stream, channel);
                }
                self.status
                    .filter(|_| self.outputs.iter().all(|output| output.fd.is_none()))
            }
            None => self.status,
        }
    }
}

/// As the kernel has it.
pub(crate) fn winsize(size: TerminalSize) -> Winsize {
    Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}
