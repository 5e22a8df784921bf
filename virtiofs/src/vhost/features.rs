// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the device offers. Some front-ends pass on to the guest, or acknowledge, whatever is
//! offered, so nothing is that is not done.

use vhost::vhost_user::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};

/// `VIRTIO_RING_F_INDIRECT_DESC`.
const INDIRECT_DESC: u64 = 1 << 28;
/// `VIRTIO_RING_F_EVENT_IDX`.
pub(super) const EVENT_IDX: u64 = 1 << 29;
/// `VHOST_USER_F_PROTOCOL_FEATURES`; without it rings need no enabling.
pub(super) const PROTOCOL_FEATURES: u64 = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
/// `VIRTIO_F_VERSION_1`.
const VERSION_1: u64 = 1 << 32;

/// The virtio features.
pub(super) const FEATURES: u64 = VERSION_1 | EVENT_IDX | INDIRECT_DESC | PROTOCOL_FEATURES;

/// What asking the front-end to map takes.
pub(super) const SHMEM: VhostUserProtocolFeatures = VhostUserProtocolFeatures::BACKEND_REQ
    .union(VhostUserProtocolFeatures::REPLY_ACK)
    .union(VhostUserProtocolFeatures::SHMEM);

/// The vhost-user protocol features, with or without the device's configuration and a DAX window.
pub(super) fn protocol(config: bool, window: bool) -> VhostUserProtocolFeatures {
    let mut offered = VhostUserProtocolFeatures::MQ
        | VhostUserProtocolFeatures::REPLY_ACK
        | VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS;
    if config {
        // QEMU 7.1 to 8.0 crashes on this one, hence only for those who asked for it.
        offered |= VhostUserProtocolFeatures::CONFIG;
    }
    if window {
        // QEMU 11.1 takes what is mapped in the window for memory of the guest. With regions told
        // one by one it crashes when a guest reboots, and aborts at 512 of them.
        offered.remove(VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS);
        offered |= SHMEM;
    }
    offered
}
