// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a hypervisor lacks, with who has it.

use expect_test::expect;

use crate::vm_says;

#[test]
fn a_screen_with_cloud_hypervisor() {
    vm_says(
        r#"hypervisor = "cloud-hypervisor"
graphics.enable = true"#,
        expect![[r#"
            error: graphics.enable: cloud-hypervisor cannot do a screen: released versions have no graphics device
             --> vm.toml:3:19
              |
            3 | graphics.enable = true
              |                   ^^^^
              |
              = help: run the desktop on another machine's screen (waypipe over vsock, or a remote desktop), or `hypervisor = "qemu"`

            error: graphics.enable: cloud-hypervisor cannot do a screen: released versions have no graphics device
             --> vm.json:3:15
              |
            3 |     "enable": true
              |               ^^^^
              |
              = help: run the desktop on another machine's screen (waypipe over vsock, or a remote desktop), or `hypervisor = "qemu"`
        "#]],
    );
}

#[test]
fn nine_p_with_cloud_hypervisor() {
    vm_says(
        r#"hypervisor = "cloud-hypervisor"
[[shares]]
tag = "a"
source = "/srv"
mountPoint = "/a"
"#,
        expect![[r#"
            error: shares[0].proto: cloud-hypervisor cannot do 9p: it has no 9p device
             --> vm.toml:3:1
              |
            3 | [[shares]]
              | ^^^^^^^^^^
              |
              = help: write `proto = "virtiofs"`, or `hypervisor = "qemu"`

            error: shares[0].proto: cloud-hypervisor cannot do 9p: it has no 9p device
             --> vm.json:7:5
              |
            7 |     {
              |     ^
              |
              = help: write `proto = "virtiofs"`, or `hypervisor = "qemu"`
        "#]],
    );
}

#[test]
fn a_bridge_with_cloud_hypervisor() {
    vm_says(
        r#"hypervisor = "cloud-hypervisor"
[[interfaces]]
type = "bridge"
id = "net"
bridge = "br0""#,
        expect![[r#"
            error: interfaces[0].type: cloud-hypervisor cannot do attaching to a bridge: it has no helper for bridges
             --> vm.toml:4:8
              |
            4 | type = "bridge"
              |        ^^^^^^^^
              |
              = help: write `type = "tap"`, with a tap device that is in the bridge, or `hypervisor = "qemu"`

            error: interfaces[0].type: cloud-hypervisor cannot do attaching to a bridge: it has no helper for bridges
             --> vm.json:7:15
              |
            7 |       "type": "bridge"
              |               ^^^^^^^^
              |
              = help: write `type = "tap"`, with a tap device that is in the bridge, or `hypervisor = "qemu"`
        "#]],
    );
}

#[test]
fn software_emulation_with_cloud_hypervisor() {
    vm_says(
        r#"hypervisor = "cloud-hypervisor"
accel = "tcg""#,
        expect![[r#"
            error: accel: cloud-hypervisor cannot do software emulation: it runs guests on the processor only
             --> vm.toml:3:9
              |
            3 | accel = "tcg"
              |         ^^^^^
              |
              = help: write `accel = "kvm"`, or `hypervisor = "qemu"`

            error: accel: cloud-hypervisor cannot do software emulation: it runs guests on the processor only
             --> vm.json:2:12
              |
            2 |   "accel": "tcg",
              |            ^^^^^
              |
              = help: write `accel = "kvm"`, or `hypervisor = "qemu"`
        "#]],
    );
}

#[test]
fn a_full_balloon_with_qemu() {
    vm_says(
        r#"balloon = true
initialBalloonMem = 128"#,
        expect![[r#"
            error: initialBalloonMem: qemu cannot do a balloon that is filled at the start: its balloon is empty at first
             --> vm.toml:3:21
              |
            3 | initialBalloonMem = 128
              |                     ^^^
              |
              = help: a smaller `mem`, with `hotplugMem`, or `hypervisor = "cloud-hypervisor"`

            error: initialBalloonMem: qemu cannot do a balloon that is filled at the start: its balloon is empty at first
             --> vm.json:3:24
              |
            3 |   "initialBalloonMem": 128,
              |                        ^^^
              |
              = help: a smaller `mem`, with `hotplugMem`, or `hypervisor = "cloud-hypervisor"`
        "#]],
    );
}

#[test]
fn memory_added_to_a_small_machine() {
    vm_says(
        r#"hotplugMem = 512"#,
        expect![[r#"
            error: hotplugMem: qemu cannot do memory added while it runs, with the machine `microvm`: this machine has no virtio-mem
             --> vm.toml:2:14
              |
            2 | hotplugMem = 512
              |              ^^^
              |
              = help: write `qemu.machine = "q35"`, or `hypervisor = "cloud-hypervisor"`

            error: hotplugMem: qemu cannot do memory added while it runs, with the machine `microvm`: this machine has no virtio-mem
             --> vm.json:2:17
              |
            2 |   "hotplugMem": 512,
              |                 ^^^
              |
              = help: write `qemu.machine = "q35"`, or `hypervisor = "cloud-hypervisor"`
        "#]],
    );
}
