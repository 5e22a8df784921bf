// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Machines of cloud-hypervisor.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::harness::{Place, kernel, store_path};
use crate::shell::{Shell, description, path_with, skipped};

fn machine(more: &str) -> String {
    let kernel = kernel();
    description(&format!(
        "hypervisor = \"cloud-hypervisor\"\naccel = \"kvm\"\nkernel = \"{}\"\n{more}",
        kernel.display()
    ))
}

/// Why no guest of cloud-hypervisor can run here.
fn missing() -> Option<&'static str> {
    let there = Command::new("cloud-hypervisor").arg("--version").output();
    if !there.is_ok_and(|output| output.status.success()) {
        return Some("there is no cloud-hypervisor on PATH");
    }
    let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let helps = flags
        .split_whitespace()
        .any(|flag| flag == "vmx" || flag == "svm");
    if !helps || !Path::new("/dev/kvm").exists() {
        return Some("cloud-hypervisor needs KVM, which this machine has not");
    }
    None
}

/// What the machines of QEMU are tested for, as far as both can do it.
#[test]
fn guests_of_cloud_hypervisor() {
    if let Some(why) = missing() {
        skipped(&format!("{why}; nothing replaces this test"));
        return;
    }
    let place = Place::new();
    let text = machine("[[interfaces]]\ntype = \"user\"\nid = \"net\"\n");
    let mut shell = Shell::boot(&place, "ch", &text, &HashMap::new());
    let listed = shell.ask(&format!("ls -d {}", store_path("hello")));
    assert_eq!(listed, store_path("hello"));
    assert!(shell.ask("touch /nix/store/x").contains("Read-only"));
    let addresses = shell.ask("ip -o -4 addr show eth0");
    assert!(addresses.contains("inet 10.0.2.15/24"), "{addresses}");
    let (status, said) = shell.end();
    assert!(status.success(), "{said}");
    fs::remove_dir_all(place.path().join("state/rofs-vm/ch")).unwrap();
    place.assert_clean();
}

/// A directory of programs that stand in for real ones, first on `PATH`.
fn programs(place: &Place, scripts: &[(&str, &str)]) -> HashMap<&'static str, OsString> {
    let bin = place.path().join("bin");
    fs::create_dir(&bin).unwrap();
    for (name, script) in scripts {
        fs::write(bin.join(name), format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    HashMap::from([("PATH", path_with(&bin))])
}

const WITH_SOUND: &str = "[sound]\nenable = true\nbackend = \"none\"\n";

/// The daemon that makes its sound is started before it, with its arguments, and watched: when it
/// ends, so does the machine, and what it said is told.
#[test]
fn the_sound_daemon_is_supervised() {
    let place = Place::new();
    let log = place.path().join("log");
    // Its socket is the second argument.
    let daemon = format!(
        "echo sound \"$@\" >>{0}; : >\"$2\"; sleep 2; echo 'the card is gone' >&2; exit 3",
        log.display()
    );
    // It is found among what is left by the place in its arguments.
    let vmm = format!("echo vmm >>{0}; exec tail -f {0}", log.display());
    let scripts = [
        ("vhost-device-sound", daemon.as_str()),
        ("cloud-hypervisor", &vmm),
    ];
    let variables = programs(&place, &scripts);
    let shell = Shell::boot(&place, "ch-sound", &machine(WITH_SOUND), &variables);
    let socket = shell.sockets.join("sound.sock");
    let (status, said) = shell.end();
    assert_eq!(status.code(), Some(1), "{said}");
    for part in ["vhost-device-sound ended with status 3", "the card is gone"] {
        assert!(said.contains(part), "{part} is missing in {said}");
    }
    let order = fs::read_to_string(&log).unwrap();
    assert_eq!(
        order,
        format!("sound --socket {} --backend null\nvmm\n", socket.display())
    );
    fs::remove_dir_all(place.path().join("state/rofs-vm/ch-sound")).ok();
    place.assert_clean();
}

/// What it cannot do at all, and what is not installed.
#[test]
fn what_cloud_hypervisor_lacks_is_refused() {
    let place = Place::new();
    let variables = programs(&place, &[("cloud-hypervisor", "exec sleep 1000")]);
    let more = format!("graphics.enable = true\nclipboard.enable = true\n{WITH_SOUND}");
    let shell = Shell::boot(&place, "ch-lacks", &machine(&more), &variables);
    let (status, said) = shell.end();
    assert_eq!(status.code(), Some(2), "{said}");
    for part in [
        "graphics.enable: cloud-hypervisor cannot do a screen: released versions have no graphics device",
        "clipboard.enable: cloud-hypervisor cannot do the clipboard",
        "sound.enable: cloud-hypervisor's sound card is made by vhost-device-sound, which is not installed",
        "`hypervisor = \"qemu\"`",
    ] {
        assert!(said.contains(part), "{part} is missing in {said}");
    }
    place.assert_clean();
}
