// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Ending a device from another thread.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::event::Wake;

/// Ends a [`Device`](super::Device) from any thread: whoever waits for a client returns, and a
/// client that is being served is disconnected. It is for good.
#[derive(Clone, Debug)]
pub struct StopHandle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    stopped: AtomicBool,
    /// Wakes whoever waits for a client. Never cleared.
    wake: Wake,
    /// The connections being served, each with a number to find it again.
    clients: Mutex<Clients>,
}

#[derive(Debug, Default)]
struct Clients {
    next: u64,
    streams: Vec<(u64, UnixStream)>,
}

impl StopHandle {
    pub(super) fn new() -> io::Result<StopHandle> {
        let shared = Shared {
            stopped: AtomicBool::new(false),
            wake: Wake::new()?,
            clients: Mutex::default(),
        };
        Ok(StopHandle {
            shared: Arc::new(shared),
        })
    }

    /// Ends the device. Returns at once; `serve_next` and `serve_stream` return when their threads
    /// have ended.
    pub fn stop(&self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.shared.wake.notify();
        for (_, stream) in &self.clients().streams {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Whether [`stop`](StopHandle::stop) was called.
    pub fn is_stopped(&self) -> bool {
        self.shared.stopped.load(Ordering::SeqCst)
    }

    /// Readable once stopped.
    pub(super) fn event(&self) -> BorrowedFd<'_> {
        self.shared.wake.as_fd()
    }

    /// Lets [`stop`](StopHandle::stop) disconnect `stream` for as long as the result lives.
    pub(super) fn register(&self, stream: &UnixStream) -> io::Result<Registration<'_>> {
        let stream = stream.try_clone()?;
        let mut clients = self.clients();
        // Under the lock, so that either we see the flag or `stop` sees the stream.
        if self.is_stopped() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let id = clients.next;
        clients.next += 1;
        clients.streams.push((id, stream));
        Ok(Registration { handle: self, id })
    }

    fn clients(&self) -> MutexGuard<'_, Clients> {
        self.shared
            .clients
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that can be stopped.
#[derive(Debug)]
pub(super) struct Registration<'a> {
    handle: &'a StopHandle,
    id: u64,
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        self.handle
            .clients()
            .streams
            .retain(|(id, _)| *id != self.id);
    }
}
