// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The guest's end of the agent's channel.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rofs_guest::agent::{Decoder, Frame, MAX_FRAME};
use rofs_guest::config::AgentDevice;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::time::Timespec;

use super::vsock;
use crate::disks::{read_line, wait_for};
use crate::failure::{Context, Failure};

/// Output of commands is not read while more than this waits for the host.
const ENOUGH: usize = MAX_FRAME;

/// The channel; nothing it does blocks.
#[derive(Debug)]
pub(crate) struct Channel {
    fd: OwnedFd,
    decoder: Decoder,
    out: Vec<u8>,
    sent: usize,
}

impl Channel {
    /// Opens the channel once its device is there and the host is at the other end.
    pub(crate) fn open(device: &AgentDevice) -> Result<Channel, Failure> {
        let fd = match device {
            AgentDevice::Port(name) => {
                let device = wait_for(|| port(name)).ok_or_else(|| {
                    Failure::new(format!(
                        "no virtio-serial port '{name}' appeared, so the host cannot be told anything; \
                         is the module virtio_console in the kernel's module directory?"
                    ))
                })?;
                let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let fd = rustix::fs::open(&device, flags, Mode::empty())
                    .context(|| format!("opening {device}"))?;
                wait_for(|| connected(&fd).then_some(()))
                    .ok_or_else(|| Failure::new(format!("the host does not listen at {device}")))?;
                fd
            }
            AgentDevice::Vsock(port) => vsock::accept(*port).context(|| {
                format!(
                    "listening at the vsock port {port}; is the module vmw_vsock_virtio_transport in the kernel's module directory?"
                )
            })?,
        };
        Ok(Channel {
            fd,
            decoder: Decoder::default(),
            out: Vec::new(),
            sent: 0,
        })
    }

    /// Puts a frame where [`Channel::flush`] finds it.
    pub(crate) fn send(&mut self, frame: &Frame) {
        // Frames of ours are never too long: data is bounded where it is read, texts are ours.
        let _ = frame.encode(&mut self.out);
    }

    /// Whether output of commands should be read.
    pub(crate) fn has_room(&self) -> bool {
        self.out.len() - self.sent < ENOUGH
    }

    /// What to poll for.
    pub(crate) fn interest(&self) -> PollFlags {
        if self.sent < self.out.len() {
            PollFlags::IN | PollFlags::OUT
        } else {
            PollFlags::IN
        }
    }

    /// Sends what the host takes now.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while let Some(rest) = self.out.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match rustix::io::write(&self.fd, rest) {
                Ok(n) => self.sent += n,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(e) => return Err(e.into()),
            }
        }
        self.out.clear();
        self.sent = 0;
        Ok(())
    }

    /// Takes what the host has sent. An error when the host is gone.
    pub(crate) fn receive(&mut self) -> io::Result<()> {
        let mut buffer = [0; 32 << 10];
        match rustix::io::read(&self.fd, &mut buffer) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                self.decoder.push(buffer.get(..n).unwrap_or_default());
                Ok(())
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// The next frame of what was taken.
    pub(crate) fn next_frame(&mut self) -> io::Result<Option<Frame>> {
        self.decoder.next_frame()
    }

    /// Sends all there is, and waits until the host has read it, which it says with a
    /// [`Frame::Shutdown`]; but not for ever.
    pub(crate) fn finish(&mut self) {
        let end = Instant::now() + Duration::from_secs(3);
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            if self.flush().is_err() {
                return;
            }
            let timeout = Timespec {
                tv_sec: left.as_secs().cast_signed(),
                tv_nsec: left.subsec_nanos().into(),
            };
            let mut fds = [PollFd::from_borrowed_fd(self.fd.as_fd(), self.interest())];
            if poll(&mut fds, Some(&timeout)).is_err() || fds[0].revents().contains(PollFlags::HUP)
            {
                return;
            }
            if fds[0].revents().contains(PollFlags::IN) && self.receive().is_err() {
                return;
            }
            loop {
                match self.next_frame() {
                    Ok(Some(Frame::Shutdown)) | Err(_) => return,
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                }
            }
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The device of the virtio-serial port with this name.
fn port(name: &str) -> Option<String> {
    fs::read_dir("/sys/class/virtio-ports")
        .ok()?
        .flatten()
        .find_map(|entry| {
            let port = entry.file_name().into_string().ok()?;
            let found = read_line(&format!("/sys/class/virtio-ports/{port}/name")).ok()?;
            let device = format!("/dev/{port}");
            (found == name && fs::exists(&device).unwrap_or(false)).then_some(device)
        })
}

/// Whether the host has opened its end of the port.
fn connected(port: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(port, PollFlags::OUT)];
    let at_once = Timespec::default();
    poll(&mut fds, Some(&at_once)).is_ok() && !fds[0].revents().contains(PollFlags::HUP)
}
