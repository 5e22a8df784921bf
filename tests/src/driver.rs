// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A virtqueue as its driver sees it, obedient or not.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use vm_memory::{Bytes, GuestAddress};

use crate::guest::Guest;

/// Another descriptor follows.
pub const NEXT: u16 = 1;
/// The device writes.
pub const WRITE: u16 = 2;
/// The buffer is a table of descriptors.
pub const INDIRECT: u16 = 4;

/// One buffer of a request.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Buffer {
    pub at: u64,
    pub len: u32,
    pub write: bool,
}

/// One entry of a descriptor table: address, length, flags, next.
pub type Descriptor = (u64, u32, u16, u16);

/// An element of the used ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Used {
    pub id: u32,
    pub len: u32,
}

/// A split virtqueue.
#[derive(Debug)]
pub struct Driver {
    guest: Guest,
    /// Descriptors.
    pub size: u16,
    /// Where its three parts are.
    pub table: u64,
    /// The available ring.
    pub available: u64,
    /// The used ring.
    pub used: u64,
    /// Where indirect tables are put, one for each head.
    indirect: u64,
    /// Rung to say that there are requests.
    pub kick: OwnedFd,
    /// Rung when requests are done.
    pub call: OwnedFd,
    offered: u16,
    seen: u16,
    free: Vec<u16>,
    /// Whether the event index was negotiated.
    pub event_idx: bool,
    /// Put chains into indirect tables.
    pub use_indirect: bool,
    /// How many times the device rang.
    pub signals: u64,
}

/// Longest indirect table that [`Driver::submit`] makes.
const INDIRECT_LEN: u64 = 64;

impl Driver {
    /// An empty queue.
    pub fn new(guest: &Guest, size: u16) -> Driver {
        let wide = u64::from(size);
        let event = || eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
        let mut driver = Driver {
            guest: guest.clone(),
            size,
            table: guest.allocate(16 * wide),
            available: guest.allocate(6 + 2 * wide),
            used: guest.allocate(6 + 8 * wide),
            indirect: guest.allocate(16 * INDIRECT_LEN * wide),
            kick: event(),
            call: event(),
            offered: 0,
            seen: 0,
            free: Vec::new(),
            event_idx: false,
            use_indirect: false,
            signals: 0,
        };
        driver.reset();
        driver
    }

    /// What a driver does with its queue after the device was reset.
    pub fn reset(&mut self) {
        let size = usize::from(self.size);
        self.guest.write(self.available, &vec![0; 6 + 2 * size]);
        self.guest.write(self.used, &vec![0; 6 + 8 * size]);
        self.offered = 0;
        self.seen = 0;
        self.free = (0..self.size).rev().collect();
    }

    /// Writes one descriptor.
    pub fn descriptor(&self, index: u16, (addr, len, flags, next): Descriptor) {
        self.put(self.table, index, (addr, len, flags, next));
    }

    /// Writes one descriptor into any table.
    pub fn put(&self, table: u64, index: u16, (addr, len, flags, next): Descriptor) {
        let mut bytes = addr.to_le_bytes().to_vec();
        bytes.extend(len.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        bytes.extend(next.to_le_bytes());
        self.guest.write(table + 16 * u64::from(index), &bytes);
    }

    /// Makes the chain at `head` available.
    pub fn offer(&mut self, head: u16) {
        let slot = u64::from(self.offered % self.size);
        self.guest
            .write(self.available + 4 + 2 * slot, &head.to_le_bytes());
        self.set_available(self.offered.wrapping_add(1));
    }

    /// Sets the available index, to whatever.
    pub fn set_available(&mut self, index: u16) {
        self.offered = index;
        let at = GuestAddress(self.available + 2);
        self.guest
            .store(index.to_le(), at, Ordering::Release)
            .unwrap();
    }

    /// Makes a chain of the buffers and offers it; returns its head.
    pub fn submit(&mut self, buffers: &[Buffer]) -> u16 {
        let head = if self.use_indirect {
            let head = self.free.pop().expect("the queue is full");
            assert!(buffers.len() as u64 <= INDIRECT_LEN);
            let table = self.indirect + 16 * INDIRECT_LEN * u64::from(head);
            let indices: Vec<u16> = (0..buffers.len() as u16).collect();
            self.chain(table, &indices, buffers);
            self.descriptor(head, (table, 16 * buffers.len() as u32, INDIRECT, 0));
            head
        } else {
            let from = self.free.len() - buffers.len();
            let indices = self.free.split_off(from);
            self.chain(self.table, &indices, buffers);
            indices[0]
        };
        self.offer(head);
        head
    }

    fn chain(&self, table: u64, indices: &[u16], buffers: &[Buffer]) {
        for (position, (index, buffer)) in indices.iter().zip(buffers).enumerate() {
            let next = indices.get(position + 1);
            let flags = if buffer.write { WRITE } else { 0 } | next.map_or(0, |_| NEXT);
            let descriptor = (buffer.at, buffer.len, flags, next.copied().unwrap_or(0));
            self.put(table, *index, descriptor);
        }
    }

    /// Gives the descriptors of a chain made by [`submit`](Driver::submit) back.
    pub fn release(&mut self, head: u16, buffers: usize) {
        let mut index = head;
        let count = if self.use_indirect { 1 } else { buffers };
        for _ in 0..count {
            self.free.push(index);
            index = self.guest.get(self.table + 16 * u64::from(index) + 14);
        }
    }

    /// Tells the device to look.
    pub fn kick(&self) {
        rustix::io::write(&self.kick, &1u64.to_ne_bytes()).unwrap();
    }

    /// Tells it if it wants to be told.
    pub fn kick_if_wanted(&self, before: u16) {
        fence(Ordering::SeqCst);
        let wanted = if self.event_idx {
            let at = self.used + 4 + 8 * u64::from(self.size);
            let event: u16 = self.guest.get(at);
            let new = self.offered;
            new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(before)
        } else {
            self.guest.get::<u16>(self.used) & 1 == 0
        };
        if wanted {
            self.kick();
        }
    }

    /// The available index as it is now.
    pub fn offered(&self) -> u16 {
        self.offered
    }

    /// Asks to be told when `ahead` more requests are done (with the event index), 1 for the next.
    pub fn want_signal(&self, ahead: u16) {
        let event = self.seen.wrapping_add(ahead - 1);
        let at = GuestAddress(self.available + 4 + 2 * u64::from(self.size));
        self.guest
            .store(event.to_le(), at, Ordering::Relaxed)
            .unwrap();
        fence(Ordering::SeqCst);
    }

    /// Takes the next used element if there is one.
    pub fn try_used(&mut self) -> Option<Used> {
        let index: u16 = self
            .guest
            .load(GuestAddress(self.used + 2), Ordering::Acquire)
            .unwrap();
        if index == self.seen {
            return None;
        }
        let at = self.used + 4 + 8 * u64::from(self.seen % self.size);
        self.seen = self.seen.wrapping_add(1);
        Some(Used {
            id: self.guest.get(at),
            len: self.guest.get(at + 4),
        })
    }

    /// Waits for the next used element.
    pub fn wait_used(&mut self, patience: Duration) -> Option<Used> {
        let deadline = Instant::now() + patience;
        loop {
            if self.event_idx {
                self.want_signal(1);
            }
            if let Some(used) = self.try_used() {
                return Some(used);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.wait_signal(left);
        }
    }

    /// Waits for the device to ring; false if it does not.
    pub fn wait_signal(&mut self, patience: Duration) -> bool {
        let mut fds = [PollFd::new(&self.call, PollFlags::IN)];
        let timeout = Timespec::try_from(patience).unwrap();
        poll(&mut fds, Some(&timeout)).unwrap();
        self.count_signals()
    }

    /// Adds up how often the device rang; false if not at all.
    pub fn count_signals(&mut self) -> bool {
        let mut count = [0; 8];
        let rang = rustix::io::read(self.call.as_fd(), &mut count).is_ok();
        self.signals += u64::from_ne_bytes(count);
        rang
    }
}
