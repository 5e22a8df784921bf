// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A session at this process's standard streams.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rofs_guest::agent::{ExitStatus, StartError, Stream, TerminalSize};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH};
use signal_hook::iterator::Signals;

use super::session::{Input, Said};
use super::{AgentError, Session};

/// How an attached session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attached {
    /// By itself, or it did not start.
    Ended(Result<ExitStatus, StartError>),
    /// The user sent a second signal to end it, and does not want to wait.
    Impatient,
}

/// The size of the terminal at stdin and stdout; `None` if one of them is none.
pub fn terminal_size() -> Option<TerminalSize> {
    tcgetattr(io::stdin()).ok()?;
    let size = tcgetwinsize(io::stdout()).ok()?;
    Some(TerminalSize {
        columns: size.ws_col.max(1),
        rows: size.ws_row.max(1),
    })
}

/// Connects a session's streams with this process's own until it ends.
///
/// With `terminal` (the session has one) this process's terminal is raw meanwhile, and keys such as
/// Ctrl-C are the guest's. Otherwise SIGINT, SIGTERM, SIGHUP and SIGQUIT are passed on, and a second
/// one of them, or one before the guest is there, ends the wait.
///
/// # Errors
///
/// The agent is lost, or the standard streams cannot be used.
pub fn attach(session: Session, terminal: bool) -> Result<Attached, AgentError> {
    let failed = |e: io::Error| AgentError::Lost(format!("this process's own streams: {e}"));
    let _raw = if terminal {
        Some(Raw::enter().map_err(failed)?)
    } else {
        None
    };
    let impatient = Arc::new(AtomicBool::new(false));
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH]).map_err(failed)?;
    let handle = signals.handle();
    spawn("signals", {
        let (input, impatient) = (session.input(), Arc::clone(&impatient));
        move || pass_signals(signals, &input, &impatient)
    })
    .map_err(failed)?;
    spawn("stdin", {
        let input = session.input();
        // It waits for what may never come, and ends with the process.
        move || pass_input(&input)
    })
    .map_err(failed)?;
    let result = pass_output(&session);
    handle.close();
    match result {
        Err(_) if impatient.load(Ordering::Acquire) => Ok(Attached::Impatient),
        result => result.map(Attached::Ended),
    }
}

/// Connects a session's streams with this process's own until it ends, and leaves signals and
/// terminal alone.
///
/// # Errors
///
/// The agent is lost, or there is no thread left.
pub fn pass(session: &Session) -> Result<Result<ExitStatus, StartError>, AgentError> {
    let input = session.input();
    spawn("stdin", move || pass_input(&input)).map_err(|e| AgentError::Lost(e.to_string()))?;
    pass_output(session)
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new()
        .name(name.into())
        .spawn(run)
        .map(drop)
}

fn pass_input(input: &Input) {
    let mut buffer = vec![0; 32 << 10];
    while let Some(room) = input.room() {
        let part = buffer.get_mut(..room.min(32 << 10)).unwrap_or_default();
        match io::stdin().read(part) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Ok(n) if n > 0 => {
                if input.send(part.get(..n).unwrap_or_default()).is_err() {
                    return;
                }
            }
            // A stdin that cannot be read is at its end.
            _ => {
                let _ = input.send(&[]);
                return;
            }
        }
    }
}

fn pass_signals(mut signals: Signals, input: &Input, impatient: &AtomicBool) {
    let mut before = false;
    for signal in signals.forever() {
        if signal == SIGWINCH {
            if let Some(size) = terminal_size() {
                input.resize(size);
            }
        } else if before || !input.guest_is_ready() {
            impatient.store(true, Ordering::Release);
            input.give_up();
        } else {
            before = true;
            input.signal(signal);
        }
    }
}

fn pass_output(session: &Session) -> Result<Result<ExitStatus, StartError>, AgentError> {
    let (mut stdout, mut stderr) = (io::stdout(), io::stderr());
    loop {
        match session.next()? {
            Said::Ended(result) => return Ok(result),
            Said::Output(stream, data) => {
                let to: &mut dyn Write = match stream {
                    Stream::Stderr => &mut stderr,
                    _ => &mut stdout,
                };
                if to.write_all(&data).and_then(|()| to.flush()).is_err() {
                    // As if the command itself had written there.
                    session.input().signal(libc::SIGPIPE);
                }
                session.consumed(stream, data.len());
            }
        }
    }
}

/// A terminal that passes every key on, until dropped.
struct Raw(Termios);

impl Raw {
    fn enter() -> io::Result<Raw> {
        let before = tcgetattr(io::stdin().as_fd())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin().as_fd(), OptionalActions::Now, &raw)?;
        Ok(Raw(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin().as_fd(), OptionalActions::Now, &self.0);
    }
}
