// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Descriptor chains and rings that no driver makes. Each is answered by an error, used with
//! length zero, or stops its queue; other queues, connections and shares go on, and a stopped
//! queue comes back when it is started anew.

// Tables of small closures.
#![allow(clippy::semicolon_if_nothing_returned)]

use std::cell::RefCell;

use rofs_tests::channel::PATIENCE;
use rofs_tests::driver::{Driver, INDIRECT, NEXT, WRITE};
use rofs_tests::frontend::{FrontEnd, QUEUE_SIZE, Vmm};
use rofs_tests::fuse::{Client, ROOT, message, opcode};
use rofs_tests::guest::{HIGH_END, LOW_END};
use rofs_tests::logging::lines_with;
use rofs_tests::memfs::MemFs;
use rofs_tests::share::{Share, eventually, has_thread};

/// What becomes of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The chain comes back, with an error or nothing in it.
    Error,
    /// The chain comes back with a proper reply of so many bytes: it is odd but legal.
    Legal(u32),
    /// The queue is stopped.
    Stopped,
    /// The guest scribbles over its own ring: whatever happens to it is right.
    Whatever,
}
use Fate::*;

/// Where chains are made: descriptors that the well-behaved driver does not use.
struct Rig<'a> {
    driver: RefCell<&'a mut Driver>,
    /// The ring's own parts.
    descriptors: u64,
    available: u64,
    used: u64,
    /// A GETATTR of 56 bytes, and room for its reply.
    request: u64,
    reply: u64,
    /// Room for an indirect table.
    table: u64,
}

const A: u16 = 100;
const B: u16 = 101;
const C: u16 = 102;
const D: u16 = 103;

/// Length of the reply to a GETATTR.
const REPLY: u32 = 120;

impl Rig<'_> {
    fn set(&self, index: u16, at: u64, len: u32, flags: u16, next: u16) -> &Self {
        self.driver
            .borrow()
            .descriptor(index, (at, len, flags, next));
        self
    }

    fn inner(&self, index: u16, at: u64, len: u32, flags: u16, next: u16) -> &Self {
        self.driver
            .borrow()
            .put(self.table, index, (at, len, flags, next));
        self
    }

    fn offer(&self) {
        self.offer_head(A);
    }

    fn offer_head(&self, head: u16) {
        self.driver.borrow_mut().offer(head);
    }

    fn jump(&self, by: u16) {
        let mut driver = self.driver.borrow_mut();
        let index = driver.offered().wrapping_add(by);
        driver.set_available(index);
    }

    /// A good request in descriptor `A`, that goes on in `B`.
    fn request(&self) -> &Self {
        self.set(A, self.request, 56, NEXT, B)
    }

    /// Good room for a reply in `B`, the last.
    fn reply(&self) -> &Self {
        self.set(B, self.reply, REPLY, WRITE, 0)
    }
}

type Make = fn(&Rig<'_>);

const CHAINS: &[(&str, Fate, Make)] = &[
    ("a good one", Legal(REPLY), |rig| {
        rig.request().reply().offer();
    }),
    ("a loop of one", Error, |rig| {
        rig.set(A, rig.request, 56, NEXT, A).offer();
    }),
    ("a loop of two", Error, |rig| {
        rig.request().set(B, rig.request, 56, NEXT, A).offer();
    }),
    ("a loop of replies", Error, |rig| {
        rig.request().set(B, rig.reply, REPLY, WRITE | NEXT, C);
        rig.set(C, rig.reply, REPLY, WRITE | NEXT, B).offer();
    }),
    ("as long as the ring, and on", Error, |rig| {
        for index in 0..QUEUE_SIZE {
            rig.set(index, rig.request, 1, NEXT, (index + 1) % QUEUE_SIZE);
        }
        rig.offer();
    }),
    ("next behind the table", Error, |rig| {
        rig.set(A, rig.request, 56, NEXT, QUEUE_SIZE).offer();
    }),
    ("next far behind the table", Error, |rig| {
        rig.set(A, rig.request, 56, NEXT, u16::MAX).offer();
    }),
    ("next behind the table, after a reply", Error, |rig| {
        rig.request()
            .set(B, rig.reply, REPLY, WRITE | NEXT, 5000)
            .offer();
    }),
    ("write before read", Error, |rig| {
        rig.set(A, rig.reply, REPLY, WRITE | NEXT, B)
            .set(B, rig.request, 56, 0, 0)
            .offer();
    }),
    ("read, write, read", Error, |rig| {
        rig.request().set(B, rig.reply, REPLY, WRITE | NEXT, C);
        rig.set(C, rig.request, 56, 0, 0).offer();
    }),
    ("only to write", Error, |rig| {
        rig.set(A, rig.reply, REPLY, WRITE, 0).offer();
    }),
    ("only to read", Error, |rig| {
        rig.set(A, rig.request, 56, 0, 0).offer();
    }),
    ("one empty descriptor", Error, |rig| {
        rig.set(A, rig.request, 0, 0, 0).offer();
    }),
    ("only empty descriptors", Error, |rig| {
        rig.set(A, 0, 0, NEXT, B)
            .set(B, u64::MAX, 0, WRITE, 0)
            .offer();
    }),
    ("empty descriptors between", Legal(REPLY), |rig| {
        rig.request()
            .set(B, 0, 0, NEXT, C)
            .set(C, u64::MAX, 0, WRITE | NEXT, D);
        rig.set(D, rig.reply, REPLY, WRITE, 0).offer();
    }),
    ("a reply of 15 bytes", Error, |rig| {
        rig.request().set(B, rig.reply, 15, WRITE, 0).offer();
    }),
    ("a reply of 16 bytes", Error, |rig| {
        rig.request().set(B, rig.reply, 16, WRITE, 0).offer();
    }),
    ("a reply of one byte", Error, |rig| {
        rig.request().set(B, rig.reply, 1, WRITE, 0).offer();
    }),
    ("request and reply overlap", Legal(REPLY), |rig| {
        rig.request()
            .set(B, rig.request + 8, REPLY, WRITE, 0)
            .offer();
    }),
    ("request and reply are one", Legal(REPLY), |rig| {
        rig.request().set(B, rig.request, REPLY, WRITE, 0).offer();
    }),
    ("the reply twice in one place", Legal(REPLY), |rig| {
        rig.request().set(B, rig.reply, 60, WRITE | NEXT, C);
        rig.set(C, rig.reply, 60, WRITE, 0).offer();
    }),
    ("a request beyond memory", Error, |rig| {
        rig.set(A, LOW_END, 56, NEXT, B).reply().offer();
    }),
    ("a request that straddles the end of memory", Error, |rig| {
        rig.set(A, LOW_END - 8, 56, NEXT, B).reply().offer();
    }),
    ("a request at the end of all addresses", Error, |rig| {
        rig.set(A, u64::MAX - 7, 56, NEXT, B).reply().offer();
    }),
    ("a reply beyond memory", Error, |rig| {
        rig.request().set(B, HIGH_END, 120, WRITE, 0).offer();
    }),
    ("a reply that straddles the end of memory", Error, |rig| {
        rig.request().set(B, HIGH_END - 20, REPLY, WRITE, 0).offer();
    }),
    ("a reply at the end of all addresses", Error, |rig| {
        rig.request().set(B, u64::MAX, u32::MAX, WRITE, 0).offer();
    }),
    ("a good reply, then one beyond memory", Error, |rig| {
        rig.request().set(B, rig.reply, 60, WRITE | NEXT, C);
        rig.set(C, HIGH_END, 60, WRITE, 0).offer();
    }),
    ("more than 4 GiB", Error, |rig| {
        for index in A..A + 20 {
            rig.set(index, 0, 0x1fff_ffff, NEXT, index + 1);
        }
        rig.set(A + 20, rig.reply, REPLY, WRITE, 0).offer();
    }),
    ("an indirect table of no descriptor", Error, |rig| {
        rig.set(A, rig.table, 0, INDIRECT, 0).offer();
    }),
    ("an indirect table of half a descriptor", Error, |rig| {
        rig.set(A, rig.table, 8, INDIRECT, 0).offer();
    }),
    ("an indirect table of 17 bytes", Error, |rig| {
        rig.inner(0, rig.request, 56, 0, 0)
            .set(A, rig.table, 17, INDIRECT, 0)
            .offer();
    }),
    ("an indirect table of 4 GiB", Error, |rig| {
        rig.set(A, rig.table, !15, INDIRECT, 0).offer();
    }),
    ("an indirect table beyond memory", Error, |rig| {
        rig.set(A, LOW_END, 32, INDIRECT, 0).offer();
    }),
    (
        "an indirect table that straddles the end of memory",
        Error,
        |rig| {
            let first = LOW_END - 16;
            rig.driver
                .borrow()
                .put(first, 0, (rig.request, 56, NEXT, 1));
            rig.set(A, first, 32, INDIRECT, 0).offer();
        },
    ),
    (
        "an indirect table at the end of all addresses",
        Error,
        |rig| {
            rig.set(A, u64::MAX - 15, 32, INDIRECT, 0).offer();
        },
    ),
    ("an indirect table in an indirect table", Error, |rig| {
        rig.inner(0, rig.table, 32, INDIRECT, 0)
            .set(A, rig.table, 32, INDIRECT, 0)
            .offer();
    }),
    ("an indirect table and a next", Error, |rig| {
        rig.inner(0, rig.request, 56, 0, 0)
            .set(A, rig.table, 16, INDIRECT | NEXT, B);
        rig.reply().offer();
    }),
    ("a loop in an indirect table", Error, |rig| {
        rig.inner(0, rig.request, 56, NEXT, 1)
            .inner(1, rig.request, 56, NEXT, 0);
        rig.set(A, rig.table, 32, INDIRECT, 0).offer();
    }),
    ("next behind an indirect table", Error, |rig| {
        rig.inner(0, rig.request, 56, NEXT, 2)
            .set(A, rig.table, 32, INDIRECT, 0)
            .offer();
    }),
    (
        "an indirect table behind a descriptor",
        Legal(REPLY),
        |rig| {
            rig.inner(0, rig.reply, REPLY, WRITE, 0);
            rig.request().set(B, rig.table, 16, INDIRECT, 0).offer();
        },
    ),
    ("a writable indirect table", Legal(REPLY), |rig| {
        rig.inner(0, rig.request, 56, NEXT, 1)
            .inner(1, rig.reply, REPLY, WRITE, 0);
        rig.set(A, rig.table, 32, INDIRECT | WRITE, 0).offer();
    }),
    ("unknown flags", Legal(REPLY), |rig| {
        rig.set(A, rig.request, 56, NEXT | 0xfff8, B)
            .reply()
            .offer();
    }),
    ("the same chain twice", Legal(REPLY), |rig| {
        rig.request().reply().offer();
        rig.offer();
    }),
    ("a reply onto the used ring", Whatever, |rig| {
        rig.request().set(B, rig.used, REPLY, WRITE, 0).offer();
    }),
    ("a reply onto the available ring", Whatever, |rig| {
        rig.request().set(B, rig.available, REPLY, WRITE, 0).offer();
    }),
    ("a reply onto the descriptors", Whatever, |rig| {
        rig.request()
            .set(B, rig.descriptors, REPLY, WRITE, 0)
            .offer();
    }),
    ("a head behind the table", Stopped, |rig| {
        rig.offer_head(QUEUE_SIZE)
    }),
    ("the last head there is", Stopped, |rig| {
        rig.offer_head(u16::MAX)
    }),
    ("an index one too far", Stopped, |rig| {
        rig.jump(QUEUE_SIZE + 1)
    }),
    ("an index a thousand too far", Stopped, |rig| rig.jump(1000)),
    ("an index that goes back", Stopped, |rig| rig.jump(u16::MAX)),
];

fn run(number: usize, (name, fate, make): (&str, Fate, Make), well_behaved: &mut Client<'_>) {
    let tag = format!("chain{number}");
    let share = Share::with_tag(MemFs::sample(), &tag, 2);
    let mut front = FrontEnd::start(share.socket(), Vmm::Qemu, 2);
    let mut client = Client::new(&mut front, 1);
    client.init();
    assert!(client.getattr(ROOT).is_ok());

    let guest = front.guest.clone();
    let (request, table) = (guest.allocate(4096), guest.allocate(4096));
    let reply = guest.allocate(4096);
    guest.write(request, &message(opcode::GETATTR, ROOT, 7, &[0; 16]));
    let driver = &mut front.queues[1];
    let (descriptors, available, used) = (driver.table, driver.available, driver.used);
    let rig = RefCell::new(&mut *driver);
    make(&Rig {
        driver: rig,
        descriptors,
        available,
        used,
        request,
        reply,
        table,
    });
    driver.kick();

    if matches!(fate, Error | Legal(_)) {
        let used = driver
            .wait_used(PATIENCE)
            .unwrap_or_else(|| panic!("{name}: no answer"));
        assert_eq!(used.id, u32::from(A), "{name}");
        match fate {
            Legal(len) => assert_eq!(used.len, len, "{name}"),
            _ if used.len == 0 => {}
            _ => {
                // With an error in it, in what there is of the first writable descriptor.
                let straddles = name == "a reply that straddles the end of memory";
                let at = if straddles { HIGH_END - 20 } else { reply };
                assert_eq!(used.len, 16, "{name}");
                assert_eq!(guest.get::<u32>(at), 16, "{name}");
                assert!(guest.get::<i32>(at + 4) < 0, "{name}");
            }
        }
        if name == "the same chain twice" {
            assert!(driver.wait_used(PATIENCE).is_some());
        }
        assert!(
            Client::new(&mut front, 1).getattr(ROOT).is_ok(),
            "{name}: the queue is dead"
        );
    }
    // Its sister serves on in any case.
    assert!(
        Client::new(&mut front, 2).getattr(ROOT).is_ok(),
        "{name}: the other queue"
    );
    if fate == Stopped {
        let thread = format!("vq1 {tag}");
        assert!(
            eventually(|| !has_thread(&thread)),
            "{name}: the queue still runs"
        );
        let lines = lines_with(&format!("{tag}: queue 1 is stopped"));
        assert_eq!(lines.len(), 1, "{name}: {lines:?}");
    }
    // And a queue that is started anew works.
    front.stop_queue(1);
    front.queues[1].reset();
    front.start_queue(1, 0);
    assert!(
        Client::new(&mut front, 1).getattr(ROOT).is_ok(),
        "{name}: a new start"
    );

    assert!(
        well_behaved.getattr(ROOT).is_ok(),
        "{name}: the other share"
    );
    drop(front);
    assert!(share.ended().is_ok(), "{name}");
    let mut front = FrontEnd::start(share.socket(), Vmm::Qemu, 2);
    assert!(
        Client::new(&mut front, 1).getattr(ROOT).is_ok(),
        "{name}: the next client"
    );
}

#[test]
fn chains_and_rings() {
    let witness = Share::with_tag(MemFs::sample(), "witness", 1);
    let mut other = FrontEnd::start(witness.socket(), Vmm::CloudHypervisor, 1);
    let mut well_behaved = Client::new(&mut other, 1);
    well_behaved.init();
    for (number, case) in CHAINS.iter().enumerate() {
        run(number, *case, &mut well_behaved);
    }
}

#[test]
fn a_ring_is_revived_by_a_kick_descriptor_alone() {
    let share = Share::with_tag(MemFs::sample(), "revive", 1);
    let mut front = FrontEnd::start(share.socket(), Vmm::Libkrun, 1);
    Client::new(&mut front, 1).init();
    for _ in 0..20 {
        let driver = &mut front.queues[1];
        driver.set_available(driver.offered().wrapping_add(500));
        driver.kick();
        assert!(eventually(|| !has_thread("vq1 revive")));
        front.enable(1, false);
        front.settle();
        front.queues[1].reset();
        front.start_queue(1, 0);
        front.enable(1, true);
        assert!(Client::new(&mut front, 1).getattr(ROOT).is_ok());
    }
    // A guest that does this all day does not fill the disk.
    let lines = lines_with("revive: queue 1 is stopped").len();
    assert!((1..=10).contains(&lines), "{lines} lines");
}

#[test]
fn a_queue_of_garbage_stops_and_burns_nothing() {
    let share = Share::with_tag(MemFs::sample(), "garbage", 1);
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    for _ in 0..20 {
        let mut front = FrontEnd::start(share.socket(), Vmm::Qemu, 1);
        Client::new(&mut front, 1).init();
        let guest = front.guest.clone();
        let driver = &mut front.queues[1];
        for round in 0..50 {
            for at in (0..16 * u64::from(QUEUE_SIZE)).step_by(8) {
                // xorshift; small numbers every other time, so that some chains are nearly right.
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                let value = if round % 2 == 0 {
                    seed
                } else {
                    seed & 0x0007_0007_0000_ffff
                };
                guest.write(driver.table + at, &value.to_le_bytes());
            }
            for head in 0..8 {
                driver.offer(head * 16 % QUEUE_SIZE);
            }
            driver.kick();
        }
        // All of them are used, or the ring was overwritten and has ended.
        let last = driver.offered();
        assert!(eventually(|| {
            guest.get::<u16>(driver.used + 2) == last || !has_thread("vq1 garbage")
        }));
        drop(front);
        assert!(share.ended().is_ok());
    }
}
