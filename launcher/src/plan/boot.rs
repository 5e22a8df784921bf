// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The kernel's command line.

use crate::description::{Description, Hypervisor};
use crate::hypervisor::Accelerator;
use crate::refusal::Refusal;
use crate::system::Boot;

/// `COMMAND_LINE_SIZE` of x86 and ARM, with the byte that ends it. The kernel cuts off the rest.
const LONGEST: usize = 2048;

/// Puts the command line together. Later parameters win, so the description's come last.
pub(super) fn command_line(
    description: &Description,
    boot: &Boot,
    guest_init: bool,
    accel: Accelerator,
) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut add = |text: &str| words.push(text.to_owned());
    if description.hypervisor != Hypervisor::Qemu || description.qemu.serial_console {
        add(if cfg!(target_arch = "aarch64") {
            "console=ttyAMA0"
        } else {
            "console=ttyS0"
        });
    }
    if accel == Accelerator::Tcg && cfg!(target_arch = "x86_64") {
        // On a busy host ticks are late; the kernel would take the timer for broken and stop.
        add("no_timer_check");
    }
    // A restart, by a panic too, ends the hypervisor. By triple fault: the small machine has no
    // other way, and the others have this one too.
    add("reboot=t");
    add("panic=-1");
    if !description.run.is_empty() {
        // The console belongs to the command.
        add("quiet");
    }
    let system = boot.system.iter().flat_map(|system| &system.kernel_params);
    words.extend(system.chain(&description.kernel_params).cloned());
    let own_init = words.iter().any(|word| word.starts_with("init="));
    if let Some(system) = boot.system.as_ref().filter(|_| !guest_init && !own_init) {
        words.push(format!("init={}", system.init().display()));
    }
    words.join(" ")
}

pub(super) fn too_long(command_line: &str) -> Option<Refusal> {
    let length = command_line.len();
    (length >= LONGEST).then(|| {
        let what = format!(
            "with these the kernel's command line has {length} bytes, and it reads {} at most",
            LONGEST - 1
        );
        Refusal::new("kernelParams", what, "fewer or shorter parameters")
    })
}
