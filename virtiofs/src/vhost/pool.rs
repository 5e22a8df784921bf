// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Threads for requests that have to wait for a disk.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How long a thread with nothing to do stays.
const IDLE: Duration = Duration::from_secs(5);

type Job = Box<dyn FnOnce() + Send>;

/// A pool of threads, shared by all devices that are given a clone of it. Threads start when there
/// is work and end when there has been none for a while.
///
/// It is fair between devices: they take turns, and none occupies more than half of the threads.
#[derive(Clone)]
pub struct Pool {
    inner: Arc<Inner>,
}

struct Inner {
    threads: usize,
    next_lane: AtomicU64,
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    lanes: HashMap<u64, LaneState>,
    /// Lanes that have work and may have it done, in turn.
    turn: VecDeque<u64>,
    threads: usize,
    idle: usize,
}

#[derive(Default)]
struct LaneState {
    jobs: VecDeque<Job>,
    running: usize,
    in_turn: bool,
}

/// The pool as one device uses it.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    pool: Pool,
    id: u64,
}

impl Pool {
    /// A pool of at most so many threads.
    pub fn new(threads: NonZeroUsize) -> Pool {
        Pool {
            inner: Arc::new(Inner {
                threads: threads.get(),
                next_lane: AtomicU64::new(0),
                state: Mutex::default(),
                work: Condvar::new(),
            }),
        }
    }

    pub(super) fn lane(&self) -> Lane {
        let id = self.inner.next_lane.fetch_add(1, Ordering::Relaxed);
        Lane {
            pool: self.clone(),
            id,
        }
    }
}

impl Default for Pool {
    /// Eight threads: they wait for disks, not for processors.
    fn default() -> Pool {
        Pool::new(const { NonZeroUsize::new(8).unwrap() })
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool(at most {} threads)", self.inner.threads)
    }
}

impl Lane {
    /// Has `job` done by a thread of the pool; gives it back if there is none.
    pub(super) fn submit(&self, job: Job) -> Result<(), Job> {
        let inner = &self.pool.inner;
        let mut state = inner.lock();
        if state.idle == 0 && state.threads < inner.threads {
            let worker = Arc::clone(inner);
            let name = "disk".to_owned();
            match thread::Builder::new()
                .name(name)
                .spawn(move || worker.run())
            {
                Ok(_) => state.threads += 1,
                Err(_) if state.threads > 0 => {}
                Err(_) => return Err(job),
            }
        }
        let lane = state.lanes.entry(self.id).or_default();
        lane.jobs.push_back(job);
        state.take_turn(self.id, inner.most_for_one());
        inner.work.notify_one();
        Ok(())
    }
}

impl State {
    /// Lets a lane take its turn, if it has work and not too much of it is being done already.
    fn take_turn(&mut self, id: u64, most: usize) {
        if let Some(lane) = self.lanes.get_mut(&id)
            && !lane.in_turn
            && !lane.jobs.is_empty()
            && lane.running < most
        {
            lane.in_turn = true;
            self.turn.push_back(id);
        }
    }

    fn next(&mut self, most: usize) -> Option<(u64, Job)> {
        let id = self.turn.pop_front()?;
        let lane = self.lanes.get_mut(&id)?;
        lane.in_turn = false;
        let job = lane.jobs.pop_front()?;
        lane.running += 1;
        self.take_turn(id, most);
        Some((id, job))
    }

    fn finished(&mut self, id: u64, most: usize) {
        let Some(lane) = self.lanes.get_mut(&id) else {
            return;
        };
        lane.running -= 1;
        if lane.running == 0 && lane.jobs.is_empty() {
            self.lanes.remove(&id);
        } else {
            self.take_turn(id, most);
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn most_for_one(&self) -> usize {
        self.threads.div_ceil(2)
    }

    fn run(&self) {
        let most = self.most_for_one();
        let mut state = self.lock();
        loop {
            if let Some((lane, job)) = state.next(most) {
                drop(state);
                // A panic is that request's only; the message is on standard error.
                let _ = catch_unwind(AssertUnwindSafe(job));
                state = self.lock();
                state.finished(lane, most);
                continue;
            }
            state.idle += 1;
            let waited = self.work.wait_timeout(state, IDLE);
            let (woken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if timeout.timed_out() && state.turn.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn pool(threads: usize) -> Pool {
        Pool::new(NonZeroUsize::new(threads).unwrap())
    }

    #[test]
    fn every_job_is_done_once_and_a_panic_hurts_nobody() {
        let lane = pool(3).lane();
        let (sender, done) = mpsc::channel();
        for i in 0..500 {
            let sender = sender.clone();
            let job = Box::new(move || {
                assert_ne!(i, 250, "as a bug would");
                sender.send(i).unwrap();
            });
            assert!(lane.submit(job).is_ok());
        }
        drop(sender);
        let mut seen: Vec<i32> = done.iter().collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..500).filter(|i| *i != 250).collect::<Vec<_>>());
    }

    /// One device has ever so many slow requests; another's single one does not wait for them.
    #[test]
    fn nobody_takes_all_threads() {
        let pool = pool(4);
        let (hog, other) = (pool.lane(), pool.lane());
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        for _ in 0..100 {
            let gate = Arc::clone(&gate);
            let job = Box::new(move || {
                let open = gate.0.lock().unwrap();
                drop(gate.1.wait_while(open, |open| !*open).unwrap());
            });
            assert!(hog.submit(job).is_ok());
        }
        let (sender, done) = mpsc::channel();
        assert!(
            other
                .submit(Box::new(move || sender.send(()).unwrap()))
                .is_ok()
        );
        done.recv_timeout(Duration::from_secs(10))
            .expect("it waits behind the other device");
        *gate.0.lock().unwrap() = true;
        gate.1.notify_all();
    }
}
