// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Names, types and ranges of options.

use expect_test::expect;

use crate::{says, vm_says};

#[test]
fn unknown_option_with_one_letter_too_many() {
    vm_says(
        r#"vcpus = 4"#,
        expect![[r#"
            error: vcpus: there is no such option
             --> vm.toml:2:1
              |
            2 | vcpus = 4
              | ^^^^^
              |
              = help: write `vcpu`

            error: vcpus: there is no such option
             --> vm.json:5:3
              |
            5 |   "vcpus": 4
              |   ^^^^^^^
              |
              = help: write `vcpu`
        "#]],
    );
}

#[test]
fn unknown_option_in_other_words() {
    vm_says(
        r#"memory = 1024"#,
        expect![[r#"
            error: memory: there is no such option
             --> vm.toml:2:1
              |
            2 | memory = 1024
              | ^^^^^^
              |
              = help: write `mem`

            error: memory: there is no such option
             --> vm.json:2:3
              |
            2 |   "memory": 1024,
              |   ^^^^^^^^
              |
              = help: write `mem`
        "#]],
    );
}

#[test]
fn unknown_option_like_nothing() {
    vm_says(
        r#"frobnicate = true"#,
        expect![[r#"
            error: frobnicate: there is no such option
             --> vm.toml:2:1
              |
            2 | frobnicate = true
              | ^^^^^^^^^^
              |
              = help: leave it out; `rofs-vm schema` prints all options

            error: frobnicate: there is no such option
             --> vm.json:2:3
              |
            2 |   "frobnicate": true,
              |   ^^^^^^^^^^^^
              |
              = help: leave it out; `rofs-vm schema` prints all options
        "#]],
    );
}

#[test]
fn unknown_option_in_snake_case() {
    vm_says(
        r#"writable_store_overlay = "/nix/.rw-store""#,
        expect![[r#"
            error: writable_store_overlay: there is no such option
             --> vm.toml:2:1
              |
            2 | writable_store_overlay = "/nix/.rw-store"
              | ^^^^^^^^^^^^^^^^^^^^^^
              |
              = help: write `writableStoreOverlay`

            error: writable_store_overlay: there is no such option
             --> vm.json:5:3
              |
            5 |   "writable_store_overlay": "/nix/.rw-store"
              |   ^^^^^^^^^^^^^^^^^^^^^^^^
              |
              = help: write `writableStoreOverlay`
        "#]],
    );
}

#[test]
fn unknown_option_in_a_table() {
    vm_says(
        r#"[graphics]
enabled = true"#,
        expect![[r#"
            error: graphics.enabled: there is no such option
             --> vm.toml:3:1
              |
            3 | enabled = true
              | ^^^^^^^
              |
              = help: write `enable`

            error: graphics.enabled: there is no such option
             --> vm.json:3:5
              |
            3 |     "enabled": true
              |     ^^^^^^^^^
              |
              = help: write `enable`
        "#]],
    );
}

#[test]
fn unknown_option_in_a_list() {
    vm_says(
        r#"[[shares]]
tag = "a"
source = "/srv"
mountpoint = "/srv""#,
        expect![[r#"
            error: shares[0].mountpoint: there is no such option
             --> vm.toml:5:1
              |
            5 | mountpoint = "/srv"
              | ^^^^^^^^^^
              |
              = help: write `mountPoint`

            error: shares[0].mountpoint: there is no such option
             --> vm.json:7:7
              |
            7 |       "mountpoint": "/srv",
              |       ^^^^^^^^^^^^
              |
              = help: write `mountPoint`
        "#]],
    );
}

#[test]
fn everything_under_microvm() {
    says(
        r#"[microvm]
vcpu = 2"#,
        expect![[r#"
            error: microvm: there is no such option
             --> vm.toml:1:2
              |
            1 | [microvm]
              |  ^^^^^^^
              |
              = help: write the options in it without `microvm.` before them

            error: microvm: there is no such option
             --> vm.json:2:3
              |
            2 |   "microvm": {
              |   ^^^^^^^^^
              |
              = help: write the options in it without `microvm.` before them
        "#]],
    );
}

#[test]
fn text_for_a_number() {
    vm_says(
        r#"vcpu = "4""#,
        expect![[r#"
            error: vcpu: a string where a number belongs
             --> vm.toml:2:8
              |
            2 | vcpu = "4"
              |        ^^^
              |
              = help: write 4, without quotes

            error: vcpu: a string where a number belongs
             --> vm.json:5:11
              |
            5 |   "vcpu": "4"
              |           ^^^
              |
              = help: write 4, without quotes
        "#]],
    );
}

#[test]
fn words_for_a_number() {
    vm_says(
        r#"mem = "4G""#,
        expect![[r#"
            error: mem: a string where a number belongs
             --> vm.toml:2:7
              |
            2 | mem = "4G"
              |       ^^^^
              |
              = help: write a number

            error: mem: a string where a number belongs
             --> vm.json:2:10
              |
            2 |   "mem": "4G",
              |          ^^^^
              |
              = help: write a number
        "#]],
    );
}

#[test]
fn number_for_text() {
    vm_says(
        r#"name = 7"#,
        expect![[r#"
            error: name: a number where a string belongs
             --> vm.toml:2:8
              |
            2 | name = 7
              |        ^
              |
              = help: write "7", in quotes

            error: name: a number where a string belongs
             --> vm.json:2:11
              |
            2 |   "name": 7,
              |           ^
              |
              = help: write "7", in quotes
        "#]],
    );
}

#[test]
fn text_for_a_truth() {
    vm_says(
        r#"balloon = "true""#,
        expect![[r#"
            error: balloon: a string where true or false belongs
             --> vm.toml:2:11
              |
            2 | balloon = "true"
              |           ^^^^^^
              |
              = help: write true, without quotes

            error: balloon: a string where true or false belongs
             --> vm.json:2:14
              |
            2 |   "balloon": "true",
              |              ^^^^^^
              |
              = help: write true, without quotes
        "#]],
    );
}

#[test]
fn number_with_a_fraction() {
    vm_says(
        r#"mem = 0.5"#,
        expect![[r#"
            error: mem: a number that is not whole where a number belongs
             --> vm.toml:2:7
              |
            2 | mem = 0.5
              |       ^^^
              |
              = help: write a number

            error: mem: a number that is not whole where a number belongs
             --> vm.json:2:10
              |
            2 |   "mem": 0.5,
              |          ^^^
              |
              = help: write a number
        "#]],
    );
}

#[test]
fn number_below_the_range() {
    vm_says(
        r#"vcpu = 0"#,
        expect![[r#"
            error: vcpu: 0 is too small
             --> vm.toml:2:8
              |
            2 | vcpu = 0
              |        ^
              |
              = help: write 1 or more

            error: vcpu: 0 is too small
             --> vm.json:5:11
              |
            5 |   "vcpu": 0
              |           ^
              |
              = help: write 1 or more
        "#]],
    );
}

#[test]
fn number_below_zero() {
    vm_says(
        r#"mem = -512"#,
        expect![[r#"
            error: mem: -512 is too small
             --> vm.toml:2:7
              |
            2 | mem = -512
              |       ^^^^
              |
              = help: write 1 or more

            error: mem: -512 is too small
             --> vm.json:2:10
              |
            2 |   "mem": -512,
              |          ^^^^
              |
              = help: write 1 or more
        "#]],
    );
}

#[test]
fn number_above_the_range() {
    vm_says(
        r#"mem = 99999999999"#,
        expect![[r#"
            error: mem: 99999999999 is too large
             --> vm.toml:2:7
              |
            2 | mem = 99999999999
              |       ^^^^^^^^^^^
              |
              = help: write 4294967295 or less

            error: mem: 99999999999 is too large
             --> vm.json:2:10
              |
            2 |   "mem": 99999999999,
              |          ^^^^^^^^^^^
              |
              = help: write 4294967295 or less
        "#]],
    );
}

#[test]
fn no_such_choice() {
    vm_says(
        r#"hypervisor = "quemu""#,
        expect![[r#"
            error: hypervisor: there is no "quemu"
             --> vm.toml:2:14
              |
            2 | hypervisor = "quemu"
              |              ^^^^^^^
              |
              = help: write "qemu"; there are "qemu", "cloud-hypervisor"

            error: hypervisor: there is no "quemu"
             --> vm.json:2:17
              |
            2 |   "hypervisor": "quemu",
              |                 ^^^^^^^
              |
              = help: write "qemu"; there are "qemu", "cloud-hypervisor"
        "#]],
    );
}

#[test]
fn a_hypervisor_we_do_not_drive() {
    vm_says(
        r#"hypervisor = "firecracker""#,
        expect![[r#"
            error: hypervisor: there is no "firecracker"
             --> vm.toml:2:14
              |
            2 | hypervisor = "firecracker"
              |              ^^^^^^^^^^^^^
              |
              = help: write one of "qemu", "cloud-hypervisor"

            error: hypervisor: there is no "firecracker"
             --> vm.json:2:17
              |
            2 |   "hypervisor": "firecracker",
              |                 ^^^^^^^^^^^^^
              |
              = help: write one of "qemu", "cloud-hypervisor"
        "#]],
    );
}

#[test]
fn choice_of_another_type() {
    vm_says(
        r#"accel = true"#,
        expect![[r#"
            error: accel: true or false where "auto", "kvm", "tcg" belongs
             --> vm.toml:2:9
              |
            2 | accel = true
              |         ^^^^
              |
              = help: write one of "auto", "kvm", "tcg"

            error: accel: true or false where "auto", "kvm", "tcg" belongs
             --> vm.json:2:12
              |
            2 |   "accel": true,
              |            ^^^^
              |
              = help: write one of "auto", "kvm", "tcg"
        "#]],
    );
}

#[test]
fn text_for_a_list() {
    vm_says(
        r#"kernelParams = "quiet""#,
        expect![[r#"
            error: kernelParams: a string where a list of strings belongs
             --> vm.toml:2:16
              |
            2 | kernelParams = "quiet"
              |                ^^^^^^^
              |
              = help: write ["quiet"]

            error: kernelParams: a string where a list of strings belongs
             --> vm.json:2:19
              |
            2 |   "kernelParams": "quiet",
              |                   ^^^^^^^
              |
              = help: write ["quiet"]
        "#]],
    );
}

#[test]
fn number_in_a_list_of_text() {
    vm_says(
        r#"kernelParams = ["quiet", 3]"#,
        expect![[r#"
            error: kernelParams[1]: a number where a string belongs
             --> vm.toml:2:26
              |
            2 | kernelParams = ["quiet", 3]
              |                          ^
              |
              = help: write "3", in quotes

            error: kernelParams[1]: a number where a string belongs
             --> vm.json:4:5
              |
            4 |     3
              |     ^
              |
              = help: write "3", in quotes
        "#]],
    );
}

#[test]
fn table_for_a_list() {
    vm_says(
        r#"[shares]
tag = "a"
source = "/srv"
mountPoint = "/srv""#,
        expect![[r#"
            error: shares: a table where a list of tables belongs
             --> vm.toml:2:1
              |
            2 | [shares]
              | ^^^^^^^^
              |
              = help: write [[double brackets]] around its name in TOML, [{...}] in JSON

            error: shares: a table where a list of tables belongs
             --> vm.json:5:13
              |
            5 |   "shares": {
              |             ^
              |
              = help: write [[double brackets]] around its name in TOML, [{...}] in JSON
        "#]],
    );
}

#[test]
fn text_for_a_table() {
    vm_says(
        r#"sound = "pipewire""#,
        expect![[r#"
            error: sound: a string where a table belongs
             --> vm.toml:2:9
              |
            2 | sound = "pipewire"
              |         ^^^^^^^^^^
              |
              = help: write a table, as { enable = true } in TOML

            error: sound: a string where a table belongs
             --> vm.json:5:12
              |
            5 |   "sound": "pipewire"
              |            ^^^^^^^^^^
              |
              = help: write a table, as { enable = true } in TOML
        "#]],
    );
}

#[test]
fn date() {
    vm_says(
        r#"name = 2024-02-29"#,
        expect![[r#"
            error: name: a date where a string belongs
             --> vm.toml:2:8
              |
            2 | name = 2024-02-29
              |        ^^^^^^^^^^
              |
              = help: write a string

            error: name: a table where a string belongs
             --> vm.json:2:11
              |
            2 |   "name": {
              |           ^
              |
              = help: write a string
        "#]],
    );
}

#[test]
fn missing_options_of_a_share() {
    vm_says(
        r#"[[shares]]
tag = "a""#,
        expect![[r#"
            error: shares[0].source: it is missing
             --> vm.toml:2:1
              |
            2 | [[shares]]
              | ^^^^^^^^^^
              |
              = help: write `source = ...`: a string

            error: shares[0].mountPoint: it is missing
             --> vm.toml:2:1
              |
            2 | [[shares]]
              | ^^^^^^^^^^
              |
              = help: write `mountPoint = ...`: a string

            error: shares[0].source: it is missing
             --> vm.json:6:5
              |
            6 |     {
              |     ^
              |
              = help: write `source = ...`: a string

            error: shares[0].mountPoint: it is missing
             --> vm.json:6:5
              |
            6 |     {
              |     ^
              |
              = help: write `mountPoint = ...`: a string
        "#]],
    );
}

#[test]
fn missing_options_of_an_interface() {
    vm_says(
        r#"[[interfaces]]
mac = "02:00:00:00:00:01""#,
        expect![[r#"
            error: interfaces[0].type: it is missing
             --> vm.toml:2:1
              |
            2 | [[interfaces]]
              | ^^^^^^^^^^^^^^
              |
              = help: write `type = ...`: "user", "tap", "macvtap", "bridge"

            error: interfaces[0].id: it is missing
             --> vm.toml:2:1
              |
            2 | [[interfaces]]
              | ^^^^^^^^^^^^^^
              |
              = help: write `id = ...`: a string

            error: interfaces[0].type: it is missing
             --> vm.json:3:5
              |
            3 |     {
              |     ^
              |
              = help: write `type = ...`: "user", "tap", "macvtap", "bridge"

            error: interfaces[0].id: it is missing
             --> vm.json:3:5
              |
            3 |     {
              |     ^
              |
              = help: write `id = ...`: a string
        "#]],
    );
}

#[test]
fn missing_port() {
    vm_says(
        r#"[[interfaces]]
type = "user"
id = "net"
[[forwardPorts]]
host.port = 2222"#,
        expect![[r#"
            error: forwardPorts[0].guest: it is missing
             --> vm.toml:5:1
              |
            5 | [[forwardPorts]]
              | ^^^^^^^^^^^^^^^^
              |
              = help: write `guest = ...`: a table

            error: forwardPorts[0].guest: it is missing
             --> vm.json:3:5
              |
            3 |     {
              |     ^
              |
              = help: write `guest = ...`: a table
        "#]],
    );
}

#[test]
fn nul_in_text() {
    vm_says(
        r#"name = "a\u0000b""#,
        expect![[r#"
            error: name: there is a NUL character in it
             --> vm.toml:2:8
              |
            2 | name = "a\u0000b"
              |        ^^^^^^^^^^
              |
              = help: leave it out

            error: name: there is a NUL character in it
             --> vm.json:2:11
              |
            2 |   "name": "a\u0000b",
              |           ^^^^^^^^^^
              |
              = help: leave it out
        "#]],
    );
}

#[test]
fn initrd_under_both_names() {
    says(
        r#"initrd = "/a"
initrdPath = "/b"
kernel = "/k""#,
        expect![[r#"
            error: initrdPath: this is `initrd`, which is there already
             --> vm.toml:2:1
              |
            2 | initrdPath = "/b"
              | ^^^^^^^^^^
              |
              = help: leave one of them out

            error: initrdPath: this is `initrd`, which is there already
             --> vm.json:3:3
              |
            3 |   "initrdPath": "/b",
              |   ^^^^^^^^^^^^
              |
              = help: leave one of them out
        "#]],
    );
}

#[test]
fn map_with_a_number() {
    vm_says(
        r#"[environment]
PATH = 1"#,
        expect![[r#"
            error: environment.PATH: a number where a string belongs
             --> vm.toml:3:8
              |
            3 | PATH = 1
              |        ^
              |
              = help: write "1", in quotes

            error: environment.PATH: a number where a string belongs
             --> vm.json:3:13
              |
            3 |     "PATH": 1
              |             ^
              |
              = help: write "1", in quotes
        "#]],
    );
}

#[test]
fn number_or_text() {
    vm_says(
        r#"[virtiofsd]
threadPoolSize = [4]"#,
        expect![[r#"
            error: virtiofsd.threadPoolSize: a list where a number or a string belongs
             --> vm.toml:3:18
              |
            3 | threadPoolSize = [4]
              |                  ^^^
              |
              = help: write a number or a string

            error: virtiofsd.threadPoolSize: a list where a number or a string belongs
             --> vm.json:6:23
              |
            6 |     "threadPoolSize": [
              |                       ^
              |
              = help: write a number or a string
        "#]],
    );
}
