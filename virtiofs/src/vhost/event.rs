// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Event descriptors: the two that a front-end hands over for each ring, and our own.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::{FileType, OFlags, fcntl_getfl, fcntl_setfl, fstat};

/// Takes over a descriptor that a front-end sent for events.
///
/// It may be anything that passes 8 bytes: an eventfd mostly, a pipe from User-Mode Linux. It must
/// not be something that is always readable (a device, a file), or the ring's thread would never
/// sleep. It is made non-blocking, because a front-end that never reads, or reads behind our back,
/// must not hold up the thread.
fn adopt(file: File) -> io::Result<OwnedFd> {
    let kind = FileType::from_raw_mode(fstat(&file)?.st_mode);
    // An eventfd has no type at all.
    if !matches!(kind, FileType::Fifo | FileType::Socket | FileType::Unknown) {
        return Err(io::Error::other(format!(
            "an event descriptor cannot be a {kind:?}"
        )));
    }
    fcntl_setfl(&file, fcntl_getfl(&file)? | OFlags::NONBLOCK)?;
    Ok(file.into())
}

/// Why a ring's thread woke up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// The driver says that there is work.
    Kicked,
    /// The [`Wake`] was used.
    Called,
}

/// Tells the device that the driver added requests.
#[derive(Debug)]
pub(super) struct Kick(OwnedFd);

impl Kick {
    pub(super) fn new(file: File) -> io::Result<Kick> {
        adopt(file).map(Kick)
    }

    /// Sleeps until there is work, or `wake` wants something.
    pub(super) fn wait(&self, wake: &Wake) -> io::Result<Woken> {
        let mut fds = [
            PollFd::new(&self.0, PollFlags::IN),
            PollFd::new(&wake.0, PollFlags::IN),
        ];
        loop {
            match poll(&mut fds, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if fds[1].revents().contains(PollFlags::IN) {
                wake.clear();
                return Ok(Woken::Called);
            }
            let kicked = fds[0].revents();
            if kicked.contains(PollFlags::IN) {
                if self.drain()? {
                    return Ok(Woken::Kicked);
                }
            } else if !kicked.is_empty() {
                return Err(io::Error::other(format!(
                    "the kick descriptor says {kicked:?}"
                )));
            }
        }
    }

    /// Takes the event; false if somebody else did.
    fn drain(&self) -> io::Result<bool> {
        let mut count = [0; 8];
        match rustix::io::read(&self.0, &mut count) {
            Ok(8) => Ok(true),
            Ok(_) => Err(io::Error::other("the kick descriptor is no eventfd")),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// Tells the driver that requests were answered. Front-ends exchange the descriptor while the
/// ring runs (QEMU does when an interrupt is masked), hence the lock, taken once a batch.
#[derive(Debug, Default)]
pub(super) struct Call(Mutex<Option<OwnedFd>>);

impl Call {
    /// Uses `file` from now on; none means that the driver polls.
    pub(super) fn set(&self, file: Option<File>) -> io::Result<()> {
        let fd = file.map(adopt).transpose()?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = fd;
        Ok(())
    }

    /// Interrupts the driver.
    pub(super) fn signal(&self) {
        if let Some(fd) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            notify(fd.as_fd());
        }
    }
}

/// Wakes a thread of ours.
#[derive(Debug)]
pub(super) struct Wake(OwnedFd);

impl Wake {
    pub(super) fn new() -> io::Result<Wake> {
        Ok(Wake(eventfd(
            0,
            EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK,
        )?))
    }

    pub(super) fn notify(&self) {
        notify(self.0.as_fd());
    }

    pub(super) fn clear(&self) {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.0, &mut count);
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Adds one event. The only failure that can come is that the reader has enough unread events
/// already (or is gone): it will look anyway.
fn notify(fd: BorrowedFd<'_>) {
    let _ = rustix::io::write(fd, &1u64.to_ne_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Kick, OwnedFd) {
        let fd = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        (Kick::new(File::from(fd.try_clone().unwrap())).unwrap(), fd)
    }

    #[test]
    fn kicks_and_wakes_are_told_apart() {
        let (kick, other_end) = pair();
        let wake = Wake::new().unwrap();
        notify(other_end.as_fd());
        assert_eq!(kick.wait(&wake).unwrap(), Woken::Kicked);
        wake.notify();
        wake.notify();
        assert_eq!(kick.wait(&wake).unwrap(), Woken::Called);
        notify(other_end.as_fd());
        assert_eq!(kick.wait(&wake).unwrap(), Woken::Kicked);
    }

    #[test]
    fn only_event_descriptors_are_taken() {
        for path in ["/dev/zero", "/dev/null", "/", "/proc/self/exe"] {
            Kick::new(File::open(path).unwrap()).unwrap_err();
            Call::default()
                .set(Some(File::open(path).unwrap()))
                .unwrap_err();
        }
    }

    #[test]
    fn a_pipe_works_until_it_is_closed() {
        let (reader, writer) = std::io::pipe().unwrap();
        let kick = Kick::new(File::from(OwnedFd::from(reader))).unwrap();
        let wake = Wake::new().unwrap();
        notify(writer.as_fd());
        assert_eq!(kick.wait(&wake).unwrap(), Woken::Kicked);
        drop(writer);
        kick.wait(&wake).unwrap_err();
    }

    #[test]
    fn a_driver_that_never_reads_holds_nobody_up() {
        let (reader, writer) = std::io::pipe().unwrap();
        let call = Call::default();
        call.signal();
        call.set(Some(File::from(OwnedFd::from(writer)))).unwrap();
        for _ in 0..100_000 {
            call.signal();
        }
        drop(reader);
    }
}
