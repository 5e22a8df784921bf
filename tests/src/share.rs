// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A device that serves in a thread of the test, for as long as the test wants.

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use virtiofs::fs::ReadFs;
use virtiofs::vhost::{Device, DeviceOptions, ServeError, StopHandle, Tag};

use crate::channel::PATIENCE;

/// A running device.
#[derive(Debug)]
pub struct Share {
    _dir: TempDir,
    socket: PathBuf,
    stop: StopHandle,
    ended: Receiver<Result<(), ServeError>>,
    thread: Option<JoinHandle<()>>,
}

impl Share {
    /// Serves `fs`, one client after another.
    pub fn start<F: ReadFs + Clone + 'static>(fs: F, options: DeviceOptions) -> Share {
        crate::logging::listen();
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let device = Device::new(fs, options).unwrap();
        let stop = device.stop_handle();
        let (say, ended) = channel();
        let thread = std::thread::spawn(move || {
            while !device.is_stopped() {
                let _ = say.send(device.serve_next(&listener));
            }
        });
        Share {
            _dir: dir,
            socket,
            stop,
            ended,
            thread: Some(thread),
        }
    }

    /// The usual: a tag, and so many request queues.
    pub fn with_tag<F: ReadFs + Clone + 'static>(fs: F, tag: &str, request_queues: u16) -> Share {
        let tag = Some(Tag::new(tag).unwrap());
        Share::start(
            fs,
            DeviceOptions {
                tag,
                request_queues,
                ..DeviceOptions::default()
            },
        )
    }

    /// Where to connect.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// How the next connection ended.
    pub fn ended(&self) -> Result<(), ServeError> {
        self.ended
            .recv_timeout(PATIENCE)
            .expect("the connection is still served")
    }

    /// Ends the device.
    pub fn stop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The real server, built beside the tests.
pub fn rofs_serve() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().unwrap().parent().unwrap().join("rofs-serve");
    assert!(
        path.exists(),
        "{path:?} is missing: build it with `cargo build --bins`"
    );
    path
}

/// Whether this process has a thread of that name.
pub fn has_thread(name: &str) -> bool {
    // The kernel keeps 15 bytes.
    let name = &name[..name.len().min(15)];
    std::fs::read_dir("/proc/self/task").unwrap().any(|task| {
        let comm = task.unwrap().path().join("comm");
        // It may have ended meanwhile.
        std::fs::read_to_string(comm).is_ok_and(|comm| comm.trim_end() == name)
    })
}

/// Waits until something holds; false if it does not.
pub fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

/// Whether somebody listens there; asking by connecting would take the only turn.
pub fn listens(socket: &Path) -> bool {
    let sockets = std::fs::read_to_string("/proc/net/unix").unwrap();
    let mut lines = sockets.lines();
    lines.any(|line| line.ends_with(socket.to_str().unwrap()) && line.contains(" 00010000 "))
}
