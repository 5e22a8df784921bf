// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The balloon.

use super::super::args::{Args, Opts};
use super::Machine;

pub(super) fn add(args: &mut Args, machine: &Machine<'_>) {
    if machine.description.balloon {
        let balloon = Opts::of("virtio-balloon-pci")
            .set("id", "balloon0")
            .switch("free-page-reporting", true);
        args.option(
            "-device",
            balloon.when(machine.description.deflate_on_oom, "deflate-on-oom"),
        );
    }
}
