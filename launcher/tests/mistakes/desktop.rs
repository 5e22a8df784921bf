// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Screen, sound, clipboard.

use expect_test::expect;

use crate::vm_says;

#[test]
fn a_clipboard_without_a_screen() {
    vm_says(
        r#"clipboard.enable = true"#,
        expect![[r#"
            error: clipboard.enable: there is no screen, and so no clipboard to share
             --> vm.toml:2:20
              |
            2 | clipboard.enable = true
              |                    ^^^^
              |
              = help: write `graphics.enable = true`, or leave it out

            error: clipboard.enable: there is no screen, and so no clipboard to share
             --> vm.json:3:15
              |
            3 |     "enable": true
              |               ^^^^
              |
              = help: write `graphics.enable = true`, or leave it out
        "#]],
    );
}

#[test]
fn a_clipboard_of_a_screen_that_nobody_sees() {
    vm_says(
        r#"clipboard.enable = true
graphics = { enable = true, backend = "headless" }"#,
        expect![[r#"
            error: clipboard.enable: nobody sees this screen: there is no clipboard on the host's side
             --> vm.toml:2:20
              |
            2 | clipboard.enable = true
              |                    ^^^^
              |
              = help: write `graphics.backend = "gtk"`, or leave it out

            error: clipboard.enable: nobody sees this screen: there is no clipboard on the host's side
             --> vm.json:3:15
              |
            3 |     "enable": true
              |               ^^^^
              |
              = help: write `graphics.backend = "gtk"`, or leave it out
        "#]],
    );
}

#[test]
fn a_window_on_a_mac() {
    vm_says(
        r#"graphics = { enable = true, backend = "cocoa" }"#,
        expect![[r#"
            error: graphics.backend: there is no "cocoa"
             --> vm.toml:2:39
              |
            2 | graphics = { enable = true, backend = "cocoa" }
              |                                       ^^^^^^^
              |
              = help: write one of "gtk", "headless", "spice", "vnc"

            error: graphics.backend: there is no "cocoa"
             --> vm.json:3:16
              |
            3 |     "backend": "cocoa",
              |                ^^^^^^^
              |
              = help: write one of "gtk", "headless", "spice", "vnc"
        "#]],
    );
}

#[test]
fn vulkan_without_opengl() {
    vm_says(
        r#"graphics = { enable = true, gl = false, vulkan = "venus" }"#,
        expect![[r#"
            error: graphics.vulkan: Vulkan needs what `graphics.gl = false` forbids
             --> vm.toml:2:50
              |
            2 | graphics = { enable = true, gl = false, vulkan = "venus" }
              |                                                  ^^^^^^^
              |
              = help: leave one of them out

            error: graphics.vulkan: Vulkan needs what `graphics.gl = false` forbids
             --> vm.json:5:15
              |
            5 |     "vulkan": "venus"
              |               ^^^^^^^
              |
              = help: leave one of them out
        "#]],
    );
}

#[test]
fn memory_without_a_unit() {
    vm_says(
        r#"graphics = { enable = true, hostmem = "256" }"#,
        expect![[r#"
            error: graphics.hostmem: "256" is not a size
             --> vm.toml:2:39
              |
            2 | graphics = { enable = true, hostmem = "256" }
              |                                       ^^^^^
              |
              = help: write a number with M or G, as "256M"

            error: graphics.hostmem: "256" is not a size
             --> vm.json:4:16
              |
            4 |     "hostmem": "256"
              |                ^^^^^
              |
              = help: write a number with M or G, as "256M"
        "#]],
    );
}

#[test]
fn no_such_sound_server() {
    vm_says(
        r#"sound = { enable = true, backend = "jack" }"#,
        expect![[r#"
            error: sound.backend: there is no "jack"
             --> vm.toml:2:36
              |
            2 | sound = { enable = true, backend = "jack" }
              |                                    ^^^^^^
              |
              = help: write one of "pipewire", "pulseaudio", "alsa", "none"

            error: sound.backend: there is no "jack"
             --> vm.json:6:16
              |
            6 |     "backend": "jack",
              |                ^^^^^^
              |
              = help: write one of "pipewire", "pulseaudio", "alsa", "none"
        "#]],
    );
}
