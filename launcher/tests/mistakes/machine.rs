// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Name, memory, number.

use expect_test::expect;

use crate::{nothing_is_said, vm_says};

#[test]
fn memory_with_which_qemu_hangs() {
    vm_says(
        r#"mem = 2048"#,
        expect![[r#"
            error: mem: QEMU hangs with exactly 2048 MiB on its machine `microvm`
             --> vm.toml:2:7
              |
            2 | mem = 2048
              |       ^^^^
              |
              = help: write 2047 or 2049, or `qemu.machine = "q35"`

            error: mem: QEMU hangs with exactly 2048 MiB on its machine `microvm`
             --> vm.json:2:10
              |
            2 |   "mem": 2048,
              |          ^^^^
              |
              = help: write 2047 or 2049, or `qemu.machine = "q35"`
        "#]],
    );
}

#[test]
fn memory_with_which_qemu_hangs_on_other_machines_does_not() {
    nothing_is_said(
        r#"mem = 2048
qemu.machine = "q35""#,
    );
}

#[test]
fn memory_in_gigabytes() {
    vm_says(
        r#"mem = 4"#,
        expect![[r#"
            warning: mem: 4 MiB is not enough for most kernels; sizes are in MiB
             --> vm.toml:2:7
              |
            2 | mem = 4
              |       ^
              |
              = help: write 512 or more

            warning: mem: 4 MiB is not enough for most kernels; sizes are in MiB
             --> vm.json:2:10
              |
            2 |   "mem": 4,
              |          ^
              |
              = help: write 512 or more
        "#]],
    );
}

#[test]
fn a_name_with_a_slash() {
    vm_says(
        r#"name = "../escape""#,
        expect![[r#"
            error: name: "../escape" cannot be the name of a VM
             --> vm.toml:2:8
              |
            2 | name = "../escape"
              |        ^^^^^^^^^^^
              |
              = help: write a `name` of letters, digits and hyphens, at most 63 of them: it is the guest's host name

            error: name: "../escape" cannot be the name of a VM
             --> vm.json:2:11
              |
            2 |   "name": "../escape",
              |           ^^^^^^^^^^^
              |
              = help: write a `name` of letters, digits and hyphens, at most 63 of them: it is the guest's host name
        "#]],
    );
}

#[test]
fn a_name_that_is_too_long() {
    vm_says(
        r#"name = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa""#,
        expect![[r#"
            error: name: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" is longer than 63 characters
             --> vm.toml:2:8
              |
            2 | name = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
              |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
              |
              = help: write a `name` of letters, digits and hyphens, at most 63 of them: it is the guest's host name

            error: name: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" is longer than 63 characters
             --> vm.json:2:11
              |
            2 |   "name": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
              |           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
              |
              = help: write a `name` of letters, digits and hyphens, at most 63 of them: it is the guest's host name
        "#]],
    );
}

#[test]
fn a_name_with_letters_from_elsewhere() {
    vm_says(
        r#"name = "münchen""#,
        expect![[r#"
            error: name: "münchen" cannot be the name of a VM
             --> vm.toml:2:8
              |
            2 | name = "münchen"
              |        ^^^^^^^^^
              |
              = help: write a `name` of letters, digits and hyphens, at most 63 of them: it is the guest's host name

            error: name: "münchen" cannot be the name of a VM
             --> vm.json:2:11
              |
            2 |   "name": "münchen",
              |           ^^^^^^^^^
              |
              = help: write a `name` of letters, digits and hyphens, at most 63 of them: it is the guest's host name
        "#]],
    );
}

#[test]
fn an_empty_name() {
    vm_says(
        r#"name = """#,
        expect![[r#"
            error: name: "" cannot be the name of a VM
             --> vm.toml:2:8
              |
            2 | name = ""
              |        ^^
              |
              = help: write a `name` of letters, digits and hyphens, at most 63 of them: it is the guest's host name

            error: name: "" cannot be the name of a VM
             --> vm.json:2:11
              |
            2 |   "name": "",
              |           ^^
              |
              = help: write a `name` of letters, digits and hyphens, at most 63 of them: it is the guest's host name
        "#]],
    );
}

#[test]
fn machine_id_that_is_no_uuid() {
    vm_says(
        r#"machineId = "1234""#,
        expect![[r#"
            error: machineId: "1234" is not a UUID
             --> vm.toml:2:13
              |
            2 | machineId = "1234"
              |             ^^^^^^
              |
              = help: write 32 hexadecimal digits as 8-4-4-4-12; `uuidgen` makes one

            error: machineId: "1234" is not a UUID
             --> vm.json:2:16
              |
            2 |   "machineId": "1234",
              |                ^^^^^^
              |
              = help: write 32 hexadecimal digits as 8-4-4-4-12; `uuidgen` makes one
        "#]],
    );
}

#[test]
fn more_memory_at_the_start_than_there_is() {
    vm_says(
        r#"qemu.machine = "q35"
hotplugMem = 512
hotpluggedMem = 1024"#,
        expect![[r#"
            error: hotpluggedMem: this is more than can be added: `hotplugMem` is 512
             --> vm.toml:4:17
              |
            4 | hotpluggedMem = 1024
              |                 ^^^^
              |
              = help: write at most 512, or more for `hotplugMem`

            error: hotpluggedMem: this is more than can be added: `hotplugMem` is 512
             --> vm.json:3:20
              |
            3 |   "hotpluggedMem": 1024,
              |                    ^^^^
              |
              = help: write at most 512, or more for `hotplugMem`
        "#]],
    );
}

#[test]
fn a_full_balloon_that_is_not_there() {
    vm_says(
        r#"hypervisor = "cloud-hypervisor"
initialBalloonMem = 128"#,
        expect![[r#"
            error: initialBalloonMem: there is no balloon
             --> vm.toml:3:21
              |
            3 | initialBalloonMem = 128
              |                     ^^^
              |
              = help: write `balloon = true`

            error: initialBalloonMem: there is no balloon
             --> vm.json:3:24
              |
            3 |   "initialBalloonMem": 128,
              |                        ^^^
              |
              = help: write `balloon = true`
        "#]],
    );
}

#[test]
fn a_balloon_as_large_as_the_memory() {
    vm_says(
        r#"hypervisor = "cloud-hypervisor"
balloon = true
initialBalloonMem = 512"#,
        expect![[r#"
            error: initialBalloonMem: the balloon takes all the memory
             --> vm.toml:4:21
              |
            4 | initialBalloonMem = 512
              |                     ^^^
              |
              = help: write less than 512

            error: initialBalloonMem: the balloon takes all the memory
             --> vm.json:4:24
              |
            4 |   "initialBalloonMem": 512,
              |                        ^^^
              |
              = help: write less than 512
        "#]],
    );
}

#[test]
fn no_time_to_stop() {
    vm_says(
        r#"stopTimeout = 0"#,
        expect![[r#"
            error: stopTimeout: 0 is too small
             --> vm.toml:2:15
              |
            2 | stopTimeout = 0
              |               ^
              |
              = help: write 1 or more

            error: stopTimeout: 0 is too small
             --> vm.json:5:18
              |
            5 |   "stopTimeout": 0
              |                  ^
              |
              = help: write 1 or more
        "#]],
    );
}
