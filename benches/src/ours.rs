// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Our server behind a ring, and the floor: the same ring with nothing behind it.
//!
//! The thread of a ring in `virtiofs::vhost` is private to that crate, so the ring here is
//! `virtio-queue`'s, as with the peers, and the chain is handed to `Server::handle`.
#![allow(unsafe_code)] // the guest's end of the memory; a vector that moves to another thread

use std::path::Path;

use virtio_queue::{Queue, QueueOwnedT, QueueT};
use virtiofs::fs::ReadFs;
use virtiofs::server::{Options, Server};
use virtiofs::store::{Closure, NixOptions, NixStore, open_root};
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap, VolatileSlice};

use crate::guest::{Guest, MEMORY, PARTS, RING};
use crate::subject::{Client, Subject};

/// The device's end of the ring.
struct Ring {
    guest: Guest,
    /// Lives as long as the process: slices of it are kept between requests.
    memory: &'static GuestMemoryMmap,
    queue: Queue,
    readable: Vec<VolatileSlice<'static>>,
    writable: Vec<VolatileSlice<'static>>,
}

// SAFETY: what is not `Send` is the slices, pointers into memory that is never unmapped; they are
// used by nobody but the ring that owns them.
unsafe impl Send for Ring {}

impl Ring {
    fn new() -> Ring {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY)]).unwrap();
        let memory: &'static GuestMemoryMmap = Box::leak(Box::new(memory));
        let base = memory.get_host_address(GuestAddress(0)).unwrap();
        // SAFETY: the memory is mapped for ever, and is this ring's alone.
        let guest = unsafe { Guest::new(base, MEMORY) };
        let mut queue = Queue::new(RING).unwrap();
        let [table, available, used] = PARTS.map(GuestAddress);
        queue.try_set_desc_table_address(table).unwrap();
        queue.try_set_avail_ring_address(available).unwrap();
        queue.try_set_used_ring_address(used).unwrap();
        queue.set_ready(true);
        Ring {
            guest,
            memory,
            queue,
            readable: Vec::with_capacity(1024),
            writable: Vec::with_capacity(1024),
        }
    }

    fn turn(
        &mut self,
        answer: impl FnOnce(&[VolatileSlice<'_>], &[VolatileSlice<'_>]) -> u32,
    ) -> u32 {
        self.readable.clear();
        self.writable.clear();
        let chain = {
            let mut available = self.queue.iter(self.memory).unwrap();
            available.next().expect("nothing was offered")
        };
        let head = chain.head_index();
        for descriptor in chain {
            let into = if descriptor.is_write_only() {
                &mut self.writable
            } else {
                &mut self.readable
            };
            let len = descriptor.len() as usize;
            into.push(self.memory.get_slice(descriptor.addr(), len).unwrap());
        }
        let used = answer(&self.readable, &self.writable);
        self.queue.add_used(self.memory, head, used).unwrap();
        used
    }
}

struct Ours<F> {
    name: &'static str,
    server: Server<F>,
    ring: Ring,
}

impl<F: ReadFs> Subject for Ours<F> {
    fn name(&self) -> &str {
        self.name
    }

    fn guest(&mut self) -> &mut Guest {
        &mut self.ring.guest
    }

    fn turn(&mut self) -> u32 {
        let server = &self.server;
        self.ring
            .turn(|readable, writable| server.handle(readable, writable, None))
    }
}

/// Our name in tables.
pub const OURS: &str = "rofs";
/// The floor's name in tables.
pub const FLOOR: &str = "floor";

/// Our server over the Nix store at `root`.
pub fn store(root: &Path) -> Client {
    serve(open(root))
}

/// The same, showing only the store paths of these names.
pub fn closure(root: &Path, names: &[String]) -> Client {
    serve(open(root).restricted_to(&Closure::new(names).unwrap()))
}

fn open(root: &Path) -> NixStore {
    NixStore::new(open_root(root).unwrap(), NixOptions::default()).unwrap()
}

fn serve(store: NixStore) -> Client {
    Client::new(Box::new(Ours {
        name: OURS,
        server: Server::new(store, Options::default()),
        ring: Ring::new(),
    }))
}

/// A server that reads the header of a request and writes that of a reply.
struct Floor {
    ring: Ring,
}

impl Subject for Floor {
    fn name(&self) -> &str {
        FLOOR
    }

    fn guest(&mut self) -> &mut Guest {
        &mut self.ring.guest
    }

    fn turn(&mut self) -> u32 {
        self.ring.turn(|readable, writable| {
            let mut header = [0u8; 40];
            readable[0].copy_to(&mut header);
            let Some(out) = writable.first() else {
                return 0;
            };
            let mut reply = [0u8; 16];
            reply[0] = 16;
            reply[8..].copy_from_slice(&header[8..16]);
            out.copy_from(&reply);
            16
        })
    }
}

/// The floor: what the ring alone costs in this harness.
pub fn floor() -> Client {
    Client::new(Box::new(Floor { ring: Ring::new() }))
}
