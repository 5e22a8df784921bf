// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How much memory the indexes of all store paths take, and which of them was used last.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Shared by all store paths of a store.
#[derive(Debug, Default)]
pub(super) struct Usage {
    bytes: AtomicUsize,
    /// Goes up whenever an index grows. Time as far as it matters here: what was used since
    /// nothing grew was used at the same time.
    age: AtomicU32,
}

impl Usage {
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn grew(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.age.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn shrank(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Notes that something was used now. Written only if that is news: all threads read it.
    pub(super) fn touch(&self, used: &AtomicU32) {
        let now = self.age.load(Ordering::Relaxed);
        if used.load(Ordering::Relaxed) != now {
            used.store(now, Ordering::Relaxed);
        }
    }

    /// How long ago something was used, for comparing.
    pub(super) fn since(&self, used: &AtomicU32) -> u32 {
        self.age
            .load(Ordering::Relaxed)
            .wrapping_sub(used.load(Ordering::Relaxed))
    }
}
