// SPDX-License-Identifier: Apache-2.0 OR MIT
//! All mistakes at once, and none that follow from others.

use expect_test::expect;

use crate::{said, says};

#[test]
fn all_at_once_in_the_order_of_the_file() {
    says(
        r#"vcpus = 4
mem = 2048
[[shares]]
tag = "ro-store"
source = "/nix/store"
mountPoint = "/nix/.ro-store"
proto = "virtio-fs"
[[shares]]
tag = "home"
source = "/home"
mountPoint = "home"
[[shares]]
tag = "home"
source = "/srv"
mountPoint = "/srv"
[[interfaces]]
type = "user"
id = "a-name-that-is-too-long"
mac = "2:0:0:0:0:1"
[[forwardPorts]]
host.port = 70000
guest.port = 22
"#,
        expect![[r#"
            error: vcpus: there is no such option
             --> vm.toml:1:1
              |
            1 | vcpus = 4
              | ^^^^^
              |
              = help: write `vcpu`

            error: kernel: there is nothing to boot
             --> vm.toml:1:1
              |
            1 | vcpus = 4
              | ^
              |
              = help: write `system = "/nix/store/...-nixos-system-..."` (what `nixos-rebuild build` makes), or `kernel` and `initrd`, or `run = ["/bin/sh"]` for one program

            error: mem: QEMU hangs with exactly 2048 MiB on its machine `microvm`
             --> vm.toml:2:7
              |
            2 | mem = 2048
              |       ^^^^
              |
              = help: write 2047 or 2049, or `qemu.machine = "q35"`

            error: shares[0].proto: there is no "virtio-fs"
             --> vm.toml:7:9
              |
            7 | proto = "virtio-fs"
              |         ^^^^^^^^^^^
              |
              = help: write "virtiofs"; there are "9p", "virtiofs"

            error: shares[1].mountPoint: "home" is not the absolute path of a place
              --> vm.toml:11:14
               |
            11 | mountPoint = "home"
               |              ^^^^^^
               |
               = help: write "/home"

            error: shares[2].tag: "home" is the tag of shares[1] already
              --> vm.toml:13:7
               |
            13 | tag = "home"
               |       ^^^^^^
               |
               = help: give each share a tag of its own

            error: interfaces[0].id: "a-name-that-is-too-long" has 23 bytes, and names of interfaces at most 15
              --> vm.toml:18:6
               |
            18 | id = "a-name-that-is-too-long"
               |      ^^^^^^^^^^^^^^^^^^^^^^^^^
               |
               = help: write a shorter one, as "a-name-that-is-"

            error: interfaces[0].mac: "2:0:0:0:0:1" is not a MAC address
              --> vm.toml:19:7
               |
            19 | mac = "2:0:0:0:0:1"
               |       ^^^^^^^^^^^^^
               |
               = help: write six bytes as 02:00:00:01:01:01, or leave it out: one is made

            error: forwardPorts[0].host.port: 70000 is too large
              --> vm.toml:21:13
               |
            21 | host.port = 70000
               |             ^^^^^
               |
               = help: write 65535 or less

            error: kernel: there is nothing to boot
             --> vm.json:1:1
              |
            1 | {
              | ^
              |
              = help: write `system = "/nix/store/...-nixos-system-..."` (what `nixos-rebuild build` makes), or `kernel` and `initrd`, or `run = ["/bin/sh"]` for one program

            error: forwardPorts[0].host.port: 70000 is too large
             --> vm.json:8:17
              |
            8 |         "port": 70000
              |                 ^^^^^
              |
              = help: write 65535 or less

            error: interfaces[0].id: "a-name-that-is-too-long" has 23 bytes, and names of interfaces at most 15
              --> vm.json:14:13
               |
            14 |       "id": "a-name-that-is-too-long",
               |             ^^^^^^^^^^^^^^^^^^^^^^^^^
               |
               = help: write a shorter one, as "a-name-that-is-"

            error: interfaces[0].mac: "2:0:0:0:0:1" is not a MAC address
              --> vm.json:15:14
               |
            15 |       "mac": "2:0:0:0:0:1",
               |              ^^^^^^^^^^^^^
               |
               = help: write six bytes as 02:00:00:01:01:01, or leave it out: one is made

            error: mem: QEMU hangs with exactly 2048 MiB on its machine `microvm`
              --> vm.json:19:10
               |
            19 |   "mem": 2048,
               |          ^^^^
               |
               = help: write 2047 or 2049, or `qemu.machine = "q35"`

            error: shares[0].proto: there is no "virtio-fs"
              --> vm.json:23:16
               |
            23 |       "proto": "virtio-fs",
               |                ^^^^^^^^^^^
               |
               = help: write "virtiofs"; there are "9p", "virtiofs"

            error: shares[1].mountPoint: "home" is not the absolute path of a place
              --> vm.json:28:21
               |
            28 |       "mountPoint": "home",
               |                     ^^^^^^
               |
               = help: write "/home"

            error: shares[2].tag: "home" is the tag of shares[1] already
              --> vm.json:35:14
               |
            35 |       "tag": "home"
               |              ^^^^^^
               |
               = help: give each share a tag of its own

            error: vcpus: there is no such option
              --> vm.json:38:3
               |
            38 |   "vcpus": 4
               |   ^^^^^^^
               |
               = help: write `vcpu`
        "#]],
    );
}

/// A share, interface or kernel that is there but wrong is not also missing.
#[test]
fn what_is_wrong_is_not_also_missing() {
    says(
        r#"kernel = 5
writableStoreOverlay = "/nix/.rw-store"
[[shares]]
tag = "ro-store"
source = "/nix/store"
mountPoint = 3
[[interfaces]]
type = "usr"
id = "net"
[[forwardPorts]]
host.port = 2222
guest.port = 22
"#,
        expect![[r#"
            error: kernel: a number where a string belongs
             --> vm.toml:1:10
              |
            1 | kernel = 5
              |          ^
              |
              = help: write "5", in quotes

            error: shares[0].mountPoint: a number where a string belongs
             --> vm.toml:6:14
              |
            6 | mountPoint = 3
              |              ^
              |
              = help: write "3", in quotes

            error: interfaces[0].type: there is no "usr"
             --> vm.toml:8:8
              |
            8 | type = "usr"
              |        ^^^^^
              |
              = help: write "user"; there are "user", "tap", "macvtap", "bridge"

            error: interfaces[0].type: there is no "usr"
              --> vm.json:15:15
               |
            15 |       "type": "usr"
               |               ^^^^^
               |
               = help: write "user"; there are "user", "tap", "macvtap", "bridge"

            error: kernel: a number where a string belongs
              --> vm.json:18:13
               |
            18 |   "kernel": 5,
               |             ^
               |
               = help: write "5", in quotes

            error: shares[0].mountPoint: a number where a string belongs
              --> vm.json:21:21
               |
            21 |       "mountPoint": 3,
               |                     ^
               |
               = help: write "3", in quotes
        "#]],
    );
}

/// Elements that are taken out of a list do not move the names of those behind them.
#[test]
fn elements_keep_their_numbers() {
    says(
        r#"run = ["true"]
[[volumes]]
image = 5
[[volumes]]
image = "b.img"
[[volumes]]
image = "c.img"
size = 512
[[volumes]]
image = "c.img"
size = 512
"#,
        expect![[r#"
            error: volumes[0].image: a number where a string belongs
             --> vm.toml:3:9
              |
            3 | image = 5
              |         ^
              |
              = help: write "5", in quotes

            error: volumes[1].size: the image is to be created, and nothing says how large
             --> vm.toml:4:1
              |
            4 | [[volumes]]
              | ^^^^^^^^^^^
              |
              = help: write `size = 8192`, in MiB; or `autoCreate = false` if the image is there already

            error: volumes[3].image: c.img is the image of volumes[1] already
              --> vm.toml:10:9
               |
            10 | image = "c.img"
               |         ^^^^^^^
               |
               = help: give each volume an image of its own

            error: volumes[0].image: a number where a string belongs
             --> vm.json:7:16
              |
            7 |       "image": 5
              |                ^
              |
              = help: write "5", in quotes

            error: volumes[1].size: the image is to be created, and nothing says how large
             --> vm.json:9:5
              |
            9 |     {
              |     ^
              |
              = help: write `size = 8192`, in MiB; or `autoCreate = false` if the image is there already

            error: volumes[3].image: c.img is the image of volumes[1] already
              --> vm.json:17:16
               |
            17 |       "image": "c.img",
               |                ^^^^^^^
               |
               = help: give each volume an image of its own
        "#]],
    );
}

/// An option that was meant is not also missing.
#[test]
fn what_is_misspelt_is_not_also_missing() {
    says(
        r#"kernal = "/boot/vmlinuz"
initrd = "/boot/initrd.img"
[[volumes]]
image = "a.img"
sizee = 512
[[interface]]
type = "user"
id = "net"
[[forwardPorts]]
host.port = 2222
guest.port = 22
"#,
        expect![[r#"
            error: kernal: there is no such option
             --> vm.toml:1:1
              |
            1 | kernal = "/boot/vmlinuz"
              | ^^^^^^
              |
              = help: write `kernel`

            error: volumes[0].sizee: there is no such option
             --> vm.toml:5:1
              |
            5 | sizee = 512
              | ^^^^^
              |
              = help: write `size`

            error: interface: there is no such option
             --> vm.toml:6:3
              |
            6 | [[interface]]
              |   ^^^^^^^^^
              |
              = help: write `interfaces`

            error: interface: there is no such option
              --> vm.json:13:3
               |
            13 |   "interface": [
               |   ^^^^^^^^^^^
               |
               = help: write `interfaces`

            error: kernal: there is no such option
              --> vm.json:19:3
               |
            19 |   "kernal": "/boot/vmlinuz",
               |   ^^^^^^^^
               |
               = help: write `kernel`

            error: volumes[0].sizee: there is no such option
              --> vm.json:23:7
               |
            23 |       "sizee": 512
               |       ^^^^^^^
               |
               = help: write `size`
        "#]],
    );
}

/// What the README shows is what is said.
#[test]
fn the_readme_shows_it() {
    let file = r#"system = "result"
vcpus = 4
[[shares]]
tag = "ro-store"
source = "/nix/store"
mountPoint = "/nix/.ro-store"
proto = "virtio-fs"
"#;
    let said = said("desktop.toml", file);
    let shown: Vec<String> = said.lines().map(|line| format!("    {line}")).collect();
    let shown: Vec<&str> = shown.iter().map(|line| line.trim_end()).collect();
    let readme = include_str!("../../README.md");
    assert!(readme.contains(&shown.join("\n")), "{said}");
}
