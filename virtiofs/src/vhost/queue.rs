// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the thread of a ring does: requests from the available ring through the server into the
//! used ring, a batch at a time.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::{
    Bytes, GuestAddress, GuestAddressSpace, GuestMemoryBackend, GuestMemoryMmap, VolatileSlice,
};

use super::chain::Segments;
use super::deferred::{Deferred, Done, Request};
use super::event::Wake;
use super::memory::Memory;
use super::pool::Lane;
use crate::dax::DaxWindow;
use crate::fs::ReadFs;
use crate::server::Server;

/// Requests answered before the driver is told and the thread looks up from its work.
const BATCH_REQUESTS: u32 = 64;
/// Bytes answered before the same: the first of many large reads shall not wait for the last.
const BATCH_BYTES: u64 = 1 << 20;

/// `VIRTQ_AVAIL_F_NO_INTERRUPT`: the driver polls.
const NO_INTERRUPT: u16 = 1;

/// Why a ring cannot go on: its driver, or whoever set it up, broke it.
#[derive(Debug)]
pub(super) enum RingError {
    /// A part of the ring is not in guest memory.
    Outside(&'static str),
    /// The available index is further ahead than the ring is long.
    Jump { from: u16, to: u16 },
    /// A chain starts behind the descriptor table.
    Head(u16),
    /// Anything else that the ring's bookkeeping says.
    Queue(virtio_queue::Error),
    /// Its descriptors for events are unusable.
    Event(std::io::Error),
    /// A bug of ours.
    Panic,
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RingError::Outside(part) => write!(f, "its {part} is outside of guest memory"),
            RingError::Jump { from, to } => {
                write!(f, "its available index jumped from {from} to {to}")
            }
            RingError::Head(head) => write!(f, "descriptor {head} was offered, and there is none"),
            RingError::Queue(error) => write!(f, "{error}"),
            RingError::Event(error) => write!(f, "{error}"),
            RingError::Panic => f.write_str("its thread panicked"),
        }
    }
}

impl From<virtio_queue::Error> for RingError {
    fn from(error: virtio_queue::Error) -> RingError {
        RingError::Queue(error)
    }
}

/// What a turn left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// The driver wants to be told.
    pub(super) signal: bool,
    /// There is more to do; otherwise the driver was asked to kick, if it was to be.
    pub(super) more: bool,
    /// Something was done.
    pub(super) used: bool,
}

/// What requests are answered with; one for each ring's thread, made in it.
pub(super) struct Engine<F> {
    server: Arc<Server<F>>,
    memory: Memory,
    window: Option<Arc<dyn DaxWindow>>,
    /// Where requests go that have to wait.
    lane: Lane,
    deferred: Arc<Deferred>,
    /// Empty between turns; kept for its storage.
    segments: Segments<'static>,
    done: Done,
    /// Tell the driver at the next chance, whatever it says: see [`Engine::turn`].
    overdue: bool,
}

impl<F: ReadFs + 'static> Engine<F> {
    /// `wake` wakes the ring's thread for another turn.
    pub(super) fn new(
        server: Arc<Server<F>>,
        memory: Memory,
        window: Option<Arc<dyn DaxWindow>>,
        lane: Lane,
        wake: Arc<Wake>,
    ) -> Engine<F> {
        Engine {
            server,
            memory,
            window,
            lane,
            deferred: Arc::new(Deferred::new(wake)),
            segments: Segments::default(),
            done: Done::new(),
            overdue: true,
        }
    }

    /// Answers one batch of requests. With `then_sleep` the driver is asked to kick for the next;
    /// without, the caller comes back by itself.
    ///
    /// The first turn on a ring that was used before tells the driver in any case: whoever served
    /// the ring until then may have ended between using a buffer and saying so.
    pub(super) fn turn(&mut self, queue: &mut Queue, then_sleep: bool) -> Result<Turn, RingError> {
        let guard = self.memory.memory();
        let memory = guard.deref();
        check(queue, memory)?;
        let mut signal = std::mem::take(&mut self.overdue) && queue.next_used() != 0;

        queue.disable_notification(memory)?;
        let mut segments = std::mem::take(&mut self.segments).recycle();
        let answered = self.batch(queue, memory, &mut segments);
        self.segments = segments.recycle();
        let answered = answered?;

        if answered.used > 0 {
            signal |= wants_signal(queue, memory)?;
        }
        // If requests came in meanwhile, nobody will kick for them.
        let more = answered.full || (then_sleep && queue.enable_notification(memory)?);
        Ok(Turn {
            signal,
            more,
            used: answered.used > 0,
        })
    }

    /// Waits for the requests that are being answered elsewhere, and puts them into the used
    /// ring. Returns whether the driver wants to be told.
    pub(super) fn finish(&mut self, queue: &mut Queue) -> Result<bool, RingError> {
        self.deferred.wait();
        let guard = self.memory.memory();
        let used = self.use_done(queue, guard.deref())?;
        Ok(used > 0 && wants_signal(queue, guard.deref())?)
    }

    /// Puts what other threads have answered into the used ring.
    fn use_done(&mut self, queue: &mut Queue, memory: &GuestMemoryMmap) -> Result<u32, RingError> {
        let mut used = 0;
        self.deferred.take(&mut self.done);
        for (head, written) in self.done.drain(..) {
            queue.add_used(memory, head, written)?;
            used += 1;
        }
        Ok(used)
    }

    fn batch<'m>(
        &mut self,
        queue: &mut Queue,
        memory: &'m GuestMemoryMmap,
        segments: &mut Segments<'m>,
    ) -> Result<Answered, RingError> {
        let used = self.use_done(queue, memory)?;
        let mut answered = Answered { used, full: false };
        let (mut requests, mut bytes) = (0, 0);
        while let Some(head) = pop(queue, memory)? {
            requests += 1;
            if let Some(written) = self.answer(queue, memory, segments, head) {
                queue.add_used(memory, head, written)?;
                answered.used += 1;
                bytes += u64::from(written);
            }
            if requests == BATCH_REQUESTS || bytes >= BATCH_BYTES {
                answered.full = true;
                break;
            }
        }
        Ok(answered)
    }

    /// The used length; `None` if another thread will say it.
    fn answer<'m>(
        &mut self,
        queue: &Queue,
        memory: &'m GuestMemoryMmap,
        segments: &mut Segments<'m>,
        head: u16,
    ) -> Option<u32> {
        let table = GuestAddress(queue.desc_table());
        let found = segments.collect(memory, table, queue.size(), head);
        // A chain that makes no sense holds no request; but the driver waits for a reply, and a
        // request of no bytes gets an error if there is room for one.
        let readable: &[VolatileSlice<'m>] = match &found {
            Ok(()) => &segments.readable,
            Err(error) => {
                log::debug!("a malformed request: {error}");
                &[]
            }
        };
        #[cfg(feature = "fuzzing")]
        super::fuzzing::seen(readable);
        let window = self.window.as_deref();
        if let Some(written) = self.server.try_handle(readable, &segments.writable, window) {
            return Some(written);
        }
        if self.defer(queue, head) {
            return None;
        }
        Some(self.server.handle(readable, &segments.writable, window))
    }

    /// Gives a request to the pool. False if that is not possible: a driver which offers the same
    /// descriptors again and again cannot have more of them under way than the ring is long.
    fn defer(&self, queue: &Queue, head: u16) -> bool {
        let request = Request {
            server: Arc::clone(&self.server),
            memory: self.memory.clone(),
            window: self.window.clone(),
            table: GuestAddress(queue.desc_table()),
            size: queue.size(),
            head,
        };
        match self.deferred.job(request, queue.size()) {
            // Given back or not, the job says that it is done when it ends.
            Some(job) => {
                if let Err(job) = self.lane.submit(job) {
                    job();
                }
                true
            }
            None => false,
        }
    }
}

impl<F> Drop for Engine<F> {
    /// Nothing of a ring that has ended is touched any more.
    fn drop(&mut self) {
        self.deferred.wait();
    }
}

struct Answered {
    /// Entries added to the used ring.
    used: u32,
    /// There may be more to do.
    full: bool,
}

/// Checks that the three parts of the ring are in memory. Each turn, because memory comes and
/// goes.
fn check(queue: &Queue, memory: &GuestMemoryMmap) -> Result<(), RingError> {
    let size = usize::from(queue.size());
    let parts = [
        ("descriptor table", queue.desc_table(), 16 * size),
        ("available ring", queue.avail_ring(), 6 + 2 * size),
        ("used ring", queue.used_ring(), 6 + 8 * size),
    ];
    for (name, at, len) in parts {
        if !memory.check_range(GuestAddress(at), len) {
            return Err(RingError::Outside(name));
        }
    }
    Ok(())
}

/// The next chain that the driver offers.
pub(super) fn pop(queue: &mut Queue, memory: &GuestMemoryMmap) -> Result<Option<u16>, RingError> {
    let (from, size) = (queue.next_avail(), queue.size());
    let chain = match queue.iter(memory) {
        Ok(mut available) => available.next(),
        Err(virtio_queue::Error::InvalidAvailRingIndex) => {
            let to = queue
                .avail_idx(memory, Ordering::Relaxed)
                .map_or(from, |index| index.0);
            return Err(RingError::Jump { from, to });
        }
        Err(error) => return Err(error.into()),
    };
    match chain.map(|chain| chain.head_index()) {
        Some(head) if head >= size => Err(RingError::Head(head)),
        head => Ok(head),
    }
}

/// Whether the driver wants to be told of what was used.
fn wants_signal(queue: &mut Queue, memory: &GuestMemoryMmap) -> Result<bool, RingError> {
    let wanted = queue.needs_notification(memory)?;
    if !wanted || queue.event_idx_enabled() {
        return Ok(wanted);
    }
    // `Queue` does not look at the flag that serves instead of the event index.
    let flags: u16 = memory
        .load(GuestAddress(queue.avail_ring()), Ordering::Relaxed)
        .map_err(virtio_queue::Error::GuestMemory)?;
    Ok(u16::from_le(flags) & NO_INTERRUPT == 0)
}

#[cfg(test)]
#[path = "queue_test.rs"]
mod tests;
