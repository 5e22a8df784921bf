// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What boots, and what it runs.

use expect_test::expect;

use crate::{says, vm_says};

#[test]
fn nothing_to_boot() {
    says(
        r#"vcpu = 1"#,
        expect![[r#"
            error: kernel: there is nothing to boot
             --> vm.toml:1:1
              |
            1 | vcpu = 1
              | ^
              |
              = help: write `system = "/nix/store/...-nixos-system-..."` (what `nixos-rebuild build` makes), or `kernel` and `initrd`, or `run = ["/bin/sh"]` for one program

            error: kernel: there is nothing to boot
             --> vm.json:1:1
              |
            1 | {
              | ^
              |
              = help: write `system = "/nix/store/...-nixos-system-..."` (what `nixos-rebuild build` makes), or `kernel` and `initrd`, or `run = ["/bin/sh"]` for one program
        "#]],
    );
}

#[test]
fn an_initrd_without_a_kernel() {
    says(
        r#"initrd = "/boot/initrd.img""#,
        expect![[r#"
            error: initrd: there is an initrd but no kernel
             --> vm.toml:1:10
              |
            1 | initrd = "/boot/initrd.img"
              |          ^^^^^^^^^^^^^^^^^^
              |
              = help: write `kernel`, too

            error: initrd: there is an initrd but no kernel
             --> vm.json:2:13
              |
            2 |   "initrd": "/boot/initrd.img"
              |             ^^^^^^^^^^^^^^^^^^
              |
              = help: write `kernel`, too
        "#]],
    );
}

#[test]
fn an_initrd_and_a_program() {
    vm_says(
        r#"initrd = "/boot/initrd.img""#,
        expect![[r#"
            error: initrd: `run` brings an initrd of its own
             --> vm.toml:2:10
              |
            2 | initrd = "/boot/initrd.img"
              |          ^^^^^^^^^^^^^^^^^^
              |
              = help: leave one of them out

            error: initrd: `run` brings an initrd of its own
             --> vm.json:2:13
              |
            2 |   "initrd": "/boot/initrd.img",
              |             ^^^^^^^^^^^^^^^^^^
              |
              = help: leave one of them out
        "#]],
    );
}

#[test]
fn a_program_without_our_init() {
    vm_says(
        r#"guestInit = false"#,
        expect![[r#"
            error: guestInit: `run` needs rofs-vm's init in the guest, and this forbids it
             --> vm.toml:2:13
              |
            2 | guestInit = false
              |             ^^^^^
              |
              = help: leave one of them out

            error: guestInit: `run` needs rofs-vm's init in the guest, and this forbids it
             --> vm.json:2:16
              |
            2 |   "guestInit": false,
              |                ^^^^^
              |
              = help: leave one of them out
        "#]],
    );
}

#[test]
fn a_program_without_a_name() {
    says(
        r#"run = [""]"#,
        expect![[r#"
            error: run[0]: the program has no name
             --> vm.toml:1:8
              |
            1 | run = [""]
              |        ^^
              |
              = help: write its path in the guest

            error: run[0]: the program has no name
             --> vm.json:3:5
              |
            3 |     ""
              |     ^^
              |
              = help: write its path in the guest
        "#]],
    );
}

#[test]
fn environment_without_a_program() {
    says(
        r#"kernel = "/k"
initrd = "/i"
[environment]
A = "b""#,
        expect![[r#"
            warning: environment: there is no program that gets it
             --> vm.toml:3:1
              |
            3 | [environment]
              | ^^^^^^^^^^^^^
              |
              = help: write `run`, or leave it out

            warning: environment: there is no program that gets it
             --> vm.json:2:18
              |
            2 |   "environment": {
              |                  ^
              |
              = help: write `run`, or leave it out
        "#]],
    );
}

#[test]
fn a_variable_with_an_equals_sign() {
    vm_says(
        r#"[environment]
"A=B" = "c""#,
        expect![[r#"
            error: environment."A=B": "A=B" cannot be the name of a variable
             --> vm.toml:3:9
              |
            3 | "A=B" = "c"
              |         ^^^
              |
              = help: write NAME = "value"

            error: environment."A=B": "A=B" cannot be the name of a variable
             --> vm.json:3:12
              |
            3 |     "A=B": "c"
              |            ^^^
              |
              = help: write NAME = "value"
        "#]],
    );
}

#[test]
fn a_relative_working_directory() {
    vm_says(
        r#"workingDirectory = "work""#,
        expect![[r#"
            error: workingDirectory: this is not an absolute path
             --> vm.toml:2:20
              |
            2 | workingDirectory = "work"
              |                    ^^^^^^
              |
              = help: write "/work"

            error: workingDirectory: this is not an absolute path
             --> vm.json:5:23
              |
            5 |   "workingDirectory": "work"
              |                       ^^^^^^
              |
              = help: write "/work"
        "#]],
    );
}

#[test]
fn a_directory_without_a_program() {
    says(
        r#"kernel = "/k"
initrd = "/i"
workingDirectory = "/work""#,
        expect![[r#"
            warning: workingDirectory: there is no program that starts in it
             --> vm.toml:3:20
              |
            3 | workingDirectory = "/work"
              |                    ^^^^^^^
              |
              = help: write `run`, or leave it out

            warning: workingDirectory: there is no program that starts in it
             --> vm.json:4:23
              |
            4 |   "workingDirectory": "/work"
              |                       ^^^^^^^
              |
              = help: write `run`, or leave it out
        "#]],
    );
}

#[test]
fn closure_of_no_store_path() {
    vm_says(
        r#"closure = ["/nix/store/abc", "/nix/store/0c4bhjvnkgbqp2l4x1k9sm9jklvq1z2a-hello/bin/hello"]
[[shares]]
tag = "store"
source = "/nix/store"
mountPoint = "/nix/store"
proto = "virtiofs""#,
        expect![[r#"
            error: closure[0]: /nix/store/abc is not a store path
             --> vm.toml:2:12
              |
            2 | closure = ["/nix/store/abc", "/nix/store/0c4bhjvnkgbqp2l4x1k9sm9jklvq1z2a-hello/bin/hello"]
              |            ^^^^^^^^^^^^^^^^
              |
              = help: write one, as "/nix/store/...-name", without anything after it

            error: closure[1]: /nix/store/0c4bhjvnkgbqp2l4x1k9sm9jklvq1z2a-hello/bin/hello is not a store path
             --> vm.toml:2:30
              |
            2 | closure = ["/nix/store/abc", "/nix/store/0c4bhjvnkgbqp2l4x1k9sm9jklvq1z2a-hello/bin/hello"]
              |                              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
              |
              = help: write one, as "/nix/store/...-name", without anything after it

            error: closure[0]: /nix/store/abc is not a store path
             --> vm.json:3:5
              |
            3 |     "/nix/store/abc",
              |     ^^^^^^^^^^^^^^^^
              |
              = help: write one, as "/nix/store/...-name", without anything after it

            error: closure[1]: /nix/store/0c4bhjvnkgbqp2l4x1k9sm9jklvq1z2a-hello/bin/hello is not a store path
             --> vm.json:4:5
              |
            4 |     "/nix/store/0c4bhjvnkgbqp2l4x1k9sm9jklvq1z2a-hello/bin/hello"
              |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
              |
              = help: write one, as "/nix/store/...-name", without anything after it
        "#]],
    );
}

#[test]
fn closure_without_a_store() {
    vm_says(
        r#"closure = ["/nix/store/0c4bhjvnkgbqp2l4x1k9sm9jklvq1z2a-hello"]"#,
        expect![[r#"
            error: closure: there is no share of the store which it could limit
             --> vm.toml:2:11
              |
            2 | closure = ["/nix/store/0c4bhjvnkgbqp2l4x1k9sm9jklvq1z2a-hello"]
              |           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
              |
              = help: write a share with `source = "/nix/store"`, or leave `closure` out

            error: closure: there is no share of the store which it could limit
             --> vm.json:2:14
              |
            2 |   "closure": [
              |              ^
              |
              = help: write a share with `source = "/nix/store"`, or leave `closure` out
        "#]],
    );
}

#[test]
fn store_image_that_is_not_named() {
    vm_says(
        r#"storeOnDisk = true"#,
        expect![[r#"
            error: storeOnDisk: there is no image of the store
             --> vm.toml:2:15
              |
            2 | storeOnDisk = true
              |               ^^^^
              |
              = help: write `storeDisk = "/nix/store/..."`, or share `/nix/store` in place of it

            error: storeOnDisk: there is no image of the store
             --> vm.json:5:18
              |
            5 |   "storeOnDisk": true
              |                  ^^^^
              |
              = help: write `storeDisk = "/nix/store/..."`, or share `/nix/store` in place of it
        "#]],
    );
}
