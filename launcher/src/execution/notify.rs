// SPDX-License-Identifier: Apache-2.0 OR MIT
//! News for the service manager, which may be `rofs-vm start`.

use sd_notify::NotifyState;

/// The variable that names its socket. Programs started here must not speak to it.
pub(super) const SOCKET: &str = "NOTIFY_SOCKET";

/// The guest is ready.
pub(super) fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("running")]);
}

/// The end is near, and wanted.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// What is being done.
pub(super) fn status(what: &str) {
    tell(&[NotifyState::Status(what)]);
}

fn tell(news: &[NotifyState<'_>]) {
    // That nobody is there to be told is no error: `rofs-vm start` leaves when the guest is ready.
    if let Err(e) = sd_notify::notify(news) {
        log::debug!("cannot reach the service manager: {e}");
    }
}
