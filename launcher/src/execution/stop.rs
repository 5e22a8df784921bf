// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Ending a guest: first it is asked, then it is made to.

use std::time::{Duration, Instant};

use super::Report;
use super::inbox::Wanted;
use crate::agent::Agent;
use crate::control::Connection;

/// How long a hypervisor may take to end when it is told to: it writes out what it has cached.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// How long until it is asked again: a guest that is still booting may not mind.
const AGAIN: Duration = Duration::from_secs(5);

/// A guest that was asked to power down.
#[derive(Debug)]
pub(super) struct Stopping {
    agent: Option<Agent>,
    /// From when on the power button is pressed, too: an agent that does not do it any more may
    /// have a kernel that still does.
    button: Instant,
    /// When it is asked again.
    again: Instant,
    /// When it is killed.
    deadline: Instant,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Wait, at most until then.
    Wait(Option<Instant>),
    /// Kill the guest, which somebody wants.
    Kill,
    /// Kill the guest, whose time is over.
    TimeOver,
}

impl Stopping {
    /// Asks the guest, by its agent if that answers, or else by the power button. `None` if it
    /// cannot be asked.
    pub(super) fn begin(
        agent: Option<&Agent>,
        control: Option<&mut Box<dyn Connection>>,
        timeout: Duration,
        report: &dyn Report,
    ) -> Option<Stopping> {
        let now = Instant::now();
        let mut stopping = Stopping {
            agent: agent.cloned(),
            button: now + agent.map_or(Duration::ZERO, |_| timeout / 2),
            again: now,
            deadline: now + timeout,
        };
        stopping.ask(control, report).then_some(stopping)
    }

    /// Whether there is any way to.
    fn ask(&mut self, control: Option<&mut Box<dyn Connection>>, report: &dyn Report) -> bool {
        let now = Instant::now();
        self.again = now + AGAIN;
        if let Some(agent) = &self.agent {
            agent.shutdown();
        }
        let mut pressed = false;
        if now >= self.button {
            pressed = control.is_some_and(|control| press(control, report));
            if !pressed {
                self.button = self.deadline;
            }
        }
        pressed || self.agent.is_some()
    }

    /// What is due.
    pub(super) fn next(
        &mut self,
        wanted: Wanted,
        control: Option<&mut Box<dyn Connection>>,
        report: &dyn Report,
    ) -> Next {
        let now = Instant::now();
        if wanted == Wanted::Kill {
            return Next::Kill;
        }
        if now >= self.deadline {
            return Next::TimeOver;
        }
        if now >= self.again {
            self.ask(control, report);
        }
        Next::Wait(Some(self.again.min(self.deadline)))
    }
}

fn press(control: &mut Box<dyn Connection>, report: &dyn Report) -> bool {
    match control.power_button() {
        Ok(()) => true,
        Err(e) => {
            report.say(&format!("the power button cannot be pressed: {e}"));
            false
        }
    }
}
