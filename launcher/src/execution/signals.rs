// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Signals that ask to stop.

use std::io;
use std::sync::mpsc::Sender;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use super::inbox::Event;

/// Signals go into the queue as long as this lives.
#[derive(Debug)]
pub(super) struct Caught(Handle);

/// Catches them.
pub(super) fn catch(to: Sender<Event>) -> io::Result<Caught> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let handle = signals.handle();
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for _ in signals.forever() {
                if to.send(Event::Signal).is_err() {
                    return;
                }
            }
        })?;
    Ok(Caught(handle))
}

impl Drop for Caught {
    fn drop(&mut self) {
        self.0.close();
    }
}
