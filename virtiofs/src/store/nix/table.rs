// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A hash table that only grows and is read without locks.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::index::Place;

/// Size of the first table.
const FIRST: usize = 16;
const LEVELS: usize = 32;

/// A slot is empty, or a place (a block and a slot in it, of [`HALF`] bits each) below 16 bits of
/// its hash, which spare looking at places that belong to other hashes.
const EMPTY: u64 = u64::MAX;
const HALF: u32 = 24;
/// What the two parts of a place must be below. One less than fits, so that none is [`EMPTY`].
const END: u32 = (1 << HALF) - 1;

/// Finds places by hash. One thread at a time inserts, any number look up.
///
/// When a table would be more than three quarters full, a larger one is filled beside it and takes
/// its place; the old one stays for those who are reading it.
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

    /// Whether places up to this one can be in a table.
    pub(super) fn has_room_for(place: Place) -> bool {
        place.block < END && place.slot < END
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
            let slot = slots[at].load(Ordering::Acquire);
            if slot == EMPTY {
                return None;
            }
            if tag(slot) == hash_tag(hash)
                && let Some(result) = is_it(unpack(slot))
            {
                return Some(result);
            }
            at = (at + 1) & mask;
        }
        None
    }

    /// Makes a table that is large enough for so many more places, at once: the ones it would grow
    /// through are kept as well. Not from two threads at once. `hash_of` tells the hash of a place
    /// again.
    pub(super) fn reserve(&self, more: usize, hash_of: impl Fn(Place) -> Option<u64>) {
        let used = self.used.load(Ordering::Relaxed);
        let current = self.current.load(Ordering::Relaxed);
        let mut level = current;
        while (used + more) * 4 > (FIRST << level) * 3 && level + 1 < LEVELS {
            level += 1;
        }
        let larger = self.levels[level].get_or_init(|| empty(FIRST << level));
        if level == current {
            return;
        }
        for slot in self.levels[current].get().into_iter().flatten() {
            let slot = slot.load(Ordering::Relaxed);
            if slot == EMPTY {
                continue;
            }
            let old = unpack(slot);
            if let Some(hash) = hash_of(old) {
                put(larger, hash, old);
            }
        }
        self.current.store(level, Ordering::Release);
    }

    /// Adds a place, for which there [is room](Self::has_room_for) and was [made](Self::reserve)
    /// some. Not from two threads at once.
    pub(super) fn insert(&self, hash: u64, place: Place) {
        if let Some(slots) = self.levels[self.current.load(Ordering::Relaxed)].get() {
            put(slots, hash, place);
            self.used.fetch_add(1, Ordering::Relaxed);
        }
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

/// Neither the bits that [`start`] uses nor those that all nodes of a store path share.
const fn hash_tag(hash: u64) -> u64 {
    hash >> 32 & 0xffff
}

const fn tag(slot: u64) -> u64 {
    slot >> (2 * HALF)
}

const fn pack(hash: u64, place: Place) -> u64 {
    hash_tag(hash) << (2 * HALF) | (place.block as u64) << HALF | place.slot as u64
}

#[allow(clippy::cast_possible_truncation)] // the two parts
const fn unpack(slot: u64) -> Place {
    let half = (1 << HALF) - 1;
    Place {
        block: (slot >> HALF & half) as u32,
        slot: (slot & half) as u32,
    }
}

fn empty(len: usize) -> Box<[AtomicU64]> {
    (0..len).map(|_| AtomicU64::new(EMPTY)).collect()
}

fn put(slots: &[AtomicU64], hash: u64, place: Place) {
    let mask = slots.len() - 1;
    let mut at = start(hash, mask);
    for _ in 0..slots.len() {
        if slots[at].load(Ordering::Relaxed) == EMPTY {
            slots[at].store(pack(hash, place), Ordering::Release);
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
                table2.reserve(1, |place| Some(hash_of(place.slot)));
                table2.insert(hash_of(i), Place { block: 1, slot: i });
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
    #[test]
    fn the_last_place_is_a_place() {
        let last = Place {
            block: END - 1,
            slot: END - 1,
        };
        assert!(Table::has_room_for(last));
        assert!(!Table::has_room_for(Place {
            block: END,
            slot: 0
        }));
        assert!(!Table::has_room_for(Place {
            block: 0,
            slot: END
        }));
        let table = Table::new();
        table.reserve(1, |_| Some(u64::MAX));
        table.insert(u64::MAX, last);
        assert_eq!(table.find(u64::MAX, Some), Some(last));
    }
}
