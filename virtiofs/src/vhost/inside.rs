// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A way in for benchmarks: what a ring's thread does for each request of a batch, without the
//! thread. Not part of the interface.
#![allow(missing_docs)]

use virtio_queue::{Queue, QueueT};
use vm_memory::{GuestAddress, GuestMemoryMmap, VolatileSlice};

use super::chain::Segments;
use super::queue::pop;

/// Storage that is kept from one request to the next.
#[derive(Debug, Default)]
pub struct Walker(Segments<'static>);

impl Walker {
    /// Takes the next chain off the ring, has it answered and puts it into the used ring. Returns
    /// the used length; `None` if there is no chain, or none that makes sense.
    pub fn one(
        &mut self,
        queue: &mut Queue,
        memory: &GuestMemoryMmap,
        answer: impl FnOnce(&[VolatileSlice<'_>], &[VolatileSlice<'_>]) -> u32,
    ) -> Option<u32> {
        let head = pop(queue, memory).ok()??;
        let mut segments = std::mem::take(&mut self.0).recycle();
        let table = GuestAddress(queue.desc_table());
        segments.collect(memory, table, queue.size(), head).ok()?;
        let used = answer(&segments.readable, &segments.writable);
        self.0 = segments.recycle();
        queue.add_used(memory, head, used).ok()?;
        Some(used)
    }
}
