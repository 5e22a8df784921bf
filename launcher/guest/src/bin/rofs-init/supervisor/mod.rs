// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The process that runs commands for the host: the one that the guest was started for, and others
//! as the host asks for them. One thread, one poll, nothing that blocks.

mod channel;
mod session;
mod start;
mod vsock;

use std::io;
use std::path::Path;
use std::process;
use std::time::{Duration, Instant};

use rofs_guest::agent::{
    Exec, Frame, Hello, MAIN_SESSION, MAX_SESSIONS, Problem, StartError, Stream, VERSION,
};
use rofs_guest::config::{AgentDevice, Command, Stdio, Then};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use rustix::time::{ClockId, Timespec};

pub(crate) use channel::Channel;
use session::Session;
use start::{Start, StdioKind};

use crate::console;
use crate::failure::{Context, Failure};
use crate::signals::Signals;

/// What commands find in a system that was switched to.
const SYSTEM_ENV: [(&str, &str); 4] = [
    (
        "PATH",
        "/run/wrappers/bin:/run/current-system/sw/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ),
    ("HOME", "/root"),
    ("USER", "root"),
    ("TERM", "linux"),
];

/// Whether the guest is of no use without its channel.
pub(crate) fn needs_channel(then: &Then) -> bool {
    matches!(then, Then::Run(command) if command.stdio != Stdio::Console)
}

/// Microseconds since the kernel started.
pub(crate) fn boot_time_us() -> u64 {
    let time = rustix::time::clock_gettime(ClockId::Boottime);
    u64::try_from(time.tv_sec * 1_000_000 + time.tv_nsec / 1000).unwrap_or(0)
}

/// Until a system has its programs in place, which NixOS does before it starts any service: who is
/// told that the guest is ready may want to run one. A system that is different is ready in the end.
pub(crate) fn wait_for_system() {
    let deadline = Instant::now() + Duration::from_secs(60);
    let is_there = || {
        ["/run/current-system/sw", "/run/systemd/system"]
            .iter()
            .any(|path| Path::new(path).exists())
    };
    while !is_there() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Tells the host why there will be nothing.
pub(crate) fn tell_last(device: Option<&AgentDevice>, problems: Vec<Problem>) {
    if let Some(Ok(mut channel)) = device.map(Channel::open) {
        for problem in problems {
            channel.send(&Frame::Problem(problem));
        }
        channel.finish();
    }
}

/// Runs `run` in a process of its own.
#[allow(unsafe_code)]
pub(crate) fn fork(run: impl FnOnce() -> io::Result<()>) -> Result<Pid, Failure> {
    // SAFETY: this process has one thread, so the child's memory is as consistent as this one's.
    match unsafe { libc::fork() } {
        0 => {
            let _ = rustix::process::setsid();
            if let Err(e) = run() {
                console::say(&format!("the agent ended: {e}"));
            }
            process::exit(0)
        }
        pid => Pid::from_raw(pid)
            .filter(|_| pid > 0)
            .ok_or_else(io::Error::last_os_error)
            .context(|| "starting the agent".into()),
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Supervisor {
    channel: Option<Channel>,
    signals: Signals,
    sessions: Vec<Session>,
    env: Vec<(String, String)>,
    /// The system's own init is the first process, not ours.
    in_system: bool,
    stop_time: Duration,
    kill_at: Option<Instant>,
}

/// Which descriptor became ready.
#[derive(Clone, Copy, Debug)]
enum Ready {
    Signal,
    Channel,
    Session(usize, Stream),
}

impl Supervisor {
    pub(crate) fn new(
        mut channel: Option<Channel>,
        started_us: u64,
        problems: Vec<Problem>,
        stop_seconds: u32,
    ) -> io::Result<Supervisor> {
        if let Some(channel) = &mut channel {
            let started_us = (started_us, boot_time_us());
            channel.send(&Frame::Hello(Hello {
                version: VERSION,
                started_us,
            }));
            for problem in problems {
                channel.send(&Frame::Problem(problem));
            }
        }
        Ok(Supervisor {
            channel,
            signals: Signals::new(&[libc::SIGCHLD, libc::SIGTERM])?,
            sessions: Vec::new(),
            env: Vec::new(),
            in_system: false,
            stop_time: Duration::from_secs(stop_seconds.into()),
            kill_at: None,
        })
    }

    /// Serves until the main command has ended, or without one until the host is gone.
    pub(crate) fn run(mut self, main: Option<&Command>) -> io::Result<()> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.in_system = main.is_none();
        self.env = main.map_or_else(
            || SYSTEM_ENV.iter().map(own).collect(),
            |main| main.env.clone(),
        );
        if let Some(main) = main {
            let stdio = match main.stdio {
                Stdio::Console => StdioKind::Console,
                Stdio::Agent => StdioKind::Pipes,
                Stdio::AgentTerminal(size) => StdioKind::Terminal(size),
            };
            let start = Start {
                argv: &main.argv,
                env: &main.env,
                cwd: main.cwd.as_deref(),
                stdio,
            };
            match start.session(MAIN_SESSION) {
                Ok(session) => self.sessions.push(session),
                Err(error) => {
                    console::say(&error.text);
                    self.send(&Frame::Failed(MAIN_SESSION, error));
                    self.finish();
                    return Ok(());
                }
            }
        }
        loop {
            self.flush(main);
            if self.channel.is_none() && self.in_system {
                return Ok(());
            }
            for ready in self.wait()? {
                match ready {
                    Ready::Signal => match self.signals.next()? {
                        libc::SIGTERM if self.in_system => return Ok(()),
                        libc::SIGTERM => self.stop(),
                        _ => {}
                    },
                    Ready::Channel => self.serve(main),
                    Ready::Session(index, stream) => {
                        if let (Some(session), Some(channel)) =
                            (self.sessions.get_mut(index), &mut self.channel)
                        {
                            session.pump(stream, channel);
                        }
                    }
                }
            }
            if self.kill_at.is_some_and(|at| at <= Instant::now()) {
                self.signal_all(Signal::KILL);
            }
            if self.collect() {
                self.finish();
                return Ok(());
            }
        }
    }

    /// What is ready, channel first: sessions are found by their place, which it may change.
    fn wait(&self) -> io::Result<Vec<Ready>> {
        let mut keys = vec![Ready::Signal];
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        let room = self.channel.as_ref().is_some_and(Channel::has_room);
        for (index, session) in self.sessions.iter().enumerate() {
            for (stream, fd, interest) in session.interests(room) {
                keys.push(Ready::Session(index, stream));
                fds.push(PollFd::from_borrowed_fd(fd, interest));
            }
        }
        if let Some(channel) = &self.channel {
            keys.push(Ready::Channel);
            fds.push(PollFd::new(channel, channel.interest()));
        }
        let timeout = self.kill_at.map(|at| {
            let left = at.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            Timespec {
                tv_sec: left.as_secs().cast_signed(),
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        let ready = keys
            .iter()
            .zip(&fds)
            .filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ready.map(|(key, _)| *key).collect())
    }

    /// Sends what waits; a host that is gone takes the channel with it.
    fn flush(&mut self, main: Option<&Command>) {
        let result = self.channel.as_mut().map(Channel::flush);
        if let Some(Err(e)) = result {
            self.lose_channel(&e, main);
        }
    }

    /// Does what the host says.
    fn serve(&mut self, main: Option<&Command>) {
        let mut result = self.channel.as_mut().map_or(Ok(()), Channel::receive);
        while result.is_ok() {
            match self.channel.as_mut().map(Channel::next_frame) {
                Some(Ok(Some(frame))) => result = self.obey(frame),
                Some(Err(e)) => result = Err(e),
                Some(Ok(None)) | None => break,
            }
        }
        if let Err(e) = result {
            self.lose_channel(&e, main);
        }
    }

    fn obey(&mut self, frame: Frame) -> io::Result<()> {
        let Some(channel) = &mut self.channel else {
            return Ok(());
        };
        let (Frame::Stdin(id, _)
        | Frame::Window(id, ..)
        | Frame::Resize(id, _)
        | Frame::Signal(id, _)
        | Frame::Exec(id, _)) = frame
        else {
            return match frame {
                Frame::Shutdown => {
                    self.stop();
                    Ok(())
                }
                other => Err(io::Error::other(format!("the host sent {other:?}"))),
            };
        };
        let session = self.sessions.iter_mut().find(|session| session.id == id);
        match (frame, session) {
            (Frame::Exec(_, exec), None) if id != MAIN_SESSION => self.exec(id, &exec),
            (Frame::Exec(..), _) => {
                return Err(io::Error::other(format!("session {id} exists")));
            }
            // The host may not know yet that a session has ended.
            (_, None) => {}
            (Frame::Stdin(_, data), Some(session)) => session.take_input(&data, channel)?,
            (Frame::Window(_, stream, more), Some(session)) => session.widen(stream, more)?,
            (Frame::Resize(_, size), Some(session)) => session.resize(size),
            (Frame::Signal(_, number), Some(session)) => {
                if let Some(signal) = Signal::from_named_raw(number) {
                    session.signal(signal);
                }
            }
            (_, Some(_)) => {}
        }
        Ok(())
    }

    fn exec(&mut self, id: u32, exec: &Exec) {
        if self.sessions.len() >= MAX_SESSIONS {
            let text = format!("the guest runs {MAX_SESSIONS} commands already");
            return self.send(&Frame::Failed(
                id,
                StartError {
                    text,
                    not_found: false,
                },
            ));
        }
        let mut env = self.env.clone();
        env.extend(exec.env.iter().cloned());
        let start = Start {
            argv: &exec.argv,
            env: &env,
            cwd: exec.cwd.as_deref().map(Path::new),
            stdio: exec.terminal.map_or(StdioKind::Pipes, StdioKind::Terminal),
        };
        match start.session(id) {
            Ok(session) => self.sessions.push(session),
            Err(error) => self.send(&Frame::Failed(id, error)),
        }
    }

    /// Looks after the commands that have ended. Whether the main one has.
    fn collect(&mut self) -> bool {
        let mut main_ended = false;
        let channel = &mut self.channel;
        self.sessions
            .retain_mut(|session| match session.ended(channel.as_mut()) {
                None => true,
                Some(status) => {
                    main_ended |= session.id == MAIN_SESSION;
                    if let Some(channel) = channel {
                        channel.send(&Frame::Exit(session.id, status));
                    }
                    false
                }
            });
        main_ended
    }

    /// Ends everything, as asked for.
    fn stop(&mut self) {
        if self.in_system {
            // systemd's request to power off (systemd(1), SIGNALS), or that of sysvinit-like inits.
            let systemd = Path::new("/run/systemd/system").exists();
            let signal = if systemd {
                libc::SIGRTMIN() + 4
            } else {
                libc::SIGUSR2
            };
            if let Err(e) = signal_init(signal) {
                console::say(&format!(
                    "the system's init was not asked to power off: {e}"
                ));
            }
        } else if self.kill_at.is_none() {
            self.signal_all(Signal::TERM);
            // A shell at a terminal only minds this one.
            for session in self.sessions.iter().filter(|session| session.at_terminal()) {
                session.signal(Signal::HUP);
            }
            self.kill_at = Some(Instant::now() + self.stop_time);
        }
    }

    fn signal_all(&self, signal: Signal) {
        for session in &self.sessions {
            session.signal(signal);
        }
    }

    fn send(&mut self, frame: &Frame) {
        if let Some(channel) = &mut self.channel {
            channel.send(frame);
        }
    }

    /// Nobody is left to serve, or the host makes no sense.
    fn lose_channel(&mut self, e: &io::Error, main: Option<&Command>) {
        console::say(&format!("the channel to the host is gone: {e}"));
        self.channel = None;
        let needed = main.is_some_and(|main| main.stdio != Stdio::Console);
        for session in &self.sessions {
            if session.id != MAIN_SESSION || needed {
                session.signal(Signal::KILL);
            }
        }
    }

    fn finish(&mut self) {
        self.signal_all(Signal::KILL);
        if let Some(channel) = &mut self.channel {
            channel.finish();
        }
    }
}

#[allow(unsafe_code)]
fn signal_init(signal: i32) -> io::Result<()> {
    // SAFETY: kill has no memory effects.
    match unsafe { libc::kill(1, signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
