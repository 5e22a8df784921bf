// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Serving on this host, through `/dev/fuse`.
//!
//! The same file system and the same [`Server`] as for virtual machines, with the host's kernel as
//! the client. No virtual machine, no socket: good for a look, and for tests.
//!
//! ```no_run
//! use std::path::Path;
//! use virtiofs::mount::{Mount, MountOptions};
//! use virtiofs::store::{NixOptions, NixStore, open_root};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = NixStore::new(open_root(Path::new("/nix/store"))?, NixOptions::default())?;
//! let mount = Mount::new(Path::new("/mnt/look"), &MountOptions::default())?;
//! let stop = mount.stop_handle(); // for whoever handles signals
//! # let _ = stop;
//! mount.serve(store)?; // until unmounted or stopped
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use fuse_backend_rs::transport::FuseSession;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use vm_memory::VolatileSlice;

use crate::fs::ReadFs;
use crate::server::{Options, Server};

/// How a file system appears on this host.
#[derive(Clone, Debug)]
pub struct MountOptions {
    /// What `mount` shows as the source.
    pub source: String,
    /// Whether other users than the one who mounts may look. By default if that is root; for
    /// others the host's administrator decides (`user_allow_other` in `/etc/fuse.conf`).
    pub allow_other: bool,
    /// Threads that answer requests.
    pub threads: NonZeroUsize,
    /// What the FUSE server offers.
    pub server: Options,
}

impl Default for MountOptions {
    fn default() -> MountOptions {
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        MountOptions {
            source: "rofs".to_owned(),
            allow_other: rustix::process::geteuid().is_root(),
            threads: NonZeroUsize::new(processors.clamp(2, 8)).unwrap_or(NonZeroUsize::MIN),
            server: Options::default(),
        }
    }
}

/// Why a file system cannot be mounted, or be served any longer.
#[derive(Debug)]
pub enum MountError {
    /// The place is no good; the sentence says why.
    Place(String),
    /// The kernel, or `fusermount3`, refused.
    Refused(String),
    /// Serving ended with an error.
    Serve(io::Error),
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MountError::Place(why) => f.write_str(why),
            MountError::Refused(why) => write!(
                f,
                "cannot be mounted: {why} (it takes root, or fusermount3 of the package fuse3)"
            ),
            MountError::Serve(e) => write!(f, "cannot go on serving: {e}"),
        }
    }
}

impl std::error::Error for MountError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            MountError::Serve(e) => Some(e),
            _ => None,
        }
    }
}

/// Ends [`Mount::serve`] from any thread. It is for good.
#[derive(Clone, Debug)]
pub struct StopHandle(Arc<OwnedFd>);

impl StopHandle {
    /// Returns at once; requests at work are answered first.
    pub fn stop(&self) {
        // Nothing ever reads it, so that every thread sees it.
        let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }
}

/// A mounted file system: read-only, no devices, no set-user-ID programs. Dropping it unmounts.
pub struct Mount {
    dir: PathBuf,
    // Before the session: it cannot be unmounted cleanly while somebody could still ask.
    channels: Vec<File>,
    session: FuseSession,
    stop: StopHandle,
    server: Options,
}

impl fmt::Debug for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mount")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

impl Mount {
    /// Mounts on the empty directory `dir`. Whoever looks there waits until [`Mount::serve`].
    ///
    /// # Errors
    /// [`MountError::Place`] if `dir` is not an empty directory, [`MountError::Refused`] if this
    /// process may not mount.
    pub fn new(dir: &Path, options: &MountOptions) -> Result<Mount, MountError> {
        check_place(dir)?;
        let refused = |e: &dyn fmt::Display| MountError::Refused(e.to_string());
        let stop =
            eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|e| refused(&e))?;
        let mut session =
            FuseSession::new(dir, &options.source, "rofs", true).map_err(|e| refused(&e))?;
        session.set_allow_other(options.allow_other);
        session.mount().map_err(|e| refused(&e))?;
        let mut mount = Mount {
            dir: session.mountpoint().to_owned(),
            channels: Vec::new(),
            session,
            stop: StopHandle(Arc::new(stop)),
            server: options.server,
        };
        for _ in 0..options.threads.get() {
            let channel = mount.channel().map_err(|e| refused(&e))?;
            mount.channels.push(channel);
        }
        Ok(mount)
    }

    /// Where it is mounted.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Ends [`serve`](Mount::serve) from another thread.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// Answers requests until somebody unmounts, or until stopped.
    ///
    /// # Errors
    /// [`MountError::Serve`] if the kernel says what it should not.
    pub fn serve<F: ReadFs>(&self, fs: F) -> Result<(), MountError> {
        let server = Server::new(fs, self.server);
        let mut results = Vec::new();
        thread::scope(|scope| {
            let threads: Vec<_> = self
                .channels
                .iter()
                .map(|channel| scope.spawn(|| self.answer(channel, &server)))
                .collect();
            results.extend(threads.into_iter().map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
            }));
        });
        results
            .into_iter()
            .collect::<io::Result<()>>()
            .map_err(MountError::Serve)
    }

    /// Unmounts, and says if that fails. (Dropping does the same in silence.)
    ///
    /// # Errors
    /// [`MountError::Refused`].
    pub fn unmount(mut self) -> Result<(), MountError> {
        self.channels.clear();
        self.session
            .umount()
            .map_err(|e| MountError::Refused(e.to_string()))
    }

    /// A way to the kernel for one thread; all lead to the same queue of requests.
    fn channel(&self) -> io::Result<File> {
        let channel = match (self.session.clone_fuse_file(), self.session.get_fuse_file()) {
            (Ok(own), _) => own,
            // Mounted by fusermount3, where /dev/fuse may be closed to this user.
            (Err(_), Some(shared)) => shared.try_clone()?,
            (Err(e), None) => return Err(io::Error::other(e.to_string())),
        };
        rustix::fs::fcntl_setfl(&channel, OFlags::NONBLOCK)?;
        Ok(channel)
    }

    fn answer<F: ReadFs>(&self, channel: &File, server: &Server<F>) -> io::Result<()> {
        // Room for the largest READ that the session's `max_read` lets through, with its header.
        let mut request = vec![0_u8; self.session.bufsize()];
        let mut reply = vec![0_u8; self.session.bufsize() + 4096];
        let stopped = PollFlags::IN;
        loop {
            let mut polled = [
                PollFd::new(channel, PollFlags::IN),
                PollFd::from_borrowed_fd(self.stop.0.as_fd(), stopped),
            ];
            match poll(&mut polled, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
            if polled[1].revents().contains(stopped) {
                return Ok(());
            }
            let len = match rustix::io::read(channel, &mut request) {
                Ok(len) => len,
                // Another thread was faster, or who asked gave up.
                Err(Errno::AGAIN | Errno::INTR | Errno::NOENT) => continue,
                // Unmounted.
                Err(Errno::NODEV) => return Ok(()),
                Err(e) => return Err(e.into()),
            };
            let readable = [VolatileSlice::from(&mut request[..len])];
            let writable = [VolatileSlice::from(&mut reply[..])];
            let used = server.handle(&readable, &writable, None);
            let used = usize::try_from(used).unwrap_or(usize::MAX).min(reply.len());
            if used == 0 {
                continue;
            }
            match rustix::io::write(channel, &reply[..used]) {
                // NOENT: who asked gave up. INVAL: the kernel takes no such answer, and waits on.
                Ok(_) | Err(Errno::NOENT | Errno::INTR) => {}
                Err(Errno::NODEV) => return Ok(()),
                Err(e) => log::error!("the kernel does not take a reply of {used} bytes: {e}"),
            }
        }
    }
}

/// A mount hides what is below it, so there should be nothing.
fn check_place(dir: &Path) -> Result<(), MountError> {
    let place = |why: String| Err(MountError::Place(why));
    let mut entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) => {
            return match e.raw_os_error() {
                Some(libc::ENOENT) => place("no such directory; make it first".to_owned()),
                Some(libc::ENOTDIR) => place("not a directory".to_owned()),
                Some(libc::ENOTCONN) => place(format!(
                    "a server that died is still mounted there; run: umount {}",
                    dir.display()
                )),
                _ => place(format!("cannot be opened: {e}")),
            };
        }
    };
    match entries.next() {
        None => Ok(()),
        Some(_) => place(
            "not empty, and mounting would hide what is there; choose an empty \
                          directory"
                .to_owned(),
        ),
    }
}
