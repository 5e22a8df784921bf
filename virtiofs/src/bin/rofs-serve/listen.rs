// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sockets: made here, or inherited.
#![allow(unsafe_code)]

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketType, sockopt};

use crate::failure::{Failure, Outcome, fail};
use crate::group::Group;
use crate::pidfile::PidFile;

/// Where a VMM will be, or is already.
#[derive(Debug)]
pub(crate) enum Socket {
    Listening(UnixListener),
    Connected(UnixStream),
}

/// A socket file of ours, with its pid file. Dropping it removes both.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    id: (u64, u64),
    pid: PidFile,
}

impl SocketFile {
    /// Leaves the files to another process that has this too.
    pub(crate) fn leave(mut self) {
        self.path.clear();
        self.pid.leave();
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have put another socket in its place.
        if fs::symlink_metadata(&self.path).is_ok_and(|meta| (meta.dev(), meta.ino()) == self.id) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes the socket `path`; `group` may connect too, or else only the owner.
pub(crate) fn bind(path: &Path, group: Option<&Group>) -> Outcome<(UnixListener, SocketFile)> {
    let flag = format!("--socket-path {}", path.display());
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() && !dir.is_dir() => {
            fail!("{flag}: {} is no directory; make it first", dir.display());
        }
        _ => {}
    }
    let pid = PidFile::lock(path)?;
    remove_stale(path, &flag)?;
    let mask = if group.is_some() { 0o007 } else { 0o077 };
    let before = rustix::process::umask(Mode::from_raw_mode(mask));
    let listener = UnixListener::bind(path);
    rustix::process::umask(before);
    let listener =
        listener.map_err(|e| Failure::new(format!("{flag}: cannot make the socket: {e}")))?;
    let meta = fs::symlink_metadata(path).map_err(|e| Failure::new(format!("{flag}: {e}")))?;
    let file = SocketFile {
        path: path.to_owned(),
        id: (meta.dev(), meta.ino()),
        pid,
    };
    if let Some(group) = group {
        give_to(path, group)?;
    }
    Ok((listener, file))
}

/// A socket nobody listens on was left by a process that was killed.
fn remove_stale(path: &Path, flag: &str) -> Outcome<()> {
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => fail!("{flag}: {e}"),
        Ok(meta) if !meta.file_type().is_socket() => {
            fail!("{flag}: something that is not a socket is there already; choose another path")
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => fail!("{flag}: in use, somebody answers there; stop them, or choose another path"),
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
            log::debug!("{flag}: removing the socket of a server that is gone");
            fs::remove_file(path)
                .map_err(|e| Failure::new(format!("{flag}: cannot remove the stale socket: {e}")))
        }
        Err(e) => fail!("{flag}: a socket is there that does not answer: {e}; remove it"),
    }
}

fn give_to(path: &Path, group: &Group) -> Outcome<()> {
    std::os::unix::fs::chown(path, None, Some(group.gid))
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o660)))
        .map_err(|e| {
            Failure::new(format!(
                "--socket-group {}: cannot give it {}: {e}; only root and members of the group may",
                group.name,
                path.display()
            ))
        })
}

/// Takes over an inherited socket.
pub(crate) fn inherited(fd: RawFd) -> Outcome<Socket> {
    if (0..=2).contains(&fd) {
        fail!("--fd {fd}: 0 to 2 are the standard streams; pass the socket under another number");
    }
    // SAFETY: the number is only used for asking the kernel whether it is open.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    if flags == -1 {
        fail!("--fd {fd}: no file was passed under this number");
    }
    // SAFETY: checked to be open; the command line gave it to us, and each number only once.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    let kind = sockopt::socket_domain(&owned).and_then(|d| Ok((d, sockopt::socket_type(&owned)?)));
    if kind != Ok((AddressFamily::UNIX, SocketType::STREAM)) {
        fail!("--fd {fd}: not a Unix stream socket");
    }
    rustix::io::fcntl_setfd(&owned, rustix::io::FdFlags::CLOEXEC)
        .and_then(|()| rustix::io::ioctl_fionbio(&owned, false))
        .map_err(|e| Failure::new(format!("--fd {fd}: {e}")))?;
    if listens(owned.as_fd()) {
        Ok(Socket::Listening(owned.into()))
    } else if rustix::net::getpeername(&owned).is_ok() {
        Ok(Socket::Connected(owned.into()))
    } else {
        fail!("--fd {fd}: the socket is neither listening nor connected");
    }
}

fn listens(fd: BorrowedFd<'_>) -> bool {
    sockopt::socket_acceptconn(fd).unwrap_or(false)
}
