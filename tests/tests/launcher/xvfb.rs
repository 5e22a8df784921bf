// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An X server whose screen is a file.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A running Xvfb.
pub(crate) struct Xvfb {
    child: Child,
    number: u32,
    dir: tempfile::TempDir,
}

/// What is on its screen.
pub(crate) struct Picture {
    width: usize,
    /// Blue, green, red, nothing.
    pixels: Vec<u8>,
}

impl Xvfb {
    pub(crate) fn start() -> Xvfb {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new("Xvfb")
            .args([
                "-displayfd",
                "1",
                "-screen",
                "0",
                "1280x1024x24",
                "-nolisten",
                "tcp",
                "-fbdir",
            ])
            .arg(dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("no Xvfb: run .ci/provision");
        // It chooses a number that is free, and tells it when it is ready.
        let mut number = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut number)
            .unwrap();
        let number = number.trim().parse().unwrap();
        Xvfb { child, number, dir }
    }

    pub(crate) fn display(&self) -> String {
        format!(":{}", self.number)
    }

    /// Reads the file, which is in the format of xwd(1): 25 numbers, a name, colours of 12 bytes,
    /// rows (X11/XWDFile.h).
    pub(crate) fn picture(&self) -> Picture {
        let file = fs::read(self.dir.path().join("Xvfb_screen0")).unwrap();
        let number = |i: usize| {
            let bytes = file[4 * i..4 * i + 4].try_into().unwrap();
            u32::from_be_bytes(bytes) as usize
        };
        let (header, width, height) = (number(0), number(4), number(5));
        let (bits, row, colours) = (number(11), number(12), number(19));
        assert_eq!((bits, row), (32, width * 4));
        let begin = header + colours * 12;
        Picture {
            width,
            pixels: file[begin..begin + row * height].to_vec(),
        }
    }
}

impl Drop for Xvfb {
    fn drop(&mut self) {
        // It removes its sockets and locks when it is asked to end.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

impl Picture {
    /// Where pixels of a colour (red, green, blue) are.
    pub(crate) fn pixels(&self, colour: [u8; 3]) -> impl Iterator<Item = (usize, usize)> {
        let wanted = [colour[2], colour[1], colour[0]];
        let is = move |(_, pixel): &(usize, &[u8])| pixel[..3] == wanted;
        let all = self.pixels.chunks(4).enumerate().filter(is);
        all.map(|(i, _)| (i % self.width, i / self.width))
    }
}
