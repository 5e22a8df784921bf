// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Counts the requests that a guest puts to a server, whichever server it is.
//!
//! A relay stands between a VMM and a back-end. The vhost-user messages go through it, and tell it
//! where the guest's memory and the rings in it are; the requests themselves, and the signals for
//! them, go past it. It only looks at how far the available index of each ring has got, so it
//! costs neither side anything, and sees what the guest's kernel has sent, not what a server says
//! of itself.
#![allow(unsafe_code)] // the guest's memory as a pointer

use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tempfile::TempDir;

use crate::channel::request;

/// The index has 16 bits; nobody sends that many requests in this time.
const OFTEN: Duration = Duration::from_millis(5);
const HEADER: usize = 12;
/// Most descriptors in a message (`VHOST_USER_MAX_RAM_SLOTS`, and some).
const FDS: usize = 16;

/// Requests seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// On the request queues: whatever the guest wants answered.
    pub requests: u64,
    /// On the queue of high priority: FORGET.
    pub forgets: u64,
}

impl Seen {
    /// What came since `before`.
    #[must_use]
    pub fn since(self, before: Seen) -> Seen {
        Seen {
            requests: self.requests - before.requests,
            forgets: self.forgets - before.forgets,
        }
    }
}

/// A relay for one connection.
#[derive(Debug)]
pub struct Relay {
    _dir: TempDir,
    socket: PathBuf,
    rings: Arc<Mutex<Rings>>,
}

impl Relay {
    /// Stands before the back-end that listens on `server`.
    pub fn start(server: &Path) -> Relay {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("relay");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = server.to_owned();
        let rings = Arc::new(Mutex::new(Rings::default()));
        let (watched, sampled) = (Arc::clone(&rings), Arc::downgrade(&rings));
        std::thread::spawn(move || {
            let (vmm, _) = listener.accept().unwrap();
            let back_end = UnixStream::connect(server).unwrap();
            let replies = (back_end.try_clone().unwrap(), vmm.try_clone().unwrap());
            std::thread::spawn(move || forward(&replies.0, &replies.1, |_| {}));
            forward(&vmm, &back_end, |message| {
                watched.lock().unwrap().learn(message);
            });
        });
        std::thread::spawn(move || {
            while let Some(rings) = sampled.upgrade() {
                rings.lock().unwrap().look();
                drop(rings);
                std::thread::sleep(OFTEN);
            }
        });
        Relay {
            _dir: dir,
            socket,
            rings,
        }
    }

    /// Where a VMM connects.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What came so far.
    pub fn seen(&self) -> Seen {
        let mut rings = self.rings.lock().unwrap();
        rings.look();
        rings.seen
    }
}

impl AsRef<Path> for Relay {
    fn as_ref(&self) -> &Path {
        self.socket()
    }
}

#[derive(Debug)]
struct Message {
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Message {
    fn request(&self) -> u32 {
        self.word(0)
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.bytes[at..at + 4].try_into().unwrap())
    }

    /// A number of the body.
    fn long(&self, at: usize) -> u64 {
        let at = HEADER + at;
        u64::from_ne_bytes(self.bytes[at..at + 8].try_into().unwrap())
    }

    /// The region described at a place of the body.
    fn region(&self, at: usize, fd: &OwnedFd) -> Region {
        let [size, user, offset] = [8, 16, 24].map(|more| self.long(at + more));
        Region::new(fd.as_fd(), size, user, offset).unwrap()
    }
}

/// Passes messages on until one side hangs up; then hangs up on the other.
fn forward(from: &UnixStream, to: &UnixStream, mut look: impl FnMut(&Message)) {
    while let Ok(Some(message)) = receive(from) {
        look(&message);
        if send(to, &message).is_err() {
            break;
        }
    }
    let _ = from.shutdown(std::net::Shutdown::Both);
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// The next message; `None` at the end.
fn receive(from: &UnixStream) -> io::Result<Option<Message>> {
    let mut message = Message {
        bytes: vec![0; HEADER],
        fds: Vec::new(),
    };
    let mut got = 0;
    while got < message.bytes.len() {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut buffers = [IoSliceMut::new(&mut message.bytes[got..])];
        let received = recvmsg(from, &mut buffers, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        for part in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = part {
                message.fds.extend(fds);
            }
        }
        if received.bytes == 0 {
            return Ok(None);
        }
        got += received.bytes;
        if got == HEADER && message.bytes.len() == HEADER {
            let body = message.word(8) as usize;
            message.bytes.resize(HEADER + body, 0);
        }
    }
    Ok(Some(message))
}

fn send(to: &UnixStream, message: &Message) -> io::Result<()> {
    let fds: Vec<BorrowedFd<'_>> = message.fds.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    }
    let buffers = [IoSlice::new(&message.bytes)];
    let sent = sendmsg(to, &buffers, &mut ancillary, SendFlags::NOSIGNAL)?;
    assert_eq!(sent, message.bytes.len(), "a message was sent in part");
    Ok(())
}

/// What the messages have told of the guest.
#[derive(Debug, Default)]
struct Rings {
    regions: Vec<Region>,
    by_index: BTreeMap<u32, Ring>,
    seen: Seen,
}

#[derive(Debug, Default)]
struct Ring {
    /// Address of the available ring, as the VMM knows it; `None` while it does not run.
    available: Option<u64>,
    last: u16,
}

impl Rings {
    fn learn(&mut self, message: &Message) {
        let index = |at| message.word(HEADER + at);
        match message.request() {
            request::SET_MEM_TABLE => {
                self.look();
                let places = (0..message.fds.len()).map(|number| 8 + 32 * number);
                self.regions = places
                    .zip(&message.fds)
                    .map(|(at, fd)| message.region(at, fd))
                    .collect();
            }
            request::ADD_MEM_REG => {
                let region = message.fds.first().map(|fd| message.region(8, fd));
                self.regions.extend(region);
            }
            request::REM_MEM_REG => {
                self.look();
                let user = message.long(24);
                self.regions.retain(|region| region.user != user);
            }
            request::SET_VRING_ADDR => {
                let available = message.long(24);
                self.look();
                self.ring(index(0)).available = Some(available);
            }
            request::SET_VRING_BASE => self.ring(index(0)).last = index(4) as u16,
            request::GET_VRING_BASE => {
                self.look();
                self.ring(index(0)).available = None;
            }
            _ => {}
        }
    }

    fn ring(&mut self, index: u32) -> &mut Ring {
        self.by_index.entry(index).or_default()
    }

    fn look(&mut self) {
        for (index, ring) in &mut self.by_index {
            let Some(at) = ring.available else {
                continue;
            };
            let Some(region) = self.regions.iter().find(|region| region.contains(at)) else {
                continue;
            };
            let now = region.index(at);
            let new = u64::from(now.wrapping_sub(ring.last));
            ring.last = now;
            if *index == 0 {
                self.seen.forgets += new;
            } else {
                self.seen.requests += new;
            }
        }
    }
}

/// A part of the guest's memory, mapped here.
#[derive(Debug)]
struct Region {
    map: *mut u8,
    len: usize,
    offset: u64,
    user: u64,
    size: u64,
}

// SAFETY: the mapping is this object's, and is only read, by atomic loads.
unsafe impl Send for Region {}

impl Region {
    fn new(fd: BorrowedFd<'_>, size: u64, user: u64, offset: u64) -> io::Result<Region> {
        let len = usize::try_from(offset + size).unwrap();
        let (flags, whole) = (MapFlags::SHARED, std::ptr::null_mut());
        // SAFETY: a new mapping at a place of the kernel's choice.
        let map = unsafe { mmap(whole, len, ProtFlags::READ, flags, fd, 0)? };
        Ok(Region {
            map: map.cast(),
            len,
            offset,
            user,
            size,
        })
    }

    fn contains(&self, at: u64) -> bool {
        (self.user..self.user + self.size).contains(&at)
    }

    /// The index of the available ring that begins at `at`.
    fn index(&self, at: u64) -> u16 {
        let place = usize::try_from(at - self.user + self.offset + 2).unwrap();
        assert!(place + 2 <= self.len && place.is_multiple_of(2));
        // SAFETY: within the mapping, as just checked.
        let index = unsafe { self.map.add(place) };
        // SAFETY: aligned, as the mapping begins with a page; and the guest writes it atomically.
        let index = unsafe { AtomicU16::from_ptr(index.cast()) };
        u16::from_le(index.load(Ordering::Acquire))
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`, and no reference to it outlives a call.
        unsafe { munmap(self.map.cast(), self.len).unwrap() };
    }
}
