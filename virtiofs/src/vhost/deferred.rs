// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Requests of one ring that wait for a disk, on threads of the [`Pool`](super::Pool).

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use vm_memory::{GuestAddress, GuestAddressSpace};

use super::chain::Segments;
use super::event::Wake;
use super::memory::Memory;
use crate::dax::DaxWindow;
use crate::fs::ReadFs;
use crate::server::Server;

/// A request, by where its chain is. The chain is walked again by the thread that answers it:
/// whatever the driver makes of it meanwhile is checked then.
pub(super) struct Request<F> {
    pub(super) server: Arc<Server<F>>,
    pub(super) memory: Memory,
    pub(super) window: Option<Arc<dyn DaxWindow>>,
    pub(super) table: GuestAddress,
    pub(super) size: u16,
    pub(super) head: u16,
}

impl<F: ReadFs> Request<F> {
    fn answer(&self) -> u32 {
        let memory = self.memory.memory();
        let mut segments = Segments::default();
        let found = segments.collect(&memory, self.table, self.size, self.head);
        let readable = if found.is_ok() {
            &segments.readable[..]
        } else {
            &[]
        };
        self.server
            .handle(readable, &segments.writable, self.window.as_deref())
    }
}

/// Answered requests: the head of each chain, and the used length.
pub(super) type Done = Vec<(u16, u32)>;

/// What a ring has on other threads.
#[derive(Debug)]
pub(super) struct Deferred {
    state: Mutex<State>,
    all_done: Condvar,
    wake: Arc<Wake>,
}

#[derive(Debug, Default)]
struct State {
    pending: usize,
    done: Done,
}

impl Deferred {
    /// `wake` wakes the ring's thread when something is done.
    pub(super) fn new(wake: Arc<Wake>) -> Deferred {
        Deferred {
            state: Mutex::default(),
            all_done: Condvar::new(),
            wake,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A job that answers `request`; `None` if there are `limit` already. The job counts as
    /// pending until it has run or was dropped.
    pub(super) fn job<F: ReadFs + 'static>(
        self: &Arc<Self>,
        request: Request<F>,
        limit: u16,
    ) -> Option<Box<dyn FnOnce() + Send>> {
        {
            let mut state = self.lock();
            if state.pending >= usize::from(limit) {
                return None;
            }
            state.pending += 1;
        }
        let ticket = Ticket {
            deferred: Arc::clone(self),
            head: request.head,
            written: 0,
        };
        Some(Box::new(move || {
            let mut ticket = ticket;
            // Dropped before the ticket, also if it panics: when the ring hears that nothing is
            // pending, nothing refers to the guest's memory any more.
            let request = request;
            ticket.written = request.answer();
        }))
    }

    /// Takes what was answered, into `done`, which must be empty.
    pub(super) fn take(&self, done: &mut Done) {
        std::mem::swap(&mut self.lock().done, done);
    }

    /// Waits until nothing is pending.
    pub(super) fn wait(&self) {
        let state = self.lock();
        drop(
            self.all_done
                .wait_while(state, |state| state.pending > 0)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}

/// Says that a request is done, even if answering it panicked.
struct Ticket {
    deferred: Arc<Deferred>,
    head: u16,
    written: u32,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.deferred.lock();
        state.pending -= 1;
        state.done.push((self.head, self.written));
        if state.pending == 0 {
            self.deferred.all_done.notify_all();
        }
        drop(state);
        self.deferred.wake.notify();
    }
}
