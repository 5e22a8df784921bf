// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A hash table that only grows and is read without locks.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::index::Place;

/// Size of the first table.
const FIRST: usize = 16;
const LEVELS: usize = 32;

/// Finds places by hash. One thread at a time inserts, any number look up.
///
/// When a table is half full, one twice as large is filled beside it and takes its place; the old
/// one stays for those who are reading it.
#[derive(Debug)]
pub(super) struct Table {
    levels: [OnceLock<Box<[AtomicU64]>>; LEVELS],
    current: AtomicUsize,
    used: AtomicUsize,
}

impl Table {
    pub(super) fn new() -> Table {
        Table {
            levels: [const { OnceLock::new() }; LEVELS],
            current: AtomicUsize::new(0),
            used: AtomicUsize::new(0),
        }
    }

    /// Calls `is_it` with the places that may belong to `hash` until it says yes.
    pub(super) fn find<R>(
        &self,
        hash: u64,
        mut is_it: impl FnMut(Place) -> Option<R>,
    ) -> Option<R> {
        let slots = self.levels[self.current.load(Ordering::Acquire)].get()?;
        let mask = slots.len() - 1;
        let mut at = start(hash, mask);
        for _ in 0..slots.len() {
            let place = Place::unpack(slots[at].load(Ordering::Acquire))?;
            if let Some(result) = is_it(place) {
                return Some(result);
            }
            at = (at + 1) & mask;
        }
        None
    }

    /// Adds a place. Not from two threads at once. `hash_of` tells the hash of a place again.
    pub(super) fn insert(&self, hash: u64, place: Place, hash_of: impl Fn(Place) -> Option<u64>) {
        let used = self.used.load(Ordering::Relaxed);
        let mut level = self.current.load(Ordering::Relaxed);
        let slots = self.levels[level].get_or_init(|| empty(FIRST));
        if (used + 1) * 2 > slots.len() && level + 1 < LEVELS {
            level += 1;
            let larger = self.levels[level].get_or_init(|| empty(slots.len() * 2));
            for slot in slots.iter() {
                let Some(old) = Place::unpack(slot.load(Ordering::Relaxed)) else {
                    continue;
                };
                if let Some(hash) = hash_of(old) {
                    put(larger, hash, old);
                }
            }
            put(larger, hash, place);
            self.current.store(level, Ordering::Release);
        } else {
            put(slots, hash, place);
        }
        self.used.store(used + 1, Ordering::Relaxed);
    }

    /// Bytes taken.
    pub(super) fn size(&self) -> usize {
        self.levels
            .iter()
            .filter_map(OnceLock::get)
            .map(|slots| slots.len() * 8)
            .sum()
    }
}

#[allow(clippy::cast_possible_truncation)] // only the low bits are wanted
const fn start(hash: u64, mask: usize) -> usize {
    hash as usize & mask
}

fn empty(len: usize) -> Box<[AtomicU64]> {
    (0..len).map(|_| AtomicU64::new(Place::NOWHERE)).collect()
}

fn put(slots: &[AtomicU64], hash: u64, place: Place) {
    let mask = slots.len() - 1;
    let mut at = start(hash, mask);
    for _ in 0..slots.len() {
        if slots[at].load(Ordering::Relaxed) == Place::NOWHERE {
            slots[at].store(place.pack(), Ordering::Release);
            return;
        }
        at = (at + 1) & mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_whatever_the_hash() {
        let table = Table::new();
        // Every hash the same, all different, and few different ones.
        for hash_of in [
            |_: u32| 7u64,
            |i: u32| u64::from(i) << 3,
            |i: u32| u64::from(i % 5),
        ] {
            let table2 = Table::new();
            for i in 0..500u32 {
                table2.insert(hash_of(i), Place { block: 1, slot: i }, |p| {
                    Some(hash_of(p.slot))
                });
            }
            for i in 0..500u32 {
                let place = table2.find(hash_of(i), |p| (p.slot == i).then_some(p));
                assert_eq!(place, Some(Place { block: 1, slot: i }));
            }
            assert_eq!(
                table2.find(hash_of(3), |p| (p.slot == 500).then_some(())),
                None
            );
        }
        assert_eq!(table.find(1, Some), None);
    }
}
