// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device's end of a ring, with the versions of the crates that the peers use.
#![allow(unsafe_code)] // the guest's end of the memory

use peer_memory::mmap::NewBitmap;
use peer_memory::{GuestAddress, GuestMemory, GuestMemoryMmap};
use peer_queue::{DescriptorChain, Queue, QueueT};

use crate::guest::{Guest, MEMORY, PARTS, RING};

pub(super) struct Ring<B: NewBitmap + 'static> {
    pub(super) guest: Guest,
    pub(super) memory: &'static GuestMemoryMmap<B>,
    queue: Queue,
}

impl<B: NewBitmap> Ring<B> {
    pub(super) fn new() -> Ring<B> {
        let ranges = [(GuestAddress(0), MEMORY)];
        let memory = GuestMemoryMmap::<B>::from_ranges(&ranges).unwrap();
        let memory: &'static GuestMemoryMmap<B> = Box::leak(Box::new(memory));
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
        }
    }

    /// Answers the next chain by `answer`, which says how much it wrote.
    pub(super) fn turn(
        &mut self,
        answer: impl FnOnce(&'static GuestMemoryMmap<B>, Chain<B>) -> usize,
    ) -> u32 {
        let chain = self
            .queue
            .pop_descriptor_chain(self.memory)
            .expect("nothing was offered");
        let head = chain.head_index();
        let used = answer(self.memory, chain) as u32;
        self.queue.add_used(self.memory, head, used).unwrap();
        used
    }
}

pub(super) type Chain<B> = DescriptorChain<&'static GuestMemoryMmap<B>>;
