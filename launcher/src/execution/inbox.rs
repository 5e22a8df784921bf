// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Everything that can happen, in one queue.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use crate::agent;
use crate::control::{Connection, ControlError};

/// Something that happened.
pub(super) enum Event {
    /// A signal that asks to stop.
    Signal,
    /// Somebody in this process wants the end.
    Wanted(Wanted),
    /// A program has ended; which one is for the receiver to see.
    Ended,
    /// A share is not served any more.
    ShareLost(String),
    /// A client asks to stop, and waits to be told that nothing is left.
    Stop { kill: bool, client: UnixStream },
    /// The hypervisor answers, or never will.
    Control(Result<Box<dyn Connection>, ControlError>),
    /// The guest says something.
    Guest(agent::Event),
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Event::Signal => "Signal",
            Event::Wanted(_) => "Wanted",
            Event::Ended => "Ended",
            Event::ShareLost(_) => "ShareLost",
            Event::Stop { .. } => "Stop",
            Event::Control(_) => "Control",
            Event::Guest(_) => "Guest",
        })
    }
}

/// How urgently somebody wants the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wanted {
    Nothing,
    PowerDown,
    Kill,
}

/// Asks for a machine's end from another thread.
#[derive(Clone, Debug)]
pub struct Stopper(Sender<Event>);

impl Stopper {
    /// Lets the guest power down.
    pub fn power_down(&self) {
        let _ = self.0.send(Event::Wanted(Wanted::PowerDown));
    }

    /// Ends it at once.
    pub fn kill(&self) {
        let _ = self.0.send(Event::Wanted(Wanted::Kill));
    }
}

/// The queue, and what is to be remembered of what came.
#[derive(Debug)]
pub(super) struct Inbox {
    sender: Sender<Event>,
    receiver: Receiver<Event>,
    wanted: Wanted,
    /// What came while only what is wanted was asked for.
    later: VecDeque<Event>,
    /// Who waits for the end.
    pub(super) waiting: Vec<UnixStream>,
    /// A share that is lost.
    pub(super) lost: Option<String>,
}

impl Inbox {
    pub(super) fn new() -> Inbox {
        let (sender, receiver) = channel();
        Inbox {
            sender,
            receiver,
            wanted: Wanted::Nothing,
            later: VecDeque::new(),
            waiting: Vec::new(),
            lost: None,
        }
    }

    /// A way for others to end it all.
    pub(super) fn stopper(&self) -> Stopper {
        Stopper(self.sender())
    }

    /// Where to put events.
    pub(super) fn sender(&self) -> Sender<Event> {
        self.sender.clone()
    }

    /// What is wanted, with all that has come until now.
    pub(super) fn wanted(&mut self) -> Wanted {
        while let Ok(event) = self.receiver.try_recv() {
            let other = self.note(event);
            self.later.extend(other);
        }
        self.wanted
    }

    /// The next event that is more than to be remembered; none after `limit`, or when what is
    /// remembered has changed.
    pub(super) fn next(&mut self, limit: Duration) -> Option<Event> {
        if let Some(event) = self.later.pop_front() {
            return Some(event);
        }
        match self.receiver.recv_timeout(limit) {
            Ok(event) => self.note(event),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
        }
    }

    fn note(&mut self, event: Event) -> Option<Event> {
        match event {
            // A second signal is impatient.
            Event::Signal => {
                self.wanted = match self.wanted {
                    Wanted::Nothing => Wanted::PowerDown,
                    Wanted::PowerDown | Wanted::Kill => Wanted::Kill,
                };
            }
            Event::Wanted(wanted) => self.wanted = self.wanted.max(wanted),
            Event::Stop { kill, client } => {
                let asked = if kill {
                    Wanted::Kill
                } else {
                    Wanted::PowerDown
                };
                self.wanted = self.wanted.max(asked);
                self.waiting.push(client);
            }
            Event::ShareLost(why) => self.lost = self.lost.take().or(Some(why)),
            other => return Some(other),
        }
        None
    }

    /// Puts [`Event::Ended`] into the queue when the program that `pidfd` stands for has ended.
    pub(super) fn watch(&self, pidfd: OwnedFd) {
        let sender = self.sender();
        let wait = move || {
            let mut polled = [PollFd::new(&pidfd, PollFlags::IN)];
            while let Err(rustix::io::Errno::INTR) = poll(&mut polled, None) {}
            let _ = sender.send(Event::Ended);
        };
        if thread::Builder::new()
            .name("watch".into())
            .spawn(wait)
            .is_err()
        {
            log::warn!("no thread left to watch a program; it is looked at every second");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_came_is_forgotten() {
        let mut inbox = Inbox::new();
        let sender = inbox.sender();
        for event in [Event::Ended, Event::Signal, Event::Ended] {
            sender.send(event).unwrap();
        }
        assert_eq!(inbox.wanted(), Wanted::PowerDown);
        for _ in 0..2 {
            let event = inbox.next(Duration::ZERO);
            assert!(matches!(event, Some(Event::Ended)), "{event:?}");
        }
        assert!(inbox.next(Duration::ZERO).is_none());
    }
}
