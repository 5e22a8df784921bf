// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Channels between host and guest, each on a unix socket: control, console, agent, clipboard.

use std::path::Path;

use rofs_guest::config::AGENT_PORT;

use super::super::args::{Args, Opts};
use super::Machine;
use crate::description::GraphicsBackend;

pub(super) fn add(args: &mut Args, machine: &Machine<'_>) {
    let sockets = &machine.sockets;
    args.option("-chardev", listening("control", &sockets.control()));
    args.option("-qmp", "chardev:control");
    if machine.description.qemu.serial_console {
        let console = listening("console", &sockets.console());
        args.option("-chardev", console.path("logfile", &sockets.console_log()));
        args.option("-serial", "chardev:console");
    }
    let clipboard = machine.description.clipboard.enable;
    if machine.agent || clipboard {
        args.option("-device", Opts::of("virtio-serial-pci").set("id", "ports"));
    }
    if machine.agent {
        args.option("-chardev", listening("agent", &sockets.agent()));
        args.option("-device", port("agent", AGENT_PORT));
    }
    if clipboard {
        args.option("-chardev", vdagent(machine));
        args.option("-device", port("vdagent", "com.redhat.spice.0"));
    }
}

/// One that waits for nobody.
fn listening(id: &str, path: &Path) -> Opts {
    let socket = Opts::of("socket").set("id", id).path("path", path);
    socket.switch("server", true).switch("wait", false)
}

fn port(chardev: &str, name: &str) -> Opts {
    Opts::of("virtserialport")
        .set("bus", "ports.0")
        .set("chardev", chardev)
        .set("name", name)
}

/// The host's end of spice-vdagent: in QEMU, or in the viewer where that is SPICE's.
fn vdagent(machine: &Machine<'_>) -> Opts {
    match machine.description.graphics.backend {
        GraphicsBackend::Spice => Opts::of("spicevmc")
            .set("id", "vdagent")
            .set("name", "vdagent"),
        _ => Opts::of("qemu-vdagent")
            .set("id", "vdagent")
            .set("name", "vdagent")
            .switch("clipboard", true)
            .switch("mouse", false),
    }
}
