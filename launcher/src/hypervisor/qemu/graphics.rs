// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The screen, and the keyboard and tablet in front of it.

use std::path::PathBuf;

use super::super::args::{Args, Opts};
use super::Machine;
use super::machine::is_small;
use crate::description::{GraphicsBackend, Vulkan};

pub(super) fn add(args: &mut Args, machine: &Machine<'_>) {
    let graphics = &machine.description.graphics;
    if !graphics.enable {
        args.option("-display", "none");
        return;
    }
    let gl = gl(machine);
    let node = machine
        .host
        .desktop
        .render_node
        .as_ref()
        .map(|node| node.display().to_string());
    let egl = || Opts::of("egl-headless").maybe("rendernode", node.as_ref());
    let socket = socket(machine).unwrap_or_default();
    match graphics.backend {
        GraphicsBackend::Gtk => {
            args.option("-display", Opts::of("gtk").switch("gl", gl));
        }
        GraphicsBackend::Headless if gl => {
            args.option("-display", egl());
        }
        GraphicsBackend::Headless => {
            args.option("-display", "none");
        }
        GraphicsBackend::Vnc => {
            // VNC has no GL of its own: it is drawn elsewhere and copied.
            if gl {
                args.option("-display", egl());
            }
            args.option("-vnc", Opts::of(&format!("unix:{}", socket.display())));
        }
        GraphicsBackend::Spice => {
            let spice = Opts::new()
                .switch("unix", true)
                .path("addr", &socket)
                .switch("disable-ticketing", true);
            let spice = if gl {
                spice.switch("gl", true).maybe("rendernode", node.as_ref())
            } else {
                spice
            };
            args.option("-spice", spice);
        }
    }
    args.option("-device", adapter(machine, gl));
    args.option("-device", Opts::of("qemu-xhci").set("id", "usb"));
    args.option("-device", Opts::of("usb-tablet").set("bus", "usb.0"));
    args.option("-device", Opts::of("usb-kbd").set("bus", "usb.0"));
}

/// Whether the guest has OpenGL: as asked, otherwise if there is something to draw with.
pub(super) fn gl(machine: &Machine<'_>) -> bool {
    let graphics = &machine.description.graphics;
    let host = machine.host;
    let features = host
        .tools
        .qemu
        .as_ref()
        .and_then(|qemu| qemu.features.as_ref());
    let built_in = features.is_none_or(|features| features.devices.contains("virtio-gpu-gl-pci"));
    graphics.enable
        && graphics
            .gl
            .unwrap_or(built_in && host.desktop.render_node.is_some())
}

/// Where a viewer connects.
pub(super) fn socket(machine: &Machine<'_>) -> Option<PathBuf> {
    let graphics = &machine.description.graphics;
    let viewed = matches!(
        graphics.backend,
        GraphicsBackend::Spice | GraphicsBackend::Vnc
    );
    (graphics.enable && viewed).then(|| machine.sockets.display(graphics.socket.as_deref()))
}

/// With VGA where there is a firmware that draws before the guest's driver does.
fn adapter(machine: &Machine<'_>, gl: bool) -> Opts {
    let graphics = &machine.description.graphics;
    let name = match (is_small(machine), gl) {
        (true, false) => "virtio-gpu-pci",
        (true, true) => "virtio-gpu-gl-pci",
        (false, false) => "virtio-vga",
        (false, true) => "virtio-vga-gl",
    };
    let adapter = Opts::of(name);
    match graphics.vulkan.filter(|_| gl) {
        None => adapter,
        Some(vulkan) => {
            let kind = match vulkan {
                Vulkan::Venus => "venus",
                Vulkan::DrmNativeContext => "drm_native_context",
            };
            adapter
                .switch("blob", true)
                .set("hostmem", &graphics.hostmem)
                .switch(kind, true)
        }
    }
}
