// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How a person gets to see a screen that is on a socket.

use super::{Sockets, quote};
use crate::description::{Description, GraphicsBackend};

/// The command that shows it.
pub(super) fn viewer(description: &Description, sockets: &Sockets) -> Option<String> {
    let graphics = &description.graphics;
    let protocol = match graphics.backend {
        GraphicsBackend::Spice => "spice",
        GraphicsBackend::Vnc => "vnc",
        GraphicsBackend::Gtk | GraphicsBackend::Headless => return None,
    };
    let socket = sockets.display(graphics.socket.as_deref());
    let address = format!("{protocol}+unix://{}", socket.display());
    graphics
        .enable
        .then(|| format!("remote-viewer {}", quote(&address)))
}
