// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Ending a guest: first it is asked, then it is made to.

use std::time::{Duration, Instant};

use super::Report;
use super::inbox::Wanted;
use crate::agent::Agent;
use crate::control::Connection;

/// How long a hypervisor may take to end when it is told to: it writes out what it has cached.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// How long until the power button is pressed again: a guest that is still booting does not feel it.
const AGAIN: Duration = Duration::from_secs(5);

/// A guest that was asked to power down.
#[derive(Debug)]
pub(super) struct Stopping {
    /// When it is killed.
    deadline: Instant,
    /// When the power button is pressed next, if there is one.
    button: Option<Instant>,
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
        if let Some(agent) = agent {
            agent.shutdown();
            // An agent that does not do it any more may have a kernel that still does.
            return Some(Stopping {
                deadline: now + timeout,
                button: control.is_some().then(|| now + timeout / 2),
            });
        }
        press(control?, report).then_some(Stopping {
            deadline: now + timeout,
            button: Some(now + AGAIN),
        })
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
        if self.button.is_some_and(|at| now >= at) {
            let pressed = control.is_some_and(|control| press(control, report));
            self.button = pressed.then_some(now + AGAIN);
        }
        let next = self.button.unwrap_or(self.deadline);
        Next::Wait(Some(next.min(self.deadline)))
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
