// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The transport-free FUSE server: one request in, used length out.

use vm_memory::VolatileSlice;

use crate::dax::DaxWindow;
use crate::fs::ReadFs;

/// What the server offers a client, beyond what the file system promises.
#[derive(Clone, Debug)]
pub struct Options {
    /// Offer READDIRPLUS.
    pub readdirplus: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { readdirplus: true }
    }
}

/// Memory that one request needs and the next can use again; one for each thread.
#[derive(Debug, Default)]
pub struct Scratch {}

/// A FUSE server over a read-only file system; one for each client session.
#[derive(Debug)]
pub struct Server<F> {
    fs: F,
}

impl<F: ReadFs> Server<F> {
    /// A server that waits for a client's INIT.
    pub fn new(fs: F, _options: Options) -> Server<F> {
        Server { fs }
    }

    /// The file system served.
    pub fn fs(&self) -> &F {
        &self.fs
    }

    /// Handles one request: `readable` holds it, the reply goes into `writable`. Returns how many
    /// bytes of `writable` were written, which is the used length.
    pub fn handle(
        &self,
        _scratch: &mut Scratch,
        _readable: &[VolatileSlice<'_>],
        _writable: &[VolatileSlice<'_>],
        _window: Option<&dyn DaxWindow>,
    ) -> u32 {
        0
    }

    /// Like [`handle`](Self::handle), but answers `None`, with nothing done, if the answer would
    /// have to wait for a disk.
    pub fn try_handle(
        &self,
        scratch: &mut Scratch,
        readable: &[VolatileSlice<'_>],
        writable: &[VolatileSlice<'_>],
        window: Option<&dyn DaxWindow>,
    ) -> Option<u32> {
        Some(self.handle(scratch, readable, writable, window))
    }
}
