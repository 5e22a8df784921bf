// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Talking to the service manager: sockets from it, and news to it.

use std::os::fd::RawFd;

use sd_notify::NotifyState;

use crate::failure::{Failure, Outcome};

/// The sockets systemd passed to this process.
pub(crate) fn sockets() -> Outcome<Vec<RawFd>> {
    let fds = sd_notify::listen_fds()
        .map_err(|e| Failure::new(format!("the sockets in LISTEN_FDS cannot be used: {e}")))?;
    Ok(fds.collect())
}

/// Every socket can be connected to.
pub(crate) fn ready() {
    tell(NotifyState::Ready);
}

/// The end is near, and wanted.
pub(crate) fn stopping() {
    tell(NotifyState::Stopping);
}

fn tell(state: NotifyState<'_>) {
    // Nobody to tell is no error; to reach nobody in spite of NOTIFY_SOCKET is worth a line.
    if let Err(e) = sd_notify::notify(&[state]) {
        log::warn!("cannot reach the service manager: {e}");
    }
}
