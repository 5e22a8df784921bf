// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The last lines of what a program writes.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Lines kept.
const LINES: usize = 20;
/// Bytes kept of a line. A guest may have a say in what its hypervisor prints.
const LINE: usize = 400;
/// How long the rest may take to come after the program has ended: a child of its own may hold the
/// pipe.
const PATIENCE: Duration = Duration::from_millis(300);

/// Reads to the end what a program writes, so that it never waits, and keeps the last lines.
#[derive(Debug, Default)]
pub struct Tail {
    lines: Arc<Mutex<Lines>>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Lines {
    whole: VecDeque<String>,
    begun: Vec<u8>,
}

impl Tail {
    /// Starts reading.
    pub fn of(mut from: impl Read + Send + 'static) -> Tail {
        let lines = Arc::new(Mutex::new(Lines::default()));
        let to = Arc::clone(&lines);
        let reader = thread::Builder::new().name("stderr".into()).spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = from.read(&mut buffer) {
                lock(&to).add(&buffer[..n]);
            }
        });
        Tail {
            lines,
            reader: reader.ok(),
        }
    }

    /// The lines. With `ended`, waits a moment for what is still on its way.
    pub fn text(&self, ended: bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        while ended
            && self.reader.as_ref().is_some_and(|r| !r.is_finished())
            && Instant::now() < deadline
        {
            thread::sleep(Duration::from_millis(5));
        }
        let lines = lock(&self.lines);
        let mut text: Vec<String> = lines.whole.iter().cloned().collect();
        if !lines.begun.is_empty() {
            text.push(readable(&lines.begun));
        }
        text.join("\n")
    }
}

impl Lines {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' => {
                    let line = readable(&std::mem::take(&mut self.begun));
                    if !line.trim().is_empty() {
                        self.whole.push_back(line);
                    }
                    if self.whole.len() > LINES {
                        self.whole.pop_front();
                    }
                }
                _ if self.begun.len() < LINE => self.begun.push(*byte),
                _ => {}
            }
        }
    }
}

/// Without what a terminal would obey.
fn readable(line: &[u8]) -> String {
    String::from_utf8_lossy(line)
        .chars()
        .filter(|c| *c == '\t' || !c.is_control())
        .collect()
}

fn lock(lines: &Mutex<Lines>) -> MutexGuard<'_, Lines> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}
