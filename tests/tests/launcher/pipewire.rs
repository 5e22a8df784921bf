// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A PipeWire of a test's own, and recordings of what is played there.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::shell::PATIENCE;

const RATE: u32 = 48_000;

/// A running PipeWire, with one sink, and the session manager that connects programs to it.
pub(crate) struct PipeWire {
    dir: tempfile::TempDir,
    // Ended in this order.
    children: Vec<Child>,
}

/// Something that is being recorded.
pub(crate) struct Recording {
    child: Child,
    file: PathBuf,
}

impl PipeWire {
    pub(crate) fn start() -> PipeWire {
        let dir = tempfile::Builder::new().prefix("sound").tempdir().unwrap();
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/launcher/pipewire.conf");
        let mut pipewire = PipeWire {
            dir,
            children: Vec::new(),
        };
        let server = pipewire.command("pipewire").arg("-c").arg(config).spawn();
        pipewire
            .children
            .push(server.expect("no pipewire: run .ci/provision"));
        let socket = pipewire.dir.path().join("pipewire-0");
        wait("PipeWire's socket", || socket.exists());
        let manager = pipewire.command("wireplumber").spawn();
        pipewire
            .children
            .insert(0, manager.expect("no wireplumber: run .ci/provision"));
        pipewire
    }

    /// A program that keeps all it writes in the directory.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let dir = self.dir.path();
        let log = File::create(dir.join(format!("{program}.log"))).unwrap();
        command
            .env_remove("DBUS_SESSION_BUS_ADDRESS")
            .env("HOME", dir)
            .env("XDG_CONFIG_HOME", dir)
            .env("XDG_STATE_HOME", dir)
            .env("XDG_RUNTIME_DIR", dir)
            .env_remove("PIPEWIRE_REMOTE")
            .envs(self.variables())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        command
    }

    /// Where its clients find it.
    pub(crate) fn variables(&self) -> HashMap<&'static str, OsString> {
        HashMap::from([("PIPEWIRE_RUNTIME_DIR", self.dir.path().into())])
    }

    /// Begins to record whatever is played on the sink.
    pub(crate) fn record(&self) -> Recording {
        let file = self.dir.path().join("recording.wav");
        let _ = fs::remove_file(&file);
        let child = self
            .command("pw-record")
            .args([
                "-P",
                "{ stream.capture.sink = true }",
                "--target",
                "nowhere",
            ])
            .args([
                "--rate",
                &RATE.to_string(),
                "--channels",
                "1",
                "--format",
                "s16",
            ])
            .arg(&file)
            .spawn()
            .expect("no pw-record: run .ci/provision");
        let length = || fs::metadata(&file).map_or(0, |meta| meta.len());
        wait("the recording", || length() > 4096);
        Recording { child, file }
    }
}

impl Drop for PipeWire {
    fn drop(&mut self) {
        for child in &mut self.children {
            end(child, Signal::TERM);
        }
    }
}

fn end(child: &mut Child, signal: Signal) {
    let _ = kill_process(Pid::from_child(child), signal);
    let _ = child.wait();
}

fn wait(what: &str, is_there: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_there() {
        assert!(begin.elapsed() < PATIENCE, "{what} does not come");
        thread::sleep(Duration::from_millis(20));
    }
}

impl Recording {
    /// Ends it; fails unless what was recorded is a tone of that frequency.
    pub(crate) fn assert_tone(mut self, hz: f64) {
        // Then it writes the file's header.
        end(&mut self.child, Signal::INT);
        let file = fs::read(&self.file).unwrap();
        let samples: Vec<f64> = file[44..]
            .chunks_exact(2)
            .map(|pair| f64::from(i16::from_le_bytes([pair[0], pair[1]])))
            .collect();
        let loud = |sample: &f64| sample.abs() > 300.0;
        let (Some(begin), Some(end)) = (
            samples.iter().position(loud),
            samples.iter().rposition(loud),
        ) else {
            panic!("silence, {} samples of it", samples.len());
        };
        let heard = &samples[begin..end];
        // Three seconds were played.
        assert!(heard.len() > 2 * RATE as usize, "{} samples", heard.len());
        let strongest = (1..=400)
            .map(|i| f64::from(i) * 5.0)
            .max_by(|a, b| strength(heard, *a).total_cmp(&strength(heard, *b)))
            .unwrap();
        assert!((strongest - hz).abs() < 1.0, "{strongest} Hz is heard");
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How much of a frequency is in it, by Goertzel's algorithm, taken a tenth of a second at a time:
/// where a busy machine leaves gaps, the wave begins anew.
fn strength(samples: &[f64], hz: f64) -> f64 {
    let factor = 2.0 * (std::f64::consts::TAU * hz / f64::from(RATE)).cos();
    let part = |samples: &[f64]| {
        let (mut last, mut before) = (0.0, 0.0);
        for sample in samples {
            (last, before) = (sample + factor * last - before, last);
        }
        last * last + before * before - factor * last * before
    };
    samples.chunks_exact(RATE as usize / 10).map(part).sum()
}
