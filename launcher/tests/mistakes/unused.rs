// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Options of microvm.nix which are not used: a warning each, if they are set to something.

use expect_test::expect;

use crate::{nothing_is_said, vm_says};

#[test]
fn options_that_matter() {
    vm_says(
        r#"preStart = "modprobe kvm"
extraArgsScript = "/nix/store/args"
user = "microvm"
socket = "/run/vm/control.sock"
registerWithMachined = true
[qemu]
pcieRootPorts = [{ id = "port0", bus = "pcie.0" }]
[virtiofsd]
group = "vms"
[[devices]]
bus = "pci"
path = "0000:01:00.0"
"#,
        expect![[r#"
            warning: preStart: rofs-vm does not use this option of microvm.nix
             --> vm.toml:2:1
              |
            2 | preStart = "modprobe kvm"
              | ^^^^^^^^
              |
              = help: run these commands before rofs-vm, for instance in an `ExecStartPre=` of its unit

            warning: extraArgsScript: rofs-vm does not use this option of microvm.nix
             --> vm.toml:3:1
              |
            3 | extraArgsScript = "/nix/store/args"
              | ^^^^^^^^^^^^^^^
              |
              = help: write the arguments into `qemu.extraArgs` or `cloud-hypervisor.extraArgs`

            warning: user: rofs-vm does not use this option of microvm.nix
             --> vm.toml:4:1
              |
            4 | user = "microvm"
              | ^^^^
              |
              = help: start rofs-vm as that user; it needs no root

            warning: socket: rofs-vm does not use this option of microvm.nix
             --> vm.toml:5:1
              |
            5 | socket = "/run/vm/control.sock"
              | ^^^^^^
              |
              = help: the control socket is in the VM's runtime directory; `rofs-vm status` shows it

            warning: registerWithMachined: rofs-vm does not use this option of microvm.nix
             --> vm.toml:6:1
              |
            6 | registerWithMachined = true
              | ^^^^^^^^^^^^^^^^^^^^
              |
              = help: `rofs-vm list` shows what is running

            warning: qemu.pcieRootPorts: rofs-vm does not use this option of microvm.nix
             --> vm.toml:8:1
              |
            8 | pcieRootPorts = [{ id = "port0", bus = "pcie.0" }]
              | ^^^^^^^^^^^^^
              |
              = help: write the ports into `qemu.extraArgs`, as in ["-device", "pcie-root-port,id=port0"]

            warning: virtiofsd.group: rofs-vm does not use this option of microvm.nix
              --> vm.toml:10:1
               |
            10 | group = "vms"
               | ^^^^^
               |
               = help: virtiofsd and the hypervisor run as the same user, who owns the socket

            warning: devices: rofs-vm does not use this option of microvm.nix
              --> vm.toml:11:3
               |
            11 | [[devices]]
               |   ^^^^^^^
               |
               = help: pass the device in `qemu.extraArgs`, as in ["-device", "vfio-pci,host=0000:01:00.0"]

            warning: devices: rofs-vm does not use this option of microvm.nix
             --> vm.json:2:3
              |
            2 |   "devices": [
              |   ^^^^^^^^^
              |
              = help: pass the device in `qemu.extraArgs`, as in ["-device", "vfio-pci,host=0000:01:00.0"]

            warning: extraArgsScript: rofs-vm does not use this option of microvm.nix
             --> vm.json:8:3
              |
            8 |   "extraArgsScript": "/nix/store/args",
              |   ^^^^^^^^^^^^^^^^^
              |
              = help: write the arguments into `qemu.extraArgs` or `cloud-hypervisor.extraArgs`

            warning: preStart: rofs-vm does not use this option of microvm.nix
             --> vm.json:9:3
              |
            9 |   "preStart": "modprobe kvm",
              |   ^^^^^^^^^^
              |
              = help: run these commands before rofs-vm, for instance in an `ExecStartPre=` of its unit

            warning: qemu.pcieRootPorts: rofs-vm does not use this option of microvm.nix
              --> vm.json:11:5
               |
            11 |     "pcieRootPorts": [
               |     ^^^^^^^^^^^^^^^
               |
               = help: write the ports into `qemu.extraArgs`, as in ["-device", "pcie-root-port,id=port0"]

            warning: registerWithMachined: rofs-vm does not use this option of microvm.nix
              --> vm.json:18:3
               |
            18 |   "registerWithMachined": true,
               |   ^^^^^^^^^^^^^^^^^^^^^^
               |
               = help: `rofs-vm list` shows what is running

            warning: socket: rofs-vm does not use this option of microvm.nix
              --> vm.json:22:3
               |
            22 |   "socket": "/run/vm/control.sock",
               |   ^^^^^^^^
               |
               = help: the control socket is in the VM's runtime directory; `rofs-vm status` shows it

            warning: user: rofs-vm does not use this option of microvm.nix
              --> vm.json:23:3
               |
            23 |   "user": "microvm",
               |   ^^^^^^
               |
               = help: start rofs-vm as that user; it needs no root

            warning: virtiofsd.group: rofs-vm does not use this option of microvm.nix
              --> vm.json:25:5
               |
            25 |     "group": "vms"
               |     ^^^^^^^
               |
               = help: virtiofsd and the hypervisor run as the same user, who owns the socket
        "#]],
    );
}

#[test]
fn options_at_their_defaults() {
    nothing_is_said(
        r#"preStart = ""
socket = "vm.sock"
registerWithMachined = false
devices = []
[qemu]
pcieRootPorts = []
[virtiofsd]
group = "kvm"
"#,
    );
}

#[test]
fn options_that_say_how_to_build() {
    nothing_is_said(
        r#"storeDiskType = "erofs"
prettyProcnames = true
optimize.enable = true
[runner]
qemu = "/nix/store/runner"
[crosvm]
extraArgs = ["--no-balloon"]
"#,
    );
}
