// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The real `rofs-vm`, with real guests in QEMU by software emulation. `.ci/provision` gets what
//! they need.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cloud_hypervisor;
mod dax;
mod desktop;
mod harness;
mod ladder;
mod life;
mod memory;
mod network;
mod pipewire;
mod sandbox;
mod shell;
mod volumes;
mod world;
mod xvfb;
