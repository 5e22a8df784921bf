// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Screen, sound, clipboard.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A screen, with keyboard and tablet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Graphics {
    /// Whether there is one.
    pub enable: bool,
    /// Where it is seen.
    pub backend: GraphicsBackend,
    /// OpenGL in the guest. Default: if the host has a render node. (rofs-vm only)
    pub gl: Option<bool>,
    /// Socket on which `spice` or `vnc` listens; if not absolute, in the VM's runtime directory. Default: one is chosen.
    pub socket: Option<PathBuf>,
    /// Vulkan in the guest, and how.
    pub vulkan: Option<Vulkan>,
    /// Memory of the host which the guest's graphics can reach with Vulkan: a number with M or G.
    pub hostmem: String,
}

impl Default for Graphics {
    fn default() -> Self {
        Self {
            enable: false,
            backend: GraphicsBackend::default(),
            gl: None,
            socket: None,
            vulkan: None,
            hostmem: "256M".into(),
        }
    }
}

/// Where a screen is seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GraphicsBackend {
    /// In a window.
    #[default]
    Gtk,
    /// Nowhere: the guest draws, and nobody looks.
    Headless,
    /// In a SPICE viewer, through a unix socket. (rofs-vm only)
    Spice,
    /// In a VNC viewer, through a unix socket. (rofs-vm only)
    Vnc,
}

/// How Vulkan gets to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Vulkan {
    /// Call by call.
    Venus,
    /// With the guest's own driver for the host's graphics card.
    DrmNativeContext,
}

/// Sound.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Sound {
    /// Whether there is any.
    pub enable: bool,
    /// Where it is heard.
    pub backend: SoundBackend,
    /// The guest's sound card.
    pub card: SoundCard,
    /// Whether the guest can record, too.
    pub microphone: bool,
}

/// Where sound is heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SoundBackend {
    /// The user's PipeWire.
    #[default]
    Pipewire,
    /// The user's PulseAudio.
    Pulseaudio,
    /// The host's sound card.
    Alsa,
    /// Nowhere: a card that is silent.
    None,
}

/// A guest's sound card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SoundCard {
    /// Intel HD Audio, which every desktop system has a driver for; with cloud-hypervisor it is virtio-sound.
    #[default]
    IntelHda,
    /// virtio-sound.
    Virtio,
}

/// The clipboard, shared with the host's desktop.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Clipboard {
    /// Whether it is; needs `graphics.enable`, and spice-vdagent in the guest.
    pub enable: bool,
}
