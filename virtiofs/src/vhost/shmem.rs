// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Asking the front-end to map memory into the guest: `SHMEM_MAP` and `SHMEM_UNMAP`, over the
//! socket that it handed over by `SET_BACKEND_REQ_FD`.
//!
//! vhost's `Backend` sends the same, but waits for the answer for ever. QEMU answers from the
//! thread that also talks to us over the main socket: while it waits for us to stop a ring there,
//! it answers nothing, and a ring that waits for the answer cannot stop. So waiting ends here when
//! a ring is to stop, and after a while in any case.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::cmsg_space;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{IoSlice, IoSliceMut};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recv, recvmsg, sendmsg,
};
use vhost::vhost_user::message::VhostUserMMap;
use vm_memory::ByteValued;

use super::event::Wake;
use crate::dax::{MapError, Mapper};

/// `VHOST_USER_SET_BACKEND_REQ_FD`.
const SET_BACKEND_REQ_FD: u32 = 21;
/// `VHOST_USER_BACKEND_SHMEM_MAP` and `_UNMAP`.
const MAP: u32 = 9;
const UNMAP: u32 = 10;
/// Flags of a message: the version, that it is a reply, that a reply is wanted.
const VERSION: u32 = 1;
const REPLY: u32 = 1 << 2;
const NEED_REPLY: u32 = 1 << 3;
/// Request, flags and size.
const HEADER: usize = 12;
/// `VIRTIO_FS_SHMCAP_ID_CACHE`: which of a device's shared memory regions is the window.
const WINDOW: u8 = 0;

/// How long a front-end may take to answer. It maps a file and updates the guest's memory, which
/// are milliseconds even when it is busy.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same while a ring is to stop: an answer that is on its way shall arrive.
const GRACE: Duration = Duration::from_millis(100);
/// How long to wait for a new memory table after a mapping. See [`Shmem::settle`].
const SETTLE: Duration = Duration::from_millis(50);
/// The same for a front-end that sent none the last time.
const SETTLE_UNTOLD: Duration = Duration::from_millis(1);

/// The front-end as one who maps.
#[derive(Debug)]
pub(super) struct Shmem {
    channel: Mutex<Channel>,
    /// It asked how large the window is: only then it has made one.
    asked: AtomicBool,
    /// The rings run. QEMU is undone by a request while they do not.
    running: AtomicBool,
    /// Set while `running` is not.
    halt: Wake,
    /// Counts memory tables, and wakes who waits for one.
    tables: Mutex<u64>,
    table_came: Condvar,
    /// What `tables` was before the last mapping.
    before: Mutex<u64>,
    /// The front-end sends a table after a mapping; assumed until it did not.
    tells: AtomicBool,
}

#[derive(Debug, Default)]
struct Channel {
    socket: Option<OwnedFd>,
    /// Requests whose answer nobody waited for.
    owed: Vec<u32>,
}

impl Shmem {
    pub(super) fn new() -> io::Result<Shmem> {
        let halt = Wake::new()?;
        halt.notify();
        Ok(Shmem {
            channel: Mutex::default(),
            asked: AtomicBool::new(false),
            running: AtomicBool::new(false),
            halt,
            tables: Mutex::default(),
            table_came: Condvar::new(),
            before: Mutex::default(),
            tells: AtomicBool::new(true),
        })
    }

    /// The front-end's socket for requests.
    pub(super) fn connect(&self, socket: Option<OwnedFd>) {
        self.tells.store(true, Ordering::Relaxed);
        *lock(&self.channel) = Channel {
            socket,
            owed: Vec::new(),
        };
    }

    /// The front-end asked how large the window is.
    pub(super) fn asked(&self) {
        self.asked.store(true, Ordering::Release);
    }

    /// Rings run from now on, or will be stopped: then whoever waits for an answer gives up.
    pub(super) fn set_running(&self, running: bool) {
        if self.running.swap(running, Ordering::AcqRel) == running {
            return;
        }
        if running {
            self.halt.clear();
        } else {
            self.halt.notify();
            self.table_came.notify_all();
        }
    }

    /// The front-end described the guest's memory.
    pub(super) fn table_came(&self) {
        *lock(&self.tables) += 1;
        self.table_came.notify_all();
    }

    fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    fn request(
        &self,
        code: u32,
        body: &VhostUserMMap,
        file: Option<BorrowedFd<'_>>,
    ) -> Result<(), MapError> {
        let mut channel = lock(&self.channel);
        if !self.asked.load(Ordering::Acquire) || !self.is_running() {
            return Err(MapError::Lost);
        }
        let channel = &mut *channel;
        let Some(socket) = &channel.socket else {
            return Err(MapError::Lost);
        };
        let exchanged = settle_debts(socket, &mut channel.owed, |socket| self.wait(socket))
            .and_then(|()| send(socket, code, body, file))
            .and_then(|()| {
                channel.owed.push(code);
                self.wait(socket)
            });
        match exchanged.and_then(|()| receive(socket, code)) {
            Ok(said) => {
                channel.owed.clear();
                match said {
                    0 => Ok(()),
                    _ => Err(MapError::Refused),
                }
            }
            // The ring is to stop; the answer may still come.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(MapError::Lost),
            Err(error) => {
                log::warn!("the front-end does not answer requests to map any more: {error}");
                channel.socket = None;
                Err(MapError::Lost)
            }
        }
    }

    /// Waits until there is something to read; `Interrupted` if a ring is to stop.
    fn wait(&self, socket: &OwnedFd) -> io::Result<()> {
        let mut deadline = Instant::now() + PATIENCE;
        let mut stopping = false;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
            let mut fds = [
                PollFd::new(socket, PollFlags::IN),
                PollFd::new(&self.halt, PollFlags::IN),
            ];
            // Once it is known that a ring is to stop, only the answer counts.
            let watched = if stopping {
                &mut fds[..1]
            } else {
                &mut fds[..]
            };
            match poll(watched, Some(&timeout)) {
                Ok(0) if stopping => return Err(io::ErrorKind::Interrupted.into()),
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if !fds[0].revents().is_empty() {
                return Ok(());
            }
            if !fds[1].revents().is_empty() {
                stopping = true;
                deadline = deadline.min(Instant::now() + GRACE);
            }
        }
    }
}

impl Mapper for Shmem {
    fn map(
        &self,
        moffset: u64,
        file: BorrowedFd<'_>,
        offset: u64,
        len: u64,
    ) -> Result<(), MapError> {
        *lock(&self.before) = *lock(&self.tables);
        let body = VhostUserMMap {
            shmid: WINDOW,
            fd_offset: offset,
            shm_offset: moffset,
            len,
            // No flag is: for reading only.
            ..VhostUserMMap::default()
        };
        self.request(MAP, &body, Some(file))
    }

    fn unmap(&self, moffset: u64, len: u64) -> Result<(), MapError> {
        let body = VhostUserMMap {
            shmid: WINDOW,
            shm_offset: moffset,
            len,
            ..VhostUserMMap::default()
        };
        self.request(UNMAP, &body, None)
    }

    /// QEMU answers a moment before the guest sees the mapping. It then tells its back-ends of the
    /// memory, once the guest has it. Front-ends that do not tell have mapped it when they answer,
    /// or hand on our answer to the guest later than that: who turns out to be one is not waited
    /// for each time.
    fn settle(&self) {
        let before = *lock(&self.before);
        let patience = match self.tells.load(Ordering::Relaxed) {
            true => SETTLE,
            false => SETTLE_UNTOLD,
        };
        let (tables, _) = self
            .table_came
            .wait_timeout_while(lock(&self.tables), patience, |tables| {
                *tables == before && self.is_running()
            })
            .unwrap_or_else(PoisonError::into_inner);
        self.tells.store(*tables != before, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads the answers that nobody waited for.
fn settle_debts(
    socket: &OwnedFd,
    owed: &mut Vec<u32>,
    wait: impl Fn(&OwnedFd) -> io::Result<()>,
) -> io::Result<()> {
    while let Some(code) = owed.first() {
        wait(socket)?;
        receive(socket, *code)?;
        owed.remove(0);
    }
    Ok(())
}

fn send(
    socket: &OwnedFd,
    code: u32,
    body: &VhostUserMMap,
    file: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let body = body.as_slice();
    let size = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut message = Vec::with_capacity(HEADER + body.len());
    for word in [code, VERSION | NEED_REPLY, size] {
        message.extend(word.to_ne_bytes());
    }
    message.extend(body);

    let fds: Vec<BorrowedFd<'_>> = file.into_iter().collect();
    let mut space = [std::mem::MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&fds));
    }
    // A front-end that does not read is not waited for.
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let sent = sendmsg(socket, &[IoSlice::new(&message)], &mut control, flags)?;
    if sent != message.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    Ok(())
}

/// Reads the answer to a request: a number, 0 for yes.
fn receive(socket: &OwnedFd, code: u32) -> io::Result<u64> {
    let mut answer = [0; HEADER + 8];
    // It is sent in one piece. Descriptors that come with it are dropped by the kernel.
    let (got, _) = recv(socket, &mut answer[..], RecvFlags::DONTWAIT)?;
    let word = |at: usize| {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&answer[at..at + 4]);
        u32::from_ne_bytes(bytes)
    };
    let fits = got == answer.len() && word(0) == code && word(8) == 8;
    if !fits || word(4) & REPLY == 0 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut number = [0; 8];
    number.copy_from_slice(&answer[HEADER..]);
    Ok(u64::from_ne_bytes(number))
}

/// Waits for the next message of the front-end, and if it brings the socket for requests returns
/// that. The message stays where it is, for vhost to handle, which keeps the socket to itself.
pub(super) fn look_for_socket(stream: &UnixStream) -> Option<OwnedFd> {
    let mut code = [0; 4];
    let peek = RecvFlags::PEEK | RecvFlags::CMSG_CLOEXEC;
    let (got, _) = recv(stream, &mut code[..], peek).ok()?;
    if got != code.len() || u32::from_ne_bytes(code) != SET_BACKEND_REQ_FD {
        return None;
    }
    let mut space = [std::mem::MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut buffers = [IoSliceMut::new(&mut code)];
    recvmsg(stream.as_fd(), &mut buffers, &mut control, peek).ok()?;
    control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    })
}
