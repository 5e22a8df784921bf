// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Volumes.

use expect_test::expect;

use crate::vm_says;

#[test]
fn an_image_twice() {
    vm_says(
        r#"[[volumes]]
image = "a.img"
size = 512
[[volumes]]
image = "a.img"
size = 512
"#,
        expect![[r#"
            error: volumes[1].image: a.img is the image of volumes[0] already
             --> vm.toml:6:9
              |
            6 | image = "a.img"
              |         ^^^^^^^
              |
              = help: give each volume an image of its own

            error: volumes[1].image: a.img is the image of volumes[0] already
              --> vm.json:11:16
               |
            11 |       "image": "a.img",
               |                ^^^^^^^
               |
               = help: give each volume an image of its own
        "#]],
    );
}

#[test]
fn a_serial_number_twice() {
    vm_says(
        r#"[[volumes]]
image = "a.img"
size = 512
serial = "1"
[[volumes]]
image = "b.img"
size = 512
serial = "1""#,
        expect![[r#"
            error: volumes[1].serial: "1" is the serial number of volumes[0] already
             --> vm.toml:9:10
              |
            9 | serial = "1"
              |          ^^^
              |
              = help: write another one

            error: volumes[1].serial: "1" is the serial number of volumes[0] already
              --> vm.json:13:17
               |
            13 |       "serial": "1",
               |                 ^^^
               |
               = help: write another one
        "#]],
    );
}

#[test]
fn a_label_twice() {
    vm_says(
        r#"[[volumes]]
image = "a.img"
size = 512
label = "data"
[[volumes]]
image = "b.img"
size = 512
label = "data""#,
        expect![[r#"
            error: volumes[1].label: "data" is the label of volumes[0] already
             --> vm.toml:9:9
              |
            9 | label = "data"
              |         ^^^^^^
              |
              = help: write another one

            error: volumes[1].label: "data" is the label of volumes[0] already
              --> vm.json:13:16
               |
            13 |       "label": "data",
               |                ^^^^^^
               |
               = help: write another one
        "#]],
    );
}

#[test]
fn an_image_without_a_size() {
    vm_says(
        r#"[[volumes]]
image = "a.img"
"#,
        expect![[r#"
            error: volumes[0].size: the image is to be created, and nothing says how large
             --> vm.toml:2:1
              |
            2 | [[volumes]]
              | ^^^^^^^^^^^
              |
              = help: write `size = 8192`, in MiB; or `autoCreate = false` if the image is there already

            error: volumes[0].size: the image is to be created, and nothing says how large
             --> vm.json:6:5
              |
            6 |     {
              |     ^
              |
              = help: write `size = 8192`, in MiB; or `autoCreate = false` if the image is there already
        "#]],
    );
}

#[test]
fn an_image_that_is_too_small_for_its_file_system() {
    vm_says(
        r#"[[volumes]]
image = "a.img"
size = 8
fsType = "xfs""#,
        expect![[r#"
            error: volumes[0].size: 8 MiB is too small for xfs; sizes are in MiB
             --> vm.toml:4:8
              |
            4 | size = 8
              |        ^
              |
              = help: write 300 or more

            error: volumes[0].size: 8 MiB is too small for xfs; sizes are in MiB
             --> vm.json:9:15
              |
            9 |       "size": 8
              |               ^
              |
              = help: write 300 or more
        "#]],
    );
}

#[test]
fn an_image_that_is_a_directory() {
    vm_says(
        r#"[[volumes]]
image = ".."
size = 512
"#,
        expect![[r#"
            error: volumes[0].image: ".." is not the name of a file
             --> vm.toml:3:9
              |
            3 | image = ".."
              |         ^^^^
              |
              = help: write one, as "root.img"

            error: volumes[0].image: ".." is not the name of a file
             --> vm.json:7:16
              |
            7 |       "image": "..",
              |                ^^^^
              |
              = help: write one, as "root.img"
        "#]],
    );
}

#[test]
fn an_image_in_the_home_directory_of_a_shell() {
    vm_says(
        r#"[[volumes]]
image = "~/a.img"
size = 512
"#,
        expect![[r#"
            error: volumes[0].image: `~` is not expanded here: only a shell knows it
             --> vm.toml:3:9
              |
            3 | image = "~/a.img"
              |         ^^^^^^^^^
              |
              = help: write the whole path; or just a name, for a file in the VM's state directory

            error: volumes[0].image: `~` is not expanded here: only a shell knows it
             --> vm.json:7:16
              |
            7 |       "image": "~/a.img",
              |                ^^^^^^^^^
              |
              = help: write the whole path; or just a name, for a file in the VM's state directory
        "#]],
    );
}

#[test]
fn a_serial_number_that_is_too_long() {
    vm_says(
        r#"[[volumes]]
image = "a.img"
size = 512
serial = "123456789012345678901""#,
        expect![[r#"
            error: volumes[0].serial: "123456789012345678901" has 21 bytes, and there is room for 20
             --> vm.toml:5:10
              |
            5 | serial = "123456789012345678901"
              |          ^^^^^^^^^^^^^^^^^^^^^^^
              |
              = help: write a shorter one

            error: volumes[0].serial: "123456789012345678901" has 21 bytes, and there is room for 20
             --> vm.json:8:17
              |
            8 |       "serial": "123456789012345678901",
              |                 ^^^^^^^^^^^^^^^^^^^^^^^
              |
              = help: write a shorter one
        "#]],
    );
}

#[test]
fn a_serial_number_with_a_space() {
    vm_says(
        r#"[[volumes]]
image = "a.img"
size = 512
serial = "a b""#,
        expect![[r#"
            error: volumes[0].serial: "a b" is not a serial number
             --> vm.toml:5:10
              |
            5 | serial = "a b"
              |          ^^^^^
              |
              = help: write letters and digits

            error: volumes[0].serial: "a b" is not a serial number
             --> vm.json:8:17
              |
            8 |       "serial": "a b",
              |                 ^^^^^
              |
              = help: write letters and digits
        "#]],
    );
}

#[test]
fn a_label_that_is_too_long() {
    vm_says(
        r#"[[volumes]]
image = "a.img"
size = 512
fsType = "vfat"
label = "data-partition""#,
        expect![[r#"
            error: volumes[0].label: "data-partition" has 14 bytes, and vfat has room for 11
             --> vm.toml:6:9
              |
            6 | label = "data-partition"
              |         ^^^^^^^^^^^^^^^^
              |
              = help: write a shorter one

            error: volumes[0].label: "data-partition" has 14 bytes, and vfat has room for 11
             --> vm.json:9:16
              |
            9 |       "label": "data-partition",
              |                ^^^^^^^^^^^^^^^^
              |
              = help: write a shorter one
        "#]],
    );
}

#[test]
fn a_label_that_nobody_sets() {
    vm_says(
        r#"[[volumes]]
image = "a.img"
autoCreate = false
label = "data""#,
        expect![[r#"
            warning: volumes[0].label: nothing is labelled, since `autoCreate` is off
             --> vm.toml:5:9
              |
            5 | label = "data"
              |         ^^^^^^
              |
              = help: label the file system by hand; the guest looks for the label

            warning: volumes[0].label: nothing is labelled, since `autoCreate` is off
             --> vm.json:9:16
              |
            9 |       "label": "data"
              |                ^^^^^^
              |
              = help: label the file system by hand; the guest looks for the label
        "#]],
    );
}

#[test]
fn an_image_to_be_made_in_another_format() {
    vm_says(
        r#"[[volumes]]
image = "a.img"
size = 512
imageType = "qcow2""#,
        expect![[r#"
            error: volumes[0].imageType: only raw images are created, not qcow2
             --> vm.toml:5:13
              |
            5 | imageType = "qcow2"
              |             ^^^^^^^
              |
              = help: write `autoCreate = false`, and make the image with qemu-img; or leave `imageType` out

            error: volumes[0].imageType: only raw images are created, not qcow2
             --> vm.json:8:20
              |
            8 |       "imageType": "qcow2",
              |                    ^^^^^^^
              |
              = help: write `autoCreate = false`, and make the image with qemu-img; or leave `imageType` out
        "#]],
    );
}

#[test]
fn no_such_file_system() {
    vm_says(
        r#"[[volumes]]
image = "a.img"
size = 512
fsType = "ext5""#,
        expect![[r#"
            error: volumes[0].fsType: there is no "ext5"
             --> vm.toml:5:10
              |
            5 | fsType = "ext5"
              |          ^^^^^^
              |
              = help: write "ext4"; there are "ext2", "ext3", "ext4", "btrfs", "xfs", "vfat"

            error: volumes[0].fsType: there is no "ext5"
             --> vm.json:7:17
              |
            7 |       "fsType": "ext5",
              |                 ^^^^^^
              |
              = help: write "ext4"; there are "ext2", "ext3", "ext4", "btrfs", "xfs", "vfat"
        "#]],
    );
}

#[test]
fn a_size_of_nothing() {
    vm_says(
        r#"[[volumes]]
image = "a.img"
size = 0
"#,
        expect![[r#"
            error: volumes[0].size: 0 is too small
             --> vm.toml:4:8
              |
            4 | size = 0
              |        ^
              |
              = help: write 1 or more

            error: volumes[0].size: 0 is too small
             --> vm.json:8:15
              |
            8 |       "size": 0
              |               ^
              |
              = help: write 1 or more
        "#]],
    );
}
