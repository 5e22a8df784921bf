// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reading ahead: once somebody has looked into a store path, the rest of it enters the index too,
//! in a thread of low priority.
//!
//! The first answer waits for one directory, never for all of a large path, and a later walk waits
//! for no disk. While somebody goes from one new store path to the next, as a program does that
//! starts, this holds still: it would take the processor from what it is meant to help. Nothing here
//! is a promise: what is not read ahead is read when it is asked for.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::path::StorePath;
use super::places::Places;
use super::usage::Usage;

/// Store paths that wait at most. One that is not taken is offered again with the next directory
/// that somebody waits for.
const WAITING: usize = 256;

/// Niceness of the thread: about a tenth of a processor that others want, too. Less would make
/// those wait who need what it is just appending to an index.
const NICE: i32 = 10;

/// After so long without a new store path there is time to read ahead.
const QUIET: Duration = Duration::from_millis(500);

/// The thread that reads ahead. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Background {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    places: Arc<Places>,
    usage: Arc<Usage>,
    /// Bytes of all indexes from which on nothing is read ahead.
    limit: usize,
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Those that are dropped from the index meanwhile are gone from here, too.
    paths: VecDeque<Weak<StorePath>>,
    /// When somebody last looked into a new one.
    offered: Option<Instant>,
    stopped: bool,
}

impl Background {
    /// Reads ahead until the indexes take `limit` bytes.
    pub(super) fn start(
        places: Arc<Places>,
        usage: Arc<Usage>,
        limit: usize,
    ) -> io::Result<Background> {
        let shared = Arc::new(Shared {
            places,
            usage,
            limit,
            state: Mutex::default(),
            work: Condvar::new(),
        });
        let worker = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("read ahead".to_owned())
            .spawn(move || worker.run())?;
        Ok(Background {
            shared,
            thread: Some(thread),
        })
    }

    /// Reads the rest of a store path when there is time, if that was not begun already.
    pub(super) fn read(&self, path: &Arc<StorePath>) {
        if self.shared.is_full() || !path.begin_read_ahead() {
            return;
        }
        let mut state = self.shared.lock();
        state.offered = Some(Instant::now());
        if state.paths.len() < WAITING {
            state.paths.push_back(Arc::downgrade(path));
            self.shared.work.notify_one();
        } else {
            path.give_up_read_ahead();
        }
    }
}

impl Drop for Background {
    /// Waits for the directory that is being read.
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.work.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_full(&self) -> bool {
        self.usage.bytes() > self.limit
    }

    fn run(&self) {
        // Where that is forbidden it competes with everybody else.
        if let Err(error) = rustix::process::setpriority_process(None, NICE) {
            log::debug!("reading ahead has the priority of all else: {error}");
        }
        while let Some(path) = self.next() {
            if let Some(path) = path.upgrade() {
                self.read(&path);
            }
        }
    }

    /// The next path; sleeps until there is one. `None` in the end.
    fn next(&self) -> Option<Weak<StorePath>> {
        let nothing = |state: &mut State| state.paths.is_empty() && !state.stopped;
        let mut state = self
            .work
            .wait_while(self.lock(), nothing)
            .unwrap_or_else(PoisonError::into_inner);
        if state.stopped {
            return None;
        }
        state.paths.pop_front()
    }

    /// Sleeps until nobody has looked into a new store path for a while.
    fn wait_for_quiet(&self) {
        let mut state = self.lock();
        while !state.stopped
            && let Some(offered) = state.offered
            && let Some(left) = QUIET.checked_sub(offered.elapsed())
        {
            let waited = self.work.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn read(&self, path: &Arc<StorePath>) {
        let mut cut_short = false;
        path.read_all(&self.places, || {
            self.wait_for_quiet();
            cut_short = self.is_full();
            // Nobody else has it: it was dropped from the index.
            cut_short || self.lock().stopped || Arc::strong_count(path) == 1
        });
        if cut_short {
            path.give_up_read_ahead();
        }
    }
}

#[cfg(test)]
#[path = "background_test.rs"]
mod tests;
