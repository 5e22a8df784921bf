// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The process outside the sandbox: it starts the server, passes signals on to it, and removes
//! sockets and mounts when it has ended, however it ended.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use ::caps::Capability;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, waitpid};

use crate::closure::channel::{self, Inbox, Outbox};
use crate::closure::watch::Watcher;
use crate::config::Config;
use crate::doors::{Door, Doors};
use crate::failure::{Failure, Outcome};
use crate::listen::SocketFile;
use crate::sandbox::namespace::{self, Side};
use crate::sandbox::{self, caps, idmap};
use crate::server::Shown;
use crate::signals::{STOP, Signals};
use crate::{REFUSED, notify, server, tell};

/// A server that was asked to stop and has not by then is killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves in a child process. Returns in this process only, with the child's exit status.
pub(crate) fn run(config: &Config, doors: Doors) -> Outcome<u8> {
    let pipe = || {
        pipe_with(PipeFlags::CLOEXEC).map_err(|e| Failure::new(format!("cannot make a pipe: {e}")))
    };
    let (go_in, go_out) = pipe()?;
    let (ready_in, ready_out) = pipe()?;
    let (changes_in, changes_out) = channel::pair()?;
    let new_user = sandbox::needs_user_namespace(config);
    match namespace::fork(config.sandbox, new_user)? {
        Side::Child => {
            drop((go_out, ready_in, changes_out));
            std::process::exit(child(config, doors, go_in, ready_out, changes_in).into())
        }
        Side::Parent(pid) => {
            drop((go_in, ready_out, changes_in));
            let pipes = (go_out, ready_in, changes_out);
            parent(config, doors, pid, pipes, new_user)
        }
    }
}

fn child(config: &Config, doors: Doors, go: OwnedFd, ready: OwnedFd, changes: Inbox) -> u8 {
    let watches_lists = doors.lists.any();
    drop(doors.lists);
    let closures = doors.closures.into_iter();
    let shown = Shown {
        closures: closures.map(|chosen| Some(chosen?.set)).collect(),
        changes: watches_lists.then_some(changes),
    };
    // What the parent will remove is not for this process to remove too.
    doors.files.into_iter().for_each(SocketFile::leave);
    for door in &doors.doors {
        if let Door::Mount(mount) = door {
            std::mem::forget(mount.clone());
        }
    }
    let result = rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|e| Failure::new(format!("cannot be tied to the parent process: {e}")))
        .and_then(|()| {
            // Nothing comes if the parent failed, or died before it could take us along.
            let told = rustix::io::read(&go, &mut [0_u8; 1]) == Ok(1);
            drop(go);
            if told {
                server::inside(config, doors.doors, doors.roots, shown, ready)
            } else {
                Ok(REFUSED)
            }
        });
    result.unwrap_or_else(|failure| {
        tell(&failure);
        REFUSED
    })
}

fn parent(
    config: &Config,
    doors: Doors,
    child: Pid,
    (go, ready, changes): (OwnedFd, OwnedFd, Outbox),
    new_user: bool,
) -> Outcome<u8> {
    // A connection must end when the child closes it, so no copy may stay here. Mounts do.
    let Doors {
        mut doors,
        roots,
        closures,
        lists,
        files,
    } = doors;
    doors.retain(|door| matches!(door, Door::Mount(_)));
    let mut watcher = Watcher::new(lists, closures, roots, changes);
    let started = (|| {
        if new_user {
            idmap::write(child, &config.uid_map, &config.gid_map)?;
        }
        let keep: &[Capability] = match config.mounts() {
            true => &[Capability::CAP_DAC_OVERRIDE, Capability::CAP_SYS_ADMIN],
            false => &[Capability::CAP_DAC_OVERRIDE],
        };
        caps::keep_only(keep)?;
        let signals = Signals::new(&[&STOP[..], &[libc::SIGCHLD]].concat())
            .map_err(|e| Failure::new(format!("cannot receive signals: {e}")))?;
        rustix::io::write(&go, &[1])
            .map_err(|e| Failure::new(format!("the server process did not start: {e}")))?;
        Ok(signals)
    })();
    match started {
        Ok(signals) => {
            let code = watch(child, &signals, ready, &mut watcher);
            drop((doors, files));
            Ok(code)
        }
        Err(failure) => {
            drop(go);
            let _ = kill_process(child, Signal::KILL);
            let _ = waitpid(Some(child), WaitOptions::empty());
            Err(failure)
        }
    }
}

/// Until the child has ended.
fn watch(child: Pid, signals: &Signals, ready: OwnedFd, watcher: &mut Watcher) -> u8 {
    let mut ready = Some(ready);
    let mut deadline: Option<Instant> = None;
    loop {
        if let Ok(Some((_, status))) = waitpid(Some(child), WaitOptions::NOHANG) {
            notify::stopping();
            return exit_code(status);
        }
        let mut polled = vec![PollFd::new(signals, PollFlags::IN)];
        polled.extend(
            ready
                .as_ref()
                .map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)),
        );
        let to_poll = |fd, flags| PollFd::from_borrowed_fd(fd, flags);
        polled.extend(watcher.fd().map(|fd| to_poll(fd, PollFlags::IN)));
        polled.extend(watcher.outgoing().map(|fd| to_poll(fd, PollFlags::OUT)));
        let timeout = deadline.map(|d| d.saturating_duration_since(Instant::now()));
        let timeout = timeout.and_then(|left| Timespec::try_from(left).ok());
        let came = poll(&mut polled, timeout.as_ref());
        let news = ready.is_some() && polled.get(1).is_some_and(|fd| !fd.revents().is_empty());
        watcher.work();
        if came == Ok(0) {
            log::error!("the server does not stop; killing it");
            let _ = kill_process(child, Signal::KILL);
            deadline = None;
        }
        if news && let Some(fd) = ready.take() {
            // A byte says that it serves; the end of the pipe, that it never will.
            if rustix::io::read(&fd, &mut [0_u8; 1]) == Ok(1) {
                notify::ready();
            }
        }
        while let Some(signal) = signals.next() {
            if STOP.contains(&signal) {
                notify::stopping();
                // Whichever it was, it means the same to the server.
                let _ = kill_process(child, Signal::TERM);
                deadline.get_or_insert(Instant::now() + PATIENCE);
            }
        }
    }
}

fn exit_code(status: WaitStatus) -> u8 {
    if let Some(signal) = status.terminating_signal() {
        let why = match signal {
            libc::SIGSYS => "SIGSYS: a system call that --seccomp does not allow",
            libc::SIGKILL => "SIGKILL",
            libc::SIGSEGV => "SIGSEGV",
            libc::SIGABRT => "SIGABRT",
            _ => "a signal",
        };
        log::error!("the server was killed by signal {signal} ({why})");
        return u8::try_from(signal).map_or(1, |n| n.saturating_add(128));
    }
    status
        .exit_status()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(1)
}
