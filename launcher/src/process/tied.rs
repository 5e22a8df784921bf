// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Between fork and exec: a process group of its own, and death with the parent.
#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

/// Lets the program lead a process group and be killed when the thread that spawns it ends.
///
/// The signal of the parent's death (`PR_SET_PDEATHSIG`) belongs to the spawning *thread*, so that
/// thread must live as long as the program shall. It is lost when the program changes its user or
/// gains privileges; the [guard](crate::execution) finds those by their group.
pub(super) fn tie(command: &mut Command) {
    command.process_group(0);
    let parent = getpid();
    // SAFETY: between fork and exec only system calls are made: prctl and getppid.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // It may have died before it was known that we want to follow.
            if getppid() != Some(parent) {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            Ok(())
        });
    }
}
