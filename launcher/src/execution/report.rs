// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Telling people how it goes.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What takes less than this is not worth a word.
const SOON: Duration = Duration::from_secs(1);

/// Who is told how it goes.
pub trait Report: Send + Sync {
    /// This is being done now, and may take a while; the step before is done.
    fn step(&self, what: &str);
    /// The last step is done.
    fn done(&self);
    /// A person should know this.
    fn say(&self, what: &str);
}

/// Tells it on standard error: sentences always, and on a terminal what is being done, once it
/// takes longer than a second.
#[derive(Debug, Default)]
pub struct OnStderr {
    shown: Arc<Mutex<Shown>>,
}

#[derive(Debug, Default)]
struct Shown {
    bar: Option<ProgressBar>,
    /// Counts the steps, so that a late spinner knows that its step is over.
    step: u64,
}

impl OnStderr {
    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> u64 {
        let mut shown = self.shown();
        if let Some(bar) = shown.bar.take() {
            bar.finish_and_clear();
        }
        shown.step += 1;
        shown.step
    }
}

impl Report for OnStderr {
    fn step(&self, what: &str) {
        log::info!("{what}");
        let number = self.next();
        if !std::io::stderr().is_terminal() {
            return;
        }
        let (shown, what) = (Arc::clone(&self.shown), what.to_owned());
        let late = move || {
            thread::sleep(SOON);
            let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
            if shown.step == number {
                let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
                if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
                    bar.set_style(style);
                }
                bar.set_message(what);
                bar.set_elapsed(SOON);
                bar.enable_steady_tick(Duration::from_millis(120));
                shown.bar = Some(bar);
            }
        };
        let _ = thread::Builder::new().name("progress".into()).spawn(late);
    }

    fn done(&self) {
        self.next();
    }

    fn say(&self, what: &str) {
        let write = || _ = writeln!(std::io::stderr(), "rofs-vm: {what}");
        match &self.shown().bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}
