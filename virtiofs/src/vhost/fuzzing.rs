// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A way in for fuzzers: one ring without its thread, so that they need no internals and a run
//! depends on little but its input. Not part of the interface.
#![allow(missing_docs)]

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use virtio_queue::Queue;
use vm_memory::VolatileSlice;

use super::event::Wake;
use super::memory::Memory;
use super::pool::Pool;
use super::queue::{Engine, RingError};
use crate::dax::DaxWindow;
use crate::fs::ReadFs;
use crate::server::Server;

/// What looks on: see [`look_on`].
type Onlooker = Box<dyn FnMut(&[u8]) + Send>;
static ONLOOKER: Mutex<Option<Onlooker>> = Mutex::new(None);

/// Has `onlooker` see every request that any ring of the process takes, before it is answered.
pub fn look_on(onlooker: Onlooker) {
    *ONLOOKER.lock().unwrap_or_else(PoisonError::into_inner) = Some(onlooker);
}

pub(super) fn seen(request: &[VolatileSlice<'_>]) {
    if let Some(onlooker) = &mut *ONLOOKER.lock().unwrap_or_else(PoisonError::into_inner) {
        let mut bytes = Vec::new();
        for slice in request {
            let start = bytes.len();
            bytes.resize(start + slice.len(), 0);
            slice.copy_to(&mut bytes[start..]);
        }
        onlooker(&bytes);
    }
}

/// A ring, and what its thread would do.
pub struct Ring<F: ReadFs + 'static> {
    /// What the front-end sets up.
    pub queue: Queue,
    server: Arc<Server<F>>,
    memory: Memory,
    window: Option<Arc<dyn DaxWindow>>,
    pool: Pool,
    /// There while the ring is not broken, as its thread would be.
    engine: Option<Engine<F>>,
}

impl<F: ReadFs + 'static> fmt::Debug for Ring<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").finish_non_exhaustive()
    }
}

impl<F: ReadFs + 'static> Ring<F> {
    pub fn new(
        queue: Queue,
        server: Arc<Server<F>>,
        memory: Memory,
        window: Option<Arc<dyn DaxWindow>>,
        pool: Pool,
    ) -> Ring<F> {
        Ring {
            queue,
            server,
            memory,
            window,
            pool,
            engine: None,
        }
    }

    /// Answers one batch, and waits for those of its requests that other threads answer. Returns
    /// whether the driver wants to be told and whether there is more to do.
    ///
    /// # Errors
    /// Why the ring would be stopped. Nothing answers in its name any more, and the next turn is
    /// the first one of a ring that is started again.
    pub fn turn(&mut self) -> Result<(bool, bool), String> {
        let mut engine = match self.engine.take() {
            Some(engine) => engine,
            None => self.engine().map_err(|e| e.to_string())?,
        };
        let turn = engine
            .turn(&mut self.queue, true)
            .map_err(|e| e.to_string())?;
        let late = engine.finish(&mut self.queue).map_err(|e| e.to_string())?;
        self.engine = Some(engine);
        Ok((turn.signal || late, turn.more))
    }

    fn engine(&self) -> Result<Engine<F>, RingError> {
        Ok(Engine::new(
            Arc::clone(&self.server),
            self.memory.clone(),
            self.window.clone(),
            self.pool.lane(),
            Arc::new(Wake::new().map_err(RingError::Event)?),
        ))
    }
}
