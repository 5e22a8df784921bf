// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is measured: a server with a ring, and the questions put to it.

use rofs_tests::fuse::{message, opcode, read_in};

use crate::guest::{Guest, Slot};

/// FUSE's numbers that the tests have no use for.
const OPENDIR: u32 = 27;
const RELEASE: u32 = 18;
/// What Linux 6.12 offers in INIT.
const INIT_FLAGS: u32 = 0x73ff_fffb;

/// A server at the device's end of the ring in its guest's memory.
pub trait Subject: Send {
    /// What it is called in tables.
    fn name(&self) -> &str;

    /// The driver's end.
    fn guest(&mut self) -> &mut Guest;

    /// Takes the next chain off the ring, answers it and puts it into the used ring. Returns the
    /// used length.
    fn turn(&mut self) -> u32;
}

/// A client of a subject.
pub struct Client {
    subject: Box<dyn Subject>,
    /// For requests that are not prepared.
    scratch: Option<Slot>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.subject.name())
    }
}

impl Client {
    /// A client that has said INIT.
    pub fn new(subject: Box<dyn Subject>) -> Client {
        let mut client = Client {
            subject,
            scratch: None,
        };
        let mut body = Vec::new();
        for word in [7, 41, 128 << 10, INIT_FLAGS] {
            body.extend(u32::to_le_bytes(word));
        }
        body.resize(64, 0);
        let slot = client.prepare(opcode::INIT, 0, &body, Some(64));
        client.call(slot);
        assert_eq!(client.guest().error(slot), 0, "INIT was refused");
        client
    }

    /// What the server is called.
    pub fn name(&self) -> String {
        self.subject.name().to_owned()
    }

    /// The guest's memory.
    pub fn guest(&mut self) -> &mut Guest {
        self.subject.guest()
    }

    /// Prepares a request; `room` is for the reply's body.
    pub fn prepare(&mut self, opcode: u32, node: u64, body: &[u8], room: Option<usize>) -> Slot {
        let request = message(opcode, node, 1000, body);
        let paged = matches!(opcode, opcode::READ | opcode::READDIR | opcode::READDIRPLUS);
        self.guest().prepare(&request, room, paged)
    }

    /// Has a prepared request answered. Returns the used length.
    pub fn call(&mut self, slot: Slot) -> u32 {
        self.subject.guest().offer(slot);
        self.subject.turn()
    }

    /// Prepares a LOOKUP.
    pub fn prepare_lookup(&mut self, parent: u64, name: &str) -> Slot {
        let body = [name.as_bytes(), b"\0"].concat();
        self.prepare(opcode::LOOKUP, parent, &body, Some(128))
    }

    /// LOOKUP; `None` if there is no such name.
    pub fn lookup(&mut self, parent: u64, name: &str) -> Result<Option<u64>, i32> {
        let slot = self.scratch_lookup(parent, name);
        self.call(slot);
        match self.guest().error(slot) {
            0 => Ok(Some(self.guest().reply_u64(slot, 0)).filter(|node| *node != 0)),
            error if error == -libc::ENOENT => Ok(None),
            error => Err(-error),
        }
    }

    fn scratch_lookup(&mut self, parent: u64, name: &str) -> Slot {
        let slot = match self.scratch {
            Some(slot) => slot,
            None => self.prepare_lookup(1, &"x".repeat(255)),
        };
        self.scratch = Some(slot);
        let body = [name.as_bytes(), b"\0"].concat();
        let request = message(opcode::LOOKUP, parent, 1000, &body);
        self.guest().refill(slot, &request);
        slot
    }

    /// Looks up a path below the root; a node for each component is remembered by the server.
    ///
    /// # Panics
    /// If it does not exist.
    pub fn resolve(&mut self, path: &str) -> u64 {
        path.split('/')
            .fold(1, |parent, name| match self.lookup(parent, name) {
                Ok(Some(node)) => node,
                other => panic!("{}: {name} in {path}: {other:?}", self.name()),
            })
    }

    /// Opens a file or directory if the server wants that. Returns the handle.
    pub fn open(&mut self, node: u64, directory: bool) -> u64 {
        let opcode = if directory { OPENDIR } else { opcode::OPEN };
        let slot = self.prepare(opcode, node, &[0; 8], Some(16));
        self.call(slot);
        match self.guest().error(slot) {
            0 => self.guest().reply_u64(slot, 0),
            error if error == -libc::ENOSYS => 0,
            error => panic!("{}: OPEN: error {error}", self.name()),
        }
    }

    /// Whether files need to be opened.
    pub fn wants_open(&mut self, node: u64) -> bool {
        let slot = self.prepare(opcode::OPEN, node, &[0; 8], Some(16));
        self.call(slot);
        self.guest().error(slot) == 0
    }

    /// Prepares an OPEN.
    pub fn prepare_open(&mut self, node: u64) -> Slot {
        self.prepare(opcode::OPEN, node, &[0; 8], Some(16))
    }

    /// Prepares a RELEASE.
    pub fn prepare_release(&mut self, node: u64) -> Slot {
        self.prepare(RELEASE, node, &[0; 24], Some(0))
    }

    /// Prepares a READ, READDIR or READDIRPLUS.
    pub fn prepare_read(&mut self, opcode: u32, node: u64, handle: u64, at: u64, len: u32) -> Slot {
        let mut body = read_in(at, len);
        body[..8].copy_from_slice(&handle.to_le_bytes());
        self.prepare(opcode, node, &body, Some(len as usize))
    }
}

/// Counts the entries in a reply to READDIR, or READDIRPLUS.
pub fn entries(reply: &[u8], plus: bool) -> usize {
    let before = if plus { 128 } else { 0 };
    let mut at = 0;
    let mut count = 0;
    while let Some(len) = reply.get(at + before + 16..at + before + 20) {
        let len = u32::from_le_bytes([len[0], len[1], len[2], len[3]]) as usize;
        at += (before + 24 + len).next_multiple_of(8);
        count += 1;
    }
    count
}
