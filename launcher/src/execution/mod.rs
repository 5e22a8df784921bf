// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Carrying out a plan: from the lock of the machine's name to the last socket removed.
//!
//! [`run`] is the supervisor. It starts everything from its own thread, in the order of the plan,
//! and stays until nothing is left. Whatever ends (the guest, the hypervisor, a helper, a share)
//! ends all of it; whoever ends it (a signal, `rofs-vm stop`), the guest is asked to power down
//! first, and killed when its time is over. If the supervisor itself is killed, the programs die
//! with it and the `guard` removes what is left.

mod console;
mod door;
mod error;
mod facts;
mod gc_roots;
mod guard;
mod inbox;
mod life;
mod notify;
mod prepare;
mod report;
mod signals;
mod start;
mod stop;
mod terminal;

pub use self::error::RunError;
pub use self::inbox::Stopper;
pub use self::report::{OnStderr, Report};
pub use self::terminal::{Interrupt, Keys};

use std::fmt;

use crate::agent::Agent;
use crate::plan::Plan;

/// What is done with the guest's agent before the guest starts.
pub type OnAgent = Box<dyn FnOnce(Agent, Stopper) + Send>;

/// How a plan is carried out.
pub struct Options<'a> {
    /// Who is told how it goes.
    pub report: &'a dyn Report,
    /// The console is shown on standard output, and standard input typed into it.
    pub console: bool,
    /// SIGINT, SIGTERM and SIGHUP power the guest down, and kill it the second time. They are
    /// caught for good: the caller should not live long afterwards.
    pub signals: bool,
    /// Called with the agent, if the guest has one.
    pub on_agent: Option<OnAgent>,
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("console", &self.console)
            .field("signals", &self.signals)
            .finish_non_exhaustive()
    }
}

/// How a guest ended that powered down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The exit status of the command that the guest was for, as a shell has it.
    pub exit_status: Option<u8>,
}

/// Runs a machine until nothing of it is left. To be called from a thread that ends only with the
/// process, or after this has returned: the programs are tied to it.
///
/// # Errors
/// [`RunError`]: it could not be started, or ended otherwise than by powering down. Nothing is left
/// then either.
pub fn run(plan: &Plan, options: Options<'_>) -> Result<Outcome, RunError> {
    life::live(plan, options)
}
