// SPDX-License-Identifier: Apache-2.0 OR MIT
use vm_memory::GuestMemoryAtomic;

use super::*;
use crate::errno::{Errno, FsResult};
use crate::fs::{
    Attr, Call, Capabilities, Cookie, DataSink, DirSink, Found, Name, NodeId, StatFs, Validity,
};
use crate::server::Options;

const SIZE: u16 = 128;
const TABLE: u64 = 0x1000;
const AVAIL: u64 = 0x2000;
const USED: u64 = 0x3000;
const REQUEST: u64 = 0x4000;
const REPLY: u64 = 0x5000;

/// A file system in which nothing is.
#[derive(Clone, Copy)]
struct Nothing;

impl ReadFs for Nothing {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            stateless_open: true,
            cache_symlinks: true,
            cheap_attributes: true,
        }
    }
    fn lookup(&self, _: Call, _: NodeId, _: Name<'_>) -> FsResult<Found> {
        Ok(Found::Negative(Validity::FOREVER))
    }
    fn getattr(&self, _: Call, _: NodeId) -> FsResult<(Attr, Validity)> {
        Err(Errno::STALE)
    }
    fn readlink(&self, _: Call, _: NodeId, _: &mut dyn DataSink) -> FsResult<()> {
        Err(Errno::STALE)
    }
    fn readdir(&self, _: Call, _: NodeId, _: Cookie, _: &mut dyn DirSink) -> FsResult<()> {
        Err(Errno::STALE)
    }
    fn read(&self, _: Call, _: NodeId, _: u64, _: u32, _: &mut dyn DataSink) -> FsResult<usize> {
        Err(Errno::STALE)
    }
    fn statfs(&self, _: Call) -> FsResult<StatFs> {
        Err(Errno::IO)
    }
}

/// A ring in memory whose driver is the test; every chain is a GETATTR of 56 bytes and room for
/// its reply.
struct Fixture {
    memory: Memory,
    queue: Queue,
    engine: Engine<Nothing>,
    offered: u16,
}

impl Fixture {
    fn new(event_idx: bool) -> Fixture {
        let memory = GuestMemoryAtomic::new(
            GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x8000)]).unwrap(),
        );
        let mut queue = Queue::new(1024).unwrap();
        queue.try_set_size(SIZE).unwrap();
        queue
            .try_set_desc_table_address(GuestAddress(TABLE))
            .unwrap();
        queue
            .try_set_avail_ring_address(GuestAddress(AVAIL))
            .unwrap();
        queue.try_set_used_ring_address(GuestAddress(USED)).unwrap();
        queue.set_event_idx(event_idx);
        queue.set_ready(true);
        let server = Arc::new(Server::new(Nothing, Options::default()));
        let engine = Engine::new(
            server,
            memory.clone(),
            None,
            crate::vhost::Pool::default().lane(),
            Arc::new(Wake::new().unwrap()),
        );
        let fixture = Fixture {
            memory,
            queue,
            engine,
            offered: 0,
        };
        // GETATTR of the root with `unique` 7.
        fixture.write(REQUEST, &56u32.to_le_bytes());
        fixture.write(REQUEST + 4, &3u32.to_le_bytes());
        fixture.write(REQUEST + 8, &7u64.to_le_bytes());
        fixture.write(REQUEST + 16, &1u64.to_le_bytes());
        for head in (0..SIZE).step_by(2) {
            fixture.descriptor(head, REQUEST, 56, 1, head + 1);
            fixture.descriptor(head + 1, REPLY, 120, 2, 0);
        }
        fixture
    }

    fn write(&self, at: u64, bytes: &[u8]) {
        self.memory
            .memory()
            .write_slice(bytes, GuestAddress(at))
            .unwrap();
    }

    fn u16(&self, at: u64) -> u16 {
        self.memory.memory().read_obj(GuestAddress(at)).unwrap()
    }

    fn u32(&self, at: u64) -> u32 {
        self.memory.memory().read_obj(GuestAddress(at)).unwrap()
    }

    fn descriptor(&self, index: u16, addr: u64, len: u32, flags: u16, next: u16) {
        let descriptor = virtio_queue::desc::split::Descriptor::new(addr, len, flags, next);
        let at = GuestAddress(TABLE + 16 * u64::from(index));
        self.memory.memory().write_obj(descriptor, at).unwrap();
    }

    fn offer(&mut self, head: u16) {
        let slot = u64::from(self.offered % SIZE);
        self.write(AVAIL + 4 + 2 * slot, &head.to_le_bytes());
        self.offered = self.offered.wrapping_add(1);
        self.write(AVAIL + 2, &self.offered.to_le_bytes());
    }

    fn offer_many(&mut self, count: u16) {
        for head in 0..count {
            self.offer(2 * head % SIZE);
        }
    }

    fn used_event(&self, index: u16) {
        self.write(AVAIL + 4 + 2 * u64::from(SIZE), &index.to_le_bytes());
    }

    fn turn(&mut self) -> Result<Turn, RingError> {
        self.engine.turn(&mut self.queue, true)
    }

    fn used_index(&self) -> u16 {
        self.u16(USED + 2)
    }

    fn used(&self, slot: u64) -> (u32, u32) {
        (self.u32(USED + 4 + 8 * slot), self.u32(USED + 8 + 8 * slot))
    }
}

const IDLE: Turn = Turn {
    signal: false,
    more: false,
    used: false,
};

/// Requests were answered, and the driver does not want to hear of it.
const SILENT: Turn = Turn { used: true, ..IDLE };

#[test]
fn requests_are_answered_in_order_with_one_signal() {
    let mut ring = Fixture::new(false);
    assert_eq!(ring.turn().unwrap(), IDLE);
    ring.offer_many(5);
    assert_eq!(
        ring.turn().unwrap(),
        Turn {
            signal: true,
            more: false,
            used: true
        }
    );
    assert_eq!(ring.used_index(), 5);
    for slot in 0..5 {
        assert_eq!(ring.used(slot), (2 * u32::try_from(slot).unwrap(), 16));
    }
    let unique: u64 = ring
        .memory
        .memory()
        .read_obj(GuestAddress(REPLY + 8))
        .unwrap();
    assert_eq!(
        (ring.u32(REPLY), ring.u32(REPLY + 4), unique),
        (16, -libc::ESTALE as u32, 7)
    );
    assert_eq!(ring.turn().unwrap(), IDLE);
}

#[test]
fn a_batch_ends_before_the_ring_does() {
    let mut ring = Fixture::new(false);
    ring.offer_many(100);
    assert_eq!(
        ring.turn().unwrap(),
        Turn {
            signal: true,
            more: true,
            used: true
        }
    );
    assert_eq!(u32::from(ring.used_index()), BATCH_REQUESTS);
    assert_eq!(
        ring.turn().unwrap(),
        Turn {
            signal: true,
            more: false,
            used: true
        }
    );
    assert_eq!(ring.used_index(), 100);
}

#[test]
fn the_driver_that_polls_is_left_alone() {
    let mut ring = Fixture::new(false);
    ring.write(AVAIL, &NO_INTERRUPT.to_le_bytes());
    ring.offer_many(3);
    assert_eq!(ring.turn().unwrap(), SILENT);
    assert_eq!(ring.used_index(), 3);
}

#[test]
fn event_index_decides() {
    let mut ring = Fixture::new(true);
    ring.used_event(4); // wants to be told of the fifth
    ring.offer_many(3);
    assert_eq!(ring.turn().unwrap(), SILENT);
    ring.offer_many(3);
    assert_eq!(
        ring.turn().unwrap(),
        Turn {
            signal: true,
            more: false,
            used: true
        }
    );
    // And the device wants to be told of the seventh.
    assert_eq!(ring.u16(USED + 4 + 8 * u64::from(SIZE)), 6);
}

#[test]
fn a_ring_in_the_middle_of_its_life_is_signalled_at_once() {
    let mut ring = Fixture::new(true);
    ring.queue.set_next_used(9);
    ring.used_event(100);
    assert_eq!(
        ring.turn().unwrap(),
        Turn {
            signal: true,
            more: false,
            used: false
        }
    );
    assert_eq!(ring.turn().unwrap(), IDLE);
}

#[test]
fn malformed_chains_are_answered_and_the_ring_goes_on() {
    let mut ring = Fixture::new(false);
    ring.descriptor(0, REQUEST, 56, 1, 200); // no such descriptor, nothing to write to
    ring.descriptor(3, REPLY, 120, 3, 2); // a loop through what can be written
    ring.offer(0);
    ring.offer(2);
    ring.offer(4);
    assert_eq!(
        ring.turn().unwrap(),
        Turn {
            signal: true,
            more: false,
            used: true
        }
    );
    assert_eq!(ring.used(0), (0, 0));
    assert_eq!(ring.used(1), (2, 16));
    assert_eq!(ring.used(2), (4, 16));
}

#[test]
fn a_broken_ring_says_how() {
    let mut ring = Fixture::new(false);
    ring.write(AVAIL + 2, &1000u16.to_le_bytes());
    assert!(matches!(
        ring.turn(),
        Err(RingError::Jump { from: 0, to: 1000 })
    ));

    let mut ring = Fixture::new(false);
    ring.offer(SIZE);
    assert!(matches!(ring.turn(), Err(RingError::Head(SIZE))));

    for (part, at) in [
        (0, 0x7ff0),
        (1, 0x7ffe),
        (2, 0x7ffc),
        (2, 0x8000),
        (0, u64::MAX - 15),
    ] {
        let mut ring = Fixture::new(false);
        let at = GuestAddress(at);
        match part {
            0 => ring.queue.try_set_desc_table_address(at),
            1 => ring.queue.try_set_avail_ring_address(at),
            _ => ring.queue.try_set_used_ring_address(at),
        }
        .unwrap();
        assert!(
            matches!(ring.turn(), Err(RingError::Outside(_))),
            "{part} at {at:?}"
        );
    }

    let mut ring = Fixture::new(false);
    ring.engine
        .memory
        .lock()
        .unwrap()
        .replace(GuestMemoryMmap::new());
    assert!(matches!(ring.turn(), Err(RingError::Outside(_))));
}

#[test]
fn indices_wrap() {
    let mut ring = Fixture::new(true);
    ring.offered = u16::MAX - 1;
    ring.write(AVAIL + 2, &ring.offered.to_le_bytes());
    ring.queue.set_next_avail(ring.offered);
    ring.queue.set_next_used(ring.offered);
    ring.used_event(0);
    assert!(ring.turn().unwrap().signal);
    ring.offer_many(4);
    assert_eq!(
        ring.turn().unwrap(),
        Turn {
            signal: true,
            more: false,
            used: true
        }
    );
    assert_eq!(ring.used_index(), 2);
}
