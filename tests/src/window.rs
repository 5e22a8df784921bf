// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The front-end's end of a DAX window: takes `SHMEM_MAP` and `SHMEM_UNMAP`, really maps, and keeps
//! a book of what it was asked for.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::{ptr, slice};

use rustix::fs::{OFlags, fcntl_getfl, fstat};
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use vmm_sys_util::sock_ctrl_msg::ScmSocket;

use crate::channel::{PATIENCE, request, words};
use crate::frontend::FrontEnd;

const PAGE: u64 = 4096;

/// How a front-end maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As it is told: for reading only (crosvm).
    ReadOnly,
    /// For writing, whatever it is told (QEMU 11.1).
    Writable,
    /// For reading only, and memory only: no files.
    Memory,
    /// Not at all.
    Refuse,
    /// It does not answer.
    Silent,
}

/// One `SHMEM_MAP`.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Asked {
    pub shm_offset: u64,
    pub len: u64,
    /// Whether whoever has the descriptor can change what is behind it.
    pub writable: bool,
    /// Inode number of what is mapped.
    pub ino: u64,
    /// It is memory, not a file.
    pub memory: bool,
    pub accepted: bool,
}

#[derive(Debug)]
struct State {
    manner: Manner,
    live: BTreeMap<u64, u64>,
    asked: Vec<Asked>,
    /// Answers held back while silent.
    held: Vec<(u32, u64)>,
    unmapped: usize,
}

#[derive(Debug)]
struct Inner {
    base: usize,
    size: u64,
    state: Mutex<State>,
    changed: Condvar,
}

/// A window, and the thread that maps into it.
#[derive(Debug)]
pub struct Window {
    inner: Arc<Inner>,
    socket: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Window {
    /// Asks the back-end for the size of its window, makes it, and hands over the socket for
    /// requests. Between [`FrontEnd::greet`] and [`FrontEnd::activate`].
    pub fn attach(front: &FrontEnd, manner: Manner) -> Window {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let channel = &front.channel;
        channel.tell(request::SET_BACKEND_REQ_FD, &[], &[theirs.as_fd()]);
        let reply = channel.ask(request::GET_SHMEM_CONFIG, &[]).unwrap();
        assert_eq!(reply.len(), 8 + 256 * 8);
        assert_eq!(reply[..8], [1, 0, 0, 0, 0, 0, 0, 0], "one region");
        let size = u64::from_ne_bytes(reply[8..16].try_into().unwrap());
        assert!(
            size.is_power_of_two() && size >= 2 << 20,
            "QEMU dies of {size}"
        );
        assert!(reply[16..].iter().all(|byte| *byte == 0));

        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        let len = usize::try_from(size).unwrap();
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let base = unsafe { mmap_anonymous(ptr::null_mut(), len, ProtFlags::READ, flags) }.unwrap();
        let state = State {
            manner,
            live: BTreeMap::new(),
            asked: Vec::new(),
            held: Vec::new(),
            unmapped: 0,
        };
        let inner = Arc::new(Inner {
            base: base as usize,
            size,
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let (socket, served) = (ours.try_clone().unwrap(), Arc::clone(&inner));
        let thread = std::thread::spawn(move || served.serve(&ours));
        Window {
            inner,
            socket,
            thread: Some(thread),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap()
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.inner.size
    }

    /// What the guest sees in the window.
    pub fn read(&self, moffset: u64, len: usize) -> Vec<u8> {
        assert!(moffset + len as u64 <= self.inner.size);
        let _quiet = self.state();
        let at = ptr::with_exposed_provenance::<u8>(self.inner.base + moffset as usize);
        // SAFETY: within the window, which is mapped for as long as this lives, and whose mappings
        // do not change while the lock is held.
        unsafe { slice::from_raw_parts(at, len) }.to_vec()
    }

    /// Writes into the window, as a guest would; false if it is for reading only.
    pub fn write(&self, moffset: u64, bytes: &[u8]) -> bool {
        let state = self.state();
        if state.manner != Manner::Writable || !state.live.contains_key(&0) {
            return false;
        }
        let at = ptr::with_exposed_provenance_mut::<u8>(self.inner.base + moffset as usize);
        // SAFETY: the one mapping there is writable and reaches to the end of the window.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len()) };
        true
    }

    /// What was asked for so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.state().asked.clone()
    }

    /// How many mappings there are.
    pub fn live(&self) -> usize {
        self.state().live.len()
    }

    /// How many were removed.
    pub fn unmapped(&self) -> usize {
        self.state().unmapped
    }

    /// Drops all mappings unasked, as QEMU does when the device is reset.
    pub fn reset(&self) {
        let mut state = self.state();
        for (moffset, len) in std::mem::take(&mut state.live) {
            self.inner.clear(moffset, len);
        }
    }

    /// Changes its ways. Answers that were held back are given.
    pub fn set_manner(&self, manner: Manner) {
        let mut state = self.state();
        state.manner = manner;
        for (code, value) in std::mem::take(&mut state.held) {
            answer(&self.socket, code, value);
        }
    }

    /// Waits until so many requests to map have come.
    pub fn wait_asked(&self, count: usize) {
        let waiting = |state: &mut State| state.asked.len() < count;
        let (state, timeout) = self
            .inner
            .changed
            .wait_timeout_while(self.state(), PATIENCE, waiting)
            .unwrap();
        drop(state);
        assert!(!timeout.timed_out(), "nobody asks to map");
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let base = ptr::with_exposed_provenance_mut(self.inner.base);
        // SAFETY: the window, which nobody uses any more.
        unsafe { munmap(base, usize::try_from(self.inner.size).unwrap()) }.unwrap();
    }
}

impl Inner {
    fn serve(&self, socket: &UnixStream) {
        loop {
            let mut message = [0; 12 + 40];
            let mut fds = [-1; 2];
            let mut iov = [libc::iovec {
                iov_base: message.as_mut_ptr().cast(),
                iov_len: message.len(),
            }];
            // SAFETY: the buffer lives and is as long as said.
            let got = unsafe { socket.recv_with_fds(&mut iov, &mut fds) };
            let Ok((len, fds_got)) = got else { return };
            if len == 0 {
                return;
            }
            assert_eq!(len, message.len(), "a request has 52 bytes");
            let word = |at: usize| u32::from_ne_bytes(message[at..at + 4].try_into().unwrap());
            let long = |at: usize| u64::from_ne_bytes(message[at..at + 8].try_into().unwrap());
            let (code, flags, size) = (word(0), word(4), word(8));
            assert_eq!((flags, size), (1 | 1 << 3, 40), "version 1, reply wanted");
            assert_eq!(message[12..20], [0; 8], "region 0, no padding");
            let (offset, moffset, len) = (long(20), long(28), long(36));
            assert_eq!(long(44), 0, "for reading only");
            let file = (fds_got == 1).then(|| {
                // SAFETY: it was just received, and nobody else has it.
                unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fds[0]) }
            });
            let value = match (code, file) {
                (9, Some(file)) => self.map(&file, offset, moffset, len),
                (10, None) => self.unmap(moffset, len),
                (code, file) => panic!("request {code} with {file:?}"),
            };
            let mut state = self.state.lock().unwrap();
            if state.manner == Manner::Silent {
                state.held.push((code, value));
            } else {
                answer(socket, code, value);
            }
            self.changed.notify_all();
        }
    }

    fn clear(&self, moffset: u64, len: u64) {
        let at = ptr::with_exposed_provenance_mut(self.base + moffset as usize);
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        // SAFETY: within the window; the lock of the state is held.
        unsafe { mmap_anonymous(at, len as usize, ProtFlags::READ, flags) }.unwrap();
    }

    /// As strict as the strictest.
    fn map(&self, file: &OwnedFd, offset: u64, moffset: u64, len: u64) -> u64 {
        let mut state = self.state.lock().unwrap();
        let stat = fstat(file).unwrap();
        // Whoever crosvm refuses, it dies of; so nothing senseless may be asked.
        assert!(len > 0 && moffset.checked_add(len).unwrap() <= self.size);
        assert!([offset, moffset, len].iter().all(|n| n % PAGE == 0));
        assert!(
            offset + len <= stat.st_size as u64,
            "beyond the end of the file"
        );
        let free = state
            .live
            .range(..moffset + len)
            .next_back()
            .is_none_or(|(at, len)| at + len <= moffset);

        let open_for_writing = fcntl_getfl(file).unwrap() & OFlags::ACCMODE != OFlags::RDONLY;
        let try_write = || {
            let (both, shared) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
            // SAFETY: a new mapping, at an address of the kernel's choice.
            match unsafe { mmap(ptr::null_mut(), PAGE as usize, both, shared, file, offset) } {
                Ok(at) => {
                    // SAFETY: just mapped, and used by nobody.
                    unsafe { munmap(at, PAGE as usize) }.unwrap();
                    true
                }
                Err(_) => false,
            }
        };
        let link = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
        let protection = match state.manner {
            Manner::Writable => ProtFlags::READ | ProtFlags::WRITE,
            _ => ProtFlags::READ,
        };
        let at = ptr::with_exposed_provenance_mut(self.base + moffset as usize);
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        let memory = link.to_string_lossy().starts_with("/memfd:");
        let wanted = match state.manner {
            Manner::Refuse => false,
            Manner::Memory => memory,
            _ => true,
        };
        let accepted = wanted
            && free
            // SAFETY: within the window; the lock of the state is held.
            && unsafe { mmap(at, len as usize, protection, flags, file, offset) }.is_ok();
        state.asked.push(Asked {
            shm_offset: moffset,
            len,
            writable: open_for_writing && try_write(),
            ino: stat.st_ino,
            memory,
            accepted,
        });
        if accepted {
            state.live.insert(moffset, len);
        }
        u64::from(!accepted)
    }

    fn unmap(&self, moffset: u64, len: u64) -> u64 {
        let mut state = self.state.lock().unwrap();
        if state.live.get(&moffset) != Some(&len) {
            return 1;
        }
        state.live.remove(&moffset);
        state.unmapped += 1;
        self.clear(moffset, len);
        0
    }
}

fn answer(mut socket: &UnixStream, code: u32, value: u64) {
    let mut message = Vec::new();
    for word in [code, 1 | 1 << 2, 8] {
        message.extend(word.to_ne_bytes());
    }
    message.extend(words(&[value]));
    // The back-end may have gone.
    let _ = std::io::Write::write_all(&mut socket, &message);
}
