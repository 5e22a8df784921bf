// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Looking for requests without sleeping, for a while after the last one.
//!
//! Only where it pays: while requests come in so quickly that the window catches the next. A ring
//! that is idle, or busy at a leisurely pace, sleeps. So does one whose window ran out although the
//! next request was near: there, polling has most likely kept the guest from a processor that it
//! needed to ask. The more often that happens, the longer it is not tried again.

use std::time::{Duration, Instant};

/// After so many requests that a window caught in turn, the pause after a miss is halved.
const HITS: u32 = 64;
/// The longest pause is 2 to the power of this many sleeps.
const LONGEST: u32 = 12;

/// Whether a ring's thread polls now.
pub(super) struct Poll {
    window: Duration,
    /// The last sleep was short.
    pays: bool,
    until: Option<Instant>,
    /// The window has passed without a request.
    missed: bool,
    /// Requests that a window has caught since this was last looked at.
    hits: u32,
    /// The pause after a miss is 2 to the power of this many sleeps.
    caution: u32,
    /// So many sleeps are left before polling is tried again.
    pause: u32,
}

impl Poll {
    /// Of this length, from one request to the next; zero: never polls.
    pub(super) fn new(window: Duration) -> Poll {
        Poll {
            window,
            pays: false,
            until: None,
            missed: false,
            hits: 0,
            caution: 0,
            pause: 0,
        }
    }

    /// Whether to look again instead of sleeping.
    pub(super) fn goes_on(&mut self) -> bool {
        let Some(until) = self.until else {
            return false;
        };
        let open = Instant::now() < until;
        if !open {
            self.until = None;
            self.missed = true;
        }
        open
    }

    /// There was a request.
    pub(super) fn restart(&mut self) {
        if !self.pays {
            return;
        }
        let now = Instant::now();
        // It came in time, but this thread had to wait for a processor itself.
        if self.missed || self.until.is_some_and(|until| now >= until) {
            self.rest();
            return;
        }
        if self.until.is_some() {
            self.hits += 1;
        }
        if self.hits >= HITS {
            self.hits = 0;
            self.caution = self.caution.saturating_sub(1);
        }
        self.until = Some(now + self.window);
    }

    /// There was none for so long, asleep.
    pub(super) fn woke_after(&mut self, slept: Duration) {
        self.until = None;
        if slept >= self.window {
            self.missed = false;
            self.pays = false;
        } else if self.missed {
            self.rest();
        } else {
            self.pause = self.pause.saturating_sub(1);
            self.pays = self.pause == 0;
        }
    }

    /// Sleeps for some time, and for longer the next time.
    fn rest(&mut self) {
        self.until = None;
        self.missed = false;
        self.pays = false;
        self.hits = 0;
        self.pause = 1 << self.caution;
        self.caution = (self.caution + 1).min(LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn begins_when_requests_come_quickly_and_ends_when_they_do_not() {
        let mut poll = Poll::new(LONG);
        poll.restart();
        assert!(!poll.goes_on(), "the first request says nothing");
        poll.woke_after(LONG / 2);
        poll.restart();
        assert!(poll.goes_on());
        poll.woke_after(LONG * 2);
        poll.restart();
        assert!(!poll.goes_on());
    }

    #[test]
    fn without_a_window_it_never_polls() {
        let mut poll = Poll::new(Duration::ZERO);
        poll.woke_after(Duration::ZERO);
        poll.restart();
        assert!(!poll.goes_on());
    }

    /// How many short sleeps it takes until a request makes it poll again.
    fn sleeps_until_polling(poll: &mut Poll) -> u32 {
        for sleeps in 1.. {
            poll.woke_after(Duration::ZERO);
            poll.restart();
            if poll.goes_on() {
                return sleeps;
            }
        }
        unreachable!()
    }

    /// Lets a window run out.
    fn miss(poll: &mut Poll) {
        poll.until = Some(Instant::now());
        assert!(!poll.goes_on());
    }

    #[test]
    fn windows_that_run_out_before_a_near_request_make_it_rest_ever_longer() {
        let mut poll = Poll::new(LONG);
        assert_eq!(sleeps_until_polling(&mut poll), 1);
        let mut rests = Vec::new();
        for _ in 0..LONGEST + 2 {
            miss(&mut poll);
            poll.woke_after(Duration::ZERO);
            rests.push(sleeps_until_polling(&mut poll));
        }
        let longest = 1 << LONGEST;
        assert_eq!(rests[..4], [1, 2, 4, 8]);
        assert_eq!(rests[rests.len() - 2..], [longest, longest]);
        // Requests caught make it bolder again.
        for _ in 0..HITS {
            poll.restart();
        }
        miss(&mut poll);
        poll.woke_after(Duration::ZERO);
        assert_eq!(sleeps_until_polling(&mut poll), longest / 2);
    }

    #[test]
    fn a_request_found_too_late_is_a_miss_and_a_long_sleep_is_none() {
        let mut poll = Poll::new(LONG);
        sleeps_until_polling(&mut poll);
        miss(&mut poll);
        poll.restart();
        assert!(!poll.goes_on());
        assert_eq!(poll.caution, 1);
        sleeps_until_polling(&mut poll);
        miss(&mut poll);
        poll.woke_after(LONG);
        assert_eq!(poll.caution, 1);
    }
}
