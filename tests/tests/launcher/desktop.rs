// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Screen, sound and clipboard: what a guest draws and plays is seen and heard on this machine.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::Place;
use crate::pipewire::PipeWire;
use crate::shell::{PATIENCE, Shell, description, desktop_kernel};
use crate::xvfb::Xvfb;

const HZ: f64 = 440.0;

/// Two bars, each in a colour that nothing else has.
const PAINT: &str = "guest-check paint /dev/fb0 d01040 10c070";
const BARS: [[u8; 3]; 2] = [[0xd0, 0x10, 0x40], [0x10, 0xc0, 0x70]];

fn desktop(more: &str) -> String {
    let kernel = format!("kernel = \"{}\"", desktop_kernel().display());
    description(&format!("{kernel}\n{more}"))
}

/// Waits for a device: its driver may be loaded and still be looking at it.
fn wait_for(shell: &mut Shell, device: &str) {
    let there = shell.ask(&format!(
        "for i in $(seq 300); do [ -e {device} ] && break; sleep 0.1; done; ls {device}"
    ));
    assert_eq!(there.trim(), device);
}

/// Plays, and looks at what was recorded meanwhile.
fn play(shell: &mut Shell, pipewire: &PipeWire, card: &str) {
    for device in ["/dev/snd/controlC0", "/dev/snd/pcmC0D0p"] {
        wait_for(shell, device);
    }
    let cards = shell.ask("cat /proc/asound/cards");
    assert!(cards.contains(card), "{cards}");
    let recording = pipewire.record();
    // The tone ends when it has been heard, on a machine that is too slow for it as well.
    let played = shell
        .ask("guest-check unmute /dev/snd/controlC0; guest-check tone /dev/snd/pcmC0D0p 440 3");
    assert!(played.contains("played 3 s"), "{played}");
    recording.assert_tone(HZ);
}

/// The window of the article's desktop, its sound and its clipboard.
#[test]
fn guests_desktop_is_seen_and_heard() {
    let place = Place::new();
    let (screen, pipewire) = (Xvfb::start(), PipeWire::start());
    let text = desktop("graphics.enable = true\nsound.enable = true\nclipboard.enable = true\n");
    let mut variables = HashMap::from([
        ("DISPLAY", screen.display().into()),
        ("WAYLAND_DISPLAY", "".into()),
    ]);
    variables.extend(pipewire.variables());
    let mut shell = Shell::boot(&place, "desktop", &text, &variables);

    let ports = shell.ask("cat /sys/class/virtio-ports/*/name");
    assert!(ports.contains("com.redhat.spice.0"), "{ports}");
    // They are found one after the other.
    for device in ["QEMU QEMU USB Tablet", "QEMU QEMU USB Keyboard"] {
        let inputs = shell.ask(&format!(
            "for i in $(seq 300); do grep -q '{device}' /proc/bus/input/devices && break; \
             sleep 0.1; done; cat /proc/bus/input/devices"
        ));
        assert!(inputs.contains(device), "{device} is missing in {inputs}");
    }

    wait_for(&mut shell, "/dev/fb0");
    let size = shell.ask(PAINT);
    let (width, height) = size.split_once(' ').unwrap();
    let (width, height): (usize, usize) = (width.parse().unwrap(), height.parse().unwrap());
    let begin = Instant::now();
    loop {
        let picture = screen.picture();
        let counts = BARS.map(|colour| picture.pixels(colour).count());
        // The window shows the whole screen of the guest, less where the cursor blinks.
        if counts
            .iter()
            .all(|count| *count > width / 2 * height * 9 / 10)
        {
            let middle = |colour| {
                let all: Vec<usize> = picture.pixels(colour).map(|(x, _)| x).collect();
                all.iter().sum::<usize>() / all.len()
            };
            assert!(middle(BARS[0]) < middle(BARS[1]));
            break;
        }
        assert!(
            begin.elapsed() < PATIENCE,
            "of {width} x {height} pixels there are {counts:?}"
        );
        thread::sleep(Duration::from_millis(200));
    }

    play(&mut shell, &pipewire, "HDA-Intel");
    let (status, said) = shell.end();
    assert!(status.success(), "{said}");
    fs::remove_dir_all(place.path().join("state/rofs-vm/desktop")).unwrap();
    place.assert_clean();
}

/// A screen that nobody sees but who connects to its socket, and the other sound card.
#[test]
fn guests_screen_by_vnc_and_virtio_sound() {
    let place = Place::new();
    let pipewire = PipeWire::start();
    let text = desktop(
        r#"
[graphics]
enable = true
backend = "vnc"
socket = "screen.sock"
[sound]
enable = true
card = "virtio"
microphone = true
"#,
    );
    let mut shell = Shell::boot(&place, "vnc", &text, &pipewire.variables());
    wait_for(&mut shell, "/dev/fb0");
    shell.ask(PAINT);
    let mut viewer = Viewer::connect(shell.connect("screen.sock"));
    let begin = Instant::now();
    loop {
        let pixels = viewer.pixels();
        let has = |colour: [u8; 3]| {
            // Blue first, as the server says it has them.
            let wanted = [colour[2], colour[1], colour[0]];
            pixels
                .chunks(4)
                .filter(|pixel| pixel[..3] == wanted)
                .count()
        };
        let counts = BARS.map(has);
        if counts.iter().sum::<usize>() > pixels.len() / 4 * 9 / 10 {
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "{counts:?}");
    }
    play(&mut shell, &pipewire, "VirtIO SoundCard");
    let (status, said) = shell.end();
    assert!(status.success(), "{said}");
    let socket = place.path().join("run/rofs-vm/vnc/screen.sock");
    let viewer = format!("remote-viewer vnc+unix://{}", socket.display());
    assert!(said.contains(&viewer), "{said}");
    fs::remove_dir_all(place.path().join("state/rofs-vm/vnc")).unwrap();
    place.assert_clean();
}

/// What a viewer of RFC 6143 does, as far as it is needed.
struct Viewer {
    stream: UnixStream,
}

impl Viewer {
    fn connect(mut stream: UnixStream) -> Viewer {
        let mut version = [0; 12];
        stream.read_exact(&mut version).unwrap();
        assert_eq!(&version, b"RFB 003.008\n");
        stream.write_all(&version).unwrap();
        let count = usize::from(read(&mut stream, 1)[0]);
        let kinds = read(&mut stream, count);
        // No password: whoever may open the socket may look.
        assert!(kinds.contains(&1), "{kinds:?}");
        stream.write_all(&[1]).unwrap();
        assert_eq!(read(&mut stream, 4), [0; 4]);
        // Shared with others.
        stream.write_all(&[1]).unwrap();
        let about = read(&mut stream, 24);
        assert_eq!(about[4], 32, "bits of a pixel");
        let name = u32::from_be_bytes(about[20..].try_into().unwrap());
        read(&mut stream, name as usize);
        // Sizes that change, and pixels as they are.
        let encodings = [-223_i32, 0].map(i32::to_be_bytes).concat();
        stream.write_all(&[2, 0, 0, 2]).unwrap();
        stream.write_all(&encodings).unwrap();
        Viewer { stream }
    }

    /// The whole screen, or what the server thinks it should be told first.
    fn pixels(&mut self) -> Vec<u8> {
        let mut request = vec![3, 0];
        request.extend([0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        self.stream.write_all(&request).unwrap();
        loop {
            match read(&mut self.stream, 1)[0] {
                0 => break,
                // A bell.
                2 => {}
                // The server's clipboard.
                3 => {
                    let head = read(&mut self.stream, 7);
                    let length = u32::from_be_bytes(head[3..].try_into().unwrap());
                    read(&mut self.stream, length as usize);
                }
                other => panic!("message {other}"),
            }
        }
        let head = read(&mut self.stream, 3);
        let mut pixels = Vec::new();
        for _ in 0..u16::from_be_bytes([head[1], head[2]]) {
            let rectangle = read(&mut self.stream, 12);
            let size = |at| usize::from(u16::from_be_bytes([rectangle[at], rectangle[at + 1]]));
            if i32::from_be_bytes(rectangle[8..].try_into().unwrap()) == 0 {
                pixels.extend(read(&mut self.stream, size(4) * size(6) * 4));
            }
        }
        pixels
    }
}

fn read(stream: &mut UnixStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// Nobody to show and to play it: told before QEMU starts, with the place in the file, all of it.
#[test]
fn without_screen_and_sound_server_nothing_is_started() {
    let place = Place::new();
    let text = desktop("graphics.enable = true\nsound.enable = true\n");
    let variables = HashMap::from([
        ("DISPLAY", "".into()),
        ("WAYLAND_DISPLAY", "".into()),
        ("PIPEWIRE_RUNTIME_DIR", place.path().into()),
    ]);
    let shell = Shell::boot(&place, "nobody", &text, &variables);
    let (status, said) = shell.end();
    assert_eq!(status.code(), Some(2), "{said}");
    let nobody = format!(
        "sound.backend: PipeWire does not answer at {}/pipewire-0",
        place.path().display()
    );
    for part in [
        "graphics.backend: no window can be opened",
        &nobody,
        "`sound.backend = \"none\"`",
    ] {
        assert!(said.contains(part), "{part} is missing in {said}");
    }
    place.assert_clean();
}
