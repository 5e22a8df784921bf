// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Shares and where they are mounted.

use expect_test::expect;

use crate::vm_says;

#[test]
fn a_tag_twice() {
    vm_says(
        r#"[[shares]]
tag = "a"
source = "/srv"
mountPoint = "/a"
[[shares]]
tag = "a"
source = "/srv"
mountPoint = "/b"
"#,
        expect![[r#"
            error: shares[1].tag: "a" is the tag of shares[0] already
             --> vm.toml:7:7
              |
            7 | tag = "a"
              |       ^^^
              |
              = help: give each share a tag of its own

            error: shares[1].tag: "a" is the tag of shares[0] already
              --> vm.json:14:14
               |
            14 |       "tag": "a"
               |              ^^^
               |
               = help: give each share a tag of its own
        "#]],
    );
}

#[test]
fn an_empty_tag() {
    vm_says(
        r#"[[shares]]
tag = ""
source = "/srv"
mountPoint = "/a"
"#,
        expect![[r#"
            error: shares[0].tag: it is empty
             --> vm.toml:3:7
              |
            3 | tag = ""
              |       ^^
              |
              = help: write a short name, as "home"

            error: shares[0].tag: it is empty
             --> vm.json:9:14
              |
            9 |       "tag": ""
              |              ^^
              |
              = help: write a short name, as "home"
        "#]],
    );
}

#[test]
fn a_tag_that_is_too_long() {
    vm_says(
        r#"[[shares]]
tag = "a234567890123456789012345678901234567"
source = "/srv"
mountPoint = "/a"
proto = "virtiofs""#,
        expect![[r#"
            error: shares[0].tag: "a234567890123456789012345678901234567" has 37 bytes, and there is room for 36
             --> vm.toml:3:7
              |
            3 | tag = "a234567890123456789012345678901234567"
              |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
              |
              = help: write a shorter name

            error: shares[0].tag: "a234567890123456789012345678901234567" has 37 bytes, and there is room for 36
              --> vm.json:10:14
               |
            10 |       "tag": "a234567890123456789012345678901234567"
               |              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
               |
               = help: write a shorter name
        "#]],
    );
}

#[test]
fn a_tag_that_is_too_long_for_9p() {
    vm_says(
        r#"[[shares]]
tag = "a2345678901234567890123456789012"
source = "/srv"
mountPoint = "/a"
"#,
        expect![[r#"
            error: shares[0].tag: "a2345678901234567890123456789012" has 32 bytes, and there is room for 31
             --> vm.toml:3:7
              |
            3 | tag = "a2345678901234567890123456789012"
              |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
              |
              = help: write a shorter name

            error: shares[0].tag: "a2345678901234567890123456789012" has 32 bytes, and there is room for 31
             --> vm.json:9:14
              |
            9 |       "tag": "a2345678901234567890123456789012"
              |              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
              |
              = help: write a shorter name
        "#]],
    );
}

#[test]
fn a_tag_with_a_comma() {
    vm_says(
        r#"[[shares]]
tag = "a,b"
source = "/srv"
mountPoint = "/a"
"#,
        expect![[r#"
            error: shares[0].tag: ',' does not belong into a tag
             --> vm.toml:3:7
              |
            3 | tag = "a,b"
              |       ^^^^^
              |
              = help: write letters, digits, '-', '_' and '.'

            error: shares[0].tag: ',' does not belong into a tag
             --> vm.json:9:14
              |
            9 |       "tag": "a,b"
              |              ^^^^^
              |
              = help: write letters, digits, '-', '_' and '.'
        "#]],
    );
}

#[test]
fn a_source_in_the_home_directory_of_a_shell() {
    vm_says(
        r#"[[shares]]
tag = "a"
source = "~/Share"
mountPoint = "/a"
"#,
        expect![[r#"
            error: shares[0].source: `~` is not expanded here: only a shell knows it
             --> vm.toml:4:10
              |
            4 | source = "~/Share"
              |          ^^^^^^^^^
              |
              = help: write the whole path, as "/home/NAME/Share"

            error: shares[0].source: `~` is not expanded here: only a shell knows it
             --> vm.json:8:17
              |
            8 |       "source": "~/Share",
              |                 ^^^^^^^^^
              |
              = help: write the whole path, as "/home/NAME/Share"
        "#]],
    );
}

#[test]
fn a_relative_mount_point() {
    vm_says(
        r#"[[shares]]
tag = "a"
source = "/srv"
mountPoint = "mnt/a"
"#,
        expect![[r#"
            error: shares[0].mountPoint: "mnt/a" is not the absolute path of a place
             --> vm.toml:5:14
              |
            5 | mountPoint = "mnt/a"
              |              ^^^^^^^
              |
              = help: write "/mnt/a"

            error: shares[0].mountPoint: "mnt/a" is not the absolute path of a place
             --> vm.json:7:21
              |
            7 |       "mountPoint": "mnt/a",
              |                     ^^^^^^^
              |
              = help: write "/mnt/a"
        "#]],
    );
}

#[test]
fn a_mount_point_that_climbs() {
    vm_says(
        r#"[[shares]]
tag = "a"
source = "/srv"
mountPoint = "/mnt/../etc"
"#,
        expect![[r#"
            error: shares[0].mountPoint: "/mnt/../etc" is not the absolute path of a place
             --> vm.toml:5:14
              |
            5 | mountPoint = "/mnt/../etc"
              |              ^^^^^^^^^^^^^
              |
              = help: write "/mnt/etc"

            error: shares[0].mountPoint: "/mnt/../etc" is not the absolute path of a place
             --> vm.json:7:21
              |
            7 |       "mountPoint": "/mnt/../etc",
              |                     ^^^^^^^^^^^^^
              |
              = help: write "/mnt/etc"
        "#]],
    );
}

#[test]
fn a_mount_point_twice() {
    vm_says(
        r#"[[shares]]
tag = "a"
source = "/srv"
mountPoint = "/a"
[[volumes]]
image = "a.img"
size = 64
mountPoint = "/a/"
"#,
        expect![[r#"
            error: volumes[0].mountPoint: /a is where shares[0] is mounted already
             --> vm.toml:9:14
              |
            9 | mountPoint = "/a/"
              |              ^^^^^
              |
              = help: write another place

            error: volumes[0].mountPoint: /a is where shares[0] is mounted already
              --> vm.json:15:21
               |
            15 |       "mountPoint": "/a/",
               |                     ^^^^^
               |
               = help: write another place
        "#]],
    );
}

#[test]
fn one_socket_for_two() {
    vm_says(
        r#"[[shares]]
tag = "a"
source = "/srv"
mountPoint = "/a"
proto = "virtiofs"
socket = "fs.sock"
[[shares]]
tag = "b"
source = "/srv"
mountPoint = "/b"
proto = "virtiofs"
socket = "fs.sock""#,
        expect![[r#"
            error: shares[1].socket: fs.sock is the socket of shares[0] already
              --> vm.toml:13:10
               |
            13 | socket = "fs.sock"
               |          ^^^^^^^^^
               |
               = help: leave `socket` out: one is chosen

            error: shares[1].socket: fs.sock is the socket of shares[0] already
              --> vm.json:16:17
               |
            16 |       "socket": "fs.sock",
               |                 ^^^^^^^^^
               |
               = help: leave `socket` out: one is chosen
        "#]],
    );
}

#[test]
fn a_socket_with_a_path_that_is_too_long() {
    vm_says(
        r#"[[shares]]
tag = "a"
source = "/srv"
mountPoint = "/a"
proto = "virtiofs"
socket = "/run/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx""#,
        expect![[r#"
            error: shares[0].socket: the socket's path /run/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx has 115 bytes, and there is room for 107
             --> vm.toml:7:10
              |
            7 | socket = "/run/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
              |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
              |
              = help: write a shorter one, or leave it out: one is chosen

            error: shares[0].socket: the socket's path /run/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx has 115 bytes, and there is room for 107
             --> vm.json:9:17
              |
            9 |       "socket": "/run/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
              |                 ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
              |
              = help: write a shorter one, or leave it out: one is chosen
        "#]],
    );
}

#[test]
fn dax_for_a_writable_share() {
    vm_says(
        r#"[[shares]]
tag = "a"
source = "/srv"
mountPoint = "/a"
proto = "virtiofs"
dax = true"#,
        expect![[r#"
            error: shares[0].dax: only read-only virtiofs shares can be mapped
             --> vm.toml:7:7
              |
            7 | dax = true
              |       ^^^^
              |
              = help: write `proto = "virtiofs"` and `readOnly = true`, or leave `dax` out

            error: shares[0].dax: only read-only virtiofs shares can be mapped
             --> vm.json:7:14
              |
            7 |       "dax": true,
              |              ^^^^
              |
              = help: write `proto = "virtiofs"` and `readOnly = true`, or leave `dax` out
        "#]],
    );
}

#[test]
fn a_window_that_is_no_power_of_two() {
    vm_says(
        r#"[[shares]]
tag = "a"
source = "/srv"
mountPoint = "/a"
proto = "virtiofs"
readOnly = true
dax = true
daxWindow = 300"#,
        expect![[r#"
            error: shares[0].daxWindow: 300 is not a power of two
             --> vm.toml:9:13
              |
            9 | daxWindow = 300
              |             ^^^
              |
              = help: write 512

            error: shares[0].daxWindow: 300 is not a power of two
             --> vm.json:8:20
              |
            8 |       "daxWindow": 300,
              |                    ^^^
              |
              = help: write 512
        "#]],
    );
}

#[test]
fn a_process_for_9p() {
    vm_says(
        r#"[[shares]]
tag = "a"
source = "/srv"
mountPoint = "/a"
process = true"#,
        expect![[r#"
            warning: shares[0].process: this share is served by another process anyway, not by rofs-vm
             --> vm.toml:6:11
              |
            6 | process = true
              |           ^^^^
              |
              = help: leave it out

            warning: shares[0].process: this share is served by another process anyway, not by rofs-vm
             --> vm.json:8:18
              |
            8 |       "process": true,
              |                  ^^^^
              |
              = help: leave it out
        "#]],
    );
}

#[test]
fn arguments_for_a_virtiofsd_that_is_not_there() {
    vm_says(
        r#"[[shares]]
tag = "a"
source = "/srv"
mountPoint = "/a"
proto = "virtiofs"
readOnly = true
extraArgs = ["--log-level", "debug"]"#,
        expect![[r#"
            warning: shares[0].extraArgs: these arguments are for virtiofsd, which does not serve this share
             --> vm.toml:8:13
              |
            8 | extraArgs = ["--log-level", "debug"]
              |             ^^^^^^^^^^^^^^^^^^^^^^^^
              |
              = help: leave them out

            warning: shares[0].extraArgs: these arguments are for virtiofsd, which does not serve this share
             --> vm.json:7:20
              |
            7 |       "extraArgs": [
              |                    ^
              |
              = help: leave them out
        "#]],
    );
}

#[test]
fn lists_of_access_and_owners_translated() {
    vm_says(
        r#"[[shares]]
tag = "a"
source = "/srv"
mountPoint = "/a"
proto = "virtiofs"
extraArgs = ["--translate-uid", "map:0:1000:1"]"#,
        expect![[r#"
            error: shares[0].posixAcl: virtiofsd cannot keep access control lists and translate owners at once
             --> vm.toml:2:1
              |
            2 | [[shares]]
              | ^^^^^^^^^^
              |
              = help: write `posixAcl = false`

            error: shares[0].posixAcl: virtiofsd cannot keep access control lists and translate owners at once
             --> vm.json:6:5
              |
            6 |     {
              |     ^
              |
              = help: write `posixAcl = false`
        "#]],
    );
}

#[test]
fn an_overlay_without_a_store() {
    vm_says(
        r#"writableStoreOverlay = "/nix/.rw-store""#,
        expect![[r#"
            error: writableStoreOverlay: there is no store for it to lie over
             --> vm.toml:2:24
              |
            2 | writableStoreOverlay = "/nix/.rw-store"
              |                        ^^^^^^^^^^^^^^^^
              |
              = help: write a share with `source = "/nix/store"`, or leave this out

            error: writableStoreOverlay: there is no store for it to lie over
             --> vm.json:5:27
              |
            5 |   "writableStoreOverlay": "/nix/.rw-store"
              |                           ^^^^^^^^^^^^^^^^
              |
              = help: write a share with `source = "/nix/store"`, or leave this out
        "#]],
    );
}

#[test]
fn an_overlay_in_a_share() {
    vm_says(
        r#"writableStoreOverlay = "/a/rw"
[[shares]]
tag = "a"
source = "/srv"
mountPoint = "/a"
[[shares]]
tag = "store"
source = "/nix/store"
mountPoint = "/nix/.ro-store"
"#,
        expect![[r#"
            error: writableStoreOverlay: it is in the share "a", and an overlay cannot write into a share
             --> vm.toml:2:24
              |
            2 | writableStoreOverlay = "/a/rw"
              |                        ^^^^^^^
              |
              = help: write a place on a volume; or one that is nothing's, for memory

            error: writableStoreOverlay: it is in the share "a", and an overlay cannot write into a share
              --> vm.json:17:27
               |
            17 |   "writableStoreOverlay": "/a/rw"
               |                           ^^^^^^^
               |
               = help: write a place on a volume; or one that is nothing's, for memory
        "#]],
    );
}

#[test]
fn an_overlay_in_the_store() {
    vm_says(
        r#"writableStoreOverlay = "/nix/store/rw"
[[shares]]
tag = "store"
source = "/nix/store"
mountPoint = "/nix/.ro-store"
"#,
        expect![[r#"
            error: writableStoreOverlay: the store cannot be kept in the store
             --> vm.toml:2:24
              |
            2 | writableStoreOverlay = "/nix/store/rw"
              |                        ^^^^^^^^^^^^^^^
              |
              = help: write "/nix/.rw-store"

            error: writableStoreOverlay: the store cannot be kept in the store
              --> vm.json:12:27
               |
            12 |   "writableStoreOverlay": "/nix/store/rw"
               |                           ^^^^^^^^^^^^^^^
               |
               = help: write "/nix/.rw-store"
        "#]],
    );
}
