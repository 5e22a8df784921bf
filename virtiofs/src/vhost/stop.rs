// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Ending a device from another thread.
#![allow(unsafe_code)] // sockets known by their numbers: one descriptor less for each client

use std::os::fd::{BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::net::{Shutdown, shutdown};

use super::event::Wake;

/// Ends a [`Device`](super::Device) from any thread: whoever waits for a client returns, and a
/// client that is being served is disconnected. It is for good.
#[derive(Clone, Debug)]
pub struct StopHandle {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    stopped: AtomicBool,
    /// Whom to tell, each with a number to find it again.
    busy: Mutex<Busy>,
}

#[derive(Debug, Default)]
struct Busy {
    next: u64,
    threads: Vec<(u64, Doing)>,
}

/// What a thread of the device is doing.
#[derive(Debug)]
enum Doing {
    /// It waits for a client. The event is never cleared.
    Waiting(Arc<Wake>),
    /// It serves the client at the other end of this socket, which is open for as long as this is
    /// in the list.
    Serving(RawFd),
}

impl Doing {
    fn end(&self) {
        match self {
            Doing::Waiting(wake) => wake.notify(),
            Doing::Serving(socket) => {
                // SAFETY: whoever registered it keeps it open until it is out of the list, and
                // the list is locked.
                let socket = unsafe { BorrowedFd::borrow_raw(*socket) };
                let _ = shutdown(socket, Shutdown::Both);
            }
        }
    }
}

impl StopHandle {
    pub(super) fn new() -> StopHandle {
        StopHandle {
            shared: Arc::default(),
        }
    }

    /// Ends the device. Returns at once; `serve_next` and `serve_stream` return when their threads
    /// have ended.
    pub fn stop(&self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        for (_, doing) in &self.busy().threads {
            doing.end();
        }
    }

    /// Whether [`stop`](StopHandle::stop) was called.
    pub fn is_stopped(&self) -> bool {
        self.shared.stopped.load(Ordering::SeqCst)
    }

    /// [`stop`](StopHandle::stop) uses `wake` for as long as the result lives.
    pub(super) fn waiting(&self, wake: Arc<Wake>) -> Registration<'_> {
        self.register(Doing::Waiting(wake))
    }

    /// [`stop`](StopHandle::stop) disconnects `socket` for as long as the result lives.
    ///
    /// # Safety
    /// The socket must stay open until the result was dropped.
    pub(super) unsafe fn serving(&self, socket: RawFd) -> Registration<'_> {
        self.register(Doing::Serving(socket))
    }

    fn register(&self, doing: Doing) -> Registration<'_> {
        let mut busy = self.busy();
        // Under the lock, so that either we see the flag or `stop` sees us.
        if self.is_stopped() {
            doing.end();
        }
        let id = busy.next;
        busy.next += 1;
        busy.threads.push((id, doing));
        Registration { handle: self, id }
    }

    fn busy(&self) -> MutexGuard<'_, Busy> {
        self.shared
            .busy
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something that can be stopped.
#[derive(Debug)]
pub(super) struct Registration<'a> {
    handle: &'a StopHandle,
    id: u64,
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        self.handle.busy().threads.retain(|(id, _)| *id != self.id);
    }
}
