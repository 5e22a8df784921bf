// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The VM's name, its memory, its number.

use super::findings::Findings;
use crate::description::{Description, Hypervisor};

/// A host name has no more characters.
const LONGEST_NAME: usize = 63;

/// With exactly so much memory, QEMU's machine `microvm` hangs
/// (github.com/microvm-nix/microvm.nix/issues/171).
const HANGS: u32 = 2048;

/// Below this, no kernel of a distribution comes up.
const NARROW: u32 = 64;

pub(super) fn check(description: &Description, findings: &mut Findings<'_>) {
    name(description, findings);
    memory(description, findings);
    if let Some(id) = &description.machine_id
        && !is_uuid(id)
    {
        let instead = "write 32 hexadecimal digits as 8-4-4-4-12; `uuidgen` makes one";
        findings.wrong("machineId", format!("{id:?} is not a UUID"), instead);
    }
}

fn name(description: &Description, findings: &mut Findings<'_>) {
    let name = description.name.as_deref().unwrap_or("vm");
    let ends_well = |char: Option<char>| char.is_some_and(|char| char.is_ascii_alphanumeric());
    let well = ends_well(name.chars().next()) && ends_well(name.chars().last());
    let instead = "write a `name` of letters, digits and hyphens, at most 63 of them: it is the guest's host name";
    if name.len() > LONGEST_NAME {
        findings.wrong(
            "name",
            format!("{name:?} is longer than {LONGEST_NAME} characters"),
            instead,
        );
    } else if !well
        || !name
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || "-_.".contains(char))
    {
        findings.wrong(
            "name",
            format!("{name:?} cannot be the name of a VM"),
            instead,
        );
    }
}

fn memory(description: &Description, findings: &mut Findings<'_>) {
    let Description {
        mem,
        hotplug_mem: hotplug,
        ..
    } = *description;
    let qemu = description.hypervisor == Hypervisor::Qemu;
    if mem == HANGS && qemu && description.qemu.machine().starts_with("microvm") {
        let what = format!("QEMU hangs with exactly {HANGS} MiB on its machine `microvm`");
        findings.wrong(
            "mem",
            what,
            "write 2047 or 2049, or `qemu.machine = \"q35\"`",
        );
    } else if mem < NARROW && !findings.is_broken("mem") {
        let what = format!("{mem} MiB is not enough for most kernels; sizes are in MiB");
        findings.odd("mem", what, "write 512 or more");
    }
    if description
        .hotplugged_mem
        .is_some_and(|there| there > hotplug)
        && !findings.is_broken("hotplugMem")
    {
        let what = format!("this is more than can be added: `hotplugMem` is {hotplug}");
        findings.wrong(
            "hotpluggedMem",
            what,
            format!("write at most {hotplug}, or more for `hotplugMem`"),
        );
    }
    if description.initial_balloon_mem > 0 && !description.balloon && !findings.is_broken("balloon")
    {
        findings.wrong(
            "initialBalloonMem",
            "there is no balloon",
            "write `balloon = true`",
        );
    } else if description.initial_balloon_mem >= mem {
        findings.wrong(
            "initialBalloonMem",
            "the balloon takes all the memory",
            format!("write less than {mem}"),
        );
    }
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    lengths == [8, 4, 4, 4, 12]
        && parts
            .iter()
            .all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
