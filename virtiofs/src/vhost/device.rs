// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A device, and the connections it serves one after another.
#![allow(unsafe_code)] // a socket is made known by its number

use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, poll};
use vhost::vhost_user::{BackendReqHandler, Error as VhostError};

use super::event::Wake;
use super::limit::Limit;
use super::options::{DeviceOptions, OptionsError};
use super::session::Session;
use super::shmem;
use super::stop::StopHandle;
use crate::fs::ReadFs;
use crate::server::Server;

/// A virtio-fs device over the file system `F`; see the [module](super) for how to run one.
///
/// Each connection is served by a new [`Server`] over a clone of the file system, so `F` is a
/// handle: an [`Arc`], or what contains one.
#[derive(Debug)]
pub struct Device<F> {
    fs: F,
    options: DeviceOptions,
    stop: StopHandle,
    limit: Arc<Limit>,
}

impl<F: ReadFs + Clone + 'static> Device<F> {
    /// A device that nobody is connected to.
    ///
    /// # Errors
    /// [`ServeError::Options`] if the options are out of range.
    pub fn new(fs: F, options: DeviceOptions) -> Result<Device<F>, ServeError> {
        options.validate().map_err(ServeError::Options)?;
        Ok(Device {
            fs,
            options,
            stop: StopHandle::new(),
            limit: Arc::new(Limit::new()),
        })
    }

    /// What the device is made of.
    pub fn options(&self) -> &DeviceOptions {
        &self.options
    }

    /// Ends the device from another thread.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// Whether the device was ended by its [`StopHandle`].
    pub fn is_stopped(&self) -> bool {
        self.stop.is_stopped()
    }

    /// Waits for one client, serves it until it goes away, and returns when nothing is left of it:
    /// every thread of the connection has ended, every descriptor is closed. The listener is made
    /// non-blocking.
    ///
    /// Returns at once, successfully, if the device [is stopped](Device::is_stopped).
    ///
    /// # Errors
    /// [`ServeError::Accept`] if there can be no client, otherwise what
    /// [`serve_stream`](Device::serve_stream) says. Nothing is logged that is returned here.
    pub fn serve_next(&self, listener: &UnixListener) -> Result<(), ServeError> {
        match self.accept(listener).map_err(ServeError::Accept)? {
            Some(stream) => self.serve_stream(stream),
            None => Ok(()),
        }
    }

    /// Serves a client that is connected already, like [`serve_next`](Device::serve_next).
    ///
    /// # Errors
    /// [`ServeError::Protocol`] if the connection ended because the front-end broke the protocol;
    /// that it just went away is no error. [`ServeError::Resources`] if the connection could not
    /// be served for want of something. Either way the next client can be served.
    pub fn serve_stream(&self, stream: UnixStream) -> Result<(), ServeError> {
        stream
            .set_nonblocking(false)
            .map_err(ServeError::Resources)?;
        let server = Arc::new(Server::new(self.fs.clone(), self.options.server));
        let session = Session::new(Arc::clone(&server), &self.options, Arc::clone(&self.limit))
            .map_err(ServeError::Resources)?;
        let session = Arc::new(Mutex::new(session));
        let peeked = self.options.dax.map(|_| stream.try_clone()).transpose();
        let peeked = peeked.map_err(ServeError::Resources)?;
        let mut messages = BackendReqHandler::from_stream(stream, Arc::clone(&session));
        // SAFETY: `messages` owns the socket, and is dropped after the registration.
        let registration = unsafe { self.stop.serving(messages.as_raw_fd()) };

        let ended = catch_unwind(AssertUnwindSafe(|| {
            loop {
                if let Some(peeked) = &peeked
                    && let Some(socket) = shmem::look_for_socket(peeked)
                {
                    let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
                    session.expect_socket(socket);
                }
                if let Err(error) = messages.handle_request() {
                    break error;
                }
            }
        }));
        // First the threads, then the socket: once the front-end sees the end, nobody touches its
        // memory any more.
        session
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .shut_down();
        drop(registration);
        drop(messages);
        server.fs().reset();

        match ended {
            Err(_) => Err(ServeError::Panic),
            Ok(error) if is_goodbye(&error) || self.is_stopped() => Ok(()),
            Ok(error) => Err(ServeError::Protocol(error)),
        }
    }

    /// The next client; none if the device is stopped.
    fn accept(&self, listener: &UnixListener) -> io::Result<Option<UnixStream>> {
        listener.set_nonblocking(true)?;
        let wake = Arc::new(Wake::new()?);
        let _registration = self.stop.waiting(Arc::clone(&wake));
        loop {
            if self.is_stopped() {
                return Ok(None);
            }
            let mut fds = [
                PollFd::new(listener, PollFlags::IN),
                PollFd::new(&*wake, PollFlags::IN),
            ];
            match poll(&mut fds, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if fds[0].revents().is_empty() {
                continue;
            }
            match listener.accept() {
                Ok((stream, _)) => return Ok(Some(stream)),
                // Somebody else took it, or it went away, or a signal came.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock
                            | io::ErrorKind::ConnectionAborted
                            | io::ErrorKind::Interrupted
                    ) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether this is how a connection ends whose front-end went away, orderly or not.
fn is_goodbye(error: &VhostError) -> bool {
    matches!(
        error,
        VhostError::Disconnected | VhostError::PartialMessage | VhostError::SocketBroken(_)
    )
}

/// Why a device cannot serve, or stopped serving a client.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServeError {
    /// The device cannot be as it was asked for.
    Options(OptionsError),
    /// No client can be accepted.
    Accept(io::Error),
    /// The process has no descriptor, thread or memory left.
    Resources(io::Error),
    /// The front-end broke the vhost-user protocol and was disconnected.
    Protocol(VhostError),
    /// A bug, here or in a crate used; the message is on standard error.
    Panic,
}

impl ServeError {
    /// Whether it concerns one client only, and the next one may well be served.
    pub fn is_client_fault(&self) -> bool {
        matches!(self, ServeError::Protocol(_) | ServeError::Panic)
    }
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServeError::Options(error) => error.fmt(f),
            ServeError::Accept(error) => write!(f, "cannot accept a client: {error}"),
            ServeError::Resources(error) => write!(f, "cannot serve a client: {error}"),
            ServeError::Protocol(error) => {
                write!(
                    f,
                    "disconnected the client, which broke the vhost-user protocol: {error}"
                )
            }
            ServeError::Panic => f.write_str("disconnected the client because of a bug"),
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ServeError::Options(error) => Some(error),
            ServeError::Accept(error) | ServeError::Resources(error) => Some(error),
            ServeError::Protocol(error) => Some(error),
            ServeError::Panic => None,
        }
    }
}
