// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A FUSE client on a virtqueue, with the structures of `linux/fuse.h` written out by hand.

use crate::channel::PATIENCE;
use crate::driver::Buffer;
use crate::frontend::FrontEnd;

/// Numbers of the requests.
#[allow(missing_docs)]
pub mod opcode {
    pub const LOOKUP: u32 = 1;
    pub const FORGET: u32 = 2;
    pub const GETATTR: u32 = 3;
    pub const SETATTR: u32 = 4;
    pub const READLINK: u32 = 5;
    pub const OPEN: u32 = 14;
    pub const READ: u32 = 15;
    pub const WRITE: u32 = 16;
    pub const STATFS: u32 = 17;
    pub const GETXATTR: u32 = 22;
    pub const INIT: u32 = 26;
    pub const READDIR: u32 = 28;
    pub const INTERRUPT: u32 = 36;
    pub const DESTROY: u32 = 38;
    pub const IOCTL: u32 = 39;
    pub const BATCH_FORGET: u32 = 42;
    pub const READDIRPLUS: u32 = 44;
    pub const LSEEK: u32 = 46;
    pub const SETUPMAPPING: u32 = 48;
    pub const REMOVEMAPPING: u32 = 49;
}

/// The root directory.
pub const ROOT: u64 = 1;
/// In INIT: there is a DAX window.
pub const MAP_ALIGNMENT: u32 = 1 << 26;
/// Length of `fuse_in_header`.
pub const IN_HEADER: usize = 40;
/// Length of `fuse_out_header`.
pub const OUT_HEADER: usize = 16;

/// How a request is cut into descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// As Linux does: header, body, reply header, reply body.
    Linux,
    /// One descriptor for each direction.
    Whole,
    /// Pieces of so many bytes, both ways.
    Pieces(u32),
}

/// An answered request. Its used length was compared with the length in its header.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Reply {
    /// Zero, or a negative error number.
    pub error: i32,
    pub unique: u64,
    pub body: Vec<u8>,
    /// What the device said that it wrote.
    pub used: u32,
}

/// An entry of a READDIR reply.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Dirent {
    pub ino: u64,
    pub offset: u64,
    pub kind: u32,
    pub name: Vec<u8>,
}

/// A client on one queue of a front-end.
#[derive(Debug)]
pub struct Client<'f> {
    front: &'f mut FrontEnd,
    queue: usize,
    unique: u64,
    /// How requests are cut.
    pub layout: Layout,
    request: u64,
    reply: u64,
}

/// Room for a request and for a reply.
const ROOM: u64 = 256 << 10;

impl<'f> Client<'f> {
    /// A client on request queue `queue` (1 is the first).
    pub fn new(front: &'f mut FrontEnd, queue: usize) -> Client<'f> {
        let (request, reply) = (front.guest.allocate(ROOM), front.guest.allocate(ROOM));
        Client {
            front,
            queue,
            unique: 1000,
            layout: Layout::Linux,
            request,
            reply,
        }
    }

    /// The front-end below.
    pub fn front(&mut self) -> &mut FrontEnd {
        self.front
    }

    /// Sends `opcode` for `node` and returns the reply, for which there are `room` bytes behind
    /// the header.
    pub fn call(&mut self, opcode: u32, node: u64, body: &[u8], room: u32) -> Reply {
        self.unique += 2;
        let request = message(opcode, node, self.unique, body);
        let reply = self.exchange(&request, Some(room)).expect("no reply");
        assert_eq!(reply.unique, self.unique, "the reply is to another request");
        reply
    }

    /// Sends any bytes, with room for a reply header and `room` bytes, or without. `None` if
    /// there came no reply, with used length zero.
    pub fn exchange(&mut self, request: &[u8], room: Option<u32>) -> Option<Reply> {
        let guest = self.front.guest.clone();
        guest.write(self.request, request);
        let room = room.map_or(0, |room| OUT_HEADER as u32 + room);
        // The reply must not be what lay there before.
        guest.write(self.reply, &vec![0xa5; room as usize + 64]);
        let mut buffers = Vec::new();
        self.cut(
            &mut buffers,
            self.request,
            request.len() as u32,
            IN_HEADER as u32,
            false,
        );
        self.cut(&mut buffers, self.reply, room, OUT_HEADER as u32, true);

        let driver = &mut self.front.queues[self.queue];
        let before = driver.offered();
        let head = driver.submit(&buffers);
        driver.kick_if_wanted(before);
        let used = driver
            .wait_used(PATIENCE)
            .expect("the request was not answered");
        assert_eq!(used.id, u32::from(head));
        driver.release(head, buffers.len());
        assert!(used.len <= room, "more used than there is");
        let behind = guest.read(self.reply + u64::from(used.len), 64);
        assert_eq!(behind, [0xa5; 64], "written behind the used length");
        self.parse(used.len)
    }

    fn parse(&self, used: u32) -> Option<Reply> {
        if used == 0 {
            return None;
        }
        let guest = &self.front.guest;
        let len: u32 = guest.get(self.reply);
        assert_eq!(used, len, "used length and the length in the header differ");
        assert!(used as usize >= OUT_HEADER);
        let error = guest.get(self.reply + 4);
        assert!((-4095..=0).contains(&error), "error {error}");
        assert!(
            error == 0 || used as usize == OUT_HEADER,
            "an error with a body"
        );
        Some(Reply {
            error,
            unique: guest.get(self.reply + 8),
            body: guest.read(self.reply + OUT_HEADER as u64, used as usize - OUT_HEADER),
            used,
        })
    }

    fn cut(&self, buffers: &mut Vec<Buffer>, at: u64, len: u32, header: u32, write: bool) {
        let mut push = |offset: u32, len: u32| {
            if len > 0 {
                buffers.push(Buffer {
                    at: at + u64::from(offset),
                    len,
                    write,
                });
            }
        };
        match self.layout {
            Layout::Whole => push(0, len),
            Layout::Linux => {
                let header = header.min(len);
                push(0, header);
                push(header, len - header);
            }
            Layout::Pieces(piece) => {
                (0..len)
                    .step_by(piece as usize)
                    .for_each(|from| push(from, piece.min(len - from)));
            }
        }
    }

    /// INIT, as Linux 6.12 sends it; returns the whole reply.
    pub fn init(&mut self) -> Reply {
        let mut body = Vec::new();
        for word in [7u32, 41, 128 << 10, 0x73ff_fffb] {
            body.extend(word.to_le_bytes());
        }
        body.extend(0xffu32.to_le_bytes());
        body.resize(64, 0);
        let reply = self.call(opcode::INIT, 0, &body, 64);
        assert_eq!(reply.error, 0, "INIT");
        assert_eq!(reply.body[..4], 7u32.to_le_bytes());
        assert_eq!(reply.body.len(), 64);
        reply
    }

    /// INIT of a Linux that has found a DAX window; whether it may use it.
    pub fn init_dax(&mut self) -> bool {
        let reply = self.call(opcode::INIT, 0, &Self::init_dax_body(), 64);
        assert_eq!(reply.error, 0, "INIT");
        let word = |at: usize| u32::from_le_bytes(reply.body[at..at + 4].try_into().unwrap());
        let granted = word(12) & MAP_ALIGNMENT != 0;
        assert_eq!(word(32) & 2 != 0, granted, "HAS_INODE_DAX goes with it");
        if granted {
            let alignment = u16::from_le_bytes(reply.body[30..32].try_into().unwrap());
            assert!((12..=21).contains(&alignment), "2 MiB must be aligned");
        }
        granted
    }

    /// Its body.
    pub fn init_dax_body() -> Vec<u8> {
        let mut body = Vec::new();
        for word in [7u32, 41, 128 << 10, 0x73ff_fffb | MAP_ALIGNMENT, 0xff] {
            body.extend(word.to_le_bytes());
        }
        body.resize(64, 0);
        body
    }

    /// SETUPMAPPING for reading: 0 or the positive error number.
    pub fn setup_mapping(&mut self, node: u64, foffset: u64, len: u64, moffset: u64) -> i32 {
        let body: Vec<u8> = [u64::MAX, foffset, len, 2, moffset]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        -self.call(opcode::SETUPMAPPING, node, &body, 0).error
    }

    /// LOOKUP: the reply's node id.
    ///
    /// # Errors
    /// The positive error number; `ENOENT` for a negative entry too.
    pub fn lookup(&mut self, parent: u64, name: &[u8]) -> Result<u64, i32> {
        let reply = self.call(opcode::LOOKUP, parent, &[name, b"\0"].concat(), 128);
        match (reply.error, get_u64(&reply.body, 0)) {
            (0, Some(0)) => Err(libc::ENOENT),
            (0, Some(node)) => Ok(node),
            (error, _) => Err(-error),
        }
    }

    /// GETATTR: mode and size.
    ///
    /// # Errors
    /// The positive error number.
    pub fn getattr(&mut self, node: u64) -> Result<(u32, u64), i32> {
        let reply = self.call(opcode::GETATTR, node, &[0; 16], 104);
        if reply.error != 0 {
            return Err(-reply.error);
        }
        assert_eq!(reply.body.len(), 104);
        let mode = u32::from_le_bytes(reply.body[16 + 60..16 + 64].try_into().unwrap());
        Ok((mode, get_u64(&reply.body, 16 + 8).unwrap()))
    }

    /// READ.
    ///
    /// # Errors
    /// The positive error number.
    pub fn read(&mut self, node: u64, at: u64, size: u32) -> Result<Vec<u8>, i32> {
        let reply = self.call(opcode::READ, node, &read_in(at, size), size);
        if reply.error == 0 {
            Ok(reply.body)
        } else {
            Err(-reply.error)
        }
    }

    /// READLINK.
    ///
    /// # Errors
    /// The positive error number.
    pub fn readlink(&mut self, node: u64) -> Result<Vec<u8>, i32> {
        let reply = self.call(opcode::READLINK, node, &[], 4096);
        if reply.error == 0 {
            Ok(reply.body)
        } else {
            Err(-reply.error)
        }
    }

    /// One READDIR.
    ///
    /// # Errors
    /// The positive error number.
    pub fn readdir_from(&mut self, node: u64, from: u64, size: u32) -> Result<Vec<Dirent>, i32> {
        let reply = self.call(opcode::READDIR, node, &read_in(from, size), size);
        if reply.error == 0 {
            Ok(dirents(&reply.body))
        } else {
            Err(-reply.error)
        }
    }

    /// A whole directory, in pages of `size` bytes.
    ///
    /// # Errors
    /// The positive error number.
    pub fn readdir(&mut self, node: u64, size: u32) -> Result<Vec<Dirent>, i32> {
        let mut all: Vec<Dirent> = Vec::new();
        loop {
            let from = all.last().map_or(0, |entry| entry.offset);
            let page = self.readdir_from(node, from, size)?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }

    /// FORGET, which has no reply, on whichever queue this client is.
    pub fn forget(&mut self, node: u64, count: u64) {
        self.unique += 2;
        let request = message(opcode::FORGET, node, self.unique, &count.to_le_bytes());
        assert!(self.exchange(&request, None).is_none());
    }
}

/// A request: `fuse_in_header` and its body.
pub fn message(opcode: u32, node: u64, unique: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(IN_HEADER + body.len());
    bytes.extend(((IN_HEADER + body.len()) as u32).to_le_bytes());
    bytes.extend(opcode.to_le_bytes());
    bytes.extend(unique.to_le_bytes());
    bytes.extend(node.to_le_bytes());
    bytes.extend([0; 16]); // uid, gid, pid, padding
    bytes.extend(body);
    bytes
}

/// `fuse_read_in`.
pub fn read_in(at: u64, size: u32) -> Vec<u8> {
    let mut body = vec![0; 8];
    body.extend(at.to_le_bytes());
    body.extend(size.to_le_bytes());
    body.resize(40, 0);
    body
}

/// The entries in the reply to a READDIR.
pub fn dirents(mut bytes: &[u8]) -> Vec<Dirent> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let len = word(16) as usize;
        entries.push(Dirent {
            ino: get_u64(bytes, 0).unwrap(),
            offset: get_u64(bytes, 8).unwrap(),
            kind: word(20),
            name: bytes[24..24 + len].to_vec(),
        });
        bytes = &bytes[(24 + len).next_multiple_of(8)..];
    }
    entries
}

fn get_u64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
