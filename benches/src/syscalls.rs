// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Counts the system calls of one thread, exactly, without a tracer and without privileges.
//!
//! A seccomp filter hands each call of the thread to a second one, which counts it and lets it go
//! on. The thread waits meanwhile, so that the count is right the moment a call returns. That
//! makes calls slow; time is measured without.
#![allow(unsafe_code)] // seccomp(2), prctl(2) and two ioctls

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, poll};

/// Calls that have a number above this share one counter. No architecture has so many.
pub const NUMBERS: usize = 1024;

/// What the thread has called so far.
#[derive(Debug)]
pub struct Counter {
    calls: Vec<AtomicU64>,
}

impl Counter {
    /// All calls.
    pub fn total(&self) -> u64 {
        self.calls
            .iter()
            .map(|calls| calls.load(Ordering::SeqCst))
            .sum()
    }

    /// Calls by their number. Taken without an allocation, which may itself have to wait for
    /// another thread's, by a system call.
    pub fn snapshot(&self) -> [u64; NUMBERS] {
        let mut counts = [0; NUMBERS];
        for (count, calls) in counts.iter_mut().zip(&self.calls) {
            *count = calls.load(Ordering::SeqCst);
        }
        counts
    }

    /// Calls since a [`snapshot`](Self::snapshot), by their number, without those that never came.
    pub fn since(&self, before: &[u64; NUMBERS]) -> BTreeMap<usize, u64> {
        let now = self.snapshot();
        let counts = now.iter().zip(before).map(|(now, before)| now - before);
        counts.enumerate().filter(|(_, count)| *count > 0).collect()
    }
}

const NO_LISTENER: i32 = -1;
const REFUSED: i32 = -2;

/// Runs `work` in a thread whose system calls are counted.
///
/// # Panics
/// If the kernel has no `SECCOMP_FILTER_FLAG_NEW_LISTENER` (Linux 5.5), or `work` panics.
pub fn counted<T: Send>(work: impl FnOnce(&Counter) -> T + Send) -> T {
    let counter = Counter {
        calls: (0..NUMBERS).map(|_| AtomicU64::new(0)).collect(),
    };
    // The worker cannot send anything through a channel: that might be a call, which waits for
    // the listener that was to be sent.
    let listener = AtomicI32::new(NO_LISTENER);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let raw = loop {
                match listener.load(Ordering::Acquire) {
                    NO_LISTENER => std::thread::yield_now(),
                    REFUSED => return,
                    raw => break raw,
                }
            };
            // SAFETY: the worker made it for this thread, and does not use it itself.
            let listener = unsafe { OwnedFd::from_raw_fd(raw) };
            supervise(&listener, &counter);
        });
        let worker = scope.spawn(|| {
            match install() {
                Ok(raw) => listener.store(raw, Ordering::Release),
                Err(error) => {
                    listener.store(REFUSED, Ordering::Release);
                    panic!("system calls cannot be counted here: {error}");
                }
            }
            work(&counter)
        });
        match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Puts the calling thread, for the rest of its life, under a filter that asks about every call.
fn install() -> std::io::Result<i32> {
    let mut ask = libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: libc::SECCOMP_RET_USER_NOTIF,
    };
    let program = libc::sock_fprog {
        len: 1,
        filter: &raw mut ask,
    };
    // SAFETY: no pointers; new privileges are of no use to a benchmark.
    let done = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    if done != 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the program is whole, and copied before the call returns.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        )
    };
    match i32::try_from(fd) {
        Ok(fd) if fd >= 0 => Ok(fd),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Counts until the thread is gone.
fn supervise(listener: &OwnedFd, counter: &Counter) {
    loop {
        let mut fds = [PollFd::new(listener, PollFlags::IN)];
        if poll(&mut fds, None).is_err() {
            continue;
        }
        if !fds[0].revents().contains(PollFlags::IN) {
            return; // hung up: nobody is under the filter any more
        }
        // SAFETY: all zero is what the kernel wants to be given.
        let mut notification: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel fills in the structure that the request is for.
        let done = unsafe {
            libc::ioctl(
                listener.as_raw_fd(),
                SECCOMP_IOCTL_NOTIF_RECV,
                &raw mut notification,
            )
        };
        if done != 0 {
            continue; // the thread was killed while it waited
        }
        let number = usize::try_from(notification.data.nr).unwrap_or(NUMBERS);
        counter.calls[number.min(NUMBERS - 1)].fetch_add(1, Ordering::SeqCst);
        let go_on = libc::seccomp_notif_resp {
            id: notification.id,
            val: 0,
            error: 0,
            flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
        };
        // SAFETY: the kernel reads the structure that the request is for.
        unsafe {
            libc::ioctl(
                listener.as_raw_fd(),
                SECCOMP_IOCTL_NOTIF_SEND,
                &raw const go_on,
            );
        }
    }
}

/// `_IOWR('!', number, T)`, as on every architecture that Rust's Linux targets with 64 bits are.
const fn iowr<T>(number: u64) -> u64 {
    (3 << 30) | ((size_of::<T>() as u64) << 16) | ((b'!' as u64) << 8) | number
}

const SECCOMP_IOCTL_NOTIF_RECV: u64 = iowr::<libc::seccomp_notif>(0);
const SECCOMP_IOCTL_NOTIF_SEND: u64 = iowr::<libc::seccomp_notif_resp>(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_and_nothing_else_is() {
        let (before, after, by_number) = counted(|counter| {
            let before = counter.total();
            let mut sum = 0u64;
            for number in 0..1000 {
                sum = std::hint::black_box(sum + number);
            }
            assert_eq!(counter.total(), before);
            for _ in 0..7 {
                let _ = rustix::process::getppid();
            }
            (before, counter.total(), counter.since(&[0; NUMBERS]))
        });
        assert_eq!(after - before, 7);
        let getppid = usize::try_from(libc::SYS_getppid).unwrap();
        assert_eq!(by_number[&getppid], 7);
    }
}
