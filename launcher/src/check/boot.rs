// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the guest boots and runs.

use std::path::Path;

use super::findings::Findings;
use crate::description::Description;

/// Whether the description says what to boot at all.
pub(super) fn is_something(description: &Description) -> bool {
    description.system.is_some() || description.kernel.is_some() || !description.run.is_empty()
}

pub(super) fn check(description: &Description, findings: &mut Findings<'_>) {
    let broken = ["system", "kernel", "run", "microvm"]
        .iter()
        .any(|option| findings.is_broken(option));
    if !is_something(description) && description.initrd.is_none() && !broken {
        let instead = "write `system = \"/nix/store/...-nixos-system-...\"` (what `nixos-rebuild build` makes), \
                       or `kernel` and `initrd`, or `run = [\"/bin/sh\"]` for one program";
        findings.wrong("kernel", "there is nothing to boot", instead);
    }
    if description.initrd.is_some() && !is_something(description) && !broken {
        findings.wrong(
            "initrd",
            "there is an initrd but no kernel",
            "write `kernel`, too",
        );
    }
    run(description, findings);
    store(description, findings);
}

fn run(description: &Description, findings: &mut Findings<'_>) {
    let instead = "leave one of them out";
    if description.run.is_empty() {
        if !description.environment.is_empty() && !findings.is_broken("run") {
            findings.odd(
                "environment",
                "there is no program that gets it",
                "write `run`, or leave it out",
            );
        }
        if description.working_directory.is_some() && !findings.is_broken("run") {
            findings.odd(
                "workingDirectory",
                "there is no program that starts in it",
                "write `run`, or leave it out",
            );
        }
        return;
    }
    if description.run.first().is_some_and(String::is_empty) {
        findings.wrong(
            "run[0]",
            "the program has no name",
            "write its path in the guest",
        );
    }
    if description.initrd.is_some() {
        findings.wrong("initrd", "`run` brings an initrd of its own", instead);
    }
    if description.guest_init == Some(false) {
        let what = "`run` needs rofs-vm's init in the guest, and this forbids it";
        findings.wrong("guestInit", what, instead);
    }
    for name in description.environment.keys() {
        if name.is_empty() || name.contains('=') {
            let option = format!("environment.{name:?}");
            findings.wrong(
                &option,
                format!("{name:?} cannot be the name of a variable"),
                "write NAME = \"value\"",
            );
        }
    }
    if let Some(folder) = &description.working_directory
        && !folder.is_absolute()
    {
        let instead = format!("write {:?}", Path::new("/").join(folder));
        findings.wrong("workingDirectory", "this is not an absolute path", instead);
    }
}

fn store(description: &Description, findings: &mut Findings<'_>) {
    for (index, path) in description.closure.iter().enumerate() {
        if !is_store_path(path) {
            let what = format!("{} is not a store path", path.display());
            let instead = "write one, as \"/nix/store/...-name\", without anything after it";
            findings.wrong(&format!("closure[{index}]"), what, instead);
        }
    }
    let shared = description.shares.iter().any(|share| share.is_store());
    let broken = findings.is_broken("shares");
    if !description.closure.is_empty() && !shared && !broken {
        let instead = "write a share with `source = \"/nix/store\"`, or leave `closure` out";
        findings.wrong(
            "closure",
            "there is no share of the store which it could limit",
            instead,
        );
    }
    if description.store_on_disk && description.store_disk.is_none() {
        let instead =
            "write `storeDisk = \"/nix/store/...\"`, or share `/nix/store` in place of it";
        findings.wrong("storeOnDisk", "there is no image of the store", instead);
    }
}

fn is_store_path(path: &Path) -> bool {
    let name = path
        .strip_prefix("/nix/store")
        .ok()
        .and_then(Path::to_str)
        .unwrap_or_default();
    let hash = name.split('-').next().unwrap_or_default();
    hash.len() == 32
        && name.len() > 33
        && !name.contains('/')
        && hash.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
