// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The transport-free FUSE server: one request in, used length out.
//!
//! ```
//! use vm_memory::VolatileSlice;
//! use virtiofs::server::{Options, Server};
//! use virtiofs::store::{PlainOptions, PlainTree, open_root};
//!
//! let dir = tempfile::tempdir().unwrap();
//! let tree = PlainTree::new(open_root(dir.path()).unwrap(), PlainOptions::default()).unwrap();
//! let server = Server::new(tree, Options::default());
//!
//! // GETATTR of the root, as a client writes it: `fuse_in_header`, then `fuse_getattr_in`.
//! let mut request = vec![0u8; 40 + 16];
//! request[0] = 56; // len
//! request[4] = 3; // FUSE_GETATTR
//! request[8] = 42; // unique
//! request[16] = 1; // nodeid of the root
//! let mut reply = vec![0u8; 4096];
//!
//! let used = server.handle(
//!     &[VolatileSlice::from(&mut request[..])],
//!     &[VolatileSlice::from(&mut reply[..])],
//!     None,
//! );
//! assert_eq!(used, 16 + 104); // `fuse_out_header` and `fuse_attr_out`
//! assert_eq!(reply[8], 42);
//! ```

mod listing;
mod mapping;
mod memory;
mod reply;
mod session;

use std::ffi::CStr;
use std::mem::{offset_of, size_of};
use std::sync::atomic::Ordering;

use vm_memory::VolatileSlice;
use zerocopy::IntoBytes;

use self::listing::Listing;
use self::memory::{Reader, Writer};
use self::session::Session;
use crate::dax::DaxWindow;
use crate::errno::{Errno, FsResult};
use crate::fs::{Call, Found, Name, NodeId, ReadFs, Validity};
use crate::wire::{Opcode, abi, flags};

/// Longest request in bytes: a WRITE of the largest size that INIT allows has still to be refused
/// as what it is. Descriptors may overlap, so without a limit little memory could be a list of
/// millions of nodes to forget.
const MAX_REQUEST: usize = 2 * session::MAX_IO as usize;

/// What the server offers a client, beyond what the file system promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Offer READDIRPLUS: attributes of all entries along with the names of a directory.
    pub readdirplus: bool,
    /// Let clients map files even where the file system says to bypass the page cache.
    pub direct_io_allow_mmap: bool,
    /// From what size on, in bytes, clients use a DAX window for a file, if there is a window. For
    /// programs and libraries a quarter of it. `None`: only if the client itself says so, for all.
    pub dax_min: Option<u64>,
}

impl Options {
    /// The size from which on a mapping is as quick as reading when a file is used for the first
    /// time; `benches/` measure it.
    pub const DAX_MIN: u64 = 1 << 20;
}

impl Default for Options {
    fn default() -> Options {
        Options {
            readdirplus: true,
            direct_io_allow_mmap: false,
            dax_min: Some(Options::DAX_MIN),
        }
    }
}

/// A FUSE server over a read-only file system; one for each client session.
#[derive(Debug)]
pub struct Server<F> {
    fs: F,
    options: Options,
    session: Session,
}

impl<F: ReadFs> Server<F> {
    /// A server that waits for a client's INIT.
    pub fn new(fs: F, options: Options) -> Server<F> {
        Server {
            fs,
            options,
            session: Session::default(),
        }
    }

    /// The file system served.
    pub fn fs(&self) -> &F {
        &self.fs
    }

    /// Handles one request: `readable` holds it, the reply goes into `writable`. Returns how many
    /// bytes of `writable` were written, which is the used length. That is always the length in
    /// the reply's header, or 0 where there is no reply: for FORGET, and for a request or reply
    /// memory too short for its header.
    ///
    /// Nothing a client can put there makes it fail, panic, or touch other memory.
    pub fn handle(
        &self,
        readable: &[VolatileSlice<'_>],
        writable: &[VolatileSlice<'_>],
        window: Option<&dyn DaxWindow>,
    ) -> u32 {
        self.run(Call::WAIT, readable, writable, window)
            .unwrap_or(0)
    }

    /// Like [`handle`](Self::handle), but answers `None`, with nothing done, if the answer would
    /// have to wait for a disk. Hand the same request to `handle` on a thread that may wait.
    pub fn try_handle(
        &self,
        readable: &[VolatileSlice<'_>],
        writable: &[VolatileSlice<'_>],
        window: Option<&dyn DaxWindow>,
    ) -> Option<u32> {
        self.run(Call::NO_WAIT, readable, writable, window)
    }

    fn run(
        &self,
        call: Call,
        readable: &[VolatileSlice<'_>],
        writable: &[VolatileSlice<'_>],
        window: Option<&dyn DaxWindow>,
    ) -> Option<u32> {
        let mut request = Reader::new(readable);
        let total = request.left();
        let mut header = abi::InHeader::default();
        let have = request.read(header.as_mut_bytes());
        let whole = have == size_of::<abi::InHeader>();
        // Of a header that is cut, only what is there as a whole counts.
        if have < offset_of!(abi::InHeader, nodeid) {
            header.unique = 0;
        }
        let has_opcode = have >= offset_of!(abi::InHeader, unique);
        let opcode = Opcode::from_raw(header.opcode).filter(|_| has_opcode);
        let intact = whole && header.len as usize == total && total <= MAX_REQUEST;
        if opcode.is_some_and(Opcode::is_one_way) {
            if intact {
                self.forget(opcode, NodeId(header.nodeid), &mut request);
            }
            return Some(0);
        }

        let start = Writer::new(writable, call.may_block);
        let Some(mut body) = start.behind(size_of::<abi::OutHeader>()) else {
            return Some(0); // nowhere to put even an error
        };
        let result = if !intact {
            Err(Errno::INVAL)
        } else if let Some(opcode) = opcode {
            self.dispatch(call, opcode, &header, &mut request, &mut body, window)
        } else {
            Err(Errno::NOSYS)
        };

        let (error, body_len) = match result {
            Ok(()) => (0, body.written()),
            Err(Errno::AGAIN) if !call.may_block => return None,
            Err(errno) => (-errno.raw(), 0),
        };
        log::trace!(
            "{opcode:?} node {:#x}: {error}, {body_len} bytes",
            header.nodeid
        );
        let len = u32::try_from(size_of::<abi::OutHeader>() + body_len).unwrap_or(0);
        let header = abi::OutHeader {
            len,
            error,
            unique: header.unique,
        };
        start.clone().write(header.as_bytes());
        Some(len)
    }

    fn dispatch(
        &self,
        call: Call,
        opcode: Opcode,
        header: &abi::InHeader,
        request: &mut Reader<'_, '_>,
        out: &mut Writer<'_, '_>,
        window: Option<&dyn DaxWindow>,
    ) -> FsResult<()> {
        let node = NodeId(header.nodeid);
        match opcode {
            Opcode::Lookup => self.lookup(call, node, request, out),
            Opcode::Getattr => {
                let (attr, validity) = self.fs.getattr(call, node)?;
                put(out, &reply::attr_out(&attr, validity, &self.session.dax))
            }
            Opcode::Readlink => self.fs.readlink(call, node, out),
            Opcode::Read => self.read(call, node, request, out),
            Opcode::Readdir | Opcode::Readdirplus => {
                let input: abi::ReadIn = request.read_obj()?;
                out.limit(input.size as usize);
                let plus = opcode == Opcode::Readdirplus;
                let mut listing = Listing::new(out, plus, &self.session.dax);
                self.fs.readdir(call, node, input.offset, &mut listing)
            }
            Opcode::Open | Opcode::Opendir => self.open(call, opcode, node, request, out),
            Opcode::Release | Opcode::Releasedir => Ok(()),
            Opcode::Statfs => put(out, &reply::statfs_out(&self.fs.statfs(call)?)),
            Opcode::Init => {
                if window.is_some() {
                    mapping::may_wait(call)?;
                }
                self.fs.reset();
                let caps = self.fs.capabilities();
                let init = self.session.init(request, &self.options, caps, window)?;
                put(out, &init)
            }
            Opcode::Destroy => {
                if let Some(window) = window {
                    mapping::may_wait(call)?;
                    window.close();
                }
                self.fs.reset();
                Ok(())
            }
            Opcode::SetupMapping => mapping::setup(&self.fs, call, node, request, window),
            Opcode::RemoveMapping => mapping::remove(call, request, window),

            // Everything that would change something.
            Opcode::Setattr
            | Opcode::Symlink
            | Opcode::Mknod
            | Opcode::Mkdir
            | Opcode::Unlink
            | Opcode::Rmdir
            | Opcode::Rename
            | Opcode::Rename2
            | Opcode::Link
            | Opcode::Write
            | Opcode::Create
            | Opcode::Tmpfile
            | Opcode::Setxattr
            | Opcode::Removexattr
            | Opcode::Fallocate
            | Opcode::CopyFileRange
            | Opcode::CopyFileRange64 => Err(Errno::ROFS),

            // ENOSYS here would make overlayfs refuse the file system; this is what an unknown
            // ioctl gives everywhere.
            Opcode::Ioctl => Err(Errno::NOTTY),

            // A client that hears ENOSYS once does without and never asks again: there is nothing
            // to flush, no extended attribute, no access check beyond the mode bits, no lock
            // anybody else could hold, and no hole that GETATTR and READ do not show.
            Opcode::Flush
            | Opcode::Fsync
            | Opcode::Fsyncdir
            | Opcode::Syncfs
            | Opcode::Getxattr
            | Opcode::Listxattr
            | Opcode::Access
            | Opcode::Getlk
            | Opcode::Setlk
            | Opcode::Setlkw
            | Opcode::Interrupt
            | Opcode::Bmap
            | Opcode::Poll
            | Opcode::Lseek
            | Opcode::Statx
            | Opcode::NotifyReply
            | Opcode::CuseInit
            | Opcode::Forget
            | Opcode::BatchForget => Err(Errno::NOSYS),
        }
    }

    fn lookup(
        &self,
        call: Call,
        parent: NodeId,
        request: &mut Reader<'_, '_>,
        out: &mut Writer<'_, '_>,
    ) -> FsResult<()> {
        // Room in the reply is checked first: a found entry counts as a reference.
        if out.left() < size_of::<abi::EntryOut>() {
            return Err(Errno::RANGE);
        }
        let mut buffer = [0u8; Name::MAX + 2];
        let have = request.read(&mut buffer);
        let name = match CStr::from_bytes_until_nul(&buffer[..have]) {
            Ok(name) => Name::new(name.to_bytes())?,
            Err(_) if have == buffer.len() => return Err(Errno::NAMETOOLONG),
            Err(_) => return Err(Errno::INVAL),
        };
        match self.fs.lookup(call, parent, name)? {
            Found::Entry(entry) => put(out, &reply::entry_out(&entry, &self.session.dax)),
            Found::Negative(Validity::NONE) => Err(Errno::NOENT),
            Found::Negative(validity) => put(out, &reply::negative_entry_out(validity)),
        }
    }

    fn open(
        &self,
        call: Call,
        opcode: Opcode,
        node: NodeId,
        request: &mut Reader<'_, '_>,
        out: &mut Writer<'_, '_>,
    ) -> FsResult<()> {
        let input: abi::OpenIn = request.read_obj()?;
        let (access, truncate) = (libc::O_ACCMODE as u32, libc::O_TRUNC as u32);
        if input.flags & access != libc::O_RDONLY as u32 || input.flags & truncate != 0 {
            return Err(Errno::ROFS);
        }
        let directory = opcode == Opcode::Opendir;
        let session = &self.session;
        let never_ask = if directory {
            &session.no_opendir
        } else {
            &session.no_open
        };
        if never_ask.load(Ordering::Relaxed) {
            return Err(Errno::NOSYS);
        }
        let opened = self.fs.open(call, node)?;
        let mut open_flags = flags::open::NOFLUSH;
        if opened.direct_io && !directory {
            open_flags |= flags::open::DIRECT_IO;
        }
        if opened.keep_cache {
            open_flags |= flags::open::KEEP_CACHE;
            if directory {
                open_flags |= flags::open::CACHE_DIR;
            }
        }
        put(
            out,
            &abi::OpenOut {
                fh: 0,
                open_flags,
                backing_id: 0,
            },
        )
    }

    fn read(
        &self,
        call: Call,
        node: NodeId,
        request: &mut Reader<'_, '_>,
        out: &mut Writer<'_, '_>,
    ) -> FsResult<()> {
        let input: abi::ReadIn = request.read_obj()?;
        if input.offset > i64::MAX as u64 {
            return Err(Errno::INVAL);
        }
        out.limit(input.size as usize);
        let len = u32::try_from(out.left()).unwrap_or(u32::MAX);
        self.fs.read(call, node, input.offset, len, out).map(drop)
    }

    fn forget(&self, opcode: Option<Opcode>, node: NodeId, request: &mut Reader<'_, '_>) {
        if opcode == Some(Opcode::Forget) {
            if let Ok(input) = request.read_obj::<abi::ForgetIn>() {
                self.fs.forget(node, input.nlookup);
            }
            return;
        }
        let Ok(input) = request.read_obj::<abi::BatchForgetIn>() else {
            return;
        };
        for _ in 0..input.count {
            let Ok(one) = request.read_obj::<abi::ForgetOne>() else {
                return;
            };
            self.fs.forget(NodeId(one.nodeid), one.nlookup);
        }
    }
}

/// Puts a structure into a reply.
///
/// # Errors
/// `ERANGE` if the client left too little room for it.
fn put<T: IntoBytes + zerocopy::Immutable>(out: &mut Writer<'_, '_>, object: &T) -> FsResult<()> {
    if out.write_all(object.as_bytes()) {
        Ok(())
    } else {
        Err(Errno::RANGE)
    }
}

#[cfg(test)]
mod tests;
