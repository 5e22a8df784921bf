// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An allocator that counts what the calling thread asks of it.
#![allow(unsafe_code)] // an allocator is unsafe by definition; it only passes on

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    // Constant and without destructor, so that reading it allocates nothing.
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// How often the calling thread has allocated or enlarged something so far.
pub fn count() -> u64 {
    COUNT.try_with(Cell::get).unwrap_or(0)
}

/// The system's allocator, counted.
#[derive(Debug)]
pub struct Counting;

impl Counting {
    fn note() {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
    }
}

// SAFETY: every call goes to `System` with the arguments unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::note();
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::note();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::note();
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocations_of_this_thread_are_counted() {
        let before = count();
        let mut bytes: Vec<u8> = std::hint::black_box(Vec::with_capacity(10));
        assert_eq!(count() - before, 1);
        bytes.reserve_exact(1000);
        assert_eq!(count() - before, 2);
        std::thread::spawn(|| drop(std::hint::black_box(vec![0u8; 10])))
            .join()
            .unwrap();
        let here = count();
        drop(bytes);
        assert_eq!(count(), here);
    }
}
