// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A process that clears up when this one is killed.
//!
//! It waits at the end of a pipe and is told what there is: processes and files. When the pipe ends
//! without a goodbye, this process is dead; then it kills those processes with their groups (most
//! died with us already, but a program that changed its user does not, nor do children of a
//! program), waits until they are gone, removes the files, and says what happened. It shares the
//! lock of the machine's name, so that nobody starts the machine anew before that is done.
//!
//! It is a fork without exec of a process that may have threads, so it makes system calls and
//! nothing else: no allocation, no lock.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, waitpid};

/// What it can be told, in bytes.
const ROOM: usize = 64 << 10;
/// How many processes it can be told of.
const PROCESSES: usize = 64;
/// How long killed processes may take to go, in milliseconds for all.
const PATIENCE: i32 = 5_000;

const PROCESS: u8 = b'p';
const FILE: u8 = b'f';
const DIRECTORY: u8 = b'd';
const GOODBYE: u8 = b'q';

/// The guard, seen from the process that it guards.
#[derive(Debug)]
pub(super) struct Guard {
    pid: Pid,
    pipe: Option<OwnedFd>,
}

impl Guard {
    /// Starts it. `lock` is what it shares with us, `name` the machine for its message.
    pub(super) fn start(lock: BorrowedFd<'_>, name: &str) -> io::Result<Guard> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        let message = format!(
            "rofs-vm: {name}: its supervisor was killed; the virtual machine has been ended, and \
             its sockets removed\n"
        );
        let mut room = vec![0; ROOM];
        // SAFETY: the child calls `watch`, which makes system calls only and does not return.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => watch(
                reader.as_raw_fd(),
                lock.as_raw_fd(),
                message.as_bytes(),
                &mut room,
            ),
            pid => {
                let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::other("fork"))?;
                Ok(Guard {
                    pid,
                    pipe: Some(writer),
                })
            }
        }
    }

    /// This process leads a group that is to be killed.
    pub(super) fn process(&self, pid: u32) {
        self.tell(PROCESS, pid.to_string().as_bytes());
    }

    /// This file is to be removed.
    pub(super) fn file(&self, path: &Path) {
        self.tell(FILE, path.as_os_str().as_bytes());
    }

    /// This directory is to be removed, if it is empty when all files are.
    pub(super) fn directory(&self, path: &Path) {
        self.tell(DIRECTORY, path.as_os_str().as_bytes());
    }

    fn tell(&self, kind: u8, what: &[u8]) {
        let Some(pipe) = &self.pipe else { return };
        let mut message = vec![kind];
        message.extend_from_slice(what);
        message.push(0);
        // At most PIPE_BUF bytes are written whole. If it is gone, there is nobody to tell.
        let _ = rustix::io::write(pipe, &message);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.tell(GOODBYE, b"");
        self.pipe = None;
        let _ = waitpid(Some(self.pid), WaitOptions::empty());
    }
}

/// The guard's life.
fn watch(pipe: c_int, lock: c_int, message: &[u8], room: &mut [u8]) -> ! {
    let pipe = alone(pipe, lock);
    let mut processes = [(0, 0); PROCESSES];
    let (mut known, mut filled, mut seen) = (0, 0, 0);
    loop {
        let free = &mut room[filled..];
        // SAFETY: the buffer is ours and as long as said; zero bytes are read if it is full.
        let n = unsafe { libc::read(pipe, free.as_mut_ptr().cast(), free.len()) };
        match usize::try_from(n) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(_) if errno() == libc::EINTR => continue,
            Err(_) => break,
        }
        while let Some(length) = room[seen..filled].iter().position(|byte| *byte == 0) {
            match room[seen] {
                GOODBYE => exit(),
                PROCESS if known < PROCESSES => {
                    let pid = number(&room[seen + 1..seen + length]);
                    // While its parent lives and has not waited for it, the number is its own.
                    // SAFETY: a system call with two numbers.
                    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
                    processes[known] = (pid, c_int::try_from(fd).unwrap_or(-1));
                    known += 1;
                }
                _ => {}
            }
            seen += length + 1;
        }
    }
    end(&processes[..known]);
    // What comes behind it was not told whole.
    remove(&room[..seen]);
    // SAFETY: the message is as long as said.
    unsafe { libc::write(2, message.as_ptr().cast(), message.len()) };
    exit()
}

/// A session of its own without signals, and no descriptors but the pipe, the lock and standard
/// error. Returns the pipe's new number.
fn alone(pipe: c_int, lock: c_int) -> c_int {
    const PIPE: c_int = 3;
    const LOCK: c_int = 4;
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset initialises the set.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: initialised above; nobody asks for the old one.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, all.as_ptr(), std::ptr::null_mut()) };
    // SAFETY: no arguments.
    unsafe { libc::setsid() };
    // First out of the way: either may be where the other shall go.
    // SAFETY: numbers only.
    let high_pipe = unsafe { libc::fcntl(pipe, libc::F_DUPFD, 10) };
    // SAFETY: as above.
    let high_lock = unsafe { libc::fcntl(lock, libc::F_DUPFD, 10) };
    // SAFETY: as above.
    unsafe { libc::dup2(high_pipe, PIPE) };
    // SAFETY: as above.
    unsafe { libc::dup2(high_lock, LOCK) };
    // SAFETY: as above; nothing of this process uses them any more.
    unsafe { libc::syscall(libc::SYS_close_range, 5, c_int::MAX, 0) };
    // SAFETY: as above.
    unsafe { libc::syscall(libc::SYS_close_range, 0, 1, 0) };
    PIPE
}

/// Kills the groups, and waits until their leaders are gone.
fn end(processes: &[(i32, c_int)]) {
    for (pid, _) in processes.iter().filter(|(pid, _)| *pid > 1) {
        // SAFETY: numbers only. A group has its number as long as anybody is in it.
        unsafe { libc::kill(-pid, libc::SIGKILL) };
    }
    for (_, fd) in processes.iter().filter(|(_, fd)| *fd >= 0) {
        let mut polled = libc::pollfd {
            fd: *fd,
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one structure, ours.
        unsafe { libc::poll(&raw mut polled, 1, PATIENCE) };
    }
}

/// Removes files in the order in which they were told of, then directories, the last one first: one
/// may be in another.
fn remove(told: &[u8]) {
    for entry in told.split(|byte| *byte == 0) {
        if let [FILE, path @ ..] = entry {
            // SAFETY: a path ends with the zero byte that ends its entry.
            unsafe { libc::unlink(path.as_ptr().cast()) };
        }
    }
    for entry in told.rsplit(|byte| *byte == 0) {
        if let [DIRECTORY, path @ ..] = entry {
            // SAFETY: as above.
            unsafe { libc::rmdir(path.as_ptr().cast()) };
        }
    }
}

fn number(digits: &[u8]) -> i32 {
    digits.iter().fold(0_i32, |n, digit| {
        n.saturating_mul(10)
            .saturating_add(i32::from(digit.wrapping_sub(b'0')))
    })
}

fn errno() -> c_int {
    // SAFETY: it has no preconditions.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: the address of this thread's errno.
    unsafe { *errno }
}

fn exit() -> ! {
    // SAFETY: ends the process without running anything of it.
    unsafe { libc::_exit(0) }
}
