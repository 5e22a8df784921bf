// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sound: whether somebody is there to play it, and the helper of hypervisors without a card.

use std::collections::BTreeMap;

use super::{ProcessPlan, Readiness, Sockets};
use crate::description::{Description, SoundBackend};
use crate::host::{Host, SoundServer};
use crate::refusal::Refusal;

/// Says that nobody plays it, before the hypervisor dies of it.
pub(super) fn refusal(description: &Description, host: &Host) -> Option<Refusal> {
    let sound = &description.sound;
    if !sound.enable
        || !matches!(
            sound.backend,
            SoundBackend::Pipewire | SoundBackend::Pulseaudio
        )
    {
        return None;
    }
    let why = match &host.desktop.sound {
        Some(SoundServer::Reachable(_)) => return None,
        Some(SoundServer::Unreachable(why)) => why.clone(),
        None => "nobody looked for a sound server".to_owned(),
    };
    let instead = "start it from the session of a user who has sound, or `sound.backend = \"none\"`: the guest then has a silent card";
    Some(Refusal::new("sound.backend", why, instead))
}

/// vhost-device-sound, for hypervisors whose sound card is a vhost-user device.
pub(super) fn helper(
    description: &Description,
    host: &Host,
    sockets: &Sockets,
) -> Option<ProcessPlan> {
    let program = host
        .tools
        .vhost_device_sound
        .clone()
        .filter(|_| description.sound.enable)?;
    let backend = match description.sound.backend {
        SoundBackend::Pipewire | SoundBackend::Pulseaudio => "pipewire",
        SoundBackend::Alsa => "alsa",
        SoundBackend::None => "null",
    };
    let socket = sockets.sound();
    Some(ProcessPlan {
        name: "vhost-device-sound".to_owned(),
        program,
        args: vec![
            "--socket".to_owned(),
            socket.display().to_string(),
            "--backend".to_owned(),
            backend.to_owned(),
        ],
        env: BTreeMap::new(),
        fds: Vec::new(),
        ready: Readiness::Socket(socket.clone()),
        sockets: vec![socket],
    })
}
