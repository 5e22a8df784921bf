// SPDX-License-Identifier: Apache-2.0 OR MIT
//! QEMU's own system call filter.

use super::super::args::{Args, Opts};
use super::super::machine::Link;
use super::{Machine, graphics};
use crate::description::GraphicsBackend;

/// As much as the machine's devices leave.
pub(super) fn add(args: &mut Args, machine: &Machine<'_>) {
    let nic = |test: fn(&Link) -> bool| machine.nics.iter().any(|nic| test(&nic.link));
    // The helper for bridges is started by QEMU and has more privileges than it.
    if nic(|link| matches!(link, Link::Bridge { .. })) {
        return;
    }
    let relays =
        nic(|link| matches!(link, Link::User { guest_forwards, .. } if !guest_forwards.is_empty()));
    let graphics_on = machine.description.graphics.enable;
    let window = graphics_on && machine.description.graphics.backend == GraphicsBackend::Gtk;
    let gl = graphics::gl(machine);
    let sound = machine.description.sound.enable;
    let deny = |opts: Opts, key: &str, on: bool| if on { opts.set(key, "deny") } else { opts };
    let filter = deny(Opts::of("on"), "obsolete", true);
    // What QEMU takes for a step to more privileges is setsid, too, which is how it starts the
    // command behind a forwarded port.
    let filter = deny(filter, "elevateprivileges", !relays);
    // Toolkits and drivers start helpers, and so do forwarded ports.
    let filter = deny(filter, "spawn", !(relays || window || gl));
    // Sound asks for real-time priority, Mesa pins its threads.
    let filter = deny(filter, "resourcecontrol", !(window || gl || sound));
    args.option("-sandbox", filter);
}
