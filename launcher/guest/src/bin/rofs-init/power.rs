// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The life of the first process after it has started the command, and its end.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rofs_guest::config::PowerOff;
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use rustix::system::{RebootCommand, reboot};

use crate::signals::Signals;

/// Ctrl-Alt-Delete becomes a signal to this process instead of a reset.
pub(crate) fn keep_ctrl_alt_del() {
    let _ = reboot(RebootCommand::CadOff);
}

/// Collects orphans until `supervisor` has ended, and passes requests to stop on to it.
pub(crate) fn reap_until(supervisor: Pid, signals: &Signals) {
    loop {
        match signals.next() {
            Ok(libc::SIGCHLD) | Err(_) => {}
            Ok(_) => {
                let _ = kill_process(supervisor, Signal::TERM);
            }
        }
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, _))) if pid == supervisor => return,
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => break,
                // Not one child is left, not even the supervisor.
                Err(_) => return,
            }
        }
    }
}

/// Ends everything: processes, then file systems, then the machine.
pub(crate) fn end(how: PowerOff) -> ! {
    let _ = rustix::process::chdir("/");
    // To everyone but this process.
    signal_all(Signal::KILL);
    collect_all();
    unmount_all();
    rustix::fs::sync();
    let (first, second) = match how {
        PowerOff::PowerOff => (RebootCommand::PowerOff, RebootCommand::Restart),
        PowerOff::Reset => (RebootCommand::Restart, RebootCommand::PowerOff),
    };
    loop {
        let _ = reboot(first);
        let _ = reboot(second);
        thread::sleep(Duration::from_secs(1));
    }
}

/// Waits for what was killed; but one that waits for a dead device does not hold up the end.
fn collect_all() {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => thread::sleep(Duration::from_millis(1)),
            Err(_) => return,
        }
    }
}

#[allow(unsafe_code)]
fn signal_all(signal: Signal) {
    // SAFETY: kill has no memory effects; -1 is every process but the caller.
    unsafe { libc::kill(-1, signal.as_raw()) };
}

/// Leaves disks clean: what cannot be unmounted becomes read-only.
fn unmount_all() {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let lasting: Vec<&str> = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let (source, at) = (fields.next()?, fields.next()?);
            let fs_type = fields.next()?;
            let passing = [
                "proc", "sysfs", "devtmpfs", "devpts", "tmpfs", "rootfs", "ramfs",
            ];
            (source.starts_with("/dev/") || !passing.contains(&fs_type)).then_some(at)
        })
        .collect();
    for at in lasting.into_iter().rev() {
        let at = unescape(at);
        if rustix::mount::unmount(&at, UnmountFlags::empty()).is_err() {
            let _ = rustix::mount::mount_remount(&at, MountFlags::RDONLY, c"");
        }
    }
}

/// Undoes `\040` and the like in `/proc/self/mounts`.
fn unescape(text: &str) -> String {
    ["\\040", "\\011", "\\012", "\\134"]
        .into_iter()
        .zip([" ", "\t", "\n", "\\"])
        .fold(text.to_owned(), |text, (code, character)| {
            text.replace(code, character)
        })
}
