// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A vector that only grows and is read without locks.

use std::mem::size_of;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Bucket `k` holds `2^k` elements, so an element never moves once it is there.
const BUCKETS: usize = 32;

/// Append-only vector. Elements are pushed by one thread at a time (see [`push`](Self::push)) and
/// read by any number.
#[derive(Debug)]
pub(super) struct AppendVec<T> {
    buckets: [OnceLock<Box<[OnceLock<T>]>>; BUCKETS],
    len: AtomicU32,
}

impl<T> AppendVec<T> {
    pub(super) fn new() -> AppendVec<T> {
        AppendVec {
            buckets: [const { OnceLock::new() }; BUCKETS],
            len: AtomicU32::new(0),
        }
    }

    /// Bucket and place in it.
    #[allow(clippy::cast_possible_truncation)] // below 2^32
    fn locate(index: u32) -> (usize, usize) {
        let position = u64::from(index) + 1;
        let bucket = position.ilog2();
        (bucket as usize, (position - (1 << bucket)) as usize)
    }

    /// Number of elements.
    pub(super) fn len(&self) -> u32 {
        self.len.load(Ordering::Acquire)
    }

    pub(super) fn get(&self, index: u32) -> Option<&T> {
        let (bucket, place) = Self::locate(index);
        self.buckets.get(bucket)?.get()?.get(place)?.get()
    }

    /// Bytes taken, but for what elements own.
    pub(super) fn size(&self) -> usize {
        let slots: usize = self
            .buckets
            .iter()
            .filter_map(OnceLock::get)
            .map(|b| b.len())
            .sum();
        slots * size_of::<OnceLock<T>>()
    }

    /// Appends, and returns the index; `None` when full. Two threads must not push at once: the
    /// element of one of them would be lost.
    pub(super) fn push(&self, element: T) -> Option<u32> {
        let index = self.len.load(Ordering::Relaxed);
        let (bucket, place) = Self::locate(index);
        let slots = self
            .buckets
            .get(bucket)?
            .get_or_init(|| (0..1usize << bucket).map(|_| OnceLock::new()).collect());
        slots.get(place)?.set(element).ok()?;
        self.len.store(index.checked_add(1)?, Ordering::Release);
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_stay_where_they_are() {
        let vec = AppendVec::new();
        assert!(vec.get(0).is_none());
        let first = vec.push("0".to_owned()).unwrap();
        let address = vec.get(first).unwrap().as_ptr();
        for i in 1..1000u32 {
            assert_eq!(vec.push(i.to_string()), Some(i));
        }
        assert_eq!(vec.get(first).unwrap().as_ptr(), address);
        assert!((0..1000).all(|i| vec.get(i).unwrap() == &i.to_string()));
        assert_eq!(vec.len(), 1000);
        assert!(vec.get(1000).is_none() && vec.get(u32::MAX).is_none());
    }
}
