// SPDX-License-Identifier: Apache-2.0 OR MIT
//! vhost-user messages as bytes, so that wrong ones can be sent too.

use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use vmm_sys_util::sock_ctrl_msg::ScmSocket;

/// Numbers of the messages.
#[allow(missing_docs)]
pub mod request {
    pub const GET_FEATURES: u32 = 1;
    pub const SET_FEATURES: u32 = 2;
    pub const SET_OWNER: u32 = 3;
    pub const RESET_OWNER: u32 = 4;
    pub const SET_MEM_TABLE: u32 = 5;
    pub const SET_LOG_BASE: u32 = 6;
    pub const SET_VRING_NUM: u32 = 8;
    pub const SET_VRING_ADDR: u32 = 9;
    pub const SET_VRING_BASE: u32 = 10;
    pub const GET_VRING_BASE: u32 = 11;
    pub const SET_VRING_KICK: u32 = 12;
    pub const SET_VRING_CALL: u32 = 13;
    pub const SET_VRING_ERR: u32 = 14;
    pub const GET_PROTOCOL_FEATURES: u32 = 15;
    pub const SET_PROTOCOL_FEATURES: u32 = 16;
    pub const GET_QUEUE_NUM: u32 = 17;
    pub const SET_VRING_ENABLE: u32 = 18;
    pub const SET_BACKEND_REQ_FD: u32 = 21;
    pub const GET_CONFIG: u32 = 24;
    pub const SET_CONFIG: u32 = 25;
    pub const GET_INFLIGHT_FD: u32 = 31;
    pub const GPU_SET_SOCKET: u32 = 33;
    pub const RESET_DEVICE: u32 = 34;
    pub const GET_MAX_MEM_SLOTS: u32 = 36;
    pub const ADD_MEM_REG: u32 = 37;
    pub const REM_MEM_REG: u32 = 38;
    pub const SET_STATUS: u32 = 39;
    pub const GET_SHARED_OBJECT: u32 = 41;
    pub const SET_DEVICE_STATE_FD: u32 = 42;
    pub const CHECK_DEVICE_STATE: u32 = 43;
    pub const GET_SHMEM_CONFIG: u32 = 44;
}

/// `VHOST_USER_VERSION`, in the flags of every message.
pub const VERSION: u32 = 1;
/// This message is a reply.
pub const REPLY: u32 = 1 << 2;
/// An acknowledgement is wanted.
pub const NEED_REPLY: u32 = 1 << 3;

/// Nobody waits longer than this for anything.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The front-end's end of the socket.
#[derive(Debug)]
pub struct Channel {
    stream: UnixStream,
    /// Ask for an acknowledgement of every message, and insist on it.
    pub acknowledge: bool,
}

impl Channel {
    /// Connects to a back-end.
    pub fn connect(socket: &Path) -> Channel {
        Channel::new(UnixStream::connect(socket).unwrap())
    }

    /// Takes a connected socket.
    pub fn new(stream: UnixStream) -> Channel {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Channel {
            stream,
            acknowledge: false,
        }
    }

    /// The socket.
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Sends any bytes.
    pub fn raw(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let fds: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let sent = self.stream.send_with_fds(&[bytes], &fds)?;
        assert_eq!(sent, bytes.len());
        Ok(())
    }

    /// Sends one message.
    pub fn send(
        &self,
        request: u32,
        flags: u32,
        body: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let mut message = Vec::with_capacity(12 + body.len());
        message.extend(request.to_ne_bytes());
        message.extend((VERSION | flags).to_ne_bytes());
        message.extend((body.len() as u32).to_ne_bytes());
        message.extend(body);
        self.raw(&message, fds)
    }

    /// The reply to `request`; an error if the back-end hung up. Header and body must come in
    /// one piece, as front-ends that read once expect.
    pub fn reply(&self, request: u32) -> io::Result<Vec<u8>> {
        let mut buffer = [0; 4096];
        let len = (&self.stream).read(&mut buffer)?;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let word = |at: usize| u32::from_ne_bytes(buffer[at..at + 4].try_into().unwrap());
        assert!(len >= 12, "a reply of {len} bytes");
        assert_eq!(word(0), request, "the reply is to another request");
        assert_eq!(word(4), VERSION | REPLY, "flags of the reply to {request}");
        assert_eq!(word(8) as usize, len - 12, "size of the reply to {request}");
        Ok(buffer[12..len].to_vec())
    }

    /// Sends a message that has a reply and returns that, once.
    pub fn ask(&self, request: u32, body: &[u8]) -> io::Result<Vec<u8>> {
        let flags = if self.acknowledge { NEED_REPLY } else { 0 };
        self.send(request, flags, body, &[])?;
        self.reply(request)
    }

    /// Like [`ask`](Channel::ask) for the many whose reply is a number.
    pub fn number(&self, request: u32) -> u64 {
        u64::from_ne_bytes(self.ask(request, &[]).unwrap().try_into().unwrap())
    }

    /// Sends a message that has no reply, and sees to the acknowledgement if there is one.
    pub fn tell(&self, request: u32, body: &[u8], fds: &[BorrowedFd<'_>]) {
        if self.acknowledge {
            self.send(request, NEED_REPLY, body, fds).unwrap();
            let value = self.reply(request).unwrap();
            assert_eq!(value, 0u64.to_ne_bytes(), "request {request} was refused");
        } else {
            self.send(request, 0, body, fds).unwrap();
        }
    }

    /// Waits until the back-end has hung up. Whatever it still says is skipped.
    pub fn wait_for_end(&self) {
        let mut buffer = [0; 4096];
        loop {
            match (&self.stream).read(&mut buffer) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return,
                Err(error) => panic!("the back-end did not hang up: {error}"),
            }
        }
    }
}

/// The body of messages that are a queue and a number.
pub fn vring_state(index: u32, num: u32) -> Vec<u8> {
    [index, num]
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect()
}

/// The body of messages that are numbers.
pub fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}
