// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a machine lacks, or has otherwise than described.

use std::fs;
use std::path::Path;

use expect_test::{Expect, expect};
use launcher::check::check;
use launcher::description::Document;
use launcher::host::Host;

use crate::host::host;

/// Compares what is said of a file with `DIR/kernel` to boot, on a machine that lacks something.
fn machine_says(toml: &str, lacks: impl FnOnce(&mut Host, &Path), expected: Expect) {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("kernel"), "").expect("a kernel");
    let mut host = host();
    lacks(&mut host, dir.path());
    let text = format!("kernel = \"kernel\"\ninitrd = \"kernel\"\n{toml}");
    let document = Document::parse(dir.path().join("vm.toml"), text).expect("TOML");
    let said = match check(document, Some(&host)) {
        Ok(checked) => checked.warnings(false),
        Err(mistakes) => mistakes.to_string(),
    };
    let folder = dir.path().display().to_string();
    expected.assert_eq(&said.replace(&folder, "DIR"));
}

fn nothing(_: &mut Host, _: &Path) {}

#[test]
fn nothing_is_wrong() {
    machine_says("", nothing, expect![[r#""#]]);
}

#[test]
fn files_that_are_not_there() {
    let toml = r#"modules = "modules"
[[shares]]
tag = "a"
source = "gone"
mountPoint = "/a"
[[shares]]
tag = "b"
source = "kernel"
mountPoint = "/b"
"#;
    let no_kernel =
        |_: &mut Host, dir: &Path| fs::remove_file(dir.join("kernel")).expect("a kernel");
    machine_says(
        toml,
        nothing,
        expect![[r#"
        error: modules: DIR/modules has no modules.dep in it
         --> DIR/vm.toml:3:11
          |
        3 | modules = "modules"
          |           ^^^^^^^^^
          |
          = help: the directory of one kernel's modules, as /lib/modules/RELEASE

        error: shares[0].source: DIR/gone cannot be shared: No such file or directory (os error 2)
         --> DIR/vm.toml:6:10
          |
        6 | source = "gone"
          |          ^^^^^^
          |
          = help: write the path of a directory of this machine

        error: shares[1].source: DIR/kernel is not a directory
          --> DIR/vm.toml:10:10
           |
        10 | source = "kernel"
           |          ^^^^^^^^
           |
           = help: share the one it is in: "DIR""#]],
    );
    machine_says(
        "",
        no_kernel,
        expect![[r#"
        error: kernel: DIR/kernel: No such file or directory (os error 2)
         --> DIR/vm.toml:1:10
          |
        1 | kernel = "kernel"
          |          ^^^^^^^^
          |
          = help: a file that is there

        error: initrd: DIR/kernel: No such file or directory (os error 2)
         --> DIR/vm.toml:2:10
          |
        2 | initrd = "kernel"
          |          ^^^^^^^^
          |
          = help: a file that is there"#]],
    );
}

#[test]
fn no_nixos_system() {
    machine_says(
        "system = \".\"\n",
        nothing,
        expect![[r#"
        error: system: DIR/. is no NixOS system: initrd: No such file or directory (os error 2)
         --> DIR/vm.toml:3:10
          |
        3 | system = "."
          |          ^^^
          |
          = help: the path that `nixos-rebuild build` links as `result`"#]],
    );
}

#[test]
fn no_hypervisor() {
    machine_says(
        "",
        |host, _| host.tools.qemu = None,
        expect![[r#"
        error: hypervisor: there is no qemu on this machine
         --> DIR/vm.toml:1:1
          |
        1 | kernel = "kernel"
          | ^
          |
          = help: install QEMU (Debian: qemu-system-x86; NixOS: qemu_kvm), or name its package in `qemu.package`"#]],
    );
}

#[test]
fn no_interface() {
    let toml = r#"[[interfaces]]
type = "tap"
id = "vm-tap"
[[interfaces]]
type = "bridge"
id = "net"
bridge = "br7"
"#;
    machine_says(
        toml,
        nothing,
        expect![[r#"
            error: interfaces[0].id: this machine has no tap interface vm-tap
             --> DIR/vm.toml:5:6
              |
            5 | id = "vm-tap"
              |      ^^^^^^^^
              |
              = help: `ip tuntap add vm-tap mode tap user $USER` and `ip link set vm-tap up`, as root

            error: interfaces[1].bridge: this machine has no bridge br7
             --> DIR/vm.toml:9:10
              |
            9 | bridge = "br7"
              |          ^^^^^
              |
              = help: `ip link add br7 type bridge` and `ip link set br7 up`, as root"#]],
    );
}

#[test]
fn no_desktop() {
    let toml = "graphics.enable = true\nsound.enable = true\n";
    let no_desktop = |host: &mut Host, _: &Path| {
        host.desktop.windows = false;
        host.desktop.sound = None;
    };
    machine_says(
        toml,
        no_desktop,
        expect![[r#"
        error: graphics.backend: no window can be opened: neither DISPLAY is set nor is there a Wayland socket
         --> DIR/vm.toml:3:1
          |
        3 | graphics.enable = true
          | ^^^^^^^^
          |
          = help: start it from a desktop session, or `graphics.backend = "headless"`, "spice" or "vnc"

        error: sound.backend: nobody looked for a sound server
         --> DIR/vm.toml:4:1
          |
        4 | sound.enable = true
          | ^^^^^
          |
          = help: start it from the session of a user who has sound, or `sound.backend = "none"`: the guest then has a silent card"#]],
    );
}

#[test]
fn a_runtime_directory_with_a_long_name() {
    let long = |host: &mut Host, _: &Path| {
        host.directories.runtime = Path::new("/run").join("x".repeat(90));
    };
    machine_says(
        "",
        long,
        expect![[r#"
        error: name: the VM's sockets in /run/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx/vm have paths of more than 107 bytes
         --> DIR/vm.toml:1:1
          |
        1 | kernel = "kernel"
          | ^
          |
          = help: write a shorter `name`, or set XDG_RUNTIME_DIR to a shorter path"#]],
    );
}

/// A writable virtiofs share needs virtiofsd.
#[test]
fn no_virtiofsd() {
    let toml = r#"[[shares]]
tag = "home"
source = "."
mountPoint = "/home"
proto = "virtiofs"
"#;
    machine_says(
        toml,
        |host, _| host.tools.virtiofsd = None,
        expect![[r#"
        error: shares[0].readOnly: a share that the guest can write to is served by virtiofsd, which is not installed
         --> DIR/vm.toml:3:1
          |
        3 | [[shares]]
          | ^^^^^^^^^^
          |
          = help: install virtiofsd, or `proto = "9p"` (QEMU serves that itself), or `readOnly = true`"#]],
    );
}
