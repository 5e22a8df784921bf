// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A ring as the front-end sees it: set up, started, changed and stopped; and the thread that
//! serves it in between.

use std::fs::File;
use std::hint;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use virtio_queue::{Queue, QueueT};
use vm_memory::GuestAddress;

use super::event::{Call, Kick, Wake};
use super::limit::Limit;
use super::memory::Memory;
use super::poll::Poll;
use super::pool::Lane;
use super::queue::{Engine, RingError};
use crate::dax::DaxWindow;
use crate::fs::ReadFs;
use crate::server::Server;

/// What the rings of one connection have in common.
pub(super) struct Shared<F> {
    pub(super) server: Arc<Server<F>>,
    pub(super) memory: Memory,
    pub(super) window: Option<Arc<dyn DaxWindow>>,
    /// For requests that have to wait.
    pub(super) lane: Lane,
    /// See [`DeviceOptions::poll`](super::DeviceOptions::poll).
    pub(super) poll: Duration,
    /// The device's name in the log.
    pub(super) name: String,
    /// Holds back what a guest can make us say.
    pub(super) limit: Arc<Limit>,
}

/// One ring. It runs, in a thread of its own, while it is set up, started (it has a kick
/// descriptor) and enabled; to change it, it is halted for a moment.
pub(super) struct Ring<F> {
    index: usize,
    max_size: u16,
    shared: Arc<Shared<F>>,
    /// Here while the ring does not run.
    queue: Option<Queue>,
    kick: Option<Arc<Kick>>,
    call: Arc<Call>,
    addressed: bool,
    enabled: bool,
    /// It failed; only a new start can help.
    broken: bool,
    worker: Option<Worker>,
}

struct Worker {
    stop: Arc<AtomicBool>,
    wake: Arc<Wake>,
    thread: JoinHandle<(Queue, Result<(), RingError>)>,
}

impl Worker {
    fn request_stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake.notify();
    }
}

impl<F: ReadFs + 'static> Ring<F> {
    pub(super) fn new(index: usize, max_size: u16, shared: Arc<Shared<F>>) -> io::Result<Ring<F>> {
        Ok(Ring {
            index,
            max_size,
            shared,
            queue: Some(Queue::new(max_size).map_err(io::Error::other)?),
            kick: None,
            call: Arc::default(),
            addressed: false,
            enabled: false,
            broken: false,
            worker: None,
        })
    }

    /// Changes the ring's state; if it runs it is halted meanwhile.
    pub(super) fn configure<T>(
        &mut self,
        change: impl FnOnce(&mut Queue) -> io::Result<T>,
    ) -> io::Result<T> {
        let changed = change(self.halt()?)?;
        self.resume()?;
        Ok(changed)
    }

    /// Sets where the ring is, and goes on with the used index that is there.
    pub(super) fn set_addresses(&mut self, addresses: [GuestAddress; 3]) -> io::Result<()> {
        let memory = self.shared.memory.clone();
        let [table, available, used] = addresses;
        let queue = self.halt()?;
        let set = |queue: &mut Queue| {
            queue.try_set_desc_table_address(table)?;
            queue.try_set_avail_ring_address(available)?;
            queue.try_set_used_ring_address(used)?;
            let memory = vm_memory::GuestAddressSpace::memory(&memory);
            queue.used_idx(&*memory, Ordering::Relaxed)
        };
        let next_used = set(queue).map_err(io::Error::other)?;
        queue.set_next_used(next_used.0);
        self.addressed = true;
        self.resume()
    }

    /// Starts the ring, or exchanges its kick descriptor. Without one the driver expects to be
    /// polled, which is not done: such a ring stays stopped.
    pub(super) fn start(&mut self, kick: Option<File>) -> io::Result<()> {
        self.halt()?;
        self.broken = false;
        self.kick = kick.map(Kick::new).transpose()?.map(Arc::new);
        self.resume()
    }

    /// Stops the ring; nothing of it is touched afterwards. Returns the next available index.
    pub(super) fn stop(&mut self) -> io::Result<u16> {
        let next = self.halt()?.next_avail();
        self.broken = false;
        self.kick = None;
        self.call.set(None)?;
        Ok(next)
    }

    /// Exchanges the descriptor for interrupts; a running ring runs on. The new one is used at
    /// once, because the driver may not have heard of what was done before it was there.
    pub(super) fn set_call(&self, call: Option<File>) -> io::Result<()> {
        self.call.set(call)?;
        if self.worker.is_some() {
            self.call.signal();
        }
        Ok(())
    }

    /// Lets the ring run, or not.
    pub(super) fn enable(&mut self, enabled: bool) -> io::Result<()> {
        if self.enabled != enabled {
            self.halt()?;
            self.enabled = enabled;
        }
        self.resume()
    }

    /// Asks the thread to end, without waiting, so that many can end at once.
    pub(super) fn request_stop(&self) {
        if let Some(worker) = &self.worker {
            worker.request_stop();
        }
    }

    /// Ends the thread, after it has answered whatever it began, and takes the state back.
    fn halt(&mut self) -> io::Result<&mut Queue> {
        if let Some(worker) = self.worker.take() {
            worker.request_stop();
            // The thread itself catches panics; this is for the impossible.
            if let Ok((queue, outcome)) = worker.thread.join() {
                self.broken |= outcome.is_err();
                self.queue = Some(queue);
            }
        }
        if self.queue.is_none() {
            self.broken = true;
            self.addressed = false;
            self.queue = Some(Queue::new(self.max_size).map_err(io::Error::other)?);
        }
        self.queue
            .as_mut()
            .ok_or_else(|| io::Error::other("unreachable: a ring without state"))
    }

    /// Runs the ring if nothing is missing.
    fn resume(&mut self) -> io::Result<()> {
        if !self.enabled || !self.addressed || self.broken || self.worker.is_some() {
            return Ok(());
        }
        let Some(kick) = self.kick.clone() else {
            return Ok(());
        };
        let wake = Arc::new(Wake::new()?);
        let Some(mut queue) = self.queue.take() else {
            return Ok(());
        };
        queue.set_ready(true);
        let service = Service {
            index: self.index,
            shared: Arc::clone(&self.shared),
            kick,
            call: Arc::clone(&self.call),
            stop: Arc::new(AtomicBool::new(false)),
            wake,
        };
        let (stop, wake) = (Arc::clone(&service.stop), Arc::clone(&service.wake));
        let thread = thread::Builder::new()
            .name(format!("vq{} {}", self.index, self.shared.name))
            .spawn(move || service.run(queue))?;
        self.worker = Some(Worker { stop, wake, thread });
        Ok(())
    }
}

impl<F> Drop for Ring<F> {
    fn drop(&mut self) {
        if let Some(worker) = self.worker.take() {
            worker.request_stop();
            let _ = worker.thread.join();
        }
    }
}

/// Everything that a ring's thread needs.
struct Service<F> {
    index: usize,
    shared: Arc<Shared<F>>,
    kick: Arc<Kick>,
    call: Arc<Call>,
    stop: Arc<AtomicBool>,
    wake: Arc<Wake>,
}

impl<F: ReadFs + 'static> Service<F> {
    /// Serves the ring until it is stopped or found broken. Says why in the log, once.
    fn run(self, mut queue: Queue) -> (Queue, Result<(), RingError>) {
        let served = catch_unwind(AssertUnwindSafe(|| self.serve(&mut queue)));
        let outcome = served.unwrap_or(Err(RingError::Panic));
        if let Err(error) = &outcome
            && let Some(suppressed) = self.shared.limit.allow()
        {
            let (name, index) = (&self.shared.name, self.index);
            log::warn!("{name}: queue {index} is stopped: {error}");
            if suppressed > 0 {
                log::warn!("{name}: {suppressed} more such messages were left out");
            }
        }
        (queue, outcome)
    }

    fn serve(&self, queue: &mut Queue) -> Result<(), RingError> {
        let shared = &self.shared;
        let mut engine = Engine::new(
            Arc::clone(&shared.server),
            shared.memory.clone(),
            shared.window.clone(),
            shared.lane.clone(),
            Arc::clone(&self.wake),
        );
        let mut poll = Poll::new(shared.poll);
        // Looks before the first kick: it may have come while nobody listened.
        while !self.stop.load(Ordering::Acquire) {
            let sleep = !poll.goes_on();
            let turn = engine.turn(queue, sleep)?;
            if turn.signal {
                self.call.signal();
            }
            if turn.used {
                poll.restart();
            }
            if turn.more || poll.goes_on() {
                hint::spin_loop();
            } else if sleep {
                let slept = Instant::now();
                self.kick.wait(&self.wake).map_err(RingError::Event)?;
                poll.woke_after(slept.elapsed());
            }
        }
        if engine.finish(queue)? {
            self.call.signal();
        }
        Ok(())
    }
}
