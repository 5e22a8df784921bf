// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One switch, and files are mapped into the guest.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::harness::Place;
use crate::world::{Machine, at_nix, busybox, one_program, script, systems, text};

#[test]
fn guests_map_what_is_large() {
    let place = Place::new();
    let bin = place.path().join("bin");
    fs::create_dir(&bin).unwrap();
    // Debian sid's has windows.
    let qemu = bin.join("qemu-system-x86_64");
    let in_sid = script("in-sid");
    let wrapper = format!(
        "#!/bin/sh\nexec '{}' qemu-system-x86_64 \"$@\"\n",
        in_sid.display()
    );
    fs::write(&qemu, wrapper).unwrap();
    fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)).unwrap();

    let busybox = busybox();
    let look = format!(
        "{busybox} grep virtiofs /proc/mounts; {busybox} dmesg | {busybox} grep \"Cache len\"; \
         {busybox} md5sum {busybox}"
    );
    let description = format!("{}readOnly = true\ndax = true\n", one_program(&look));
    let output = Machine::new(&place, "mapped", &description).run().output();
    let output = output.unwrap();
    let (out, said) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{out}{said}");
    // The window that is there unless told otherwise.
    assert!(out.contains("Cache len: 0x20000000"), "{out}{said}");
    assert!(out.contains("dax=inode"), "{out}{said}");
    let mut here = Command::new("md5sum");
    let here = at_nix(systems(), here.arg(&busybox)).output().unwrap();
    assert!(out.contains(text(&here.stdout).trim_end()), "{out}{said}");
}
