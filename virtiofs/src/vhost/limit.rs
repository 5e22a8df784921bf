// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Keeps what a guest can provoke out of the log, after the first few times.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets a few lines through at once and then one for each [`Limit::PERIOD`].
#[derive(Debug)]
pub(super) struct Limit {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    tokens: u32,
    refilled: Instant,
    suppressed: u64,
}

impl Limit {
    const BURST: u32 = 8;
    const PERIOD: Duration = Duration::from_secs(10);

    pub(super) fn new() -> Limit {
        let state = State {
            tokens: Limit::BURST,
            refilled: Instant::now(),
            suppressed: 0,
        };
        Limit {
            state: Mutex::new(state),
        }
    }

    /// Whether a line may be written now, and how many were not written before it.
    pub(super) fn allow(&self) -> Option<u64> {
        self.allow_at(Instant::now())
    }

    fn allow_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let periods =
            now.saturating_duration_since(state.refilled).as_secs() / Limit::PERIOD.as_secs();
        if periods > 0 {
            let more = u32::try_from(periods).unwrap_or(Limit::BURST);
            state.tokens = state.tokens.saturating_add(more).min(Limit::BURST);
            state.refilled = now;
        }
        if state.tokens == 0 {
            state.suppressed += 1;
            return None;
        }
        state.tokens -= 1;
        Some(std::mem::take(&mut state.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_a_trickle() {
        let limit = Limit::new();
        let start = Instant::now();
        let allowed = (0..1000)
            .filter(|_| limit.allow_at(start).is_some())
            .count();
        assert_eq!(allowed, Limit::BURST as usize);
        assert_eq!(
            limit.allow_at(start + Limit::PERIOD * 3 / 2),
            Some(1000 - 8)
        );
        assert_eq!(limit.allow_at(start + Limit::PERIOD * 3 / 2), None);
    }
}
