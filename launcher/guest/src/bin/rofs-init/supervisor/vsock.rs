// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Listening at a vsock port.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::time::Timespec;

/// The host's first connection to `port`, for which it has ten seconds.
pub(crate) fn accept(port: u32) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::VSOCK, SocketType::STREAM, flags, None)?;
    // SAFETY: a structure of integers, for which zero is a value.
    let mut address: libc::sockaddr_vm = unsafe { MaybeUninit::zeroed().assume_init() };
    address.svm_family = AddressFamily::VSOCK.as_raw();
    address.svm_cid = libc::VMADDR_CID_ANY;
    address.svm_port = port;
    let length = u32::try_from(size_of_val(&address)).unwrap_or_default();
    // SAFETY: the address lives through the call and has the length that is given.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if bound < 0 {
        return Err(io::Error::last_os_error());
    }
    rustix::net::listen(&socket, 1)?;
    let patience = Timespec {
        tv_sec: 10,
        tv_nsec: 0,
    };
    poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&patience))?;
    Ok(rustix::net::accept_with(&socket, flags)?)
}
