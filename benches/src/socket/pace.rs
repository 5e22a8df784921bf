// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Clients that ask now and then, beside others, or beside their own requests, that ask a lot.

use std::time::{Duration, Instant};

use super::ring::Session;
use crate::guest::Slot;

/// A file to read: its node, and its handle, if the server gave one.
pub type File = (u64, u64);

/// Requests on a queue that keep coming: each slot is a READ, of the next file whenever the last
/// was answered.
#[derive(Debug)]
pub struct Reads {
    slots: Vec<Slot>,
    files: Vec<File>,
    next: usize,
    /// Whether the files start over when all were read.
    again: bool,
    flying: usize,
    /// How many were answered.
    pub answered: u64,
}

impl Reads {
    /// As many at a time as there are slots.
    pub fn new(slots: Vec<Slot>, files: Vec<File>, again: bool) -> Reads {
        Reads {
            slots,
            files,
            next: 0,
            again,
            flying: 0,
            answered: 0,
        }
    }

    fn start(&mut self, session: &mut Session, ring: usize) {
        for slot in self.slots.clone() {
            self.put(session, ring, slot);
        }
    }

    fn put(&mut self, session: &mut Session, ring: usize, slot: Slot) {
        if self.again {
            self.next %= self.files.len();
        }
        let Some((node, handle)) = self.files.get(self.next) else {
            return;
        };
        self.next += 1;
        let ring = &mut session.rings[ring];
        let before = ring.guest.offered();
        ring.guest.set_node(slot, *node);
        ring.guest.set_body(slot, 0, &handle.to_le_bytes());
        ring.guest.offer(slot);
        ring.kick_if_wanted(before);
        self.flying += 1;
    }

    /// Whether an answer is to one of these; then the next one is put, if there shall be more.
    fn answered(&mut self, session: &mut Session, ring: usize, number: u16, more: bool) -> bool {
        let found = self.slots.iter().find(|slot| slot.number() == number);
        let Some(slot) = found.copied() else {
            return false;
        };
        self.flying -= 1;
        self.answered += 1;
        if more {
            self.put(session, ring, slot);
        }
        true
    }
}

/// Puts one request after the other on the first queue, with a pause between them, for so long.
/// `beside`: READs that are in flight there all the time. Returns the microseconds that each
/// request but those took.
pub fn pace(
    session: &mut Session,
    slots: &[Slot],
    pause: Duration,
    mut beside: Option<&mut Reads>,
    long: Duration,
) -> Vec<f64> {
    let mut latencies = Vec::new();
    let start = Instant::now();
    if let Some(reads) = &mut beside {
        reads.start(session, 0);
    }
    for slot in slots.iter().cycle() {
        let over = start.elapsed() >= long;
        let flying = beside.as_ref().map_or(0, |reads| reads.flying);
        if over && flying == 0 {
            break;
        }
        if !over {
            std::thread::sleep(pause);
        }
        let asked = Instant::now();
        let before = session.rings[0].guest.offered();
        session.rings[0].guest.offer(*slot);
        session.rings[0].kick_if_wanted(before);
        loop {
            let Some((number, _)) = session.rings[0].guest.take_used() else {
                session.sleep(1);
                continue;
            };
            if number == slot.number() {
                if !over {
                    latencies.push(asked.elapsed().as_nanos() as f64 / 1e3);
                }
                break;
            }
            if let Some(reads) = &mut beside {
                assert!(reads.answered(session, 0, number, !over));
            }
        }
    }
    latencies
}

/// Keeps all queues as full as they get, for so long: with `slots`, each put again as soon as it
/// is answered, and with READs. Returns how many requests were answered in a second.
pub fn flood(
    session: &mut Session,
    slots: &[Vec<Slot>],
    reads: &mut [Reads],
    long: Duration,
) -> f64 {
    let start = Instant::now();
    let mut flying = 0;
    let mut answered = 0u64;
    for (index, slots) in slots.iter().enumerate() {
        let ring = &mut session.rings[index];
        let before = ring.guest.offered();
        for slot in slots {
            ring.guest.offer(*slot);
            flying += 1;
        }
        ring.kick_if_wanted(before);
        reads[index].start(session, index);
    }
    while flying > 0 || reads.iter().any(|reads| reads.flying > 0) {
        let over = start.elapsed() >= long;
        let mut progress = false;
        for index in 0..slots.len() {
            while let Some((number, _)) = session.rings[index].guest.take_used() {
                progress = true;
                answered += 1;
                if reads[index].answered(session, index, number, !over) {
                    continue;
                }
                let slot = slots[index].iter().find(|slot| slot.number() == number);
                match slot {
                    Some(slot) if !over => {
                        let ring = &mut session.rings[index];
                        let before = ring.guest.offered();
                        ring.guest.offer(*slot);
                        ring.kick_if_wanted(before);
                    }
                    _ => flying -= 1,
                }
            }
        }
        if !progress {
            session.sleep(slots.len());
        }
    }
    answered as f64 / start.elapsed().as_secs_f64()
}

/// The value that so large a part of the others is below.
pub fn part(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = (values.len() as f64 * part) as usize;
    values.get(index).copied().unwrap_or(0.0)
}
