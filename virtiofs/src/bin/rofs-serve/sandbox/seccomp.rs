// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The system calls a server makes once it is set up.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use crate::args::SeccompArg;
use crate::failure::{Failure, Outcome};

/// Reading the shares.
const STORE: &[c_long] = &[
    libc::SYS_openat2,
    libc::SYS_statx,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    libc::SYS_pread64,
    libc::SYS_preadv2,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_fstatfs,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_fcntl,
];

/// Sockets of VMMs, their memory and their events; also /dev/fuse.
const TRANSPORT: &[c_long] = &[
    libc::SYS_accept4,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_shutdown,
    libc::SYS_getsockopt,
    libc::SYS_ppoll,
    libc::SYS_eventfd2,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
];

/// What every program with threads does, by the hand of std, glibc or musl.
const RUNTIME: &[c_long] = &[
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_restart_syscall,
    libc::SYS_prctl,
    libc::SYS_futex,
    libc::SYS_membarrier,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_setpriority,
    libc::SYS_tgkill,
    libc::SYS_tkill,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// The same under the names that only older architectures have.
#[cfg(target_arch = "x86_64")]
const OLD_NAMES: &[c_long] = &[libc::SYS_poll, libc::SYS_accept];
#[cfg(not(target_arch = "x86_64"))]
const OLD_NAMES: &[c_long] = &[libc::SYS_accept];

/// Without a supervisor the server itself removes its sockets and talks to the service manager.
const ALONE: &[c_long] = &[
    libc::SYS_unlinkat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    libc::SYS_socket,
    libc::SYS_connect,
];

/// Memory for DAX windows. (Files of the shares are never open for writing.)
const WINDOWS: &[c_long] = &[
    libc::SYS_memfd_create,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_pwrite64,
    libc::SYS_fadvise64,
];

/// seccompiler counts in 64 bits, whatever the machine.
#[allow(clippy::useless_conversion)]
fn wide(number: c_long) -> i64 {
    i64::from(number)
}

/// Memory is never made executable.
const NO_EXEC: &[c_long] = &[libc::SYS_mmap, libc::SYS_mprotect];

/// Making a descriptor (non-)blocking, and asking whether it is a terminal.
const IOCTLS: &[libc::Ioctl] = &[libc::FIONBIO, libc::FIOCLEX, libc::TCGETS];

/// Opening files by any other way than `openat2`, with which the store stays beneath its root.
/// Runtimes try it (glibc and std look for settings in /proc and /sys) and can do without, so these
/// calls fail as if nothing was there.
const ABSENT: &[c_long] = &[
    libc::SYS_openat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
];

/// Filters in the order they are to be applied.
#[derive(Debug)]
pub(crate) struct Filters(Vec<BpfProgram>);

/// Compiles the lists; `None` if nothing is to be filtered.
pub(crate) fn filters(action: SeccompArg, alone: bool, windows: bool) -> Outcome<Option<Filters>> {
    let on_other = match action {
        SeccompArg::None => return Ok(None),
        SeccompArg::Kill => SeccompAction::KillProcess,
        SeccompArg::Log => SeccompAction::Log,
        SeccompArg::Trap => SeccompAction::Trap,
    };
    let mut allowed = [STORE, TRANSPORT, RUNTIME, OLD_NAMES, ABSENT].concat();
    if alone {
        allowed.extend(ALONE);
    }
    if windows {
        allowed.extend(WINDOWS);
    }
    let mut allowed = any_arguments(&allowed);
    let prot_exec = u64::from(libc::PROT_EXEC.unsigned_abs());
    for number in NO_EXEC {
        let data_only = when(2, SeccompCmpOp::MaskedEq(prot_exec), 0)?;
        allowed.insert(wide(*number), vec![data_only]);
    }
    #[allow(clippy::unnecessary_cast)] // musl counts them as signed
    let ioctls = IOCTLS
        .iter()
        .map(|request| when(1, SeccompCmpOp::Eq, *request as u64));
    allowed.insert(wide(libc::SYS_ioctl), ioctls.collect::<Outcome<Vec<_>>>()?);
    // A filter knows one answer beside "allow". Of several filters the sternest answer counts.
    let absent = SeccompAction::Errno(libc::ENOENT.unsigned_abs());
    let first = compile(any_arguments(ABSENT), SeccompAction::Allow, absent)?;
    let second = compile(allowed, on_other, SeccompAction::Allow)?;
    Ok(Some(Filters(vec![first, second])))
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn any_arguments(list: &[c_long]) -> Rules {
    list.iter()
        .map(|number| (wide(*number), Vec::new()))
        .collect()
}

/// What is allowed when argument `index` compares so with `value`.
fn when(index: u8, op: SeccompCmpOp, value: u64) -> Outcome<SeccompRule> {
    SeccompCondition::new(index, SeccompCmpArgLen::Dword, op, value)
        .and_then(|condition| SeccompRule::new(vec![condition]))
        .map_err(|e| cannot_compile(&e))
}

fn compile(rules: Rules, other: SeccompAction, listed: SeccompAction) -> Outcome<BpfProgram> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|e| cannot_compile(&e))?;
    SeccompFilter::new(rules, other, listed, arch)
        .and_then(BpfProgram::try_from)
        .map_err(|e| cannot_compile(&e))
}

fn cannot_compile(e: &dyn std::fmt::Display) -> Failure {
    Failure::new(format!(
        "--seccomp: cannot make a filter for this machine: {e}; use --seccomp none"
    ))
}

/// Puts the filters on this thread and all that it starts. There is no way back.
pub(crate) fn apply(filters: &Filters) -> Outcome<()> {
    for filter in &filters.0 {
        seccompiler::apply_filter_all_threads(filter).map_err(|e| {
            Failure::new(format!(
                "--seccomp: the kernel does not take the filter: {e}; use --seccomp none"
            ))
        })?;
    }
    Ok(())
}
