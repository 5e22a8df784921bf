// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A child process in namespaces of its own.
#![allow(unsafe_code)]

use std::io;

use rustix::process::Pid;

use crate::args::SandboxArg;
use crate::failure::{Failure, Outcome};

/// Who returned from [`fork`].
#[derive(Debug)]
pub(crate) enum Side {
    Parent(Pid),
    Child,
}

/// Forks this process, the child into new namespaces if the sandbox is made of them. Call it
/// before there are threads.
pub(crate) fn fork(sandbox: SandboxArg, new_user: bool) -> Outcome<Side> {
    let mut flags = libc::SIGCHLD;
    if sandbox == SandboxArg::Namespace {
        flags |= libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWIPC;
        if new_user {
            flags |= libc::CLONE_NEWUSER;
        }
    }
    // By clone, because fork has no flags and unshare would move the parent too, which must stay
    // to remove what was made outside.
    let flags = libc::c_long::from(flags);
    let none: libc::c_long = 0;
    // SAFETY: without a stack and memory shared, this is fork: the child has a copy of everything.
    // The only thread there is calls it, so no lock is held by one that the child lacks.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, none, none, none, none) };
    match i32::try_from(pid) {
        Ok(0) => Ok(Side::Child),
        Ok(pid) if pid > 0 => Pid::from_raw(pid)
            .map(Side::Parent)
            .ok_or_else(|| Failure::new("cannot start a process")),
        _ => Err(explain(sandbox, new_user, &io::Error::last_os_error())),
    }
}

fn explain(sandbox: SandboxArg, new_user: bool, e: &io::Error) -> Failure {
    if sandbox != SandboxArg::Namespace {
        return Failure::new(format!("cannot start a process: {e}"));
    }
    let why = match e.raw_os_error() {
        Some(libc::EPERM) if new_user => {
            "this system does not let ordinary users make user \
            namespaces (as in many containers)"
        }
        Some(libc::EPERM) => "this process may not make namespaces (as in many containers)",
        Some(libc::ENOSPC | libc::EUSERS) => {
            "the limit on namespaces is reached (see \
            /proc/sys/user)"
        }
        _ => "the kernel cannot make namespaces",
    };
    Failure::new(format!(
        "--sandbox namespace: {why}: {e}; allow it, or use --sandbox none"
    ))
}
