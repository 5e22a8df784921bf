// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Locking the server in, so that a guest which takes it over has gained nothing but what it could
//! read anyway.
//!
//! Outside, a supervisor keeps what must be undone at the end. Inside, the server sees the shares
//! and nothing else, holds no privilege, and can make only the system calls in [`seccomp`].

pub(crate) mod caps;
pub(crate) mod idmap;
pub(crate) mod mounts;
pub(crate) mod namespace;
pub(crate) mod seccomp;

use ::caps::Capability;
use rustix::process::geteuid;

use crate::args::SandboxArg;
use crate::config::Config;
use crate::failure::{Failure, Outcome, fail};
use crate::roots::Root;

/// Refuses what is known not to work before anything is made that would have to be removed.
pub(crate) fn check(config: &Config) -> Outcome<()> {
    if config.sandbox == SandboxArg::Chroot && !geteuid().is_root() {
        fail!("--sandbox chroot: only root may; use --sandbox namespace");
    }
    if config.sandbox != SandboxArg::Namespace {
        for (flag, map) in [
            ("--uid-map", &config.uid_map),
            ("--gid-map", &config.gid_map),
        ] {
            if !map.is_empty() {
                fail!("{flag}: only --sandbox namespace has users and groups to map");
            }
        }
    }
    Ok(())
}

/// Whether the namespace sandbox takes a user namespace: without privilege there is no other way,
/// and where ids are mapped there must be one.
pub(crate) fn needs_user_namespace(config: &Config) -> bool {
    config.sandbox == SandboxArg::Namespace
        && (!geteuid().is_root() || !config.uid_map.is_empty() || !config.gid_map.is_empty())
}

/// Leaves the file system of the host, as asked. For the process that serves, in its namespaces.
pub(crate) fn leave_host(config: &Config, roots: &mut [Root]) -> Outcome<()> {
    match config.sandbox {
        SandboxArg::None => return Ok(()),
        SandboxArg::Namespace => mounts::leave(roots)?,
        SandboxArg::Chroot => match roots.first() {
            Some(root) => mounts::chroot_into(root)?,
            None => return Ok(()),
        },
    }
    if geteuid().is_root() && !needs_user_namespace(config) {
        rustix::thread::set_thread_groups(&[])
            .map_err(|e| Failure::new(format!("cannot leave the groups of this process: {e}")))?;
    }
    Ok(())
}

/// Gives up privileges, then system calls. `read_all` keeps root's right to read what belongs to
/// others; `alone` leaves what a server without supervisor needs to tidy up.
pub(crate) fn lock(config: &Config, read_all: bool, alone: bool) -> Outcome<()> {
    let keep: &[Capability] = if read_all {
        &[Capability::CAP_DAC_READ_SEARCH]
    } else {
        &[]
    };
    caps::keep_only(keep)?;
    rustix::thread::set_no_new_privs(true)
        .map_err(|e| Failure::new(format!("cannot renounce new privileges: {e}")))?;
    let windows = config.shares.iter().any(|share| share.dax.is_some());
    match seccomp::filters(config.seccomp, alone, windows)? {
        Some(filters) => seccomp::apply(&filters),
        None => Ok(()),
    }
}
