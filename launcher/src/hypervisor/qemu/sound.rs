// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The sound card.

use super::super::args::{Args, Opts};
use super::Machine;
use crate::description::{SoundBackend, SoundCard};

pub(super) fn add(args: &mut Args, machine: &Machine<'_>) {
    let sound = &machine.description.sound;
    if !sound.enable {
        return;
    }
    args.option(
        "-audiodev",
        Opts::of(driver(sound.backend)).set("id", "sound"),
    );
    match sound.card {
        SoundCard::IntelHda => {
            args.option("-device", Opts::of("intel-hda").set("id", "hda"));
            let codec = if sound.microphone {
                "hda-duplex"
            } else {
                "hda-output"
            };
            args.option(
                "-device",
                Opts::of(codec).set("bus", "hda.0").set("audiodev", "sound"),
            );
        }
        SoundCard::Virtio => {
            // The first stream plays, the second records.
            let streams = if sound.microphone { 2 } else { 1 };
            let card = Opts::of("virtio-sound-pci")
                .set("audiodev", "sound")
                .set("streams", streams);
            args.option("-device", card);
        }
    }
}

/// QEMU's name of a backend.
pub(super) fn driver(backend: SoundBackend) -> &'static str {
    match backend {
        SoundBackend::Pipewire => "pipewire",
        SoundBackend::Pulseaudio => "pa",
        SoundBackend::Alsa => "alsa",
        SoundBackend::None => "none",
    }
}
