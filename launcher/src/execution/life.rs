// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A machine's life.

use std::io;
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use super::console::Console;
use super::door::{self, Door};
use super::facts::Facts;
use super::guard::Guard;
use super::inbox::{Event, Inbox, Wanted};
use super::prepare::{self, Prepared, prepare, step};
use super::start::{died, start};
use super::stop::{self, Next, Stopping};
use super::terminal::{Interrupt, Keys};
use super::{Options, Outcome, Report, RunError, notify, signals};
use crate::agent::{self, Agent, AgentError};
use crate::control::{self, Connection};
use crate::plan::Plan;
use crate::process::Process;
use crate::state::{Claim, Ended, Phase, Reply};

/// How often everything is looked at, even if nothing was heard.
const LOOK: Duration = Duration::from_secs(1);
/// How long the hypervisor may take to answer at its sockets.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long helpers may take to end.
const HELPERS: Duration = Duration::from_secs(2);

/// Lives it to the end.
pub(super) fn live(plan: &Plan, options: Options<'_>) -> Result<Outcome, RunError> {
    let report = options.report;
    let mut inbox = Inbox::new();
    let _signals = match options.signals {
        true => Some(signals::catch(inbox.sender()).map_err(RunError::io("catch signals"))?),
        false => None,
    };
    for warning in &plan.warnings {
        report.say(&format!("warning: {warning}"));
    }
    if let Some(viewer) = &plan.viewer {
        report.say(&format!("to see the screen: {viewer}"));
    }
    let claim = Claim::take(&plan.runtime_dir)?;
    let guard = Guard::start(claim.lock().as_fd(), &plan.name)
        .map_err(RunError::io("start the process that clears up"))?;
    prepare::announce(plan, &guard);
    let door = Door::open(claim.dir(), Facts::new(plan), inbox.sender())?;

    let result = prepare(plan, &guard, &mut inbox, report)
        .and_then(|prepared| with_hypervisor(plan, options, prepared, &guard, &mut inbox, &door));
    report.done();
    notify::stopping();

    // What clients wait for is that nothing is left.
    for process in prepare::processes(plan) {
        for socket in &process.sockets {
            let _ = std::fs::remove_file(socket);
        }
    }
    drop(guard);
    drop(claim);
    let ended = match &result {
        Ok(_) => Ended::PoweredDown,
        Err(e @ (RunError::Killed | RunError::Unresponsive(_))) => Ended::Killed(e.to_string()),
        Err(e) => Ended::Failed(e.to_string()),
    };
    inbox.wanted();
    for mut client in inbox.waiting {
        let _ = door::tell(&mut client, &Reply::Ended(ended.clone()));
    }
    result
}

/// From the hypervisor's start to the end of the last program.
fn with_hypervisor(
    plan: &Plan,
    options: Options<'_>,
    prepared: Prepared,
    guard: &Guard,
    inbox: &mut Inbox,
    door: &Door,
) -> Result<Outcome, RunError> {
    if inbox.wanted() != Wanted::Nothing {
        return Err(RunError::Interrupted);
    }
    let hypervisor = start(&plan.hypervisor, guard, inbox)?;
    door.update(|facts| {
        facts.set_hypervisor(hypervisor.pid());
        facts.set_phase(Phase::Booting);
    });
    connect(plan, inbox)?;
    let keys = match options.console {
        true => Keys::take(Interrupt::Us).map_err(RunError::io("use the terminal"))?,
        false => None,
    };
    let mut machine = Machine {
        plan,
        report: options.report,
        door,
        hypervisor,
        prepared,
        console: None,
        show_console: options.console,
        control: None,
        agent: None,
        ready: false,
        exit_status: None,
        problem: None,
        stopping: None,
    };
    if let Some(channel) = &plan.agent {
        let agent = Agent::connect(channel, PATIENCE).map_err(RunError::io("start a thread"))?;
        if let Some(hook) = options.on_agent {
            hook(agent.clone(), inbox.stopper());
        }
        listen(&agent, inbox).map_err(RunError::io("start a thread"))?;
        machine.agent = Some(agent);
    }
    if !options.console {
        step(
            options.report,
            &format!("waiting for {} to boot", plan.name),
        );
    }
    let result = machine.run(inbox);
    drop(keys);
    machine.end();
    result
}

/// Connects to the hypervisor's control socket, which may take a while, and tells the inbox.
fn connect(plan: &Plan, inbox: &Inbox) -> Result<(), RunError> {
    let (control, events) = (plan.control.clone(), inbox.sender());
    thread::Builder::new()
        .name("control".into())
        .spawn(move || events.send(Event::Control(control::connect(&control, PATIENCE))))
        .map(drop)
        .map_err(RunError::io("start a thread"))
}

/// Puts what the guest says into the inbox.
fn listen(agent: &Agent, inbox: &Inbox) -> io::Result<()> {
    let (agent, events) = (agent.clone(), inbox.sender());
    let pass_on = move || {
        loop {
            let event = match agent.event(Duration::from_secs(3600)) {
                Ok(event) => event,
                Err(AgentError::Silent(_)) => continue,
                Err(e @ AgentError::Lost(_)) => {
                    log::info!("{e}");
                    return;
                }
            };
            if events.send(Event::Guest(event)).is_err() {
                return;
            }
        }
    };
    thread::Builder::new()
        .name("agent-events".into())
        .spawn(pass_on)
        .map(drop)
}

/// A machine whose hypervisor runs.
struct Machine<'a> {
    plan: &'a Plan,
    report: &'a dyn Report,
    door: &'a Door,
    hypervisor: Process,
    prepared: Prepared,
    console: Option<Console>,
    show_console: bool,
    control: Option<Box<dyn Connection>>,
    agent: Option<Agent>,
    ready: bool,
    exit_status: Option<u8>,
    /// What the guest said is wrong with it.
    problem: Option<String>,
    stopping: Option<Stopping>,
}

impl Machine<'_> {
    /// Until the hypervisor has ended, or has to.
    fn run(&mut self, inbox: &mut Inbox) -> Result<Outcome, RunError> {
        let mut wait = LOOK;
        loop {
            if let Some(event) = inbox.next(wait) {
                self.happened(event)?;
            }
            // The hypervisor first: others may have ended because of it.
            if self.hypervisor.try_wait().is_some() {
                return self.ended(inbox.wanted());
            }
            for helper in &mut self.prepared.helpers {
                if let Some(error) = died(helper) {
                    // It may have been the hypervisor's end that ended it.
                    if self.hypervisor.wait(HELPERS).is_some() {
                        return self.ended(inbox.wanted());
                    }
                    return Err(error);
                }
            }
            if let Some(why) = inbox.lost.take() {
                if self.hypervisor.wait(HELPERS).is_some() {
                    return self.ended(inbox.wanted());
                }
                return Err(RunError::ShareLost(why));
            }
            wait = self.obey(inbox.wanted())?;
        }
    }

    fn happened(&mut self, event: Event) -> Result<(), RunError> {
        match event {
            Event::Control(Ok(control)) => {
                self.control = Some(control);
                self.take_console();
                if self.plan.agent.is_none() {
                    self.is_ready();
                }
            }
            // If it is because the hypervisor has ended, that is what to tell.
            Event::Control(Err(e))
                if self.hypervisor.wait(Duration::from_millis(500)).is_none() =>
            {
                return Err(RunError::Io {
                    what: format!("talk to {}", self.plan.hypervisor.name),
                    why: io::Error::other(e),
                });
            }
            Event::Control(Err(_)) => {}
            Event::Guest(agent::Event::Ready(agent::Ready { kernel, total, .. })) => {
                log::info!(
                    "the guest is ready, {total:?} after its kernel began, {kernel:?} of it the kernel"
                );
                self.door.update(Facts::set_agent);
                if let Some(agent) = &self.agent {
                    self.door.set_agent(agent.clone());
                }
                self.is_ready();
            }
            Event::Guest(agent::Event::Problem { text, fatal }) => {
                self.report.say(&format!("the guest says: {text}"));
                if fatal {
                    self.problem = Some(text);
                }
            }
            Event::Guest(agent::Event::Ended(result)) => {
                self.exit_status = Some(match result {
                    Ok(status) => status.code(),
                    Err(why) => {
                        self.report
                            .say(&format!("the guest's command: {}", why.text));
                        why.code()
                    }
                });
            }
            // That it has ended is seen by looking.
            _ => {}
        }
        Ok(())
    }

    /// Connects to the console, for this terminal and for whoever asks.
    fn take_console(&mut self) {
        let Some(plan) = &self.plan.console else {
            return;
        };
        let console = match Console::connect(plan) {
            Ok(console) => console,
            Err(e) => {
                return self
                    .report
                    .say(&format!("the console cannot be reached: {e}"));
            }
        };
        self.door.set_console(console.clone());
        if self.show_console {
            let typing = console.clone();
            let shown = console.listen(io::stdout()).and_then(|()| {
                thread::Builder::new()
                    .name("stdin".into())
                    .spawn(move || typing.type_from(io::stdin()))
            });
            if let Err(e) = shown {
                self.report
                    .say(&format!("the console cannot be shown: {e}"));
            }
        }
        self.console = Some(console);
    }

    fn is_ready(&mut self) {
        if !self.ready {
            self.ready = true;
            self.report.done();
            self.door.update(|facts| facts.set_phase(Phase::Running));
            if self.stopping.is_none() {
                notify::ready();
            }
        }
    }

    /// Does what is wanted; how long nothing will be to do, then.
    fn obey(&mut self, wanted: Wanted) -> Result<Duration, RunError> {
        if wanted == Wanted::Nothing {
            return Ok(LOOK);
        }
        if self.stopping.is_none() && wanted == Wanted::PowerDown {
            notify::stopping();
            self.door.update(|facts| facts.set_phase(Phase::Stopping));
            if self.show_console {
                self.report
                    .say("powering down; Ctrl-C again to kill the virtual machine");
            } else {
                step(self.report, &format!("powering {} down", self.plan.name));
            }
            let agent = self.agent.as_ref().filter(|_| self.ready);
            let timeout = self.plan.stop_timeout;
            self.stopping = Stopping::begin(agent, self.control.as_mut(), timeout, self.report);
        }
        let next = match &mut self.stopping {
            Some(stopping) => stopping.next(wanted, self.control.as_mut(), self.report),
            // Somebody wants it killed, or it cannot be asked.
            None => Next::Kill,
        };
        match next {
            Next::Wait(until) => {
                let left = until.map(|at| at.saturating_duration_since(Instant::now()));
                Ok(left.unwrap_or(LOOK).min(LOOK))
            }
            Next::Kill if wanted == Wanted::PowerDown => Ok({
                // It has not come up far enough to be asked.
                self.hypervisor.end(stop::PATIENCE);
                Duration::ZERO
            }),
            Next::Kill => Err(RunError::Killed),
            Next::TimeOver => Err(RunError::Unresponsive(self.plan.stop_timeout.as_secs())),
        }
    }

    /// The hypervisor has ended by itself.
    fn ended(&mut self, wanted: Wanted) -> Result<Outcome, RunError> {
        let succeeded = self
            .hypervisor
            .try_wait()
            .is_some_and(|status| status.success());
        if let Some(words) = self.problem.take() {
            return Err(RunError::NeverReady { words });
        }
        if !succeeded
            && wanted == Wanted::Nothing
            && let Some(error) = died(&mut self.hypervisor)
        {
            return Err(error);
        }
        if !self.ready && self.exit_status.is_none() && wanted == Wanted::Nothing {
            let words = self.console.as_ref().map(Console::last_words);
            return Err(RunError::NeverReady {
                words: words.unwrap_or_default(),
            });
        }
        Ok(Outcome {
            exit_status: self.exit_status,
        })
    }

    /// Ends what still runs.
    fn end(&mut self) {
        if let Some(agent) = &self.agent {
            agent.close();
        }
        self.hypervisor.end(stop::PATIENCE);
        for helper in &self.prepared.helpers {
            helper.signal(rustix::process::Signal::TERM);
        }
        for helper in &mut self.prepared.helpers {
            helper.end(HELPERS);
        }
    }
}
