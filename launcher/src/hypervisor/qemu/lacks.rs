// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the installed QEMU, or this machine, lacks for a description. Said beforehand, because
//! QEMU would end with a message about modules and drivers.

use super::sound;
use crate::description::{Description, GraphicsBackend};
use crate::host::{Features, Host, Version};
use crate::refusal::Refusal;

/// The first version whose generic vhost-user device can be made by hand and has shared memory
/// regions.
const DAX_SINCE: Version = Version(11, 1);

pub(super) fn refusals(description: &Description, host: &Host) -> Vec<Refusal> {
    let mut refusals = dax(description, host);
    refusals.extend(gl(description, host));
    refusals.extend(window(description, host));
    let Some(features) = host
        .tools
        .qemu
        .as_ref()
        .and_then(|qemu| qemu.features.as_ref())
    else {
        return refusals;
    };
    refusals.extend(display(description, features));
    refusals.extend(audio(description, features));
    refusals
}

fn dax(description: &Description, host: &Host) -> Vec<Refusal> {
    let version = host.tools.qemu.as_ref().and_then(|qemu| qemu.version);
    let Some(Version(major, minor)) = version.filter(|version| *version < DAX_SINCE) else {
        return Vec::new();
    };
    let asking = description
        .shares
        .iter()
        .enumerate()
        .filter(|(_, share)| share.dax);
    asking
        .map(|(i, _)| {
            let what =
                format!("DAX windows need QEMU 11.1 or newer, and this one is {major}.{minor}");
            Refusal::new(
                format!("shares[{i}].dax"),
                what,
                "a newer QEMU in `qemu.package`, or leave `dax` out",
            )
        })
        .collect()
}

fn gl(description: &Description, host: &Host) -> Option<Refusal> {
    let graphics = &description.graphics;
    if !graphics.enable || host.desktop.render_node.is_some() {
        return None;
    }
    let what = "there is no render node (/dev/dri/renderD*) that this user can open";
    if graphics.gl == Some(true) {
        return Some(Refusal::new(
            "graphics.gl",
            what,
            "leave `gl` out: the guest then draws by itself; or join the group `render`",
        ));
    }
    graphics.vulkan.map(|_| {
        Refusal::new(
            "graphics.vulkan",
            what,
            "leave `vulkan` out, or join the group `render`",
        )
    })
}

fn window(description: &Description, host: &Host) -> Option<Refusal> {
    let graphics = &description.graphics;
    let window = graphics.enable && graphics.backend == GraphicsBackend::Gtk;
    (window && !host.desktop.windows).then(|| {
        let what = "no window can be opened: neither DISPLAY is set nor is there a Wayland socket";
        let instead = "start it from a desktop session, or `graphics.backend = \"headless\"`, \"spice\" or \"vnc\"";
        Refusal::new("graphics.backend", what, instead)
    })
}

fn display(description: &Description, features: &Features) -> Option<Refusal> {
    let graphics = &description.graphics;
    if !graphics.enable {
        return None;
    }
    let lacks = |name: &str| !features.displays.contains(name);
    let (what, package) = match graphics.backend {
        GraphicsBackend::Gtk if lacks("gtk") => ("GTK windows", "qemu-system-gui"),
        // Its display is listed only where the module is there.
        GraphicsBackend::Spice if lacks("spice-app") => ("SPICE", "qemu-system-modules-spice"),
        _ if graphics.gl == Some(true) && !features.devices.contains("virtio-gpu-gl-pci") => {
            ("OpenGL for guests", "qemu-system-modules-opengl")
        }
        _ => return None,
    };
    let instead = format!(
        "a QEMU that has it (Debian: {package}; NixOS: the package `qemu`), or another `graphics.backend`"
    );
    Some(Refusal::new(
        "graphics.backend",
        format!("this QEMU was built without {what}"),
        instead,
    ))
}

fn audio(description: &Description, features: &Features) -> Option<Refusal> {
    let driver = sound::driver(description.sound.backend);
    (description.sound.enable && !features.audio.contains(driver)).then(|| {
        let what = format!("this QEMU was built without {driver}");
        let instead = "a QEMU that has it (Debian: qemu-system-gui; NixOS: the package `qemu`), or another `sound.backend`";
        Refusal::new("sound.backend", what, instead)
    })
}
