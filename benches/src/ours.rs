// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Our server behind a ring, and the floor: the same ring with nothing behind it.
//!
//! What is measured is what the thread of a ring does for each request of a batch: `vhost::inside`
//! is a way to it without the thread.
#![allow(unsafe_code)] // the guest's end of the memory

use std::path::Path;

use virtio_queue::{Queue, QueueT};
use virtiofs::fs::ReadFs;
use virtiofs::server::{Options, Server};
use virtiofs::store::{Closure, NixOptions, NixStore, open_root};
use virtiofs::vhost::inside::Walker;
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap, VolatileSlice};

use crate::guest::{Guest, MEMORY, PARTS, RING};
use crate::subject::{Client, Subject};

/// The device's end of the ring.
struct Ring {
    guest: Guest,
    memory: GuestMemoryMmap,
    queue: Queue,
    walker: Walker,
}

// SAFETY: what is not `Send` is the walker's storage for slices, which is empty between requests.
unsafe impl Send for Ring {}

impl Ring {
    fn new() -> Ring {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY)]).unwrap();
        let base = memory.get_host_address(GuestAddress(0)).unwrap();
        // SAFETY: the memory is mapped as long as the ring lives, and is the ring's alone.
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
            walker: Walker::default(),
        }
    }

    fn turn(
        &mut self,
        answer: impl FnOnce(&[VolatileSlice<'_>], &[VolatileSlice<'_>]) -> u32,
    ) -> u32 {
        let used = self.walker.one(&mut self.queue, &self.memory, answer);
        used.expect("nothing was offered")
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
        self.ring.turn(|readable, writable| {
            // As the ring's thread does; what has to wait for a disk it gives to another.
            server
                .try_handle(readable, writable, None)
                .unwrap_or_else(|| server.handle(readable, writable, None))
        })
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
