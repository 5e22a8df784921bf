// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The driver's side of a ring in memory of this process: what a guest's kernel does, as cheaply
//! as it can be done, so that next to nothing of it is in a measurement.
//!
//! It knows memory as a pointer, because every server measured brings its own crate for guest
//! memory.
#![allow(unsafe_code)] // copies to and from memory that a device shares

use std::ops::Range;
use std::sync::atomic::{AtomicU16, Ordering, fence};

/// Descriptors of the ring, and so the most requests that can be prepared.
pub const RING: u16 = 8192;
const TABLE: usize = 0;
const AVAILABLE: usize = 0x2_0000;
const USED: usize = 0x2_8000;
const FREE: usize = 0x4_0000;
/// Where the three parts of the ring are: table, available, used.
pub const PARTS: [u64; 3] = [TABLE as u64, AVAILABLE as u64, USED as u64];

/// Bytes of memory that a guest has.
pub const MEMORY: usize = 64 << 20;

/// Length of `fuse_in_header`.
pub const IN_HEADER: usize = 40;
/// Length of `fuse_out_header`.
pub const OUT_HEADER: usize = 16;
/// Linux hands out the memory for data in pages.
const PAGE: usize = 4096;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// The memory of a guest and the driver's end of the one ring in it.
#[derive(Debug)]
pub struct Guest {
    base: *mut u8,
    len: usize,
    /// First byte that nobody uses.
    next: usize,
    /// Table, available ring, used ring.
    parts: [usize; 3],
    size: u16,
    slots: u16,
    offered: u16,
    seen: u16,
}

// SAFETY: the memory behind `base` is shared with nothing but the device, which is driven by the
// same thread as the guest; moving both elsewhere moves the only users.
unsafe impl Send for Guest {}

/// A request in memory with its descriptors, ready to be offered again and again.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    head: u16,
    table: usize,
    request: usize,
    room: usize,
    reply: usize,
}

impl Slot {
    /// Its number, which is the one in the used ring.
    pub fn number(self) -> u16 {
        self.head
    }
}

impl Guest {
    /// Takes `len` zeroed bytes of memory.
    ///
    /// # Safety
    /// `base` must be valid for `len` bytes for as long as the guest lives, and nobody but the
    /// device may use them.
    pub unsafe fn new(base: *mut u8, len: usize) -> Guest {
        let parts = [TABLE, AVAILABLE, USED];
        // SAFETY: the caller's promise.
        unsafe { Guest::with_ring(base, FREE..len, parts, RING) }
    }

    /// The same with a ring of any size at any place. Memory is taken from the range.
    ///
    /// # Safety
    /// `base` must be valid up to the end of `free`, as above; and so must be the ring's parts.
    pub unsafe fn with_ring(
        base: *mut u8,
        free: Range<usize>,
        parts: [usize; 3],
        size: u16,
    ) -> Guest {
        Guest {
            base,
            len: free.end,
            next: free.start,
            parts,
            size,
            slots: 0,
            offered: 0,
            seen: 0,
        }
    }

    fn allocate(&mut self, len: usize, align: usize) -> usize {
        let at = self.next.next_multiple_of(align);
        self.next = at + len;
        assert!(self.next <= self.len, "the guest is out of memory");
        at
    }

    /// Puts bytes somewhere.
    pub fn write(&self, at: usize, bytes: &[u8]) {
        assert!(at <= self.len && bytes.len() <= self.len - at);
        // SAFETY: within the memory, which overlaps with no Rust object.
        let target = unsafe { self.base.add(at) };
        // SAFETY: as above; both are valid for the length.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len()) };
    }

    /// Gets bytes from somewhere.
    pub fn read(&self, at: usize, bytes: &mut [u8]) {
        assert!(at <= self.len && bytes.len() <= self.len - at);
        // SAFETY: within the memory, which overlaps with no Rust object.
        let source = unsafe { self.base.add(at) };
        // SAFETY: as above; both are valid for the length.
        unsafe { std::ptr::copy_nonoverlapping(source, bytes.as_mut_ptr(), bytes.len()) };
    }

    /// Prepares a request, with room for a reply of `room` bytes behind its header, or for none.
    /// Cut into descriptors, in an indirect table, as Linux cuts it: header, body, reply header,
    /// reply; the data of a READ in pages.
    pub fn prepare(&mut self, request: &[u8], room: Option<usize>, paged: bool) -> Slot {
        assert!(self.slots < self.size, "the ring is full");
        let head = self.slots;
        self.slots += 1;
        let from = self.allocate(request.len(), 64);
        self.write(from, request);
        let mut parts = vec![(from, IN_HEADER.min(request.len()), 0)];
        if request.len() > IN_HEADER {
            parts.push((from + IN_HEADER, request.len() - IN_HEADER, 0));
        }
        let mut reply = 0;
        if let Some(room) = room {
            reply = if paged {
                // So that the data of a reply begins with a page.
                self.allocate(PAGE + room, PAGE) + PAGE - OUT_HEADER
            } else {
                self.allocate(OUT_HEADER + room, 64)
            };
            parts.push((reply, OUT_HEADER, WRITE));
            let piece = if paged { PAGE } else { room.max(1) };
            for at in (0..room).step_by(piece) {
                parts.push((reply + OUT_HEADER + at, piece.min(room - at), WRITE));
            }
        }
        let table = self.allocate(16 * parts.len(), 16);
        for (index, (at, len, flags)) in parts.iter().enumerate() {
            let more = index + 1 < parts.len();
            let flags = flags | if more { NEXT } else { 0 };
            let next = if more { index + 1 } else { 0 };
            self.descriptor(table + 16 * index, *at, *len, flags, next as u16);
        }
        let own = self.parts[0] + 16 * usize::from(head);
        self.descriptor(own, table, 16 * parts.len(), INDIRECT, 0);
        Slot {
            head,
            table,
            request: from,
            room: request.len(),
            reply,
        }
    }

    /// Puts another request, no longer than the first and like it with a body, into a slot.
    pub fn refill(&self, slot: Slot, request: &[u8]) {
        assert!(request.len() > IN_HEADER && request.len() <= slot.room);
        self.write(slot.request, request);
        let len = (request.len() - IN_HEADER) as u32;
        self.write(slot.table + 16 + 8, &len.to_le_bytes());
    }

    fn descriptor(&self, place: usize, at: usize, len: usize, flags: u16, next: u16) {
        self.write(place, &(at as u64).to_le_bytes());
        self.write(place + 8, &(len as u32).to_le_bytes());
        self.write(place + 12, &flags.to_le_bytes());
        self.write(place + 14, &next.to_le_bytes());
    }

    /// Writes the node into a prepared request.
    pub fn set_node(&self, slot: Slot, node: u64) {
        self.write(slot.request + 16, &node.to_le_bytes());
    }

    /// Writes another opcode into a prepared request.
    pub fn set_opcode(&self, slot: Slot, opcode: u32) {
        self.write(slot.request + 4, &opcode.to_le_bytes());
    }

    /// Writes bytes into the body of a prepared request.
    pub fn set_body(&self, slot: Slot, at: usize, bytes: &[u8]) {
        self.write(slot.request + IN_HEADER + at, bytes);
    }

    /// Makes a prepared request available to the device.
    pub fn offer(&mut self, slot: Slot) {
        let available = self.parts[1];
        let at = available + 4 + 2 * usize::from(self.offered % self.size);
        self.write(at, &slot.head.to_le_bytes());
        self.offered = self.offered.wrapping_add(1);
        let offered = self.offered.to_le();
        self.word(available + 2).store(offered, Ordering::Release);
    }

    /// A word of the ring.
    fn word(&self, at: usize) -> &AtomicU16 {
        assert!(at < self.len && at.is_multiple_of(2));
        // SAFETY: within the memory.
        let word = unsafe { self.base.add(at) };
        // SAFETY: the base is the start of a page, so the word is aligned; the device uses it
        // atomically, too.
        unsafe { AtomicU16::from_ptr(word.cast()) }
    }

    /// How many requests were offered so far.
    pub fn offered(&self) -> u16 {
        self.offered
    }

    /// Takes the next element off the used ring: the slot's number and the used length.
    pub fn take_used(&mut self) -> Option<(u16, u32)> {
        let used = self.parts[2];
        let index = u16::from_le(self.word(used + 2).load(Ordering::Acquire));
        if index == self.seen {
            return None;
        }
        let mut element = [0; 8];
        self.read(
            used + 4 + 8 * usize::from(self.seen % self.size),
            &mut element,
        );
        self.seen = self.seen.wrapping_add(1);
        let [a, b, _, _, c, d, e, f] = element;
        Some((u16::from_le_bytes([a, b]), u32::from_le_bytes([c, d, e, f])))
    }

    /// Asks for a signal as soon as one more request is done; false if one is done already.
    /// (By the event index.)
    pub fn arm(&mut self) -> bool {
        let event = self.parts[1] + 4 + 2 * usize::from(self.size);
        self.word(event).store(self.seen.to_le(), Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let index = self.word(self.parts[2] + 2).load(Ordering::Acquire);
        u16::from_le(index) == self.seen
    }

    /// Whether the device wants to be told of what was offered since `before`. (By the event
    /// index.)
    pub fn wants_kick(&self, before: u16) -> bool {
        fence(Ordering::SeqCst);
        let event = self.parts[2] + 4 + 8 * usize::from(self.size);
        let event = u16::from_le(self.word(event).load(Ordering::Relaxed));
        let new = self.offered;
        new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(before)
    }

    /// The error number in the reply: 0, or negative.
    pub fn error(&self, slot: Slot) -> i32 {
        let mut bytes = [0; 4];
        self.read(slot.reply + 4, &mut bytes);
        i32::from_le_bytes(bytes)
    }

    /// A number in the body of the reply.
    pub fn reply_u64(&self, slot: Slot, at: usize) -> u64 {
        let mut bytes = [0; 8];
        self.read(slot.reply + OUT_HEADER + at, &mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// The body of the reply, whose used length is `used`.
    pub fn reply(&self, slot: Slot, used: u32) -> Vec<u8> {
        let mut bytes = vec![0; (used as usize).saturating_sub(OUT_HEADER)];
        self.read(slot.reply + OUT_HEADER, &mut bytes);
        bytes
    }
}
